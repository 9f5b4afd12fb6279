//! What is in the way of a cluster: everything that Omni, the provider, Proxmox and this host show of it, gathered for
//! [`check::explain`], which judges it.
//!
//! Best effort, a number of calls that does not grow with the fleet: who cannot be asked is unknown, and never a cause.

pub mod subject;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use check::Finding;
use check::diagnosis::{Area, State};
use check::explain::{Cause, Explanation, Facts, Link, Step, Vm, explain};
use check::timeline::judged_by;
use domain::clock;
use domain::failure::{Code, Failure, Kind};
use domain::scrub::REMOVED;
use domain::spec::template::ClusterTemplate;
use domain::status::cluster::{Actor, ClusterView, MachineView};
use domain::status::docker::Container;
use domain::status::omni::ProviderHealth;
use domain::status::proxmox::{Observed, Selection};
use runtime::cx::Cx;
use runtime::files;
use runtime::parallel::{ALL, Job, both, run_all};
use runtime::tool::compose::{Compose, OMNI, PROVIDER, SIDECAR};
use runtime::tool::omni;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;
use runtime::triage::{Hit, Issues};

use crate::cli::ClusterExplain;
use crate::flow::explain::subject::Subject;
use crate::flow::omni_stack::OmniAddress;
use crate::flow::{cluster, cluster_tree, doctor, inputs, lookup, provider, provider_log, proxmox, timeline, vms};

/// How many machines' tasks are looked up: more fail for the same reason.
const TASKS: usize = 3;
/// The provider never looks again at a task of these that failed (its issue 83): only a new request helps.
const DEAD_ENDS: &[&str] = &["qmcreate", "qmstart"];

/// The whole chain of a cluster, with the checks of the installation and the template.
pub fn full(cx: &Cx, omnictl: Result<&Omnictl<'_>, &Failure>, cluster: &str) -> Facts {
    let sites = provider::of_cluster(cx, omnictl, cluster);
    let cx = &provider::of_sites(cx, &sites);
    let view = || match omnictl {
        Ok(omnictl) if cluster.is_empty() => omnictl.get("sysversions", "current").map(|_| None),
        Ok(omnictl) => cluster::observe(omnictl, cluster),
        Err(failure) => Err(failure.clone()),
    };
    let health = || {
        OmniAddress::of(cx).map(|at| omni::healthy_at(cx, &at.endpoint, at.ca_file.as_deref(), at.connect.as_deref()))
    };
    let ((seen, template), ((site, health), around)) = both(
        || both(view, || template(cx, omnictl.ok(), cluster)),
        || both(|| both(|| doctor::verdicts(cx, checks()), health), || around(&sites, omnictl.ok(), cluster, true)),
    );
    let (view, omni) = match seen {
        Ok(view) => (view, None),
        Err(failure) => (None, Some(unasked(failure))),
    };
    let mut own = site_causes(cx, &site, &around, omni.is_none());
    if let (None, Some(Err(failure))) = (&omni, health) {
        own.insert(0, Cause { id: "omni-unhealthy".to_owned(), ..unasked(failure) });
    }
    let mut facts = facts(cx, omnictl.ok(), cluster, view, around);
    (facts.template, facts.template_error) = template;
    // Without its login the sidecar is unhealthy.
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

/// The causes that Omni's view of a cluster, the provider and Proxmox show: a few calls, for a wait that looks often.
pub fn causes(cx: &Cx, omnictl: &Omnictl<'_>, view: &ClusterView) -> Vec<Cause> {
    let waits = view.machines().any(|machine| machine.party == Actor::Provider);
    let sites = provider::sites(cx, view.machines().map(|machine| machine.provider.as_str()));
    let cx = &provider::of_sites(cx, &sites);
    let around = around(&sites, Some(omnictl), &view.name, waits);
    let mut found = explain(&facts(cx, Some(omnictl).filter(|_| waits), &view.name, Some(view.clone()), around)).causes;
    found.retain(|cause| cause.blocks);
    found.sort_by_key(|cause| !cause.lasting);
    found
}

/// A cluster that runs, with its VMs.
pub fn placed(cx: &Cx, omnictl: &Omnictl<'_>, name: &str) -> Option<Facts> {
    let view = cluster::observe(omnictl, name).ok()??;
    let sites = provider::sites(cx, view.machines().map(|machine| machine.provider.as_str()));
    let around = around(&sites, None, name, false);
    Some(facts(&provider::of_sites(cx, &sites), None, name, Some(view), around))
}

/// What is outside of Omni: containers, and each provider that makes machines of the cluster.
struct OutsideFacts {
    containers: Result<Vec<Container>, Failure>,
    sites: Vec<Site>,
    /// What Omni knows of this project's first provider, where it was asked.
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
    /// The site of a provider; of one that is not of this project the only one.
    fn site(&self, provider: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.id == provider).or(self.sites.first())
    }
}

