//! Parses responses of the Proxmox VE API: nodes, storages, bridges, guests and permissions.
//!
//! The parser is lenient because the API is written in Perl: a number may be a string (`"active": "1"`) and a flag a number, and
//! the API silently omits whatever the login may not see (pve-manager 9.2 `API2/Nodes.pm:2986`, `API2Tools.pm`
//! `extract_node_stats`). A value that was not seen is [`Observed::Unknown`] with the reason, never zero.

mod access;
mod pick;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Code, Failure};
use crate::spec::size::Memory;
pub use access::{
    AclEntry, Permissions, TokenInfo, Tree, conclusive_privileges, find_token, parent, parse_acl, parse_permissions,
    parse_roles, parse_zones,
};
pub use pick::{Selection, pick, select_from_value};

/// Returns the display name of a node: `pve1`, or `west/pve1` with several providers, whose node names may collide.
pub fn host(site: Option<&str>, node: &str) -> String {
    site.map_or(node.to_owned(), |site| format!("{site}/{node}"))
}

/// Returns the node of a listed VM, formatted by [`host`].
pub fn place(vm: &Value) -> String {
    host(vm["site"].as_str(), vm["node"].as_str().unwrap_or_default())
}

/// An observed value, or the reason why it could not be observed. As JSON: `{"known": …}` or `{"unknown": "why"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed<T> {
    Known(T),
    Unknown(String),
}

impl<T: Default> Default for Observed<T> {
    fn default() -> Observed<T> {
        Observed::Known(T::default())
    }
}

impl<T> Observed<T> {
    /// Converts the result of a request: a failure becomes [`Observed::Unknown`].
    ///
    /// # Errors
    /// Returns an error only if the task was interrupted.
    pub fn of(answer: Result<T, Failure>) -> Result<Observed<T>, Failure> {
        match answer {
            Err(failure) if failure.code == Code::Interrupted => Err(failure),
            answer => Ok(answer.map_err(|failure| failure.to_string()).into()),
        }
    }

    /// Returns the value if it was observed.
    pub fn known(&self) -> Option<&T> {
        match self {
            Observed::Known(value) => Some(value),
            Observed::Unknown(_) => None,
        }
    }

    /// Returns the reason why the value was not observed.
    pub fn why(&self) -> Option<&str> {
        match self {
            Observed::Known(_) => None,
            Observed::Unknown(why) => Some(why),
        }
    }
}

impl<T> From<Result<T, String>> for Observed<T> {
    fn from(result: Result<T, String>) -> Observed<T> {
        result.map_or_else(Observed::Unknown, Observed::Known)
    }
}

/// A snapshot of a Proxmox cluster. As JSON, it is what `proxmox-inventory --save` writes and `cluster-plan` reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "an object with taken_at, endpoint, version and nodes")]
pub struct Inventory {
    /// When the snapshot was taken, in RFC 3339 format.
    pub taken_at: String,
    /// The endpoint that responded, without `/api2/json`.
    pub endpoint: String,
    /// The Proxmox version, for example `9.0.10`.
    pub version: String,
    pub nodes: Vec<Node>,
}

/// A Proxmox node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    /// The status that Proxmox reports: `online`, `offline` or `unknown`.
    pub status: String,
    pub figures: Observed<Figures>,
    pub storages: Observed<Vec<Storage>>,
    /// Bridges and vnets that the login may use or audit; Proxmox hides the others.
    pub bridges: Observed<Vec<String>>,
    pub vms: Observed<Vec<Vm>>,
}

/// A node's resource figures from `GET /nodes`, which requires Sys.Audit on the node. Memory is in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Number of CPU threads.
    pub cpus: u64,
    /// CPU utilization, from 0 to 1.
    pub cpu_load: f64,
    pub memory_total: u64,
    pub memory_used: u64,
}

/// A storage as seen from one node. The JSON names match the list that `selector-test --storages` reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Storage {
    pub name: String,
    pub node: String,
    /// The Proxmox storage type: `dir`, `lvmthin`, `zfspool`, `rbd`, `nfs`, …
    #[serde(rename = "storageType")]
    pub kind: String,
    /// Free bytes; 0 for a storage that is disabled or restricted to other nodes.
    #[serde(rename = "availableSpace")]
    pub available: u64,
    #[serde(rename = "totalSpace", default)]
    pub total: u64,
    /// Allowed content types: `images`, `iso`, `vztmpl`, …; empty if the list does not include them.
    #[serde(default)]
    pub content: Vec<String>,
    #[serde(default = "default_true")]
    pub enabled: bool,
    #[serde(default = "default_true")]
    pub active: bool,
    /// Whether all nodes share one pool.
    #[serde(default)]
    pub shared: bool,
}

