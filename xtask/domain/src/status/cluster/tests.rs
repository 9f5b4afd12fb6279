//! `tests/corpus/clusters.yaml` contains the resources of clusters in Omni and the expected views.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::status::omni::parse_resources;
use crate::status::testing::recorded;

fn read(name: &str) -> Vec<Resource> {
    parse_resources(&recorded("omnictl", name).stdout).unwrap()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedCluster {
    status: Resource,
    cluster: Resource,
    sets: Vec<Resource>,
    set_statuses: Vec<Resource>,
    requests: Vec<Resource>,
    machines: Vec<Resource>,
    balancer: Option<Resource>,
    /// The upgrade status of Talos.
    upgrade: Option<Resource>,
}

impl RecordedCluster {
    fn shown(&self) -> Value {
        let view = cluster_view(&ClusterParts {
            status: &self.status,
            cluster: Some(&self.cluster),
            sets: &self.sets,
            set_statuses: &self.set_statuses,
            requests: &self.requests,
            machines: &self.machines,
            load_balancer: self.balancer.as_ref(),
            upgrades: &self.upgrade.iter().map(|found| (UpgradeSubject::Talos, found.clone())).collect::<Vec<_>>(),
        });
        let lines = cluster_lines(std::slice::from_ref(&self.cluster), std::slice::from_ref(&self.status));
        json!({ "view": view, "line": lines[0], "waits_for": view.waits_for() })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    change: BTreeMap<String, Value>,
    shows: BTreeMap<String, Value>,
    #[serde(default)]
    says: Vec<String>,
}

#[derive(Deserialize)]
struct Cases {
    healthy: Value,
    cases: Vec<Case>,
}

#[test]
fn cluster_view_matches_cases() {
    let mut cases: serde_yaml::Value =
        serde_yaml::from_str(include_str!("../../../tests/corpus/clusters.yaml")).unwrap();
    cases.apply_merge().unwrap();
    let Cases { healthy, cases } = serde_yaml::from_value(cases).unwrap();
    for case in cases {
        let mut held = healthy.clone();
        for (place, value) in case.change {
            *held.pointer_mut(&place).unwrap_or_else(|| panic!("{}: {place}", case.name)) = value;
        }
        let shown = serde_json::from_value::<RecordedCluster>(held).unwrap().shown();
        for (place, due) in &case.shows {
            assert_eq!(shown.pointer(place), Some(due), "{}: {place} of {shown:#}", case.name);
        }
        let words = shown["waits_for"].as_str().unwrap();
        assert!(case.says.iter().all(|text| words.contains(text)), "{}: {words}", case.name);
    }
}

#[test]
fn load_balancer_is_lost_only_after_it_was_healthy() {
    let shown = |healthy: bool, updated: &str| {
        let metadata = json!({ "id": "c", "created": "2026-12-01T02:52:21Z", "updated": updated });
        let balancer: Resource =
            serde_json::from_value(json!({ "metadata": metadata, "spec": { "healthy": healthy } })).unwrap();
        let status = &read("get-clusterstatus-json")[0];
        let parts = ClusterParts {
            status,
            cluster: None,
            sets: &[],
            set_statuses: &[],
            requests: &[],
            machines: &[],
            load_balancer: Some(&balancer),
            upgrades: &[],
        };
        cluster_view(&parts).load_balancer_lost
    };
    assert_eq!(shown(false, "2026-12-01T02:55:21Z"), "2026-12-01T02:55:21Z");
    assert_eq!(shown(false, "2026-12-01T02:52:21Z"), "", "it was never healthy");
    assert_eq!(shown(true, "2026-12-01T02:55:21Z"), "", "it is healthy again");
}

#[test]
fn scaling_cluster_names_every_wait() {
    let (status, sets) = (read("get-clusterstatus-json"), read("get-machinesetstatuses-json"));
    let requests = read("get-clustermachinerequeststatuses-json");
    let parts = ClusterParts {
        status: &status[0],
        cluster: None,
        sets: &[],
        set_statuses: &sets,
        requests: &requests,
        machines: &[],
        load_balancer: None,
        upgrades: &[],
    };
    let view = cluster_view(&parts);
    assert!(!view.running);
    assert_eq!(view.machine_sets[0].id, "demo-control-planes");
    assert_eq!(view.machine_sets[1].machines.len(), 2);
    let words = view.waits_for();
    assert!(words.starts_with("ScalingUp: 0 of 3 machines ready; demo-control-planes-7v2wjs"), "{words}");
    for name in ["demo-workers-qzj5fc", "demo-workers-s2cqkd"] {
        assert!(words.contains(name) || words.contains(" more wait for"), "{name} is not in: {words}");
    }
}

/// As reported by Omni 1.4.9 for a control plane whose etcd is not healthy.
#[test]
fn machine_waits_for_what_talos_reports() {
    let status =
        json!({ "ready": false, "unmetconditions": [{ "name": "serviceNotReady", "reason": "etcd is not healthy" }] });
    let snapshot = json!({ "metadata": { "id": "a" }, "spec": { "machinestatus": { "status": status } } });
    let mut machine = MachineView::default();
    machine.add_conditions(&serde_json::from_value(snapshot).unwrap());
    assert_eq!(
        [machine.unmet, machine.waits_for],
        ["etcd is not healthy", "the machine to be ready: etcd is not healthy"]
    );
}
