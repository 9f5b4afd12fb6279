//! The checks: one row each, with what it looks at and what fixes it.

use super::outside::{cargo, cargo_program, deny, program, rehearsal, run, script, scripts, slow_tests, tests};
use super::own::{architecture_check, link_check, ours, secrets, yaml_check};
use super::program::{ACTIONLINT, MARKDOWNLINT, SHELLCHECK, SHFMT};
use super::verdict::{Bench, Verdict};
use crate::dev::{commit_check, docs};
use domain::failure::Failure;

/// Mends what a check would find.
pub type Repair = fn(&Bench<'_>) -> Result<(), Failure>;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What `--only` and `--skip` name.
    pub name: &'static str,
    /// What it looks at.
    pub about: &'static str,
    /// What fixes what it finds: a command, or advice.
    pub fix: &'static str,
    /// It uses the whole machine, so that nothing runs beside it.
    pub alone: bool,
    /// It belongs to a group that is off unless it is asked for.
    pub group: bool,
    pub run: fn(&Bench<'_>) -> Result<Verdict, Failure>,
    /// What `--fix` does before checking.
    pub repair: Option<Repair>,
}

const ROW: Check = Check {
    name: "",
    about: "",
    fix: "",
    alone: false,
    group: false,
    run: |_| Ok(Verdict::Passed(String::new())),
    repair: None,
};

/// Every check, in the order of the summary.
pub const CHECKS: &[Check] = &[
    Check {
        name: "fmt",
        about: "Rust is formatted as rustfmt does",
        fix: "cargo fmt --all",
        run: |bench| cargo(bench, "fmt", &["fmt", "--all", "--check", "--", "--color=never"]),
        repair: Some(|bench| run(bench, "fmt", cargo_program(), &["fmt", "--all"])),
        ..ROW
    },
    Check {
        name: "clippy",
        about: "Rust has no warnings, all targets",
        fix: "cargo clippy --fix --allow-dirty --workspace --all-targets",
        alone: true,
        run: |bench| {
            let words = [
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--message-format",
                "short",
                "--",
                "-D",
                "warnings",
            ];
            cargo(bench, "clippy", &words)
        },
        repair: Some(|bench| {
            let words =
                ["clippy", "--fix", "--allow-dirty", "--allow-staged", "--workspace", "--all-targets", "--quiet"];
            run(bench, "clippy", cargo_program(), &words)
        }),
        ..ROW
    },
    Check {
        name: "test",
        about: "every test passes that no group has, without network and without Docker",
        fix: "cargo test --workspace NAME runs one; target/ci/log/test.log has the whole output",
        alone: true,
        run: tests,
        ..ROW
    },
    Check {
        name: "docs",
        about: "generated pages say what the code says",
        fix: "cargo xtask docs",
        run: |bench| docs::drift(bench.cx).map(|found| ours(found, "every page is up to date")),
        repair: Some(|bench| docs::write(bench.cx)),
        ..ROW
    },
    Check {
        name: "links",
        about: "links lead to files and headings, commands name tasks",
        fix: "fix the link, or the page that it leads to",
        run: link_check,
        ..ROW
    },
    Check {
        name: "markdown",
        about: "Markdown keeps to .markdownlint-cli2.yaml",
        fix: "cargo xtask markdown-fix",
        run: |bench| program(bench, "markdown", MARKDOWNLINT, &[] as &[&str]),
        repair: Some(|bench| run(bench, "markdown", MARKDOWNLINT.find(&bench.cx.paths)?, &["--fix"])),
        ..ROW
    },
    Check {
        name: "shell",
        about: "scripts pass shellcheck",
        fix: "fix the line as the message says; shellcheck.net/wiki/SCnnnn explains",
        run: |bench| program(bench, "shell", SHELLCHECK, &scripts(bench, &["--format", "gcc"])),
        ..ROW
    },
    Check {
        name: "shell-format",
        about: "scripts are formatted as shfmt does, with .editorconfig",
        fix: "cargo xtask ci --only shell-format --fix",
        run: |bench| program(bench, "shell-format", SHFMT, &scripts(bench, &["-d"])),
        repair: Some(|bench| run(bench, "shell-format", SHFMT.find(&bench.cx.paths)?, &scripts(bench, &["-w"]))),
        ..ROW
    },
    Check {
        name: "yaml",
        about: "YAML can be read, no key stands twice",
        fix: "fix the place that the message names",
        run: yaml_check,
        ..ROW
    },
    Check {
        name: "workflows",
        about: "GitHub workflows pass actionlint",
        fix: "fix the line as the message says",
        run: |bench| program(bench, "workflows", ACTIONLINT, &["-oneline", "-shellcheck="]),
        ..ROW
    },
    Check {
        name: "architecture",
        about: "pure parts touch nothing, the lab shares nothing, a task is its file",
        fix: "see CONTRIBUTING.md",
        run: architecture_check,
        ..ROW
    },
    Check {
        name: "licences",
        about: "dependencies have licences and sources of deny.toml",
        fix: "take another dependency, or add its licence to deny.toml with the reason",
        run: |bench| deny(bench, "licences", &["licenses", "bans", "sources"]),
        ..ROW
    },
    Check {
        name: "advisories",
        about: "no dependency has a known weakness",
        fix: "cargo update -p NAME, or an entry in deny.toml with the reason",
        run: |bench| deny(bench, "advisories", &["advisories"]),
        ..ROW
    },
    Check {
        name: "secrets",
        about: "no file holds a key, none is named as one that does",
        fix: "take it out and revoke it: whoever saw the file has it",
        run: secrets,
        ..ROW
    },
    Check {
        name: "commits",
        about: "commit messages have this project's types and scopes",
        fix: "git commit --amend, or git rebase --interactive",
        run: |bench| {
            commit_check::findings(bench.cx, None)
                .map(|(found, count)| ours(found, &domain::words::count(count, "message")))
        },
        ..ROW
    },
    Check {
        name: "rehearsal",
        about: "the whole runbook runs against the lab",
        fix: "`cargo xtask rehearse` shows the task that failed",
        alone: true,
        run: rehearsal,
        ..ROW
    },
    Check {
        name: "plugin",
        about: "the Claude Code plugin passes the official validators",
        fix: ".ci/plugin.sh",
        run: |bench| script(bench, "plugin"),
        ..ROW
    },
    Check {
        name: "slow",
        about: "the slow half of the tests passes: faults, odd input and far ends, secrets, setting Omni up",
        fix: "cargo test --workspace NAME runs one; target/ci/log/slow.log has the whole output",
        alone: true,
        group: true,
        run: slow_tests,
        ..ROW
    },
    Check {
        name: "kill",
        about: "tasks that are killed or interrupted leave files whole",
        fix: ".ci/kill.sh",
        alone: true,
        group: true,
        run: |bench| script(bench, "kill"),
        ..ROW
    },
    Check {
        name: "fuzz",
        about: "parsers and the lab take any input without a panic",
        fix: ".ci/fuzz.sh",
        alone: true,
        group: true,
        run: |bench| script(bench, "fuzz"),
        ..ROW
    },
    Check {
        name: "docker",
        about: "the stack runs under a real Docker engine",
        fix: ".ci/docker.sh",
        alone: true,
        group: true,
        run: |bench| script(bench, "docker"),
        ..ROW
    },
    Check {
        name: "clients",
        about: "foreign Proxmox clients drive the lab",
        fix: ".ci/clients.sh",
        alone: true,
        group: true,
        run: |bench| script(bench, "clients"),
        ..ROW
    },
];
