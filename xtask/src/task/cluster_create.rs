//! `cluster-create [name]`: writes a cluster template, syncs it, and waits until the cluster runs.
//!
//! 1. Reads the machine classes and versions that Omni offers.
//! 2. Prompts for what the flags do not specify; classes and versions must be among those that Omni offers.
//! 3. Checks the new template as `cluster-check` does, against what Omni offers.
//! 4. Validates it with omnictl and shows the changes that a sync would make. One plan contains the file and the sync; an
//!    existing file that differs is not overwritten.
//! 5. Writes the template, and syncs it.
//! 6. Waits until Omni reports Running and ready.

use crate::cli::ClusterCreate;
use crate::flow::change;
use crate::flow::cluster_offer::{self, Offer};
use crate::flow::inputs::{self, Template, TemplateFacts};
use crate::flow::{cluster, cluster_sync, impact, project_files, stage, timeline};
use crate::prelude::*;
use domain::spec::name;
use domain::spec::template::{NewCluster, render};
use runtime::answers::Answers;

pub fn run(args: &ClusterCreate, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    if let Some(name) = &args.name {
        name::check("cluster", name)?;
    }
    cx.check_writable(&[cx.paths.state(), cx.paths.cluster("x")])?;
    let omnictl = change::omnictl(cx)?;
    let offer = cluster_offer::observe(cx, &omnictl)?;
    let cluster = gather(args, cx, &offer)?;
    cluster::refuse_destroyed(&omnictl, &[&cluster.name])?;
    let path = cx.paths.cluster(&cluster.name);
    let data = json!({
        "cluster": cluster.name, "file": cx.paths.show(&path), "control_planes": cluster.control_planes,
        "workers": cluster.workers, "control_plane_class": cluster.control_plane_class,
        "worker_class": cluster.worker_class, "talos_version": cluster.talos_version,
        "kubernetes_version": cluster.kubernetes_version, "allowed": args.allow.rules,
    });
    let known = TemplateFacts {
        omni: offer.omni,
        omni_classes: Some(&offer.infos),
        talos_versions: offer.versions.as_deref(),
        ..TemplateFacts::default()
    };
    let contents = render(&cluster);
    let found = Template::check(cx, &path, contents.as_bytes(), &known);
    inputs::refuse(cx, "cluster template", &found.findings, &args.allow.rules)?;
    let templates: Vec<Template> = found.value.into_iter().collect();
    let where_it_exists = (args.force, EXISTS, sync_command(&cluster.name));
    let file = project_files::create(cx, &path, contents, effect(&cluster), where_it_exists)?;
    let (_stage, staged) = stage::copy_templates(cx, &templates)?;
    let diffs = cluster_sync::compare(cx, &omnictl, &templates, &staged)?;
    let impacts = impact::of(cx, &omnictl, &diffs, Some(&offer.listed))?;
    let mut data = data;
    data["new_machines"] = json!(impacts.new_machines);
    data["new_machines_fit"] = json!(impacts.fits);
    // Checked before the file is written, in case the login is read-only.
    if !cx.dry_run {
        cluster_sync::check_role(&omnictl, &diffs)?;
    }
    let mut plan = Plan::from_iter(file);
    plan.append(cluster_sync::plan(cx, &omnictl, &diffs, impacts, args.no_wait));
    if plan.is_empty() {
        cx.ui.note("sync", format!("cluster `{}`", cluster.name), Status::Skipped, "in sync already");
    }
    plan.carry_out(cx, &format!("Create cluster `{}` as shown", cluster.name), &data)?;
    if !args.no_wait {
        data["timeline"] = json!(timeline::rows_of_new(cx, &omnictl, &[&cluster.name]));
    }
    let outcome = match args.no_wait {
        true => Outcome::done(format!("cluster `{}` is being created; did not wait for it", cluster.name)),
        false => Outcome::done(format!("cluster `{}` is Running and ready", cluster.name)),
    };
    Ok(outcome.with(data).next(format!("cargo xtask cluster-status {}", cluster.name)))
}

