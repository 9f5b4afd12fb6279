//! `rehearse`: runs the provider and cluster tasks against the lab, in a scratch copy.
//!
//! 1. Builds the lab and starts it on its own loopback ports; it exits with this process, however that ends.
//! 2. Runs the tasks themselves, as separate processes, in the order in which a newcomer would type them.
//! 3. Shows the result: cluster, machine sets, machines, VMs with their node and storage.
//! 4. Removes everything.
//!
//! With `--project`, the operator's own clusters are rehearsed. With `--fault`, something goes wrong: the tasks before it run,
//! then the one that meets the fault, and its output is shown next to what would fix the fault in reality.

mod drill;
mod project;

use std::time::Instant;

use crate::cli::Rehearse;
use crate::flow::rehearsal::{SCRATCH, TaskRun, plan_of_tasks, run_passing_task, start};
use crate::prelude::*;
use domain::words::split;
use runtime::files;
use runtime::tool::lab;
use runtime::ui::{millis, table};

/// The names of the rehearsed cluster and its machine class.
const CLUSTER: &str = "rehearsal";
const CLASS: &str = "rehearsal-machine";
const CONTROL_PLANES: u32 = 3;
const WORKERS: u32 = 3;

/// The tasks, in the order of the README, as an operator would type them.
fn tasks() -> Vec<Vec<String>> {
    let lines = [
        "provider-setup".to_owned(),
        "provider-verify".to_owned(),
        format!("machineclass-create {CLASS} --cores 2 --memory 4096 --disk 20 --selector 'name == \"local-lvm\"'"),
        format!("machineclass-apply {CLASS}"),
        format!("cluster-create {CLUSTER} --control-planes {CONTROL_PLANES} --workers {WORKERS}"),
        format!("cluster-status {CLUSTER}"),
    ];
    lines.iter().map(|line| split(line)).collect()
}

pub fn run(args: &Rehearse, cx: &Cx) -> anyhow::Result<Outcome> {
    if cx.dry_run && args.fault.is_empty() && args.project.is_none() {
        return Ok(plan_of_tasks(cx, &tasks()));
    }
    files::remove_stale_scratch_dirs(&cx.paths.target(), SCRATCH);
    let program = cx.ui.step("build", "Build the lab", || Ok(StepResult::ok(lab::program(cx)?, "")))?;
    if let Some(dir) = &args.project {
        return project::run(args, cx, &program, dir);
    }
    if !args.fault.is_empty() {
        return drill::run(args, cx, &program);
    }
    let begun = Instant::now();
    let (lab, project) = start(args, cx, &program)?;
    let mut ran = Vec::new();
    for words in tasks() {
        ran.push(run_passing_task(cx, &lab, &project, &words)?);
    }
    let elapsed = begun.elapsed();
    let state = lab::read_state(cx, &program, &lab.dir)?;
    let found = verify_lab(&state)?;
    report(cx, &state, &ran);
    let summary = format!(
        "rehearsed in {}: cluster `{CLUSTER}` is Running on {found} virtual machines of the simulated Proxmox",
        millis(elapsed.as_millis() as u64)
    );
    let times: Vec<Value> = ran.iter().map(TaskRun::json).collect();
    let data = json!({ "tasks": times, "state": state, "elapsed_ms": elapsed.as_millis() as u64 });
    Ok(Outcome::done(summary)
        .with(data)
        .next("cargo xtask lab-up")
        .next("docs/how-to/deployment.md describes a real deployment"))
}

/// Checks in the simulated services that the results of the tasks are real. Returns the number of VMs.
fn verify_lab(state: &Value) -> anyhow::Result<usize> {
    let machines = (CONTROL_PLANES + WORKERS) as usize;
    let vms = state["proxmox"]["vms"].as_array().map_or(0, Vec::len);
    let running = state["omni"]["clusters"].as_array().into_iter().flatten().any(|cluster| {
        cluster["name"] == CLUSTER
            && cluster["ready"] == true
            && cluster["phase"].as_str().is_some_and(|phase| phase.eq_ignore_ascii_case("running"))
    });
    if vms == machines && running {
        return Ok(vms);
    }
    Err(Failure::new(Code::Failed, "the tasks succeeded, but the simulated services do not show the result")
        .cause(format!("{vms} virtual machines instead of {machines}; cluster running: {running}"))
        .into())
}

/// Step 3: prints the cluster as a tree, and the duration of each task.
fn report(cx: &Cx, state: &Value, ran: &[TaskRun]) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut picture = String::new();
    for cluster in state["omni"]["clusters"].as_array().into_iter().flatten() {
        let ready = if cluster["ready"] == true { "ready" } else { "not ready" };
        picture.push_str(&format!("\n{}  {}, {ready}\n", text(&cluster["name"]), text(&cluster["phase"])));
        let sets = cluster["machine_sets"].as_array().cloned().unwrap_or_default();
        for (at, set) in sets.iter().enumerate() {
            let (branch, stem) = if at + 1 == sets.len() { ("└──", "    ") } else { ("├──", "│   ") };
            picture.push_str(&format!(
                "{branch} {}  {}, class {}\n",
                text(&set["id"]),
                text(&set["phase"]),
                text(&set["class"])
            ));
            let machines = set["machines"].as_array().cloned().unwrap_or_default();
            for (at, machine) in machines.iter().enumerate() {
                let twig = if at + 1 == machines.len() { "└──" } else { "├──" };
                picture.push_str(&format!(
                    "{stem}{twig} {}  {}  VM {} on {}, disk on {}\n",
                    text(&machine["request"]),
                    text(&machine["stage"]),
                    text(&machine["vmid"]),
                    text(&machine["node"]),
                    text(&machine["storage"]),
                ));
            }
        }
    }
    cx.ui.print_data(&picture);
    let rows: Vec<Vec<String>> =
        ran.iter().map(|ran| vec![ran.line.clone(), millis(ran.elapsed.as_millis() as u64)]).collect();
    cx.ui.print_data(&format!("\n{}", table(&["TASK", "TIME"], &rows)));
}
