//! `cluster-status [name]`: all clusters, or one cluster with its machine sets, machines, requests, and what each is waiting for.
//!
//! Reads the resources itself, because `omnictl cluster status` hangs if the cluster does not exist (omnictl 1.9.3).

use std::collections::BTreeMap;

use crate::cli::{ClusterStatus, WaitFor};
use crate::flow::{change, cluster, cluster_output, cluster_tree, cluster_watch, explain, lookup, vms};
use crate::prelude::*;
use check::explain::Cause;
use domain::spec::name;
use domain::status::cluster::{ClusterLine, ClusterView, cluster_lines};
use domain::status::machines::MachineLine;
use runtime::parallel;
use runtime::tool::omnictl::Omnictl;

pub fn run(args: &ClusterStatus, cx: &Cx) -> anyhow::Result<Outcome> {
    args.name.iter().try_for_each(|name| name::check_existing("cluster", name))?;
    let omnictl = change::omnictl(cx)?;
    if args.watch {
        return cluster_watch::run(cx, &omnictl, args.name.as_deref());
    }
    if let (Some(goal), Some(name)) = (args.wait, &args.name) {
        if goal == WaitFor::Gone {
            cluster::wait_until_gone(cx, &omnictl, name)?;
            return Ok(Outcome::done(format!("Omni has no cluster `{name}`")));
        }
        cluster::check_exists(cx, &omnictl, name)?;
        cx.ui.step("running", format!("Check that cluster `{name}` runs"), || {
            cluster::wait_until_running(cx, &omnictl, name).map(|_| StepResult::ok((), "Running and ready"))
        })?;
    }
    let (outcome, running) = match &args.name {
        Some(name) => show_one(args, cx, &omnictl, name)?,
        None => show_all(args, cx, &omnictl)?,
    };
    if !args.exit_code || running {
        return Ok(outcome);
    }
    let failure = Failure::new(Code::Failed, outcome.summary).with(outcome.data);
    Err(outcome.next.into_iter().fold(failure, Failure::next).into())
}

/// Shows all clusters. Also returns whether all of them are running.
fn show_all(args: &ClusterStatus, cx: &Cx, omnictl: &Omnictl<'_>) -> anyhow::Result<(Outcome, bool)> {
    let list = |kind: &'static str| lookup::list(omnictl, kind, format!("Read {kind} from Omni"), kind);
    let ask = || cx.ui.run_checks("querying Omni", vec![list("clusters"), list("clusterstatuses")]);
    let look = || -> Result<(Option<Vec<MachineLine>>, Vec<Value>), Failure> {
        Ok(match cluster_output::machines_if_wide(args, cx, omnictl)? {
            Some((machines, vms)) => (Some(machines), vms.into_iter().filter(|vm| vm["status"] != "running").collect()),
            None => (None, vms::list_off(cx)),
        })
    };
    let (parts, seen) = parallel::run_both(ask, look);
    let parts = parts.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let (machines, off) = seen?;
    if runtime::proc::is_interrupted() {
        return Err(runtime::proc::interruption("reading the clusters").into());
    }
    let mut lines = cluster_lines(&parts[0], &parts[1]);
    let running: Vec<&str> = lines.iter().filter(|line| line.running).map(|line| line.name.as_str()).collect();
    let off = vms::explain_off(cx, omnictl, off, &running);
    for line in lines.iter_mut().filter(|line| off.contains_key(&line.name)) {
        line.running = false;
    }
    if lines.is_empty() {
        let none = Outcome::done("there are no clusters").with(json!({ "clusters": [] }));
        return Ok((none.next("cargo xtask cluster-create"), true));
    }
    let (running, total) = (lines.iter().filter(|line| line.running).count(), lines.len());
    let summary = format!("{running} of {} Running and ready", count(total, "cluster"));
    lines.retain(|line| !(args.not_ready && line.running));
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    let data = cluster_output::with_machines(json!({ "clusters": lines }), &machines);
    cluster_output::print(args, cx, &names, &data, || match &machines {
        Some(machines) => cluster_output::machine_table(machines),
        None => cluster_output::cluster_table(&lines),
    });
    let troubled: Vec<&ClusterLine> = lines.iter().filter(|line| !line.running).collect();
    for line in troubled.iter().take(NAMED) {
        cx.ui.note("not-running", format!("cluster `{}`", line.name), Status::Warning, problem_of(line, &off));
    }
    if troubled.len() > NAMED {
        let more = format!("{} more clusters", troubled.len() - NAMED);
        cx.ui.note("not-running", more, Status::Warning, "not Running and ready");
    }
    let locked = parts[0].iter().find(|cluster| cluster.metadata.has_annotation("cluster-locked"));
    let locked = locked.map(|cluster| &cluster.metadata.id);
    if let Some(name) = locked {
        cx.ui.note("locked", format!("cluster `{name}`"), Status::Ok, "locked: Omni rejects changes to it");
    }
    let troubled = troubled.first().map(|line| &line.name).or(locked);
    let outcome = Outcome::done(summary).with(data);
    let next = match troubled {
        Some(name) => format!("cargo xtask cluster-explain {name}"),
        // It lists the VMs that do not belong to any cluster.
        None => "cargo xtask drift".to_owned(),
    };
    Ok((outcome.next(next), running == total))
}

