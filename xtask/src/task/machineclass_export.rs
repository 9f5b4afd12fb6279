//! `machineclass-export NAME|--all`: writes the machine classes in Omni to files, for git and `machineclass-apply` to take over.
//!
//! 1. Checks that Omni has the class.
//! 2. Writes it to machine-classes/NAME.yaml. An equivalent file is kept, whatever its comments and order.

use crate::cli::Export;
use crate::flow::export::{self, ExportedFiles};
use crate::flow::{change, machine_class};
use crate::prelude::*;
use domain::nearest::nearest;
use domain::spec::name;
use domain::status::omni::Resource;

pub fn run(args: &Export, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    if let Some(name) = &args.name {
        name::check_existing("machine class", name)?;
    }
    let omnictl = change::omnictl(cx)?;
    let found = cx.ui.step("classes", "Read the machine classes from Omni", || {
        let found = select_classes(args, omnictl.list("machineclasses", None)?)?;
        let names: Vec<&str> = found.iter().map(|found| found.metadata.id.as_str()).collect();
        let detail = names.join(", ");
        Ok(StepResult::ok(found, detail))
    })?;
    let (found, odd): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| name::check_existing("machine class", &found.metadata.id).is_ok());
    for resource in odd {
        let why = "a file with this name would not be found again: a name may contain only letters, digits, dashes and underscores";
        cx.ui.note("file", format!("Read machine class `{}`", resource.metadata.id), Status::Warning, why);
    }
    let export = |resource: &Resource| {
        let name = resource.metadata.id.clone();
        let same = machine_class::matches_file(cx, &cx.paths.machine_class(&name), resource)?;
        Ok(ExportedFiles {
            name,
            files: vec![export::export_class(cx, resource)?],
            is_same: same,
            remaining: Vec::new(),
        })
    };
    let exported = found.iter().map(export).collect::<Result<Vec<_>, Failure>>()?;
    export::write_files(cx, args, ("machine class", "machineclass-check"), &exported)
}

/// Step 1: selects the classes to export.
fn select_classes(args: &Export, mut found: Vec<Resource>) -> Result<Vec<Resource>, Failure> {
    let Some(name) = &args.name else { return Ok(found) };
    let names: Vec<String> = found.iter().map(|found| found.metadata.id.clone()).collect();
    found.retain(|found| found.metadata.id == *name);
    if !found.is_empty() {
        return Ok(found);
    }
    let failure = Failure::new(Code::NotFound, format!("Omni has no machine class `{name}`"));
    Err(match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => failure.next(format!("cargo xtask machineclass-export {near}")),
        None if names.is_empty() => failure.cause("it has none at all"),
        None => failure.cause(format!("it has: {}", names.join(", "))),
    })
}
