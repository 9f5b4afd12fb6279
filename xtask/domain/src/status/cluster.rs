//! Clusters as Omni reports them: the list, and one cluster with its machine sets, its machines, and what each waits for.
//!
//! A cluster's `ready` flag does not mean that it is healthy. After all machines of a cluster were killed, Omni 1.4.9 kept every
//! flag true for 56 s, then cleared `kubernetesapiready` and the load balancer's flag, and cleared `ready` and the machines'
//! flags only after 266 s. [`ClusterView::running`] therefore combines everything that Omni reports. If only one worker dies,
//! Omni reports nothing in those minutes: only Proxmox knows whether its VM runs.

use crate::words::count;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use super::omni::{Resource, cluster_phase, machine_set_phase, machine_stage, request_stage};

const RUNNING: u64 = 3;
const REQUEST_FAILED: u64 = 5;
const REQUEST_DEPROVISIONING: u64 = 4;
const SET_FAILED: u64 = 5;
const DESTROYING: u64 = 4;
/// `ClusterMachineStatus.stage`: the stage that Omni counts as healthy, and those of a machine that leaves its cluster.
const MACHINE_RUNNING: u64 = 4;
const MACHINE_LEAVING: &[u64] = &[5, 9];

/// A row in the list of clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterLine {
    pub name: String,
    pub phase: String,
    /// The flag that Omni reports; it does not imply that the cluster is healthy.
    pub ready: bool,
    /// Whether the cluster is running and ready, all machines are healthy, and the Kubernetes API responds.
    pub running: bool,
    pub kubernetes_api_ready: bool,
    /// Number of healthy machines, out of `total`.
    pub healthy: u64,
    pub total: u64,
    pub talos: String,
    pub kubernetes: String,
    pub tearing_down: bool,
}

/// Builds the list of clusters from the resources `clusters` and `clusterstatuses`.
pub fn cluster_lines(clusters: &[Resource], statuses: &[Resource]) -> Vec<ClusterLine> {
    let by_id: BTreeMap<&str, &Resource> =
        statuses.iter().map(|status| (status.metadata.id.as_str(), status)).collect();
    let none = Resource::default();
    let line = |cluster: &Resource| {
        let status = by_id.get(cluster.metadata.id.as_str()).copied().unwrap_or(&none);
        let tearing_down = tearing_down(status, Some(cluster));
        let (healthy, total) = machine_counts(status);
        ClusterLine {
            name: cluster.metadata.id.clone(),
            phase: phase_label(status, tearing_down),
            ready: status.flag(&["ready"]),
            running: !tearing_down && is_healthy_by_omni(status),
            kubernetes_api_ready: status.flag(&["kubernetesapiready"]),
            healthy,
            total,
            talos: cluster.text(&["talosversion"]).to_owned(),
            kubernetes: cluster.text(&["kubernetesversion"]).to_owned(),
            tearing_down,
        }
    };
    clusters.iter().map(line).collect()
}

/// Whether the cluster is being torn down. The phase of its resource counts too: that of its status stays `running` meanwhile.
fn tearing_down(status: &Resource, cluster: Option<&Resource>) -> bool {
    cluster.is_some_and(|cluster| cluster.metadata.tearing_down())
        || status.metadata.tearing_down()
        || status.number(&["phase"]) == DESTROYING
}

fn phase_label(status: &Resource, tearing_down: bool) -> String {
    cluster_phase(if tearing_down { DESTROYING } else { status.number(&["phase"]) })
}

/// Returns the number of healthy machines, and the number that exist or are requested, whichever is greater.
fn machine_counts(status: &Resource) -> (u64, u64) {
    let number = |key: &str| status.number(&["machines", key]);
    (number("healthy"), number("total").max(number("requested")))
}

/// Returns the health in a `ClusterStatus`. Ignores `controlplaneready`: Omni checks it only every few minutes (omni v1.9.3
/// `control_plane_status.go`), so it lags behind in both directions.
fn is_healthy_by_omni(status: &Resource) -> bool {
    let (healthy, total) = machine_counts(status);
    status.number(&["phase"]) == RUNNING
        && status.flag(&["ready"])
        && status.flag(&["kubernetesapiready"])
        && healthy >= total
}

