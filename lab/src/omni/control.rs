//! Omni's controllers as one function of the state, which is called for a cluster until nothing changes.
//!
//! The rules are those of siderolabs/omni v1.9.3 internal/backend/runtime/omni/controllers/omni; where many controllers
//! race in the real Omni, a fixed order is used here.

use serde_json::{Value, json};

use super::machine::Stage;
use super::machines;
use super::names::*;
use super::resource::{Key, Resource};
use super::state::State;
use super::{requests, statuses, upgrades};

const CLUSTER_FINALIZERS: &str = "KubernetesUpgradeStatusController ClusterUUIDController SecretsController ClusterStatusController \
     ClusterController ClusterConfigVersionController BackupDataController ClusterDestroyStatusController \
     ClusterEndpointController TalosUpgradeStatusController ClusterWorkloadProxyStatusController";
const CONTROL_PLANE_FINALIZERS: &str = "MachineSetStatusController MachineSetEtcdAuditController ControlPlaneStatusController \
     ClusterBootstrapStatusController MachineSetNodeController MachineProvisionController \
     MachineSetDestroyStatusController MachineSetController";
const WORKER_FINALIZERS: &str = "MachineProvisionController ControlPlaneStatusController MachineSetNodeController \
     MachineSetDestroyStatusController MachineSetController MachineSetStatusController";

/// Runs every controller once for a cluster.
pub fn reconcile(state: &mut State, cluster: &str) {
    let key = Key::new(CLUSTER, DEFAULT, cluster);
    let Some(found) = state.store.by_id(CLUSTER, cluster).cloned() else { return };
    if found.tearing_down() {
        tear_down_sets(state, cluster);
    } else {
        state.store.add_finalizers(&key, CLUSTER_FINALIZERS.split(' '));
    }
    for id in state.store.ids_labelled(MACHINE_SET, L_CLUSTER, cluster) {
        if let Some(set) = state.store.by_id(MACHINE_SET, &id).cloned() {
            machine_set(state, &found, &set);
        }
    }
    if found.tearing_down() && state.store.ids_labelled(MACHINE_SET, L_CLUSTER, cluster).is_empty() {
        remove_cluster(state, cluster);
        return;
    }
    start_nodes(state, cluster);
    if !found.tearing_down() {
        upgrades::reconcile(state, &found);
    }
    statuses::cluster(state, &found);
}

/// Tears down the workers first; control planes wait until the last worker set is gone.
fn tear_down_sets(state: &mut State, cluster: &str) {
    let sets = state.store.ids_labelled(MACHINE_SET, L_CLUSTER, cluster);
    let is_control_plane =
        |state: &State, id: &str| state.store.by_id(MACHINE_SET, id).is_some_and(Resource::is_control_plane);
    let workers = sets.iter().any(|id| !is_control_plane(state, id));
    for id in sets {
        if !workers || !is_control_plane(state, &id) {
            // The set exists: the IDs were just listed.
            let _ = state.store.tear_down(&Key::new(MACHINE_SET, DEFAULT, &id));
        }
    }
}

fn machine_set(state: &mut State, cluster: &Resource, set: &Resource) {
    let id = set.md.id.as_str();
    let key = set.key();
    if !set.tearing_down() {
        let control_plane = set.is_control_plane();
        let names = if control_plane { CONTROL_PLANE_FINALIZERS } else { WORKER_FINALIZERS };
        state.store.add_finalizers(&key, names.split(' '));
        requests::put_request_set(state, cluster, set);
    }
    choose_nodes(state, set);
    release_nodes(state, set);
    requests::reconcile_requests(state, set);
    let emptied = set.tearing_down() && state.store.ids_labelled(MACHINE_SET_NODE, L_MACHINE_SET, id).is_empty();
    if emptied {
        requests::tear_down_set(state, id);
    }
    if !emptied || state.store.by_id(MACHINE_REQUEST_SET, id).is_some() {
        statuses::machine_set(state, set);
        return;
    }
    state.store.remove_each(&[MACHINE_SET_STATUS, CONTROL_PLANE_STATUS], id);
    state.store.remove_finalizers(&key, |_| true);
    // Omni itself destroys what has no finalizers left (omni v1.4.9 to v1.9.3 `internal/backend/runtime/omni/omni.go`).
    state.store.remove(&key);
}

