//! `cluster-create [name]`: writes a cluster template, syncs it, and waits until the cluster runs.
//!
//! 1. Omni is asked which machine classes and versions it offers.
//! 2. What is not given by flags is asked for; classes and versions must be among those.
//! 3. What would be written is checked as `cluster-check` does, by what Omni offers.
//! 4. omnictl validates it and says what a sync would do. One plan holds the file and the sync; an existing file that says
//!    something else stays.
//! 5. The template is written, and synced.
//! 6. Omni says Running and ready.

use std::path::Path;

use serde_json::json;

use super::cluster_sync;
use crate::cli::ClusterCreate;
use crate::flow::apply::{self, Applied};
use crate::flow::inputs::{Known, Template};
use crate::flow::stage::Stage;
use crate::flow::{impact, inputs, lookup};
use crate::outcome::Outcome;
use check::template::{ClassInfo, TalosInfo};
use domain::failure::{Code, Failure, Missing};
use domain::plan::{Action, Plan};
use domain::secret::Secret;
use domain::spec::name;
use domain::spec::template::{NewCluster, render};
use domain::status::omni::Resource;
use domain::version;
use domain::words::count;
use runtime::answers::Answers;
use runtime::cx::Cx;
use runtime::files;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::role;
use runtime::ui::{Check, Done, Status};

/// The pair that Omni v1.9.3 installs when nobody says otherwise (omni v1.9.3 `client/pkg/constants`).
const TALOS: &str = "1.13.5";
const KUBERNETES: &str = "1.36.2";

/// What Omni offers.
struct Offer {
    classes: Vec<String>,
    infos: Vec<ClassInfo>,
    versions: Option<Vec<TalosInfo>>,
    talos: Vec<Resource>,
    /// The classes as Omni lists them.
    listed: Vec<Resource>,
}

pub fn run(args: &ClusterCreate, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    if let Some(name) = &args.name {
        name::check("cluster", name)?;
    }
    cx.writable(&[cx.paths.state(), cx.paths.cluster("x")])?;
    if let Some(planned) = apply::omnictl_on_need(cx)? {
        return Ok(planned);
    }
    let omnictl = Omnictl::find(cx)?;
    let offer = observe(cx, &omnictl)?;
    let cluster = cluster(args, cx, &offer)?;
    cluster_sync::refuse_destroyed(&omnictl, &[&cluster.name])?;
    let path = cx.paths.cluster(&cluster.name);
    let data = json!({
        "cluster": cluster.name, "file": cx.paths.show(&path), "control_planes": cluster.control_planes,
        "workers": cluster.workers, "control_plane_class": cluster.control_plane_class,
        "worker_class": cluster.worker_class, "talos_version": cluster.talos_version,
        "kubernetes_version": cluster.kubernetes_version, "allowed": args.allow,
    });
    let known =
        Known { omni_classes: Some(&offer.infos), talos_versions: offer.versions.as_deref(), ..Known::default() };
    let contents = render(&cluster);
    let found = Template::check(cx, &path, contents.as_bytes(), &known);
    inputs::refuse(cx, "cluster template", &found.findings, &args.allow)?;
    let templates: Vec<Template> = found.value.into_iter().collect();
    let mut plan = file_plan(cx, &cluster, &path, contents, args.force)?;
    let (_stage, staged) = Stage::of_templates(cx, &templates)?;
    let wanted = cluster_sync::compare(cx, &omnictl, &templates, &staged)?;
    let impacts = impact::of(cx, &omnictl, &cluster_sync::syncs(&templates, &wanted), Some(&offer.listed))?;
    plan.steps.extend(cluster_sync::plan(cx, &templates, staged, &wanted, &impacts).steps);
    let mut data = data;
    data["new_machines"] = json!(impacts.new_machines);
    data["new_machines_fit"] = json!(impacts.fits);
    // Before the file is written: a login that may only read.
    if !cx.dry_run && wanted.iter().any(|each| !each.actions.is_empty()) {
        role::may_change(&omnictl, &[&cluster.name])?;
    }
    let question = format!("Create cluster `{}` as shown", cluster.name);
    match apply::run(cx, &plan, &question).map_err(|error| cluster_sync::of_sync(cx, error, &wanted))? {
        Applied::Planned(outcome) => return Ok(outcome.and(data)),
        Applied::Nothing => {
            cx.ui.note("sync", format!("cluster `{}`", cluster.name), Status::Skipped, "in sync already")
        }
        Applied::Done => {}
    }
    for each in &wanted {
        cluster_sync::prove(cx, &omnictl, each, args.no_wait)?;
    }
    cluster_sync::remember(cx, &[&cluster.name])?;
    let outcome = match args.no_wait {
        true => Outcome::done(format!("cluster `{}` is being made; it was not waited for", cluster.name)),
        false => Outcome::done(format!("cluster `{}` is Running and ready", cluster.name)),
    };
    Ok(outcome.with(data).next(format!("cargo xtask cluster-status {}", cluster.name)))
}