/// A cluster with its machine sets and machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClusterView {
    pub name: String,
    pub phase: String,
    /// The flag that Omni reports; it does not imply that the cluster is healthy.
    pub ready: bool,
    /// Whether the cluster and each machine set are running and ready, every machine is healthy, the Kubernetes API responds
    /// through a healthy load balancer, and nothing is being upgraded or torn down.
    pub running: bool,
    pub kubernetes_api_ready: bool,
    /// `None` if Omni has no load balancer for the cluster yet.
    pub load_balancer_healthy: Option<bool>,
    /// When its load balancer, healthy before, became unhealthy, in RFC 3339 format; empty while it is healthy, or never was.
    #[serde(skip)]
    pub load_balancer_lost: String,
    pub control_plane_ready: bool,
    /// Number of machines that Omni counts as healthy, out of `total` that exist or are requested.
    pub healthy: u64,
    pub total: u64,
    pub tearing_down: bool,
    /// Whether Omni rejects changes to the cluster (`omnictl cluster lock`).
    pub locked: bool,
    /// The remaining finalizers of a cluster that is being destroyed, and when the resource last changed, in RFC 3339 format.
    #[serde(skip)]
    pub held_by: Vec<String>,
    #[serde(skip)]
    pub since: String,
    /// A description of the remaining work of a Talos or Kubernetes upgrade; empty if there is no upgrade.
    pub upgrade: String,
    pub machine_sets: Vec<MachineSetView>,
}

/// A machine set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MachineSetView {
    pub id: String,
    pub control_plane: bool,
    /// Empty if Omni has not processed the set yet.
    pub phase: String,
    pub ready: bool,
    pub error: String,
    pub class: String,
    pub wanted: u64,
    /// Number of machines that Omni counts as healthy.
    pub healthy: u64,
    pub tearing_down: bool,
    /// When its status last changed, in RFC 3339 format.
    #[serde(skip)]
    pub since: String,
    pub machines: Vec<MachineView>,
}

/// A machine, or the machine request if the machine does not exist yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MachineView {
    /// The ID of the machine request; empty for a machine without one.
    pub request: String,
    /// The UUID, once the machine has one.
    pub uuid: String,
    /// The infrastructure provider of the machine request; empty if unknown.
    pub provider: String,
    pub stage: String,
    /// Whether it is ready and in the stage Running, as Omni counts it (omni v1.9.3 `machineset/status_handler.go`).
    pub ready: bool,
    pub connected: bool,
    /// Whether the machine is leaving the cluster or its request is being torn down.
    pub leaving: bool,
    /// Who has to act next while the machine is not ready.
    pub party: Actor,
    /// A description of what the machine waits for; empty if it is ready.
    pub waits_for: String,
    /// The provider's current step for the machine request; empty if there is none.
    #[serde(skip)]
    pub step: String,
    /// Whether the VM was started but has not contacted Omni yet.
    #[serde(skip)]
    pub joining: bool,
    /// Whether it is neither configured nor upgraded (`omnictl cluster machine lock`; copied in omni v1.9.3
    /// `cluster_machine_status.go`).
    #[serde(skip)]
    pub locked: bool,
    /// When the machine was requested, and when it joined the cluster, in RFC 3339 format; empty if unknown.
    #[serde(skip)]
    pub requested: String,
    #[serde(skip)]
    pub joined: String,
    /// When Omni last updated the machine's state, in RFC 3339 format. Empty if it has no state yet.
    pub since: String,
    /// The error that Omni or the provider reports.
    pub error: String,
    /// The conditions that Talos reports as unmet, if they were queried.
    #[serde(skip)]
    pub unmet: String,
}

/// Who has to act before a machine is ready or gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Nothing is pending.
    #[default]
    #[serde(rename = "")]
    None,
    /// The infrastructure provider: it creates or deletes the VM.
    Provider,
    /// The machine: it boots, joins Omni or reconnects.
    Machine,
    /// Omni: it configures the machine or removes it from the cluster.
    Omni,
}

