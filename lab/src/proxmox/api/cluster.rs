//! `/version` and `/cluster` (pve-manager 9.2 `API2.pm`, `API2/Cluster.pm`, `API2Tools.pm`).

use std::ops::Range;

use serde_json::{Value, json};

use super::{Call, Handler};
use crate::proxmox::World;
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::world::{Loads, Storage, Vm};

pub(super) const HANDLERS: &[Handler] = &[
    ("GET /version", version),
    ("GET /cluster/status", status),
    ("GET /cluster/nextid", next_id),
    // The lab defines no zone other than the built-in one, so there are no vnets.
    ("GET /cluster/sdn/vnets", |_| Ok(json!([]))),
    ("GET /cluster/resources", resources),
    ("DELETE /cluster/ha/resources/{sid}", leave_ha),
];

fn version(call: &mut Call<'_>) -> Outcome {
    let version = call.world.version.clone();
    let release = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    Ok(json!({"version": version, "release": release, "repoid": "deb1ca707ec72a89"}))
}

fn status(call: &mut Call<'_>) -> Outcome {
    let world = &mut *call.world;
    let local = world.local_node().to_owned();
    let online = world.nodes.values().filter(|node| node.online).count();
    let mut list: Vec<Value> = world
        .nodes
        .iter()
        .enumerate()
        .map(|(number, (name, node))| {
            json!({
                "type": "node", "id": format!("node/{name}"), "name": name, "nodeid": number + 1, "ip": node.ip,
                "local": u8::from(*name == local), "online": u8::from(node.online), "level": "",
            })
        })
        .collect();
    let total = list.len();
    let quorate = u8::from(online * 2 > total);
    world.shuffle(&mut list);
    let cluster = json!({
        "type": "cluster", "id": "cluster", "name": "lab", "nodes": total, "version": total, "quorate": quorate,
    });
    list.insert(0, cluster);
    Ok(list.into())
}

/// Returns the ID as a string although the schema says integer, as the real Proxmox does (go-proxmox v0.3.2 decodes a string).
fn next_id(call: &mut Call<'_>) -> Outcome {
    const ALL: Range<u32> = 100..1_000_000;
    let free = ALL.into_iter().find(|vmid| !call.world.vms.contains_key(vmid));
    let free = free.ok_or_else(|| format!("unable to get any free VMID in range [{}, {}]", ALL.start, ALL.end))?;
    Ok(free.to_string().into())
}

/// Removes a VM from high availability (pve-ha-manager 5 `API2/HA/Resources.pm`). Failover is not simulated.
fn leave_ha(call: &mut Call<'_>) -> Outcome {
    let sid = call.args.text("sid");
    match call.world.ha_resources.remove(&sid) {
        true => Ok(Value::Null),
        false => Err(Refusal::die(format!("cannot delete service '{sid}', not HA managed!"))),
    }
}

fn resources(call: &mut Call<'_>) -> Outcome {
    let wanted = call.args.get("type");
    let wants = |kind: &str| wanted.as_deref().is_none_or(|wanted| wanted == kind);
    let mut list = Vec::new();
    if wants("vm") {
        let visible = call.world.access.below(call.auth, "/vms", &["VM.Audit"]);
        let vms = call.world.vms.iter().filter(|(vmid, _)| visible.may(vmid));
        list.extend(vms.map(|(vmid, vm)| vm_resource(call, *vmid, vm)));
    }
    if wants("storage") {
        let visible = call.world.access.below(call.auth, "/storage", &["Datastore.Audit"]);
        for (id, storage) in call.world.storages.iter().filter(|(id, _)| visible.may(id)) {
            let nodes = call.world.nodes.keys().filter(|node| storage.is_enabled_on(node));
            list.extend(nodes.map(|node| storage_resource(id, storage, node)));
        }
    }
    Ok(list.into())
}

fn vm_resource(call: &Call<'_>, vmid: u32, vm: &Vm) -> Value {
    let mut entry = vm_entry(call.world, vmid, vm, call.now);
    mark(&mut entry, vm);
    if let Some(pool) = call.world.access.vm_pool.get(&vmid)
        && call.may(&format!("/pool/{pool}"), &["Pool.Audit"])
    {
        entry["pool"] = pool.as_str().into();
    }
    entry
}

/// Adds a VM's tags and lock.
pub(super) fn mark(entry: &mut Value, vm: &Vm) {
    for (name, value) in [("tags", vm.config.get("tags")), ("lock", vm.lock.as_ref())] {
        if let Some(value) = value {
            entry[name] = value.as_str().into();
        }
    }
}

/// A VM in the cluster's statistics. If its node is offline, only its location is known.
pub(super) fn vm_entry(world: &World, vmid: u32, vm: &Vm, now: u64) -> Value {
    let (id, running) = (format!("qemu/{vmid}"), vm.running.is_some());
    if !world.nodes.get(&vm.node).is_some_and(|node| node.online) {
        return json!({"id": id, "vmid": vmid, "node": vm.node, "type": "qemu", "status": "unknown"});
    }
    json!({
        "id": id, "vmid": vmid, "node": vm.node, "type": "qemu", "status": if running { "running" } else { "stopped" },
        "name": vm.name(vmid), "template": vm.number("template", 0),
        "uptime": vm.running.map_or(0, |running| now.saturating_sub(running.since)),
        "maxcpu": vm.cpus(), "cpu": if running { json!(0.02) } else { json!(0) },
        "maxmem": vm.memory_mib() << 20, "mem": vm.memory_in_use(), "maxdisk": world.boot_disk_size(vm),
        "disk": 0, "netin": 0, "netout": 0, "diskread": 0, "diskwrite": 0,
    })
}

/// A node in the cluster's statistics; without `Sys.Audit`, only its status.
pub(super) fn node_entry(world: &World, loads: &Loads<'_>, name: &str, audit: bool) -> Value {
    let Some(node) = world.nodes.get(name) else { return Value::Null };
    let status = if node.online { "online" } else { "offline" };
    let mut entry = json!({"id": format!("node/{name}"), "node": name, "type": "node", "status": status});
    // Of a node that has been offline for a long time, only the name is known.
    if !node.online {
        return entry;
    }
    entry["level"] = "".into();
    if !audit {
        return entry;
    }
    let root = world.storages.get("local").and_then(|storage| storage.backend(name));
    let load = loads.get(name).copied().unwrap_or_default();
    json!({
        "id": entry["id"], "node": name, "type": "node", "status": status, "level": "", "uptime": 1_000_000,
        "cpu": (0.01 + 0.02 * load.cpus as f64 / f64::from(node.cpus)).min(1.0), "maxcpu": node.cpus,
        "mem": load.memory, "maxmem": node.memory,
        "disk": root.map_or(0, |root| root.used()), "maxdisk": root.map_or(0, |root| root.total),
    })
}

/// A storage on one node in the cluster's statistics.
fn storage_resource(id: &str, storage: &Storage, node: &str) -> Value {
    let mut entry = json!({
        "id": format!("storage/{node}/{id}"), "storage": id, "node": node, "type": "storage",
        "plugintype": storage.kind.name(), "status": "unknown", "shared": u8::from(storage.shared),
        "content": storage.content_list(),
    });
    if let Some(backend) = storage.backend(node).filter(|backend| backend.active) {
        entry["maxdisk"] = backend.total.into();
        entry["disk"] = backend.used().into();
        entry["status"] = "available".into();
    }
    entry
}
