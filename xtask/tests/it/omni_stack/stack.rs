//! `stack-up`, `stack-down`, `stack-logs`.

use super::{Hub, ps};

const UP: &str = "docker compose -f @/project/docker/compose.yaml up -d";
const BARE: &str = r#"{"mounts":[],"args":["--sqlite-storage-path=/_out/sqlite/omni.db"]}"#;

#[test]
fn the_stack_starts_without_the_provider_until_that_is_set_up() {
    let hub = Hub::healthy();
    hub.unsay("ps.json");
    hub.edit("docker/.env", "OMNI_INFRA_PROVIDER_KEY=", "X=");
    hub.say("up.json", &ps("running", "running", None));
    let ran = hub.run(&["stack-up", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(hub.changes(), [UP]);
    assert!(ran.stderr.contains("stays off: it has no key"), "{}", ran.stderr);
}

#[test]
fn the_stack_starts_with_the_provider_and_is_made_anew_when_asked() {
    let hub = Hub::healthy();
    let with = "docker compose -f @/project/docker/compose.yaml --profile provider up -d";
    assert_eq!(hub.run(&["stack-up", "--yes", "--json"]).code, 0);
    assert_eq!(hub.run(&["stack-up", "--yes", "--recreate"]).code, 0);
    // A sidecar that ended alone: what stayed has a dead network.
    hub.say("ps.json", &ps("exited", "running", Some("running")));
    hub.say("up.json", &ps("running", "running", Some("running")));
    assert_eq!(hub.run(&["stack-up", "--yes"]).code, 0);
    let anew = format!("{with} --force-recreate");
    assert_eq!(hub.changes(), [with, &anew, &anew]);
}

#[test]
fn stack_up_plans_the_versions_that_would_change() {
    let hub = Hub::healthy();
    let effect = |hub: &Hub| {
        let ran = hub.run(&["stack-up", "--dry-run", "--json"]);
        ran.json()["data"]["plan"][0]["effect"].as_str().unwrap_or_default().to_owned()
    };
    assert!(!effect(&hub).contains('→'), "{}", effect(&hub));
    hub.edit("docker/compose.yaml", "siderolabs/omni:v1.9.3", "siderolabs/omni:v1.12.0");
    assert!(effect(&hub).ends_with("; omni v1.9.3 → v1.12.0"), "{}", effect(&hub));
    hub.edit("docker/compose.yaml", "omni-infra-provider-proxmox:v0.2.0", "omni-infra-provider-proxmox:v0.3.0");
    let both = "; omni v1.9.3 → v1.12.0; proxmox-provider v0.2.0 → v0.3.0";
    assert!(effect(&hub).ends_with(both), "{}", effect(&hub));
    hub.say("ps.json", &ps("running", "exited", Some("running")));
    let ran = hub.run(&["omni-setup", "--dry-run", "--json"]);
    assert!(ran.stdout.contains("omni v1.9.3 → v1.12.0"), "{}", ran.stdout);
}

#[test]
fn a_plan_and_a_missing_consent_change_nothing() {
    let hub = Hub::healthy();
    let ran = hub.run(&["stack-up", "--dry-run", "--json"]);
    assert_eq!((ran.code, ran.json()["data"]["plan"][0]["verb"].as_str()), (3, Some("start")));
    assert_eq!(hub.run(&["stack-up"]).code, 2);
    assert_eq!(hub.run(&["stack-down"]).code, 2);
    assert_eq!(hub.run(&["stack-down", "--dry-run"]).code, 3);
    assert_eq!(hub.changes(), Vec::<String>::new());
}

#[test]
fn data_that_is_on_no_mount_is_not_put_at_risk() {
    let hub = Hub::healthy();
    hub.say("mounts.json", BARE);
    for words in [["stack-up", "--yes"], ["stack-up", "--yes"], ["stack-down", "--yes"], ["omni-setup", "--yes"]] {
        let ran = hub.run(&[words[0], words[1], "--json"]);
        let document = ran.json();
        assert_eq!((ran.code, document["error"]["code"].as_str()), (1, Some("conflict")), "{words:?} {document}");
        assert!(document["error"]["cause"].as_str().unwrap().contains("/_out/etcd is on no mount"), "{document}");
        assert!(document["error"]["hint"].as_str().unwrap().contains("docker cp"), "{document}");
    }
    // Not to be told is no reason to go on either.
    hub.say("mounts.json", "nonsense");
    for task in ["stack-up", "stack-down"] {
        let ran = hub.run(&[task, "--yes", "--json"]);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.json()["error"]["message"].as_str().unwrap().contains("not known"));
    }
    assert_eq!(hub.changes(), Vec::<String>::new());
}

#[test]
fn the_stack_ends_and_keeps_its_volumes() {
    let hub = Hub::healthy();
    let ran = hub.run(&["stack-down", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(hub.changes(), ["docker compose -p omni-scale --env-file /dev/null down"]);
    let again = hub.run(&["stack-down", "--yes"]);
    assert!(again.code == 0 && again.stderr.contains("down already"), "{}", again.stderr);
    assert_eq!(hub.changes().len(), 1);
    assert_eq!(hub.calls(|line| line.contains(" -v") || line.contains("--volumes")), Vec::<String>::new());
    // There is no flag for it either.
    assert_eq!(hub.run(&["stack-down", "--yes", "--volumes"]).code, 2);
}

#[test]
fn a_container_that_does_not_stay_up_is_explained_by_its_log() {
    let hub = Hub::healthy();
    hub.unsay("ps.json");
    hub.say("up.json", &ps("running", "restarting", Some("running")));
    hub.say("log", "failed to run Omni: failed to decrypt slot 'Omni 0a1b': gopenpgp: unable to unlock key: gopenpgp: error in unlocking key: openpgp: invalid data: private key checksum failure\n");
    let ran = hub.run(&["stack-up", "--yes", "--json"]);
    let error = &ran.json()["error"];
    assert_eq!(ran.code, 1);
    assert!(error["message"].as_str().unwrap().contains("`omni` does not stay up"), "{error}");
    assert!(error["hint"].as_str().unwrap().starts_with("known issue `"), "{error}");
}

#[test]
fn logs_name_what_is_known() {
    let hub = Hub::healthy();
    hub.say("log", "one\nfailed to read private key file '/omni.asc': open /omni.asc: no such file or directory\n");
    let ran = hub.run(&["stack-logs", "omni", "--tail", "7", "--json"]);
    let document = ran.json();
    assert_eq!(ran.code, 0);
    assert_eq!(document["data"]["logs"]["omni"].as_array().unwrap().len(), 2);
    let known = &document["data"]["known_issues"][0];
    assert_eq!((known["service"].as_str(), known["line"].as_u64()), (Some("omni"), Some(2)), "{document}");
    assert_eq!(hub.calls(|line| line.contains("--tail=7")).len(), 1);
    let all = hub.run(&["stack-logs"]);
    assert!(all.stdout.contains("==> omni-tailscale <==") && all.stdout.contains("==> proxmox-provider <=="));
    assert!(all.stdout.contains("known issue "), "{}", all.stdout);
    let followed = hub.run(&["stack-logs", "omni", "--follow"]);
    assert!(followed.code == 0 && followed.stdout.contains("known issue "), "{}", followed.stdout);
    assert_eq!(hub.run(&["stack-logs", "--follow", "--json"]).code, 2);
    let unknown = hub.run(&["stack-logs", "onmi", "--json"]);
    assert_eq!((unknown.code, unknown.json()["error"]["hint"].as_str()), (1, Some("did you mean `omni`?")));
}

#[test]
fn nothing_is_started_that_is_not_set_up() {
    let hub = Hub::new();
    let ran = hub.run(&["stack-up", "--yes", "--json"]);
    assert_eq!((ran.code, ran.json()["next"][0].as_str()), (4, Some("cargo xtask omni-setup")));
    assert_eq!(hub.changes(), Vec::<String>::new());
}

/// Compose's own variables, left over from another project, would make it start a second, empty Omni beside this one.
#[test]
fn the_stack_is_this_projects_whatever_the_shell_says_of_compose() {
    let env = [
        ("COMPOSE_PROJECT_NAME", "other"),
        ("COMPOSE_PROFILES", "debug"),
        ("COMPOSE_ENV_FILES", "/nowhere"),
        ("COMPOSE_DISABLE_ENV_FILE", "1"),
    ];
    for words in [&["stack-up", "--yes"][..], &["stack-logs", "omni"], &["omni-status"], &["stack-down", "--yes"]] {
        let ran = Hub::healthy().run_with(words, &env, "");
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.stderr);
    }
}

#[test]
fn stopped_stack_leads_to_stack_up_from_every_task() {
    let hub = Hub::healthy();
    hub.say("ps.json", "");
    hub.say("omni-down", "");
    for task in ["doctor", "provider-status", "omni-status"] {
        let ran = hub.run(&[task, "--json"]);
        let document = ran.json();
        assert_eq!((ran.code, document["next"][0].as_str()), (1, Some("cargo xtask stack-up")), "{task}: {document:#}");
    }
    let doctor = hub.run(&["doctor", "--json"]).json();
    assert_eq!(doctor["error"]["hint"], "`cargo xtask stack-up`", "{doctor:#}");
    let omni = hub.run(&["omni-status"]);
    assert!(omni.stdout.contains("Omni has no container now") && !omni.stdout.contains(" yet"), "{}", omni.stdout);
    let fresh = Hub::new().run(&["omni-status", "--json"]);
    assert_eq!(fresh.json()["next"][0], "cargo xtask omni-setup", "{}", fresh.stdout);
}

#[test]
fn provider_that_has_ended_is_started_again_and_not_connected() {
    let hub = Hub::healthy();
    hub.say("ps.json", &ps("running", "running", Some("exited")));
    let status = hub.run(&["provider-status", "--json"]).json();
    assert_eq!(status["next"][0], "cargo xtask stack-up", "{status:#}");
    assert_eq!(status["steps"][0]["status"], "warning", "{status:#}");
    let verify = hub.run(&["provider-verify", "--json"]).json();
    let steps = verify["steps"].as_array().unwrap();
    let registration = steps.iter().find(|step| step["id"] == "registration").unwrap();
    assert_ne!(registration["status"], "ok", "{verify:#}");
    assert_eq!(verify["next"][0], "cargo xtask stack-up", "{verify:#}");
}
