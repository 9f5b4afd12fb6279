//! Faults of Omni and its containers, and changes to a cluster that others make without the operator's knowledge.

use crate::faults::Faults;
use crate::omni::api::OmniCall;
use crate::omni::machine::{Stage, UpgradeBlocker};
use crate::omni::names::*;
use crate::omni::resource::{Key, Resource};
use crate::omni::state::State;
use crate::omni::status::{Code, Status};
use crate::omni::{Omni, machines};
use crate::provider::log::Log;
use crate::proxmox::{Proxmox, World};
use crate::tls::Leaf;
use crate::tools::docker::compose::Service;

/// Logs Omni's error for a person who returns from tsidp without the claim (omni v1.9.3 internal/pkg/auth/oidc/token.go:59).
pub fn log_refused_login(faults: &Faults, log: &Log) {
    if faults.hit("tsidp-email-unverified") {
        let why = [("error", "email not verified: alice@example.com".into())];
        log.zap("info", "interceptor/jwt.go:82", "invalid jwt", &why);
    }
}

/// Returns the certificate that Omni presents.
pub fn leaf(faults: &Faults) -> Leaf {
    let shown = [
        ("omni-unknown-ca", Leaf::SelfSigned),
        ("omni-certificate-expired", Leaf::Expired),
        ("omni-certificate-name", Leaf::WrongName),
        ("time-certificate-early", Leaf::NotYetValid),
    ];
    shown.iter().find(|(name, _)| faults.has(name)).map_or(Leaf::Good, |(_, leaf)| *leaf)
}

/// Returns why a client that trusts the lab's authority rejects a certificate.
pub fn tls_cause(leaf: Leaf) -> Option<&'static str> {
    match leaf {
        Leaf::Good => None,
        Leaf::SelfSigned => Some("invalid peer certificate: UnknownIssuer"),
        Leaf::Expired => Some("invalid peer certificate: Expired"),
        Leaf::NotYetValid => Some("invalid peer certificate: NotValidYet"),
        Leaf::WrongName => Some("invalid peer certificate: NotValidForName"),
    }
}

/// Returns the stage that a machine which is powered on now never gets beyond.
pub fn stall_stage(faults: &Faults) -> Option<Stage> {
    if faults.hit("network-mtu") {
        return Some(Stage::Installing);
    }
    (faults.hit("cluster-bootstrap-stalls")).then_some(Stage::Joining)
}

/// Returns the engine's error for a container's image that cannot be pulled (moby 20.10 distribution/errors.go, and ENOSPC).
pub fn pull_error(faults: &Faults, image: &str) -> Option<String> {
    if faults.hit("docker-image-missing") {
        return Some(format!("manifest for {image} not found: manifest unknown: manifest unknown"));
    }
    (faults.hit("docker-disk-full"))
        .then(|| "write /var/lib/docker/tmp/GetImageBlob3141592653: no space left on device".to_owned())
}

/// Returns the engine's error for a container that cannot be started (moby 20.10, run).
pub fn start_error(faults: &Faults, service: &Service) -> Option<String> {
    let (host, port, _, protocol) = service.ports.first()?;
    let bound = |why: &str| {
        Some(format!(
            "driver failed programming external connectivity on endpoint {} (5c67fb08df5d): Error starting userland proxy: \
             listen {protocol}4 {host}:{port}: bind: {why}",
            service.container
        ))
    };
    if faults.hit("docker-no-tun") {
        let text =
            "error gathering device information while adding custom device \"/dev/net/tun\": no such file or directory";
        return Some(text.to_owned());
    }
    if faults.hit("docker-port-taken") {
        return bound("address already in use");
    }
    if faults.hit("docker-address-not-here") {
        return bound("cannot assign requested address");
    }
    None
}

/// Applies faults to a call of Omni before it is handled. The caller receives nothing but the returned error.
pub fn before_call(faults: &Faults, state: &mut State, call: &OmniCall) -> Option<Status> {
    match call {
        OmniCall::Create(new) if new.md.typ == MACHINE_SET && new.label(L_WORKER).is_some() => {
            let cut = faults.hit("cluster-sync-cut");
            cut.then(|| Status::new(Code::Unavailable, "error reading from server: EOF"))
        }
        // Unlocking the cluster fixes the fault.
        OmniCall::Update(new) if new.md.typ == CLUSTER => {
            let locked = |found: &Resource| found.md.annotations.contains_key(A_CLUSTER_LOCKED);
            if !locked(new) && state.store.by_id(CLUSTER, &new.md.id).is_some_and(locked) {
                faults.end("cluster-locked");
            }
            None
        }
        OmniCall::Update(new) if new.md.typ == MACHINE_SET && faults.has("cluster-locked") => {
            let cluster = new.label(L_CLUSTER).unwrap_or_default();
            if faults.hit("cluster-locked") {
                let key = Key::new(CLUSTER, DEFAULT, cluster);
                state.store.modify(&key, |found| {
                    found.md.annotations.insert(A_CLUSTER_LOCKED.to_owned(), String::new());
                });
            }
            None
        }
        _ => None,
    }
}

/// Removes the lock of every cluster.
pub fn unlock_all(state: &mut State) {
    let all: Vec<Key> = state.store.list(CLUSTER, DEFAULT).map(Resource::key).collect();
    for key in all {
        state.store.modify(&key, |found| _ = found.md.annotations.remove(A_CLUSTER_LOCKED));
    }
}

