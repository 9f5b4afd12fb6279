//! The life of a machine: what a VM does after power-on, and what Omni learns about it.

use std::time::Duration;

use serde_json::{Value, json};

use super::machine::{Hardware, Machine, Stage};
use super::names::*;
use super::resource::{Key, Resource};
use super::state::State;
use super::upgrades;

/// Time from power-on to the first contact with Omni.
const BOOT: Duration = Duration::from_secs(8);
/// Time to write Talos to the disk.
const INSTALL: Duration = Duration::from_secs(6);
/// Time to reboot into the installed system.
const REBOOT: Duration = Duration::from_secs(5);
/// Time from configuration to a running kubelet.
const CONFIGURE: Duration = Duration::from_secs(3);
/// Time for the first etcd member to form the cluster, and for a node to join a running cluster.
const BOOTSTRAP: Duration = Duration::from_secs(6);
const JOIN: Duration = Duration::from_secs(3);
/// Time to wipe a machine that leaves its cluster.
const RESET: Duration = Duration::from_secs(5);
/// How long a machine's API can be unresponsive before its cluster's load balancer reports it. Recorded with Omni 1.4.9, in
/// a cluster whose machines all died at once.
const UNANSWERED: Duration = Duration::from_secs(56);
/// How long a machine can be silent before it counts as disconnected. WireGuard's PeerDownInterval is 275 s after the last
/// handshake, which was 9 s old in that recording (siderolabs/siderolink; omni v1.9.3 internal/pkg/siderolink/manager.go:631).
const SILENCE: Duration = Duration::from_secs(266);

/// Powers a machine on, so that it starts to boot.
pub fn power_on(state: &mut State, uuid: &str, hardware: Hardware) {
    // A machine in a cluster boots from its disk.
    let installed = state.store.by_id(CLUSTER_MACHINE, uuid).is_some();
    let (stage, wait) = if installed { (Stage::Rebooting, REBOOT) } else { (Stage::Booting, BOOT) };
    let due = Some(state.elapsed + wait);
    state.machines.enter(uuid);
    state.machines.change(uuid, |machine| {
        machine.hardware = hardware;
        if machine.stage == Stage::Off {
            machine.stage = stage;
            machine.due = due;
        }
    });
}

/// Adds a machine that was installed long ago: it runs from its disk, and Omni knows it.
pub fn add_installed(state: &mut State, uuid: &str, hardware: Hardware) {
    state.machines.enter(uuid);
    state.machines.change(uuid, |machine| {
        machine.stage = Stage::Running;
        machine.connected = true;
        machine.hardware = hardware;
    });
    upgrades::install(state, uuid);
    publish(state, uuid);
}

/// Powers a machine off, or handles the deletion of its VM. Its cluster's load balancer notices after a minute, and Omni
/// once its link has been silent for long enough (omni 1.4.9, recorded: 56 s and 266 s).
pub fn power_off(state: &mut State, uuid: &str) {
    let noticed = state.elapsed + UNANSWERED;
    state.machines.change(uuid, |machine| {
        if machine.stage != Stage::Off {
            machine.due = machine.connected.then_some(noticed);
        }
        machine.stage = Stage::Off;
    });
    touch(state, uuid);
}

/// Powers a machine off without Omni ever noticing.
pub fn power_off_unnoticed(state: &mut State, uuid: &str) {
    power_off(state, uuid);
    state.machines.change(uuid, |machine| machine.stalls_at = Some(Stage::Off));
}

/// Disconnects a machine whose host lost its network.
pub fn disconnect(state: &mut State, uuid: &str) {
    state.machines.change(uuid, |machine| {
        machine.connected = false;
        machine.due = None;
    });
    publish(state, uuid);
    touch(state, uuid);
}

