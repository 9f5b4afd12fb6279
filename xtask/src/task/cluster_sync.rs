//! `cluster-sync [name…|--all]`: brings cluster templates to Omni.
//!
//! 1. The files are checked; an error that is not allowed ends it here, before Omni is asked.
//! 2. Omni is asked what `cluster-check` asks it, its classes and versions, and the files are checked by that.
//! 3. No cluster is being destroyed. omnictl validates them and says what a sync would do; nothing to do is a good end.
//! 4. The login may make these changes. The operator sees what would change: machines that are made or destroyed, upgrades.
//! 5. The sync, of exactly the bytes that were checked.
//! 6. Omni says Running and ready, also of what was in sync already: the run that synced it may have been interrupted in its wait. A second comparison finds no difference.

use serde_json::json;

use crate::cli::ClusterSync;
use crate::flow::cluster_sync::{self, TemplateDiff};
use crate::flow::inputs::{self, Template};
use crate::flow::stage::Stage;
use crate::flow::{change, cluster, lookup};
use crate::outcome::Outcome;
use domain::status::sync::SyncAction;
use runtime::cx::Cx;
use runtime::parallel::both;
use runtime::tool::omnictl::Omnictl;

pub fn run(args: &ClusterSync, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let files = inputs::chosen(&args.name, args.all, &cx.paths.clusters(), "cluster", |name| cx.paths.cluster(name))?;
    let files = if args.all { inputs::without_examples(cx, files, "cluster", "cluster-sync")? } else { files };
    let found = inputs::refuse_wrong_templates(cx, &files, &args.allow.rules)?;
    let names: Vec<&str> = found.iter().map(Template::name).collect();
    cx.writable(&[cx.paths.state()])?;
    if let Some(planned) = change::omnictl_on_need(cx)? {
        return Ok(planned);
    }
    let omnictl = Omnictl::find(cx)?;
    let ask = || lookup::TemplateSources::ask(cx, false, None);
    let (sources, none_destroyed) = both(ask, || cluster::refuse_destroyed(&omnictl, &names));
    let templates = inputs::templates(cx, &files, &sources.facts(), &args.allow.rules)?;
    none_destroyed?;
    let (_stage, staged) = Stage::of_templates(cx, &templates)?;
    let (diffs, impacts) = cluster_sync::differences(cx, &omnictl, (&templates, &staged), sources.classes.as_deref())?;
    let actions: Vec<&SyncAction> = diffs.iter().flat_map(|diff| &diff.actions).collect();
    let data = json!({
        "clusters": names, "actions": actions, "allowed": args.allow.rules,
        "new_machines": impacts.new_machines, "new_machines_fit": impacts.fits,
    });
    let changed: Vec<&str> = diffs.iter().filter(|diff| !diff.in_sync()).map(TemplateDiff::name).collect();
    let plan = cluster_sync::plan(cx, &omnictl, &diffs, impacts, args.no_wait);
    if let Some(planned) = plan.run(cx, &question(&changed))? {
        return Ok(planned.and(data));
    }
    let Some(first) = changed.first() else {
        // Without the wait nobody has looked whether they run.
        let next = match names.as_slice() {
            [one] if args.no_wait => format!("cargo xtask cluster-explain {one}"),
            _ if args.no_wait => "cargo xtask cluster-explain".to_owned(),
            _ => "cargo xtask cluster-status".to_owned(),
        };
        return Ok(Outcome::done(in_sync(&names)).with(data).next(next));
    };
    let summary = match changed.as_slice() {
        [one] if args.no_wait => format!("cluster `{one}` is synced; it was not waited for"),
        [one] => format!("cluster `{one}` is synced, Running and ready"),
        many => format!("{} clusters synced", many.len()),
    };
    Ok(Outcome::done(summary).with(data).next(format!("cargo xtask cluster-status {first}")))
}

/// What would be synced, in the form of a question.
fn question(changed: &[&str]) -> String {
    match changed {
        [one] => format!("Sync cluster `{one}` as shown"),
        many if many.len() > 5 => format!("Sync {} clusters as shown", many.len()),
        many => format!("Sync the clusters `{}` as shown", many.join("`, `")),
    }
}

fn in_sync(names: &[&str]) -> String {
    match names {
        [one] => format!("cluster `{one}` is in sync; nothing to change"),
        many => format!("{} clusters are in sync; nothing to change", many.len()),
    }
}
