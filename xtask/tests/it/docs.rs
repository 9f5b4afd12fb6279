//! The generated pages: up to date in the repository, and reported if they are not.

#![allow(clippy::unwrap_used)] // a test that cannot set up its fault must stop

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::ci::Kit;
use crate::sandbox::{CommandOutput, lab_program, root};

/// Copies the files that the pages are generated from. The pages of this repository are up to date.
fn copy() -> Kit {
    lab_program();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["docs", "--check", "--json", "--project-dir"]).arg(root()).env_clear().stdin(Stdio::null());
    let document = CommandOutput::of(&mut command).exits(0).json();
    let pages: Vec<String> = serde_json::from_value(document["data"]["pages"].clone()).unwrap();
    let kit = Kit::new();
    kit.copy_files(&pages.iter().map(String::as_str).collect::<Vec<_>>());
    let sources =
        ["docker/compose.yaml", "docs/recordings/rehearse.txt", "docs/recordings/fleet.json", "lab/data/faults.yaml"];
    kit.copy_files(&sources);
    kit
}

#[test]
fn each_page_that_drifts_is_named_with_the_command_that_fixes_it() {
    let kit = copy();
    kit.check("docs", "ok");
    // One of each kind: a whole page, one of many, a region, and the aliases.
    for (page, word, planted) in [
        ("docs/reference/tasks.md", "# Tasks", "# Chores"),
        ("docs/reference/checks.md", "Omni's", "Omnis"),
        ("docs/reference/faults.md", "Omni's", "Omnis"),
        ("docs/reference/xtask.1", "Proxmox", "Proxmoks"),
        ("docs/recordings/fleet.svg", "pve1", "pve9"),
        ("commands/provider-setup.md", "Proxmox", "Proxmoks"),
        ("docker/TROUBLESHOOTING.md", "- **Id:** ", "- **Ids:** "),
        ("skills/omni-proxmox/references/troubleshooting.md", "Omni's", "Omnis"),
        ("mise.toml", "Write a machine class", "Writes a machine class"),
    ] {
        let read = || fs::read_to_string(kit.path().join(page)).unwrap();
        let good = read();
        let planted = good.replace(word, planted);
        assert_ne!(planted, good, "{page}");
        kit.write(page, &planted);
        let says = ["differs from its source ", "fix: cargo xtask docs"];
        let checked = kit.xtask("docs --check").exits(1).says(&says);
        assert!(checked.stdout.starts_with(&format!("{page}:")), "{checked:?}");
        kit.xtask("docs --dry-run").exits(3);
        assert_eq!(read(), planted, "neither writes anything");
        let mut write = "docs";
        if page.ends_with("tasks.md") {
            kit.finds("docs", "docs/reference/tasks.md:1", "cargo xtask docs");
            write = "ci --only docs --fix";
        }
        kit.xtask(write).exits(0);
        assert_eq!(read(), good, "what was there comes back");
    }
}

#[test]
fn a_page_without_its_markers_is_an_error_that_names_them() {
    let kit = copy();
    kit.write("docker/TROUBLESHOOTING.md", "# Troubleshooting\n");
    kit.xtask("docs --check").exits(1).says(&["docker/TROUBLESHOOTING.md", "<!-- known-issues:begin -->"]);
}

/// Returns every line of the files in a directory, without leading and trailing spaces.
fn lines_below(dir: &Path) -> Vec<Vec<String>> {
    let texts = runtime::files::list_files(dir)
        .unwrap()
        .into_iter()
        .filter_map(|(name, _)| fs::read_to_string(dir.join(name)).ok());
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
        // A single file contains all of it, in this order; `// …` marks omissions.
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