/// Default for flags that a list omits.
fn default_true() -> bool {
    true
}

/// A guest VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    pub id: u64,
    pub name: String,
    pub running: bool,
    /// Memory in bytes: assigned, and used.
    pub memory: u64,
    pub memory_used: u64,
    pub tags: Vec<String>,
    /// Disks as (storage, size in bytes); read only for machines that will be destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<(String, u64)>,
}

/// Tag prefix of the machines that the provider creates, followed by the ID of the machine request set
/// (omni-infra-provider-proxmox 0d9fd58 `provision.go:31`).
pub const SET_TAG: &str = "machine-request.";

impl Inventory {
    /// Prefixes node and shared storage names with the site if there are several sites: `west/pve1`.
    pub fn with_site_prefix(mut self, site: Option<&str>) -> Inventory {
        let Some(site) = site else { return self };
        for node in &mut self.nodes {
            node.name = host(Some(site), &node.name);
            if let Observed::Known(storages) = &mut node.storages {
                storages
                    .iter_mut()
                    .filter(|storage| storage.shared)
                    .for_each(|it| it.name = format!("{site}/{}", it.name));
                storages.iter_mut().for_each(|storage| storage.node.clone_from(&node.name));
            }
        }
        self
    }

    /// Merges two inventories.
    pub fn merge(mut self, other: Inventory) -> Inventory {
        self.nodes.extend(other.nodes);
        self.endpoint = [self.endpoint, other.endpoint].join(", ");
        self.version = [self.version, other.version].join(", ");
        self
    }

    /// Returns the node with this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Returns the storages of all nodes whose storages were observed.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.nodes.iter().filter_map(|node| node.storages.known()).flatten()
    }

    /// Returns the guests of all nodes whose guests were observed, each with its node.
    pub fn vms(&self) -> impl Iterator<Item = (&Node, &Vm)> {
        self.nodes.iter().flat_map(|node| node.vms.known().into_iter().flatten().map(move |vm| (node, vm)))
    }

    /// Returns the document to save: the nodes, plus a flat list of all storages.
    ///
    /// # Errors
    /// Never fails for values that came from an API.
    pub fn document(&self) -> Result<Value, String> {
        let mut document = serde_json::to_value(self).map_err(|error| error.to_string())?;
        document["schema_version"] = 1.into();
        document["storages"] =
            self.storages().map(|storage| serde_json::to_value(storage).unwrap_or_default()).collect();
        Ok(document)
    }

    /// Parses a saved document.
    ///
    /// # Errors
    /// Returns an error if the document is invalid (with line and column) or lists a node twice, whose space would count twice.
    pub fn parse(text: &str) -> Result<Inventory, String> {
        let read: Inventory = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut names = BTreeSet::new();
        match read.nodes.iter().find(|node| !names.insert(&node.name)) {
            Some(twice) => Err(format!("it contains the node `{}` twice", twice.name)),
            None => Ok(read),
        }
    }
}

impl Node {
    pub fn is_online(&self) -> bool {
        self.status == "online"
    }

    /// Returns the storages that the provider considers for ISO images: every enabled one whose content mentions `iso`. The
    /// provider uses the first in API order, which is that of a Perl hash (go-proxmox v0.3.2 `nodes.go:238-278`).
    pub fn iso_storages(&self) -> Vec<&Storage> {
        self.storages.known().into_iter().flatten().filter(|storage| storage.accepts_iso()).collect()
    }
}

impl Storage {
    pub fn accepts_iso(&self) -> bool {
        self.enabled && self.content.iter().any(|content| content.contains("iso"))
    }

    /// Whether the storage accepts VM disks; also true if its content types are unknown.
    pub fn accepts_images(&self) -> bool {
        self.content.is_empty() || self.content.iter().any(|content| content == "images")
    }

    /// Whether space is allocated at disk creation, not as it is written (pve-storage 9 `LVMPlugin.pm`, `ZFSPoolPlugin.pm`).
    pub fn is_thick(&self) -> bool {
        !Storage::is_thin_kind(&self.kind)
    }

