//! A change: what it does and destroys, how it is applied and verified, and what it records in the state.
//! Dry run, confirmation, execution, verification and JSON all use the same [`Plan`] of changes, so they cannot disagree.
//!
//! A plan contains every change that a run makes to files, containers, Omni and Proxmox. The project's own notes
//! (`.claude/omni-scale.local.md`, written after a change was verified) are not shown as changes.

use std::fmt;

use serde_json::{Value, json};

use crate::outcome::Outcome;
use domain::failure::{Code, Failure, MissingValue};
use domain::saved_plan::PlannedChange;
use domain::words::count;
use runtime::cx::Cx;
use runtime::proc;
use runtime::state::State;
use runtime::tool::install;
use runtime::tool::omnictl::{self, Omnictl};
use runtime::ui::{Status, StepResult};

type Apply<'a> = Box<dyn FnOnce(&Cx) -> anyhow::Result<String> + 'a>;
type Verify<'a> = Box<dyn FnOnce(&Cx) -> anyhow::Result<()> + 'a>;
type Record<'a> = Box<dyn FnOnce(&mut State) + 'a>;

/// One change. It contains everything that is needed to apply it, so that nothing is decided during execution.
pub struct Change<'a> {
    /// What is shown of it and stored in a saved plan.
    pub shown: PlannedChange,
    /// The name to confirm the destruction with; also the value of `--allow-destroy`.
    owner: String,
    /// Applies the change, and returns a short description of the result.
    apply: Apply<'a>,
    verify: Option<Verify<'a>>,
    record: Option<Record<'a>>,
}

