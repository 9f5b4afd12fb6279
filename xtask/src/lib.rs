//! The deployment runbook of Omni-Scale: `cargo xtask <task>` takes an operator from bare Proxmox to running Talos
//! Kubernetes clusters behind a self-hosted Omni.
//!
//! `cli` is the whole command line, `task` has one file per task, `flow` the steps that tasks share, `dev` the contributors'
//! tasks. Below this crate: `runtime` (processes, files, terminal), `check`, `domain` and `selector` (pure).

pub mod cli;
mod complete;
pub mod dev;
pub mod flow;
pub mod outcome;
mod prelude;
#[cfg(test)]
#[path = "../tests/recorded.rs"]
mod recorded;
pub mod task;
mod usage;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use domain::failure::{Code, Failure};
use runtime::bundle::OpenedBundle;
use runtime::cx::Cx;
use runtime::paths::Paths;
use runtime::proc::{self, Journal, Proc};
use runtime::settings::Settings;
use runtime::ui::{self, Prompter, Style, Ui};
use runtime::{answers, called, triage};
use serde_json::Value;

use cli::{Cli, Global, Task};
use flow::provider;
use outcome::Outcome;

/// Parses the command line, runs the task, reports its outcome, and returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    called::set_program_name(args.first().map_or(OsStr::new("xtask"), OsString::as_os_str));
    // An address that contains a login must not be repeated, not even in an error about the command line.
    args.iter().for_each(|arg| domain::secret::hide_logins(&arg.to_string_lossy()));
    let json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::read(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &args, json),
    };
    proc::watch_signals();
    let Global { json, quiet, color, .. } = cli.global;
    let name = cli.task.name();
    let ui =
        Ui::new(Style { json, quiet, color }).in_project(cli.global.project_dir.as_deref()).short(cli.task.is_short());
    let project = match catch_panic(|| Ok(project(&cli)?)) {
        Ok(project) => project,
        Err(error) => return fail(name, &ui, &Failure::of(&error)),
    };
    let cx = context(&cli, ui, project);
    let one = cli.shared.provider.as_deref();
    let one = one.map(|id| catch_panic(|| Ok(provider::choose(&cx, id, cx.task == "provider-setup")?)));
    let cx = match one.transpose() {
        Ok(one) => one.unwrap_or(cx),
        Err(error) => return fail(name, &cx.ui, &Failure::of(&error)),
    };
    match or_interrupted(catch_panic(|| dispatch(&cli.task, &cx).or_else(flow::change::ended_early))) {
        Ok(outcome) if cx.dry_run => succeed(name, &cx.ui, as_dry_run(outcome, &args)),
        Ok(outcome) => {
            answers::forget(&cx);
            succeed(name, &cx.ui, outcome)
        }
        Err(error) => {
            fail(name, &cx.ui, &with_hint(provider::failure_with_flag(&cx, triage::enrich(&cx, Failure::of(&error)))))
        }
    }
}

/// Runs a task. A panic in our code or in a library becomes a normal failure, with a single document and a documented exit code.
fn catch_panic<T>(task: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let hint = "this is a bug: report it with the output above; it is safe to run the task again";
        Err(Failure::new(Code::Failed, "the task ended unexpectedly").cause(text).hint(hint).into())
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(task)).unwrap_or_else(panicked)
}

/// Returns the result of a task. If any part of it was aborted by Ctrl-C, the task was interrupted, whatever its own result.
fn or_interrupted(result: anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    match (proc::first_interruption(), result) {
        // The same interruption, and it includes what was done before.
        (Some(cut), Err(error)) if Failure::of(&error).kind == cut.kind => Err(error),
        (Some(cut), _) => Err(cut.into()),
        (None, result) => result,
    }
}

/// Adds general advice to a failure without a hint.
fn with_hint(failure: Failure) -> Failure {
    let lost = failure.hint.is_empty() && failure.next.is_empty();
    match failure.code {
        Code::Failed | Code::Unreachable | Code::Refused | Code::Timeout if lost => {
            failure.hint("run the task again with -v to see every call; `cargo xtask doctor` checks the prerequisites")
        }
        _ => failure,
    }
}

