//! The checks of `doctor`, which run in parallel: all of them, or those of one part of the installation.
//!
//! Data that several checks need (containers, Omni's version, files) is looked up once, when the first check needs it.

mod catalogue;
mod certificates;
mod files;
mod host;
mod installation;
mod keys;
mod network;
mod services;
mod stack;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use catalogue::{CHECKS, Entry};
pub use certificates::diagnosis as certificate_diagnosis;
pub use host::is_too_old as compose_too_old;
pub use installation::Installation;

use crate::flow::provider;
use crate::prelude::*;
use check::diagnosis::{Area, Diagnosis, State};
use runtime::bundle::DOCTOR;
use runtime::parallel::{NO_LIMIT, map_all};

/// A check and its result.
pub struct CheckResult {
    pub entry: &'static Entry,
    pub verdict: Diagnosis,
}

impl CheckResult {
    /// The fix for this case, or else the check's general fix.
    pub fn fix(&self) -> &str {
        self.verdict.fix.as_deref().unwrap_or(&self.entry.fix)
    }

    /// The command in the fix that can be pasted: a task, or a command at the start or end of the fix.
    pub fn command(&self) -> Option<&str> {
        let fix = self.fix();
        let mut quoted = fix.split('`').skip(1).step_by(2).filter(|text| !text.contains(['<', '{']));
        let plain = fix.starts_with('`') || (fix.ends_with('`') && quoted.clone().count() == 1);
        quoted.clone().find(|text| text.starts_with("cargo xtask ")).or_else(|| quoted.next().filter(|_| plain))
    }

    fn document(&self) -> Value {
        json!({
            "id": self.entry.id, "area": self.entry.area(), "status": self.verdict.state, "title": self.entry.title,
            "detail": domain::secret::redact(&self.verdict.detail), "why": self.entry.why, "fix": self.fix(),
            "anchor": self.entry.anchor,
        })
    }
}

/// Runs the checks in parallel and shows the results to people; the JSON output has them in its data.
pub fn run(cx: &Cx, entries: impl Iterator<Item = &'static Entry>, all: bool) -> Vec<CheckResult> {
    let results = cx.ui.with_spinner("looking", || verdicts(cx, entries));
    if !cx.ui.json() {
        show(cx, &results, all);
    }
    results
}

/// Runs the checks in parallel, without a step for each.
pub fn verdicts(cx: &Cx, entries: impl Iterator<Item = &'static Entry>) -> Vec<CheckResult> {
    if let Some(recorded) = &cx.settings.recorded {
        let document = recorded.document(DOCTOR).unwrap_or_default();
        return entries
            .map(|entry| CheckResult { entry, verdict: verdict_in_document(&document, &entry.id) })
            .collect();
    }
    let providers = cx.providers().unwrap_or_default();
    // The checks of the first provider belong to the whole installation.
    let entries: Vec<&'static Entry> = entries.collect();
    let of = |cx| {
        let mut installation = Installation::new(cx);
        installation.checks = entries.iter().map(|entry| entry.id.as_str()).collect();
        installation
    };
    let further: Vec<Installation<'_>> = providers.iter().skip(1).map(of).collect();
    let installation = of(cx);
    map_all(entries.iter().copied(), NO_LIMIT, |entry| {
        let of_each = entry.area() == Area::Provider || entry.id == "keys.provider";
        let others = further.iter().filter(|_| of_each).map(|of| with_provider_name(of.cx, entry.run(of)));
        CheckResult { entry, verdict: others.fold(entry.run(&installation), Diagnosis::and) }
    })
}

/// Converts a verdict to a step result; a failed one becomes the failure that `failed` returns.
///
/// # Errors
/// Returns that failure.
pub fn step_result(found: Diagnosis, failed: impl FnOnce(Diagnosis) -> Failure) -> anyhow::Result<StepResult<()>> {
    Ok(match found.state {
        State::Ok => StepResult::ok((), found.detail),
        State::Warning | State::Unknown => StepResult::warning((), found.detail),
        State::Skipped => StepResult::skipped((), found.detail),
        State::Failed => return Err(failed(found).into()),
    })
}

/// The verdict on an additional provider, with the provider's name.
fn with_provider_name(cx: &Cx, found: Diagnosis) -> Diagnosis {
    let detail = format!("`{}`: {}", cx.settings.provider_id(None).value, found.detail);
    Diagnosis { detail, fix: found.fix.map(|fix| provider::with_flag(cx, &fix)), ..found }
}

/// Reads the verdict of a check from a recorded document.
fn verdict_in_document(document: &Value, id: &str) -> Diagnosis {
    let found = document["checks"].as_array().into_iter().flatten().find(|found| found["id"] == id);
    let text = |key: &str| found.and_then(|found| found[key].as_str()).unwrap_or_default().to_owned();
    match found.and_then(|found| State::deserialize(&found["status"]).ok()) {
        Some(state) => Diagnosis { state, detail: text("detail"), fix: Some(text("fix")) },
        None => Diagnosis::unknown("the bundle does not have this check"),
    }
}

