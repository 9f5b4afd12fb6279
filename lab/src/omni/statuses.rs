//! The statuses that Omni shows for clusters, sets and nodes (omni v1.9.3 controllers cluster_status.go,
//! internal/machineset/status_handler.go, cluster_machine_status.go).

use serde_json::{Value, json};

use super::machine::Stage;
use super::names::*;
use super::requests;
use super::resource::Resource;
use super::state::State;

const SCALING_UP: u64 = 1;
const SCALING_DOWN: u64 = 2;
const RUNNING: u64 = 3;
const DESTROYING: u64 = 4;
const FAILED: u64 = 5;
const RECONFIGURING: u64 = 6;
const UPGRADING: u64 = 7;

/// Updates the status of a machine set.
pub fn machine_set(state: &mut State, set: &Resource) {
    let id = set.md.id.as_str();
    let running = |typ: &str| -> Vec<String> {
        let all = state.store.list_labelled(typ, DEFAULT, L_MACHINE_SET, id);
        all.filter(|found| !found.tearing_down()).map(|found| found.md.id.clone()).collect()
    };
    let (nodes, machines) = (running(MACHINE_SET_NODE), running(CLUSTER_MACHINE));
    let requested = requests::machine_count(set);
    let (mut healthy, mut connected) = (0, 0);
    for uuid in &machines {
        let status = state.store.by_id(CLUSTER_MACHINE_STATUS, uuid);
        healthy += usize::from(status.is_some_and(|found| found.spec["stage"] == 4 && found.spec["ready"] == true));
        connected += usize::from(status.is_some_and(|found| found.label(L_CONNECTED).is_some()));
    }
    let control_plane = set.is_control_plane();
    let leaving = state.store.ids_labelled(CLUSTER_MACHINE, L_MACHINE_SET, id).len() > machines.len();
    let (phase, error) = match () {
        () if set.tearing_down() => (DESTROYING, ""),
        () if control_plane && nodes.is_empty() && requested == 0 => {
            (FAILED, "control plane machine set must have at least one node")
        }
        () if nodes.len() < requested || machines.len() < nodes.len() => (SCALING_UP, ""),
        () if nodes.len() > requested || leaving => (SCALING_DOWN, ""),
        () => (RUNNING, ""),
    };
    // 1.4.9 has a single phase for both (internal/machineset/status_handler.go).
    let changes = machines.iter().filter_map(|uuid| state.machines.get(uuid)).find(|machine| machine.next.is_some());
    let phase = match changes.filter(|_| phase == RUNNING) {
        Some(machine) if machine.stage != Stage::Updating && !state.release.old() => UPGRADING,
        Some(_) => RECONFIGURING,
        None => phase,
    };
    let ready = phase == RUNNING && healthy == nodes.len() && connected == machines.len();
    let spec = json!({
        "phase": phase, "ready": ready, "error": error, "confighash": config_hash(&machines),
        "machineallocation": set.spec["machineallocation"],
        "machines": {"total": machines.len(), "healthy": healthy, "connected": connected, "requested": requested},
    });
    let mut made = state.make(MACHINE_SET_STATUS, DEFAULT, id, spec).with_owner("MachineSetStatusController");
    made.md.labels = set.md.labels.clone();
    let key = made.key();
    state.store.put(made);
    state.store.add_finalizers(&key, ["ClusterStatusController"]);
    if control_plane && !machines.is_empty() {
        control_plane_status(state, set, healthy > 0);
    }
}

/// Returns the hash of the machines' configurations; without machines, the hash of an empty input.
fn config_hash(machines: &[String]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, machines.concat().as_bytes());
    crate::tls::hex(hash.as_ref())
}

fn control_plane_status(state: &mut State, set: &Resource, up: bool) {
    let status = if up { 1 } else { 2 };
    let severity = if up { 0 } else { 2 };
    let reason = if up { "" } else { "Etcd is not healthy" };
    let spec = json!({"conditions": [
        {"type": 1, "reason": reason, "status": status, "severity": severity},
        {"type": 2, "reason": "", "status": 1, "severity": 0},
    ]});
    let mut made = state.make(CONTROL_PLANE_STATUS, DEFAULT, &set.md.id, spec);
    made.md.labels = set.md.labels.clone();
    state.store.put(made.with_owner("ControlPlaneStatusController"));
}

/// Updates the status of a node.
pub fn cluster_machine(state: &mut State, uuid: &str) {
    let Some(node) = state.store.by_id(CLUSTER_MACHINE, uuid).cloned() else { return };
    let machine = state.machines.get(uuid);
    let stage = match machine.map(|machine| machine.reported_stage) {
        _ if node.tearing_down() => 5,
        Some(Stage::Installing) => 2,
        Some(Stage::Rebooting | Stage::Booting) => 1,
        Some(Stage::Configuring | Stage::Waiting | Stage::Joining | Stage::Maintenance) => 3,
        Some(Stage::Running | Stage::Updating) => 4,
        Some(Stage::Upgrading) => 6,
        Some(Stage::Resetting) => 5,
        // Never connected. PoweredOff is for a machine that announced its shutdown; one that loses power keeps its stage (omni
        // v1.9.3 machine_status_snapshot.go).
        Some(Stage::Off) | None => 0,
    };
    let connected = machine.is_some_and(|machine| machine.connected);
    // Talos is also ready in maintenance mode, which Omni shows as the stage Configuring.
    let ready = machine
        .is_some_and(|machine| matches!(machine.reported_stage, Stage::Running | Stage::Updating | Stage::Maintenance));
    let request = node.label(L_REQUEST).unwrap_or_default().to_owned();
    let provider = state.store.get(MACHINE_REQUEST, INFRA, &request).and_then(|found| found.label(L_PROVIDER));
    let address = state.store.by_id(MACHINE, uuid).map(|found| found.spec["managementaddress"].clone());
    let spec = json!({
        "ready": ready && connected, "stage": stage, "configuptodate": true, "lastconfigerror": machine.map(|machine| &machine.error), "apidavailable": stage == 4,
        "managementaddress": address, "configapplystatus": if stage == 2 { 1 } else { 2 },
        "provisionstatus": {"providerid": provider, "requestid": request},
    });
    let mut made = state.make(CLUSTER_MACHINE_STATUS, DEFAULT, uuid, spec).with_owner("ClusterMachineStatusController");
    for label in [L_CLUSTER, L_MACHINE_SET, L_CONTROL_PLANE, L_WORKER] {
        if let Some(value) = node.label(label) {
            made = made.with_label(label, value);
        }
    }
    made = made.with_label(L_NODE_NAME, &request);
    if connected {
        made = made.with_label(L_CONNECTED, "");
    }
    state.store.put(made);
}

