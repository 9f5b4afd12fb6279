//! `complete`: what could come next on a command line, one candidate a line with its meaning after a tab. The scripts of
//! `completions` call it at every press of the key, so it reads two directories and starts no program.

use std::ffi::OsString;

use clap::CommandFactory;
use clap_complete::engine::{CompletionCandidate, complete};

use crate::cli::{Cli, Complete};
use crate::outcome::Outcome;
use runtime::cx::Cx;

pub fn run(args: &Complete, cx: &Cx) -> anyhow::Result<Outcome> {
    let lines = candidates(&args.words);
    if !lines.is_empty() {
        cx.ui.data(&lines.join("\n"));
    }
    Ok(Outcome::done(""))
}

/// The candidates for the last of `words`, which are those after `cargo xtask`.
pub fn candidates(words: &[String]) -> Vec<String> {
    let typed = words.last().map_or("", String::as_str);
    let words: Vec<OsString> =
        std::iter::once("xtask").chain(words.iter().map(String::as_str)).map(Into::into).collect();
    let last = words.len() - 1;
    // Without a directory it offers no paths: the shells do that better.
    let mut found = complete(&mut Cli::command(), words, last, None).unwrap_or_default();
    if typed.is_empty() && found.iter().any(|candidate| !is_option(candidate)) {
        found.retain(|candidate| !is_option(candidate));
    }
    found.iter().map(line).collect()
}

fn is_option(candidate: &CompletionCandidate) -> bool {
    candidate.get_value().to_string_lossy().starts_with('-')
}

fn line(candidate: &CompletionCandidate) -> String {
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    format!("{}\t{}", candidate.get_value().to_string_lossy(), help.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = candidates(&words);
        found.iter().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    // The tests run in this package, so the names are those of this repository's own classes and clusters.
    #[test]
    fn tasks_options_and_names_are_offered() {
        assert_eq!(found("provider-s"), ["provider-setup", "provider-status"]);
        assert!(found("").contains(&"rehearse".to_owned()) && !found("").contains(&"complete".to_owned()));
        assert!(found("machineclass-apply ").contains(&"dev-small".to_owned()));
        assert_eq!(found("machineclass-apply dev"), ["dev-small"]);
        assert_eq!(found("cluster-status m"), ["matrix"]);
        assert_eq!(found("cluster-sync --all --allow-destroy "), ["matrix"]);
        assert_eq!(found("cluster-create x --worker-class matrix-w"), ["matrix-worker"]);
        assert_eq!(found("cluster-create --worker-class=dev"), ["--worker-class=dev-small"]);
        assert_eq!(found("ci --only f"), ["fmt", "fuzz"]);
        assert_eq!(found("completions "), ["bash", "zsh", "fish"]);
        assert_eq!(found("rehearse --fault omni-e"), ["omni-eula"]);
        assert!(found("lab-up --fault ").contains(&"docker-down".to_owned()));
        assert_eq!(found("lab-faults --group doc"), ["docker"]);
        assert_eq!(found("stack-logs o"), ["omni-tailscale", "omni"]);
        assert_eq!(found("rehearse --co"), ["--color"]);
        assert_eq!(found("rehearse --color "), ["auto", "always", "never"]);
        assert_eq!(found("--project-dir /x cluster-st"), ["cluster-status"]);
        assert_eq!(found("tsidp-verify --policy "), Vec::<String>::new(), "the shell completes files");
    }

    #[test]
    fn new_class_gets_no_existing_name() {
        assert!(!found("machineclass-create ").contains(&"dev-small".to_owned()));
    }
}