impl<'a> Change<'a> {
    /// `verb` is `create`, `update`, `restart`, `apply`, `sync`, `install` or similar; `object` is a path, a resource or the
    /// stack; `undo` describes how to revert the change.
    pub fn new(
        verb: &str,
        object: impl Into<String>,
        effect: impl Into<String>,
        undo: impl Into<String>,
        apply: impl FnOnce(&Cx) -> anyhow::Result<String> + 'a,
    ) -> Change<'a> {
        let (verb, object, effect, undo) = (verb.to_owned(), object.into(), effect.into(), undo.into());
        let shown = PlannedChange { verb, object, effect, undo, destroys: Vec::new() };
        Change { shown, owner: String::new(), apply: Box::new(apply), verify: None, record: None }
    }

    /// Sets what the change destroys, if anything, and the owner whose name confirms that.
    pub fn with_destroyed(mut self, owner: &str, destroys: Vec<String>) -> Change<'a> {
        (self.owner, self.shown.destroys) = (owner.to_owned(), destroys);
        self
    }

    /// Adds a precondition, checked right before the change is applied.
    pub fn with_precondition(mut self, holds: impl FnOnce(&Cx) -> anyhow::Result<()> + 'a) -> Change<'a> {
        let apply = self.apply;
        self.apply = Box::new(|cx| holds(cx).and_then(|()| apply(cx)));
        self
    }

    /// Sets the check that the change took effect, which runs after all changes of the plan.
    pub fn with_verification(mut self, verify: impl FnOnce(&Cx) -> anyhow::Result<()> + 'a) -> Change<'a> {
        self.verify = Some(Box::new(verify));
        self
    }

    /// Sets what is recorded in the state once the change is verified.
    pub fn with_record(mut self, record: impl FnOnce(&mut State) + 'a) -> Change<'a> {
        self.record = Some(Box::new(record));
        self
    }

    fn title(&self) -> String {
        format!("{} {}", self.shown.verb, self.shown.object)
    }

    fn show_destroyed(&self, cx: &Cx) {
        self.shown.destroys.iter().for_each(|what| cx.ui.show_destroyed(what));
    }
}

/// The changes of a task, in order.
#[derive(Default)]
pub struct Plan<'a> {
    changes: Vec<Change<'a>>,
    verifications: Vec<Verify<'a>>,
    records: Vec<Record<'a>>,
    /// A plan that is confirmed together with this one, and carried out after this one is verified and recorded.
    then: Option<Box<Plan<'a>>>,
}

impl<'a> Plan<'a> {
    pub fn push(&mut self, mut change: Change<'a>) {
        self.verifications.extend(change.verify.take());
        self.records.extend(change.record.take());
        self.changes.push(change);
    }

    /// Adds a verification that runs after all changes, even if there are none.
    pub fn verify(&mut self, verify: impl FnOnce(&Cx) -> anyhow::Result<()> + 'a) {
        self.verifications.push(Box::new(verify));
    }

    /// Adds a record that is made once everything is verified, even if there are no changes.
    pub fn record(&mut self, record: impl FnOnce(&mut State) + 'a) {
        self.records.push(Box::new(record));
    }

    /// Adds the changes, verifications and records of another plan.
    pub fn append(&mut self, other: Plan<'a>) {
        self.changes.extend(other.changes);
        self.verifications.extend(other.verifications);
        self.records.extend(other.records);
    }

    /// Adds a plan that is carried out after this one is verified and recorded.
    pub fn then(mut self, next: Plan<'a>) -> Plan<'a> {
        self.then = Some(Box::new(next));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.changes().next().is_none()
    }

    /// Returns every change, including those of the plans that follow.
    pub fn changes(&self) -> impl Iterator<Item = &Change<'a>> {
        let plans = std::iter::successors(Some(self), |plan| plan.then.as_deref());
        plans.flat_map(|plan| &plan.changes)
    }

    /// Returns the changes in the form that a saved plan stores.
    pub fn planned_changes(&self) -> Vec<PlannedChange> {
        self.changes().map(|change| change.shown.clone()).collect()
    }

    /// Shows the plan, asks `question` once, applies the changes in order, verifies them, and records them in the state.
    /// Returns the outcome of a dry run, which stops after showing the plan.
    ///
    /// # Errors
    /// Returns an error if consent is missing, or if a change or its verification fails; it lists the changes made before.
    pub fn run(self, cx: &Cx, question: &str) -> anyhow::Result<Option<Outcome>> {
        if !cx.dry_run && !self.is_empty() {
            confirm(cx, &self, question)?;
        }
        self.run_unasked(cx)
    }

    /// As [`Plan::run`], for a task that has nothing left to do after a dry run: a dry run ends here, with `data` in its JSON.
    ///
    /// # Errors
    /// As [`Plan::run`]. The end of a dry run is an error as well, which [`ended_early`] turns into an outcome.
    pub fn carry_out(self, cx: &Cx, question: &str, data: &Value) -> anyhow::Result<()> {
        end_dry_run(self.run(cx, question)?, data)
    }

    /// As [`Plan::carry_out`], without asking; see [`Plan::run_unasked`].
    ///
    /// # Errors
    /// As [`Plan::carry_out`].
    pub fn carry_out_unasked(self, cx: &Cx, data: &Value) -> anyhow::Result<()> {
        end_dry_run(self.run_unasked(cx)?, data)
    }

    /// As [`Plan::run`], for changes that need no consent: the command names them, and git or a second call restores the files.
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn run_unasked(self, cx: &Cx) -> anyhow::Result<Option<Outcome>> {
        match cx.dry_run {
            true => Ok((!self.is_empty()).then(|| self.dry_run_outcome(cx))),
            false => execute(cx, self, Vec::new()).map(|()| None),
        }
    }

    /// Returns the outcome of a dry run: the plan, and exit code 3 unless it is empty.
    pub fn dry_run_outcome(&self, cx: &Cx) -> Outcome {
        for change in self.changes() {
            cx.ui.note(&change.shown.verb, change.title(), Status::Planned, &change.shown.effect);
            change.show_destroyed(cx);
        }
        let changes = self.planned_changes();
        let data = json!({ "plan": changes, "allow_destroy": self.owners(cx) });
        match changes.len() {
            0 => Outcome::done("nothing to change"),
            some => Outcome::pending(format!("{} planned, nothing changed", count(some, "change"))),
        }
        .with(data)
    }

    /// The owners of what the plan destroys that `--allow-destroy` does not name: each once, in the order of the changes.
    fn owners(&self, cx: &Cx) -> Vec<&str> {
        let mut owners: Vec<&str> = Vec::new();
        for change in self.changes().filter(|change| !change.shown.destroys.is_empty()) {
            if !owners.contains(&change.owner.as_str()) && !cx.allow_destroy.contains(&change.owner) {
                owners.push(&change.owner);
            }
        }
        owners
    }
}

impl<'a> FromIterator<Change<'a>> for Plan<'a> {
    fn from_iter<T: IntoIterator<Item = Change<'a>>>(changes: T) -> Plan<'a> {
        let mut plan = Plan::default();
        changes.into_iter().for_each(|change| plan.push(change));
        plan
    }
}

