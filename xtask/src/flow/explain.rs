//! What blocks a cluster: gathers everything that Omni, the provider, Proxmox and this host report about it, for
//! [`check::explain`] to evaluate.
//!
//! Best effort; the number of calls does not grow with the fleet. A service that cannot be queried is unknown, never a cause.

mod complaints;
mod providers;
pub mod subject;

use std::collections::BTreeMap;

use crate::prelude::*;
use check::diagnosis::{Area, State};
use check::explain::{Cause, Explanation, Facts, Link, REFUSES, Step, Vm, explain};
use check::timeline::describe_reference;
use domain::clock;
use domain::scrub::REMOVED;
use domain::spec::template::ClusterTemplate;
use domain::status::cluster::{Actor, ClusterView, MachineView};
use domain::status::docker::Container;
use domain::status::omni::ProviderHealth;
use domain::status::proxmox::{Observed, Selection};
use runtime::files;
use runtime::parallel::{NO_LIMIT, map_all, run_both};
use runtime::tool::compose::{Compose, OMNI};
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;
use runtime::triage::{Hit, Issues};
use yaml::Finding;

use self::complaints::request_causes;
use self::providers::provider_task;
use self::subject::Subject;
use crate::cli::ClusterExplain;
use crate::flow::omni_stack::OmniAddress;
use crate::flow::{
    audit, cluster, cluster_tree, doctor, inputs, lookup, provider, provider_log, proxmox, timeline, vms,
};

/// How many machines' tasks are looked up: further ones fail for the same reason.
const MAX_TASK_LOOKUPS: usize = 3;

/// Gathers the whole chain of a cluster, including the checks of the installation and the template.
pub fn gather_facts(cx: &Cx, omnictl: Result<&Omnictl<'_>, &Failure>, cluster: &str) -> Facts {
    let sites = provider::contexts_of_cluster(cx, omnictl, cluster);
    let cx = &provider::context_of_sites(cx, &sites);
    let view = || match omnictl {
        Ok(omnictl) if cluster.is_empty() => omnictl.get("sysversions", "current").map(|_| None),
        Ok(omnictl) => cluster::observe(omnictl, cluster),
        Err(failure) => Err(failure.clone()),
    };
    let health = || OmniAddress::of(cx).map(|at| at.healthy(cx));
    let ((seen, template), ((site, health), around)) = run_both(
        || run_both(view, || template(cx, omnictl.ok(), cluster)),
        || {
            run_both(
                || run_both(|| doctor::verdicts(cx, checks()), health),
                || outside_facts(&sites, omnictl.ok(), cluster, true),
            )
        },
    );
    let (view, omni) = match seen {
        Ok(view) => (view.map(|view| with_conditions(omnictl.ok(), view)), None),
        Err(failure) => (None, Some(omni_not_queried(failure))),
    };
    let mut own = site_causes(cx, &site, &around, omni.is_none());
    if let Some(view) = &view {
        own.retain(|cause| cause.id != "provider.permissions" || lacks_privileges(cx, view));
    }
    // These refusals do not depend on Omni's health, and a timeout is explained by an unhealthy Omni.
    if let Some(Err(failure)) = health {
        let leaves_open = |why: &Cause| match why.id.as_str() {
            "omnictl-version" | "omni-login" | "omni-refuses" | "omni-licence" => true,
            "omni-timeout" => failure.code == Code::Failed,
            _ => false,
        };
        if omni.as_ref().is_none_or(leaves_open) {
            own.retain(|cause| cause.id != "omni.health");
            own.insert(0, Cause { id: "omni-unhealthy".to_owned(), ..omni_not_queried(failure) });
        }
    }
    let mut facts = facts(cx, omnictl.ok(), cluster, view, around);
    (facts.template, facts.template_error) = template;
    // The sidecar is unhealthy without its login, so the login is the cause to report.
    let login = own.iter().find(|cause| cause.id == "tailscale.state");
    if let (Observed::Known(Some(found)), Some(login)) = (&mut facts.provider, login)
        && found.id == "sidecar-down"
    {
        *found = login.clone();
    }
    facts.site = own;
    facts.finalizers = omnictl.map(|omnictl| finalizers(omnictl, &facts)).unwrap_or_default();
    facts.omni = omni;
    facts
}

