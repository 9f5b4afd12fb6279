//! `providerdata`: the YAML inside a machine class that only the Proxmox provider reads (siderolabs/omni-infra-provider-proxmox
//! 0d9fd58, internal/pkg/provider/data.go; keys of later releases up to v0.3.0 are recognized too).

use super::Parsed;
use super::decode::{Decoder, Rules};
use super::machine_class::AutoProvision;
use yaml::{Node, Position};

const RULES: Rules = Rules { unknown_key: "providerdata-unknown-key", wrong_type: "providerdata-type", levels: &[] };

/// The machines of a class, as the provider decodes them. Absent keys are `None`: the provider's own defaults (bridge `vmbr0`)
/// are not filled in, and keys without an effect here are only type-checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProviderData {
    pub cores: Option<u64>,
    pub sockets: Option<u64>,
    pub memory_mib: Option<u64>,
    pub disk_size_gib: Option<u64>,
    pub storage_selector: Option<String>,
    pub node: Option<String>,
    pub network_bridge: Option<String>,
    pub vlan: Option<u64>,
    pub disk: DiskOptions,
    pub machine_type: Option<String>,
    pub numa: Option<bool>,
    pub hugepages: Option<String>,
    pub additional_nics: Vec<Nic>,
    pub pci_devices: Vec<PciDevice>,
    pub additional_disks: Vec<Disk>,
    /// The whole document, for schema checks.
    pub root: Option<Node>,
}

/// How a disk is attached.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DiskOptions {
    pub cache: Option<String>,
    pub aio: Option<String>,
}

/// An entry of `additional_nics`.
#[derive(Debug, Clone, PartialEq)]
pub struct Nic {
    pub bridge: Option<String>,
    pub vlan: Option<u64>,
    pub at: Position,
}

/// An entry of `pci_devices`.
#[derive(Debug, Clone, PartialEq)]
pub struct PciDevice {
    pub mapping: Option<String>,
    pub pcie: Option<bool>,
    pub rombar: Option<bool>,
    pub at: Position,
}

/// An entry of `additional_disks`.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    pub size_gib: Option<u64>,
    pub storage_selector: Option<String>,
    pub options: DiskOptions,
    pub at: Position,
    /// Position of the selector's text.
    pub selector_at: Position,
}

impl ProviderData {
    /// Returns the number of virtual CPUs of one machine; the provider multiplies cores by sockets.
    pub fn vcpus(&self) -> Option<u64> {
        Some(self.cores?.saturating_mul(self.sockets.unwrap_or(1).max(1)))
    }
}

/// The keys of the 0d9fd58 schema.
pub const KEYS: &[&str] = &[
    "cores",
    "sockets",
    "storage_selector",
    "node",
    "memory",
    "disk_size",
    "network_bridge",
    "vlan",
    "disk_ssd",
    "disk_discard",
    "disk_iothread",
    "disk_cache",
    "disk_aio",
    "cpu_type",
    "machine_type",
    "numa",
    "hugepages",
    "balloon",
    "additional_nics",
    "pci_devices",
    "additional_disks",
];

/// Parses the provider data of a class, with positions in the class's file. Reports errors in the YAML and types that the
/// provider cannot decode; limits and unknown keys are checked against the schema.
pub fn parse(file: &str, provision: &AutoProvision) -> Parsed<ProviderData> {
    let stream = yaml::load_embedded(file, &provision.provider_data, provision.provider_data_at);
    let mut d = Decoder::new(file, RULES);
    d.findings = stream.findings;
    // Both the provider and Omni read only the first document.
    let root = stream.documents.into_iter().next().map(|doc| doc.root).filter(|root| !root.is_null());
    let Some(root) = root else {
        let value = d.findings.is_empty().then(ProviderData::default);
        return Parsed { value, findings: d.findings };
    };
    let value = decode(&mut d, root);
    Parsed { value, findings: d.findings }
}

/// Same as [`parse`] for a document that is already loaded, without findings.
pub fn from_node(file: &str, root: Node) -> Option<ProviderData> {
    decode(&mut Decoder::new(file, RULES), root)
}

fn decode(d: &mut Decoder<'_>, root: Node) -> Option<ProviderData> {
    if !d.check_map(&root, "providerdata") {
        return None;
    }
    let r = &root;
    let mut data = ProviderData {
        cores: number(d, r, "cores"),
        sockets: number(d, r, "sockets"),
        memory_mib: number(d, r, "memory"),
        disk_size_gib: number(d, r, "disk_size"),
        storage_selector: text(d, r, "storage_selector"),
        node: text(d, r, "node"),
        network_bridge: text(d, r, "network_bridge"),
        vlan: number(d, r, "vlan"),
        disk: disk_options(d, r),
        machine_type: text(d, r, "machine_type"),
        numa: d.boolean(r, "numa"),
        hugepages: text(d, r, "hugepages"),
        ..ProviderData::default()
    };
    text(d, r, "cpu_type");
    d.boolean(r, "balloon");
    for item in d.maps(r, "additional_nics") {
        data.additional_nics.push(Nic { bridge: text(d, item, "bridge"), vlan: number(d, item, "vlan"), at: item.at });
        d.boolean(item, "firewall");
    }
    for item in d.maps(r, "pci_devices") {
        data.pci_devices.push(PciDevice {
            mapping: text(d, item, "mapping"),
            pcie: d.boolean(item, "pcie"),
            rombar: d.boolean(item, "rombar"),
            at: item.at,
        });
        d.boolean(item, "primary_gpu");
    }
    for item in d.maps(r, "additional_disks") {
        data.additional_disks.push(Disk {
            size_gib: number(d, item, "disk_size"),
            storage_selector: text(d, item, "storage_selector"),
            options: disk_options(d, item),
            at: item.at,
            selector_at: item.get("storage_selector").map_or(item.at, selector_at),
        });
    }
    data.root = Some(root);
    Some(data)
}

/// Returns the position where the text of a selector starts, after its quote.
pub fn selector_at(node: &Node) -> Position {
    node.scalar().map_or(node.at, |s| s.body.start)
}

fn number(d: &mut Decoder<'_>, map: &Node, key: &str) -> Option<u64> {
    d.integer(map, key, 0, i128::from(i64::MAX)).map(|n| n as u64)
}

fn text(d: &mut Decoder<'_>, map: &Node, key: &str) -> Option<String> {
    d.string_at(map, key).map(|(text, _)| text)
}

fn disk_options(d: &mut Decoder<'_>, map: &Node) -> DiskOptions {
    for key in ["disk_ssd", "disk_discard", "disk_iothread"] {
        d.boolean(map, key);
    }
    DiskOptions { cache: text(d, map, "disk_cache"), aio: text(d, map, "disk_aio") }
}
