//! `doctor`: a healthy hub has nothing wrong, and each trap is found, and nothing else.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Hub, fixture, ps};

const STATE: &str = ".claude/omni-scale.local.md";

/// The checks that are neither ok nor skipped, as `id status`.
fn found(hub: &Hub) -> (i32, Vec<String>) {
    let ran = hub.run(&["doctor", "--json"]);
    let document = ran.json();
    let checks = document["data"]["checks"].as_array().unwrap_or_else(|| panic!("{document:#}"));
    let bad =
        checks.iter().filter(|check| ["failed", "warning", "unknown"].contains(&check["status"].as_str().unwrap()));
    let words = |check: &Value| format!("{} {}", check["id"].as_str().unwrap(), check["status"].as_str().unwrap());
    (ran.code, bad.map(words).collect())
}

#[test]
fn a_healthy_hub_has_nothing_wrong_and_is_told_so_quickly() {
    let hub = Hub::healthy();
    let begun = Instant::now();
    let (exit, bad) = found(&hub);
    assert_eq!((exit, bad), (0, vec![]));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let changed = hub.changes();
    assert!(changed.is_empty(), "{changed:?}");
    let document = hub.run(&["doctor", "--json"]).json();
    for check in document["data"]["checks"].as_array().unwrap() {
        for key in ["id", "area", "status", "detail", "why", "fix", "anchor"] {
            assert!(check[key].is_string(), "{key} of {check}");
        }
    }
}