/// With `stack` docker is asked for the containers and the logs too, and Omni, where it can be, for the provider.
fn around(sites: &[Cx], omnictl: Option<&Omnictl<'_>>, cluster: &str, stack: bool) -> OutsideFacts {
    let prefix = format!("{cluster}-");
    let ours = |vm: &Value| !cluster.is_empty() && vm["name"].as_str().is_some_and(|name| name.starts_with(&prefix));
    let look = |cx: &'_ Cx| {
        let proxmox = proxmox::login_quietly(cx);
        let list = || {
            let proxmox = proxmox.as_ref().map_err(Failure::clone)?;
            let mut found = proxmox::list_vms(cx, proxmox, &ours)?;
            vms::confirm(cx, proxmox, &mut found.entries);
            Ok(found)
        };
        let log =
            || compose(cx, stack).and_then(|compose| compose.log(&cx.settings.provider_service(), provider_log::TAIL));
        let (vms, log) = both(|| list().map_err(|failure| provider::of_this(cx, failure)), log);
        let id = cx.settings.provider_id(None).value;
        let verify = format!("cargo xtask {}", own_task(cx, &id, "provider-verify").join(" "));
        Site { id, verify, log: log.unwrap_or_default(), proxmox, vms }
    };
    let jobs = sites.iter().map(|cx| -> Job<'_, Site> { Box::new(|| look(cx)) }).collect();
    let containers = || sites.first().map_or_else(|| Err(not_asked()), |cx| compose(cx, stack)?.containers());
    let registered =
        || Some(provider::registration(sites.first()?, omnictl.filter(|_| stack)?, &sites[0].provider_ids()[0]));
    let ((sites, registered), containers) = both(|| both(|| run_all(jobs, ALL), registered), containers);
    OutsideFacts { containers, sites, registered }
}

fn not_asked() -> Failure {
    Failure::new(Code::Prerequisite, "docker was not asked")
}

fn compose(cx: &Cx, stack: bool) -> Result<Compose<'_>, Failure> {
    if stack { Compose::find(cx) } else { Err(not_asked()) }
}

fn facts(
    cx: &Cx,
    omnictl: Option<&Omnictl<'_>>,
    cluster: &str,
    view: Option<ClusterView>,
    around: OutsideFacts,
) -> Facts {
    let system = cx.now();
    // Omni's clock may be ahead of this one.
    let newest = view.iter().flat_map(ClusterView::machines).filter_map(|machine| clock::seconds(&machine.since)).max();
    let (provider, beat) = provider(cx, omnictl, view.as_ref(), &around);
    let mut facts = Facts {
        now: system.max(newest.unwrap_or(0)).max(beat),
        cluster: cluster.to_owned(),
        omni: None,
        template_error: None,
        template: None,
        provider,
        proxmox: Observed::Known(None),
        no_vms: around.sites.iter().all(|site| site.vms.as_ref().is_ok_and(|found| found.of_none)),
        vms: Observed::Known(BTreeMap::new()),
        unseen: BTreeMap::new(),
        complaints: BTreeMap::new(),
        finalizers: BTreeMap::new(),
        site: Vec::new(),
        view,
    };
    see_vms(&mut facts, &around);
    facts.complaints = complaints(cx, &facts, &around);
    facts
}

