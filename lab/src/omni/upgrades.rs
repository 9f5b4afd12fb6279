//! Upgrades of Talos and Kubernetes: one machine at a time, control planes first, and only while all machines are ready
//! (omni v1.9.3 controllers/omni/talosupgrade/status.go, kubernetes_upgrade_status.go; v1.4.9 talos_upgrade_status.go).

use std::time::Duration;

use serde_json::json;

use super::machine::{Machine, Stage, UpgradeBlocker};
use super::machines;
use super::names::*;
use super::resource::Resource;
use super::state::State;

/// Time to write the new Talos to the disk.
const UPGRADE: Duration = Duration::from_secs(6);
/// Time to restart the Kubernetes components on a machine.
const RESTART: Duration = Duration::from_secs(4);
const UPGRADING: u64 = 1;
const DONE: u64 = 2;
const REVERTING: u64 = 4;

/// Installs a machine with the current versions of its cluster.
pub fn install(state: &mut State, uuid: &str) {
    let cluster = machines::cluster_of(state, uuid).and_then(|name| state.store.by_id(CLUSTER, &name)).cloned();
    let Some(cluster) = cluster else { return };
    state.machines.change(uuid, |machine| {
        (machine.next, machine.error) = (None, String::new());
        machine.talos = cluster.text("talosversion").to_owned();
        machine.kubernetes = cluster.text("kubernetesversion").to_owned();
    });
}

/// Starts the next upgrade that is due, and updates the upgrade statuses.
pub fn reconcile(state: &mut State, cluster: &Resource) {
    let (talos, kubernetes) = (cluster.text("talosversion"), cluster.text("kubernetesversion"));
    let nodes = nodes(state, &cluster.md.id);
    // Reverted to the installed version: a machine that could not be drained is left as it is.
    for (uuid, machine) in &nodes {
        if machine.stage == Stage::Running && machine.next.is_some() && machine.talos == talos {
            state.machines.change(uuid, |machine| (machine.next, machine.error) = (None, String::new()));
        }
    }
    let ready = nodes.iter().all(|(_, machine)| {
        machine.stage == Stage::Running && machine.connected && (machine.next.is_none() || machine.talos == talos)
    });
    let old_talos = |(_, machine): &&(String, Machine)| !machine.talos.is_empty() && machine.talos != talos;
    let old_kubernetes = |(_, machine): &&(String, Machine)| machine.kubernetes != kubernetes;
    let first = nodes.iter().find(old_talos);
    if let Some((uuid, _)) = first.filter(|_| ready) {
        begin_talos(state, uuid, talos);
    } else if let Some((uuid, _)) = nodes.iter().find(old_kubernetes).filter(|_| ready && first.is_none()) {
        begin(state, uuid, (Stage::Updating, RESTART), kubernetes);
    }
    let changing = nodes.iter().find(|(_, machine)| machine.next.is_some());
    let (all, left) = (nodes.len(), nodes.iter().filter(old_talos).count());
    let (step, progress) = talos_status(state, changing, ready, (left, all));
    show(state, cluster, (TALOS_UPGRADE_STATUS, "TalosUpgradeStatusController"), talos, (left, step, progress));
    let up = nodes.iter().any(|(_, machine)| machine.stage == Stage::Running && machine.connected);
    if up || state.store.by_id(KUBERNETES_UPGRADE_STATUS, &cluster.md.id).is_some() {
        let left = nodes.iter().filter(old_kubernetes).filter(|(_, machine)| !machine.kubernetes.is_empty()).count();
        let (step, progress) = match nodes.iter().find(|(_, machine)| machine.stage == Stage::Updating) {
            Some((_, machine)) => {
                (format!("{}: updating kubelet to {kubernetes}", machine.hardware.name), "waiting for a restart")
            }
            None => (String::new(), "waiting for the cluster to be ready"),
        };
        let owner = (KUBERNETES_UPGRADE_STATUS, "KubernetesUpgradeStatusController");
        show(state, cluster, owner, kubernetes, (left, step, progress.to_owned()));
    }
}

