//! High availability and the vnets of SDN (pve-ha-manager 5 `API2/HA/{Resources,Rules}.pm`, pve-network 1.2
//! `API2/Network/SDN/Vnets.pm`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Call, Method, Needs};
use crate::proxmox::params::{Param, ParamType, optional, required};
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::world::HaResource;

const AUDIT: Needs = Needs::All("/", &["Sys.Audit"]);
const CONSOLE: Needs = Needs::All("/", &["Sys.Console"]);
const STATES: ParamType = ParamType::Enum(&["started", "stopped", "enabled", "disabled", "ignored"]);

const HA_OPTIONS: &[Param] = &[
    optional("state", STATES),
    optional("group", ParamType::Text(64)),
    optional("comment", ParamType::Text(4096)),
    optional("max_restart", ParamType::Int(0, 1000)),
    optional("max_relocate", ParamType::Int(0, 1000)),
    optional("failback", ParamType::Bool),
];

pub(super) const METHODS: &[Method] = &[
    Method::new("GET", "/cluster/ha/resources", AUDIT, ha_list)
        .with(&[optional("type", ParamType::Enum(&["ct", "vm"]))]),
    Method::new("POST", "/cluster/ha/resources", CONSOLE, ha_create).with(&[
        required("sid", ParamType::Text(64)),
        optional("state", STATES),
        optional("group", ParamType::Text(64)),
        optional("comment", ParamType::Text(4096)),
        optional("type", ParamType::Enum(&["ct", "vm"])),
        optional("max_restart", ParamType::Int(0, 1000)),
        optional("max_relocate", ParamType::Int(0, 1000)),
        optional("failback", ParamType::Bool),
    ]),
    Method::new("PUT", "/cluster/ha/resources/{sid}", CONSOLE, ha_change).with(HA_OPTIONS),
    Method::new("DELETE", "/cluster/ha/resources/{sid}", CONSOLE, ha_remove)
        .with(&[optional("purge", ParamType::Bool)]),
    Method::new("GET", "/cluster/ha/rules", AUDIT, ha_rules),
    Method::new("POST", "/cluster/ha/rules", CONSOLE, ha_rule_create).with(&[
        required("rule", ParamType::Text(64)),
        required("type", ParamType::Enum(&["node-affinity", "resource-affinity"])),
        required("resources", ParamType::Text(8192)),
        optional("nodes", ParamType::Text(4096)),
        optional("affinity", ParamType::Enum(&["positive", "negative"])),
        optional("strict", ParamType::Bool),
        optional("disable", ParamType::Bool),
        optional("comment", ParamType::Text(4096)),
    ]),
    Method::new("GET", "/cluster/ha/rules/{rule}", AUDIT, ha_rule_read),
    Method::new("PUT", "/cluster/ha/rules/{rule}", CONSOLE, ha_rule_change).with(&[
        required("type", ParamType::Enum(&["node-affinity", "resource-affinity"])),
        optional("resources", ParamType::Text(8192)),
        optional("nodes", ParamType::Text(4096)),
        optional("affinity", ParamType::Enum(&["positive", "negative"])),
        optional("strict", ParamType::Bool),
        optional("disable", ParamType::Bool),
        optional("comment", ParamType::Text(4096)),
        optional("digest", ParamType::Text(64)),
    ]),
    // No zone is defined in the lab beside the built-in one, so there are no vnets.
    Method::new("GET", "/cluster/sdn/vnets", Needs::Anyone, |_| Ok(json!([]))),
];

/// `vm:100`, also for `100`.
fn sid(call: &Call<'_>) -> Outcome<String> {
    let text = call.args.text("sid");
    let id = text.strip_prefix("vm:").unwrap_or(&text);
    match id.parse::<u32>() {
        Ok(vmid) if vmid >= 100 => Ok(format!("vm:{vmid}")),
        _ => Err(Refusal::parameter("sid", format!("invalid format - '{text}' does not look like a service ID\n"))),
    }
}

fn ha_json(sid: &str, resource: &HaResource) -> Value {
    let mut shown = json!({"sid": sid, "type": "vm", "state": resource.state, "digest": "0".repeat(40)});
    if let Some(group) = &resource.group {
        shown["group"] = group.as_str().into();
    }
    if let Some(comment) = &resource.comment {
        shown["comment"] = comment.as_str().into();
    }
    shown
}

fn ha_list(call: &mut Call<'_>) -> Outcome {
    if call.args.get("type").as_deref() == Some("ct") {
        return Ok(json!([]));
    }
    Ok(call.world.ha_resources.iter().map(|(sid, resource)| ha_json(sid, resource)).collect())
}

fn no_resource(sid: &str) -> Refusal {
    Refusal::die(format!("no such resource '{sid}'"))
}

/// What the parameters say of a resource, on top of what it was.
fn ha_options(call: &Call<'_>, old: HaResource) -> HaResource {
    let state = match call.args.get("state").as_deref() {
        Some("enabled") => "started".to_owned(),
        Some(state) => state.to_owned(),
        None if old.state.is_empty() => "started".to_owned(),
        None => old.state,
    };
    HaResource { state, group: call.args.get("group").or(old.group), comment: call.args.get("comment").or(old.comment) }
}