/// Updates the statuses of a cluster, its load balancer and its Kubernetes.
pub fn cluster(state: &mut State, cluster: &Resource) {
    let id = cluster.md.id.as_str();
    let sets: Vec<Resource> = state.store.list_labelled(MACHINE_SET_STATUS, DEFAULT, L_CLUSTER, id).cloned().collect();
    let number = |status: &Resource, field: &str| status.spec["machines"][field].as_u64().unwrap_or(0);
    let counted: Vec<&Resource> = sets
        .iter()
        .filter(|status| number(status, "total") > 0 || ![2, 4].contains(&status.spec["phase"].as_u64().unwrap_or(0)))
        .collect();
    let sum = |field: &str| counted.iter().map(|status| number(status, field)).sum::<u64>();
    let has = |phase: u64| counted.iter().any(|status| status.spec["phase"] == phase);
    let control_plane = counted.iter().find(|status| status.is_control_plane());
    // The load balancer checks the API servers itself, and takes a minute to report that one is gone.
    let nodes = state.store.list_labelled(CLUSTER_MACHINE, DEFAULT, L_CLUSTER, id);
    let serves = |uuid: &str| {
        let up = |stage: Stage, reported_stage: Stage, api_unreachable: bool| match stage {
            Stage::Off => reported_stage == Stage::Running && !api_unreachable,
            stage => matches!(stage, Stage::Running | Stage::Updating),
        };
        let machine = state.machines.get(uuid).filter(|machine| machine.connected);
        machine.is_some_and(|machine| up(machine.stage, machine.reported_stage, machine.api_unreachable))
    };
    let up = nodes.filter(|node| node.is_control_plane()).any(|node| serves(&node.md.id));
    let phase = match () {
        () if cluster.tearing_down() => 4,
        () if !counted.is_empty() && counted.iter().all(|status| status.spec["phase"] == DESTROYING) => 4,
        () if has(SCALING_UP) => 1,
        () if has(SCALING_DOWN) || has(DESTROYING) => 2,
        () if has(RUNNING) || has(RECONFIGURING) || has(UPGRADING) => 3,
        () => 0,
    };
    let all_ready = counted.iter().all(|status| status.spec["ready"] == true);
    let spec = json!({
        "available": control_plane.is_some_and(|status| number(status, "total") > 0),
        "machines": {"total": sum("total"), "healthy": sum("healthy"), "connected": sum("connected"),
            "requested": sum("requested")},
        "phase": phase, "ready": all_ready && phase == 3, "kubernetesapiready": up,
        "controlplaneready": control_plane.is_some_and(|status| status.spec["ready"] == true),
        "hasconnectedcontrolplanes": control_plane.is_some_and(|status| number(status, "connected") > 0),
        "talosversion": cluster.spec["talosversion"], "kubernetesversion": cluster.spec["kubernetesversion"],
    });
    let mut made = state.make(CLUSTER_STATUS, DEFAULT, id, spec).with_owner("ClusterStatusController");
    for (key, value) in cluster.md.labels.iter().filter(|(key, _)| !key.starts_with(SYSTEM_PREFIX)) {
        made.md.labels.insert(key.clone(), value.clone());
    }
    let key = made.key();
    state.store.put(made);
    if !cluster.tearing_down() {
        state.store.add_finalizers(&key, ["DiscoveryServiceConfigPatchController", "ClusterBootstrapStatusController"]);
    }
    if control_plane.is_some_and(|status| number(status, "total") > 0) {
        let made = state.make(LOAD_BALANCER_STATUS, DEFAULT, id, json!({"healthy": up}));
        state.store.put(made.with_owner("LoadBalancerController").with_label(L_CLUSTER, id));
    }
    if up {
        kubernetes(state, id);
    }
}

/// Updates the nodes that Kubernetes lists, with their kubelets (kubernetes_status.go). Unchanged while no API server responds.
fn kubernetes(state: &mut State, cluster: &str) {
    let nodes = state.store.list_labelled(CLUSTER_MACHINE, DEFAULT, L_CLUSTER, cluster);
    let node = |node: &Resource| {
        let machine = state.machines.get(&node.md.id).filter(|machine| !machine.kubernetes.is_empty())?;
        let ready = matches!(machine.stage, Stage::Running);
        let name = node.label(L_REQUEST)?;
        Some(json!({"nodename": name, "kubeletversion": machine.kubernetes, "ready": ready}))
    };
    let mut nodes: Vec<Value> = nodes.filter_map(node).collect();
    nodes.sort_by(|a, b| a["nodename"].as_str().cmp(&b["nodename"].as_str()));
    let made = state.make(KUBERNETES_STATUS, DEFAULT, cluster, json!({ "nodes": nodes }));
    state.store.put(made.with_owner("KubernetesStatusController"));
}
