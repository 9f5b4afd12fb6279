//! What there is: the state of a simulated Proxmox VE cluster.
//!
//! Plain data and the rules that hold inside it. Nothing here knows HTTP, users or time that passes.

mod build;
pub mod disk;
mod dump;
pub mod vm;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::access::Access;
use super::task::Tasks;
use super::ticket::SigningKeys;

pub use build::{DEFAULT_ROOT_PASSWORD, DEFAULT_TOKEN_SECRET, PROVIDER_TOKEN, PROVIDER_USER};
pub use disk::{Backend, Storage, StorageKind, Volume};
pub use vm::{Config, Drive, PowerEvent, Running, Vm};

/// Bytes of one GiB.
pub const GIB: u64 = 1 << 30;

/// A Proxmox VE cluster.
pub struct World {
    /// The cluster's name.
    pub cluster: String,
    /// The version of pve-manager on every node, `9.0.10`.
    pub version: String,
    /// By name.
    pub nodes: BTreeMap<String, Node>,
    /// The storage configuration, by id.
    pub storages: BTreeMap<String, Storage>,
    /// By id; ids are unique in the cluster.
    pub vms: BTreeMap<u32, Vm>,
    /// Users, roles, ACLs and pools.
    pub access: Access,
    /// Tasks of the past and the present.
    pub tasks: Tasks,
    /// HA resources by `vm:ID`.
    pub ha_resources: BTreeMap<String, HaResource>,
    /// HA rules by id: PVE 9's successor of HA groups.
    pub ha_rules: BTreeMap<String, BTreeMap<String, String>>,
    /// The range that `GET /cluster/nextid` searches: from the first, up to but without the second.
    pub next_id: (u32, u32),
    /// The keys that tickets are signed with.
    pub keys: SigningKeys,
    /// Unix time in the field, as of the last request or task.
    pub(super) now: u64,
    /// Changes of power that have not been published yet.
    pub(super) outbox: Vec<PowerEvent>,
    /// What `random` draws from.
    pub(super) seed: u64,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// Logical processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Memory in bytes that the host itself uses.
    pub memory_base: u64,
    /// Whether the cluster sees it.
    pub online: bool,
    /// Network bridges.
    pub bridges: BTreeSet<String>,
    /// Its address in the cluster network.
    pub ip: String,
}

/// What is in use on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Memory in bytes, never more than there is.
    pub memory: u64,
    /// Virtual processors of the guests that run.
    pub cpus: u64,
}

/// What is in use, by node.
pub type Loads<'a> = BTreeMap<&'a str, Load>;

/// A guest that the HA manager looks after.
#[derive(Clone, Debug, Default)]
pub struct HaResource {
    /// Requested state: `started`, `stopped`, `ignored`, `disabled`.
    pub state: String,
    /// HA group, as PVE 8 has them.
    pub group: Option<String>,
    /// Free text.
    pub comment: Option<String>,
}

impl World {
    /// Whether refused logins are told apart in the status line; pve-manager 9.1.5 hides that from the client.
    pub fn tells_why_not_authenticated(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next()) < (9, 1, 5)
    }

    /// The node that answers: the first that is online.
    pub fn local_node(&self) -> &str {
        let online = self.nodes.iter().find(|(_, node)| node.online);
        online.or_else(|| self.nodes.iter().next()).map_or("pve1", |(name, _)| name)
    }

    /// What is in use on every node: by the host and by the guests that run there.
    pub fn loads(&self) -> Loads<'_> {
        let hosts = self.nodes.iter().map(|(name, node)| (name.as_str(), Load { memory: node.memory_base, cpus: 0 }));
        let mut loads: Loads<'_> = hosts.collect();
        for vm in self.vms.values().filter(|vm| vm.running.is_some()) {
            if let (Some(load), Some(node)) = (loads.get_mut(vm.node.as_str()), self.nodes.get(&vm.node)) {
                load.memory = (load.memory + vm.memory_in_use()).min(node.memory);
                load.cpus += vm.cpus();
            }
        }
        loads
    }

    /// A pseudo-random number: SplitMix64, the same sequence for the same seed.
    pub fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random UUID of version 4.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.random(), self.random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48 & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }

    /// Puts a list into random order: Perl's hashes have none (pve-common `RESTHandler.pm` `hash_to_array`).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.random() % (last as u64 + 1);
            list.swap(last, other as usize);
        }
    }

    /// The state as `lab dump` shows it: nodes, storages, VMs, tasks; never a secret.
    pub fn dump(&self) -> Value {
        dump::dump(self)
    }
}

#[cfg(test)]
mod tests;
