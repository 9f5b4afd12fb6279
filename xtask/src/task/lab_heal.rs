//! `lab-heal`: ends a fault of the lab that `lab-up` started. The simulated services work again, but the consequences of the
//! fault, such as a failed machine request or a VM that is off, remain, as they would in reality.

use std::path::Path;

use crate::prelude::*;
use runtime::tool::lab::{self, faults};

pub fn run(fault: &str, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock_checkout()?;
    let program = lab::program(cx)?;
    // In the project of a lab, use that lab.
    let own = cx.paths.root().parent().filter(|dir| dir.join("lab.json").is_file());
    let dir = own.map_or_else(|| cx.paths.lab(), Path::to_owned);
    let table = faults::list(cx, &program)?;
    let fault = faults::find(&table, fault)?;
    let name = &fault.name;
    let effect = "the simulated services work again; what the fault left behind stays".to_owned();
    let undo = format!("cargo xtask lab-up --fault {name}");
    let end = Change::new("end", format!("fault {name}"), effect, undo, |cx| {
        lab::heal(cx, &program, &dir, name)?;
        Ok("ended".to_owned())
    });
    Plan::from_iter([end]).carry_out_unasked(cx, &Value::Null)?;
    let outcome = Outcome::done(format!("the fault {name} has ended")).with(json!({ "fault": fault }));
    // The lab may have created new keys.
    let outcome = outcome.next(format!(". {}", cx.paths.show(&dir.join("env"))));
    Ok(outcome.next(format!("cargo xtask --project-dir {} cluster-explain", cx.paths.show(&dir.join("project")))))
}