    /// Whether storages of this type allocate space only as it is written.
    pub fn is_thin_kind(kind: &str) -> bool {
        !matches!(kind, "lvm" | "zfspool" | "zfs" | "iscsi" | "iscsidirect")
    }

    /// Returns a key that identifies the pool: a shared storage has the same key on every node.
    pub fn pool(&self) -> (String, String) {
        let node = if self.shared { String::new() } else { self.node.clone() };
        (node, self.name.clone())
    }
}

impl Vm {
    /// Returns the ID of the machine request set that the VM was created for.
    pub fn machine_request_set(&self) -> Option<&str> {
        self.tags.iter().find_map(|tag| tag.strip_prefix(SET_TAG))
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| number(value).filter(|number| *number >= 0.0).map(|number| number as u64))
}

fn flag(value: &Value) -> bool {
    number(value).is_some_and(|number| number != 0.0)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn words(value: &Value, separators: &[char]) -> Vec<String> {
    let text = text(value);
    text.split(separators).map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn entries<'a>(data: &'a Value, what: &str) -> Result<&'a Vec<Value>, String> {
    data.as_array().ok_or_else(|| format!("the response is not a list of {what}"))
}

/// Parses the nodes in `GET /nodes`. Fields that need a request to the node itself are still unknown.
///
/// # Errors
/// Returns an error if the response is not a list or an entry has no name.
pub fn parse_nodes(data: &Value) -> Result<Vec<Node>, String> {
    let read = |entry: &Value| {
        let name = text(&entry["node"]);
        if name.is_empty() {
            return Err("an entry in the list of nodes has no name".to_owned());
        }
        let status = text(&entry["status"]);
        let figures = match (integer(&entry["maxmem"]), integer(&entry["mem"])) {
            (Some(memory_total), Some(memory_used)) if memory_total > 0 => Observed::Known(Figures {
                cpus: integer(&entry["maxcpu"]).unwrap_or(0),
                cpu_load: number(&entry["cpu"]).unwrap_or(0.0),
                memory_total,
                memory_used,
            }),
            _ if status != "online" => Observed::Unknown(format!("the node is {status}")),
            _ => Observed::Unknown(format!("the login lacks Sys.Audit on /nodes/{name}")),
        };
        let why = if status == "online" { "not queried".to_owned() } else { format!("the node is {status}") };
        Ok(Node {
            figures,
            storages: Observed::Unknown(why.clone()),
            bridges: Observed::Unknown(why.clone()),
            vms: Observed::Unknown(why),
            name,
            status,
        })
    };
    let mut nodes: Vec<Node> = entries(data, "nodes")?.iter().map(read).collect::<Result<_, _>>()?;
    // The API returns the nodes in random order.
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(nodes)
}

/// Parses the storages in `GET /nodes/{node}/storage`.
///
/// # Errors
/// Returns an error if the response is not a list.
pub fn parse_storages(node: &str, data: &Value) -> Result<Vec<Storage>, String> {
    let read = |entry: &Value| Storage {
        name: text(&entry["storage"]),
        node: node.to_owned(),
        kind: text(&entry["type"]),
        available: integer(&entry["avail"]).unwrap_or(0),
        total: integer(&entry["total"]).unwrap_or(0),
        content: words(&entry["content"], &[',']),
        enabled: flag(&entry["enabled"]),
        active: flag(&entry["active"]),
        shared: flag(&entry["shared"]),
    };
    let mut storages: Vec<Storage> = entries(data, "storages")?.iter().map(read).collect();
    storages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(storages)
}

/// Returns the storages of every node, from `GET /storage` and `GET /cluster/resources?type=storage` instead of one request per
/// node; `None` if the latter omits a storage that a node can use. It requires Datastore.Audit, whereas a node's own list and
/// `GET /storage` also accept Datastore.AllocateSpace, and its figures are up to ten seconds old (pve-manager 9.2
/// `API2/Cluster.pm` `resources`, `API2Tools.pm` `extract_storage_stats`; pve-storage 9.1 `API2/Storage/Config.pm`).
pub fn storages_by_node(config: &Value, resources: &Value) -> Option<BTreeMap<String, Vec<Storage>>> {
    let resources = resources.as_array()?;
    let config: BTreeMap<String, &Value> =
        config.as_array()?.iter().map(|entry| (text(&entry["storage"]), entry)).collect();
    let mut found: BTreeMap<String, Vec<Storage>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for entry in resources.iter().filter(|entry| text(&entry["type"]) == "storage") {
        let (name, node) = (text(&entry["storage"]), text(&entry["node"]));
        let described = config.get(&name)?;
        let total = integer(&entry["maxdisk"])?;
        found.entry(node.clone()).or_default().push(Storage {
            kind: text(&described["type"]),
            available: total.saturating_sub(integer(&entry["disk"]).unwrap_or(0)),
            total,
            content: words(&described["content"], &[',']),
            enabled: true,
            active: text(&entry["status"]) == "available",
            shared: flag(&described["shared"]),
            name: name.clone(),
            node,
        });
        seen.insert(name);
    }
    let usable = config.iter().filter(|(_, entry)| !flag(&entry["disable"]));
    usable.into_iter().all(|(name, _)| seen.contains(name)).then_some(found)
}

