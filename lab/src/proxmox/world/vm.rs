//! Virtual machines and their configuration.

use std::collections::BTreeMap;

use hyper::body::Bytes;

use super::disk::split_volid;
use super::{GIB, World};

/// A VM's configuration: options and values as in PVE's configuration file.
pub type Config = BTreeMap<String, String>;

/// Bytes that a running Talos node has written to its disk.
const WRITTEN: u64 = 6 * GIB;

/// A virtual machine.
#[derive(Clone, Debug)]
pub struct Vm {
    /// The node that has its configuration.
    pub node: String,
    pub config: Config,
    /// The process, while the VM is running.
    pub running: Option<VmProcess>,
    /// The operation that locks it, `create` or `backup`. A locked VM can be neither changed nor started.
    pub lock: Option<String>,
}

/// A VM's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmProcess {
    pub pid: u32,
    /// Unix time of the start.
    pub since: u64,
}

/// A VM was switched on or off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerEvent {
    pub vmid: u32,
    pub name: String,
    /// SMBIOS UUID, by which Talos and Omni identify the machine.
    pub uuid: String,
    /// Whether the VM is running now.
    pub running: bool,
    /// Content of the cloud-init ISO in one of its drives; `None` if there is none.
    pub cidata: Option<Bytes>,
}

/// A drive in a configuration, such as `local-lvm:40,ssd=1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drive {
    /// Volume ID, `STORAGE:GIB` for a new disk, `none` or `cdrom`.
    pub file: String,
    pub options: BTreeMap<String, String>,
}

impl Drive {
    /// Parses a drive; `None` if it does not name a file.
    pub fn parse(text: &str) -> Option<Drive> {
        let mut drive = Drive::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("file" | "volume", file)) => drive.file = file.to_owned(),
                Some((name, value)) => {
                    drive.options.insert(name.to_owned(), value.to_owned());
                }
                None => drive.file = part.to_owned(),
            }
        }
        (!drive.file.is_empty()).then_some(drive)
    }

    /// Whether it is a CD drive.
    pub fn is_cdrom(&self) -> bool {
        self.options.get("media").is_some_and(|media| media == "cdrom")
    }

    /// Storage and size in GiB of a disk that has yet to be created.
    pub fn new_disk(&self) -> Option<(Option<&str>, f64)> {
        let (storage, size) = match self.file.split_once(':') {
            Some((storage, size)) => (Some(storage), size),
            None => (None, self.file.as_str()),
        };
        let plain = size.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let size = size.parse().ok().filter(|size: &f64| plain && size.is_finite())?;
        Some((storage, size))
    }
}

impl std::fmt::Display for Drive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        self.options.iter().try_for_each(|(name, value)| write!(f, ",{name}={value}"))
    }
}

/// Whether an option is a drive, judging by its name.
pub fn is_drive(option: &str) -> bool {
    // This runs for every option of every VM, and the last character rules out most of them cheaply.
    if !option.ends_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let bounded = |prefix: &str, most: u32| {
        option.strip_prefix(prefix).and_then(|number| number.parse::<u32>().ok()).is_some_and(|number| number <= most)
    };
    bounded("ide", 3)
        || bounded("sata", 5)
        || bounded("scsi", 30)
        || bounded("virtio", 15)
        || matches!(option, "efidisk0" | "tpmstate0")
}

