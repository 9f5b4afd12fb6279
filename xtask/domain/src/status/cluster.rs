//! Clusters as Omni reports them: the list, and one with its machine sets, machines, and what each waits for.
//!
//! `ready` of a cluster is not health: after all its machines were killed, Omni 1.4.9 kept everything true for 56 s, then
//! `kubernetesapiready` and its load balancer were false, and only after 266 s `ready` and the machines. So
//! [`ClusterView::running`] takes everything together that Omni counts. For a worker that died alone Omni says nothing at all
//! in those minutes: only Proxmox knows whether its VM runs.

use crate::words::count;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use super::omni::{Resource, cluster_phase, machine_set_phase, machine_stage, request_stage};

const RUNNING: u64 = 3;
const REQUEST_FAILED: u64 = 5;
const REQUEST_DEPROVISIONING: u64 = 4;
const SET_FAILED: u64 = 5;
const DESTROYING: u64 = 4;
/// `ClusterMachineStatus.stage`: the one that Omni counts as healthy, and those of a machine that leaves its cluster.
const MACHINE_RUNNING: u64 = 4;
const MACHINE_LEAVING: &[u64] = &[5, 9];

/// A cluster in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterLine {
    pub name: String,
    pub phase: String,
    /// Omni's own flag; not health by itself.
    pub ready: bool,
    /// Running and ready, with all machines healthy and a Kubernetes API that answers.
    pub running: bool,
    pub kubernetes_api_ready: bool,
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
    let none = Resource::default();
    let line = |cluster: &Resource| {
        let status = by_id.get(cluster.metadata.id.as_str()).copied().unwrap_or(&none);
        let tearing_down = tearing_down(status, Some(cluster));
        let (healthy, total) = counts(status);
        ClusterLine {
            name: cluster.metadata.id.clone(),
            phase: shown_phase(status, tearing_down),
            ready: status.flag(&["ready"]),
            running: !tearing_down && healthy_by_omni(status),
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

/// The phase of the cluster itself decides, and Omni's word for it: its status keeps the phase `running` meanwhile.
fn tearing_down(status: &Resource, cluster: Option<&Resource>) -> bool {
    cluster.is_some_and(|cluster| cluster.metadata.tearing_down())
        || status.metadata.tearing_down()
        || status.number(&["phase"]) == DESTROYING
}

fn shown_phase(status: &Resource, tearing_down: bool) -> String {
    cluster_phase(if tearing_down { DESTROYING } else { status.number(&["phase"]) })
}

/// Healthy machines, and how many there are or should be.
fn counts(status: &Resource) -> (u64, u64) {
    let number = |key: &str| status.number(&["machines", key]);
    (number("healthy"), number("total").max(number("requested")))
}

/// The health in a `ClusterStatus`. `controlplaneready` is ignored: Omni checks it only every few minutes (omni v1.9.3
/// `control_plane_status.go`), so it lags behind in both directions.
fn healthy_by_omni(status: &Resource) -> bool {
    let (healthy, total) = counts(status);
    status.number(&["phase"]) == RUNNING
        && status.flag(&["ready"])
        && status.flag(&["kubernetesapiready"])
        && healthy >= total
}

/// One cluster with everything that it consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClusterView {
    pub name: String,
    pub phase: String,
    /// Omni's own flag; not health by itself.
    pub ready: bool,
    /// Running and ready, as is each machine set; every machine is healthy, the Kubernetes API answers through a healthy load
    /// balancer, and nothing is being upgraded or torn down.
    pub running: bool,
    pub kubernetes_api_ready: bool,
    /// `None` when Omni has no load balancer for it yet.
    pub load_balancer_healthy: Option<bool>,
    pub control_plane_ready: bool,
    /// Machines that Omni counts as healthy, of all that there are or should be.
    pub healthy: u64,
    pub total: u64,
    pub tearing_down: bool,
    /// Omni accepts no change of it (`omnictl cluster lock`).
    pub locked: bool,
    /// Who still holds a cluster that is being destroyed, and since when nobody has let go, as RFC 3339.
    #[serde(skip)]
    pub held_by: Vec<String>,
    #[serde(skip)]
    pub since: String,
    /// A description of what an upgrade of Talos or Kubernetes still has to do; empty without an upgrade.
    pub upgrade: String,
    pub machine_sets: Vec<MachineSetView>,
}

/// A machine set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MachineSetView {
    pub id: String,
    pub control_plane: bool,
    /// Empty when Omni has not looked at it yet.
    pub phase: String,
    pub ready: bool,
    pub error: String,
    pub class: String,
    pub wanted: u64,
    /// Machines that Omni counts as healthy.
    pub healthy: u64,
    pub tearing_down: bool,
    pub machines: Vec<MachineView>,
}

