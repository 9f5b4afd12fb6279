//! `/pools` (pve-manager 9.2 `API2/Pool.pm`).

use serde_json::{Value, json};

use super::cluster::{storage_resource, vm_entry};
use super::{Call, Method, Needs};
use crate::proxmox::access::Pool;
use crate::proxmox::params::{Kind, Param, optional, required};
use crate::proxmox::refusal::{Outcome, Refusal};

const ALLOCATE: Needs = Needs::All("/pool/{poolid}", &["Pool.Allocate"]);
const ID: Param = required("poolid", Kind::Format(pool_id));

const CHANGES: &[Param] = &[
    optional("comment", Kind::Text(4096)),
    optional("vms", Kind::Text(8192)),
    optional("storage", Kind::Text(8192)),
    optional("allow-move", Kind::Bool),
    optional("delete", Kind::Bool),
];

const CHANGES_WITH_ID: &[Param] = &[
    ID,
    optional("comment", Kind::Text(4096)),
    optional("vms", Kind::Text(8192)),
    optional("storage", Kind::Text(8192)),
    optional("allow-move", Kind::Bool),
    optional("delete", Kind::Bool),
];

const MEMBERS: Kind = Kind::Enum(&["qemu", "lxc", "storage"]);

pub(super) const METHODS: &[Method] = &[
    Method::new("GET", "/pools", Needs::Anyone, list)
        .with(&[optional("poolid", Kind::Format(pool_id)), optional("type", MEMBERS)]),
    Method::new("POST", "/pools", ALLOCATE, create).with(&[ID, optional("comment", Kind::Text(4096))]),
    Method::new("PUT", "/pools", ALLOCATE, change).with(CHANGES_WITH_ID),
    Method::new("DELETE", "/pools", ALLOCATE, remove).with(&[ID]),
    Method::new("GET", "/pools/{poolid}", Needs::All("/pool/{poolid}", &["Pool.Audit"]), read)
        .with(&[optional("type", MEMBERS)]),
    Method::new("PUT", "/pools/{poolid}", ALLOCATE, change).with(CHANGES),
    Method::new("DELETE", "/pools/{poolid}", ALLOCATE, remove),
];

fn pool_id(_: &str, text: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let part = |part: &str| !part.is_empty() && part.chars().all(good);
    let fine = text.split('/').count() <= 3 && text.split('/').all(part);
    if fine { Ok(()) } else { Err(format!("pool name '{text}' contains invalid characters")) }
}

fn absent(pool: &str) -> Refusal {
    Refusal::die(format!("pool '{pool}' does not exist"))
}

fn list(call: &mut Call<'_>) -> Outcome {
    if call.args.get("poolid").is_some() {
        return Ok(json!([read(call)?]));
    }
    let visible = call.world.access.pools.iter();
    let visible = visible.filter(|(pool, _)| call.may(&format!("/pool/{pool}"), &["Pool.Audit"]));
    let entries = visible.map(|(id, pool)| match &pool.comment {
        Some(comment) => json!({"poolid": id, "comment": comment}),
        None => json!({"poolid": id}),
    });
    Ok(entries.collect())
}

fn read(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("poolid");
    let pool = call.world.access.pools.get(&id).ok_or_else(|| absent(&id))?;
    let kind = call.args.get("type");
    let wants = |wanted: &str| kind.as_deref().is_none_or(|kind| kind == wanted);
    let mut members: Vec<Value> = Vec::new();
    if wants("qemu") {
        let vms = pool.vms.iter().filter_map(|vmid| Some((*vmid, call.world.vms.get(vmid)?)));
        members.extend(vms.map(|(vmid, vm)| Value::from(vm_entry(call.world, vmid, vm, call.now))));
    }
    if wants("storage") {
        let node = call.world.local_node();
        let storages = pool.storages.iter().filter_map(|id| Some((id, call.world.storages.get(id)?)));
        members.extend(storages.map(|(id, storage)| storage_resource(id, storage, node)));
    }
    let mut shown = json!({"poolid": id, "members": members});
    if let Some(comment) = &pool.comment {
        shown["comment"] = comment.as_str().into();
    }
    Ok(shown)
}

