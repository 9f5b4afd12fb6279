//! Fixes for the findings of a plan, derived from what is known about this Proxmox instead of fixed text.

use super::machine::{Machine, Strategy};
use super::provider::Provider;
use super::{Member, NodeRoom, Placement, State};
use domain::status::proxmox::{Inventory, Storage};
use domain::words::count;

/// For the provider that also queries offline nodes for their figures and gives up (omni-infra-provider-proxmox 0d9fd58
/// `provision.go`; v0.1.0 skips them).
const SKIPS_OFFLINE: &str = "run provider v0.1.0 or later, which skips offline nodes";

fn names(inventory: &Inventory, online: bool) -> Vec<&str> {
    inventory.nodes.iter().filter(|node| node.is_online() == online).map(|node| node.name.as_str()).collect()
}

/// Returns "bring pve3 back", or `None` if no node is offline.
fn bring_back(offline: &[&str]) -> Option<String> {
    (!offline.is_empty()).then(|| format!("bring {} back", offline.join(" and ")))
}

/// The fix if the provider finds no node.
pub(super) fn no_node(provider: Provider, inventory: &Inventory, pinned: Option<&str>) -> String {
    let (online, offline) = (names(inventory, true), names(inventory, false));
    match pinned {
        Some(node) if offline.contains(&node) => {
            format!("bring {node} back, or change `node:` in the class{}", one_of(&online))
        }
        Some(_) => format!("change `node:` in the class{}", one_of(&online)),
        None if online.is_empty() => bring_back(&offline).unwrap_or_else(|| "add a node to Proxmox".to_owned()),
        None if provider == Provider::Untagged => {
            let back = bring_back(&offline).unwrap_or_default();
            format!("{SKIPS_OFFLINE}; or {back}; or set `node:` in the class to an online node")
        }
        None => {
            bring_back(&offline).unwrap_or_else(|| "check the nodes with `cargo xtask proxmox-inventory`".to_owned())
        }
    }
}

fn one_of(online: &[&str]) -> String {
    if online.is_empty() { String::new() } else { format!(" (online: {})", online.join(", ")) }
}

/// The fix for machines with more processors than the node has.
pub(super) fn cpu(rooms: &[NodeRoom], vcpus: u64) -> String {
    let larger: Vec<&str> =
        rooms.iter().filter(|room| room.online && room.cpus >= vcpus).map(|room| room.name.as_str()).collect();
    match larger.as_slice() {
        [] => "give it fewer cores or sockets: no node has that many threads".to_owned(),
        larger => format!("give it fewer cores or sockets, or pin it with `node:` to {}", larger.join(" or ")),
    }
}

/// The fix for a node without the bridge that a class names.
pub(super) fn bridge(node: &str, bridges: &[String], inventory: &Inventory, network: &str) -> String {
    const RIGHT: &str = "SDN.Use on a bridge makes it visible (`cargo xtask proxmox-audit`)";
    if bridges.is_empty() {
        return format!("this login sees no bridge on {node}: {RIGHT}");
    }
    let others = inventory
        .nodes
        .iter()
        .filter(|other| other.bridges.known().is_some_and(|all| all.iter().any(|each| each == network)));
    let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
    let elsewhere =
        if others.is_empty() { String::new() } else { format!("; `{network}` exists on {}", others.join(", ")) };
    format!("{node} has {}{elsewhere}; {RIGHT}", bridges.join(", "))
}

/// The fix for a node on which a selector matches nothing.
pub(super) fn no_storage(node: &str, storages: &[Storage]) -> String {
    let names: Vec<&str> = storages.iter().map(|storage| storage.name.as_str()).collect();
    match names.is_empty() {
        true => format!("this login sees no storage on {node}: it lacks Datastore.Audit (`cargo xtask proxmox-audit`)"),
        false => format!("{node} has {}", names.join(", ")),
    }
}

/// The fix for a node without a storage for ISO images.
pub(super) fn iso(node: &str, storages: &[Storage]) -> String {
    // Only these contain files (pve-storage 9 `DirPlugin.pm` and similar plugins: content `iso`).
    let holds = |storage: &&Storage| matches!(storage.kind.as_str(), "dir" | "nfs" | "cifs" | "cephfs" | "btrfs");
    match storages.iter().find(holds) {
        Some(storage) => {
            let content: Vec<&str> = storage.content.iter().map(String::as_str).chain(["iso"]).collect();
            format!("`pvesm set {} --content {}` on any node", storage.name, content.join(","))
        }
        None if storages.is_empty() => no_storage(node, storages),
        None => format!(
            "add a storage for ISO images to {node}, or let this login see the existing one (`cargo xtask proxmox-audit`)"
        ),
    }
}

/// The fix for a node without enough memory.
pub(super) fn memory(provider: Provider, rooms: &[NodeRoom]) -> &'static str {
    if rooms.iter().filter(|room| room.online).count() < 2 {
        "use fewer or smaller machines, or add a node"
    } else if provider < Provider::V0_2 {
        "this provider places all machines on the emptiest node: pin classes with `node:`, or run v0.2.0"
    } else {
        "use fewer or smaller machines, another `placement_strategy`, or one class per node with `node:`"
    }
}

/// The fix for machines of a lost node that do not fit elsewhere.
pub(super) fn loss(provider: Provider, gone: &[&Member]) -> String {
    let pinned = gone.iter().find(|member| member.machine.node.is_some());
    match pinned {
        Some(member) => format!("remove `node:` from the class `{}` if its machines may move", member.machine.class),
        None if provider == Provider::Untagged => format!("{SKIPS_OFFLINE}; or use one class per node with `node:`"),
        None => "keep enough free capacity on the other nodes for one node's machines".to_owned(),
    }
}

/// The fix for several control planes of one cluster on one node.
pub(super) fn together(provider: Provider, inventory: &Inventory, machine: &Machine, all: &[&Placement]) -> String {
    let (online, offline) = (names(inventory, true), names(inventory, false));
    let total = all.len();
    if online.len() < total {
        let more = total - online.len();
        let add = match offline.len() {
            back if back >= more => String::new(),
            0 => format!("add {}", count(more, "node")),
            back => format!(" and add {}", count(more - back, "node")),
        };
        let back = bring_back(&offline).unwrap_or_default();
        return format!(
            "{back}{add} before the sync: no rule can spread {total} control planes over {}",
            count(online.len(), "online node")
        );
    }
    if let Some(node) = &machine.node {
        return format!("the class `{}` pins all of them to {node}: remove its `node:`", machine.class);
    }
    if provider < Provider::V0_2 {
        return "use one class per node with `node:`, or provider v0.2.0, which spreads a set over the nodes"
            .to_owned();
    }
    if machine.strategy != Strategy::Spread {
        return format!("set `placement_strategy: spread` in the class `{}`", machine.class);
    }
    if all.iter().any(|placement| matches!(placement.state, State::Exists(_))) {
        return "existing machines stay on their node: to move them, replace them one at a time (`cargo xtask \
                machine-replace MACHINE`)"
            .to_owned();
    }
    format!("set `ha: {{resource_affinity: negative}}` in the class `{}`", machine.class)
}
