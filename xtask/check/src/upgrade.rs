//! The path from the installed versions to the target versions: ordered steps, each with its blockers, its warnings and whether
//! it can be undone. The facts are in [`domain::releases`]; a step beyond them has a warning.
//!
//! Order: Omni first, one minor at a time (it caps Talos, and its bugs decide which Talos it can manage), then the provider, then
//! Talos and Kubernetes of each cluster, interleaved so that each pair along the way is supported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::patch;
use crate::template::FileRead;
use domain::releases::{Bug, FlagChange, Severity, table};
use domain::spec::name;
use domain::spec::template::ClusterTemplate;
use domain::version::Minor;
use domain::version::{self, Version};
use domain::words::count;
use yaml::{Entry, Node};

/// A component whose version changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    Omni,
    Provider,
    /// The Talos of the cluster with this name.
    Talos(String),
    Kubernetes(String),
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Component::Omni => f.write_str("Omni"),
            Component::Provider => f.write_str("provider"),
            Component::Talos(cluster) => write!(f, "Talos of `{cluster}`"),
            Component::Kubernetes(cluster) => write!(f, "Kubernetes of `{cluster}`"),
        }
    }
}

/// The installed versions. `None` if a value could not be determined.
#[derive(Debug, Clone, Default)]
pub struct Installed {
    pub omni: Option<Version>,
    pub provider: Option<Version>,
    pub clusters: Vec<Cluster>,
    /// The flags of Omni's command line, without dashes and values.
    pub flags: Vec<String>,
    /// The dotted keys of Omni's configuration.
    pub keys: Vec<String>,
    /// The provider's ID.
    pub provider_id: Option<String>,
    /// What Omni offers; `None` if Omni was not queried.
    pub offered: Option<OfferedVersions>,
    /// Why there is no backup of Omni to go back to; `None` if there is one.
    pub no_backup: Option<String>,
}

/// The versions of Talos and Kubernetes that Omni offers, and the extensions available for each Talos.
#[derive(Debug, Clone, Default)]
pub struct OfferedVersions {
    pub talos: BTreeSet<Version>,
    pub kubernetes: BTreeSet<Version>,
    pub extensions: BTreeMap<Version, BTreeSet<String>>,
}

/// A cluster with its versions and the facts that affect its upgrade.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub name: String,
    pub talos: Version,
    pub kubernetes: Version,
    /// `None` if the health was not checked.
    pub healthy: Option<bool>,
    /// The Talos version of its oldest machine, if it is older than the cluster's.
    pub oldest_machine: Option<Version>,
    /// The number of machines whose image was not made by an image factory.
    pub without_factory: usize,
    /// The number of healthy control planes, and of all control planes.
    pub control_planes: Option<(u64, u64)>,
    pub files: ClusterFiles,
}

/// What the template of a cluster contains that a release may refuse.
#[derive(Debug, Clone, Default)]
pub struct ClusterFiles {
    /// Paths of v1alpha1 fields that its patches set, and kinds of its patch documents.
    pub fields: Vec<String>,
    pub documents: Vec<String>,
    pub extensions: BTreeSet<String>,
    /// Extensions that a single list names more than once.
    pub repeated: Vec<String>,
    /// Files outside the template's directory.
    pub outside: Vec<String>,
}

impl Cluster {
    /// Creates a cluster of which only the versions are known.
    pub fn new(name: &str, talos: Version, kubernetes: Version) -> Cluster {
        Cluster {
            name: name.to_owned(),
            talos,
            kubernetes,
            healthy: None,
            oldest_machine: None,
            without_factory: 0,
            control_planes: None,
            files: ClusterFiles::default(),
        }
    }
}

/// The versions to upgrade to; `None` leaves a component unchanged.
#[derive(Debug, Clone, Default)]
pub struct TargetVersions {
    /// Whether components that are already newer stay unchanged; otherwise they are a downgrade, which is blocked.
    pub keep_newer: bool,
    pub omni: Option<Version>,
    pub provider: Option<Version>,
    pub talos: Option<Version>,
    pub kubernetes: Option<Version>,
}

