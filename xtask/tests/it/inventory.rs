//! `proxmox-inventory`.

use serde_json::json;

use crate::audit_proxmox::{Project, Proxmox};
use crate::sandbox::Sandbox;

/// A call that the lab does not implement makes it less like Proxmox than it is: a task would take it for a refusal.
#[test]
fn lab_implements_what_the_tasks_ask_of_proxmox() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes").exits(0);
    for line in
        ["proxmox-audit", "proxmox-inventory", "provider-verify", "doctor", "cluster-status demo", "cluster-plan"]
    {
        let ran = lab.run(&format!("{line} --json"));
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("not implemented"), "{line}: {ran:#?}");
    }
}

#[test]
fn a_person_reads_it_at_a_glance() {
    let (status, stdout, stderr) = Project::new().run(Some(&Proxmox::start()), &["proxmox-inventory"]);
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(stdout, include_str!("../fixtures/output/proxmox-inventory.txt"));
}

#[test]
fn what_cannot_be_seen_is_unknown_with_its_reason() {
    let proxmox = Proxmox::start();
    proxmox.answer("/nodes", json!([{"node": "pve1", "status": "online"}, {"node": "pve2", "status": "offline"}]));
    proxmox.refuse("/nodes/pve1/storage", "403 Permission check failed (/storage, Datastore.Audit)");
    let (status, document) = Project::new().json(Some(&proxmox), &["proxmox-inventory"]);
    assert_eq!(status, 0, "{document:#}");
    let nodes = &document["data"]["nodes"];
    let why = |value: &serde_json::Value| value["unknown"].as_str().unwrap_or_default().to_owned();
    assert_eq!(why(&nodes[0]["figures"]), "the login lacks Sys.Audit on /nodes/pve1");
    assert!(why(&nodes[0]["storages"]).contains("Datastore.Audit"), "{nodes:#}");
    assert_eq!(nodes[0]["vms"]["known"], json!([]));
    assert_eq!(why(&nodes[1]["storages"]), "the node is offline");
    let asked = proxmox.asked.lock().unwrap();
    assert!(asked.iter().all(|path| !path.starts_with("/nodes/pve2")), "an offline node is not asked: {asked:?}");
}

#[test]
fn several_storages_for_iso_images_are_warned_of() {
    let proxmox = Proxmox::start();
    let storage = |name: &str| json!({"storage": name, "type": "dir", "content": "iso", "enabled": 1, "active": 1});
    proxmox.answer("/nodes/pve1/storage", json!([storage("nas"), storage("local")]));
    proxmox.answer("/nodes/pve2/storage", json!([]));
    let (_, document) = Project::new().json(Some(&proxmox), &["proxmox-inventory"]);
    let data = &document["data"];
    assert_eq!(data["iso"], json!({"pve1": ["local", "nas"], "pve2": [], "pve3": ["local"]}));
    let warnings = data["warnings"].to_string();
    assert!(warnings.contains("local and nas all take ISO images on pve1"), "{warnings}");
    assert!(warnings.contains("no storage for ISO images is seen on pve2"), "{warnings}");
}

#[test]
fn it_is_kept_in_a_file_that_other_tasks_read() {
    let project = Project::new();
    let proxmox = Proxmox::start();
    let (status, document) = project.json(Some(&proxmox), &["proxmox-inventory", "--save", "now.json"]);
    assert_eq!(status, 0, "{document:#}");
    let text = std::fs::read_to_string(project.path().join("now.json")).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&text).unwrap();
    let first = &saved["storages"][0];
    assert_eq!(
        (&first["name"], &first["node"], &first["storageType"]),
        (&json!("local"), &json!("pve1"), &json!("dir"))
    );
    assert_eq!(first["availableSpace"], 80u64 << 30);
    let (status, _, _) = project.run(Some(&proxmox), &["proxmox-inventory", "--save", "now.json", "-q"]);
    assert_eq!(status, 0, "an inventory is replaced");
    let (status, _, stderr) = project.run(Some(&proxmox), &["proxmox-inventory", "--save", "clusters/matrix.yaml"]);
    assert_eq!(status, 1, "anything else is not");
    assert!(stderr.contains("exists and is not an inventory"), "{stderr}");
    for (file, verb) in [("dry.json", "create"), ("now.json", "update")] {
        let (status, document) = project.json(Some(&proxmox), &["proxmox-inventory", "--save", file, "--dry-run"]);
        assert_eq!((status, &document["data"]["plan"][0]["verb"]), (3, &json!(verb)), "{document:#}");
        assert!(document["data"]["storages"].is_array(), "the inventory is shown all the same");
    }
    assert!(!project.path().join("dry.json").exists());
    let (status, document) = project.json(Some(&proxmox), &["proxmox-inventory", "--save", "-"]);
    assert_eq!((status, &document["error"]["code"]), (2, &json!("usage")), "{document:#}");
    assert!(!project.path().join("-").exists());
}
