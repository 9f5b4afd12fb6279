//! `ci`: runs everything that the pipeline checks, in the same way on a laptop.
//!
//! 1. Selects the checks: all that are on by default, or those that were named; an unknown name is an error.
//! 2. With `--fix`, fixes what can be fixed.
//! 3. Runs the light checks in parallel, and those that use the whole machine one after another.
//! 4. Prints a table with the results, followed by the findings with their files, and what fixes them.

pub mod architecture;
pub mod guard;
pub mod outside;
mod own;
pub mod repo;
pub mod table;

use std::time::{Duration, Instant};

use crate::cli::Ci;
use crate::dev::ci::table::{CHECKS, Check as Row, CheckInput, Verdict};
use crate::prelude::*;
use domain::nearest::suggestion;
use runtime::proc;
use runtime::ui::{Check, millis, table};

/// Maximum number of output lines and of findings shown for a failed check; its whole output is in `target/ci/log`.
const OUTPUT_LINES: usize = 60;
const FINDINGS: usize = 40;

/// A check with its verdict.
struct CheckRun {
    row: &'static Row,
    verdict: Verdict,
    status: Status,
    detail: String,
    elapsed: Duration,
}

pub fn run(args: &Ci, cx: &Cx) -> anyhow::Result<Outcome> {
    let rows = select_checks(args)?;
    if args.list {
        return Ok(list_checks(cx, &rows));
    }
    if let Some(planned) = fix(cx, &rows, args.fix)? {
        return Ok(planned);
    }
    let files = repo::list_files(cx)?;
    let input = CheckInput { cx, files: &files };
    let (alone, beside): (Vec<&'static Row>, Vec<&'static Row>) =
        rows.into_iter().partition(|row| row.alone || row.group);
    let checks = beside.into_iter().map(|row| Check::new(&row.name, &row.about, || run_check(row, &input))).collect();
    let mut results = cx.ui.run_checks("running the checks in parallel", checks);
    for row in alone {
        if proc::is_interrupted() {
            break;
        }
        results.push(cx.ui.step(&row.name, &row.about, || run_check(row, &input)));
    }
    if proc::is_interrupted() {
        return Err(proc::interruption("checking").into());
    }
    let mut ran = results.into_iter().collect::<anyhow::Result<Vec<CheckRun>>>()?;
    ran.sort_by_key(|ran| CHECKS.iter().position(|row| row.name == ran.row.name));
    finish(cx, &ran)
}

/// Step 1: selects the checks.
fn select_checks(args: &Ci) -> Result<Vec<&'static Row>, Failure> {
    let names: Vec<&str> = CHECKS.iter().map(|row| row.name.as_str()).collect();
    for name in args.only.iter().chain(&args.skip).chain(&args.with) {
        if !names.contains(&name.as_str()) {
            return Err(Failure::new(Code::Usage, format!("there is no check `{name}`"))
                .cause(suggestion(name, &names))
                .next("cargo xtask ci --list"));
        }
    }
    let has = |list: &[String], row: &Row| list.contains(&row.name);
    let wanted = |row: &&Row| match args.only.is_empty() {
        true => !row.group || has(&args.with, row),
        false => has(&args.only, row) || has(&args.with, row),
    };
    Ok(CHECKS.iter().filter(wanted).filter(|row| !has(&args.skip, row)).collect())
}

fn list_checks(cx: &Cx, rows: &[&Row]) -> Outcome {
    let cells = |row: &&Row| vec![row.name.clone(), row.about.clone(), row.fix.clone()];
    cx.ui.print_states(&table(&["CHECK", "WHAT IT LOOKS AT", "WHAT FIXES IT"], rows.iter().map(cells)));
    let off: Vec<&str> = CHECKS.iter().filter(|row| row.group).map(|row| row.name.as_str()).collect();
    let data: Vec<Value> =
        rows.iter().map(|row| json!({ "name": row.name, "about": row.about, "fix": row.fix })).collect();
    Outcome::done(format!("{}; off by default: {}", count(rows.len(), "check"), off.join(", ")))
        .with(json!({ "checks": data }))
}

/// Step 2. Checks change nothing; the plan has what `--fix` may rewrite. Returns the outcome of a dry run.
fn fix(cx: &Cx, rows: &[&'static Row], fix: bool) -> anyhow::Result<Option<Outcome>> {
    let _lock = fix.then(|| cx.lock_checkout()).transpose()?;
    let fixable = rows.iter().copied().filter(|row| fix && row.repairs());
    let change = |row: &'static Row| {
        let effect = format!("files that do not pass `{}` are rewritten before the check", row.about);
        Change::new("fix", row.name.clone(), effect, "git checkout -- .", move |cx| {
            let files = repo::list_files(cx)?;
            match row.repair(&CheckInput { cx, files: &files }) {
                Ok(()) => Ok(String::new()),
                Err(failure) if failure.code == Code::Prerequisite => Ok(format!("skipped: {}", failure.message)),
                Err(failure) => Err(failure.into()),
            }
        })
    };
    let plan: Plan<'_> = fixable.map(change).collect();
    let data = json!({ "checks": rows.iter().map(|row| &row.name).collect::<Vec<_>>() });
    if cx.dry_run && plan.is_empty() {
        let summary = format!("{} would run and change nothing", count(rows.len(), "check"));
        return Ok(Some(Outcome::done(summary).with(data)));
    }
    Ok(plan.run_unasked(cx)?.map(|planned| planned.and(data)))
}

