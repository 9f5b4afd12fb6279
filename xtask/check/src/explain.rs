//! Why a cluster is stuck: one chain from the template to Kubernetes, with the state of each link, and every cause, the one that
//! blocks first. Nothing is guessed: what was not seen is unknown, and what only takes its time is waited for.

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
use machine::{ChainPosition, hidden, position, refused_by_proxmox};

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

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum LinkState {
    Ok,
    Broken,
    Waiting,
    Unknown,
}

/// A link with its evidence: the reason where it is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkView {
    pub link: Link,
    pub state: LinkState,
    /// Since when it is waited for, or the machine that breaks it has not changed, as RFC 3339.
    pub since: Option<String>,
    /// How long that usually takes.
    pub typical: Option<&'static str>,
    pub evidence: String,
}

impl LinkView {
    /// What is waited for comes without anybody's doing.
    pub fn passes(&self) -> bool {
        self.state == LinkState::Waiting && !self.typical.is_some_and(|typical| LASTING.contains(&typical))
    }
}

/// Why a link is broken, and the least destructive way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Stable: a known issue, a check of `doctor`, or one of this module.
    pub id: String,
    pub link: Link,
    pub cause: String,
    pub evidence: String,
    pub fix: String,
    /// Commands that can be pasted, in their order.
    pub next: Vec<String>,
    /// What `--heal` does about it; without one it needs a human.
    #[serde(skip)]
    pub step: Option<Step>,
    /// Why nothing is done about it from here: a person has to act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub human: Option<&'static str>,
    /// The machine request that it is about, where its VM is the cause.
    #[serde(skip)]
    pub request: String,
    /// It keeps the cluster from working, or from going; what does not is worth fixing all the same.
    pub blocks: bool,
    /// It stays until somebody acts: to wait longer is no use.
    pub lasting: bool,
    /// Since when its machine has not changed, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A step that can be taken from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A task of this program, with its own checks and its own plan.
    Task(Vec<String>),
    /// A VM is started through the API of its provider's Proxmox.
    Start { site: Option<String>, node: String, id: u64 },
    /// The link of a machine whose VM is gone is deleted: Omni then lets the machine go.
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

    /// What fixes it, and the command for it, which needs a human.
    pub fn fix(self, fix: impl Into<String>, next: impl Into<String>) -> Cause {
        Cause { fix: fix.into(), next: vec![next.into()], step: None, ..self }
    }

    /// What fixes it, and the task that does it.
    pub fn task(self, fix: impl Into<String>, words: &[&str]) -> Cause {
        self.fix(fix, format!("cargo xtask {}", words.join(" "))).step(Step::task(words))
    }

    /// The step that its command is.
    pub fn step(self, step: Step) -> Cause {
        Cause { step: Some(step), ..self }
    }

    /// Whether it is the same cause, at another time.
    pub fn same(&self, other: &Cause) -> bool {
        (&self.id, self.link, &self.request) == (&other.id, other.link, &other.request)
    }

    /// Why nothing is done about it from here, where it has no step.
    fn why_human(&self) -> &'static str {
        // The provider meets a wrong selector, and the machine class has it.
        let link = if self.id.starts_with("selector-") { Link::Template } else { self.link };
        match (self.id.as_str(), link) {
            ("cluster-locked", _) => "the person who locked the cluster has to agree",
            ("not-synced", _) => "whether this cluster is to exist is your decision",
            ("drain-blocked", _) => "whether the workload may be interrupted is your decision",
            ("omni-refuses" | "keys.account" | "keys.provider", _) => {
                "an administrator of Omni has to make a key or correct it"
            }
            ("omni.licence", _) => "a person has to read and accept it",
            ("no-talos-versions", _) | (_, Link::Omni) => {
                "it needs rights on this host, in its network, or in the tailnet's settings"
            }
            (_, Link::Template | Link::Cluster | Link::MachineSet | Link::MachineRequest) => {
                "it needs a decision about the template or the machine class"
            }
            (_, Link::ProviderStep | Link::ProxmoxTask | Link::Vm) => {
                "it needs rights on this host or in Proxmox that this program does not have"
            }
            (_, Link::Network | Link::Join) => "it needs the machine's console, or the settings of its network",
            (_, Link::Configuration | Link::Kubernetes) => "somebody has to read the machine's log and decide",
        }
    }

    pub fn lasting(self, lasting: bool) -> Cause {
        Cause { lasting, ..self }
    }
}

/// The chain of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub links: Vec<LinkView>,
    pub causes: Vec<Cause>,
    /// The machines that are on their way out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<DepartingMachine>,
    /// How long each machine took, where that was asked for.
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

/// A virtual machine, as Proxmox lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    pub id: u64,
    pub node: String,
    pub status: String,
    /// What holds it, such as `backup`: it is neither started nor deleted meanwhile (qemu-server `API2/Qemu.pm`).
    pub lock: Option<String>,
    /// Its provider, where there are several.
    pub site: Option<String>,
    /// The address of its Proxmox, for its console.
    pub url: String,
}