/// Returns the causes that Omni's view of a cluster, the provider and Proxmox show. Makes few calls: a wait repeats it often.
pub fn blocking_causes(cx: &Cx, omnictl: &Omnictl<'_>, view: &ClusterView) -> Vec<Cause> {
    let waits = view.machines().any(|machine| machine.party == Actor::Provider);
    let sites = provider::contexts_of_providers(cx, view.machines().map(|machine| machine.provider.as_str()));
    let cx = &provider::context_of_sites(cx, &sites);
    let around = outside_facts(&sites, Some(omnictl), &view.name, waits);
    let mut found = explain(&facts(cx, Some(omnictl).filter(|_| waits), &view.name, Some(view.clone()), around)).causes;
    found.retain(|cause| cause.blocks);
    found.sort_by_key(|cause| !cause.lasting);
    found
}

/// Returns the facts of a running cluster and its VMs.
pub fn running_cluster_facts(cx: &Cx, omnictl: &Omnictl<'_>, name: &str) -> Option<Facts> {
    let view = cluster::observe(omnictl, name).ok()??;
    let sites = provider::contexts_of_providers(cx, view.machines().map(|machine| machine.provider.as_str()));
    let around = outside_facts(&sites, None, name, false);
    Some(facts(&provider::context_of_sites(cx, &sites), None, name, Some(view), around))
}

/// Facts from outside of Omni: containers, and each provider that creates machines of the cluster.
struct OutsideFacts {
    containers: Result<Vec<Container>, Failure>,
    sites: Vec<Site>,
    /// What Omni knows about this project's first provider, if it was queried.
    registered: Option<Registered>,
}

/// A provider's log, and the VMs of this cluster in its Proxmox.
struct Site {
    id: String,
    /// The command that checks the provider.
    verify: String,
    log: String,
    proxmox: Result<Proxmox, Failure>,
    vms: Result<Selection, Failure>,
}

type Registered = Result<Option<ProviderHealth>, Failure>;

impl OutsideFacts {
    /// The site of a provider; the only site if the provider does not belong to this project.
    fn site(&self, provider: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.id == provider).or(self.sites.first())
    }
}

/// With `stack`, also queries Docker for the containers and logs, and Omni, if possible, for the provider.
fn outside_facts(sites: &[Cx], omnictl: Option<&Omnictl<'_>>, cluster: &str, stack: bool) -> OutsideFacts {
    let prefix = format!("{cluster}-");
    let ours = |vm: &Value| !cluster.is_empty() && vm["name"].as_str().is_some_and(|name| name.starts_with(&prefix));
    let look = |cx: &Cx| {
        let proxmox = proxmox::login_quietly(cx);
        let list = || {
            let proxmox = proxmox.as_ref().map_err(Failure::clone)?;
            let mut found = proxmox::list_vms(cx, proxmox, &ours)?;
            vms::refresh_states(cx, proxmox, &mut found.entries);
            Ok(found)
        };
        let log =
            || compose(cx, stack).and_then(|compose| compose.log(&cx.settings.provider_service(), provider_log::TAIL));
        let (vms, log) = run_both(|| list().map_err(|failure| provider::failure_with_flag(cx, failure)), log);
        let id = cx.settings.provider_id(None).value;
        let verify = format!("cargo xtask {}", provider_task(cx, &id, "provider-verify").join(" "));
        Site { id, verify, log: log.unwrap_or_default(), proxmox, vms }
    };
    let containers = || sites.first().map_or_else(|| Err(not_queried()), |cx| compose(cx, stack)?.containers());
    let registered =
        || Some(provider::registration(sites.first()?, omnictl.filter(|_| stack)?, &sites[0].provider_ids()[0]));
    let ((sites, registered), containers) =
        run_both(|| run_both(|| map_all(sites, NO_LIMIT, look), registered), containers);
    OutsideFacts { containers, sites, registered }
}

