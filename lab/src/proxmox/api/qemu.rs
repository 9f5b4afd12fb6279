//! `/nodes/{node}/qemu`: creating, starting, stopping and destroying VMs (qemu-server 9 `API2/Qemu.pm`).

use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::{mark, vm_entry};
use super::drives::{check_devices, check_options, check_storage_access, make_drives};
use super::{Call, Handler};
use crate::proxmox::World;
use crate::proxmox::property::{bridge_of, pairs, with_mac};
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::world::vm::default_boot;
use crate::proxmox::world::{Config, Vm};

/// Duration of each task on ordinary hardware.
const CREATE: Duration = Duration::from_millis(1500);
const START: Duration = Duration::from_millis(1800);
const STOP: Duration = Duration::from_millis(800);
const SHUTDOWN: Duration = Duration::from_secs(6);
const DESTROY: Duration = Duration::from_millis(1200);

pub(super) const HANDLERS: &[Handler] = &[
    ("GET /nodes/{node}/qemu", list),
    ("POST /nodes/{node}/qemu", create),
    ("DELETE /nodes/{node}/qemu/{vmid}", destroy),
    ("GET /nodes/{node}/qemu/{vmid}/status/current", current),
    ("POST /nodes/{node}/qemu/{vmid}/status/start", start),
    ("POST /nodes/{node}/qemu/{vmid}/status/stop", |call| switch_off(call, "qmstop", STOP)),
    ("POST /nodes/{node}/qemu/{vmid}/status/shutdown", |call| switch_off(call, "qmshutdown", SHUTDOWN)),
];

/// The status of a VM as `vmstatus` of qemu-server returns it.
fn vm_status(call: &Call<'_>, vmid: u32, vm: &Vm) -> Value {
    let mut status = vm_entry(call.world, vmid, vm, call.now);
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|name, _| !["id", "node", "type", "maxcpu", "template"].contains(&name.as_str()));
    }
    let cpus = call.world.nodes.get(&vm.node).map_or(u64::MAX, |node| u64::from(node.cpus));
    status["cpus"] = vm.cpus().min(cpus).into();
    status["memhost"] = vm.memory_in_use().into();
    if let Some(running) = vm.running {
        status["pid"] = running.pid.into();
    }
    mark(&mut status, vm);
    status
}

fn list(call: &mut Call<'_>) -> Outcome {
    let node = call.node();
    let here = call.world.vms.iter().filter(|(_, vm)| vm.node == node);
    let audit = call.world.access.below(call.auth, "/vms", &["VM.Audit"]);
    let visible = here.filter(|(vmid, _)| audit.may(vmid));
    let mut list: Vec<Value> = visible.map(|(vmid, vm)| vm_status(call, *vmid, vm)).collect();
    call.world.shuffle(&mut list);
    Ok(list.into())
}

fn current(call: &mut Call<'_>) -> Outcome {
    let (node, vmid) = (call.node(), call.vmid());
    let vm = call.world.vm(&node, vmid)?;
    let mut status = vm_status(call, vmid, vm);
    status["qmpstatus"] = if vm.running.is_some() { "running" } else { "stopped" }.into();
    status["ha"] = json!({"managed": u8::from(call.world.ha_resources.contains(&format!("vm:{vmid}")))});
    let agent = pairs(vm.config.get("agent").map_or("", String::as_str));
    if matches!(agent.get("enabled").or(agent.get("")), Some(&("1" | "true" | "yes" | "on"))) {
        status["agent"] = 1.into();
    }
    Ok(status)
}

