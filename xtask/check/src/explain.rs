//! Explains why a cluster is stuck: one chain from the template to Kubernetes, with the state of each link and every cause, the
//! first blocker first. Nothing is guessed: a link that was not observed is unknown, and a link that only needs time is waiting.

mod machine;
mod without_omni;

use std::collections::BTreeMap;

use serde::Serialize;
use strum::VariantArray;

use crate::timeline::Row;
use domain::clock;
use domain::spec::template::ClusterTemplate;
use domain::status::cluster::{Actor, ClusterView, MachineSetView, MachineView};
use domain::status::proxmox::{Observed, host};
use domain::words::count;
use machine::{ChainPosition, position, refused_by_proxmox, why_vms_are_hidden};

/// The links of the chain, in the order in which a machine passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr, VariantArray)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Link {
    Omni,
    Template,
    Cluster,
    MachineSet,
    MachineRequest,
    ProviderStep,
    ProxmoxTask,
    Vm,
    Network,
    Join,
    Configuration,
    Kubernetes,
}

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum LinkState {
    Ok,
    Broken,
    Waiting,
    Unknown,
}

/// A link with its state and the evidence for it; for an unknown link, the reason why it is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkView {
    pub link: Link,
    pub state: LinkState,
    /// When the wait began, or when the machine that breaks the link last changed, as RFC 3339.
    pub since: Option<String>,
    /// How long the wait usually takes.
    pub typical: Option<&'static str>,
    pub evidence: String,
}

impl LinkView {
    /// Returns true if the link is waiting and the wait ends without anyone acting.
    pub fn resolves_itself(&self) -> bool {
        self.state == LinkState::Waiting && !self.typical.is_some_and(|typical| LASTING.contains(&typical))
    }
}

/// Why a link is broken, and the least destructive fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// A stable ID: of a known issue, of a `doctor` check, or one defined in this module.
    pub id: String,
    pub link: Link,
    pub cause: String,
    pub evidence: String,
    pub fix: String,
    /// Commands to paste, in order.
    pub next: Vec<String>,
    /// What `--heal` does about it; `None` if a person has to act.
    #[serde(skip)]
    pub step: Option<Step>,
    /// Why a person has to act, if there is no `step`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub human: Option<&'static str>,
    /// The machine request whose VM is the cause; otherwise empty.
    #[serde(skip)]
    pub request: String,
    /// Whether it keeps the cluster from working or progressing; other causes are still worth fixing.
    pub blocks: bool,
    /// Whether it stays until someone acts, so that waiting longer is pointless.
    pub lasting: bool,
    /// When its machine last changed, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A step that this program can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A task of this program, with its own checks and its own plan.
    Task(Vec<String>),
    /// Start a VM through the API of its provider's Proxmox.
    Start { site: Option<String>, node: String, id: u64 },
    /// Delete the link of a machine whose VM is gone, so that Omni releases the machine.
    Unlink { uuid: String, cluster: String },
}

impl Step {
    pub fn task(words: &[&str]) -> Step {
        Step::Task(words.iter().map(|word| (*word).to_owned()).collect())
    }
}

impl Cause {
    pub fn new(link: Link, id: &str, cause: impl Into<String>) -> Cause {
        let (id, cause) = (id.to_owned(), cause.into());
        let (evidence, fix, next, request) = (String::new(), String::new(), Vec::new(), String::new());
        let (step, human, since) = (None, None, None);
        Cause { id, link, cause, evidence, fix, next, step, human, request, blocks: false, lasting: true, since }
    }

    pub fn evidence(self, evidence: impl Into<String>) -> Cause {
        Cause { evidence: evidence.into(), ..self }
    }

    /// Sets the fix and the command for it, which a person has to run.
    pub fn fix(self, fix: impl Into<String>, next: impl Into<String>) -> Cause {
        Cause { fix: fix.into(), next: vec![next.into()], step: None, ..self }
    }

    /// Sets the fix and the task that performs it.
    pub fn task(self, fix: impl Into<String>, words: &[&str]) -> Cause {
        self.fix(fix, format!("cargo xtask {}", words.join(" "))).step(Step::task(words))
    }

    /// Sets the step that does the same as the command.
    pub fn step(self, step: Step) -> Cause {
        Cause { step: Some(step), ..self }
    }

    /// Returns true if both are the same cause at different times.
    pub fn is_same_cause(&self, other: &Cause) -> bool {
        (&self.id, self.link, &self.request) == (&other.id, other.link, &other.request)
    }

