//! The storages of each node, from a file or from Proxmox: what a selector sees of them, and what it does not.

use std::path::Path;

use serde_json::{Map, Value};

use crate::flow::{inputs, proxmox};
use domain::failure::{Code, Failure};
use domain::nearest::nearest;
use domain::spec;
use runtime::cx::Cx;
use runtime::tool::proxmox::Proxmox;
use runtime::ui::{Check, Done, Status};
use selector::Storage;

/// A storage of a node: what a selector sees, and what it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageOnNode {
    pub name: String,
    pub node: String,
    pub storage_type: String,
    pub available_space: u64,
    /// Whether it holds VM disks; not known of a saved list.
    pub images: Option<bool>,
    /// Whether it is enabled and active.
    pub usable: Option<bool>,
}

/// The storages of a file, else those of Proxmox unless `offline`, of one node or of all; `None` when there is no list.
///
/// # Errors
/// When the file or Proxmox cannot be read, and for a node that does not exist.
pub fn list(
    cx: &Cx,
    file: Option<&Path>,
    node: Option<&str>,
    offline: bool,
) -> anyhow::Result<Option<Vec<StorageOnNode>>> {
    let of_node = |mut places: Vec<StorageOnNode>| -> Result<Option<Vec<StorageOnNode>>, Failure> {
        if let Some(node) = node {
            let nodes: Vec<String> = nodes(&places).into_iter().map(str::to_owned).collect();
            places.retain(|place| place.node == node);
            if places.is_empty() {
                return Err(no_node(node, &nodes));
            }
        }
        Ok((!places.is_empty()).then_some(places))
    };
    if let Some(file) = file {
        return Ok(of_node(saved(cx, file)?)?);
    }
    if offline {
        return Ok(None);
    }
    let Some(proxmox) = login(cx)? else {
        let detail =
            "neither docker/config.yaml nor PROXMOX_VE_ENDPOINT and PROXMOX_VE_API_TOKEN say how to ask Proxmox";
        cx.ui.note("proxmox", "Read the storages of each node", Status::Warning, detail);
        return Ok(None);
    };
    Ok(of_node(live(cx, &proxmox, node)?)?)
}

fn no_node(node: &str, nodes: &[String]) -> Failure {
    let failure = Failure::new(Code::NotFound, format!("there is no storage of a node `{node}`"))
        .cause(format!("the nodes are: {}", if nodes.is_empty() { "none".to_owned() } else { nodes.join(", ") }));
    match nearest(node, nodes.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure,
    }
}

/// The storages of a file.
fn saved(cx: &Cx, file: &Path) -> Result<Vec<StorageOnNode>, Failure> {
    let form = "it is a JSON list of {\"name\", \"node\", \"storageType\", \"availableSpace\"}, the last in bytes";
    let wrong = |why: String| {
        Failure::new(Code::Invalid, format!("`{}` is not a list of storages", cx.paths.show(file)))
            .cause(why)
            .hint(form)
    };
    let bytes = inputs::read(cx, file, form)?;
    let list = match spec::json::parse(&bytes).map_err(|error| wrong(error.to_string()))? {
        Value::Array(list) => list,
        // A saved inventory has the same list.
        Value::Object(mut inventory) if inventory.get("storages").is_some_and(Value::is_array) => {
            inventory.remove("storages").and_then(|list| list.as_array().cloned()).unwrap_or_default()
        }
        other => return Err(wrong(format!("it is {}", kind(&other)))),
    };
    let place = |(at, entry): (usize, &Value)| {
        let entry =
            entry.as_object().ok_or_else(|| wrong(format!("entry {} is {}, not an object", at + 1, kind(entry))))?;
        let text = |key: &str| match entry.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(wrong(format!("entry {}: `{key}` is {other}, and must be text", at + 1))),
            None => Err(wrong(format!("entry {}: `{key}` is missing", at + 1))),
        };
        let space = entry.get("availableSpace");
        let available_space = space.and_then(Value::as_u64).ok_or_else(|| {
            let is = space.map_or("is missing".to_owned(), |other| format!("is {other}"));
            wrong(format!("entry {}: `availableSpace` {is}, and must be a whole number of bytes", at + 1))
        })?;
        let (images, usable) = unseen(entry);
        Ok(StorageOnNode {
            name: text("name")?,
            node: text("node")?,
            storage_type: text("storageType")?,
            available_space,
            images,
            usable,
        })
    };
    list.iter().enumerate().map(place).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What a selector cannot see and a disk needs: `content`, `enabled` and `active`, as Proxmox names them.