/// Everything that was seen of a cluster and of what it needs.
#[derive(Debug, Default)]
pub struct Facts {
    /// Seconds since 1970, by the newest clock that was seen.
    pub now: u64,
    /// Empty where there is no cluster.
    pub cluster: String,
    /// Why Omni cannot be asked.
    pub omni: Option<Cause>,
    /// What is wrong with the template's file.
    pub template_error: Option<Cause>,
    pub template: Option<ClusterTemplate>,
    pub view: Option<ClusterView>,
    /// What is wrong with the provider, if anything.
    pub provider: Observed<Option<Cause>>,
    /// What is wrong with Proxmox for the provider's login, if anything.
    pub proxmox: Observed<Option<Cause>>,
    /// The VMs of this cluster by name; known where one of several Proxmox shows them.
    pub vms: Observed<BTreeMap<String, Vm>>,
    /// The providers whose Proxmox shows none beside others that do, and why.
    pub unseen: BTreeMap<String, String>,
    /// The login sees no VM at all.
    pub no_vms: bool,
    /// What blocks a machine request: the provider's error, or the task in Proxmox behind it.
    pub complaints: BTreeMap<String, Cause>,
    /// The finalizers of machine requests that are on their way out.
    pub finalizers: BTreeMap<String, Vec<String>>,
    /// What is wrong with the installation, most basic first.
    pub site: Vec<Cause>,
}

/// What ends a machine request that the provider cannot finish.
pub const DELETE: &str = "omnictl delete machinerequest ";
const UNTIL_SYNCED: &str = "until it is synced";
const UNTIL_UNLOCKED: &str = "until it is unlocked";
/// Waits that end only when somebody acts.
const LASTING: [&str; 2] = [UNTIL_SYNCED, UNTIL_UNLOCKED];
/// How many VMs are named one by one.
const ALIKE: usize = 3;
/// A machine that does not join within this time has a reason.
const JOINED: u64 = 300;
/// One that is not ready this long after it was configured, too.
const CONFIGURED: u64 = 900;
/// What doctor looks at for each area of the network: without these a machine cannot join.
const NETWORK: &str = "cargo xtask doctor --area network";
/// What the provider says where its login lacks a privilege: Proxmox hides what it may not see.
const HIDDEN: [&str; 2] = ["pve-not-authorized", "storage-no-iso"];

