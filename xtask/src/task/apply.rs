//! `apply FILE`: applies a plan that `cluster-sync --plan-out` or `machineclass-apply --plan-out` wrote, and nothing else.
//!
//! 1. Checks the plan file: its format, that it was not edited and has not expired, and that it is for the Omni of this login.
//! 2. Checks that the files it was made from have not changed.
//! 3. Makes the plan again as that task does, with the same checks and one comparison per cluster. The result must be the same
//!    plan, or what an interrupted run left of it; otherwise the run ends and lists everything that has changed since.
//! 4. Confirms the changes as that task does, applies them using the bytes that were checked, and verifies them.

use crate::cli::Apply;
use crate::flow::change;
use crate::flow::saved_plan::{self, PlanFile};
use crate::flow::{cluster_sync, inputs, machine_class};
use crate::prelude::*;
use check::rules;

pub fn run(args: &Apply, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let plan = saved_plan::read(&args.file)?;
    let unknown = |what: String| {
        let failure = Failure::new(Code::Invalid, format!("`{}` is not a valid plan", args.file.display()));
        failure.cause(what).hint("make a new plan with this program")
    };
    let rule = |id: &String| rules::find(id).map(|rule| rule.id.as_str());
    let allow: Option<Vec<&'static str>> = plan.allowed.iter().map(rule).collect();
    let allow =
        allow.ok_or_else(|| unknown(format!("one of the rules {} is unknown here", plan.allowed.join(", "))))?;
    let omni = change::omnictl(cx)?.endpoint().to_owned();
    let files = saved_plan::check_usable(cx, &plan, &omni)?;
    match plan.task.as_str() {
        "cluster-sync" => cluster_sync::run(cx, &files, (args.no_wait, &allow), PlanFile::Apply(&plan)),
        "machineclass-apply" => {
            let files = inputs::class_files(cx, &files)?;
            machine_class::apply_files(cx, &files, Plan::default(), &allow, PlanFile::Apply(&plan))
        }
        other => Err(unknown(format!("no task `{other}` saves plans")).into()),
    }
}
