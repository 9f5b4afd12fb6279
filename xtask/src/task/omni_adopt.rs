//! `omni-adopt`: takes over an Omni that other compose files started, without losing anything, and with a way back.
//!
//! 1. The one other Omni of this host: its version, its settings, and its key, which must open its store.
//! 2. Values that this project needs and it does not have are asked for, and checked.
//! 3. Files, then the old stack off, then a copy of its data, which becomes the new volumes; the old ones are only read.
//! 4. The new stack runs, answers, and holds what the old one held.

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
    site::step(cx)?;
    let endpoint = found.inputs.endpoint();
    let mut plan = found.plan(cx)?;
    let changed = !plan.is_empty();
    plan.record(|state| OmniInputs::record(state, &endpoint));
    plan.carry_out(cx, &format!("Stop the old stack, and run Omni at {endpoint} from this project"), &Value::Null)?;
    let copy = found.copy(cx);
    let outcome = Outcome::done(format!("Omni runs at {endpoint} from this project; the old volumes are as they were"))
        .with(json!({ "omni_endpoint": endpoint, "changed": changed, "copy": copy }))
        .next("cargo xtask omni-verify");
    // What only Omni has becomes files.
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
