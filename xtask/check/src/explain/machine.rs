//! Diagnoses a single machine: its VM, its configuration, its upgrade.

use super::{
    CONFIGURED, Cause, Facts, HIDDEN, JOINED, Link, NETWORK, Step, console, format_age, format_minutes, is_vm_running,
    with_vm,
};
use domain::clock;
use domain::status::cluster::{Actor, ClusterView, MachineSetView, MachineView};
use domain::status::proxmox::Observed;

/// Where a machine is in the chain.
pub(super) enum ChainPosition {
    Ready,
    Broken(Box<Cause>),
    Waiting { link: Link, typical: &'static str, evidence: String },
}

fn broken(cause: Cause) -> ChainPosition {
    ChainPosition::Broken(Box::new(cause))
}

/// Returns how far a machine has come, and what blocks it.
pub(super) fn position(
    facts: &Facts,
    view: &ClusterView,
    set: &MachineSetView,
    machine: &MachineView,
) -> ChainPosition {
    let (name, name_and_vm) = (machine.name(), with_vm(facts, machine));
    let age = clock::parse_rfc3339(&machine.since).map_or(0, |since| facts.now.saturating_sub(since));
    let waiting = |link: Link, typical: &'static str| ChainPosition::Waiting {
        link,
        typical,
        evidence: format!("{name_and_vm} waits for {}", machine.waits_for),
    };
    if machine.party == Actor::Provider {
        let own = if let Observed::Known(Some(cause)) = &facts.provider { Some(cause) } else { None };
        let complaint = facts.complaints.get(&machine.request);
        if let (Some(lacks), Some(said)) =
            (lacks_privileges(facts), complaint.filter(|said| HIDDEN.contains(&said.id.as_str())))
        {
            return broken(lacks.clone().evidence(said.cause.clone()));
        }
        if let Some(cause) = own.or(complaint) {
            return broken(cause.clone());
        }
        let link = if machine.stage == "Pending" { Link::MachineRequest } else { Link::ProviderStep };
        return waiting(link, if machine.leaving { "1 min a VM" } else { "1 to 5 min, most of it the image" });
    }
    if let Some(cause) = drain_cause(machine) {
        return broken(cause);
    }
    // The provider stops the VMs that it deletes. A machine that Omni removes wipes itself and has to run for that.
    let looks = match machine.party {
        Actor::Omni => !machine.leaving || age >= JOINED,
        Actor::None => !view.tearing_down,
        _ => true,
    };
    let lost = machine.party == Actor::Machine && view.tearing_down;
    if let Some(cause) = looks.then(|| vm_cause(facts, machine)).flatten() {
        return broken(if lost { with_deletion_of_request(view, name, cause) } else { cause });
    }
    match machine.party {
        Actor::None | Actor::Provider => ChainPosition::Ready,
        Actor::Machine if machine.joining => {
            if let Some(cause) = facts.site.iter().find(|cause| cause.link == Link::Network) {
                return broken(cause.clone());
            }
            if age < JOINED {
                return waiting(Link::Join, "1 to 3 min");
            }
            let words = match is_vm_running(facts, machine) {
                true => format!("{name_and_vm} is running but has not contacted Omni"),
                false => format!("{name_and_vm} has not contacted Omni, and it is not known whether its VM is running"),
            };
            let cause = Cause::new(Link::Join, "machine-never-joins", words);
            let fix = format!(
                "on {}, check whether Omni's name resolves, and whether 8090/tcp and 50180/udp of OMNI_LAN_ADDRESS are reachable from its network",
                console(facts, machine)
            );
            let evidence = format!("its VM was started {} ago", format_minutes(age));
            broken(cause.evidence(evidence).lasting(false).fix(fix, NETWORK))
        }
        Actor::Machine if machine.leaving && view.tearing_down => {
            let cause = Cause::new(Link::Network, "machine-lost-leaving", format_age(age));
            let cause = Cause { fix: "bring its host back".to_owned(), ..cause };
            let delete = Step::task(&["cluster-delete", &view.name, "--destroy-disconnected"]);
            broken(with_deletion_of_request(view, name, cause).step(delete))
        }
        // The rest of the cluster stays.
        Actor::Machine if machine.leaving => {
            let words = format!("Omni has lost {name} and waits for it to leave");
            let cause = Cause::new(Link::Network, "machine-lost-leaving", words).evidence(format_age(age));
            let cause = fix_by_unlinking(
                facts,
                machine,
                cause,
                "bring its host back, or delete its link: Omni then removes the machine, and the provider deletes its VM",
            );
            // A person has to decide whether etcd can do without this machine.
            broken(Cause { step: cause.step.filter(|_| !set.control_plane), ..cause })
        }
        Actor::Machine => {
            let vm = match (is_vm_running(facts, machine), machine.request.is_empty()) {
                (true, _) => ", although its VM is running",
                (false, true) => "",
                (false, false) => ", and it is not known whether its VM is running",
            };
            let cause =
                Cause::new(Link::Network, "machine-lost", format!("Omni has no connection to {name_and_vm}{vm}"));
            // Do not wait for a machine that does not return from its upgrade: until it does, no other machine is upgraded.
            let upgraded = !view.upgrade.is_empty();
            let more = if upgraded { "; no other machine is upgraded until it is back" } else { "" };
            broken(cause.evidence(format_age(age)).lasting(upgraded && age >= CONFIGURED).fix(
                format!("on {}, check whether it has started and has its address, and whether 8090/tcp and 50180/udp of OMNI_LAN_ADDRESS are reachable from its network{more}", console(facts, machine)),
                NETWORK,
            ))
        }
        Actor::Omni if machine.leaving => waiting(Link::Configuration, "1 to 2 min: it wipes itself"),
        Actor::Omni => {
            not_ready_cause(view, set, machine, age).map_or_else(|| waiting(Link::Configuration, "2 to 5 min"), broken)
        }
    }
}

