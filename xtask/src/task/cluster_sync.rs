//! `cluster-sync [name…|--all]`: applies cluster templates to Omni.
//!
//! 1. Checks the files, before Omni is queried; an error that is not allowed ends the task here.
//! 2. Reads classes and versions from Omni as `cluster-check` does, and checks the files against them.
//! 3. Checks that no cluster is being destroyed. Validates the files with omnictl and compares them; no changes is a success.
//! 4. Checks that the login may make the changes. Shows them to the operator: machines created or destroyed, upgrades.
//! 5. Syncs exactly the bytes that were checked.
//!    With `--plan-out`, writes the plan to a file instead, for `apply`.
//! 6. Waits until Omni reports Running and ready, even if nothing changed, as an earlier run may have been interrupted in its
//!    wait. A second comparison must find no difference.

use crate::cli::ClusterSync;
use crate::flow::cluster_sync;
use crate::flow::inputs::{self, Input};
use crate::prelude::*;

pub fn run(args: &ClusterSync, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let files = inputs::operator_files(cx, Input::Cluster, &args.name)?;
    cluster_sync::run(cx, &files, (args.no_wait, &args.allow.rules), args.plan.plan_file())
}