/// Step 1.
fn observe(cx: &Cx, omnictl: &Omnictl<'_>) -> anyhow::Result<Offer> {
    let list = |id: &'static str, title: &str, kind: &'static str| {
        Check::new(id, title, move || {
            let found = omnictl.list(kind, None)?;
            let count = found.len();
            Ok(Done::ok(found, count.to_string()))
        })
    };
    let checks = vec![
        list("classes", "machine classes in Omni", "machineclasses"),
        list("versions", "Talos versions that Omni offers", "talosversions"),
    ];
    let mut results = cx.ui.side_by_side("asking Omni", checks).into_iter();
    let mut next = || results.next().unwrap_or_else(|| Ok(Vec::new()));
    let (classes, talos) = (next()?, next()?);
    let (infos, versions) = (lookup::classes(&classes), lookup::talos_versions(&talos));
    let listed = classes;
    let classes: Vec<String> = listed.iter().map(|class| class.metadata.id.clone()).collect();
    if classes.is_empty() {
        return Err(Failure::new(Code::Prerequisite, "Omni has no machine classes")
            .cause("a cluster's machines are made of them")
            .hint("write a class and apply it first: a cluster names the classes that its machines are made of")
            .next("cargo xtask machineclass-create")
            .next("cargo xtask machineclass-apply --all")
            .into());
    }
    Ok(Offer { classes, infos, versions, talos, listed })
}

/// Step 2.
fn cluster(args: &ClusterCreate, cx: &Cx, offer: &Offer) -> anyhow::Result<NewCluster> {
    let only = (offer.classes.len() == 1).then(|| offer.classes[0].clone());
    let control_plane_class = args.control_plane_class.clone().or_else(|| only.clone());
    let worker_class = args.worker_class.clone().or_else(|| only.clone());
    if !cx.ask.interactive() {
        let no_workers = args.workers == Some(0);
        let absent = [
            (args.name.is_none(), "the name", "NAME"),
            (args.control_planes.is_none(), "the number of control plane machines", "--control-planes"),
            (args.workers.is_none(), "the number of workers", "--workers"),
            (control_plane_class.is_none(), "the class of the control plane", "--control-plane-class"),
            (worker_class.is_none() && !no_workers, "the class of the workers", "--worker-class"),
        ];
        let absent: Vec<Missing> =
            absent.iter().filter(|(is, ..)| *is).map(|(_, what, flag)| missing(what, flag)).collect();
        if !absent.is_empty() {
            let failure = Failure::missing(absent);
            let hint = format!("{}; Omni has the machine classes {}", failure.hint, offer.classes.join(", "));
            return Err(failure.hint(hint).into());
        }
        cx.ui.say(&format!("  machine classes: {}", offer.classes.join(", ")));
    }
    let answers = Answers::of(cx);
    let asks = control_plane_class.is_none()
        || worker_class.is_none()
        || args.control_planes.is_none()
        || args.workers.is_none();
    let name = match &args.name {
        Some(name) => free_name(cx, name, args.force || !(asks && cx.ask.interactive()))?,
        None => answers.ask("NAME", "Name of the cluster", None, missing("the name", "NAME"), |text| {
            free_name(cx, text, args.force)
        })?,
    };
    let number = |given: Option<u32>, question: &str, flag: &str, check: fn(u32) -> Result<u32, Failure>| match given {
        Some(given) => check(given),
        None => answers.ask(flag, question, Some("3"), missing(question, flag), |text| {
            let invalid = || Failure::new(Code::Usage, format!("{text:?} is not a number of machines"));
            check(text.parse().map_err(|_| invalid())?)
        }),
    };
    let control_planes = number(args.control_planes, "Control plane machines (1, 3 or 5)", "--control-planes", quorum)?;
    let workers = number(args.workers, "Workers", "--workers", Ok)?;
    let class = |given: Option<String>, whose: &str, flag: &str| match given {
        Some(given) => class(cx, &given, offer, flag),
        None => {
            let question = format!("Machine class of {whose}");
            let first = offer.classes.first().map(String::as_str);
            answers.ask(flag, &question, first, missing(whose, flag), |text| class(cx, text, offer, flag))
        }
    };
    if control_plane_class.is_none() || (worker_class.is_none() && workers > 0) {
        cx.ui.show(&format!("  machine classes in Omni:\n{}", impact::sizes(cx, &offer.listed)));
    }
    let control_plane_class = class(control_plane_class, "the control plane", "--control-plane-class")?;
    let worker_class = match workers {
        0 => control_plane_class.clone(),
        _ => class(worker_class, "the workers", "--worker-class")?,
    };
    let (talos_version, kubernetes_version) = versions(args, &offer.talos)?;
    Ok(NewCluster {
        name,
        control_planes,
        workers,
        control_plane_class,
        worker_class,
        talos_version,
        kubernetes_version,
    })
}

