//! Initial worlds, and changes from outside that no API call makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::disk::{Backend, Storage, StorageKind, Volume};
use super::{Config, GIB, Node, Vm, World};
use crate::proxmox::access::{Access, Token, User, special_roles};
use crate::proxmox::task::Tasks;

/// The user that the infrastructure provider logs in as.
pub const PROVIDER_USER: &str = "omni@pve";
/// Its API token.
pub const PROVIDER_TOKEN: &str = "omni@pve!provider";
/// Default secret of the token. It gives access only to a simulation on loopback.
pub const DEFAULT_TOKEN_SECRET: &str = "00000000-0000-0000-0000-000000000000";
/// Password of root@pam in the simulation.
pub const DEFAULT_ROOT_PASSWORD: &str = "omni-scale";

/// The rights of the provider's user: the privileges of its roles, and the role granted on each path.
#[derive(Deserialize)]
struct Rights {
    roles: BTreeMap<String, String>,
    grants: BTreeMap<String, String>,
}

static RIGHTS: LazyLock<Rights> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("rights.yaml")).unwrap_or_else(|why| panic!("rights.yaml: {why}"))
});

fn words(list: &str) -> BTreeSet<String> {
    list.split(',').map(str::to_owned).collect()
}

fn provider_access(token_secret: &str) -> Access {
    let mut access = Access::default();
    access.roles.extend(special_roles());
    let root = User { password: Some(DEFAULT_ROOT_PASSWORD.to_owned()), ..User::default() };
    access.users.insert("root@pam".to_owned(), root);
    let token = Token { secret: token_secret.to_owned(), ..Token::default() };
    let user = User { tokens: BTreeMap::from([("provider".to_owned(), token)]), ..User::default() };
    access.users.insert(PROVIDER_USER.to_owned(), user);
    grant_all(&mut access);
    access
}

/// Creates the provider's roles with all their privileges and grants them to its user.
pub fn grant_all(access: &mut Access) {
    access.roles.extend(RIGHTS.roles.iter().map(|(role, privs)| (role.clone(), privs.split(' ').collect())));
    RIGHTS.grants.iter().for_each(|(path, role)| access.grant(path, PROVIDER_USER, role));
}

fn storage(kind: StorageKind, content: &str, shared: bool, path: &str) -> Storage {
    let (content, path) = (words(content), path.to_owned());
    Storage { kind, content, shared, nodes: None, path, backends: BTreeMap::new() }
}

fn backend(total: u64, other: u64) -> Backend {
    Backend { total, other, active: true, volumes: BTreeMap::new() }
}

impl World {
    /// The lab's own cluster, `lab`: three nodes with 16 processors and 64 GiB each, a directory for images (`local`) and a thin
    /// pool (`local-lvm`) on each node, a shared Ceph pool (`vm_ssd`), bridges vmbr0 and vmbr1, and the provider's user with the
    /// least privileges.
    pub fn lab(token_secret: &str) -> World {
        World::sized(3, 0, 3, token_secret)
    }

    /// A cluster of any size, with at least one node and at least the three storages of [`World::lab`]. Additional storages
    /// are thin pools on one node each; VMs are small, and some are stopped and some running.
    pub fn sized(nodes: usize, vms: usize, storages: usize, token_secret: &str) -> World {
        let mut world = World {
            version: "9.0.10".into(),
            nodes: BTreeMap::new(),
            storages: BTreeMap::new(),
            vms: BTreeMap::new(),
            access: provider_access(token_secret),
            tasks: Tasks::default(),
            ha_resources: BTreeSet::new(),
            logins: BTreeMap::new(),
            now: 0,
            outbox: Vec::new(),
            random: fastrand::Rng::new(),
        };
        world.storages.insert("local".into(), storage(StorageKind::DIR, "iso,vztmpl,backup", false, "/var/lib/vz"));
        world.storages.insert("local-lvm".into(), storage(StorageKind::LVM_THIN, "images,rootdir", false, "pve"));
        let mut ceph = storage(StorageKind::RBD, "images", true, "rbd/vm_ssd");
        ceph.backends.insert(String::new(), backend(8192 * GIB, 1024 * GIB));
        world.storages.insert("vm_ssd".into(), ceph);
        for number in 1..=nodes.max(1) {
            world.add_node(&format!("pve{number}"), 16, 64 * GIB);
        }
        let names: Vec<String> = world.nodes.keys().cloned().collect();
        for number in 3..storages {
            let node = &names[number % names.len()];
            let id = format!("{node}-pool{number}");
            let mut pool = storage(StorageKind::LVM_THIN, "images,rootdir", false, &id);
            pool.nodes = Some([node.clone()].into());
            pool.backends.insert(node.clone(), backend(1000 * GIB, 100 * GIB));
            world.access.grant(&format!("/storage/{id}"), PROVIDER_USER, "OmniDisk");
            world.storages.insert(id, pool);
        }
        for number in 0..vms {
            let (vmid, uuid) = (100 + number as u32, world.uuid());
            world.add_guest(vmid, &names[number % names.len()], &format!("guest-{vmid}"), &uuid, (2, 2048, 20));
            if !vmid.is_multiple_of(2)
                && let Some(vm) = world.vms.get_mut(&vmid)
            {
                vm.running = None;
            }
        }
        world
    }