impl MachineView {
    /// Returns the display name: the ID of the request, which is also the name of the VM, or else the UUID.
    pub fn name(&self) -> &str {
        if self.request.is_empty() { &self.uuid } else { &self.request }
    }

    /// Whether the machine is ready or leaving: Omni does not count machines that are leaving.
    fn is_settled(&self) -> bool {
        self.ready || self.leaving
    }
}

/// The resources that a [`ClusterView`] is built from; all but the first may be empty.
pub struct ClusterParts<'a> {
    pub status: &'a Resource,
    /// The cluster resource, which contains the requested versions.
    pub cluster: Option<&'a Resource>,
    pub sets: &'a [Resource],
    pub set_statuses: &'a [Resource],
    pub requests: &'a [Resource],
    pub machines: &'a [Resource],
    pub load_balancer: Option<&'a Resource>,
    /// The upgrade statuses, each with the component it is for.
    pub upgrades: &'a [(UpgradeSubject, Resource)],
}

/// A component that Omni upgrades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeSubject {
    Talos,
    Kubernetes,
}

/// `TalosUpgradeStatusSpec.Phase` and `KubernetesUpgradeStatusSpec.Phase` (omni v1.9.3 `client/api/omni/specs/omni.proto`).
const UPGRADE_UNKNOWN: u64 = 0;
const UPGRADE_DONE: u64 = 2;
const UPGRADE_FAILED: u64 = 3;

/// Builds the view of one cluster.
pub fn cluster_view(parts: &ClusterParts<'_>) -> ClusterView {
    let ClusterParts { status, set_statuses, sets, .. } = parts;
    let mut machine_sets: Vec<_> = set_statuses.iter().map(|set| machine_set_view(set, parts)).collect();
    // Omni has accepted the set but its controllers have not processed it yet, or it is being torn down and its status is gone.
    let silent = |set: &&Resource| !set_statuses.iter().any(|status| status.metadata.id == set.metadata.id);
    let unseen = |set: &Resource| {
        let view = machine_set_view(set, parts);
        let phase = if view.tearing_down { view.phase.clone() } else { String::new() };
        MachineSetView { phase, ..view }
    };
    machine_sets.extend(sets.iter().filter(silent).map(unseen));
    machine_sets.sort_by(|a, b| b.control_plane.cmp(&a.control_plane).then_with(|| a.id.cmp(&b.id)));
    let tearing_down = tearing_down(status, parts.cluster);
    if tearing_down {
        // Omni removes the workers first and shows the control planes as Running until then.
        for set in &mut machine_sets {
            *set = MachineSetView { phase: machine_set_phase(DESTROYING), wanted: 0, tearing_down, ..set.clone() };
        }
    }
    let is_running = |set: &Resource| set.number(&["phase"]) == RUNNING && set.flag(&["ready"]);
    let sets_running = !set_statuses.is_empty()
        && set_statuses.iter().all(is_running)
        && !sets.iter().any(|set| silent(&set) || set.metadata.tearing_down());
    let upgrade = upgrade(parts);
    let load_balancer_healthy = parts.load_balancer.map(|balancer| balancer.flag(&["healthy"]));
    let lost =
        |balancer: &&Resource| !balancer.flag(&["healthy"]) && balancer.metadata.updated != balancer.metadata.created;
    let load_balancer_lost =
        parts.load_balancer.filter(lost).map_or(String::new(), |balancer| balancer.metadata.updated.clone());
    let machines_ready = machine_sets.iter().flat_map(|set| &set.machines).all(MachineView::is_settled);
    let (healthy, total) = machine_counts(status);
    ClusterView {
        name: status.metadata.id.clone(),
        phase: phase_label(status, tearing_down),
        ready: status.flag(&["ready"]),
        running: is_healthy_by_omni(status)
            && sets_running
            && machines_ready
            && load_balancer_healthy != Some(false)
            && upgrade.is_empty()
            && !tearing_down,
        kubernetes_api_ready: status.flag(&["kubernetesapiready"]),
        load_balancer_healthy,
        load_balancer_lost,
        control_plane_ready: status.flag(&["controlplaneready"]),
        healthy,
        total,
        tearing_down,
        locked: parts.cluster.is_some_and(|cluster| cluster.metadata.has_annotation("cluster-locked")),
        held_by: parts.cluster.filter(|_| tearing_down).map_or(Vec::new(), |held| held.metadata.finalizers.clone()),
        since: parts.cluster.map_or(String::new(), |cluster| cluster.metadata.updated.clone()),
        upgrade,
        machine_sets,
    }
}