/// Why a step is blocked, or a warning about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The rule, for documentation and tests: `omni-skip`, `talos-kubernetes`, or the ID of a bug.
    pub rule: String,
    pub message: String,
    /// The source of the fact.
    pub source: String,
}

/// A single version change.
#[derive(Debug, Clone)]
pub struct Step {
    pub component: Component,
    pub from: Version,
    pub to: Version,
    pub blockers: Vec<Reason>,
    pub warnings: Vec<Reason>,
    /// What cannot be undone.
    pub irreversible: Option<String>,
}

impl Step {
    fn new(component: Component, from: &Version, to: &Version) -> Step {
        let (from, to) = (from.clone(), to.clone());
        Step { component, from, to, blockers: Vec::new(), warnings: Vec::new(), irreversible: None }
    }

    fn block(&mut self, rule: &str, message: impl Into<String>, source: &str) {
        self.blockers.push(Reason { rule: rule.to_owned(), message: message.into(), source: source.to_owned() });
    }

    fn warn(&mut self, rule: &str, message: impl Into<String>, source: &str) {
        self.warnings.push(Reason { rule: rule.to_owned(), message: message.into(), source: source.to_owned() });
    }

    fn bug(&mut self, bug: &Bug) {
        let message = format!("{} (fixed in {})", bug.harm, bug.fixed);
        match bug.severity {
            Severity::Block => self.block(&bug.id, message, &bug.source),
            Severity::Note => self.warn(&bug.id, message, &bug.source),
        }
    }
}

/// Returns all steps in order. A component has none if it already runs the target version or its version is unknown.
pub fn plan(installed: &Installed, wanted: &TargetVersions) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut now = installed.clone();
    if let (Some(from), Some(to)) = (&installed.omni, wanted.from(installed.omni.as_ref(), &wanted.omni)) {
        steps.extend(omni(from, to, &mut now));
    }
    if let (Some(from), Some(to)) = (&installed.provider, wanted.from(installed.provider.as_ref(), &wanted.provider)) {
        steps.extend(provider(from, to, &mut now));
    }
    for cluster in &installed.clusters {
        steps.extend(plan_cluster(cluster, wanted, &now));
    }
    steps
}

impl TargetVersions {
    /// Returns the version to which a component changes from `now`; `None` if it stays unchanged.
    fn from<'a>(&self, now: Option<&Version>, to: &'a Option<Version>) -> Option<&'a Version> {
        to.as_ref().filter(|to| !self.keep_newer || now.is_none_or(|now| now < *to))
    }
}

