//! `machineclass-apply [name|--all]`: applies machine classes to Omni.
//!
//! 1. The files exist, and `machineclass-check` finds no error in them that is not allowed.
//! 2. Omni is asked what it has, and whether the provider ever registered: it refuses classes of one that did not. The
//!    schema that the provider registered has the last word on its data.
//! 3. What would change is shown, field by field.
//! 4. `omnictl apply`; with `--plan-out` the plan is written to a file in place of that, for `apply`.
//! 5. Every class is read back and compared: omnictl drops keys that it does not know, and exits 0.

use crate::cli::MachineclassApply;
use crate::flow::inputs::{self, Input};
use crate::flow::machine_class;
use crate::prelude::*;

pub fn run(args: &MachineclassApply, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let given: Vec<String> = args.name.iter().cloned().collect();
    let files = inputs::class_files(cx, &inputs::own(cx, Input::MachineClass, &given)?)?;
    machine_class::apply_files(cx, &files, Plan::default(), &args.allow.rules, args.plan.saved())
}
