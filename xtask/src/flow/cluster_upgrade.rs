//! Upgrades Talos and Kubernetes of one cluster: checks what blocks it, then changes the template version by version, syncs it,
//! and follows the machines.

use std::path::Path;

use crate::cli;
use crate::flow::change::retry_overtaken;
use crate::flow::cluster_edit::{self, Value};
use crate::flow::inputs::{self, Template};
use crate::flow::project_files::CheckedFile;
use crate::flow::stage::{self, Staged};
use crate::flow::{cluster, cluster_sync, lookup, project_files, upgrade};
use crate::prelude::*;
use check::upgrade::{Component, Step, TargetVersions};
use domain::releases::table;
use domain::spec::template::ClusterTemplate;
use domain::status::cluster::{ClusterView, MachineView};
use domain::status::sync::{SyncAction, sync_actions};
use domain::version::{self, Version};
use runtime::files::Scratch;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::role;

/// The requested versions.
pub struct Order {
    target: TargetVersions,
    /// The flags that request them, to run the task again.
    flags: String,
}

impl Order {
    /// Reads the versions from the command line; without any, uses those that this kit recommends.
    ///
    /// # Errors
    /// Fails with [`Code::Usage`] if a version is not a release.
    pub fn of(args: &cli::ClusterUpgrade) -> Result<Order, Failure> {
        let pins = &table().recommended;
        let read =
            |text: &Option<String>, like: &Version| text.as_deref().map(|text| upgrade::parse(text, like)).transpose();
        let talos = read(&args.talos, &pins.talos.version)?;
        let kubernetes = read(&args.kubernetes, &pins.kubernetes.version)?;
        let flag = |name: &str, version: &Option<Version>| {
            version.as_ref().map(|version| format!(" --{name} v{version}")).unwrap_or_default()
        };
        let flags = flag("talos", &talos) + &flag("kubernetes", &kubernetes);
        let wanted = match (&talos, &kubernetes) {
            (None, None) => TargetVersions {
                keep_newer: true,
                talos: Some(pins.talos.version.clone()),
                kubernetes: Some(pins.kubernetes.version.clone()),
                ..TargetVersions::default()
            },
            _ => TargetVersions { talos, kubernetes, ..TargetVersions::default() },
        };
        Ok(Order { target: wanted, flags })
    }
}

/// One step: the template before and after it, and the copy that omnictl reads.
struct StagedStep {
    step: Step,
    before: Vec<u8>,
    after: String,
    staged: Staged,
    _stage: Scratch,
}

