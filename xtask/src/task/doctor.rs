//! `doctor`: everything that can be wrong, looked at side by side.
//!
//! 1. What several checks need (containers, Omni's version, files) is looked up once, when the first one asks.
//! 2. Each check comes to ok, warning, failed, unknown or skipped. Unknown is not wrong: it could not be told from here.
//! 3. What is not well is shown with why it matters, what mends it, and where to read on.
//!
//! Nothing is changed. Exit 1 when something failed; 4 or 5 when all that failed is a missing program or a far end.

mod catalogue;
mod certificates;
mod far;
mod files;
mod host;
mod keys;
mod network;
mod seen;
mod stack;

use serde_json::{Value, json};

pub use catalogue::{CHECKS, Entry};
pub use certificates::judged;
pub use host::too_old as compose_too_old;
pub use seen::Seen;

use crate::cli::Doctor;
use crate::outcome::Outcome;
use check::diagnosis::{Diagnosis, State};
use domain::failure::{Code, Failure};
use runtime::cx::Cx;
use runtime::ui::{Check, Done};

/// A check with what it came to.
pub struct Found {
    pub entry: &'static Entry,
    pub verdict: Diagnosis,
}

impl Found {
    /// What mends it: this case's own fix, or the check's.
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

pub fn run(args: &Doctor, cx: &Cx) -> anyhow::Result<Outcome> {
    let wanted = |entry: &&Entry| args.area.is_empty() || args.area.contains(&entry.area);
    let results = look(cx, CHECKS.iter().filter(wanted));
    show(cx, &results);
    let summary = summary(&results);
    let data = document(&results);
    let next = next(cx);
    match failure(&results) {
        None => {
            let outcome = Outcome::done(summary).with(data);
            Ok(next.into_iter().fold(outcome, Outcome::next))
        }
        Some(failure) => Err(Failure { message: summary, next, ..failure.with(data) }.into()),
    }
}

/// Runs the checks beside each other and reports each as a step.
pub fn look(cx: &Cx, entries: impl Iterator<Item = &'static Entry>) -> Vec<Found> {
    let seen = Seen::new(cx);
    let entries: Vec<&'static Entry> = entries.collect();
    let checks = entries
        .iter()
        .map(|entry| {
            let seen = &seen;
            Check::new(entry.id, entry.title, move || {
                let verdict = (entry.run)(seen);
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
    entries.into_iter().zip(ran).map(|(entry, result)| Found { entry, verdict: verdict(result) }).collect()
}

/// The data of the JSON document: the list of checks, and how many there are of each kind.
pub fn document(results: &[Found]) -> Value {
    let checks: Vec<Value> = results.iter().map(Found::document).collect();
    let of = |state: State| count(results, state);
    json!({ "checks": checks, "counts": {
        "ok": of(State::Ok), "warning": of(State::Warning), "failed": of(State::Failed),
        "unknown": of(State::Unknown), "skipped": of(State::Skipped),
    }})
}

/// What failed, as one failure; `None` when nothing did.
pub fn failure(results: &[Found]) -> Option<Failure> {
    let failed: Vec<&Found> = results.iter().filter(|result| result.verdict.state == State::Failed).collect();
    let first = failed.first()?;
    let code =
        if failed.iter().all(|result| result.entry.code == first.entry.code) { first.entry.code } else { Code::Failed };
    let lines: Vec<String> =
        failed.iter().map(|result| format!("{}: {}", result.entry.id, result.verdict.detail)).collect();
    Some(Failure::new(code, summary(results)).cause(lines.join("\n")).hint(first.fix()))
}

fn count(results: &[Found], state: State) -> usize {
    results.iter().filter(|result| result.verdict.state == state).count()
}

/// "41 checks: 2 failed, 1 unknown, 38 ok".
pub fn summary(results: &[Found]) -> String {
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
pub fn show(cx: &Cx, results: &[Found]) {
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

fn next(cx: &Cx) -> Vec<String> {
    if !cx.paths.env().is_file() {
        return vec!["cargo xtask omni-setup".to_owned()];
    }
    if cx.settings.env_file.get("OMNI_INFRA_PROVIDER_KEY").is_none() {
        return vec!["cargo xtask provider-setup".to_owned()];
    }
    Vec::new()
}
