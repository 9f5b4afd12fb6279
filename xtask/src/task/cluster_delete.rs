//! `cluster-delete NAME`: deletes a cluster, with its machines, VMs and disks.
//!
//! 1. Reads the machines of the cluster from Omni, and their VMs from Proxmox.
//! 2. Checks that the login may change it. The operator sees everything that will be destroyed, and types the name.
//! 3. Deletes it with omnictl, and shows what the deletion is waiting for.
//! 4. Checks that the cluster is gone from Omni, and its VMs from Proxmox. The template is kept, unless `--forget` is given.

use std::path::PathBuf;

use crate::cli::ClusterDelete;
use crate::flow::change;
use crate::flow::{cluster, cluster_deletion, cluster_output, inputs, project_files};
use crate::prelude::*;
use domain::spec::name;
use runtime::paths::path_to_paste;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::role;

pub fn run(args: &ClusterDelete, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let name = &args.name;
    name::check_existing("cluster", name)?;
    cx.check_writable(&[cx.paths.state()])?;
    let omnictl = change::omnictl(cx)?;
    let path = inputs::find_template(cx, name);
    let template = path.as_ref().map(|path| cx.paths.show(path));
    let Some(loss) = cluster_deletion::observe(cx, &omnictl, name)? else {
        return finish(args, cx, &omnictl, path);
    };
    let backups = describe_backups(cx, &omnictl, name)?;
    if !cx.dry_run {
        role::check_may_change(&omnictl, &[name])?;
    }
    let data = json!({
        "cluster": name, "machines": loss.view.machines().map(|machine| &machine.request).collect::<Vec<_>>(),
        "vms": loss.vms.known(), "template": template, "forget": args.forget,
    });
    let mut plan = Plan::from_iter([cluster_deletion::deletion(&omnictl, &loss, &backups, args.destroy_disconnected)]);
    plan.append(plan_cleanup(args, cx, path.clone()));
    plan.carry_out(cx, &format!("Delete cluster `{name}`"), &data)?;
    let outcome = Outcome::done(format!("cluster `{name}` is deleted")).with(data);
    Ok(match path.filter(|_| !args.forget) {
        Some(path) => outcome.next(format!("rm {}", path_to_paste(&path))),
        None => outcome.next("cargo xtask cluster-status"),
    })
}

/// Completes the deletion of a cluster that Omni no longer has: the state and the template. This may be the second run.
fn finish(args: &ClusterDelete, cx: &Cx, omnictl: &Omnictl<'_>, path: Option<PathBuf>) -> anyhow::Result<Outcome> {
    let name = &args.name;
    let template = path.as_ref().map(|path| cx.paths.show(path));
    let mut plan = plan_cleanup(args, cx, path);
    let known = cx.reload_state()?.list("clusters").contains(name);
    if !known && template.is_none() {
        // Nothing here refers to it either, so the name may be wrong.
        let failure = Failure { next: Vec::new(), ..cluster::unknown_cluster(cx, omnictl, name) };
        return Err(failure
            .hint("check the name: there is nothing to delete")
            .next("cargo xtask cluster-status")
            .into());
    }
    plan.record(|state| cluster_deletion::remove_from_state(state, name));
    let data = json!({ "cluster": name, "machines": [], "vms": [], "template": template, "forget": args.forget });
    plan.carry_out(cx, &format!("Forget cluster `{name}`"), &data)?;
    let summary = format!("Omni no longer has cluster `{name}`; nothing to delete");
    Ok(Outcome::done(summary).with(data).next("cargo xtask cluster-status"))
}

/// Removes the template, if that was requested and there is one.
fn plan_cleanup<'a>(args: &ClusterDelete, cx: &Cx, path: Option<PathBuf>) -> Plan<'a> {
    let removal = path.filter(|_| args.forget).map(|path| {
        let shown = cx.paths.show(&path);
        project_files::remove((path, shown), "the template of the cluster", "restore it from git")
    });
    removal.into_iter().collect()
}

/// Describes the backups that remain. Omni forgets the time of the last backup when it restarts (omni v1.9.3 `etcd_backup.go`,
/// and `omni.proto`, `ClusterSpec.backup_configuration`).
fn describe_backups(cx: &Cx, omnictl: &Omnictl<'_>, name: &str) -> Result<String, Failure> {
    let enabled = omnictl.get("clusters", name)?.is_some_and(|it| it.flag(&["backupconfiguration", "enabled"]));
    let last = omnictl.get("etcdbackupstatuses", name)?.map(|it| it.number(&["lastbackuptime", "seconds"]));
    Ok(match (last.filter(|last| *last > 0), enabled) {
        (Some(last), _) => {
            let ago = cluster_output::format_age(cx.now().saturating_sub(last));
            format!("etcd backups stay in their store, the last one {ago} old")
        }
        (None, true) => "etcd backups stay in their store; Omni has made none since it started".to_owned(),
        (None, false) => "etcd backups are not enabled".to_owned(),
    })
}