fn not_queried() -> Failure {
    Failure::new(Code::Prerequisite, "docker was not queried")
}

fn compose(cx: &Cx, stack: bool) -> Result<Compose<'_>, Failure> {
    if stack { Compose::find(cx) } else { Err(not_queried()) }
}

fn facts(
    cx: &Cx,
    omnictl: Option<&Omnictl<'_>>,
    cluster: &str,
    view: Option<ClusterView>,
    around: OutsideFacts,
) -> Facts {
    let system = cx.now();
    // Omni's clock may be ahead of this host's.
    let newest =
        view.iter().flat_map(ClusterView::machines).filter_map(|machine| clock::parse_rfc3339(&machine.since)).max();
    let (provider, beat) = providers::provider(cx, omnictl, view.as_ref(), &around);
    let mut facts = Facts {
        now: system.max(newest.unwrap_or(0)).max(beat),
        cluster: cluster.to_owned(),
        provider,
        no_vms: around.sites.iter().all(|site| site.vms.as_ref().is_ok_and(|found| found.list_is_empty)),
        view,
        ..Facts::default()
    };
    add_vms(&mut facts, &around);
    facts.complaints = request_causes(cx, omnictl, &facts, &around);
    facts
}

/// Adds the VMs of every site. With several sites, those of a site that does not list them are marked as unseen.
fn add_vms(facts: &mut Facts, around: &OutsideFacts) {
    let mut found = BTreeMap::new();
    for site in &around.sites {
        match (proxmox_cause(&site.vms, &site.verify), &facts.proxmox) {
            (Observed::Known(Some(cause)), Observed::Known(None) | Observed::Unknown(_)) if around.sites.len() > 1 => {
                let words = format!("provider `{}`: {}", site.id, cause.cause);
                facts.proxmox = Observed::Known(Some(Cause { cause: words, ..cause }));
            }
            (cause, Observed::Known(None)) => facts.proxmox = cause,
            _ => {}
        }
        let why = match &site.vms {
            Ok(vms) if vms.list_is_empty && !facts.no_vms => "Proxmox shows no VM to the provider's login",
            Ok(vms) => {
                found.extend(vms.entries.iter().filter_map(|vm| vm_in_list(site, vm)));
                continue;
            }
            Err(failure) => &failure.message,
        };
        facts.unseen.insert(site.id.clone(), format!("the VMs of provider `{}`: {why}", site.id));
    }
    facts.vms = match around.sites.as_slice() {
        [Site { vms: Err(failure), .. }] => Observed::Unknown(failure.message.clone()),
        _ => Observed::Known(found),
    };
}

/// Adds what Talos reports about machines that Omni reaches but that are not ready; of many, only the first few are queried.
fn with_conditions(omnictl: Option<&Omnictl<'_>>, mut view: ClusterView) -> ClusterView {
    let machines = view.machine_sets.iter_mut().flat_map(|set| &mut set.machines);
    let unready = machines.filter(|machine| machine.party == Actor::Omni && !machine.leaving).take(MAX_TASK_LOOKUPS);
    map_all(unready, NO_LIMIT, |machine| {
        let found = omnictl.and_then(|omnictl| omnictl.get("machinestatussnapshots", &machine.uuid).ok()?);
        found.iter().for_each(|found| machine.add_conditions(found));
    });
    view
}

