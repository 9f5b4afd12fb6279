//! `/storage` and `/nodes/{node}/storage` (pve-storage 9.1 `API2/Storage/{Config,Status,Content}.pm`).

use std::time::Duration;

use ring::digest;
use serde_json::{Value, json};

use super::drives::check_volume_access;
use super::{Call, Handler};
use crate::proxmox::World;
use crate::proxmox::params::split_list;
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::world::Storage;
use crate::proxmox::world::disk::{parse_volname, split_volid};
use crate::tls::hex;

const REMOVE: Duration = Duration::from_millis(300);

const SEE: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];
pub(super) const HANDLERS: &[Handler] = &[
    ("GET /storage", config_list),
    ("PUT /storage/{storage}", change),
    ("GET /nodes/{node}/storage", list),
    ("GET /nodes/{node}/storage/{storage}/content", content),
    ("GET /nodes/{node}/storage/{storage}/content/{volume*}", info),
    ("DELETE /nodes/{node}/storage/{storage}/content/{volume*}", remove),
];

/// Changes the content types of a storage.
fn change(call: &mut Call<'_>) -> Outcome {
    let (id, content) = (call.args.text("storage"), split_list(&call.args.text("content")));
    let storage = call.world.storages.get_mut(&id);
    storage.ok_or_else(|| format!("storage '{id}' does not exist"))?.content = content.into_iter().collect();
    Ok(json!({"storage": id}))
}

fn config_json(id: &str, storage: &Storage) -> Value {
    let mut shown = json!({
        "storage": id, "type": storage.kind.name(), "content": storage.content_list(),
        "digest": hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, id.as_bytes()).as_ref()),
    });
    if storage.kind.has_files() {
        shown["path"] = storage.path.as_str().into();
    }
    if storage.shared {
        shown["shared"] = 1.into();
    }
    if let Some(nodes) = &storage.nodes {
        shown["nodes"] = nodes.iter().map(String::as_str).collect::<Vec<_>>().join(",").into();
    }
    shown
}

fn config_list(call: &mut Call<'_>) -> Outcome {
    let visible = call.world.storages.iter().filter(|(id, _)| call.may_any(&format!("/storage/{id}"), SEE));
    Ok(visible.map(|(id, storage)| config_json(id, storage)).collect())
}

/// A storage as a node sees it. A storage that the node may not use is included with a size of 0.
fn status_json(storage: &Storage, node: &str) -> Value {
    let enabled = storage.is_enabled_on(node);
    let backend = storage.backend(node).filter(|backend| enabled && backend.active);
    let (total, used) = backend.map_or((0, 0), |backend| (backend.total, backend.used()));
    json!({
        "type": storage.kind.name(), "content": storage.content_list(), "shared": u8::from(storage.shared),
        "enabled": u8::from(enabled), "active": u8::from(backend.is_some()), "total": total, "used": used,
        "avail": total - used,
    })
}

fn list(call: &mut Call<'_>) -> Outcome {
    let node = call.node();
    let (only, wanted) = (call.args.get("storage"), call.args.list("content"));
    let mut list = Vec::new();
    let visible = call.world.access.below(call.auth, "/storage", SEE);
    for (id, storage) in call.world.storages.iter().filter(|(id, _)| visible.may(id)) {
        let held = wanted.is_empty() || wanted.iter().any(|kind| storage.content.contains(kind));
        if only.as_ref().is_some_and(|only| only != id) || !held {
            continue;
        }
        let mut entry = status_json(storage, &node);
        if let (Some(total), Some(used)) = (entry["total"].as_u64().filter(|total| *total > 0), entry["used"].as_u64())
        {
            entry["used_fraction"] = (used as f64 / total as f64).into();
        }
        entry["storage"] = id.as_str().into();
        list.push(entry);
    }
    call.world.shuffle(&mut list);
    Ok(list.into())
}

fn content(call: &mut Call<'_>) -> Outcome {
    let (node, id) = (call.node(), call.args.text("storage"));
    call.world.usable_storage(&id, &node)?;
    let wanted = call.args.list("content");
    let volumes = call.world.storages.get(&id).and_then(|storage| storage.backend(&node));
    let listed = volumes.into_iter().flat_map(|backend| &backend.volumes).filter(|(volid, volume)| {
        (wanted.is_empty() || wanted.contains(&volume.content)) && check_volume_access(call, None, volid).is_ok()
    });
    let listed = listed.map(|(volid, volume)| {
        let mut entry = json!({
            "volid": volid, "content": volume.content, "format": volume.format(), "size": volume.size,
            "ctime": volume.ctime,
        });
        if let Some(vmid) = volume.vmid {
            entry["vmid"] = vmid.into();
        }
        entry
    });
    Ok(listed.collect())
}

/// The ID of the volume in the path, which must be on the storage in the path.
fn volume_id(call: &Call<'_>) -> Outcome<String> {
    let (id, volume) = (call.args.text("storage"), call.args.text("volume"));
    match split_volid(&volume) {
        Some((storage, _)) if storage == id => Ok(volume),
        _ => Err(Refusal::parameter("volume", format!("unable to parse volume ID '{volume}'\n"))),
    }
}

fn info(call: &mut Call<'_>) -> Outcome {
    let (node, volid) = (call.node(), volume_id(call)?);
    check_volume_access(call, None, &volid)?;
    let volume = call.world.volume(&node, &volid);
    // qemu-img cannot inspect a missing volume, so PVE reports a missing format.
    let volume = volume.ok_or_else(|| format!("volume_size_info on '{volid}' failed - no format"))?;
    let path = path_of(call.world, &volid);
    Ok(json!({"path": path, "size": volume.size, "used": volume.used, "format": volume.format()}))
}

/// The path of a volume on its node; empty if its storage is unknown.
pub(super) fn path_of(world: &World, volid: &str) -> String {
    let parts = split_volid(volid).and_then(|(id, name)| Some((world.storages.get(id)?, name)));
    parts.map_or_else(String::new, |(storage, name)| storage.path_of(name))
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let (node, id, volid) = (call.node(), call.args.text("storage"), volume_id(call)?);
    let storage = call.world.usable_storage(&id, &node)?;
    let name = volid.split_once(':').map_or("", |(_, name)| name);
    let unreadable = || Refusal::die(format!("unable to parse volume name '{name}'"));
    let (_, owner) = parse_volname(storage.kind, name).ok_or_else(unreadable)?;
    call.check(&format!("/storage/{id}"), &["Datastore.Allocate"])?;
    let about = owner.map_or_else(|| id.clone(), |owner| format!("{owner}@{id}"));
    let effect = move |world: &mut World, log: &mut Vec<String>| {
        world.active_backend(&id, &node)?;
        if !world.free_volume(&node, &volid) {
            // The storage plugin logs a warning; the task does not fail.
            log.push(format!("disk image '{}' does not exist", path_of(world, &volid)));
        }
        log.push(format!("Removed volume '{volid}'"));
        Ok(())
    };
    call.fork("imgdel", &about, REMOVE, Box::new(effect))
}
