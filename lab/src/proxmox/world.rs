//! The state of a simulated Proxmox VE cluster.
//!
//! Plain data and its invariants. Nothing here depends on HTTP, on the calling user or on a clock.

mod build;
pub mod disk;
mod dump;
pub mod vm;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::access::Access;
use super::task::Tasks;

pub use build::{DEFAULT_ROOT_PASSWORD, DEFAULT_TOKEN_SECRET, PROVIDER_TOKEN, PROVIDER_USER, grant_all};
pub use disk::{Backend, Storage, StorageKind, Volume};
pub use vm::{Config, Drive, PowerEvent, Vm, VmProcess};

/// Bytes of one GiB.
pub const GIB: u64 = 1 << 30;

/// A Proxmox VE cluster.
pub struct World {
    /// The version of pve-manager on every node, such as `9.0.10`.
    pub version: String,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// The storage configuration, by ID.
    pub storages: BTreeMap<String, Storage>,
    /// VMs by ID; IDs are unique in the cluster.
    pub vms: BTreeMap<u32, Vm>,
    /// Users, roles, ACLs and pools.
    pub access: Access,
    /// Running and finished tasks.
    pub tasks: Tasks,
    /// The VMs managed by high availability, as `vm:ID`.
    pub ha_resources: BTreeSet<String>,
    /// Password logins by ticket.
    logins: BTreeMap<String, Login>,
    /// The simulated Unix time of the last request or task.
    pub(super) now: u64,
    /// Power changes that have not been published yet.
    pub(super) outbox: Vec<PowerEvent>,
    pub(super) random: fastrand::Rng,
}

/// Lifetime of a ticket in seconds (pve-access-control `AccessControl.pm` `verify_ticket`).
const LIFETIME: u64 = 2 * 60 * 60;

/// A login with a password.
struct Login {
    user: String,
    /// CSRF token, which a client with a ticket must send with every change.
    csrf: String,
    /// Unix time of the login.
    made: u64,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Bytes of memory used by the host itself.
    pub memory_base: u64,
    /// Whether the node is online.
    pub online: bool,
    pub bridges: BTreeSet<String>,
    /// Address in the cluster network.
    pub ip: String,
}

/// Resources in use on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Memory in bytes, never more than the node has.
    pub memory: u64,
    /// Virtual processors of the running guests.
    pub cpus: u64,
}

/// Resources in use, by node.
pub type Loads<'a> = BTreeMap<&'a str, Load>;

impl World {
    /// Whether the status line gives the reason for a failed authentication; pve-manager 9.1.5 hides it from the client.
    pub fn shows_auth_failure_reason(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next()) < (9, 1, 5)
    }

    /// The node that answers requests: the first that is online.
    pub fn local_node(&self) -> &str {
        let online = self.nodes.iter().find(|(_, node)| node.online);
        online.or_else(|| self.nodes.iter().next()).map_or("pve1", |(name, _)| name)
    }

    /// The resources in use on each node, by the host and by its running guests.
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

    /// Creates a ticket for a user, `PVE:omni@pve:6B024E0A::…`, and its CSRF token.
    pub fn log_in(&mut self, user: &str, now: u64) -> (String, String) {
        let (ticket, csrf) = (format!("PVE:{user}:{now:08X}::{}", self.uuid()), format!("{now:08X}:{}", self.uuid()));
        self.logins.insert(ticket.clone(), Login { user: user.to_owned(), csrf: csrf.clone(), made: now });
        (ticket, csrf)
    }

    /// Returns the user and CSRF token of a ticket, or `None` if the ticket is unknown or has expired.
    pub fn login(&self, ticket: &str, now: u64) -> Option<(&str, &str)> {
        let login = self.logins.get(ticket).filter(|login| now <= login.made + LIFETIME)?;
        Some((login.user.as_str(), login.csrf.as_str()))
    }

    /// Generates a random version 4 UUID.
    pub fn uuid(&mut self) -> String {
        crate::tls::uuid(&mut self.random)
    }

    /// Shuffles a list, because Perl's hashes are unordered (pve-common `RESTHandler.pm` `hash_to_array`).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        self.random.shuffle(list);
    }

    /// The state as `lab dump` shows it: nodes, storages, VMs and tasks, without secrets.
    pub fn dump(&self) -> Value {
        dump::dump(self)
    }
}