/// The outcome of a dry run that ends before its plan is complete, as the error that ends the task.
#[derive(Debug)]
struct DryRunEnd(Outcome);

/// Turns the outcome of a dry run into an error, with `data` in its JSON. Does nothing after a run that made its changes.
fn end_dry_run(planned: Option<Outcome>, data: &Value) -> anyhow::Result<()> {
    planned.map_or(Ok(()), |planned| Err(DryRunEnd(planned.and(data.clone())).into()))
}

impl fmt::Display for DryRunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.summary)
    }
}

impl std::error::Error for DryRunEnd {}

/// Returns the outcome of a dry run that ended early.
///
/// # Errors
/// Returns any other error unchanged.
pub fn ended_early(error: anyhow::Error) -> anyhow::Result<Outcome> {
    error.downcast::<DryRunEnd>().map(|ended| ended.0)
}

/// Returns omnictl, and installs it first if it is missing.
///
/// # Errors
/// As [`omnictl_on_need`] and [`Omnictl::find`].
pub fn omnictl(cx: &Cx) -> anyhow::Result<Omnictl<'_>> {
    omnictl_on_need(cx)?;
    Ok(Omnictl::find(cx)?)
}

/// Installs omnictl if it is missing. In a dry run, the installation is all that is planned, and the dry run ends: the rest of
/// the plan cannot be determined without omnictl.
///
/// # Errors
/// As [`install::install_if_missing`]. The end of a dry run is an error as well, which [`ended_early`] turns into an outcome.
pub fn omnictl_on_need(cx: &Cx) -> anyhow::Result<()> {
    if !cx.dry_run || omnictl::locate().is_some() {
        return Ok(install::install_if_missing(cx)?);
    }
    let place = omnictl::install_path()?.display().to_string();
    let effect = format!("`{}` needs it to plan the remaining changes", cx.task);
    let install = Change::new("install", place, effect, "remove the file", |cx| {
        install::install_if_missing(cx)?;
        Ok(String::new())
    });
    let planned = Plan::from_iter([install]).dry_run_outcome(cx);
    Err(DryRunEnd(planned.next("cargo xtask omnictl-install")).into())
}

/// Gets consent: `--yes`, or yes to `question` on a terminal. Destruction also needs the owner's name: typed, or as
/// `--allow-destroy NAME`.
fn confirm(cx: &Cx, plan: &Plan<'_>, question: &str) -> Result<(), Failure> {
    let owners = plan.owners(cx);
    if !cx.ask.can_prompt() {
        plan.changes().for_each(|change| change.show_destroyed(cx));
        return confirmed_by_flags(cx, &owners, question);
    }
    for change in plan.changes() {
        cx.ui.show(&format!("  {:<8} {}: {}", "plan", change.title(), change.shown.effect));
        change.show_destroyed(cx);
    }
    let yes = match owners.as_slice() {
        [] => cx.ask.confirm(&format!("{question}?"), false)?,
        owners => {
            let names = owners.join(" ");
            cx.ask.confirm_by_typing(
                &format!("{question}? It destroys what is shown above: type `{names}` to continue"),
                &names,
            )?
        }
    };
    if yes { Ok(()) } else { Err(declined_failure(cx, plan, question)) }
}

