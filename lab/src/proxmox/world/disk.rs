//! Storages, their data on each node, and their volumes.

use std::collections::{BTreeMap, BTreeSet};

use hyper::body::Bytes;

use super::World;

/// A storage type, by its name in PVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageKind(&'static str);

impl StorageKind {
    pub const DIR: StorageKind = StorageKind("dir");
    /// An LVM thin pool.
    pub const LVM_THIN: StorageKind = StorageKind("lvmthin");
    pub const RBD: StorageKind = StorageKind("rbd");
    const FILES: [&str; 7] = ["dir", "btrfs", "cephfs", "cifs", "esxi", "nfs", "pbs"];
    const BLOCKS: [&str; 6] = ["lvmthin", "rbd", "iscsi", "lvm", "zfs", "zfspool"];

    /// The type's name in PVE.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// The type with this PVE name. An unknown type is treated as block storage.
    pub fn of_name(name: &str) -> StorageKind {
        let known = Self::FILES.iter().chain(&Self::BLOCKS).find(|known| **known == name);
        StorageKind(known.copied().unwrap_or("other"))
    }

    /// Whether volumes are files with a path.
    pub fn has_files(self) -> bool {
        Self::FILES.contains(&self.0)
    }
}

/// A storage in the cluster's configuration, and its data.
#[derive(Clone, Debug)]
pub struct Storage {
    pub kind: StorageKind,
    /// Content types: `images`, `rootdir`, `iso`, `vztmpl`, `backup`, `snippets`, `import`.
    pub content: BTreeSet<String>,
    /// Whether all nodes see the same data.
    pub shared: bool,
    /// The nodes that may use it; `None` means all.
    pub nodes: Option<BTreeSet<String>>,
    /// Directory of the files, for file-based types.
    pub path: String,
    /// The data by node, or a single entry with an empty name if it is shared.
    pub backends: BTreeMap<String, Backend>,
}

/// The data of a storage on one node, or on all nodes if it is shared.
#[derive(Clone, Debug, Default)]
pub struct Backend {
    /// Size in bytes.
    pub total: u64,
    /// Bytes used by anything other than the volumes below.
    pub other: u64,
    /// Whether the storage is reachable.
    pub active: bool,
    /// Volumes by ID, such as `local:iso/x.iso`.
    pub volumes: BTreeMap<String, Volume>,
}

/// A disk or a file on a storage.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// `images`, `iso`, `vztmpl`, `backup`, …
    pub content: String,
    /// Size in bytes, as the guest sees it.
    pub size: u64,
    /// Bytes used on the storage.
    pub used: u64,
    /// Unix time of creation.
    pub ctime: u64,
    /// The VM that owns it.
    pub vmid: Option<u32>,
    /// Content of a small uploaded file.
    pub data: Option<Bytes>,
}

impl Volume {
    /// The format: `iso` for ISO images, and `raw` for every disk in the lab.
    pub fn format(&self) -> &'static str {
        if self.content == "iso" { "iso" } else { "raw" }
    }
}

impl Backend {
    /// Bytes in use, never more than the total.
    pub fn used(&self) -> u64 {
        let volumes: u64 = self.volumes.values().map(|volume| volume.used).sum();
        (self.other + volumes).min(self.total)
    }

    /// Free bytes.
    pub fn free(&self) -> u64 {
        self.total - self.used()
    }
}

impl Storage {
    /// The key in `backends` for a node.
    fn key<'a>(&self, node: &'a str) -> &'a str {
        if self.shared { "" } else { node }
    }

    /// Whether the node may use this storage.
    pub fn is_enabled_on(&self, node: &str) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.contains(node))
    }

    /// The data that a node sees.
    pub fn backend(&self, node: &str) -> Option<&Backend> {
        self.backends.get(self.key(node))
    }

    /// Mutable access to the data that a node sees.
    pub fn backend_mut(&mut self, node: &str) -> Option<&mut Backend> {
        let key = self.key(node).to_owned();
        self.backends.get_mut(&key)
    }

    /// The content types in alphabetical order, separated by commas.
    pub fn content_list(&self) -> String {
        self.content.iter().map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// The path of a volume on the node: a file for file-based types, otherwise a device.
    pub fn path_of(&self, name: &str) -> String {
        match (self.kind.has_files(), name.split_once('/')) {
            (true, Some(("iso", file))) => format!("{}/template/iso/{file}", self.path),
            (true, _) => format!("{}/images/{name}", self.path),
            (false, _) => format!("/dev/{}/{name}", self.path.trim_start_matches('/')),
        }
    }
}

/// Splits a volume ID into storage and volume name.
pub fn split_volid(volid: &str) -> Option<(&str, &str)> {
    let (storage, name) = volid.split_once(':')?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fine = storage.starts_with(|c: char| c.is_ascii_alphabetic()) && storage.chars().all(good) && !name.is_empty();
    fine.then_some((storage, name))
}

