//! Faults of Proxmox: those that change the cluster from the start, and those that affect requests and tasks.

use std::time::Duration;

use crate::faults::Faults;
use crate::http::{JSON, Reply, Request};
use crate::proxmox::World;
use crate::proxmox::world::{GIB, PROVIDER_TOKEN, PROVIDER_USER, Storage, StorageKind, grant_all};

/// How a fault affects a request.
pub enum RequestEffect {
    /// The request is not handled; this is the response.
    Answer(Reply),
    /// The request is handled after this much simulated time.
    Delay(Duration),
}

/// How a fault affects a task that is about to finish.
pub enum TaskEffect {
    /// The task does nothing and fails with this error, after these log lines.
    Fail {
        /// The text after `TASK ERROR:`.
        exitstatus: String,
        log: Vec<String>,
    },
    /// The task takes this much longer, in simulated time, and then does its work.
    Delay(Duration),
    /// The task does its work and ends with `WARNINGS: 1` after this line.
    Warn(String),
}

/// How far a clock without NTP is behind.
const CLOCK_BEHIND: Duration = Duration::from_secs(300);

/// The privileges that faults revoke.
const TAKEN: [(&str, &str); 4] = [
    ("proxmox-download-forbidden", "Sys.AccessNetwork"),
    ("permission-upload", "Datastore.AllocateTemplate"),
    ("permission-iso-delete", "Datastore.Allocate"),
    ("permission-no-memory", "Sys.Audit"),
];

/// Applies the effect of a fault to the cluster, or reverts it. Changes by guests and people stay.
pub fn set_fault(fault: &str, on: bool, world: &mut World) {
    if let Some((_, privilege)) = TAKEN.iter().find(|(name, _)| *name == fault) {
        if on {
            world.revoke_privilege(privilege);
        } else {
            grant_all(&mut world.access);
        }
    }
    match fault {
        "proxmox-storage-full" => ["local-lvm", "vm_ssd"].iter().for_each(|id| fill_up(world, id, on, 0)),
        "image-storage-full" => fill_up(world, "local", on, GIB / 64),
        "machine-locked" if !on => {
            world.vms.values_mut().filter(|vm| vm.lock.as_deref() == Some("backup")).for_each(|vm| vm.lock = None);
        }
        "machine-in-ha" if !on => world.ha_resources.clear(),
        _ => {}
    }
    nodes(fault, on, world);
    storages(fault, on, world);
    rights(fault, on, world);
}

fn nodes(fault: &str, on: bool, world: &mut World) {
    let names: Vec<String> = world.nodes.keys().cloned().collect();
    match fault {
        "proxmox-node-offline" => names.last().into_iter().for_each(|name| _ = world.set_node_online(name, !on)),
        // The remaining node does not reach the others.
        "proxmox-no-quorum" => names.iter().skip(1).for_each(|name| _ = world.set_node_online(name, !on)),
        "placement-node-gone" => {
            let (from, to) = if on { ("pve1", "pve9") } else { ("pve9", "pve1") };
            world.rename_node(from, to);
        }
        _ => {}
    }
    for node in world.nodes.values_mut() {
        match (fault, on) {
            ("placement-no-memory", _) => node.memory_base = if on { node.memory - 2 * GIB } else { 4 * GIB },
            ("network-bridge-missing", true) => _ = node.bridges.remove("vmbr0"),
            ("network-bridge-missing", false) => _ = node.bridges.insert("vmbr0".to_owned()),
            _ => {}
        }
    }
}

fn fill_up(world: &mut World, storage: &str, on: bool, free: u64) {
    world.fill_storage(storage, if on { free } else { 100 * GIB });
}

fn storages(fault: &str, on: bool, world: &mut World) {
    let mut another = |id: &str, kind, content, role| {
        if on {
            world.add_storage(id, kind, content, false, if kind == StorageKind::DIR { 100 } else { 4000 } * GIB);
            world.access.grant(&format!("/storage/{id}"), PROVIDER_USER, role);
        } else {
            world.storages.remove(id);
        }
    };
    match fault {
        "storage-two-iso" => another("iso-nfs", StorageKind::DIR, "iso,vztmpl", "OmniISO"),
        "storage-second-pool" => another("slow-lvm", StorageKind::LVM_THIN, "images,rootdir", "OmniDisk"),
        _ => {}
    }
    let first = world.nodes.keys().next().cloned();
    let mut on_storage = |id: &str, change: &dyn Fn(&mut Storage)| {
        if let Some(storage) = world.storages.get_mut(id) {
            change(storage);
        }
    };
    let content = |content: &'static str| {
        move |storage: &mut Storage| {
            _ = if on { storage.content.remove(content) } else { storage.content.insert(content.to_owned()) }
        }
    };
    match fault {
        "storage-one-node" => {
            on_storage("local-lvm", &|storage| storage.nodes = first.clone().filter(|_| on).map(|first| [first].into()))
        }
        "storage-no-images" => on_storage("local-lvm", &content("images")),
        "storage-no-iso" => on_storage("local", &content("iso")),
        "storage-offline" => {
            on_storage("vm_ssd", &|storage| storage.backends.values_mut().for_each(|backend| backend.active = !on))
        }
        _ => {}
    }
}

