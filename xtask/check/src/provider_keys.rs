//! What `providerdata` may hold, by provider version: the table behind the offline check and the editors' schema.
//!
//! Keys of 0d9fd58 with their limits are those of siderolabs/omni-infra-provider-proxmox
//! cmd/omni-infra-provider-proxmox/data/schema.json; keys of later releases are those of its CHANGELOG.md, data.go and
//! schema.json up to v0.3.0. Pull request 81 is open: its keys are in no release.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::capacity::provider::Provider;

/// The type of a key, with the limits that its schema states.
#[derive(Debug, Clone, Copy)]
pub enum KeyKind {
    Text,
    Flag,
    /// A whole number with its least value.
    Number(Option<u64>),
    OneOf(&'static [&'static str]),
    /// A text of at most so many characters.
    Short(u64),
    /// A list of texts, none of them empty.
    Texts,
    /// A list of texts that match a pattern, of at most so many characters.
    Names(&'static str, u64),
    Map(&'static [ProviderKey]),
    /// A list of mappings.
    List(&'static [ProviderKey]),
}

/// The release that brought a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    Release(Provider),
    /// Only in an open pull request.
    Unreleased,
}

impl Since {
    /// True if this release of the provider reads the key.
    pub fn is_in(self, release: Provider) -> bool {
        matches!(self, Since::Release(since) if since <= release)
    }
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct ProviderKey {
    pub name: &'static str,
    pub kind: KeyKind,
    pub required: bool,
    pub since: Since,
    pub about: &'static str,
}

const FIRST: Since = Since::Release(Provider::Untagged);
const V0_1: Since = Since::Release(Provider::V0_1);
const V0_2: Since = Since::Release(Provider::V0_2);
const V0_3: Since = Since::Release(Provider::V0_3);

const fn key(name: &'static str, kind: KeyKind, about: &'static str) -> ProviderKey {
    ProviderKey { name, kind, required: false, since: FIRST, about }
}

const fn required(name: &'static str, kind: KeyKind, about: &'static str) -> ProviderKey {
    ProviderKey { name, kind, required: true, since: FIRST, about }
}

const fn later(name: &'static str, kind: KeyKind, since: Since, about: &'static str) -> ProviderKey {
    ProviderKey { name, kind, required: false, since, about }
}

use KeyKind::{Flag, List, Names, Number, OneOf, Short, Text, Texts};

const CACHE: KeyKind = OneOf(&["none", "writethrough", "writeback", "directsync", "unsafe"]);
const AIO: KeyKind = OneOf(&["native", "threads", "io_uring"]);

const NICS: &[ProviderKey] = &[
    required("bridge", Text, "bridge of the card, like vmbr1"),
    key("vlan", Number(Some(0)), "VLAN tag, 0 for none"),
    key("firewall", Flag, "Proxmox firewall for this card"),
];
const PCI: &[ProviderKey] = &[
    required("mapping", Text, "name of the Proxmox resource mapping"),
    key("pcie", Flag, "PCI Express instead of PCI; needs machine_type: q35"),
    key("primary_gpu", Flag, "primary display (x-vga=1)"),
    key("rombar", Flag, "ROM of the device visible; false has no effect, Proxmox's default is on"),
    later("mdev", Text, V0_1, "mediated device type, for vGPUs"),
];
const DISKS: &[ProviderKey] = &[
    required("disk_size", Number(Some(1)), "GiB"),
    required("storage_selector", Text, "CEL over each storage of the node"),
    key("disk_ssd", Flag, "presents the disk to the guest as an SSD"),
    key("disk_discard", Flag, "return freed blocks to the pool"),
    key("disk_iothread", Flag, "a thread of its own"),
    key("disk_cache", CACHE, "cache mode"),
    key("disk_aio", AIO, "how the host does I/O"),
];
const USB: &[ProviderKey] =
    &[later("mapping", Text, V0_3, "name of the Proxmox resource mapping"), later("usb3", Flag, V0_3, "USB 3")];

const HA: &[ProviderKey] = &[
    later("state", OneOf(&["started", "stopped", "disabled", "ignored"]), V0_2, "the state that HA keeps"),
    later("comment", Short(4096), V0_2, "comment of the HA resource"),
    later("max_restart", Number(Some(0)), V0_2, "restarts on one node"),
    later("max_relocate", Number(Some(0)), V0_2, "moves to another node"),
    later("failback", Flag, V0_2, "move back to a preferred node"),
    later("rules", Names("^[A-Za-z0-9][A-Za-z0-9_-]*$", 64), V0_2, "HA rules that the VM joins"),
    later("node_affinity_nodes", Names("^[A-Za-z0-9][A-Za-z0-9-]*$", 63), V0_2, "nodes of the affinity rule"),
    later("node_affinity_strict", Flag, V0_2, "run on these nodes only"),
    later("resource_affinity", OneOf(&["negative", "positive"]), V0_2, "apart from the other VMs, or with them"),
];
const NETWORK: &[ProviderKey] = &[
    later("subnet", Text, Since::Unreleased, "CIDR"),
    later("gateway", Text, Since::Unreleased, "gateway"),
    later("nameservers", Texts, Since::Unreleased, "name servers"),
    later("ip_address", Text, Since::Unreleased, "static address"),
    later("base_ip", Text, Since::Unreleased, "first static address, counted up by VM id"),
];

/// Every key of `providerdata`.
pub const KEYS: &[ProviderKey] = &[
    required("cores", Number(Some(1)), "CPU cores per socket"),
    key("sockets", Number(Some(1)), "CPU sockets; left out, the provider sends 0 and Proxmox refuses the VM"),
    required("storage_selector", Text, "CEL over each storage of the node (name, node, storageType, availableSpace)"),
    key("node", Text, "Proxmox node to run on; left out, the provider chooses"),
    required("memory", Number(Some(2048)), "memory in MiB"),
    required("disk_size", Number(Some(5)), "disk in GiB"),
    key("network_bridge", Text, "bridge of the first card, vmbr0 if left out"),
    key("vlan", Number(Some(0)), "VLAN tag of the first card, 0 for none"),
    key("disk_ssd", Flag, "presents the disk to the guest as an SSD"),
    key("disk_discard", Flag, "return freed blocks to the pool"),
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
    later("tags", Texts, V0_1, "tags of the VM"),
    later("pool", Text, V0_1, "resource pool, which must exist; left out, the provider makes one for each machine set"),
    later("network_firewall", Flag, V0_1, "Proxmox firewall for the first card, on if left out"),
    later(
        "placement_strategy",
        OneOf(&["spread", "fewer-vms", "round-robin", "binpack"]),
        V0_2,
        "how a node is chosen",
    ),
    later("ha", KeyKind::Map(HA), V0_2, "high availability (Proxmox VE 9)"),
    later("bios", OneOf(&["seabios", "ovmf"]), V0_2, "firmware"),
    later("vga", Text, V0_2, "display"),
    later("usb_devices", List(USB), V0_3, "USB devices to pass through"),
    later("network", KeyKind::Map(NETWORK), Since::Unreleased, "a static address instead of DHCP"),
    later("vmid_range", Text, Since::Unreleased, "range of VM ids, start-end"),
    later("network_subnet", Text, Since::Unreleased, "CIDR; switches from DHCP to a static address"),
    later("network_gateway", Text, Since::Unreleased, "gateway"),
    later("network_ip", Text, Since::Unreleased, "static address"),
    later("network_base_ip", Text, Since::Unreleased, "first static address, counted up by VM id"),
    later("network_nameservers", Texts, Since::Unreleased, "name servers"),
    later("network_mtu", Number(None), Since::Unreleased, "MTU"),
];

/// The schema of the whole table for a release of the provider; without one, of all keys.
pub fn built_in(release: Option<Provider>) -> &'static Value {
    static ALL: LazyLock<Value> = LazyLock::new(|| schema(KEYS, None));
    static EACH: LazyLock<[Value; 4]> = LazyLock::new(|| Provider::ALL.map(|release| schema(KEYS, Some(release))));
    release.and_then(|release| EACH.get(release as usize)).unwrap_or(&ALL)
}

/// The JSON Schema of the keys that a release reads; without a release, of all keys.
pub fn schema(keys: &[ProviderKey], release: Option<Provider>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys.iter().filter(|key| release.is_none_or(|release| key.since.is_in(release))) {
        let mut property = match key.kind {
            Text => json!({"type": "string"}),
            Flag => json!({"type": "boolean"}),
            Number(None) => json!({"type": "integer"}),
            Number(Some(least)) => json!({"type": "integer", "minimum": least}),
            OneOf(values) => json!({"type": "string", "enum": values}),
            Short(most) => json!({"type": "string", "maxLength": most}),
            Names(pattern, most) => {
                json!({"type": "array", "items": {"type": "string", "pattern": pattern, "maxLength": most}})
            }
            Texts => json!({"type": "array", "items": {"type": "string", "minLength": 1}}),
            KeyKind::Map(keys) => schema(keys, release),
            List(keys) => json!({"type": "array", "items": schema(keys, release)}),
        };
        let since = match key.since {
            Since::Release(Provider::Untagged) => String::new(),
            Since::Release(since) => format!(" (provider {since})"),
            Since::Unreleased => " (in no release of the provider yet)".to_owned(),
        };
        property["description"] = json!(format!("{}{since}", key.about));
        properties.insert(key.name.to_owned(), property);
        if key.required {
            required.push(key.name);
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}
