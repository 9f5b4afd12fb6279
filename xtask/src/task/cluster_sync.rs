//! `cluster-sync [name…|--all]`: brings cluster templates to Omni.
//!
//! 1. The files are checked as `cluster-check --offline` does; an error that is not allowed ends it here.
//! 2. omnictl validates them and says what a sync would do; nothing to do is a good end.
//! 3. The operator sees what would change, and what would be destroyed: a sync destroys what the template no longer has.
//! 4. The sync.
//! 5. Omni says Running and ready, and a second comparison finds no difference.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{Outcome, cluster_status, known, load, stuck};
use crate::apply::{self, Applied};
use crate::cli::ClusterSync;
use crate::cx::Cx;
use crate::failure::{Code, Failure};
use crate::plan::{Action, Plan};
use crate::status::cluster::ClusterView;
use crate::status::sync::{SyncAction, sync_actions};
use crate::tool::install;
use crate::tool::omnictl::Omnictl;
use crate::ui::{Check, Done};
use crate::wait::{self, Look};

/// Six machines take the real provider a minute and a half to make; images, boots and bootstraps take the rest.
pub const RUNNING: Duration = Duration::from_secs(30 * 60);

/// A template and what a sync of it would do.
pub struct Wanted {
    pub name: String,
    pub file: PathBuf,
    pub actions: Vec<SyncAction>,
    /// omnictl's own words, with diffs.
    pub said: String,
}

pub fn run(args: &ClusterSync, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let files = load::chosen(&args.name, args.all, &cx.paths.clusters(), "cluster", |name| cx.paths.cluster(name))?;
    let classes = known::local_classes(cx);
    let known = load::Known { local_classes: classes.as_deref(), ..load::Known::default() };
    let templates = load::templates(cx, &files, &known, &args.allow)?;
    install::on_need(cx)?;
    let omnictl = Omnictl::find(cx)?;
    let wanted = compare(cx, &omnictl, &templates)?;
    let plan = plan(cx, &wanted);
    let names: Vec<&str> = wanted.iter().map(|each| each.name.as_str()).collect();
    let actions: Vec<&SyncAction> = wanted.iter().flat_map(|each| &each.actions).collect();
    let data = json!({ "clusters": names, "actions": actions, "allowed": args.allow });
    show(cx, &wanted);
    if !cx.dry_run {
        consent(cx, &wanted)?;
    }
    match apply::run(cx, &plan, "sync").map_err(|error| of_sync(cx, error, &wanted))? {
        Applied::Planned(outcome) => {
            let plan = outcome.data["plan"].clone();
            let mut data = data;
            data["plan"] = plan;
            return Ok(outcome.with(data));
        }
        Applied::Nothing => {
            remember(cx, &names)?;
            return Ok(Outcome::done(in_sync(&names)).with(data).next("cargo xtask cluster-status"));
        }
        Applied::Done => {}
    }
    let changed: Vec<&Wanted> = wanted.iter().filter(|each| !each.actions.is_empty()).collect();
    for each in &changed {
        prove(cx, &omnictl, each, args.no_wait)?;
    }
    remember(cx, &names)?;
    let summary = match changed.as_slice() {
        [one] if args.no_wait => format!("cluster `{}` is synced; it was not waited for", one.name),
        [one] => format!("cluster `{}` is synced, Running and ready", one.name),
        many => format!("{} clusters synced", many.len()),
    };
    Ok(Outcome::done(summary).with(data).next(format!("cargo xtask cluster-status {}", changed[0].name)))
}

fn in_sync(names: &[&str]) -> String {
    match names {
        [one] => format!("cluster `{one}` is in sync; nothing to change"),
        many => format!("{} clusters are in sync; nothing to change", many.len()),
    }
}

/// Step 2, for all files side by side: one call of omnictl each.
///
/// # Errors
/// The first file that omnictl does not take, after all were tried.
pub fn compare(cx: &Cx, omnictl: &Omnictl<'_>, templates: &[(String, PathBuf)]) -> anyhow::Result<Vec<Wanted>> {
    let checks = templates.iter().map(|(name, file)| {
        Check::new("compare", format!("cluster `{name}` compared with Omni"), move || {
            let said = omnictl.sync_plan(file)?;
            let actions = sync_actions(&said);
            let detail = match actions.len() {
                0 => "in sync".to_owned(),
                1 => "1 difference".to_owned(),
                count => format!("{count} differences"),
            };
            Ok(Done::ok(Wanted { name: name.clone(), file: file.clone(), actions, said }, detail))
        })
    });
    cx.ui.side_by_side("comparing with Omni", checks.collect()).into_iter().collect()
}

pub fn plan(cx: &Cx, wanted: &[Wanted]) -> Plan {
    let mut plan = Plan::default();
    for each in wanted.iter().filter(|each| !each.actions.is_empty()) {
        let words: Vec<String> = each.actions.iter().map(SyncAction::words).collect();
        let undo =
            format!("restore `{}` and sync again; destroyed machines do not come back", cx.paths.show(&each.file));
        let action = Action::Sync { file: each.file.clone() };
        plan.push("sync", format!("cluster {}", each.name), words.join(", "), undo, action);
    }
    plan
}