/// Parses the content type and owner of a volume from its name (pve-storage `Plugin.pm` `parse_volname`).
pub fn parse_volname(kind: StorageKind, name: &str) -> Option<(&'static str, Option<u32>)> {
    if kind.has_files() {
        let (folder, file) = name.split_once('/')?;
        if file.is_empty() || file.contains('/') {
            return None;
        }
        return match folder {
            "iso" => is_iso(file).then_some(("iso", None)),
            owner => owner.parse().ok().map(|owner| ("images", Some(owner))),
        };
    }
    let owner = name.strip_prefix("vm-").or_else(|| name.strip_prefix("base-"))?.split('-').next()?;
    owner.parse().ok().map(|owner| ("images", Some(owner)))
}

/// Whether a file name has the extension of an ISO image.
pub fn is_iso(file: &str) -> bool {
    let lower = file.to_ascii_lowercase();
    lower.len() > 4 && (lower.ends_with(".iso") || lower.ends_with(".img"))
}

impl World {
    /// Returns a volume by ID, as a node sees it.
    pub fn volume(&self, node: &str, volid: &str) -> Option<&Volume> {
        let (storage, _) = split_volid(volid)?;
        self.storages.get(storage)?.backend(node)?.volumes.get(volid)
    }

    /// Returns a storage that the node may use, or PVE's error message (pve-storage `storage_check_enabled`).
    pub fn usable_storage(&self, id: &str, node: &str) -> Result<&Storage, String> {
        let storage = self.storages.get(id).ok_or_else(|| format!("storage '{id}' does not exist"))?;
        if !storage.is_enabled_on(node) {
            return Err(format!("storage '{id}' is not available on node '{node}'"));
        }
        Ok(storage)
    }

    /// Like [`World::usable_storage`], but requires the storage to be reachable and returns its data for changes.
    pub fn active_backend(&mut self, id: &str, node: &str) -> Result<&mut Backend, String> {
        self.usable_storage(id, node)?;
        let backend = self.storages.get_mut(id).and_then(|storage| storage.backend_mut(node));
        match backend {
            Some(backend) if backend.active => Ok(backend),
            _ => Err(format!("storage '{id}' is not online")),
        }
    }

    /// Creates a disk of `size` bytes for a VM and returns its volume ID, or the storage's error message.
    pub fn allocate(&mut self, id: &str, node: &str, vmid: u32, size: u64, now: u64) -> Result<String, String> {
        self.active_backend(id, node)?;
        let Some(storage) = self.storages.get_mut(id) else { return Err(format!("storage '{id}' does not exist")) };
        let (kind, path, shared) = (storage.kind, storage.path.clone(), storage.shared);
        let Some(backend) = storage.backend_mut(node) else { return Err(format!("storage '{id}' is not online")) };
        let name = (0..)
            .map(|number| match kind.has_files() {
                true => format!("{vmid}/vm-{vmid}-disk-{number}.raw"),
                false => format!("vm-{vmid}-disk-{number}"),
            })
            .find(|name| !backend.volumes.contains_key(&format!("{id}:{name}")))
            .unwrap_or_default();
        if backend.free() == 0 {
            return Err(no_space(kind, &path, &name, if shared { id } else { "" }));
        }
        let volume = Volume {
            content: "images".into(),
            size,
            ctime: now,
            vmid: Some(vmid),
            ..Volume::default() // every type here is thin-provisioned: nothing is used yet
        };
        let volid = format!("{id}:{name}");
        backend.volumes.insert(volid.clone(), volume);
        Ok(volid)
    }

    /// Removes a volume. Returns false if it does not exist.
    pub fn free_volume(&mut self, node: &str, volid: &str) -> bool {
        let Some((storage, _)) = split_volid(volid) else { return false };
        let backend = self.storages.get_mut(storage).and_then(|storage| storage.backend_mut(node));
        backend.is_some_and(|backend| backend.volumes.remove(volid).is_some())
    }
}

/// The error that a storage's tool prints when there is no space left: LVM2 `thin_manip.c`, librbd, cp.
fn no_space(kind: StorageKind, path: &str, name: &str, lock: &str) -> String {
    let said = match kind {
        StorageKind::LVM_THIN => format!(
            "lvcreate '{path}/{name}' error:   Cannot create new thin volume, free space in thin pool {path}/data \
             reached threshold."
        ),
        StorageKind::RBD => format!("rbd create '{name}' error: rbd: create error: (28) No space left on device"),
        _ if kind.has_files() => format!("unable to create image: '{path}/images/{name}' - No space left on device"),
        StorageKind(kind) => format!("{kind} error: cannot create '{path}/{name}': out of space"),
    };
    if lock.is_empty() { said } else { format!("error with cfs lock 'storage-{lock}': {said}") }
}
