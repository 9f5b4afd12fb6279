//! The generated pages: up to date in the repository, and found when they are not.

#![allow(clippy::unwrap_used)] // a test that cannot set up its fault must stop

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sandbox::{Scratch, lab_program, root};

fn docs(dir: &Path, words: &[&str]) -> (i32, String, String) {
    lab_program();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("docs").args(words).args(["--project-dir", &dir.display().to_string()]);
    let output = command.env_clear().stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The paths of all generated pages.
pub fn pages() -> Vec<String> {
    let (code, stdout, stderr) = docs(root(), &["--check", "--json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    serde_json::from_value(document["data"]["pages"].clone()).unwrap()
}

/// A copy of the files that pages are made of.
fn copy() -> Scratch {
    let scratch = Scratch::new();
    let sources =
        ["docker/compose.yaml", "docs/recordings/rehearse.txt", "docs/recordings/fleet.json", "lab/data/faults.yaml"];
    for file in pages().iter().map(String::as_str).chain(sources) {
        let Ok(text) = fs::read(root().join(file)) else { continue };
        let place = scratch.path().join(file);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }
    scratch
}

#[test]
fn docs_are_up_to_date() {
    let (code, stdout, stderr) = docs(root(), &["--check"]);
    assert_eq!(code, 0, "run `cargo xtask docs` and commit what it writes\n{stdout}{stderr}");
}

#[test]
fn each_page_that_drifts_is_named_with_the_command_that_fixes_it() {
    let copy = copy();
    // Each is one of a kind: a whole page, one of many, a region, and the aliases.
    for (page, word, planted) in [
        ("docs/reference/tasks.md", "Omni's", "Omnis"),
        ("docs/reference/checks.md", "Omni's", "Omnis"),
        ("docs/reference/faults.md", "Omni's", "Omnis"),
        ("docs/reference/xtask.1", "Proxmox", "Proxmoks"),
        ("docs/recordings/fleet.svg", "pve1", "pve9"),
        ("commands/provider-setup.md", "Proxmox", "Proxmoks"),
        ("docker/TROUBLESHOOTING.md", "- **Id:** ", "- **Ids:** "),
        ("skills/omni-proxmox/references/troubleshooting.md", "Omni's", "Omnis"),
        ("mise.toml", "Write a machine class", "Writes a machine class"),
    ] {
        let path = copy.path().join(page);
        let good = fs::read_to_string(&path).unwrap();
        let planted = good.replace(word, planted);
        assert_ne!(planted, good, "{page}");
        fs::write(&path, &planted).unwrap();
        let (code, stdout, stderr) = docs(copy.path(), &["--check"]);
        assert_eq!(code, 1, "{}: {stdout}{stderr}", page);
        assert!(stdout.starts_with(&format!("{}:", page)) && stdout.contains("fix: cargo xtask docs"), "{stdout}");
        assert!(stdout.contains("differs from its source "), "{stdout}");
        assert_eq!(fs::read_to_string(&path).unwrap(), planted, "--check writes nothing");
        let (code, _, stderr) = docs(copy.path(), &["--dry-run"]);
        assert_eq!(code, 3, "{stderr}");
        assert_eq!(fs::read_to_string(&path).unwrap(), planted, "--dry-run writes nothing");
        let (code, _, stderr) = docs(copy.path(), &[]);
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(fs::read_to_string(&path).unwrap(), good, "what was there comes back");
    }
}

#[test]
fn a_page_without_its_markers_is_an_error_that_names_them() {
    let copy = copy();
    fs::write(copy.path().join("docker/TROUBLESHOOTING.md"), "# Troubleshooting\n").unwrap();
    let (code, _, stderr) = docs(copy.path(), &["--check"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("docker/TROUBLESHOOTING.md") && stderr.contains("<!-- known-issues:begin -->"), "{stderr}");
}

/// Every line of the files below a directory, without what is around it.
fn lines_below(dir: &Path) -> Vec<Vec<String>> {
    let texts =
        runtime::files::tree(dir).unwrap().into_iter().filter_map(|(name, _)| fs::read_to_string(dir.join(name)).ok());
    texts.map(|text| text.lines().map(|line| line.trim().to_owned()).collect()).collect()
}

#[test]
fn the_worked_examples_of_contributing_are_the_code() {
    let mut sources = Vec::new();
    for dir in ["xtask/src", "xtask/check/src", "xtask/src/dev", "xtask/data", "xtask/tests/it", "lab/src", "lab/data"]
    {
        sources.extend(lines_below(&root().join(dir)));
    }
    let page = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let mut count = 0;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if !["```rust", "```yaml"].contains(&line.trim()) {
            continue;
        }
        count += 1;
        let block: Vec<&str> = lines.by_ref().map(str::trim).take_while(|line| *line != "```").collect();
        // One file holds all of it, in this order; `// …` stands for what is left out.
        let held = |source: &Vec<String>| {
            block.split(|line| *line == "// …").try_fold(0, |from, part| {
                let at = source[from..].windows(part.len()).position(|window| window == part)?;
                Some(from + at + part.len())
            })
        };
        assert!(
            sources.iter().any(|source| held(source).is_some()),
            "no source holds this example:\n{}",
            block.join("\n")
        );
    }
    assert!(count >= 7, "{count} examples");
}

#[test]
fn readme_opens_with_two_commands() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let commands = page.split("```sh\n").skip(1).filter_map(|block| block.lines().next()).take(2);
    assert_eq!(commands.collect::<Vec<_>>(), ["cargo xtask rehearse", "cargo test --workspace"]);
}
