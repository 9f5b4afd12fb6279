//! `cluster-status [name]`: the clusters, or one cluster with its machine sets, machines, requests, and what each waits
//! for.
//!
//! Reads the resources: `omnictl cluster status` hangs on a cluster that does not exist (omnictl 1.9.3).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::Outcome;
use crate::beside::{ALL, Job, beside};
use crate::cli::ClusterStatus;
use crate::cx::Cx;
use crate::failure::{Code, Failure};
use crate::spec::name;
use crate::status::cluster::{self, ClusterLine, ClusterParts, ClusterView, MachineSetView, Upgraded};
use crate::status::omni::Resource;
use crate::tool::install;
use crate::tool::omnictl::Omnictl;
use crate::ui::{Check, Done, table};

pub fn run(args: &ClusterStatus, cx: &Cx) -> anyhow::Result<Outcome> {
    match &args.name {
        Some(name) => one(cx, name),
        None => all(cx),
    }
}

fn all(cx: &Cx) -> anyhow::Result<Outcome> {
    install::on_need(cx)?;
    let omnictl = Omnictl::find(cx)?;
    let read = |kind: &'static str| {
        let omnictl = &omnictl;
        Check::new(kind, format!("{kind} of Omni"), move || {
            let found = omnictl.list(kind, None)?;
            let count = found.len();
            Ok(Done::ok(found, count.to_string()))
        })
    };
    let mut parts = Vec::new();
    for result in cx.ui.side_by_side("asking Omni", vec![read("clusters"), read("clusterstatuses")]) {
        parts.push(result?);
    }
    let lines = cluster::cluster_lines(&parts[0], &parts[1]);
    if lines.is_empty() {
        return Ok(Outcome::done("there are no clusters")
            .with(json!({ "clusters": [] }))
            .next("cargo xtask cluster-create"));
    }
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    cx.ui.data(&table(&["CLUSTER", "PHASE", "READY", "MACHINES", "TALOS", "KUBERNETES"], &rows));
    let running = lines.iter().filter(|line| line.phase == "Running" && line.ready).count();
    let summary = format!("{running} of {} clusters Running and ready", lines.len());
    let troubled = lines.iter().find(|line| line.phase != "Running" || !line.ready);
    let outcome = Outcome::done(summary).with(json!({ "clusters": lines }));
    Ok(match troubled {
        Some(line) => outcome.next(format!("cargo xtask cluster-status {}", line.name)),
        None => outcome,
    })
}

fn row(line: &ClusterLine) -> Vec<String> {
    let phase = if line.tearing_down { "Destroying".to_owned() } else { line.phase.clone() };
    let ready = if line.ready { "yes" } else { "no" };
    let machines = format!("{}/{}", line.healthy, line.total);
    vec![line.name.clone(), phase, ready.to_owned(), machines, line.talos.clone(), line.kubernetes.clone()]
}

fn one(cx: &Cx, cluster: &str) -> anyhow::Result<Outcome> {
    name::check("cluster", cluster)?;
    install::on_need(cx)?;
    let omnictl = Omnictl::find(cx)?;
    let view = cx.ui.step("cluster", format!("cluster `{cluster}` in Omni"), || {
        let view = observe(&omnictl, cluster)?.ok_or_else(|| unknown(cx, &omnictl, cluster))?;
        let detail = if view.running { "Running and ready".to_owned() } else { view.waits_for() };
        Ok(Done::ok(view, detail))
    })?;
    cx.ui.data(&picture(&view));
    let summary = match (view.running, view.first_error()) {
        (true, _) => format!("cluster `{cluster}` is Running and ready"),
        (false, Some(error)) => format!("cluster `{cluster}` is not ready: {error}"),
        (false, None) => format!("cluster `{cluster}` is not ready: {}", view.waits_for()),
    };
    let outcome = Outcome::done(summary).with(json!({ "cluster": view }));
    let next = if view.running {
        format!("omnictl kubeconfig -c {cluster}")
    } else {
        "cargo xtask provider-status".to_owned()
    };
    Ok(outcome.next(next))
}

