//! The privileges that the provider's login needs: every call it makes, with the privileges that Proxmox checks for it.
//!
//! The calls are those of omni-infra-provider-proxmox 0d9fd58 to v0.3.0; the checks are Proxmox VE's: qemu-server 9.2
//! `API2/Qemu.pm`, pve-storage 9 `API2/Storage/Status.pm` and `Content.pm`, pve-manager 9.2 `API2/Nodes.pm` and `Pool.pm`,
//! pve-ha-manager 5 `API2/HA/Rules.pm`. The provider itself reports only `not authorized to access endpoint`.

mod calls;
mod excess;
mod scope;
mod script;

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use super::capacity::machine::Network;
use super::capacity::provider::Provider;
use domain::status::proxmox::Permissions;

pub use excess::excess;
pub use scope::{ProxmoxFacts, Requirements, UnlistedObject, blind_selectors, unlisted_objects, unusable_names};
pub use script::{Login, script};

/// The objects that the provider's calls will name: nodes, storages, bridges and so on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    pub provider: Provider,
    /// The privileges that this Proxmox has; `None` if it does not report them.
    pub known: Option<BTreeSet<String>>,
    /// The ID that the next VM gets.
    pub vmid: u64,
    pub nodes: BTreeSet<String>,
    /// By node, the storages that accept ISO images; a guess if the login sees none.
    pub iso: BTreeMap<String, BTreeSet<String>>,
    /// The guess, if there is one.
    pub guessed_iso: Option<String>,
    /// By node, the storages that a selector picks or names.
    pub disks: BTreeMap<String, BTreeSet<String>>,
    pub networks: BTreeSet<Network>,
    /// The zones of vnets; every other bridge belongs to `localnetwork`.
    pub zones: BTreeMap<String, String>,
    pub pci: BTreeSet<String>,
    pub usb: BTreeSet<String>,
    /// Machine request sets, which are pools from v0.1.0 on.
    pub sets: BTreeSet<String>,
    /// Whether some class names no pool and is in no cluster yet: the name of its set, which becomes the pool, is not known.
    pub new_sets: bool,
    /// Pools that classes name, which must exist.
    pub pools: BTreeSet<String>,
    pub ha: bool,
}

impl Scope {
    /// Returns true if this Proxmox has the privilege: Sys.AccessNetwork came with pve-access-control 8.1.2, SDN.Use and
    /// Mapping.Use with 8.0. Proxmox does not check a privilege that it does not have.
    pub fn has_privilege(&self, privilege: &str) -> bool {
        self.known.as_ref().is_none_or(|known| known.contains(privilege))
    }

    /// Returns the ACL path of a network: `/sdn/zones/{zone}/{bridge}[/{tag}]` (qemu-server `check_bridge_access`).
    pub fn network_path(&self, network: &Network) -> String {
        let zone = self.zones.get(&network.bridge).map_or("localnetwork", String::as_str);
        let tag = network.vlan.map_or(String::new(), |vlan| format!("/{vlan}"));
        format!("/sdn/zones/{zone}/{}{tag}", network.bridge)
    }

    /// Returns every path whose permissions have to be queried from Proxmox.
    pub fn paths(&self) -> BTreeSet<String> {
        let needs = self.call_requirements();
        let wants = needs.iter().flat_map(|need| need.ways.iter().flatten());
        wants.map(|want| want.path.clone()).collect()
    }
}

/// A privilege on a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrivilegeOnPath {
    pub privilege: &'static str,
    pub path: String,
}

/// The privileges that one call needs: all privileges of any alternative. Without alternatives, any login is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRequirement {
    /// Method and path below `/api2/json`, with the names that the provider will use.
    pub call: String,
    pub ways: Vec<Vec<PrivilegeOnPath>>,
    /// Whether the provider works without it, with a drawback.
    pub optional: bool,
    /// What happens without it.
    pub without: &'static str,
}

/// Whether a call is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Present,
    Missing,
    /// Missing, but the provider works without it.
    Optional,
    /// This Proxmox does not check it, or any login is enough.
    Unneeded,
}

/// A combination of call, privilege and path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub call: String,
    /// For example `Sys.AccessNetwork`; empty if any login is enough.
    pub privilege: String,
    pub path: String,
    pub status: Verdict,
    /// The other alternatives, such as `Sys.Audit and Sys.Modify on /`.
    pub alternatives: Vec<String>,
    /// What happens without it.
    pub without: &'static str,
}

/// Checks each privilege of every call.
pub fn rows(scope: &Scope, permissions: &Permissions) -> Vec<Row> {
    scope.call_requirements().iter().flat_map(|need| rows_of(need, scope, permissions)).collect()
}

fn rows_of(need: &CallRequirement, scope: &Scope, permissions: &Permissions) -> Vec<Row> {
    let row = |want: Option<&PrivilegeOnPath>, status: Verdict, alternatives: Vec<String>| Row {
        call: need.call.clone(),
        privilege: want.map_or_else(String::new, |want| want.privilege.to_owned()),
        path: want.map_or_else(String::new, |want| want.path.clone()),
        status,
        alternatives,
        without: need.without,
    };
    let ways = known_alternatives(need, scope);
    let Some(first) = ways.first() else {
        let want = need.ways.first().and_then(|way| way.first());
        return vec![row(want, Verdict::Unneeded, Vec::new())];
    };
    let has = |want: &PrivilegeOnPath| has(permissions, want);
    let fulfilled = ways.iter().find(|way| way.iter().all(has));
    // Show the alternative that is fulfilled; if there is none, the first, which the script grants.
    let shown = fulfilled.unwrap_or(first);
    let others: Vec<String> = ways.iter().filter(|way| *way != shown).map(|way| describe(way)).collect();
    let verdict = |want: &PrivilegeOnPath| match (has(want), need.optional) {
        (true, _) => Verdict::Present,
        (false, true) => Verdict::Optional,
        (false, false) => Verdict::Missing,
    };
    shown.iter().map(|want| row(Some(want), verdict(want), others.clone())).collect()
}

/// The path of all pools: a privilege that is needed here must propagate to the paths below.
const ALL_POOLS: &str = "/pool";

fn has(permissions: &Permissions, want: &PrivilegeOnPath) -> bool {
    match want.path.as_str() {
        ALL_POOLS => permissions.propagates(Some(ALL_POOLS), want.privilege),
        path => permissions.has(path, want.privilege),
    }
}

/// Returns the alternatives whose privileges this Proxmox knows.
fn known_alternatives<'a>(need: &'a CallRequirement, scope: &Scope) -> Vec<&'a Vec<PrivilegeOnPath>> {
    need.ways.iter().filter(|way| way.iter().all(|want| scope.has_privilege(want.privilege))).collect()
}

/// Formats an alternative, for example as `Sys.Audit and Sys.Modify on /`.
fn describe(way: &[PrivilegeOnPath]) -> String {
    let mut paths: Vec<(&str, Vec<&str>)> = Vec::new();
    // An alternative may cover hundreds of pools.
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for want in way {
        let at = *known.entry(&want.path).or_insert(paths.len());
        if at == paths.len() {
            paths.push((&want.path, Vec::new()));
        }
        paths[at].1.push(want.privilege);
    }
    let parts: Vec<String> =
        paths.iter().map(|(path, privileges)| format!("{} on {path}", privileges.join(" and "))).collect();
    parts.join(", ")
}

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
