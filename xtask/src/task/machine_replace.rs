//! `machine-replace ID`: replaces one machine of a cluster with a new one.
//!
//! 1. Reads the machine from Omni, and from Proxmox where its VM is and which VMs are running.
//! 2. Checks that etcd keeps its quorum, that cluster, machine and provider allow it, and that the login may change the cluster.
//! 3. The operator sees what will be destroyed, and types the cluster's name. The replacement is then requested from Omni.
//! 4. Checks that the machine is gone from Omni and its VM from Proxmox, and that the cluster runs with a new one.

use crate::cli::MachineReplace;
use crate::flow::{change, machine_replacement};
use crate::prelude::*;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::role;

pub fn run(args: &MachineReplace, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let omnictl = change::omnictl(cx)?;
    let found = match machine_replacement::observe(cx, &omnictl, &args.id) {
        Err(error) if Failure::of(&error).code == Code::NotFound => {
            return finish(args, cx, &omnictl).and_then(|done| done.ok_or(error));
        }
        other => other?,
    };
    let (name, cluster) = (&found.line.name, &found.line.cluster);
    let mut data = json!({
        "machine": name, "uuid": found.line.uuid, "cluster": cluster, "machine_set": found.line.machine_set,
        "vm": found.vm, "deletes": format!("{} {}", found.to_delete.0, found.to_delete.1), "replaced_by": Value::Null,
    });
    if !found.has_started() {
        machine_replacement::refuse_unsafe(cx, &omnictl, &found)?;
    } else if cx.dry_run {
        return Ok(
            Outcome::done(format!("`{name}` is being replaced already; a run waits for the new machine")).with(data)
        );
    }
    if !cx.dry_run {
        role::check_may_change(&omnictl, &[cluster])?;
    }
    let mut new = Vec::new();
    let plan = machine_replacement::plan(&omnictl, &found, &mut new);
    plan.carry_out(cx, &format!("Replace `{name}` of cluster `{cluster}`"), &data)?;
    data["replaced_by"] = json!(new);
    let by = if new.is_empty() { "a new machine".to_owned() } else { new.join(", ") };
    Ok(Outcome::done(format!("`{name}` is replaced by {by}"))
        .with(data)
        .next(format!("cargo xtask cluster-status {cluster}")))
}

/// Completes an interrupted run whose machine is gone: waits for the new one. `None` if there never was such a machine.
fn finish(args: &MachineReplace, cx: &Cx, omnictl: &Omnictl<'_>) -> anyhow::Result<Option<Outcome>> {
    let Some(cluster) = machine_replacement::cluster_of_replaced(omnictl, &args.id)? else { return Ok(None) };
    if !cx.dry_run {
        machine_replacement::wait_until_running(cx, omnictl, &cluster)?;
    }
    let summary = format!("Omni no longer has machine `{}`; nothing to replace", args.id);
    let data = json!({ "machine": args.id, "cluster": cluster, "replaced_by": Value::Null });
    Ok(Some(Outcome::done(summary).with(data).next(format!("cargo xtask cluster-status {cluster}"))))
}
