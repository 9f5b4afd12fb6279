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

pub use build::{DEFAULT_ROOT_PASSWORD, DEFAULT_TOKEN_SECRET, PROVIDER_TOKEN, PROVIDER_USER, grant_all};
pub use disk::{Backend, Storage, StorageKind, Volume};
pub use vm::{Config, Drive, PowerEvent, Vm, VmProcess};

/// Bytes of one GiB.
pub const GIB: u64 = 1 << 30;

/// A Proxmox VE cluster.
pub struct World {
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
    /// The VMs that high availability manages, as `vm:ID`.
    pub ha_resources: BTreeSet<String>,
    /// Logins with a password, by their tickets.
    logins: BTreeMap<String, Login>,
    /// Unix time in the field, as of the last request or task.
    pub(super) now: u64,
    /// Changes of power that have not been published yet.
    pub(super) outbox: Vec<PowerEvent>,
    pub(super) random: fastrand::Rng,
}

/// Seconds for which a ticket is good (pve-access-control `AccessControl.pm` `verify_ticket`).
const LIFETIME: u64 = 2 * 60 * 60;

/// What a login with a password gives.
struct Login {
    user: String,
    /// What a client with a ticket must send with every change.
    csrf: String,
    /// Unix time.
    made: u64,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Memory in bytes that the host itself uses.
    pub memory_base: u64,
    /// Whether the cluster sees it.
    pub online: bool,
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

    /// A ticket for a user, `PVE:omni@pve:6B024E0A::…`, and its CSRF token.
    pub fn log_in(&mut self, user: &str, now: u64) -> (String, String) {
        let (ticket, csrf) = (format!("PVE:{user}:{now:08X}::{}", self.uuid()), format!("{now:08X}:{}", self.uuid()));
        self.logins.insert(ticket.clone(), Login { user: user.to_owned(), csrf: csrf.clone(), made: now });
        (ticket, csrf)
    }

    /// User and CSRF token of a ticket that is still good.
    pub fn login(&self, ticket: &str, now: u64) -> Option<(&str, &str)> {
        let login = self.logins.get(ticket).filter(|login| now <= login.made + LIFETIME)?;
        Some((login.user.as_str(), login.csrf.as_str()))
    }

    /// A random UUID of version 4.
    pub fn uuid(&mut self) -> String {
        crate::tls::uuid(&mut self.random)
    }

    /// Puts a list into random order: Perl's hashes have none (pve-common `RESTHandler.pm` `hash_to_array`).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        self.random.shuffle(list);
    }

    /// The state as `lab dump` shows it: nodes, storages, VMs, tasks; never a secret.
    pub fn dump(&self) -> Value {
        dump::dump(self)
    }
}