/// Reports an invalid command line, or prints the requested help.
fn usage(error: &clap::Error, args: &[OsString], json: bool) -> ExitCode {
    if !json {
        return ExitCode::from(print_usage(error));
    }
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let ui = Ui::new(Style { json, ..Style::default() });
    if !error.use_stderr() {
        // Help or the version was requested, so it is the result.
        let text = ui::plain(&error.render().to_string()).trim_end().to_owned();
        let summary = text.lines().next().unwrap_or_default().to_owned();
        let outcome = Outcome::done(summary).with(serde_json::json!({ "text": text }));
        return succeed(&usage::task_name(&words), &ui, outcome);
    }
    let (task, failure) = usage::failure(error, &words);
    fail(&task, &ui, &failure)
}

/// Prints clap's message, and returns the exit code. The message repeats the command line, which may contain escape sequences.
fn print_usage(error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    let printed = match ui::plain(&text) {
        plain if plain != text => std::io::stderr().write_all(plain.as_bytes()),
        _ => error.print(),
    };
    match printed {
        // A closed pipe (`--help | head`) is intended by the reader; help that was not printed is a failure.
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe && !error.use_stderr() => Code::Failed.exit(),
        _ => error.exit_code() as u8,
    }
}

/// Finds the project and loads its settings. A task that only reads the files it is given does not need a project.
fn project(cli: &Cli) -> Result<(Paths, Settings), Failure> {
    let cwd = std::env::current_dir()
        .map_err(|error| Failure::new(Code::Failed, "no working directory").cause(error.to_string()))?;
    if let Some(bundle) = cli.shared.bundle.as_deref() {
        let recorded = OpenedBundle::open(bundle, &Paths::outside_project(&cwd).scratch_root())?;
        let paths = Paths::for_bundle(recorded.project());
        return Ok((paths.clone(), Settings::for_bundle(&paths, recorded)));
    }
    let given = cli.global.project_dir.as_deref();
    let paths = match Paths::find(given, &cwd) {
        Err(_) if given.is_none() && cli.task.reads_given_files() => {
            return Ok((Paths::outside_project(&cwd), Settings::from_environment()?));
        }
        found => found?,
    };
    let settings = Settings::load(&paths)?;
    Ok((paths, settings))
}

fn context(cli: &Cli, ui: Ui, (paths, mut settings): (Paths, Settings)) -> Cx {
    settings.flag_overrides = cli.shared.overrides.clone();
    let Global { dry_run, verbose, non_interactive, json, yes, timeout, insecure_http, .. } = cli.global;
    // A dry run leaves no trace, not even in the journal, and the contents of a bundle are not this user's.
    let journal = (!dry_run && paths.is_project() && settings.recorded.is_none())
        .then(|| Journal { file: paths.journal(), project: paths.root().to_owned() });
    let verbose = verbose.then(|| ui.message_writer());
    Cx {
        task: cli.task.name(),
        proc: Proc::new(journal, cli.task.name(), verbose),
        ask: Prompter::new(!non_interactive && !json, yes),
        // Only writing a plan changes nothing either.
        dry_run: dry_run || cli.shared.plan_out.is_some(),
        allow_destroy: cli.shared.allow_destroy.clone(),
        timeout,
        insecure_http,
        paths,
        settings,
        ui: Arc::new(ui),
    }
}

