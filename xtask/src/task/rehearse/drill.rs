//! `rehearse --fault NAME`: something goes wrong, as it does in reality.
//!
//! 1. Starts the lab with the fault.
//! 2. Runs the tasks before it; none of them may fail yet.
//! 3. Runs the task that meets the fault, which ends as it does in reality.
//! 4. Shows what happened, the output of the task and what ends the fault; removes everything.
//!
//! With `--drill`, the operator finds and fixes the fault from another terminal, before it is revealed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::cli::Rehearse;
use crate::flow::rehearsal::{Lab, TaskRun, plan_of_tasks, run_passing_task, run_task, run_task_as, start};
use crate::prelude::*;
use domain::words::split;
use runtime::files;
use runtime::proc;
use runtime::tool::lab::faults::{self, Fault};
use runtime::ui::millis;
use runtime::wait;

/// Time limit for finding and fixing the fault.
const DRILL_LIMIT: Duration = Duration::from_secs(3600);
/// The pause between two polls; below, how many polls in a row must agree.
const PAUSE: Duration = Duration::from_secs(2);
const AGREEING_POLLS: usize = 2;

pub fn run(args: &Rehearse, cx: &Cx, program: &Path) -> anyhow::Result<Outcome> {
    let table = faults::list(cx, program)?;
    let mut chosen = Vec::new();
    for text in &args.fault {
        chosen.push(faults::find(&table, text)?);
    }
    // Several faults act at once; the first one decides which tasks run.
    let Some(fault) = chosen.first() else { return Err(anyhow::anyhow!("no fault was requested")) };
    let lines: Vec<Vec<String>> = fault.before.iter().chain([&fault.task]).map(|line| split(line)).collect();
    if cx.dry_run {
        return Ok(plan_of_tasks(cx, &lines));
    }
    if args.drill {
        cx.ui.say("\nsomething is broken; find out what\n");
    } else {
        cx.ui.say(&format!("\nfault {}: {}\n  seen in: {}\n", fault.name, fault.does, fault.source));
    }
    let (lab, project) = start(args, cx, program)?;
    let mut ran = Vec::new();
    for line in &fault.before {
        match line.strip_prefix("edit ") {
            Some(change) => edit_file(cx, &project, change)?,
            None => ran.push(run_passing_task(cx, &lab, &project, &split(line))?),
        }
    }
    if args.drill {
        run_task(cx, &lab, &project, &split(&fault.task))?;
        return run_drill(cx, &lab, &project, fault);
    }
    let met = run_faulty_task(cx, &lab, &project, fault)?;
    let tasks: Vec<Value> = ran.iter().chain([&met]).map(TaskRun::json).collect();
    let data = json!({ "fault": fault, "tasks": tasks, "stopped_at": met.document, "exit": met.code });
    let code = met.code.map_or("was killed".to_owned(), |code| format!("exited with {code}"));
    if met.code != Some(fault.exit) {
        return Err(Failure::new(Code::Failed, format!("`{}` {code}, not with {}", met.line, fault.exit))
            .cause(format!("with the fault {}, it did not end as on a real system", fault.name))
            .hint("the output of the task is above; a temporary fault (NAME:WHEN) may already have ended")
            .with(data)
            .into());
    }
    let summary = match met.code {
        Some(0) => format!("rehearsed the fault {}: `{}` succeeded despite it", fault.name, met.line),
        _ => format!("rehearsed the fault {}: `{}` {code}, as it does on a real system", fault.name, met.line),
    };
    Ok(Outcome::done(summary).with(data).next("cargo xtask lab-faults"))
}

/// Step 3: runs the task, and then reveals the fault.
fn run_faulty_task(cx: &Cx, lab: &Lab, project: &Path, fault: &Fault) -> anyhow::Result<TaskRun> {
    let met = run_task(cx, lab, project, &split(&fault.task))?;
    let detail = format!("exit {}, {}", met.code.unwrap_or(-1), millis(met.elapsed.as_millis() as u64));
    cx.ui.note("met", met.line.clone(), if met.code == Some(0) { Status::Ok } else { Status::Warning }, detail);
    show_fault(cx, fault);
    Ok(met)
}