/// What is waited for at a link: since when (seconds since 1970), how long it usually takes, and what.
type Wait = (Option<u64>, &'static str, String);

#[derive(Default)]
struct Chain {
    causes: Vec<Cause>,
    waits: BTreeMap<Link, Vec<Wait>>,
    unknown: BTreeMap<Link, String>,
    /// What somebody locked, and the command that unlocks it.
    locks: BTreeMap<Link, String>,
    /// How far the machine that is farthest has come.
    reached: Option<Link>,
}

/// Judges every link.
pub fn explain(facts: &Facts) -> Explanation {
    let mut chain = Chain::default();
    match &facts.omni {
        Some(why) => chain.without_omni(facts, why),
        None => chain.of_cluster(facts),
    }
    chain.of_site(facts);
    chain.finish(facts)
}

impl Chain {
    /// Many machines may wait for the same: after a few they are only counted.
    fn blocks(&mut self, cause: Cause) {
        let alike = |known: &Cause| (&known.id, known.link) == (&cause.id, cause.link);
        let each = match cause.id.as_str() {
            // Each has a command of its own.
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
            // One command for all of them: a new machine takes the number that one which is left would take for its own.
            let own = cause.next.iter().find_map(|next| next.strip_prefix(DELETE));
            if let (Some(own), Some(all)) = (own, known.next.iter_mut().find(|next| next.starts_with(DELETE))) {
                all.push_str(&format!(" {own}"));
            }
        }
    }

    fn names(&self, id: &str) -> bool {
        self.causes.iter().any(|known| known.id == id)
    }

    fn template(&mut self, facts: &Facts) {
        if let Some(error) = &facts.template_error {
            self.blocks(error.clone());
        }
    }

    fn of_cluster(&mut self, facts: &Facts) {
        let Some(view) = &facts.view else {
            self.template(facts);
            if facts.template.is_some() && facts.template_error.is_none() {
                let name = &facts.cluster;
                let file = facts.template.as_ref().map_or("", |template| template.place.file.as_str());
                let cause = Cause::new(Link::Cluster, "not-synced", format!("Omni has no cluster `{name}`"));
                let cause = cause.evidence(format!("{file} is there, and was not synced, or its cluster was deleted"));
                self.blocks(cause.fix(
                    "sync it, and Omni creates the cluster",
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
        self.locked(view);
        self.not_synced(facts, view);
        self.cluster(facts, view);
    }

    /// Whether something blocks the machine.
    fn machine(&mut self, facts: &Facts, view: &ClusterView, set: &MachineSetView, machine: &MachineView) -> bool {
        let link = match position(facts, view, set, machine) {
            ChainPosition::Ready => Link::Kubernetes,
            ChainPosition::Waiting { link, typical, evidence } => {
                self.waits.entry(link).or_default().push((clock::seconds(&machine.since), typical, evidence));
                link
            }
            ChainPosition::Broken(cause) => {
                let link = cause.link;
                let since = Some(machine.since.clone()).filter(|since| !since.is_empty());
                let refused = refused_by_proxmox(facts, machine).filter(|refused| refused.id != cause.id);
                self.blocks(Cause { since, ..*cause });
                refused.into_iter().for_each(|refused| self.blocks(refused.clone()));
                self.reached = self.reached.max(Some(link));
                return true;
            }
        };
        self.reached = self.reached.max(Some(link));
        false
    }

    fn set(&mut self, view: &ClusterView, set: &MachineSetView, broken: bool) {
        let (have, id) = (set.machines.len() as u64, &set.id);
        if !set.error.is_empty() && !broken {
            let cause = Cause::new(Link::MachineSet, "machine-set-failed", format!("machine set {id}: {}", set.error));
            self.blocks(
                cause.fix(
                    "its status checks show what failed",
                    format!("omnictl cluster status {} --wait 5s", view.name),
                ),
            );
        } else if set.tearing_down && have == 0 {
            self.wait(Link::MachineSet, "seconds", format!("{id}: its machines are deleted, and Omni is removing it"));
        } else if have < set.wanted {
            self.wait(
                Link::MachineSet,
                "seconds",
                format!("{id}: Omni has requested {have} of {}", count(set.wanted, "machine")),
            );
        } else if have > set.wanted && !set.machines.iter().any(|machine| machine.leaving) && !broken {
            self.wait(
                Link::MachineSet,
                "1 to 2 min",
                format!("{id}: {} still has to go", count(have - set.wanted, "machine")),
            );
        }
    }

    fn wait(&mut self, link: Link, typical: &'static str, evidence: String) {
        self.waits.entry(link).or_default().push((None, typical, evidence));
    }

    /// What is wrong with the cluster as a whole.
    fn cluster(&mut self, facts: &Facts, view: &ClusterView) {
        let name = &view.name;
        let status = || format!("omnictl cluster status {name} --wait 5s");
        if view.upgrade.contains("has failed") {
            let cause = Cause::new(Link::Configuration, "upgrade-failed", view.upgrade.clone());
            self.blocks(cause.fix("the message names the step; a sync with the old version takes it back", status()));
        } else if !view.upgrade.is_empty() {
            self.wait(Link::Configuration, "3 to 5 min a machine", view.upgrade.clone());
        }
        if view.tearing_down && view.machines().next().is_none() {
            self.held(facts, view);
        } else if view.tearing_down {
            self.wait(Link::Cluster, "1 to 2 min a machine", format!("being destroyed: {}", view.waits_for()));
        }
        let none_broken = self.causes.is_empty();
        let settled = view.machines().all(|machine| machine.ready || machine.leaving);
        if view.phase == "Running" && none_broken && settled && view.upgrade.is_empty() && !view.tearing_down {
            let outage = match (view.kubernetes_api_ready, view.load_balancer_healthy) {
                (false, _) => Some((
                    "kubernetes-api",
                    "the Kubernetes API does not answer, although Omni still counts the machines as ready",
                )),
                (_, Some(false)) => Some(("load-balancer", "the load balancer of its Kubernetes API is not healthy")),
                _ => None,
            };
            if let Some((id, words)) = outage {
                let control_plane = view.machine_sets.iter().find(|set| set.control_plane);
                let uuid = control_plane.and_then(|set| set.machines.first()).map_or("UUID", |machine| &machine.uuid);
                let newest = view.machines().filter_map(|machine| clock::seconds(&machine.since)).max().unwrap_or(0);
                // It comes after the machines, and Omni asks it every few seconds.
                if facts.now.saturating_sub(newest) < JOINED {
                    let waits = self.waits.entry(Link::Kubernetes).or_default();
                    return waits.push((Some(newest), "1 to 3 min", words.to_owned()));
                }
                let cause = Cause::new(Link::Kubernetes, id, words).lasting(false);
                self.blocks(cause.fix(
                    "the log of a control plane shows why: etcd without a quorum, a full disk, or a machine that Omni has not missed yet",
                    format!("omnictl machine-logs {uuid} --tail 50"),
                ));
            }
        }
    }

    /// A cluster whose machines are gone: Omni lets it go when each of its controllers has (omni v1.9.3 `omni.go` `destroy`).
    fn held(&mut self, facts: &Facts, view: &ClusterView) {
        let (name, held_by) = (&view.name, view.held_by.join(", "));
        let by = if held_by.is_empty() { String::new() } else { format!("; it is held by {held_by}") };
        let words = format!("the machines of cluster `{name}` are gone, and Omni still holds it");
        match clock::seconds(&view.since) {
            Some(since) if facts.now.saturating_sub(since) >= JOINED => {
                let cause = Cause::new(Link::Cluster, "cluster-held", words).evidence(held_by).lasting(false);
                let fix = "Omni's log says what they wait for; deleting it again does no harm, and waits for them";
                self.blocks(cause.task(fix, &["cluster-delete", name]));
            }
            since => {
                let waits = self.waits.entry(Link::Cluster).or_default();
                waits.push((since, "seconds", format!("{words}{by}")));
            }
        }
    }

    /// What somebody locked goes on as it is.
    fn locked(&mut self, view: &ClusterView) {
        if view.locked {
            let words = format!("locked: Omni accepts no change of it before `omnictl cluster unlock {}`", view.name);
            self.locks.insert(Link::Cluster, words);
        }
        let locked: Vec<&MachineView> = view.machines().filter(|machine| machine.locked).collect();
        let Some(first) = locked.first() else { return };
        let more = if locked.len() > 1 { format!(", and {} more", locked.len() - 1) } else { String::new() };
        let unlock = format!("`omnictl cluster machine unlock {}`", first.uuid);
        let words = format!("{}{more}: locked, with no new configuration and no upgrade before {unlock}", first.name());
        match view.upgrade.is_empty() && locked.iter().all(|machine| machine.ready) {
            true => _ = self.locks.insert(Link::Configuration, words),
            false => self.wait(Link::Configuration, UNTIL_UNLOCKED, words),
        }
    }

    /// What the template asks for otherwise than Omni has it.
    fn not_synced(&mut self, facts: &Facts, view: &ClusterView) {
        let found = facts.template.as_ref().and_then(|template| differs(template, view));
        let Some((differs, lacks)) = found.filter(|_| !view.tearing_down) else { return };
        let name = &view.name;
        if view.locked {
            let words = format!("cluster `{name}` is locked: Omni accepts no change of it");
            let cause = Cause::new(Link::Cluster, "cluster-locked", words).evidence(differs);
            let unlock = format!("omnictl cluster unlock {name}");
            self.blocks(cause.fix("unlock it if the person who locked it agrees, then sync again", unlock));
        } else if lacks || self.causes.is_empty() && !view.running && self.waits.is_empty() {
            let words = format!("the template of `{name}` is not in Omni as a whole");
            let cause = Cause::new(Link::Template, "template-not-synced", words).evidence(differs);
            let plan = format!("cargo xtask cluster-sync {name} --dry-run");
            let sync = Step::task(&["cluster-sync", name]);
            self.blocks(cause.fix("sync it again: it continues where it stopped", plan).step(sync));
        } else {
            self.wait(Link::Template, UNTIL_SYNCED, differs);
        }
    }

    /// What is wrong around the cluster. It blocks where a machine waits for it.
    fn of_site(&mut self, facts: &Facts) {
        let waits = |link: Link| self.waits.contains_key(&link);
        let joining = waits(Link::Join) || waits(Link::Network);
        let creating = waits(Link::ProviderStep) || waits(Link::MachineRequest);
        let said = |id: &str| match id {
            "docker.containers" => !matches!(facts.provider, Observed::Known(None)),
            "provider.proxmox" => matches!(facts.proxmox, Observed::Known(Some(_))),
            _ => false,
        };
        for cause in &facts.site {
            let known = self.names(&cause.id);
            // Without Omni, what is wrong with it comes first.
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
        for (link, seen) in own {
            match seen {
                Observed::Known(Some(cause)) if !self.names(&cause.id) => {
                    self.causes.push(Cause { blocks: creating, ..cause.clone() });
                }
                Observed::Unknown(why) => _ = self.unknown.entry(link).or_insert_with(|| why.clone()),
                Observed::Known(_) => {}
            }
        }
        if facts.omni.is_none()
            && let Some(why) = facts.vms.why().or(facts.unseen.values().next().map(String::as_str)).or(hidden(facts))
        {
            self.unknown.entry(Link::Vm).or_insert_with(|| why.to_owned());
        }
    }

    fn finish(mut self, facts: &Facts) -> Explanation {
        // What the provider cannot do without comes before the provider itself, and what was never set up comes last.
        let symptom = |id: &str| match id {
            "provider-missing" => 2,
            "provider-silent" => 1,
            _ => 0,
        };
        self.causes.sort_by_key(|cause| (!cause.blocks, symptom(&cause.id), cause.link));
        for cause in self.causes.iter_mut().filter(|cause| cause.step.is_none()) {
            cause.human = Some(cause.why_human());
        }
        let links = Link::VARIANTS.iter().map(|link| self.link(facts, *link)).collect();
        Explanation { links, causes: self.causes, leaving: leaving(facts), timeline: Vec::new() }
    }

    fn link(&self, facts: &Facts, link: Link) -> LinkView {
        let view = |state, evidence| LinkView { link, state, since: None, typical: None, evidence };
        if let Some(cause) = self.causes.iter().find(|cause| cause.link == link) {
            return LinkView { since: cause.since.clone(), ..view(LinkState::Broken, cause.cause.clone()) };
        }
        if let Some(waits) = self.waits.get(&link).filter(|waits| !waits.is_empty()) {
            // What the whole cluster waits for is not one more machine.
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
                Link::Omni => view(LinkState::Ok, "it answers".to_owned()),
                Link::ProviderStep | Link::ProxmoxTask => view(LinkState::Ok, "ready for machines".to_owned()),
                Link::Template if facts.template.is_some() => view(LinkState::Ok, "it is valid".to_owned()),
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
            Link::Omni => view(LinkState::Ok, "it answers".to_owned()),
            Link::Template if facts.template.is_none() => {
                view(LinkState::Unknown, format!("no file in clusters/ is the template of `{}`", cluster.name))
            }
            Link::Template => view(LinkState::Ok, "as many machines as in Omni".to_owned()),
            Link::Cluster => view(LinkState::Ok, noted(cluster.phase.clone())),
            Link::MachineSet => view(LinkState::Ok, count(cluster.machine_sets.len(), "machine set")),
            _ => view(LinkState::Ok, noted(format!("nothing is wrong with {machines}"))),
        }
    }
}

impl Vm {
    fn words(&self) -> String {
        let lock = self.lock.as_ref().map_or(String::new(), |lock| format!(" and locked ({lock})"));
        format!("{} is {}{lock}", self.place(), self.status)
    }

    /// `VM 104 on pve2`, with several providers `VM 104 on west/pve2`.
    fn place(&self) -> String {
        format!("VM {} on {}", self.id, self.host())
    }

    fn host(&self) -> String {
        host(self.site.as_deref(), &self.node)
    }
}

/// Who has to act for each machine that is on its way out. Omni resets Talos first and lets the machine leave etcd; then the
/// provider deletes the VM and takes its own finalizer away (omni v1.9.3 `machine_request_set_status.go`).
fn leaving(facts: &Facts) -> Vec<DepartingMachine> {
    let Some(view) = &facts.view else { return Vec::new() };
    let goes = |machine: &&MachineView| view.tearing_down || machine.leaving;
    let one = |machine: &MachineView| {
        let acts = match machine.party {
            Actor::Provider => format!("the provider `{}` deletes its VM", machine.provider),
            Actor::Machine => "the machine leaves its cluster, and Omni has no connection to it".to_owned(),
            Actor::Omni => "Omni resets the machine, which leaves etcd before".to_owned(),
            Actor::None => "Omni, once the workers are deleted".to_owned(),
        };
        let vm = vm_of(facts, machine);
        let mut remains: Vec<String> =
            vm.iter().map(|vm| format!("{}, with its disks and its seed image", vm.words())).collect();
        if machine.party != Actor::Provider && !machine.uuid.is_empty() {
            remains.push(format!("link {} in Omni", machine.uuid));
        }
        let held_by = facts.finalizers.get(&machine.request).cloned().unwrap_or_default();
        DepartingMachine { machine: machine.name().to_owned(), acts, held_by, remains }
    };
    view.machines().filter(goes).map(one).collect()
}

/// How the template differs from the cluster, in what both say of machine sets, and whether Omni lacks one.
fn differs(template: &ClusterTemplate, view: &ClusterView) -> Option<(String, bool)> {
    template.sets.iter().find_map(|set| {
        let (id, wanted) = (set.id(&template.name), u64::from(set.machine_count()?));
        match view.machine_sets.iter().find(|there| there.id == id) {
            None => Some((format!("Omni has no machine set {id}, which the template asks for"), true)),
            Some(there) if there.tearing_down && wanted > 0 => {
                Some((format!("Omni lets the machine set {id} go, which the template asks for"), false))
            }
            Some(there) if there.class.is_empty() || there.wanted == wanted => None,
            Some(there) => {
                let words =
                    format!("{id}: the template asks for {}, Omni has {}", count(wanted, "machine"), there.wanted);
                Some((words, false))
            }
        }
    })
}

fn vm_of<'a>(facts: &'a Facts, machine: &MachineView) -> Option<&'a Vm> {
    facts.vms.known()?.get(&machine.request)
}

/// Whether Proxmox was asked and says that the machine's VM runs.
fn runs(facts: &Facts, machine: &MachineView) -> bool {
    vm_of(facts, machine).is_some_and(|vm| vm.status == "running")
}

/// `demo-workers-a (VM 104 on pve2)`.
fn with_vm(facts: &Facts, machine: &MachineView) -> String {
    let vm = vm_of(facts, machine).map_or(String::new(), |vm| format!(" ({})", vm.place()));
    format!("{}{vm}", machine.name())
}

/// The console of a machine, with the page of Proxmox that shows it (pve-manager `www/manager6/Utils.js` `openVNCViewer`).
fn console(facts: &Facts, machine: &MachineView) -> String {
    match vm_of(facts, machine) {
        Some(Vm { id, node, url, .. }) if !url.is_empty() => {
            format!("its console ({url}/?console=kvm&novnc=1&vmid={id}&node={node})")
        }
        _ => "its console in Proxmox".to_owned(),
    }
}

fn age_of(age: u64) -> String {
    if age == 0 { String::new() } else { format!("unchanged for {}", minutes(age)) }
}

fn minutes(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(name: &str, party: Actor, stage: &str, waits_for: &str) -> MachineView {
        MachineView {
            request: name.to_owned(),
            uuid: format!("uuid-of-{name}"),
            provider: "proxmox".to_owned(),
            stage: stage.to_owned(),
            ready: party == Actor::None,
            connected: matches!(party, Actor::None | Actor::Omni),
            party,
            waits_for: waits_for.to_owned(),
            joining: stage == "Provisioned",
            since: clock::rfc3339_of(10_000),
            ..MachineView::default()
        }
    }

    fn facts(machines: Vec<MachineView>, vms: &[(&str, &str)]) -> Facts {
        let set = MachineSetView {
            id: "zebra-control-planes".to_owned(),
            control_plane: true,
            phase: "Running".to_owned(),
            ready: true,
            error: String::new(),
            class: "small".to_owned(),
            wanted: machines.len() as u64,
            healthy: 1,
            tearing_down: false,
            machines,
        };
        let view = ClusterView {
            name: "zebra".to_owned(),
            phase: "Running".to_owned(),
            ready: true,
            running: true,
            kubernetes_api_ready: true,
            load_balancer_healthy: Some(true),
            control_plane_ready: true,
            healthy: 1,
            total: 1,
            machine_sets: vec![set],
            ..ClusterView::default()
        };
        let vm = |(at, (name, status)): (usize, &(&str, &str))| {
            let (node, url) = ("pve2".to_owned(), "https://pve.example:8006".to_owned());
            let (status, lock) =
                status.split_once(' ').map_or((*status, None), |(status, lock)| (status, Some(lock.to_owned())));
            ((*name).to_owned(), Vm { id: 100 + at as u64, node, status: status.to_owned(), lock, site: None, url })
        };
        Facts {
            now: 10_060,
            cluster: "zebra".to_owned(),
            view: Some(view),
            vms: Observed::Known(vms.iter().enumerate().map(vm).collect()),
            no_vms: vms.is_empty(),
            ..Facts::default()
        }
    }

    fn ids(facts: &Facts) -> Vec<String> {
        explain(facts).causes.into_iter().map(|cause| cause.id).collect()
    }

    fn state(facts: &Facts, link: Link) -> LinkState {
        explain(facts).links.into_iter().find(|view| view.link == link).map_or(LinkState::Unknown, |view| view.state)
    }

    /// Omni keeps its flags for minutes: a VM that is stopped says so, one that is not found under this name proves nothing.
    #[test]
    fn vm_decides_where_omni_still_calls_a_machine_ready() {
        let ready = || machine("zebra-a", Actor::None, "Running", "");
        assert_eq!(ids(&facts(vec![ready()], &[("zebra-a", "running")])), [""; 0]);
        for (status, id, next) in [
            ("stopped", "vm-stopped", "qm start 100"),
            ("stopped suspended", "vm-stopped", "qm start 100"),
            ("stopped backup", "vm-locked", "pvesh get /nodes/pve2/tasks --vmid 100 --source active"),
            ("unknown", "node-offline", "cargo xtask proxmox-inventory"),
        ] {
            let found = explain(&facts(vec![ready()], &[("zebra-a", status)])).causes.remove(0);
            assert_eq!((found.id.as_str(), found.lasting, found.blocks), (id, true, true));
            assert_eq!(found.next, [next]);
        }
        let renamed = explain(&facts(vec![ready()], &[("other", "running")])).causes.remove(0);
        assert!(
            renamed.id == "vm-renamed" && !renamed.lasting && renamed.fix.contains("uuid-of-zebra-a"),
            "{renamed:?}"
        );
        let mut hidden = facts(vec![ready()], &[]);
        assert_eq!(ids(&hidden), ["vms-hidden"]);
        hidden.site = vec![Cause::new(Link::ProxmoxTask, "provider.permissions", "lacks")];
        assert_eq!(ids(&hidden), ["provider.permissions"]);
        assert_eq!([Link::Vm, Link::Kubernetes].map(|link| state(&hidden, link)), [LinkState::Unknown, LinkState::Ok]);
    }

    #[test]
    fn deleted_vm_is_replaced_or_let_go_by_its_link() {
        let lost = || machine("zebra-a", Actor::Machine, "Running", "the machine to come back");
        let next = |machine| explain(&facts(vec![machine], &[("other", "running")])).causes.remove(0).next;
        assert_eq!(next(lost()), ["cargo xtask machine-replace zebra-a"]);
        assert_eq!(next(MachineView { leaving: true, ..lost() }), ["omnictl delete link uuid-of-zebra-a"]);
        let step = |machine| explain(&facts(vec![machine], &[("other", "running")])).causes.remove(0).step;
        assert_eq!(step(lost()), Some(Step::task(&["machine-replace", "zebra-a"])));
        let unlink = Step::Unlink { uuid: "uuid-of-zebra-a".to_owned(), cluster: "zebra".to_owned() };
        assert_eq!(step(MachineView { leaving: true, ..lost() }), Some(unlink));
    }

    #[test]
    fn what_only_takes_its_time_is_waited_for() {
        for (party, stage, waits, link, late, id) in [
            (Actor::Machine, "Provisioned", "the machine to join Omni", Link::Join, JOINED, "machine-never-joins"),
            (Actor::Omni, "Installing", "to be ready", Link::Configuration, CONFIGURED, "machine-stuck"),
            (Actor::Omni, "Configuring", "to be ready", Link::Configuration, CONFIGURED, "etcd-not-formed"),
        ] {
            let mut seen = facts(vec![machine("zebra-a", party, stage, waits)], &[("zebra-a", "running")]);
            assert_eq!((ids(&seen).len(), state(&seen, link)), (0, LinkState::Waiting), "{stage}");
            seen.now = 10_000 + late;
            assert_eq!(ids(&seen), [id], "{stage}");
        }
        let pending = machine("zebra-a", Actor::Provider, "Pending", "the provider to accept the request");
        let seen = facts(vec![pending], &[("other", "running")]);
        assert_eq!(state(&seen, Link::MachineRequest), LinkState::Waiting);
        assert_eq!((state(&seen, Link::MachineSet), state(&seen, Link::Vm)), (LinkState::Ok, LinkState::Unknown));
    }

    /// A machine that is to wipe itself needs a VM that runs.
    #[test]
    fn stopped_vm_keeps_its_machine_from_leaving() {
        let mut leaves = machine("zebra-a", Actor::Omni, "Destroying", "the machine to leave the cluster");
        leaves.leaving = true;
        let mut seen = facts(vec![leaves], &[("zebra-a", "stopped")]);
        assert_eq!(ids(&seen), [""; 0], "it may be about to be deleted");
        seen.now += JOINED;
        assert_eq!(ids(&seen), ["vm-stopped"]);
    }

    /// The upgrade that Omni holds back is not one more machine (Omni 1.4.9, a control plane whose etcd is not healthy).
    #[test]
    fn unready_machine_is_shown_with_what_talos_reports() {
        let mut unready = machine("zebra-a", Actor::Omni, "Running", "the machine to be ready (running)");
        let snapshot = json!({ "machinestatus": { "stage": 4, "status": { "ready": false, "unmetconditions": [
            { "name": "serviceNotReady", "reason": "service \"etcd\" is not healthy" } ] } }, "powerstage": 0 });
        let snapshot = json!({ "metadata": { "id": "uuid-of-zebra-a" }, "spec": snapshot });
        unready.add_conditions(&serde_json::from_value(snapshot).unwrap());
        let mut seen = facts(vec![unready], &[("zebra-a", "running")]);
        seen.view.as_mut().unwrap().upgrade = "the upgrade of Kubernetes to 1.35.0 runs".to_owned();
        let found = explain(&seen).links;
        let link = found.iter().find(|found| found.link == Link::Configuration).unwrap();
        assert_eq!(
            link.evidence,
            "zebra-a (VM 100 on pve2) waits for the machine to be ready: service \"etcd\" is not healthy; the upgrade of Kubernetes to 1.35.0 runs"
        );
        seen.now += CONFIGURED;
        assert_eq!(
            explain(&seen).causes.remove(0).cause,
            "zebra-a talks to Omni and is not ready: service \"etcd\" is not healthy"
        );
    }

    /// Without an answer from Proxmox nothing is said of a VM.
    #[test]
    fn vm_is_said_to_run_only_where_proxmox_says_so() {
        for (stage, waits) in [("Running", "the machine to come back"), ("Provisioned", "the machine to join Omni")] {
            let mut seen = facts(vec![machine("zebra-a", Actor::Machine, stage, waits)], &[("zebra-a", "running")]);
            seen.now = 100_000;
            let cause = |seen: &Facts| explain(seen).causes.remove(0).cause;
            assert!(!cause(&seen).contains("not known"), "{}", cause(&seen));
            assert!(cause(&seen).contains("zebra-a (VM 100 on pve2)"), "{}", cause(&seen));
            let found = explain(&seen).causes.remove(0);
            assert!(
                found.fix.contains("https://pve.example:8006/?console=kvm&novnc=1&vmid=100&node=pve2"),
                "{found:?}"
            );
            assert_eq!(found.since.as_deref(), Some(clock::rfc3339_of(10_000).as_str()));
            seen.vms = Observed::Unknown("401".to_owned());
            assert!(cause(&seen).ends_with("it is not known whether its VM runs"), "{}", cause(&seen));
        }
    }

    #[test]
    fn independent_causes_are_all_named_and_the_blocking_one_first() {
        let waits = machine("zebra-a", Actor::Provider, "Provisioning", "the provider");
        let mut seen = facts(vec![waits, machine("zebra-b", Actor::None, "Running", "")], &[("zebra-b", "stopped")]);
        seen.site =
            vec![Cause::new(Link::Omni, "tsidp.claims", "logins"), Cause::new(Link::Network, "network.dns", "names")];
        seen.complaints.insert("zebra-a".to_owned(), Cause::new(Link::ProxmoxTask, "storage-thin-full", "full"));
        assert_eq!(ids(&seen), ["storage-thin-full", "vm-stopped", "tsidp.claims", "network.dns"]);
        // Names matter to a machine that is about to join, and a privilege to what Proxmox hides.
        let joins = machine("zebra-a", Actor::Machine, "Provisioned", "the machine to join Omni");
        let joining = Facts { site: seen.site.clone(), ..facts(vec![joins], &[("zebra-a", "running")]) };
        assert_eq!(ids(&joining), ["network.dns", "tsidp.claims"]);
        seen.site = vec![Cause::new(Link::ProxmoxTask, "provider.permissions", "lacks")];
        seen.complaints.insert("zebra-a".to_owned(), Cause::new(Link::ProviderStep, "storage-no-iso", "none"));
        assert_eq!(ids(&seen), ["provider.permissions", "vm-stopped"]);
        // A task that failed in Proxmox stays one where the provider has stopped since.
        seen.site.clear();
        seen.provider = Observed::Known(Some(Cause::new(Link::ProviderStep, "provider-stopped", "it does not run")));
        seen.complaints.insert("zebra-a".to_owned(), Cause::new(Link::ProxmoxTask, "machine-no-kvm", "no KVM"));
        assert_eq!(ids(&seen), ["provider-stopped", "machine-no-kvm", "vm-stopped"]);
        // So does what Proxmox answered, and not what the way there may have been the reason of.
        for (id, all) in [("pve-node-unknown", true), ("machine-in-ha", true), ("pve-name-unknown", false)] {
            seen.complaints.insert("zebra-a".to_owned(), Cause::new(Link::ProviderStep, id, "said"));
            assert_eq!(ids(&seen).iter().any(|known| known == id), all, "{id}");
        }
    }

    #[test]
    fn lock_is_shown_with_the_command_that_ends_it_and_breaks_nothing() {
        let mut seen = facts(vec![machine("zebra-a", Actor::None, "Running", "")], &[("zebra-a", "running")]);
        let view = seen.view.as_mut().unwrap();
        (view.locked, view.machine_sets[0].machines[0].locked) = (true, true);
        for (upgrade, state) in [("", LinkState::Ok), ("the upgrade of Talos to 1.13.9 runs", LinkState::Waiting)] {
            seen.view.as_mut().unwrap().upgrade = upgrade.to_owned();
            let Explanation { links, causes, .. } = explain(&seen);
            let shown = |link: Link| links.iter().find(|view| view.link == link).unwrap();
            let (cluster, machine) = (shown(Link::Cluster), shown(Link::Configuration));
            assert!(cluster.evidence.contains("`omnictl cluster unlock zebra`"), "{cluster:?}");
            assert!(machine.evidence.contains("`omnictl cluster machine unlock uuid-of-zebra-a`"), "{machine:?}");
            assert_eq!((causes, machine.state, machine.passes()), (Vec::new(), state, false));
        }
    }

    #[test]
    fn cluster_without_machines_that_omni_holds_for_long_names_who_holds_it() {
        let mut seen = facts(Vec::new(), &[]);
        let view = seen.view.as_mut().unwrap();
        (view.tearing_down, view.since) = (true, clock::rfc3339_of(10_000));
        view.held_by = vec!["BackupDataController".to_owned()];
        assert_eq!((ids(&seen), state(&seen, Link::Cluster)), (Vec::new(), LinkState::Waiting));
        seen.now = 10_000 + JOINED;
        let found = explain(&seen).causes.remove(0);
        assert_eq!((found.id.as_str(), found.evidence.as_str()), ("cluster-held", "BackupDataController"));
    }

    #[test]
    fn stopped_vms_are_causes_of_their_own() {
        let names = ["zebra-a", "zebra-b", "zebra-c", "zebra-d", "zebra-e"];
        let machines = names.map(|name| machine(name, Actor::None, "Running", "")).to_vec();
        let found = explain(&facts(machines, &names.map(|name| (name, "stopped"))));
        let causes: Vec<(&str, usize)> =
            found.causes.iter().map(|cause| (cause.evidence.as_str(), cause.next.len())).collect();
        assert_eq!(causes, [("", 1); 5]);
        let starts: std::collections::BTreeSet<&String> = found.causes.iter().flat_map(|cause| &cause.next).collect();
        assert_eq!(starts.len(), 5, "{starts:?}");
    }

    #[test]
    fn without_omni_the_root_is_named_and_the_rest_is_unknown() {
        let down = || Some(Cause::new(Link::Omni, "omni-certificate", "not trusted"));
        let site = vec![
            Cause::new(Link::Omni, "docker.containers", "down"),
            Cause::new(Link::Omni, "certificates.served", "old"),
        ];
        let seen = Facts { omni: down(), view: None, site, ..facts(Vec::new(), &[("zebra-a", "stopped")]) };
        assert_eq!(ids(&seen), ["certificates.served"]);
        let vm = explain(&seen).links.into_iter().find(|view| view.link == Link::Vm).unwrap();
        assert!(vm.state == LinkState::Unknown && vm.evidence.contains("VM 100 on pve2 is stopped"), "{vm:?}");
        assert_eq!(state(&seen, Link::ProviderStep), LinkState::Ok);
    }

    #[test]
    fn reason_of_omnis_own_stands_beside_what_this_host_lacks() {
        for (why, site, named) in [
            ("omni-foreign", "keys.account", &["omni-foreign", "keys.account"][..]),
            ("omni-certificate", "certificates.served", &["certificates.served"]),
            ("omni-timeout", "tools.compose", &["omni-timeout", "tools.compose"]),
            ("omni-unreachable", "docker.containers", &["docker.containers"]),
            ("omni-unreachable", "docker.engine", &["docker.engine"]),
            ("omni-login", "docker.engine", &["omni-login", "docker.engine"]),
        ] {
            let (omni, site) = (Some(Cause::new(Link::Omni, why, why)), vec![Cause::new(Link::Omni, site, site)]);
            let mut seen = Facts { omni, view: None, site, ..facts(Vec::new(), &[]) };
            assert_eq!(ids(&seen), named);
            // What keeps the sidecar from running says more than that containers do not run.
            seen.provider = Observed::Known(Some(Cause::new(Link::ProviderStep, "sidecar-down", "down")));
            let sidecar =
                ids(&seen).iter().filter(|id| ["sidecar-down", "docker.containers"].contains(&id.as_str())).count();
            assert!(sidecar == 1 && state(&seen, Link::Omni) != LinkState::Ok, "{why}: {:?}", ids(&seen));
        }
    }
}
