//! The deployment runbook of Omni-Scale: `cargo xtask <task>` takes an operator from bare Proxmox to running Talos
//! Kubernetes clusters behind a self-hosted Omni.
//!
//! `task/` reads like the runbook; `spec`, `status`, `check` and `plan` are pure; `apply` and `proc` have the effects.

pub mod apply;
pub mod check;
pub mod ci;
pub mod cli;
pub mod clock;
pub mod cx;
pub mod failure;
pub mod files;
pub mod paths;
pub mod plan;
pub mod proc;
pub mod secret;
pub mod settings;
pub mod spec;
pub mod state;
pub mod status;
pub mod summary;
pub mod task;
#[cfg(test)]
mod testing;
pub mod tool;
pub mod triage;
pub mod ui;
mod usage;
pub mod wait;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::builder::Styles;
use clap::{CommandFactory, FromArgMatches};
use cli::{Cli, Global, Task};
use cx::Cx;
use failure::{Code, Failure};
use paths::Paths;
use proc::Proc;
use serde_json::Value;
use settings::Settings;
use task::Outcome;
use ui::{Prompter, Style, Ui};

/// Parses the command line, runs the task, reports, and returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let json = args.iter().any(|arg| arg == "--json");
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &args, json),
    };
    proc::watch_signals();
    let Global { json, quiet, color, .. } = cli.global;
    let name = cli.task.name();
    let ui = Ui::new(Style { json, quiet, color });
    let project = match project(&cli.global) {
        Ok(project) => project,
        Err(failure) => return fail(name, &ui, &failure),
    };
    let cx = context(&cli, ui, project);
    match ended(dispatch(&cli.task, &cx)) {
        Ok(outcome) if cx.dry_run => succeed(name, &cx.ui, &dry(outcome, &args)),
        Ok(outcome) => succeed(name, &cx.ui, &outcome),
        Err(error) => fail(name, &cx.ui, &triage::enrich(Failure::of(&error))),
    }
}

/// What a task came to. One in which something was given up at Ctrl-C was interrupted, whatever it made of the rest.
fn ended(result: anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    match (proc::cut(), result) {
        // The same, with what was done before it.
        (Some(cut), Err(error)) if Failure::of(&error).message == cut.message => Err(error),
        (Some(cut), _) => Err(cut.into()),
        (None, result) => result,
    }
}

/// Whether somebody sees the colours of help and usage.
fn seen() -> bool {
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}

/// clap takes colours that nobody sees out again byte by byte, which is a sixth of what the runner needs for its help:
/// so it gets none to begin with.
fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    if !seen() {
        command = command.styles(Styles::plain());
    }
    Cli::from_arg_matches(&command.try_get_matches_from(args)?)
}

/// A command line that makes no sense, or a request for help.
fn usage(error: &clap::Error, args: &[OsString], json: bool) -> ExitCode {
    if !error.use_stderr() || !json {
        let text = || error.render().ansi().to_string();
        // A closed pipe (`--help | head`) is the reader's choice.
        let _ = match error.use_stderr() {
            _ if seen() => error.print(),
            true => std::io::stderr().write_all(text().as_bytes()),
            false => std::io::stdout().write_all(text().as_bytes()),
        };
        return ExitCode::from(error.exit_code() as u8);
    }
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (task, failure) = usage::failure(error, &words);
    fail(&task, &Ui::new(Style { json, ..Style::default() }), &failure)
}

/// Where the project is, and what is configured in it.
fn project(global: &Global) -> Result<(Paths, Settings), Failure> {
    let cwd = std::env::current_dir()
        .map_err(|error| Failure::new(Code::Failed, "no working directory").cause(error.to_string()))?;
    let paths = Paths::find(global.project_dir.as_deref(), &cwd)?;
    let settings = Settings::load(&paths)?;
    Ok((paths, settings))
}

fn context(cli: &Cli, ui: Ui, (paths, mut settings): (Paths, Settings)) -> Cx {
    settings.given = cli.task.given();
    let Global { dry_run, verbose, non_interactive, json, yes, timeout, .. } = cli.global;
    // A dry run leaves no trace, not even in the journal.
    let journal = (!dry_run && paths.target().is_dir()).then(|| paths.journal());
    Cx {
        task: cli.task.name(),
        proc: Proc::new(journal, cli.task.name(), verbose),
        ask: Prompter::new(!non_interactive && !json, yes),
        dry_run,
        timeout,
        paths,
        settings,
        ui,
    }
}

