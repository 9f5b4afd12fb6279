//! What `providerdata` may hold, by provider version: the table behind the offline check and the editors' schema.
//!
//! Keys of 0d9fd58 with their limits are those of siderolabs/omni-infra-provider-proxmox
//! cmd/omni-infra-provider-proxmox/data/schema.json; keys of later releases are those of its CHANGELOG.md and data.go up
//! to v0.3.0 and the open pull request 81, whose limits nobody has published: using one is a warning.

use serde_json::{Map, Value, json};

/// The type of a key, with the limits that its schema states.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    Flag,
    /// A whole number with its least value.
    Number(Option<u64>),
    OneOf(&'static [&'static str]),
    Texts,
    Object,
    /// A list of mappings.
    List(&'static [Key]),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    /// Empty for 0d9fd58, else the release that brought it.
    pub since: &'static str,
    pub about: &'static str,
}

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, required: false, since: "", about }
}

const fn required(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, required: true, since: "", about }
}

const fn later(name: &'static str, kind: Kind, since: &'static str, about: &'static str) -> Key {
    Key { name, kind, required: false, since, about }
}

use Kind::*;

const CACHE: Kind = OneOf(&["none", "writethrough", "writeback", "directsync", "unsafe"]);
const AIO: Kind = OneOf(&["native", "threads", "io_uring"]);

const NICS: &[Key] = &[
    required("bridge", Text, "bridge of the card, like vmbr1"),
    key("vlan", Number(Some(0)), "VLAN tag, 0 for none"),
    key("firewall", Flag, "Proxmox firewall for this card"),
];
const PCI: &[Key] = &[
    required("mapping", Text, "name of the Proxmox resource mapping"),
    key("pcie", Flag, "PCI Express instead of PCI; needs machine_type: q35"),
    key("primary_gpu", Flag, "primary display (x-vga=1)"),
    key("rombar", Flag, "ROM of the device visible; false has no effect, Proxmox's default is on"),
    later("mdev", Text, "v0.1.0", "mediated device type, for vGPUs"),
];
const DISKS: &[Key] = &[
    required("disk_size", Number(Some(1)), "GiB"),
    required("storage_selector", Text, "CEL over each storage of the node"),
    key("disk_ssd", Flag, "tell the guest that it is an SSD"),
    key("disk_discard", Flag, "give freed blocks back to the pool"),
    key("disk_iothread", Flag, "a thread of its own"),
    key("disk_cache", CACHE, "cache mode"),
    key("disk_aio", AIO, "how the host does I/O"),
];
const USB: &[Key] =
    &[later("mapping", Text, "v0.3.0", "name of the Proxmox resource mapping"), later("usb3", Flag, "v0.3.0", "USB 3")];

/// Every key of `providerdata`.
pub const KEYS: &[Key] = &[
    required("cores", Number(Some(1)), "CPU cores per socket"),
    key("sockets", Number(Some(1)), "CPU sockets; left out, the provider sends 0 and Proxmox refuses the VM"),
    required("storage_selector", Text, "CEL over each storage of the node (name, node, storageType, availableSpace)"),
    key("node", Text, "Proxmox node to run on; left out, the provider chooses"),
    required("memory", Number(Some(2048)), "memory in MiB"),
    required("disk_size", Number(Some(5)), "disk in GiB"),
    key("network_bridge", Text, "bridge of the first card, vmbr0 if left out"),
    key("vlan", Number(Some(0)), "VLAN tag of the first card, 0 for none"),
    key("disk_ssd", Flag, "tell the guest that the disk is an SSD"),
    key("disk_discard", Flag, "give freed blocks back to the pool"),
    key("disk_iothread", Flag, "a thread of its own for the disk"),
    key("disk_cache", CACHE, "cache mode of the disk"),
    key("disk_aio", AIO, "how the host does I/O for the disk"),
    key("cpu_type", Text, "CPU type, x86-64-v2-AES if left out; host for GPUs"),
    key("machine_type", OneOf(&["q35", "i440fx"]), "q35, or left out: Proxmox refuses i440fx by this name"),
    key("numa", Flag, "NUMA topology"),
    key("hugepages", OneOf(&["2MB", "1GB"]), "huge pages; needs numa and root@pam with a password"),
    key("balloon", Flag, "false switches memory ballooning off"),
    key("additional_nics", List(NICS), "further network cards"),
    key("pci_devices", List(PCI), "PCI devices to pass through"),
    key("additional_disks", List(DISKS), "further disks"),
    later("tags", Texts, "v0.1.0", "tags of the VM"),
    later("pool", Text, "v0.1.0", "resource pool, made if it does not exist"),
    later("network_firewall", Flag, "v0.1.0", "Proxmox firewall for the first card, on if left out"),
    later(
        "placement_strategy",
        OneOf(&["spread", "fewer-vms", "round-robin", "binpack"]),
        "v0.2.0",
        "how a node is chosen",
    ),
    later("ha", Object, "v0.2.0", "high availability (Proxmox VE 9)"),
    later("bios", OneOf(&["seabios", "ovmf"]), "v0.2.0", "firmware"),
    later("vga", Text, "v0.2.0", "display"),
    later("usb_devices", List(USB), "v0.3.0", "USB devices to pass through"),
    later("vmid_range", Text, "PR 81", "range of VM ids, start-end"),
    later("network_subnet", Text, "PR 81", "CIDR; switches from DHCP to a static address"),
    later("network_gateway", Text, "PR 81", "gateway"),
    later("network_ip", Text, "PR 81", "static address"),
    later("network_base_ip", Text, "PR 81", "first static address, counted up by VM id"),
    later("network_nameservers", Texts, "PR 81", "name servers"),
    later("network_mtu", Number(None), "PR 81", "MTU"),
];

/// The JSON Schema of a table of keys; `all` also has the keys of later releases.
pub fn schema(keys: &[Key], all: bool) -> Value {
    let mut properties = Map::new();
    let mut wanted = Vec::new();
    for key in keys.iter().filter(|k| all || k.since.is_empty()) {
        let mut property = match key.kind {
            Text => json!({"type": "string"}),
            Flag => json!({"type": "boolean"}),
            Number(None) => json!({"type": "integer"}),
            Number(Some(least)) => json!({"type": "integer", "minimum": least}),
            OneOf(values) => json!({"type": "string", "enum": values}),
            Texts => json!({"type": "array", "items": {"type": "string"}}),
            Object => json!({"type": "object"}),
            List(keys) => json!({"type": "array", "items": schema(keys, all)}),
        };
        let since = if key.since.is_empty() { String::new() } else { format!(" (provider {})", key.since) };
        property["description"] = json!(format!("{}{since}", key.about));
        properties.insert(key.name.to_owned(), property);
        if key.required {
            wanted.push(key.name);
        }
    }
    json!({"type": "object", "properties": properties, "required": wanted})
}
