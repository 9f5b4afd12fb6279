//! `lab-down`: ends the lab that `lab-up` started, and removes what it left.

use crate::flow::apply;
use crate::outcome::Outcome;
use domain::failure::{Code, Failure};
use domain::plan::{Action, Plan};
use runtime::cx::Cx;
use runtime::tool::lab;
use runtime::ui::Done;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock_checkout()?;
    let dir = cx.paths.lab();
    if !dir.exists() {
        return Ok(Outcome::done("no lab is running"));
    }
    if cx.dry_run {
        let mut plan = Plan::default();
        let effect = format!("its directory {} is removed", cx.paths.show(&dir));
        plan.push("end", "the lab", effect, "cargo xtask lab-up", Action::ByTask);
        return Ok(apply::planned(cx, &plan));
    }
    let program = lab::built(cx)?;
    cx.ui.step("lab", "the lab has ended", || {
        match lab::state_of(cx, &program, &dir).map_err(|error| Failure::of(&error)) {
            Ok(_) => lab::stop(cx, &program, &dir)?,
            // One that was killed has left its directory and nothing else.
            Err(failure) if failure.code == Code::NotFound => return Ok(Done::skipped((), "it was not running")),
            // Nobody knows: without its directory it could not be ended any more.
            Err(failure) => return Err(failure.into()),
        }
        Ok(Done::changed((), ""))
    })?;
    std::fs::remove_dir_all(&dir)?;
    Ok(Outcome::done("the lab is gone"))
}
