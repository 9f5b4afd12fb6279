//! The lab with its rehearsal, and what contributors check with, behind `cargo xtask <task>` like all other tasks. A program
//! of its own, because an operator waits for the first build of the runner and needs none of this on it
//! (docs/benchmarks.md). `task` has one file per task; `ci` is what they check.

mod ci;
mod task;

use std::path::PathBuf;
use std::process::ExitCode;

use xtask::cli::Task;
use xtask::cx::Cx;
use xtask::task::Outcome;

fn main() -> ExitCode {
    xtask::run(std::env::args_os(), dispatch)
}

fn dispatch(called: &Task, cx: &Cx) -> anyhow::Result<Outcome> {
    match called {
        Task::Rehearse(args) => task::rehearse::run(args, cx),
        Task::LabUp(args) => task::lab_up::run(args, cx),
        Task::LabDown => task::lab_down::run(cx),
        Task::LabFaults(args) => task::lab_faults::run(args, cx),
        Task::Ci(args) => task::ci::run(args, cx),
        Task::Docs(args) => task::docs::run(args, cx),
        Task::Changelog => task::changelog::run(cx),
        Task::ChangelogBump(args) => task::changelog_bump::run(args, cx),
        Task::CommitCheck(args) => task::commit_check::run(args, cx),
        Task::StagedCheck => task::staged_check::run(cx),
        Task::HooksInstall => task::hooks_install::run(cx),
        Task::PreCommitRun => task::pre_commit_run::run(cx),
        Task::MarkdownLint => task::markdown_lint::run(cx),
        Task::MarkdownFix => task::markdown_fix::run(cx),
        Task::InfisicalScan(args) => task::infisical_scan::run(args, cx),
        operators => xtask::dispatch(operators, cx),
    }
}

/// The runner that became us, which is what we are called: what the rehearsal and the recordings call is what an operator
/// calls, wherever cargo has put either of us. Called directly we carry out an operator's tasks ourselves.
///
/// # Errors
/// When this program's own path is unknown.
fn runner() -> std::io::Result<PathBuf> {
    let called = std::env::args_os().next().map(PathBuf::from);
    called.filter(|path| path.is_absolute() && path.is_file()).map_or_else(std::env::current_exe, Ok)
}
