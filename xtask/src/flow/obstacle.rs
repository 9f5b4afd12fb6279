//! What a cluster waits for is asked itself: the provider, Proxmox, the virtual machines. Omni shows that a machine is waited
//! for, and not that whoever has to act is gone; and for minutes after a VM has stopped it shows nothing at all.
//!
//! Best effort, a few bounded calls: who cannot be asked is left out, and never an obstacle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use domain::failure::{Code, Failure};
use domain::status::cluster::{ClusterView, MachineView, Party};
use domain::status::proxmox::Picked;
use runtime::cx::Cx;
use runtime::parallel::{ALL, Job, run_all};
use runtime::tool::compose::{Compose, OMNI, PROVIDER};
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;
use runtime::triage::{Hit, Issues};

use crate::flow::{diagnose, provider, proxmox};

/// Why a cluster will not get on by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// `provider`, `provider-log`, `proxmox` or `vm`.
    pub id: &'static str,
    /// Who is in the way, in words.
    pub what: String,
    /// What is wrong with it.
    pub words: String,
    pub fix: String,
    pub next: String,
    /// It stays until somebody acts: to wait longer is no use.
    pub lasting: bool,
}

impl Obstacle {
    /// In one line.
    pub fn line(&self) -> String {
        format!("{}: {}", self.what, self.words)
    }
}

/// Everything that is in the way of these machines, what stays until somebody acts first. Proxmox is asked also about the
/// machines that Omni calls ready.
pub fn find(cx: &Cx, omnictl: &Omnictl<'_>, view: &ClusterView) -> Vec<Obstacle> {
    let waiting = || view.machines().filter(|machine| machine.party == Party::Provider);
    let providers: BTreeSet<&str> =
        waiting().map(|machine| machine.provider.as_str()).filter(|id| !id.is_empty()).collect();
    let ours = cx.settings.provider_id(None).value;
    // What the provider is about to create or delete need not be there.
    let has_vm = |machine: &&MachineView| match machine.party {
        Party::Provider => false,
        Party::Omni => !machine.leaving,
        Party::None => !view.tearing_down,
        Party::Machine => true,
    };
    let vms: Vec<&MachineView> = view.machines().filter(has_vm).filter(|machine| machine.provider == ours).collect();
    let mut jobs: Vec<Job<'_, Vec<Obstacle>>> = Vec::new();
    for id in &providers {
        jobs.push(Box::new(|| {
            provider(cx, omnictl, id, view).or_else(|| complaint(cx, id, &view.name)).into_iter().collect()
        }));
    }
    if !vms.is_empty() || providers.contains(ours.as_str()) {
        jobs.push(Box::new(|| proxmox(cx, &vms)));
    }
    let mut found: Vec<Obstacle> = run_all(jobs, ALL).into_iter().flatten().collect();
    found.sort_by_key(|obstacle| !obstacle.lasting);
    found
}

/// A provider that is stopped or that Omni does not hear from.
fn provider(cx: &Cx, omnictl: &Omnictl<'_>, id: &str, view: &ClusterView) -> Option<Obstacle> {
    let obstacle = |words: String, fix: &str, next: &str| {
        let what = format!("the provider `{id}`");
        Some(Obstacle { id: "provider", what, words, fix: fix.to_owned(), next: next.to_owned(), lasting: true })
    };
    let ours = cx.settings.provider_id(None).value == id;
    let containers = Compose::find(cx).and_then(|compose| compose.containers()).unwrap_or_default();
    // Where the stack runs on another host, docker has nothing to say about it.
    if ours && containers.iter().any(|container| container.service == OMNI) {
        let leaves = |machine: &MachineView| machine.leaving && machine.provider == id;
        let fix = match view.tearing_down || view.machines().any(leaves) {
            true => "start it: it has to delete the VMs, and then Omni lets the machines go by itself",
            false => "start it; Omni keeps the machine requests, and the provider takes them up by itself",
        };
        match containers.iter().find(|container| container.service == PROVIDER) {
            None => return obstacle("it has no container".to_owned(), fix, "cargo xtask provider-setup"),
            Some(container) if container.state == "restarting" => {
                let fix = "read in its log why it keeps exiting";
                return obstacle(format!("it keeps exiting: {}", container.status), fix, "cargo xtask provider-status");
            }
            Some(container) if container.state != "running" => {
                let words = format!("its container does not run: {}", container.status);
                return obstacle(words, fix, "cargo xtask stack-up");
            }
            Some(_) => {}
        }
    }
    match provider::registration(cx, omnictl, id).ok()? {
        None => obstacle(
            "Omni has no provider of this name".to_owned(),
            "set it up, or name in the machine class the provider that Omni has",
            "omnictl infraprovider list",
        ),
        Some(health) if health.well() => None,
        Some(health) if health.connected => {
            obstacle(health.words(), "read its log for the reason", "cargo xtask provider-status")
        }
        Some(health) => obstacle(
            format!("Omni does not hear from it: {}", health.words()),
            "see whether it runs and what its log says; a clock that is off looks the same",
            "cargo xtask provider-status",
        ),
    }
}

