//! `cluster-explain [name]`: why a cluster, a machine, a machine request or a VM is stuck.
//!
//! 1. Finds the subject: the named cluster, or that of the machine, request or VM; by default the first cluster in trouble.
//! 2. Queries Omni, the provider, Proxmox, this host and the template, in parallel. Nothing is changed.
//! 3. Prints the chain from the template to Kubernetes, each link ok, broken, waiting or unknown, and every cause with its
//!    evidence and its fix, starting with the one that blocks first.
//!
//! With `--heal`, takes the step of the first cause after confirmation, and repeats until nothing is broken or a human is needed.
//!
//! Exits with 0 if nothing is broken, otherwise with 1.

use crate::cli::ClusterExplain;
use crate::flow::explain::{self, subject::Subject};
use crate::flow::heal::{self, Healing};
use crate::prelude::*;
use check::explain::{Cause, DepartingMachine, Explanation, LinkState, Step};
use check::timeline::{Row, Segment, describe_reference};
use runtime::ui::table;

pub fn run(args: &ClusterExplain, cx: &Cx) -> anyhow::Result<Outcome> {
    if !args.heal {
        let (subject, found) = explain::examine(args, cx)?;
        let by_hand = |cause: &Cause| matches!(cause.step, Some(Step::Start { .. } | Step::Unlink { .. }));
        let own = found.causes.iter().any(by_hand) && args.bundle.is_none();
        // The command of the cause needs a host of Proxmox or an administrator of Omni; this one does the same from here.
        let heal = || format!("cargo xtask cluster-explain {} --heal", subject.cluster);
        return outcome_of(cx, &subject, &found).map_err(|error| match own {
            true => Failure::of(&error).next(heal()).into(),
            false => error,
        });
    }
    let Healing { subject, found, healed, planned, stopped, gone } = heal::run(args, cx)?;
    let steps = healed.iter().filter(|step| step["result"] == "done").count();
    let mut data = explain::document(&found, &subject.cluster);
    data["healed"] = json!(healed);
    if let Some(planned) = planned {
        return Ok(planned.and(data));
    }
    if gone {
        let summary = format!("{} is gone, after {}", subject.words(), count(steps as u64, "step"));
        return Ok(Outcome::done(summary).with(data).next("cargo xtask cluster-status"));
    }
    match outcome_of(cx, &subject, &found) {
        Ok(outcome) => Ok(Outcome {
            summary: format!("{}, after {}", outcome.summary, count(steps as u64, "step")),
            data,
            ..outcome
        }),
        Err(error) => {
            let failure = Failure::of(&error);
            let evidence = if failure.cause.is_empty() { String::new() } else { format!("{}\n", failure.cause) };
            let cause = format!("{evidence}{stopped}; taken: {}", count(steps as u64, "step"));
            Err(Failure { cause, data, ..failure }.into())
        }
    }
}

/// Prints the explanation, and returns the outcome of the task.
fn outcome_of(cx: &Cx, subject: &Subject, found: &Explanation) -> anyhow::Result<Outcome> {
    show(cx, found);
    let data = explain::document(found, &subject.cluster);
    let name = subject.words();
    let waits = found.links.iter().filter(|link| link.state == LinkState::Waiting);
    let waits: Vec<&str> = waits.map(|link| link.evidence.as_str()).collect();
    let Some(first) = found.causes.first() else {
        let others = subject.others.iter().take(3);
        let outcome = Outcome::done(match waits.as_slice() {
            [] => format!("{name}: nothing is broken"),
            waits => format!("{name}: nothing is broken; {}", waits.join("; ")),
        });
        let outcome = others
            .fold(outcome.with(data), |outcome, other| outcome.next(format!("cargo xtask cluster-explain {other}")));
        return Ok(match (outcome.next.is_empty(), subject.cluster.as_str()) {
            (true, "") => outcome.next("cargo xtask cluster-create"),
            (true, cluster) => outcome.next(format!("cargo xtask cluster-status {cluster}")),
            _ => outcome,
        });
    };
    let mut failure = Failure::new(Code::Failed, format!("{name}: {}", first.cause))
        .cause(first.evidence.clone())
        .hint(first.fix.clone())
        .with(data);
    for cause in &found.causes {
        for next in &cause.next {
            // A VM that is off keeps the cluster from running, so its command is always included.
            if !failure.next.contains(next)
                && (failure.next.len() < MAX_NAMED || ["vm-stopped", "vm-locked"].contains(&cause.id.as_str()))
            {
                failure = failure.next(next);
            }
        }
    }
    Err(failure.into())
}

/// Maximum number of suggested commands; the first one is the next step.
const MAX_NAMED: usize = 4;

/// Prints the chain, and every cause but the first, which is the task's error.
fn show(cx: &Cx, found: &Explanation) {
    let row = |link: &check::explain::LinkView| {
        let (name, state): (&str, &str) = (link.link.into(), link.state.into());
        let words = if link.state == LinkState::Broken { "; its machine is unchanged since" } else { " since" };
        let since = link.since.as_ref().map_or(String::new(), |since| format!("{words} {since}"));
        let typical = link.typical.map_or(String::new(), |typical| format!(" (usually {typical})"));
        vec![name.to_owned(), state.to_owned(), format!("{}{since}{typical}", link.evidence)]
    };
    cx.ui.print_states(&table(&["LINK", "STATE", "EVIDENCE"], found.links.iter().map(row)));
    for DepartingMachine { machine, acts, held_by, remains } in &found.leaving {
        let held = if held_by.is_empty() { String::new() } else { format!(" (held by {})", held_by.join(", ")) };
        let remains =
            if remains.is_empty() { "nothing remains".to_owned() } else { format!("remains: {}", remains.join("; ")) };
        cx.ui.print_data(&format!("\n{machine} is being removed: {acts}{held}; {remains}"));
    }
    if !found.timeline.is_empty() {
        let row = |row: &Row| {
            let steps: Vec<String> = row.steps.iter().map(Segment::describe).collect();
            vec![row.machine.clone(), format!("{} s", row.seconds), steps.join(", ")]
        };
        let judged_by = describe_reference(&found.timeline);
        let rows = table(&["MACHINE", "TIME", "STEPS"], found.timeline.iter().map(row));
        cx.ui.print_data(&format!("\n{}\n{judged_by}", rows.trim_end()));
    }
    for cause in found.causes.iter().skip(1) {
        let Cause { link, cause, evidence, fix, next, .. } = cause;
        let link: &str = (*link).into();
        let evidence = if evidence.is_empty() { String::new() } else { format!("\n  evidence: {evidence}") };
        cx.ui.print_data(&cx.ui.advice(&format!(
            "\nalso {link}: {cause}{evidence}\n       fix: {fix}\n      next: {}",
            next.join("\n      next: ")
        )));
    }
}
