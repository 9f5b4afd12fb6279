//! Property strings, `virtio,bridge=vmbr0,firewall=1`: several values in one parameter
//! (pve-common `JSONSchema.pm` `parse_property_string`, the formats from qemu-server 9, without the keys that no client of the
//! lab sends).

use std::collections::BTreeMap;

use super::params::{ANY, ParamType, check_text};
use super::world::Drive;
use crate::proxmox::world::Config;

/// One key of a property string: its name, what it holds, and whether it must be there.
type FormatKey = (&'static str, ParamType, bool);

/// A format: the key that a value without a name belongs to, and all keys.
pub struct Format {
    default: Option<&'static str>,
    keys: &'static [FormatKey],
}

const TEXT: ParamType = ParamType::Text(4096);
const CACHE: &[&str] = &["none", "writethrough", "writeback", "unsafe", "directsync"];

/// `ide0`, `scsi0`, …: the options of the four buses taken together.
pub const DRIVE: Format = Format {
    default: Some("file"),
    keys: &[
        ("file", ParamType::Format(volume), true),
        ("aio", ParamType::Enum(&["native", "threads", "io_uring"]), false),
        ("backup", ParamType::Bool, false),
        ("cache", ParamType::Enum(CACHE), false),
        ("discard", ParamType::Enum(&["ignore", "on"]), false),
        ("format", ParamType::Enum(&["raw", "qcow2", "vmdk"]), false),
        ("iothread", ParamType::Bool, false),
        ("media", ParamType::Enum(&["cdrom", "disk"]), false),
        ("size", ParamType::Pattern(is_size), false),
        ("ssd", ParamType::Bool, false),
        // efidisk0 and tpmstate0
        ("efitype", ParamType::Enum(&["2m", "4m"]), false),
        ("pre-enrolled-keys", ParamType::Bool, false),
    ],
};

const MODELS: &[&str] = &["e1000", "e1000e", "rtl8139", "virtio", "vmxnet3"];

/// `net0`, ….
pub const NET: Format = Format {
    default: Some("model"),
    keys: &[
        ("model", ParamType::Enum(MODELS), true),
        ("bridge", ParamType::Format(bridge), false),
        ("firewall", ParamType::Bool, false),
        ("tag", ParamType::Int(1, 4094), false),
    ],
};

/// `agent`.
pub const AGENT: Format = Format { default: Some("enabled"), keys: &[("enabled", ParamType::Bool, true)] };

/// `boot`.
pub const BOOT: Format = Format { default: Some("legacy"), keys: &[("legacy", TEXT, false), ("order", TEXT, false)] };

/// `machine`. There is no plain `i440fx` among them.
pub const MACHINE: Format = Format { default: Some("type"), keys: &[("type", ParamType::Pattern(is_machine), false)] };

/// `memory`.
pub const MEMORY: Format = Format { default: Some("current"), keys: &[("current", ParamType::Int(16, ANY), true)] };

/// `cpu`.
pub const CPU: Format = Format {
    default: Some("cputype"),
    keys: &[("cputype", ParamType::Pattern(is_cpu), false), ("flags", TEXT, false)],
};

/// `smbios1`.
pub const SMBIOS: Format = Format { default: None, keys: &[("uuid", ParamType::Pattern(is_uuid), false)] };

/// `hostpci0`, ….
pub const HOSTPCI: Format = Format {
    default: None,
    keys: &[
        ("mapping", ParamType::Format(configid), false),
        ("mdev", TEXT, false),
        ("pcie", ParamType::Bool, false),
        ("rombar", ParamType::Bool, false),
        ("x-vga", ParamType::Bool, false),
    ],
};

/// Keys and values of a property string, whatever its format; a value without a name stands under the empty one.
pub fn pairs(text: &str) -> BTreeMap<&str, &str> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or(("", part))).collect()
}

impl Format {
    /// Whether a text has this format; if not, what PVE says of it.
    pub fn check(&self, name: &str, text: &str) -> Result<(), String> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let mut errors = String::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (self.alias(name, key), value),
                None => match self.default {
                    Some(default) => (default, part),
                    None => return Err("value without key, but schema does not define a default key".into()),
                },
            };
            // `virtio=BC:24:11:…`: the model is the key, the address its value.
            let (key, value) =
                if name.starts_with("net") && MODELS.contains(&key) { ("model", key) } else { (key, value) };
            if seen.insert(key, value).is_some() {
                return Err(format!("duplicate key in comma-separated list property: {key}"));
            }
        }
        for (key, value) in &seen {
            let wrong = match self.keys.iter().find(|(known, _, _)| known == key) {
                // Inside a property string a boolean may be a word: the provider sends `enabled=true`.
                Some((_, ParamType::Bool, _)) if is_yes_or_no(value) => None,
                Some((_, kind, _)) => check_text(key, *kind, value)
                    .err()
                    .map(|why| why.unwrap_or_else(|| format!("type check failed - got '{value}'"))),
                None => {
                    Some("property is not defined in schema and the schema does not allow additional properties".into())
                }
            };
            if let Some(wrong) = wrong {
                errors.push_str(&format!("{name}.{key}: {}\n", wrong.trim_end()));
            }
        }
        for (key, _, _) in self.keys.iter().filter(|(key, _, needed)| *needed && !seen.contains_key(key)) {
            errors.push_str(&format!("{name}.{key}: property is missing and it is not optional\n"));
        }
        if errors.is_empty() { Ok(()) } else { Err(format!("format error\n{}", errors.trim_end())) }
    }

    fn alias<'a>(&self, name: &str, key: &'a str) -> &'a str {
        match key {
            "volume" if !name.starts_with("net") => "file",
            _ => key,
        }
    }
}

