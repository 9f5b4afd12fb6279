//! Each check on a copy of the plugin with one fault in it: a check that cannot fail checks nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Scratch, checks, commands, repository, skill, text};

/// Flags of every task.
const GLOBAL: &str =
    "--json --dry-run --yes --non-interactive --project-dir --timeout --color --quiet --verbose --help";

/// The tasks that the plugin was written for, with their own flags.
const TASKS: &[(&str, &str)] = &[
    ("provider-setup", "--provider-id --omni-endpoint --proxmox-url --ca-file --insecure-skip-tls-verify"),
    ("provider-status", "--tail --follow"),
    ("provider-verify", ""),
    ("machineclass-create", "[NAME] --cores --memory --disk --selector --node --provider-id --force --apply --allow"),
    ("machineclass-apply", "[NAME] --all --allow"),
    ("machineclass-check", "[NAME] --all --offline --convert --allow"),
    ("cluster-create", "[NAME] --control-planes --workers --control-plane-class --worker-class --talos-version"),
    ("cluster-create", "--kubernetes-version --no-wait --force --allow-destroy --allow"),
    ("cluster-sync", "[NAME]... --all --no-wait --allow-destroy --allow"),
    ("cluster-status", "[NAME]"),
    ("cluster-plan", "[NAME]... --all --inventory --provider-version"),
    ("cluster-check", "[NAME] --all --offline --convert --allow --talos-schema"),
    ("doctor", "--area"),
    ("selector-test", "[EXPR] --class --node --storages --offline"),
    ("rehearse", ""),
    ("omni-setup", ""),
    ("omni-verify", ""),
    ("omni-status", ""),
    ("stack-up", "--recreate"),
    ("stack-down", ""),
    ("stack-logs", ""),
    ("upgrade-plan", ""),
    ("tsidp-verify", ""),
    ("omnictl-install", ""),
    ("proxmox-audit", "--all --provider-version"),
    ("proxmox-inventory", ""),
    ("triage", ""),
    ("lab-up", ""),
    ("lab-down", ""),
    ("lab-faults", ""),
    ("ci", "--fix"),
    ("docs", ""),
    ("completions", ""),
];

