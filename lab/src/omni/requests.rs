//! Machine requests: how many a set has, which are removed first, and what Omni shows for each (omni v1.9.3 controllers
//! machine_provision.go, machine_request_set_status.go, cluster_machine_request_status.go).

use serde_json::{Value, json};

use super::machines;
use super::names::*;
use super::resource::{Key, Resource};
use super::state::State;

/// The finalizer that Omni itself adds to a request.
const OWN_FINALIZER: &str = "ClusterMachineRequestStatusController";

/// Returns how many machines a set should have.
pub fn machine_count(set: &Resource) -> usize {
    if set.tearing_down() {
        return 0;
    }
    set.spec["machineallocation"]["machinecount"].as_u64().map_or(0, |count| count as usize)
}

/// Creates or updates the request set of a machine set that is provisioned automatically.
pub fn put_request_set(state: &mut State, cluster: &Resource, set: &Resource) {
    let id = set.md.id.as_str();
    let class = set.spec["machineallocation"]["name"].as_str().unwrap_or_default();
    let provision = state.store.by_id(MACHINE_CLASS, class).map(|class| class.spec["autoprovision"].clone());
    let Some(provision @ Value::Object(_)) = provision else { return };
    // A machine that is still in the cluster keeps its request until it has left.
    let in_cluster = state.store.ids_labelled(CLUSTER_MACHINE, L_MACHINE_SET, id).len();
    let mut spec = provision;
    if let Some(map) = spec.as_object_mut() {
        map.insert("machinecount".to_owned(), machine_count(set).max(in_cluster).into());
        map.insert("talosversion".to_owned(), cluster.spec["talosversion"].clone());
    }
    let made = state.make(MACHINE_REQUEST_SET, DEFAULT, id, spec).with_owner("MachineProvisionController");
    let key = made.key();
    state.store.put(made);
    state.store.add_finalizers(&key, ["MachineRequestSetStatusController"]);
}

fn requests_of_set(state: &State, set: &str) -> Vec<Resource> {
    state.store.list_labelled(MACHINE_REQUEST, INFRA, L_REQUEST_SET, set).cloned().collect()
}

/// Returns the requests of a set that are not torn down, in order of creation, each with the machine that the provider named.
pub fn machines_of(state: &State, set: &str) -> Vec<(String, String)> {
    let mut requests = requests_of_set(state, set);
    requests.retain(|request| !request.tearing_down());
    requests.sort_by_key(|request| request.md.sequence);
    let named = requests
        .into_iter()
        .filter_map(|request| Some((request.md.id.clone(), machine_of_request(state, &request.md.id)?)));
    named.collect()
}

/// Returns the machine of a request, once the provider has named it.
fn machine_of_request(state: &State, request: &str) -> Option<String> {
    let status = state.store.get(MACHINE_REQUEST_STATUS, INFRA, request)?;
    status.spec["id"].as_str().filter(|uuid| !uuid.is_empty()).map(str::to_owned)
}

/// Creates missing requests, tears down surplus ones, and shows the state of each.
pub fn reconcile_requests(state: &mut State, set: &Resource) {
    let id = set.md.id.as_str();
    let request_set = state.store.by_id(MACHINE_REQUEST_SET, id).filter(|found| !found.tearing_down()).cloned();
    if let Some(request_set) = request_set {
        let count = request_set.spec["machinecount"].as_u64().unwrap_or(0) as usize;
        let mut running = requests_of_set(state, id);
        running.retain(|request| !request.tearing_down());
        for _ in running.len()..count {
            create(state, &request_set);
        }
        if running.len() > count {
            let surplus = running.len() - count;
            running.sort_by_key(|request| {
                let node = machine_of_request(state, &request.md.id)
                    .and_then(|uuid| state.store.by_id(CLUSTER_MACHINE, &uuid));
                let control_plane = node.is_some_and(|node| node.is_control_plane());
                (node.is_some(), control_plane, request.md.sequence)
            });
            for request in &running[..surplus] {
                let _ = state.store.tear_down(&request.key());
            }
        }
    }
    for request in requests_of_set(state, id) {
        update_request_status(state, set, &request);
    }
}

