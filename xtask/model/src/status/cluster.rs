//! Clusters as Omni tells of them: the list, and one with its machine sets, machines, and what each waits for.

use std::collections::BTreeMap;

use super::omni::{Resource, cluster_phase, machine_set_phase, machine_stage, request_stage};

const RUNNING: u64 = 3;
const REQUEST_FAILED: u64 = 5;
const SET_FAILED: u64 = 5;

/// A cluster in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
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

crate::written!(ClusterLine { name, phase, ready, healthy, total, talos, kubernetes, tearing_down });

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    pub name: String,
    pub phase: String,
    pub ready: bool,
    /// Omni says Running and ready, of the cluster and of each machine set, and upgrades nothing.
    pub running: bool,
    pub kubernetes_api_ready: bool,
    pub control_plane_ready: bool,
    pub tearing_down: bool,
    /// What an upgrade of Talos or Kubernetes still has to do, in words; empty when none runs.
    pub upgrade: String,
    pub machine_sets: Vec<MachineSetView>,
}

crate::written!(ClusterView {
    name,
    phase,
    ready,
    running,
    kubernetes_api_ready,
    control_plane_ready,
    tearing_down,
    upgrade,
    machine_sets,
});

/// A machine set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSetView {
    pub id: String,
    pub control_plane: bool,
    /// Empty when Omni has not looked at it yet.
    pub phase: String,
    pub ready: bool,
    pub error: String,
    pub class: String,
    pub wanted: u64,
    pub machines: Vec<MachineView>,
}

crate::written!(MachineSetView { id, control_plane, phase, ready, error, class, wanted, machines });

/// A machine, or the request for one that does not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
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

crate::written!(MachineView { request, uuid, stage, ready, connected, waits_for, error });

/// The resources that a [`ClusterView`] is made of; all but the first may be empty.
pub struct ClusterParts<'a> {
    pub status: &'a Resource,
    /// The cluster itself: the versions that are wanted.
    pub cluster: Option<&'a Resource>,
    pub sets: &'a [Resource],
    pub set_statuses: &'a [Resource],
    pub requests: &'a [Resource],
    pub machines: &'a [Resource],
    /// The states of its upgrades, each with what is upgraded.
    pub upgrades: &'a [(Upgraded, Resource)],
}

/// What Omni upgrades in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgraded {
    Talos,
    Kubernetes,
}

/// `TalosUpgradeStatusSpec.Phase` and `KubernetesUpgradeStatusSpec.Phase` (omni v1.9.3 `client/api/omni/specs/omni.proto`).
const UPGRADE_UNKNOWN: u64 = 0;
const UPGRADE_DONE: u64 = 2;
const UPGRADE_FAILED: u64 = 3;

/// The whole of one cluster.
pub fn cluster_view(parts: &ClusterParts<'_>) -> ClusterView {
    let ClusterParts { status, set_statuses, sets, .. } = parts;
    let mut machine_sets: Vec<_> = set_statuses.iter().map(|set| machine_set_view(set, parts)).collect();
    // Omni has taken the set, and its controllers have not looked at it yet.
    let silent = |set: &&Resource| !set_statuses.iter().any(|status| status.metadata.id == set.metadata.id);
    let unseen = |set| MachineSetView { phase: String::new(), ..machine_set_view(set, parts) };
    machine_sets.extend(sets.iter().filter(silent).map(unseen));
    machine_sets.sort_by(|a, b| b.control_plane.cmp(&a.control_plane).then_with(|| a.id.cmp(&b.id)));
    let is_running = |set: &Resource| set.number(&["phase"]) == RUNNING && set.flag(&["ready"]);
    let sets_running =
        !set_statuses.is_empty() && set_statuses.iter().all(is_running) && !sets.iter().any(|set| silent(&set));
    let ready = status.flag(&["ready"]);
    let upgrade = upgrade(parts);
    let phase = status.number(&["phase"]);
    ClusterView {
        name: status.metadata.id.clone(),
        phase: cluster_phase(phase),
        ready,
        running: phase == RUNNING && ready && sets_running && upgrade.is_empty(),
        kubernetes_api_ready: status.flag(&["kubernetesapiready"]),
        control_plane_ready: status.flag(&["controlplaneready"]),
        tearing_down: status.metadata.tearing_down(),
        upgrade,
        machine_sets,
    }
}