/// Returns the machines of a cluster in the order in which they are upgraded.
fn nodes(state: &State, cluster: &str) -> Vec<(String, Machine)> {
    let mut nodes: Vec<&Resource> = state.store.list_labelled(CLUSTER_MACHINE, DEFAULT, L_CLUSTER, cluster).collect();
    nodes.retain(|node| !node.tearing_down());
    nodes.sort_by_key(|node| (node.label(L_CONTROL_PLANE).is_none(), node.md.sequence));
    nodes.into_iter().filter_map(|node| Some((node.md.id.clone(), state.machines.get(&node.md.id)?.clone()))).collect()
}

fn begin(state: &mut State, uuid: &str, (stage, lasts): (Stage, Duration), version: &str) {
    let due = state.elapsed + lasts;
    state.machines.change(uuid, |machine| {
        machine.next = Some(version.to_owned());
        (machine.stage, machine.due) = (stage, Some(due));
    });
    machines::publish(state, uuid);
}

/// Starts a Talos upgrade. From 1.10 on, nodes with Talos 1.13 or newer are drained before the reboot (omni v1.10.4
/// internal/backend/talos/lifecycle/manager.go; the error text is from a user).
fn begin_talos(state: &mut State, uuid: &str, version: &str) {
    let drains = state.release >= super::kinds::OmniRelease::V1_10_6
        && super::versions::parse(version).is_some_and(|version| version >= (1, 13, 0));
    let upgrade_blocker = state.machines.get(uuid).and_then(|machine| machine.upgrade_blocker);
    if upgrade_blocker == Some(UpgradeBlocker::Drain) && drains {
        state.machines.change(uuid, |machine| {
            (machine.next, machine.upgrade_blocker) = (Some(version.to_owned()), None);
            machine.error = format!(
                "upgrade failed: cordon/drain before reboot failed: failed to drain node \"{}\": error when evicting \
                 pods/\"instance-manager-0\" -n \"longhorn-system\": global timeout reached: 5m0s",
                machine.hardware.name
            );
        });
        return;
    }
    begin(state, uuid, (Stage::Upgrading, UPGRADE), version);
    if upgrade_blocker == Some(UpgradeBlocker::Lost) {
        state
            .machines
            .change(uuid, |machine| (machine.stalls_at, machine.upgrade_blocker) = (Some(Stage::Rebooting), None));
    }
}

/// Returns the step and status of a Talos upgrade, as this release words them.
fn talos_status(
    state: &State,
    changing: Option<&(String, Machine)>,
    ready: bool,
    (left, all): (usize, usize),
) -> (String, String) {
    let number = if state.release.old() { left } else { (all + 1).saturating_sub(left).min(all) };
    let progress = format!("updating machines {number}/{all}");
    match changing.filter(|(_, machine)| machine.stage != Stage::Updating) {
        Some((_, machine)) if state.release.old() => (format!("current machine {}", machine.hardware.name), progress),
        Some((uuid, _)) => (format!("current machine: {uuid}"), progress),
        None if state.release.old() => ("update paused".into(), "waiting for the cluster to be ready".into()),
        None if !ready => ("waiting for the cluster to be ready".into(), progress),
        None => ("no machines are currently upgrading".into(), progress),
    }
}

fn show(
    state: &mut State,
    cluster: &Resource,
    (typ, owner): (&str, &str),
    wanted: &str,
    (left, step, progress): (usize, String, String),
) {
    let id = cluster.md.id.as_str();
    let reached = state.store.by_id(typ, id).map_or(String::new(), |found| found.text("lastupgradeversion").to_owned());
    let spec = match left {
        0 => json!({"phase": DONE, "lastupgradeversion": wanted}),
        _ => json!({
            "phase": if reached == wanted { REVERTING } else { UPGRADING }, "step": step, "status": progress,
            "lastupgradeversion": reached, "currentupgradeversion": if reached == wanted { "" } else { wanted },
        }),
    };
    let made = state.make(typ, DEFAULT, id, spec).with_owner(owner).with_label(L_CLUSTER, id);
    state.store.put(made);
}