/// Ends all machine faults: stalled machines continue, and silent machines reconnect. A machine that is off stays off.
pub fn end_faults(state: &mut State) {
    for uuid in state.machines.uuids() {
        let now = state.elapsed;
        state.machines.change(&uuid, |machine| {
            let was_stalled =
                machine.never_connects || machine.stalls_at == Some(machine.stage) || !machine.error.is_empty();
            (machine.never_connects, machine.stalls_at, machine.upgrade_blocker) = (false, None, None);
            match machine.stage {
                Stage::Off => {}
                Stage::Running if machine.next.is_some() => {
                    (machine.next, machine.error) = (None, String::new());
                }
                Stage::Running => machine.connected = true,
                _ if was_stalled && machine.due.is_none_or(|due| due > now) => machine.due = Some(now),
                _ => {}
            }
        });
        publish(state, &uuid);
        touch(state, &uuid);
    }
}

/// Resets a machine that has to leave its cluster. A machine that is off does not receive the request.
pub fn reset(state: &mut State, uuid: &str) {
    let due = state.elapsed + RESET;
    state.machines.change(uuid, |machine| {
        if !matches!(machine.stage, Stage::Off | Stage::Resetting | Stage::Maintenance | Stage::Booting) {
            machine.stage = Stage::Resetting;
            machine.due = Some(due);
        }
    });
}

/// Performs every transition that is due.
pub fn advance(state: &mut State) {
    while let Some(uuid) = state.machines.next().filter(|(due, _)| *due <= state.elapsed).map(|(_, uuid)| uuid.clone())
    {
        advance_machine(state, &uuid);
        touch(state, &uuid);
        state.settle();
    }
}

fn advance_machine(state: &mut State, uuid: &str) {
    state.machines.change(uuid, |machine| {
        // The next step counts from when this step was due, not from when the lab got to it.
        let at = machine.due.take().unwrap_or_default();
        if machine.stalls_at == Some(machine.stage) {
            // A machine that does not return from a reboot is reported as late as one that lost its power.
            if machine.stage == Stage::Rebooting && !machine.never_connects {
                (machine.never_connects, machine.due) = (true, Some(at + SILENCE));
            } else if machine.never_connects {
                machine.connected = false;
            }
            return;
        }
        let (stage, next) = match machine.stage {
            Stage::Off if !machine.api_unreachable => {
                machine.api_unreachable = true;
                (Stage::Off, Some(SILENCE.saturating_sub(UNANSWERED)))
            }
            Stage::Off => {
                machine.connected = false;
                (Stage::Off, None)
            }
            Stage::Booting if machine.never_connects => (Stage::Booting, None),
            Stage::Booting | Stage::Resetting => {
                machine.connected = true;
                (Stage::Maintenance, None)
            }
            Stage::Installing | Stage::Upgrading => (Stage::Rebooting, Some(REBOOT)),
            Stage::Rebooting => {
                machine.connected = true;
                (Stage::Configuring, Some(CONFIGURE))
            }
            Stage::Configuring => (Stage::Waiting, None),
            Stage::Joining => {
                machine.talos = machine.next.take().unwrap_or_else(|| std::mem::take(&mut machine.talos));
                (Stage::Running, None)
            }
            Stage::Updating => {
                machine.kubernetes = machine.next.take().unwrap_or_default();
                (Stage::Running, None)
            }
            other => (other, None),
        };
        machine.stage = stage;
        machine.due = next.map(|wait| at + wait);
    });
    publish(state, uuid);
}

/// Configures a machine in maintenance mode, so that it starts the installation.
pub fn configure(state: &mut State, uuid: &str) {
    let due = state.elapsed + INSTALL;
    upgrades::install(state, uuid);
    state.machines.change(uuid, |machine| {
        if machine.stage == Stage::Maintenance {
            machine.stage = Stage::Installing;
            machine.due = Some(due);
        }
    });
}

/// Lets a configured machine form etcd or join its cluster.
pub fn join(state: &mut State, uuid: &str, bootstrap: bool) {
    let wait = if bootstrap { BOOTSTRAP } else { JOIN };
    let due = state.elapsed + wait;
    state.machines.change(uuid, |machine| {
        if machine.stage == Stage::Waiting {
            machine.stage = Stage::Joining;
            machine.due = Some(due);
        }
    });
}