/// A machine, or the request for one that does not exist yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MachineView {
    /// The id of its machine request; empty for a machine without one.
    pub request: String,
    /// Its UUID, once it has one.
    pub uuid: String,
    /// The infrastructure provider that it is requested from; empty when none is known.
    pub provider: String,
    pub stage: String,
    /// As Omni counts it: ready, in the stage Running (omni v1.9.3 `machineset/status_handler.go`).
    pub ready: bool,
    pub connected: bool,
    /// It leaves the cluster, or its request is being torn down.
    pub leaving: bool,
    /// Whose turn it is, as long as it is not ready.
    pub party: Actor,
    /// A description of what it waits for; empty if it is ready.
    pub waits_for: String,
    /// The provider's step that runs for its request; empty when none does.
    #[serde(skip)]
    pub step: String,
    /// Its VM was started, and Omni has not heard of it yet.
    #[serde(skip)]
    pub joining: bool,
    /// It is neither configured nor upgraded (`omnictl cluster machine lock`; omni v1.9.3 `cluster_machine_status.go` copies the lock).
    #[serde(skip)]
    pub locked: bool,
    /// When it was asked for, and when it became a machine of its cluster, as RFC 3339; empty where that is not known.
    #[serde(skip)]
    pub requested: String,
    #[serde(skip)]
    pub joined: String,
    /// Since when, as RFC 3339: when Omni last wrote its state. Empty where it has none yet.
    pub since: String,
    /// The error that Omni or the provider reports.
    pub error: String,
    /// Why Talos does not call it ready, where it was asked.
    #[serde(skip)]
    pub unmet: String,
}

/// Who has to act before a machine is ready or gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Nothing is waited for.
    #[default]
    #[serde(rename = "")]
    None,
    /// The infrastructure provider: it creates or deletes the VM.
    Provider,
    /// The machine: it boots, joins, or comes back.
    Machine,
    /// Omni: it configures the machine or lets it go.
    Omni,
}

impl MachineView {
    /// Its name for people: the request's id is the VM's name too.
    pub fn name(&self) -> &str {
        if self.request.is_empty() { &self.uuid } else { &self.request }
    }

    /// Ready, or on its way out: Omni does not count a machine that leaves.
    fn settled(&self) -> bool {
        self.ready || self.leaving
    }
}

/// The resources for a [`ClusterView`]; all but the first may be empty.
pub struct ClusterParts<'a> {
    pub status: &'a Resource,
    /// The cluster itself: the versions that are wanted.
    pub cluster: Option<&'a Resource>,
    pub sets: &'a [Resource],
    pub set_statuses: &'a [Resource],
    pub requests: &'a [Resource],
    pub machines: &'a [Resource],
    pub load_balancer: Option<&'a Resource>,
    /// The states of its upgrades, each with what is upgraded.
    pub upgrades: &'a [(UpgradeSubject, Resource)],
}

/// The component that Omni upgrades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeSubject {
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
    // Omni has taken the set, and its controllers have not looked at it yet; or it is torn down, and its status is gone.
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
        // Omni takes the workers first, and shows the control planes as Running until their turn comes.
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
    let machines_ready = machine_sets.iter().flat_map(|set| &set.machines).all(MachineView::settled);
    let (healthy, total) = counts(status);
    ClusterView {
        name: status.metadata.id.clone(),
        phase: shown_phase(status, tearing_down),
        ready: status.flag(&["ready"]),
        running: healthy_by_omni(status)
            && sets_running
            && machines_ready
            && load_balancer_healthy != Some(false)
            && upgrade.is_empty()
            && !tearing_down,
        kubernetes_api_ready: status.flag(&["kubernetesapiready"]),
        load_balancer_healthy,
        control_plane_ready: status.flag(&["controlplaneready"]),
        healthy,
        total,
        tearing_down,
        locked: parts.cluster.is_some_and(|cluster| cluster.metadata.annotated("cluster-locked")),
        held_by: parts.cluster.filter(|_| tearing_down).map_or(Vec::new(), |held| held.metadata.finalizers.clone()),
        since: parts.cluster.map_or(String::new(), |cluster| cluster.metadata.updated.clone()),
        upgrade,
        machine_sets,
    }
}

/// What an upgrade still has to do. A cluster stays Running while its machines are upgraded one by one, and for a moment
/// before that: until then the version that was reached is not the one that is wanted.
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
            // Of a new cluster Omni reports an upgrade too, from no version (omni v1.9.3 `kubernetes_upgrade_status.go`).
            _ if reached.is_empty() => Some(format!("{name} {wanted} is being installed{said}")),
            _ => Some(format!("the upgrade of {name} to {wanted} runs{said}")),
        }
    };
    parts.upgrades.iter().filter_map(unfinished).collect::<Vec<_>>().join("; ")
}

