//! `cluster-plan`.

use serde_json::json;

use crate::audit_proxmox::{Project, Proxmox};

fn guest(id: u64, name: &str, set: &str) -> serde_json::Value {
    json!({"vmid": id, "name": name, "status": "running", "maxmem": 8u64 << 30, "mem": 8u64 << 30,
           "tags": format!("go-proxmox+cloud-init;machine-request.{set}")})
}

#[test]
fn what_is_to_be_made_and_fits_is_pending() {
    let (status, stdout, stderr) = Project::new().run(Some(&Proxmox::start()), &["cluster-plan", "matrix"]);
    assert_eq!(status, 3, "{stderr}");
    assert_eq!(stdout, include_str!("../fixtures/output/cluster-plan.txt"));
    assert!(stderr.contains("cluster `matrix`: 6 machines to create, and they fit"), "{stderr}");
}

#[test]
fn plan_names_the_disk_that_gets_talos() {
    let project = Project::new();
    let read = |name: &str| std::fs::read_to_string(project.path().join(name)).unwrap();
    let bridge = "      network_bridge: vmbr0\n";
    let disks = format!(
        "{bridge}      additional_disks:\n        - disk_size: 10\n          storage_selector: name == \"local-lvm\"\n"
    );
    let class = read("machine-classes/matrix-worker.yaml").replace(bridge, &disks);
    project.write("machine-classes/matrix-worker.yaml", &class);
    let (_, _, stderr) = project.run(Some(&Proxmox::start()), &["cluster-plan", "matrix"]);
    let words = "machine class `matrix-worker`: Omni installs Talos on the smallest disk above 5 GB";
    assert!(stderr.contains(words), "{stderr}");
    let patch = "patches:\n  - name: disk\n    inline: {machine: {install: {disk: /dev/sda}}}\n";
    project.write("clusters/matrix.yaml", &format!("{}\n{patch}", read("clusters/matrix.yaml").trim_end()));
    let (_, _, stderr) = project.run(Some(&Proxmox::start()), &["cluster-plan", "matrix"]);
    assert!(!stderr.contains("smallest disk"), "{stderr}");
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
    // One worker fewer is wanted: a change, though nothing is created.
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

const CLASS: &str = "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: matrix-controlplane\nspec:\n  autoprovision:\n    providerid: proxmox\n    providerdata: |\n      cores: 4\n      sockets: 1\n      memory: 8192\n      disk_size: 40\n      network_bridge: vmbr0\n      storage_selector: name == \"local-lvm\"\n";

const DEMO: &str = "kind: Cluster\nname: demo\nkubernetes:\n  version: v1.36.2\ntalos:\n  version: v1.13.5\n---\nkind: ControlPlane\nmachineClass:\n  name: matrix-controlplane\n  size: 3\n";

/// The fix of the one finding of a rule.
fn fix(document: &serde_json::Value, rule: &str) -> String {
    let findings = document["data"]["findings"].as_array().expect("a list");
    let finding = findings.iter().find(|finding| finding["rule"] == rule);
    finding.unwrap_or_else(|| panic!("{rule}: {document:#}"))["fix"].as_str().expect("text").to_owned()
}

#[test]
fn plan_advises_a_third_node_for_three_control_planes_on_two() {
    const RULE: &str = "plan-control-planes-together";
    let project = Project::new();
    project.write("machine-classes/matrix-controlplane.yaml", CLASS);
    project.write("clusters/demo.yaml", DEMO);
    project.write("two.json", include_str!("../fixtures/inventory/two-of-three-online.json"));
    let plan = |words: &[&str]| project.json(None, &[&["cluster-plan", "demo", "--inventory"], words].concat());
    let (status, document) = plan(&["two.json"]);
    assert_eq!(status, 3, "{document:#}");
    let wanted = "bring pve3 back before the sync: no rule can spread 3 control planes over 2 online nodes";
    assert_eq!(fix(&document, RULE), wanted);
    assert_eq!(
        document["data"]["findings"].as_array().unwrap().iter().filter(|finding| finding["rule"] == RULE).count(),
        1
    );
    // A Proxmox of one node is warned of as well, with the nodes that it lacks.
    let one = project.json(Some(&Proxmox::start()), &["proxmox-inventory", "--save", "all.json"]);
    assert_eq!(one.0, 0, "{:#}", one.1);
    let mut saved: serde_json::Value =
        serde_json::from_slice(&std::fs::read(project.path().join("all.json")).unwrap()).unwrap();
    saved["nodes"].as_array_mut().unwrap().truncate(1);
    project.write("one.json", &saved.to_string());
    let (_, document) = plan(&["one.json"]);
    assert!(fix(&document, RULE).starts_with("add 2 nodes before the sync"), "{document:#}");
    // The first provider cannot place anything while a node is offline.
    let (status, document) = plan(&["two.json", "--provider-version", "0d9fd58"]);
    assert_eq!(status, 1);
    assert!(fix(&document, "plan-no-node").starts_with("run provider v0.1.0 or later"), "{document:#}");
}

#[test]
fn plan_of_one_machine_speaks_of_one() {
    let project = Project::new();
    project.write("machine-classes/matrix-controlplane.yaml", CLASS);
    project.write("clusters/demo.yaml", &DEMO.replace("size: 3", "size: 1"));
    project.write("two.json", include_str!("../fixtures/inventory/two-of-three-online.json"));
    let (status, document) = project.json(None, &["cluster-plan", "demo", "--inventory", "two.json"]);
    assert_eq!((status, &document["summary"]), (3, &json!("cluster `demo`: 1 machine to create, and it fits")));
}