/// Adds machines from the set's own requests to the set, and tears down the oldest if there are too many.
fn choose_nodes(state: &mut State, set: &Resource) {
    let id = set.md.id.as_str();
    // The node of a machine whose request is torn down is torn down too (machine_set_node.go `destroyOrphaned`).
    for node in nodes_of_set(state, id) {
        let machine = state.store.by_id(MACHINE, &node.md.id).and_then(|machine| machine.label(L_REQUEST));
        let request = machine.and_then(|request| state.store.get(MACHINE_REQUEST, INFRA, request));
        if request.is_some_and(Resource::tearing_down) {
            let _ = state.store.tear_down(&node.key());
        }
    }
    let nodes: Vec<Resource> = nodes_of_set(state, id);
    let running: Vec<&Resource> = nodes.iter().filter(|node| !node.tearing_down()).collect();
    let wanted = requests::machine_count(set);
    if running.len() > wanted {
        let mut by_age = running.clone();
        by_age.sort_by_key(|node| node.md.sequence);
        for node in &by_age[..running.len() - wanted] {
            let _ = state.store.tear_down(&node.key());
        }
        return;
    }
    let mut free = wanted - running.len();
    for (request, uuid) in requests::machines_of(state, id) {
        let taken = nodes.iter().any(|node| node.md.id == uuid);
        let joined = state.store.by_id(MACHINE, &uuid).is_some_and(|machine| !machine.tearing_down());
        if free == 0 || taken || !joined {
            continue;
        }
        let cluster = set.label(L_CLUSTER).unwrap_or_default().to_owned();
        let role = set.role();
        let spec = json!({});
        let base = |typ: &str, owner: &str, state: &State| {
            let made = state.make(typ, DEFAULT, &uuid, spec.clone()).with_owner(owner);
            made.with_label(L_CLUSTER, &cluster).with_label(L_MACHINE_SET, id).with_label(role, "")
        };
        let node = base(MACHINE_SET_NODE, "MachineSetNodeController", state).with_label(L_MANAGED_NODE, "");
        let mut machine = base(CLUSTER_MACHINE, "MachineSetStatusController", state).with_label(L_REQUEST, &request);
        let version = state.store.by_id(CLUSTER, &cluster).map(|found| found.spec["kubernetesversion"].clone());
        machine.spec["kubernetes_version"] = version.unwrap_or(Value::Null);
        state.store.put(node);
        state.store.put(machine);
        machines::configure(state, &uuid);
        machines::publish(state, &uuid);
        free -= 1;
    }
}

fn nodes_of_set(state: &State, set: &str) -> Vec<Resource> {
    state.store.list_labelled(MACHINE_SET_NODE, DEFAULT, L_MACHINE_SET, set).cloned().collect()
}

/// Resets nodes before they are removed. A node that does not respond blocks the teardown, as in the real Omni, until its
/// link is deleted.
fn release_nodes(state: &mut State, set: &Resource) {
    for node in nodes_of_set(state, &set.md.id) {
        let uuid = node.md.id.as_str();
        let known = state.store.by_id(MACHINE, uuid).is_some();
        if (!node.tearing_down() && known) || !may_leave(state, set, uuid) {
            continue;
        }
        let _ = state.store.tear_down(&Key::new(CLUSTER_MACHINE, DEFAULT, uuid));
        machines::reset(state, uuid);
        let wiped = state.machines.get(uuid).is_none_or(|machine| machine.stage == Stage::Maintenance);
        if known && !wiped {
            continue;
        }
        state.store.remove_each(&[CLUSTER_MACHINE_STATUS, CLUSTER_MACHINE, MACHINE_SET_NODE], uuid);
        machines::publish(state, uuid);
    }
}

