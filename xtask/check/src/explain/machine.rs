//! What can be wrong with one machine: its VM, its configuration, its upgrade.

use super::{CONFIGURED, Cause, Facts, Link, Step, age_of};
use domain::status::cluster::{ClusterView, MachineSetView, MachineView};

/// A machine that Omni has lost leaves when it comes back, for which `cause` has the way; its cluster can go without it.
pub(super) fn without_waiting(view: &ClusterView, name: &str, cause: Cause) -> Cause {
    let delete = format!("cargo xtask cluster-delete {} --destroy-disconnected --dry-run", view.name);
    Cause {
        cause: format!("Omni has lost {name} and waits for it to leave"),
        fix: format!("{}, or remove the cluster without waiting for it", cause.fix),
        next: std::iter::once(delete).chain(cause.next).collect(),
        evidence: cause.cause,
        ..cause
    }
}

/// A node that cannot be drained before the reboot of its upgrade (omni v1.10.4 `internal/backend/talos/lifecycle/manager.go`).
pub(super) fn drain(machine: &MachineView) -> Option<Cause> {
    let (_, why) = machine.error.split_once("cordon/drain before reboot failed: ")?;
    let words = format!("{} cannot be drained before its upgrade: {why}", machine.name());
    let fix = "a PodDisruptionBudget that shows 0 under ALLOWED DISRUPTIONS blocks it: scale that workload up, or relax the budget; Omni tries again by itself";
    Some(
        Cause::new(Link::Configuration, "drain-blocked", words)
            .fix(fix, "kubectl get poddisruptionbudgets --all-namespaces"),
    )
}

/// A machine that talks to Omni and is not ready long after it should be.
pub(super) fn stuck(view: &ClusterView, set: &MachineSetView, machine: &MachineView, age: u64) -> Option<Cause> {
    let name = machine.name();
    let logs = format!("omnictl machine-logs {} --tail 50", machine.uuid);
    if !machine.error.is_empty() {
        let cause = Cause::new(Link::Configuration, "configuration-refused", format!("{name}: {}", machine.error));
        return Some(cause.fix("correct the configuration patch that it names, and sync again", logs));
    }
    let in_order = |other: &MachineView| other.ready || other.leaving;
    let up = view.machine_sets.iter().filter(|set| set.control_plane).any(|set| set.machines.iter().any(in_order));
    // The others wait for the first control plane.
    if age < CONFIGURED || (!set.control_plane && !up && machine.stage == "Configuring") {
        return None;
    }
    if machine.stage == "Configuring" && set.control_plane && !up {
        let cause = Cause::new(
            Link::Kubernetes,
            "etcd-not-formed",
            format!("the control plane {name} does not form etcd; everything waits for it"),
        );
        let cause = cause.evidence(age_of(age)).lasting(false);
        return Some(cause.fix("its own log says why; a clock that is off or a slow disk look like this", logs));
    }
    let cause = Cause::new(
        Link::Configuration,
        "machine-stuck",
        format!("{name} talks to Omni and does not get through the stage {}", machine.stage),
    );
    let cause = cause.evidence(age_of(age)).lasting(false);
    Some(cause.fix("its own log says why; a bridge that drops large frames (MTU), a clock that is off or a slow disk look like this", logs))
}

/// What is wrong with a machine's VM. The provider names a VM as its request (omni-infra-provider-proxmox 0d9fd58
/// `provision.go`); a list shows only those that the login may see, so where it sees none at all, none has to be gone.
pub(super) fn vm(facts: &Facts, machine: &MachineView) -> Option<Cause> {
    let (request, vms) = (&machine.request, facts.vms.known()?);
    if request.is_empty() || facts.unseen.contains_key(&machine.provider) {
        return None;
    }
    let cause = |id: &str, words: String| {
        let cause = Cause::new(Link::Vm, id, format!("the VM of `{request}`: {words}"));
        Cause { request: request.clone(), ..cause }
    };
    let inventory = "cargo xtask proxmox-inventory";
    let Some(vm) = vms.get(request) else {
        let gone = || cause("vm-missing", "it does not exist in Proxmox any more".to_owned());
        return Some(match facts.no_vms {
            true => cause("vms-hidden", "Proxmox shows no VM to the provider's login".to_owned())
                .lasting(false)
                .fix("see whether the VMs were deleted, or the login may not see them (VM.Audit)", "cargo xtask proxmox-audit"),
            // Omni may hear from it: then it exists, and only not under this name or not for this login.
            _ if machine.ready => cause("vm-renamed", "Proxmox shows no VM of this name, and Omni still calls its machine ready".to_owned())
                .lasting(false)
                .fix(format!("look for it in Proxmox by its UUID {}: it was renamed or deleted, or the provider's login may not see it (VM.Audit)", machine.uuid), inventory),
            false if machine.leaving => gone().fix("it cannot answer Omni: delete its link, and Omni lets the machine go", format!("omnictl delete link {}", machine.uuid))
                .step(Step::Unlink { uuid: machine.uuid.clone(), cluster: facts.cluster.clone() }),
            false => gone().task(
                "replace the machine; where several control planes are gone, one at a time",
                &["machine-replace", request],
            ),
        });
    };
    match vm.status.as_str() {
        "running" => None,
        "stopped" => Some(
            cause("vm-stopped", vm.words())
                .lasting(!machine.leaving)
                .fix(format!("start it, as root on {}: `qm start {}`", vm.host(), vm.id), format!("qm start {}", vm.id))
                .step(Step::Start { site: vm.site.clone(), node: vm.node.clone(), id: vm.id }),
        ),
        _ => Some(
            cause("node-offline", format!("{}: the node may be offline", vm.words()))
                .fix(format!("bring {} back", vm.host()), inventory),
        ),
    }
}