/// What an upgrade still has to do. A cluster stays Running while its machines are upgraded one by one, and for a moment
/// before that: until then the version that was reached is not the one that is wanted.
fn upgrade(parts: &ClusterParts<'_>) -> String {
    let unfinished = |(what, status): &(Upgraded, Resource)| {
        let (name, key) = match what {
            Upgraded::Talos => ("Talos", "talosversion"),
            Upgraded::Kubernetes => ("Kubernetes", "kubernetesversion"),
        };
        let wanted = parts.cluster.map_or("", |cluster| cluster.text(&[key]));
        let reached = status.text(&["lastupgradeversion"]);
        let elsewhere = !wanted.is_empty() && !reached.is_empty() && wanted != reached;
        let said = [status.text(&["step"]), status.text(&["status"]), status.text(&["error"])];
        let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
        let said = if said.is_empty() { String::new() } else { format!(" ({})", said.join(": ")) };
        match status.number(&["phase"]) {
            UPGRADE_FAILED => Some(format!("the upgrade of {name} to {wanted} has failed{said}")),
            UPGRADE_UNKNOWN | UPGRADE_DONE if !elsewhere => None,
            _ => Some(format!("the upgrade of {name} to {wanted} runs{said}")),
        }
    };
    parts.upgrades.iter().filter_map(unfinished).collect::<Vec<_>>().join("; ")
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
        } else if let Some(set) = self.machine_sets.iter().find(|set| set.phase.is_empty()) {
            words.push_str(&format!("; Omni has not looked at the machine set {} yet", set.id));
        } else if !self.upgrade.is_empty() {
            words.push_str(&format!("; {}", self.upgrade));
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
        let parts = ClusterParts {
            status: &status[0],
            cluster: None,
            sets: &[],
            set_statuses: &sets,
            requests: &requests,
            machines: &[],
            upgrades: &[],
        };
        let view = cluster_view(&parts);
        assert!(!view.running);
        assert_eq!(view.machine_sets[0].id, "demo-control-planes");
        assert_eq!(view.machine_sets[1].machines.len(), 2);
        assert_eq!(
            view.waits_for(),
            "ScalingUp: 0 of 3 machines ready; demo-control-planes-7v2wjs waits for the provider to take up the request"
        );
    }
    fn resource(text: &str) -> Resource {
        resources(text).unwrap().remove(0)
    }

    #[test]
    fn a_cluster_runs_when_nothing_is_being_upgraded_and_every_set_was_looked_at() {
        let status = resource(r#"{"metadata":{"id":"c"},"spec":{"phase":3,"ready":true}}"#);
        let cluster = resource(r#"{"metadata":{"id":"c"},"spec":{"talosversion":"1.13.5"}}"#);
        let set = |id: &str| resource(&format!(r#"{{"metadata":{{"id":"{id}"}},"spec":{{}}}}"#));
        let set_status = resource(r#"{"metadata":{"id":"c-workers"},"spec":{"phase":3,"ready":true}}"#);
        let view = |sets: &[Resource], upgrade: &str| {
            let upgrades = [(Upgraded::Talos, resource(&format!(r#"{{"metadata":{{"id":"c"}},"spec":{upgrade}}}"#)))];
            let set_statuses = std::slice::from_ref(&set_status);
            let (requests, machines): (&[Resource], &[Resource]) = (&[], &[]);
            let cluster = Some(&cluster);
            cluster_view(&ClusterParts {
                status: &status,
                cluster,
                sets,
                set_statuses,
                requests,
                machines,
                upgrades: &upgrades,
            })
        };
        let (one, two) = ([set("c-workers")], [set("c-workers"), set("c-more")]);
        let done = r#"{"phase":2,"lastupgradeversion":"1.13.5"}"#;
        assert!(view(&one, done).running);
        let silent = view(&two, done);
        assert!(
            !silent.running && silent.waits_for().contains("has not looked at the machine set c-more"),
            "{silent:?}"
        );
        // The moment between the change and the controller's look at it.
        let asked = view(&one, r#"{"phase":2,"lastupgradeversion":"1.13.4"}"#);
        assert!(!asked.running && asked.upgrade == "the upgrade of Talos to 1.13.5 runs", "{asked:?}");
        let runs = view(&one, r#"{"phase":1,"lastupgradeversion":"1.13.4","step":"updating machines 1/3"}"#);
        assert!(runs.waits_for().ends_with("the upgrade of Talos to 1.13.5 runs (updating machines 1/3)"), "{runs:?}");
        let failed = view(&one, r#"{"phase":3,"lastupgradeversion":"1.13.4","error":"no such installer"}"#);
        assert_eq!(failed.upgrade, "the upgrade of Talos to 1.13.5 has failed (no such installer)");
    }
}
