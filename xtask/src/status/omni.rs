//! What omnictl prints of Omni's resources, understood.
//!
//! `get -o json` prints objects one after another, not an array. Keys of `spec` are the Go field names in lower case,
//! enumerations are integers, labels without a value are null, and ids that look like numbers come as numbers
//! (omnictl 1.4.9 and 1.9.3). Unknown fields pass; absent ones read as zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A resource of any type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Resource {
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: Value,
}

/// What all resources have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// `tearingDown` while it is being deleted.
    #[serde(default)]
    pub phase: String,
    /// Who still holds a resource that is being deleted.
    #[serde(default)]
    pub finalizers: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, Value>,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

impl Metadata {
    /// Whether it carries the label `omni.sidero.dev/<name>`, with or without a value.
    pub fn labelled(&self, name: &str) -> bool {
        self.labels.contains_key(&format!("omni.sidero.dev/{name}"))
    }

    /// The value of the label `omni.sidero.dev/<name>`.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(&format!("omni.sidero.dev/{name}"))?.as_str()
    }

    /// All labels.
    pub fn labels(&self) -> &BTreeMap<String, Value> {
        &self.labels
    }

    pub fn tearing_down(&self) -> bool {
        self.phase == "tearingDown"
    }
}

impl Resource {
    /// The value at a path of keys below `spec`.
    pub fn at(&self, path: &[&str]) -> &Value {
        path.iter().fold(&self.spec, |value, key| value.get(key).unwrap_or(&Value::Null))
    }

    pub fn text(&self, path: &[&str]) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    pub fn number(&self, path: &[&str]) -> u64 {
        self.at(path).as_u64().unwrap_or_default()
    }

    pub fn flag(&self, path: &[&str]) -> bool {
        self.at(path).as_bool().unwrap_or_default()
    }
}

/// The resources in what `omnictl get -o json` printed.
///
/// # Errors
/// The reason and the number of the object that is not understood.
pub fn resources(text: &str) -> Result<Vec<Resource>, String> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .enumerate()
        .map(|(number, resource)| resource.map_err(|error| format!("object {} of its output: {error}", number + 1)))
        .collect()
}

/// The version and the API version in `omnictl --version`: `omnictl version v1.9.3 (API Version: 2)`.
pub fn omnictl_version(text: &str) -> Option<(String, u32)> {
    let rest = text.trim().strip_prefix("omnictl version ")?;
    let (version, api) = rest.split_once(" (API Version: ")?;
    Some((version.to_owned(), api.strip_suffix(')')?.parse().ok()?))
}

/// The health of an infrastructure provider, as `infraprovidercombinedstatus` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderHealth {
    /// It registered at least once.
    pub initialized: bool,
    /// Its last heartbeat is less than 31 s old; needs clocks that agree.
    pub connected: bool,
    /// What it says of itself; empty when well.
    pub error: String,
}

impl ProviderHealth {
    pub fn of(resource: &Resource) -> ProviderHealth {
        ProviderHealth {
            initialized: resource.flag(&["health", "initialized"]),
            connected: resource.flag(&["health", "connected"]),
            error: resource.text(&["health", "error"]).to_owned(),
        }
    }

    pub fn well(&self) -> bool {
        self.initialized && self.connected && self.error.is_empty()
    }

    /// In words.
    pub fn words(&self) -> String {
        match (self.initialized, self.connected, self.error.as_str()) {
            (false, _, _) => "it has never registered".to_owned(),
            (true, false, _) => "its last heartbeat is more than 31 s old".to_owned(),
            (true, true, "") => "registered and connected".to_owned(),
            (true, true, error) => format!("it reports: {error}"),
        }
    }
}

/// A word for each value of an enumeration; the number itself for one that is newer than this code.
fn word(words: &[&str], value: u64) -> String {
    words.get(value as usize).map_or_else(|| format!("phase {value}"), |word| (*word).to_owned())
}

/// `ClusterStatus.phase` (omni v1.9.3 `client/api/omni/specs/omni.proto`).
pub fn cluster_phase(value: u64) -> String {
    word(&["Unknown", "ScalingUp", "ScalingDown", "Running", "Destroying"], value)
}

/// `MachineSetStatus.phase`.
pub fn machine_set_phase(value: u64) -> String {
    let words =
        ["Unknown", "ScalingUp", "ScalingDown", "Running", "Destroying", "Failed", "Reconfiguring", "Upgrading"];
    word(&words, value)
}

/// `ClusterMachineStatus.stage`.
pub fn machine_stage(value: u64) -> String {
    let words = [
        "Unknown",
        "Booting",
        "Installing",
        "Configuring",
        "Running",
        "Destroying",
        "Upgrading",
        "Rebooting",
        "ShuttingDown",
        "BeforeDestroy",
        "PoweringOn",
        "PoweredOff",
    ];
    word(&words, value)
}

/// `ClusterMachineRequestStatus.stage`.
pub fn request_stage(value: u64) -> String {
    word(&["Unknown", "Pending", "Provisioning", "Provisioned", "Deprovisioning", "Failed"], value)
}

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

/// What a sync would do or did to one resource.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SyncAction {
    /// `create`, `update` or `destroy`.
    pub verb: &'static str,
    /// `Clusters`, `MachineSets`, `ConfigPatches`, …
    pub kind: String,
    pub id: String,
    /// The machine count before and after, where it changes.
    pub machines: Option<(u64, u64)>,
}

