//! Drives in the parameters of a VM: checks access to their storages and creates their disks
//! (qemu-server 9 `API2/Qemu.pm` `$check_storage_access`, `create_disks`).

use super::Call;
use crate::proxmox::World;
use crate::proxmox::property::{bridge_of, pairs};
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::vmschema::{guard, unique_tags};
use crate::proxmox::world::disk::{parse_volname, split_volid};
use crate::proxmox::world::vm::{is_drive, size_text};
use crate::proxmox::world::{Config, Drive, GIB};

/// Converts the size of a new disk from GiB to bytes.
fn bytes(gib: f64) -> u64 {
    (gib.clamp(0.0, 1e9) * GIB as f64) as u64
}

/// Checks that the caller may use the storages and volumes of all drives, and that these can be drives at all.
pub fn check_storage_access(call: &Call<'_>, vmid: u32, settings: &Config) -> Outcome<()> {
    for (option, value) in settings.iter().filter(|(option, _)| is_drive(option)) {
        let drive = Drive::parse(value).ok_or_else(|| Refusal::parameter(option, "unable to parse drive options"))?;
        match drive.new_disk().filter(|_| !drive.is_cdrom()) {
            Some((storage, _)) => {
                let id = storage.ok_or_else(|| Refusal::die("no storage ID specified (and no default storage)"))?;
                call.check(&format!("/storage/{id}"), &["Datastore.AllocateSpace"])?;
                let known = call.world.storages.get(id);
                let known = known.ok_or_else(|| format!("storage '{id}' does not exist"))?;
                if !known.content.contains("images") {
                    let why = format!("storage '{id}' does not support vm images");
                    return Err(Refusal::parameter("storage", why));
                }
            }
            None => {
                let kind = check_volume_access(call, Some(vmid), &drive.file)?;
                if kind == "iso" && !drive.is_cdrom() {
                    let why = "explicit 'media=cdrom' is required for iso images";
                    return Err(Refusal::parameter(option, why));
                }
            }
        }
    }
    Ok(())
}

