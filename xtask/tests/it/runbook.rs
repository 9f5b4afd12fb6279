//! The tasks in the order of the runbook: what a dry run leaves, and how slow services are asked.

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, class_words};

#[test]
fn every_dry_run_changes_nothing() {
    let mut lab = Sandbox::new();
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    let dry = |line: &str, code: i32| {
        let (tree, far) = (lab.tree(), settled(lab.dump()));
        let ran = lab.run(&format!("{line} --dry-run --yes --json"));
        assert_eq!(ran.code, code, "{line}: {ran:#?}");
        if code == 3 {
            assert!(!ran.json()["data"]["plan"].as_array().unwrap().is_empty(), "{line}: {ran:#?}");
            let call = format!("cargo xtask {line} --yes");
            assert_eq!(ran.json()["next"], json!([call]), "{line}: the very call that carries it out");
        }
        assert_eq!(lab.tree(), tree, "{line} changed the project");
        assert_eq!(settled(lab.dump()), far, "{line} changed the far ends");
    };
    dry("provider-setup", 3);
    dry("provider-setup --provider-id other --insecure-skip-tls-verify", 3);
    lab.provider();
    dry("provider-setup", 0);
    dry("provider-verify", 0);
    dry("provider-status", 0);
    dry("machineclass-create small --cores 2 --memory 4096 --disk 20 --selector true", 3);
    lab.run_words(&class_words("small")).exits(0);
    dry("machineclass-apply small", 3);
    dry("machineclass-apply --all", 3);
    lab.run("machineclass-apply small --yes").exits(0);
    dry("machineclass-apply small", 0);
    dry("cluster-create demo --control-planes 1 --workers 1", 3);
    dry("cluster-create demo --control-planes 3 --workers 0 --talos-version v1.13.5 --no-wait --timeout 9m", 3);
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes --timeout 60s").exits(0);
    dry("cluster-status demo", 0);
    dry("cluster-sync demo", 0);
    let template = lab.read("clusters/demo.yaml").replace("size: 1\n", "size: 3\n");
    lab.write("clusters/demo.yaml", &template);
    dry("cluster-sync demo", 3);
    dry("cluster-sync --all --no-wait", 3);
    dry("stack-up --recreate", 3);
    dry("stack-down", 3);
    dry("lab-up --nodes 4 --vms 20", 3);
    dry("lab-down", 0);
    dry("omnictl-install", 0);
    dry("omnictl-install --force", 3);
    dry("rehearse --clock 100", 3);
}

/// The far ends without what moves by itself: memory that is used, and heartbeats.
pub fn settled(mut dump: Value) -> Value {
    for node in dump["proxmox"]["nodes"].as_array_mut().into_iter().flatten() {
        if let Some(node) = node.as_object_mut() {
            node.retain(|key, _| key == "node" || key == "status");
        }
    }
    dump
}

#[test]
fn slow_far_ends_are_asked_side_by_side() {
    let quick = Sandbox::new();
    quick.provider();
    let slow = Sandbox::with("--latency-ms 1000");
    slow.provider();
    let document = slow.run("provider-verify --json").exits(0).json();
    let longest = document["steps"].as_array().unwrap().iter().map(|step| step["elapsed_ms"].as_u64().unwrap()).max();
    let sum: u64 = document["steps"].as_array().unwrap().iter().map(|step| step["elapsed_ms"].as_u64().unwrap()).sum();
    assert!(longest.unwrap() >= 1000 && sum > 3 * 1000, "the checks did not run side by side: {document:#}");
}
