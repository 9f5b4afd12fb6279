//! `apply FILE`: carries out a plan that `cluster-sync --plan-out` or `machineclass-apply --plan-out` wrote, and nothing else.
//!
//! 1. The file is a plan of this format and was not edited, it has not expired, and it is for the Omni of this login.
//! 2. The files that it was made from are what they were.
//! 3. The task that made it decides again, with the same checks and one comparison per cluster. It must come to the plan, or to what
//!    a run that was cut off left of it; else the run ends with everything that has changed since.
//! 4. The changes are confirmed as in that task, made from the bytes that were checked, and verified.

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
    let allow = allow.ok_or_else(|| unknown(format!("a rule of {} is not known here", plan.allowed.join(", "))))?;
    let omni = change::omnictl(cx)?.address().to_owned();
    let files = saved_plan::usable(cx, &plan, &omni)?;
    match plan.task.as_str() {
        "cluster-sync" => cluster_sync::run(cx, &files, (args.no_wait, &allow), PlanFile::Held(&plan)),
        "machineclass-apply" => {
            let files = inputs::class_files(cx, &files)?;
            machine_class::apply_files(cx, &files, Plan::default(), &allow, PlanFile::Held(&plan))
        }
        other => Err(unknown(format!("no task `{other}` saves plans")).into()),
    }
}