/// Maximum number of clusters in trouble named before the table, which lists all of them.
const NAMED: usize = 8;

/// Describes briefly why a cluster in the list is not running.
fn problem_of(line: &ClusterLine, off: &BTreeMap<String, String>) -> String {
    let ClusterLine { phase, healthy, total, .. } = line;
    let machines = match total {
        0 => "no machines".to_owned(),
        total => format!("{healthy} of {} healthy", count(*total, "machine")),
    };
    match phase.as_str() {
        _ if off.contains_key(&line.name) => off[&line.name].clone(),
        _ if line.tearing_down => "being destroyed".to_owned(),
        "Running" if line.ready && !line.kubernetes_api_ready => "its Kubernetes API does not answer".to_owned(),
        phase => format!("{phase}, {machines}"),
    }
}

/// Shows one cluster. Also returns whether it is running.
fn show_one(args: &ClusterStatus, cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> anyhow::Result<(Outcome, bool)> {
    let (view, causes) = cx.ui.step("cluster", format!("Check cluster `{cluster}` in Omni"), || {
        let mut view =
            cluster::observe(omnictl, cluster)?.ok_or_else(|| cluster::unknown_cluster(cx, omnictl, cluster))?;
        let causes = explain::blocking_causes(cx, omnictl, &view);
        if runtime::proc::is_interrupted() {
            return Err(runtime::proc::interruption("reading the cluster").into());
        }
        let detail = match (view.running, view.tearing_down) {
            (true, _) if !view.is_settled() => format!("Running and ready; {}", after_phase(&view.waits_for())),
            (true, _) if view.locked => "Running and ready; locked: Omni rejects changes to it".to_owned(),
            (true, _) => "Running and ready".to_owned(),
            (_, true) => format!("being destroyed: {}", view.waits_for()),
            (_, false) => view.waits_for(),
        };
        // Omni takes four minutes to notice that a machine has died.
        view.running &= !causes.iter().any(|cause| cause.lasting);
        let running = view.running;
        let seen = (view, causes);
        Ok(if running { StepResult::ok(seen, detail) } else { StepResult::warning(seen, detail) })
    })?;
    // The step's warning is what the cluster waits for.
    for found in explain::not_named_in(&view.waits_for(), &causes) {
        let status = if found.lasting { Status::Failed } else { Status::Warning };
        cx.ui.note("cause", found.cause.as_str(), status, found.evidence.as_str());
    }
    let machines = cluster_output::machines_if_wide(args, cx, omnictl)?.map(|(machines, _)| machines);
    let shown = if args.not_ready { mark_not_ready(&view, &causes) } else { view.clone() };
    let data = cluster_output::with_machines(json!({ "cluster": shown, "causes": causes }), &machines);
    let names: &[&str] = if args.not_ready && view.is_settled() { &[] } else { &[cluster] };
    cluster_output::print(args, cx, names, &data, || match &machines {
        Some(machines) => cluster_output::machine_table(machines),
        None => cluster_tree::render(&shown),
    });
    let why =
        causes.first().map(|cause| cause.cause.clone()).or(view.first_error()).unwrap_or_else(|| view.waits_for());
    let summary = match view.running {
        true if !view.is_settled() => format!("cluster `{cluster}` is Running and ready; {}", after_phase(&why)),
        true => format!("cluster `{cluster}` is Running and ready"),
        false if view.tearing_down => format!("cluster `{cluster}` is being destroyed: {why}"),
        false => format!("cluster `{cluster}` is not ready: {why}"),
    };
    let mut outcome = Outcome::done(summary).with(data);
    if view.is_settled() && causes.is_empty() {
        return Ok((outcome.next(format!("cargo xtask cluster-kubeconfig {cluster}")), true));
    }
    for found in &causes {
        cx.ui.say(&format!("  fix: {}", found.fix));
        for next in &found.next {
            if !outcome.next.contains(next) {
                outcome = outcome.next(next);
            }
        }
    }
    Ok((outcome.next(format!("cargo xtask cluster-explain {cluster}")), view.running && view.is_settled()))
}

/// Removes the phase from a description that follows one.
fn after_phase(waits_for: &str) -> &str {
    waits_for.strip_prefix("Running: ").unwrap_or(waits_for)
}

/// Returns the cluster without the machines and sets that are ready. Omni shows a machine as ready for minutes after its VM was
/// stopped, so a machine with a cause is kept.
fn mark_not_ready(view: &ClusterView, causes: &[Cause]) -> ClusterView {
    let mut view = view.clone();
    let named = |name: &str| causes.iter().any(|found| found.request == name);
    for set in &mut view.machine_sets {
        set.machines.retain(|machine| !machine.ready || named(machine.name()));
    }
    view.machine_sets.retain(|set| !set.ready || !set.machines.is_empty());
    view
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::explain::Link;
    use domain::status::cluster::{MachineSetView, MachineView};

    #[test]
    fn mark_not_ready_includes_machines_named_by_a_cause() {
        let machine = |name: &str, ready| MachineView { request: name.to_owned(), ready, ..MachineView::default() };
        let set =
            |id: &str, ready, machines| MachineSetView { id: id.to_owned(), ready, machines, ..Default::default() };
        let off = set("off", true, vec![machine("off-1", true), machine("off-2", true)]);
        let sets =
            vec![off, set("ok", true, vec![machine("ok-1", true)]), set("bad", false, vec![machine("bad-1", false)])];
        let view = ClusterView { machine_sets: sets, ..ClusterView::default() };
        let cause = Cause::new(Link::Vm, "vm-stopped", "the VM of `off-2`: VM 100 on pve2 is stopped");
        let left = mark_not_ready(&view, &[Cause { request: "off-2".to_owned(), ..cause }]);
        let names: Vec<&str> = left.machines().map(MachineView::name).collect();
        assert_eq!(names, ["off-2", "bad-1"]);
    }

    #[test]
    fn problem_of_prefers_the_most_specific_source() {
        let line = |phase: &str, total: u64| ClusterLine {
            name: "zebra".to_owned(),
            phase: phase.to_owned(),
            ready: true,
            running: false,
            kubernetes_api_ready: true,
            healthy: 0,
            total,
            talos: String::new(),
            kubernetes: String::new(),
            tearing_down: false,
        };
        let (none, off) = (BTreeMap::new(), BTreeMap::from([("zebra".to_owned(), "VM 4 is stopped".to_owned())]));
        assert_eq!(problem_of(&line("ScalingUp", 0), &none), "ScalingUp, no machines");
        assert_eq!(problem_of(&line("ScalingUp", 2), &none), "ScalingUp, 0 of 2 machines healthy");
        assert_eq!(problem_of(&ClusterLine { tearing_down: true, ..line("Running", 2) }, &none), "being destroyed");
        let silent = ClusterLine { kubernetes_api_ready: false, ..line("Running", 2) };
        assert_eq!(problem_of(&silent, &none), "its Kubernetes API does not answer");
        assert_eq!(problem_of(&silent, &off), "VM 4 is stopped");
    }
}
