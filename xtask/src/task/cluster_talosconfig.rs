//! `cluster-talosconfig NAME`: writes a talosconfig for a cluster.
//!
//! 1. Checks that Omni has the cluster.
//! 2. Creates the file with omnictl, with mode 0600. It names the account and does not contain a key: talosctl takes the key from
//!    OMNI_SERVICE_ACCOUNT_KEY, or logs in with a browser.

use crate::cli::ClusterTalosconfig;
use crate::flow::cluster_access::{self, Access};
use crate::flow::{change, cluster};
use crate::prelude::*;
use domain::spec::name;
use runtime::paths::path_to_paste;

pub fn run(args: &ClusterTalosconfig, cx: &Cx) -> anyhow::Result<Outcome> {
    let name = &args.name;
    name::check_existing("cluster", name)?;
    let omnictl = change::omnictl(cx)?;
    cluster::check_exists(cx, &omnictl, name)?;
    let access = Access {
        kind: "talosconfig",
        cluster: name.clone(),
        flags: Vec::new(),
        file: args.file.clone().unwrap_or_else(|| cluster_access::default_file(cx, name, "talosconfig")),
        merge: false,
        force: args.force,
        effect: format!("access to the machines of cluster `{name}` through Omni"),
    };
    let data = json!({ "cluster": name, "file": access.file });
    if let Some(planned) = cluster_access::plan(cx, &omnictl, &access)?.run_unasked(cx)? {
        return Ok(planned.and(data));
    }
    let shown = cx.paths.show(&access.file);
    let talosctl = format!("talosctl --talosconfig {} get members", path_to_paste(&access.file));
    Ok(Outcome::done(format!("`{shown}` gives access to the machines of cluster `{name}`")).with(data).next(talosctl))
}