/// Plans Omni's upgrade one minor at a time, each to its last patch.
fn omni(from: &Version, to: &Version, now: &mut Installed) -> Vec<Step> {
    if from.cmp_precedence(to).is_eq() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    let mut at = from.clone();
    let newest = |minor| table().omni.iter().find(|release| release.minor == minor)?.newest.clone();
    while let Some(next) = next_version(&at, to, newest) {
        let mut step = Step::new(Component::Omni, &at, &next);
        pre_release(&mut step);
        if next < at {
            step.block("omni-down", "an older Omni rejects the newer store", "omni@v1.10.4 migration/manager.go");
        }
        warn_beyond_facts(&mut step, &table().facts.omni, table().omni(&next).and_then(|known| known.newest.as_ref()));
        if let Some(why) = &now.no_backup {
            let message = format!("{why}: create one with `cargo xtask omni-backup`; there is no other way back");
            step.warn("backup", message, "siderolabs/docs upgrading-omni.mdx");
        }
        for change in changes(&at, &next) {
            removed_flags(&mut step, change, now);
        }
        for note in table().notes.iter().filter(|note| note.at > at && note.at <= next) {
            step.warn("note", format!("{}: {}", note.at, note.text), &note.source);
        }
        if let (Some(old), Some(new)) = (table().api(&at), table().api(&next))
            && old != new
        {
            let message = format!("omnictl must be updated in the same step: API {old} to {new}");
            step.warn("omnictl-api", message, "data/releases.yaml");
        }
        for bug in table().bugs_of(Some(&next), None, None).filter(|bug| bug.omni.is_some() && bug.talos.is_none()) {
            step.bug(bug);
        }
        let id = now.provider_id.as_ref().filter(|id| name::check("provider", id).is_err());
        if let Some(id) = id.filter(|_| next >= Version::new(1, 10, 0)) {
            let message = format!(
                "the provider ID `{id}` is not a DNS label: the provider keeps working, but Omni 1.10 and later cannot create a provider with this ID again"
            );
            let source = "omni@v1.10.4 internal/backend/runtime/omni/validations/infra_provider.go";
            step.warn("provider-id-dns", message, source);
        }
        for cluster in &now.clusters {
            cluster_under_omni(&mut step, cluster, &at, &next);
        }
        let crossed = |release: &&domain::releases::OmniRelease| {
            release.migrates && release.minor > Minor::from(&at) && release.minor <= Minor::from(&next)
        };
        if table().omni.iter().any(|release| crossed(&release))
            || table().omni(&next).is_none_or(|known| known.talos.is_none())
        {
            step.irreversible = Some("the store is migrated: going back needs a backup".to_owned());
        }
        steps.push(step);
        at = next;
    }
    now.omni = Some(to.clone());
    // What the new Omni offers is known only once it runs.
    now.offered = None;
    steps
}

/// Adds what the next Omni does to a cluster that it manages.
fn cluster_under_omni(step: &mut Step, cluster: &Cluster, from: &Version, to: &Version) {
    let name = &cluster.name;
    unhealthy(step, cluster);
    let (oldest, files) = (cluster.oldest_machine.as_ref().unwrap_or(&cluster.talos), &cluster.files);
    for bug in
        table().bugs_of(Some(to), Some(&cluster.talos), None).filter(|bug| bug.omni.is_some() && bug.talos.is_some())
    {
        let before = table().bugs_of(Some(from), Some(&cluster.talos), None).any(|other| other.id == bug.id);
        // Upgrading to a fixed release may lead through releases that still have the bug.
        if before { step.warn(&bug.id, format!("cluster `{name}`: {}", bug.harm), &bug.source) } else { step.bug(bug) }
    }
    let least = table().talos_of_omni(to).map(|support| support.min);
    if let Some(least) = least.filter(|least| Minor::from(oldest) < *least && *to < Version::new(1, 11, 0)) {
        let message =
            format!("cluster `{name}` has machines with Talos {oldest}; Omni {to} supports {least} and later");
        step.warn("omni-talos-min", message, "omni constants");
    }
    if *to >= Version::new(1, 11, 0) && Minor::from(oldest) < Minor::new(1, 9) {
        let message = format!(
            "cluster `{name}` has machines with Talos {oldest}; Omni 1.11 and later support only Talos 1.9 and later"
        );
        step.block("machines-old", message, "docs Talos Version Support Policy");
    }
    if *to >= Version::new(1, 11, 0) && cluster.without_factory > 0 {
        let machines = count(cluster.without_factory, "machine");
        let message = format!(
            "cluster `{name}` has {machines} with an image that no image factory built, which Omni 1.11 and later may reject"
        );
        step.block("machines-old", message, "omni#1eecc480 config.go NonImageFactoryFailOnStart");
    }
    if let Some(first) = files.outside.first().filter(|_| crosses(Minor::new(1, 8), from, to)) {
        let message = format!(
            "the template of cluster `{name}` references `{first}`, which is outside of its directory: omnictl 1.8 and later reject that"
        );
        step.block("template-file-outside", message, "CL 1.8.0");
    }
    if let Some(first) = files.repeated.first().filter(|_| crosses(Minor::new(1, 9), from, to)) {
        let message = format!(
            "the template of cluster `{name}` lists the extension `{first}` more than once, which Omni 1.9 and later reject"
        );
        step.block("extension-repeated", message, "CL 1.9.0");
    }
    for entry in table().forbidden.fields.iter().filter(|entry| crosses(entry.since, from, to)) {
        for field in entry.paths.iter().filter(|path| files.fields.contains(path)) {
            let message =
                format!("a patch of cluster `{name}` sets `{field}`, which omnictl {} and later reject", entry.since);
            step.block("patch-forbidden", message, "omni client/pkg/omni/resources/omni/config_patch.go");
        }
    }
    let documents = &table().forbidden.documents;
    if crosses(documents.since, from, to) {
        for kind in documents.kinds.iter().filter(|kind| files.documents.contains(kind)) {
            let message = format!(
                "a patch of cluster `{name}` has a `{kind}`, which omnictl {} and later reject",
                documents.since
            );
            step.block("patch-forbidden", message, "omni client/pkg/omni/resources/omni/config_patch.go");
        }
    }
}