/// Returns the remaining work of all upgrades. A cluster stays Running while its machines are upgraded one by one, and also
/// briefly before the upgrade starts, when the reached version differs from the requested one.
fn upgrade(parts: &ClusterParts<'_>) -> String {
    let unfinished = |(what, status): &(UpgradeSubject, Resource)| {
        let (name, key) = match what {
            UpgradeSubject::Talos => ("Talos", "talosversion"),
            UpgradeSubject::Kubernetes => ("Kubernetes", "kubernetesversion"),
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
            // Omni reports an upgrade for a new cluster too, from no version (omni v1.9.3 `kubernetes_upgrade_status.go`).
            _ if reached.is_empty() => Some(format!("{name} {wanted} is being installed{said}")),
            _ => Some(format!("the upgrade of {name} to {wanted} is in progress{said}")),
        }
    };
    parts.upgrades.iter().filter_map(unfinished).collect::<Vec<_>>().join("; ")
}

fn machine_set_view(set: &Resource, parts: &ClusterParts<'_>) -> MachineSetView {
    let id = set.metadata.id.as_str();
    let in_set = |resource: &&Resource| resource.metadata.label("machine-set") == Some(id);
    let own = pair_requests(parts.requests.iter().filter(in_set), parts.machines).into_iter();
    let own = own.filter(|(request, machine)| request.is_some() || machine.iter().any(in_set));
    let mut machines: Vec<_> = own.map(|(request, machine)| machine_view(request, machine)).collect();
    machines.sort_by(|a, b| a.request.cmp(&b.request).then_with(|| a.uuid.cmp(&b.uuid)));
    let requested = set.number(&["machines", "requested"]);
    let itself = parts.sets.iter().find(|other| other.metadata.id == set.metadata.id);
    let tearing_down = [Some(set), itself].into_iter().flatten().any(|set| set.metadata.tearing_down());
    let phase = if tearing_down { DESTROYING } else { set.number(&["phase"]) };
    MachineSetView {
        id: id.to_owned(),
        control_plane: set.metadata.has_label("role-controlplane"),
        phase: machine_set_phase(phase),
        ready: set.flag(&["ready"]),
        error: match set.text(&["error"]) {
            "" if phase == SET_FAILED => "Omni reports Failed without a reason".to_owned(),
            error => error.to_owned(),
        },
        class: set.text(&["machineallocation", "name"]).to_owned(),
        wanted: match tearing_down {
            true => 0,
            false => requested.max(set.number(&["machineallocation", "machinecount"])),
        },
        healthy: set.number(&["machines", "healthy"]),
        tearing_down,
        since: set.metadata.updated.clone(),
        machines,
    }
}

/// A machine request and its machine; either may be missing.
pub(super) type Pair<'a> = (Option<&'a Resource>, Option<&'a Resource>);

/// Pairs each request with its machine, followed by the machines without a request.
pub(super) fn pair_requests<'a>(
    requests: impl Iterator<Item = &'a Resource>,
    machines: &'a [Resource],
) -> Vec<Pair<'a>> {
    let by = |key: fn(&Resource) -> &str| -> BTreeMap<&str, &Resource> {
        machines.iter().map(|machine| (key(machine), machine)).filter(|(key, _)| !key.is_empty()).collect()
    };
    let by_request = by(|machine| machine.text(&["provisionstatus", "requestid"]));
    let by_uuid = by(|machine| &machine.metadata.id);
    let of = |request: &Resource| {
        let own = by_request.get(request.metadata.id.as_str());
        own.or_else(|| by_uuid.get(request.text(&["machineuuid"]))).copied()
    };
    let mut pairs: Vec<Pair<'a>> = requests.map(|request| (Some(request), of(request))).collect();
    let seen: BTreeSet<&str> =
        pairs.iter().filter_map(|(_, machine)| Some(machine.as_ref()?.metadata.id.as_str())).collect();
    let others = machines.iter().filter(|machine| !seen.contains(machine.metadata.id.as_str()));
    let others: Vec<Pair<'a>> = others.map(|machine| (None, Some(machine))).collect();
    pairs.extend(others);
    pairs
}