/// The VM options among the parameters, with `cdrom` under its real name.
pub(super) fn vm_settings(call: &mut Call<'_>, besides: &[&str]) -> Config {
    let settings = call.args.iter().filter(|(name, _)| !besides.contains(name) && !matches!(*name, "node" | "vmid"));
    let mut settings: Config = settings.map(|(name, value)| (name.to_owned(), value)).collect();
    if let Some(cdrom) = settings.remove("cdrom") {
        let media = if cdrom.contains("media=") { "" } else { ",media=cdrom" };
        settings.insert("ide2".into(), format!("{cdrom}{media}"));
    }
    settings
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (node, vmid) = (call.node(), call.vmid());
    let pool = call.args.get("pool");
    if let Some(pool) = &pool
        && !call.world.access.pools.contains_key(pool)
    {
        return Err(Refusal::denied(&format!("pool '{pool}' does not exist")));
    }
    let pool_path = pool.as_ref().map(|pool| format!("/pool/{pool}"));
    let through_pool = |privilege: &str| pool_path.as_ref().is_some_and(|path| call.may(path, &[privilege]));
    let vm_path = format!("/vms/{vmid}");
    if !call.may(&vm_path, &["VM.Allocate"]) && !through_pool("VM.Allocate") {
        return Err(Refusal::denied(""));
    }
    let mut settings = vm_settings(call, &["pool"]);
    check_storage_access(call, vmid, &settings)?;
    let options: Vec<&str> = settings.keys().map(String::as_str).collect();
    check_options(call, vmid, pool.as_deref(), &options)?;
    check_devices(call, vmid, pool.as_deref(), &settings)?;
    if settings.contains_key("tags") {
        super::drives::check_vm(call, vmid, pool.as_deref(), &["VM.Config.Options"])?;
    }
    if let Some(other) = call.world.vms.get(&vmid) {
        return Err(format!("unable to create VM {vmid} - VM {vmid} already exists on node '{}'", other.node).into());
    }
    give_addresses(call.world, &mut settings);
    let lock = Some("create".to_owned());
    call.world.vms.insert(vmid, Vm { node: node.clone(), config: Config::new(), running: None, lock });
    let made_at = call.now + CREATE.as_secs();
    let effect = move |world: &mut World, log: &mut Vec<String>| {
        let place = (node.as_str(), vmid, made_at);
        if let Err(why) = build(world, place, settings, log) {
            world.remove_vm(vmid);
            return Err(format!("unable to create VM {vmid} - {why}"));
        }
        if let Some(pool) = pool {
            world.join_pool(vmid, &pool);
        }
        Ok(())
    };
    call.fork("qmcreate", &vmid.to_string(), CREATE, Box::new(effect))
}

/// Adds a MAC address from Proxmox's own range to every network device that does not have one.
pub(super) fn give_addresses(world: &mut World, settings: &mut Config) {
    for (_, net) in
        settings.iter_mut().filter(|(option, value)| option.starts_with("net") && bridge_of(value).is_some())
    {
        *net = with_mac(net, || {
            let random = world.random.u32(..);
            format!("BC:24:11:{:02X}:{:02X}:{:02X}", random & 255, random >> 8 & 255, random >> 16 & 255)
        });
    }
}

/// Creates the disks of a new VM and completes its configuration.
fn build(
    world: &mut World,
    (node, vmid, now): (&str, u32, u64),
    settings: Config,
    log: &mut Vec<String>,
) -> Result<(), String> {
    let (mut config, _) = make_drives(world, (node, vmid, now), settings, log)?;
    if !config.contains_key("boot") {
        config.insert("boot".into(), default_boot(&config));
    }
    if !config.contains_key("smbios1") {
        config.insert("smbios1".into(), format!("uuid={}", world.uuid()));
    }
    config.insert("vmgenid".into(), world.uuid());
    config.insert("meta".into(), format!("creation-qemu=10.0.2,ctime={now}"));
    // The VM may have been removed by hand in the meantime.
    let vm = world.vms.get_mut(&vmid).ok_or("configuration file vanished")?;
    (vm.config, vm.lock) = (config, None);
    Ok(())
}

fn start(call: &mut Call<'_>) -> Outcome {
    let vmid = call.vmid();
    let started_at = call.now + START.as_secs();
    let effect = move |world: &mut World, log: &mut Vec<String>| start_vm(world, vmid, started_at, log);
    let node = call.node();
    call.world.vm(&node, vmid)?;
    call.fork("qmstart", &vmid.to_string(), START, Box::new(effect))
}

