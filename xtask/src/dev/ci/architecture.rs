//! Checks the architecture: which modules may depend on which, and that a task, its file and its name agree. Pure: takes the
//! texts of the sources, and returns findings.

use std::collections::{BTreeMap, BTreeSet};

use yaml::{Finding, Location};

/// The pure crates of the runner, and what they may not use, so that their readers can rely on them having no side effects.
const PURE: &[&str] = &["selector", "yaml", "domain", "check"];
const EFFECTS: &[&str] = &[
    "runtime::",
    "xtask::",
    "std::fs",
    "std::process",
    "std::env",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
];

/// Tasks do not use each other: steps that two of them need are in `flow`, which does not use tasks.
const TASKS: &str = "xtask/src/task/";
const FLOW: &str = "xtask/src/flow/";

/// Maximum length of a task's file, in lines above its tests.
const LONGEST_TASK: usize = 200;
/// Maximum length of a source file, in lines above its tests. A table may be any length.
const LONGEST: usize = 800;
const TABLES: &[&str] = &["xtask/src/cli.rs"];

/// The sources to check: path from the repository's root to text.
pub type Sources = BTreeMap<String, String>;

/// Returns what is wrong with the structure of `sources`, given the names of all tasks.
pub fn check(sources: &Sources, tasks: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in sources {
        if let Some(part) = PURE.iter().find(|part| path.starts_with(&format!("xtask/{part}/src/"))) {
            findings.extend(find_effects(path, text, part));
        }
        findings.extend(named_tasks(path, text));
        findings.extend(check_length(path, text));
    }
    findings.extend(tasks_and_files(sources, tasks));
    findings
}

/// Finds uses of a task where they are not allowed: in `flow`, or in the file of another task.
fn named_tasks(path: &str, text: &str) -> Vec<Finding> {
    let forbidden: &[&str] = match path.strip_prefix(TASKS) {
        Some("mod.rs") => &[],
        // The parts of one task are in a directory with its name.
        Some(file) if file.contains('/') => &["crate::task", "super::super"],
        Some(_) => &["crate::task", "super::"],
        None if path.starts_with(FLOW) => &["crate::task"],
        None => &[],
    };
    scan(path, text, forbidden, "layer", |_| "move the shared step to `xtask/src/flow`".to_owned())
}

fn check_length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
    let (most, fix) = match path.starts_with(TASKS) {
        true => (LONGEST_TASK, "a task is load, observe, plan, run: move its steps to `xtask/src/flow`"),
        false => (LONGEST, "move the part that can be named into its own file"),
    };
    let exempt = !path.ends_with(".rs") || TABLES.contains(&path) || path.contains("/tests/");
    let message = format!("the file has {lines} lines above its tests, more than {most}");
    (lines > most && !exempt).then(|| Finding::error("long-file", file_start(path), message, fix))
}

fn find_effects(path: &str, text: &str, part: &str) -> Vec<Finding> {
    scan(path, text, EFFECTS, "impure", |name| {
        format!("`{part}` is pure: pass it the bytes, and call `{name}` from a task")
    })
}

/// Finds every line of code above the tests that contains one of `forbidden`.
fn scan(path: &str, text: &str, forbidden: &[&str], rule: &'static str, fix: impl Fn(&str) -> String) -> Vec<Finding> {
    let code = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    let code = code.filter(|(_, line)| !line.trim_start().starts_with("//"));
    let mut findings = Vec::new();
    for (at, line) in code {
        for name in forbidden {
            let Some(column) = line.find(name) else { continue };
            let next = line[column + name.len()..].chars().next();
            if next.is_some_and(|c| c.is_alphanumeric() || c == '_') && !name.ends_with(':') {
                continue;
            }
            let place = Location { file: path.to_owned(), line: at as u32 + 1, column: column as u32 + 1 };
            findings.push(Finding::error(rule, place, format!("`{name}` does not belong here"), fix(name)));
        }
    }
    findings
}

/// Checks that every task has `task/<name>.rs` with a `run`, which starts with its name.
fn tasks_and_files(sources: &Sources, tasks: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for task in tasks {
        let file = task.replace('-', "_");
        let path = format!("xtask/src/task/{file}.rs");
        let places = [path.clone(), format!("xtask/src/dev/{file}.rs")];
        let Some((path, text)) = places.iter().find_map(|place| sources.get_key_value(place)) else {
            let fix = format!("write `{path}`: a task, its file and its mise alias have the same name");
            let what = format!("the task `{task}` has no file with its name");
            findings.push(Finding::error("task-file", file_start("xtask/src/cli.rs"), what, fix));
            continue;
        };
        if !text.starts_with(&format!("//! `{task}")) {
            let fix = format!("start it with //! `{task}`: what it does, and its numbered steps");
            let what = format!("the file does not say that it is the task `{task}`");
            findings.push(Finding::error("task-file", file_start(path), what, fix));
        }
    }
    findings
}

fn file_start(path: &str) -> Location {
    Location { file: path.to_owned(), line: 1, column: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only long files: the other violations are planted in `tests/it/ci/planted.yaml`.
    #[test]
    fn a_long_file_is_found() {
        let found = |path: &str, lines: usize| check_length(path, &"\n".repeat(lines)).map(|found| found.to_string());
        let task = found("xtask/src/task/a.rs", LONGEST_TASK + 1).unwrap();
        assert!(task.starts_with("xtask/src/task/a.rs:1:1: error[long-file]") && task.contains("201 lines"), "{task}");
        assert!(found("xtask/src/flow/b.rs", LONGEST + 1).unwrap().contains("error[long-file]"));
        for (path, lines) in [("xtask/src/task/a.rs", LONGEST_TASK), ("xtask/src/flow/b.rs", LONGEST_TASK + 1)] {
            assert_eq!(found(path, lines), None);
        }
    }
}
