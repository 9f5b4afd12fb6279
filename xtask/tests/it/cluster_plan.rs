//! `cluster-plan`.

use serde_json::json;

use crate::audit_far_end::{Project, Proxmox};

fn guest(id: u64, name: &str, set: &str) -> serde_json::Value {
    json!({"vmid": id, "name": name, "status": "running", "maxmem": 8u64 << 30, "mem": 8u64 << 30,
           "tags": format!("go-proxmox+cloud-init;machine-request.{set}")})
}

#[test]
fn what_is_to_be_made_and_fits_is_pending() {
    let (status, stdout, stderr) = Project::new().run(Some(&Proxmox::start()), &["cluster-plan", "matrix"]);
    assert_eq!(status, 3, "{stderr}");
    assert_eq!(stdout, include_str!("../fixtures/output/cluster-plan.txt"));
    assert!(stderr.contains("cluster `matrix`: 6 machines to be made, and they fit"), "{stderr}");
}

#[test]
fn the_first_provider_puts_all_on_one_node_and_they_do_not_fit() {
    let project = Project::new();
    let arguments = ["cluster-plan", "--provider-version", "0d9fd58"];
    let (status, document) = project.json(Some(&Proxmox::start()), &arguments);
    assert_eq!(status, 1);
    let data = &document["data"];
    assert!(data["machines"].as_array().unwrap().iter().all(|machine| machine["node"] == "pve1"));
    let findings = data["findings"].as_array().unwrap();
    let memory = findings.iter().find(|finding| finding["rule"] == "plan-memory").unwrap();
    assert_eq!((&memory["severity"], &memory["file"]), (&json!("error"), &json!("clusters/matrix.yaml")));
    assert_eq!(memory["message"], "pve1 needs 82.0 GiB of memory and has 64.0 GiB: 18.0 GiB too little");
    assert!(findings.iter().any(|finding| finding["rule"] == "plan-control-planes-together"));
    assert!(document["error"]["message"].as_str().unwrap().contains("cannot fit"));
}

#[test]
fn what_exists_is_not_made_again() {
    let proxmox = Proxmox::start();
    for (at, node) in ["pve1", "pve2", "pve3"].iter().enumerate() {
        let guests = [
            guest(100 + at as u64, &format!("matrix-control-planes-aaaaa{at}"), "matrix-control-planes"),
            guest(200 + at as u64, &format!("matrix-workers-aaaaa{at}"), "matrix-workers"),
        ];
        proxmox.answer(&format!("/nodes/{node}/qemu"), json!(guests));
    }
    let (status, document) = Project::new().json(Some(&proxmox), &["cluster-plan"]);
    assert_eq!(status, 0, "{document:#}");
    let machines = document["data"]["machines"].as_array().unwrap();
    assert_eq!(machines.len(), 6);
    assert!(machines.iter().all(|machine| machine["state"] == "exists" && machine["on"] == machine["node"]));
    // One worker fewer is wanted: a change, though nothing is to be made.
    let project = Project::new();
    let template = std::fs::read_to_string(project.path().join("clusters/matrix.yaml")).unwrap();
    let at = template.rfind("size: 3").unwrap();
    project.write("clusters/matrix.yaml", &format!("{}size: 2{}", &template[..at], &template[at + 7..]));
    let (status, document) = project.json(Some(&proxmox), &["cluster-plan"]);
    assert_eq!(status, 3);
    assert_eq!(document["data"]["surplus"], json!({"matrix-workers": 1}));
}

#[test]
fn a_saved_inventory_needs_no_proxmox() {
    let project = Project::new();
    let proxmox = Proxmox::start();
    assert_eq!(project.run(Some(&proxmox), &["proxmox-inventory", "--save", "now.json"]).0, 0);
    let (status, document) = project.json(None, &["cluster-plan", "--inventory", "now.json"]);
    assert_eq!(status, 3, "{document:#}");
    let live = project.json(Some(&proxmox), &["cluster-plan"]).1;
    assert_eq!(document["data"]["machines"], live["data"]["machines"]);
    for (file, code) in [("none.json", "not_found"), ("clusters/matrix.yaml", "invalid")] {
        let (status, document) = project.json(None, &["cluster-plan", "--inventory", file]);
        assert_eq!((status, document["error"]["code"].as_str()), (1, Some(code)), "{file}");
    }
}

#[test]
fn classes_that_are_missing_or_say_too_little_are_named() {
    let project = Project::new();
    std::fs::remove_file(project.path().join("machine-classes/matrix-worker.yaml")).unwrap();
    let (status, document) = project.json(None, &["cluster-plan"]);
    assert_eq!((status, document["error"]["code"].as_str()), (1, Some("not_found")));
    assert!(document["error"]["message"].as_str().unwrap().starts_with("clusters/matrix.yaml:"), "{document:#}");
    let class = "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: matrix-worker\nspec:\n  autoprovision:\n    providerid: proxmox\n    providerdata: |\n      cores: 2\n";
    project.write("machine-classes/matrix-worker.yaml", class);
    let (status, document) = project.json(None, &["cluster-plan"]);
    assert_eq!((status, document["error"]["code"].as_str()), (1, Some("invalid")));
    let (status, document) = project.json(None, &["cluster-plan", "matrx"]);
    assert_eq!(status, 1);
    assert_eq!(document["error"]["hint"], "did you mean `matrix`?");
}

#[test]
fn the_plan_changes_nothing() {
    let project = Project::new();
    let before = std::fs::read_dir(project.path()).unwrap().count();
    let proxmox = Proxmox::start();
    project.run(Some(&proxmox), &["cluster-plan", "--all"]);
    assert_eq!(std::fs::read_dir(project.path()).unwrap().count(), before);
    assert!(!proxmox.asked.lock().unwrap().is_empty());
}