fn volume(_: &str, text: &str) -> Result<(), String> {
    let special = matches!(text, "none" | "cdrom") || text.starts_with('/');
    let named = super::world::disk::split_volid(text).is_some();
    let sized = Drive::parse(text).is_some_and(|drive| drive.new_disk().is_some());
    if special || named || sized { Ok(()) } else { Err(format!("unable to parse volume ID '{text}'")) }
}

fn bridge(_: &str, text: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let fine = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.len() <= 18 && text.chars().all(good);
    if fine { Ok(()) } else { Err(format!("invalid bridge ID '{text}'")) }
}

/// The format of many ids (`pve-configid`).
pub fn configid(_: &str, text: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let fine = text.len() >= 2 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(good);
    if fine { Ok(()) } else { Err(format!("invalid configuration ID '{text}'")) }
}

fn is_size(text: &str) -> bool {
    let number = text.trim_end_matches(['K', 'M', 'G', 'T']);
    number.len() + 1 >= text.len() && number.parse::<f64>().is_ok_and(|size| size >= 0.0)
}

fn is_yes_or_no(text: &str) -> bool {
    matches!(text, "0" | "1" | "true" | "false" | "yes" | "no" | "on" | "off")
}

fn is_cpu(text: &str) -> bool {
    let name = text.strip_prefix("custom-").unwrap_or(text);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(good)
}

fn is_machine(text: &str) -> bool {
    // pc, pc-i440fx-9.0+pve1, pc-9.0, q35, pc-q35-9.0, virt
    let version = |text: &str| {
        let text = text.strip_suffix(".pxe").unwrap_or(text);
        let text = text.split_once("+pve").map_or(text, |(version, patch)| if patch.is_empty() { "" } else { version });
        text.contains('.') && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(text, "pc" | "q35" | "virt")
        || ["pc-i440fx-", "pc-q35-", "virt-", "pc-"].iter().any(|head| text.strip_prefix(head).is_some_and(version))
}

/// Whether a text is a UUID.
pub fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// The bridge of a network device and its VLAN tag.
pub fn bridge_of(net: &str) -> Option<(&str, Option<&str>)> {
    let pairs = pairs(net);
    Some((*pairs.get("bridge")?, pairs.get("tag").copied()))
}

/// A network device with an address; it keeps the one it has.
pub fn with_mac(net: &str, mac: impl FnOnce() -> String) -> String {
    let (head, tail) = net.split_once(',').unwrap_or((net, ""));
    let tail = if tail.is_empty() { String::new() } else { format!(",{tail}") };
    if head.contains('=') && MODELS.contains(&head.split('=').next().unwrap_or("")) {
        return net.to_owned();
    }
    let model = head.strip_prefix("model=").unwrap_or(head);
    format!("{model}={}{tail}", mac())
}

/// The devices of a boot order that a configuration does not have.
pub fn missing_boot_devices(boot: &str, config: &Config) -> Vec<String> {
    let order = pairs(boot).get("order").copied().unwrap_or("").to_owned();
    order.split(';').filter(|device| !device.is_empty() && !config.contains_key(*device)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_key_by_key() {
        let unknown = "property is not defined in schema and the schema does not allow additional properties";
        for (name, format, text, why) in [
            ("machine", &MACHINE, "i440fx", "machine.type: value does not match the regex pattern".to_owned()),
            ("net0", &NET, "bridge=vmbr0", "net0.model: property is missing and it is not optional".into()),
            ("net0", &NET, "virtio,tag=5000", "net0.tag: value must have a maximum value of 4094".into()),
            ("scsi0", &DRIVE, "local-lvm:40,speed=9", format!("scsi0.speed: {unknown}")),
            ("scsi0", &DRIVE, "ssd=1", "scsi0.file: property is missing and it is not optional".into()),
            ("memory", &MEMORY, "8", "memory.current: value must have a minimum value of 16".into()),
        ] {
            assert_eq!(format.check(name, text), Err(format!("format error\n{why}")), "{name}={text}");
        }
        let twice = SMBIOS.check("smbios1", "uuid=a,uuid=b").unwrap_err();
        assert_eq!(twice, "duplicate key in comma-separated list property: uuid");
    }
}