fn crosses(since: Minor, from: &Version, to: &Version) -> bool {
    Minor::from(from) < since && Minor::from(to) >= since
}

/// Returns the flag changes after `from`, up to and including `to`.
fn changes<'a>(from: &'a Version, to: &'a Version) -> impl Iterator<Item = &'static FlagChange> + 'a {
    table().flags.iter().filter(move |change| change.since > *from && change.since <= *to)
}

fn removed_flags(step: &mut Step, change: &FlagChange, now: &Installed) {
    for flag in change.removes.iter().filter(|flag| now.flags.contains(flag)) {
        let message = format!("docker/compose.yaml sets `--{flag}`, which Omni {} and later reject", change.since);
        step.block("flag-removed", message, &change.source);
    }
    for key in change.removes_keys.iter().filter(|key| now.keys.contains(key)) {
        let message = format!("Omni's configuration has `{key}`, which Omni {} and later reject", change.since);
        step.block("flag-removed", message, &change.source);
    }
    for flag in change.requires.iter().filter(|flag| !now.flags.is_empty() && !now.flags.contains(flag)) {
        let message = format!("docker/compose.yaml lacks `--{flag}`, which Omni {} and later require", change.since);
        step.block("flag-required", message, &change.source);
    }
}

fn provider(from: &Version, to: &Version, now: &mut Installed) -> Vec<Step> {
    if from.cmp_precedence(to).is_eq() {
        return Vec::new();
    }
    let mut step = Step::new(Component::Provider, from, to);
    pre_release(&mut step);
    let known = table().provider.iter().rev().find(|known| Minor::from(&known.version) == Minor::from(to));
    warn_beyond_facts(&mut step, &table().facts.provider, known.map(|known| &known.version));
    for release in table().provider.iter().filter(|release| release.version > *from && release.version <= *to) {
        if let (Some(range), Some(omni)) = (&release.omni, &now.omni)
            && !range.contains(omni)
        {
            let message = format!("provider {} does not run with Omni {omni}: update Omni first", release.version);
            step.block("provider-omni", message, &release.source);
        }
        if let Some(text) = &release.text {
            step.warn("note", format!("{}: {text}", release.version), &release.source);
        }
    }
    for bug in table().bugs_of(None, None, Some(to)).filter(|bug| bug.provider.is_some()) {
        step.bug(bug);
    }
    now.provider = Some(to.clone());
    vec![step]
}