/// Returns the JSON data: the checks, and how many there are in each state. Without `all`, it has only the checks that need
/// attention, with the same reason merged, and the number of passed checks per area.
pub fn document(results: &[CheckResult], all: bool) -> Value {
    let of = |state: State| count(results, state);
    let counts = json!({
        "ok": of(State::Ok), "warning": of(State::Warning), "failed": of(State::Failed),
        "unknown": of(State::Unknown), "skipped": of(State::Skipped),
    });
    if all {
        let checks: Vec<Value> = results.iter().map(CheckResult::document).collect();
        return json!({ "checks": checks, "counts": counts });
    }
    let (mut checks, mut passed) = (Vec::<Value>::new(), BTreeMap::<&str, usize>::new());
    let mut sorted: Vec<&CheckResult> = results.iter().collect();
    sorted.sort_by_key(|result| result.verdict.state != State::Failed);
    for result in sorted {
        let (id, state) = (result.entry.id.as_str(), result.verdict.state);
        if state == State::Ok {
            *passed.entry(result.entry.area().into()).or_default() += 1;
        }
        if matches!(state, State::Ok | State::Skipped) {
            continue;
        }
        let mut document = result.document();
        let same = |known: &&mut Value| ["status", "detail"].iter().all(|key| known[key] == document[key]);
        if let Some(known) = checks.iter_mut().find(same) {
            let others = known["also"].as_array().into_iter().flatten().cloned().chain([id.into()]);
            known["also"] = others.collect();
            continue;
        }
        if let (State::Unknown, Some(fields)) = (state, document.as_object_mut()) {
            fields.retain(|key, _| !["why", "fix", "anchor"].contains(&key.as_str()));
        }
        checks.push(document);
    }
    json!({ "checks": checks, "passed": passed, "counts": counts })
}

/// Returns the failed checks as one failure, if any. People have seen them and their fixes in the output of `show`.
pub fn failure(cx: &Cx, results: &[CheckResult]) -> Option<Failure> {
    let failed: Vec<&CheckResult> = results.iter().filter(|result| result.verdict.state == State::Failed).collect();
    let first = failed.first()?;
    let code = if failed.iter().all(|result| result.entry.code() == first.entry.code()) {
        first.entry.code()
    } else {
        Code::Failed
    };
    let failure = Failure::new(code, summary(results));
    let mut failure = first.command().map_or(failure.clone(), |command| failure.next(command));
    if provider::has_clusters(cx) {
        failure = failure.next(provider::EXPLAIN);
    }
    if !cx.ui.json() {
        let again = format!("fix {}, then run `cargo xtask {}` again", first.entry.id, cx.task);
        return Some(if first.command().is_none() { failure.hint(again) } else { failure });
    }
    // The others are in `data.checks`.
    Some(failure.cause(format!("{}: {}", first.entry.id, first.verdict.detail)).hint(first.fix()))
}

fn count(results: &[CheckResult], state: State) -> usize {
    results.iter().filter(|result| result.verdict.state == state).count()
}

/// "41 checks: 2 failed, 1 unknown, 38 ok".
pub fn summary(results: &[CheckResult]) -> String {
    let parts = [
        (State::Failed, "failed"),
        (State::Warning, "with a warning"),
        (State::Unknown, "unknown"),
        (State::Skipped, "skipped"),
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

/// Reports to people: first everything that is not well, then the rest. Without `all`, the rest is counted: passed checks by
/// area, others by reason.
fn show(cx: &Cx, results: &[CheckResult], all: bool) {
    let mut rest: Vec<(Status, String, Vec<&str>)> = Vec::new();
    let mut results: Vec<&CheckResult> = results.iter().collect();
    results.sort_by_key(|result| match result.verdict.state {
        State::Failed => 0,
        State::Warning => 1,
        _ => 2,
    });
    for result in results {
        let CheckResult { entry, verdict } = result;
        let detail = verdict.detail.as_str();
        let (status, reason) = match verdict.state {
            State::Failed | State::Warning => {
                let word = if verdict.state == State::Failed { "failed" } else { "warning" };
                let (Entry { id, why, anchor, .. }, fix) = (entry, result.fix());
                let text = format!("{word} {id}: {detail}\n    why: {why}\n    fix: {fix}\n   read: {anchor}\n");
                cx.ui.print_states(&cx.ui.advice(&text));
                cx.ui.print_data("");
                continue;
            }
            State::Ok if all => (Status::Ok, detail.to_owned()),
            State::Ok => (Status::Ok, <&str>::from(entry.area()).to_owned()),
            State::Unknown => (Status::Skipped, format!("unknown: {detail}")),
            State::Skipped => (Status::Skipped, detail.to_owned()),
        };
        match rest.iter_mut().find(|(known, text, _)| !all && *known == status && *text == reason) {
            Some((_, _, titles)) => titles.push(&entry.title),
            None => rest.push((status, reason, vec![&entry.title])),
        }
    }
    if !all {
        rest.sort_by_key(|(status, ..)| *status == Status::Ok);
    }
    for (status, reason, titles) in rest {
        let checks = domain::words::count(titles.len(), "check");
        let (title, detail) = match (titles.as_slice(), status, reason.strip_suffix(" does not exist yet")) {
            (_, Status::Ok, _) if !all => (reason, checks),
            ([_, _, ..], _, Some(missing)) => (format!("{checks} need {missing}"), String::new()),
            ([_, _, ..], ..) => (checks, reason),
            _ => (titles.concat(), reason),
        };
        cx.ui.note("checks", title, status, detail);
    }
}
