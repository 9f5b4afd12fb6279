//! The storages of each node that a selector is tried on, from a file or from Proxmox.

use std::path::Path;

use serde_json::{Map, Value};

use crate::flow::{inputs, proxmox};
use domain::failure::{Code, Failure};
use domain::nearest::nearest;
use domain::spec;
use domain::status::proxmox::{self as status, Storage};
use runtime::cx::Cx;
use runtime::tool::proxmox::Proxmox;
use runtime::ui::{Check, Status, StepResult};

/// The storages of a file, else those of Proxmox unless `offline`, of one node or of all; `None` when there is no list.
///
/// # Errors
/// When the file or Proxmox cannot be read, and for a node that does not exist.
pub fn list(cx: &Cx, file: Option<&Path>, node: Option<&str>, offline: bool) -> anyhow::Result<Option<Vec<Storage>>> {
    let mut storages = match file {
        Some(file) => saved(cx, file)?,
        None if offline => return Ok(None),
        None => match login(cx)? {
            Some(proxmox) => live(cx, &proxmox, node)?,
            None => {
                let detail = "neither docker/config.yaml nor PROXMOX_VE_ENDPOINT and PROXMOX_VE_API_TOKEN give access to Proxmox";
                cx.ui.note("proxmox", "Read the storages of each node", Status::Warning, detail);
                return Ok(None);
            }
        },
    };
    if let Some(node) = node {
        let mut nodes: Vec<String> = storages.iter().map(|storage| storage.node.clone()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        storages.retain(|storage| storage.node == node);
        if storages.is_empty() {
            return Err(no_node(node, &nodes).into());
        }
    }
    Ok((!storages.is_empty()).then_some(storages))
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
fn saved(cx: &Cx, file: &Path) -> Result<Vec<Storage>, Failure> {
    let form = "it is a JSON list of {\"name\", \"node\", \"storageType\", \"availableSpace\"}, the last in bytes";
    let wrong = |why: String| {
        Failure::new(Code::Invalid, format!("`{}` is not a list of storages", cx.paths.show(file)))
            .cause(why)
            .hint(form)
    };
    let bytes = inputs::read(cx, file, form)?;
    let mut document = spec::json::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    // A saved inventory has the same list.
    if let Some(list) = document.get_mut("storages") {
        document = list.take();
    }
    let Value::Array(list) = document else { return Err(wrong("it is not a list".to_owned())) };
    let read = |(at, entry)| storage(entry).map_err(|why| wrong(format!("entry {}: {why}", at + 1)));
    list.into_iter().enumerate().map(read).collect()
}

/// An entry of a saved list, which may have `content`, `enabled` and `active` as Proxmox prints them.
fn storage(mut entry: Value) -> Result<Storage, serde_json::Error> {
    for (key, value) in entry.as_object_mut().into_iter().flat_map(Map::iter_mut) {
        match (key.as_str(), &*value) {
            ("content", Value::String(content)) => *value = content.split(',').map(str::trim).collect(),
            ("enabled" | "active", Value::Number(on)) => *value = (on.as_u64() != Some(0)).into(),
            _ => {}
        }
    }
    serde_json::from_value(entry)
}

/// Proxmox as the provider reaches it, or as the environment says; `None` when nothing does.
fn login(cx: &Cx) -> Result<Option<Proxmox>, Failure> {
    match proxmox::login(cx) {
        Ok(login) => Ok(Some(login)),
        // Neither the address nor the token is anywhere.
        Err(failure) if failure.missing.len() == 2 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The storages of every node that is online, or of one, as the provider asks for them (omni-infra-provider-proxmox 0d9fd58
/// provision.go:585).
fn live(cx: &Cx, proxmox: &Proxmox, only: Option<&str>) -> anyhow::Result<Vec<Storage>> {
    let mut nodes = cx.ui.step("nodes", "Read the nodes of Proxmox", || {
        let found = proxmox::list_nodes(cx, proxmox)?;
        let count = found.len();
        Ok(StepResult::ok(found, count.to_string()))
    })?;
    if let Some(only) = only {
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        nodes.retain(|node| node.name == only);
        if nodes.is_empty() {
            return Err(no_node(only, &names).into());
        }
    }
    let (offline, online): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.status == "offline");
    let title = |node: &status::Node| format!("Read the storages of {}", node.name);
    for node in &offline {
        cx.ui.note("storages", title(node), Status::Warning, "the node is offline");
    }
    let checks = online.iter().map(|node| {
        Check::new("storages", title(node), move || {
            let purpose = format!("asking Proxmox for the storages of {}", node.name);
            let found = proxmox.get(cx, &purpose, &format!("/nodes/{}/storage", node.name))?;
            let storages = status::storages(&node.name, &found).unwrap_or_default();
            let count = storages.len();
            Ok(match count {
                0 => StepResult::warning(storages, "none: the token lacks Datastore.Audit on them"),
                _ => StepResult::ok(storages, count.to_string()),
            })
        })
    });
    let found = cx.ui.side_by_side("asking Proxmox", checks.collect()).into_iter();
    Ok(found.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
}