/// Plans Talos and Kubernetes of one cluster, a minor at a time, in an order in which every pair is supported.
fn plan_cluster(cluster: &Cluster, wanted: &TargetVersions, now: &Installed) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut talos, mut kubernetes) = (cluster.talos.clone(), cluster.kubernetes.clone());
    let last_talos = wanted.from(Some(&talos), &wanted.talos).unwrap_or(&talos).clone();
    let last_kubernetes = wanted.from(Some(&kubernetes), &wanted.kubernetes).unwrap_or(&kubernetes).clone();
    // Each round upgrades one of the two by one minor.
    for _ in 0..64 {
        let next_talos = next_version(&talos, &last_talos, |minor| {
            table().talos.iter().find(|known| known.minor == minor)?.newest.clone()
        });
        let next_kubernetes = next_version(&kubernetes, &last_kubernetes, |_| None);
        let fits = |talos: &Version, kubernetes: &Version| unsupported(talos, kubernetes).is_none();
        let mut step = match (next_talos, next_kubernetes) {
            (None, None) => break,
            (Some(to), more) if fits(&to, &kubernetes) || more.as_ref().is_none_or(|k| !fits(&talos, k)) => {
                let mut step = Step::new(Component::Talos(cluster.name.clone()), &talos, &to);
                talos_step(&mut step, &kubernetes, now.omni.as_ref());
                check_rolling(&mut step, cluster, now);
                talos = to;
                step
            }
            (_, Some(to)) => {
                let mut step = Step::new(Component::Kubernetes(cluster.name.clone()), &kubernetes, &to);
                kubernetes_step(&mut step, &talos);
                block_if_not_offered(&mut step, now.offered.as_ref().map(|offered| &offered.kubernetes), "Kubernetes");
                kubernetes = to;
                step
            }
            (Some(_), None) => break,
        };
        pre_release(&mut step);
        unhealthy(&mut step, cluster);
        steps.push(step);
    }
    steps
}

/// Checks whether the machines of a cluster can be taken down one after another.
fn check_rolling(step: &mut Step, cluster: &Cluster, now: &Installed) {
    let (name, to) = (&cluster.name, step.to.clone());
    match cluster.control_planes {
        Some((healthy, total)) if total > 2 && healthy < total / 2 + 2 => {
            let message = format!(
                "cluster `{name}` has {healthy} of {total} control planes healthy: etcd would lose its quorum while another one restarts"
            );
            step.block("etcd-quorum", message, "etcd");
        }
        Some((_, total @ 1..=2)) => {
            let planes = count(total as usize, "control plane");
            let message = format!("clusters with {planes} have no Kubernetes API while one restarts");
            step.warn("etcd-quorum", message, "etcd");
        }
        _ => {}
    }
    let drains = now.omni.as_ref().is_none_or(|omni| *omni >= Version::new(1, 10, 0)) && to >= Version::new(1, 13, 0);
    if drains {
        let message = "each node is drained first; this tool cannot see whether a PodDisruptionBudget allows that: `kubectl get poddisruptionbudgets -A` must show no 0 under ALLOWED DISRUPTIONS";
        step.warn("drain-pdb", message, "CL 1.10.0");
    }
    let offered = now.offered.as_ref();
    block_if_not_offered(step, offered.map(|offered| &offered.talos), "Talos");
    let missing = |catalog: &BTreeSet<String>| -> Vec<String> {
        cluster.files.extensions.iter().filter(|wanted| !catalog.contains(*wanted)).cloned().collect()
    };
    match offered.and_then(|offered| offered.extensions.get(&to)).map(missing).as_deref() {
        _ if cluster.files.extensions.is_empty() => {}
        Some([]) => {}
        Some(missing) => {
            let message = format!("Talos {to} has no extension {}, which cluster `{name}` lists", missing.join(", "));
            step.block("extension-missing", message, "Omni: talosextensions");
        }
        None => {
            let why = if offered.is_some() {
                "Omni lists none for it"
            } else {
                "the Omni that would list them was not queried"
            };
            let message = format!("whether Talos {to} has the extensions of the templates is unknown: {why}");
            step.warn("extension-missing", message, "Omni: talosextensions");
        }
    }
}