/// A command line to check the plugin against: help pages with an option a line, as clap prints them.
fn help(task: Option<&str>) -> Option<String> {
    let own: Vec<&str> = TASKS.iter().filter(|(name, _)| Some(*name) == task).map(|(_, flags)| *flags).collect();
    if task.is_some() && own.is_empty() {
        return None;
    }
    let words = own.iter().copied().chain([GLOBAL]).flat_map(str::split_whitespace);
    Some(words.map(|word| format!("{word}\n")).collect())
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

/// File, what stands there, what is put there, and what the checks must then say.
const REPLACED: &[(&str, &str, &str, &str)] = &[
    (".claude-plugin/plugin.json", "{ \"name\": \"basher83\" }", "\"basher83\"", "`author` is not the object"),
    (".claude-plugin/plugin.json", "\"license\"", "\"licence\"", "the key `licence` is not ours"),
    (
        ".claude-plugin/plugin.json",
        "\"keywords\"",
        "\"commands\": \"./commands\", \"keywords\"",
        "the key `commands` is not ours",
    ),
    (".claude-plugin/plugin.json", "\"omni-scale\"", "\"omni scale\"", "`name` is not `omni-scale`"),
    (".claude-plugin/plugin.json", "management for", "for", "`description` is not the settled one"),
    (".claude-plugin/plugin.json", "\"0.1.0\"", "\"v0.1\"", "the version `v0.1` is not of the form"),
    (
        ".claude-plugin/plugin.json",
        "\"0.1.0\"",
        "\"0.1.1\"",
        "Cargo.toml: the workspace's version is not plugin.json's 0.1.1",
    ),
    (".claude-plugin/plugin.json", "\"0.1.0\"", "\"0.1.1\"", "Cargo.lock: the version of lab is not"),
    (".claude-plugin/plugin.json", "{", "{,", "plugin.json: "),
    (
        ".claude-plugin/marketplace.json",
        "\"source\": \"./\"",
        "\"source\": \"./\", \"version\": \"9.9.9\"",
        "marketplace.json: the version",
    ),
    (".claude-plugin/marketplace.json", "\"source\": \"./\"", "\"source\": \"..\"", "its first plugin is not"),
    ("commands/doctor.md", "description: Check", "description: Check: all", "front matter: "),
    ("commands/doctor.md", "description: Check", "descripton: Check", "the front-matter key `descripton`"),
    (
        "commands/doctor.md",
        "description: Check programs, configuration and connections",
        "description: Check every program, every configuration file and every connection",
        "longer than 60 characters",
    ),
    ("commands/doctor.md", "\"[--area AREA]\"", "[--area AREA]", "its `argument-hint` is no string"),
    ("commands/doctor.md", "[--area AREA]", "[--area AREA] [--token SECRET]", "invites a secret: `token`"),
    ("commands/doctor.md", "[--area AREA]", "[--area AREA] [--deep]", "the task `doctor` has no flag `--deep`"),
    ("commands/doctor.md", "[--area AREA]", "", "its `argument-hint` lacks `--area`"),
    (
        "commands/doctor.md",
        "Bash(cargo xtask doctor --json:*)",
        "Bash(cargo:*)",
        "`Bash(cargo:*)` is not among the narrowest",
    ),
    (
        "commands/doctor.md",
        "Bash(cargo xtask doctor --json:*)",
        "Bash(cargo xtask doctor:*)",
        "lacks `Bash(cargo xtask doctor --json:*)`",
    ),
    ("commands/doctor.md", "  - Read(", "  - AskUserQuestion\n  - Read(", "`AskUserQuestion` is not among"),
    (
        "commands/doctor.md",
        "`cargo xtask doctor --json`",
        "`cargo xtask doctor`",
        "does not show the call `cargo xtask doctor --json`",
    ),
    ("commands/doctor.md", "--project-dir \"${CLAUDE_PROJECT_DIR}\"", "", "with the user's project directory"),
    ("commands/doctor.md", "# doctor", "doctor", "does not begin with the heading"),
    ("commands/doctor.md", "$ARGUMENTS", "$1", "uses a numbered argument"),
    ("commands/doctor.md", "$ARGUMENTS", "none", "does not say `$ARGUMENTS`"),
    ("commands/doctor.md", "3. Read", "!`cargo xtask doctor`\n\n3. Read", "runs a shell line by itself"),
    ("commands/doctor.md", "`summary`", "all", "does not say ``summary``"),
    ("commands/doctor.md", "never ask for a secret", "ask for a secret", "nothing forbids to ask for a secret"),
    (
        "commands/cluster-sync.md",
        "disable-model-invocation: true\n",
        "",
        "`disable-model-invocation` must be true exactly",
    ),
    (
        "commands/cluster-sync.md",
        "cluster-sync --json --dry-run:*",
        "cluster-sync --json:*",
        "is not among the narrowest",
    ),
    ("commands/cluster-sync.md", "`data.plan`", "the plan", "plan and `--yes` must stand"),
    (
        "commands/cluster-sync.md",
        "`--yes --timeout 9m`",
        "`--yes --wait 9m`",
        "the task `cluster-sync` has no flag `--wait`",
    ),
    ("skills/omni-proxmox/SKILL.md", "name: omni-proxmox", "name: Omni Proxmox", "the name `Omni Proxmox` must be"),
    ("skills/omni-proxmox/SKILL.md", "license: MIT", "version: 1", "the front-matter key `version` is not portable"),
    ("skills/omni-proxmox/SKILL.md", "\"create a machine class\"", "classes", "lacks \"create a machine class\""),
    ("skills/omni-proxmox/SKILL.md", "or mentions omnictl", "or mentions <omnictl>", "none of them an angle bracket"),
    (
        "skills/omni-proxmox/SKILL.md",
        "](references/troubleshooting.md)",
        "](references/trouble.md)",
        "does not link references/troubleshooting.md",
    ),
    (
        "skills/omni-proxmox/SKILL.md",
        "](references/troubleshooting.md)",
        "](references/trouble.md)",
        "the link `references/trouble.md` leads nowhere",
    ),
    (
        "skills/omni-proxmox/SKILL.md",
        "](../../docker/README.md)",
        "](../../docker/README.md#nope)",
        "has no heading `#nope`",
    ),
    ("skills/omni-proxmox/SKILL.md", "](https://docs", "](http://docs", "leads nowhere"),
    (
        "skills/omni-proxmox/SKILL.md",
        "cargo xtask provider-verify",
        "cargo xtask provider-prove",
        "xtask has no task `provider-prove`",
    ),
    (
        "skills/omni-proxmox/SKILL.md",
        "FILE --convert",
        "FILE --rewrite",
        "the task `machineclass-check` has no flag `--rewrite`",
    ),
    (
        "skills/omni-proxmox/examples/machineclass-ceph.yaml",
        "providerid:",
        "provider_id:",
        "Omni drops the key `provider_id`",
    ),
    (
        "skills/omni-proxmox/examples/machineclass-ceph.yaml",
        "providerdata: |",
        "providerdata:",
        "`providerdata` is no string",
    ),
    (
        "skills/omni-proxmox/examples/machineclass-ceph.yaml",
        "sockets: 1",
        "numa: true",
        "`sockets` is missing or below 1",
    ),
    (
        "skills/omni-proxmox/examples/machineclass-ceph.yaml",
        "namespace: default",
        "name: x",
        "is no machine class of the namespace",
    ),
    (
        "skills/omni-proxmox/examples/machineclass-ceph.yaml",
        "metadata:",
        "kind: MachineClass\nmetadata:",
        "has other keys than",
    ),
    (
        "skills/omni-proxmox/examples/machineclass-local.yaml",
        "name == \"local-lvm\"",
        "storage.filter(s, true)[0].storage",
        "of the older form",
    ),
    (
        "skills/omni-proxmox/examples/cluster-template.yaml",
        "name: ceph-worker",
        "name: other",
        "from one of the classes beside it",
    ),
    (
        "skills/omni-proxmox/examples/cluster-template.yaml",
        "size: 3",
        "size: unlimited",
        "does not take a number of machines",
    ),
    (
        "skills/omni-proxmox/examples/cluster-template.yaml",
        "kind: ControlPlane",
        "kind: Workers",
        "holds [\"Cluster\", \"Workers\"",
    ),
    (
        "skills/omni-proxmox/examples/cluster-template.yaml",
        "then cargo xtask cluster-plan",
        "then cargo xtask cluster-show",
        "xtask has no task `cluster-show`",
    ),
    ("agents/cluster-guide.md", "name: cluster-guide", "title: cluster-guide", "its name is not that of its file"),
    ("agents/cluster-guide.md", "model: inherit", "permissionMode: plan", "the front-matter key `permissionMode`"),
    (
        "agents/cluster-guide.md",
        "tools: Bash, Read",
        "tools: Bash, Write, Read",
        "the tool `Write` is none that only looks",
    ),
    ("agents/cluster-guide.md", "tools: Bash, Read, Grep, Glob\n", "", "the tool `all of them` is none"),
    ("agents/cluster-guide.md", "color: cyan", "color: cyann", "its color is unknown"),
    ("agents/cluster-guide.md", "[omni-proxmox]", "[omni]", "the skill `omni` does not exist"),
    ("agents/cluster-guide.md", "Use this agent when", "When", "must begin with `Use this agent when`"),
    ("agents/cluster-guide.md", "never with `--yes`", "with `--yes`", "does not say `never with `--yes``"),
    (".claude/CLAUDE.md", "| `triage` |", "| `diagnose` |", "xtask has no task `diagnose`"),
    (".claude/settings.json", "\"Read(**/.env)\",", "", "does not deny `Read(**/.env)`"),
    (".claude/settings.json", "\"deny\"", "\"allow\": [\"Bash\"], \"deny\"", "grants something to everyone"),
    ("hooks/hooks.json", "\"hooks\": {", "\"events\": {", "the events do not stand under `hooks`"),
    ("hooks/hooks.json", "\"SessionStart\"", "\"SesionStart\"", "`SesionStart` is no event"),
    ("hooks/hooks.json", "\"timeout\": 5", "\"timeout\": 600", "`timeout` is not within 10 seconds"),
    ("hooks/hooks.json", "session-start.sh", "start.sh", "hooks/start.sh: is missing"),
    ("hooks/hooks.json", "${CLAUDE_PLUGIN_ROOT}/", "./", "is not the plugin's own"),
    ("hooks/hooks.json", "\"command\": \"sh\"", "\"command\": \"bash\"", "is not a command that `sh` runs"),
    ("hooks/session-start.sh", "#!/bin/sh", "#!/bin/bash", "is not a script for `#!/bin/sh`"),
    ("hooks/session-start.sh", "exit 0\n", "cargo xtask provider-status\nexit 0\n", "uses `cargo`"),
];

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
    for (file, old, new, fault) in REPLACED {
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
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(found.iter().all(|fault| fault.ends_with("takes no NAME")), "{found:?}");
}