    /// Adds a node with the bridges vmbr0 and vmbr1 and its share of `local` and `local-lvm`.
    pub fn add_node(&mut self, name: &str, cpus: u32, memory: u64) {
        let number = self.nodes.len();
        // Hosts differ slightly, so that placement by free memory is unambiguous.
        let memory_base = (4 + number as u64 % 5) * GIB;
        let ip = format!("10.10.{}.{}", 10 + number / 200, 11 + number % 200);
        let bridges = words("vmbr0,vmbr1");
        self.nodes.insert(name.to_owned(), Node { cpus, memory, memory_base, online: true, bridges, ip });
        for (id, total, other) in [("local", 96, 12), ("local-lvm", 1000, 200)] {
            if let Some(storage) = self.storages.get_mut(id) {
                storage.backends.insert(name.to_owned(), backend(total * GIB, other * GIB));
            }
        }
    }

    /// Adds a running VM created long ago, with a number of processors, MiB of memory and GiB of disk in `local-lvm`.
    pub fn add_guest(
        &mut self,
        vmid: u32,
        node: &str,
        name: &str,
        uuid: &str,
        (cores, memory, disk_gib): (u64, u64, u64),
    ) {
        let volid = format!("local-lvm:vm-{vmid}-disk-0");
        let disk = Volume {
            content: "images".into(),
            size: disk_gib * GIB,
            ctime: 1_700_000_000,
            vmid: Some(vmid),
            ..Volume::default()
        };
        if let Some(backend) = self.storages.get_mut("local-lvm").and_then(|storage| storage.backend_mut(node)) {
            backend.volumes.insert(volid.clone(), disk);
        }
        let options = [
            ("name", name.to_owned()),
            ("cores", cores.to_string()),
            ("sockets", "1".into()),
            ("memory", memory.to_string()),
            ("scsi0", format!("{volid},size={disk_gib}G")),
            ("smbios1", format!("uuid={uuid}")),
            (
                "net0",
                format!("virtio=BC:24:11:{:02X}:{:02X}:{:02X},bridge=vmbr0", vmid >> 16, vmid >> 8 & 255, vmid & 255),
            ),
        ];
        let config: Config = options.into_iter().map(|(option, value)| (option.to_owned(), value)).collect();
        let running = Some(super::VmProcess { pid: 10_000 + vmid, since: 1_700_000_000 });
        self.vms.insert(vmid, Vm { node: node.to_owned(), config, running, lock: None });
    }

    /// Takes a node offline or back online. Its guests are switched off with it, and those with `onboot` start again when it is
    /// back. Returns false if there is no such node.
    pub fn set_node_online(&mut self, name: &str, online: bool) -> bool {
        let Some(node) = self.nodes.get_mut(name) else { return false };
        if node.online == online {
            return true;
        }
        node.online = online;
        let here = self.vms.iter().filter(|(_, vm)| vm.node == name && (!online || vm.number("onboot", 0) == 1));
        let here: Vec<u32> = here.map(|(vmid, _)| *vmid).collect();
        let now = self.now;
        here.into_iter().for_each(|vmid| if online { self.power_on(vmid, now) } else { self.power_off(vmid) });
        true
    }

    /// Renames a node, along with its guests and its part of each storage.
    pub fn rename_node(&mut self, from: &str, to: &str) {
        let Some(node) = self.nodes.remove(from) else { return };
        self.nodes.insert(to.to_owned(), node);
        for storage in self.storages.values_mut() {
            if let Some(backend) = storage.backends.remove(from) {
                storage.backends.insert(to.to_owned(), backend);
            }
        }
        self.vms.values_mut().filter(|vm| vm.node == from).for_each(|vm| to.clone_into(&mut vm.node));
    }

    /// Fills a storage until `free` bytes are left, on every node with data of its own. Returns false if there is no such storage.
    pub fn fill_storage(&mut self, id: &str, free: u64) -> bool {
        let Some(storage) = self.storages.get_mut(id) else { return false };
        for backend in storage.backends.values_mut() {
            let volumes: u64 = backend.volumes.values().map(|volume| volume.used).sum();
            backend.other = backend.total.saturating_sub(free).saturating_sub(volumes);
        }
        true
    }

    /// Adds a storage, with separate data on each node unless it is shared.
    pub fn add_storage(&mut self, id: &str, kind: StorageKind, content: &str, shared: bool, total: u64) {
        let mut added = storage(kind, content, shared, &format!("/mnt/pve/{id}"));
        let names: Vec<String> = if shared { vec![String::new()] } else { self.nodes.keys().cloned().collect() };
        added.backends = names.into_iter().map(|name| (name, backend(total, 0))).collect();
        self.storages.insert(id.to_owned(), added);
    }

    /// Removes a privilege from every custom role that has it, as if it had never been granted. Returns whether any role had it.
    pub fn revoke_privilege(&mut self, privilege: &str) -> bool {
        let mut found = false;
        for role in RIGHTS.roles.keys() {
            found |= self.access.roles.get_mut(role).is_some_and(|held| held.remove(privilege));
        }
        found
    }

    /// Revokes all roles of a user on one path. Returns whether there were any.
    pub fn revoke_path(&mut self, path: &str, user: &str) -> bool {
        let held: Vec<String> = self
            .access
            .acl()
            .filter(|(at, who, _, _)| *at == path && *who == user)
            .map(|(_, _, role, _)| role.to_owned())
            .collect();
        for role in &held {
            self.access.set_acl(path, user, role, None);
        }
        !held.is_empty()
    }

    /// Changes a user's token. Returns false if there is no such token.
    pub fn change_token(&mut self, full_id: &str, change: impl FnOnce(&mut Token)) -> bool {
        let Some((user, name)) = full_id.split_once('!') else { return false };
        let token = self.access.users.get_mut(user).and_then(|user| user.tokens.get_mut(name));
        token.map(change).is_some()
    }
}