/// Adds a second fix to `cause`, which brings a lost machine back so that it can leave: delete the cluster without waiting.
pub(super) fn with_deletion_of_request(view: &ClusterView, name: &str, cause: Cause) -> Cause {
    let delete = format!("cargo xtask cluster-delete {} --destroy-disconnected --dry-run", view.name);
    Cause {
        cause: format!("Omni has lost {name} and waits for it to leave"),
        fix: format!("{}, or remove the cluster without waiting for it", cause.fix),
        next: std::iter::once(delete).chain(cause.next).collect(),
        evidence: cause.cause,
        ..cause
    }
}

/// Sets the fix for a machine that is unreachable: Omni releases it once its link is deleted.
fn fix_by_unlinking(facts: &Facts, machine: &MachineView, cause: Cause, fix: &str) -> Cause {
    let step = Step::Unlink { uuid: machine.uuid.clone(), cluster: facts.cluster.clone() };
    cause.fix(fix, format!("omnictl delete link {}", machine.uuid)).step(step)
}

/// Returns a cause if a node cannot be drained before its upgrade (omni v1.10.4 `internal/backend/talos/lifecycle/manager.go`).
pub(super) fn drain_cause(machine: &MachineView) -> Option<Cause> {
    let (_, why) = machine.error.split_once("cordon/drain before reboot failed: ")?;
    let words = format!("{} cannot be drained before its upgrade: {why}", machine.name());
    let fix = "a PodDisruptionBudget with 0 ALLOWED DISRUPTIONS blocks it: scale that workload up, or relax the budget; Omni retries automatically";
    Some(
        Cause::new(Link::Configuration, "drain-blocked", words)
            .fix(fix, "kubectl get poddisruptionbudgets --all-namespaces"),
    )
}

/// Returns a cause if a machine is connected to Omni but not ready long after it should be.
pub(super) fn not_ready_cause(
    view: &ClusterView,
    set: &MachineSetView,
    machine: &MachineView,
    age: u64,
) -> Option<Cause> {
    let name = machine.name();
    let logs = format!("omnictl machine-logs {} --tail 50", machine.uuid);
    if !machine.error.is_empty() {
        let cause = Cause::new(Link::Configuration, "configuration-refused", format!("{name}: {}", machine.error));
        return Some(cause.fix("correct the configuration patch that the error mentions, and sync again", logs));
    }
    let in_order = |other: &MachineView| other.ready || other.leaving;
    let up = view.machine_sets.iter().filter(|set| set.control_plane).any(|set| set.machines.iter().any(in_order));
    // The other machines wait for the first control plane.
    if age < CONFIGURED || (!set.control_plane && !up && machine.stage == "Configuring") {
        return None;
    }
    if machine.stage == "Configuring" && set.control_plane && !up {
        let cause = Cause::new(
            Link::Kubernetes,
            "etcd-not-formed",
            format!("etcd does not start on the control plane {name}; everything else waits for it"),
        );
        let cause = cause.evidence(format_age(age)).lasting(false);
        return Some(cause.fix("its log shows why; common causes are a wrong clock or a slow disk", logs));
    }
    let words = match machine.unmet.as_str() {
        "" => format!("{name} is connected to Omni but does not complete the stage {}", machine.stage),
        unmet => format!("{name} is connected to Omni but not ready: {unmet}"),
    };
    let cause = Cause::new(Link::Configuration, "machine-stuck", words);
    let cause = cause.evidence(format_age(age)).lasting(false);
    Some(cause.fix(
        "its log shows why; common causes are a bridge that drops large frames (MTU), a wrong clock or a slow disk",
        logs,
    ))
}

