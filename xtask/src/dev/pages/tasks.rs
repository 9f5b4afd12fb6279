//! The command line in the task reference (`docs/reference/tasks.md`, the manual page, the aliases), from clap's model.

use clap::{Arg, Command};
use serde_json::{Value, json};

use crate::cli::{EXIT_CODES, command, task_groups};

/// Returns the model of `data/pages/tasks.md.jinja`.
pub fn model() -> Value {
    let cli = command();
    let groups = task_groups().map(|(heading, names)| {
        let tasks = names.filter_map(|name| cli.find_subcommand(name));
        let tasks: Vec<Value> = tasks.map(|task| json!({ "name": task.get_name(), "about": short(task) })).collect();
        json!({ "heading": heading, "tasks": tasks })
    });
    json!({
        "about": long(&cli), "groups": groups.collect::<Vec<_>>(), "exit_codes": exit_codes(),
        "global": options(cli.get_arguments().filter(|arg| arg.is_global_set())),
        "tasks": visible(&cli).map(section).collect::<Vec<_>>(),
    })
}

/// Returns the lines for `mise.toml`: an alias for each task, with its name. mise appends the arguments after the alias.
pub fn aliases() -> String {
    let cli = command();
    let lines = visible(&cli).map(|task| {
        let name = task.get_name();
        // This JSON string is also a TOML string, since it contains no escaped slash (`\\/`).
        let (run, about) = (json!(format!("cargo xtask {name}")), json!(short(task)));
        format!("{name} = {{ run = {run}, description = {about} }}\n")
    });
    format!("\n{}", lines.collect::<String>())
}

/// Returns the tasks that are not hidden.
pub fn visible(cli: &Command) -> impl Iterator<Item = &Command> {
    cli.get_subcommands().filter(|task| !task.is_hide_set())
}

/// Returns the exit codes and their meanings, from the line that `--help` shows.
pub fn exit_codes() -> Vec<(u8, &'static str)> {
    let list = EXIT_CODES.trim_start_matches("Exit codes: ").trim_end_matches('.');
    let code = |part: &'static str| {
        let (code, meaning) = part.split_once(' ')?;
        Some((code.parse().ok()?, meaning))
    };
    list.split(", ").filter_map(code).collect()
}

fn section(task: &Command) -> Value {
    let usage = task.clone().render_usage().to_string();
    let own = |arg: &&Arg| {
        !arg.is_global_set() && !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
    };
    let examples = task.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    json!({
        "name": task.get_name(), "about": long(task), "usage": usage.trim_start_matches("Usage: ").trim(),
        "options": options(task.get_arguments().filter(own)),
        "examples": examples.lines().skip(1).map(str::trim).collect::<Vec<_>>(),
    })
}

fn options<'a>(args: impl Iterator<Item = &'a Arg>) -> Vec<Value> {
    args.map(|arg| json!({ "spelling": spelling(arg), "meaning": describe_option(arg) })).collect()
}

/// Formats an argument as `-f`, `--flag VALUE`, or the placeholder of a positional argument.
fn spelling(arg: &Arg) -> String {
    let names: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let value = if arg.get_action().takes_values() { names.join(" ") } else { String::new() };
    if arg.is_positional() {
        return format!("`{}`", value.to_uppercase());
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let longs = arg.get_long().into_iter().chain(arg.get_visible_aliases().unwrap_or_default());
    let all: Vec<String> = short.into_iter().chain(longs.map(|long| format!("--{long}"))).collect();
    format!("`{}`", format!("{} {value}", all.join("`, `")).trim_end())
}

fn describe_option(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    // An address outside a code span would become a link.
    let word = |word: &str| if word.starts_with("https://") { format!("`{word}`") } else { word.to_owned() };
    let mut text = help.split(' ').map(word).collect::<Vec<_>>().join(" ");
    if !arg.get_action().takes_values() {
        return text;
    }
    let values: Vec<String> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !values.is_empty() {
        text.push_str(&format!("; one of {}", values.join(", ")));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() {
        text.push_str(&format!("; default `{}`", defaults.join(" ")));
    }
    text
}

fn short(task: &Command) -> String {
    task.get_about().map(ToString::to_string).unwrap_or_default()
}

/// Returns the description of a command as full sentences: clap removes the full stop of the first one.
fn long(task: &Command) -> String {
    let text = task.get_long_about().or(task.get_about()).map(ToString::to_string).unwrap_or_default();
    let (about, more) = text.split_once("\n\n").unwrap_or((&text, ""));
    let stop = if about.ends_with('.') { "" } else { "." };
    format!("{about}{stop}\n\n{more}").trim_end().to_owned()
}