fn missing(what: &str, flag: &str) -> Missing {
    Missing { name: what.into(), flag: Some(flag.into()), env: None, secret: false }
}

/// A name for a cluster whose template does not exist yet, unless it may: then it is compared with what would be written.
fn free_name(cx: &Cx, name: &str, may_exist: bool) -> Result<String, Failure> {
    name::check("cluster", name)?;
    let path = cx.paths.cluster(name);
    if may_exist || !path.exists() {
        return Ok(name.to_owned());
    }
    Err(Failure::new(Code::Conflict, format!("`{}` exists", cx.paths.show(&path)))
        .cause("it is never overwritten without --force: it may hold your own changes")
        .hint("choose another name, sync it as it is, or overwrite it with --force")
        .next(format!("cargo xtask cluster-sync {name}")))
}

/// etcd keeps its quorum only with an odd number of members.
fn quorum(control_planes: u32) -> Result<u32, Failure> {
    if control_planes % 2 == 1 {
        return Ok(control_planes);
    }
    Err(Failure::new(Code::Usage, format!("{control_planes} control plane machines make no good quorum"))
        .cause("etcd needs more than half of them: an even number tolerates no more failures than one less")
        .hint("--control-planes 1, 3 or 5"))
}

fn class(cx: &Cx, given: &str, offer: &Offer, flag: &str) -> Result<String, Failure> {
    if offer.classes.iter().any(|class| class == given) {
        return Ok(given.to_owned());
    }
    let near = domain::nearest::nearest(given, offer.classes.iter().map(String::as_str));
    let failure = Failure::new(Code::NotFound, format!("Omni has no machine class `{given}`"))
        .cause(format!("it has: {}", offer.classes.join(", ")));
    Err(match near {
        Some(near) => failure.hint(format!("did you mean {flag} {near}?")),
        None if cx.paths.machine_class(given).is_file() => failure
            .hint("its file is here, and was not applied yet")
            .next(format!("cargo xtask machineclass-apply {given}")),
        None => failure.next(format!("cargo xtask machineclass-create {given} --apply")),
    })
}

/// Versions without `v`, both offered by Omni and compatible with each other.
fn versions(args: &ClusterCreate, offered: &[Resource]) -> Result<(String, String), Failure> {
    let bare = |version: &str| version.trim_start_matches('v').to_owned();
    let usable = |found: &&Resource| !found.flag(&["deprecated"]) && !found.flag(&["unsupported"]);
    let mut known: Vec<String> = offered.iter().filter(usable).map(|found| found.metadata.id.clone()).collect();
    version::sort(&mut known, |version| version);
    let talos = match &args.talos_version {
        Some(version) => bare(version),
        None if known.iter().any(|version| version == TALOS) => TALOS.to_owned(),
        None => newest_release(&known).ok_or_else(|| no_talos(&known))?,
    };
    let found = offered.iter().find(|found| found.metadata.id == talos).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("Omni offers no Talos {talos}"))
            .cause(format!("it offers: {}", newest(&known)))
            .hint("--talos-version with one of these")
    })?;
    let mut compatible: Vec<String> = found
        .at(&["compatiblekubernetesversions"])
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|version| version.as_str().map(str::to_owned))
        .collect();
    version::sort(&mut compatible, |version| version);
    let kubernetes = match &args.kubernetes_version {
        Some(version) => bare(version),
        None if compatible.iter().any(|version| version == KUBERNETES) => KUBERNETES.to_owned(),
        None => newest_release(&compatible).unwrap_or_else(|| KUBERNETES.to_owned()),
    };
    if !compatible.is_empty() && !compatible.contains(&kubernetes) {
        return Err(Failure::new(Code::Invalid, format!("Kubernetes {kubernetes} does not go with Talos {talos}"))
            .cause(format!("Omni pairs it with: {}", newest(&compatible)))
            .hint("--kubernetes-version with one of these"));
    }
    Ok((talos, kubernetes))
}

