//! The common part of `machineclass-check` and `cluster-check`: checks files, rewrites older forms, and reports the findings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::flow::{inputs, project_files};
use crate::prelude::*;
use check::FileCheck;
use check::convert::{self, Change};
use domain::secret::Secret;
use runtime::files;
use runtime::ui::table;
use yaml::{Finding, Location};

/// If there are more files than this, those without problems are not listed.
const LISTED: usize = 40;

/// The files that were converted, or would be.
#[derive(Debug, Default)]
pub struct Conversions {
    /// The new text of each file that changes.
    pub texts: BTreeMap<PathBuf, String>,
    /// `[{file, changes: [{line, column, what, why}]}]`.
    pub data: Vec<Value>,
    /// The outcome of a dry run that would rewrite something.
    pub planned: Option<Outcome>,
}

/// Rewrites the older forms in `paths` in place, after consent; a dry run only shows the changes.
///
/// # Errors
/// Fails with [`Code::Invalid`] and the reasons if a file cannot be rewritten faithfully; then none is.
pub fn convert(
    cx: &Cx,
    paths: &[PathBuf],
    rewrite: impl Fn(&str, &[u8]) -> convert::Outcome,
) -> anyhow::Result<Conversions> {
    let mut converted = Conversions::default();
    let mut plan = Plan::default();
    let mut refused: Vec<Finding> = Vec::new();
    for path in paths {
        let shown = cx.paths.show(path);
        match rewrite(&shown, &inputs::read(cx, path, "check the name")?) {
            convert::Outcome::Unchanged => {}
            convert::Outcome::Refused(findings) => refused.extend(findings),
            convert::Outcome::Converted { text, changes } => {
                for Change { place, what, why } in &changes {
                    cx.ui.print_data(&format!("{place}: {what}\n  why: {why}"));
                }
                let words = |change: &Change| json!({ "line": change.place.line, "column": change.place.column, "what": change.what, "why": change.why });
                converted.data.push(json!({
                    "file": shown, "changes": changes.iter().map(words).collect::<Vec<_>>(),
                }));
                let effect = format!("{} to the current format", count(changes.len(), "change"));
                let mode = files::mode(path).unwrap_or(files::SHARED);
                let contents = (Secret::plain(text.clone()), mode);
                let file = (path.clone(), shown);
                plan.push(project_files::write("convert", file, contents, effect, "restore it from git"));
                converted.texts.insert(path.clone(), text);
            }
        }
    }
    if let Some(first) = refused.iter().find(|finding| finding.is_error()) {
        for finding in &refused {
            cx.ui.print_data(&finding.to_string());
        }
        let failure = Failure::new(Code::Invalid, "not every file can be converted, so none was changed");
        let failure = match cx.ui.json() {
            true => inputs::with_finding(failure, first, false),
            false => failure.hint("fix what is listed above, or specify the files to convert"),
        };
        return Err(failure.with(json!({ "findings": refused, "converted": converted.data })).into());
    }
    if plan.is_empty() {
        cx.ui.note("convert", "older formats", Status::Skipped, "there are none");
    }
    converted.planned = plan.run(cx, "Rewrite these files in the current format")?;
    Ok(converted)
}

