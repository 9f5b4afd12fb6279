//! Each check on a copy of the plugin with one fault in it: a check that cannot fail checks nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{Scratch, checks, commands, repository, skill, text};

/// The runner's help pages, each asked for once.
fn help(task: Option<&str>) -> Option<String> {
    static PAGES: Mutex<BTreeMap<Option<String>, Option<String>>> = Mutex::new(BTreeMap::new());
    let mut pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    pages.entry(task.map(str::to_owned)).or_insert_with(|| super::help_of_xtask(task)).clone()
}

/// Every check, on one directory.
fn faults(root: &Path) -> Vec<String> {
    [
        checks::manifests(root),
        checks::versions(root),
        commands::commands(root),
        commands::parity(root, &help),
        commands::documented_tasks(root, &help),
        skill::skills(root),
        checks::links(root),
        checks::agents(root),
        checks::hooks(root),
        checks::settings(root),
        checks::installed_elsewhere(root),
        skill::examples(root),
    ]
    .concat()
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("the copy can be written");
        for name in text::entries(from) {
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        // Keeps the run bit.
        fs::copy(from, to).expect("the copy can be written");
    }
}

/// The plugin's own files, and an empty file for each document of the repository that they link.
fn plugin() -> Scratch {
    let scratch = Scratch::new();
    let root = scratch.path();
    for name in [".claude-plugin", "commands", "skills", "agents", "hooks", "Cargo.toml", "Cargo.lock"] {
        copy(&repository().join(name), &root.join(name));
    }
    fs::create_dir(root.join(".claude")).expect("the copy can be written");
    for name in [".claude/CLAUDE.md", ".claude/settings.json"] {
        copy(&repository().join(name), &root.join(name));
    }
    for name in [
        "docker/README.md",
        "docker/TROUBLESHOOTING.md",
        "docker/config.yaml.example",
        "tsidp/README.md",
        "docs/how-to/gpg-key-setup.md",
    ] {
        write(root, name, "");
    }
    scratch
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().expect("a file in a directory")).expect("the copy can be written");
    fs::write(path, text).expect("the copy can be written");
}

/// Replaces the first of `old`; a fault that could not be planted would prove nothing.
fn replace(root: &Path, file: &str, old: &str, new: &str) {
    let text = fs::read_to_string(root.join(file)).expect("the copy can be read");
    assert!(text.contains(old), "{file} does not hold {old:?}");
    write(root, file, &text.replacen(old, new, 1));
}

#[test]
fn a_plugin_without_a_fault_has_none() {
    super::assert_none(&faults(plugin().path()));
}

/// Faults that are no replaced text.
type Edit = fn(&Path);
const EDITED: &[(Edit, &str)] = &[
    (|root| write(root, "CLAUDE.md", "# x\n"), "CLAUDE.md: belongs in .claude/"),
    (|root| write(root, ".claude-plugin/commands/x.md", "# x\n"), ".claude-plugin/commands: only the manifests"),
    (|root| write(root, "commands/provider/setup.md", "# x\n"), "commands/provider: is none of the commands"),
    (|root| write(root, "commands/README.md", "# x\n"), "commands/README.md: is none of the commands"),
    (|root| remove(root, "commands/doctor.md"), "commands/doctor.md: "),
    (|root| write(root, "commands/doctor.md", "# doctor\n"), "commands/doctor.md: has no front matter"),
    (|root| append(root, "commands/doctor.md", &"\n".repeat(40)), "a thin wrapper has under 40"),
    (|root| append(root, "skills/omni-proxmox/SKILL.md", &"word ".repeat(400)), "wanted are 1,500 to 2,000"),
    (|root| append(root, "skills/omni-proxmox/SKILL.md", &"\n".repeat(500)), "has 500 lines or more"),
    (|root| rename(root, "skills/omni-proxmox/SKILL.md", "skills/omni-proxmox/skill.md"), "SKILL.md: is missing"),
    (
        |root| rename(root, "skills/omni-proxmox", "skills/omni"),
        "the name `omni-proxmox` must be that of its directory",
    ),
    (|root| write(root, "skills/omni-proxmox/references/new.md", "# x\n"), "does not link references/new.md"),
    (|root| remove(root, "skills/omni-proxmox/examples/machineclass-ceph.yaml"), "machineclass-ceph.yaml: is missing"),
    (
        |root| remove(root, "docs/how-to/gpg-key-setup.md"),
        "the link `../../docs/how-to/gpg-key-setup.md` leads nowhere",
    ),
    (|root| remove(root, "agents/cluster-guide.md"), "agents/cluster-guide.md: is missing"),
    (|root| remove(root, ".claude/CLAUDE.md"), ".claude/CLAUDE.md: is missing"),
    (|root| remove(root, "Cargo.lock"), "`--locked` fails without it"),
    (
        |root| write(root, "xtask/src/paths.rs", "const ROOT: &str = env!(\"CARGO_MANIFEST_DIR\");\n"),
        "xtask/src/paths.rs: takes a directory from where the program was built",
    ),
    (
        |root| {
            let script = root.join("hooks/session-start.sh");
            fs::set_permissions(script, fs::Permissions::from_mode(0o644)).expect("the copy can be written");
        },
        "the run bit is not set",
    ),
];

fn append(root: &Path, file: &str, more: &str) {
    let text = fs::read_to_string(root.join(file)).expect("the copy can be read");
    write(root, file, &format!("{text}{more}"));
}

fn remove(root: &Path, file: &str) {
    fs::remove_file(root.join(file)).expect("the copy can be written");
}

fn rename(root: &Path, from: &str, to: &str) {
    fs::rename(root.join(from), root.join(to)).expect("the copy can be written");
}

fn assert_found(root: &Path, fault: &str, what: &str) {
    let found = faults(root);
    assert!(found.iter().any(|text| text.contains(fault)), "{what}: nothing says {fault:?}, but\n{}", found.join("\n"));
}

#[test]
fn every_replaced_text_is_found() {
    let rows: Vec<[String; 4]> = serde_yaml::from_str(include_str!("../../fixtures/plugin/faults.yaml")).expect("rows");
    for [file, old, new, fault] in &rows {
        let plugin = plugin();
        replace(plugin.path(), file, old, new);
        assert_found(plugin.path(), fault, &format!("{file}: {old:?} became {new:?}"));
    }
}

#[test]
fn every_misplaced_file_is_found() {
    for (edit, fault) in EDITED {
        let plugin = plugin();
        edit(plugin.path());
        assert_found(plugin.path(), fault, "an edit");
    }
}

/// The task of a command is gone, or the task has learned a flag that the command does not offer.
#[test]
fn a_command_line_that_moved_on_is_found() {
    let plugin = plugin();
    let gone = |task: Option<&str>| if task == Some("doctor") { None } else { help(task) };
    let found = commands::parity(plugin.path(), &gone);
    assert_eq!(found, ["commands/doctor.md: xtask has no task `doctor`"]);

    let grown = |task: Option<&str>| {
        let page = help(task)?;
        Some(if task == Some("doctor") { format!("      --deep  Look deeper, see also --fake\n{page}") } else { page })
    };
    let found = commands::parity(plugin.path(), &grown);
    assert_eq!(found, ["commands/doctor.md: its `argument-hint` lacks `--deep`"]);

    let unnamed = |task: Option<&str>| help(task).map(|page| page.replace("[NAME]", ""));
    let found = commands::parity(plugin.path(), &unnamed);
    assert_eq!(found.len(), 7, "{found:?}");
    assert!(found.iter().all(|fault| fault.ends_with("takes no NAME")), "{found:?}");
}