/// Whether Omni lets a control plane leave: one at a time, only behind a healthy load balancer, and only if etcd keeps its
/// quorum (internal/machineset/control_planes_handler.go, pkg/check/etcd.go `CanScaleDown`).
fn may_leave(state: &State, set: &Resource, uuid: &str) -> bool {
    let leaves = |machine: &Resource| machine.md.id == uuid && machine.tearing_down();
    let machines: Vec<&Resource> =
        state.store.list_labelled(CLUSTER_MACHINE, DEFAULT, L_MACHINE_SET, &set.md.id).collect();
    let begun = machines.iter().any(|machine| leaves(machine));
    if set.tearing_down() || set.label(L_CONTROL_PLANE).is_none() || begun {
        return true;
    }
    let balancer = state.store.by_id(LOAD_BALANCER_STATUS, set.label(L_CLUSTER).unwrap_or_default());
    if machines.iter().any(|machine| machine.tearing_down())
        || balancer.is_none_or(|found| found.spec["healthy"] != true)
    {
        return false;
    }
    // A machine is a member of etcd once it has run.
    let is = |uuid: &str, what: fn(&super::machine::Machine) -> bool| state.machines.get(uuid).is_some_and(what);
    let member = |uuid: &str| is(uuid, |machine| matches!(machine.reported_stage, Stage::Running | Stage::Updating));
    let known = |uuid: &str| state.store.by_id(MACHINE, uuid).is_some();
    let healthy = |uuid: &str| member(uuid) && known(uuid) && is(uuid, |it| it.connected && it.stage != Stage::Off);
    let members = machines.iter().filter(|machine| member(&machine.md.id)).count();
    let well = machines.iter().filter(|machine| healthy(&machine.md.id)).count();
    let left = well - usize::from(healthy(uuid));
    !member(uuid) || (well > members / 2 && left > (members - 1) / 2)
}

/// Starts etcd first: one control plane forms it, then all others join.
fn start_nodes(state: &mut State, cluster: &str) {
    let nodes = state.store.ids_labelled(CLUSTER_MACHINE, L_CLUSTER, cluster);
    let machines = state.store.list_labelled(CLUSTER_MACHINE, DEFAULT, L_CLUSTER, cluster);
    let control_planes = machines.filter(|node| node.is_control_plane());
    let mut control_planes: Vec<(u64, String)> =
        control_planes.map(|node| (node.md.sequence, node.md.id.clone())).collect();
    control_planes.sort();
    let stage = |state: &State, uuid: &str| state.machines.get(uuid).map_or(Stage::Off, |machine| machine.stage);
    let up = control_planes.iter().any(|(_, uuid)| stage(state, uuid) == Stage::Running);
    let status = Key::new(CLUSTER_BOOTSTRAP_STATUS, DEFAULT, cluster);
    if up {
        let made = state.make(CLUSTER_BOOTSTRAP_STATUS, DEFAULT, cluster, json!({"bootstrapped": true}));
        let made = made.with_owner("ClusterBootstrapStatusController").with_label(L_CLUSTER, cluster);
        state.store.put(made);
    }
    let bootstrapped = state.store.by_id(&status.typ, cluster).is_some();
    if bootstrapped {
        for uuid in &nodes {
            machines::join(state, uuid, false);
        }
    } else if !control_planes.iter().any(|(_, uuid)| stage(state, uuid) == Stage::Joining)
        && let Some((_, first)) = control_planes.iter().find(|(_, uuid)| stage(state, uuid) == Stage::Waiting)
    {
        machines::join(state, first, true);
    }
    for uuid in &nodes {
        statuses::cluster_machine(state, uuid);
    }
}

/// Removes what is left of a cluster whose sets are gone.
fn remove_cluster(state: &mut State, cluster: &str) {
    let upgrades = [TALOS_UPGRADE_STATUS, KUBERNETES_UPGRADE_STATUS];
    state.store.remove_each(&upgrades, cluster);
    let statuses = [CLUSTER_STATUS, KUBERNETES_STATUS, LOAD_BALANCER_STATUS, CLUSTER_BOOTSTRAP_STATUS];
    state.store.remove_each(&statuses, cluster);
    for typ in [CONFIG_PATCH, EXTENSIONS_CONFIGURATION, KUBERNETES_MANIFEST_GROUP, KUBERNETES_HEALTH_CHECK] {
        for id in state.store.ids_labelled(typ, L_CLUSTER, cluster) {
            state.store.remove(&Key::new(typ, DEFAULT, &id));
        }
    }
    let key = Key::new(CLUSTER, DEFAULT, cluster);
    state.store.remove_finalizers(&key, |_| true);
    state.store.remove(&key);
}
