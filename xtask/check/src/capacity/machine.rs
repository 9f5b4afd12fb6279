//! What one machine of a class needs from Proxmox: the provider data of the class with the provider's own defaults filled in
//! (omni-infra-provider-proxmox 0d9fd58 `provision.go:258-440`, later keys from v0.3.0 `data.go`).

use domain::spec::Parsed;
use domain::spec::machine_class::MachineClass;
use domain::spec::provider_data::{self, ProviderData};
use yaml::{Finding, Location, Node, Position, Value};

/// A machine of a class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machine {
    pub class: String,
    /// In bytes.
    pub memory: u64,
    pub vcpus: u64,
    /// The first disk is the one that Talos is installed on.
    pub disks: Vec<Disk>,
    /// The node that the class pins its machines to.
    pub node: Option<String>,
    pub networks: Vec<Network>,
    /// Names of PCI and USB resource mappings.
    pub pci: Vec<String>,
    pub usb: Vec<String>,
    /// The pool that the class names; from v0.1.0 on, the machine request set is the pool otherwise.
    pub pool: Option<String>,
    /// Whether Proxmox keeps the machines running (`ha`, from v0.2.0 on).
    pub ha: bool,
    pub strategy: Strategy,
    /// Whether huge pages are set, which Proxmox accepts only from root@pam with a password.
    pub hugepages: bool,
    /// The position of the class's `autoprovision`.
    pub place: Location,
}

/// A disk to create.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// In bytes.
    pub size: u64,
    /// A CEL expression.
    pub selector: String,
    pub place: Location,
}

/// A network card: its bridge and its VLAN, if it has one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    pub bridge: String,
    pub vlan: Option<u64>,
}

/// `placement_strategy`, from v0.2.0 on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum Strategy {
    #[default]
    #[strum(serialize = "", serialize = "spread")]
    Spread,
    FewerVms,
    RoundRobin,
    Binpack,
}

const GIB: u64 = 1 << 30;
/// The bridge if a class names none (`provision.go:258-260`).
const BRIDGE: &str = "vmbr0";

/// Returns the machine that `class` describes; `None` for a class that selects machines by labels. Reports only errors that
/// affect the placement.
pub fn machine(class: &MachineClass) -> Parsed<Machine> {
    let Some(provision) = &class.auto_provision else { return Parsed { value: None, findings: Vec::new() } };
    let file = &class.place.file;
    let Parsed { value, mut findings } = provider_data::parse(file, provision);
    let Some(data) = value else { return Parsed { value: None, findings } };
    let place = provision.at.in_file(file);
    let incomplete = [
        ("memory", data.memory_mib.is_none()),
        ("disk_size", data.disk_size_gib.is_none()),
        ("storage_selector", data.storage_selector.is_none()),
    ];
    for (key, _) in incomplete.iter().filter(|(_, missing)| *missing) {
        let message = format!("the class `{}` has no `{key}`: the provider rejects its machines", class.id);
        findings.push(Finding::error("plan-class-incomplete", place.clone(), message, format!("set `{key}`")));
    }
    let strategy = strategy(&data, file, &mut findings);
    let machine = Machine {
        class: class.id.clone(),
        memory: data.memory_mib.unwrap_or(0).saturating_mul(1 << 20),
        vcpus: data.vcpus().unwrap_or(1),
        disks: disks(&data, file),
        node: data.node.clone().filter(|node| !node.is_empty()),
        networks: networks(&data),
        pci: data.pci_devices.iter().filter_map(|device| device.mapping.clone()).collect(),
        usb: mappings(&data, "usb_devices"),
        pool: other(&data, "pool").and_then(Node::text).filter(|pool| !pool.is_empty()).map(str::to_owned),
        ha: other(&data, "ha").is_some_and(|ha| !ha.is_null()),
        strategy,
        hugepages: data.hugepages.is_some(),
        place,
    };
    Parsed { value: Some(machine), findings }
}

fn other<'a>(data: &'a ProviderData, key: &str) -> Option<&'a Node> {
    data.root.as_ref()?.get(key)
}

fn strategy(data: &ProviderData, file: &str, findings: &mut Vec<Finding>) -> Strategy {
    let Some(node) = other(data, "placement_strategy") else { return Strategy::default() };
    let found = match node.value() {
        Some(Value::Null) => Some(Strategy::default()),
        Some(Value::Str(text)) => text.parse().ok(),
        _ => None,
    };
    found.unwrap_or_else(|| {
        let message = "not a valid placement strategy: the provider rejects the class's machines";
        let fix = "write spread, fewer-vms, round-robin or binpack";
        findings.push(Finding::error("plan-strategy", node.at.in_file(file), message, fix));
        Strategy::default()
    })
}