/// Blocks a version that Omni does not offer: the image factory lacks it, this Omni is too old for it, or Omni has no list yet.
fn block_if_not_offered(step: &mut Step, offered: Option<&BTreeSet<Version>>, what: &str) {
    let Some(offered) = offered.filter(|offered| !offered.contains(&step.to)) else { return };
    let message = match offered.is_empty() {
        true => format!("Omni offers no {what} versions: it has not reached its image factory"),
        false => format!("Omni offers no {what} {}", step.to),
    };
    step.block("not-offered", message, "Omni: talosversions");
}

/// Warns if the facts end before the version of a step: it is beyond the newest release, or the newest patch of its minor.
fn warn_beyond_facts(step: &mut Step, newest: &Version, of_minor: Option<&Version>) {
    let to = &step.to;
    let date = &table().facts.date;
    if Minor::from(to) > Minor::from(newest) {
        let message = format!("no data beyond {newest}: read the release notes of {to}");
        step.warn("facts-end", message, "data/releases.yaml");
    } else if of_minor.is_none_or(|patch| to > patch) {
        let message = match of_minor {
            Some(patch) => {
                format!("the newest known patch of {} is {patch} ({date}): make sure that {to} exists", Minor::from(to))
            }
            None => format!("{to} is not known ({date}): make sure that it exists"),
        };
        step.warn("facts-end", message, "data/releases.yaml");
    }
}

/// Returns the next version: upward one minor at a time; downward or within a minor in one step.
fn next_version(now: &Version, last: &Version, newest: impl Fn(Minor) -> Option<Version>) -> Option<Version> {
    if now.cmp_precedence(last).is_eq() {
        return None;
    }
    let (from, to) = (Minor::from(now), Minor::from(last));
    if from.major != to.major || from.minor + 1 >= to.minor {
        return Some(last.clone());
    }
    let minor = Minor::new(from.major, from.minor + 1);
    Some(newest(minor).unwrap_or_else(|| Version::new(minor.major, minor.minor, 0)))
}

/// Returns which Kubernetes versions a Talos supports, if not this one; `None` beyond the facts.
fn unsupported(talos: &Version, kubernetes: &Version) -> Option<String> {
    let (least, most) = table().kubernetes_of_talos(Minor::from(talos))?;
    let supported = (least..=most).contains(&Minor::from(kubernetes));
    (!supported).then(|| format!("Talos {talos} supports Kubernetes {least} to {most}"))
}

fn talos_step(step: &mut Step, kubernetes: &Version, omni: Option<&Version>) {
    let (from, to) = (step.from.clone(), step.to.clone());
    let known = table().talos(&to);
    warn_beyond_facts(step, &table().facts.talos, known.and_then(|known| known.newest.as_ref()));
    if let Some(supports) = unsupported(&to, kubernetes) {
        let message = format!("{supports}, the cluster runs {kubernetes}");
        step.block("talos-kubernetes", message, "talos pkg/machinery/compatibility");
    }
    if to < from && Minor::from(&to) < Minor::from(&from) {
        step.block(
            "talos-down",
            "Talos on control planes cannot be downgraded to an earlier minor version",
            "omni versions.go",
        );
    }
    if let Some(least) = known.and_then(|known| known.from).filter(|least| Minor::from(&from) < *least) {
        let message = format!("upgrading to Talos {to} requires {least} or later");
        step.block("talos-jump", message, "talos pkg/machinery/compatibility");
    }
    if let Some(omni) = omni {
        match table().talos_of_omni(omni) {
            Some(support) if Minor::from(&to) < support.min => {
                let message = format!("Omni {omni} supports Talos {} and later", support.min);
                step.block("omni-talos-min", message, "omni constants");
            }
            Some(support) if support.max.is_some_and(|most| Minor::from(&to) > most) => {
                let most = support.max.map(|most| most.to_string()).unwrap_or_default();
                step.block("omni-talos-cap", format!("Omni {omni} supports Talos up to {most}"), "omni constants");
            }
            None => {
                let message = format!(
                    "it is not known which Talos versions Omni {omni} supports: no data beyond Omni {}",
                    table().facts.omni
                );
                step.warn("facts-end", message, "data/releases.yaml");
            }
            _ => {}
        }
    }
    for bug in table().bugs_of(omni, Some(&to), None).filter(|bug| bug.talos.is_some()) {
        step.bug(bug);
    }
}

