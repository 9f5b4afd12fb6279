//! `stack-down`: stops the stack. The volumes are always kept, there is no option to remove them. If Omni's data is not on
//! volumes, the task refuses, because the data would be deleted with the container.

use crate::flow::omni_stack;
use crate::prelude::*;
use check::stack;
use runtime::tool::compose::{Compose, OMNI};

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let compose = Compose::find(cx)?;
    let containers = compose.containers()?;
    if containers.is_empty() {
        return Ok(Outcome::done("the stack is down already")
            .with(json!({ "removed": [] }))
            .next("cargo xtask stack-up"));
    }
    omni_stack::check_mounts(cx, &containers)?;
    cx.check_writable(&[cx.paths.state()])?;
    let names: Vec<String> = containers.iter().map(|container| container.name.clone()).collect();
    let mut plan = Plan::from_iter([omni_stack::stop(&names.join(", "))]);
    // The next start must not be an unintended upgrade.
    let omni = stack::service(&containers, OMNI);
    if let Some(tag) = omni.and_then(|omni| stack::tag(&omni.image)).map(str::to_owned) {
        plan.record(move |state| state.set(omni_stack::STATE_VERSION, tag));
    }
    let question = format!("Stop and remove the containers {}; volumes are kept", names.join(", "));
    plan.carry_out(cx, &question, &Value::Null)?;
    Ok(Outcome::done("the stack is down; its volumes are kept")
        .with(json!({ "removed": names }))
        .next("cargo xtask stack-up"))
}