/// The VMs of every site. They are known where one site shows some; then those of the others are unseen.
fn see_vms(facts: &mut Facts, around: &OutsideFacts) {
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
            Ok(vms) if vms.of_none && !facts.no_vms => "Proxmox shows no VM to the provider's login",
            Ok(vms) => {
                found.extend(vms.entries.iter().filter_map(|vm| of_list(site, vm)));
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

/// Who holds the machine requests that are on their way out; of many, some tell enough.
fn finalizers(omnictl: &Omnictl<'_>, facts: &Facts) -> BTreeMap<String, Vec<String>> {
    let leaving = facts
        .view
        .iter()
        .flat_map(ClusterView::machines)
        .filter(|machine| machine.leaving && !machine.request.is_empty());
    let ask = |machine: &MachineView| -> Job<'_, Option<(String, Vec<String>)>> {
        let request = machine.request.clone();
        Box::new(move || Some((request.clone(), omnictl.get("machinerequests", &request).ok()??.metadata.finalizers)))
    };
    run_all(leaving.take(TASKS).map(ask).collect(), ALL).into_iter().flatten().collect()
}

fn of_list(site: &Site, vm: &Value) -> Option<(String, Vm)> {
    let text = |key: &str| vm[key].as_str().map(str::to_owned);
    let url = site.proxmox.as_ref().map_or(String::new(), |proxmox| proxmox.url.clone());
    let (id, node, status, site) = (vm["vmid"].as_u64()?, text("node")?, text("status")?, text("site"));
    Some((text("name")?, Vm { id, node, status, site, url }))
}

/// What Proxmox refuses. One that is not set up here, not asked over http, or not reached by this host's proxy, is unknown.
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
                (_, Code::Refused) => "proxmox-refuses",
                _ => "proxmox-unreachable",
            };
            let fix = if hint.is_empty() { "see whether Proxmox answers the provider's login" } else { hint.as_str() };
            let next = next.first().map_or(verify, String::as_str);
            // It may be back in a moment: the provider tries again too.
            Observed::Known(Some(
                Cause::new(Link::ProxmoxTask, id, message).evidence(cause).fix(fix, next).lasting(false),
            ))
        }
    }
}

/// Why Omni cannot be asked.
fn unasked(failure: Failure) -> Cause {
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
    let fix = if failure.hint.is_empty() { "see what stands between this host and Omni" } else { &failure.hint };
    let next = failure.next.first().map_or("cargo xtask omni-status", String::as_str);
    Cause::new(Link::Omni, id, &failure.message).evidence(&failure.cause).fix(fix, next)
}