/// Consent without a prompt: `--yes` for any change, and `--allow-destroy` for every owner of what is destroyed.
fn confirmed_by_flags(cx: &Cx, owners: &[&str], question: &str) -> Result<(), Failure> {
    let mut missing = Vec::new();
    if !cx.ask.yes() {
        missing.push(MissingValue::flag("confirmation", "--yes"));
    }
    missing.extend(owners.iter().map(|owner| {
        MissingValue::flag(format!("confirmation to destroy machines of `{owner}`"), format!("--allow-destroy {owner}"))
    }));
    if missing.is_empty() {
        return Ok(());
    }
    let flags: Vec<&str> = missing.iter().filter_map(|each| each.flag.as_deref()).collect();
    let hint = format!("review the plan with --dry-run, then repeat the command with {}", flags.join(" "));
    let cause = format!("{question}: a run that cannot prompt needs {}; {}", flags.join(" and "), describe_done(cx));
    Err(Failure::missing(missing).cause(cause).hint(hint))
}

/// The failure after the answer no: the changes that were not made, and what the task had already done.
fn declined_failure(cx: &Cx, plan: &Plan<'_>, question: &str) -> Failure {
    let not_done: Vec<String> = plan.changes().map(Change::title).collect();
    Failure::new(Code::Interrupted, format!("{question}: not confirmed")).cause(format!(
        "the answer was no; not done: {}; {}",
        not_done.join(", "),
        describe_done(cx)
    ))
}

/// Describes what this run has changed so far, according to the steps it reported.
fn describe_done(cx: &Cx) -> String {
    let steps = cx.ui.steps();
    let changed: Vec<&str> =
        steps.iter().filter(|step| step.status == Status::Changed).map(|step| step.title.as_str()).collect();
    if changed.is_empty() { "nothing was changed".to_owned() } else { format!("done before: {}", changed.join(", ")) }
}

/// Applies the changes in order, stops at the first failure, then verifies and records. `done` lists the changes made before.
fn execute(cx: &Cx, plan: Plan<'_>, mut done: Vec<String>) -> anyhow::Result<()> {
    let Plan { changes, verifications, records, then } = plan;
    for change in changes {
        let title = change.title();
        if proc::is_interrupted() {
            return Err(add_done(proc::interruption(&title), &done).into());
        }
        cx.ui
            .step(&change.shown.verb, title.clone(), || Ok(StepResult::changed((), (change.apply)(cx)?)))
            .map_err(|error| add_done(Failure::of(&error), &done))?;
        done.push(title);
    }
    for verify in verifications {
        verify(cx)?;
    }
    if !records.is_empty() {
        let mut state = cx.reload_state()?;
        records.into_iter().for_each(|record| record(&mut state));
        cx.save_state(state)?;
    }
    then.map_or(Ok(()), |next| execute(cx, *next, done))
}

/// Adds what was done before the failure.
fn add_done(mut failure: Failure, done: &[String]) -> Failure {
    if !done.is_empty() {
        let sep = if failure.cause.is_empty() { "" } else { "\n" };
        failure.cause.push_str(&format!("{sep}done before: {}", done.join(", ")));
        if failure.hint.is_empty() {
            failure.hint = "run the same command again: completed changes are not repeated".to_owned();
        }
    }
    failure
}

/// Returns true if somebody has made the same change meanwhile, e.g. the omnictl of a killed run, which still runs to its end.
pub fn is_overtaken(failure: &Failure) -> bool {
    failure.code == Code::Conflict
}

/// Runs `work` again, once, if it was overtaken, so that it continues from the current state.
pub fn retry_overtaken<T>(work: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    match work() {
        Err(failure) if is_overtaken(&failure) => work(),
        other => other,
    }
}
