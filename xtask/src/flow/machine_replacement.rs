//! Replaces one machine: when this is refused, how the old machine is destroyed, and how the new one is verified.
//!
//! Omni replaces a machine by itself once its machine request is torn down: the machine set requests another one at once, the old
//! machine leaves the cluster and etcd and is wiped, and the provider deletes its VM (omni v1.9.3 `machine_set_node.go`,
//! `machine_request_cleanup.go`). Users may delete requests since 1.7, when Omni stopped owning them. A machine that does not
//! respond cannot be wiped and would keep its request indefinitely. In that case its link is deleted, and Omni tears the request
//! down (`machine_request_set_status.go`).

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use crate::flow::cluster_deletion::{self, Vm};
use crate::flow::{cluster, cluster_tree, explain, machine, provider, proxmox, vms};
use crate::prelude::*;
use check::replacement;
use domain::clock;
use domain::status::cluster::{ClusterView, MachineSetView, MachineView};
use domain::status::machines::MachineLine;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;
use runtime::wait::Poll;

/// A machine to replace, with its cluster and its VM.
pub struct Replacement {
    pub line: MachineLine,
    view: ClusterView,
    pub vm: Option<Vm>,
    proxmox: Option<Proxmox>,
    /// The machine has a link in Omni. A machine that never joined has none, and is not a member of etcd.
    joined: bool,
    /// Machines of the same machine set whose VM is not running.
    stopped: BTreeSet<String>,
    /// A VM that may have taken the ID of the machine's deleted VM, and another node to move it to.
    taken_id: Option<(Vm, Option<String>)>,
    /// The resource to delete: type and ID.
    pub to_delete: (&'static str, String),
}

impl Replacement {
    fn set(&self) -> Option<&MachineSetView> {
        self.view.machine_sets.iter().find(|set| set.id == self.line.machine_set)
    }

    fn machine(&self) -> Option<&MachineView> {
        self.set()?.machines.iter().find(|machine| machine.name() == self.line.name)
    }