/// A provider that is stopped or that Omni does not hear from, and the time of its last heartbeat.
fn provider(
    cx: &Cx,
    omnictl: Option<&Omnictl<'_>>,
    view: Option<&ClusterView>,
    around: &OutsideFacts,
) -> (Observed<Option<Cause>>, u64) {
    let own = cx.provider_ids();
    let ours = |id: &str| own.iter().any(|own| own == id);
    let waiting = view.into_iter().flat_map(ClusterView::machines).filter(|machine| machine.party == Actor::Provider);
    let mut ids: BTreeSet<&str> =
        waiting.map(|machine| machine.provider.as_str()).filter(|id| !id.is_empty()).collect();
    if ids.is_empty() {
        ids.insert(&own[0]);
    }
    let leaves = |id: &str| {
        let leaves = |machine: &MachineView| machine.leaving && machine.provider == id;
        view.is_some_and(|view| view.tearing_down || view.machines().any(leaves))
    };
    let mut beat = 0;
    for id in ids {
        if let Some(cause) = container(cx, id, ours(id), leaves(id), around) {
            return (Observed::Known(Some(cause)), beat);
        }
        let registered = match (omnictl, &around.registered) {
            (Some(_), Some(found)) if id == own[0] => found.clone().map_err(|failure| failure.message),
            (Some(omnictl), _) => provider::registration(cx, omnictl, id).map_err(|failure| failure.message),
            (None, _) => Err(around
                .containers
                .as_ref()
                .err()
                .map_or("Omni cannot be asked".to_owned(), |why| why.message.clone())),
        };
        match registered {
            // Its container says whether it runs.
            Err(why) => {
                let runs = |found: &Vec<Container>| found.iter().any(|found| Compose::is_provider(&found.service));
                let known = around.containers.as_ref().is_ok_and(runs);
                return (if known { Observed::Known(None) } else { Observed::Unknown(why) }, beat);
            }
            Ok(Some(health)) if health.well() => {
                beat = beat.max(health.heartbeat_at);
            }
            // One heartbeat may be late.
            Ok(Some(health)) if health.error.is_empty() && health.heartbeat_age.is_some_and(|age| age < 61) => {}
            Ok(found) => {
                let cause = unheard(cx, id, ours(id), found);
                // One that starts again and again runs for a moment each time.
                let known = Issues::of(cx).ok().filter(|_| ours(id) && cause.id == "provider-silent");
                let log = provider_log::unsettled(around.site(id).map_or("", |site| &site.log));
                let cause = known.map_or(cause.clone(), |issues| in_log(&issues, &log, cause));
                return (Observed::Known(Some(cause)), beat);
            }
        }
    }
    (Observed::Known(None), beat)
}

fn provider_cause(id: &str, cause: &str, words: &str) -> Cause {
    Cause::new(Link::ProviderStep, cause, format!("the provider `{id}`: {words}"))
}

/// Where the stack runs on another host, docker has nothing to say about it.
fn container(cx: &Cx, id: &str, ours: bool, leaves: bool, around: &OutsideFacts) -> Option<Cause> {
    let found =
        around.containers.as_ref().ok().filter(|found| ours && found.iter().any(|found| found.service == OMNI))?;
    let service = |name: &str| found.iter().find(|container| container.service == name);
    let explained = |cause: Cause, log: &str| match Issues::of(cx) {
        Ok(issues) => in_log(&issues, &provider_log::unsettled(log), cause),
        Err(_) => cause,
    };
    // The others share its network, and none starts before it is healthy.
    if let Some(sidecar) = service(SIDECAR).filter(|sidecar| !sidecar.well()) {
        let words = format!("the sidecar, whose network Omni and the provider share: {}", sidecar.status);
        let cause = Cause::new(Link::ProviderStep, "sidecar-down", words);
        let cause = match sidecar.state.as_str() {
            "created" => {
                cause.task("start it: docker then names what it refuses, a port, an address or a device", &["stack-up"])
            }
            _ => cause.task(
                "recreate all containers together: what stayed keeps a dead network",
                &["stack-up", "--recreate"],
            ),
        };
        let log = Compose::find(cx).and_then(|compose| compose.log(SIDECAR, 60)).unwrap_or_default();
        return Some(explained(cause, &log));
    }
    let fix = match leaves {
        true => "start it: it has to delete the VMs, and then Omni lets the machines go by itself",
        false => "start it; Omni keeps the machine requests, and the provider takes them up by itself",
    };
    let own = cx.of_provider(id).map_or(PROVIDER.to_owned(), |cx| cx.settings.provider_service());
    match service(&own) {
        None => Some(
            provider_cause(id, "provider-missing", "it has no container")
                .task(fix, &own_task(cx, id, "provider-setup")),
        ),
        Some(container)
            if container.state == "restarting" || (container.state == "exited" && container.exit_code != 0) =>
        {
            let cause = provider_cause(id, "provider-exits", &format!("it keeps exiting: {}", container.status));
            let log = around.site(id).map_or("", |site| &site.log);
            Some(explained(cause.fix("read in its log why it keeps exiting", status_of(cx, id)), log))
        }
        Some(container) if container.state != "running" => {
            let words = format!("its container does not run: {}", container.status);
            Some(provider_cause(id, "provider-stopped", &words).task(fix, &["stack-up"]))
        }
        Some(_) => None,
    }
}