fn unseen(entry: &Map<String, Value>) -> (Option<bool>, Option<bool>) {
    let content = entry.get("content").and_then(Value::as_str);
    let images = content.map(|content| content.split(',').any(|kind| kind.trim() == "images"));
    let on = |key: &str| match entry.get(key) {
        Some(Value::Bool(on)) => Some(*on),
        Some(Value::Number(number)) => Some(number.as_u64() != Some(0)),
        _ => None,
    };
    let usable = match (on("enabled"), on("active")) {
        (None, None) => None,
        (enabled, active) => Some(enabled.unwrap_or(true) && active.unwrap_or(true)),
    };
    (images, usable)
}

/// Proxmox as the provider reaches it, or as the environment says; `None` when nothing does.
fn login(cx: &Cx) -> Result<Option<Proxmox>, Failure> {
    match proxmox::login(cx) {
        Ok(login) => Ok(Some(login.proxmox)),
        // Neither the address nor the token is anywhere.
        Err(failure) if failure.missing.len() == 2 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The storages of every node that is online, or of one, as the provider asks for them (omni-infra-provider-proxmox 0d9fd58
/// provision.go:585).
fn live(cx: &Cx, proxmox: &Proxmox, only: Option<&str>) -> anyhow::Result<Vec<StorageOnNode>> {
    let list = cx.ui.step("nodes", "Read the nodes of Proxmox", || {
        let found = proxmox.get(cx, "asking Proxmox for its nodes", "/nodes")?;
        let found = found.as_array().cloned().unwrap_or_default();
        let count = found.len();
        Ok(Done::ok(found, count.to_string()))
    })?;
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let mut nodes: Vec<(String, String)> =
        list.iter().map(|entry| (text(entry, "node"), text(entry, "status"))).collect();
    nodes.sort();
    if let Some(only) = only {
        let names: Vec<String> = nodes.iter().map(|(node, _)| node.clone()).collect();
        nodes.retain(|(node, _)| node == only);
        if nodes.is_empty() {
            return Err(no_node(only, &names).into());
        }
    }
    for (node, status) in nodes.iter().filter(|(_, status)| status == "offline") {
        cx.ui.note(
            "storages",
            format!("Read the storages of {node}"),
            Status::Warning,
            format!("the node is {status}"),
        );
    }
    let online = nodes.iter().filter(|(_, status)| status != "offline");
    let checks = online.map(|(node, _)| {
        Check::new("storages", format!("Read the storages of {node}"), move || {
            let purpose = format!("asking Proxmox for the storages of {node}");
            let found = proxmox.get(cx, &purpose, &format!("/nodes/{node}/storage"))?;
            let entries = found.as_array().into_iter().flatten().filter_map(Value::as_object);
            let places: Vec<StorageOnNode> = entries.map(|entry| listed(node, entry)).collect();
            let count = places.len();
            Ok(match count {
                0 => Done::warning(places, "none: the token lacks Datastore.Audit on them"),
                _ => Done::ok(places, count.to_string()),
            })
        })
    });
    let results = cx.ui.side_by_side("asking Proxmox", checks.collect());
    let mut places = Vec::new();
    for result in results {
        places.extend(result?);
    }
    places.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
    Ok(places)
}

/// An entry of Proxmox's list; `avail` is absent for a storage that is off.
fn listed(node: &str, entry: &Map<String, Value>) -> StorageOnNode {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (images, usable) = unseen(entry);
    let available_space = entry.get("avail").and_then(Value::as_u64).unwrap_or_default();
    StorageOnNode {
        name: text("storage"),
        node: node.to_owned(),
        storage_type: text("type"),
        available_space,
        images,
        usable,
    }
}

impl StorageOnNode {
    /// What stands for "no storage" in the result of a compilation.
    pub fn nowhere() -> StorageOnNode {
        let empty = String::new;
        StorageOnNode {
            name: empty(),
            node: empty(),
            storage_type: empty(),
            available_space: 0,
            images: None,
            usable: None,
        }
    }

    pub fn as_selector_sees(&self) -> Storage<'_> {
        let StorageOnNode { name, node, storage_type, available_space, .. } = self;
        Storage { name, node, storage_type, available_space: *available_space }
    }
}

fn nodes(places: &[StorageOnNode]) -> Vec<&str> {
    let mut nodes: Vec<&str> = places.iter().map(|place| place.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn proxmox_says_less_of_a_storage_that_is_off() {
        let entry = json!({"storage": "x", "type": "rbd", "content": "rootdir,images", "enabled": 0, "active": 0});
        let found = listed("pve1", entry.as_object().unwrap());
        assert_eq!((found.available_space, found.images, found.usable), (0, Some(true), Some(false)));
        let entry = json!({"storage": "local", "type": "dir", "content": "iso,vztmpl", "avail": 5});
        let found = listed("pve1", entry.as_object().unwrap());
        assert_eq!((found.available_space, found.images, found.usable), (5, Some(false), None));
    }
}
