//! `/nodes/{node}/qemu/{vmid}/config`: reading and changing a VM (qemu-server 9 `API2/Qemu.pm` `$update_vm_api`).

use std::time::Duration;

use ring::digest;
use serde_json::Value;

use super::drives::{check_devices, check_options, check_storage_access, check_vm, make_drive};
use super::qemu::{give_addresses, vm_settings};
use super::{Call, Method, Needs};
use crate::proxmox::World;
use crate::proxmox::params::{Param, ParamType, optional};
use crate::proxmox::property::{missing_boot_devices, pairs};
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::task::Effect;
use crate::proxmox::vmschema::{config_json, kind, unique_tags};
use crate::proxmox::world::vm::is_drive;
use crate::proxmox::world::{Config, Drive};
use crate::tls::hex;

const CHANGE: Duration = Duration::from_millis(300);

const ANY_CONFIG: Needs = Needs::Any(
    "/vms/{vmid}",
    &[
        "VM.Config.Disk",
        "VM.Config.CDROM",
        "VM.Config.CPU",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.HWType",
        "VM.Config.Options",
        "VM.Config.Cloudinit",
    ],
);

const CHANGES: &[Param] = &[
    optional("delete", ParamType::Text(8192)),
    optional("revert", ParamType::Text(8192)),
    optional("force", ParamType::Bool),
    optional("skiplock", ParamType::Bool),
    optional("digest", ParamType::Text(40)),
    optional("background_delay", ParamType::Int(1, 30)),
];

pub(super) const METHODS: &[Method] = &[
    Method::new("GET", "/nodes/{node}/qemu/{vmid}/config", Needs::All("/vms/{vmid}", &["VM.Audit"]), read)
        .on_node()
        .with(&[optional("current", ParamType::Bool), optional("snapshot", ParamType::Text(40))]),
    Method::new("POST", "/nodes/{node}/qemu/{vmid}/config", ANY_CONFIG, change_later)
        .on_node()
        .with_vm_options()
        .with(CHANGES),
    Method::new("PUT", "/nodes/{node}/qemu/{vmid}/config", ANY_CONFIG, change_now)
        .on_node()
        .with_vm_options()
        .with(CHANGES),
];

