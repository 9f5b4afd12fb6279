//! Turns a command line that clap rejects into a failure. Missing values are distinguished from invalid ones, because a caller
//! with `--json` prompts for the former and gives up on the latter.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::cli::command;
use crate::task::complete;
use domain::failure::{Code, Failure, MissingValue};

/// Returns the failure for `error`, and the task of the command line (empty if there is none).
pub fn failure(error: &Error, words: &[String]) -> (String, Failure) {
    let cli = command();
    let named = find_task(&cli, words);
    let task = named.map(|task| task.get_name().to_owned()).unwrap_or_default();
    let help = match task.as_str() {
        "" => "cargo xtask --help".to_owned(),
        task => format!("cargo xtask {task} --help"),
    };
    if error.kind() == ErrorKind::MissingRequiredArgument
        && let Some(ContextValue::Strings(spellings)) = error.get(ContextKind::InvalidArg)
    {
        let missing = spellings.iter().map(|spelling| missing_value(named, spelling)).collect();
        let tip = named.and_then(|task| tip_for(task, error, words)).unwrap_or_else(|| format!("`{help}` explains it"));
        return (task, Failure::missing(missing).cause(tip).next(help));
    }
    let text = error.render().to_string();
    let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let rest: Vec<&str> = text.lines().skip(1).map(str::trim).take_while(|line| !line.starts_with("Usage:")).collect();
    let cause = rest.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    (task, Failure::new(Code::Usage, message).cause(cause).hint(help))
}

/// Adds a tip to `error`: the possible names for a missing argument, or the tasks whose names contain the unknown word.
pub fn with_tip(mut error: Error, args: &[OsString]) -> Error {
    // Help and the version are also errors to clap, but need no tip.
    if !matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::MissingRequiredArgument) {
        return error;
    }
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let cli = command();
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => {
            let tasks = cli.get_subcommands().map(|task| task.get_name().to_owned());
            let near: Vec<String> = tasks.filter(|task| task.split('-').any(|part| part == word)).collect();
            let hidden = |name: &String| cli.find_subcommand(name).is_some_and(clap::Command::is_hide_set);
            if !near.is_empty() {
                error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(near));
            } else if let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand)
                && names.iter().all(hidden)
            {
                error.remove(ContextKind::SuggestedSubcommand);
            }
        }
        (ErrorKind::MissingRequiredArgument, _) => {
            if let Some(tip) = find_task(&cli, &words).and_then(|task| tip_for(task, &error, &words)) {
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
        }
        _ => {}
    }
    error
}

/// Lists the possible values of a missing name: those in the project, and `--all`.
fn tip_for(task: &clap::Command, error: &Error, words: &[String]) -> Option<String> {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else { return None };
    if missing.iter().all(|spelling| spelling.starts_with('-')) {
        return None;
    }
    let known = complete::candidates(&[task.get_name().to_owned(), String::new()]);
    let known: Vec<&str> = known.iter().filter_map(|line| line.split('\t').next()).collect();
    let known = known.into_iter().filter(|name| !name.starts_with('-')).take(MAX_NAMED).map(|name| format!("`{name}`"));
    // In some tasks, `--all` does not replace a name, so check that the command line is complete with it.
    let completed = words.iter().map(String::as_str).chain(["--all"]);
    let all = command().try_get_matches_from(completed).is_ok().then(|| "`--all`".to_owned());
    let choices: Vec<String> = known.chain(all).collect();
    match choices.as_slice() {
        [] => None,
        [all] if all == "`--all`" => Some("give a name or `--all`".to_owned()),
        _ => Some(format!("give {}", choices.join(" or "))),
    }
}

/// Maximum number of names to list.
const MAX_NAMED: usize = 8;

/// Returns the task of a command line; empty if there is none.
pub fn task_name(words: &[String]) -> String {
    find_task(&command(), words).map(|task| task.get_name().to_owned()).unwrap_or_default()
}

fn find_task<'a>(cli: &'a clap::Command, words: &[String]) -> Option<&'a clap::Command> {
    words.iter().skip(1).find_map(|word| cli.find_subcommand(word))
}

/// Describes an argument, which clap writes as `<NAME>...` or `--class <CLASS>`, by its help.
fn missing_value(task: Option<&clap::Command>, spelling: &str) -> MissingValue {
    const BRACKETS: [char; 5] = ['<', '>', '[', ']', '.'];
    let flag = spelling.split(' ').next().unwrap_or(spelling).trim_matches(BRACKETS).to_owned();
    let is = |arg: &&clap::Arg| match flag.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.is_positional() && arg.to_string().trim_matches(BRACKETS) == flag,
    };
    let help = task.and_then(|task| task.get_arguments().find(is)).and_then(clap::Arg::get_help);
    let name = help.map_or_else(|| flag.clone(), |help| lowercase_first(&help.to_string()));
    MissingValue { name, flag: Some(flag), env: None, secret: false }
}

/// Converts a text such as "The machine classes" for use inside a sentence.
fn lowercase_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
