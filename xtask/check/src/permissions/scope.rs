//! The objects of the provider's calls, derived from what the classes require and what the login sees.

use std::collections::{BTreeMap, BTreeSet};

use super::{Row, Scope, Verdict};
use crate::capacity::machine::Machine;
use crate::capacity::provider::Provider;
use crate::capacity::selector::{selects, storage_names};
use crate::placeholder::{find_in_selector, is_placeholder};
use domain::status::proxmox::{Inventory, Node, Storage};

/// Where Proxmox's installer puts ISO images: the guess for a node on which the login sees no storage for them.
const ISO_STORAGE: &str = "local";

/// The machines that the classes and clusters of a project require.
#[derive(Debug, Clone, Default)]
pub struct Requirements {
    pub machines: Vec<Machine>,
    /// Machine request sets of the clusters, each with its class.
    pub sets: BTreeMap<String, String>,
}

/// Facts that Proxmox reports about itself.
#[derive(Debug, Clone, Default)]
pub struct ProxmoxFacts {
    /// The privileges that it has; `None` if it did not report them.
    pub known: Option<BTreeSet<String>>,
    /// The ID that the next VM gets.
    pub vmid: u64,
    /// The zone of each vnet.
    pub zones: BTreeMap<String, String>,
}

impl Scope {
    /// Collects the nodes that machines may be placed on, and the storages, networks and devices that they will use there.
    pub fn new(provider: Provider, inventory: &Inventory, facts: ProxmoxFacts, requirements: &Requirements) -> Scope {
        let Requirements { machines, sets } = requirements;
        let nodes = nodes(inventory, machines);
        let (mut iso, mut guessed_iso) = (BTreeMap::new(), None);
        for name in &nodes {
            let seen = inventory.node(name).map(Node::iso_storages).unwrap_or_default();
            let mut names: BTreeSet<String> = seen.into_iter().map(|storage| storage.name.clone()).collect();
            if names.is_empty() {
                names.insert(ISO_STORAGE.to_owned());
                guessed_iso = Some(ISO_STORAGE.to_owned());
            }
            iso.insert(name.clone(), names);
        }
        let disks = nodes.iter().map(|node| {
            let here = machines.iter().filter(|machine| may_be_placed(machine, node));
            let selectors = here.flat_map(|machine| &machine.disks).map(|disk| disk.selector.as_str());
            (node.clone(), selectors.flat_map(|selector| storages(inventory, node, selector)).collect())
        });
        let own_pool =
            |set: &&String| !machines.iter().any(|machine| machine.class == sets[*set] && machine.pool.is_some());
        Scope {
            provider,
            known: facts.known,
            vmid: facts.vmid,
            zones: facts.zones,
            iso,
            guessed_iso,
            disks: disks.collect(),
            networks: machines
                .iter()
                .flat_map(|machine| &machine.networks)
                .filter(|net| is_real(&net.bridge))
                .cloned()
                .collect(),
            pci: machines.iter().flat_map(|machine| &machine.pci).filter(|name| is_real(name)).cloned().collect(),
            usb: machines.iter().flat_map(|machine| &machine.usb).filter(|name| is_real(name)).cloned().collect(),
            new_sets: machines
                .iter()
                .any(|machine| machine.pool.is_none() && !sets.values().any(|of| *of == machine.class)),
            sets: sets.keys().filter(own_pool).cloned().collect(),
            pools: machines.iter().filter_map(|machine| machine.pool.clone()).filter(|pool| is_real(pool)).collect(),
            ha: machines.iter().any(|machine| machine.ha),
            nodes,
        }
    }
}

impl Scope {
    /// Returns why the `ha` of a class does not work with this version of Proxmox; `None` if it does. HA rules came with 9
    /// (pve-ha-manager 5.0.3), and the provider writes one for each class.
    pub fn without_ha(&self, version: &str) -> Option<String> {
        let major: u64 = version.split('.').next()?.parse().ok()?;
        (self.ha && self.provider >= Provider::V0_2 && major < 9).then(|| {
            format!("Proxmox VE {version} has no HA rules, which a class with `ha` needs: its machines are never completed; update to 9, or remove `ha`")
        })
    }
}

/// Returns false for a placeholder, which is not an object in Proxmox.
fn is_real(name: &str) -> bool {
    !is_placeholder(name)
}

/// Returns every online node, or only the pinned nodes if every class pins to a node that exists.
fn nodes(inventory: &Inventory, machines: &[Machine]) -> BTreeSet<String> {
    let online = inventory.nodes.iter().filter(|node| node.is_online()).map(|node| node.name.clone());
    let exists = |node: &String| inventory.node(node).is_some();
    let all_pinned = !machines.is_empty() && machines.iter().all(|machine| machine.node.as_ref().is_some_and(exists));
    online.filter(|node| !all_pinned || machines.iter().any(|machine| may_be_placed(machine, node))).collect()
}

