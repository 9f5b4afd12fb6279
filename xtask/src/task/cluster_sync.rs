//! `cluster-sync [name…|--all]`: brings cluster templates to Omni.
//!
//! 1. The files are checked; an error that is not allowed ends it here, before Omni is asked.
//! 2. Omni is asked what `cluster-check` asks it, its classes and versions, and the files are checked by that.
//! 3. No cluster is being destroyed. omnictl validates them and says what a sync would do; nothing to do is a good end.
//! 4. The login may make these changes. The operator sees what would change: machines that are made or destroyed, upgrades.
//! 5. The sync, of exactly the bytes that were checked.
//!    With `--plan-out` the plan is written to a file in place of that, for `apply`.
//! 6. Omni says Running and ready, also of what was in sync already: the run that synced it may have been interrupted in its wait. A second comparison finds no difference.

use crate::cli::ClusterSync;
use crate::flow::cluster_sync;
use crate::flow::inputs::{self, Input};
use crate::prelude::*;

pub fn run(args: &ClusterSync, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let files = inputs::own(cx, Input::Cluster, &args.name)?;
    cluster_sync::run(cx, &files, (args.no_wait, &args.allow.rules), args.plan.saved())
}