/// Formats a size in the largest unit that is exact: `40G`, `512M`, `368K`.
pub fn size_text(bytes: u64) -> String {
    for (unit, shift) in [("G", 30), ("M", 20), ("K", 10)] {
        if bytes >> shift > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// The default boot order: first disk, first CD drive, first network device (qemu-server `get_default_bootdevices`).
pub fn default_boot(config: &Config) -> String {
    let drives = |cdrom: bool| {
        // PVE's order of buses, each in numerical order.
        let buses = ["ide", "scsi", "virtio", "sata"].map(|bus| (0..31).map(move |number| format!("{bus}{number}")));
        buses.into_iter().flatten().find(|name| {
            let drive = config.get(name).and_then(|value| Drive::parse(value));
            drive.is_some_and(|drive| drive.is_cdrom() == cdrom)
        })
    };
    let net = (0..32).map(|number| format!("net{number}")).find(|name| config.contains_key(name));
    let devices: Vec<String> = [drives(false), drives(true), net].into_iter().flatten().collect();
    format!("order={}", devices.join(";"))
}

impl Vm {
    /// Returns a numeric option, or the default.
    pub fn number(&self, option: &str, default: u64) -> u64 {
        self.config.get(option).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// Returns PVE's error message if the VM is locked.
    pub fn unlocked(&self) -> Result<(), String> {
        self.lock.as_ref().map_or(Ok(()), |lock| Err(format!("VM is locked ({lock})")))
    }

    /// Number of virtual processors.
    pub fn cpus(&self) -> u64 {
        self.number("sockets", 1) * self.number("cores", 1)
    }

    /// Memory in MiB; the option may be `2048` or `current=2048`.
    pub fn memory_mib(&self) -> u64 {
        let memory = self.config.get("memory").map_or("512", String::as_str);
        memory.trim_start_matches("current=").parse().unwrap_or(512)
    }

    /// Bytes of memory used on its node: all of its memory while it is running, otherwise none.
    pub fn memory_in_use(&self) -> u64 {
        if self.running.is_some() { self.memory_mib() << 20 } else { 0 }
    }

    /// The SMBIOS UUID; empty if there is none.
    pub fn uuid(&self) -> &str {
        let smbios = self.config.get("smbios1").map_or("", String::as_str);
        smbios.split(',').find_map(|part| part.strip_prefix("uuid=")).unwrap_or("")
    }

    /// The name, or the placeholder that PVE shows if there is none.
    pub fn name(&self, vmid: u32) -> String {
        self.config.get("name").cloned().unwrap_or_else(|| format!("VM {vmid}"))
    }

    /// All drives with their option names.
    pub fn drives(&self) -> impl Iterator<Item = (&str, Drive)> {
        let drives = self.config.iter().filter(|(option, _)| is_drive(option));
        drives.filter_map(|(option, value)| Some((option.as_str(), Drive::parse(value)?)))
    }

    /// The volumes of its disks, including those that are no longer attached.
    pub fn own_volumes(&self) -> Vec<String> {
        let unused = self.config.iter().filter(|(option, _)| option.starts_with("unused"));
        let unused = unused.map(|(_, value)| value.clone());
        let attached = self.drives().filter(|(_, drive)| !drive.is_cdrom()).map(|(_, drive)| drive.file);
        attached.chain(unused).filter(|file| split_volid(file).is_some()).collect()
    }
}

impl World {
    /// Returns a VM on a node, or PVE's error message if it does not exist there (qemu-server `load_config`).
    pub fn vm(&self, node: &str, vmid: u32) -> Result<&Vm, String> {
        let missing = || format!("Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist");
        self.vms.get(&vmid).filter(|vm| vm.node == node).ok_or_else(missing)
    }

    /// Removes a VM's configuration, its pool membership and its ACL entries, but not its disks.
    pub fn remove_vm(&mut self, vmid: u32) -> Option<Vm> {
        self.access.remove_path(&format!("/vms/{vmid}"));
        if let Some(pool) = self.access.vm_pool.remove(&vmid).and_then(|pool| self.access.pools.get_mut(&pool)) {
            pool.vms.remove(&vmid);
        }
        self.vms.remove(&vmid)
    }

    /// Adds a VM to a pool and removes it from its previous one.
    pub fn join_pool(&mut self, vmid: u32, pool: &str) {
        if let Some(old) = self.access.vm_pool.remove(&vmid).and_then(|old| self.access.pools.get_mut(&old)) {
            old.vms.remove(&vmid);
        }
        if let Some(pool_entry) = self.access.pools.get_mut(pool) {
            pool_entry.vms.insert(vmid);
            self.access.vm_pool.insert(vmid, pool.to_owned());
        }
    }

    /// Size in bytes of the disk that a VM boots from.
    pub fn boot_disk_size(&self, vm: &Vm) -> u64 {
        let disk = vm.drives().find(|(_, drive)| !drive.is_cdrom());
        disk.and_then(|(_, drive)| self.volume(&vm.node, &drive.file).map(|volume| volume.size)).unwrap_or(0)
    }

    /// Switches a VM on, after which its disks fill up. The caller of [`World::take_events`] notifies the subscribers.
    pub fn power_on(&mut self, vmid: u32, now: u64) {
        let pid = 2000 + self.random.u32(..4_000_000);
        let Some(vm) = self.vms.get_mut(&vmid) else { return };
        if vm.running.is_some() {
            return;
        }
        vm.running = Some(VmProcess { pid, since: now });
        let (node, disks) = (vm.node.clone(), vm.own_volumes());
        for disk in disks {
            let storage = split_volid(&disk).and_then(|(id, _)| self.storages.get_mut(id));
            let volume = storage.and_then(|storage| storage.backend_mut(&node)?.volumes.get_mut(&disk));
            if let Some(volume) = volume {
                volume.used = volume.used.max(volume.size.min(WRITTEN));
            }
        }
        self.note_power(vmid);
    }

    /// Switches a VM off.
    pub fn power_off(&mut self, vmid: u32) {
        let was_running = self.vms.get_mut(&vmid).and_then(|vm| vm.running.take()).is_some();
        if was_running {
            self.note_power(vmid);
        }
    }

    /// Takes the power changes since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<PowerEvent> {
        std::mem::take(&mut self.outbox)
    }

    fn note_power(&mut self, vmid: u32) {
        let Some(vm) = self.vms.get(&vmid) else { return };
        let images = vm.drives().filter(|(_, drive)| drive.is_cdrom());
        let mut images = images.filter_map(|(_, drive)| self.volume(&vm.node, &drive.file)?.data.clone());
        let cidata = images.find(|data| is_cidata(data));
        let (name, uuid, running) = (vm.name(vmid), vm.uuid().to_owned(), vm.running.is_some());
        self.outbox.push(PowerEvent { vmid, name, uuid, running, cidata });
    }
}

/// Whether a file is an ISO 9660 image with the volume label `cidata`, by which Talos finds its nocloud data.
fn is_cidata(image: &[u8]) -> bool {
    // ECMA-119 §8.4: the primary volume descriptor is sector 16, the volume identifier its bytes 40 to 71.
    let label = image.get(16 * 2048 + 40..16 * 2048 + 72);
    label.is_some_and(|label| label.trim_ascii().eq_ignore_ascii_case(b"cidata"))
}
