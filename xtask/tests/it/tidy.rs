//! What the house promises and no compiler holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

use crate::sandbox::root;

/// All Rust files below a directory.
pub fn sources(dir: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(dir), &mut found);
    found
}

/// The part of a file before its tests.
pub fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("UTF-8");
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

#[test]
fn tasks_are_files_of_their_names() {
    let help = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("--help").output().expect("it runs");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let tasks: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(tasks.len() > 10, "{help}");
    for task in tasks {
        let name = format!("{}.rs", task.replace('-', "_"));
        let is_there = |dir: &str| root().join(dir).join(&name).exists();
        assert!(is_there("xtask/src/task") || is_there("xtask/src/dev"), "the task `{task}` has no {name}");
    }
}

#[test]
fn control_flow_reads_kinds_not_wording() {
    let text = r"(?:\.(?:message|cause|hint|summary)|\b(?:failure|error)\.to_string\(\))";
    let tests = r"\.(?:contains|starts_with|ends_with|find|matches|split_once|strip_prefix|strip_suffix|eq)\(";
    let reads = Regex::new(&format!(r"{text}\s*(?:{tests}|[=!]=)")).expect("a valid expression");
    for wrong in ["failure.cause.contains(\"denied\")", "failure\n    .message\n    .starts_with(x)", "f.message == g"]
    {
        assert!(reads.is_match(wrong), "{wrong}");
    }
    let mut found = Vec::new();
    for dir in ["xtask/src", "xtask/runtime/src", "xtask/domain/src", "xtask/check/src"] {
        for path in sources(dir).into_iter().filter(|path| !path.to_string_lossy().contains("test")) {
            let text = code(&path);
            for hit in reads.find_iter(&text) {
                let line = text[..hit.start()].lines().count();
                found.push(format!(
                    "{}:{line}: `{}`: decide by `Failure::code` or `Failure::kind`",
                    path.display(),
                    hit.as_str()
                ));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