impl SyncAction {
    /// Whether machines or more go with it.
    pub fn destroys(&self) -> bool {
        match self.verb {
            "destroy" => matches!(self.kind.as_str(), "Clusters" | "MachineSets" | "MachineSetNodes"),
            _ => self.machines.is_some_and(|(before, after)| after < before),
        }
    }

    /// In words: `destroy machine set demo-workers with its machines`.
    pub fn words(&self) -> String {
        let what = match self.kind.as_str() {
            "Clusters" => "cluster".to_owned(),
            "MachineSets" => "machine set".to_owned(),
            "ConfigPatches" => "config patch".to_owned(),
            kind => kind.to_owned(),
        };
        let more = match (self.verb, self.machines) {
            ("destroy", _) if self.destroys() => " with its machines".to_owned(),
            (_, Some((before, after))) => format!(" from {before} to {after} machines"),
            _ => String::new(),
        };
        format!("{} {what} {}{more}", self.verb, self.id)
    }
}

/// The actions in what `omnictl cluster template sync [--dry-run] [--verbose]` printed (omni v1.9.3
/// `client/pkg/template/operations/sync.go`): lines `* creating (dry run) Clusters.omni.sidero.dev(demo)`, each followed
/// by its diff.
pub fn sync_actions(text: &str) -> Vec<SyncAction> {
    let mut actions: Vec<SyncAction> = Vec::new();
    let mut before = None;
    for line in text.lines() {
        if let Some(action) = line.strip_prefix("* ").and_then(sync_action) {
            actions.push(action);
            before = None;
            continue;
        }
        let count = |sign| {
            let field = line.strip_prefix(sign)?.trim_start().strip_prefix("machinecount:")?;
            field.trim().parse::<u64>().ok()
        };
        before = count('-').or(before);
        if let (Some(before), Some(after), Some(action)) = (before, count('+'), actions.last_mut()) {
            action.machines = (action.verb == "update").then_some((before, after));
        }
    }
    actions
}

fn sync_action(line: &str) -> Option<SyncAction> {
    let verbs = [("creating", "create"), ("updating", "update"), ("tearing down", "destroy")];
    let (rest, verb) = verbs.iter().find_map(|(said, verb)| Some((line.strip_prefix(said)?, *verb)))?;
    let rest = rest.trim_start().trim_start_matches("(dry run)").trim_start();
    let (kind, id) = rest.strip_suffix(')')?.split_once('(')?;
    let kind = kind.split('.').next()?.to_owned();
    Some(SyncAction { verb, kind, id: id.to_owned(), machines: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::testing::recorded;

    fn read(name: &str) -> Vec<Resource> {
        resources(&recorded("omnictl", name).stdout).unwrap()
    }

    #[test]
    fn every_recorded_resource_is_read() {
        for (name, count) in [
            ("get-clusters-json", 1),
            ("get-machinesets-json", 2),
            ("get-machinerequests-json", 3),
            ("get-machines-empty", 0),
            ("get-talosversion-json", 1),
            ("get-infraproviderstatus-json", 1),
        ] {
            assert_eq!(read(name).len(), count, "{name}");
        }
    }

    #[test]
    fn the_shapes_of_1_9_3_are_read() {
        let text = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/omnictl/resource-shapes-v1.9.3.txt"
        ));
        let text = text.unwrap();
        let objects: String = text
            .lines()
            .filter(|line| !line.starts_with("## "))
            // The list of aliases after the shapes.
            .take_while(|line| !line.contains(".omni.sidero.dev default ["))
            .collect::<Vec<_>>()
            .join("\n");
        let found = resources(&objects).unwrap();
        assert!(found.len() > 10, "{}", found.len());
    }

    #[test]
    fn provider_health_is_read() {
        let health = ProviderHealth::of(&read("get-infraprovidercombinedstatus-json")[0]);
        assert!(health.well());
        assert_eq!(health.words(), "registered and connected");
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

    #[test]
    fn versions_are_read() {
        let text = recorded("omnictl", "version").stdout;
        assert_eq!(omnictl_version(&text), Some(("v1.4.9".to_owned(), 2)));
        assert_eq!(omnictl_version("<html>"), None);
    }

    #[test]
    fn numeric_ids_and_damage() {
        let found = resources("{\"metadata\":{\"id\":12}}{\"metadata\":{\"id\":\"a\"}}").unwrap();
        assert_eq!(found[0].metadata.id, "12");
        assert!(resources("{\"metadata\":{\"id\":1}} x").unwrap_err().contains("object 2"));
    }

    #[test]
    fn what_a_sync_does_is_read() {
        let done = sync_actions(&recorded("omnictl", "template-sync-unlimited").stdout);
        let words: Vec<String> = done.iter().map(SyncAction::words).collect();
        let expected =
            ["create cluster demo2", "create machine set demo2-control-planes", "create machine set demo2-workers"];
        assert_eq!(words, expected);
        let gone = sync_actions(&recorded("omnictl", "cluster-delete-dry").stdout);
        assert!(gone[0].destroys());
        assert_eq!(gone[0].words(), "destroy cluster demo with its machines");
        let scaled = "* updating (dry run) MachineSets.omni.sidero.dev(demo-workers)\n--- a\n+++ b\n-        machinecount: 3\n+        machinecount: 1\n";
        let scaled = sync_actions(scaled);
        assert!(scaled[0].destroys());
        assert_eq!(scaled[0].words(), "update machine set demo-workers from 3 to 1 machines");
        assert_eq!(sync_actions(""), []);
    }
}
