//! `omnictl get` and `omnictl delete` (client/pkg/omnictl/get.go, delete.go, output/, resources/destroy.go).

use serde_json::Value;

use super::args::{Get, Output};
use super::client::Connection;
use super::scalar;
use super::table::align;
use crate::omni::api::OmniCall;
use crate::omni::kinds::ResourceType;
use crate::omni::names::{A_CLUSTER_LOCKED, CLUSTER, DEFAULT};
use crate::omni::query;
use crate::omni::resource::{Key, Resource};
use crate::tools::failure::ToolError;
use crate::tools::{err, out};

/// Runs `get`.
pub fn run(client: &mut Connection, get: &Get) -> Result<(), ToolError> {
    let kind = client.resolve(&get.kind)?;
    let namespace = get.namespace.as_ref().unwrap_or(&kind.namespace);
    let terms = || get.selector.as_deref().map_or(Ok(Vec::new()), query::parse);
    let found = match (&get.id, &get.output) {
        (Some(id), _) => client.get(&kind.typ, namespace, id).map(|found| vec![found]),
        (None, Output::Json) => return client.print(&kind.typ, namespace, terms()?),
        (None, Output::Table) => client.list(&kind.typ, namespace, terms()?),
    };
    match get.output {
        // The table's header is printed before the request is sent, even if that fails.
        Output::Table => out(&table(kind, found.as_deref().unwrap_or_default())),
        Output::Json => found.as_deref().unwrap_or_default().iter().for_each(|resource| out(&resource.print())),
    }
    found.map(drop)
}

fn table(kind: &ResourceType, found: &[Resource]) -> String {
    let fixed = ["NAMESPACE", "TYPE", "ID", "VERSION"].map(str::to_owned);
    let header = fixed.into_iter().chain(kind.columns.iter().map(|(name, _)| name.to_uppercase())).collect();
    let row = |resource: &Resource| {
        let md = &resource.md;
        let fixed = [md.namespace.clone(), kind.display.clone(), md.id.clone(), resource.version_text()];
        fixed.into_iter().chain(kind.columns.iter().map(|(_, path)| cell(&resource.spec, path))).collect()
    };
    align(&std::iter::once(header).chain(found.iter().map(row)).collect::<Vec<_>>(), 3)
}

/// The text of a column, whose path into the spec is a JSONPath of names only, such as `{.machines.total}`.
fn cell(spec: &Value, path: &str) -> String {
    scalar(path.trim_matches(['{', '}', '.']).split('.').fold(spec, |value, name| &value[name]))
}

/// Runs `delete`: tears down all resources at once (omni v1.9.3 `client/pkg/omnictl/resources/destroy.go`), then waits for
/// finalizers, indefinitely if necessary.
pub fn delete(client: &mut Connection, kind: &str, ids: &[String]) -> Result<(), ToolError> {
    let kind = client.resolve(kind)?;
    let mut found = Vec::new();
    for id in ids {
        let key = Key::new(&kind.typ, &kind.namespace, id);
        match client.call::<bool>(OmniCall::Teardown(key.clone())) {
            // Since 1.9, a missing resource counts as deleted; before, it was an error.
            Err(why) if why.not_found() && !client.release.old() => continue,
            other => _ = other?,
        }
        if client.release.old() {
            // 1.4.9 prints both steps.
            err(&format!("torn down {} {id}\n", kind.typ));
        }
        found.push((id, key));
    }
    for (id, key) in found {
        match tear_down_and_destroy(client, &key) {
            Err(why) if !why.not_found() => return Err(why),
            _ => err(&format!("destroyed {} {id}\n", kind.typ)),
        }
    }
    Ok(())
}

/// `cluster lock` and `cluster unlock` (client/pkg/omnictl/cluster/cluster.go).
pub fn lock(client: &mut Connection, cluster: &str, lock: bool) -> Result<(), ToolError> {
    let mut found = client.get(CLUSTER, DEFAULT, cluster)?;
    if lock {
        found.md.annotations.insert(A_CLUSTER_LOCKED.to_owned(), String::new());
    } else {
        found.md.annotations.remove(A_CLUSTER_LOCKED);
    }
    client.call::<()>(OmniCall::Update(found))?;
    err(&format!("cluster {cluster:?} lock status: {lock}\n"));
    Ok(())
}

/// Tears down a resource, waits until it has no more finalizers, and destroys it.
pub fn tear_down_and_destroy(client: &mut Connection, key: &Key) -> Result<(), ToolError> {
    let mut ready: bool = client.call(OmniCall::Teardown(key.clone()))?;
    let mut revision = 0;
    while !ready {
        revision = client.wait_for_change(revision, 60_000)?;
        match client.find(key)? {
            None => return Ok(()),
            Some(found) => ready = found.md.finalizers.is_empty(),
        }
    }
    match client.call(OmniCall::Destroy(key.clone())) {
        Err(why) if why.not_found() => Ok(()),
        other => other,
    }
}
