//! Clusters as Omni tells of them: the list, and one with its machine sets, machines, and what each waits for.

use std::collections::BTreeMap;

use super::omni::{Resource, cluster_phase, machine_set_phase, machine_stage, request_stage};

const RUNNING: u64 = 3;
const REQUEST_FAILED: u64 = 5;
const SET_FAILED: u64 = 5;

/// A cluster in a list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClusterLine {
    pub name: String,
    pub phase: String,
    pub ready: bool,
    /// Healthy of total machines.
    pub healthy: u64,
    pub total: u64,
    pub talos: String,
    pub kubernetes: String,
    pub tearing_down: bool,
}

/// The list of clusters, from `clusters` and `clusterstatuses`.
pub fn cluster_lines(clusters: &[Resource], statuses: &[Resource]) -> Vec<ClusterLine> {
    let by_id: BTreeMap<&str, &Resource> =
        statuses.iter().map(|status| (status.metadata.id.as_str(), status)).collect();
    let line = |cluster: &Resource| {
        let status = by_id.get(cluster.metadata.id.as_str());
        let number = |path: &[&str]| status.map_or(0, |status| status.number(path));
        ClusterLine {
            name: cluster.metadata.id.clone(),
            phase: cluster_phase(number(&["phase"])),
            ready: status.is_some_and(|status| status.flag(&["ready"])),
            healthy: number(&["machines", "healthy"]),
            total: number(&["machines", "total"]).max(number(&["machines", "requested"])),
            talos: cluster.text(&["talosversion"]).to_owned(),
            kubernetes: cluster.text(&["kubernetesversion"]).to_owned(),
            tearing_down: cluster.metadata.tearing_down(),
        }
    };
    clusters.iter().map(line).collect()
}

/// One cluster with everything that it consists of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClusterView {
    pub name: String,
    pub phase: String,
    pub ready: bool,
    /// Omni says Running and ready, of the cluster and of each machine set.
    pub running: bool,
    pub kubernetes_api_ready: bool,
    pub control_plane_ready: bool,
    pub tearing_down: bool,
    pub machine_sets: Vec<MachineSetView>,
}

/// A machine set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MachineSetView {
    pub id: String,
    pub control_plane: bool,
    pub phase: String,
    pub ready: bool,
    pub error: String,
    pub class: String,
    pub wanted: u64,
    pub machines: Vec<MachineView>,
}

/// A machine, or the request for one that does not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MachineView {
    /// The id of its machine request; empty for a machine that nobody requested.
    pub request: String,
    /// Its UUID, once it has one.
    pub uuid: String,
    pub stage: String,
    pub ready: bool,
    pub connected: bool,
    /// What it waits for, in words; empty when it is ready.
    pub waits_for: String,
    /// What went wrong, as Omni or the provider says it.
    pub error: String,
}

/// The resources that a [`ClusterView`] is made of; all but the first may be empty.
pub struct ClusterParts<'a> {
    pub status: &'a Resource,
    pub set_statuses: &'a [Resource],
    pub requests: &'a [Resource],
    pub machines: &'a [Resource],
}

/// The whole of one cluster.
pub fn cluster_view(parts: &ClusterParts<'_>) -> ClusterView {
    let ClusterParts { status, set_statuses, .. } = parts;
    let mut machine_sets: Vec<_> = set_statuses.iter().map(|set| machine_set_view(set, parts)).collect();
    machine_sets.sort_by(|a, b| b.control_plane.cmp(&a.control_plane).then_with(|| a.id.cmp(&b.id)));
    let sets_running = set_statuses.iter().all(|set| set.number(&["phase"]) == RUNNING && set.flag(&["ready"]))
        && !set_statuses.is_empty();
    let ready = status.flag(&["ready"]);
    ClusterView {
        name: status.metadata.id.clone(),
        phase: cluster_phase(status.number(&["phase"])),
        ready,
        running: status.number(&["phase"]) == RUNNING && ready && sets_running,
        kubernetes_api_ready: status.flag(&["kubernetesapiready"]),
        control_plane_ready: status.flag(&["controlplaneready"]),
        tearing_down: status.metadata.tearing_down(),
        machine_sets,
    }
}

