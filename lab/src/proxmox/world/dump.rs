//! The state as a JSON document.

use serde_json::{Value, json};

use super::disk::split_volid;
use super::{GIB, Vm, World};

/// `{"nodes":[…],"storages":[…],"vms":[…],"tasks":[…]}`, with disk sizes in GiB, memory in MiB and storage sizes in bytes.
pub fn dump(world: &World) -> Value {
    let loads = world.loads();
    let nodes = world.nodes.iter().map(|(name, node)| {
        json!({
            "node": name,
            "status": if node.online { "online" } else { "offline" },
            "cpus": node.cpus,
            "memory_bytes": node.memory,
            "memory_used_bytes": loads.get(name.as_str()).map_or(0, |load| load.memory),
        })
    });
    let storages = world.storages.iter().flat_map(|(id, storage)| {
        storage.backends.iter().map(move |(node, backend)| {
            let iso = backend.volumes.values().filter(|volume| volume.content == "iso").count();
            json!({
                "storage": id,
                "node": if storage.shared { Value::Null } else { node.as_str().into() },
                "type": storage.kind.name(),
                "content": storage.content_list(),
                "shared": storage.shared,
                "total_bytes": backend.total,
                "used_bytes": backend.used(),
                "volumes": backend.volumes.len(),
                "isos": iso,
            })
        })
    });
    let vms = world.vms.iter().map(|(vmid, vm)| vm_json(world, *vmid, vm));
    let tasks = world.tasks.newest().map(|task| {
        let exit = task.end.as_ref().map(|(_, exit)| exit.as_str());
        json!({"upid": task.upid, "node": task.node, "type": task.kind, "id": task.id, "exitstatus": exit})
    });
    json!({
        "nodes": nodes.collect::<Vec<_>>(),
        "storages": storages.collect::<Vec<_>>(),
        "vms": vms.collect::<Vec<_>>(),
        "tasks": tasks.take(100).collect::<Vec<_>>(),
    })
}

fn vm_json(world: &World, vmid: u32, vm: &Vm) -> Value {
    let disk = vm.drives().find(|(_, drive)| !drive.is_cdrom());
    let storage = disk.as_ref().and_then(|(_, drive)| split_volid(&drive.file)).map(|(storage, _)| storage);
    let tags = vm.config.get("tags").map_or("", String::as_str);
    json!({
        "vmid": vmid,
        "name": vm.name(vmid),
        "node": vm.node,
        "status": if vm.running.is_some() { "running" } else { "stopped" },
        "uuid": vm.uuid(),
        "tags": tags.split(';').filter(|tag| !tag.is_empty()).collect::<Vec<_>>(),
        "storage": storage,
        "disk_gib": world.boot_disk_size(vm) / GIB,
        "cores": vm.number("cores", 1),
        "sockets": vm.number("sockets", 1),
        "memory_mib": vm.memory_mib(),
        "pool": world.access.vm_pool.get(&vmid),
    })
}
