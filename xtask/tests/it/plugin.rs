//! The Claude Code plugin: what the official validator does not look at.
//!
//! `claude plugin validate` 2.1.197 and 2.1.330 were tried on faulty plugins: neither checks nested commands, unknown
//! front-matter keys, the limits of a skill, missing hook scripts, agents, or whether a command's task exists. Links are
//! checked by `cargo xtask ci --only links`.

mod checks;
mod commands;
mod hook;
mod in_the_lab;
mod skill;
pub mod text;

use crate::sandbox::{Scratch, root as repository};

/// Fails with every fault at once: whoever mends a plugin wants the whole list.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults in the plugin:\n{}", faults.len(), faults.join("\n"));
}

/// What is said of those rows that hold.
fn wrong<const N: usize>(rows: [(bool, &str); N]) -> Vec<String> {
    rows.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.to_owned()).collect()
}

#[test]
fn the_manifests_are_sound_and_name_one_version() {
    assert_none(&checks::manifests(repository()));
    assert_none(&checks::versions(repository()));
}

#[test]
fn the_commands_are_thin_wrappers_that_ask_before_they_change() {
    assert_none(&commands::commands(repository()));
}

#[test]
fn every_command_names_a_task_and_flags_that_xtask_has() {
    assert_none(&commands::parity(repository()));
}

#[test]
fn every_task_of_the_assistants_table_exists() {
    assert_none(&commands::documented_tasks(repository()));
}

#[test]
fn the_skill_keeps_its_limits_and_links_what_it_brings() {
    assert_none(&skill::skills(repository()));
}

#[test]
fn the_agents_only_look() {
    assert_none(&checks::agents(repository()));
}

#[test]
fn the_hooks_are_declared_as_claude_code_reads_them() {
    assert_none(&checks::hooks(repository()));
}

#[test]
fn secrets_are_kept_from_the_assistant() {
    assert_none(&checks::settings(repository()));
}

#[test]
fn an_installed_plugin_can_run_the_tasks() {
    assert_none(&checks::installed_elsewhere(repository()));
}