    /// Returns why a person has to act, for a cause without a step.
    fn why_human(&self) -> &'static str {
        // The provider reports a wrong selector, but the machine class defines it.
        let link = if self.id.starts_with("selector-") { Link::Template } else { self.link };
        match (self.id.as_str(), link) {
            ("cluster-locked", _) => "whoever locked the cluster must agree",
            ("not-synced", _) => "you decide whether this cluster should exist",
            ("drain-blocked", _) => "you decide whether the workload may be interrupted",
            ("omni-refuses" | "keys.account" | "keys.provider", _) => {
                "an Omni administrator must create a key or correct it"
            }
            ("omni.licence", _) => "you must read and accept it",
            ("no-talos-versions", _) | (_, Link::Omni) => {
                "it needs rights on this host, in its network, or in the tailnet's settings"
            }
            (_, Link::Template | Link::Cluster | Link::MachineSet | Link::MachineRequest) => {
                "it needs a decision about the template or the machine class"
            }
            (_, Link::ProviderStep | Link::ProxmoxTask | Link::Vm) => {
                "it needs rights on this host or in Proxmox that this program does not have"
            }
            (_, Link::Network | Link::Join) => "it needs access to the machine's console or its network settings",
            (_, Link::Configuration | Link::Kubernetes) => "you must read the machine's log and decide",
        }
    }

    pub fn lasting(self, lasting: bool) -> Cause {
        Cause { lasting, ..self }
    }
}

/// The chain of a cluster, and the causes that break it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub links: Vec<LinkView>,
    pub causes: Vec<Cause>,
    /// The machines that are being removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<DepartingMachine>,
    /// How long each machine took; empty unless requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Row>,
}

/// A machine that is being removed: who has to act, and what remains until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DepartingMachine {
    pub machine: String,
    pub acts: String,
    /// The finalizers of its machine request.
    pub held_by: Vec<String>,
    pub remains: Vec<String>,
}

/// A virtual machine as Proxmox lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    pub id: u64,
    pub node: String,
    pub status: String,
    /// Its lock, such as `backup`; a locked VM can neither be started nor deleted (qemu-server `API2/Qemu.pm`).
    pub lock: Option<String>,
    /// Its provider, if there are several.
    pub site: Option<String>,
    /// The address of its Proxmox, used to link to its console.
    pub url: String,
}

/// Everything observed about a cluster and its dependencies.
#[derive(Debug, Default)]
pub struct Facts {
    /// Seconds since the Unix epoch, by the newest clock seen.
    pub now: u64,
    /// Empty if there is no cluster.
    pub cluster: String,
    /// Why Omni cannot be queried.
    pub omni: Option<Cause>,
    /// What is wrong with the template file.
    pub template_error: Option<Cause>,
    pub template: Option<ClusterTemplate>,
    pub view: Option<ClusterView>,
    /// What is wrong with the provider, if anything.
    pub provider: Observed<Option<Cause>>,
    /// What is wrong with Proxmox for the provider's login, if anything.
    pub proxmox: Observed<Option<Cause>>,
    /// The VMs of this cluster by name; known if at least one of several Proxmox sites lists them.
    pub vms: Observed<BTreeMap<String, Vm>>,
    /// Providers whose Proxmox could not list its VMs although others could, and why.
    pub unseen: BTreeMap<String, String>,
    /// Whether the login sees no VM at all.
    pub no_vms: bool,
    /// What blocks a machine request: the provider's error, or the Proxmox task behind it.
    pub complaints: BTreeMap<String, Cause>,
    /// The finalizers of machine requests that are being removed.
    pub finalizers: BTreeMap<String, Vec<String>>,
    /// What is wrong with the installation, most basic first.
    pub site: Vec<Cause>,
}

/// The command that deletes a machine request if the provider cannot finish it; the request's ID follows.
pub const DELETE: &str = "omnictl delete machinerequest ";
const UNTIL_SYNCED: &str = "until it is synced";
const UNTIL_UNLOCKED: &str = "until it is unlocked";
/// Waits that end only when someone acts.
const LASTING: [&str; 2] = [UNTIL_SYNCED, UNTIL_UNLOCKED];
/// How many VMs are named individually.
const ALIKE: usize = 3;
/// Seconds within which a machine should join; if it takes longer, something is wrong.
const JOINED: u64 = 300;
/// Seconds after a control plane became ready in which its API may still come and go.
const SETTLED: u64 = 60;
/// Seconds within which a configured machine should become ready; if it takes longer, something is wrong.
const CONFIGURED: u64 = 900;
/// The command for doctor's network checks: while they fail, a machine cannot join.
const NETWORK: &str = "cargo xtask doctor --area network";
/// Issues that the provider reports if its login lacks a privilege: Proxmox hides what the login may not see.
const HIDDEN: [&str; 2] = ["pve-not-authorized", "storage-no-iso"];