/// Upgrades the cluster of this template.
///
/// # Errors
/// Fails with [`Code::Failed`] for a blocked step or a machine that does not come back, with [`Code::Conflict`] for a template
/// that differs from Omni in more than versions, or with the errors of a sync.
pub fn run(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    own: Template,
    order: &Order,
    allow: &[&'static str],
) -> anyhow::Result<Outcome> {
    let name = own.name().to_owned();
    let again = format!("cargo xtask cluster-upgrade {name}{}", order.flags);
    cx.check_writable(std::slice::from_ref(&own.file.path))?;
    let view = wait_until_settled(cx, omnictl, &name, &again)?;
    let installed = upgrade::read_cluster(cx, omnictl, &name, &order.target)?;
    let steps = check::upgrade::plan(&installed, &order.target);
    upgrade::refuse_blocked(cx, &steps, &format!("cluster `{name}`"))?;
    let Some(now) = installed.clusters.first() else { return Err(cluster::unknown_cluster(cx, omnictl, &name).into()) };
    let facts = lookup::TemplateSources::read_sources(cx, false, None);
    refuse_other_differences(cx, omnictl, &own, (&now.talos, &now.kubernetes))?;
    let stretches = staged_steps(cx, &own, (&now.talos, &now.kubernetes), &steps, |path, bytes| {
        let found = Template::check(cx, path, bytes, &facts.facts());
        inputs::refuse(cx, "cluster template", &found.findings, allow)?;
        Ok(found.value)
    })?;
    if let Some(first) = steps.first().filter(|step| matches!(step.component, Component::Kubernetes(_))) {
        pre_checks(cx, omnictl, &name, &first.to)?;
    }
    if !cx.dry_run && !steps.is_empty() {
        role::check_may_change(omnictl, &[&name])?;
    }
    let (talos, kubernetes) = versions_after(&steps, (&now.talos, &now.kubernetes));
    let data = json!({
        "cluster": name, "file": cx.paths.show(&own.file.path), "allowed": allow,
        "talos": talos.to_string(), "kubernetes": kubernetes.to_string(),
        "steps": steps.iter().map(upgrade::title).collect::<Vec<_>>(),
    });
    let mut plan = plan(cx, omnictl, (&view, &own.file.path), &stretches, &again);
    let noted = name.clone();
    plan.record(move |state| state.add_to_list("clusters", &noted));
    let question = format!("Upgrade cluster `{name}` as shown");
    if let Some(planned) = plan.run(cx, &question)? {
        return Ok(planned.and(data));
    }
    let summary = match steps.is_empty() {
        true => format!("cluster `{name}` runs Talos {talos} and Kubernetes {kubernetes}; nothing to upgrade"),
        false => format!("cluster `{name}` runs Talos {talos} and Kubernetes {kubernetes}"),
    };
    Ok(Outcome::done(summary).with(data).next(format!("cargo xtask cluster-status {name}")))
}

/// Returns the cluster, after waiting for any upgrade that is already running.
fn wait_until_settled(cx: &Cx, omnictl: &Omnictl<'_>, name: &str, again: &str) -> anyhow::Result<ClusterView> {
    cluster::refuse_destroyed(omnictl, &[name])?;
    let Some(view) = cluster::observe(omnictl, name)? else {
        return Err(cluster::unknown_cluster(cx, omnictl, name).into());
    };
    if view.locked {
        return Err(cluster::locked_failure(name, "upgrades nothing in it").next(again).into());
    }
    if view.upgrade.is_empty() {
        return Ok(view);
    }
    if cx.dry_run {
        cx.ui.note("running", format!("cluster `{name}`"), Status::Warning, &view.upgrade);
        return Ok(view);
    }
    wait_for_step(cx, omnictl, &view, (format!("the running upgrade of cluster `{name}` has ended"), None), again)
}

/// Refuses a template that differs from Omni in more than the versions: the syncs would apply those differences too.
fn refuse_other_differences(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    own: &Template,
    (talos, kubernetes): (&Version, &Version),
) -> anyhow::Result<()> {
    let name = own.name();
    let as_omni_has_it = with_versions(cx, own, (talos, kubernetes))?;
    let bytes = as_omni_has_it.into_bytes();
    let file = CheckedFile { path: own.file.path.clone(), bytes };
    let template = Template { template: own.template.clone(), file, beside: own.beside.clone() };
    let templates = [template];
    let (_stage, staged) = stage::copy_templates(cx, &templates)?;
    let diffs = cluster_sync::compare(cx, omnictl, &templates, &staged)?;
    let actions: Vec<String> = diffs.iter().flat_map(|diff| &diff.actions).map(SyncAction::describe).collect();
    if actions.is_empty() {
        return Ok(());
    }
    let what = format!("the template of cluster `{name}` differs from Omni in more than its versions");
    Err(Failure::new(Code::Conflict, what)
        .cause(actions.join(", "))
        .hint("an upgrade changes only versions: sync the rest first, or export what Omni has")
        .next(format!("cargo xtask cluster-sync {name} --dry-run"))
        .next(format!("cargo xtask cluster-export {name}"))
        .into())
}

/// Returns the template's text with these versions.
fn with_versions(cx: &Cx, own: &Template, (talos, kubernetes): (&Version, &Version)) -> Result<String, Failure> {
    let values = version_values(&own.template, (talos, kubernetes));
    let text = String::from_utf8_lossy(&own.file.bytes);
    cluster_edit::edit_text((&cx.paths.show(&own.file.path), own.name()), &text, &values)
}

fn version_values(template: &ClusterTemplate, (talos, kubernetes): (&Version, &Version)) -> Vec<Value> {
    let value = |what: &str, at, old: &str, new: &Version| {
        let same = version::parse(old).is_ok_and(|old| old.cmp_precedence(new).is_eq());
        let new = format!("{}{}", if old.starts_with('v') { "v" } else { "" }, version::bare(new));
        (!same).then(|| Value { what: what.to_owned(), at, old: old.to_owned(), new })
    };
    let all = [
        value("Talos", template.talos_at, &template.talos_version, talos),
        value("Kubernetes", template.kubernetes_at, &template.kubernetes_version, kubernetes),
    ];
    all.into_iter().flatten().collect()
}

/// Returns the versions after these steps.
fn versions_after(steps: &[Step], (talos, kubernetes): (&Version, &Version)) -> (Version, Version) {
    steps.iter().fold((talos.clone(), kubernetes.clone()), |(talos, kubernetes), step| match step.component {
        Component::Talos(_) => (step.to.clone(), kubernetes),
        _ => (talos, step.to.clone()),
    })
}

/// Returns each step with its template, checked as for a sync.
fn staged_steps(
    cx: &Cx,
    own: &Template,
    now: (&Version, &Version),
    steps: &[Step],
    check: impl Fn(&Path, &[u8]) -> Result<Option<Template>, Failure>,
) -> Result<Vec<StagedStep>, Failure> {
    let mut before = own.file.bytes.clone();
    let mut found = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let (talos, kubernetes) = versions_after(&steps[..=at], now);
        let after = with_versions(cx, own, (&talos, &kubernetes))?;
        let template: Vec<Template> = check(&own.file.path, after.as_bytes())?.into_iter().collect();
        let (stage, staged) = stage::copy_templates(cx, &template)?;
        let staged = staged.into_iter().next().filter(|staged| staged.file != own.file.path).ok_or_else(|| {
            let values = version_values(&own.template, (&talos, &kubernetes));
            cluster_edit::manual_edit_failure(
                &cx.paths.show(&own.file.path),
                own.name(),
                &values,
                "it refers to files outside its directory",
            )
        })?;
        let previous = std::mem::replace(&mut before, after.clone().into_bytes());
        found.push(StagedStep { step: step.clone(), before: previous, after, staged, _stage: stage });
    }
    Ok(found)
}

