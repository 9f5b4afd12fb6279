//! `plan-show FILE`: prints a saved plan, for people or as a comment on a pull request. It queries neither Omni nor Proxmox.

use crate::cli::PlanShow;
use crate::flow::saved_plan;
use crate::prelude::*;
use runtime::paths::path_to_paste;

pub fn run(args: &PlanShow, cx: &Cx) -> anyhow::Result<Outcome> {
    let plan = saved_plan::read(&args.file)?;
    let text = if args.markdown { plan.markdown() } else { plan.describe() };
    cx.ui.print_data(text.trim_end());
    let outcome = Outcome::done(format!("a plan with {}", count(plan.changes.len(), "change")));
    Ok(outcome
        .with(json!({ "plan": plan, "markdown": plan.markdown() }))
        .next(format!("cargo xtask apply {}", path_to_paste(&args.file))))
}
