use serde_json::json;

use super::*;
use crate::status::omni::resources;
use crate::status::testing::recorded;

fn read(name: &str) -> Vec<Resource> {
    resources(&recorded("omnictl", name).stdout).unwrap()
}

fn resource(value: serde_json::Value) -> Resource {
    resources(&value.to_string()).unwrap().remove(0)
}

/// What Omni holds of a cluster `c` with one set of workers.
struct Held {
    status: Resource,
    cluster: Resource,
    sets: Vec<Resource>,
    set_statuses: Vec<Resource>,
    requests: Vec<Resource>,
    machines: Vec<Resource>,
    balancer: Option<Resource>,
    upgrades: Vec<(Upgraded, Resource)>,
}

impl Held {
    /// Two workers that run, and nothing wrong.
    fn healthy() -> Held {
        Held {
            status: resource(json!({"metadata": {"id": "c", "phase": "running"}, "spec": {"phase": 3, "ready": true,
                "kubernetesapiready": true, "controlplaneready": true, "machines": {"total": 2, "healthy": 2, "requested": 2}}})),
            cluster: resource(json!({"metadata": {"id": "c", "phase": "running"}, "spec": {"talosversion": "1.13.5"}})),
            sets: vec![resource(json!({"metadata": {"id": "c-workers", "phase": "running"}, "spec": {}}))],
            set_statuses: vec![resource(json!({"metadata": {"id": "c-workers"}, "spec": {"phase": 3, "ready": true,
                "machines": {"requested": 2, "healthy": 2}}}))],
            requests: vec![],
            machines: vec![machine("a", 4, true, true), machine("b", 4, true, true)],
            balancer: Some(resource(json!({"metadata": {"id": "c"}, "spec": {"healthy": true}}))),
            upgrades: vec![],
        }
    }

    fn view(&self) -> ClusterView {
        cluster_view(&ClusterParts {
            status: &self.status,
            cluster: Some(&self.cluster),
            sets: &self.sets,
            set_statuses: &self.set_statuses,
            requests: &self.requests,
            machines: &self.machines,
            load_balancer: self.balancer.as_ref(),
            upgrades: &self.upgrades,
        })
    }

    fn line(&self) -> ClusterLine {
        cluster_lines(std::slice::from_ref(&self.cluster), std::slice::from_ref(&self.status)).remove(0)
    }
}

fn machine(id: &str, stage: u64, ready: bool, connected: bool) -> Resource {
    let mut labels = json!({"omni.sidero.dev/machine-set": "c-workers"});
    if connected {
        labels["omni.sidero.dev/connected"] = serde_json::Value::Null;
    }
    resource(json!({"metadata": {"id": id, "labels": labels}, "spec": {"stage": stage, "ready": ready}}))
}

