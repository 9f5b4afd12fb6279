//! The faults of Proxmox: what is wrong with the cluster from the beginning, and what becomes of requests and tasks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::faults::Faults;
use crate::http::{JSON, Reply, Request};
use crate::proxmox::World;
use crate::proxmox::hooks::{Fate, Hooks, TaskFate, TaskInfo};
use crate::proxmox::world::{GIB, PROVIDER_TOKEN, PROVIDER_USER, StorageKind};

/// How far a clock without NTP has gone astray.
const CLOCK_BEHIND: Duration = Duration::from_secs(300);

/// What is wrong with the cluster from the beginning.
pub fn arrange(faults: &Faults, world: &mut World) {
    nodes(faults, world);
    storages(faults, world);
    rights(faults, world);
}

fn nodes(faults: &Faults, world: &mut World) {
    let names: Vec<String> = world.nodes.keys().cloned().collect();
    if faults.has("proxmox-node-offline")
        && let Some(last) = names.last()
    {
        world.set_node_online(last, false);
    }
    if faults.has("proxmox-no-quorum") {
        // Whoever is left does not hear the others.
        for name in names.iter().skip(1) {
            world.set_node_online(name, false);
        }
    }
    if faults.has("placement-node-gone")
        && let Some((first, node)) = names.first().and_then(|first| world.nodes.remove_entry(first))
    {
        for storage in world.storages.values_mut() {
            if let Some(backend) = storage.backends.remove(&first) {
                storage.backends.insert("pve9".to_owned(), backend);
            }
        }
        world.nodes.insert("pve9".to_owned(), node);
    }
    for node in world.nodes.values_mut() {
        if faults.has("placement-no-memory") {
            node.memory_base = node.memory - 2 * GIB;
        }
        if faults.has("network-bridge-missing") {
            node.bridges.remove("vmbr0");
        }
    }
}

fn storages(faults: &Faults, world: &mut World) {
    if faults.has("proxmox-storage-full") {
        for storage in ["local-lvm", "vm_ssd"] {
            world.fill_storage(storage, 0);
        }
    }
    if faults.has("image-storage-full") {
        world.fill_storage("local", GIB / 64);
    }
    if faults.has("storage-two-iso") {
        world.add_storage("iso-nfs", StorageKind::Dir, "iso,vztmpl", false, 100 * GIB);
        world.access.grant("/storage/iso-nfs", PROVIDER_USER, "OmniISO");
    }
    if faults.has("storage-second-pool") {
        world.add_storage("slow-lvm", StorageKind::LvmThin, "images,rootdir", false, 4000 * GIB);
        world.access.grant("/storage/slow-lvm", PROVIDER_USER, "OmniDisk");
    }
    let first = world.nodes.keys().next().cloned();
    if let Some(local) = world.storages.get_mut("local-lvm") {
        if faults.has("storage-one-node") {
            local.nodes = Some(first.into_iter().collect());
        }
        if faults.has("storage-no-images") {
            local.content = BTreeSet::from(["rootdir".to_owned()]);
        }
    }
    if faults.has("storage-no-iso")
        && let Some(directory) = world.storages.get_mut("local")
    {
        directory.content.remove("iso");
    }
    if faults.has("storage-offline")
        && let Some(shared) = world.storages.get_mut("vm_ssd")
    {
        shared.backends.values_mut().for_each(|backend| backend.active = false);
    }
}

fn rights(faults: &Faults, world: &mut World) {
    let missing = [
        ("proxmox-download-forbidden", "Sys.AccessNetwork"),
        ("permission-upload", "Datastore.AllocateTemplate"),
        ("permission-iso-delete", "Datastore.Allocate"),
        ("permission-no-memory", "Sys.Audit"),
    ];
    for (_, privilege) in missing.iter().filter(|(name, _)| faults.has(name)) {
        world.revoke_privilege(privilege);
    }
    if faults.has("permission-privsep") {
        world.change_token(PROVIDER_TOKEN, |token| token.privsep = true);
    }
    if faults.has("permission-bridge") {
        world.revoke_path("/sdn/zones/localnetwork/vmbr0", PROVIDER_USER);
    }
    if faults.has("permission-storage-hidden") {
        world.revoke_path("/storage/local-lvm", PROVIDER_USER);
    }
    if faults.has("permission-vm-admin") {
        let held: Vec<(String, String)> = world
            .access
            .acl()
            .filter(|entry| entry.1 == PROVIDER_USER)
            .map(|entry| (entry.0.into(), entry.2.into()))
            .collect();
        for (path, role) in held {
            world.access.set_acl(&path, PROVIDER_USER, &role, None);
        }
        world.access.grant("/", PROVIDER_USER, "PVEVMAdmin");
    }
}