/// A wait at a link: since when (seconds since the Unix epoch), how long it usually takes, and for what.
type Wait = (Option<u64>, &'static str, String);

#[derive(Default)]
struct Chain {
    causes: Vec<Cause>,
    waits: BTreeMap<Link, Vec<Wait>>,
    unknown: BTreeMap<Link, String>,
    /// What is locked, and the command that unlocks it.
    locks: BTreeMap<Link, String>,
    /// The furthest link that any machine has reached.
    reached: Option<Link>,
}

/// Determines the state of every link, and all causes.
pub fn explain(facts: &Facts) -> Explanation {
    let mut chain = Chain::default();
    match &facts.omni {
        Some(why) => chain.without_omni(facts, why),
        None => chain.add_cluster(facts),
    }
    chain.add_site(facts);
    chain.finish(facts)
}

/// The ID of the cause if Proxmox refuses the provider's login.
pub const REFUSES: &str = "proxmox-refuses";
/// The known issue that the provider logs for a refused login, and for a missing privilege.
const UNAUTHORIZED: &str = "pve-not-authorized";

impl Chain {
    /// Adds a blocking cause. Many machines may have the same cause: after a few, the others only extend its evidence.
    fn add_blocking(&mut self, cause: Cause) {
        let alike = |known: &Cause| (&known.id, known.link) == (&cause.id, cause.link);
        let each = match cause.id.as_str() {
            // Each of these has its own command.
            "vm-stopped" | "vm-locked" | "vm-missing" => usize::MAX,
            _ if cause.link == Link::Vm => ALIKE,
            _ => 1,
        };
        let same = |known: &Cause| [&known.cause, &known.id] == [&cause.cause, &cause.id];
        if self.causes.iter().any(same) {
            return;
        }
        if self.causes.iter().filter(|known| alike(known)).count() < each {
            self.causes.push(Cause { blocks: true, ..cause });
        } else if let Some(known) = self.causes.iter_mut().find(|known| alike(known)) {
            known.evidence = [known.evidence.as_str(), &cause.cause].join("; ").trim_start_matches("; ").into();
            // Use one command for all: otherwise a new machine takes the number that a remaining request would use.
            let own = cause.next.iter().find_map(|next| next.strip_prefix(DELETE));
            if let (Some(own), Some(all)) = (own, known.next.iter_mut().find(|next| next.starts_with(DELETE))) {
                all.push_str(&format!(" {own}"));
            }
        }
    }

    fn has_cause(&self, id: &str) -> bool {
        self.causes.iter().any(|known| known.id == id)
    }

    fn template(&mut self, facts: &Facts) {
        if let Some(error) = &facts.template_error {
            self.add_blocking(error.clone());
        }
    }

    fn add_cluster(&mut self, facts: &Facts) {
        let Some(view) = &facts.view else {
            self.template(facts);
            if facts.template.is_some() && facts.template_error.is_none() {
                let name = &facts.cluster;
                let file = facts.template.as_ref().map_or("", |template| template.place.file.as_str());
                let cause = Cause::new(Link::Cluster, "not-synced", format!("Omni has no cluster `{name}`"));
                let cause = cause.evidence(format!("{file} exists but was not synced, or its cluster was deleted"));
                self.add_blocking(cause.fix(
                    "sync it; Omni then creates the cluster",
                    format!("cargo xtask cluster-sync {name} --dry-run"),
                ));
            }
            return;
        };
        for set in &view.machine_sets {
            let mut broken = false;
            for machine in &set.machines {
                broken |= self.machine(facts, view, set, machine);
            }
            self.set(view, set, broken);
        }
        self.add_locks(view);
        self.compare_with_template(facts, view);
        self.cluster(facts, view);
    }

    /// Adds the machine's wait or cause. Returns true if something blocks the machine.
    fn machine(&mut self, facts: &Facts, view: &ClusterView, set: &MachineSetView, machine: &MachineView) -> bool {
        let link = match position(facts, view, set, machine) {
            ChainPosition::Ready => Link::Kubernetes,
            ChainPosition::Waiting { link, typical, evidence } => {
                self.add_wait(link, (clock::parse_rfc3339(&machine.since), typical, evidence));
                link
            }
            ChainPosition::Broken(cause) => {
                let link = cause.link;
                let since = Some(machine.since.clone()).filter(|since| !since.is_empty());
                let refused = refused_by_proxmox(facts, machine).filter(|refused| refused.id != cause.id);
                self.add_blocking(Cause { since, ..*cause });
                refused.into_iter().for_each(|refused| self.add_blocking(refused.clone()));
                self.reached = self.reached.max(Some(link));
                return true;
            }
        };
        self.reached = self.reached.max(Some(link));
        false
    }

    fn set(&mut self, view: &ClusterView, set: &MachineSetView, broken: bool) {
        let (have, id) = (set.machines.len() as u64, &set.id);
        let since = clock::parse_rfc3339(&set.since);
        if !set.error.is_empty() && !broken {
            let cause = Cause::new(Link::MachineSet, "machine-set-failed", format!("machine set {id}: {}", set.error));
            self.add_blocking(
                cause.fix(
                    "its status checks show what failed",
                    format!("omnictl cluster status {} --wait 5s", view.name),
                ),
            );
        } else if set.tearing_down && have == 0 {
            let words = format!("{id}: its machines are gone; Omni is removing the machine set");
            self.add_wait(Link::MachineSet, (since, "seconds", words));
        } else if have < set.wanted {
            let words = format!("{id}: Omni has requested {have} of {}", count(set.wanted, "machine"));
            self.add_wait(Link::MachineSet, (since, "seconds", words));
        } else if have > set.wanted && !set.machines.iter().any(|machine| machine.leaving) && !broken {
            let words = format!("{id}: {} still to be removed", count(have - set.wanted, "machine"));
            self.add_wait(Link::MachineSet, (since, "1 to 2 min", words));
        }
    }

    fn add_wait(&mut self, link: Link, wait: Wait) {
        self.waits.entry(link).or_default().push(wait);
    }

    /// Adds what is wrong with the cluster as a whole.
    fn cluster(&mut self, facts: &Facts, view: &ClusterView) {
        let name = &view.name;
        let status = || format!("omnictl cluster status {name} --wait 5s");
        if view.upgrade.contains("has failed") {
            let cause = Cause::new(Link::Configuration, "upgrade-failed", view.upgrade.clone());
            self.add_blocking(
                cause.fix("the message shows the step; syncing the old version reverts the upgrade", status()),
            );
        } else if !view.upgrade.is_empty() {
            self.add_wait(Link::Configuration, (None, "3 to 5 min a machine", view.upgrade.clone()));
        }
        if view.tearing_down && view.machines().next().is_none() {
            self.finalizers_pending(facts, view);
        } else if view.tearing_down {
            let words = format!("being destroyed: {}", view.waits_for());
            self.add_wait(Link::Cluster, (None, "1 to 2 min a machine", words));
        }
        let none_broken = self.causes.is_empty();
        let settled = view.machines().all(|machine| machine.ready || machine.leaving);
        if view.phase == "Running" && none_broken && settled && view.upgrade.is_empty() && !view.tearing_down {
            let outage = match (view.kubernetes_api_ready, view.load_balancer_healthy) {
                (false, _) => Some((
                    "kubernetes-api",
                    "the Kubernetes API does not respond, although Omni still counts the machines as ready",
                )),
                (_, Some(false)) => Some(("load-balancer", "the load balancer of its Kubernetes API is not healthy")),
                _ => None,
            };
            if let Some((id, words)) = outage {
                let control_plane = view.machine_sets.iter().find(|set| set.control_plane);
                let uuid = control_plane.and_then(|set| set.machines.first()).map_or("UUID", |machine| &machine.uuid);
                let serving = control_plane.iter().flat_map(|set| &set.machines);
                let newest = serving.filter_map(|machine| clock::parse_rfc3339(&machine.since)).max().unwrap_or(0);
                // The API comes up after the control planes, and Omni polls it only every few seconds. If it was up and is lost
                // later, it is not starting.
                let lost = clock::parse_rfc3339(&view.load_balancer_lost).filter(|lost| *lost >= newest + SETTLED);
                if lost.is_none() && facts.now.saturating_sub(newest) < JOINED {
                    return self.add_wait(Link::Kubernetes, (Some(newest), "1 to 3 min", words.to_owned()));
                }
                let since = lost.map_or(String::new(), |lost| {
                    format!("its load balancer has been unhealthy since {}", clock::rfc3339_of(lost))
                });
                let cause = Cause::new(Link::Kubernetes, id, words).evidence(since).lasting(false);
                self.add_blocking(cause.fix(
                    "a control plane's log shows why: etcd without a quorum, a full disk, or a lost machine that Omni has not noticed yet",
                    format!("omnictl machine-logs {uuid} --tail 50"),
                ));
            }
        }
    }

    /// Handles a cluster without machines: Omni removes it once all its controllers release it (omni v1.9.3 `omni.go` `destroy`).
    fn finalizers_pending(&mut self, facts: &Facts, view: &ClusterView) {
        let (name, held_by) = (&view.name, view.held_by.join(", "));
        let by = if held_by.is_empty() { String::new() } else { format!("; it is held by {held_by}") };
        let words = format!("the machines of cluster `{name}` are gone, but Omni still has it");
        match clock::parse_rfc3339(&view.since) {
            Some(since) if facts.now.saturating_sub(since) >= JOINED => {
                let cause = Cause::new(Link::Cluster, "cluster-held", words).evidence(held_by).lasting(false);
                let fix = "Omni's log shows what they wait for; deleting the cluster again is safe, and waits for them";
                self.add_blocking(cause.task(fix, &["cluster-delete", name]));
            }
            since => self.add_wait(Link::Cluster, (since, "seconds", format!("{words}{by}"))),
        }
    }

    /// Notes what is locked; locked clusters and machines continue unchanged.
    fn add_locks(&mut self, view: &ClusterView) {
        if view.locked {
            let words = format!("locked: Omni rejects changes until `omnictl cluster unlock {}`", view.name);
            self.locks.insert(Link::Cluster, words);
        }
        let locked: Vec<&MachineView> = view.machines().filter(|machine| machine.locked).collect();
        let Some(first) = locked.first() else { return };
        let more = if locked.len() > 1 { format!(", and {} more", locked.len() - 1) } else { String::new() };
        let unlock = format!("`omnictl cluster machine unlock {}`", first.uuid);
        let words = format!("{}{more}: locked, no new configuration and no upgrade until {unlock}", first.name());
        match view.upgrade.is_empty() && locked.iter().all(|machine| machine.ready) {
            true => _ = self.locks.insert(Link::Configuration, words),
            false => self.add_wait(Link::Configuration, (None, UNTIL_UNLOCKED, words)),
        }
    }

    /// Adds differences between the template and Omni.
    fn compare_with_template(&mut self, facts: &Facts, view: &ClusterView) {
        let found = facts.template.as_ref().and_then(|template| first_difference(template, view));
        let Some((differs, lacks)) = found.filter(|_| !view.tearing_down) else { return };
        let name = &view.name;
        if view.locked {
            let words = format!("cluster `{name}` is locked: Omni rejects changes to it");
            let cause = Cause::new(Link::Cluster, "cluster-locked", words).evidence(differs);
            let unlock = format!("omnictl cluster unlock {name}");
            self.add_blocking(cause.fix("unlock it if whoever locked it agrees, then sync again", unlock));
        } else if lacks || self.causes.is_empty() && !view.running && self.waits.is_empty() {
            let words = format!("the template of `{name}` was only partly synced to Omni");
            let cause = Cause::new(Link::Template, "template-not-synced", words).evidence(differs);
            let plan = format!("cargo xtask cluster-sync {name} --dry-run");
            let sync = Step::task(&["cluster-sync", name]);
            self.add_blocking(cause.fix("sync it again: it continues where it stopped", plan).step(sync));
        } else {
            self.add_wait(Link::Template, (None, UNTIL_SYNCED, differs));
        }
    }

    /// Adds what is wrong around the cluster. A cause blocks if a machine is waiting for it to be fixed.
    fn add_site(&mut self, facts: &Facts) {
        let waits = |link: Link| self.waits.contains_key(&link);
        let joining = waits(Link::Join) || waits(Link::Network);
        let creating = waits(Link::ProviderStep) || waits(Link::MachineRequest);
        let said = |id: &str| match id {
            "docker.containers" => !matches!(facts.provider, Observed::Known(None)),
            "provider.proxmox" => matches!(facts.proxmox, Observed::Known(Some(_))),
            _ => false,
        };
        for cause in &facts.site {
            let known = self.has_cause(&cause.id);
            // Without Omni, `without_omni` has already added the causes of the Omni link.
            if known || (facts.omni.is_none() && said(&cause.id)) || (facts.omni.is_some() && cause.link == Link::Omni)
            {
                continue;
            }
            let blocks = match cause.link {
                Link::Network => joining,
                Link::ProviderStep | Link::ProxmoxTask => creating,
                _ => false,
            };
            self.causes.push(Cause { blocks, ..cause.clone() });
        }
        let own = [(Link::ProviderStep, &facts.provider), (Link::ProxmoxTask, &facts.proxmox)];
        // The provider uses the same login, and its log shows no more of a refusal than this issue.
        let logged = self.causes.iter().any(|cause| cause.blocks && cause.id == UNAUTHORIZED);
        for (link, seen) in own {
            match seen {
                Observed::Known(Some(cause)) if !self.has_cause(&cause.id) => {
                    let blocks = creating || (logged && cause.id == REFUSES);
                    self.causes.push(Cause { blocks, ..cause.clone() });
                }
                Observed::Unknown(why) => _ = self.unknown.entry(link).or_insert_with(|| why.clone()),
                Observed::Known(_) => {}
            }
        }
        if facts.omni.is_none()
            && let Some(why) =
                facts.vms.why().or(facts.unseen.values().next().map(String::as_str)).or(why_vms_are_hidden(facts))
        {
            self.unknown.entry(Link::Vm).or_insert_with(|| why.to_owned());
        }
    }

    fn finish(mut self, facts: &Facts) -> Explanation {
        // Dependencies of the provider come before the provider itself, and a provider that was never set up comes last.
        let refused = self.causes.iter().any(|cause| cause.blocks && cause.id == REFUSES);
        let symptom = |id: &str| match id {
            "provider-missing" => 2,
            "provider-silent" => 1,
            UNAUTHORIZED if refused => 1,
            _ => 0,
        };
        self.causes.sort_by_key(|cause| (!cause.blocks, symptom(&cause.id), cause.link));
        for cause in self.causes.iter_mut().filter(|cause| cause.step.is_none()) {
            cause.human = Some(cause.why_human());
        }
        let links = Link::VARIANTS.iter().map(|link| self.link(facts, *link)).collect();
        Explanation { links, causes: self.causes, leaving: list_departing(facts), timeline: Vec::new() }
    }

    fn link(&self, facts: &Facts, link: Link) -> LinkView {
        let view = |state, evidence| LinkView { link, state, since: None, typical: None, evidence };
        if let Some(cause) = self.causes.iter().find(|cause| cause.link == link) {
            return LinkView { since: cause.since.clone(), ..view(LinkState::Broken, cause.cause.clone()) };
        }
        if let Some(waits) = self.waits.get(&link).filter(|waits| !waits.is_empty()) {
            // Waits of the whole cluster are not counted as machines.
            let (machines, others): (Vec<&Wait>, Vec<&Wait>) = waits.iter().partition(|(since, ..)| since.is_some());
            let groups = [machines, others].into_iter().filter_map(|mut group| {
                group.sort_by_key(|(since, ..)| *since);
                let more = if group.len() > 1 { format!(", and {} more", group.len() - 1) } else { String::new() };
                let (since, typical, words) = group.first()?;
                Some((*since, *typical, format!("{words}{more}")))
            });
            let groups: Vec<Wait> = groups.collect();
            let (since, typical) = (groups[0].0.map(clock::rfc3339_of), Some(groups[0].1));
            let evidence = groups.into_iter().map(|group| group.2).collect::<Vec<_>>().join("; ");
            return LinkView { since, typical, ..view(LinkState::Waiting, evidence) };
        }
        if let Some(why) = self.unknown.get(&link) {
            return view(LinkState::Unknown, why.clone());
        }
        let Some(cluster) = &facts.view else {
            return match link {
                Link::Omni => view(LinkState::Ok, "Omni answers".to_owned()),
                Link::ProviderStep | Link::ProxmoxTask => view(LinkState::Ok, "ready for machines".to_owned()),
                Link::Template if facts.template.is_some() => view(LinkState::Ok, "valid".to_owned()),
                _ if facts.cluster.is_empty() => view(LinkState::Unknown, "there is no cluster yet".to_owned()),
                _ => view(LinkState::Unknown, "not reached yet".to_owned()),
            };
        };
        if link > Link::MachineSet && self.reached.is_none_or(|reached| link > reached) {
            return view(LinkState::Unknown, "not reached yet".to_owned());
        }
        let machines = count(cluster.machines().count(), "machine");
        let noted = |words: String| self.locks.get(&link).map_or(words.clone(), |lock| format!("{words}; {lock}"));
        match link {
            Link::Omni => view(LinkState::Ok, "Omni answers".to_owned()),
            Link::Template if facts.template.is_none() => {
                view(LinkState::Unknown, format!("no file in clusters/ is the template of `{}`", cluster.name))
            }
            Link::Template => view(LinkState::Ok, "same number of machines as in Omni".to_owned()),
            Link::Cluster => view(LinkState::Ok, noted(cluster.phase.clone())),
            Link::MachineSet => view(LinkState::Ok, count(cluster.machine_sets.len(), "machine set")),
            _ => view(LinkState::Ok, noted(format!("no problem found ({machines})"))),
        }
    }
}

impl Vm {
    fn describe(&self) -> String {
        let lock = self.lock.as_ref().map_or(String::new(), |lock| format!(" and locked ({lock})"));
        format!("{} is {}{lock}", self.place(), self.status)
    }

    /// Formats the VM as `VM 104 on pve2`, or with several providers as `VM 104 on west/pve2`.
    fn place(&self) -> String {
        format!("VM {} on {}", self.id, self.host())
    }

    fn host(&self) -> String {
        host(self.site.as_deref(), &self.node)
    }
}

/// Lists the machines that are being removed, and who has to act. Omni resets Talos first and lets the machine leave etcd;
/// then the provider deletes the VM and removes its own finalizer (omni v1.9.3 `machine_request_set_status.go`).
fn list_departing(facts: &Facts) -> Vec<DepartingMachine> {
    let Some(view) = &facts.view else { return Vec::new() };
    let goes = |machine: &&MachineView| view.tearing_down || machine.leaving;
    let one = |machine: &MachineView| {
        let acts = match machine.party {
            Actor::Provider => format!("the provider `{}` deletes its VM", machine.provider),
            Actor::Machine => "the machine leaves its cluster, and Omni has no connection to it".to_owned(),
            Actor::Omni => "Omni resets the machine after it leaves etcd".to_owned(),
            Actor::None => "Omni, once the workers are deleted".to_owned(),
        };
        let vm = vm_of(facts, machine);
        let mut remains: Vec<String> =
            vm.iter().map(|vm| format!("{}, with its disks and its seed image", vm.describe())).collect();
        if machine.party != Actor::Provider && !machine.uuid.is_empty() {
            remains.push(format!("link {} in Omni", machine.uuid));
        }
        let held_by = facts.finalizers.get(&machine.request).cloned().unwrap_or_default();
        DepartingMachine { machine: machine.name().to_owned(), acts, held_by, remains }
    };
    view.machines().filter(goes).map(one).collect()
}

/// Returns the first difference between the machine sets of the template and of Omni, and whether Omni lacks the set.
fn first_difference(template: &ClusterTemplate, view: &ClusterView) -> Option<(String, bool)> {
    template.sets.iter().find_map(|set| {
        let (id, wanted) = (set.id(&template.name), u64::from(set.machine_count()?));
        match view.machine_sets.iter().find(|there| there.id == id) {
            None => Some((format!("Omni does not have the machine set {id}, which the template defines"), true)),
            Some(there) if there.tearing_down && wanted > 0 => {
                Some((format!("Omni is removing the machine set {id}, which the template defines"), false))
            }
            Some(there) if there.class.is_empty() || there.wanted == wanted => None,
            Some(there) => {
                let words =
                    format!("{id}: the template specifies {}, Omni has {}", count(wanted, "machine"), there.wanted);
                Some((words, false))
            }
        }
    })
}

fn vm_of<'a>(facts: &'a Facts, machine: &MachineView) -> Option<&'a Vm> {
    facts.vms.known()?.get(&machine.request)
}