/// A task about this provider, which is named where there are several.
fn own_task<'a>(cx: &Cx, id: &'a str, task: &'a str) -> Vec<&'a str> {
    let named = cx.settings.provider.is_some() || cx.provider_ids().len() > 1;
    if named { vec![task, "--provider", id] } else { vec![task] }
}

fn status_of(cx: &Cx, id: &str) -> String {
    format!("cargo xtask {}", own_task(cx, id, "provider-status").join(" "))
}

fn unheard(cx: &Cx, id: &str, ours: bool, found: Option<ProviderHealth>) -> Cause {
    let log = status_of(cx, id);
    match found {
        None if ours => provider_cause(id, "provider-missing", "Omni has no provider of this name")
            .task("set it up", &own_task(cx, id, "provider-setup")),
        None => provider_cause(id, "provider-unknown", "Omni has no provider of this name")
            .fix("name in the machine class the provider that Omni has", "omnictl infraprovider list"),
        Some(health) if health.connected => {
            provider_cause(id, "provider-unwell", &health.words()).fix("read its log for the reason", log)
        }
        Some(health) => {
            provider_cause(id, "provider-silent", &format!("Omni does not hear from it: {}", health.words()))
                .fix("see whether it runs and what its log says; a clock that is off looks the same", log)
        }
    }
}

/// What stands in the way of each machine request: what the provider's log says, or Omni, or the task in Proxmox behind it.
fn complaints(cx: &Cx, facts: &Facts, around: &OutsideFacts) -> BTreeMap<String, Cause> {
    let (Some(view), Ok(issues)) = (&facts.view, Issues::of(cx)) else { return BTreeMap::new() };
    let logs = around.sites.iter().map(|site| site.log.as_str()).collect::<Vec<_>>().join("\n");
    let errors = provider_log::errors(&logs, &view.name);
    let (mut found, mut failed) = (BTreeMap::new(), None::<Cause>);
    let mut asked = 0;
    for machine in view.machines().filter(|machine| machine.party == Actor::Provider && !machine.request.is_empty()) {
        let own: Vec<_> = errors.iter().filter(|(line, _)| line.id == machine.request).cloned().collect();
        let said = provider_log::most_specific(&own, &issues);
        let (error, raw, step) = match &said {
            Some((line, raw)) => (line.error.as_str(), raw.as_str(), line.step.as_str()),
            None => (machine.error.as_str(), machine.error.as_str(), ""),
        };
        // The task behind an image that is waited for may have failed: that is retried with a word that is no error.
        let image = error.is_empty() && machine.step == "uploadISO";
        if error.ends_with("stopped") || image {
            asked += 1;
            let looked = || task(cx, around, facts, &issues, (machine, asked == 1));
            // Those that are not looked up wait for the same, or for what is not known.
            let own = if asked <= TASKS { looked() } else { None };
            let cause = own.or_else(|| failed.clone());
            if let Some(cause) = cause {
                failed.get_or_insert_with(|| cause.clone());
                found.insert(machine.request.clone(), cause);
                continue;
            }
        }
        if error.is_empty() {
            continue;
        }
        let at = if step.is_empty() { String::new() } else { format!(" at {step}") };
        let words = format!("the provider cannot go on{at} with {}: {error}", machine.request);
        let otherwise =
            ("fix what it names; the provider tries again by itself", "cargo xtask provider-status".to_owned());
        found.insert(
            machine.request.clone(),
            known(&issues, (Link::ProviderStep, "provider-error"), raw, words, otherwise),
        );
    }
    found
}

