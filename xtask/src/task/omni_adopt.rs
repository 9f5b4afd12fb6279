//! `omni-adopt`: takes over an Omni that other compose files started, without data loss, and with a way back.
//!
//! 1. Finds the only other Omni on this host: its version, its settings, and its key, which must open its store.
//! 2. Prompts for values that this project needs and the other Omni does not have, and checks them.
//! 3. Writes the files, stops the old stack, and copies its data to the new volumes; the old volumes are only read.
//! 4. Checks that the new stack runs and responds, and contains what the old one did.

use crate::cli::OmniAdopt;
use crate::flow::adopt::{self, Adoption, Note};
use crate::flow::omni_inputs::OmniInputs;
use crate::flow::site;
use crate::prelude::*;

pub fn run(args: &OmniAdopt, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    if args.undo {
        return undo(cx);
    }
    let found = Adoption::find(args, cx)?;
    site::check_step(cx)?;
    let endpoint = found.inputs.endpoint();
    let mut plan = found.plan(cx)?;
    let changed = !plan.is_empty();
    plan.record(|state| OmniInputs::record(state, &endpoint));
    plan.carry_out(cx, &format!("Stop the old stack, and run Omni at {endpoint} from this project"), &Value::Null)?;
    let copy = found.copy_dir(cx);
    let outcome = Outcome::done(format!("Omni runs at {endpoint} from this project; the old volumes are unchanged"))
        .with(json!({ "omni_endpoint": endpoint, "changed": changed, "copy": copy }))
        .next("cargo xtask omni-verify");
    // Resources that exist only in Omni are exported to files.
    let exports = [("MachineClasses", "machineclass"), ("Clusters", "cluster")];
    let exports = exports.into_iter().filter(|(kind, _)| found.store.count(kind) > 0);
    let outcome = exports.fold(outcome, |outcome, (_, word)| outcome.next(format!("cargo xtask {word}-export --all")));
    Ok(outcome.next("cargo xtask omni-backup"))
}

fn undo(cx: &Cx) -> anyhow::Result<Outcome> {
    let Some(note) = Note::read(cx)? else {
        let failure = Failure::new(Code::NotFound, "no Omni was taken over from this checkout");
        return Err(failure.next("cargo xtask omni-adopt --dry-run").into());
    };
    adopt::undo(cx, &note)?.carry_out(cx, "Go back to the old stack", &Value::Null)?;
    Ok(Outcome::done(format!("the old stack runs again: Omni at https://{}", note.domain)))
}