/// Returns the finalizers of machine requests that are being removed; of many, only the first few are queried.
fn finalizers(omnictl: &Omnictl<'_>, facts: &Facts) -> BTreeMap<String, Vec<String>> {
    let leaving = facts
        .view
        .iter()
        .flat_map(ClusterView::machines)
        .filter(|machine| machine.leaving && !machine.request.is_empty());
    let ask = |machine: &MachineView| {
        Some((machine.request.clone(), omnictl.get("machinerequests", &machine.request).ok()??.metadata.finalizers))
    };
    map_all(leaving.take(MAX_TASK_LOOKUPS), NO_LIMIT, ask).into_iter().flatten().collect()
}

fn vm_in_list(site: &Site, vm: &Value) -> Option<(String, Vm)> {
    let text = |key: &str| vm[key].as_str().map(str::to_owned);
    let url = site.proxmox.as_ref().map_or(String::new(), |proxmox| proxmox.url.clone());
    let (id, node, status, site) = (vm["vmid"].as_u64()?, text("node")?, text("status")?, text("site"));
    Some((text("name")?, Vm { id, node, status, lock: text("lock"), site, url }))
}

/// The cause if Proxmox refuses. Unknown if it is not set up here, has no https address, or this host's proxy cannot reach it.
fn proxmox_cause(vms: &Result<Selection, Failure>, verify: &str) -> Observed<Option<Cause>> {
    match vms {
        Ok(_) => Observed::Known(None),
        Err(failure)
            if failure.kind == Kind::Proxy
                || matches!(
                    failure.code,
                    Code::Prerequisite | Code::MissingInput | Code::Invalid | Code::Interrupted
                ) =>
        {
            Observed::Unknown(failure.message.clone())
        }
        Err(Failure { code, kind, message, cause, hint, next, .. }) => {
            let id = match (kind, code) {
                (Kind::Certificate, _) => "proxmox-certificate",
                (_, Code::Refused) => REFUSES,
                _ => "proxmox-unreachable",
            };
            let fix =
                if hint.is_empty() { "check whether Proxmox accepts the provider's login" } else { hint.as_str() };
            let next = next.first().map_or(verify, String::as_str);
            // It may recover in a moment: the provider retries too.
            Observed::Known(Some(
                Cause::new(Link::ProxmoxTask, id, message).evidence(cause).fix(fix, next).lasting(false),
            ))
        }
    }
}

/// Why Omni cannot be queried.
fn omni_not_queried(failure: Failure) -> Cause {
    let id = match (failure.kind, failure.code) {
        (Kind::Certificate, _) => "omni-certificate",
        (Kind::Licence, _) => "omni-licence",
        (Kind::Version, _) => "omnictl-version",
        (Kind::Foreign, _) => "omni-foreign",
        (_, Code::Unreachable) => "omni-unreachable",
        (_, Code::Refused) => "omni-refuses",
        (_, Code::Timeout) => "omni-timeout",
        (_, Code::MissingInput) => "omni-login",
        _ => "omni-unasked",
    };
    let fix = if failure.hint.is_empty() { "check the connection between this host and Omni" } else { &failure.hint };
    let next = failure.next.first().map_or("cargo xtask omni-status", String::as_str);
    Cause::new(Link::Omni, id, &failure.message).evidence(&failure.cause).fix(fix, next)
}

