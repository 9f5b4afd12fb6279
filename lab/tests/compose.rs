//! Compares the stand-in for docker compose with output recorded from docker compose 5.5.1 on an engine 20.10.
#![allow(clippy::unwrap_used)] // a test that cannot continue should panic

mod harness;

use std::collections::BTreeMap;

use harness::{Lab, recording, recordings, without_ids};
use regex::Regex;

const KEY: (&str, &str) = ("OMNI_INFRA_PROVIDER_KEY", "x");

fn lab(args: &[&str]) -> Lab {
    let lab = Lab::start(&[&["--omni-version", "1.4.9"], args].concat());
    lab.project.write("docker/compose.yaml", include_str!("fixtures/compose/input-compose.yaml"));
    lab.project.write("docker/bad.yaml", "a: [\n");
    lab
}

/// Makes output comparable between runs: removes IDs, times and ages, and sorts labels.
fn plain(lab: &Lab, text: &str) -> String {
    let text = text.replace(&lab.project.0.display().to_string(), "/srv/omni-scale");
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        match serde_json::from_str::<serde_json::Value>(line) {
            Ok(mut value) if value.get("Labels").is_some() => {
                let labels = value["Labels"].as_str().unwrap().split(",com.");
                let mut labels: Vec<&str> = labels.map(|label| label.trim_start_matches("com.")).collect();
                labels.sort_unstable();
                value["Labels"] = labels.join(",").into();
                // The order of the keys is part of the recording.
                let keys: Vec<&str> = line.match_indices(",\"").map(|(at, _)| &line[at + 2..at + 6]).collect();
                out.push_str(&format!("{}\n", without_ages(&value.to_string())));
                out.push_str(&format!("{}\n", keys.len()));
            }
            _ => out.push_str(&without_ages(line)),
        }
    }
    without_ids(&out)
}

fn without_ages(line: &str) -> String {
    let ages = Regex::new("Less than a second|1 second\\b|[0-9]+ seconds|About a minute").unwrap();
    // The width of the table depends on its ages.
    let line = ages.replace_all(line, "<age>");
    line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("   ")
}

fn replay(lab: &Lab, name: &str, env: &[(&str, &str)]) {
    lab.replay(&recording("compose", name), env, |text| plain(lab, text));
}

#[test]
fn every_recording_is_reproduced() {
    let lab = lab(&["--clock", "50", "--fault", "docker-sidecar-died:2"]);
    for name in ["version-json", "config-ok", "bad-yaml", "missing-file", "ps-nothing"] {
        replay(&lab, name, &[KEY]);
    }
    replay(&lab, "missing-variable", &[]);
    replay(&lab, "daemon-down", &[KEY, ("DOCKER_HOST", "unix:///nonexistent.sock")]);
    replay(&lab, "up", &[KEY]);
    wait_until_settled(&lab);
    for name in ["ps-running", "logs-no-prefix", "logs-unknown-service"] {
        replay(&lab, name, &[KEY]);
    }
    replay(&lab, "up-recreate", &[KEY]);
    lab.wait("the sidecar dies", || lab.dump()["docker"].to_string().contains("137"));
    replay(&lab, "ps-after-sidecar-died", &[KEY]);
    replay(&lab, "down", &[KEY]);
    replay(&lab, "ps-nothing", &[KEY]);
}

/// Waits until the provider's container has exited, which it does immediately in the recording.
fn wait_until_settled(lab: &Lab) {
    lab.wait("the provider has exited", || {
        lab.dump()["docker"]["containers"].as_array().unwrap().iter().any(|found| found["state"] == "exited")
    });
}

#[test]
fn no_recording_is_left_out() {
    let source = include_str!("compose.rs");
    for name in recordings("compose") {
        assert!(source.contains(&format!("\"{name}\"")), "{name} is not replayed");
    }
}

#[test]
fn unknown_calls_fail_loudly() {
    let lab = lab(&[]);
    let lines = "ps|compose -f docker/compose.yaml ps|compose -f docker/compose.yaml restart|\
         compose -f docker/compose.yaml exec omni sh|version|compose up|\
         compose -f docker/compose.yaml down -v";
    for line in lines.split('|') {
        let said = lab.call("docker", &line.split_whitespace().collect::<Vec<_>>());
        let known = said.err.contains("is invalid") || said.err.contains("interpolating");
        assert!(said.code == 64 || known, "{line}: {said:?}");
        if said.code == 64 {
            assert_eq!(said.err, format!("lab: this stand-in does not know: docker {line}\n"));
        }
    }
}

/// Only changed containers are recreated, and those that share their network.
#[test]
fn second_up_changes_only_what_changed() {
    let lab = Lab::start(&[]);
    lab.up();
    let said = lab.compose("up -d");
    assert_eq!(said.err.matches("Running").count(), 3, "{said:?}");
    let env = lab.project.read("docker/.env");
    lab.project.write("docker/.env", &format!("{env}OMNI_PROVIDER_ID=other\n"));
    let said = lab.compose("up -d");
    assert!(said.err.contains("proxmox-provider-1 Recreated") && !said.err.contains("omni-1 Recreate"), "{said:?}");
    // The key belongs to a provider with a different ID than the one now configured.
    lab.wait("the provider ends", || lab.compose("logs --no-log-prefix proxmox-provider").out.contains("Error:"));
    let logs = lab.compose("logs --no-log-prefix proxmox-provider").out;
    assert!(logs.contains("resource ID must match the infra provider ID \"proxmox\""), "{logs}");
}

/// Checks stderr and the exit code of a wrongly configured provider against the real one.
#[test]
fn provider_start_errors_match_the_real_ones() {
    let lab = Lab::start(&[]);
    lab.set_up("https://127.0.0.1:1/api2/json");
    let env = lab.project.read("docker/.env");
    let config = lab.project.read("docker/config.yaml");
    let account = lab.omnictl("serviceaccount create plain").out;
    let account = account.lines().find_map(|line| line.strip_prefix("OMNI_SERVICE_ACCOUNT_KEY=")).unwrap().to_owned();
    let with = |key: &str, value: &str| -> String {
        let kept = env.lines().filter(|line| !line.starts_with(&format!("{key}=")));
        kept.map(|line| format!("{line}\n")).collect::<String>() + &format!("{key}={value}\n")
    };
    // The wrong variable, or CONFIG for the file, its value, and the expected last line.
    let starts: BTreeMap<String, [String; 3]> =
        serde_yaml::from_str(include_str!("fixtures/compose/wrong-starts.yaml")).unwrap();
    for (name, [key, value, wanted]) in starts {
        let value = value.replace("{account}", &account);
        let (env, config) = if key == "CONFIG" { (env.clone(), value) } else { (with(&key, &value), config.clone()) };
        lab.project.write("docker/.env", &env);
        lab.project.write("docker/config.yaml", &config);
        assert_eq!(lab.compose("up -d --force-recreate").code, 0, "{name}");
        wait_until_settled(&lab);
        let said = lab.compose("logs --no-log-prefix proxmox-provider");
        assert!(said.out.lines().last().is_some_and(|line| line.contains(&wanted)), "{name}: {said:?}");
        let shown = lab.compose("ps --all --format json").out;
        assert!(shown.contains("\"State\":\"exited\"") && shown.contains("Exited (1)"), "{name}: {shown}");
    }
}