/// Builds the view of a machine from its request and its resource; either may be missing.
pub(super) fn machine_view(request: Option<&Resource>, machine: Option<&Resource>) -> MachineView {
    let none = Resource::default();
    let (own, asked) = (machine.unwrap_or(&none), request.unwrap_or(&none));
    let (stage, requested) = (own.number(&["stage"]), asked.number(&["stage"]));
    let leaving =
        MACHINE_LEAVING.contains(&stage) || requested == REQUEST_DEPROVISIONING || own.metadata.tearing_down();
    let ready = stage == MACHINE_RUNNING && !leaving && own.flag(&["ready"]);
    let connected = own.metadata.has_label("connected");
    let stage = match (machine, request) {
        (Some(_), _) => machine_stage(stage),
        (None, Some(_)) => request_stage(requested),
        (None, None) => String::new(),
    };
    let uuid = machine.map_or(asked.text(&["machineuuid"]), |machine| &machine.metadata.id);
    let status = asked.text(&["status"]);
    let failed = if requested == REQUEST_FAILED { status } else { "" };
    let errors = [own.text(&["lastconfigerror"]), asked.text(&["error"]), failed];
    let error = errors.into_iter().find(|error| !error.is_empty()).unwrap_or_default();
    // The format is that of omni v1.9.3 `client/pkg/infra/controllers/provision.go`.
    let step =
        status.strip_prefix("Running Step: \"").and_then(|rest| rest.split_once('"')).map_or("", |(step, _)| step);
    let joining = machine.is_none() && status.contains("join Omni");
    let (party, waits_for) = match machine {
        _ if ready => (Actor::None, String::new()),
        Some(_) if !connected && leaving => {
            (Actor::Machine, "the machine to leave the cluster: Omni has no connection to it".to_owned())
        }
        Some(_) if leaving => (Actor::Omni, "the machine to leave the cluster".to_owned()),
        Some(_) if !connected => (Actor::Machine, "the machine to come back: Omni has no connection to it".to_owned()),
        Some(_) => (Actor::Omni, format!("the machine to be ready ({})", stage.to_lowercase())),
        None if joining => (Actor::Machine, "the machine to join Omni".to_owned()),
        None if status.is_empty() => (Actor::Provider, "the provider to accept the request".to_owned()),
        None => match status.strip_prefix("Waiting for ") {
            Some(what) => (Actor::Provider, what.to_owned()),
            None => (Actor::Provider, format!("the provider ({status})")),
        },
    };
    MachineView {
        request: asked.metadata.id.clone(),
        uuid: uuid.to_owned(),
        provider: asked.text(&["providerid"]).to_owned(),
        stage,
        ready,
        connected,
        leaving,
        party,
        waits_for,
        step: step.to_owned(),
        joining,
        locked: own.metadata.has_annotation("locked"),
        requested: asked.metadata.created.clone(),
        joined: own.metadata.created.clone(),
        since: machine.unwrap_or(asked).metadata.updated.clone(),
        error: error.to_owned(),
        unmet: String::new(),
    }
}

impl MachineView {
    /// Adds the unmet conditions that Talos reports (`MachineStatusSnapshot` in Omni).
    pub fn add_conditions(&mut self, snapshot: &Resource) {
        let unmet = snapshot.at(&["machinestatus", "status", "unmetconditions"]).as_array().into_iter().flatten();
        let reasons: Vec<&str> = unmet.filter_map(|condition| condition["reason"].as_str()).collect();
        if !reasons.is_empty() {
            self.unmet = reasons.join("; ");
            self.waits_for = format!("the machine to be ready: {}", self.unmet);
        }
    }
}