/// Plans the steps in order; each is verified before the next one starts.
fn plan<'a>(
    cx: &Cx,
    omnictl: &'a Omnictl<'_>,
    (view, path): (&'a ClusterView, &'a Path),
    stretches: &'a [StagedStep],
    again: &'a str,
) -> Plan<'a> {
    let shown = cx.paths.show(path);
    let follow_each = |stretch: &'a StagedStep| {
        let Step { component, from, to, .. } = &stretch.step;
        let mut plan = Plan::default();
        if stretch.before != stretch.after.as_bytes() {
            let read = CheckedFile { path: path.to_owned(), bytes: stretch.before.clone() };
            let effect = format!("{component}: {from} → {to}");
            plan.push(project_files::replace(read, shown.clone(), stretch.after.clone(), effect));
        }
        let (effect, undo) = (describe_effect(&stretch.step, view), describe_undo(&stretch.step));
        let change = Change::new("upgrade", component.to_string(), effect, undo, move |cx| {
            Ok(sync(cx, omnictl, view, (stretch, path))?)
        });
        let title = format!("every machine of cluster `{}` runs {} {to}", view.name, program_name(component));
        plan.push(change.with_verification(move |cx| {
            wait_for_step(cx, omnictl, view, (title, Some(&stretch.step)), again).map(drop)
        }));
        plan
    };
    let plans: Vec<Plan<'a>> = stretches.iter().map(follow_each).collect();
    let chain = plans.into_iter().rev().reduce(|next, plan| plan.then(next));
    chain.unwrap_or_else(|| {
        // The run that synced it may have been interrupted during its wait.
        let mut plan = Plan::default();
        let title = format!("cluster `{}` runs", view.name);
        plan.verify(move |cx| wait_for_step(cx, omnictl, view, (title, None), again).map(drop));
        plan
    })
}

fn program_name(component: &Component) -> &'static str {
    if matches!(component, Component::Talos(_)) { "Talos" } else { "Kubernetes" }
}