fn dispatch(task: &Task, cx: &Cx) -> anyhow::Result<Outcome> {
    match task {
        Task::ProviderSetup(args) => task::provider_setup::run(args, cx),
        Task::ProviderVerify { .. } => task::provider_verify::run(cx),
        Task::ProviderStatus(args) => task::provider_status::run(args, cx),
        Task::MachineclassCreate(args) => task::machineclass_create::run(args, cx),
        Task::MachineclassCheck(args) => task::machineclass_check::run(args, cx),
        Task::MachineclassExport(args) => task::machineclass_export::run(args, cx),
        Task::MachineclassApply(args) => task::machineclass_apply::run(args, cx),
        Task::SelectorTest(args) => task::selector_test::run(args, cx),
        Task::ClusterCreate(args) => task::cluster_create::run(args, cx),
        Task::ClusterCheck(args) => task::cluster_check::run(args, cx),
        Task::ClusterSync(args) => task::cluster_sync::run(args, cx),
        Task::ClusterStatus(args) => task::cluster_status::run(args, cx),
        Task::Apply(args) => task::apply::run(args, cx),
        Task::Keys(args) => task::keys::run(args, cx),
        Task::PlanShow(args) => task::plan_show::run(args, cx),
        Task::ClusterExport(args) => task::cluster_export::run(args, cx),
        Task::ClusterExplain(args) => task::cluster_explain::run(args, cx),
        Task::ClusterScale(args) => task::cluster_scale::run(args, cx),
        Task::ClusterUpgrade(args) => task::cluster_upgrade::run(args, cx),
        Task::ClusterKubeconfig(args) => task::cluster_kubeconfig::run(args, cx),
        Task::ClusterTalosconfig(args) => task::cluster_talosconfig::run(args, cx),
        Task::ClusterDelete(args) => task::cluster_delete::run(args, cx),
        Task::MachineReplace(args) => task::machine_replace::run(args, cx),
        Task::MachineLogs(args) => task::machine_logs::run(args, cx),
        Task::ProxmoxAudit(args) => task::proxmox_audit::run(args, cx),
        Task::Drift(args) => task::drift::run(args, cx),
        Task::FleetPage(args) => task::fleet_page::run(args, cx),
        Task::ProxmoxInventory(args) => task::proxmox_inventory::run(args, cx),
        Task::ClusterPlan(args) => task::cluster_plan::run(args, cx),
        Task::OmnictlInstall(args) => task::omnictl_install::run(args, cx),
        Task::OmniSetup(args) => task::omni_setup::run(args, cx),
        Task::OmniVerify => task::omni_verify::run(cx),
        Task::OmniBackup(args) => task::omni_backup::run(args, cx),
        Task::OmniKeyRotate(args) => task::omni_key_rotate::run(args, cx),
        Task::OmniBackupVerify(args) => task::omni_backup_verify::run(args, cx),
        Task::OmniRestore(args) => task::omni_restore::run(args, cx),
        Task::OmniAdopt(args) => task::omni_adopt::run(args, cx),
        Task::OmniUpgrade(args) => task::omni_upgrade::run(args, cx),
        Task::OmniStatus(args) => task::omni_status::run(args, cx),
        Task::TsidpVerify { policy } => task::tsidp_verify::run(policy.as_deref(), cx),
        Task::Doctor(args) => task::doctor::run(args, cx),
        Task::Init { dir } => task::init::run(dir, cx),
        Task::StackUp { recreate } => task::stack_up::run(*recreate, cx),
        Task::StackDown => task::stack_down::run(cx),
        Task::StackLogs(args) => task::stack_logs::run(args, cx),
        Task::UpgradePlan(args) => task::upgrade_plan::run(args, cx),
        Task::SupportBundle(args) => task::support_bundle::run(args, cx),
        Task::Triage { file } => task::triage::run(file.as_deref(), cx),
        Task::Completions { shell } => task::completions::run(*shell, cx),
        Task::Complete { words } => task::complete::run(words, cx),
        Task::Rehearse(args) => task::rehearse::run(args, cx),
        Task::LabUp(args) => task::lab_up::run(args, cx),
        Task::LabDown => task::lab_down::run(cx),
        Task::LabHeal { fault } => task::lab_heal::run(fault, cx),
        Task::LabFaults { group } => task::lab_faults::run(group.as_deref(), cx),
        Task::Ci(args) => dev::ci::run(args, cx),
        Task::Docs(args) => dev::docs::run(args, cx),
        Task::Changelog => dev::changelog::run(cx),
        Task::ChangelogBump { version } => dev::changelog_bump::run(version, cx),
        Task::CommitCheck(args) => dev::commit_check::run(args, cx),
        Task::StagedCheck => dev::staged_check::run(cx),
        Task::HooksInstall => dev::hooks_install::run(cx),
        Task::PreCommitRun => dev::pre_commit_run::run(cx),
        Task::MarkdownLint => dev::markdown_lint::run(cx),
        Task::MarkdownFix => dev::markdown_fix::run(cx),
        Task::InfisicalScan { staged } => dev::infisical_scan::run(*staged, cx),
    }
}

