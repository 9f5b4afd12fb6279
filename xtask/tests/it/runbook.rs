//! The tasks in the order of the runbook, each proved in the far ends.

use serde_json::{Value, json};

use crate::sandbox::{Options, Sandbox, class_words};

#[test]
fn the_runbook_ends_with_a_running_cluster() {
    let lab = Sandbox::new();
    let setup = lab.run("provider-setup --yes --json").exits(0).json();
    assert_eq!(setup["ok"], true);
    assert_eq!(setup["task"], "provider-setup");
    assert_eq!(setup["next"][0], "cargo xtask provider-verify");
    let state = lab.read(".claude/omni-scale.local.md");
    assert!(state.contains("provider_configured: true") && state.contains("provider_status: healthy"), "{state}");
    assert!(lab.read("docker/config.yaml").contains("tokenID: \"omni@pve!provider\""));

    let verify = lab.run("provider-verify --json").exits(0).json();
    let ids: Vec<&str> = verify["steps"].as_array().unwrap().iter().map(|step| step["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["containers", "omni", "proxmox", "permissions", "registration"]);
    assert_eq!(verify["data"]["provider_status"], "healthy");

    lab.run("provider-status").exits(0).says(&["proxmox-provider", "starting infra provider", "the provider runs"]);

    lab.run_words(&class_words("small")).exits(0);
    lab.run("machineclass-apply small --yes").exits(0).says(&["1 class compared"]);
    lab.run("machineclass-apply small --yes").exits(0).says(&["Omni has all of it already"]);

    lab.run("cluster-create demo --control-planes 3 --workers 3 --yes --timeout 60s").exits(0);
    let found = lab.dump();
    let vms = found["proxmox"]["vms"].as_array().unwrap();
    assert_eq!(vms.len(), 6, "{found:#}");
    assert!(vms.iter().all(|vm| vm["status"] == "running"), "{found:#}");

    let one = lab.run("cluster-status demo --json").exits(0).json();
    assert_eq!(one["data"]["cluster"]["running"], true);
    let sets = one["data"]["cluster"]["machine_sets"].as_array().unwrap();
    assert_eq!(sets.iter().map(|set| set["machines"].as_array().unwrap().len()).sum::<usize>(), 6);
    lab.run("cluster-status").exits(0).says(&["demo", "Running", "6/6", "1 of 1 cluster Running"]);

    lab.run("cluster-sync demo --yes").exits(0).says(&["in sync; nothing to change"]);
    let state = lab.read(".claude/omni-scale.local.md");
    assert!(state.contains("machine_classes: [small]") && state.contains("clusters: [demo]"), "{state}");
}

#[test]
fn a_sync_says_what_it_destroys_and_does_it_only_with_consent() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 2 --yes --timeout 60s").exits(0);
    let template = lab.read("clusters/demo.yaml").replace("size: 2", "size: 1");
    lab.write("clusters/demo.yaml", &template);
    let before = lab.dump();
    lab.run("cluster-sync demo --non-interactive").exits(2).says(&[
        "--yes",
        "--allow-destroy demo",
        "1 machine of machine set demo-workers (from 2 to 1)",
    ]);
    assert_eq!(lab.dump()["proxmox"]["vms"], before["proxmox"]["vms"]);
    lab.run("cluster-sync demo --yes --allow-destroy demo --timeout 60s").exits(0);
    lab.run("cluster-status demo").exits(0).says(&["1/1 machine"]);
}

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
fn provider_setup_is_done_once() {
    let lab = Sandbox::new();
    lab.provider();
    let (config, env) = (lab.read("docker/config.yaml"), lab.read("docker/.env"));
    lab.run("provider-setup --yes").exits(0).says(&["nothing to change"]);
    assert_eq!((lab.read("docker/config.yaml"), lab.read("docker/.env")), (config, env));
}

#[test]
fn a_class_file_is_never_overwritten_unasked() {
    let lab = Sandbox::new();
    lab.run_words(&class_words("small")).exits(0);
    lab.run_words(&class_words("small")).exits(0).says(&["it says this already"]);
    let mut other = class_words("small");
    other[4] = "8";
    let before = lab.read("machine-classes/small.yaml");
    lab.run_words(&other).exits(1).says(&["exists and says something else", "--force"]);
    assert_eq!(lab.read("machine-classes/small.yaml"), before);
    other.push("--force");
    lab.run_words(&other).exits(0);
    assert!(lab.read("machine-classes/small.yaml").contains("cores: 8"));
}

#[test]
fn slow_far_ends_are_asked_side_by_side() {
    let quick = Sandbox::new();
    quick.provider();
    let slow = Sandbox::with(&Options { latency_ms: 1000, ..Options::default() });
    slow.provider();
    let document = slow.run("provider-verify --json").exits(0).json();
    let longest = document["steps"].as_array().unwrap().iter().map(|step| step["elapsed_ms"].as_u64().unwrap()).max();
    let sum: u64 = document["steps"].as_array().unwrap().iter().map(|step| step["elapsed_ms"].as_u64().unwrap()).sum();
    assert!(longest.unwrap() >= 1000 && sum > 3 * 1000, "the checks did not run side by side: {document:#}");
}
