use std::collections::{BTreeMap, BTreeSet};

use super::*;
use serde_json::json;

#[test]
fn disks_are_read_from_a_configuration() {
    let config = json!({
        "scsi0": "local-lvm:vm-100-disk-0,discard=on,size=40G", "virtio12": "ceph:vm-100-disk-1,size=1T",
        "sata0": "nas:100/vm-100-disk-2.qcow2,size=512M", "ide2": "local:iso/talos.iso,media=cdrom,size=200M",
        "scsi1": "none,media=cdrom", "efidisk0": "local-lvm:vm-100-disk-3,size=4M", "scsihw": "virtio-scsi-single",
        "scsi2": "/dev/sdb", "unused0": "local-lvm:vm-100-disk-9", "cores": 4,
    });
    let mut found = disks(&config);
    found.sort();
    let disk = |storage: &str, mib: u64| (storage.to_owned(), mib << 20);
    assert_eq!(found, [disk("ceph", 1 << 20), disk("local-lvm", 40 << 10), disk("nas", 512)]);
    assert_eq!(disks(&Value::Null), []);
}

#[test]
fn nodes_are_read_as_the_login_sees_them() {
    // The shapes of the provider's wire transcript and of an entry without Sys.Audit (pve-manager `extract_node_stats`).
    let data = json!([
        {"node": "pve2", "status": "online", "type": "node", "id": "node/pve2", "level": ""},
        {"node": "pve1", "status": "online", "maxmem": 68719476736u64, "mem": "21474836480", "maxcpu": 16, "cpu": 0.05},
        {"node": "pve3", "status": "offline", "id": "node/pve3"}
    ]);
    let found = nodes(&data).unwrap();
    let names: Vec<&str> = found.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["pve1", "pve2", "pve3"]);
    let figures = Figures { cpus: 16, cpu_load: 0.05, memory_total: 64 << 30, memory_used: 20 << 30 };
    assert_eq!(found[0].figures, Observed::Known(figures));
    assert_eq!(found[1].figures.why(), Some("the login lacks Sys.Audit on /nodes/pve2"));
    assert_eq!(found[2].figures.why(), Some("the node is offline"));
    assert_eq!(found[2].storages.why(), Some("the node is offline"));
    assert!(nodes(&json!({})).is_err() && nodes(&json!([{"status": "online"}])).is_err());
}

#[test]
fn storages_are_read_with_their_flags() {
    let data = json!([
        {"storage": "local", "type": "dir", "content": "iso,vztmpl,backup", "enabled": 1, "active": 1, "shared": 0,
         "avail": 85899345920u64, "used": 1, "total": 107374182400u64},
        {"storage": "off", "type": "nfs", "content": "iso", "enabled": 0, "active": "0", "shared": "1", "avail": 0},
        {"storage": "big", "type": "rbd", "content": "images", "enabled": "1", "active": true, "shared": 1, "avail": 5e3}
    ]);
    let found = storages("pve1", &data).unwrap();
    let seen: Vec<_> = found.iter().map(|s| (s.name.as_str(), s.takes_iso(), s.takes_images(), s.available)).collect();
    assert_eq!(seen, [("big", false, true, 5000), ("local", true, false, 80 << 30), ("off", false, false, 0)]);
    assert_eq!(found[0].pool(), (String::new(), "big".to_owned()));
    assert_eq!(found[1].pool(), ("pve1".to_owned(), "local".to_owned()));
}

#[test]
fn bridges_and_guests_are_read() {
    // The flags as strings are those of a Proxmox VE 8 (captured by go-proxmox).
    let networks = json!([
        {"iface": "vmbr1", "type": "bridge", "active": "1"}, {"iface": "eno1", "type": "eth"},
        {"iface": "ovs0", "type": "OVSBridge"}, {"iface": "blue", "type": "vnet"}
    ]);
    assert_eq!(bridges(&networks).unwrap(), ["blue", "ovs0", "vmbr1"]);
    let guests = json!([
        {"vmid": "101", "name": "demo-workers-abc123", "status": "running", "mem": 5, "maxmem": 10,
         "tags": "go-proxmox+cloud-init;machine-request.demo-workers"},
        {"vmid": 100, "status": "stopped", "maxmem": 7}, {"vmid": 9000, "template": 1}
    ]);
    let found = vms(&guests).unwrap();
    assert_eq!(
        found.iter().map(|vm| (vm.id, vm.running, vm.set())).collect::<Vec<_>>(),
        [(100, false, None), (101, true, Some("demo-workers"))]
    );
}

