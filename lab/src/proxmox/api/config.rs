//! `/nodes/{node}/qemu/{vmid}/config`: reading and changing a VM's configuration (qemu-server 9 `API2/Qemu.pm` `$update_vm_api`).

use std::time::Duration;

use ring::digest;
use serde_json::Value;

use super::drives::{check_devices, check_options, check_storage_access, check_vm, free, make_drives};
use super::qemu::{give_addresses, vm_settings};
use super::{Call, Handler};
use crate::proxmox::World;
use crate::proxmox::property::missing_boot_devices;
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::task::Effect;
use crate::proxmox::vmschema::{config_json, kind};
use crate::proxmox::world::vm::is_drive;
use crate::proxmox::world::{Config, Drive};
use crate::tls::hex;

const CHANGE: Duration = Duration::from_millis(300);

pub(super) const HANDLERS: &[Handler] = &[
    ("GET /nodes/{node}/qemu/{vmid}/config", read),
    ("POST /nodes/{node}/qemu/{vmid}/config", change_later),
    ("PUT /nodes/{node}/qemu/{vmid}/config", change_now),
];

/// The SHA-1 of a configuration, which clients use to detect concurrent changes.
fn digest_of(config: &Config) -> String {
    let text: String = config.iter().map(|(option, value)| format!("{option}: {value}\n")).collect();
    hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn read(call: &mut Call<'_>) -> Outcome {
    let vm = call.world.vm(&call.node(), call.vmid())?;
    let mut shown = config_json(&vm.config);
    shown.insert("digest".into(), digest_of(&vm.config).into());
    if let Some(lock) = &vm.lock {
        shown.insert("lock".into(), lock.as_str().into());
    }
    Ok(shown.into())
}

fn change_later(call: &mut Call<'_>) -> Outcome {
    let (vmid, effect) = change(call)?;
    call.fork("qmconfig", &vmid.to_string(), CHANGE, effect)
}

fn change_now(call: &mut Call<'_>) -> Outcome {
    let (_, effect) = change(call)?;
    effect(call.world, &mut Vec::new())?;
    Ok(Value::Null)
}

/// Validates a change and returns the effect that applies it.
fn change(call: &mut Call<'_>) -> Outcome<(u32, Effect)> {
    let (node, vmid, now) = (call.node(), call.vmid(), call.now);
    let deleted: Vec<String> = call.args.list("delete");
    let mut settings = vm_settings(call, &["delete"]);
    if deleted.is_empty() && settings.is_empty() {
        return Err(Refusal::die("no options specified"));
    }
    if let Some(option) = deleted.iter().find(|option| kind(option).is_none() || is_drive(option)) {
        let why = format!("unknown option '{option}', or a drive, whose removal the lab does not simulate");
        return Err(Refusal::parameter("delete", why));
    }
    let gone: Vec<&str> = deleted.iter().map(String::as_str).collect();
    check_options(call, vmid, None, &gone)?;
    let options: Vec<&str> = settings.keys().map(String::as_str).collect();
    check_options(call, vmid, None, &options)?;
    check_storage_access(call, vmid, &settings)?;
    check_devices(call, vmid, None, &settings)?;
    let vm = call.world.vm(&node, vmid)?;
    vm.unlocked()?;
    check_drive_changes(call, vmid, &vm.config, &settings)?;
    if settings.contains_key("tags") || gone.contains(&"tags") {
        check_vm(call, vmid, None, &["VM.Config.Options"])?;
    }
    give_addresses(call.world, &mut settings);
    let effect =
        move |world: &mut World, log: &mut Vec<String>| apply(world, (&node, vmid, now), settings, &deleted, log);
    Ok((vmid, Box::new(effect)))
}

/// Checks the privileges for changed drives: both the old and the new drive require the privilege of their kind.
fn check_drive_changes(call: &Call<'_>, vmid: u32, old: &Config, new: &Config) -> Outcome<()> {
    let changed = new.keys().filter(|option| is_drive(option));
    for option in changed {
        for drive in [old.get(option), new.get(option)].into_iter().flatten().filter_map(|value| Drive::parse(value)) {
            let privilege = if drive.is_cdrom() { "VM.Config.CDROM" } else { "VM.Config.Disk" };
            check_vm(call, vmid, None, &[privilege])?;
        }
    }
    Ok(())
}

fn apply(
    world: &mut World,
    place: (&str, u32, u64),
    settings: Config,
    deleted: &[String],
    log: &mut Vec<String>,
) -> Result<(), String> {
    let (node, vmid, _) = place;
    let vm = world.vm(node, vmid)?;
    vm.unlocked()?;
    let mut config = vm.config.clone();
    log.push(format!(
        "update VM {vmid}: {}",
        settings.iter().map(|(o, v)| format!("-{o} {v}")).collect::<Vec<_>>().join(" ")
    ));
    config.retain(|option, _| !deleted.contains(option));
    let (settings, made) = make_drives(world, place, settings, log)?;
    config.extend(settings);
    let boot = config.get("boot").cloned().unwrap_or_default();
    if let Some(device) = missing_boot_devices(&boot, &config).first() {
        free(world, node, &made);
        return Err(format!("invalid bootorder: device '{device}' does not exist'"));
    }
    if let Some(vm) = world.vms.get_mut(&vmid) {
        vm.config = config;
    }
    Ok(())
}