/// A cause with the known issue that `text` shows, if it is one.
fn known(issues: &Issues, (link, id): (Link, &str), text: &str, words: String, otherwise: (&str, String)) -> Cause {
    let cause = Cause::new(link, id, words).lasting(false).fix(otherwise.0, otherwise.1);
    of_issue(cause, issues.find(text).first())
}

/// The task in Proxmox that failed for this machine: that of its VM; without one that of the image, whose id the provider logs, or
/// the newest creation that failed on the node which it logged: it makes one machine at a time (omni v1.9.3
/// `client/pkg/infra/infra.go`). A log that has lost the node leaves all of them, which are asked for the `first` machine.
fn task(
    cx: &Cx,
    around: &OutsideFacts,
    facts: &Facts,
    issues: &Issues,
    (machine, first): (&MachineView, bool),
) -> Option<Cause> {
    let (request, site) = (&machine.request, around.site(&machine.provider)?);
    let proxmox = site.proxmox.as_ref().ok()?;
    let (node, image) = provider_log::placement(&site.log, request);
    let vm = facts.vms.known().and_then(|vms| vms.get(request));
    let fetches = ["uploadISO", "createSchematic"].contains(&machine.step.as_str());
    let upid = match image.filter(|_| fetches) {
        Some(upid) => upid,
        None => {
            let nodes = match (vm, node) {
                (Some(vm), _) => vec![vm.node.clone()],
                (None, Some(node)) => vec![node],
                (None, None) if first => proxmox::nodes_online(cx, proxmox).ok()?,
                (None, None) => return None,
            };
            timeline::newest_failed(cx, proxmox, &nodes, vm, if fetches { "download" } else { "qmcreate" })?
        }
    };
    let node = upid.split(':').nth(1)?;
    let paths = ["status", "log?limit=500"].map(|part| format!("/nodes/{node}/tasks/{upid}/{part}"));
    let mut answers = proxmox.get_all(cx, "reading the log of a task", &paths).into_iter();
    let (status, log) = (answers.next()?.ok()?, answers.next()?.unwrap_or_default());
    let ended = status["exitstatus"].as_str().filter(|ended| *ended != "OK")?;
    let lines: Vec<&str> = log.as_array()?.iter().filter_map(|line| line["t"].as_str()).collect();
    let last: Vec<&str> = lines[lines.len().saturating_sub(6)..].iter().map(|line| line.trim()).collect();
    let task = status["type"].as_str().unwrap_or("task");
    let id = status["id"].as_str().and_then(|id| id.parse::<u64>().ok());
    let of = id.map_or(String::new(), |id| format!(" of VM {id}"));
    let words = format!("the task {task}{of} on {node} ended with `{ended}`, and {request} waits for it");
    let whole = format!("{}\nTASK ERROR: {ended}", last.join("\n"));
    let otherwise = ("fix what the task's log says", "cargo xtask provider-status".to_owned());
    let mut cause = known(issues, (Link::ProxmoxTask, "proxmox-task"), &whole, words, otherwise);
    let said: Vec<&str> = last.into_iter().filter(|line| !line.starts_with("TASK ")).collect();
    cause.evidence = said.join(" | ");
    if let Some(id) = id {
        let id = id.to_string();
        cause.fix = cause.fix.replace("VMID", &id);
        cause.next.iter_mut().for_each(|next| *next = next.replace("VMID", &id));
    }
    if DEAD_ENDS.contains(&task) && !machine.leaving {
        let fix = cause.fix.trim_end_matches('.');
        cause.fix = format!(
            "{fix}. The provider never looks at this task again: when the reason is fixed, delete the machine request, and Omni asks for a new machine"
        );
        cause.next.push(format!("omnictl delete machinerequest {request}"));
    }
    Some(cause)
}