/// What a provider that runs complains of: it tries again by itself, and Omni hears of it late or never.
fn complaint(cx: &Cx, id: &str, cluster: &str) -> Option<Obstacle> {
    let (words, raw) = diagnose::complaint(cx, cluster).filter(|_| cx.settings.provider_id(None).value == id)?;
    let issues = Issues::of(cx).ok()?;
    let hit = issues.find(&raw).into_iter().next();
    let next = hit.as_ref().map_or("cargo xtask provider-status".to_owned(), Hit::next);
    let fix = hit.map_or("fix what it names; the provider tries again by itself".to_owned(), |hit| {
        format!("known issue `{}`: {}", hit.issue.id, hit.fix())
    });
    let what = format!("the log of the provider `{id}`");
    Some(Obstacle { id: "provider-log", what, words, fix, next, lasting: false })
}

/// Proxmox, asked with the provider's own login: whether it answers, and where these machines' VMs are.
fn proxmox(cx: &Cx, machines: &[&MachineView]) -> Vec<Obstacle> {
    let Ok(proxmox) = proxmox::configured(cx) else { return Vec::new() };
    let names: BTreeSet<&str> = machines.iter().map(|machine| machine.request.as_str()).collect();
    let ours = |vm: &Value| vm["name"].as_str().is_some_and(|name| names.contains(name));
    let found = match machines.is_empty() {
        true => proxmox.version(cx).map(|_| Picked::default()),
        false => proxmox::list_vms(cx, &proxmox, &ours),
    };
    match found {
        Ok(mut found) => {
            confirm(cx, &proxmox, &mut found.entries);
            vms(&found, machines)
        }
        Err(failure) if failure.code == Code::Interrupted => Vec::new(),
        Err(failure) => vec![refuses(failure)],
    }
}

/// How many VMs are asked for one by one.
const CONFIRMED: usize = 8;

/// The list of a cluster shows the state of a VM up to ten seconds late (pve-manager `pvestatd.pm`), so that one that has just
/// been started is `stopped` in it: those are asked themselves.
fn confirm(cx: &Cx, proxmox: &Proxmox, list: &mut [Value]) {
    for vm in list.iter_mut().filter(|vm| vm["status"] != "running").take(CONFIRMED) {
        let path = format!("/nodes/{}/qemu/{}/status/current", vm["node"].as_str().unwrap_or_default(), vm["vmid"]);
        if let Ok(now) = proxmox.get(cx, "asking for the state of a virtual machine", &path) {
            vm["status"] = now["status"].clone();
        }
    }
}

fn refuses(failure: Failure) -> Obstacle {
    let Failure { message, cause, hint, next, .. } = failure;
    Obstacle {
        id: "proxmox",
        what: "Proxmox".to_owned(),
        words: if cause.is_empty() { message } else { format!("{message} ({cause})") },
        fix: if hint.is_empty() { "see whether Proxmox answers the provider's login".to_owned() } else { hint },
        next: next.into_iter().next().unwrap_or_else(|| "cargo xtask provider-verify".to_owned()),
        // It may be back in a moment: the provider tries again too.
        lasting: false,
    }
}

