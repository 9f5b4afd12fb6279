//! `complete`: prints the possible next words of a command line, one candidate a line with its meaning after a tab. The scripts
//! of `completions` call it on every key press, so it reads only two directories and starts no programs.

use std::ffi::OsString;

use clap::CommandFactory;
use clap_complete::engine::{CompletionCandidate, complete};

use crate::cli::Cli;
use crate::prelude::*;

pub fn run(words: &[String], cx: &Cx) -> anyhow::Result<Outcome> {
    let lines = candidates(words);
    if !lines.is_empty() {
        cx.ui.print_data(&lines.join("\n"));
    }
    Ok(Outcome::done(""))
}

/// Returns the candidates for the last of `words`, which are the words after `cargo xtask`.
pub fn candidates(words: &[String]) -> Vec<String> {
    let typed = words.last().map_or("", String::as_str);
    let words: Vec<OsString> =
        std::iter::once("xtask").chain(words.iter().map(String::as_str)).map(Into::into).collect();
    let last = words.len() - 1;
    // No directory, so no paths are offered: the shells complete paths better.
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