/// Checks each of `paths`; files that a dry run would convert are checked in their new form. `names` returns what a file defines,
/// which no other file may define, and comes with the word for it and the rule.
///
/// # Errors
/// As [`inputs::read`].
pub fn check<T: Send>(
    cx: &Cx,
    paths: &[PathBuf],
    converted: &Conversions,
    check: impl Fn(&str, &Path, &[u8]) -> FileCheck<T> + Sync,
    (what, rule, names): (&str, &'static str, impl Fn(T) -> Vec<(String, Location)> + Sync),
) -> Result<Vec<FileCheck<()>>, Failure> {
    let checked = inputs::check_each(cx, paths, "check the name", |name, path, bytes| {
        let bytes = converted.texts.get(path).map_or(bytes, |text| text.as_bytes());
        // The rest of the file is dropped immediately: there may be thousands of files.
        check(name, path, bytes).map(|value| (!inputs::is_example(bytes)).then(|| names(value)))
    })?;
    let defined: Vec<_> = checked.iter().flat_map(|(checked, _)| checked.value.iter().flatten().cloned()).collect();
    let mut twice = inputs::find_duplicates(what, rule, &defined);
    let with_twice = |(checked, _): (FileCheck<_>, PathBuf)| {
        let mut checked = checked.map(|_| None);
        checked.findings.extend(twice.extract_if(.., |found| found.place.file == checked.file));
        checked
    };
    Ok(checked.into_iter().map(with_twice).collect())
}

/// Shows the findings for files of one kind and ends the task; `versions` are those that the files were checked for. The exit
/// code is 0 without an error that is not allowed, and 3 in a dry run with a plan.
///
/// # Errors
/// Fails with [`Code::Invalid`] and all findings.
pub fn report(
    cx: &Cx,
    (what, versions): (&str, Value),
    checked: &[FileCheck<()>],
    converted: &Conversions,
    allow: &[&'static str],
    next: &str,
) -> anyhow::Result<Outcome> {
    let findings = || checked.iter().flat_map(|file| &file.findings);
    let mut text = String::new();
    for finding in findings() {
        text.push_str(&format!("{finding}\n"));
    }
    text.push_str(&list_files(checked));
    if !text.is_empty() {
        cx.ui.print_data(&text);
    }
    let all: Vec<Finding> = if allow.is_empty() { Vec::new() } else { findings().cloned().collect() };
    inputs::note_allowed(cx, &all, allow);
    let wrong = |finding: &&Finding| finding.is_error() && !allow.contains(&finding.rule);
    let (errors, warnings) = (findings().filter(wrong).count(), findings().filter(|each| !each.is_error()).count());
    let passed = findings().filter(|finding| finding.is_error()).count() - errors;
    let data = json!({
        "files": checked, "errors": errors, "warnings": warnings, "allowed": allow, "converted": converted.data,
        "versions": versions,
    });
    let allowed = if passed > 0 { format!(", {} allowed", count(passed, "error")) } else { String::new() };
    let counts = format!("{}, {}{allowed}", count(errors, "error"), count(warnings, "warning"));
    if let Some(planned) = &converted.planned {
        let summary = format!("{} would be converted; then {counts}", count(converted.texts.len(), "file"));
        return Ok(Outcome { summary, ..planned.clone().and(data) });
    }
    if let Some(first) = findings().find(wrong) {
        let failure = Failure::new(Code::Invalid, format!("{} checked: {counts}", count(checked.len(), what)));
        return Err(inputs::with_finding(failure, first, !cx.ui.json()).with(data).into());
    }
    Ok(Outcome::done(format!("{} checked: {counts}", count(checked.len(), what))).with(data).next(next))
}

/// Lists the files with their verdicts; of many files, only those that are not simply accepted.
fn list_files(checked: &[FileCheck<()>]) -> String {
    let plain = |file: &&FileCheck<()>| file.findings.is_empty() && file.verdict == check::Verdict::Accept;
    let row = |file: &FileCheck<()>| {
        let errors = file.findings.iter().filter(|finding| finding.is_error()).count();
        vec![
            file.file.clone(),
            file.verdict.as_str().to_owned(),
            errors.to_string(),
            (file.findings.len() - errors).to_string(),
            file.schema.clone().unwrap_or_default(),
        ]
    };
    let many = checked.len() > LISTED;
    let rows: Vec<Vec<String>> = checked.iter().filter(|file| !(many && plain(file))).map(row).collect();
    let Some(program) = checked.first().map(|file| file.program.to_uppercase()).filter(|_| !rows.is_empty()) else {
        return String::new();
    };
    let schema = if rows.iter().any(|row| !row[4].is_empty()) { "PROVIDER SCHEMA" } else { "" };
    let mut text = table(&["FILE", &program, "ERRORS", "WARNINGS", schema], &rows);
    // The same reason applies to many files, and is shown once.
    let reasons: BTreeSet<&str> = checked.iter().flat_map(|file| &file.undecided).map(String::as_str).collect();
    for reason in reasons {
        text.push_str(&format!("{program} is unknown: {reason}\n"));
    }
    text
}