fn machine_set_view(set: &Resource, parts: &ClusterParts<'_>) -> MachineSetView {
    let id = set.metadata.id.as_str();
    let in_set = |resource: &&Resource| resource.metadata.label("machine-set") == Some(id);
    let mut machines = Vec::new();
    let mut seen = Vec::new();
    for request in parts.requests.iter().filter(in_set) {
        let by_request = |m: &&Resource| {
            m.text(&["provisionstatus", "requestid"]) == request.metadata.id
                || (!m.metadata.id.is_empty() && m.metadata.id == request.text(&["machineuuid"]))
        };
        let machine = parts.machines.iter().find(by_request);
        seen.extend(machine.map(|machine| machine.metadata.id.as_str()));
        machines.push(machine_view(Some(request), machine));
    }
    let others = parts.machines.iter().filter(in_set).filter(|machine| !seen.contains(&machine.metadata.id.as_str()));
    machines.extend(others.map(|machine| machine_view(None, Some(machine))));
    machines.sort_by(|a, b| a.request.cmp(&b.request).then_with(|| a.uuid.cmp(&b.uuid)));
    let requested = set.number(&["machines", "requested"]);
    let phase = set.number(&["phase"]);
    MachineSetView {
        id: id.to_owned(),
        control_plane: set.metadata.labelled("role-controlplane"),
        phase: machine_set_phase(phase),
        ready: set.flag(&["ready"]),
        error: match set.text(&["error"]) {
            "" if phase == SET_FAILED => "Omni says Failed, and not why".to_owned(),
            error => error.to_owned(),
        },
        class: set.text(&["machineallocation", "name"]).to_owned(),
        wanted: requested.max(set.number(&["machineallocation", "machinecount"])),
        machines,
    }
}

fn machine_view(request: Option<&Resource>, machine: Option<&Resource>) -> MachineView {
    let ready = machine.is_some_and(|machine| machine.flag(&["ready"]));
    let connected = machine.is_some_and(|machine| machine.metadata.labelled("connected"));
    let stage = match (machine, request) {
        (Some(machine), _) => machine_stage(machine.number(&["stage"])),
        (None, Some(request)) => request_stage(request.number(&["stage"])),
        (None, None) => String::new(),
    };
    let uuid = machine.map(|machine| machine.metadata.id.as_str());
    let uuid = uuid.or(request.map(|request| request.text(&["machineuuid"]))).unwrap_or_default().to_owned();
    let mut error = machine.map_or("", |machine| machine.text(&["lastconfigerror"]));
    if error.is_empty() {
        error = request.map_or("", |request| request.text(&["error"]));
    }
    let status = request.map_or("", |request| request.text(&["status"]));
    let failed = request.is_some_and(|request| request.number(&["stage"]) == REQUEST_FAILED);
    let error = if error.is_empty() && failed { status } else { error };
    let waits_for = match machine {
        _ if ready => String::new(),
        Some(_) if !connected => "the machine to come back: Omni has no connection to it".to_owned(),
        Some(_) => format!("the machine to be ready ({})", stage.to_lowercase()),
        None if status.is_empty() => "the provider to take up the request".to_owned(),
        None => match status.strip_prefix("Waiting for ") {
            Some(what) => what.to_owned(),
            None => format!("the provider ({status})"),
        },
    };
    MachineView {
        request: request.map_or(String::new(), |request| request.metadata.id.clone()),
        uuid,
        stage,
        ready,
        connected,
        waits_for,
        error: error.to_owned(),
    }
}

impl ClusterView {
    /// All machines of all sets.
    pub fn machines(&self) -> impl Iterator<Item = &MachineView> {
        self.machine_sets.iter().flat_map(|set| &set.machines)
    }

    /// What the cluster waits for, in one line.
    pub fn waits_for(&self) -> String {
        let wanted: u64 = self.machine_sets.iter().map(|set| set.wanted).sum();
        let ready = self.machines().filter(|machine| machine.ready).count();
        let mut words = format!("{}: {ready} of {wanted} machines ready", self.phase);
        if let Some(machine) = self.machines().find(|machine| !machine.ready) {
            let name = if machine.request.is_empty() { &machine.uuid } else { &machine.request };
            words.push_str(&format!("; {name} waits for {}", machine.waits_for));
        } else if !self.control_plane_ready {
            words.push_str("; the control plane is not ready");
        } else if !self.kubernetes_api_ready {
            words.push_str("; the Kubernetes API is not ready");
        }
        words
    }

    /// The first thing that Omni or the provider calls an error.
    pub fn first_error(&self) -> Option<String> {
        for set in &self.machine_sets {
            if !set.error.is_empty() {
                return Some(format!("machine set {}: {}", set.id, set.error));
            }
            for machine in &set.machines {
                if !machine.error.is_empty() {
                    return Some(format!("machine request {}: {}", machine.request, machine.error));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::omni::resources;
    use crate::status::testing::recorded;

    fn read(name: &str) -> Vec<Resource> {
        resources(&recorded("omnictl", name).stdout).unwrap()
    }

    #[test]
    fn a_cluster_that_scales_up_says_what_it_waits_for() {
        let (status, sets) = (read("get-clusterstatus-json"), read("get-machinesetstatuses-json"));
        let requests = read("get-clustermachinerequeststatuses-json");
        let parts = ClusterParts { status: &status[0], set_statuses: &sets, requests: &requests, machines: &[] };
        let view = cluster_view(&parts);
        assert!(!view.running);
        assert_eq!(view.machine_sets[0].id, "demo-control-planes");
        assert_eq!(view.machine_sets[1].machines.len(), 2);
        assert_eq!(
            view.waits_for(),
            "ScalingUp: 0 of 3 machines ready; demo-control-planes-7v2wjs waits for the provider to take up the request"
        );
    }
}
