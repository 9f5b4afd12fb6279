//! Checks whether the storages that the machine classes select, and those for ISO images, have room.

use std::collections::BTreeMap;

use domain::status::proxmox::{Node, Storage};

use super::format_bytes;
use super::machine::{Disk, Machine};
use super::selector::selects;

/// Less than this fits neither a Talos image (100 to 500 MB) nor a system disk.
const LEAST: u64 = 1 << 30;
/// What Talos initially writes to a thin disk.
const WRITTEN: u64 = 5 << 30;

/// Returns true if a storage that is meant for disks or ISO images has no room for any.
pub fn is_full(storage: &Storage) -> bool {
    storage.available < LEAST && (storage.accepts_iso() || storage.content.iter().any(|content| content == "images"))
}

/// A disk or image without room, and the storages that lack it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// `local-lvm on pve1 and pve2 has 0.0 GiB for the 40.0 GiB of class `web``.
    pub words: String,
    /// Whether no node has room for it.
    pub everywhere: bool,
}

/// Returns every class and every image that lacks room on some node. Storages that cannot be seen are left out.
pub fn shortages(nodes: &[Node], machines: &[Machine]) -> Vec<Shortage> {
    let mut found = Vec::new();
    for machine in machines {
        let on = |node: &&Node| machine.node.as_ref().is_none_or(|pinned| *pinned == node.name);
        let nodes: Vec<&Node> = nodes.iter().filter(on).collect();
        for Disk { size, selector, .. } in &machine.disks {
            let selected = |storage: &&Storage| storage.accepts_images() && selects(selector, storage) == Ok(true);
            let need = |storage: &Storage| if storage.is_thick() { *size } else { WRITTEN.min(*size) };
            let what = format!("the {} of class `{}`", format_bytes(*size), machine.class);
            found.extend(shortage(&nodes, &selected, &need, &what));
        }
    }
    let all: Vec<&Node> = nodes.iter().collect();
    found.extend(shortage(&all, &|storage| storage.accepts_iso(), &|_| LEAST, "a Talos image"));
    found
}

fn shortage(
    nodes: &[&Node],
    selected: &dyn Fn(&&Storage) -> bool,
    need: &dyn Fn(&Storage) -> u64,
    what: &str,
) -> Option<Shortage> {
    let mut lacking: BTreeMap<(&str, u64), Vec<&str>> = BTreeMap::new();
    let mut room = false;
    for node in nodes.iter().filter(|node| node.is_online()) {
        let storages = node.storages.known().into_iter().flatten();
        for storage in storages.filter(|storage| storage.enabled && storage.active).filter(selected) {
            if storage.available < need(storage) {
                lacking.entry((&storage.name, storage.available)).or_default().push(&node.name);
            } else {
                room = true;
            }
        }
    }
    let words = lacking
        .iter()
        .map(|((name, free), on)| format!("{name} on {} has {} free", on.join(", "), format_bytes(*free)));
    let words = words.collect::<Vec<_>>().join("; ");
    (!lacking.is_empty()).then(|| Shortage { words: format!("{words}, for {what}"), everywhere: !room })
}
