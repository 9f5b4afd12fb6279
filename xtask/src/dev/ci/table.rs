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

impl Check {
    const fn new(
        name: &'static str,
        about: &'static str,
        fix: &'static str,
        run: fn(&Bench<'_>) -> Result<Verdict, Failure>,
    ) -> Check {
        Check { name, about, fix, alone: false, group: false, run, repair: None }
    }

    const fn alone(self) -> Check {
        Check { alone: true, ..self }
    }

    const fn group(self) -> Check {
        Check { alone: true, group: true, ..self }
    }

    const fn repair(self, repair: Repair) -> Check {
        Check { repair: Some(repair), ..self }
    }
}

/// Every check, in the order of the summary.
pub const CHECKS: &[Check] = &[
    Check::new("fmt", "Rust is formatted as rustfmt does", "cargo fmt --all", |bench| {
        cargo(bench, "fmt", &["fmt", "--all", "--check", "--", "--color=never"])
    })
    .repair(|bench| run(bench, "fmt", cargo_program(), &["fmt", "--all"])),
    Check::new(
        "clippy",
        "Rust has no warnings, all targets",
        "cargo clippy --fix --allow-dirty --workspace --all-targets",
        |bench| {
            let words = "clippy --workspace --all-targets --quiet --message-format short -- -D warnings";
            cargo(bench, "clippy", &words.split(' ').collect::<Vec<_>>())
        },
    )
    .alone()
    .repair(|bench| {
        let words = ["clippy", "--fix", "--allow-dirty", "--allow-staged", "--workspace", "--all-targets", "--quiet"];
        run(bench, "clippy", cargo_program(), &words)
    }),
    Check::new(
        "test",
        "every test passes that no group has, without network and without Docker",
        "cargo test --workspace NAME runs one; target/ci/log/test.log has the whole output",
        tests,
    )
    .alone(),
    Check::new("docs", "generated pages say what the code says", "cargo xtask docs", |bench| {
        docs::drift(bench.cx).map(|found| ours(found, "every page is up to date"))
    })
    .repair(|bench| docs::write(bench.cx)),
    Check::new(
        "links",
        "links lead to files and headings, commands name tasks",
        "fix the link, or the page that it leads to",
        link_check,
    ),
    Check::new("markdown", "Markdown keeps to .markdownlint-cli2.yaml", "cargo xtask markdown-fix", |bench| {
        program(bench, "markdown", MARKDOWNLINT, &[] as &[&str])
    })
    .repair(|bench| run(bench, "markdown", MARKDOWNLINT.find(&bench.cx.paths)?, &["--fix"])),
    Check::new(
        "shell",
        "scripts pass shellcheck",
        "fix the line as the message says; shellcheck.net/wiki/SCnnnn explains",
        |bench| program(bench, "shell", SHELLCHECK, &scripts(bench, &["--format", "gcc"])),
    ),
    Check::new(
        "shell-format",
        "scripts are formatted as shfmt does, with .editorconfig",
        "cargo xtask ci --only shell-format --fix",
        |bench| program(bench, "shell-format", SHFMT, &scripts(bench, &["-d"])),
    )
    .repair(|bench| run(bench, "shell-format", SHFMT.find(&bench.cx.paths)?, &scripts(bench, &["-w"]))),
    Check::new("yaml", "YAML can be read, no key stands twice", "fix the place that the message names", yaml_check),
    Check::new("workflows", "GitHub workflows pass actionlint", "fix the line as the message says", |bench| {
        program(bench, "workflows", ACTIONLINT, &["-oneline", "-shellcheck="])
    }),
    Check::new(
        "architecture",
        "pure parts touch nothing, the lab shares nothing, a task is its file",
        "see CONTRIBUTING.md",
        architecture_check,
    ),
    Check::new(
        "licences",
        "dependencies have licences and sources of deny.toml",
        "take another dependency, or add its licence to deny.toml with the reason",
        |bench| deny(bench, "licences", &["licenses", "bans", "sources"]),
    ),
    Check::new(
        "advisories",
        "no dependency has a known weakness",
        "cargo update -p NAME, or an entry in deny.toml with the reason",
        |bench| deny(bench, "advisories", &["advisories"]),
    ),
    Check::new(
        "secrets",
        "no file holds a key, none is named as one that does",
        "take it out and revoke it: whoever saw the file has it",
        secrets,
    ),
    Check::new(
        "commits",
        "commit messages have this project's types and scopes",
        "git commit --amend, or git rebase --interactive",
        |bench| {
            commit_check::findings(bench.cx, None)
                .map(|(found, count)| ours(found, &domain::words::count(count, "message")))
        },
    ),
    Check::new(
        "rehearsal",
        "the provider and cluster tasks run against the lab",
        "`cargo xtask rehearse` shows the task that failed",
        rehearsal,
    )
    .alone(),
    Check::new("plugin", "the Claude Code plugin passes the official validators", ".ci/plugin.sh", |bench| {
        script(bench, "plugin")
    }),
    Check::new(
        "slow",
        "the slow half of the tests passes: faults, odd input and odd programs, secrets, setting Omni up",
        "cargo test --workspace NAME runs one; target/ci/log/slow.log has the whole output",
        slow_tests,
    )
    .group(),
    Check::new("kill", "tasks that are killed or interrupted leave files whole", ".ci/kill.sh", |bench| {
        script(bench, "kill")
    })
    .group(),
    Check::new("fuzz", "parsers and the lab take any input without a panic", ".ci/fuzz.sh", |bench| {
        script(bench, "fuzz")
    })
    .group(),
    Check::new("docker", "the stack runs under a real Docker engine", ".ci/docker.sh", |bench| script(bench, "docker"))
        .group(),
    Check::new("clients", "foreign Proxmox clients drive the lab", ".ci/clients.sh", |bench| script(bench, "clients"))
        .group(),
    Check::new("browser", "the fleet page works in a real browser", ".ci/browser.sh", |bench| script(bench, "browser"))
        .group(),
];