/// Describes the names in classes that certainly do not exist in Proxmox: placeholders and unknown nodes.
pub fn unusable_names(inventory: &Inventory, requirements: &Requirements) -> Vec<String> {
    let mut found = Vec::new();
    for machine in &requirements.machines {
        let bridges = machine.networks.iter().map(|network| &network.bridge);
        let names = bridges.chain(&machine.pci).chain(&machine.usb).chain(&machine.pool).chain(&machine.node);
        let selectors = machine.disks.iter().filter_map(|disk| find_in_selector(&disk.selector));
        for name in names.map(String::as_str).filter(|name| !is_real(name)).chain(selectors) {
            found.push(format!(
                "{}: `{name}` in class `{}` looks like a placeholder: its privileges are not checked",
                machine.place, machine.class
            ));
        }
        if let Some(node) = machine.node.as_ref().filter(|node| is_real(node) && inventory.node(node).is_none()) {
            let nodes: Vec<&str> = inventory.nodes.iter().map(|node| node.name.as_str()).collect();
            found.push(format!(
                "{}: node `{node}` of class `{}` does not exist: Proxmox has {}",
                machine.place,
                machine.class,
                nodes.join(", ")
            ));
        }
    }
    found
}

/// A bridge or storage that lacks a privilege and that Proxmox does not list, although it lists others. Proxmox hides objects on
/// which the login has no privilege, so it is unknown whether this one exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlistedObject {
    /// Its path in Proxmox's permissions.
    pub path: String,
    /// ``bridge `vmbr7` ``.
    pub object: String,
    /// The names that Proxmox lists.
    pub listed: String,
}

/// Returns the unlisted objects among the missing privileges, each once.
pub fn unlisted_objects(rows: &[Row], scope: &Scope, inventory: &Inventory) -> Vec<UnlistedObject> {
    let bridges =
        inventory.nodes.iter().filter_map(|node| node.bridges.known()).flatten().map(String::as_str).collect();
    let storages = inventory.storages().map(|storage| storage.name.as_str()).collect();
    let of = |path: &str| {
        let (kind, name, listed): (_, _, &BTreeSet<&str>) = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["", "storage", name] if scope.guessed_iso.as_deref() != Some(*name) => ("storage", *name, &storages),
            ["", "sdn", "zones", "localnetwork", name, ..] => ("bridge", *name, &bridges),
            _ => return None,
        };
        let (path, object) = (path.to_owned(), format!("{kind} `{name}`"));
        let listed_names = listed.iter().copied().collect::<Vec<_>>().join(", ");
        (!listed.is_empty() && !listed.contains(name)).then_some(UnlistedObject { path, object, listed: listed_names })
    };
    let missing = rows.iter().filter(|row| row.status == Verdict::Missing).map(|row| row.path.as_str());
    missing.collect::<BTreeSet<_>>().into_iter().filter_map(of).collect()
}

fn may_be_placed(machine: &Machine, node: &str) -> bool {
    machine.node.as_deref().is_none_or(|pinned| pinned == node)
}

/// Returns the storages of a node that a selector picks; if there are none, those that it names and the login may not see.
fn storages(inventory: &Inventory, node: &str, selector: &str) -> Vec<String> {
    let seen = inventory.node(node).and_then(|node| node.storages.known()).map_or(&[] as &[Storage], Vec::as_slice);
    let picks = |storage: &&Storage| selects(selector, storage) == Ok(true);
    let picked: Vec<String> = seen.iter().filter(picks).map(|storage| storage.name.clone()).collect();
    if picked.is_empty() { hidden(selector, node, seen) } else { picked }
}

/// Returns the names in a selector that would match if such a storage existed, and that no visible storage has.
fn hidden(selector: &str, node: &str, seen: &[Storage]) -> Vec<String> {
    const KINDS: &[&str] =
        &["lvmthin", "rbd", "zfspool", "dir", "nfs", "lvm", "cifs", "btrfs", "cephfs", "iscsi", "zfs"];
    let names = storage_names(selector);
    let takes = |name: &str, kind: &str| {
        let space = 1 << 48;
        let storage = Storage {
            name: name.to_owned(),
            node: node.to_owned(),
            kind: kind.to_owned(),
            available: space,
            total: space,
            content: vec!["images".to_owned()],
            enabled: true,
            active: true,
            shared: false,
        };
        selects(selector, &storage) == Ok(true)
    };
    // A literal is a name if no other name would match in its place.
    let would = |name: &str| KINDS.iter().chain(&names).any(|kind| takes(name, kind) && !takes("\u{1}", kind));
    let unseen = names.iter().filter(|name| is_real(name) && !seen.iter().any(|storage| storage.name == **name));
    unseen.filter(|name| would(name)).map(|name| (*name).to_owned()).collect()
}

