//! The checks of `doctor`, run beside each other and reported: all of them, or those about one part of the installation.
//!
//! What several checks need (containers, Omni's version, files) is looked up once, when the first one asks.

mod catalogue;
mod certificates;
mod files;
mod host;
mod installation;
mod keys;
mod network;
mod services;
mod stack;

use serde_json::{Value, json};

pub use catalogue::{CHECKS, Entry};
pub use certificates::diagnosis as certificate_diagnosis;
pub use host::too_old as compose_too_old;
pub use installation::Installation;

use check::diagnosis::{Diagnosis, State};
use domain::failure::{Code, Failure};
use runtime::cx::Cx;
use runtime::parallel::{ALL, Job, run_all};
use runtime::ui::{Check, Done};

/// A check with what it came to.
pub struct CheckResult {
    pub entry: &'static Entry,
    pub verdict: Diagnosis,
}

impl CheckResult {
    /// What fixes it: this case's own fix, or the check's.
    pub fn fix(&self) -> &str {
        self.verdict.fix.as_deref().unwrap_or(self.entry.fix)
    }

    fn document(&self) -> Value {
        json!({
            "id": self.entry.id, "area": self.entry.area, "status": self.verdict.state, "title": self.entry.title,
            "detail": domain::secret::redact(&self.verdict.detail), "why": self.entry.why, "fix": self.fix(),
            "anchor": self.entry.anchor,
        })
    }
}

/// Runs the checks beside each other and reports each as a step.
pub fn run(cx: &Cx, entries: impl Iterator<Item = &'static Entry>) -> Vec<CheckResult> {
    let installation = Installation::new(cx);
    let entries: Vec<&'static Entry> = entries.collect();
    let checks = entries
        .iter()
        .map(|entry| {
            let installation = &installation;
            Check::new(entry.id, entry.title, move || {
                let verdict = (entry.run)(installation);
                let detail = verdict.detail.clone();
                match verdict.state {
                    State::Ok => Ok(Done::ok(verdict, detail)),
                    State::Warning => Ok(Done::warning(verdict, detail)),
                    State::Unknown => Ok(Done::skipped(verdict, format!("unknown: {detail}"))),
                    State::Skipped => Ok(Done::skipped(verdict, detail)),
                    State::Failed => {
                        let fix = verdict.fix.unwrap_or_default();
                        Err(Failure::new(entry.code, detail).hint(fix).into())
                    }
                }
            })
        })
        .collect();
    let ran = cx.ui.side_by_side("looking", checks);
    let verdict = |result: anyhow::Result<Diagnosis>| {
        result.unwrap_or_else(|error| {
            let failure = Failure::of(&error);
            let verdict = Diagnosis::failed(failure.message);
            if failure.hint.is_empty() { verdict } else { verdict.fix(failure.hint) }
        })
    };
    entries.into_iter().zip(ran).map(|(entry, result)| CheckResult { entry, verdict: verdict(result) }).collect()
}

/// Runs the checks beside each other without a step for each.
pub fn verdicts(cx: &Cx, entries: impl Iterator<Item = &'static Entry>) -> Vec<CheckResult> {
    let installation = Installation::new(cx);
    let check = |entry: &'static Entry| -> Job<'_, CheckResult> {
        let installation = &installation;
        Box::new(move || CheckResult { entry, verdict: (entry.run)(installation) })
    };
    run_all(entries.map(check).collect(), ALL)
}

/// The data of the JSON document: the list of checks, and how many there are of each kind.
pub fn document(results: &[CheckResult]) -> Value {
    let checks: Vec<Value> = results.iter().map(CheckResult::document).collect();
    let of = |state: State| count(results, state);
    json!({ "checks": checks, "counts": {
        "ok": of(State::Ok), "warning": of(State::Warning), "failed": of(State::Failed),
        "unknown": of(State::Unknown), "skipped": of(State::Skipped),
    }})
}

/// Whether a container of the stack is missing or has ended: everything else may be a consequence.
pub fn stack_is_down(results: &[CheckResult]) -> bool {
    let containers = results.iter().find(|result| result.entry.id == "docker.containers");
    containers.is_some_and(|found| found.verdict.state == State::Failed)
}

/// What failed, as one failure; `None` when nothing did.
pub fn failure(results: &[CheckResult]) -> Option<Failure> {
    let failed: Vec<&CheckResult> = results.iter().filter(|result| result.verdict.state == State::Failed).collect();
    let first = failed.first()?;
    let code =
        if failed.iter().all(|result| result.entry.code == first.entry.code) { first.entry.code } else { Code::Failed };
    let lines: Vec<String> =
        failed.iter().map(|result| format!("{}: {}", result.entry.id, result.verdict.detail)).collect();
    Some(Failure::new(code, summary(results)).cause(lines.join("\n")).hint(first.fix()))
}

fn count(results: &[CheckResult], state: State) -> usize {
    results.iter().filter(|result| result.verdict.state == state).count()
}

/// "41 checks: 2 failed, 1 unknown, 38 ok".
pub fn summary(results: &[CheckResult]) -> String {
    let parts = [
        (State::Failed, "failed"),
        (State::Warning, "to look at"),
        (State::Unknown, "unknown"),
        (State::Skipped, "not needed here"),
        (State::Ok, "ok"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .map(|(state, word)| (count(results, *state), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    format!("{}: {}", domain::words::count(results.len(), "check"), parts.join(", "))
}

/// Everything about what is not well, on standard output.
pub fn show(cx: &Cx, results: &[CheckResult]) {
    for result in results {
        let word = match result.verdict.state {
            State::Failed => "failed",
            State::Warning => "warning",
            State::Unknown | State::Ok | State::Skipped => continue,
        };
        let entry = result.entry;
        cx.ui.data(&format!(
            "\n{word} {}: {}\n    why: {}\n    fix: {}\n   read: {}",
            entry.id,
            result.verdict.detail,
            entry.why,
            result.fix(),
            entry.anchor
        ));
    }
}
