//! `omni-setup`, `omni-verify`, `omni-status`.

use super::{Hub, key, ps};

fn has_gpg() -> bool {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join("gpg").is_file());
    if !found {
        eprintln!("skipped: gpg is not installed");
    }
    found
}

#[test]
fn what_belongs_to_a_store_is_never_made_anew() {
    // The store is there, its key is not.
    let hub = Hub::healthy();
    std::fs::remove_file(hub.project().join("docker/omni.asc")).unwrap();
    let ran = hub.run(&["omni-setup", "--yes", "--json"]);
    assert_eq!((ran.code, ran.json()["error"]["code"].as_str()), (1, Some("conflict")), "{}", ran.stdout);
    assert!(!hub.project().join("docker/omni.asc").exists());
    // Another account.
    let hub = Hub::healthy();
    let ran = hub.run(&["omni-setup", "--yes", "--json", "--account-uuid", "11111111-2222-4333-8444-555555555555"]);
    assert_eq!(ran.json()["error"]["code"], "conflict");
    // No account in the file.
    hub.edit("docker/.env", "OMNI_ACCOUNT_UUID=", "X=");
    assert_eq!(hub.run(&["omni-setup", "--yes", "--json"]).json()["error"]["code"], "conflict");
    // Another name.
    let hub = Hub::healthy();
    let ran = hub.run(&["omni-setup", "--yes", "--json", "--domain", "hub.example.org"]);
    assert!(ran.json()["error"]["message"].as_str().unwrap().contains("cannot become"), "{}", ran.stdout);
    // A key with a passphrase is not used.
    let hub = Hub::healthy();
    hub.put("docker/omni.asc", &super::armored("PGP PRIVATE KEY BLOCK", &super::fixture("pgp/passphrase.b64")), 0o600);
    let ran = hub.run(&["omni-setup", "--yes", "--json"]);
    assert!(ran.code == 1 && ran.stdout.contains("passphrase"), "{}", ran.stdout);
    assert!(hub.changes().is_empty());
}

