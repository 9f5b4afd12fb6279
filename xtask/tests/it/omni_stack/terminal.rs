//! `omni-setup` on a terminal: what it asks, what it shows of the answers, and that the licence is the operator's affair.

use super::{CANARY, Hub, ps};
use crate::terminal::Talk;

/// A question as it shows, and what is typed; an empty answer takes what stands in brackets.
type Answer<'a> = (&'a str, String);

/// Runs a task on a terminal and answers its questions: the exit status, and what was shown.
fn on_terminal(hub: &Hub, words: &[&str], answers: &[Answer<'_>]) -> (i32, String) {
    let answers: Vec<(&str, &str)> = answers.iter().map(|(question, answer)| (*question, answer.as_str())).collect();
    let talk = Talk::with(hub.command(words).env("TERM", "xterm"), &answers);
    (talk.code, talk.shown)
}

/// A fresh host, and the answers that an operator gives there.
fn fresh() -> (Hub, Vec<Answer<'static>>) {
    let hub = Hub::healthy();
    for name in ["docker/.env", "docker/omni.asc", "docker/config.yaml"] {
        std::fs::remove_file(hub.project().join(name)).unwrap();
    }
    hub.unsay("ps.json");
    hub.unsay("volume");
    hub.say("up.json", &ps("running", "running", None));
    let values = hub.values();
    let value = |key: &str| values.iter().find(|(name, _)| *name == key).unwrap().1.clone();
    let answers = vec![
        ("Domain of Omni: ", value("OMNI_DOMAIN")),
        ("Address of this host on the LAN: ", value("OMNI_LAN_ADDRESS")),
        ("E-mail address of the first administrator: ", value("OMNI_INITIAL_USER")),
        ("Path of the certificate [/etc/letsencrypt/live/127.0.0.1/fullchain.pem]: ", value("OMNI_TLS_CERT")),
        ("Path of the certificate's key [/etc/letsencrypt/live/127.0.0.1/privkey.pem]: ", value("OMNI_TLS_KEY")),
        ("Address of tsidp: ", value("OIDC_ISSUER_URL")),
        ("Id of Omni's client in tsidp: ", value("OIDC_CLIENT_ID")),
        ("Secret of Omni's client in tsidp (not shown): ", value("OIDC_CLIENT_SECRET")),
        ("Tailscale auth key of the sidecar (not shown): ", value("TS_AUTHKEY")),
    ];
    (hub, answers)
}

#[test]
fn every_value_is_asked_for_and_the_licence_is_the_operators() {
    let (hub, mut answers) = fresh();
    answers.push(("Set up Omni at https://127.0.0.1 as shown? [y/N]: ", "y".to_owned()));
    let (exit, shown) = on_terminal(&hub, &["omni-setup"], &answers);
    assert_eq!(exit, 0, "{shown}");
    assert!(!shown.contains(CANARY) && !shown.contains(&"0f1e2d3c4b5a6978".repeat(4)), "a secret was shown: {shown}");
    assert_eq!((hub.mode("docker/.env"), hub.mode("docker/omni.asc")), (0o600, 0o600));
    let env = hub.get("docker/.env");
    assert!(env.contains(&format!("TS_AUTHKEY=tskey-auth-{CANARY}")), "what was typed is written");
    assert!(shown.contains("This task cannot accept it") && shown.contains("/eula"), "{shown}");
    assert_eq!(hub.calls(|line| line.contains("eula")), Vec::<String>::new(), "nobody answered it");
}

#[test]
fn a_no_changes_nothing() {
    let (hub, mut answers) = fresh();
    answers.push(("Set up Omni at https://127.0.0.1 as shown? [y/N]: ", "n".to_owned()));
    let (exit, shown) = on_terminal(&hub, &["omni-setup"], &answers);
    assert_eq!(exit, 130, "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert!(!hub.project().join("docker/.env").exists() && !hub.project().join("docker/omni.asc").exists());
    assert_eq!(hub.changes(), Vec::<String>::new());
}

#[test]
fn invalid_answers_are_asked_again_and_valid_ones_kept() {
    let (hub, answers) = fresh();
    let value = |at: usize| answers[at].1.clone();
    let bad = |at: usize, text: &str| (answers[at].0, text.to_owned());
    let good = |at: usize| (answers[at].0, value(at));
    let typed = vec![
        bad(0, "omni example"),
        bad(0, "https://127.0.0.1/"),
        bad(1, "omni.example.org"),
        good(1),
        bad(2, "the admin"),
        good(2),
        bad(3, "/no/such/fullchain.pem"),
        good(3),
        bad(4, "/no/such/privkey.pem"),
        good(4),
        bad(5, "https://127.0.0.1"),
        good(5),
        bad(6, "0f1e2d3c"),
        good(6),
        bad(7, "0f1e2d3c4b5a6978"),
        good(7),
        bad(8, "tskey"),
        good(8),
        ("[y/N]: ", "n".to_owned()),
    ];
    let (exit, shown) = on_terminal(&hub, &["omni-setup"], &typed);
    assert_eq!(exit, 130, "{shown}");
    for reason in [
        "is not a valid host name",
        "is not a valid IP address",
        "is not a valid e-mail address",
        "/no/such/fullchain.pem does not exist",
        "/no/such/privkey.pem does not exist",
        "is Omni itself",
        "it has 8 hexadecimal digits, and tsidp makes 32",
        "it has 16 hexadecimal digits, and tsidp makes 64",
        "it is only the beginning of a key",
    ] {
        assert!(shown.contains(reason), "{reason}: {shown}");
    }
    assert!(!shown.contains(CANARY) && !shown.contains("0f1e2d3c4b5a6978"), "a secret was shown: {shown}");
    assert_eq!(hub.mode("docker/.answers.omni-setup"), 0o600);
    assert!(!hub.project().join("docker/.env").exists());
    // The next run offers what was typed, secrets without showing them.
    let taken = |question: &'static str| (question, String::new());
    let again = vec![
        taken("Domain of Omni [https://127.0.0.1/]: "),
        taken("Address of this host on the LAN ["),
        taken("E-mail address of the first administrator ["),
        taken("Path of the certificate ["),
        taken("Path of the certificate's key ["),
        taken("Address of tsidp ["),
        taken("Id of Omni's client in tsidp ["),
        taken("Secret of Omni's client in tsidp (not shown; press Enter to keep the earlier answer): "),
        taken("Tailscale auth key of the sidecar (not shown; press Enter to keep the earlier answer): "),
        ("[y/N]: ", "y".to_owned()),
    ];
    let (exit, shown) = on_terminal(&hub, &["omni-setup"], &again);
    assert_eq!(exit, 0, "{shown}");
    assert!(hub.get("docker/.env").contains(&format!("TS_AUTHKEY=tskey-auth-{CANARY}")));
    assert!(!hub.project().join("docker/.answers.omni-setup").exists(), "they are where they belong");
}

#[test]
fn provider_setup_completes_an_address_and_loses_no_answer() {
    let hub = Hub::healthy();
    std::fs::remove_file(hub.project().join("docker/config.yaml")).unwrap();
    let (address, token) = ("Address of Proxmox (https://…:8006)", "Proxmox API token (user@realm!name=secret)");
    let typed = [
        (address, "root@127.0.0.1".to_owned()),
        (address, "pve example".to_owned()),
        (address, "127.0.0.1".to_owned()),
        (token, "root@pam".to_owned()),
        (token, format!("omni@pve!provider={CANARY}")),
    ];
    let (exit, shown) = on_terminal(&hub, &["provider-setup"], &typed);
    assert!(exit != 0 && exit != 130, "nothing answers there: {shown}");
    for words in ["there is a login in the address", "is not the address of a host", "it has no `=`"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(shown.contains("https://127.0.0.1:8006/api2/json") && !shown.contains(CANARY), "{shown}");
    let again = [
        ("Address of Proxmox (https://…:8006) [127.0.0.1]: ", String::new()),
        ("(not shown; press Enter to keep the earlier answer): ", String::new()),
    ];
    let (exit, shown) = on_terminal(&hub, &["provider-setup"], &again);
    assert!(exit != 0 && exit != 130 && !shown.contains(CANARY), "{shown}");
}