fn request(id: &str, stage: u64, status: &str) -> Resource {
    let labels = json!({"omni.sidero.dev/machine-set": "c-workers"});
    resource(json!({"metadata": {"id": id, "labels": labels}, "spec": {"stage": stage, "status": status}}))
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

#[test]
fn machines_with_the_same_wait_are_grouped() {
    let mut held = Held::healthy();
    held.machines.clear();
    let step = r#"Running Step: "syncVM" (4/7)"#;
    held.requests = vec![
        request("c-workers-1", 2, step),
        request("c-workers-2", 2, step),
        request("c-workers-3", 2, step),
        request("c-workers-4", 3, "Waiting for the machine to join Omni"),
    ];
    let view = held.view();
    let words = view.waits_for();
    assert!(words.contains("c-workers-1 and 2 more wait for the provider (Running Step"), "{words}");
    assert!(words.ends_with("; c-workers-4 waits for the machine to join Omni"), "{words}");
    let parties: Vec<Party> = view.machines().map(|machine| machine.party).collect();
    assert_eq!(parties, [Party::Provider, Party::Provider, Party::Provider, Party::Machine]);
}

/// All machines of a cluster were killed: Omni 1.4.9 kept `ready` true, also of every machine.
#[test]
fn dead_machines_are_not_a_running_cluster() {
    assert!(Held::healthy().view().running && Held::healthy().line().running);
    let mut held = Held::healthy();
    held.status.spec["kubernetesapiready"] = json!(false);
    held.balancer = Some(resource(json!({"metadata": {"id": "c"}, "spec": {"healthy": false}})));
    let view = held.view();
    assert!(view.ready && !view.running && view.out_of_order() && !held.line().running);
    assert!(view.waits_for().contains("the Kubernetes API does not answer"), "{}", view.waits_for());
}

#[test]
fn each_sign_of_trouble_keeps_a_cluster_from_running() {
    let trouble: &[fn(&mut Held)] = &[
        |held| held.status.spec["phase"] = json!(1),
        |held| held.status.spec["ready"] = json!(false),
        |held| held.status.spec["kubernetesapiready"] = json!(false),
        |held| held.status.spec["machines"]["healthy"] = json!(1),
        |held| held.status.spec["machines"]["requested"] = json!(3),
        |held| held.set_statuses[0].spec["ready"] = json!(false),
        |held| held.set_statuses[0].spec["phase"] = json!(6),
        |held| held.machines[1] = machine("b", 3, true, true),
        |held| held.machines[1] = machine("b", 4, false, true),
        |held| held.balancer = Some(resource(json!({"metadata": {"id": "c"}, "spec": {"healthy": false}}))),
        |held| held.cluster.metadata.phase = "tearingDown".to_owned(),
        |held| held.sets[0].metadata.phase = "tearingDown".to_owned(),
    ];
    for (at, change) in trouble.iter().enumerate() {
        let mut held = Held::healthy();
        change(&mut held);
        assert!(!held.view().running, "trouble {at}");
    }
    let mut young = Held::healthy();
    young.balancer = None;
    assert!(young.view().running, "an absent load balancer is not an unhealthy one");
}

/// Omni keeps `ready` of a machine that is configured again, and does not count it as healthy.
#[test]
fn machine_that_is_configured_again_is_not_ready() {
    let mut held = Held::healthy();
    held.machines[1] = machine("b", 3, true, true);
    held.status.spec["ready"] = json!(false);
    held.status.spec["machines"]["healthy"] = json!(1);
    let words = held.view().waits_for();
    assert_eq!(words, "Running: 1 of 2 machines ready; b waits for the machine to be ready (configuring)");
}

#[test]
fn cluster_being_destroyed_is_shown_the_same_in_both_views() {
    let mut held = Held::healthy();
    held.cluster.metadata.phase = "tearingDown".to_owned();
    for phase in [3, 4] {
        held.status.spec["phase"] = json!(phase);
        let (view, line) = (held.view(), held.line());
        assert!(view.tearing_down && line.tearing_down && !view.running && !line.running);
        assert_eq!((view.phase.as_str(), line.phase.as_str()), ("Destroying", "Destroying"));
    }
}

/// Omni 1.4.9 took the workers first, and showed the control planes as Running, 1 of 1 ready, meanwhile.
#[test]
fn cluster_being_destroyed_counts_what_is_left() {
    let mut held = Held::healthy();
    held.cluster.metadata.phase = "tearingDown".to_owned();
    let view = held.view();
    assert_eq!(view.waits_for(), "2 machines still have to go");
    assert!(view.machine_sets.iter().all(|set| set.tearing_down && set.wanted == 0), "{view:?}");
    held.machines.truncate(1);
    held.requests = vec![request("c-workers-1", 4, "Waiting for the infra provider to finish teardown")];
    let words = held.view().waits_for();
    assert_eq!(words, "2 machines still have to go; c-workers-1 waits for the infra provider to finish teardown");
    (held.machines, held.requests) = (vec![], vec![]);
    assert_eq!(held.view().waits_for(), "its machines are gone, and Omni still holds it");
}

#[test]
fn set_being_destroyed_has_no_status_any_more() {
    let mut held = Held::healthy();
    held.sets[0].metadata.phase = "tearingDown".to_owned();
    held.set_statuses.clear();
    held.machines = vec![machine("a", 5, true, true)];
    held.requests = vec![request("c-workers-1", 4, "Waiting for the infra provider to finish teardown")];
    held.status.spec["phase"] = json!(2);
    let view = held.view();
    assert_eq!(view.machine_sets[0].phase, "Destroying");
    let words = view.waits_for();
    assert!(words.starts_with("ScalingDown: 2 machines still have to go; "), "{words}");
    assert!(words.contains("a waits for the machine to leave the cluster"), "{words}");
    assert!(words.contains("c-workers-1 waits for the infra provider to finish teardown"), "{words}");
}

#[test]
fn scaling_down_counts_what_has_to_go() {
    let mut held = Held::healthy();
    held.machines.push(machine("z", 5, true, false));
    held.status.spec["phase"] = json!(2);
    held.status.spec["ready"] = json!(false);
    let words = held.view().waits_for();
    assert_eq!(
        words,
        "ScalingDown: 2 of 2 machines ready, 1 machine still has to go; z waits for the machine to leave the cluster: Omni has \
         no connection to it"
    );
}

#[test]
fn cluster_runs_when_nothing_is_being_upgraded_and_every_set_was_looked_at() {
    let view = |sets: &[&str], upgrade: serde_json::Value| {
        let mut held = Held::healthy();
        held.sets = sets.iter().map(|id| resource(json!({"metadata": {"id": id}, "spec": {}}))).collect();
        held.upgrades = vec![(Upgraded::Talos, resource(json!({"metadata": {"id": "c"}, "spec": upgrade})))];
        held.view()
    };
    let done = json!({"phase": 2, "lastupgradeversion": "1.13.5"});
    assert!(view(&["c-workers"], done.clone()).running);
    let silent = view(&["c-workers", "c-more"], done);
    assert!(!silent.running && silent.waits_for().contains("has not looked at the machine set c-more"), "{silent:?}");
    // The moment between the change and the controller's look at it.
    let asked = view(&["c-workers"], json!({"phase": 2, "lastupgradeversion": "1.13.4"}));
    assert!(!asked.running && asked.upgrade == "the upgrade of Talos to 1.13.5 runs", "{asked:?}");
    let runs = json!({"phase": 1, "lastupgradeversion": "1.13.4", "step": "updating machines 1/3"});
    let runs = view(&["c-workers"], runs);
    assert!(runs.waits_for().ends_with("the upgrade of Talos to 1.13.5 runs (updating machines 1/3)"), "{runs:?}");
    let failed = json!({"phase": 3, "lastupgradeversion": "1.13.4", "error": "no such installer"});
    let failed = view(&["c-workers"], failed);
    assert_eq!(failed.upgrade, "the upgrade of Talos to 1.13.5 has failed (no such installer)");
}