/// Returns true if Proxmox was queried and reports the machine's VM as running.
fn is_vm_running(facts: &Facts, machine: &MachineView) -> bool {
    vm_of(facts, machine).is_some_and(|vm| vm.status == "running")
}

/// Formats a machine as `demo-workers-a (VM 104 on pve2)`.
fn with_vm(facts: &Facts, machine: &MachineView) -> String {
    let vm = vm_of(facts, machine).map_or(String::new(), |vm| format!(" ({})", vm.place()));
    format!("{}{vm}", machine.name())
}

/// Names the console of a machine, with the Proxmox page that shows it (pve-manager `www/manager6/Utils.js` `openVNCViewer`).
fn console(facts: &Facts, machine: &MachineView) -> String {
    match vm_of(facts, machine) {
        Some(Vm { id, node, url, .. }) if !url.is_empty() => {
            format!("its console ({url}/?console=kvm&novnc=1&vmid={id}&node={node})")
        }
        _ => "its console in Proxmox".to_owned(),
    }
}

fn format_age(age: u64) -> String {
    if age == 0 { String::new() } else { format!("unchanged for {}", format_minutes(age)) }
}

fn format_minutes(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// A row of `corpus/explain.yaml`, which documents the fields.
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Case {
        machines: Vec<String>,
        vms: BTreeMap<String, String>,
        unseen: Option<String>,
        age: Option<u64>,
        omni: Option<String>,
        site: Vec<String>,
        provider: Option<String>,
        proxmox: Option<String>,
        complaints: BTreeMap<String, String>,
        locked: bool,
        workers: bool,
        /// The Kubernetes API is down, with `api_lost` since so many seconds after the machines changed.
        api_down: bool,
        api_lost: Option<u64>,
        unmet: String,
        upgrade: String,
        held_by: Vec<String>,
        causes: Vec<String>,
        states: BTreeMap<String, String>,
        next: Option<Vec<String>>,
        lasting: Option<bool>,
        /// A link that is waiting until someone acts.
        lasts: Option<String>,
        says: Vec<String>,
        not: Vec<String>,
    }

    fn machine(line: &str) -> MachineView {
        let (words, waits_for) = line.split_once(": ").unwrap_or((line, ""));
        let words: Vec<&str> = words.split(' ').collect();
        let party = [Actor::None, Actor::Omni, Actor::Machine, Actor::Provider]
            .into_iter()
            .find(|party| format!("{party:?}") == words[1])
            .expect(line);
        MachineView {
            request: words[0].to_owned(),
            uuid: format!("uuid-of-{}", words[0]),
            provider: "proxmox".to_owned(),
            stage: words[2].to_owned(),
            ready: party == Actor::None,
            connected: matches!(party, Actor::None | Actor::Omni),
            party,
            waits_for: waits_for.to_owned(),
            joining: words[2] == "Provisioned",
            leaving: words.contains(&"leaving"),
            locked: words.contains(&"locked"),
            since: clock::rfc3339_of(10_000),
            ..MachineView::default()
        }
    }

    /// Parses `LINK ID`.
    fn cause(words: &str) -> Cause {
        let (link, id) = words.split_once(' ').expect(words);
        let link = Link::VARIANTS.iter().find(|known| <&str>::from(*known) == link).expect(words);
        Cause::new(*link, id, id)
    }

    impl Case {
        fn facts(&self) -> Facts {
            let machine = |line: &String| MachineView { unmet: self.unmet.clone(), ..machine(line) };
            let machines: Vec<MachineView> = self.machines.iter().map(machine).collect();
            let set = MachineSetView {
                id: "zebra-control-planes".to_owned(),
                control_plane: !self.workers,
                class: "small".to_owned(),
                wanted: machines.len() as u64,
                machines,
                ..MachineSetView::default()
            };
            let view = ClusterView {
                name: "zebra".to_owned(),
                phase: "Running".to_owned(),
                running: true,
                kubernetes_api_ready: !self.api_down,
                load_balancer_healthy: Some(!self.api_down),
                load_balancer_lost: self.api_lost.map_or(String::new(), |lost| clock::rfc3339_of(10_000 + lost)),
                locked: self.locked,
                upgrade: self.upgrade.clone(),
                tearing_down: !self.held_by.is_empty(),
                held_by: self.held_by.clone(),
                since: clock::rfc3339_of(10_000),
                machine_sets: vec![set],
                ..ClusterView::default()
            };
            let vm = |(at, (name, status)): (usize, (&String, &String))| {
                let (node, url) = ("pve2".to_owned(), "https://pve.example:8006".to_owned());
                let (status, lock) = status.split_once(' ').unwrap_or((status, ""));
                let lock = Some(lock.to_owned()).filter(|lock| !lock.is_empty());
                (name.clone(), Vm { id: 100 + at as u64, node, status: status.to_owned(), lock, site: None, url })
            };
            let vms = self.vms.iter().enumerate().map(vm).collect();
            Facts {
                now: 10_000 + self.age.unwrap_or(60),
                cluster: "zebra".to_owned(),
                omni: self.omni.as_ref().map(|id| Cause::new(Link::Omni, id, id)),
                view: self.omni.is_none().then_some(view),
                provider: Observed::Known(self.provider.as_deref().map(cause)),
                proxmox: Observed::Known(self.proxmox.as_deref().map(cause)),
                vms: self.unseen.clone().map_or(Observed::Known(vms), Observed::Unknown),
                no_vms: self.vms.is_empty() && self.unseen.is_none(),
                complaints: self.complaints.iter().map(|(of, words)| (of.clone(), cause(words))).collect(),
                site: self.site.iter().map(|words| cause(words)).collect(),
                ..Facts::default()
            }
        }
    }

    #[test]
    fn causes_and_links_match_the_cases() {
        let cases: Vec<Case> = serde_yaml::from_str(include_str!("../tests/corpus/explain.yaml")).unwrap();
        for case in cases {
            let found = explain(&case.facts());
            let ids: Vec<&str> = found.causes.iter().map(|cause| cause.id.as_str()).collect();
            assert_eq!(ids, case.causes, "{case:?}");
            let link = |name: &str| found.links.iter().find(|view| <&str>::from(view.link) == name).unwrap();
            for (name, state) in &case.states {
                assert_eq!(<&str>::from(link(name).state), state, "{name}: {case:?}");
            }
            assert!(case.lasts.as_ref().is_none_or(|name| !link(name).resolves_itself()), "{case:?}");
            let first = found.causes.first();
            assert!(case.next.is_none() || first.map(|first| &first.next) == case.next.as_ref(), "{first:?}");
            assert!(case.lasting.is_none() || first.map(|first| first.lasting) == case.lasting, "{first:?}");
            let steps: Vec<_> = found.causes.iter().filter_map(|cause| cause.step.as_ref()).collect();
            let all = format!("{} {steps:?}", serde_json::to_string(&found).unwrap());
            assert!(case.says.iter().all(|text| all.contains(text)), "{all}");
            assert!(!case.not.iter().any(|text| all.contains(text)), "{all}");
        }
    }
}
