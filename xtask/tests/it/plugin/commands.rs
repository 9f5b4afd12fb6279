//! The checks on `commands/`, and on every task that the plugin's texts name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_yaml::Value as Yaml;

use super::text::{self, Page};

/// Gives the help page of xtask (`None`) or of one of its tasks; nothing when there is no such task.
pub type Help<'a> = &'a dyn Fn(Option<&str>) -> Option<String>;

/// The commands, and whether their task changes something outside the state file.
const COMMANDS: [(&str, bool); 13] = [
    ("cluster-create", true),
    ("cluster-delete", true),
    ("cluster-explain", false),
    ("cluster-plan", false),
    ("cluster-status", false),
    ("cluster-sync", true),
    ("doctor", false),
    ("machineclass-apply", true),
    ("machineclass-create", true),
    ("provider-setup", true),
    ("provider-status", false),
    ("provider-verify", false),
    ("proxmox-audit", false),
];

/// Flags that a task has and its command does not offer: they never end, and `--json` refuses them, or they change something.
const NOT_OFFERED: [(&str, &str); 4] = [
    ("provider-status", "--follow"),
    ("cluster-status", "--watch"),
    ("cluster-explain", "--heal"),
    ("cluster-explain", "--allow-destroy"),
];

/// How a task is started from a plugin that lies outside the user's project.
const INSTALLED: &str = "cargo run --quiet --locked --manifest-path ${CLAUDE_PLUGIN_ROOT}/Cargo.toml \
                         --target-dir ${CLAUDE_PLUGIN_DATA}/target --package xtask --bin xtask -- ";

const STATE: &str = "Read(.claude/omni-scale.local.md)";

/// `commands/`: flat, complete, thin, and free to run only what changes nothing.
pub fn commands(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let directory = root.join("commands");
    let expected: Vec<String> = COMMANDS.iter().map(|(name, _)| format!("{name}.md")).collect();
    // A folder becomes part of a command's name, and any other Markdown file a command.
    for name in text::entries(&directory).iter().filter(|name| !expected.contains(name)) {
        faults.push(format!("commands/{name}: is none of the commands"));
    }
    for (name, changes) in COMMANDS {
        match Page::read(&directory.join(format!("{name}.md"))) {
            Ok(page) => faults.extend(
                front_of_command(&page, name, changes)
                    .into_iter()
                    .chain(body_of_command(&page, name, changes))
                    .map(|fault| format!("commands/{name}.md: {fault}")),
            ),
            Err(error) => faults.push(format!("commands/{name}.md: {error}")),
        }
    }
    faults
}

/// The two ways of starting a task, as far as a command may start it without asking.
fn approved_calls(name: &str, changes: bool) -> [String; 2] {
    // Whatever is appended to the call is approved with it.
    let flags = if changes || name == "cluster-explain" { "--json --dry-run" } else { "--json" };
    [format!("cargo xtask {name} {flags}"), format!("{INSTALLED}{name} {flags}")]
}

fn front_of_command(page: &Page, name: &str, changes: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for key in page.unknown_keys(&["description", "argument-hint", "allowed-tools", "disable-model-invocation"]) {
        faults.push(format!("the front-matter key `{key}` is not ours"));
    }
    match page.string("description").map(|text| text.chars().count()) {
        None | Some(0) => faults.push("has no description".into()),
        Some(61..) => faults.push("its description is longer than 60 characters".into()),
        Some(_) => {}
    }
    // `[a]` without quotes is a YAML list. A task without arguments of its own has no hint.
    if page.front.contains_key("argument-hint") && page.string("argument-hint").is_none() {
        faults.push("its `argument-hint` is no string: quote it".into());
    }
    let hint = page.string("argument-hint").unwrap_or_default().to_lowercase();
    for word in ["key", "token", "secret", "password"].into_iter().filter(|word| hint.contains(word)) {
        faults.push(format!("its `argument-hint` invites a secret: `{word}`"));
    }
    let disabled = page.front.get("disable-model-invocation") == Some(&Yaml::Bool(true));
    if disabled != changes {
        faults.push(format!(
            "`disable-model-invocation` must be true exactly for tasks that change something ({changes})"
        ));
    }
    let Some(rules) = page.list("allowed-tools") else {
        faults.push("its `allowed-tools` is no list of strings".into());
        return faults;
    };
    let mut expected: Vec<String> =
        approved_calls(name, changes).iter().map(|call| format!("Bash({call}:*)")).collect();
    expected.push(STATE.into());
    for rule in &rules {
        if !expected.iter().any(|allowed| allowed == rule) {
            faults.push(format!("`{rule}` is not among the narrowest rules for this command"));
        }
    }
    for rule in expected.iter().filter(|rule| !rules.contains(&rule.as_str())) {
        faults.push(format!("`allowed-tools` lacks `{rule}`"));
    }
    faults
}