/// Step 2: gathers the values from flags and prompts.
fn gather(args: &ClusterCreate, cx: &Cx, offer: &Offer) -> anyhow::Result<NewCluster> {
    let only = (offer.classes.len() == 1).then(|| offer.classes[0].clone());
    let control_plane_class = args.control_plane_class.clone().or_else(|| only.clone());
    let worker_class = args.worker_class.clone().or_else(|| only.clone());
    let missing = |name: &str, flag: &str| MissingValue::flag(name, flag);
    if !cx.ask.can_prompt() {
        let no_workers = args.workers == Some(0);
        let needed = [
            (args.name.is_none(), missing("the name", "NAME")),
            (args.control_planes.is_none(), missing("the number of control plane machines", "--control-planes")),
            (args.workers.is_none(), missing("the number of workers", "--workers")),
            (control_plane_class.is_none(), missing("the class of the control plane", "--control-plane-class")),
            (worker_class.is_none() && !no_workers, missing("the class of the workers", "--worker-class")),
        ];
        MissingValue::check(needed).map_err(|failure| {
            let hint = format!("{}; Omni has the machine classes {}", failure.hint, offer.classes.join(", "));
            failure.hint(hint)
        })?;
        cx.ui.say(&format!("  machine classes: {}", offer.classes.join(", ")));
    }
    let answers = Answers::load(cx);
    let asks = control_plane_class.is_none()
        || worker_class.is_none()
        || args.control_planes.is_none()
        || args.workers.is_none();
    let name = match &args.name {
        Some(name) => check_free_name(cx, name, args.force || !(asks && cx.ask.can_prompt()))?,
        None => answers.ask("NAME", "Name of the cluster", None, missing("the name", "NAME"), |text| {
            check_free_name(cx, text, args.force)
        })?,
    };
    let number = |given: Option<u32>, question: &str, flag: &str, check: fn(u32) -> Result<u32, Failure>| match given {
        Some(given) => check(given),
        None => answers.ask(flag, question, Some("3"), missing(question, flag), |text| {
            let invalid = || Failure::new(Code::Usage, format!("{text:?} is not a number of machines"));
            check(text.parse().map_err(|_| invalid())?)
        }),
    };
    let control_planes =
        number(args.control_planes, "Control plane machines (1, 3 or 5)", "--control-planes", check_quorum)?;
    let workers = number(args.workers, "Workers", "--workers", Ok)?;
    let class = |given: Option<String>, whose: &str, flag: &str| match given {
        Some(given) => cluster_offer::find_class(cx, &given, offer, flag),
        None => {
            let question = format!("Machine class of {whose}");
            let first = offer.classes.first().map(String::as_str);
            answers.ask(flag, &question, first, missing(whose, flag), |text| {
                cluster_offer::find_class(cx, text, offer, flag)
            })
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
    let (talos_version, kubernetes_version) =
        offer.versions((args.talos_version.as_deref(), args.kubernetes_version.as_deref()))?;
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

/// Checks the name, and that its template does not exist yet unless it may; an existing one is later compared with the new one.
fn check_free_name(cx: &Cx, name: &str, may_exist: bool) -> Result<String, Failure> {
    name::check("cluster", name)?;
    let path = cx.paths.cluster(name);
    if may_exist || !path.exists() {
        return Ok(name.to_owned());
    }
    Err(Failure::new(Code::Conflict, format!("`{}` exists", cx.paths.show(&path)))
        .cause("it is not overwritten without --force: it may contain your own changes")
        .hint("choose another name, sync the existing template, or overwrite it with --force")
        .next(sync_command(name)))
}

const EXISTS: &str = "sync the existing template, choose another name, or overwrite it with --force";

fn sync_command(name: &str) -> String {
    format!("cargo xtask cluster-sync {name}")
}

fn effect(cluster: &NewCluster) -> String {
    let NewCluster { control_planes, workers, talos_version, kubernetes_version, .. } = cluster;
    format!(
        "{}, {}, Talos {talos_version}, Kubernetes {kubernetes_version}",
        count(*control_planes, "control plane machine"),
        count(*workers, "worker")
    )
}

/// Refuses an even number: it gives etcd no better quorum than one machine less.
fn check_quorum(control_planes: u32) -> Result<u32, Failure> {
    if control_planes % 2 == 1 {
        return Ok(control_planes);
    }
    Err(Failure::new(Code::Usage, format!("{control_planes} control plane machines do not form a good quorum"))
        .cause("etcd needs a majority: an even number tolerates no more failures than one machine fewer")
        .hint("use --control-planes 1, 3 or 5"))
}
