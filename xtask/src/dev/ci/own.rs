//! Our own checks: they read files and pass them to pure code.

use super::table::{CheckInput, Verdict};
use super::{architecture, guard, repo};
use crate::cli::command;
use domain::failure::Failure;
use domain::words;
use yaml::Finding;

/// Turns findings of our own checks into a verdict.
pub(super) fn verdict_of(findings: Vec<Finding>, passed: &str) -> Verdict {
    if findings.is_empty() {
        Verdict::Passed(passed.to_owned())
    } else {
        Verdict::Found { findings, output: String::new() }
    }
}

pub(super) fn yaml_check(input: &CheckInput<'_>) -> Result<Verdict, Failure> {
    let mut findings = Vec::new();
    let mut count = 0;
    let is_yaml = |file: &&String| file.ends_with(".yaml") || file.ends_with(".yml");
    // Corpora contain broken files on purpose.
    for file in input.files.iter().filter(is_yaml).filter(|file| !file.contains("/tests/")) {
        if let Some(bytes) = runtime::files::read_optional(&input.cx.paths.root().join(file))? {
            count += 1;
            findings.extend(yaml::load(file, &bytes).findings);
        }
    }
    Ok(verdict_of(findings, &words::count(count, "file")))
}

pub(super) fn architecture_check(input: &CheckInput<'_>) -> Result<Verdict, Failure> {
    let mut sources = architecture::Sources::new();
    for file in input.files.iter().filter(|file| file.ends_with(".rs")) {
        if let Some(text) = repo::read_text(input.cx, file)? {
            sources.insert(file.clone(), text);
        }
    }
    let tasks = command().get_subcommands().map(|task| task.get_name().to_owned()).collect();
    let count = sources.len();
    Ok(verdict_of(architecture::check(&sources, &tasks), &words::count(count, "source")))
}

pub(super) fn secrets_check(input: &CheckInput<'_>) -> Result<Verdict, Failure> {
    let mut findings = Vec::new();
    for file in input.files {
        let path = input.cx.paths.root().join(file);
        if path.is_file()
            && let Some(bytes) = runtime::files::read_optional(&path)?
        {
            findings.extend(guard::check(file, &bytes));
        }
    }
    Ok(verdict_of(findings, &words::count(input.files.len(), "file")))
}