fn machine_set_view(set: &Resource, parts: &ClusterParts<'_>) -> MachineSetView {
    let id = set.metadata.id.as_str();
    let in_set = |resource: &&Resource| resource.metadata.label("machine-set") == Some(id);
    let own = pairs(parts.requests.iter().filter(in_set), parts.machines).into_iter();
    let own = own.filter(|(request, machine)| request.is_some() || machine.iter().any(in_set));
    let mut machines: Vec<_> = own.map(|(request, machine)| machine_view(request, machine)).collect();
    machines.sort_by(|a, b| a.request.cmp(&b.request).then_with(|| a.uuid.cmp(&b.uuid)));
    let requested = set.number(&["machines", "requested"]);
    let itself = parts.sets.iter().find(|other| other.metadata.id == set.metadata.id);
    let tearing_down = [Some(set), itself].into_iter().flatten().any(|set| set.metadata.tearing_down());
    let phase = if tearing_down { DESTROYING } else { set.number(&["phase"]) };
    MachineSetView {
        id: id.to_owned(),
        control_plane: set.metadata.labelled("role-controlplane"),
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
        machines,
    }
}

/// A machine request and its machine, as far as there are both.
pub(super) type Pair<'a> = (Option<&'a Resource>, Option<&'a Resource>);

/// Each request with its machine, then the machines without a request.
pub(super) fn pairs<'a>(requests: impl Iterator<Item = &'a Resource>, machines: &'a [Resource]) -> Vec<Pair<'a>> {
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

/// A machine with its request, as far as there are both.
pub(super) fn machine_view(request: Option<&Resource>, machine: Option<&Resource>) -> MachineView {
    let none = Resource::default();
    let (own, asked) = (machine.unwrap_or(&none), request.unwrap_or(&none));
    let (stage, requested) = (own.number(&["stage"]), asked.number(&["stage"]));
    let leaving =
        MACHINE_LEAVING.contains(&stage) || requested == REQUEST_DEPROVISIONING || own.metadata.tearing_down();
    let ready = stage == MACHINE_RUNNING && !leaving && own.flag(&["ready"]);
    let connected = own.metadata.labelled("connected");
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
    // omni v1.9.3 `client/pkg/infra/controllers/provision.go`.
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
        locked: own.metadata.annotated("locked"),
        requested: asked.metadata.created.clone(),
        joined: own.metadata.created.clone(),
        since: machine.unwrap_or(asked).metadata.updated.clone(),
        error: error.to_owned(),
        unmet: String::new(),
    }
}

impl MachineView {
    /// Adds what Talos reports as not in order (its `MachineStatusSnapshot` in Omni).
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
    /// All machines of all sets.
    pub fn machines(&self) -> impl Iterator<Item = &MachineView> {
        self.machine_sets.iter().flat_map(|set| &set.machines)
    }

    /// Whether Omni calls it running and each machine that has to go is gone.
    pub fn settled(&self) -> bool {
        self.running && !self.machines().any(|machine| machine.leaving)
    }

    /// What the cluster waits for, in one line: every machine that is not ready, those with the same wait together.
    pub fn waits_for(&self) -> String {
        let mut words: Vec<String> = self.progress().into_iter().collect();
        words.extend(self.waits());
        if words.len() < 2 {
            words.extend(self.beyond_machines());
        }
        words.join("; ")
    }

    /// What it waits for when it is none of its machines.
    fn beyond_machines(&self) -> Option<String> {
        if let Some(set) = self.machine_sets.iter().find(|set| set.phase.is_empty()) {
            Some(format!("Omni has not looked at the machine set {} yet", set.id))
        } else if !self.upgrade.is_empty() {
            Some(self.upgrade.clone())
        } else if self.tearing_down {
            self.machines().next().is_none().then(|| "its machines are deleted, and Omni still has it".to_owned())
        } else if self.phase == "Running" {
            self.outage()
        } else {
            None
        }
    }

    /// How many machines are ready of those that are wanted, and how many still have to go. Of a cluster that is destroyed only
    /// the latter: whoever shows it says that it is destroyed.
    fn progress(&self) -> Option<String> {
        let wanted: u64 = self.machine_sets.iter().map(|set| set.wanted).sum();
        let surplus = |set: &MachineSetView| (set.machines.len() as u64).saturating_sub(set.wanted);
        let surplus: u64 = self.machine_sets.iter().map(surplus).sum();
        let go = match surplus {
            0 => String::new(),
            1 => "1 machine still has to go".to_owned(),
            many => format!("{} still have to go", count(many, "machine")),
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

    /// What the machines wait for that are not ready: `A waits for x`, `B and 3 more wait for y`.
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

    /// What is wrong with a cluster whose machines all look well.
    fn outage(&self) -> Option<String> {
        if !self.kubernetes_api_ready {
            Some("the Kubernetes API does not answer, although Omni still counts the machines as ready".to_owned())
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
mod tests;