/// The SHA-1 of the configuration, by which two who change it at once notice each other.
fn digest_of(config: &Config) -> String {
    let text: String = config.iter().map(|(option, value)| format!("{option}: {value}\n")).collect();
    hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn read(call: &mut Call<'_>) -> Outcome {
    let vm = call.world.vm(&call.node(), call.vmid()).map_err(Refusal::die)?;
    let mut shown = config_json(&vm.config);
    shown.insert("digest".into(), digest_of(&vm.config).into());
    if let Some(lock) = &vm.lock {
        shown.insert("lock".into(), lock.as_str().into());
    }
    Ok(shown.into())
}

fn change_later(call: &mut Call<'_>) -> Outcome {
    let (vmid, effect) = change(call)?;
    let delay = call.args.int("background_delay");
    let upid = call.fork("qmconfig", &vmid.to_string(), CHANGE, effect)?;
    if let (Some(delay), Some(upid)) = (delay, upid.as_str()) {
        call.wait = Some((upid.to_owned(), Duration::from_secs(delay.unsigned_abs())));
    }
    Ok(upid)
}

fn change_now(call: &mut Call<'_>) -> Outcome {
    let (_, effect) = change(call)?;
    effect(call.world, &mut Vec::new()).map_err(Refusal::die)?;
    Ok(Value::Null)
}

/// Checks a change and returns the work that makes it.
fn change(call: &mut Call<'_>) -> Outcome<(u32, Effect)> {
    let (node, vmid, now) = (call.node(), call.vmid(), call.now);
    if call.args.flag("skiplock") && call.auth != "root@pam" {
        return Err(Refusal::parameter("skiplock", "Only root may use this option."));
    }
    let deleted: Vec<String> = call.args.list("delete");
    let deleted: Vec<String> =
        deleted.into_iter().map(|option| if option == "cdrom" { "ide2".into() } else { option }).collect();
    let names: Vec<&str> = CHANGES.iter().map(|param| param.name).collect();
    let mut settings = vm_settings(call, &names);
    if deleted.is_empty() && settings.is_empty() && call.args.get("revert").is_none() {
        return Err(Refusal::die("no options specified"));
    }
    for option in &deleted {
        if settings.contains_key(option) {
            let why = format!("you can't use '-{option}' and -delete {option}' at the same time");
            return Err(Refusal::parameter("delete", why));
        }
        if kind(option).is_none() {
            return Err(Refusal::parameter("delete", format!("unknown option '{option}'")));
        }
    }
    let gone: Vec<&str> = deleted.iter().map(String::as_str).collect();
    check_options(call, vmid, None, &gone)?;
    let options: Vec<&str> = settings.keys().map(String::as_str).collect();
    check_options(call, vmid, None, &options)?;
    check_storage_access(call, vmid, &settings, None)?;
    check_devices(call, vmid, None, &settings)?;
    let vm = call.world.vm(&node, vmid).map_err(Refusal::die)?;
    if call.args.get("digest").is_some_and(|digest| digest != digest_of(&vm.config)) {
        return Err(Refusal::die("checksum mismatch (file change by other user?)"));
    }
    if let Some(lock) = vm.lock.as_ref().filter(|_| !call.args.flag("skiplock")) {
        return Err(Refusal::die(format!("VM is locked ({lock})")));
    }
    check_drive_changes(call, vmid, &vm.config, &settings, &deleted)?;
    if settings.contains_key("tags") || gone.contains(&"tags") {
        check_vm(call, vmid, None, &["VM.Config.Options"])?;
    }
    if let Some(balloon) = settings.get("balloon").and_then(|balloon| balloon.parse::<u64>().ok()) {
        let memory = settings.get("memory").and_then(|memory| memory.parse().ok()).unwrap_or(vm.memory_mib());
        if balloon > memory {
            return Err(Refusal::die("balloon value too large (must be smaller than assigned memory)"));
        }
    }
    give_addresses(call.world, &mut settings);
    let effect =
        move |world: &mut World, log: &mut Vec<String>| apply(world, (&node, vmid, now), settings, &deleted, log);
    Ok((vmid, Box::new(effect)))
}

/// Changing a drive takes the privilege of its kind, of the old one and of the new.
fn check_drive_changes(call: &Call<'_>, vmid: u32, old: &Config, new: &Config, deleted: &[String]) -> Outcome<()> {
    let changed = new.keys().chain(deleted).filter(|option| is_drive(option) || option.starts_with("unused"));
    for option in changed {
        for drive in [old.get(option), new.get(option)].into_iter().flatten().filter_map(|value| Drive::parse(value)) {
            let privilege = if drive.is_cdrom() { "VM.Config.CDROM" } else { "VM.Config.Disk" };
            check_vm(call, vmid, None, &[privilege])?;
        }
    }
    Ok(())
}

/// Makes a change.
fn apply(
    world: &mut World,
    place: (&str, u32, u64),
    settings: Config,
    deleted: &[String],
    log: &mut Vec<String>,
) -> Result<(), String> {
    let (node, vmid, _) = place;
    let vm = world.vm(node, vmid)?;
    if let Some(lock) = &vm.lock {
        return Err(format!("VM is locked ({lock})"));
    }
    let mut config = vm.config.clone();
    log.push(format!(
        "update VM {vmid}: {}",
        settings.iter().map(|(o, v)| format!("-{o} {v}")).collect::<Vec<_>>().join(" ")
    ));
    let mut freed = Vec::new();
    for option in deleted {
        match config.remove(option) {
            None => log.push(format!("cannot delete '{option}' - not set in current configuration!")),
            Some(value) if option.starts_with("unused") => freed.push(value),
            Some(value) => keep_disk(&mut config, option, &value),
        }
    }
    let mut made = Vec::new();
    let result = settings.into_iter().try_for_each(|(option, value)| {
        let value = if is_drive(&option) {
            // Another property of the same disk is no other disk.
            let file = Drive::parse(&value).map(|drive| drive.file);
            if let Some(old) = config.remove(&option)
                && Drive::parse(&old).map(|drive| drive.file) != file
            {
                keep_disk(&mut config, &option, &old);
            }
            make_drive(world, place, (&option, &value), None, (&mut made, log))?
        } else if option == "tags" {
            unique_tags(&value)
        } else {
            value
        };
        config.insert(option, value);
        Ok::<(), String>(())
    });
    let boot = config.get("boot").cloned().unwrap_or_default();
    let result = result.and_then(|()| match missing_boot_devices(&boot, &config).first() {
        Some(device) if !deleted.contains(device) => {
            Err(format!("invalid bootorder: device '{device}' does not exist'"))
        }
        _ => Ok(()),
    });
    if let Err(why) = result {
        made.iter().for_each(|volid| {
            world.free_volume(node, volid);
        });
        return Err(why);
    }
    if !boot.is_empty() && !deleted.is_empty() {
        config.insert("boot".into(), without(&boot, deleted));
    }
    freed.iter().for_each(|volid| {
        world.free_volume(node, volid);
    });
    if let Some(vm) = world.vms.get_mut(&vmid) {
        vm.config = config;
    }
    Ok(())
}

/// A boot order without the devices that are gone.
fn without(boot: &str, deleted: &[String]) -> String {
    match pairs(boot).get("order") {
        None => boot.to_owned(),
        Some(order) => {
            let kept: Vec<&str> =
                order.split(';').filter(|device| !deleted.iter().any(|gone| gone == device)).collect();
            format!("order={}", kept.join(";"))
        }
    }
}

/// A disk that is taken out of a VM stays with it as `unusedN`; only deleting that destroys it.
fn keep_disk(config: &mut Config, option: &str, value: &str) {
    let Some(drive) = Drive::parse(value).filter(|drive| is_drive(option) && !drive.is_cdrom()) else { return };
    let free = (0..256).map(|number| format!("unused{number}")).find(|name| !config.contains_key(name));
    if let Some(free) = free {
        config.insert(free, drive.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_taken_out_is_kept_and_a_cd_is_not() {
        let mut config = Config::from([("unused0".into(), "a:vm-1-disk-1".into())]);
        keep_disk(&mut config, "scsi1", "a:vm-1-disk-0,size=1G");
        keep_disk(&mut config, "ide2", "local:iso/x.iso,media=cdrom");
        assert_eq!(config.get("unused1").map(String::as_str), Some("a:vm-1-disk-0"));
        assert_eq!(config.len(), 2);
        assert_eq!(without("order=scsi0;ide2;net0", &["ide2".into()]), "order=scsi0;net0");
        assert_eq!(digest_of(&config).len(), 40);
    }
}
