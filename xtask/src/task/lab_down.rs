//! `lab-down`: ends the lab that `lab-up` started, and removes what it left.

use crate::prelude::*;
use runtime::tool::lab;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock_checkout()?;
    let dir = cx.paths.lab();
    if !dir.exists() {
        return Ok(Outcome::done("no lab is running"));
    }
    lab::removable(&dir)?;
    let effect = format!("its directory {} is removed", cx.paths.show(&dir));
    let end = Change::new("end", "the lab", effect, "cargo xtask lab-up", |cx| {
        let program = lab::built(cx)?;
        let ended = match lab::state_of(cx, &program, &dir).map_err(|error| Failure::of(&error)) {
            Ok(_) => {
                lab::stop(cx, &program, &dir)?;
                "stopped"
            }
            // One that was killed has left its directory and nothing else.
            Err(failure) if failure.code == Code::NotFound => "it was not running",
            // Unknown: without its directory it could not be ended any more.
            Err(failure) => return Err(failure.into()),
        };
        std::fs::remove_dir_all(&dir)?;
        Ok(ended.to_owned())
    });
    Plan::from_iter([end]).carry_out_unasked(cx, &Value::Null)?;
    Ok(Outcome::done("the lab has stopped"))
}