fn rights(fault: &str, on: bool, world: &mut World) {
    match (fault, on) {
        ("permission-privsep", _) => _ = world.change_token(PROVIDER_TOKEN, |token| token.privsep = on),
        ("permission-bridge", true) => _ = world.revoke_path("/sdn/zones/localnetwork/vmbr0", PROVIDER_USER),
        ("permission-storage-hidden", true) => _ = world.revoke_path("/storage/local-lvm", PROVIDER_USER),
        ("permission-vm-admin", true) => {
            let held = world.access.acl().filter(|entry| entry.1 == PROVIDER_USER);
            let held: Vec<String> = held.map(|entry| entry.0.to_owned()).collect();
            held.iter().for_each(|path| _ = world.revoke_path(path, PROVIDER_USER));
            world.access.grant("/", PROVIDER_USER, "PVEVMAdmin");
        }
        ("permission-bridge" | "permission-storage-hidden" | "permission-vm-admin", false) => {
            world.access.set_acl("/", PROVIDER_USER, "PVEVMAdmin", None);
            grant_all(&mut world.access);
        }
        _ => {}
    }
}

fn refusal(status: u16, reason: &str) -> RequestEffect {
    RequestEffect::Answer(Reply::new(status, JSON, "{\"data\":null}").with_reason(reason))
}

/// Faults of the Proxmox API. Functions that take the world are called with it locked: they may change it, but must be fast.
impl Faults {
    /// Returns how a request is affected. Called once per request, before anything else is done with it.
    pub fn request(&self, request: &Request, world: &mut World) -> Option<RequestEffect> {
        if self.hit("proxmox-hangs") {
            // Longer than any client waits, at any time scale.
            return Some(RequestEffect::Delay(Duration::from_secs(86_400 * 365)));
        }
        if self.hit("proxmox-web-page") {
            let page = "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head></html>\n";
            return Some(RequestEffect::Answer(Reply::new(200, "text/html", page)));
        }
        if self.hit("proxmox-unauthorized") {
            return Some(refusal(401, "authentication failure"));
        }
        let path = request.uri().path();
        if request.method() == "GET" || !path.contains("/qemu") {
            return None;
        }
        if self.hit("proxmox-no-quorum") {
            return Some(refusal(500, "cluster not ready - no quorum?"));
        }
        let words: Vec<&str> = path.split('/').collect();
        match words[..] {
            [.., "nodes", node, "qemu"] if self.hit("placement-vmid-taken") => {
                take_requested_vmid(world, node, request)
            }
            [.., "qemu", vmid, "status", "stop"] => apply_manual_change(self, world, vmid.parse().unwrap_or_default()),
            _ => {}
        }
        None
    }

    /// Returns how far the node's own clock is behind, as the dates of its responses show.
    pub fn clock_lag(&self) -> Duration {
        if self.hit("time-proxmox-clock") { CLOCK_BEHIND } else { Duration::ZERO }
    }

    /// Returns how a task of this kind (`qmcreate`, `download`, …) is affected. Called once per task, when it is about to finish.
    pub fn task(&self, kind: &str) -> Option<TaskEffect> {
        let fail = |exitstatus: &str, log: &[&str]| {
            let log = log.iter().map(|line| (*line).to_owned()).collect();
            Some(TaskEffect::Fail { exitstatus: exitstatus.to_owned(), log })
        };
        match kind {
            "qmcreate" if self.hit("proxmox-create-fails") => {
                let why = "unable to create VM - lvcreate 'pve/vm-disk' error: failed";
                fail(why, &["  Logical volume pve/data is out of metadata space"])
            }
            "qmcreate" if self.hit("machine-task-warns") => {
                Some(TaskEffect::Warn("no efidisk configured! Using temporary efivars disk.".to_owned()))
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
            "download" if self.hit("image-slow") => Some(TaskEffect::Delay(Duration::from_secs(3600))),
            _ => None,
        }
    }
}

/// Changes a machine as somebody might do by hand.
fn apply_manual_change(faults: &Faults, world: &mut World, vmid: u32) {
    if faults.hit("machine-locked")
        && let Some(vm) = world.vms.get_mut(&vmid)
    {
        vm.lock = Some("backup".to_owned());
    }
    if faults.hit("machine-in-ha") {
        world.ha_resources.insert(format!("vm:{vmid}"));
    }
}

/// Takes the requested VM ID first, as another client of Proxmox might do.
fn take_requested_vmid(world: &mut World, node: &str, request: &Request) {
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap_or_default();
    if let Some(vmid) = body["vmid"].as_u64().and_then(|vmid| u32::try_from(vmid).ok()) {
        let uuid = world.uuid();
        world.add_guest(vmid, node, &format!("guest-{vmid}"), &uuid, (2, 2048, 20));
    }
}