/// Starts a VM, or returns the reason why it cannot start.
fn start_vm(world: &mut World, vmid: u32, now: u64, log: &mut Vec<String>) -> Result<(), String> {
    let vm = world.vms.get(&vmid).ok_or_else(|| format!("VM {vmid} does not exist"))?.clone();
    vm.unlocked()?;
    if vm.running.is_some() {
        return Err(format!("VM {vmid} already running"));
    }
    if let Some(node) = world.nodes.get(&vm.node)
        && vm.cpus() > u64::from(node.cpus)
    {
        return Err(format!("MAX {} vcpus allowed per VM on this node", node.cpus));
    }
    for (_, drive) in vm.drives() {
        if world.volume(&vm.node, &drive.file).is_none() {
            return Err(format!("volume '{}' does not exist", drive.file));
        }
    }
    check_host(world, &vm, log)?;
    world.power_on(vmid, now);
    Ok(())
}

/// Simulates failures on the host: devices, bridges and QEMU itself.
fn check_host(world: &World, vm: &Vm, log: &mut Vec<String>) -> Result<(), String> {
    let failed = || Err("start failed: QEMU exited with code 1".to_owned());
    if let Some((_, value)) = vm.config.iter().find(|(option, _)| option.starts_with("hostpci")) {
        // The lab's hosts have no devices to map.
        return Err(format!("PCI device mapping not found for '{value}'"));
    }
    for (option, value) in vm.config.iter().filter(|(option, _)| option.starts_with("net")) {
        let Some((bridge, _)) = bridge_of(value) else { continue };
        let there = world.nodes.get(&vm.node).is_some_and(|node| node.bridges.contains(bridge));
        if !there {
            log.push(format!("bridge '{bridge}' does not exist"));
            log.push(format!(
                "kvm: -netdev type=tap,id={option}: network script /usr/libexec/qemu-server/pve-bridge failed with \
                 status 512"
            ));
            return failed();
        }
    }
    for (option, drive) in vm.drives() {
        let cache = drive.options.get("cache").map_or("none", String::as_str);
        let direct = matches!(cache, "none" | "directsync");
        if drive.options.get("aio").is_some_and(|aio| aio == "native") && !direct {
            log.push(format!(
                "kvm: -blockdev drive-{option}: aio=native was specified, but it requires cache.direct=on, which was \
                 not specified."
            ));
            return failed();
        }
    }
    Ok(())
}

fn switch_off(call: &mut Call<'_>, kind: &str, takes: Duration) -> Outcome {
    let (node, vmid) = (call.node(), call.vmid());
    call.world.vm(&node, vmid)?;
    let effect = move |world: &mut World, _: &mut Vec<String>| {
        world.vms.get(&vmid).ok_or_else(|| format!("VM {vmid} does not exist"))?.unlocked()?;
        world.power_off(vmid);
        Ok(())
    };
    call.fork(kind, &vmid.to_string(), takes, Box::new(effect))
}

fn destroy(call: &mut Call<'_>) -> Outcome {
    let (node, vmid) = (call.node(), call.vmid());
    let purge = call.args.flag("purge");
    destroyable(call.world, &node, vmid, purge)?;
    let effect = move |world: &mut World, log: &mut Vec<String>| {
        destroyable(world, &node, vmid, purge)?;
        let Some(vm) = world.vms.get(&vmid) else { return Ok(()) };
        vm.unlocked()?;
        for volid in vm.own_volumes() {
            if world.free_volume(&node, &volid) {
                log.push(format!("Removed volume '{volid}'"));
            }
        }
        if purge {
            world.ha_resources.remove(&format!("vm:{vmid}"));
        }
        world.remove_vm(vmid);
        Ok(())
    };
    call.fork("qmdestroy", &vmid.to_string(), DESTROY, Box::new(effect))
}

/// Returns an error if the VM cannot be destroyed.
fn destroyable(world: &World, node: &str, vmid: u32, purge: bool) -> Result<(), String> {
    let vm = world.vm(node, vmid)?;
    if !purge && world.ha_resources.contains(&format!("vm:{vmid}")) {
        return Err(format!("unable to remove VM {vmid} - used in HA resources and purge parameter not set."));
    }
    if vm.running.is_some() {
        return Err(format!("VM {vmid} is running - destroy failed"));
    }
    Ok(())
}