#[test]
fn modes_are_mended_and_changed_values_make_all_anew() {
    if !has_gpg() {
        return;
    }
    let hub = Hub::healthy();
    hub.say("up.json", &ps("running", "running", Some("running")));
    hub.put("docker/.env", &hub.get("docker/.env"), 0o644);
    let ran = hub.run(&["omni-setup", "--yes", "--client-id", &"abcdef0123456789".repeat(2)]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(hub.mode("docker/.env"), 0o600);
    assert_eq!(
        hub.changes(),
        ["docker compose -f @/project/docker/compose.yaml --profile provider up -d --force-recreate"]
    );
}

#[test]
fn a_service_account_is_made_renewed_and_told() {
    if !has_gpg() {
        return;
    }
    let hub = Hub::healthy();
    // Its key lasts: nothing to do.
    let ran = hub.run(&["omni-setup", "--yes", "--json", "--service-account"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(ran.json()["data"]["licence"], "accepted");
    assert_eq!(hub.calls(|line| line.contains("serviceaccount")), Vec::<String>::new());
    // Its key is about to end.
    hub.set("OMNI_SERVICE_ACCOUNT_KEY", &key("automation", 3));
    let new = key("automation", 365);
    hub.say("new-key", &new);
    hub.say("account", "automation Operator 50b7 2026-12-22\n");
    let dry = hub.run(&["omni-setup", "--dry-run", "--json", "--service-account"]);
    let plan = dry.json()["data"]["plan"].clone();
    assert_eq!((dry.code, plan.as_array().unwrap().len(), &plan[0]["verb"]), (3, 1, &"renew".into()), "{plan}");
    assert!(plan[0]["undo"].as_str().unwrap().starts_with("nothing to undo"), "{plan}");
    std::fs::remove_file(hub.dir.join("calls")).unwrap();
    let ran = hub.run(&["omni-setup", "--yes", "--json", "--service-account"]);
    let document = ran.json();
    assert_eq!(ran.code, 0, "{document}");
    assert!(hub.get("docker/.env").contains(&new));
    assert_eq!(document["data"]["service_account"]["role"], "Operator");
    assert!(!ran.stdout.contains(&new), "the key is not said");
    assert!(hub.get(".claude/omni-scale.local.md").contains("service_account_expires"));
    assert_eq!(
        hub.calls(|line| line.contains("serviceaccount")),
        ["omnictl serviceaccount list", "omnictl serviceaccount renew -- automation"]
    );
    // Another account's key is not written over.
    hub.edit("docker/.env", &new, &key("somebody", 300));
    let ran = hub.run(&["omni-setup", "--yes", "--json", "--service-account"]);
    assert_eq!(ran.json()["error"]["code"], "conflict", "{}", ran.stdout);
}

#[test]
fn a_service_account_has_a_plain_name_and_a_known_role() {
    let hub = Hub::healthy();
    let long = "a".repeat(64);
    for name in ["--role=Admin", "-h", "", "a b", "a@b", "a/b", "ä", ".", &long] {
        let flag = format!("--service-account-name={name}");
        let ran = hub.run(&["omni-setup", "--yes", "--json", "--service-account", "Reader", &flag]);
        assert_eq!((ran.code, &ran.json()["error"]["code"]), (2, &"usage".into()), "{name:?}: {}", ran.stdout);
    }
    for role in ["operator", "InfraProvider", "--ttl=1h", "Owner"] {
        let ran = hub.run(&["omni-setup", "--yes", "--json", &format!("--service-account={role}")]);
        assert_eq!((ran.code, &ran.json()["error"]["code"]), (2, &"usage".into()), "{role:?}: {}", ran.stdout);
        assert!(ran.json()["error"]["cause"].as_str().unwrap().contains("Reader, Operator, Admin"));
    }
    assert_eq!(hub.calls(|line| line.contains("serviceaccount")), Vec::<String>::new());
}

/// A key that has expired cannot renew itself, and an Operator's may not: the operator's own login does.
#[test]
fn a_key_that_may_not_renew_itself_is_renewed_by_its_operator() {
    if !has_gpg() {
        return;
    }
    let words = ["omni-setup", "--yes", "--json", "--service-account", "Operator"];
    let role = "Error: rpc error: code = PermissionDenied desc = unauthorized: access denied: insufficient role: \"Operator\"\n";
    for (old, refused) in [(key("automation", -1), false), (key("automation", 3), true), ("junk".to_owned(), false)] {
        let hub = Hub::healthy();
        hub.set("OMNI_SERVICE_ACCOUNT_KEY", &old);
        hub.say("account", "automation Operator 50b7 2026-12-22\n");
        hub.say("new-key", &key("automation", 365));
        if refused {
            hub.say("small-role", role);
        }
        let ran = hub.run(&words);
        assert_ne!(ran.code, 0, "nobody else is logged in: {}", ran.stdout);
        let hint = ran.json()["error"]["hint"].as_str().unwrap().to_owned();
        assert!(old == "junk" || hint.contains("docs/how-to/deployment.md"), "{hint}");
        assert!(hub.get("docker/.env").contains(&old));
        let login = hub.dir.join("home/.talos/omni");
        std::fs::create_dir_all(&login).unwrap();
        let config =
            "contexts: {default: {url: 'https://127.0.0.1', auth: {siderov1: {identity: a@b.c}}}}\ncontext: default\n";
        std::fs::write(login.join("config"), config).unwrap();
        // A key in the environment would go before that login, and is what the operator meant.
        let ran = hub.run_with(&words, &[("OMNI_SERVICE_ACCOUNT_KEY", &key("other", -1))], "");
        assert_eq!(ran.json()["error"]["code"], "refused", "{}", ran.stdout);
        let ran = hub.run(&words);
        let document = ran.json();
        assert_eq!((ran.code, &document["data"]["service_account"]["name"]), (0, &"automation".into()), "{document:#}");
        assert!(!hub.get("docker/.env").contains(&old), "the new key took its place");
    }
}

#[test]
fn a_healthy_omni_is_verified() {
    let hub = Hub::healthy();
    let ran = hub.run(&["omni-verify", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(ran.json()["summary"], "Omni is healthy");
    hub.say("omni-down", "");
    let ran = hub.run(&["omni-verify", "--json"]);
    assert_eq!((ran.code, ran.json()["error"]["code"].as_str()), (5, Some("unreachable")), "{}", ran.stdout);
    assert_eq!(Hub::new().run(&["omni-verify"]).code, 4);
}

#[test]
fn the_status_is_dockers_alone() {
    let hub = Hub::healthy();
    hub.say("omni-down", "");
    let ran = hub.run(&["omni-status", "--json"]);
    assert_eq!((ran.code, ran.json()["data"]["omni_status"].as_str()), (0, Some("healthy")), "{}", ran.stdout);
    let shown = hub.run(&["omni-status"]).stdout;
    assert!(shown.contains("50180/udp") && shown.contains("/_out/etcd, /_out/sqlite/omni.db on mounts"), "{shown}");
    hub.say("ps.json", &ps("running", "restarting", None));
    hub.say("log", "failed to read private key file '/omni.asc': open /omni.asc: no such file or directory\n");
    let ran = hub.run(&["omni-status", "--json"]);
    let document = ran.json();
    assert_eq!((ran.code, document["data"]["omni_status"].as_str()), (1, Some("down")));
    assert!(!document["error"]["hint"].as_str().unwrap().is_empty(), "{document}");
}