/// Prefixes of the known issues that come from Proxmox's own response and do not depend on the connection to it.
const ANSWERED: [&str; 8] = [
    "machine-in-ha",
    "pve-denied",
    "pve-no-",
    "pve-node-not-online",
    "pve-node-unknown",
    "pve-offline-node",
    "selector-",
    "storage-",
];

/// Returns what Proxmox itself refused or lacks for a machine; it remains valid whatever happened to the provider since.
pub(super) fn refused_by_proxmox<'a>(facts: &'a Facts, machine: &MachineView) -> Option<&'a Cause> {
    let complaint = facts.complaints.get(&machine.request)?;
    let answered = ANSWERED.iter().any(|issue| complaint.id.starts_with(issue));
    let hidden = HIDDEN.contains(&complaint.id.as_str()) && lacks_privileges(facts).is_some();
    (!hidden && (answered || complaint.link == Link::ProxmoxTask)).then_some(complaint)
}

/// Returns why no VM is visible if the login lacks privileges: in that case an empty list proves nothing.
pub(super) fn why_vms_are_hidden(facts: &Facts) -> Option<&'static str> {
    let lacks = facts.no_vms && lacks_privileges(facts).is_some();
    lacks.then_some("Proxmox shows no VM to the provider's login, which lacks privileges")
}

fn lacks_privileges(facts: &Facts) -> Option<&Cause> {
    facts.site.iter().find(|cause| cause.id == "provider.permissions")
}

/// Returns what is wrong with a machine's VM. The provider names a VM after its request (omni-infra-provider-proxmox 0d9fd58
/// `provision.go`). A list shows only the VMs that the login may see: if it sees none at all, they may all exist.
pub(super) fn vm_cause(facts: &Facts, machine: &MachineView) -> Option<Cause> {
    let (request, vms) = (&machine.request, facts.vms.known()?);
    if request.is_empty() || facts.unseen.contains_key(&machine.provider) || why_vms_are_hidden(facts).is_some() {
        return None;
    }
    let cause = |id: &str, words: String| {
        let cause = Cause::new(Link::Vm, id, format!("the VM of `{request}`: {words}"));
        Cause { request: request.clone(), ..cause }
    };
    let inventory = "cargo xtask proxmox-inventory";
    let Some(vm) = vms.get(request) else {
        let gone = || cause("vm-missing", "it no longer exists in Proxmox".to_owned());
        return Some(match facts.no_vms {
            true => cause("vms-hidden", "Proxmox shows no VM to the provider's login".to_owned())
                .lasting(false)
                .fix("check whether the VMs were deleted, or whether the login lacks the right to see them (VM.Audit)", "cargo xtask proxmox-audit"),
            // Omni may be connected to it: then it exists, but has another name or is hidden from this login.
            _ if machine.ready => cause("vm-renamed", "Proxmox shows no VM of this name, and Omni still calls its machine ready".to_owned())
                .lasting(false)
                .fix(format!("look for it in Proxmox by its UUID {}: it was renamed or deleted, or the provider's login lacks the right to see it (VM.Audit)", machine.uuid), "cargo xtask drift"),
            false if machine.leaving => fix_by_unlinking(facts, machine, gone(), "it cannot respond to Omni: delete its link, and Omni removes the machine"),
            false => gone().task(
                "replace the machine; if several control planes are gone, replace them one at a time",
                &["machine-replace", request],
            ),
        });
    };
    match vm.status.as_str() {
        "running" => None,
        "stopped" => {
            let (host, id) = (vm.host(), vm.id);
            // Starting a VM that is suspended to disk resumes it (qemu-server `API2/Qemu.pm`, `vm_resume`).
            let locked = vm.lock.as_ref().is_some_and(|lock| lock != "suspended");
            let stopped =
                cause(if locked { "vm-locked" } else { "vm-stopped" }, vm.describe()).lasting(!machine.leaving);
            Some(if locked {
                let fix = format!(
                    "wait for the task that locks it, or stop that task; only if no task runs, run as root on {host}: `qm unlock {id}`; then `qm start {id}`"
                );
                stopped.fix(fix, format!("pvesh get /nodes/{}/tasks --vmid {id} --source active", vm.node))
            } else {
                stopped
                    .fix(format!("start it, as root on {host}: `qm start {id}`"), format!("qm start {id}"))
                    .step(Step::Start { site: vm.site.clone(), node: vm.node.clone(), id })
            })
        }
        _ => Some(
            cause("node-offline", format!("{}: the node may be offline", vm.describe()))
                .fix(format!("bring {} back", vm.host()), inventory),
        ),
    }
}