fn body_of_command(page: &Page, name: &str, changes: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let body = &page.body;
    if page.lines >= 40 {
        faults.push(format!("has {} lines, and a thin wrapper has under 40", page.lines));
    }
    if !body.trim_start().starts_with(&format!("# {name}\n")) {
        faults.push(format!("does not begin with the heading `# {name}`"));
    }
    // Claude Code compares a call with the rule as text, so the two must be the same.
    let spans = text::code_spans(body);
    let [checkout, installed] = approved_calls(name, changes);
    if !spans.contains(&checkout.as_str()) {
        faults.push(format!("does not show the call `{checkout}` that `allowed-tools` grants"));
    }
    if !spans.contains(&format!("{installed} --project-dir \"${{CLAUDE_PROJECT_DIR}}\"").as_str()) {
        faults.push("does not show the call for an installed plugin with the user's project directory".into());
    }
    for (word, why) in [
        ("$ARGUMENTS", "the user's arguments are lost"),
        (".claude/omni-scale.local.md", "the state is not read first"),
        ("missing_input", "missing values are not asked for"),
        ("`secret: true`", "a missing secret is not told from a missing value"),
        ("`summary`", "the summary is not reported"),
        ("hint`", "failures come without their hint"),
        ("`next`", "the next step is not reported"),
        ("never ask for a secret", "nothing forbids to ask for a secret"),
    ] {
        if !body.contains(word) {
            faults.push(format!("does not say `{word}`: {why}"));
        }
    }
    if changes != body.contains("`data.plan`") || changes != body.contains("`--yes") {
        faults.push("plan and `--yes` must stand in exactly the commands that change something".into());
    }
    // `$1` is the second argument; `!` runs a line before the model sees the page.
    if body.match_indices('$').any(|(at, _)| body[at + 1..].starts_with(|c: char| c.is_ascii_digit())) {
        faults.push("uses a numbered argument; `$ARGUMENTS` means what it says".into());
    }
    if body.contains("!`") || body.contains("```!") {
        faults.push("runs a shell line by itself".into());
    }
    faults
}

/// Every command's task and flags exist in xtask, and the hint offers every flag that the task has.
pub fn parity(root: &Path, help: Help) -> Vec<String> {
    let mut faults = Vec::new();
    let global = text::declared_flags(&help(None).unwrap_or_default());
    for (name, _) in COMMANDS {
        let Ok(page) = Page::read(&root.join(format!("commands/{name}.md"))) else { continue };
        let Some(task) = help(Some(name)) else {
            faults.push(format!("commands/{name}.md: xtask has no task `{name}`"));
            continue;
        };
        let declared = text::declared_flags(&task);
        let hint = page.string("argument-hint").unwrap_or_default();
        let offered = text::flags(hint);
        let mut used = offered.clone();
        for span in text::code_spans(&page.body) {
            // What stands before ` -- ` belongs to cargo.
            let own =
                if span.starts_with("cargo run ") { span.split_once(" -- ").map_or("", |(_, own)| own) } else { span };
            used.extend(text::flags(own));
        }
        for flag in used.difference(&declared) {
            faults.push(format!("commands/{name}.md: the task `{name}` has no flag `{flag}`"));
        }
        let known: BTreeSet<String> =
            ["--help", "--version"].map(String::from).into_iter().chain(global.clone()).collect();
        for flag in declared.difference(&known) {
            if !offered.contains(flag) && !NOT_OFFERED.contains(&(name, flag.as_str())) {
                faults.push(format!("commands/{name}.md: its `argument-hint` lacks `{flag}`"));
            }
        }
        if hint.contains("[NAME") && !task.contains("[NAME") {
            faults.push(format!("commands/{name}.md: the task `{name}` takes no NAME"));
        }
    }
    faults
}

/// Every `cargo xtask …` in the plugin's texts names a task with those flags, and so does the table of CLAUDE.md.
pub fn documented_tasks(root: &Path, help: Help) -> Vec<String> {
    let mut faults = Vec::new();
    let mut pages = text::markdown(root);
    pages.extend(text::files_below(&root.join("skills"), &[".yaml"]));
    for path in pages {
        let page = fs::read_to_string(&path).unwrap_or_default();
        let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        for (task, rest) in text::calls(&page) {
            match help(Some(&task)) {
                None => faults.push(format!("{place}: xtask has no task `{task}`")),
                Some(help) => {
                    for flag in text::flags(&rest).difference(&text::declared_flags(&help)) {
                        faults.push(format!("{place}: the task `{task}` has no flag `{flag}`"));
                    }
                }
            }
        }
        if place.ends_with("CLAUDE.md") {
            let table = page.split("## Tasks").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
            let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
            for task in cells.flat_map(|cell| cell.split("`, `")).map(|task| task.trim_end_matches('`')) {
                if help(Some(task)).is_none() {
                    faults.push(format!("{place}: xtask has no task `{task}`"));
                }
            }
        }
    }
    faults
}