/// Returns the cluster's template in this project, checked against what Omni has, and the first error in it. Without a cluster,
/// only the lack of Talos versions is reported.
fn template(cx: &Cx, omnictl: Option<&Omnictl<'_>>, cluster: &str) -> (Option<ClusterTemplate>, Option<Cause>) {
    let path = inputs::cluster_file(cx, cluster);
    let list = |kind: &'static str| omnictl.and_then(|omnictl| omnictl.list(kind, None).ok());
    let (classes, talos) = run_both(|| list("machineclasses"), || list("talosversions"));
    let no_versions = talos.as_ref().is_some_and(Vec::is_empty).then(|| {
        let words = "Omni offers no Talos version: it has not reached its image factory";
        let fix = "let Omni reach factory.talos.dev; its list fills within minutes";
        Cause::new(Link::Template, "no-talos-versions", words).fix(fix, "cargo xtask omni-verify")
    });
    let bytes = if cluster.is_empty() { None } else { files::read_optional_text(&path).ok().flatten() };
    let Some(bytes) = bytes else { return (None, no_versions) };
    let classes = classes.as_deref().map(lookup::parse_classes);
    let versions = talos.as_deref().and_then(lookup::parse_talos_versions);
    let facts = inputs::TemplateFacts {
        omni_classes: classes.as_deref(),
        talos_versions: versions.as_deref(),
        ..Default::default()
    };
    let checked = inputs::check_template(cx, &path, bytes.as_bytes(), &facts);
    // A file with this name may contain the template of another cluster.
    if checked.value.as_ref().is_some_and(|template| !template.name.is_empty() && template.name != cluster) {
        return (None, no_versions);
    }
    let check = format!("cargo xtask cluster-check {cluster}");
    // In a support bundle, a removed secret is not valid, and a file from elsewhere is missing.
    let left = |finding: &Finding| {
        let holds = || files::read_optional_text(&cx.paths.root().join(&finding.place.file)).ok().flatten();
        finding.rule == "template-file-missing" || holds().is_some_and(|text| text.contains(REMOVED))
    };
    let is_error = |finding: &&Finding| finding.is_error() && !(cx.settings.recorded.is_some() && left(finding));
    let error = checked.findings.iter().find(is_error).map(|found| {
        Cause::new(Link::Template, found.rule, format!("{}: {}", found.place, found.message))
            .fix(found.fix.clone(), check)
    });
    (checked.value, no_versions.or(error))
}

/// Returns true unless the login has the privileges that the cluster's own classes need; other classes do not matter.
fn lacks_privileges(cx: &Cx, view: &ClusterView) -> bool {
    let uses = |class: &str| view.machine_sets.iter().any(|set| set.class == class);
    let found = proxmox::configured(cx).and_then(|proxmox| audit::summary(cx, &proxmox, &uses));
    !matches!(found, Ok(audit::Summary { missing: None, .. }))
}

/// The checks of `doctor` that can concern a cluster: not those about git, the next start, helper tools, and the provider's
/// registration, which is queried separately; nor those for the loss of a disk or host, which cost more calls than all of Omni.
fn checks() -> impl Iterator<Item = &'static doctor::Entry> {
    const OTHERS: &[&str] = &[
        "files.tracked",
        "files.secrets",
        "files.modes",
        "state.reality",
        "host.boot",
        "tools.helpers",
        "docker.other-omni",
        "omni.data",
        "omni.backup",
        "omni.store",
        "omni.break-glass",
        "omni.etcd-backups",
        "omni.user",
        "tailscale.data",
        "provider.registration",
        "provider.id",
        // The failed task reports which storage is full.
        "provider.storages",
    ];
    doctor::CHECKS.iter().filter(|entry| !OTHERS.contains(&entry.id.as_str()))
}

/// The causes for failed checks of `doctor`, with the problem in Omni's own log if its container is not running.
fn site_causes(cx: &Cx, results: &[doctor::CheckResult], around: &OutsideFacts, omni_answers: bool) -> Vec<Cause> {
    let mut found: Vec<Cause> = Vec::new();
    // With an overridden key logins work, but not with the key that was meant.
    let failed = |result: &&doctor::CheckResult| match result.verdict.state {
        State::Failed => true,
        State::Warning => result.entry.id == "keys.shadow",
        _ => false,
    };
    for result in results.iter().filter(failed) {
        let entry = result.entry;
        let link = link_of(&entry.id, entry.area(), omni_answers);
        let fix = result.fix().to_owned();
        let next = result.command().unwrap_or("cargo xtask doctor").to_owned();
        let words = format!("{}: {}", entry.id, result.verdict.detail);
        let cause = Cause::new(link, &entry.id, words).evidence(&entry.why).fix(fix, next);
        let cause = Cause { step: fixing_step(result, around), ..cause };
        match (entry.id.as_str(), omni_answers) {
            ("docker.containers", false) => {
                let log = Compose::find(cx).and_then(|compose| compose.log(OMNI, 60)).unwrap_or_default();
                found.insert(0, Issues::of(cx).map_or(cause.clone(), |issues| add_issue_in_log(&issues, &log, cause)));
            }
            // These matter at the next start; `doctor` shows them.
            ("host.disk" | "host.boot" | "host.tsidp", true) => {}
            _ if omni_answers && matches!(entry.area(), Area::Files | Area::State) => {}
            // The stack runs on another host.
            ("docker.containers", true) if around.containers.as_ref().is_ok_and(Vec::is_empty) => {}
            _ => found.push(cause),
        }
    }
    found
}

