//! Creates a Proxmox cluster like an existing one, from the inventory that `cargo xtask proxmox-inventory --save` wrote.
//!
//! Nodes, storages and bridges are those of the inventory. Resources that other guests use count as used by the host itself,
//! so that placement finds the same free space; the guests themselves are left out.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use domain::status::proxmox::{Figures, Inventory, Node as SeenNode, Storage as SeenStorage};

use crate::proxmox::World;
use crate::proxmox::world::{Backend, GIB, Node, PROVIDER_USER, Storage, StorageKind};

/// The maximum number of nodes of a lab, as for `--nodes`.
const MOST_NODES: usize = 1000;
/// The figures of a node if the login could not read them.
const USUAL: Figures = Figures { cpus: 16, cpu_load: 0.0, memory_total: 64 * GIB, memory_used: 4 * GIB };

/// Creates the cluster that an inventory describes.
pub fn world(inventory: &str, token_secret: &str) -> Result<World> {
    let site: Inventory = serde_json::from_str(inventory).context("it is not an inventory")?;
    if site.nodes.is_empty() || site.nodes.len() > MOST_NODES {
        bail!("the inventory has {} nodes: 1 to {MOST_NODES} can be simulated", site.nodes.len());
    }
    let mut world = World::lab(token_secret);
    world.nodes.clear();
    world.storages.clear();
    if !site.version.is_empty() {
        world.version = site.version;
    }
    for SeenNode { name, status, figures, storages, bridges, .. } in &site.nodes {
        let figures = figures.known().unwrap_or(&USUAL);
        world.add_node(name, u32::try_from(figures.cpus).unwrap_or(u32::MAX).max(1), figures.memory_total);
        if let Some(node) = world.nodes.get_mut(name) {
            let bridges = bridges.known().map_or_else(|| node.bridges.clone(), |seen| seen.iter().cloned().collect());
            *node = Node { memory_base: figures.memory_used, online: status == "online", bridges, ..node.clone() };
            for bridge in node.bridges.clone() {
                world.access.grant(&format!("/sdn/zones/localnetwork/{bridge}"), PROVIDER_USER, "OmniNet");
            }
        }
        for storage in storages.known().into_iter().flatten() {
            add(&mut world, name, storage);
        }
    }
    Ok(world)
}

/// Adds a storage as a node sees it.
fn add(world: &mut World, node: &str, seen: &SeenStorage) {
    let name = &seen.name;
    for role in ["OmniISO", "OmniDisk"] {
        world.access.grant(&format!("/storage/{name}"), PROVIDER_USER, role);
    }
    let images = || BTreeSet::from(["images".to_owned()]);
    let storage = world.storages.entry(name.clone()).or_insert_with(|| Storage {
        kind: StorageKind::of_name(&seen.kind),
        content: if seen.content.is_empty() { images() } else { seen.content.iter().cloned().collect() },
        shared: seen.shared,
        nodes: Some(BTreeSet::new()),
        path: format!("/mnt/pve/{name}"),
        backends: Default::default(),
    });
    if seen.enabled {
        storage.nodes.get_or_insert_default().insert(node.to_owned());
    }
    let total = seen.total.max(seen.available);
    let backend = Backend { total, other: total - seen.available, active: seen.active, volumes: Default::default() };
    let key = if storage.shared { String::new() } else { node.to_owned() };
    // The figures of a shared storage come from a node that has it.
    if seen.enabled || !storage.backends.contains_key(&key) {
        storage.backends.insert(key, backend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn world_matches_nodes_and_storages_of_inventory() {
        let text = include_str!("../../xtask/tests/fixtures/inventory/two-of-three-online.json");
        let world = world(text, "secret").unwrap();
        assert_eq!(world.nodes.len(), 3);
        assert_eq!(world.nodes.values().filter(|node| node.online).count(), 2);
        let local = world.storages["local-lvm"].backend("pve1").unwrap();
        assert_eq!((local.total, local.free()), (1_073_741_824_000, 858_993_459_200));
        assert!(world.storages["vm_ssd"].shared && world.storages["vm_ssd"].backends.len() == 1);
        assert_eq!(world.nodes["pve1"].memory_base, 4_294_967_296);
    }

    #[test]
    fn unusual_inventories_are_accepted_or_refused() {
        let node = r#"{"name":"a<b>","status":"online","figures":{"unknown":"403"},"bridges":{"unknown":"403"},"vms":{"unknown":"403"},
            "storages":{"known":[{"name":"tank","storageType":"zfspool","availableSpace":9,"node":"a"}]},"more":1}"#;
        let head = r#""taken_at":"","endpoint":"","version":"","schema_version":9"#;
        let site = world(&format!("{{\"nodes\":[{node}],{head}}}"), "secret").unwrap();
        assert_eq!(site.storages["tank"].kind.name(), "zfspool");
        assert!(site.nodes["a<b>"].bridges.contains("vmbr0"));
        for bad in ["", "{}", "[]", "{\"nodes\":[]}", "{\"nodes\":[{\"name\":1}]}"] {
            assert!(world(bad, "secret").is_err(), "{bad}");
        }
    }
}