fn create(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("poolid");
    let failed = |why: String| Refusal::die(format!("create pool failed: {why}"));
    let pools = &mut call.world.access.pools;
    if pools.contains_key(&id) {
        return Err(failed(format!("pool '{id}' already exists")));
    }
    let leaf = match id.rsplit_once('/') {
        Some((parent, _)) if !pools.contains_key(parent) => {
            return Err(failed(format!("parent '{parent}' of pool '{id}' does not exist")));
        }
        Some((_, leaf)) => leaf,
        None => &id,
    };
    if !leaf.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(failed("pool name must start with a letter".into()));
    }
    let comment = call.args.get("comment").filter(|comment| !comment.is_empty());
    pools.insert(id, Pool { comment, ..Pool::default() });
    Ok(Value::Null)
}

fn change(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("poolid");
    let failed = |why: String| Refusal::die(format!("update pools failed: {why}"));
    let remove = call.args.flag("delete");
    // Everything is checked before anything is changed.
    let pool = call.world.access.pools.get(&id).ok_or_else(|| failed(format!("pool '{id}' does not exist")))?;
    let (mut vms, storages) = (Vec::new(), call.args.list("storage"));
    for text in call.args.list("vms") {
        let vmid: u32 =
            text.parse().map_err(|_| Refusal::parameter("vms", "value does not look like a valid VM ID"))?;
        let modify = ["Permissions.Modify", "VM.Allocate"];
        call.world.access.check_any(call.auth, &format!("/vms/{vmid}"), &modify)?;
        let member = pool.vms.contains(&vmid);
        if remove != member {
            let state = if remove { "not a" } else { "already a" };
            return Err(failed(format!("VM {vmid} is {state} pool member")));
        }
        if let Some(other) = call.world.access.vm_pool.get(&vmid).filter(|_| !remove) {
            if !call.args.flag("allow-move") {
                let why = format!("VM {vmid} belongs already to pool '{other}' and 'allow-move' is not set");
                return Err(failed(why));
            }
            call.check(&format!("/pool/{other}"), &["Pool.Allocate"])?;
        }
        vms.push(vmid);
    }
    for storage in &storages {
        let modify = ["Permissions.Modify", "Datastore.Allocate"];
        call.world.access.check_any(call.auth, &format!("/storage/{storage}"), &modify)?;
        if remove != pool.storages.contains(storage) {
            let state = if remove { "not a" } else { "already a" };
            return Err(failed(format!("Storage '{storage}' is {state} pool member")));
        }
    }
    for vmid in vms {
        if !remove {
            call.world.join_pool(vmid, &id);
        } else if let Some(pool) = call.world.access.pools.get_mut(&id) {
            pool.vms.remove(&vmid);
            call.world.access.vm_pool.remove(&vmid);
        }
    }
    if let Some(pool) = call.world.access.pools.get_mut(&id) {
        for storage in storages {
            if remove {
                pool.storages.remove(&storage)
            } else {
                pool.storages.insert(storage)
            };
        }
        if let Some(comment) = call.args.get("comment") {
            pool.comment = Some(comment);
        }
    }
    Ok(Value::Null)
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("poolid");
    let failed = |why: String| Refusal::die(format!("delete pool failed: {why}"));
    let pools = &call.world.access.pools;
    let pool = pools.get(&id).ok_or_else(|| failed(format!("pool '{id}' does not exist")))?;
    let below = format!("{id}/");
    if let Some(child) = pools.keys().find(|other| other.starts_with(&below)) {
        return Err(failed(format!("pool '{id}' is not empty (contains pool '{child}')")));
    }
    if let Some(vmid) = pool.vms.iter().find(|vmid| call.world.vms.contains_key(vmid)) {
        return Err(failed(format!("pool '{id}' is not empty (contains VM {vmid})")));
    }
    if let Some(storage) = pool.storages.iter().find(|storage| call.world.storages.contains_key(*storage)) {
        return Err(failed(format!("pool '{id}' is not empty (contains storage '{storage}')")));
    }
    call.world.access.pools.remove(&id);
    call.world.access.forget_path(&format!("/pool/{id}"));
    Ok(Value::Null)
}