type Trap = (&'static str, fn(&Hub), &'static [&'static str], i32);

/// Traps that the lab cannot lay ([`crate::traps`] has the others): what it takes to step into each, what is found, and the
/// exit status.
const TRAPS: &[Trap] = &[
    ("clock a little off", |hub| hub.say("skew", "10 seconds ago"), &["host.clock warning"], 0),
    (
        "a container ended",
        |hub| hub.say("ps.json", &ps("running", "running", Some("exited"))),
        &["docker.containers failed", "provider.registration unknown"],
        1,
    ),
    (
        "a leaf alone is served",
        |hub| hub.say("served.pem", &fixture("certificates/leaf.pem")),
        &["certificates.served failed"],
        1,
    ),
    ("mounts not told", |hub| hub.say("mounts.json", "x"), &["omni.data unknown", "tailscale.data unknown"], 0),
    (
        "the default account",
        |hub| hub.set("OMNI_ACCOUNT_UUID", "edd2822a-7834-4fe0-8172-cc5581f13a8d"),
        &["omni.account warning"],
        0,
    ),
    ("a backup that is gone", |hub| hub.edit(STATE, "/proc/version", "/proc/none"), &["omni.backup warning"], 0),
    (
        "an old backup",
        |hub| hub.edit(STATE, "last_backup_at: \"2099", "last_backup_at: \"2020"),
        &["omni.backup warning"],
        0,
    ),
    (
        "no verified backup",
        |hub| hub.edit(STATE, "verified_backup_at: \"2099", "x: \"2099"),
        &["omni.backup warning"],
        0,
    ),
    ("a secret of two lines", |hub| hub.set("OIDC_CLIENT_SECRET", "\"a\\nb\""), &["files.env failed"], 1),
    ("a secret after blanks", |hub| hub.set("OIDC_CLIENT_SECRET", "'  0f1e2d3c'"), &["files.env failed"], 1),
    (
        "an older omnictl",
        |hub| hub.say("omnictl", "omnictl version v1.8.2 (API Version: 2)\n"),
        &["omni.versions warning"],
        0,
    ),
    ("the provider's id in capitals", |hub| hub.say("provider", "Proxmox"), &["provider.id failed"], 1),
    (
        "a placeholder in the provider's login",
        |hub| hub.edit("docker/config.yaml", "omni@pve!provider", "<TOKEN_ID>"),
        &["provider.config failed", "provider.proxmox unknown"],
        1,
    ),
    (
        "secrets in git",
        |hub| hub.git(&["add", "-f", "docker/config.yaml"]),
        &["files.tracked failed", "files.secrets failed"],
        1,
    ),
];

#[test]
fn each_trap_is_found_and_nothing_else() {
    for (name, step_into, wanted, exit) in TRAPS {
        let hub = Hub::healthy();
        step_into(&hub);
        let (ended, bad) = found(&hub);
        assert!(bad == *wanted && ended == *exit, "{name}: {bad:?}, exit {ended}");
    }
}

#[test]
fn a_value_of_the_shell_that_goes_before_the_file_is_told() {
    let hub = Hub::healthy();
    let look = |key: &str, value: &str| {
        let document = hub.run_with(&["doctor", "--area", "files", "--json"], &[(key, value)], "").json();
        let checks = document["data"]["checks"].as_array().unwrap().clone();
        let env = checks.iter().find(|check| check["id"] == "files.env").unwrap().clone();
        (env["status"].as_str().unwrap().to_owned(), env["fix"].as_str().unwrap().to_owned())
    };
    let (status, fix) = look("OMNI_PROVIDER_ID", "other");
    assert!(status == "warning" && fix.contains("unset OMNI_PROVIDER_ID"), "{status} {fix}");
    assert_eq!(look("OMNI_PROVIDER_ID", "proxmox").0, "ok");
    assert_eq!(look("PROVIDER_CA_FILE", "/x.pem").0, "ok", "the file says nothing of it");
}

/// `docker context use`, and engines without root, which are this host's.
#[test]
fn the_engine_of_a_context_is_the_one_that_is_judged() {
    let hub = Hub::healthy();
    hub.unsay("ps.json");
    for (name, address) in [("there", "ssh://ops@omni.lan"), ("rootless", "unix:///run/user/1000/docker.sock")] {
        let meta = format!("{{\"Name\":\"{name}\",\"Endpoints\":{{\"docker\":{{\"Host\":\"{address}\"}}}}}}");
        hub.put(&format!("target/docker/contexts/meta/{name}0f/meta.json"), &meta, 0o600);
    }
    let config = hub.project().join("target/docker").display().to_string();
    let there = |used: &str, context: &str| {
        hub.put("target/docker/config.json", &format!("{{\"currentContext\":{used}}}"), 0o600);
        let env = [("DOCKER_HOST", ""), ("DOCKER_CONFIG", &*config), ("DOCKER_CONTEXT", context)];
        let document = hub.run_with(&["doctor", "--area", "network", "--json"], &env, "").json();
        let checks = document["data"]["checks"].as_array().unwrap().clone();
        let ports = checks.iter().find(|check| check["id"] == "network.ports").unwrap();
        ports["detail"].as_str().unwrap().contains("on another host")
    };
    assert!(there("\"there\"", "") && there("null", "there") && there("null", "nowhere"));
    assert!(!there("\"rootless\"", "") && !there("\"there\"", "default") && !there("null", ""));
}

#[test]
fn what_docker_and_the_services_answer_is_judged_together() {
    let check = |hub: &Hub, id: &str| {
        let document = hub.run(&["doctor", "--json"]).json();
        let checks = document["data"]["checks"].as_array().unwrap().clone();
        let found = checks.iter().find(|check| check["id"] == id).unwrap();
        ["status", "detail", "fix"].map(|field| found[field].as_str().unwrap_or_default().to_owned())
    };
    let hub = Hub::healthy();
    hub.say("ps.json", "");
    let [status, detail, _] = check(&hub, "docker.containers");
    assert!(status == "warning" && detail.contains("not up here, and Omni answers"), "{status} {detail}");
    hub.say("ps.json", &ps("running", "exited", Some("running")));
    hub.say("omni-down", "");
    let [status, _, fix] = check(&hub, "docker.containers");
    assert!(status == "failed" && fix.starts_with("`cargo xtask stack-up` starts what has ended"), "{status} {fix}");
    let [status, detail, _] = check(&hub, "omni.health");
    assert!(status == "unknown" && detail.contains("docker.containers says why"), "{status} {detail}");
    // An address that answers is somebody's own, whatever it looks like.
    let hub = Hub::healthy();
    hub.edit("docker/config.yaml", "pve.home.arpa", "pve.example.com");
    assert_eq!(check(&hub, "provider.config")[0], "ok");
    hub.say("pve-refuses", "");
    let [status, detail, _] = check(&hub, "provider.config");
    assert!(status == "warning" && detail.contains("is an address for examples"), "{status} {detail}");
}

#[test]
fn an_area_is_looked_at_alone() {
    let hub = Hub::healthy();
    let document = hub.run(&["doctor", "--area", "keys", "--area", "files", "--json"]).json();
    let areas = document["data"]["checks"].as_array().unwrap().iter().map(|check| check["area"].as_str().unwrap());
    let mut areas: Vec<&str> = areas.collect();
    areas.dedup();
    assert_eq!(areas, ["keys", "files"]);
    assert_eq!(hub.calls(|line| line.starts_with("docker")), Vec::<String>::new());
    assert_eq!(hub.run(&["doctor", "--area", "nonsense"]).code, 2);
}

#[test]
fn where_nothing_is_set_up_nothing_is_wrong() {
    let ran = Hub::new().run(&["doctor", "--json"]);
    let document = ran.json();
    assert_eq!((ran.code, &document["data"]["counts"]["failed"]), (0, &0.into()), "{document:#}");
    assert_eq!(document["next"][0], "cargo xtask omni-setup");
}

#[test]
fn people_are_told_why_and_what_to_do() {
    let hub = Hub::healthy();
    hub.say("provider", "Proxmox");
    let ran = hub.run(&["doctor"]);
    assert!(
        ran.stdout.contains("failed provider.id: Omni knows `Proxmox`, docker/.env says `proxmox`\n    why: "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("fix: set OMNI_PROVIDER_ID in docker/.env to Proxmox"), "{}", ran.stdout);
    assert!(ran.stdout.contains("read: docs/how-to/deployment.md#7-the-proxmox-provider"), "{}", ran.stdout);
}
