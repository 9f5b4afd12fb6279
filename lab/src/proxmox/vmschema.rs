//! The options of a VM that clients of the lab send: which there are, what they hold, and which privilege changes them
//! (qemu-server 9 `QemuServer.pm` `$confdesc`, `API2/Qemu.pm` `$check_vm_modify_config_perm`).

use serde_json::{Map, Value};

use super::params::{ANY, ParamType};
use super::property::{AGENT, BOOT, CPU, DRIVE, HOSTPCI, MACHINE, MEMORY, NET, SMBIOS};
use super::world::Config;
use super::world::vm::is_drive;

const SCSIHW: &[&str] = &["lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"];
const OSTYPE: &[&str] =
    &["other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24", "l26", "solaris"];

/// Options that stand alone.
const PLAIN: &[(&str, ParamType)] = &[
    ("agent", ParamType::Format(|name, text| AGENT.check(name, text))),
    ("args", ParamType::Text(8192)),
    ("balloon", ParamType::Int(0, ANY)),
    ("bios", ParamType::Enum(&["seabios", "ovmf"])),
    ("boot", ParamType::Format(|name, text| BOOT.check(name, text))),
    ("cdrom", ParamType::Format(|name, text| DRIVE.check(name, text))),
    ("cores", ParamType::Int(1, ANY)),
    ("cpu", ParamType::Format(|name, text| CPU.check(name, text))),
    ("description", ParamType::Text(8192)),
    ("hugepages", ParamType::Enum(&["any", "2", "1024"])),
    ("machine", ParamType::Format(|name, text| MACHINE.check(name, text))),
    ("memory", ParamType::Format(|name, text| MEMORY.check(name, text))),
    ("name", ParamType::Format(dns_name)),
    ("numa", ParamType::Bool),
    ("onboot", ParamType::Bool),
    ("ostype", ParamType::Enum(OSTYPE)),
    ("protection", ParamType::Bool),
    ("scsihw", ParamType::Enum(SCSIHW)),
    ("smbios1", ParamType::Format(|name, text| SMBIOS.check(name, text))),
    ("sockets", ParamType::Int(1, ANY)),
    ("tags", ParamType::Format(tags)),
    ("template", ParamType::Bool),
    ("vga", ParamType::Text(4096)),
    ("vmgenid", ParamType::Text(36)),
];

/// Options that come in numbers: prefix, highest number, what they hold.
const NUMBERED: &[(&str, u32, ParamType)] = &[
    ("hostpci", 15, ParamType::Format(|name, text| HOSTPCI.check(name, text))),
    ("net", 31, ParamType::Format(|name, text| NET.check(name, text))),
    ("numa", 7, ParamType::Text(4096)),
    ("serial", 3, ParamType::Text(4096)),
    ("unused", 255, ParamType::Text(4096)),
];

/// What an option holds; `None` if there is no such option.
pub fn kind(option: &str) -> Option<ParamType> {
    if is_drive(option) {
        return Some(ParamType::Format(|name, text| DRIVE.check(name, text)));
    }
    let plain = PLAIN.iter().find(|(name, _)| *name == option).map(|(_, kind)| *kind);
    plain.or_else(|| numbered(option).map(|(_, kind)| kind))
}

/// The prefix and kind of an option that comes in numbers.
fn numbered(option: &str) -> Option<(&'static str, ParamType)> {
    NUMBERED.iter().find_map(|(prefix, most, kind)| {
        let number: u32 = option.strip_prefix(prefix)?.parse().ok()?;
        (number <= *most).then_some((*prefix, *kind))
    })
}

/// Who may change an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Whoever has one of these privileges on the VM.
    Any(&'static [&'static str]),
    /// root@pam alone.
    Root,
    /// It is checked elsewhere, by its value.
    ByValue,
}

/// Who may change an option, drives and devices left to the checks of their values.
pub fn guard(option: &str) -> Guard {
    if is_drive(option) || matches!(option, "cdrom" | "tags") {
        return Guard::ByValue;
    }
    match numbered(option).map_or(option, |(prefix, _)| prefix) {
        "unused" | "serial" | "hostpci" => Guard::ByValue,
        "cores" | "cpu" | "numa" | "sockets" => Guard::Any(&["VM.Config.CPU"]),
        "memory" | "balloon" => Guard::Any(&["VM.Config.Memory"]),
        "machine" | "scsihw" | "smbios1" | "vga" => Guard::Any(&["VM.Config.HWType"]),
        "agent" | "bios" | "description" | "name" | "onboot" | "ostype" | "protection" | "template" => {
            Guard::Any(&["VM.Config.Options"])
        }
        "boot" => Guard::Any(&["VM.Config.Disk"]),
        "net" => Guard::Any(&["VM.Config.Network"]),
        _ => Guard::Root,
    }
}

/// A configuration as `GET …/config` shows it: whole numbers and booleans as numbers, the rest as text.
pub fn config_json(config: &Config) -> Map<String, Value> {
    let shown = config.iter().map(|(option, value)| {
        let number = match kind(option) {
            Some(ParamType::Int(..) | ParamType::Bool) => value.parse::<i64>().ok(),
            _ => None,
        };
        (option.clone(), number.map_or_else(|| Value::from(value.as_str()), Value::from))
    });
    shown.collect()
}

/// A DNS name (`pve_verify_dns_name`).
pub fn dns_name(_: &str, text: &str) -> Result<(), String> {
    let label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let inner = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        label.len() <= 63 && edge(label.chars().next()) && edge(label.chars().last()) && inner
    };
    if text.split('.').all(label) { Ok(()) } else { Err("value does not look like a valid DNS name".into()) }
}

fn tags(_: &str, text: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
    let tag = |tag: String| tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && tag.chars().all(good);
    if super::params::split_list(text).into_iter().all(tag) { Ok(()) } else { Err("invalid characters in tag".into()) }
}

/// Tags as PVE keeps them: in lower case, sorted, each once.
pub fn unique_tags(text: &str) -> String {
    let mut tags: Vec<String> = super::params::split_list(text).iter().map(|tag| tag.to_ascii_lowercase()).collect();
    tags.sort();
    tags.dedup();
    tags.join(";")
}
