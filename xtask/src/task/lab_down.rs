//! `lab-down`: ends the lab that `lab-up` started, and removes what it left.

use serde_json::json;

use super::{Outcome, lab_up};
use crate::cx::Cx;
use crate::ui::Done;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let dir = cx.paths.lab();
    if !dir.exists() {
        return Ok(Outcome::done("no lab is running"));
    }
    if cx.dry_run {
        let step = json!({ "verb": "end", "object": "the lab", "effect": "its directory goes too", "undo": "cargo xtask lab-up" });
        return Ok(Outcome::pending("1 change planned, nothing changed").with(json!({ "plan": [step] })));
    }
    let program = lab_up::built(cx)?;
    cx.ui.step("lab", "the lab has ended", || {
        // One that was killed has left its directory and nothing else.
        if lab_up::state_of(cx, &program, &dir).is_err() {
            return Ok(Done::skipped((), "it was not running"));
        }
        lab_up::stop(cx, &program, &dir)?;
        Ok(Done::changed((), ""))
    })?;
    std::fs::remove_dir_all(&dir)?;
    Ok(Outcome::done("the lab is gone"))
}