fn newest_release(versions: &[String]) -> Option<String> {
    version::newest_release(versions.iter().map(String::as_str)).map(str::to_owned)
}

fn no_talos(known: &[String]) -> Failure {
    if known.is_empty() {
        return Failure::new(Code::Prerequisite, "Omni offers no Talos versions")
            .cause("it has not reached its image factory yet")
            .hint("wait a minute, and check whether Omni's machine can reach the internet");
    }
    Failure::new(Code::Prerequisite, "Omni offers no release of Talos")
        .cause(format!("it offers only pre-releases: {}", newest(known)))
        .hint("a pre-release is installed only when it is named: --talos-version with one of these")
}

fn newest(versions: &[String]) -> String {
    let count = versions.len().min(8);
    let shown = versions[versions.len() - count..].join(", ");
    if count < versions.len() { format!("…, {shown}") } else { shown }
}

/// The template as a file: what of step 4 is not the sync.
fn file_plan(cx: &Cx, cluster: &NewCluster, path: &Path, contents: String, force: bool) -> anyhow::Result<Plan> {
    let shown = cx.paths.show(path);
    let mut plan = Plan::default();
    let (verb, undo) = match files::read_if_there(path)? {
        Some(old) if old == contents.as_bytes() => return Ok(plan),
        Some(_) if !force => {
            return Err(Failure::new(Code::Conflict, format!("`{shown}` exists and says something else"))
                .cause("it is never overwritten unasked: it may hold your own changes")
                .hint("sync it as it is, choose another name, or overwrite it with --force")
                .next(format!("cargo xtask cluster-sync {}", cluster.name))
                .into());
        }
        Some(_) => ("update", "restore it from git"),
        None => ("create", "remove the file"),
    };
    let NewCluster { control_planes, workers, talos_version, kubernetes_version, .. } = cluster;
    let effect = format!(
        "{}, {}, Talos {talos_version}, Kubernetes {kubernetes_version}",
        count(*control_planes, "control plane machine"),
        count(*workers, "worker")
    );
    let action = Action::Write { path: path.to_owned(), contents: Secret::plain(contents), mode: files::SHARED };
    plan.push(verb, shown, effect, undo, action);
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::status::omni::resources;

    fn named(talos: Option<&str>, kubernetes: Option<&str>, offered: &[(&str, &[&str])]) -> Result<String, Failure> {
        let text: String = offered
            .iter()
            .map(|(id, pairs)| {
                json!({"metadata": {"id": id}, "spec": {"compatiblekubernetesversions": pairs}}).to_string()
            })
            .collect();
        let own = |text: Option<&str>| text.map(str::to_owned);
        let (talos_version, kubernetes_version) = (own(talos), own(kubernetes));
        let args = ClusterCreate { talos_version, kubernetes_version, ..ClusterCreate::default() };
        versions(&args, &resources(&text).unwrap()).map(|(talos, kubernetes)| format!("{talos} {kubernetes}"))
    }

    #[test]
    fn pre_release_is_chosen_only_by_name() {
        let old: &[&str] = &["1.36.9", "1.36.10", "1.38.0-alpha.1"];
        let new: &[&str] = &["1.37.0", "1.38.0-alpha.1", "1.37.1-rc.0"];
        let offered = [("1.13.9", old), ("1.13.10", old), ("1.14.0-beta.1", new)];
        assert_eq!(named(None, None, &offered).unwrap(), "1.13.10 1.36.10");
        assert_eq!(named(Some("v1.14.0-beta.1"), None, &offered).unwrap(), "1.14.0-beta.1 1.37.0");
        assert_eq!(named(Some("1.13.9"), Some("v1.38.0-alpha.1"), &offered).unwrap(), "1.13.9 1.38.0-alpha.1");
        let failure = named(None, None, &offered[2..]).unwrap_err();
        assert_eq!(failure.code, Code::Prerequisite);
        assert!(failure.cause.contains("only pre-releases: 1.14.0-beta.1"), "{failure}");
        assert_eq!(named(None, None, &[("1.13.5", &["1.36.2", "1.36.3"])]).unwrap(), "1.13.5 1.36.2");
        assert_eq!(named(None, None, &[]).unwrap_err().code, Code::Prerequisite);
    }
}
