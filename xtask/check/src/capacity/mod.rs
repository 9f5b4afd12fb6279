//! Checks whether the machines of clusters fit on a Proxmox cluster, where the provider places them, and what remains after a
//! node fails.
//!
//! Machines that are created together are placed by the current figures: the provider picks all nodes within seconds, and
//! Proxmox's figures change only after minutes, as the guests start to use their memory.

mod advice;
pub mod demand;
pub mod machine;
mod node_failure;
pub mod place;
mod placement_state;
pub mod provider;
pub mod room;
pub mod selector;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use domain::status::proxmox::{Inventory, Vm, host};
use machine::Machine;
use placement_state::PlacementState;
use provider::Provider;
use yaml::{Finding, Location};

pub use node_failure::NodeFailure;

/// A machine of a cluster: existing or to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The ID of its machine request; a placeholder if it is not requested yet.
    pub name: String,
    pub cluster: String,
    /// The ID of its machine set.
    pub set: String,
    pub control_plane: bool,
    pub machine: Machine,
    /// The position of the machine count in the template.
    pub place: Location,
    pub state: State,
}

/// How far the creation of a machine has progressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "on", rename_all = "lowercase")]
pub enum State {
    /// Its VM is on this node.
    Exists(String),
    /// Omni has requested it, but it has no VM yet.
    Requested,
    /// The template requires it, but Omni has not requested it yet.
    New,
}

/// A machine and where it is placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placement {
    pub name: String,
    pub cluster: String,
    pub set: String,
    pub control_plane: bool,
    pub class: String,
    #[serde(flatten)]
    pub state: State,
    /// `None` if the provider finds no node.
    pub node: Option<String>,
    /// The storage of each disk; empty for an existing machine.
    pub storages: Vec<String>,
    /// In bytes.
    pub memory: u64,
    pub disk: u64,
}

/// A node before and after the sync; memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeRoom {
    pub name: String,
    pub online: bool,
    /// 0 if the login may not see it.
    pub total: u64,
    pub used: u64,
    /// Memory used by the machines of sets that are removed.
    pub freed: u64,
    /// Memory of the new machines, and memory that the clusters' existing machines were given but do not use yet.
    pub added: u64,
    /// Memory that other guests were given but do not use yet.
    pub promised: u64,
    pub cpus: u64,
    /// vCPUs of the new machines.
    pub vcpus: u64,
    pub machines: usize,
    pub control_planes: usize,
}

impl NodeRoom {
    /// Returns the memory used after the sync.
    pub fn used_after(&self) -> u64 {
        self.used.saturating_sub(self.freed).saturating_add(self.added)
    }
}

/// A storage pool before and after the sync, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PoolRoom {
    pub name: String,
    /// Empty for a pool that all nodes share.
    pub node: String,
    #[serde(rename = "storageType")]
    pub kind: String,
    pub total: u64,
    pub available: u64,
    pub added: u64,
    /// The disks of machines whose sets are removed, as far as they are known.
    pub freed: u64,
    /// How much of `added` is ISO images, if they are stored here.
    pub iso: u64,
}

/// The result of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Fit {
    pub placements: Vec<Placement>,
    pub nodes: Vec<NodeRoom>,
    /// The pools with existing or new machines.
    pub pools: Vec<PoolRoom>,
    pub losses: Vec<NodeFailure>,
    pub findings: Vec<Finding>,
}

impl Fit {
    /// Adds the result of another site. With several sites, its nodes are prefixed with the name of the site.
    pub fn add(&mut self, other: Fit, site: Option<&str>) {
        let named = |name: &str| host(site, name);
        self.placements.extend(other.placements.into_iter().map(|placement| Placement {
            node: placement.node.as_deref().map(named),
            state: if let State::Exists(node) = &placement.state {
                State::Exists(named(node))
            } else {
                placement.state
            },
            ..placement
        }));
        self.nodes.extend(other.nodes.into_iter().map(|node| NodeRoom { name: named(&node.name), ..node }));
        self.pools.extend(other.pools.into_iter().map(|pool| match pool.node.is_empty() {
            true => PoolRoom { name: named(&pool.name), ..pool },
            false => PoolRoom { node: named(&pool.node), ..pool },
        }));
        self.losses.extend(other.losses.into_iter().map(|loss| NodeFailure { node: named(&loss.node), ..loss }));
        let of = site.map_or(String::new(), |site| format!("{site}: "));
        self.findings
            .extend(other.findings.into_iter().map(|it| Finding { message: format!("{of}{}", it.message), ..it }));
    }

    /// Returns true if everything fits.
    pub fn fits(&self) -> bool {
        !self.findings.iter().any(Finding::is_error)
    }
}

/// Places the members in order and reports what does not fit. The memory and disks of the machines of `removed` sets are free by
/// then; the provider still sees them as used when it picks nodes, because Omni creates and destroys machines at the same time.
pub fn plan(inventory: &Inventory, members: &[Member], removed: &BTreeSet<String>, provider: Provider) -> Fit {
    let mut state = PlacementState::new(inventory, provider, removed);
    let vms: Vms<'_> = inventory.vms().map(|(node, vm)| ((node.name.as_str(), vm.name.as_str()), vm)).collect();
    let mut placements: Vec<Placement> =
        members.iter().filter_map(|member| state.count_existing(member, &vms)).collect();
    placements.extend(members.iter().filter(|member| !exists(member)).map(|member| state.place_new(member)));
    state.check_limits();
    state.check_control_planes(members, &placements);
    let losses = node_failure::simulate_losses(&mut state, members, &placements);
    let mut findings = std::mem::take(&mut state.findings);
    findings
        .sort_by(|a, b| (a.severity, &a.place, a.rule, &a.message).cmp(&(b.severity, &b.place, b.rule, &b.message)));
    findings.dedup();
    let nodes = state.rooms.clone();
    let pools = state.pools.into_values().filter(|pool| pool.added > 0).collect();
    Fit { placements, nodes, pools, losses, findings }
}

/// The VMs of all nodes, by node and name.
type Vms<'a> = BTreeMap<(&'a str, &'a str), &'a Vm>;

/// Returns the control planes of each cluster, and how many of them are on each node.
fn control_planes(placements: &[Placement]) -> BTreeMap<&str, (Vec<&Placement>, BTreeMap<&str, usize>)> {
    let mut found: BTreeMap<&str, (Vec<&Placement>, BTreeMap<&str, usize>)> = BTreeMap::new();
    for placement in placements.iter().filter(|placement| placement.control_plane) {
        let (all, on) = found.entry(&placement.cluster).or_default();
        all.push(placement);
        if let Some(node) = &placement.node {
            *on.entry(node).or_default() += 1;
        }
    }
    found
}

fn exists(member: &Member) -> bool {
    matches!(member.state, State::Exists(_))
}

/// Formats bytes for people: `1.5 GiB`, `640 MiB`, `12 KiB`, `2.0 TiB`.
pub fn format_bytes(count: u64) -> String {
    const GIB: f64 = (1u64 << 30) as f64;
    let gib = count as f64 / GIB;
    if gib >= 1000.0 {
        format!("{:.1} TiB", gib / 1024.0)
    } else if gib >= 1.0 || count == 0 {
        format!("{gib:.1} GiB")
    } else if count >= 1 << 20 {
        format!("{:.0} MiB", gib * 1024.0)
    } else {
        format!("{} KiB", count.div_ceil(1024))
    }
}

#[cfg(test)]
mod tests;
