//! `tests/corpus/proxmox.yaml` contains responses of Proxmox and the expected values.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    reads: String,
    of: Value,
    /// The second response, for values that are parsed from two.
    #[serde(default)]
    and: Value,
    is: Value,
}

fn shown(storages: &[Storage]) -> Value {
    let one = |it: &Storage| {
        let holds = [it.accepts_iso(), it.accepts_images()];
        json!({ "name": it.name, "kind": it.kind, "available": it.available, "total": it.total, "iso, images": holds, "pool": it.pool() })
    };
    storages.iter().map(one).collect()
}

#[test]
fn inventory_with_a_node_twice_is_refused() {
    let node = Node { name: "pve1".to_owned(), ..Node::default() };
    let document = |nodes: &[Node]| serde_json::to_string(&Inventory { nodes: nodes.to_vec(), ..Inventory::default() });
    assert!(Inventory::parse(&document(std::slice::from_ref(&node)).unwrap()).is_ok());
    let twice = Inventory::parse(&document(&[node.clone(), node]).unwrap());
    assert_eq!(twice.unwrap_err(), "it contains the node `pve1` twice");
}

#[test]
fn responses_parse_as_in_corpus() {
    let cases: Vec<Case> = serde_yaml::from_str(include_str!("../../../tests/corpus/proxmox.yaml")).unwrap();
    for Case { reads, of, and, is } in cases {
        let found = match reads.as_str() {
            "disks" => json!(parse_disks(&of)),
            "nodes" => json!(parse_nodes(&of)),
            "storages" => json!(parse_storages("pve1", &of).map(|found| shown(&found))),
            "bridges" => json!(parse_bridges(&of)),
            "vms" => {
                let one = |vm: &Vm| json!([vm.id, vm.running, vm.machine_request_set()]);
                json!(parse_vms(&of).map(|found| found.iter().map(one).collect::<Vec<_>>()))
            }
            "storages of all nodes" => {
                let each = |(node, storages): (String, Vec<Storage>)| (node, shown(&storages));
                json!(storages_by_node(&of, &and).map(|found| found.into_iter().map(each).collect::<BTreeMap<_, _>>()))
            }
            "pools" => json!(parse_pools(&of)),
            "token" => json!(find_token(&of, "provider").map(|token| (token.privsep, token.expires))),
            other => panic!("{other}"),
        };
        assert_eq!(found, is, "{reads} of {of} {and}");
    }
}

/// A path that is missing in the tree may have no privilege, an inherited privilege, or an entry that denies access.
#[test]
fn tree_is_conclusive_for_visible_objects() {
    let set = |held: &[(&str, bool)]| held.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect();
    let tree: Tree = [
        ("/nodes".to_owned(), set(&[("Sys.Audit", true), ("Sys.Console", false)])),
        ("/storage".to_owned(), set(&[("Datastore.Audit", false)])),
        ("/storage/own".to_owned(), set(&[("Datastore.Allocate", false)])),
    ]
    .into();
    let certain =
        |path: &str, visible: bool| conclusive_privileges(&tree, path, visible).map(|held| held.into_iter().collect());
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
    parse_permissions(&json!({
        "/": {"Sys.Audit": 0},
        "/vms": {"VM.Audit": 1, "VM.Allocate": 0},
        "/storage/local": {"Datastore.Audit": 1}
    }))
    .unwrap()
}

#[test]
fn privilege_is_inherited_only_if_it_propagates() {
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
fn exact_privileges_override_the_tree() {
    // NoAccess on a path removes it from the tree, where it would seem to inherit.
    let exact = BTreeMap::from([("/vms/100".to_owned(), BTreeSet::new())]);
    let seen = Permissions { tree: tree(), exact };
    assert!(!seen.has("/vms/100", "VM.Audit"));
    assert!(seen.has("/vms/101", "VM.Audit"));
}

#[test]
fn saved_inventory_parses_back() {
    let mut found = parse_nodes(&json!([{"node": "pve1", "status": "online", "maxmem": 10, "mem": 4}])).unwrap();
    let list = json!([{"storage": "local", "type": "dir", "content": "iso", "enabled": 1, "active": 1, "avail": 7}]);
    found[0].storages = parse_storages("pve1", &list).into();
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