/// Describes what a step does: which machines reboot, or that none does.
fn describe_effect(step: &Step, view: &ClusterView) -> String {
    let names: Vec<&str> = view.machines().map(MachineView::name).collect();
    let (from, to) = (&step.from, &step.to);
    match step.component {
        Component::Talos(_) => {
            let machines = count(names.len(), "machine");
            format!("{from} → {to}; {machines} drained and rebooted, one after another: {}", names.join(", "))
        }
        _ => format!("{from} → {to}; its components restart machine by machine, no machine reboots"),
    }
}

fn describe_undo(step: &Step) -> String {
    match &step.component {
        Component::Talos(name) if step.from.minor == step.to.minor => {
            format!("restore the template and `cargo xtask cluster-sync {name}`, within a minor version of Talos")
        }
        _ => "you cannot go back to the older minor version".to_owned(),
    }
}

fn sync(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    view: &ClusterView,
    (stretch, original): (&StagedStep, &Path),
) -> Result<String, Failure> {
    if matches!(stretch.step.component, Component::Kubernetes(_)) {
        omnictl.upgrade_pre_checks(&view.name, &version::bare(&stretch.step.to))?;
    }
    let file = &stretch.staged.file;
    let only_versions = || {
        let actions = sync_actions(&omnictl.sync_plan(file)?).into_iter();
        let other = actions.filter(|action| action.verb != "update" || action.kind != "Clusters");
        let other: Vec<String> = other.map(|action| action.describe()).collect();
        if other.is_empty() { Ok(()) } else { Err(cluster_sync::changed_since_plan(&view.name, &other)) }
    };
    retry_overtaken(|| only_versions().and_then(|()| omnictl.sync(file)))
        .map_err(|failure| stage::unstage(cx, failure, file, original))?;
    Ok("Omni upgrades the first machine".to_owned())
}

/// Runs Omni's checks for what the new Kubernetes has removed, before anything is changed.
fn pre_checks(cx: &Cx, omnictl: &Omnictl<'_>, name: &str, to: &Version) -> anyhow::Result<()> {
    cx.ui.step("pre-checks", format!("Run Omni's checks before Kubernetes {to}"), || {
        omnictl.upgrade_pre_checks(name, &version::bare(to)).map_err(|failure| {
            if matches!(failure.code, Code::Interrupted | Code::Timeout | Code::Unreachable) {
                return failure;
            }
            let message =
                format!("Omni's checks of cluster `{name}` before Kubernetes {to} failed; nothing was changed");
            let why = if failure.cause.is_empty() { failure.message.clone() } else { failure.cause.clone() };
            Failure { message, ..failure }.cause(why)
        })?;
        Ok(StepResult::ok((), "passed"))
    })
}

/// Waits until the cluster runs and all machines have the version of the step.
fn wait_for_step(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    view: &ClusterView,
    (title, step): (String, Option<&Step>),
    again: &str,
) -> anyhow::Result<ClusterView> {
    let step = step.filter(|step| matches!(step.component, Component::Talos(_)));
    let result = cx.ui.step("running", title, || {
        let view = cluster::wait_until_upgraded(cx, omnictl, view)?;
        if let Some(step) = step {
            check_all_upgraded(omnictl, &view.name, &step.to)?;
        }
        let detail = format!("Running and ready, {}", count(view.machines().count(), "machine"));
        Ok(StepResult::ok(view, detail))
    });
    result.map_err(|error| Failure::of(&error).next(again).into())
}

/// Checks the Talos version that each machine itself reports.
fn check_all_upgraded(omnictl: &Omnictl<'_>, name: &str, to: &Version) -> Result<(), Failure> {
    let machines = omnictl.list("machinestatuses", Some(&format!("omni.sidero.dev/cluster={name}")))?;
    let running = |text: &str| version::is_same_version(text, &to.to_string());
    let others: Vec<String> = machines
        .iter()
        .filter(|machine| !running(machine.text(&["talosversion"])))
        .map(|machine| format!("{}: {}", machine.text(&["network", "hostname"]), machine.text(&["talosversion"])))
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let what = format!("{} of cluster `{name}` run a Talos version other than {to}", count(others.len(), "machine"));
    Err(Failure::new(Code::Failed, what)
        .cause(others.join(", "))
        .hint("Omni reports that the upgrade is complete: someone else may have changed the version, or these machines report late")
        .next(format!("cargo xtask cluster-explain {name}")))
}