fn create(state: &mut State, request_set: &Resource) {
    let mut spec = request_set.spec.clone();
    if let Some(map) = spec.as_object_mut() {
        map.remove("machinecount");
        map.remove("providerid");
    }
    let provider = request_set.text("providerid");
    // Six of 27 characters: a collision is as rare as in the real Omni, and a hundred attempts cover it.
    for _ in 0..100 {
        let id = format!("{}-{}", request_set.md.id, state.random_suffix());
        let mut request = state.make(MACHINE_REQUEST, INFRA, &id, spec.clone());
        request = request.with_label(L_PROVIDER, provider).with_label(L_REQUEST_SET, &request_set.md.id);
        if state.release.old() {
            request = request.with_owner("MachineRequestSetStatusController");
        }
        let key = request.key();
        if state.store.create(request).is_ok() {
            state.store.add_finalizers(&key, [OWN_FINALIZER]);
            return;
        }
    }
}

/// Updates the cluster's view of a request, or removes the request once its provider has released it.
fn update_request_status(state: &mut State, set: &Resource, request: &Resource) {
    let id = request.md.id.as_str();
    if request.tearing_down() {
        let provider_holds = request.md.finalizers.iter().any(|name| name != OWN_FINALIZER);
        if !provider_holds {
            if let Some(uuid) = machine_of_request(state, id) {
                machines::remove_machine(state, &uuid);
            }
            state.store.remove(&Key::new(CLUSTER_MACHINE_REQUEST_STATUS, DEFAULT, id));
            state.store.remove(&Key::new(MACHINE_REQUEST_STATUS, INFRA, id));
            state.store.remove(&request.key());
            return;
        }
    }
    let status = state.store.get(MACHINE_REQUEST_STATUS, INFRA, id).map(|found| found.spec.clone());
    let text = |field: &str| status.as_ref().and_then(|spec| spec[field].as_str()).unwrap_or_default().to_owned();
    let stage = status.as_ref().map(|spec| spec["stage"].as_u64().unwrap_or(0));
    let (stage, shown) = match stage {
        _ if request.tearing_down() => (4, "Waiting for the infra provider to finish teardown".to_owned()),
        None => (1, "Waiting for the infra provider to start provision".to_owned()),
        Some(0) => (1, text("status")),
        Some(1) => (2, text("status")),
        Some(2) => (3, "Waiting for the machine to join Omni".to_owned()),
        Some(_) => (5, format!("Provision Failed: {}", text("error"))),
    };
    let provider = request.label(L_PROVIDER).unwrap_or_default();
    let spec = json!({"stage": stage, "status": shown, "machineuuid": text("id"), "providerid": provider,
        "error": text("error")});
    let role = set.role();
    let mut made = state
        .make(CLUSTER_MACHINE_REQUEST_STATUS, DEFAULT, id, spec)
        .with_owner("ClusterMachineRequestStatusController")
        .with_label(L_CLUSTER, set.label(L_CLUSTER).unwrap_or_default())
        .with_label(L_MACHINE_SET, &set.md.id)
        .with_label(role, "");
    let uuid = text("id");
    if !uuid.is_empty() && state.store.by_id(CLUSTER_MACHINE_STATUS, &uuid).is_some() {
        made = made.with_label(L_REQUEST_IN_USE, "");
    }
    state.store.put(made);
}

/// Called when the provider starts to delete a machine: removes its link and its status.
pub fn release(state: &mut State, request: &str) {
    if let Some(uuid) = machine_of_request(state, request) {
        machines::remove_machine(state, &uuid);
    }
    state.remove(&Key::new(MACHINE_REQUEST_STATUS, INFRA, request));
}

/// Tears down every request of a set, and removes the set once they are gone.
pub fn tear_down_set(state: &mut State, set: &str) {
    let key = Key::new(MACHINE_REQUEST_SET, DEFAULT, set);
    if state.store.tear_down(&key).is_err() {
        return;
    }
    for request in requests_of_set(state, set) {
        let provider = request.label(L_PROVIDER).unwrap_or_default();
        let kept = state.store.get(INFRA_PROVIDER, INFRA, provider).is_some_and(|found| !found.tearing_down());
        let _ = state.store.tear_down(&request.key());
        if !kept {
            // A provider that was deleted never releases them: its finalizers are removed, and its machines stay.
            state.store.remove_finalizers(&request.key(), |name| name != OWN_FINALIZER);
        }
    }
    if requests_of_set(state, set).is_empty() {
        state.store.remove(&key);
    }
}
