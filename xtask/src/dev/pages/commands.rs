//! `commands/TASK.md`: the plugin's commands, from a template, a table of their differences, and the flags of each task.

use std::sync::LazyLock;

use clap::builder::PossibleValue;
use clap::{Arg, Command};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::command;

/// The path of the table.
pub const SOURCE: &str = "xtask/data/commands.yaml";

/// The command that starts a task from a plugin that is outside the user's project.
const INSTALLED: &str = "cargo run --quiet --locked --manifest-path ${CLAUDE_PLUGIN_ROOT}/Cargo.toml --target-dir \
                         ${CLAUDE_PLUGIN_DATA}/target --package xtask --bin xtask --";

/// What is specific to a page: an entry of `commands.yaml`, which explains each field.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub task: String,
    description: Option<String>,
    state: String,
    #[serde(default)]
    pub changes: bool,
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default)]
    without: Vec<String>,
    missing: Option<String>,
    plan: Option<String>,
    #[serde(default)]
    destroys: bool,
    #[serde(default)]
    waits: bool,
    #[serde(default)]
    steps: bool,
    report: String,
    reads: Option<String>,
}

/// All commands, in the order of the table, which is sorted by name.
pub static COMMANDS: LazyLock<Vec<Entry>> =
    LazyLock::new(|| serde_yaml::from_str(include_str!("../../../data/commands.yaml")).expect("a test reads it"));

impl Entry {
    /// Renders the page of this command.
    ///
    /// # Errors
    /// Returns an error if there is no such task, or if the template needs a field that the entry lacks.
    pub fn page(&self) -> Result<String, String> {
        let cli = command();
        let task = cli.find_subcommand(&self.task).ok_or_else(|| format!("task `{}` does not exist", self.task))?;
        let flags = if self.changes || self.dry_run { "--json --dry-run" } else { "--json" };
        let about = task.get_about().map(ToString::to_string).unwrap_or_default();
        let mut values = json!(self);
        values["description"] = json!(self.description.as_deref().unwrap_or(&about));
        values["hint"] = json!(self.hint(task));
        values["call"] = json!(format!("cargo xtask {} {flags}", self.task));
        values["installed"] = json!(format!("{INSTALLED} {} {flags}", self.task));
        values["allows"] = json!(task.get_arguments().any(|arg| arg.get_long() == Some("allow-destroy")));
        super::render("command.md.jinja", values).map_err(|error| format!("{SOURCE}: `{}`: {error}", self.task))
    }

    /// Returns the task's own arguments and flags, as they are written in a shell.
    fn hint(&self, task: &Command) -> String {
        let offered = |arg: &&Arg| {
            let own =
                !arg.is_global_set() && !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
            own && !arg.get_long().is_some_and(|flag| self.without.iter().any(|without| without == flag))
        };
        let (positional, flags): (Vec<&Arg>, Vec<&Arg>) =
            task.get_arguments().filter(offered).partition(|arg| arg.is_positional());
        let word = |arg: &&Arg| {
            let text = arg.to_string().replace(['<', '>', '[', ']'], "").replace("...", "…");
            let possible = arg.get_possible_values();
            let names: Vec<&str> = possible.iter().map(PossibleValue::get_name).collect();
            // A longer list is in the help.
            match arg.get_long().filter(|_| arg.get_action().takes_values() && (1..=4).contains(&names.len())) {
                Some(flag) => format!("[--{flag} {}]", names.join("|")),
                None if arg.is_required_set() => text,
                None => format!("[{text}]"),
            }
        };
        positional.iter().chain(&flags).map(word).collect::<Vec<_>>().join(" ")
    }
}