/// The VMs of these machines that do not run. The provider names a VM as its request (omni-infra-provider-proxmox 0d9fd58
/// `provision.go`); a list shows only those that the login may see, so where it sees none at all, none has to be gone.
fn vms(list: &Picked, machines: &[&MachineView]) -> Vec<Obstacle> {
    let text = |vm: &Value, key: &str| vm[key].as_str().unwrap_or_default().to_owned();
    let by_name: BTreeMap<String, &Value> = list.entries.iter().map(|vm| (text(vm, "name"), vm)).collect();
    let mut found = Vec::new();
    for machine in machines.iter().filter(|machine| !machine.request.is_empty()) {
        let request = &machine.request;
        let obstacle = |words: String, fix: String, next: String, lasting: bool| Obstacle {
            id: "vm",
            what: format!("the VM of `{request}`"),
            words,
            fix,
            next,
            lasting,
        };
        let Some(vm) = by_name.get(request) else {
            found.push(match list.of_none {
                // Omni may hear from it: then it exists, and only not under this name or not for this login.
                _ if machine.ready => obstacle(
                    "Proxmox shows no VM of this name, and Omni still calls its machine ready".to_owned(),
                    format!(
                        "look for it in Proxmox by its UUID {}: it was renamed or deleted, or the provider's login may not \
                         see it (VM.Audit)",
                        machine.uuid
                    ),
                    "cargo xtask proxmox-inventory".to_owned(),
                    false,
                ),
                true => obstacle(
                    "Proxmox shows no VM to the provider's login".to_owned(),
                    "see whether the VMs were deleted, or the login may not see them (VM.Audit)".to_owned(),
                    "cargo xtask proxmox-audit".to_owned(),
                    false,
                ),
                false if machine.leaving => obstacle(
                    "it does not exist in Proxmox any more".to_owned(),
                    "it cannot answer Omni: delete its link, and Omni lets the machine go".to_owned(),
                    format!("omnictl delete link {}", machine.uuid),
                    true,
                ),
                false => obstacle(
                    "it does not exist in Proxmox any more".to_owned(),
                    "delete its machine request, and Omni asks for a new machine; where several control planes are gone, \
                     delete one request at a time"
                        .to_owned(),
                    format!("omnictl delete machinerequest {request}"),
                    true,
                ),
            });
            continue;
        };
        let (id, node) = (&vm["vmid"], text(vm, "node"));
        match vm["status"].as_str().unwrap_or_default() {
            "running" => {}
            "stopped" => found.push(obstacle(
                format!("VM {id} on {node} is stopped"),
                format!("start it, as root on {node}: `qm start {id}`"),
                "cargo xtask proxmox-inventory".to_owned(),
                // The provider stops what it is about to delete.
                !machine.leaving,
            )),
            status => found.push(obstacle(
                format!("VM {id} on {node} is {status}: the node may be offline"),
                format!("bring {node} back"),
                "cargo xtask proxmox-inventory".to_owned(),
                true,
            )),
        }
    }
    found
}

/// The VMs that Proxmox does not call running, as its list has them; none where it cannot be asked.
pub fn vms_that_are_off(cx: &Cx) -> Vec<Value> {
    let off = |vm: &Value| vm["status"] != "running" && vm["template"] != 1;
    let list = proxmox::configured(cx).and_then(|proxmox| proxmox::list_vms(cx, &proxmox, &off));
    list.map_or_else(|_| Vec::new(), |list| list.entries)
}

/// Which of these clusters has a machine whose VM is off, and which VM, in words. Omni is asked for the machine requests only
/// where a VM that is off bears a name that could be one's.
pub fn of_clusters(cx: &Cx, omnictl: &Omnictl<'_>, mut off: Vec<Value>, clusters: &[&str]) -> BTreeMap<String, String> {
    let name = |vm: &Value| vm["name"].as_str().unwrap_or_default().to_owned();
    let of = |name: &str| {
        let own = |cluster: &&str| name.strip_prefix(*cluster).is_some_and(|rest| rest.starts_with('-'));
        clusters.iter().copied().filter(own).max_by_key(|cluster| cluster.len())
    };
    off.retain(|vm| of(&name(vm)).is_some());
    if off.is_empty() {
        return BTreeMap::new();
    }
    let requests = omnictl.list("machinerequests", None).unwrap_or_default();
    let requested =
        |vm: &Value| requests.iter().any(|found| found.metadata.id == name(vm) && !found.metadata.tearing_down());
    off.retain(requested);
    if let Ok(proxmox) = proxmox::configured(cx) {
        confirm(cx, &proxmox, &mut off);
    }
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for vm in off.iter().filter(|vm| vm["status"] != "running") {
        let (Some(cluster), Some(node), Some(status)) = (of(&name(vm)), vm["node"].as_str(), vm["status"].as_str())
        else {
            continue;
        };
        let words = format!("the VM of `{}`: VM {} on {node} is {status}", name(vm), vm["vmid"]);
        found.entry(cluster.to_owned()).or_insert(words);
    }
    found
}

/// When a wait first looks for obstacles, and how often then: the calls cost as much as a look at the cluster.
const FIRST: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_secs(5);
/// How many looks in a row must find the same lasting obstacle before the wait is given up: a provider that is being recreated is
/// back by then.
const PATIENCE: usize = 3;

/// The obstacles of a cluster that is waited for.
#[derive(Debug)]
pub struct Watch {
    due: Instant,
    found: Vec<Obstacle>,
    /// Looks in a row that found the same first obstacle, and that one stays.
    same: usize,
}

impl Watch {
    /// Begins with the wait.
    pub fn start() -> Watch {
        Watch { due: Instant::now() + FIRST, found: Vec::new(), same: 0 }
    }

    /// Looks again, if it is time.
    pub fn look(&mut self, cx: &Cx, omnictl: &Omnictl<'_>, view: &ClusterView) {
        if Instant::now() < self.due {
            return;
        }
        let found = find(cx, omnictl, view);
        let of = |found: &[Obstacle]| found.first().filter(|first| first.lasting).map(|first| first.what.clone());
        let same = of(&found).is_some() && of(&found) == of(&self.found);
        self.same = if same { self.same + 1 } else { 1 };
        // What stays keeps its words: an age that grows is no news.
        if !same {
            self.found = found;
        }
        self.due = Instant::now() + EVERY;
    }

