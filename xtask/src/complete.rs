//! Completion of names that only this project knows; clap_complete completes everything else.

use std::path::PathBuf;

use clap_complete::engine::CompletionCandidate;

use crate::dev::ci::table::CHECKS;
use runtime::paths::Paths;
use runtime::settings::{Settings, further_providers};
use runtime::tool::compose::{OMNI, PROVIDER, SIDECAR};

/// The machine classes of the project around the working directory.
pub fn classes() -> Vec<CompletionCandidate> {
    candidates("machine class", file_stems(Paths::machine_classes))
}

/// The clusters of that project.
pub fn clusters() -> Vec<CompletionCandidate> {
    candidates("cluster", file_stems(Paths::clusters))
}

/// The checks of `ci`.
pub fn checks() -> Vec<CompletionCandidate> {
    candidates("check", CHECKS.iter().map(|check| check.name.clone()))
}

/// The services of the stack.
pub fn services() -> Vec<CompletionCandidate> {
    let further = provider_ids().into_iter().map(|id| format!("{PROVIDER}-{id}"));
    candidates("service", [SIDECAR, OMNI, PROVIDER].map(str::to_owned).into_iter().chain(further))
}

/// The further providers.
pub fn providers() -> Vec<CompletionCandidate> {
    candidates("provider", provider_ids())
}

fn provider_ids() -> Vec<String> {
    let found = project().and_then(|paths| Some(further_providers(&paths, &Settings::load(&paths).ok()?.env_file)));
    found.unwrap_or_default()
}

/// The faults of the lab.
pub fn faults() -> Vec<CompletionCandidate> {
    candidates("fault", fault_values("- name: "))
}

/// The groups of the faults.
pub fn fault_groups() -> Vec<CompletionCandidate> {
    let mut groups = fault_values("group: ");
    groups.dedup();
    candidates("group", groups)
}

/// Returns the values after `key` in the lab's table of faults.
fn fault_values(key: &str) -> Vec<String> {
    let text = project().and_then(|paths| std::fs::read_to_string(paths.root().join("lab/data/faults.yaml")).ok());
    let text = text.unwrap_or_default();
    text.lines().filter_map(|line| line.trim_start().strip_prefix(key)).map(str::to_owned).collect()
}

fn project() -> Option<Paths> {
    std::env::current_dir().ok().and_then(|cwd| Paths::find(None, &cwd).ok())
}

fn candidates(what: &'static str, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(|name| CompletionCandidate::new(name).help(Some(what.into()))).collect()
}

/// Returns the names of the YAML files in a directory of the project; empty if it cannot be read, because errors during
/// completion would only be in the way.
fn file_stems(dir: fn(&Paths) -> PathBuf) -> Vec<String> {
    let entries = project().and_then(|paths| std::fs::read_dir(dir(&paths)).ok()).into_iter().flatten().flatten();
    let yaml = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "yaml"));
    let stem = |path: PathBuf| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let mut names: Vec<String> = yaml.filter_map(stem).collect();
    names.sort();
    names
}