/// The template of the cluster in this project, checked by what Omni has, and what is wrong with it. Without a cluster the first
/// own template that was never synced is meant.
fn template(cx: &Cx, omnictl: Option<&Omnictl<'_>>, cluster: &str) -> (Option<ClusterTemplate>, Option<Cause>) {
    let path = inputs::cluster_file(cx, cluster);
    let list = |kind: &'static str| omnictl.and_then(|omnictl| omnictl.list(kind, None).ok());
    let (classes, talos) = both(|| list("machineclasses"), || list("talosversions"));
    let no_versions = talos.as_ref().is_some_and(Vec::is_empty).then(|| {
        let words = "Omni offers no Talos version: it has not reached its image factory";
        let fix = "let Omni reach factory.talos.dev; its list fills within minutes";
        Cause::new(Link::Template, "no-talos-versions", words).fix(fix, "cargo xtask omni-verify")
    });
    let bytes = if cluster.is_empty() { None } else { files::read_text_if_there(&path).ok().flatten() };
    let Some(bytes) = bytes else { return (None, no_versions) };
    let classes = classes.as_deref().map(lookup::classes);
    let versions = talos.as_deref().and_then(lookup::talos_versions);
    let facts = inputs::TemplateFacts {
        omni_classes: classes.as_deref(),
        talos_versions: versions.as_deref(),
        ..Default::default()
    };
    let checked = inputs::template(cx, &path, bytes.as_bytes(), &facts);
    // What is called so may be the template of another one.
    if checked.value.as_ref().is_some_and(|template| !template.name.is_empty() && template.name != cluster) {
        return (None, no_versions);
    }
    let check = format!("cargo xtask cluster-check {cluster}");
    // In a bundle a removed secret is not valid, and a file elsewhere is not there.
    let left = |finding: &Finding| {
        let holds = || files::read_text_if_there(&cx.paths.root().join(&finding.place.file)).ok().flatten();
        finding.rule == "template-file-missing" || holds().is_some_and(|text| text.contains(REMOVED))
    };
    let is_error = |finding: &&Finding| finding.is_error() && !(cx.settings.recorded.is_some() && left(finding));
    let error = checked.findings.iter().find(is_error).map(|found| {
        Cause::new(Link::Template, found.rule, format!("{}: {}", found.place, found.message))
            .fix(found.fix.clone(), check)
    });
    (checked.value, no_versions.or(error))
}

/// The checks of `doctor` that can be about a cluster: not those of what git holds, of the next start, of helpers, and of the
/// provider's registration, which is asked for itself. What only a lost disk or host would show costs more calls than all of Omni.
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
        // The failed task says which storage is full.
        "provider.storages",
    ];
    doctor::CHECKS.iter().filter(|entry| !OTHERS.contains(&entry.id.as_str()))
}

/// The checks of `doctor` that failed, and what Omni's own log says where its container does not run.
fn site_causes(cx: &Cx, results: &[doctor::CheckResult], around: &OutsideFacts, omni_answers: bool) -> Vec<Cause> {
    let mut found: Vec<Cause> = Vec::new();
    // A key that another one overrides works, and not for what it was made for.
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
        let cause = Cause { step: step_of(result, around), ..cause };
        match (entry.id.as_str(), omni_answers) {
            ("docker.containers", false) => {
                let log = Compose::find(cx).and_then(|compose| compose.log(OMNI, 60)).unwrap_or_default();
                found.insert(0, Issues::of(cx).map_or(cause.clone(), |issues| in_log(&issues, &log, cause)));
            }
            // These matter at the next start, and `doctor` shows them.
            ("host.disk" | "host.boot" | "host.tsidp", true) => {}
            _ if omni_answers && matches!(entry.area(), Area::Files | Area::State) => {}
            // The stack runs on another host.
            ("docker.containers", true) if around.containers.as_ref().is_ok_and(Vec::is_empty) => {}
            _ => found.push(cause),
        }
    }
    found
}