    /// Returns true if the replacement has already been started, by an earlier run or by someone else.
    pub fn has_started(&self) -> bool {
        self.machine().is_some_and(|machine| machine.leaving)
    }
}

/// Reads the machine, its cluster and the VMs of its machine set.
///
/// # Errors
/// Fails with [`Code::NotFound`] if there is no such machine, or if omnictl fails.
pub fn observe(cx: &Cx, omnictl: &Omnictl<'_>, given: &str) -> anyhow::Result<Replacement> {
    cx.ui.step("machine", format!("Check machine `{given}` and its cluster"), || {
        let line = machine::find(cx, omnictl, given)?;
        let view = cluster::observe(omnictl, &line.cluster)?;
        let view = view.ok_or_else(|| cluster::unknown_cluster(cx, omnictl, &line.cluster))?;
        let (vm, to_delete) = (None, ("machinerequests", line.name.clone()));
        let (joined, stopped) = (!line.uuid.is_empty() && omnictl.get("links", &line.uuid)?.is_some(), BTreeSet::new());
        let mut found = Replacement { line, view, vm, proxmox: None, joined, stopped, taken_id: None, to_delete };
        // The machine has left the cluster since the first request.
        if found.machine().is_none() {
            return Err(machine::not_found(given).into());
        }
        let unseen = read_vms(cx, &mut found).err();
        let answers =
            found.machine().is_some_and(|machine| machine.connected) && !found.stopped.contains(&found.line.name);
        if joined && (!answers || omni_owns(omnictl, &found.line.name)?) {
            found.to_delete = ("links", found.line.uuid.clone());
        }
        let place = match (&found.vm, unseen) {
            (Some(vm), _) => format!("VM {} on {}", vm.id, vm.node),
            (None, Some(failure)) => format!("VM unknown: {}", failure.message),
            (None, None) => "no VM in Proxmox".to_owned(),
        };
        let words = format!("cluster `{}`, {place}", found.line.cluster);
        Ok(StepResult::ok(found, words))
    })
}

/// Returns true if Omni owns this machine request, as it owns all requests before 1.7: then no user may delete it.
///
/// # Errors
/// Returns an error if omnictl fails.
pub fn omni_owns(omnictl: &Omnictl<'_>, request: &str) -> Result<bool, Failure> {
    let owner = omnictl.get("machinerequests", request)?.and_then(|request| request.metadata.owner);
    Ok(owner.is_some_and(|owner| !owner.is_empty()))
}

fn read_vms(cx: &Cx, found: &mut Replacement) -> Result<(), Failure> {
    let cx = &provider::context_of_machines(cx, found.machine().into_iter().map(|machine| machine.provider.as_str()));
    let proxmox = proxmox::login_quietly(cx)?;
    let machines = found.set().map_or(&[][..], |set| &set.machines);
    let names: BTreeSet<String> = machines
        .iter()
        .filter(|it| !it.uuid.is_empty())
        .map(|it| it.request.clone())
        .filter(|it| !it.is_empty())
        .collect();
    let own = |vm: &Value| vm["name"] == found.line.name;
    let ours = |vm: &Value| own(vm) || vm["name"].as_str().is_some_and(|name| names.contains(name));
    let mut list = proxmox::list_vms(cx, &proxmox, &ours)?;
    vms::refresh_states(cx, &proxmox, &mut list.entries);
    let runs = |name: &String| list.entries.iter().any(|vm| vm["name"] == **name && vm["status"] == "running");
    // If the login sees no VMs at all, their state is unknown.
    let off = names.iter().filter(|name| !list.list_is_empty && !runs(name)).cloned().collect();
    let vm = list.entries.iter().filter(|vm| own(vm)).find_map(Vm::of);
    if let (None, Some(machine)) = (&vm, found.machine()) {
        found.taken_id = find_id_reuse(cx, &proxmox, machine)?;
    }
    (found.stopped, found.vm, found.proxmox) = (off, vm, Some(proxmox));
    Ok(())
}

/// Largest clock difference between Omni and Proxmox that is allowed for, in seconds.
const MAX_SKEW: u64 = 300;
/// Number of tasks of a node that are read to find when a VM was created.
const CREATIONS: usize = 10_000;

/// Returns the VM that may have taken the ID of a machine's deleted VM on its node: the provider deletes by node and ID alone
/// (0d9fd58 `provision.go`, `Deprovision`). That is a VM whose ID was created there along with this machine, and again later.
fn find_id_reuse(cx: &Cx, proxmox: &Proxmox, machine: &MachineView) -> Result<Option<(Vm, Option<String>)>, Failure> {
    let times = clock::parse_rfc3339(&machine.requested).zip(clock::parse_rfc3339(&machine.joined));
    let Some((requested, joined)) = times else { return Ok(None) };
    let nodes = proxmox::online_nodes(cx, proxmox)?;
    let paths: Vec<String> =
        nodes.iter().map(|node| format!("/nodes/{node}/tasks?source=all&limit={CREATIONS}")).collect();
    let mut tasks = Vec::new();
    for answer in proxmox.get_all(cx, "listing the VMs that were created", &paths) {
        tasks.extend(answer?.as_array().into_iter().flatten().filter(|task| task["type"] == "qmcreate").cloned());
    }
    let vms = proxmox::list_vms(cx, proxmox, &|_| true)?.entries;
    let made = creation_window(&tasks, requested.saturating_sub(MAX_SKEW)..joined + MAX_SKEW);
    let Some(vm) = vms.iter().find(|vm| has_reused_id(vm, &tasks, &made)) else { return Ok(None) };
    let other = nodes.into_iter().find(|node| vm["node"] != **node);
    Ok(Vm::of(vm).map(|vm| (vm, other)))
}

/// When the VM was created, by Proxmox's clock. If no VM was created in that time, the clocks differ, and any time is possible.
fn creation_window(creations: &[Value], made: Range<u64>) -> Range<u64> {
    let known = creations.iter().filter_map(|task| task["starttime"].as_u64()).any(|time| made.contains(&time));
    if known { made } else { 0..u64::MAX }
}

/// Returns true if a VM with this ID was created on this node in that time, and another one later.
fn has_reused_id(vm: &Value, creations: &[Value], made: &Range<u64>) -> bool {
    let id = vm["vmid"].to_string();
    let own = creations.iter().filter(|task| task["id"] == *id && task["node"] == vm["node"]);
    let times: Vec<u64> = own.filter_map(|task| task["starttime"].as_u64()).collect();
    let first = times.iter().filter(|time| made.contains(*time)).min();
    first.is_some_and(|first| times.iter().any(|time| time > first))
}

/// Refuses a replacement that Omni would not carry out, that would never finish, or that would cost etcd its quorum.
///
/// # Errors
/// Fails with [`Code::Conflict`] and the reason, or with [`Code::Prerequisite`] if the provider cannot create a machine.
pub fn refuse_unsafe(cx: &Cx, omnictl: &Omnictl<'_>, found: &Replacement) -> Result<(), Failure> {
    let Replacement { line: MachineLine { cluster, name, uuid, .. }, view, .. } = found;
    cluster::refuse_destroyed(omnictl, &[cluster])?;
    let refused = |why: String| Failure::new(Code::Conflict, format!("`{name}` cannot be replaced now")).cause(why);
    let (Some(set), Some(machine)) = (found.set(), found.machine()) else { return Err(machine::not_found(name)) };
    if machine.request.is_empty() {
        let why = "no provider created it: Omni cannot create a replacement";
        let hint = "list another machine in its place in the template, then sync: this machine is then wiped and free";
        return Err(refused(why.to_owned()).hint(hint).next(format!("cargo xtask cluster-sync {cluster} --dry-run")));
    }
    if view.locked {
        return Err(cluster::locked_failure(cluster, "changes no machine of it"));
    }
    if let Some((vm, other)) = &found.taken_id {
        let Vm { id, name, node, .. } = vm;
        let failure = refused(format!(
            "its VM was deleted, and VM {id} `{name}` on {node} may have its ID now: the provider deletes by node and ID, so it would delete that VM"
        ));
        return Err(match other {
            Some(other) => failure
                .hint(format!("as root on {node}, move that VM to another node, replace the machine, and move it back"))
                .next(format!("qm migrate {id} {other} --online --with-local-disks")),
            None => failure.hint("back up that VM first: with only one node this cannot be avoided"),
        });
    }
    if !found.joined && omni_owns(omnictl, name)? {
        let why = "Omni before 1.7 allows no user to delete the request of a machine that has not joined";
        if set.control_plane && set.wanted < 2 {
            let hint = "delete the cluster, which has never run, and sync it again";
            return Err(refused(why.to_owned())
                .hint(hint)
                .next(format!("cargo xtask cluster-delete {cluster} --dry-run")));
        }
        let hint = "scale its set down by one and up again: machines that are not in use are removed first";
        let name = set.id.strip_prefix(&format!("{cluster}-")).unwrap_or(&set.id);
        let less = set.wanted.saturating_sub(1);
        let next = format!("cargo xtask cluster-scale {cluster} --set {name}={less}");
        return Err(refused(why.to_owned()).hint(hint).next(next));
    }
    if !uuid.is_empty()
        && omnictl.get("machinesetnodes", uuid)?.is_some_and(|node| node.metadata.has_annotation("locked"))
    {
        let failure = refused("the machine is locked".to_owned()).hint("unlock it if whoever locked it agrees");
        return Err(failure.next(format!("omnictl cluster machine unlock {uuid}")));
    }
    // An upgrade waits for a machine that is broken, which may be this one, so only a ready machine is refused.
    if set.tearing_down || (machine.ready && !view.upgrade.is_empty()) {
        let why = if set.tearing_down { "its machine set is being destroyed" } else { view.upgrade.as_str() };
        return Err(refused(why.to_owned())
            .hint("wait until it is gone")
            .next(format!("cargo xtask cluster-status {cluster}")));
    }
    if set.control_plane && found.joined {
        refuse_quorum_loss(omnictl, found, set).map_err(|why| {
            let explain = format!("cargo xtask cluster-explain {cluster}");
            let (hint, next) = match set.wanted {
                0..3 if !machine.ready || found.stopped.contains(name) => (
                    "etcd was lost with it: delete the cluster and create it again, or restore a backup of its etcd",
                    format!("cargo xtask cluster-delete {cluster} --dry-run"),
                ),
                0..3 => (
                    "with three control planes, one of them can be replaced: scale up, replace it, scale down",
                    format!("cargo xtask cluster-scale {cluster} --set control-planes=3"),
                ),
                _ => ("bring the other control planes back first", explain),
            };
            Failure { code: why.code, ..refused(why.message) }.hint(hint).next(next)
        })?;
    }
    let provider = provider::registration(cx, omnictl, &machine.provider)?;
    let why = match provider {
        Some(health)
            if health.error.is_empty() && (health.is_healthy() || health.heartbeat_age.is_some_and(|age| age < 61)) =>
        {
            return Ok(());
        }
        Some(health) => health.describe(),
        None => "Omni has no provider of this name".to_owned(),
    };
    let what = format!("the provider `{}` would not create a new machine: {why}", machine.provider);
    let failure = Failure::new(Code::Prerequisite, what);
    Err(failure.hint("the old machine would be removed and not replaced").next("cargo xtask provider-verify"))
}

/// Fails with the reason if etcd would lose its quorum.
fn refuse_quorum_loss(omnictl: &Omnictl<'_>, found: &Replacement, set: &MachineSetView) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::new(Code::Conflict, why));
    if let Some(why) = replacement::refusal(set, &found.line.name, &found.stopped) {
        return refused(why);
    }
    if found.view.load_balancer_healthy == Some(false) || !found.view.kubernetes_api_ready {
        return refused("the Kubernetes API does not answer: until it does, Omni removes no control plane".to_owned());
    }
    // If this machine is dead, the status describes this machine (omni v1.9.3 `client/api/omni/specs/omni.proto`).
    let status = omnictl.get("controlplanestatuses", &set.id)?.filter(|_| found.to_delete.0 == "machinerequests");
    let conditions = status.as_ref().and_then(|status| status.at(&["conditions"]).as_array()).into_iter().flatten();
    let ill = |it: &&Value| it["type"] == 1 && it["status"] == 2 && it["severity"] == 2;
    match conditions.into_iter().find(ill) {
        Some(condition) => {
            refused(format!("etcd is not healthy: {}", condition["reason"].as_str().unwrap_or_default()))
        }
        None => Ok(()),
    }
}

/// Builds the plan: the deletion, unless the replacement has already been started, and the verification.
pub fn plan<'a>(omnictl: &'a Omnictl<'_>, found: &'a Replacement, new: &'a mut Vec<String>) -> Plan<'a> {
    let Replacement { line: MachineLine { cluster, name, machine_set, .. }, to_delete: (kind, id), .. } = found;
    let mut plan = Plan::default();
    if !found.has_started() {
        let how = match *kind {
            "links" => "it is removed from Omni without a drain",
            _ => "Omni drains and wipes it",
        };
        let effect = format!("{how}, the provider deletes its VM, and {machine_set} gets a new machine immediately");
        let undo = "the disk cannot be recovered; the new machine starts empty";
        let change = Change::new("replace", format!("machine {name}"), effect, undo, move |cx| {
            let deleted = cluster_deletion::delete_showing_cluster(cx, omnictl, cluster, || omnictl.delete(kind, id));
            match deleted {
                // A run that was interrupted may have left its omnictl running, which deleted the resource.
                Err(failure) if failure.code == Code::NotFound => {}
                other => other.map_err(|failure| failure.next(format!("cargo xtask machine-replace {name}")))?,
            }
            Ok(format!("{} {id} deleted from Omni", if *kind == "links" { "link" } else { "machine request" }))
        });
        let lost = match (&found.vm, &found.proxmox) {
            (Some(vm), _) => vm.describe(),
            // The provider stops and deletes whatever VM has that ID on that node (`provision.go`, `Deprovision`; its issue 28).
            (None, Some(_)) if !found.line.uuid.is_empty() => {
                "any VM that now has the ID of its deleted VM: the provider deletes by ID".to_owned()
            }
            _ => format!("machine `{name}` with its VM and disks"),
        };
        plan.push(change.with_destroyed(cluster, vec![lost]));
    }
    plan.verify(move |cx| {
        wait_until_left(cx, omnictl, cluster, name)?;
        if let (Some(proxmox), Some(vm)) = (&found.proxmox, &found.vm) {
            let site = (proxmox.clone(), vec![vm.clone()]);
            cluster_deletion::wait_until_vms_gone(cx, &[site], "Its VM and seed file are gone from Proxmox")?;
            // Until its VM was gone, the machine ran and may have joined again without a request: Omni would keep that link.
            if *kind == "links" && omnictl.get("links", id)?.is_some() {
                omnictl.delete("links", id)?;
            }
        }
        let ran = wait_until_running(cx, omnictl, cluster);
        let view = match &ran {
            Ok(view) => Some(view.clone()),
            // A new machine whose VM the provider has deleted keeps the cluster from running.
            Err(_) => cluster::observe(omnictl, cluster).ok().flatten(),
        };
        let known: BTreeSet<&str> = found.view.machines().map(MachineView::name).collect();
        let fresh = |it: &&MachineView| {
            let made = ran.is_ok() || it.joining;
            made && (!known.contains(it.name()) || (found.has_started() && it.name() != name))
        };
        let set = view.iter().flat_map(|view| &view.machine_sets).filter(|set| set.id == *machine_set);
        new.extend(set.flat_map(|set| &set.machines).filter(fresh).map(|it| it.name().to_owned()));
        if let (Some(proxmox), None) = (&found.proxmox, &found.vm) {
            check_new_vms(cx, proxmox, new)?;
        }
        ran.map(drop)
    });
    plan
}

/// Checks that the new machines still have VMs. If the old VM had been deleted by hand, a new one may have got its ID and been
/// deleted along with the old machine.
fn check_new_vms(cx: &Cx, proxmox: &Proxmox, new: &[String]) -> Result<(), Failure> {
    let names: BTreeSet<String> = new.iter().cloned().collect();
    let there = cluster_deletion::find_vms(cx, proxmox, &names)?;
    let Some(gone) = names.iter().find(|name| !there.iter().any(|vm| vm.name == **name)) else { return Ok(()) };
    let all = proxmox::list_vms(cx, proxmox, &|_| true)?.entries;
    let free = all.iter().filter_map(|vm| vm["vmid"].as_u64()).max().unwrap_or(100) + 100;
    Err(Failure::new(Code::Failed, format!("the new machine `{gone}` no longer has a VM"))
        .cause("the provider deletes by ID: it deleted the new VM, which had been given the ID of the old machine's VM")
        .hint("make Proxmox assign higher IDs, as root on a node, then replace the new machine")
        .next(format!("pvesh set /cluster/options --next-id lower={free}"))
        .next(format!("cargo xtask machine-replace {gone}")))
}

/// Time limit for a machine to leave: the time that Omni allows for draining its pods, and a reboot.
const LEAVE_LIMIT: Duration = Duration::from_secs(15 * 60);

fn wait_until_left(cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str, name: &str) -> anyhow::Result<()> {
    cx.ui.step("left", format!("Wait until `{name}` has left cluster `{cluster}`"), || {
        let look = || {
            let view = cluster::observe(omnictl, cluster)?;
            view.iter().for_each(|view| cluster_tree::show(cx, view));
            let there = view.as_ref().and_then(|view| view.machines().find(|machine| machine.name() == name));
            Ok(there.map_or(Poll::Done(()), |it| Poll::Waiting(format!("{name} is waiting for {}", it.waits_for))))
        };
        let waited = cx.wait(&format!("`{name}` to leave its cluster"), LEAVE_LIMIT, look);
        waited.map(|()| StepResult::ok((), "removed from Omni")).map_err(|error| match Failure::of(&error) {
            failure if failure.code == Code::Timeout => explain::add_cause(cx, omnictl, failure, cluster, None).into(),
            _ => error,
        })
    })
}

/// Waits until the cluster runs with all its machines.
///
/// # Errors
/// See [`cluster::wait_until_running`].
pub fn wait_until_running(cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> anyhow::Result<ClusterView> {
    cx.ui.step("running", format!("Check that cluster `{cluster}` runs with all its machines"), || {
        Ok(StepResult::ok(cluster::wait_until_running(cx, omnictl, cluster)?, "Running and ready"))
    })
}

/// Returns the cluster of a machine that an earlier run replaced: Omni has its machine set, and no machine with a similar name.
///
/// # Errors
/// Returns an error if omnictl fails.
pub fn cluster_of_replaced(omnictl: &Omnictl<'_>, given: &str) -> Result<Option<String>, Failure> {
    let suffix =
        |name: &str, set: &str| name.strip_prefix(set)?.strip_prefix('-').filter(|it| it.len() == 6).map(str::to_owned);
    let sets = omnictl.list("machinesets", None)?;
    let Some((set, own)) = sets.iter().find_map(|set| Some((set, suffix(given, &set.metadata.id)?))) else {
        return Ok(None);
    };
    let requests =
        omnictl.list("machinerequests", Some(&format!("omni.sidero.dev/machine-request-set={}", set.metadata.id)))?;
    let typo = |id: &str| {
        let differ = |it: String| it.chars().zip(own.chars()).filter(|(a, b)| a != b).count();
        suffix(id, &set.metadata.id).is_some_and(|it| (1..4).contains(&differ(it)))
    };
    let similar = requests.iter().any(|request| typo(&request.metadata.id));
    Ok(set.metadata.label("cluster").filter(|_| !similar).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reused_vm_id_is_detected() {
        let task = |id: &str, node: &str, time: u64| json!({ "id": id, "node": node, "starttime": time });
        let vm = json!({ "vmid": 101, "node": "pve3" });
        let of = |tasks: &[Value]| has_reused_id(&vm, tasks, &creation_window(tasks, 100..200));
        assert!(of(&[task("101", "pve3", 150), task("101", "pve3", 300)]));
        assert!(!of(&[task("101", "pve3", 150)]), "the VM itself");
        let before = [task("101", "pve3", 50), task("101", "pve3", 300)];
        assert!(of(&before), "the clock of Proxmox is another one");
        assert!(!of(&[&before[..], &[task("102", "pve3", 150)]].concat()), "used before the machine was made");
        assert!(!of(&[task("101", "pve1", 150), task("101", "pve3", 300)]), "on another node");
        assert!(!of(&[task("102", "pve3", 150), task("102", "pve3", 300)]), "another ID");
    }
}