fn dispatch(task: &Task, cx: &Cx) -> anyhow::Result<Outcome> {
    match task {
        Task::Rehearse(args) => task::rehearse::run(args, cx),
        Task::ProviderSetup(args) => task::provider_setup::run(args, cx),
        Task::ProviderVerify => task::provider_verify::run(cx),
        Task::ProviderStatus(args) => task::provider_status::run(args, cx),
        Task::MachineclassCreate(args) => task::machineclass_create::run(args, cx),
        Task::MachineclassCheck(args) => task::machineclass_check::run(args, cx),
        Task::MachineclassApply(args) => task::machineclass_apply::run(args, cx),
        Task::SelectorTest(args) => task::selector_test::run(args, cx),
        Task::ClusterCreate(args) => task::cluster_create::run(args, cx),
        Task::ClusterCheck(args) => task::cluster_check::run(args, cx),
        Task::ClusterSync(args) => task::cluster_sync::run(args, cx),
        Task::ClusterStatus(args) => task::cluster_status::run(args, cx),
        Task::ProxmoxAudit(args) => task::proxmox_audit::run(args, cx),
        Task::ProxmoxInventory(args) => task::proxmox_inventory::run(args, cx),
        Task::ClusterPlan(args) => task::cluster_plan::run(args, cx),
        Task::OmnictlInstall(args) => task::omnictl_install::run(args, cx),
        Task::LabUp(args) => task::lab_up::run(args, cx),
        Task::LabDown => task::lab_down::run(cx),
        Task::LabFaults(args) => task::lab_faults::run(args, cx),
        Task::OmniSetup(args) => task::omni_setup::run(args, cx),
        Task::OmniVerify => task::omni_verify::run(cx),
        Task::OmniStatus(args) => task::omni_status::run(args, cx),
        Task::TsidpVerify(args) => task::tsidp_verify::run(args, cx),
        Task::Doctor(args) => task::doctor::run(args, cx),
        Task::StackUp(args) => task::stack_up::run(args, cx),
        Task::StackDown => task::stack_down::run(cx),
        Task::StackLogs(args) => task::stack_logs::run(args, cx),
        Task::Triage(args) => task::triage::run(args, cx),
        Task::Ci(args) => task::ci::run(args, cx),
        Task::Docs(args) => task::docs::run(args, cx),
        Task::Completions(args) => task::completions::run(args, cx),
        Task::Complete(args) => task::complete::run(args, cx),
        Task::Changelog => task::changelog::run(cx),
        Task::ChangelogBump(args) => task::changelog_bump::run(args, cx),
        Task::CommitCheck(args) => task::commit_check::run(args, cx),
        Task::StagedCheck => task::staged_check::run(cx),
        Task::HooksInstall => task::hooks_install::run(cx),
        Task::PreCommitRun => task::pre_commit_run::run(cx),
        Task::MarkdownLint => task::markdown_lint::run(cx),
        Task::MarkdownFix => task::markdown_fix::run(cx),
        Task::InfisicalScan(args) => task::infisical_scan::run(args, cx),
    }
}

/// What every dry run promises, whichever task it is of: a plan, if only an empty one, and the call that carries it out.
fn dry(mut outcome: Outcome, args: &[OsString]) -> Outcome {
    if let Value::Object(data) = &mut outcome.data {
        data.entry("plan").or_insert_with(|| Value::Array(Vec::new()));
    }
    if outcome.pending && outcome.next.is_empty() {
        let words = args.iter().skip(1).map(|word| word.to_string_lossy());
        let words = words.filter(|word| !["--dry-run", "--json", "--non-interactive"].contains(&word.as_ref()));
        let call = words.map(|word| proc::quote(&word)).collect::<Vec<_>>().join(" ");
        outcome.next.push(format!("cargo xtask {call}"));
    }
    outcome
}

fn succeed(name: &str, ui: &Ui, outcome: &Outcome) -> ExitCode {
    if ui.json() {
        let document = ui::document(name, true, &outcome.summary, &ui.steps(), &outcome.data, &outcome.next, None);
        ui.print_document(&document);
    } else {
        ui.close(&outcome.summary, &outcome.next);
    }
    ExitCode::from(if outcome.pending { 3 } else { 0 })
}

fn fail(name: &str, ui: &Ui, failure: &Failure) -> ExitCode {
    if ui.json() {
        let steps = ui.steps();
        let document = ui::document(name, false, &failure.message, &steps, &failure.data, &failure.next, Some(failure));
        ui.print_document(&document);
    } else {
        ui.fail(failure);
    }
    ExitCode::from(failure.code.exit())
}
