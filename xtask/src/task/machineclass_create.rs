//! `machineclass-create [name]`: writes a machine class file.
//!
//! 1. What is not given by flags comes from the state's defaults, or is asked for.
//! 2. What would be written is checked as `machineclass-check` does.
//! 3. The file is written in the form that Omni really takes; an existing one that says something else stays.
//! 4. It is read back and checked.
//! 5. With `--apply` the plan holds what `machineclass-apply` does, too.

use std::path::Path;

use serde_json::json;

use super::{Outcome, load, machineclass_apply};
use crate::apply::{self, Applied};
use crate::check::machine_class::{self, ClassContext};
use crate::cli::MachineclassCreate;
use crate::cx::Cx;
use crate::failure::{Code, Failure, Missing};
use crate::files;
use crate::plan::{Action, CheckedFile, Plan};
use crate::secret::Secret;
use crate::spec::machine_class::{NewClass, render};
use crate::spec::name;
use crate::ui::{Done, Status};

/// The provider's schema takes no less (omni-infra-provider-proxmox 0d9fd58 `data/schema.json`).
const LEAST_MEMORY_MIB: u32 = 2048;
const LEAST_DISK_GIB: u32 = 5;

pub fn run(args: &MachineclassCreate, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = if args.apply { cx.lock() } else { cx.lock_checkout() }?;
    let class = class(args, cx)?;
    let path = cx.paths.machine_class(&class.name);
    // The answers are for this project's provider, whatever id it is given.
    let ours = [class.provider_id.clone()];
    let context = ClassContext { ours: &ours, ..ClassContext::default() };
    let found = machine_class::check(&cx.paths.show(&path), render(&class).as_bytes(), &context);
    load::refuse(cx, "machine class", &found.findings, &args.allow)?;
    let plan = plan(cx, &class, &path, args.force)?;
    let next = format!("cargo xtask machineclass-apply {}", class.name);
    let data = json!({
        "name": class.name, "file": cx.paths.show(&path), "provider_id": class.provider_id, "cores": class.cores,
        "memory": class.memory_mib, "disk": class.disk_gib, "selector": class.selector, "node": class.node,
        "allowed": args.allow,
    });
    if args.apply {
        let file = CheckedFile { path, bytes: render(&class).into_bytes() };
        let outcome = machineclass_apply::apply_files(cx, &[file], plan, &args.allow)?;
        if !cx.dry_run {
            remember(cx, &class)?;
        }
        return Ok(outcome.and(data));
    }
    match apply::run(cx, &plan, &format!("Write {}", cx.paths.show(&path)))? {
        Applied::Planned(outcome) => return Ok(outcome.and(data)),
        Applied::Nothing => cx.ui.note("file", cx.paths.show(&path), Status::Skipped, "it says this already"),
        Applied::Done => {}
    }
    cx.ui.step("check", format!("{} is well formed", cx.paths.show(&path)), || {
        let found = load::machine_classes(cx, &load::class_files(cx, std::slice::from_ref(&path))?, None);
        let same = found.found().iter().any(|(found, _)| found.id == class.name);
        if same { Ok(Done::ok((), "")) } else { anyhow::bail!("it does not hold the class `{}`", class.name) }
    })?;
    remember(cx, &class)?;
    Ok(Outcome::done(format!("machine class `{}` is in {}", class.name, cx.paths.show(&path))).with(data).next(next))
}

