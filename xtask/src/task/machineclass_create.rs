//! `machineclass-create [name]`: writes a machine class file.
//!
//! 1. Takes what the flags do not specify from the defaults in the state, or prompts for it.
//! 2. Checks the new class as `machineclass-check` does.
//! 3. Writes the file in the form that Omni actually accepts; an existing file that differs is not overwritten.
//! 4. Reads it back and checks it.
//! 5. With `--apply`, the plan also contains what `machineclass-apply` does.

use crate::cli::MachineclassCreate;
use crate::flow::new_class::{CORES, DISK, MEMORY, SizeInput, ask_for_selector, refuse_empty_selector};
use crate::flow::project_files::{self, CheckedFile};
use crate::flow::saved_plan::PlanFile;
use crate::flow::{inputs, machine_class, provider};
use crate::prelude::*;
use check::machine_class::{ClassContext, check};
use domain::spec::machine_class::{NewClass, render};
use domain::spec::name;
use domain::spec::size::{Disk, Memory};
use runtime::answers::Answers;
use runtime::state::State;

pub fn run(args: &MachineclassCreate, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = if args.apply { cx.lock() } else { cx.lock_checkout() }?;
    let class = gather(args, cx)?;
    let path = cx.paths.machine_class(&class.name);
    // The values are for this project's provider, whatever ID it has.
    let ours = [class.provider_id.clone()];
    let context = ClassContext { ours: &ours, ..ClassContext::default() };
    let found = check(&cx.paths.show(&path), render(&class).as_bytes(), &context);
    inputs::refuse(cx, "machine class", &found.findings, &args.allow.rules)?;
    let shown = cx.paths.show(&path);
    let data = json!({
        "name": class.name, "file": shown, "provider_id": class.provider_id, "cores": class.cores,
        "memory": class.memory_mib, "disk": class.disk_gib, "selector": class.selector, "node": class.node,
        "allowed": args.allow.rules,
    });
    let NewClass { cores, memory_mib, disk_gib, selector, .. } = &class;
    let effect = format!("{cores} cores, {memory_mib} MiB, {disk_gib} GiB on {selector}");
    let next = format!("cargo xtask machineclass-apply {}", class.name);
    let hint = "edit it, choose another name, or overwrite it with --force";
    let file = project_files::create(cx, &path, render(&class), effect, (args.force, hint, next.clone()))?;
    let mut plan = Plan::from_iter(file);
    plan.record(|state| record_defaults(state, &class));
    if args.apply {
        let file = CheckedFile { path, bytes: render(&class).into_bytes() };
        return Ok(machine_class::apply_files(cx, &[file], plan, &args.allow.rules, PlanFile::Unused)?.and(data));
    }
    if plan.is_empty() {
        cx.ui.note("file", shown.as_str(), Status::Skipped, "already up to date");
    }
    plan.verify(|cx| {
        cx.ui.step("check", format!("Check that {shown} is well formed"), || {
            let found = inputs::machine_classes(cx, &inputs::class_files(cx, std::slice::from_ref(&path))?, None);
            let same = found.found().iter().any(|(found, _)| found.id == class.name);
            if same {
                Ok(StepResult::ok((), ""))
            } else {
                anyhow::bail!("it does not contain the class `{}`", class.name)
            }
        })
    });
    plan.carry_out(cx, &format!("Write {shown}"), &data)?;
    Ok(Outcome::done(format!("machine class `{}` is in {shown}", class.name)).with(data).next(next))
}

/// Step 1: gathers the values. Without a terminal, all missing values are reported at once.
fn gather(args: &MachineclassCreate, cx: &Cx) -> anyhow::Result<NewClass> {
    let state = |key: &str| cx.settings.state.get(key);
    let number = |flag: Option<u32>, key: &str| match state(key) {
        Some(text) if flag.is_none() => text.parse().map(Some).map_err(|_| not_a_number(cx, key, &text)),
        _ => Ok(flag),
    };
    let cores = number(args.cores, "default_cpu")?;
    let memory = number(args.memory.map(|Memory(mib)| mib), "default_memory")?;
    let disk = number(args.disk.map(|Disk(gib)| gib), "default_disk")?;
    let selector = args.selector.clone().or_else(|| state("storage_selector"));
    if !cx.ask.can_prompt() {
        MissingValue::check([
            (args.name.is_none(), MissingValue::flag("the name", "NAME")),
            (cores.is_none(), MissingValue::flag("the CPU cores", "--cores")),
            (memory.is_none(), MissingValue::flag("the memory", "--memory")),
            (disk.is_none(), MissingValue::flag("the disk", "--disk")),
            (selector.is_none(), MissingValue::flag("the storage selector", "--selector")),
        ])?;
    }
    let answers = Answers::load(cx);
    let name = match &args.name {
        Some(name) => check_name(name)?,
        None => {
            let missing = MissingValue::flag("the name", "NAME");
            answers.ask("NAME", "Name of the machine class", None, missing, check_name)?
        }
    };
    let ask = |value: Option<u32>, size: &SizeInput| match value {
        Some(value) => size.check_minimum(value),
        None => answers.ask(
            size.flag,
            size.question,
            Some(size.default),
            MissingValue::flag(size.what, size.flag),
            |text| size.check_minimum((size.parse)(text).map_err(|why| Failure::new(Code::Usage, why))?),
        ),
    };
    let (cores, memory, disk) = (ask(cores, &CORES)?, ask(memory, &MEMORY)?, ask(disk, &DISK)?);
    let site = match &args.provider_id {
        Some(id) => provider::context_of_machines(cx, std::iter::once(id.as_str())),
        None => cx.for_single_provider()?,
    };
    let provider_id = site.settings.provider_id(args.provider_id.as_deref()).value;
    name::check_existing("provider", &provider_id)?;
    let selector = match selector {
        Some(selector) => refuse_empty_selector(&selector)?,
        None => ask_for_selector(&site, &answers)?,
    };
    if let Some(node) = &args.node {
        // Proxmox accepts capital letters in the name of a node (pve-common `PVE::JSONSchema` pve-node).
        name::check("node", &node.to_ascii_lowercase())?;
    }
    Ok(NewClass {
        name,
        provider_id,
        cores,
        memory_mib: memory.into(),
        disk_gib: disk.into(),
        selector,
        node: args.node.clone(),
        bridge: None,
    })
}

fn check_name(text: &str) -> Result<String, Failure> {
    name::check("machine class", text).map(|()| text.to_owned())
}

/// The failure for a default in the state that is not a number, because it was edited by hand.
fn not_a_number(cx: &Cx, key: &str, text: &str) -> Failure {
    let shown = cx.paths.show(&cx.paths.state());
    Failure::new(Code::Invalid, format!("`{key}` in {shown} is {text:?}"))
        .cause("new machine classes take their size from it, but it is not a number")
        .hint("write a number there, or remove the line")
}

/// Makes the sizes of the first class the defaults for the next ones.
fn record_defaults(state: &mut State, class: &NewClass) {
    let numbers = [
        ("default_cpu", u64::from(class.cores)),
        ("default_memory", class.memory_mib),
        ("default_disk", class.disk_gib),
    ];
    for (key, value) in numbers {
        if state.get(key).is_none() {
            state.set(key, value);
        }
    }
    if state.get("storage_selector").is_none() {
        state.set("storage_selector", class.selector.as_str());
    }
}