/// Step 3: runs one check. Its findings are its result, not an error, so that the other checks still run.
fn run_check(row: &'static Row, input: &CheckInput<'_>) -> anyhow::Result<StepResult<CheckRun>> {
    let begun = Instant::now();
    let verdict = match row.run(input) {
        Ok(verdict) => verdict,
        Err(failure) if failure.code == Code::Interrupted => return Err(failure.into()),
        Err(failure) => Verdict::Found { findings: Vec::new(), output: format!("{failure}\n{}", failure.hint) },
    };
    let (status, detail) = match &verdict {
        Verdict::Passed(detail) => (Status::Ok, detail.clone()),
        Verdict::Found { findings, .. } => (Status::Failed, summarize(findings)),
        Verdict::Unavailable { why, hint } => (Status::Skipped, format!("{why}; {hint}")),
    };
    let value = CheckRun { row, verdict, status, detail: detail.clone(), elapsed: begun.elapsed() };
    Ok(StepResult { value, status, detail })
}

/// Summarizes findings, e.g. "3 findings, the first in xtask/src/cli.rs:12:1".
fn summarize(findings: &[yaml::Finding]) -> String {
    match findings {
        [] => "see below".to_owned(),
        [one] => format!("{}: {}", one.place, one.message),
        [first, ..] => format!("{} findings, the first in {}", findings.len(), first.place),
    }
}

/// Step 4: prints the results.
fn finish(cx: &Cx, ran: &[CheckRun]) -> anyhow::Result<Outcome> {
    let mut rows = Vec::new();
    for CheckRun { row, verdict, status, detail, elapsed } in ran {
        let (word, detail) = match (verdict, status) {
            (Verdict::Unavailable { why, .. }, _) => ("skipped", why),
            (_, Status::Failed) => ("FAILED", detail),
            _ => ("ok", detail),
        };
        let detail = detail.lines().next().unwrap_or_default().to_owned();
        rows.push(vec![row.name.clone(), word.to_owned(), millis(elapsed.as_millis() as u64), detail]);
    }
    cx.ui.print_data(&format!("\n{}", table(&["CHECK", "RESULT", "TIME", ""], &rows)));
    let failed: Vec<&CheckRun> = ran.iter().filter(|ran| ran.status == Status::Failed).collect();
    failed.iter().for_each(|ran| cx.ui.print_data(&explain_failure(ran)));
    let skipped = ran.iter().filter(|ran| ran.status == Status::Skipped).count();
    let data = json!({ "checks": ran.iter().map(document).collect::<Vec<_>>() });
    let rest = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    if failed.is_empty() {
        return Ok(Outcome::done(format!("{} passed{rest}", count(ran.len() - skipped, "check"))).with(data));
    }
    let names: Vec<&str> = failed.iter().map(|ran| ran.row.name.as_str()).collect();
    let summary = format!("{} of {} failed{rest}: {}", failed.len(), count(ran.len(), "check"), names.join(", "));
    let fixes: Vec<String> = failed.iter().map(|ran| format!("{}: {}", ran.row.name, ran.row.fix)).collect();
    Err(Failure::new(Code::Failed, summary)
        .hint(fixes.join("\n"))
        .next(format!("cargo xtask ci --only {}", names.join(",")))
        .with(data)
        .into())
}

/// Describes what a failed check found, and what fixes it: its findings, or if there are none the end of the program's output.
fn explain_failure(CheckRun { row, verdict, .. }: &CheckRun) -> String {
    let mut text = format!("\n== {}: {}\n", row.name, row.about);
    if let Verdict::Found { findings, output } = verdict {
        for finding in findings.iter().take(FINDINGS) {
            text.push_str(&format!("{finding}\n"));
        }
        let lines: Vec<&str> = output.trim().lines().collect();
        let from = lines.len().saturating_sub(OUTPUT_LINES);
        match findings.len() {
            0 => lines[from..].iter().for_each(|line| text.push_str(&format!("{line}\n"))),
            count if count > FINDINGS => text.push_str(&format!("… and {} more\n", count - FINDINGS)),
            _ => {}
        }
        if !output.is_empty() {
            text.push_str(&format!("log: target/ci/log/{}.log\n", row.name));
        }
    }
    format!("{text}fix: {}", row.fix)
}

fn document(CheckRun { row, verdict, status, detail, elapsed }: &CheckRun) -> Value {
    let findings: &[yaml::Finding] = if let Verdict::Found { findings, .. } = verdict { findings } else { &[] };
    json!({ "name": row.name, "status": status, "detail": detail, "elapsed_ms": elapsed.as_millis() as u64, "findings": findings, "fix": row.fix })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn args(only: &str, skip: &str, with: &str) -> Ci {
        let list = |text: &str| text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ci { only: list(only), skip: list(skip), with: list(with), fix: false, list: false }
    }

    fn names(args: &Ci) -> Vec<&'static str> {
        select_checks(args).unwrap().iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn groups_are_off_by_default() {
        let all = names(&args("", "", ""));
        assert!(all.contains(&"fmt") && !all.contains(&"kill") && !all.contains(&"docker"), "{all:?}");
        assert_eq!(names(&args("fmt,yaml", "yaml", "")), ["fmt"]);
        assert_eq!(names(&args("kill", "", "")), ["kill"]);
        assert!(names(&args("", "fmt", "kill,fuzz")).ends_with(&["kill", "fuzz"]));
    }

    #[test]
    fn every_check_has_a_fix_and_a_unique_name() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), CHECKS.len());
        assert!(CHECKS.iter().all(|row| !row.fix.is_empty() && !row.about.is_empty()));
    }
}