/// Applies faults to a worker of a running cluster when the cluster is compared with its template: by then the cluster has
/// run for a while, and every operator and every rehearsal gets to this point.
pub fn disturb_compared_cluster(faults: &Faults, omni: &Omni, proxmox: &Proxmox, argv: &[String]) {
    let word = |word: &str| argv.iter().any(|arg| arg == word);
    const ONCE: &[&str] = &[
        "upgrade-machine-lost",
        "upgrade-drain-blocked",
        "machine-silent",
        "machine-vm-deleted",
        "machine-vm-stopped",
        "machine-all-dead",
        "cluster-delete-stuck",
    ];
    let compared = word("sync") && word("--dry-run");
    // The comparison itself must not find a cluster that is being destroyed, so this fault occurs at the next call.
    let next = faults.occasions("cluster-delete-stuck") > 0;
    if !(compared || next) || !ONCE.iter().any(|name| faults.has(name)) {
        return;
    }
    let Some(uuid) = omni.with(|state| running_worker(state)) else { return };
    if faults.hit("machine-all-dead") {
        power_off_cluster(omni, proxmox, &uuid);
    }
    if faults.hit("machine-vm-stopped") {
        omni.with(|state| machines::power_off_unnoticed(state, &uuid));
        cut_power(proxmox, std::slice::from_ref(&uuid));
    }
    if faults.hit("cluster-delete-stuck") {
        omni.with(|state| {
            let cluster = machines::cluster_of(state, &uuid).unwrap_or_default();
            // The cluster exists: its worker was just found.
            let _ = state.store.tear_down(&Key::new(CLUSTER, DEFAULT, &cluster));
            state.touch_cluster(&cluster);
        });
    }
    let blockers = [("upgrade-machine-lost", UpgradeBlocker::Lost), ("upgrade-drain-blocked", UpgradeBlocker::Drain)];
    for (_, blocker) in blockers.into_iter().filter(|(name, _)| faults.hit(name)) {
        omni.with(|state| state.machines.change(&uuid, |machine| machine.upgrade_blocker = Some(blocker)));
    }
    if faults.hit("machine-silent") {
        omni.with(|state| machines::disconnect(state, &uuid));
    }
    if faults.hit("machine-vm-deleted") {
        proxmox.with(|world| {
            for vmid in vmids(world, std::slice::from_ref(&uuid)) {
                world.power_off(vmid);
                world.remove_vm(vmid);
            }
        });
        omni.with(|state| {
            machines::power_off(state, &uuid);
            machines::disconnect(state, &uuid);
        });
    }
}

/// Returns true if a container was stopped by hand, so that its restart policy does not apply.
pub fn is_stopped_by_hand(faults: &Faults, image: &str) -> bool {
    let stopped = faults.has("provider-stopped") || faults.has("cluster-delete-stuck");
    stopped && image.contains("omni-infra-provider-proxmox")
}

/// Ends the faults that are fixed by starting a stopped container again.
pub fn end_stopped_faults(faults: &Faults, image: &str) {
    if is_stopped_by_hand(faults, image) {
        faults.end("provider-stopped");
        faults.end("cluster-delete-stuck");
    }
}

/// Cuts the power of every machine in the cluster of this machine.
fn power_off_cluster(omni: &Omni, proxmox: &Proxmox, uuid: &str) {
    let machines = omni.with(|state| {
        let cluster = machines::cluster_of(state, uuid).unwrap_or_default();
        let machines = state.store.ids_labelled(CLUSTER_MACHINE, L_CLUSTER, &cluster);
        machines.iter().for_each(|uuid| machines::power_off(state, uuid));
        machines
    });
    cut_power(proxmox, &machines);
}

/// Stops the virtual machines of these machines, as when their power is cut.
fn cut_power(proxmox: &Proxmox, machines: &[String]) {
    proxmox.with(|world| vmids(world, machines).into_iter().for_each(|vmid| world.power_off(vmid)));
}

/// Returns the IDs of the virtual machines of these machines.
fn vmids(world: &World, machines: &[String]) -> Vec<u32> {
    let of = |uuid: &str| machines.iter().any(|machine| machine == uuid);
    world.vms.iter().filter(|(_, vm)| of(vm.uuid())).map(|(vmid, _)| *vmid).collect()
}

/// Returns true if the provider is stopped now, as by `docker stop`: as soon as it has something to do.
pub fn is_provider_stopped(faults: &Faults, state: &State, provider: &str) -> bool {
    let requests =
        || state.store.list(MACHINE_REQUEST, INFRA).filter(|found| found.label(L_PROVIDER) == Some(provider));
    (faults.has("provider-stopped") && requests().next().is_some())
        || (faults.has("cluster-delete-stuck") && requests().any(|found| found.tearing_down()))
}

fn running_worker(state: &State) -> Option<String> {
    let ready = |uuid: &str| {
        let status = state.store.by_id(CLUSTER_MACHINE_STATUS, uuid);
        status.is_some_and(|found| found.spec["ready"] == true)
    };
    let nodes = state.store.list(CLUSTER_MACHINE, DEFAULT);
    let worker = nodes.filter(|node| node.label(L_WORKER).is_some()).map(|node| node.md.id.clone());
    worker.into_iter().find(|uuid| ready(uuid))
}
