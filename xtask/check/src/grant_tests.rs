use super::*;
use domain::spec::hujson;

/// The shipped policy's form, with one thing changed.
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

#[test]
fn each_policy_error_is_found_at_its_position() {
    let cases: &[(&str, &str, &str)] = &[
        ("cap/tsidp\": [{\"extraClaims", "cap/tsipd\": [{\"extraClaims", "grant-capability:8 grant-email-verified:10"),
        ("\"email_verified\": true", "\"email_verified\": \"true\"", "grant-email-verified:8"),
        ("\"email_verified\": true", "\"email_verified\": false", "grant-email-verified:8"),
        ("\"email_verified\": true", "\"other\": true", "grant-email-verified:8"),
        ("{\"email_verified\": true}", "{\"email_verified\": true, \"email\": \"x\"}", "grant-protected-claim:8"),
        ("{\"email_verified\": true}", "{\"email_verified\": true, \"m\": {\"a\": 1}}", "grant-claim-type:8"),
        ("\"extraClaims\": {\"email", "\"extraclaims\": {\"email", "grant-email-verified:8 grant-field:8"),
        (
            "\"allow_admin_ui\": true",
            "\"extraClaims\": {\"email_verified\": false}",
            "grant-claim-conflict:10 grant-email-verified:10",
        ),
        ("\"src\": [\"autogroup:admin\"]", "\"src\": [\"*\"]", "grant-admin:10"),
        ("\"allow_admin_ui\": true", "\"allow_admin_ui\": \"yes\"", "grant-field:10"),
        ("[\"group:platform\", \"tag:omni\"]", "[\"group:platform\"]", "grant-network:1"),
        (
            "[\"tag:idp\"], \"ip\": [\"tcp:443\"]},\n    {\"src\": [\"group:platform\"]",
            "[\"tag:idp\"], \"ip\": [\"udp:443\"]},\n    {\"src\": [\"group:platform\"]",
            "grant-network:1",
        ),
        ("\"tag:idp\": [\"autogroup:admin\"], ", "", "grant-tag-owner:6"),
        ("[\"tag:omni\"], \"ip\": [\"tcp:443\"]", "[\"tag:omni\"], \"ip\": [\"tcp:22\"]", "grant-omni:3"),
        ("[\"admin@example.com\"]", "[\"bob@example.com\"]", "grant-user:7"),
        (
            "{\"src\": [\"group:platform\"], \"dst\": [\"tag:idp\"],\n",
            "{\"src\": [\"tag:laptop\"], \"dst\": [\"tag:idp\"],\n",
            "grant-src:7 grant-tag-owner:7",
        ),
        (
            "{\"src\": [\"group:platform\"], \"dst\": [\"tag:idp\"],\n",
            "{\"src\": [\"autogroup:admin\"], \"dst\": [\"tag:idp\"],\n",
            "grant-src:7",
        ),
        (
            "{\"src\": [\"group:platform\"], \"dst\": [\"tag:idp\"],\n",
            "{\"src\": [\"autogroup:owner\"], \"dst\": [\"tag:idp\"],\n",
            "grant-src:7",
        ),
    ];
    for (from, to, wanted) in cases {
        assert!(GOOD.contains(from), "{from}");
        assert_eq!(rules(&GOOD.replacen(from, to, 1)).join(" "), *wanted, "{from} -> {to}");
    }
}

/// Forms that Tailscale takes as well, and what each comes to.
#[test]
fn policy_forms_are_read_like_tailscale() {
    let people = "{\"src\": [\"group:platform\", \"tag:omni\"], \"dst\": [\"tag:idp\"], \"ip\": [\"tcp:443\"]}";
    let claim = "{\"src\": [\"group:platform\"], \"dst\": [\"tag:idp\"],\n";
    let admins = "{\"src\": [\"autogroup:admin\"], \"dst\": [\"tag:idp\"], \"ip\": [\"tcp:443\"],\n";
    let without = |ip: &str| {
        GOOD.replacen(admins, "{\"src\": [\"autogroup:admin\"], \"dst\": [\"tag:idp\"],\n", 1).replacen(people, ip, 1)
    };
    let acl = |fields: &str| {
        without("").replacen("[\n    ,", "[", 1).replacen(
            "\"grants\"",
            &format!("\"acls\": [{{\"action\": \"accept\", {fields}}}],\n  \"grants\""),
            1,
        )
    };
    let claims = |src: &str| GOOD.replacen(claim, &format!("{{\"src\": {src}, \"dst\": [\"tag:idp\"],\n"), 1);
    let cases = [
        (without("{\"src\": [\"*\"], \"dst\": [\"*\"], \"ip\": [\"*\"]}"), ""),
        (without("{\"src\": [\"*\"], \"dst\": [\"autogroup:tagged\"], \"ip\": [\"440-450\"]}"), ""),
        (
            without(
                "{\"src\": [\"autogroup:member\", \"autogroup:tagged\"], \"dst\": [\"100.64.0.3\"], \"ip\": [\"443\"]}",
            ),
            "",
        ),
        (without("{\"src\": [\"autogroup:member\", \"omni-node\"], \"dst\": [\"tag:idp\"], \"ip\": [\"*\"]}"), ""),
        // To another place, or for no person.
        (without("{\"src\": [\"*\"], \"dst\": [\"tag:omni\"], \"ip\": [\"*\"]}"), "grant-network:1"),
        (without("{\"src\": [\"autogroup:tagged\"], \"dst\": [\"*\"], \"ip\": [\"*\"]}"), "grant-network:1"),
        (acl("\"src\": [\"*\"], \"dst\": [\"tag:idp:443\"]"), ""),
        (acl("\"users\": [\"*\"], \"ports\": [\"*:*\"]"), ""),
        (acl("\"proto\": \"udp\", \"src\": [\"*\"], \"dst\": [\"*:*\"]"), "grant-network:1"),
        (acl("\"src\": [\"*\"], \"dst\": [\"tag:omni:*\"]"), "grant-network:1"),
        // Who the user is.
        (claims("[\"user:*@example.com\"]"), ""),
        (claims("[\"user:*@example.org\"]"), "grant-user:7"),
        (claims("[\"Admin@Example.com\"]"), ""),
        (claims("[\"100.64.0.7\"]"), ""),
        (claims("[\"group:elsewhere\"]"), ""),
        (GOOD.replace("// who owns what", "/* who */").replace(",\n]", ",\n /* end */ ]"), ""),
        (GOOD.replace('\n', "\r\n"), ""),
        (GOOD.replace("email_verified", "email\\u005fverified"), ""),
    ];
    for (text, wanted) in cases {
        assert_eq!(rules(&text).join(" "), wanted, "{text}");
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
