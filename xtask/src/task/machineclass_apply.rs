//! `machineclass-apply [name|--all]`: applies machine classes to Omni.
//!
//! 1. Checks that the files exist, and that `machineclass-check` finds no errors in them, except allowed ones.
//! 2. Reads the classes and the registered providers from Omni, which refuses a class whose provider has never registered. The
//!    provider's data is checked against the schema that it registered.
//! 3. Shows the changes, field by field.
//! 4. Runs `omnictl apply`; with `--plan-out`, writes the plan to a file instead, for `apply`.
//! 5. Reads every class back and compares it, because omnictl drops keys that it does not know, and exits 0.

use crate::cli::MachineclassApply;
use crate::flow::inputs::{self, Input};
use crate::flow::machine_class;
use crate::prelude::*;

pub fn run(args: &MachineclassApply, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let given: Vec<String> = args.name.iter().cloned().collect();
    let files = inputs::class_files(cx, &inputs::operator_files(cx, Input::MachineClass, &given)?)?;
    machine_class::apply_files(cx, &files, Plan::default(), &args.allow.rules, args.plan.plan_file())
}