impl ClusterView {
    /// Returns the machines of all machine sets.
    pub fn machines(&self) -> impl Iterator<Item = &MachineView> {
        self.machine_sets.iter().flat_map(|set| &set.machines)
    }

    /// Whether the cluster is running and no machine is still leaving.
    pub fn is_settled(&self) -> bool {
        self.running && !self.machines().any(|machine| machine.leaving)
    }

    /// Describes what the cluster waits for, in one line: all machines that are not ready, grouped by what they wait for.
    pub fn waits_for(&self) -> String {
        let mut words: Vec<String> = self.describe_progress().into_iter().collect();
        words.extend(self.waits());
        if words.len() < 2 {
            words.extend(self.cluster_wait());
        }
        words.join("; ")
    }

    /// Describes what the cluster waits for apart from its machines.
    fn cluster_wait(&self) -> Option<String> {
        if let Some(set) = self.machine_sets.iter().find(|set| set.phase.is_empty()) {
            Some(format!("Omni has not processed the machine set {} yet", set.id))
        } else if !self.upgrade.is_empty() {
            Some(self.upgrade.clone())
        } else if self.tearing_down {
            self.machines().next().is_none().then(|| "its machines are deleted, but Omni still has it".to_owned())
        } else if self.phase == "Running" {
            self.describe_outage()
        } else {
            None
        }
    }

    /// Describes how many of the requested machines are ready and how many still have to be removed. For a cluster that is being
    /// destroyed it returns only the latter, because callers already show that it is being destroyed.
    fn describe_progress(&self) -> Option<String> {
        let wanted: u64 = self.machine_sets.iter().map(|set| set.wanted).sum();
        let surplus = |set: &MachineSetView| (set.machines.len() as u64).saturating_sub(set.wanted);
        let surplus: u64 = self.machine_sets.iter().map(surplus).sum();
        let go = match surplus {
            0 => String::new(),
            1 => "1 machine still to be removed".to_owned(),
            many => format!("{} still to be removed", count(many, "machine")),
        };
        if self.tearing_down {
            return Some(go).filter(|go| !go.is_empty());
        }
        let ready = (self.machines().filter(|machine| machine.ready).count() as u64).min(wanted);
        Some(match (wanted, surplus) {
            (0, 0) => self.phase.clone(),
            (0, _) => format!("{}: {go}", self.phase),
            (_, 0) => format!("{}: {ready} of {} ready", self.phase, count(wanted, "machine")),
            _ => format!("{}: {ready} of {} ready, {go}", self.phase, count(wanted, "machine")),
        })
    }

    /// Describes what the machines that are not ready wait for: `A waits for x`, `B and 3 more wait for y`.
    fn waits(&self) -> Vec<String> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for machine in self.machines().filter(|machine| !machine.ready) {
            match groups.iter_mut().find(|(wait, _)| *wait == machine.waits_for) {
                Some((_, names)) => names.push(machine.name()),
                None => groups.push((&machine.waits_for, vec![machine.name()])),
            }
        }
        let words = |(wait, names): (&str, Vec<&str>)| match names.as_slice() {
            [one] => format!("{one} waits for {wait}"),
            [one, rest @ ..] => format!("{one} and {} more wait for {wait}", rest.len()),
            [] => String::new(),
        };
        groups.into_iter().map(words).collect()
    }

    /// Describes the outage of a cluster whose machines all look healthy.
    fn describe_outage(&self) -> Option<String> {
        if !self.kubernetes_api_ready {
            Some("the Kubernetes API does not respond, although Omni still counts the machines as ready".to_owned())
        } else if self.load_balancer_healthy == Some(false) {
            Some("the load balancer of its Kubernetes API is not healthy".to_owned())
        } else if self.healthy < self.total {
            Some(format!("Omni counts {} of {} as healthy", self.healthy, count(self.total, "machine")))
        } else if !self.control_plane_ready {
            Some("the control plane is not ready".to_owned())
        } else {
            None
        }
    }

    /// Returns the first error that Omni or the provider reports.
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
mod tests;