/// Completes the outcome of a dry run: every one has a plan, even if it is empty, and the command that carries it out.
fn as_dry_run(mut outcome: Outcome, args: &[OsString]) -> Outcome {
    if let Value::Object(data) = &mut outcome.data {
        data.entry("plan").or_insert_with(|| Value::Array(Vec::new()));
    }
    if outcome.pending && outcome.next.is_empty() {
        let words = args.iter().skip(1);
        let words = words.filter(|word| ["--dry-run", "--json", "--non-interactive"].iter().all(|flag| *word != flag));
        let mut words: Vec<String> = words.map(|word| proc::quote_os(word)).collect();
        // On a terminal the name is typed; --yes prompts for nothing, so the command must include it.
        if words.iter().any(|word| word == "--yes" || word == "-y") {
            let owners = outcome.data["allow_destroy"].as_array().into_iter().flatten().filter_map(Value::as_str);
            words.extend(owners.flat_map(|owner| ["--allow-destroy".to_owned(), proc::quote(owner)]));
        }
        outcome.next.push(format!("cargo xtask {}", words.join(" ")));
    }
    outcome
}

fn succeed(name: &str, ui: &Ui, outcome: Outcome) -> ExitCode {
    if ui.json() {
        let next: Vec<String> = outcome.next.iter().map(|command| ui.advice(command)).collect();
        let document = ui::document(name, true, &outcome.summary, &ui.steps(), outcome.data, &next, None);
        ui.print_document(document);
    } else {
        ui.close(&outcome.summary, &outcome.next);
    }
    if let Some(failure) = ui.output_failure() {
        ui.fail(&failure);
        return ExitCode::from(failure.code.exit());
    }
    ExitCode::from(if outcome.pending { 3 } else { 0 })
}

fn fail(name: &str, ui: &Ui, failure: &Failure) -> ExitCode {
    if ui.json() {
        let steps = ui.steps();
        let next = failure.next.iter().map(|command| ui.advice(command)).collect();
        let failure = Failure { hint: ui.advice(&failure.hint), next, ..failure.clone() };
        let (message, data, next) = (&failure.message, failure.data.clone(), &failure.next);
        let document = ui::document(name, false, message, &steps, data, next, Some(&failure));
        ui.print_document(document);
    } else {
        ui.fail(failure);
    }
    ExitCode::from(failure.code.exit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_of_a_task_is_a_failure() {
        let shown = |task: fn()| {
            let failure = catch_panic(|| {
                task();
                Ok(Outcome::done(""))
            });
            let failure = Failure::of(&failure.unwrap_err());
            (failure.code.exit(), failure.cause)
        };
        assert_eq!(
            shown(|| panic!("unexpected error during closedir")),
            (1, "unexpected error during closedir".into())
        );
        assert_eq!(shown(|| panic!("at {}", 4)), (1, "at 4".into()));
        let run = || runtime::parallel::run_all(vec![Box::new(|| ()), Box::new(|| panic!("in a thread"))], 2);
        assert_eq!(
            catch_panic(|| Ok(Outcome::done(format!("{:?}", run()))))
                .map_err(|error| Failure::of(&error).code.exit())
                .err(),
            Some(1)
        );
    }
}