fn disks(data: &ProviderData, file: &str) -> Vec<Disk> {
    let at = data
        .root
        .as_ref()
        .and_then(|root| root.get("storage_selector"))
        .map_or(Position::START, provider_data::selector_at);
    // The EFI disk of `bios: ovmf` is created on the first disk's storage (v0.2.0 `buildFirmwareOptions`).
    let efi = u64::from(other(data, "bios").and_then(Node::text) == Some("ovmf"));
    let size = data.disk_size_gib.unwrap_or(0).saturating_add(efi).saturating_mul(GIB);
    let selector = data.storage_selector.clone().unwrap_or_default();
    let more = data.additional_disks.iter().map(|disk| Disk {
        size: disk.size_gib.unwrap_or(0).saturating_mul(GIB),
        selector: disk.storage_selector.clone().unwrap_or_default(),
        place: disk.selector_at.in_file(file),
    });
    std::iter::once(Disk { size, selector, place: at.in_file(file) }).chain(more).collect()
}

fn networks(data: &ProviderData) -> Vec<Network> {
    let bridge = data.network_bridge.clone().filter(|bridge| !bridge.is_empty()).unwrap_or_else(|| BRIDGE.to_owned());
    // 0 means no VLAN.
    let first = Network { bridge, vlan: data.vlan.filter(|vlan| *vlan > 0) };
    let more = data
        .additional_nics
        .iter()
        .filter_map(|nic| Some(Network { bridge: nic.bridge.clone()?, vlan: nic.vlan.filter(|vlan| *vlan > 0) }));
    std::iter::once(first).chain(more).collect()
}

fn mappings(data: &ProviderData, key: &str) -> Vec<String> {
    let items = other(data, key).map_or(&[] as &[Node], Node::items);
    items.iter().filter_map(|item| item.get("mapping")?.text()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::spec::machine_class;

    fn of(provider_data: &str) -> Parsed<Machine> {
        let indented = provider_data.replace('\n', "\n      ");
        let text = format!(
            "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: big\nspec:\n  autoprovision:\n    providerid: proxmox\n    providerdata: |\n      {indented}\n"
        );
        machine(&machine_class::parse("big.yaml", text.as_bytes()).value.unwrap()[0])
    }

    #[test]
    fn defaults_match_the_provider() {
        let found = of("cores: 2\nmemory: 4096\ndisk_size: 20\nstorage_selector: name == \"a\"").value.unwrap();
        assert_eq!((found.memory, found.vcpus, found.disks[0].size), (4 << 30, 2, 20 << 30));
        assert_eq!(found.networks, [Network { bridge: "vmbr0".into(), vlan: None }]);
        assert_eq!(found.disks[0].place.to_string(), "big.yaml:12:25");
        assert_eq!((found.strategy, found.ha, found.pool), (Strategy::Spread, false, None));
    }

    #[test]
    fn demand_counts_every_machine() {
        let found = of(concat!(
            "cores: 2\nsockets: 2\nmemory: 4096\ndisk_size: 20\nstorage_selector: \"true\"\nbios: ovmf\nvlan: 7\n",
            "node: pve2\nplacement_strategy: binpack\nha: {state: started}\npool: gpu\n",
            "additional_nics: [{bridge: vmbr1, vlan: 0}]\nadditional_disks: [{disk_size: 5, storage_selector: x}]\n",
            "pci_devices: [{mapping: card}]\nusb_devices: [{mapping: stick}]\nhugepages: 2MB"
        ));
        let found = found.value.unwrap();
        assert_eq!((found.vcpus, found.disks[0].size >> 30, found.disks[1].size >> 30), (4, 21, 5));
        assert_eq!(found.networks[0].vlan, Some(7));
        assert_eq!(found.networks[1], Network { bridge: "vmbr1".into(), vlan: None });
        assert_eq!((found.node.as_deref(), found.pool.as_deref()), (Some("pve2"), Some("gpu")));
        assert_eq!(
            (found.pci.as_slice(), found.usb.as_slice()),
            (["card".to_owned()].as_slice(), ["stick".to_owned()].as_slice())
        );
        assert!(found.ha && found.hugepages && found.strategy == Strategy::Binpack);
    }

    #[test]
    fn missing_and_wrong_values_are_reported() {
        let found = of("cores: 2\nplacement_strategy: clever");
        let rules: Vec<&str> = found.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["plan-class-incomplete", "plan-class-incomplete", "plan-class-incomplete", "plan-strategy"]);
    }
}
