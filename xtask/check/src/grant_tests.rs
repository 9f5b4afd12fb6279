use super::*;
use domain::spec::hujson;

/// The form of the shipped policy, to be changed in one place.
const GOOD: &str = r#"{
  // who owns what
  "tagOwners": {"tag:idp": ["autogroup:admin"], "tag:omni": ["autogroup:admin"]},
  "groups": {"group:platform": ["admin@example.com"]},
  "grants": [
    {"src": ["group:platform", "tag:omni"], "dst": ["tag:idp"], "ip": ["tcp:443"]},
    {"src": ["group:platform"], "dst": ["tag:idp"],
     "app": {"tailscale.com/cap/tsidp": [{"extraClaims": {"email_verified": true}, "includeInUserInfo": true}]}},
    {"src": ["autogroup:admin"], "dst": ["tag:idp"], "ip": ["tcp:443"],
     "app": {"tailscale.com/cap/tsidp": [{"allow_admin_ui": true}]}},  {"src": ["autogroup:member"], "dst": ["tag:omni"], "ip": ["tcp:443"]},
  ],
}
"#;

fn rules(text: &str) -> Vec<String> {
    let root = hujson::parse("policy.json", text).unwrap();
    let found = lint("policy.json", &root, Some("admin@example.com"));
    found.iter().map(|finding| format!("{}:{}", finding.rule, finding.place.line)).collect()
}

#[test]
fn valid_policy_has_no_finding() {
    assert_eq!(rules(GOOD), Vec::<String>::new());
}

/// A row of `corpus/policies.yaml`.
#[derive(serde::Deserialize)]
struct Case {
    change: Vec<(String, String)>,
    #[serde(default)]
    finds: String,
}

#[test]
fn policies_are_read_like_tailscale() {
    let cases: Vec<Case> = serde_yaml::from_str(include_str!("../tests/corpus/policies.yaml")).unwrap();
    for Case { change, finds } in cases {
        let text = change.iter().fold(GOOD.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        assert_eq!(rules(&text).join(" "), finds, "{text}");
    }
    let github = GOOD.replace("admin@example.com", "octo@github");
    let root = hujson::parse("policy.json", &github).unwrap();
    assert_eq!(lint("policy.json", &root, Some("octo@github.idp.tail1.ts.net")), vec![]);
    assert_eq!(lint("policy.json", &root, Some("other@github.idp.tail1.ts.net")).len(), 1);
}

#[test]
fn partial_policy_is_recognized() {
    let grant = r#"{"src": ["autogroup:member"], "dst": ["*"], "app": {"tailscale.com/cap/tsidp": [{"extraClaims": {"email_verified": true}}]}}"#;
    assert_eq!(rules(grant), Vec::<String>::new());
    assert_eq!(rules(&format!("[{grant},]")), Vec::<String>::new());
    assert_eq!(rules("{}"), ["grant-capability:1"]);
    assert_eq!(rules("[]"), ["grant-capability:1"]);
    assert_eq!(
        rules("{\"acls\": [{\"action\":\"accept\",\"src\":[\"*\"],\"dst\":[\"*:*\"]}]}"),
        ["grant-capability:1"]
    );
}

#[test]
fn ports_are_parsed_like_tailscale() {
    for ports in ["tcp:443", "443", "*", "tcp:*", "400-500", "22,443", "tcp:1-65535"] {
        assert!(opens_https(ports), "{ports}");
    }
    for ports in ["udp:443", "22", "1-442", "", "tcp:80,8443"] {
        assert!(!opens_https(ports), "{ports}");
    }
}