fn kubernetes_step(step: &mut Step, talos: &Version) {
    let (from, to) = (Minor::from(&step.from), Minor::from(&step.to));
    if to > Minor::from(&table().facts.kubernetes) {
        step.warn("facts-end", format!("no data beyond Kubernetes {}", table().facts.kubernetes), "data/releases.yaml");
    }
    if to < from {
        step.block(
            "kubernetes-down",
            "Kubernetes cannot be downgraded to an earlier minor version",
            "kubernetes version skew policy",
        );
    }
    if let Some(message) = unsupported(talos, &step.to) {
        step.block("talos-kubernetes", message, "talos pkg/machinery/compatibility");
    }
    step.irreversible = (to > from).then(|| "Kubernetes cannot be downgraded to an earlier minor version".to_owned());
}

fn unhealthy(step: &mut Step, cluster: &Cluster) {
    if cluster.healthy == Some(false) {
        let message = format!("cluster `{}` is not healthy: repair it first", cluster.name);
        step.block("cluster-unhealthy", message, "docs");
    }
}

fn pre_release(step: &mut Step) {
    if !step.to.pre.is_empty() && step.from.pre.is_empty() {
        step.block("pre-release", format!("{} is a pre-release", version::bare(&step.to)), "semver");
    }
}

/// Collects what a template contains that a release may refuse. `read` reads a file that the template names.
pub fn collect_files(template: &ClusterTemplate, read: impl Fn(&str) -> FileRead) -> ClusterFiles {
    let mut found = ClusterFiles::default();
    let outside = template.files().into_iter().filter(|(file, _)| matches!(read(file), FileRead::Outside));
    found.outside.extend(outside.map(|(file, _)| file.to_owned()));
    let lists = template.sets.iter().map(|set| &set.system_extensions);
    let lists = lists.chain(template.machines.iter().map(|machine| &machine.system_extensions));
    for list in lists.chain([&template.system_extensions]).flatten() {
        let mut own = BTreeSet::new();
        found.repeated.extend(list.iter().filter(|extension| !own.insert(*extension)).cloned());
        found.extensions.extend(list.iter().cloned());
    }
    let of_sets = template.sets.iter().flat_map(|set| &set.patches);
    let of_machines = template.machines.iter().flat_map(|machine| &machine.patches);
    for set in template.patches.iter().chain(of_sets).chain(of_machines) {
        let content = match (&set.inline, &set.file) {
            (Some(inline), _) => patch::check_inline("patch", inline, set.at, patch::PatchContext::default()).content,
            (None, Some((file, _))) => match read(file) {
                FileRead::Bytes(bytes) => patch::check_file(file, &bytes, patch::PatchContext::default()).content,
                _ => None,
            },
            (None, None) => None,
        };
        for document in content.iter().flat_map(|content| &content.documents) {
            match document.get("kind").and_then(Node::text) {
                Some(kind) => found.documents.push(kind.to_owned()),
                None => found.fields.extend(paths(document)),
            }
        }
    }
    found
}

/// Returns the dotted paths of all entries below a node.
pub fn paths(node: &Node) -> Vec<String> {
    entries(node, "").into_iter().map(|(path, _)| path).collect()
}

/// Returns all entries below a node, with their dotted paths prefixed by `above`.
pub(crate) fn entries<'n>(node: &'n Node, above: &str) -> Vec<(String, &'n Entry)> {
    let mut found = Vec::new();
    for entry in node.entries() {
        let path = if above.is_empty() { entry.key.clone() } else { format!("{above}.{}", entry.key) };
        found.extend(entries(&entry.value, &path));
        found.push((path, entry));
    }
    found
}
