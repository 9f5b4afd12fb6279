//! `cluster-export NAME|--all`: writes the templates of clusters in Omni, for git and `cluster-sync` to take over.
//!
//! 1. Checks that Omni has the cluster and is not destroying it.
//! 2. Exports its template with omnictl, including any changes made in Omni's web interface.
//! 3. Checks that a sync of the exported template would change nothing, and reports what omnictl leaves out.
//! 4. Writes the template to clusters/NAME.yaml, with commented patches next to it. An equivalent template is kept.

use crate::cli::Export;
use crate::flow::{change, cluster, export};
use crate::prelude::*;
use domain::spec::name;
use runtime::tool::omnictl::Omnictl;
use runtime::ui::Check;

pub fn run(args: &Export, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    if let Some(name) = &args.name {
        name::check_existing("cluster", name)?;
    }
    let omnictl = change::omnictl(cx)?;
    let names = names(args, cx, &omnictl)?;
    let checks = names.iter().map(|name| {
        Check::new("export", format!("Export cluster `{name}`"), || {
            let exported = export::export_cluster(cx, &omnictl, name)?;
            let detail = domain::words::count(exported.files.len(), "file");
            Ok(StepResult::ok(exported, detail))
        })
    });
    let exported = cx.ui.run_checks("exporting clusters", checks.collect());
    let exported = exported.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    export::write_files(cx, args, ("cluster", "cluster-check"), &exported)
}

/// Step 1: finds the clusters to export.
fn names(args: &Export, cx: &Cx, omnictl: &Omnictl<'_>) -> Result<Vec<String>, Failure> {
    if let Some(name) = &args.name {
        cluster::check_exists(cx, omnictl, name)?;
        cluster::refuse_destroyed(omnictl, &[name])?;
        return Ok(vec![name.clone()]);
    }
    let found = omnictl.list("clusters", None)?;
    let there = found.into_iter().filter(|found| !found.metadata.tearing_down());
    let names: Vec<String> = there.map(|found| found.metadata.id).collect();
    names.iter().try_for_each(|name| name::check_existing("cluster", name))?;
    Ok(names)
}