    /// Everything that is in the way now.
    pub fn found(&self) -> &[Obstacle] {
        &self.found
    }

    /// What is in the way now.
    pub fn first(&self) -> Option<&Obstacle> {
        self.found().first()
    }

    /// An obstacle that stayed for so long that it is no use to wait.
    pub fn lasting(&self) -> Option<&Obstacle> {
        self.first().filter(|first| first.lasting && self.same >= PATIENCE)
    }
}

impl Obstacle {
    /// `failure` with this obstacle as what to do about it; its cause names it already.
    pub fn advise(&self, mut failure: Failure) -> Failure {
        failure.hint = format!("{}: {}", self.what, self.fix);
        failure.next.insert(0, self.next.clone());
        failure
    }
}

/// A wait or a sync that timed out, with what keeps the machines: a provider that is gone, else what its log says, else what
/// else is in the way.
pub fn explain(cx: &Cx, failure: Failure, cluster: &str, view: Option<&ClusterView>, found: &[Obstacle]) -> Failure {
    if let Some(provider) = found.iter().find(|obstacle| obstacle.id == "provider") {
        return provider.advise(failure);
    }
    let explained = diagnose::explain(cx, failure.clone(), cluster, view);
    match found.first() {
        Some(first) if explained == failure => first.advise(failure),
        _ => explained,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vms(list: &Value, machines: &[&MachineView]) -> Vec<Obstacle> {
        super::vms(&domain::status::proxmox::picked(list.clone(), &|_| true), machines)
    }

    /// Omni keeps its flags for minutes: a VM that is stopped says so, one that is not found proves nothing.
    #[test]
    fn machine_that_omni_calls_ready_is_looked_for_in_proxmox() {
        let ready =
            |at: &str| MachineView { ready: true, party: Party::None, ..machine(&format!("c-workers-{at}"), false) };
        let list = json!([{"vmid": 101, "name": "c-workers-b", "node": "pve2", "status": "stopped"}]);
        let found = vms(&list, &[&ready("b"), &ready("z")]);
        assert_eq!(found[0].line(), "the VM of `c-workers-b`: VM 101 on pve2 is stopped");
        assert!(found[0].lasting && found[0].fix.contains("qm start 101"), "{found:?}");
        assert!(!found[1].lasting && found[1].fix.contains("uuid-of-c-workers-z"), "{found:?}");
        assert!(!found[1].next.contains("delete"), "{found:?}");
    }

    fn machine(request: &str, leaving: bool) -> MachineView {
        MachineView {
            request: request.to_owned(),
            uuid: format!("uuid-of-{request}"),
            provider: "proxmox".to_owned(),
            stage: "PoweredOff".to_owned(),
            ready: false,
            connected: false,
            leaving,
            party: Party::Machine,
            waits_for: "the machine to come back".to_owned(),
            error: String::new(),
        }
    }

    #[test]
    fn vms_that_do_not_run_are_named() {
        let list = json!([
            {"vmid": 100, "name": "c-workers-a", "node": "pve1", "status": "running"},
            {"vmid": 101, "name": "c-workers-b", "node": "pve2", "status": "stopped"},
            {"vmid": 102, "name": "c-workers-c", "node": "pve3", "status": "unknown"},
        ]);
        let machines: Vec<MachineView> =
            ["a", "b", "c", "d"].iter().map(|at| machine(&format!("c-workers-{at}"), false)).collect();
        let found = vms(&list, &machines.iter().collect::<Vec<_>>());
        let lines: Vec<String> = found.iter().map(Obstacle::line).collect();
        assert_eq!(
            lines,
            [
                "the VM of `c-workers-b`: VM 101 on pve2 is stopped",
                "the VM of `c-workers-c`: VM 102 on pve3 is unknown: the node may be offline",
                "the VM of `c-workers-d`: it does not exist in Proxmox any more",
            ]
        );
        assert_eq!(found[2].next, "omnictl delete machinerequest c-workers-d");
        let leaving = machine("c-workers-d", true);
        assert_eq!(vms(&list, &[&leaving])[0].next, "omnictl delete link uuid-of-c-workers-d");
    }

    #[test]
    fn a_login_that_sees_no_vm_proves_nothing() {
        let gone = machine("c-workers-d", false);
        let found = vms(&json!([]), &[&gone]);
        assert!(!found[0].lasting && found[0].fix.contains("VM.Audit"), "{found:?}");
        let by_hand = machine("", false);
        assert_eq!(vms(&json!([]), &[&by_hand]), []);
    }
}
