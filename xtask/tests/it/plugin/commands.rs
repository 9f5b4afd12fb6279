//! The checks on `commands/`, and on every task that the plugin's texts name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_yaml::Value as Yaml;
use xtask::dev::pages::commands::{COMMANDS, Entry};

use super::text::{self, Page};

/// How a task is started from a plugin that lies outside the user's project.
const INSTALLED: &str = "cargo run --quiet --locked --manifest-path ${CLAUDE_PLUGIN_ROOT}/Cargo.toml \
                         --target-dir ${CLAUDE_PLUGIN_DATA}/target --package xtask --bin xtask -- ";

/// The lists of tasks, by name.
static TASKS: &str = include_str!("../../fixtures/tasks.yaml");

/// `commands/`: the pages of the table and no others, each free to run only what changes nothing.
pub fn commands(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let tasks: BTreeMap<String, Yaml> = serde_yaml::from_str(TASKS).expect("the lists of tasks");
    let changing = tasks["changing"].as_sequence().expect("a list").iter().filter_map(Yaml::as_str);
    let changing: BTreeSet<&str> = changing.filter_map(|line| line.split(' ').next()).collect();
    let directory = root.join("commands");
    let expected: Vec<String> = COMMANDS.iter().map(|entry| format!("{}.md", entry.task)).collect();
    // A folder becomes part of a command's name, and any other Markdown file a command.
    if text::entries(&directory) != expected {
        faults.push(format!("commands/ holds {:?}, the table {expected:?}", text::entries(&directory)));
    }
    for Entry { task, changes, dry_run, .. } in COMMANDS.iter() {
        if changing.contains(task.as_str()) && !changes && !dry_run {
            faults.push(format!("commands/{task}.md: the task changes something, and its command does not say so"));
        }
        match Page::read(&directory.join(format!("{task}.md"))) {
            Ok(page) => faults.extend(
                faults_of_page(&page, task, *changes, *dry_run)
                    .into_iter()
                    .map(|fault| format!("commands/{task}.md: {fault}")),
            ),
            Err(error) => faults.push(format!("commands/{task}.md: {error}")),
        }
    }
    faults
}

fn faults_of_page(page: &Page, task: &str, changes: bool, dry_run: bool) -> Vec<String> {
    let mut faults = Vec::new();
    match page.string("description").map(|text| text.chars().count()) {
        None | Some(0) => faults.push("has no description".into()),
        Some(61..) => faults.push("its description is longer than 60 characters".into()),
        Some(_) => {}
    }
    let hint = page.string("argument-hint").unwrap_or_default().to_lowercase();
    for word in ["token", "secret", "password"].into_iter().filter(|word| hint.contains(word)) {
        faults.push(format!("its `argument-hint` invites a secret: `{word}`"));
    }
    if (page.front.get("disable-model-invocation") == Some(&Yaml::Bool(true))) != changes {
        faults.push("`disable-model-invocation` must be true exactly for tasks that change something".into());
    }
    // Whatever is appended to the call is approved with it.
    let flags = if changes || dry_run { "--json --dry-run" } else { "--json" };
    let calls = [format!("cargo xtask {task} {flags}"), format!("{INSTALLED}{task} {flags}")];
    let mut expected = calls.clone().map(|call| format!("Bash({call}:*)")).to_vec();
    expected.push("Read(.claude/omni-scale.local.md)".into());
    if page.list("allowed-tools").is_none_or(|rules| rules != expected) {
        faults.push(format!("its `allowed-tools` is not {expected:?}"));
    }
    // Claude Code compares a call with the rule as text, so the two must be the same.
    let spans = text::code_spans(&page.body);
    let [checkout, installed] = calls;
    for call in [checkout, format!("{installed} --project-dir \"${{CLAUDE_PROJECT_DIR}}\"")] {
        if !spans.contains(&call.as_str()) {
            faults.push(format!("does not show the call `{call}`"));
        }
    }
    // `$1` is the second argument; `!` runs a line before the model sees the page.
    if page.body.match_indices('$').any(|(at, _)| page.body[at + 1..].starts_with(|c: char| c.is_ascii_digit())) {
        faults.push("uses a numbered argument; `$ARGUMENTS` means what it says".into());
    }
    if page.body.contains("!`") || page.body.contains("```!") {
        faults.push("runs a shell line by itself".into());
    }
    faults
}

/// Every flag in the text of a page is one of its task; the hint is made from the task itself.
pub fn parity(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let mut cli = xtask::cli::built();
    cli.build();
    for Entry { task, .. } in COMMANDS.iter() {
        let Ok(page) = Page::read(&root.join(format!("commands/{task}.md"))) else { continue };
        let flags = cli.find_subcommand(task).into_iter().flat_map(clap::Command::get_arguments);
        let flags: BTreeSet<String> = flags.filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect();
        // Other spans name another program or task.
        for span in text::code_spans(&page.body).into_iter().filter(|span| span.starts_with("--")) {
            for flag in text::flags(span).difference(&flags) {
                faults.push(format!("commands/{task}.md: the task `{task}` has no flag `{flag}`"));
            }
        }
    }
    faults
}

/// Every task in the table of CLAUDE.md is one.
pub fn documented_tasks(root: &Path) -> Vec<String> {
    let page = fs::read_to_string(root.join(".claude/CLAUDE.md")).unwrap_or_default();
    let table = page.split("## Tasks").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let tasks = cells.flat_map(|cell| cell.split("`, `")).map(|task| task.trim_end_matches('`'));
    let unknown = tasks.filter(|task| xtask::cli::built().find_subcommand(task).is_none());
    unknown.map(|task| format!("CLAUDE.md: xtask has no task `{task}`")).collect()
}
