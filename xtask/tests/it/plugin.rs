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
mod text;

use std::fs;
use std::path::Path;

use crate::sandbox::{CommandOutput, Scratch, outside, root as repository};

/// Runs the real xtask away from the repository, and reads the one JSON document that it must print.
fn xtask_json(directory: &Path, arguments: &[&str]) -> (i32, serde_json::Value) {
    let ran = CommandOutput::of(outside(env!("CARGO_BIN_EXE_xtask"), directory).args(arguments));
    (ran.code, ran.json())
}

/// Makes a directory the root of a project: xtask knows it by its compose file.
fn make_project(directory: &Path) {
    fs::create_dir_all(directory.join("docker")).expect("the project can be written");
    fs::write(directory.join("docker/compose.yaml"), "services: {}\n").expect("the project can be written");
}

/// What `xtask [TASK] --help` prints, or nothing when there is no such task.
fn help_of_xtask(task: Option<&str>) -> Option<String> {
    let scratch = Scratch::new();
    let arguments: Vec<&str> = task.into_iter().chain(["--help"]).collect();
    let ran = CommandOutput::of(outside(env!("CARGO_BIN_EXE_xtask"), scratch.path()).args(arguments));
    (ran.code == 0).then_some(ran.stdout)
}

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
    assert_none(&commands::parity(repository(), &help_of_xtask));
}

#[test]
fn every_task_in_the_plugins_texts_exists() {
    assert_none(&commands::documented_tasks(repository(), &help_of_xtask));
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

/// The runner's own checks on the examples, in a project that holds just them.
#[test]
fn the_runner_finds_nothing_in_the_examples() {
    let scratch = Scratch::new();
    let project = scratch.path();
    let examples = repository().join("skills/omni-proxmox/examples");
    for (example, place) in [
        ("machineclass-ceph.yaml", "machine-classes/ceph-worker.yaml"),
        ("machineclass-local.yaml", "machine-classes/local-control-plane.yaml"),
        ("cluster-template.yaml", "clusters/example.yaml"),
    ] {
        let place = project.join(place);
        fs::create_dir_all(place.parent().expect("a file in a directory")).expect("the project can be written");
        fs::copy(examples.join(example), place).expect("the example exists");
    }
    make_project(project);

    for task in ["machineclass-check", "cluster-check"] {
        let (status, document) = xtask_json(project, &[task, "--all", "--json"]);
        assert_eq!(status, 0, "`{task}` finds faults in the skill's examples: {document:#}");
        assert_eq!(document["ok"], true, "{document:#}");
    }
}

/// Every selector that the skill recommends compiles as the provider would compile it.
#[test]
fn the_recipes_compile() {
    let scratch = Scratch::new();
    let project = scratch.path();
    make_project(project);
    let storages =
        r#"[{"name": "local-lvm", "node": "pve1", "storageType": "lvmthin", "availableSpace": 500000000000}]"#;
    fs::write(project.join("storages.json"), storages).expect("the project can be written");
    let verdict = |selector: &str| {
        let arguments = ["selector-test", selector, "--storages", "storages.json", "--offline", "--json"];
        let (_, document) = xtask_json(project, &arguments);
        document["data"]["results"][0]["verdict"].as_str().unwrap_or("none").to_owned()
    };

    let page = repository().join("skills/omni-proxmox/references/cel-storage-selectors.md");
    let page = fs::read_to_string(page).expect("the page exists");
    let recipes = text::blocks(&page, "cel");
    assert!(recipes.len() >= 15, "{recipes:?}");
    for recipe in recipes {
        let verdict = verdict(recipe);
        assert!(verdict == "true" || verdict == "false", "`{recipe}` yields {verdict}");
    }
    assert_eq!(verdict("storage.filter(s, s.type == \"rbd\")[0].storage"), "compile-error", "the older form");
}