fn show_fault(cx: &Cx, fault: &Fault) {
    // The table contains the placeholder CLUSTER; here it is the rehearsed cluster.
    let heals = fault.heals.replace("CLUSTER", super::CLUSTER);
    let rows = [
        ("what happened", &fault.does),
        ("seen in", &fault.source),
        ("a task should report", &fault.says),
        ("what ends it", &heals),
    ];
    let text: String = rows.iter().map(|(name, words)| format!("{name:>17}: {words}\n")).collect();
    cx.ui.print_data(&format!("\n{text}"));
}

/// Waits until `cluster-explain` no longer reports its first finding, and then reveals the fault.
fn run_drill(cx: &Cx, lab: &Lab, project: &Path, fault: &Fault) -> anyhow::Result<Outcome> {
    let explain = split("cluster-explain --timeout 20s");
    let poll = || Ok::<_, anyhow::Error>(run_task_as(cx, lab, project, &explain, true)?.document);
    let (mut first, mut polls) = (poll()?, 0);
    let cause = |document: &Value| document["data"]["causes"][0]["id"].clone();
    while cause(&first).is_null() {
        polls += 1;
        if polls > AGREEING_POLLS {
            let failure = Failure::new(Code::Failed, "this fault breaks nothing that a drill could detect as fixed");
            return Err(failure.next(format!("cargo xtask rehearse --fault {}", fault.name)).into());
        }
        wait::sleep(PAUSE, "waiting for the fault to show")?;
        first = poll()?;
    }
    let (env, at) = [lab.ready.env_file.as_path(), project].map(|path| proc::quote(&path.display().to_string())).into();
    cx.ui.say(&format!(
        "\nfix it from another terminal; where someone has to act elsewhere, lab-heal does it for the fault that you specify:\n  \
         . {env}\n  cargo xtask --project-dir {at} cluster-explain\n  cargo xtask --project-dir {at} lab-heal NAME"
    ));
    let (begun, limit, mut fixed_polls) = (Instant::now(), cx.wait_limit(DRILL_LIMIT), 0);
    while fixed_polls < AGREEING_POLLS && begun.elapsed() < limit {
        wait::sleep(PAUSE, "waiting for the fix")?;
        let now = poll()?;
        let causes = now["data"]["causes"].as_array();
        let gone = causes.is_some_and(|causes| causes.iter().all(|known| known["id"] != cause(&first)));
        fixed_polls = if gone { fixed_polls + 1 } else { 0 };
    }
    let said = |key: &str| first["error"][key].as_str().unwrap_or_default();
    cx.ui.print_data(&format!("\n  cluster-explain: {}\n              fix: {}", said("message"), said("hint")));
    show_fault(cx, fault);
    let elapsed = begun.elapsed().as_millis() as u64;
    let data = json!({ "fault": fault, "elapsed_ms": elapsed, "explained": first });
    let summary = format!("in {}; the fault was {}", millis(elapsed), fault.name);
    if fixed_polls < AGREEING_POLLS {
        let failure = Failure::new(Code::Timeout, format!("not fixed {summary}"));
        return Err(failure.hint(fault.heals.clone()).with(data).into());
    }
    Ok(Outcome::done(format!("fixed {summary}")).with(data).next("cargo xtask lab-faults"))
}

/// Changes a line of a file, as an operator would: `FILE: FROM -> TO`.
fn edit_file(cx: &Cx, project: &Path, change: &str) -> anyhow::Result<()> {
    let (file, change) = change.split_once(": ").context("an edit specifies its file")?;
    let (from, to) = change.split_once(" -> ").context("an edit has the form OLD -> NEW")?;
    let path = project.join(file);
    let text = files::read_optional_text(&path)?.unwrap_or_default();
    if !text.contains(from) {
        return Err(Failure::new(Code::Failed, format!("{file} does not contain `{from}`")).into());
    }
    cx.ui.say(&format!("\n$ $EDITOR {file}   # {from} becomes {to}"));
    Ok(files::write_atomically(&path, text.replacen(from, to, 1).as_bytes(), files::PRIVATE)?)
}
