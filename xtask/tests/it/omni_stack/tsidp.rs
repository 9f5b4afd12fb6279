//! `tsidp-verify`.

use super::{CANARY, Hub, POLICY, discovery, ps};

#[test]
fn a_good_tsidp_is_verified_from_inside_omnis_network() {
    let hub = Hub::healthy();
    let ran = hub.run(&["tsidp-verify", "--json"]);
    let document = ran.json();
    assert_eq!(ran.code, 0, "{document}");
    let steps: Vec<_> = document["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["id"].as_str().unwrap(), step["status"].as_str().unwrap()))
        .collect();
    assert_eq!(steps, [("issuer", "ok"), ("discovery", "ok"), ("keys", "ok"), ("client", "ok"), ("admin", "ok")]);
    let asked = hub.calls(|line| line.contains(" wget "));
    assert!(
        asked.len() == 3 && asked.iter().all(|line| line.contains("exec -T omni-tailscale wget -q -T 10 -O ")),
        "{asked:?}"
    );
}

#[test]
fn what_stands_in_the_way_is_named() {
    let hub = Hub::healthy();
    hub.say("wget", "wget: bad address 'idp.tail1.ts.net'\n");
    let ran = hub.run(&["tsidp-verify", "--json"]);
    assert_eq!((ran.code, ran.json()["error"]["code"].as_str()), (5, Some("unreachable")));
    assert!(ran.json()["error"]["hint"].as_str().unwrap().contains("MagicDNS"));
    hub.unsay("wget");
    hub.say("discovery.json", &discovery("https://idp-1.tail1.ts.net"));
    let ran = hub.run(&["tsidp-verify", "--json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.json()["error"]["hint"].as_str().unwrap().contains("https://idp-1.tail1.ts.net"), "{}", ran.stdout);
}

#[test]
fn without_a_sidecar_this_host_asks() {
    let hub = Hub::healthy();
    hub.say("ps.json", &ps("exited", "exited", None));
    let ran = hub.run(&["tsidp-verify"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("from this host"), "{}", ran.stderr);
    assert_eq!(hub.calls(|line| line.contains(" exec ")), Vec::<String>::new());
}

#[test]
fn a_policy_is_linted_from_a_file_and_as_pasted() {
    let hub = Hub::new();
    hub.put("policy.hujson", POLICY, 0o600);
    let ran = hub.run(&["tsidp-verify", "--policy", "policy.hujson"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let bad = POLICY.replace("true", "\"true\"");
    let ran = hub.run_with(&["tsidp-verify", "--policy", "-", "--json"], &[], &bad);
    let document = ran.json();
    assert_eq!(ran.code, 1);
    let finding = &document["data"]["findings"][0];
    assert_eq!(
        (finding["rule"].as_str(), finding["line"].as_u64()),
        (Some("grant-email-verified"), Some(6)),
        "{document}"
    );
    let ran = hub.run_with(&["tsidp-verify", "--policy", "-"], &[], "{\n  \"grants\": [\n");
    assert!(ran.code == 1 && ran.stdout.contains("standard input:3:"), "{}", ran.stdout);
    assert_eq!(hub.run(&["tsidp-verify", "--policy", "nowhere"]).code, 1);
}

#[test]
fn nothing_set_up_is_a_missing_value() {
    let ran = Hub::new().run(&["tsidp-verify", "--json"]);
    assert_eq!((ran.code, ran.json()["error"]["missing"][0]["env"].as_str()), (2, Some("OIDC_ISSUER_URL")));
}

#[test]
fn a_secret_of_another_form_is_not_said() {
    let hub = Hub::healthy();
    let secret = hub.values().iter().find(|(key, _)| *key == "OIDC_CLIENT_SECRET").unwrap().1.clone();
    hub.edit("docker/.env", &secret, CANARY);
    let ran = hub.run(&["tsidp-verify"]);
    assert!(ran.code == 0 && ran.stderr.contains("OIDC_CLIENT_SECRET does not have"), "{}", ran.stderr);
}