/// What would change, as omnictl shows it.
fn show(cx: &Cx, wanted: &[Wanted]) {
    for each in wanted {
        if !each.said.trim().is_empty() {
            cx.ui.data(each.said.trim_end());
        }
    }
}

/// Step 3: destroying is confirmed by the cluster's name.
pub fn consent(cx: &Cx, wanted: &[Wanted]) -> Result<(), Failure> {
    for each in wanted {
        let gone: Vec<String> = each.actions.iter().filter(|action| action.destroys()).map(SyncAction::loss).collect();
        if !gone.is_empty() {
            cx.ui.say(&format!("  this sync destroys: {}", gone.join("; ")));
            cx.ask.consent_to_destroy(
                &format!("sync cluster `{}`, which destroys {}", each.name, gone.join("; ")),
                &each.name,
            )?;
        }
    }
    Ok(())
}

/// A sync that did not end: what it tears down does not go, and omnictl does not say why.
pub fn of_sync(cx: &Cx, error: anyhow::Error, wanted: &[Wanted]) -> anyhow::Error {
    let failure = Failure::of(&error);
    if failure.code != Code::Timeout {
        return error;
    }
    let own = failure.hint.clone();
    for each in wanted.iter().filter(|each| each.actions.iter().any(SyncAction::destroys)) {
        let view = Omnictl::find(cx).and_then(|omnictl| cluster_status::observe(&omnictl, &each.name)).ok().flatten();
        let explained = stuck::explain(cx, failure.clone(), &each.name, view.as_ref());
        if explained.cause != failure.cause {
            let hint = format!("{} {own}", explained.hint);
            return explained.hint(hint).into();
        }
    }
    error
}

/// Step 5.
///
/// # Errors
/// [`Code::Timeout`] with what the cluster waits for; [`Code::Failed`] when it differs from its template all the same.
pub fn prove(cx: &Cx, omnictl: &Omnictl<'_>, wanted: &Wanted, no_wait: bool) -> anyhow::Result<()> {
    if !no_wait {
        cx.ui.step("running", format!("cluster `{}` runs", wanted.name), || {
            let view = wait_until_running(cx, omnictl, &wanted.name)?;
            let count = view.machines().count();
            Ok(Done::ok((), format!("Running and ready, {count} machines")))
        })?;
    }
    cx.ui.step("proof", format!("cluster `{}` is as its template says", wanted.name), || {
        let left = sync_actions(&omnictl.sync_plan(&wanted.file)?);
        if left.is_empty() {
            return Ok(Done::ok((), "no difference left"));
        }
        let words: Vec<String> = left.iter().map(SyncAction::words).collect();
        Err(Failure::new(Code::Failed, format!("cluster `{}` still differs from its template", wanted.name))
            .cause(words.join(", "))
            .hint("somebody else may be changing it, or Omni dropped a part of the template without a word")
            .into())
    })
}

/// Waits until Omni says Running and ready, of the cluster and of each machine set.
fn wait_until_running(cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> anyhow::Result<ClusterView> {
    let what = format!("cluster `{cluster}`");
    let mut ready: Vec<String> = Vec::new();
    let mut last: Option<ClusterView> = None;
    let result = wait::until(
        &what,
        cx.limit(RUNNING),
        |words| cx.ui.waiting(words),
        || {
            // One poll that fails must not end a wait of half an hour.
            let seen = match cluster_status::observe(omnictl, cluster) {
                Err(failure) if matches!(failure.code, Code::Unreachable | Code::Timeout) => {
                    return Ok(Look::Waiting(format!("waiting for Omni: {}", failure.message)));
                }
                other => other?,
            };
            let Some(view) = seen else {
                return Ok(Look::Waiting("waiting for Omni to make the cluster".to_owned()));
            };
            for machine in view.machines().filter(|machine| machine.ready) {
                let name = if machine.request.is_empty() { &machine.uuid } else { &machine.request };
                if !ready.contains(name) {
                    ready.push(name.clone());
                    cx.ui.say(&format!("           {name} is ready"));
                }
            }
            if view.running {
                return Ok(Look::Done(view));
            }
            let words = match view.first_error() {
                Some(error) => format!("{} (error: {error})", view.waits_for()),
                None => view.waits_for(),
            };
            last = Some(view);
            Ok(Look::Waiting(words))
        },
    );
    result.map_err(|error| {
        let failure = Failure::of(&error);
        if failure.code != Code::Timeout {
            return error;
        }
        let mut failure = stuck::explain(cx, failure, cluster, last.as_ref());
        for command in [format!("cargo xtask cluster-status {cluster}"), "cargo xtask provider-status".to_owned()] {
            if !failure.next.contains(&command) {
                failure.next.push(command);
            }
        }
        failure.into()
    })
}

/// Keeps in the state which clusters there are.
///
/// # Errors
/// When the state is broken or cannot be written.
pub fn remember(cx: &Cx, names: &[&str]) -> anyhow::Result<()> {
    if cx.dry_run {
        return Ok(());
    }
    let mut state = cx.fresh_state()?;
    for name in names {
        state.add("clusters", name);
    }
    cx.save_state(state)?;
    Ok(())
}
