//! What could stand next on a command line: tasks, options, their values, and the names of this project's classes and
//! clusters. Pure: clap's model and the words so far in, candidates out. The scripts of the shells only ask for them.

use clap::{Arg, Command};

/// The names that only this project knows.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub classes: Vec<String>,
    pub clusters: Vec<String>,
    pub checks: Vec<String>,
}

/// A word that could stand next, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub word: String,
    pub help: String,
}

/// The candidates for the last of `words` (the words after `cargo xtask`; the last is being typed, and may be empty).
pub fn candidates(cli: &Command, words: &[String], names: &Names) -> Vec<Candidate> {
    let (typed, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let task = task_of(cli, before);
    let args: Vec<&Arg> = match task {
        Some(task) => task.get_arguments().collect(),
        None => cli.get_arguments().collect(),
    };
    let all = if let Some(arg) =
        before.last().and_then(|word| option(&args, word)).filter(|arg| arg.get_action().takes_values())
    {
        values(arg, task, names)
    } else if let Some((flag, _)) = typed.split_once('=')
        && let Some(arg) = option(&args, flag)
    {
        let with_flag = |found: Candidate| Candidate { word: format!("{flag}={}", found.word), ..found };
        values(arg, task, names).into_iter().map(with_flag).collect()
    } else if typed.starts_with('-') {
        options(&args)
    } else {
        match task {
            None => cli.get_subcommands().filter(|task| !task.is_hide_set()).map(named).collect(),
            Some(_) => args.iter().filter(|arg| arg.is_positional()).flat_map(|arg| values(arg, task, names)).collect(),
        }
    };
    let given = |word: &str| before.iter().any(|each| each == word);
    all.into_iter().filter(|found| found.word.starts_with(typed) && !given(&found.word)).collect()
}

/// The task that `words` name: the first word that is neither an option nor the value of one.
fn task_of<'a>(cli: &'a Command, words: &[String]) -> Option<&'a Command> {
    let globals: Vec<&Arg> = cli.get_arguments().collect();
    let mut value = false;
    for word in words {
        if std::mem::take(&mut value) {
            continue;
        }
        if word.starts_with('-') {
            value = !word.contains('=') && option(&globals, word).is_some_and(|arg| arg.get_action().takes_values());
        } else {
            return cli.find_subcommand(word);
        }
    }
    None
}

/// The option that `word` spells.
fn option<'a>(args: &[&'a Arg], word: &str) -> Option<&'a Arg> {
    let long = word.strip_prefix("--");
    let short = word.strip_prefix('-').and_then(|rest| rest.chars().next().filter(|_| rest.chars().count() == 1));
    args.iter().copied().find(|arg| {
        let aliases = arg.get_visible_aliases().unwrap_or_default();
        long.is_some_and(|long| arg.get_long() == Some(long) || aliases.contains(&long))
            || short.is_some_and(|short| arg.get_short() == Some(short))
    })
}

fn options(args: &[&Arg]) -> Vec<Candidate> {
    let shown = args.iter().filter(|arg| !arg.is_hide_set());
    let found = shown.filter_map(|arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.get_long().map(|long| Candidate { word: format!("--{long}"), help })
    });
    found.collect()
}

fn named(task: &Command) -> Candidate {
    let help = task.get_about().map(ToString::to_string).unwrap_or_default();
    Candidate { word: task.get_name().to_owned(), help }
}

/// What an argument takes: what clap knows, else the names that its own name and its task's speak of. Nothing is for
/// files and free text: the shell then completes files.
fn values(arg: &Arg, task: Option<&Command>, names: &Names) -> Vec<Candidate> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let found = possible.iter().filter(|value| !value.is_hide_set());
        let help = |value: &clap::builder::PossibleValue| value.get_help().map(ToString::to_string).unwrap_or_default();
        return found.map(|value| Candidate { word: value.get_name().to_owned(), help: help(value) }).collect();
    }
    let task = task.map(Command::get_name).unwrap_or_default();
    let id = arg.get_id().as_str();
    let (words, help) = match (task, id) {
        // A new class or cluster has a name that nobody else has.
        ("machineclass-create" | "cluster-create", "name") => return Vec::new(),
        ("ci", "only" | "skip" | "with") => (&names.checks, "check"),
        (_, "class" | "classes" | "control_plane_class" | "worker_class") => (&names.classes, "machine class"),
        (_, "cluster" | "clusters" | "allow_destroy") => (&names.clusters, "cluster"),
        (task, "name" | "names") if task.starts_with("machineclass-") => (&names.classes, "machine class"),
        (task, "name" | "names") if task.starts_with("cluster-") => (&names.clusters, "cluster"),
        _ => return Vec::new(),
    };
    words.iter().map(|word| Candidate { word: word.clone(), help: help.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::built;

    fn found(line: &str) -> Vec<String> {
        let names = Names {
            classes: vec!["dev-small".into(), "matrix-worker".into()],
            clusters: vec!["matrix".into()],
            checks: vec!["fmt".into(), "clippy".into()],
        };
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        candidates(&built(), &words, &names).into_iter().map(|found| found.word).collect()
    }

    #[test]
    fn tasks_options_and_names_are_offered() {
        assert_eq!(found("provider-s"), ["provider-setup", "provider-status"]);
        assert!(found("").contains(&"rehearse".to_owned()) && !found("").contains(&"complete".to_owned()));
        assert_eq!(found("machineclass-apply "), ["dev-small", "matrix-worker"]);
        assert_eq!(found("machineclass-apply d"), ["dev-small"]);
        assert_eq!(found("cluster-status m"), ["matrix"]);
        assert_eq!(found("cluster-sync --all --allow-destroy "), ["matrix"]);
        assert_eq!(
            found("cluster-sync matrix "),
            Vec::<String>::new(),
            "what stands there already is not offered again"
        );
        assert_eq!(found("machineclass-create "), Vec::<String>::new());
        assert_eq!(found("cluster-create x --worker-class m"), ["matrix-worker"]);
        assert_eq!(found("cluster-create --worker-class=d"), ["--worker-class=dev-small"]);
        assert_eq!(found("ci --only f"), ["fmt"]);
        assert_eq!(found("completions "), ["bash", "zsh", "fish"]);
        assert_eq!(found("rehearse --co"), ["--color"]);
        assert_eq!(found("rehearse --color "), ["auto", "always", "never"]);
        assert_eq!(found("--project-dir /x cluster-st"), ["cluster-status"]);
        assert_eq!(found("no-such-task x"), Vec::<String>::new());
    }
}