/// Describes the selectors that match no visible storage and name no hidden one, or that cannot be evaluated.
pub fn blind_selectors(inventory: &Inventory, scope: &Scope, requirements: &Requirements) -> Vec<String> {
    let mut found: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for machine in &requirements.machines {
        let disks = machine.disks.iter().filter(|disk| find_in_selector(&disk.selector).is_none());
        for (disk, node) in disks.flat_map(|disk| scope.nodes.iter().map(move |node| (disk, node))) {
            if !may_be_placed(machine, node) || !storages(inventory, node, &disk.selector).is_empty() {
                continue;
            }
            let seen = inventory.node(node).and_then(|node| node.storages.known()).into_iter().flatten();
            let error = seen.filter_map(|storage| selects(&disk.selector, storage).err()).next();
            let before = format!("{}: the selector of class `{}` ", disk.place, machine.class);
            let after = match error {
                Some(error) => format!("fails: {error}; on "),
                None => "matches no storage that the login can see: the storage does not exist, or Datastore.Audit is missing; on "
                    .into(),
            };
            found.entry((before, after)).or_default().insert(node);
        }
    }
    let words = |nodes: BTreeSet<&str>| nodes.into_iter().collect::<Vec<_>>().join(", ");
    found.into_iter().map(|((before, after), nodes)| format!("{before}{after}{}", words(nodes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::spec::machine_class;
    use domain::status::proxmox::Observed;

    fn machine(provider_data: &str) -> Machine {
        let text = format!(
            "metadata: {{namespace: default, type: MachineClasses.omni.sidero.dev, id: big}}\nspec: {{autoprovision: {{providerid: proxmox, providerdata: {provider_data:?}}}}}\n"
        );
        let class = machine_class::parse("big.yaml", text.as_bytes()).value.unwrap().remove(0);
        crate::capacity::machine::machine(&class).value.unwrap()
    }

    fn inventory() -> Inventory {
        let storage = |node: &str, name: &str, kind: &str, content: &str| {
            let mut storage: Storage =
                serde_json::from_str(r#"{"name": "", "node": "", "storageType": "", "availableSpace": 1}"#).unwrap();
            (storage.node, storage.name, storage.kind) = (node.into(), name.into(), kind.into());
            storage.content = vec![content.into()];
            storage
        };
        let node = |name: &str, status: &str, storages: Vec<Storage>| Node {
            name: name.into(),
            status: status.into(),
            storages: Observed::Known(storages),
            ..Node::default()
        };
        let one = vec![storage("pve1", "nas", "nfs", "iso"), storage("pve1", "local-lvm", "lvmthin", "images")];
        let nodes = vec![node("pve1", "online", one), node("pve2", "online", vec![]), node("pve3", "offline", vec![])];
        Inventory { nodes, ..Inventory::default() }
    }

    fn scope(machines: Vec<Machine>) -> (Scope, Vec<String>) {
        let sets = BTreeMap::from([("demo-workers".to_owned(), "big".to_owned())]);
        let requirements = Requirements { machines, sets };
        let scope = Scope::new(
            Provider::V0_2,
            &inventory(),
            ProxmoxFacts { vmid: 107, ..ProxmoxFacts::default() },
            &requirements,
        );
        let blind = blind_selectors(&inventory(), &scope, &requirements);
        (scope, blind)
    }

    fn of(map: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
        map.iter().flat_map(|(node, names)| names.iter().map(move |name| format!("{node}/{name}"))).collect()
    }

    #[test]
    fn scope_has_visible_and_named_storages() {
        let (scope, blind) = scope(vec![machine("storage_selector: name == \"local-lvm\"\npool: gpu\n")]);
        // pve2 shows no storage at all: the disk's storage is known by its name, the ISO images' storage is a guess.
        assert_eq!(of(&scope.disks), ["pve1/local-lvm", "pve2/local-lvm"]);
        assert_eq!(of(&scope.iso), ["pve1/nas", "pve2/local"]);
        assert_eq!(scope.guessed_iso.as_deref(), Some("local"));
        assert!(scope.sets.is_empty() && !scope.new_sets && scope.pools.contains("gpu"), "the class names its pool");
        assert_eq!(blind, Vec::<String>::new());
    }

    #[test]
    fn audit_checks_only_pinned_nodes() {
        let (scope, _) = scope(vec![machine("storage_selector: name == \"a\"\nnode: pve2\n")]);
        assert_eq!(scope.nodes.iter().collect::<Vec<_>>(), ["pve2"]);
        assert_eq!(scope.sets.iter().collect::<Vec<_>>(), ["demo-workers"]);
    }

    #[test]
    fn class_without_cluster_needs_rights_on_all_pools() {
        let other = |pool: &str| Machine { class: "new".into(), ..machine(&format!("storage_selector: 1\n{pool}")) };
        for (machines, provider, paths) in [
            (vec![machine("storage_selector: 1\n")], Provider::V0_2, &["/pool/demo-workers"][..]),
            (vec![machine("storage_selector: 1\n"), other("")], Provider::V0_1, &["/pool", "/pool/demo-workers"]),
            (vec![other("")], Provider::Untagged, &[]),
            (vec![machine("pool: a\n"), other("pool: b\n")], Provider::V0_3, &["/pool/a", "/pool/b"]),
        ] {
            let scope = Scope { provider, ..scope(machines).0 };
            let found: Vec<String> = scope.paths().into_iter().filter(|path| path.starts_with("/pool")).collect();
            assert_eq!(found, paths, "{provider}");
        }
    }

    #[test]
    fn placeholders_and_absent_objects_are_not_privileges() {
        let data = "storage_selector: name == \"<STORAGE>\"\nnetwork_bridge: <BRIDGE>\npool: CHANGE_ME\nnode: pve9\n\
                    pci_devices: [{mapping: TODO}]\nadditional_nics: [{bridge: vmbr7, vlan: 3}]\n";
        let missing = |machine: Machine| {
            let (scope, blind) = scope(vec![machine.clone()]);
            let rows = crate::permissions::rows(&scope, &Default::default());
            let mut inventory = inventory();
            inventory.nodes[0].bridges = Observed::Known(vec!["vmbr0".into()]);
            let absent: Vec<String> =
                unlisted_objects(&rows, &scope, &inventory).into_iter().map(|one| one.object).collect();
            let requirements = Requirements { machines: vec![machine], sets: BTreeMap::new() };
            let paths: Vec<String> = scope.paths().into_iter().filter(|path| !path.starts_with("/nodes")).collect();
            (absent.join(", "), unusable_names(&inventory, &requirements), blind, paths)
        };
        let (absent, unusable, blind, paths) = missing(machine(data));
        assert_eq!((absent.as_str(), blind.len()), ("bridge `vmbr7`", 0), "{blind:?}");
        let named: Vec<&str> = unusable.iter().filter_map(|text| text.split('`').nth(1)).collect();
        assert_eq!(named, ["<BRIDGE>", "TODO", "CHANGE_ME", "<STORAGE>", "pve9"]);
        assert!(unusable[4].ends_with("does not exist: Proxmox has pve1, pve2, pve3"), "{unusable:?}");
        let left = ["/", "/sdn/zones/localnetwork/vmbr7/3", "/storage/local", "/storage/nas", "/vms/107"];
        assert_eq!(paths, left, "a node that does not exist pins nothing");
        let (absent, ..) = missing(machine("storage_selector: name == \"tank-nvme\"\n"));
        assert_eq!(absent, "storage `tank-nvme`", "vmbr0 is listed");
    }

    #[test]
    fn constant_selectors_are_reported() {
        let one = machine("storage_selector: storageType == \"rbd\"\n");
        let other = Machine { class: "small".into(), ..machine("storage_selector: 1\n") };
        let (scope, blind) = scope(vec![one, other]);
        assert_eq!(of(&scope.disks), Vec::<String>::new());
        assert_eq!(blind.len(), 3, "{blind:?}");
        assert!(blind.iter().any(|words| words.ends_with("Datastore.Audit is missing; on pve1, pve2")), "{blind:?}");
        assert!(blind.iter().any(|words| words.contains("fails:") && words.ends_with("on pve1")), "{blind:?}");
    }

    #[test]
    fn selector_literal_counts_as_name_only_if_needed() {
        let seen = inventory().storages().cloned().collect::<Vec<_>>();
        let hidden = |selector: &str| hidden(selector, "pve1", &seen);
        assert_eq!(hidden(r#"storageType == "rbd" && name == "vm_ssd""#), ["vm_ssd"]);
        assert_eq!(hidden(r#"name == "local-lvm""#), Vec::<String>::new(), "it is seen, and does not match");
        assert_eq!(hidden(r#"storageType == "rbd""#), Vec::<String>::new());
    }
}
