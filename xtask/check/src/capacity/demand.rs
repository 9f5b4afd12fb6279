//! Which machines clusters require, and which of them exist.

use std::collections::{BTreeMap, BTreeSet};

use super::machine::Machine;
use super::{Member, State};
use domain::spec::template::{self, ClusterTemplate, MachineSet};
use domain::status::omni::Resource;
use domain::status::proxmox::{Inventory, Node, Observed, Vm};
use yaml::Location;

/// The machines that clusters require, compared with those that exist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demand {
    /// Control planes first.
    pub members: Vec<Member>,
    /// The number of surplus machines, by machine set.
    pub surplus: BTreeMap<String, usize>,
    /// Notes on machines that are not placed, or that exist but are not requested.
    pub notes: Vec<String>,
}

/// Compares the templates with Proxmox and, if they are known, with Omni's machine requests. `classes` has the machine of each
/// class by its name; `None` for a class whose machines this provider does not create.
pub fn demand(
    templates: &[ClusterTemplate],
    classes: &BTreeMap<String, Option<Machine>>,
    inventory: &Inventory,
    requests: &Observed<Vec<Resource>>,
) -> Demand {
    let mut demand = Demand::default();
    let sets = templates.iter().flat_map(|template| template.sets.iter().map(move |set| (template, set)));
    let (first, then): (Vec<_>, Vec<_>) = sets.partition(|(_, set)| set.kind == template::SetKind::ControlPlane);
    let ours: BTreeSet<String> = first.iter().chain(&then).map(|(template, set)| set.id(&template.name)).collect();
    let existing = existing(inventory, requests);
    for (template, set) in first.into_iter().chain(then) {
        demand_of(template, set, classes, &existing, &mut demand);
    }
    demand.notes.extend(orphans(&ours, inventory, requests));
    demand
}

fn demand_of(
    template: &ClusterTemplate,
    set: &MachineSet,
    classes: &BTreeMap<String, Option<Machine>>,
    existing: &BTreeMap<&str, Vec<(String, State)>>,
    demand: &mut Demand,
) {
    let id = set.id(&template.name);
    let Some(class) = &set.class else {
        if !set.machines.is_empty() {
            demand
                .notes
                .push(format!("machine set {id} lists its machines explicitly: the provider does not create them"));
        }
        return;
    };
    let (Some(Some(machine)), Some(count)) = (classes.get(&class.name), set.machine_count()) else {
        let words =
            format!("machine set {id} uses machines that this provider does not create (class `{}`)", class.name);
        demand.notes.push(words);
        return;
    };
    let existing = existing.get(id.as_str()).map_or(&[][..], Vec::as_slice);
    let count = count as usize;
    if existing.len() > count {
        demand.surplus.insert(id.clone(), existing.len() - count);
    }
    let place: Location = class.size_at.in_file(&template.place.file);
    let new = (existing.len()..count).map(|at| (format!("{id}-new-{}", at + 1), State::New));
    for (name, state) in existing.iter().cloned().chain(new) {
        demand.members.push(Member {
            name,
            cluster: template.name.clone(),
            set: id.clone(),
            control_plane: set.kind == template::SetKind::ControlPlane,
            machine: machine.clone(),
            place: place.clone(),
            state,
        });
    }
}

/// Returns the existing machines by machine set: those that Omni requests, each with its VM if there is one; by the tags of VMs
/// if Omni's requests are unknown.
fn existing<'a>(
    inventory: &'a Inventory,
    requests: &'a Observed<Vec<Resource>>,
) -> BTreeMap<&'a str, Vec<(String, State)>> {
    let mut by_set: BTreeMap<&str, Vec<(String, State)>> = BTreeMap::new();
    let on = |node: &Node| State::Exists(node.name.clone());
    match requests {
        Observed::Known(requests) => {
            let nodes: BTreeMap<&str, &Node> = inventory.vms().map(|(node, vm)| (vm.name.as_str(), node)).collect();
            for request in requests.iter().filter(|request| !request.metadata.tearing_down()) {
                let Some(set) = request.metadata.label("machine-request-set") else { continue };
                let id = &request.metadata.id;
                let state = nodes.get(id.as_str()).map_or(State::Requested, |node| on(node));
                by_set.entry(set).or_default().push((id.clone(), state));
            }
        }
        Observed::Unknown(_) => {
            for (node, vm) in inventory.vms() {
                let Some(set) = vm.machine_request_set() else { continue };
                by_set.entry(set).or_default().push((vm.name.clone(), on(node)));
            }
        }
    }
    by_set
}