/// Returns the cluster that a machine is in or was created for.
pub fn cluster_of(state: &State, uuid: &str) -> Option<String> {
    if let Some(node) = state.store.by_id(CLUSTER_MACHINE, uuid) {
        return node.label(L_CLUSTER).map(str::to_owned);
    }
    let (_, set) = request_of(state, uuid)?;
    state.store.by_id(MACHINE_SET, &set)?.label(L_CLUSTER).map(str::to_owned)
}

/// Marks the cluster of a machine as changed.
fn touch(state: &mut State, uuid: &str) {
    if let Some(cluster) = cluster_of(state, uuid) {
        state.touch_cluster(&cluster);
    }
}

/// Returns the machine request that a machine was created for, and its set.
fn request_of(state: &State, uuid: &str) -> Option<(String, String)> {
    let status = state.store.request_status_of(uuid)?;
    Some((status.md.id.clone(), status.label(L_REQUEST_SET).unwrap_or_default().to_owned()))
}

/// Updates Omni's resources about a machine: its link, machine and status.
pub fn publish(state: &mut State, uuid: &str) {
    let Some(machine) = state.machines.get(uuid).cloned() else { return };
    let known = state.store.by_id(MACHINE, uuid).is_some();
    if !known && !machine.connected {
        return;
    }
    // The join token names the request: a machine whose request is gone cannot join.
    let stays =
        |(id, _): (String, String)| state.store.get(MACHINE_REQUEST, INFRA, &id).is_some_and(|it| !it.tearing_down());
    if !known && !request_of(state, uuid).is_some_and(stays) {
        return;
    }
    let address = format!("fdae:41e4:649b:9303::{}", &uuid[uuid.len() - 4..]);
    let text = |found: &Resource, key: &str| found.label(key).unwrap_or_default().to_owned();
    let of = |found: &Resource, id: String| (id, text(found, L_REQUEST_SET), text(found, L_PROVIDER));
    let request = match state.store.by_id(MACHINE, uuid) {
        Some(found) => Some(of(found, text(found, L_REQUEST))).filter(|(id, ..)| !id.is_empty()),
        None => state.store.request_status_of(uuid).map(|status| of(status, status.md.id.clone())),
    };
    let link = json!({"nodesubnet": format!("{address}/64"), "connected": machine.connected,
        "lastendpoint": "127.0.0.1:51820"});
    let base = json!({"managementaddress": address, "connected": machine.connected});
    for (typ, spec) in [(LINK, link), (MACHINE, base)] {
        let mut resource = state.make(typ, DEFAULT, uuid, spec);
        if let Some((id, set, provider)) = &request {
            resource = resource.with_label(L_REQUEST, id).with_label(L_PROVIDER, provider);
            if typ == MACHINE {
                resource = resource.with_label(L_REQUEST_SET, set);
            }
        }
        if typ == MACHINE && machine.connected {
            resource = resource.with_label(L_CONNECTED, "");
        }
        state.store.put(resource.with_owner(if typ == MACHINE { "MachineController" } else { "" }));
    }
    publish_status(state, uuid, &machine, request);
}