/// Step 1. Off a terminal everything that is missing is named at once.
fn class(args: &MachineclassCreate, cx: &Cx) -> anyhow::Result<NewClass> {
    let state = |key: &str| cx.settings.state.get(key);
    let number = |flag: Option<u32>, key: &str| match state(key) {
        Some(text) if flag.is_none() => text.parse().map(Some).map_err(|_| no_number(cx, key, &text)),
        _ => Ok(flag),
    };
    let cores = number(args.cores, "default_cpu")?;
    let (memory, disk) = (number(args.memory, "default_memory")?, number(args.disk, "default_disk")?);
    let selector = args.selector.clone().or_else(|| state("storage_selector"));
    if !cx.ask.interactive() {
        let absent = [
            (args.name.is_none(), "the name", "NAME"),
            (cores.is_none(), "the CPU cores", "--cores"),
            (memory.is_none(), "the memory in MiB", "--memory"),
            (disk.is_none(), "the disk in GiB", "--disk"),
            (selector.is_none(), "the storage selector", "--selector"),
        ];
        let absent: Vec<Missing> =
            absent.iter().filter(|(is, ..)| *is).map(|(_, what, flag)| missing(what, flag)).collect();
        if !absent.is_empty() {
            return Err(Failure::missing(absent).into());
        }
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => cx.ask.ask("Name of the machine class", None, missing("the name", "NAME"))?,
    };
    name::check("machine class", &name)?;
    let ask = |value: Option<u32>, question: &str, default: &str, flag: &str| -> anyhow::Result<u32> {
        let Some(value) = value else {
            let answer = cx.ask.ask(question, Some(default), missing(question, flag))?;
            return answer.parse().map_err(|_| {
                Failure::new(Code::Usage, format!("{answer:?} is no number"))
                    .hint(format!("give it as {flag} N"))
                    .into()
            });
        };
        Ok(value)
    };
    let cores = ask(cores, "CPU cores", "4", "--cores")?;
    let memory = ask(memory, "Memory in MiB", "8192", "--memory")?;
    let disk = ask(disk, "Disk in GiB", "40", "--disk")?;
    let selector = match selector {
        Some(selector) => selector,
        None => cx.ask.ask(
            "Storage selector (CEL)",
            Some("name == \"local-lvm\""),
            missing("the storage selector", "--selector"),
        )?,
    };
    for (value, least, what, flag) in [
        (cores, 1, "core", "--cores"),
        (memory, LEAST_MEMORY_MIB, "MiB of memory", "--memory"),
        (disk, LEAST_DISK_GIB, "GiB of disk", "--disk"),
    ] {
        if value < least {
            return Err(Failure::new(Code::Usage, format!("{value} {what} is too little"))
                .cause(format!("the provider's schema asks for at least {least}"))
                .hint(format!("{flag} {least} or more; memory is in MiB, disk in GiB"))
                .into());
        }
    }
    if selector.trim().is_empty() {
        return Err(Failure::new(Code::Usage, "the storage selector is empty")
            .cause("the provider refuses every machine with an empty one")
            .hint("write which storage takes the disk, such as --selector 'name == \"local-lvm\"'")
            .into());
    }
    let provider_id = cx.settings.provider_id(args.provider_id.as_deref()).value;
    name::check("provider", &provider_id)?;
    if let Some(node) = &args.node {
        // Proxmox takes capitals in the name of a node (pve-common `PVE::JSONSchema` pve-node).
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

/// A default that somebody wrote into the state by hand.
fn no_number(cx: &Cx, key: &str, text: &str) -> Failure {
    let shown = cx.paths.show(&cx.paths.state());
    Failure::new(Code::Invalid, format!("`{key}` in {shown} is {text:?}"))
        .cause("new machine classes take their size from it, and it is no number")
        .hint("write a number there, or remove the line")
}

fn missing(what: &str, flag: &str) -> Missing {
    Missing { name: what.into(), flag: Some(flag.into()), env: None, secret: false }
}

/// Step 3.
fn plan(cx: &Cx, class: &NewClass, path: &Path, force: bool) -> anyhow::Result<Plan> {
    let contents = render(class);
    let shown = cx.paths.show(path);
    let mut plan = Plan::default();
    let (verb, undo) = match files::read_if_there(path)? {
        Some(old) if old == contents.as_bytes() => return Ok(plan),
        Some(_) if !force => {
            return Err(Failure::new(Code::Conflict, format!("`{shown}` exists and says something else"))
                .cause("it is never overwritten unasked: it may hold your own changes")
                .hint("edit it, choose another name, or overwrite it with --force")
                .next(format!("cargo xtask machineclass-apply {}", class.name))
                .into());
        }
        Some(_) => ("update", "restore it from git"),
        None => ("create", "remove the file"),
    };
    let NewClass { cores, memory_mib, disk_gib, selector, .. } = class;
    let effect = format!("{cores} cores, {memory_mib} MiB, {disk_gib} GiB on {selector}");
    let action = Action::Write { path: path.to_owned(), contents: Secret::plain(contents), mode: files::SHARED };
    plan.push(verb, shown, effect, undo, action);
    Ok(plan)
}

/// The first class sets the defaults of the next ones.
fn remember(cx: &Cx, class: &NewClass) -> anyhow::Result<()> {
    let mut state = cx.fresh_state()?;
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
    cx.save_state(state)?;
    Ok(())
}
