//! High availability as providers and operators set it up (pve-ha-manager 5 `API2/HA/{Resources,Rules}.pm`): what is sent
//! is kept and shown, and what names something that is not there is refused. Nothing fails over.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Call, Handler};
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::world::{Config, World};

pub(super) const HANDLERS: &[Handler] = &[
    ("GET /cluster/ha/resources", resources),
    ("POST /cluster/ha/resources", create),
    ("PUT /cluster/ha/resources/{sid}", change),
    ("DELETE /cluster/ha/resources/{sid}", remove),
    ("GET /cluster/ha/rules", rules),
    ("POST /cluster/ha/rules", create_rule),
    ("GET /cluster/ha/rules/{rule}", rule),
    ("PUT /cluster/ha/rules/{rule}", change_rule),
];

/// `vm:100`, also for `100`.
fn sid(call: &Call<'_>) -> Outcome<String> {
    let text = call.args.text("sid");
    match text.strip_prefix("vm:").unwrap_or(&text).parse::<u32>() {
        Ok(vmid) if vmid >= 100 => Ok(format!("vm:{vmid}")),
        _ => Err(Refusal::parameter("sid", format!("invalid format - '{text}' does not look like a service ID\n"))),
    }
}

/// What was sent, without what names the object.
fn sent(call: &Call<'_>) -> Config {
    let own = call.args.iter().filter(|(name, _)| !matches!(*name, "sid" | "rule" | "digest"));
    own.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn shown(key: &str, id: &str, options: &Config) -> Value {
    let mut shown = json!(options);
    shown[key] = id.into();
    shown["digest"] = digest(options).into();
    shown
}

/// Changes with the options, so that a change on top of an older reading is noticed.
fn digest(options: &Config) -> String {
    let text = json!(options).to_string();
    crate::tls::hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn resources(call: &mut Call<'_>) -> Outcome {
    Ok(call.world.ha_resources.iter().map(|(sid, options)| shown("sid", sid, options)).collect())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let sid = sid(call)?;
    if !call.world.vms.keys().any(|vmid| format!("vm:{vmid}") == sid) {
        return Err(Refusal::die(format!("cannot add service '{sid}' to HA - no such VM")));
    }
    if call.world.ha_resources.contains_key(&sid) {
        return Err(Refusal::die(format!("resource ID '{sid}' already defined")));
    }
    let mut options = Config::from([("type".to_owned(), "vm".to_owned()), ("state".to_owned(), "started".to_owned())]);
    options.extend(sent(call));
    call.world.ha_resources.insert(sid, options);
    Ok(Value::Null)
}

fn change(call: &mut Call<'_>) -> Outcome {
    let (sid, changes) = (sid(call)?, sent(call));
    let missing = || Refusal::die(format!("no such resource '{sid}'"));
    call.world.ha_resources.get_mut(&sid).ok_or_else(missing)?.extend(changes);
    Ok(Value::Null)
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let sid = sid(call)?;
    let missing = || Refusal::die(format!("cannot delete service '{sid}', not HA managed!"));
    call.world.ha_resources.remove(&sid).ok_or_else(missing)?;
    if call.args.flag("purge") {
        call.world.ha_rules.retain(|_, options| leave_rule(options, &sid));
    }
    Ok(Value::Null)
}

/// Takes a resource out of a rule. Whether the rule still stands: one about resources needs two of them.
fn leave_rule(options: &mut Config, sid: &str) -> bool {
    let least = if options.get("type").is_some_and(|kind| kind == "resource-affinity") { 2 } else { 1 };
    let Some(resources) = options.get_mut("resources") else { return true };
    let left: Vec<&str> = resources.split(',').filter(|member| *member != sid).collect();
    let stands = left.len() >= least || !resources.split(',').any(|member| member == sid);
    *resources = left.join(",");
    stands
}

fn rules(call: &mut Call<'_>) -> Outcome {
    Ok(call.world.ha_rules.iter().map(|(rule, options)| shown("rule", rule, options)).collect())
}

fn rule(call: &mut Call<'_>) -> Outcome {
    let rule = call.args.text("rule");
    let options = call.world.ha_rules.get(&rule).ok_or_else(|| Refusal::die(format!("no such ha rule '{rule}'")))?;
    Ok(shown("rule", &rule, options))
}

fn create_rule(call: &mut Call<'_>) -> Outcome {
    let rule = call.args.text("rule");
    if call.args.text("type") == "node-affinity" && call.args.get("nodes").is_none() {
        return Err(Refusal::parameter("nodes", "property is missing and it is not optional"));
    }
    let failed = |why: String| Refusal::die(format!("create HA rules failed: {why}"));
    if call.world.ha_rules.contains_key(&rule) {
        return Err(failed(format!("HA rule '{rule}' already defined")));
    }
    let options = sent(call);
    known_members(call.world, &options).map_err(failed)?;
    call.world.ha_rules.insert(rule, options);
    Ok(Value::Null)
}

fn change_rule(call: &mut Call<'_>) -> Outcome {
    let (rule, options) = (call.args.text("rule"), sent(call));
    let failed = |why: String| Refusal::die(format!("update HA rules failed: {why}"));
    let old = call.world.ha_rules.get(&rule).ok_or_else(|| failed(format!("HA rule '{rule}' does not exist")))?;
    if call.args.get("digest").is_some_and(|seen| seen != digest(old)) {
        return Err(failed("detected modified configuration - file changed by other user? Try again.".to_owned()));
    }
    known_members(call.world, &options).map_err(failed)?;
    // What is left out is reset (update_rule).
    call.world.ha_rules.insert(rule, options);
    Ok(Value::Null)
}

/// What a rule names must be there (assert_resources_are_configured, assert_nodes_do_exist).
fn known_members(world: &World, options: &Config) -> Result<(), String> {
    let list = |name: &str| -> BTreeSet<&str> {
        let text = options.get(name).map_or("", String::as_str);
        text.split([',', ';', ' ']).filter(|part| !part.is_empty()).collect()
    };
    let sids = list("resources").into_iter().map(|text| match text.contains(':') {
        true => text.to_owned(),
        false => format!("vm:{text}"),
    });
    let unmanaged: Vec<String> = sids.filter(|sid| !world.ha_resources.contains_key(sid)).collect();
    if !unmanaged.is_empty() {
        return Err(format!("cannot use unmanaged resource(s) {}.", unmanaged.join(", ")));
    }
    // A node may have a priority: `pve1:2`.
    let names = list("nodes").into_iter().map(|text| text.split(':').next().unwrap_or_default());
    let strange: Vec<&str> = names.filter(|node| !world.nodes.contains_key(*node)).collect();
    if !strange.is_empty() {
        return Err(format!("cannot use non-existant node(s) {}.", strange.join(", ")));
    }
    Ok(())
}