/// The task that fixes what a check of `doctor` found, if no human decision is needed.
fn fixing_step(result: &doctor::CheckResult, around: &OutsideFacts) -> Option<Step> {
    let ended = |state: &str| ["exited", "created", "dead"].contains(&state);
    let containers =
        || around.containers.as_ref().is_ok_and(|all| all.iter().all(|it| it.is_healthy() || ended(&it.state)));
    match result.entry.id.as_str() {
        "tools.omnictl" | "omni.versions" if result.verdict.fix.is_none() => Some(Step::task(&["omnictl-install"])),
        "docker.containers" if containers() => Some(Step::task(&["stack-up"])),
        "keys.provider" => result.command().and_then(rotation),
        _ => None,
    }
}

/// The task for a command that rotates a key, which this program may run by itself; any other command in a hint needs a human.
fn rotation(command: &str) -> Option<Step> {
    let words: Vec<&str> = command.strip_prefix("cargo xtask ")?.split(' ').collect();
    words.starts_with(&["keys", "--rotate"]).then(|| Step::task(&words))
}

/// Adds the known issue that the log shows to `cause`.
fn add_issue_in_log(issues: &Issues, log: &str, cause: Cause) -> Cause {
    add_issue(cause, issues.find_newest_first(log).first())
}

fn add_issue(cause: Cause, hit: Option<&Hit<'_>>) -> Cause {
    let Some(hit) = hit else { return cause };
    let fix = format!("{} {}", hit.cause(), hit.fix());
    Cause { id: hit.issue.id.clone(), ..cause.evidence(hit.text.clone()).fix(fix, hit.next()) }
}

/// The link that a check of `doctor` concerns.
fn link_of(id: &str, area: Area, omni_answers: bool) -> Link {
    match (id, area) {
        ("provider.proxmox" | "provider.permissions", _) => Link::ProxmoxTask,
        ("keys.provider", _) | (_, Area::Provider) => Link::ProviderStep,
        ("host.disk" | "host.clock" | "host.tun", _) if omni_answers => Link::ProviderStep,
        (_, Area::Docker) | ("tools.compose", _) if omni_answers => Link::ProviderStep,
        (_, Area::Network) => Link::Network,
        _ => Link::Omni,
    }
}

/// Adds what blocks the cluster to `failure`, after examining the whole chain. `said` is the cause that a wait reported last: it
/// is not repeated, even if the age in its text has grown, nor is one that the failure already names.
pub fn add_cause(cx: &Cx, omnictl: &Omnictl<'_>, mut failure: Failure, cluster: &str, said: Option<&Cause>) -> Failure {
    if runtime::proc::is_interrupted() {
        return failure;
    }
    let Explanation { mut causes, .. } = explain(&gather_facts(cx, Ok(omnictl), cluster));
    causes.retain(|cause| cause.blocks);
    if let Some(said) = said.filter(|said| causes.iter().take(3).any(|cause| cause.id == said.id)) {
        failure.cause = failure.cause.replacen(&format!("{}; ", said.cause), "", 1);
    }
    let named = failure.cause.clone();
    for cause in not_named_in(&named, &causes).take(3) {
        failure.cause.push_str(&format!("\n{}", cause.cause));
        if !cause.evidence.is_empty() {
            failure.cause.push_str(&format!("\n  {}", cause.evidence));
        }
    }
    if let Some(first) = causes.first() {
        failure.hint = first.fix.clone();
        failure.next.splice(0..0, first.next.clone());
    }
    failure.next(format!("cargo xtask cluster-explain {cluster}"))
}

