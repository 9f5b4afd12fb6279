//! The tasks in the order of the runbook: dry runs, and queries to slow services.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use crate::transcripts::Player;

#[test]
fn every_dry_run_changes_nothing() {
    let mut player = Player::of(Sandbox::new());
    player.lab().set("DOCKER_HOST", Some("tcp://lab"));
    for line in include_str!("../fixtures/dry-runs.txt").lines().filter(|line| !line.starts_with('#')) {
        let (code, line) = line.split_once(' ').expect("CODE TASK");
        if code == "@" {
            player.change(line);
            continue;
        }
        let lab = player.lab();
        let (tree, services) = (lab.tree(), settled(lab.dump()));
        let ran = lab.run(&format!("{line} --dry-run --yes --json"));
        assert_eq!(ran.code.to_string(), code, "{line}: {ran:#?}");
        if ran.code == 3 {
            assert!(!ran.json()["data"]["plan"].as_array().unwrap().is_empty(), "{line}: {ran:#?}");
            let call = format!("cargo xtask {line} --yes");
            assert_eq!(ran.json()["next"], json!([call]), "{line}: the very call that carries it out");
        }
        assert_eq!(lab.tree(), tree, "{line} changed the project");
        assert_eq!(settled(lab.dump()), services, "{line} changed the simulated services");
    }
}

/// Returns the simulated services without what changes by itself: used memory, and heartbeats.
pub fn settled(mut dump: Value) -> Value {
    for node in dump["proxmox"]["nodes"].as_array_mut().into_iter().flatten() {
        if let Some(node) = node.as_object_mut() {
            node.retain(|key, _| key == "node" || key == "status");
        }
    }
    dump
}

#[test]
fn slow_services_are_asked_in_parallel() {
    let slow = Sandbox::with("--latency-ms 1000");
    slow.provider();
    let document = slow.run("provider-verify --json").exits(0).json();
    let steps = document["steps"].as_array().unwrap().iter().map(|step| step["elapsed_ms"].as_u64().unwrap());
    let (longest, sum) = (steps.clone().max(), steps.sum::<u64>());
    assert!(longest.unwrap() >= 1000 && sum > 3 * 1000, "the checks did not run side by side: {document:#}");
}
