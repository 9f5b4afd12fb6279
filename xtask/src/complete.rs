//! The names that only this project knows, for the completion of its command line; clap_complete knows the rest.

use std::path::PathBuf;

use clap_complete::engine::CompletionCandidate;

use crate::dev::ci::table::CHECKS;
use runtime::paths::Paths;

/// The machine classes of the project around the working directory.
pub fn classes() -> Vec<CompletionCandidate> {
    named("machine class", stems(Paths::machine_classes))
}

/// Its clusters.
pub fn clusters() -> Vec<CompletionCandidate> {
    named("cluster", stems(Paths::clusters))
}

/// The checks of `ci`.
pub fn checks() -> Vec<CompletionCandidate> {
    named("check", CHECKS.iter().map(|check| check.name.to_owned()))
}

fn named(what: &'static str, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(|name| CompletionCandidate::new(name).help(Some(what.into()))).collect()
}

/// The names of the YAML files in a directory of the project; none when it cannot be read, because errors while somebody
/// types would only be in the way.
fn stems(dir: fn(&Paths) -> PathBuf) -> Vec<String> {
    let project = std::env::current_dir().ok().and_then(|cwd| Paths::find(None, &cwd).ok());
    let entries = project.and_then(|paths| std::fs::read_dir(dir(&paths)).ok()).into_iter().flatten().flatten();
    let yaml = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "yaml"));
    let stem = |path: PathBuf| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let mut names: Vec<String> = yaml.filter_map(stem).collect();
    names.sort();
    names
}