/// The task that ends what a check of `doctor` found, where no person has to decide.
fn step_of(result: &doctor::CheckResult, around: &OutsideFacts) -> Option<Step> {
    let ended = |state: &str| ["exited", "created", "dead"].contains(&state);
    let containers = || around.containers.as_ref().is_ok_and(|all| all.iter().all(|it| it.well() || ended(&it.state)));
    match result.entry.id.as_str() {
        "tools.omnictl" | "omni.versions" if result.verdict.fix.is_none() => Some(Step::task(&["omnictl-install"])),
        "docker.containers" if containers() => Some(Step::task(&["stack-up"])),
        _ => None,
    }
}

/// `cause` with the known issue that the log shows.
fn in_log(issues: &Issues, log: &str, cause: Cause) -> Cause {
    of_issue(cause, issues.newest_first(log).first())
}

fn of_issue(cause: Cause, hit: Option<&Hit<'_>>) -> Cause {
    let Some(hit) = hit else { return cause };
    let fix = format!("{} {}", hit.cause(), hit.fix());
    Cause { id: hit.issue.id.clone(), ..cause.evidence(hit.text.clone()).fix(fix, hit.next()) }
}

/// The link that a check of `doctor` is about.
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

/// `failure` with what is in the way of the cluster, the whole chain being looked at.
pub fn add(cx: &Cx, omnictl: &Omnictl<'_>, mut failure: Failure, cluster: &str) -> Failure {
    if runtime::proc::interrupted() {
        return failure;
    }
    let Explanation { mut causes, .. } = explain(&full(cx, Ok(omnictl), cluster));
    causes.retain(|cause| cause.blocks);
    for cause in causes.iter().take(3) {
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

/// `failure` with this cause as what to do about it; its text names it already.
pub fn advise(cause: &Cause, mut failure: Failure) -> Failure {
    failure.hint = cause.fix.clone();
    failure.next.splice(0..0, cause.next.clone());
    failure
}

/// One look at everything that `args` ask for.
///
/// # Errors
/// Those of [`Subject::of`]; [`Code::NotFound`] for a cluster that is nowhere; [`Code::Interrupted`].
pub fn look(args: &ClusterExplain, cx: &Cx) -> anyhow::Result<(Subject, Explanation)> {
    let omnictl = Omnictl::find(cx);
    let subject = Subject::of(args, cx, omnictl.as_ref())?;
    let mut facts = full(cx, omnictl.as_ref(), &subject.cluster);
    if runtime::proc::interrupted() {
        return Err(runtime::proc::interruption("looking at the cluster").into());
    }
    subject.narrow(&mut facts);
    // Where a wait looks, its machines are shown below the spinner.
    facts.view.iter().for_each(|view| cluster_tree::show(cx, view));
    let nowhere = facts.view.is_none() && facts.template.is_none() && facts.omni.is_none();
    if let (true, false, Ok(omnictl)) = (nowhere, subject.cluster.is_empty(), &omnictl) {
        return Err(cluster::unknown(cx, omnictl, &subject.cluster).into());
    }
    let timeline = if args.timeline { timeline::of(cx, &facts) } else { Vec::new() };
    Ok((subject, Explanation { timeline, ..explain(&facts) }))
}

/// The JSON of an explanation.
pub fn document(explanation: &Explanation, cluster: &str) -> Value {
    let mut document = json!({ "cluster": cluster, "links": explanation.links, "causes": explanation.causes });
    if !explanation.leaving.is_empty() {
        document["leaving"] = json!(explanation.leaving);
    }
    if !explanation.timeline.is_empty() {
        document["timeline"] = json!(explanation.timeline);
        document["timeline_judged_by"] = json!(judged_by(&explanation.timeline));
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxmox_that_was_not_asked_is_unknown_and_no_cause() {
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
