//! `machineclass-create [name]`: writes a machine class file.
//!
//! 1. What is not given by flags comes from the state's defaults, or is asked for.
//! 2. What would be written is checked as `machineclass-check` does.
//! 3. The file is written in the form that Omni really takes; an existing one that says something else stays.
//! 4. It is read back and checked.
//! 5. With `--apply` the plan holds what `machineclass-apply` does, too.

use std::path::Path;

use serde_json::{Value, json};

use super::{machineclass_apply, proxmox_inventory};
use crate::cli::MachineclassCreate;
use crate::flow::apply::{self, Applied};
use crate::flow::inputs;
use crate::outcome::Outcome;
use check::machine_class::{self, ClassContext};
use domain::failure::{Code, Failure, Missing};
use domain::plan::{Action, CheckedFile, Plan};
use domain::secret::Secret;
use domain::spec::machine_class::{NewClass, render};
use domain::spec::name;
use domain::spec::size::{Disk, Memory};
use runtime::answers::Answers;
use runtime::cx::Cx;
use runtime::files;
use runtime::ui::{Done, Status};

pub fn run(args: &MachineclassCreate, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = if args.apply { cx.lock() } else { cx.lock_checkout() }?;
    let class = class(args, cx)?;
    let path = cx.paths.machine_class(&class.name);
    // The answers are for this project's provider, whatever id it is given.
    let ours = [class.provider_id.clone()];
    let context = ClassContext { ours: &ours, ..ClassContext::default() };
    let found = machine_class::check(&cx.paths.show(&path), render(&class).as_bytes(), &context);
    inputs::refuse(cx, "machine class", &found.findings, &args.allow)?;
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
        let found = inputs::machine_classes(cx, &inputs::class_files(cx, std::slice::from_ref(&path))?, None);
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
    let memory = number(args.memory.map(|Memory(mib)| mib), "default_memory")?;
    let disk = number(args.disk.map(|Disk(gib)| gib), "default_disk")?;
    let selector = args.selector.clone().or_else(|| state("storage_selector"));
    if !cx.ask.interactive() {
        let absent = [
            (args.name.is_none(), "the name", "NAME"),
            (cores.is_none(), "the CPU cores", "--cores"),
            (memory.is_none(), "the memory", "--memory"),
            (disk.is_none(), "the disk", "--disk"),
            (selector.is_none(), "the storage selector", "--selector"),
        ];
        let absent: Vec<Missing> =
            absent.iter().filter(|(is, ..)| *is).map(|(_, what, flag)| missing(what, flag)).collect();
        if !absent.is_empty() {
            return Err(Failure::missing(absent).into());
        }
    }
    let answers = Answers::of(cx);
    let name = match &args.name {
        Some(name) => valid_name(name)?,
        None => answers.ask("NAME", "Name of the machine class", None, missing("the name", "NAME"), valid_name)?,
    };
    let ask = |value: Option<u32>, size: &Size| match value {
        Some(value) => size.enough(value),
        None => answers.ask(size.flag, size.question, Some(size.usual), missing(size.what, size.flag), |text| {
            size.enough((size.parse)(text).map_err(|why| Failure::new(Code::Usage, why))?)
        }),
    };
    let (cores, memory, disk) = (ask(cores, &CORES)?, ask(memory, &MEMORY)?, ask(disk, &DISK)?);
    let selector = match selector {
        Some(selector) => given_selector(&selector)?,
        None => ask_for_selector(cx, &answers)?,
    };
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

/// A number that a class needs: how it is asked for, and the least that the provider's schema accepts
/// (omni-infra-provider-proxmox 0d9fd58 `data/schema.json`).
struct Size {
    what: &'static str,
    question: &'static str,
    flag: &'static str,
    usual: &'static str,
    unit: &'static str,
    least: u32,
    parse: fn(&str) -> Result<u32, String>,
}

const CORES: Size = Size {
    what: "the CPU cores",
    question: "CPU cores",
    flag: "--cores",
    usual: "4",
    unit: "CPU cores",
    least: 1,
    parse: |text| text.trim().parse().map_err(|_| format!("{text:?} is not a number of cores: write 4, for example")),
};
const MEMORY: Size = Size {
    what: "the memory",
    question: "Memory (e.g. 8GiB; a plain number is MiB)",
    flag: "--memory",
    usual: "8192",
    unit: "MiB of memory",
    least: 2048,
    parse: |text| Memory::parse(text).map(|Memory(mib)| mib),
};
const DISK: Size = Size {
    what: "the disk",
    question: "Disk (e.g. 40GiB; a plain number is GiB)",
    flag: "--disk",
    usual: "40",
    unit: "GiB of disk",
    least: 5,
    parse: |text| Disk::parse(text).map(|Disk(gib)| gib),
};

impl Size {
    fn enough(&self, value: u32) -> Result<u32, Failure> {
        if value >= self.least {
            return Ok(value);
        }
        let Size { unit, least, flag, .. } = self;
        Err(Failure::new(Code::Usage, format!("{value} {unit} is too little"))
            .cause(format!("the provider's schema requires at least {least}"))
            .hint(format!("{flag} {least} or more; plain numbers are MiB of memory and GiB of disk")))
    }
}

fn valid_name(text: &str) -> Result<String, Failure> {
    name::check("machine class", text).map(|()| text.to_owned())
}

const SELECTOR: &str = "write which storage takes the disk, such as --selector 'name == \"STORAGE\"'";

/// The rules of `machineclass-check` say what is wrong with an expression; an empty one is none.
fn given_selector(text: &str) -> Result<String, Failure> {
    if text.trim().is_empty() {
        return Err(Failure::new(Code::Usage, "the storage selector is empty")
            .cause("the provider refuses every machine with an empty one")
            .hint(SELECTOR));
    }
    Ok(text.to_owned())
}

/// A selector that is typed: it must compile as the provider compiles it.
fn valid_selector(text: &str) -> Result<String, Failure> {
    match selector::compile(text) {
        Err(error) if error.certain => Err(Failure::new(Code::Usage, format!("{text:?} is not a valid selector"))
            .cause(error.line)
            .hint(error.hint.unwrap_or_else(|| SELECTOR.to_owned()))),
        _ => given_selector(text),
    }
}

/// Asks for the selector, with the storages of Proxmox where it can be reached; the name of one will do.
fn ask_for_selector(cx: &Cx, answers: &Answers<'_>) -> Result<String, Failure> {
    let storages = storages(cx);
    let named = |name: &str| format!("name == {name:?}");
    if !storages.is_empty() {
        cx.ui.say(&format!("  storages of Proxmox that hold disks: {}", storages.join(", ")));
    }
    let usual = named(storages.first().map_or("local-lvm", String::as_str));
    let missing = missing("the storage selector", "--selector");
    answers.ask("--selector", "Storage: its name, or a selector (CEL)", Some(&usual), missing, |text| {
        if storages.iter().any(|storage| storage == text) { Ok(named(text)) } else { valid_selector(text) }
    })
}

/// The storages of Proxmox for disks, by name; none where it cannot be asked.
fn storages(cx: &Cx) -> Vec<String> {
    let asked = proxmox_inventory::login(cx)
        .and_then(|login| login.proxmox.get(cx, "asking Proxmox for its storages", "/storage"));
    let holds_disks =
        |entry: &&Value| entry["content"].as_str().is_some_and(|all| all.split(',').any(|one| one == "images"));
    let listed = asked.ok().and_then(|found| found.as_array().cloned()).unwrap_or_default();
    listed.iter().filter(holds_disks).filter_map(|entry| Some(entry["storage"].as_str()?.to_owned())).collect()
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