/// Returns the IDs of the pools in `GET /pools`: those on which the login has Pool.Audit (pve-manager 9.2 `API2/Pool.pm`).
pub fn parse_pools(data: &Value) -> Vec<String> {
    data.as_array().into_iter().flatten().map(|entry| text(&entry["poolid"])).filter(|id| !id.is_empty()).collect()
}

/// Parses the bridges and vnets in `GET /nodes/{node}/network`.
///
/// # Errors
/// Returns an error if the response is not a list.
pub fn parse_bridges(data: &Value) -> Result<Vec<String>, String> {
    let entries = entries(data, "networks")?.iter();
    let bridges = entries.filter(|entry| matches!(text(&entry["type"]).as_str(), "bridge" | "OVSBridge" | "vnet"));
    let mut bridges: Vec<String> = bridges.map(|entry| text(&entry["iface"])).filter(|name| !name.is_empty()).collect();
    bridges.sort();
    Ok(bridges)
}

/// Parses the guests in `GET /nodes/{node}/qemu`, without templates.
///
/// # Errors
/// Returns an error if the response is not a list.
pub fn parse_vms(data: &Value) -> Result<Vec<Vm>, String> {
    let read = |entry: &Value| Vm {
        id: integer(&entry["vmid"]).unwrap_or(0),
        name: text(&entry["name"]),
        running: text(&entry["status"]) == "running",
        memory: integer(&entry["maxmem"]).unwrap_or(0),
        memory_used: integer(&entry["mem"]).unwrap_or(0),
        tags: words(&entry["tags"], &[';', ',', ' ']),
        disks: Vec::new(),
    };
    let mut vms: Vec<Vm> = entries(data, "VMs")?.iter().filter(|entry| !flag(&entry["template"])).map(read).collect();
    vms.sort_by_key(|vm| vm.id);
    Ok(vms)
}

/// A disk in a VM's configuration; CD-ROM drives are excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// The configuration key, for example `scsi0`.
    pub slot: String,
    pub storage: String,
    /// Size in bytes; `None` for a passed-through device.
    pub bytes: Option<u64>,
}

/// Parses the disks in `GET /nodes/NODE/qemu/ID/config`, for example `"scsi0": "local-lvm:vm-100-disk-0,size=40G"`.
pub fn parse_drives(config: &Value) -> Vec<Drive> {
    let drive = |(slot, value): (&String, &Value)| {
        let bus = slot.trim_end_matches(|c: char| c.is_ascii_digit());
        let value =
            value.as_str().filter(|_| bus.len() < slot.len() && matches!(bus, "scsi" | "virtio" | "sata" | "ide"))?;
        let storage = value.split([':', ',']).next()?.to_owned();
        let size = value.split(',').find_map(|option| option.strip_prefix("size="));
        let bytes = size.and_then(|size| Memory::parse(size).ok()).map(|mib| u64::from(mib.0) << 20);
        (!value.contains("media=cdrom")).then(|| Drive { slot: slot.clone(), storage, bytes })
    };
    config.as_object().into_iter().flatten().filter_map(drive).collect()
}

/// Parses the disks in a VM's configuration as (storage, size in bytes): `local-lvm:vm-100-disk-0,size=40G` (qemu-server
/// `PVE/QemuServer/Drive.pm`). Images in CD-ROM drives and host devices are excluded.
pub fn parse_disks(config: &Value) -> Vec<(String, u64)> {
    let own = |drive: &Drive| !drive.storage.starts_with('/');
    parse_drives(config).into_iter().filter(own).filter_map(|drive| Some((drive.storage, drive.bytes?))).collect()
}

#[cfg(test)]
mod tests;
