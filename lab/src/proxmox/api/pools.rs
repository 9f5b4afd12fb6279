//! `/pools` (pve-manager 9.2 `API2/Pool.pm`).

use serde_json::Value;

use super::cluster::vm_entry;
use super::{Call, Handler};
use crate::proxmox::access::Pool;
use crate::proxmox::refusal::{Outcome, Refusal};

pub(super) const HANDLERS: &[Handler] =
    &[("GET /pools", list), ("POST /pools", create), ("GET /pools/{poolid}", read), ("DELETE /pools/{poolid}", remove)];

fn shown(id: &str, pool: &Pool) -> Value {
    let comment = pool.comment.as_ref().map(|comment| ("comment", comment.as_str()));
    [("poolid", id)].into_iter().chain(comment).map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

fn list(call: &mut Call<'_>) -> Outcome {
    let visible = call.world.access.pools.iter();
    let visible = visible.filter(|(pool, _)| call.may(&format!("/pool/{pool}"), &["Pool.Audit"]));
    Ok(visible.map(|(id, pool)| shown(id, pool)).collect())
}

fn read(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("poolid");
    let pool = call.world.access.pools.get(&id).ok_or_else(|| format!("pool '{id}' does not exist"))?;
    let vms = pool.vms.iter().filter_map(|vmid| Some((*vmid, call.world.vms.get(vmid)?)));
    let members: Vec<Value> = vms.map(|(vmid, vm)| vm_entry(call.world, vmid, vm, call.now)).collect();
    let mut shown = shown(&id, pool);
    shown["members"] = members.into();
    Ok(shown)
}

fn create(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("poolid");
    let failed = |why: String| Refusal::die(format!("create pool failed: {why}"));
    let pools = &mut call.world.access.pools;
    if pools.contains_key(&id) {
        return Err(failed(format!("pool '{id}' already exists")));
    }
    if !id.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(failed("pool name must start with a letter".into()));
    }
    let comment = call.args.get("comment").filter(|comment| !comment.is_empty());
    pools.insert(id, Pool { comment, ..Pool::default() });
    Ok(Value::Null)
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("poolid");
    let failed = |why: String| Refusal::die(format!("delete pool failed: {why}"));
    let pools = &call.world.access.pools;
    let pool = pools.get(&id).ok_or_else(|| failed(format!("pool '{id}' does not exist")))?;
    if let Some(vmid) = pool.vms.iter().find(|vmid| call.world.vms.contains_key(vmid)) {
        return Err(failed(format!("pool '{id}' is not empty (contains VM {vmid})")));
    }
    call.world.access.pools.remove(&id);
    call.world.access.remove_path(&format!("/pool/{id}"));
    Ok(Value::Null)
}