/// The faults of Proxmox's API.
pub struct ProxmoxFaults {
    faults: Arc<Faults>,
}

impl ProxmoxFaults {
    /// Asks these.
    pub fn new(faults: Arc<Faults>) -> ProxmoxFaults {
        ProxmoxFaults { faults }
    }

    fn hit(&self, name: &str) -> bool {
        self.faults.hit(name)
    }
}

fn refusal(status: u16, reason: &str) -> Fate {
    Fate::Answer(Reply::new(status, JSON, "{\"data\":null}").with_reason(reason))
}

impl Hooks for ProxmoxFaults {
    fn request(&self, request: &Request, world: &mut World) -> Option<Fate> {
        if self.hit("proxmox-hangs") {
            // Longer than anybody waits, at any pace.
            return Some(Fate::Delay(Duration::from_secs(86_400 * 365)));
        }
        if self.hit("proxmox-web-page") {
            let page = "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head></html>\n";
            return Some(Fate::Answer(Reply::new(200, "text/html", page)));
        }
        if self.hit("proxmox-unauthorized") {
            return Some(refusal(401, "authentication failure"));
        }
        if request.method == "GET" || !request.path.contains("/qemu") {
            return None;
        }
        if self.hit("proxmox-no-quorum") {
            return Some(refusal(500, "cluster not ready - no quorum?"));
        }
        let words: Vec<&str> = request.path.split('/').collect();
        match words[..] {
            [.., "nodes", node, "qemu"] if self.hit("placement-vmid-taken") => somebody_was_first(world, node, request),
            [.., "qemu", vmid, "status", "stop"] => self.by_hand(world, vmid.parse().unwrap_or_default()),
            _ => {}
        }
        None
    }

    fn behind(&self) -> Duration {
        if self.hit("time-proxmox-clock") { CLOCK_BEHIND } else { Duration::ZERO }
    }

    fn task(&self, task: &TaskInfo, _world: &mut World) -> Option<TaskFate> {
        let fail = |exitstatus: &str, log: &[&str]| {
            let log = log.iter().map(|line| (*line).to_owned()).collect();
            Some(TaskFate::Fail { exitstatus: exitstatus.to_owned(), log })
        };
        match task.kind.as_str() {
            "qmcreate" if self.hit("proxmox-create-fails") => {
                let why = "unable to create VM - lvcreate 'pve/vm-disk' error: failed";
                fail(why, &["  Logical volume pve/data is out of metadata space"])
            }
            "qmcreate" if self.hit("machine-task-warns") => {
                Some(TaskFate::Warn("no efidisk configured! Using temporary efivars disk.".to_owned()))
            }
            "qmstart" if self.hit("machine-no-kvm") => {
                let why = "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in \
                           BIOS.";
                fail(why, &[])
            }
            "download" if self.hit("image-download-failed") => {
                let said = "wget: unable to resolve host address 'factory.talos.dev'";
                fail("download failed: command '/usr/bin/wget' failed: exit code 4", &[said])
            }
            "download" if self.hit("image-slow") => Some(TaskFate::Delay(Duration::from_secs(3600))),
            _ => None,
        }
    }
}

impl ProxmoxFaults {
    /// What somebody did to a machine by hand.
    fn by_hand(&self, world: &mut World, vmid: u32) {
        if self.hit("machine-locked")
            && let Some(vm) = world.vms.get_mut(&vmid)
        {
            vm.lock = Some("backup".to_owned());
        }
        if self.hit("machine-in-ha") {
            world.ha_resources.insert(format!("vm:{vmid}"), [("state".to_owned(), "started".to_owned())].into());
        }
    }
}

/// Another client of Proxmox takes the number that was asked for.
fn somebody_was_first(world: &mut World, node: &str, request: &Request) {
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if let Some(vmid) = body["vmid"].as_u64().and_then(|vmid| u32::try_from(vmid).ok()) {
        let uuid = world.uuid();
        world.add_guest(vmid, node, &format!("guest-{vmid}"), &uuid, (2, 2048, 20));
    }
}