/// The failure for a cluster that Omni does not have; names those that it has.
fn unknown(cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> Failure {
    let names = match omnictl.list("clusters", None) {
        Ok(found) => found.into_iter().map(|found| found.metadata.id).collect::<Vec<_>>(),
        Err(failure) => return failure,
    };
    let failure = Failure::new(Code::NotFound, format!("Omni has no cluster `{cluster}`")).cause(match names.len() {
        0 => "it has no clusters at all".to_owned(),
        _ => format!("it has: {}", names.join(", ")),
    });
    let (next, hint) = match cx.paths.cluster(cluster).is_file() {
        true => ("cluster-sync", "its template is there: sync it, and Omni makes the cluster"),
        false => ("cluster-create", "check the name, or create the cluster"),
    };
    failure.hint(hint).next(format!("cargo xtask {next} {cluster}"))
}

/// The cluster as Omni sees it now, or `None`. Eight reads, side by side, however many machines there are.
///
/// # Errors
/// Those of omnictl.
pub fn observe(omnictl: &Omnictl<'_>, cluster: &str) -> Result<Option<ClusterView>, Failure> {
    let selector = format!("omni.sidero.dev/cluster={cluster}");
    let list = |kind: &'static str| -> Read<'_> {
        let selector = selector.as_str();
        Box::new(move || omnictl.list(kind, Some(selector)))
    };
    let get = |kind: &'static str| -> Read<'_> {
        Box::new(move || omnictl.get(kind, cluster).map(|found| found.into_iter().collect()))
    };
    let reads = vec![
        get("clusterstatuses"),
        get("clusters"),
        get("talosupgradestatuses"),
        get("kubernetesupgradestatuses"),
        list("machinesets"),
        list("machinesetstatuses"),
        list("clustermachinerequeststatuses"),
        list("clustermachinestatuses"),
    ];
    let mut answers = beside(reads, ALL).into_iter();
    let mut next = || answers.next().unwrap_or(Ok(Vec::new()));
    let Some(status) = next()?.pop() else { return Ok(None) };
    let wanted = next()?.pop();
    let upgrades = [(Upgraded::Talos, next()?.pop()), (Upgraded::Kubernetes, next()?.pop())];
    let upgrades: Vec<_> = upgrades.into_iter().filter_map(|(what, found)| Some((what, found?))).collect();
    let (sets, set_statuses, requests, machines) = (next()?, next()?, next()?, next()?);
    Ok(Some(cluster::cluster_view(&ClusterParts {
        status: &status,
        cluster: wanted.as_ref(),
        sets: &sets,
        set_statuses: &set_statuses,
        requests: &requests,
        machines: &machines,
        upgrades: &upgrades,
    })))
}

/// Which of these clusters are Running and ready, as [`observe`] would say of each, and in as many reads for all of them.
///
/// # Errors
/// Those of omnictl.
pub fn running(omnictl: &Omnictl<'_>, names: &BTreeSet<&str>) -> Result<BTreeSet<String>, Failure> {
    let list = |kind: &'static str| -> Read<'_> { Box::new(move || omnictl.list(kind, None)) };
    let kinds = [
        "clusterstatuses",
        "clusters",
        "talosupgradestatuses",
        "kubernetesupgradestatuses",
        "machinesets",
        "machinesetstatuses",
    ];
    let mut answers = beside(kinds.map(list).into(), ALL).into_iter();
    let mut next = || answers.next().unwrap_or(Ok(Vec::new()));
    let (statuses, clusters, talos, kubernetes) = (next()?, next()?, next()?, next()?);
    let (sets, set_statuses) = (by_cluster(next()?), by_cluster(next()?));
    let of = |all: &[Resource], name: &str| all.iter().find(|found| found.metadata.id == name).cloned();
    let none = Vec::new();
    let runs = |status: &&Resource| {
        let name = status.metadata.id.as_str();
        let upgrades = [(Upgraded::Talos, of(&talos, name)), (Upgraded::Kubernetes, of(&kubernetes, name))];
        let upgrades: Vec<_> = upgrades.into_iter().filter_map(|(what, found)| Some((what, found?))).collect();
        let view = cluster::cluster_view(&ClusterParts {
            status,
            cluster: of(&clusters, name).as_ref(),
            sets: sets.get(name).unwrap_or(&none),
            set_statuses: set_statuses.get(name).unwrap_or(&none),
            requests: &[],
            machines: &[],
            upgrades: &upgrades,
        });
        names.contains(name) && view.running
    };
    Ok(statuses.iter().filter(runs).map(|status| status.metadata.id.clone()).collect())
}

/// Resources by the cluster whose label they carry.
fn by_cluster(found: Vec<Resource>) -> BTreeMap<String, Vec<Resource>> {
    let mut groups: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
    for each in found {
        if let Some(cluster) = each.metadata.label("cluster").map(str::to_owned) {
            groups.entry(cluster).or_default().push(each);
        }
    }
    groups
}

/// One question to Omni.
type Read<'a> = Job<'a, Result<Vec<Resource>, Failure>>;

/// The cluster as a tree.
pub fn picture(view: &ClusterView) -> String {
    let ready = |ready: bool| if ready { "ready" } else { "not ready" };
    let mut text = format!("{}  {}, {}\n", view.name, view.phase, ready(view.ready));
    if !view.upgrade.is_empty() {
        text.push_str(&format!("│   {}\n", view.upgrade));
    }
    for (at, set) in view.machine_sets.iter().enumerate() {
        let last = at + 1 == view.machine_sets.len();
        let (branch, stem) = if last { ("└──", "    ") } else { ("├──", "│   ") };
        let MachineSetView { id, phase, class, wanted, machines, error, .. } = set;
        let up = machines.iter().filter(|machine| machine.ready).count();
        let class = if class.is_empty() { String::new() } else { format!(", class {class}") };
        let phase = if phase.is_empty() { "not looked at yet" } else { phase };
        text.push_str(&format!("{branch} {id}  {phase}, {}, {up}/{wanted} machines{class}\n", ready(set.ready)));
        if !error.is_empty() {
            text.push_str(&format!("{stem}    error: {error}\n"));
        }
        for (at, machine) in machines.iter().enumerate() {
            let twig = if at + 1 == machines.len() { "└──" } else { "├──" };
            let name = if machine.request.is_empty() { &machine.uuid } else { &machine.request };
            let wait =
                if machine.waits_for.is_empty() { String::new() } else { format!("  waits for {}", machine.waits_for) };
            let error = if machine.error.is_empty() { String::new() } else { format!("  error: {}", machine.error) };
            text.push_str(&format!("{stem}{twig} {name}  {}{wait}{error}\n", machine.stage));
        }
    }
    text
}
