//! `cluster-scale NAME --workers N | --set NAME=N`: changes the number of machines in the sets of a cluster.
//!
//! 1. Finds the machine sets in the template; each must take a fixed number of machines from a class.
//! 2. Changes only these numbers in the file, and checks the result as `cluster-sync` does.
//! 3. Shows the new machines and whether they fit, or the machines that will be destroyed.
//! 4. Writes and syncs the file, and waits for the cluster.

use crate::cli::ClusterScale;
use crate::flow::cluster_edit::{self, Value};
use crate::prelude::*;
use domain::nearest::nearest;
use domain::spec::name;
use domain::spec::template::{ClusterTemplate, MachineSet, SetKind, Size};

pub fn run(args: &ClusterScale, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    name::check_existing("cluster", &args.name)?;
    let options = (args.no_wait, args.allow.rules.as_slice());
    let question = format!("Scale cluster `{}` as shown", args.name);
    cluster_edit::run(cx, &args.name, options, &question, |template| parse_sizes(args, template))
}

/// Step 1: finds the machine sets to scale.
fn parse_sizes(args: &ClusterScale, template: &ClusterTemplate) -> Result<Vec<Value>, Failure> {
    let mut values = Vec::new();
    if let Some(count) = args.workers {
        let sets: Vec<&MachineSet> = template.workers().collect();
        let [set] = sets.as_slice() else {
            let usage =
                Failure::new(Code::Usage, format!("cluster `{}` has {} worker sets", template.name, sets.len()));
            return Err(usage.cause(format!("its sets: {}", set_names(template).join(", "))).hint("--set NAME=N"));
        };
        values.push(size(set, count)?);
    }
    for (set, count) in &args.set {
        let found = template.sets.iter().find(|found| short_name(found) == set);
        let found = found.ok_or_else(|| {
            let names = set_names(template);
            let failure = Failure::new(Code::Usage, format!("cluster `{}` has no machine set `{set}`", template.name))
                .cause(format!("its sets: {}", names.join(", ")));
            match nearest(set, names.iter().copied()) {
                Some(near) => failure.hint(format!("did you mean --set {near}={count}?")),
                None => failure.hint("use --set NAME=N with one of these"),
            }
        })?;
        values.push(size(found, *count)?);
    }
    Ok(values)
}

fn set_names(template: &ClusterTemplate) -> Vec<&str> {
    template.sets.iter().map(short_name).collect()
}

/// The name of a set within its cluster: Omni's ID for it, without the name of the cluster.
fn short_name(set: &MachineSet) -> &str {
    match &set.kind {
        SetKind::ControlPlane => "control-planes",
        SetKind::Workers { name } if name.is_empty() => "workers",
        SetKind::Workers { name } => name,
    }
}

fn size(set: &MachineSet, count: u32) -> Result<Value, Failure> {
    let what = short_name(set).to_owned();
    let refuse = |cause: &str| {
        Failure::new(Code::Usage, format!("the machine set `{what}` cannot be scaled by a number"))
            .cause(cause.to_owned())
    };
    let class = set.class.as_ref().ok_or_else(|| refuse("its machines are listed by UUID: edit the list"))?;
    let Size::Count(old) = class.size else { return Err(refuse("its size is `unlimited`")) };
    Ok(Value { at: class.size_at, old: old.to_string(), new: count.to_string(), what })
}