#[test]
fn storages_of_all_nodes_come_from_two_lists() {
    // The shapes of `PVE::API2Tools::extract_storage_stats` and `PVE::API2::Storage::Config`.
    let config = json!([
        {"storage": "local", "type": "dir", "content": "iso,vztmpl", "path": "/var/lib/vz"},
        {"storage": "fast", "type": "lvmthin", "content": "images", "nodes": "pve2"},
        {"storage": "old", "type": "nfs", "content": "iso", "disable": 1, "shared": 1}
    ]);
    let entry = |storage: &str, node: &str| {
        json!({"id": format!("storage/{node}/{storage}"), "storage": storage, "node": node, "type": "storage",
               "status": "available", "plugintype": "x", "content": "y", "shared": 0, "maxdisk": 100, "disk": "30"})
    };
    let all = json!([entry("local", "pve1"), entry("local", "pve2"), entry("fast", "pve2"),
                     {"type": "node", "node": "pve1", "id": "node/pve1"}]);
    let found = storages_by_node(&config, &all).unwrap();
    let names = |node: &str| found[node].iter().map(|storage| storage.name.as_str()).collect::<Vec<_>>();
    assert_eq!((names("pve1"), names("pve2")), (vec!["local"], vec!["local", "fast"]));
    let fast = &found["pve2"][1];
    assert_eq!((fast.kind.as_str(), fast.available, fast.total, fast.takes_iso()), ("lvmthin", 70, 100, false));
    assert!(found["pve1"][0].takes_iso());
    // Datastore.AllocateSpace alone shows `fast` in the first list only.
    assert_eq!(storages_by_node(&config, &json!([entry("local", "pve1"), entry("local", "pve2")])), None);
    // A storage of which the cluster has no figures yet.
    let fresh = json!({"type": "storage", "storage": "local", "node": "pve1", "status": "unknown"});
    assert_eq!(storages_by_node(&config, &json!([fresh, entry("fast", "pve2")])), None);
    assert_eq!(storages_by_node(&Value::Null, &all), None);
    assert_eq!(storages_by_node(&config, &Value::Null), None);
}

#[test]
fn pools_are_read_by_their_ids() {
    assert_eq!(
        pools(&json!([{"poolid": "demo-workers", "comment": "x"}, {"poolid": "a/b"}, {}])),
        ["demo-workers", "a/b"]
    );
    assert!(pools(&Value::Null).is_empty());
}

/// What hides behind a path that is not in the tree: nothing, an inherited privilege, or an entry that forbids.
#[test]
fn tree_leaves_no_doubt_about_visible_objects() {
    let set = |held: &[(&str, bool)]| held.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect();
    let tree: Tree = [
        ("/nodes".to_owned(), set(&[("Sys.Audit", true), ("Sys.Console", false)])),
        ("/storage".to_owned(), set(&[("Datastore.Audit", false)])),
        ("/storage/own".to_owned(), set(&[("Datastore.Allocate", false)])),
    ]
    .into();
    let certain = |path: &str, visible: bool| certain(&tree, path, visible).map(|held| held.into_iter().collect());
    let held = |names: &[&str]| -> Option<Vec<String>> { Some(names.iter().map(|name| (*name).to_owned()).collect()) };
    assert_eq!(certain("/nodes/pve1", true), held(&["Sys.Audit"]));
    assert_eq!(certain("/nodes/pve1", false), None, "it may have an entry with NoAccess");
    assert_eq!(certain("/storage/own", false), held(&["Datastore.Allocate"]));
    assert_eq!(certain("/storage/other", true), None, "an entry of /storage that does not propagate hides one of /");
    assert_eq!(certain("/vms", false), held(&[]), "Proxmox lists it where there is anything");
    assert_eq!(certain("/vms/100", true), None);
    assert_eq!(certain("/sdn/zones/localnetwork/vmbr0", true), None, "an entry between would hide what is above");
}

fn tree() -> Tree {
    permissions(&json!({
        "/": {"Sys.Audit": 0},
        "/vms": {"VM.Audit": 1, "VM.Allocate": 0},
        "/storage/local": {"Datastore.Audit": 1}
    }))
    .unwrap()
}

#[test]
fn a_privilege_goes_down_only_where_it_propagates() {
    let seen = Permissions { tree: tree(), exact: BTreeMap::new() };
    for (path, privilege, has) in [
        ("/", "Sys.Audit", true),
        ("/nodes/pve1", "Sys.Audit", false),
        ("/vms", "VM.Allocate", true),
        ("/vms/100", "VM.Allocate", false),
        ("/vms/100", "VM.Audit", true),
        ("/storage/local", "Datastore.Audit", true),
        ("/storage/other", "Datastore.Audit", false),
    ] {
        assert_eq!(seen.has(path, privilege), has, "{privilege} on {path}");
    }
}

#[test]
fn the_exact_answer_beats_the_tree() {
    // NoAccess on a path leaves it out of the tree, where it would seem to inherit.
    let exact = BTreeMap::from([("/vms/100".to_owned(), BTreeSet::new())]);
    let seen = Permissions { tree: tree(), exact };
    assert!(!seen.has("/vms/100", "VM.Audit"));
    assert!(seen.has("/vms/101", "VM.Audit"));
}

#[test]
fn tokens_are_read_from_both_answers() {
    let user = json!({"enable": 1, "expire": 500, "tokens": {"provider": {"expire": 0, "privsep": 1}}});
    assert_eq!(token_info(&user, "provider"), Some(TokenInfo { privsep: true, expires: 500 }));
    assert_eq!(token_info(&user, "other"), None);
    let token = json!({"privsep": "0", "expire": 1700000000});
    assert_eq!(token_info(&token, "provider"), Some(TokenInfo { privsep: false, expires: 1_700_000_000 }));
}

#[test]
fn an_inventory_survives_its_file_and_serves_the_selector_test() {
    let mut found = nodes(&json!([{"node": "pve1", "status": "online", "maxmem": 10, "mem": 4}])).unwrap();
    let list = json!([{"storage": "local", "type": "dir", "content": "iso", "enabled": 1, "active": 1, "avail": 7}]);
    found[0].storages = storages("pve1", &list).into();
    let inventory = Inventory {
        taken_at: "2026-11-22T03:04:05Z".into(),
        endpoint: "https://pve:8006".into(),
        version: "9.0.10".into(),
        nodes: found,
    };
    let saved = inventory.document().unwrap().to_string();
    assert_eq!(Inventory::parse(&saved).unwrap(), inventory);
    assert!(Inventory::parse("[]").is_err());
}
