//! The values of a new machine class, and the prompts for them.

use crate::flow::proxmox;
use crate::prelude::*;
use domain::spec::size::{Disk, Memory};
use runtime::answers::Answers;

/// A numeric value of a class: its prompt, and the minimum that the provider's schema accepts
/// (omni-infra-provider-proxmox 0d9fd58 `data/schema.json`).
pub struct SizeInput {
    pub what: &'static str,
    pub question: &'static str,
    pub flag: &'static str,
    pub default: &'static str,
    unit: &'static str,
    least: u32,
    pub parse: fn(&str) -> Result<u32, String>,
}

pub const CORES: SizeInput = SizeInput {
    what: "the CPU cores",
    question: "CPU cores",
    flag: "--cores",
    default: "4",
    unit: "CPU cores",
    least: 1,
    parse: |text| text.trim().parse().map_err(|_| format!("{text:?} is not a number of cores: write 4, for example")),
};

pub const MEMORY: SizeInput = SizeInput {
    what: "the memory",
    question: "Memory (e.g. 8GiB; a plain number is MiB)",
    flag: "--memory",
    default: "8192",
    unit: "MiB of memory",
    least: 2048,
    parse: |text| Memory::parse(text).map(|Memory(mib)| mib),
};

pub const DISK: SizeInput = SizeInput {
    what: "the disk",
    question: "Disk (e.g. 40GiB; a plain number is GiB)",
    flag: "--disk",
    default: "40",
    unit: "GiB of disk",
    least: 5,
    parse: |text| Disk::parse(text).map(|Disk(gib)| gib),
};

impl SizeInput {
    /// Returns `value` unless it is less than the provider accepts.
    ///
    /// # Errors
    /// Fails with [`Code::Usage`] and the minimum.
    pub fn check_minimum(&self, value: u32) -> Result<u32, Failure> {
        if value >= self.least {
            return Ok(value);
        }
        let SizeInput { unit, least, flag, .. } = self;
        Err(Failure::new(Code::Usage, format!("{value} {unit} is too little"))
            .cause(format!("the provider's schema requires at least {least}"))
            .hint(format!("{flag} {least} or more; plain numbers are MiB of memory and GiB of disk")))
    }
}

const SELECTOR: &str = "specify the storage for the disk, e.g. --selector 'name == \"STORAGE\"'";

/// Refuses only an empty selector: the rules of `machineclass-check` report what is wrong with any other expression.
pub fn refuse_empty_selector(text: &str) -> Result<String, Failure> {
    if text.trim().is_empty() {
        return Err(Failure::new(Code::Usage, "the storage selector is empty")
            .cause("the provider refuses every machine with an empty selector")
            .hint(SELECTOR));
    }
    Ok(text.to_owned())
}

/// Checks a selector typed at the prompt: it must compile as the provider compiles it.
fn check_selector(text: &str) -> Result<String, Failure> {
    match selector::compile(text) {
        Err(error) if error.certain => Err(Failure::new(Code::Usage, format!("{text:?} is not a valid selector"))
            .cause(error.line)
            .hint(error.hint.unwrap_or_else(|| SELECTOR.to_owned()))),
        _ => refuse_empty_selector(text),
    }
}

/// Prompts for the selector. Lists the storages of Proxmox if it can be reached, and accepts the name of one as the answer.
pub fn ask_for_selector(cx: &Cx, answers: &Answers<'_>) -> Result<String, Failure> {
    let storages = image_storages(cx);
    let named = |name: &str| format!("name == {name:?}");
    if !storages.is_empty() {
        cx.ui.say(&format!("  storages of Proxmox that accept disks: {}", storages.join(", ")));
    }
    let usual = named(storages.first().map_or("local-lvm", String::as_str));
    let missing = MissingValue::flag("the storage selector", "--selector");
    answers.ask("--selector", "Storage: its name, or a selector (CEL)", Some(&usual), missing, |text| {
        if storages.iter().any(|storage| storage == text) { Ok(named(text)) } else { check_selector(text) }
    })
}

/// Returns the names of the Proxmox storages that hold disk images; empty if Proxmox cannot be queried.
fn image_storages(cx: &Cx) -> Vec<String> {
    let asked = proxmox::login(cx).and_then(|login| login.get(cx, "reading the storages from Proxmox", "/storage"));
    let holds_disks =
        |entry: &&Value| entry["content"].as_str().is_some_and(|all| all.split(',').any(|one| one == "images"));
    let listed = asked.ok().and_then(|found| found.as_array().cloned()).unwrap_or_default();
    listed.iter().filter(holds_disks).filter_map(|entry| Some(entry["storage"].as_str()?.to_owned())).collect()
}