/// Returns the causes that `text` does not name already.
pub fn not_named_in<'a>(text: &str, causes: impl IntoIterator<Item = &'a Cause>) -> impl Iterator<Item = &'a Cause> {
    causes.into_iter().filter(move |found| !text.contains(&found.cause))
}

/// Adds the fix for this cause to `failure`, whose text already names the cause.
pub fn add_fix(cause: &Cause, mut failure: Failure) -> Failure {
    failure.hint = cause.fix.clone();
    failure.next.splice(0..0, cause.next.clone());
    failure
}

/// Examines once everything that `args` ask for.
///
/// # Errors
/// As [`Subject::of`]; [`Code::NotFound`] if the cluster is unknown everywhere; [`Code::Interrupted`].
pub fn examine(args: &ClusterExplain, cx: &Cx) -> anyhow::Result<(Subject, Explanation)> {
    let omnictl = Omnictl::find(cx);
    let subject = Subject::of(args, cx, omnictl.as_ref())?;
    let mut facts = gather_facts(cx, omnictl.as_ref(), &subject.cluster);
    if runtime::proc::is_interrupted() {
        return Err(runtime::proc::interruption("reading the cluster").into());
    }
    subject.narrow(&mut facts);
    // During a wait, the machines are shown below the spinner.
    facts.view.iter().for_each(|view| cluster_tree::show(cx, view));
    let nowhere = facts.view.is_none() && facts.template.is_none() && facts.omni.is_none();
    if let (true, false, Ok(omnictl)) = (nowhere, subject.cluster.is_empty(), &omnictl) {
        return Err(cluster::unknown_cluster(cx, omnictl, &subject.cluster).into());
    }
    let timeline = if args.timeline { timeline::rows_of(cx, &facts) } else { Vec::new() };
    Ok((subject, Explanation { timeline, ..explain(&facts) }))
}

/// Returns the JSON of an explanation.
pub fn document(explanation: &Explanation, cluster: &str) -> Value {
    let mut document = json!({ "cluster": cluster, "links": explanation.links, "causes": explanation.causes });
    if !explanation.leaving.is_empty() {
        document["leaving"] = json!(explanation.leaving);
    }
    if !explanation.timeline.is_empty() {
        document["timeline"] = json!(explanation.timeline);
        document["timeline_judged_by"] = json!(describe_reference(&explanation.timeline));
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_in_the_text_are_not_named_again() {
        let causes =
            ["the VM of a is stopped", "the API does not answer"].map(|words| Cause::new(Link::Vm, "x", words));
        let left = |text: &str| not_named_in(text, &causes).map(|cause| cause.cause.as_str()).collect::<Vec<_>>();
        assert_eq!(left("Running: the API does not answer"), ["the VM of a is stopped"]);
        assert_eq!(left("ScalingUp").len(), 2);
    }

    #[test]
    fn proxmox_that_was_not_queried_is_unknown() {
        let failed = |code| Err(Failure::new(code, "the Proxmox address is not an https:// address"));
        let asked = |code| proxmox_cause(&failed(code), "cargo xtask provider-verify");
        for code in [Code::Invalid, Code::MissingInput, Code::Prerequisite, Code::Interrupted] {
            assert!(matches!(asked(code), Observed::Unknown(_)), "{code:?}");
        }
        for (code, id) in [(Code::Refused, "proxmox-refuses"), (Code::Unreachable, "proxmox-unreachable")] {
            assert!(matches!(asked(code), Observed::Known(Some(cause)) if cause.id == id), "{code:?}");
        }
    }
}
