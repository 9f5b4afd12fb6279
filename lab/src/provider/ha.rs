//! High availability, from v0.2.0 on: the steps that register a machine and keep the affinity rules of its set
//! (omni-infra-provider-proxmox v0.2.0 internal/pkg/provider/ha). Proxmox VE 9 has these rules, 8 does not.

use serde_json::{Map, Value, json};

use super::Provider;
use super::steps::{MachineRequest, MachineState, Stop};

/// How often a rule is written again when somebody else wrote it in between.
const RETRIES: usize = 10;

/// What Proxmox's status line says of a resource or rule; go-proxmox has no other sign.
fn absent(why: &str) -> bool {
    ["no such resource", "no such ha rule", "not HA managed"].iter().any(|sign| why.contains(sign))
}

fn there(why: &str) -> bool {
    why.contains("already defined")
}

fn sid(state: &MachineState) -> String {
    format!("vm:{}", state.vmid)
}

/// The rule of a set: `omni-SET-naff` or `-raff`.
fn rule_name(set: &str, suffix: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let set: String = set.chars().map(|c| if good(c) { c } else { '-' }).collect();
    format!("omni-{set}-{suffix}")
}

fn members(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// What of `ha` is the resource's own, as both calls take it.
fn options(ha: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    for key in ["state", "comment", "max_restart", "max_relocate"] {
        if !ha[key].is_null() && ha[key] != "" {
            out.insert(key.to_owned(), ha[key].clone());
        }
    }
    if let Some(failback) = ha["failback"].as_bool() {
        out.insert("failback".to_owned(), u8::from(failback).into());
    }
    out
}

impl Provider {
    /// `registerHA`: the machine becomes a resource; one that is there already is adopted.
    pub(super) async fn register_ha(&self, request: &MachineRequest, state: &mut MachineState) -> Result<(), Stop> {
        let ha = &request.data["ha"];
        if ha.is_null() {
            if state.ha_registered {
                let why = "ha config removed from an HA-registered machine; re-add ha: or deprovision it";
                return Err(Stop::Failed(why.to_owned()));
            }
            return Ok(());
        }
        let sid = sid(state);
        let mut body = options(ha);
        body.insert("sid".to_owned(), sid.as_str().into());
        match self.pve.call("POST", "/cluster/ha/resources", Some(&Value::Object(body))).await {
            Err(why) if there(&why) => {
                let body = options(ha);
                if !body.is_empty() {
                    let path = format!("/cluster/ha/resources/{sid}");
                    let changed = self.pve.call("PUT", &path, Some(&Value::Object(body))).await;
                    changed.map_err(|why| format!("failed to update HA resource {sid}: {why}"))?;
                }
            }
            other => drop(other.map_err(|why| format!("failed to register HA resource {sid}: {why}"))?),
        }
        let text = "registered VM as Proxmox HA resource";
        self.say(&request.id, "info", "ha/ha.go:397", text, &[("sid", sid.into())]);
        state.ha_registered = true;
        Ok(())
    }

    /// `syncHARules`: the machine is in the rules of its set, and in those that the class names.
    pub(super) async fn sync_ha_rules(&self, request: &MachineRequest, state: &MachineState) -> Result<(), Stop> {
        let ha = &request.data["ha"];
        if ha.is_null() {
            return Ok(());
        }
        let sid = sid(state);
        let texts =
            |key: &str| -> Vec<&str> { ha[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
        let nodes = texts("node_affinity_nodes");
        if !request.set.is_empty() && !nodes.is_empty() {
            let name = rule_name(&request.set, "naff");
            let strict = u8::from(ha["node_affinity_strict"] == true);
            let body = json!({"rule": name, "type": "node-affinity", "resources": sid, "nodes": nodes.join(","),
                "strict": strict});
            self.create_or_join(&name, &sid, &body).await?;
        }
        let affinity = ha["resource_affinity"].as_str().unwrap_or_default();
        if !request.set.is_empty() && !affinity.is_empty() {
            self.resource_affinity(&request.set, &sid, affinity).await?;
        }
        for name in texts("rules") {
            self.join_rule(name, &sid).await?;
        }
        Ok(())
    }

    /// Proxmox wants two members, so the rule is made with the second machine of the set.
    async fn resource_affinity(&self, set: &str, sid: &str, affinity: &str) -> Result<(), String> {
        let name = rule_name(set, "raff");
        match self.join_rule(&name, sid).await {
            Err(why) if absent(&why) => {}
            other => return other,
        }
        let all = self.set_members(set, sid).await?;
        if all.len() < 2 {
            return Ok(());
        }
        let body = json!({"rule": name, "type": "resource-affinity", "resources": all.join(","), "affinity": affinity});
        self.create_or_join(&name, sid, &body).await
    }

    async fn create_or_join(&self, name: &str, sid: &str, body: &Value) -> Result<(), String> {
        match self.pve.call("POST", "/cluster/ha/rules", Some(body)).await {
            Ok(_) => Ok(()),
            Err(why) if there(&why) => self.join_rule(name, sid).await,
            Err(why) => Err(format!("failed to create HA rule {name:?}: {why}")),
        }
    }

    async fn join_rule(&self, name: &str, sid: &str) -> Result<(), String> {
        let path = format!("/cluster/ha/rules/{name}");
        for _ in 0..RETRIES {
            let rule = self.pve.call("GET", &path, None).await?;
            let mut all = members(rule["resources"].as_str().unwrap_or_default());
            if all.iter().any(|member| member == sid) {
                return Ok(());
            }
            all.push(sid.to_owned());
            // What is left out of a change is reset, so all of the rule goes back.
            let mut body = json!({"resources": all.join(",")});
            for key in ["type", "digest", "affinity", "nodes", "strict"] {
                if !rule[key].is_null() {
                    body[key] = rule[key].clone();
                }
            }
            match self.pve.call("PUT", &path, Some(&body)).await {
                Ok(_) => return Ok(()),
                Err(why) if why.contains("detected modified configuration") => {}
                Err(why) => return Err(format!("failed to add {sid} to HA rule {name:?}: {why}")),
            }
        }
        Err(format!("gave up editing HA rule {name:?} after {RETRIES} retries: ha: digest conflict"))
    }

    /// The registered machines of a set, found by their tag on every node.
    async fn set_members(&self, set: &str, own: &str) -> Result<Vec<String>, String> {
        let listed = self.pve.call("GET", "/cluster/ha/resources", None).await;
        let listed = listed.map_err(|why| format!("failed to list HA resources: {why}"))?;
        let known = |sid: &str| listed.as_array().into_iter().flatten().any(|one| one["sid"] == sid);
        let tag = format!("machine-request.{set}");
        let mut all: Vec<String> = if known(own) { vec![own.to_owned()] } else { Vec::new() };
        for (_, vms) in self.vms_by_node().await? {
            for vm in vms.as_array().into_iter().flatten() {
                let sid = format!("vm:{}", vm["vmid"].as_u64().unwrap_or(0));
                let tagged = vm["tags"].as_str().unwrap_or_default().split(';').any(|one| one == tag);
                if tagged && known(&sid) && !all.contains(&sid) {
                    all.push(sid);
                }
            }
        }
        all.sort();
        Ok(all)
    }

    /// The VMs of each node that is online.
    async fn vms_by_node(&self) -> Result<Vec<(String, Value)>, String> {
        let nodes = self.pve.call("GET", "/nodes", None).await.map_err(|why| format!("failed to list nodes: {why}"))?;
        let mut out = Vec::new();
        for node in nodes.as_array().into_iter().flatten().filter(|node| node["status"] == "online") {
            let name = node["node"].as_str().unwrap_or_default();
            self.pve.node(name).await.map_err(|why| format!("failed to get node {name:?}: {why}"))?;
            let vms = self.pve.call("GET", &format!("/nodes/{name}/qemu"), None).await;
            out.push((name.to_owned(), vms.map_err(|why| format!("failed to list vms on {name:?}: {why}"))?));
        }
        Ok(out)
    }

    /// Takes a machine out of high availability, and says where it runs now: Proxmox may have moved it. `None`: nowhere.
    pub(super) async fn leave_ha(&self, state: &MachineState) -> Result<Option<String>, String> {
        if !state.ha_registered {
            return Ok(Some(state.node.clone()).filter(|node| !node.is_empty()));
        }
        let sid = sid(state);
        match self.pve.call("DELETE", &format!("/cluster/ha/resources/{sid}?purge=1"), None).await {
            Err(why) if !absent(&why) => return Err(format!("failed to deregister HA resource {sid}: {why}")),
            _ => {}
        }
        let here = |vms: &Value| vms.as_array().into_iter().flatten().any(|vm| vm["vmid"] == state.vmid);
        Ok(self.vms_by_node().await?.into_iter().find(|(_, vms)| here(vms)).map(|(node, _)| node))
    }
}
