//! `lab-down`: stops the lab that `lab-up` started, and removes its files.

use crate::prelude::*;
use runtime::tool::lab;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock_checkout()?;
    let dir = cx.paths.lab();
    if !dir.exists() {
        return Ok(Outcome::done("no lab is running"));
    }
    lab::check_removable(&dir)?;
    let effect = format!("its directory {} is removed", cx.paths.show(&dir));
    let end = Change::new("end", "the lab", effect, "cargo xtask lab-up", |cx| {
        let program = lab::program(cx)?;
        let ended = match lab::read_state(cx, &program, &dir).map_err(|error| Failure::of(&error)) {
            Ok(_) => {
                lab::stop(cx, &program, &dir)?;
                "stopped"
            }
            // A lab that was killed has left only its directory.
            Err(failure) if failure.code == Code::NotFound => "it was not running",
            // It may be running, and without its directory it could no longer be stopped.
            Err(failure) => return Err(failure.into()),
        };
        std::fs::remove_dir_all(&dir)?;
        Ok(ended.to_owned())
    });
    Plan::from_iter([end]).carry_out_unasked(cx, &Value::Null)?;
    Ok(Outcome::done("the lab has stopped"))
}