/// Checks that the caller may read a volume and returns its content type (pve-storage `Storage.pm` `check_volume_access`).
pub fn check_volume_access(call: &Call<'_>, vmid: Option<u32>, volid: &str) -> Outcome<&'static str> {
    let unreadable = || Refusal::die(format!("unable to parse volume ID '{volid}'"));
    let (id, name) = split_volid(volid).ok_or_else(unreadable)?;
    let storage = call.world.storages.get(id).ok_or_else(|| format!("storage '{id}' does not exist"))?;
    let (content, owner) = parse_volname(storage.kind, name).ok_or_else(unreadable)?;
    let path = format!("/storage/{id}");
    if call.may(&path, &["Datastore.Allocate"]) {
        return Ok(content);
    }
    match owner {
        None => call.world.access.check_any(call.auth, &path, &["Datastore.AllocateSpace", "Datastore.Audit"])?,
        Some(_) if owner == vmid => {}
        Some(owner) => {
            call.check(&path, &["Datastore.Audit"])?;
            call.check(&format!("/vms/{owner}"), &["VM.Config.Disk"])?;
        }
    }
    Ok(content)
}

/// Checks privileges on a VM, which may also come from the pool that the VM is to be added to.
pub fn check_vm(call: &Call<'_>, vmid: u32, pool: Option<&str>, privileges: &[&str]) -> Outcome<()> {
    if pool.is_some_and(|pool| call.may_any(&format!("/pool/{pool}"), privileges)) {
        return Ok(());
    }
    let path = format!("/vms/{vmid}");
    match privileges {
        [_one] => call.check(&path, privileges),
        _ => call.world.access.check_any(call.auth, &path, privileges),
    }
}

/// Checks that the caller may change all of these options.
pub fn check_options(call: &Call<'_>, vmid: u32, pool: Option<&str>, options: &[&str]) -> Outcome<()> {
    if call.auth == "root@pam" {
        return Ok(());
    }
    for option in options {
        match guard(option) {
            "-" => return Err(Refusal::die(format!("only root can set '{option}' config"))),
            "*" => {}
            privilege => check_vm(call, vmid, pool, &[&format!("VM.Config.{privilege}")])?,
        }
    }
    Ok(())
}

/// Checks that the caller may use the host devices and bridges in the settings.
pub fn check_devices(call: &Call<'_>, vmid: u32, pool: Option<&str>, settings: &Config) -> Outcome<()> {
    if call.auth == "root@pam" {
        return Ok(());
    }
    for (option, value) in settings {
        let kind = option.trim_end_matches(|c: char| c.is_ascii_digit());
        match kind {
            "hostpci" => match pairs(value).get("mapping") {
                Some(mapping) => {
                    call.check(&format!("/mapping/pci/{mapping}"), &["Mapping.Use"])?;
                    check_vm(call, vmid, pool, &["VM.Config.HWType"])?;
                }
                None => {
                    return Err(Refusal::die(format!("only root can set '{option}' config for non-mapped devices")));
                }
            },
            "net" => {
                if let Some((bridge, tag)) = bridge_of(value) {
                    let tag = tag.map_or(String::new(), |tag| format!("/{tag}"));
                    call.check(&format!("/sdn/zones/localnetwork/{bridge}{tag}"), &["SDN.Use"])?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Creates the disks in the settings. Returns the settings to be stored and the new volumes, which are removed again on error.
pub fn make_drives(
    world: &mut World,
    place: (&str, u32, u64),
    settings: Config,
    log: &mut Vec<String>,
) -> Result<(Config, Vec<String>), String> {
    let mut made = Vec::new();
    let kept: Result<Config, String> = settings
        .into_iter()
        .map(|(option, value)| {
            let value = match option.as_str() {
                "tags" => unique_tags(&value),
                option if is_drive(option) => make_drive(world, place, (option, &value), (&mut made, log))?,
                _ => value,
            };
            Ok::<_, String>((option, value))
        })
        .collect();
    match kept {
        Ok(kept) => Ok((kept, made)),
        Err(why) => {
            free(world, place.0, &made);
            Err(why)
        }
    }
}

/// Removes new volumes again.
pub fn free(world: &mut World, node: &str, made: &[String]) {
    made.iter().for_each(|volid| _ = world.free_volume(node, volid));
}

/// Creates the disk of one drive, if it is new, and returns the drive's final text; a new volume is added to `made`.
fn make_drive(
    world: &mut World,
    place: (&str, u32, u64),
    (option, value): (&str, &str),
    (made, log): (&mut Vec<String>, &mut Vec<String>),
) -> Result<String, String> {
    let (node, vmid, now) = place;
    let mut drive = Drive::parse(value).ok_or("unable to parse drive options")?;
    let asked = drive.new_disk().filter(|_| !drive.is_cdrom());
    if let Some((storage, gib)) = asked {
        let id = storage.ok_or("no storage ID specified (and no default storage)")?.to_owned();
        // PVE creates EFI disks with a fixed size, whatever the request.
        let size = if option == "efidisk0" { 528 << 10 } else { bytes(gib) };
        let volid = world.allocate(&id, node, vmid, size, now)?;
        made.push(volid.clone());
        drive.options.remove("format");
        drive.options.insert("size".into(), size_text(size));
        drive.file = volid;
        log.push(format!("{option}: successfully created disk '{drive}'"));
        return Ok(drive.to_string());
    }
    let (id, _) = split_volid(&drive.file).ok_or_else(|| format!("unable to parse volume ID '{}'", drive.file))?;
    world.active_backend(id, node)?;
    let size = world.volume(node, &drive.file).map(|volume| volume.size);
    let size = size.ok_or_else(|| format!("volume '{}' does not exist", drive.file))?;
    drive.options.insert("size".into(), size_text(size));
    Ok(drive.to_string())
}