fn publish_status(state: &mut State, uuid: &str, machine: &Machine, request: Option<(String, String, String)>) {
    let node = state.store.by_id(CLUSTER_MACHINE, uuid);
    let in_cluster: Option<(String, bool)> = node.and_then(|node| {
        let cluster = node.label(L_CLUSTER)?.to_owned();
        Some((cluster, node.is_control_plane()))
    });
    let default = super::versions::defaults(state.release).0;
    let talos = request
        .as_ref()
        .and_then(|(id, ..)| state.store.get(MACHINE_REQUEST, INFRA, id))
        .and_then(|request| request.spec["talosversion"].as_str())
        .unwrap_or(&default)
        .to_owned();
    let talos = if machine.talos.is_empty() { talos } else { machine.talos.clone() };
    let spec = status_spec(machine, &talos, in_cluster.as_ref(), request.as_ref().map(|(_, _, provider)| provider));
    let mut status = state.make(MACHINE_STATUS, DEFAULT, uuid, spec).with_owner("MachineStatusController");
    let hardware = &machine.hardware;
    let mut label = |key: &str, value: &str| {
        status.md.labels.insert(format!("{SYSTEM_PREFIX}{key}"), value.to_owned());
    };
    label("arch", "amd64");
    label("platform", "nocloud");
    label("cores", &hardware.cores.to_string());
    label("mem", &format!("{} GiB", hardware.memory_mib / 1024));
    label("storage", &format!("{} GB", hardware.disk_gib * 1_073_741_824 / 1_000_000_000));
    label("talos-version", &format!("v{}", talos.trim_start_matches('v')));
    label(if machine.connected { "connected" } else { "disconnected" }, "");
    if let Some((id, set, provider)) = &request {
        label("machine-request", id);
        label("machine-request-set", set);
        label("infra-provider-id", provider);
        label("no-manual-allocation", "");
    }
    match &in_cluster {
        Some((cluster, control_plane)) => {
            label("cluster", cluster);
            label(if *control_plane { "role-controlplane" } else { "role-worker" }, "");
        }
        None => label("available", ""),
    }
    state.store.put(status);
}

/// Returns the address of a machine on the LAN.
fn address(machine: &Machine) -> String {
    format!("192.0.2.{}/24", machine.hardware.name.bytes().fold(0_u8, u8::wrapping_add))
}

fn status_spec(machine: &Machine, talos: &str, cluster: Option<&(String, bool)>, provider: Option<&String>) -> Value {
    let hardware = &machine.hardware;
    json!({
        "talosversion": format!("v{}", talos.trim_start_matches('v')),
        "hardware": {
            "processors": [{"corecount": hardware.cores, "threadcount": hardware.cores, "manufacturer": "QEMU"}],
            "memorymodules": [{"sizemb": hardware.memory_mib, "description": "QEMU"}],
            "blockdevices": [{"size": hardware.disk_gib * 1_073_741_824, "model": "QEMU HARDDISK",
                "linuxname": "/dev/sda", "type": "HDD", "transport": "virtio", "systemdisk": !matches!(machine.stage,
                    Stage::Booting | Stage::Maintenance | Stage::Installing)}],
            "arch": "amd64",
        },
        "network": {"hostname": hardware.name, "addresses": [address(machine)]},
        "connected": machine.connected,
        "maintenance": machine.stage == Stage::Maintenance,
        "cluster": cluster.map_or("", |(name, _)| name.as_str()),
        "role": match cluster { None => 0, Some((_, true)) => 1, Some((_, false)) => 2 },
        "platformmetadata": {"platform": "nocloud", "hostname": hardware.name,
            "providerid": provider.map_or("", String::as_str)},
        "schematic": {"extensions": ["siderolabs/qemu-guest-agent"]},
        // Off is only reported if the machine announced it (omni v1.9.3 machine/status.go).
        "powerstate": if machine.connected { 2 } else { 1 },
    })
}

/// Handles the deletion of a machine's link: removes the machine from Omni and tears down its request, so that its set
/// requests another (omni v1.9.3 controllers machine_request_set_status.go).
pub fn handle_link_deletion(state: &mut State, uuid: &str) {
    let request = state.store.by_id(MACHINE, uuid).and_then(|machine| machine.label(L_REQUEST)).map(str::to_owned);
    remove_machine(state, uuid);
    let request = request.and_then(|id| state.store.get(MACHINE_REQUEST, INFRA, &id).cloned());
    if let Some(request) = request {
        let _ = state.store.tear_down(&request.key());
        state.touch(&request);
    }
}

/// Removes a machine from Omni, because its link was deleted or its request is gone.
pub fn remove_machine(state: &mut State, uuid: &str) {
    for typ in [LINK, MACHINE, MACHINE_STATUS] {
        state.remove(&Key::new(typ, DEFAULT, uuid));
    }
}
