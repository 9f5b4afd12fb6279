//! `tsidp-verify`.

use super::{CANARY, Hub, ps};

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
fn without_a_sidecar_this_host_asks() {
    let hub = Hub::healthy();
    hub.say("ps.json", &ps("exited", "exited", None));
    let ran = hub.run(&["tsidp-verify"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("from this host"), "{}", ran.stderr);
    assert_eq!(hub.calls(|line| line.contains(" exec ")), Vec::<String>::new());
}

#[test]
fn a_secret_of_another_form_is_not_said() {
    let hub = Hub::healthy();
    let secret = hub.values().iter().find(|(key, _)| *key == "OIDC_CLIENT_SECRET").unwrap().1.clone();
    hub.edit("docker/.env", &secret, CANARY);
    let ran = hub.run(&["tsidp-verify"]);
    assert!(ran.code == 0 && ran.stderr.contains("OIDC_CLIENT_SECRET does not have"), "{}", ran.stderr);
}
