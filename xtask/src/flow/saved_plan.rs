//! Plans saved in files: `--plan-out` writes them, and `apply` reads them and applies nothing else.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::flow::inputs;
use crate::flow::project_files::CheckedFile;
use crate::prelude::*;
use domain::clock;
use domain::saved_plan::{PlanBinding, SavedPlan, file_key, hash};
use domain::status::omni::Resource;
use runtime::files;
use runtime::paths::path_to_paste;

/// How a run uses a plan file: not at all, to write it, or to apply it.
#[derive(Clone, Copy)]
pub enum PlanFile<'a> {
    Unused,
    /// Writes the plan to this file, valid for this long, and changes nothing else.
    Write(&'a Path, Duration),
    /// Refuses to continue unless the plan matches this one.
    Apply(&'a SavedPlan),
}

impl PlanFile<'_> {
    /// Returns true if the plan is only written.
    pub fn is_write_only(&self) -> bool {
        matches!(self, PlanFile::Write(..))
    }

    /// Writes the plan and returns the outcome, or compares it with the saved plan.
    ///
    /// # Errors
    /// Fails with [`Code::Conflict`] and everything that has changed since the plan was saved, or if the file cannot be written.
    pub fn write_or_compare(&self, cx: &Cx, plan: &Plan<'_>, grounds: PlanBinding) -> anyhow::Result<Option<Outcome>> {
        let now = clock::unix_seconds(SystemTime::now());
        let saved = |expires| SavedPlan::new(cx.task, grounds, plan.planned_changes(), (now, expires));
        match self {
            PlanFile::Unused => Ok(None),
            PlanFile::Write(file, ttl) => write(cx, file, &saved(now.saturating_add(ttl.as_secs())), plan).map(Some),
            PlanFile::Apply(given) => {
                let found = given.differences(&saved(now));
                if !found.is_empty() {
                    return Err(stale_plan(cx, given, &found).into());
                }
                let (planned, left) = (given.changes.len(), plan.changes().count());
                let detail = match planned.saturating_sub(left) {
                    0 => "everything that it is based on is unchanged".to_owned(),
                    done => format!("{done} of {} done already", count(planned, "change")),
                };
                cx.ui.note("plan", "Read the saved plan", Status::Ok, detail);
                Ok(None)
            }
        }
    }
}

/// Returns what a plan for these files depends on, as far as the files determine it.
pub fn plan_binding<'a>(
    cx: &Cx,
    omni: &str,
    allowed: &[&'static str],
    files: impl Iterator<Item = &'a CheckedFile>,
) -> PlanBinding {
    let mut grounds = PlanBinding { omni: omni.to_owned(), ..PlanBinding::default() };
    grounds.allowed = allowed.iter().map(|rule| (*rule).to_owned()).collect();
    for file in files {
        bind_file(cx, &mut grounds, file);
        grounds.files.push(cx.paths.show(&file.path));
    }
    grounds
}

/// Binds the plan to the contents of a file.
pub fn bind_file(cx: &Cx, grounds: &mut PlanBinding, file: &CheckedFile) {
    grounds.bound.insert(file_key(&cx.paths.show(&file.path)), hash(&file.bytes));
}

/// Binds the plan to the version of a resource in Omni, or to its absence.
pub fn bind_resource(grounds: &mut PlanBinding, what: &str, id: &str, there: &[Resource]) {
    let found = there.iter().find(|found| found.metadata.id == id);
    let version = found.map_or("absent".to_owned(), |found| format!("version {}", found.metadata.version));
    grounds.bound.insert(format!("{what} {id} in Omni"), version);
}

/// Writes the plan; overwrites an existing file only if it is a saved plan.
fn write(cx: &Cx, file: &Path, saved: &SavedPlan, plan: &Plan<'_>) -> anyhow::Result<Outcome> {
    let path = std::path::absolute(file)?;
    if files::read_optional_text(&path)?.is_some_and(|text| !text.contains("\"seal\"")) {
        return Err(Failure::new(Code::Conflict, format!("`{}` exists, but is not a saved plan", file.display()))
            .hint("choose another file, or remove this one")
            .into());
    }
    files::write_atomically(&path, saved.text().as_bytes(), files::PRIVATE)?;
    let outcome = plan.dry_run_outcome(cx);
    cx.ui.note("plan", format!("`{}`", file.display()), Status::Ok, "written; nothing else was changed");
    Ok(outcome.next(format!("cargo xtask apply {}", path_to_paste(&path))))
}

/// Reads the plan in a file.
///
/// # Errors
/// Fails with [`Code::NotFound`], or with [`Code::Invalid`] if it is not a plan of this format, or was edited.
pub fn read(file: &Path) -> Result<SavedPlan, Failure> {
    let text = inputs::read_optional_text(file)?
        .ok_or_else(|| Failure::new(Code::NotFound, format!("`{}` does not exist", file.display())).hint(HINT))?;
    SavedPlan::parse(&text).map_err(|why| {
        Failure::new(Code::Invalid, format!("`{}` is not a valid plan", file.display())).cause(why).hint(HINT)
    })
}

const HINT: &str = "`cluster-sync NAME --plan-out FILE` and `machineclass-apply NAME --plan-out FILE` write one";

/// Returns the files of a plan if it can be applied: it has not expired, it is for this Omni, and its files have not changed.
///
/// # Errors
/// Fails with [`Code::Conflict`] and the reason. Omni is not queried for this.
pub fn check_usable(cx: &Cx, plan: &SavedPlan, omni: &str) -> Result<Vec<PathBuf>, Failure> {
    let refused = |message: String, cause: String| {
        Failure::new(Code::Conflict, message).cause(cause).hint("nothing was changed").next(replan_command(cx, plan))
    };
    if let Some(since) = plan.expired(clock::unix_seconds(SystemTime::now())) {
        let cause = format!("it was valid until {since}; the data it is based on is too old");
        return Err(refused("the plan has expired".to_owned(), cause));
    }
    if plan.omni != omni {
        let cause = format!("it is for {}, not for {omni}", plan.omni);
        return Err(refused("the plan is for another Omni".to_owned(), cause));
    }
    let mut changed = Vec::new();
    for file in &plan.files {
        let path = cx.paths.root().join(file);
        let there = files::read_optional(&path)?.map(|bytes| hash(&bytes));
        if there.as_ref() != plan.bound.get(&file_key(file)) {
            changed.push(format!("{}: {}", file_key(file), there.map_or("it no longer exists", |_| "has changed")));
        }
    }
    if changed.is_empty() {
        return Ok(plan.files.iter().map(|file| cx.paths.root().join(file)).collect());
    }
    Err(stale_plan(cx, plan, &changed))
}

fn stale_plan(cx: &Cx, plan: &SavedPlan, found: &[String]) -> Failure {
    Failure::new(Code::Conflict, "the plan is out of date: what it is based on has changed")
        .cause(found.join("\n"))
        .hint("nothing was changed; make and review a new plan")
        .next(replan_command(cx, plan))
        .with(serde_json::json!({ "changed": found }))
}

/// Returns the command that creates such a plan again.
fn replan_command(cx: &Cx, plan: &SavedPlan) -> String {
    let files: Vec<String> = match plan.files.as_slice() {
        [_, _, ..] if plan.task == "machineclass-apply" => vec!["--all".to_owned()],
        files => files.iter().map(|file| path_to_paste(&cx.paths.root().join(file))).collect(),
    };
    let allowed: String = plan.allowed.iter().map(|rule| format!(" --allow {rule}")).collect();
    format!("cargo xtask {} {}{allowed} --plan-out FILE", plan.task, files.join(" "))
}
