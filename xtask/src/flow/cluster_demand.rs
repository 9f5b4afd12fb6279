//! The machines that clusters require, compared with those that Omni already requests, and placed on the nodes.

use std::collections::{BTreeMap, BTreeSet};

use crate::flow::proxmox;
use crate::prelude::*;
use check::capacity::demand::{Demand, demand};
use check::capacity::machine::Machine;
use check::capacity::provider::Provider;
use check::capacity::{self, Fit, Member, State};
use domain::spec::template::ClusterTemplate;
use domain::status::omni::Resource;
use domain::status::proxmox::{Inventory, Observed};
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;

/// The machines to place, and where to place them.
pub struct DemandInputs<'a> {
    pub templates: &'a [ClusterTemplate],
    /// The machine of each class by the class name; `None` if this provider does not create the machines of the class.
    pub classes: &'a BTreeMap<String, Option<Machine>>,
    pub requests: &'a Observed<Vec<Resource>>,
    pub provider: Provider,
    /// A node that is lost: its machines are placed on the others.
    pub lost: Option<&'a str>,
}

/// Places machines that do not exist yet, by the provider's own rule.
///
/// # Errors
/// Returns an error only if the task is interrupted.
pub fn place_machines(
    cx: &Cx,
    wanted: &DemandInputs<'_>,
    proxmox: Option<&Proxmox>,
    inventory: &mut Inventory,
) -> Result<(Demand, Fit), Failure> {
    let mut demand = demand(wanted.templates, wanted.classes, inventory, wanted.requests);
    let removed = removed_sets(cx, wanted.templates, wanted.requests)?;
    let ids: BTreeSet<String> = removed.keys().cloned().collect();
    if let Some(proxmox) = proxmox {
        proxmox::read_disks(cx, proxmox, inventory, &ids)?;
    }
    demand.surplus.extend(removed);
    if let Some(lost) = wanted.lost {
        inventory.nodes.iter_mut().filter(|node| node.name == lost).for_each(|node| node.status = "offline".to_owned());
        demand.members.iter_mut().for_each(|member| recreate(member, lost));
    }
    let fit = capacity::plan(inventory, &demand.members, &ids, wanted.provider);
    Ok((demand, fit))
}

/// Recreates the machine if it was on the lost node.
fn recreate(member: &mut Member, lost: &str) {
    if member.state == State::Exists(lost.to_owned()) {
        member.state = State::New;
        member.name.push_str(", recreated");
    }
}

/// Returns Omni's machine requests, or why they are unknown.
///
/// # Errors
/// Returns an error only if the task is interrupted.
pub fn list_requests(cx: &Cx) -> anyhow::Result<Observed<Vec<Resource>>> {
    let found = Omnictl::find(cx).and_then(|omnictl| omnictl.list("machinerequests", None));
    let title = "Read the machine requests from Omni";
    let found = Observed::of(found)?;
    let (status, detail) = match &found {
        Observed::Known(requests) => (Status::Ok, requests.len().to_string()),
        Observed::Unknown(why) => (Status::Skipped, format!("not known; the tags of the VMs are used instead: {why}")),
    };
    cx.ui.note("requests", title, status, detail);
    Ok(found)
}

/// Returns the machine sets of these clusters that are in Omni but no longer in a template, with their number of machines: a sync
/// destroys them. Empty if Omni cannot be queried.
fn removed_sets(
    cx: &Cx,
    templates: &[ClusterTemplate],
    requests: &Observed<Vec<Resource>>,
) -> Result<BTreeMap<String, usize>, Failure> {
    let Some(requests) = requests.known() else { return Ok(BTreeMap::new()) };
    let sets = Observed::of(Omnictl::find(cx).and_then(|omnictl| omnictl.list("machinesets", None)))?;
    let ids = |template: &ClusterTemplate| -> BTreeSet<String> {
        template.sets.iter().map(|set| set.id(&template.name)).collect()
    };
    let wanted: BTreeMap<&str, BTreeSet<String>> =
        templates.iter().map(|template| (template.name.as_str(), ids(template))).collect();
    let mut removed = BTreeMap::new();
    for set in sets.known().into_iter().flatten() {
        let id = &set.metadata.id;
        let named = set.metadata.label("cluster").and_then(|cluster| wanted.get(cluster));
        if named.is_none_or(|named| named.contains(id)) {
            continue;
        }
        let of_set = |request: &&Resource| request.metadata.label("machine-request-set") == Some(id.as_str());
        let machines = requests.iter().filter(of_set).filter(|request| !request.metadata.tearing_down()).count();
        if machines > 0 {
            removed.insert(id.clone(), machines);
        }
    }
    Ok(removed)
}