/// Describes VMs that have the tag of one of these sets but that Omni does not request.
fn orphans(ours: &BTreeSet<String>, inventory: &Inventory, requests: &Observed<Vec<Resource>>) -> Vec<String> {
    let Some(requests) = requests.known() else { return Vec::new() };
    let known: BTreeSet<&str> = requests.iter().map(|request| request.metadata.id.as_str()).collect();
    let orphan = |(node, vm): (&Node, &Vm)| {
        let set = vm.machine_request_set().filter(|set| ours.contains(*set) && !known.contains(vm.name.as_str()))?;
        let (id, name, on) = (vm.id, &vm.name, &node.name);
        Some(format!("VM {id} ({name}) on {on} is tagged for {set}, but Omni has no such machine request"))
    };
    inventory.vms().filter_map(orphan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::recorded;
    use domain::status::omni;

    const TEMPLATE: &str = "kind: Cluster\nname: demo\nkubernetes: {version: v1.36.2}\ntalos: {version: v1.13.5}\n---\nkind: Workers\nmachineClass: {name: big, size: 3}\n---\nkind: ControlPlane\nmachineClass: {name: big, size: 1}\n---\nkind: Workers\nname: metal\nmachineClass: {name: racks, size: 2}\n";

    fn classes() -> BTreeMap<String, Option<Machine>> {
        let machine = Machine { class: "big".to_owned(), ..Machine::default() };
        BTreeMap::from([("big".to_owned(), Some(machine)), ("racks".to_owned(), None)])
    }

    fn inventory(guests: &[(&str, &str)]) -> Inventory {
        let guest = |(at, (name, set)): (usize, &(&str, &str))| Vm {
            id: 100 + at as u64,
            name: (*name).to_owned(),
            tags: vec![format!("machine-request.{set}")],
            ..Vm::default()
        };
        let vms = Observed::Known(guests.iter().enumerate().map(guest).collect());
        Inventory { nodes: vec![Node { name: "pve1".into(), vms, ..Node::default() }], ..Inventory::default() }
    }

    fn demanded(guests: &[(&str, &str)], requests: Observed<Vec<Resource>>) -> (Vec<(String, State)>, Demand) {
        let template = template::parse("demo.yaml", TEMPLATE.as_bytes()).value.unwrap();
        let demand = demand(&[template], &classes(), &inventory(guests), &requests);
        (demand.members.iter().map(|member| (member.name.clone(), member.state.clone())).collect(), demand)
    }

    #[test]
    fn requested_machines_count_once() {
        // The recording of omnictl 1.4.9 has one control plane and two workers.
        let requests = omni::parse_resources(&recorded("omnictl", "get-machinerequests-json").stdout).unwrap();
        let guests = [("demo-workers-s2cqkd", "demo-workers"), ("demo-workers-gone00", "demo-workers")];
        let (members, demand) = demanded(&guests, Observed::Known(requests));
        let on = |node: &str| State::Exists(node.to_owned());
        assert_eq!(
            members,
            [
                ("demo-control-planes-7v2wjs".to_owned(), State::Requested),
                ("demo-workers-qzj5fc".to_owned(), State::Requested),
                ("demo-workers-s2cqkd".to_owned(), on("pve1")),
                ("demo-workers-new-3".to_owned(), State::New),
            ]
        );
        assert_eq!(demand.members[0].place.to_string(), "demo.yaml:10:33");
        assert_eq!(demand.notes.len(), 2, "{:?}", demand.notes);
        assert!(demand.notes[0].starts_with("machine set demo-metal uses machines that this provider does not create"));
        assert_eq!(
            demand.notes[1],
            "VM 101 (demo-workers-gone00) on pve1 is tagged for demo-workers, but Omni has no such machine request"
        );
    }

    #[test]
    fn image_tag_is_used_without_omni() {
        let guests: Vec<String> = (0..5).map(|at| format!("demo-workers-{at}")).collect();
        let guests: Vec<(&str, &str)> = guests.iter().map(|name| (name.as_str(), "demo-workers")).collect();
        let (members, demand) = demanded(&guests, Observed::Unknown("nobody is logged in".into()));
        assert_eq!(members.len(), 6);
        assert_eq!(members.iter().filter(|(_, state)| *state == State::New).count(), 1, "the control plane");
        assert_eq!(demand.surplus, BTreeMap::from([("demo-workers".to_owned(), 2)]));
    }
}
