//! `omni-key-rotate`: replaces the key of Omni's store, or adds a recovery key; at any time, some key is known to open the store.
//!
//! 1. Checks that there is a backup of the last day, and reads the slots of the running store and the key's form.
//! 2. Starts Omni with the public half of the key, for which Omni adds a slot.
//! 3. Checks that the private half opens that slot in the live store before it becomes `docker/omni.asc`. Keeps the old key.
//! 4. Starts Omni with the new key, and opens the store once more.

use crate::cli::OmniKeyRotate;
use crate::flow::{backup, omni_stack, site, store_keys};
use crate::prelude::*;

pub fn run(args: &OmniKeyRotate, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    omni_stack::require_env(cx)?;
    omni_stack::check_env(cx)?;
    site::check_step(cx)?;
    let plan = match &args.recovery {
        Some(file) => store_keys::plan_recovery(cx, file)?,
        None => store_keys::plan_rotation(cx, args.key.clone())?,
    };
    let backup = cx.ui.step("backup", "Check that there is a backup of the last day", || {
        let file = backup::recent_backup(cx).map_err(|why| {
            let failure = Failure::new(Code::Prerequisite, "make a backup first").cause(why);
            failure
                .hint("keep docker/omni.asc with it: only keys with a slot in it open it")
                .next("cargo xtask omni-backup")
        })?;
        Ok(StepResult::ok(file.clone(), file))
    })?;
    plan.carry_out(cx, "Change the keys of Omni's store", &Value::Null)?;
    let store = store_keys::read_store(cx)?;
    let slots: Vec<String> = store.slots.keys().cloned().collect();
    let mut state = cx.reload_state()?;
    state.set_list("store_key_slots", &slots);
    cx.save_state(state)?;
    cx.ui.print_data(&format!("These keys open the store; Omni removes none of them:\n  {}", slots.join("\n  ")));
    let outcome = Outcome::done(match args.recovery {
        Some(_) => "the recovery key has a slot: keep its private half offline, and try it on a backup there",
        None => {
            "Omni starts with its new key; older backups need the old one, which is in docker/ too: move it offline"
        }
    });
    Ok(outcome.with(json!({ "slots": slots, "backup": backup })).next("cargo xtask omni-backup"))
}