fn ha_create(call: &mut Call<'_>) -> Outcome {
    let sid = sid(call)?;
    let vmid: u32 = sid.trim_start_matches("vm:").parse().unwrap_or(0);
    if !call.world.vms.contains_key(&vmid) {
        return Err(Refusal::die(format!("cannot add service '{sid}' to HA - no such VM")));
    }
    if call.world.ha_resources.contains_key(&sid) {
        return Err(Refusal::die(format!("resource ID '{sid}' already defined")));
    }
    let resource = ha_options(call, HaResource::default());
    call.world.ha_resources.insert(sid, resource);
    Ok(Value::Null)
}

fn ha_change(call: &mut Call<'_>) -> Outcome {
    let sid = sid(call)?;
    let old = call.world.ha_resources.get(&sid).ok_or_else(|| no_resource(&sid))?.clone();
    let resource = ha_options(call, old);
    call.world.ha_resources.insert(sid, resource);
    Ok(Value::Null)
}

fn ha_remove(call: &mut Call<'_>) -> Outcome {
    let sid = sid(call)?;
    let missing = || Refusal::die(format!("cannot delete service '{sid}', not HA managed!"));
    call.world.ha_resources.remove(&sid).ok_or_else(missing)?;
    if call.args.flag("purge") {
        call.world.ha_rules.retain(|_, options| leave_rule(options, &sid));
    }
    Ok(Value::Null)
}

/// Takes a resource out of a rule. Whether the rule still stands: one about resources needs two of them.
fn leave_rule(options: &mut std::collections::BTreeMap<String, String>, sid: &str) -> bool {
    let least = if options.get("type").is_some_and(|kind| kind == "resource-affinity") { 2 } else { 1 };
    let Some(resources) = options.get_mut("resources") else { return true };
    let left: Vec<&str> = resources.split(',').filter(|member| *member != sid).collect();
    let stands = left.len() >= least || !resources.split(',').any(|member| member == sid);
    *resources = left.join(",");
    stands
}

fn rule_json(rule: &str, options: &std::collections::BTreeMap<String, String>) -> Value {
    let mut shown = json!(options);
    shown["rule"] = rule.into();
    shown["digest"] = rule_digest(options).into();
    shown
}

/// Changes with the rule, so that a change on top of an older reading is noticed.
fn rule_digest(options: &std::collections::BTreeMap<String, String>) -> String {
    let text = json!(options).to_string();
    crate::tls::hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn ha_rules(call: &mut Call<'_>) -> Outcome {
    Ok(call.world.ha_rules.iter().map(|(rule, options)| rule_json(rule, options)).collect())
}

fn ha_rule_read(call: &mut Call<'_>) -> Outcome {
    let rule = call.args.text("rule");
    let options = call.world.ha_rules.get(&rule).ok_or_else(|| Refusal::die(format!("no such ha rule '{rule}'")))?;
    Ok(rule_json(&rule, options))
}

fn ha_rule_create(call: &mut Call<'_>) -> Outcome {
    let rule = call.args.text("rule");
    if call.args.text("type") == "node-affinity" && call.args.get("nodes").is_none() {
        return Err(Refusal::parameter("nodes", "property is missing and it is not optional"));
    }
    let failed = |why: String| Refusal::die(format!("create HA rules failed: {why}"));
    if call.world.ha_rules.contains_key(&rule) {
        return Err(failed(format!("HA rule '{rule}' already defined")));
    }
    known_members(call).map_err(failed)?;
    let options = call.args.iter().filter(|(name, _)| *name != "rule");
    let options = options.map(|(name, value)| (name.to_owned(), value)).collect();
    call.world.ha_rules.insert(rule, options);
    Ok(Value::Null)
}

/// What a rule names must be there (pve-ha-manager 5 `API2/HA/Rules.pm` assert_resources_are_configured,
/// assert_nodes_do_exist).
fn known_members(call: &Call<'_>) -> Result<(), String> {
    let list = |name: &str| -> BTreeSet<String> {
        let text = call.args.get(name).unwrap_or_default();
        text.split([',', ';', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let sid = |text: &String| if text.contains(':') { text.clone() } else { format!("vm:{text}") };
    let unmanaged: Vec<String> =
        list("resources").iter().map(sid).filter(|sid| !call.world.ha_resources.contains_key(sid)).collect();
    if !unmanaged.is_empty() {
        return Err(format!("cannot use unmanaged resource(s) {}.", unmanaged.join(", ")));
    }
    // A node may have a priority: `pve1:2`.
    let name = |text: &String| text.split(':').next().unwrap_or_default().to_owned();
    let strange: Vec<String> =
        list("nodes").iter().map(name).filter(|node| !call.world.nodes.contains_key(node)).collect();
    if !strange.is_empty() {
        return Err(format!("cannot use non-existant node(s) {}.", strange.join(", ")));
    }
    Ok(())
}

fn ha_rule_change(call: &mut Call<'_>) -> Outcome {
    let rule = call.args.text("rule");
    let failed = |why: String| Refusal::die(format!("update HA rules failed: {why}"));
    let old = call.world.ha_rules.get(&rule).ok_or_else(|| failed(format!("HA rule '{rule}' does not exist")))?;
    if call.args.get("digest").is_some_and(|digest| digest != rule_digest(old)) {
        return Err(failed("detected modified configuration - file changed by other user? Try again.".to_owned()));
    }
    known_members(call).map_err(failed)?;
    // What is left out is reset (pve-ha-manager API2/HA/Rules.pm update_rule).
    let options = call.args.iter().filter(|(name, _)| !matches!(*name, "rule" | "digest"));
    let options = options.map(|(name, value)| (name.to_owned(), value)).collect();
    call.world.ha_rules.insert(rule, options);
    Ok(Value::Null)
}
