//! `cluster-upgrade NAME|--all [--talos VERSION] [--kubernetes VERSION]`: upgrades Talos and Kubernetes of clusters.
//!
//! 1. Determines the target versions: those given, otherwise the recommended ones.
//! 2. For each cluster in turn: waits for an upgrade that is already running; checks that the steps of `upgrade-plan` are not
//!    blocked, and that the template matches Omni, apart from the versions.
//! 3. Shows each step with the machines that restart. For each step, changes the version in the template, and syncs it.
//! 4. Follows the machines until all run the version. If one does not come back, the task ends, and leaves the remaining clusters
//!    alone. A new run continues.

use crate::cli::ClusterUpgrade;
use crate::flow::change;
use crate::flow::cluster_upgrade::{self, Order};
use crate::flow::inputs::{self, Input};
use crate::prelude::*;

pub fn run(args: &ClusterUpgrade, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let order = Order::of(args)?;
    let names: Vec<String> = args.name.iter().cloned().collect();
    let files = inputs::operator_files(cx, Input::Cluster, &names)?;
    let templates = inputs::refuse_invalid_templates(cx, &files, &args.allow.rules)?;
    let given = names.first().filter(|name| !inputs::is_path(name)).zip(templates.first());
    given.map_or(Ok(()), |(name, template)| inputs::check_cluster_name(cx, name, template))?;
    cx.check_writable(&[cx.paths.state()])?;
    let omnictl = change::omnictl(cx)?;
    let names: Vec<String> = templates.iter().map(|template| template.name().to_owned()).collect();
    let mut done = Vec::new();
    for (at, template) in templates.into_iter().enumerate() {
        match cluster_upgrade::run(cx, &omnictl, template, &order, &args.allow.rules) {
            Ok(outcome) => done.push(outcome),
            Err(error) => return Err(with_skipped(Failure::of(&error), &names[at + 1..]).into()),
        }
    }
    Ok(merge_outcomes(done))
}

/// Combines the outcomes of several clusters.
fn merge_outcomes(mut done: Vec<Outcome>) -> Outcome {
    if done.len() == 1 {
        return done.remove(0);
    }
    let pending = done.iter().filter(|outcome| outcome.pending).count();
    let of = |key: &str| -> Vec<Value> {
        done.iter().flat_map(|outcome| outcome.data[key].as_array().cloned().unwrap_or_default()).collect()
    };
    let data = json!({ "clusters": done.iter().map(|outcome| &outcome.data).collect::<Vec<_>>(), "plan": of("plan") });
    let all = count(done.len(), "cluster");
    match pending {
        0 => Outcome::done(format!("{all} upgraded")).with(data).next("cargo xtask cluster-status"),
        some => Outcome::pending(format!("{some} of {all} to upgrade, nothing changed")).with(data),
    }
}

fn with_skipped(mut failure: Failure, rest: &[String]) -> Failure {
    if !rest.is_empty() {
        let more = format!("not upgraded: {}", rest.join(", "));
        failure.cause = [failure.cause, more].join("\n").trim().to_owned();
    }
    failure
}
