//! Omni's part of `lab dump`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::omni::names::*;
use crate::omni::resource::Resource;
use crate::omni::state::State;

/// Returns providers, classes and clusters with their machines; `vms` are Proxmox's, which show where each machine is.
pub fn omni(state: &State, vms: &[Value]) -> Value {
    let providers = state.store.list(INFRA_PROVIDER, INFRA).map(|found| {
        let status = state.store.get(INFRA_PROVIDER_COMBINED, EPHEMERAL, &found.md.id);
        let health = status.map(|status| status.spec["health"].clone()).unwrap_or_default();
        json!({"id": found.md.id, "connected": health["connected"] == true,
            "initialized": health["initialized"] == true, "error": health["error"]})
    });
    let classes = state
        .store
        .list(MACHINE_CLASS, DEFAULT)
        .map(|found| json!({"id": found.md.id, "provider_id": found.spec["autoprovision"]["providerid"]}));
    let vms: Vms = vms.iter().filter_map(|vm| Some((vm["uuid"].as_str()?, vm))).collect();
    let clusters = state.store.list(CLUSTER, DEFAULT).map(|found| cluster(state, found, &vms));
    json!({
        "providers": providers.collect::<Vec<_>>(),
        "machine_classes": classes.collect::<Vec<_>>(),
        "clusters": clusters.collect::<Vec<_>>(),
    })
}

fn phase(names: &[&'static str], value: Option<&Value>) -> &'static str {
    value.and_then(Value::as_u64).and_then(|number| names.get(number as usize)).copied().unwrap_or("UNKNOWN")
}

/// Virtual machines by UUID.
type Vms<'a> = BTreeMap<&'a str, &'a Value>;

fn cluster(state: &State, cluster: &Resource, vms: &Vms<'_>) -> Value {
    let id = cluster.md.id.as_str();
    let status = state.store.by_id(CLUSTER_STATUS, id);
    let names = ["UNKNOWN", "SCALING_UP", "SCALING_DOWN", "RUNNING", "DESTROYING"];
    let sets = state.store.list_labelled(MACHINE_SET, DEFAULT, L_CLUSTER, id);
    json!({
        "name": id,
        "phase": phase(&names, status.map(|status| &status.spec["phase"])),
        "ready": status.is_some_and(|status| status.spec["ready"] == true),
        "machine_sets": sets.map(|set| machine_set(state, set, vms)).collect::<Vec<_>>(),
    })
}

fn machine_set(state: &State, set: &Resource, vms: &Vms<'_>) -> Value {
    let id = set.md.id.as_str();
    let status = state.store.by_id(MACHINE_SET_STATUS, id);
    let names =
        ["Unknown", "ScalingUp", "ScalingDown", "Running", "Destroying", "Failed", "Reconfiguring", "Upgrading"];
    let requests = state.store.list_labelled(MACHINE_REQUEST, INFRA, L_REQUEST_SET, id);
    json!({
        "id": id,
        "role": if set.is_control_plane() { "controlplane" } else { "worker" },
        "class": set.spec["machineallocation"]["name"],
        "size": set.spec["machineallocation"]["machinecount"],
        "phase": phase(&names, status.map(|status| &status.spec["phase"])),
        "machines": requests.map(|request| machine(state, request, vms)).collect::<Vec<_>>(),
    })
}

fn machine(state: &State, request: &Resource, vms: &Vms<'_>) -> Value {
    let id = request.md.id.as_str();
    let status = state.store.get(MACHINE_REQUEST_STATUS, INFRA, id);
    let uuid = status.and_then(|status| status.spec["id"].as_str()).unwrap_or_default();
    let node = state.store.by_id(CLUSTER_MACHINE_STATUS, uuid);
    let stages = "UNKNOWN BOOTING INSTALLING CONFIGURING RUNNING DESTROYING UPGRADING REBOOTING SHUTTING_DOWN BEFORE_DESTROY \
                  POWERING_ON POWERED_OFF";
    let requested = ["UNKNOWN", "PENDING", "PROVISIONING", "PROVISIONED", "DEPROVISIONING", "FAILED"];
    let shown = state.store.by_id(CLUSTER_MACHINE_REQUEST_STATUS, id);
    let stage = match node {
        Some(node) => phase(&stages.split(' ').collect::<Vec<_>>(), Some(&node.spec["stage"])),
        None => phase(&requested, shown.map(|shown| &shown.spec["stage"])),
    };
    let vm = vms.get(uuid).map_or(Value::Null, |vm| (*vm).clone());
    json!({
        "request": id, "uuid": uuid, "stage": stage, "vmid": vm["vmid"], "node": vm["node"], "storage": vm["storage"],
        "connected": state.store.by_id(MACHINE, uuid).is_some_and(|machine| machine.spec["connected"] == true),
    })
}
