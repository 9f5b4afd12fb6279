//! The checks of `commands/`, and of every task named in the plugin's texts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::json;
use xtask::dev::pages::commands::{COMMANDS, Entry};

use super::text::{self, Page};
use crate::sandbox::list;

/// The command that starts a task from a plugin that is outside the user's project.
const INSTALLED: &str = "cargo run --quiet --locked --manifest-path ${CLAUDE_PLUGIN_ROOT}/Cargo.toml \
                         --target-dir ${CLAUDE_PLUGIN_DATA}/target --package xtask --bin xtask -- ";

/// `commands/`: only the pages of the table, each allowed to run only what changes nothing.
pub fn commands(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let changing: BTreeSet<&str> = list("changing").iter().filter_map(|line| line.split(' ').next()).collect();
    let expected: Vec<String> = COMMANDS.iter().map(|entry| format!("{}.md", entry.task)).collect();
    // A folder would become part of a command's name, and any other Markdown file a command.
    let found = text::entries(&root.join("commands"));
    if found != expected {
        faults.push(format!("commands/ holds {found:?}, the table {expected:?}"));
    }
    for Entry { task, changes, dry_run, .. } in COMMANDS.iter() {
        let mut expect =
            |holds: bool, what: String| (!holds).then(|| faults.push(format!("commands/{task}.md: {what}")));
        let says = *changes || *dry_run || !changing.contains(task.as_str());
        expect(says, "the task changes something, and its command does not say so".to_owned());
        let page = Page::read(&root.join(format!("commands/{task}.md"))).unwrap_or_else(|why| panic!("{task}: {why}"));
        let invoked = page.front.get("disable-model-invocation").is_none_or(|off| *off != true);
        expect(
            invoked != *changes,
            "`disable-model-invocation` must be true exactly where something changes".to_owned(),
        );
        // Anything appended to the call is approved with it.
        let flags = if *changes || *dry_run { "--json --dry-run" } else { "--json" };
        let calls = [format!("cargo xtask {task} {flags}"), format!("{INSTALLED}{task} {flags}")];
        let rules = json!([
            format!("Bash({}:*)", calls[0]),
            format!("Bash({}:*)", calls[1]),
            "Read(.claude/omni-scale.local.md)"
        ]);
        expect(page.front["allowed-tools"] == rules, format!("its `allowed-tools` is not {rules}"));
        // Claude Code compares a call with the rule as text, so they must be identical.
        let spans = text::code_spans(&page.body);
        let [checkout, installed] = calls;
        for call in [checkout, format!("{installed} --project-dir \"${{CLAUDE_PROJECT_DIR}}\"")] {
            expect(spans.contains(&call.as_str()), format!("does not show the call `{call}`"));
        }
    }
    faults
}

/// Checks that every flag in the text of a page is a flag of its task; the hint is generated from the task itself.
pub fn parity(root: &Path) -> Vec<String> {
    let (mut faults, mut cli) = (Vec::new(), xtask::cli::command());
    cli.build();
    let flag = Regex::new("--[a-z][a-z0-9-]*").expect("a regex");
    for Entry { task, .. } in COMMANDS.iter() {
        let page = Page::read(&root.join(format!("commands/{task}.md"))).unwrap_or_else(|why| panic!("{task}: {why}"));
        let flags = cli.find_subcommand(task).into_iter().flat_map(clap::Command::get_arguments);
        let flags: BTreeSet<String> = flags.filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect();
        // Other spans are about another program or task.
        let spans = text::code_spans(&page.body).into_iter().filter(|span| span.starts_with("--"));
        let named = spans.flat_map(|span| flag.find_iter(span)).filter(|flag| !flags.contains(flag.as_str()));
        faults.extend(named.map(|flag| format!("commands/{task}.md: the task has no flag `{}`", flag.as_str())));
    }
    faults
}

/// Checks that every task in the table of CLAUDE.md exists.
pub fn documented_tasks(root: &Path) -> Vec<String> {
    let page = fs::read_to_string(root.join(".claude/CLAUDE.md")).unwrap_or_default();
    let table = page.split("## Tasks").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let tasks = cells.flat_map(|cell| cell.split("`, `")).map(|task| task.trim_end_matches('`'));
    let unknown = tasks.filter(|task| xtask::cli::command().find_subcommand(task).is_none());
    unknown.map(|task| format!("CLAUDE.md: xtask has no task `{task}`")).collect()
}
