//! `omnictl cluster template sync` and `omnictl cluster delete` (client/pkg/template/template.go, operations/sync.go).

use super::apply;
use super::client::Connection;
use super::template::{self, Template};
use crate::omni::api::OmniCall;
use crate::omni::kinds::OmniRelease;
use crate::omni::names::*;
use crate::omni::query::Term;
use crate::omni::resource::{Key, Resource};
use crate::tools::failure::ToolError;
use crate::tools::out;
use similar::TextDiff;

/// The order in which resources are created, and torn down within a phase.
const ORDER: &[&str] = &[CLUSTER, EXTENSIONS_CONFIGURATION, CONFIG_PATCH, MACHINE_SET, MACHINE_SET_NODE];

fn rank(resource: &Resource) -> usize {
    ORDER.iter().position(|typ| *typ == resource.md.typ).unwrap_or(ORDER.len())
}

/// Translates a template to resources, in the order in which a sync creates them.
pub fn resources_of_template(release: OmniRelease, file: &str) -> Result<Vec<Resource>, String> {
    let mut resources = template::load(release, file)?.translate()?;
    resources.sort_by_key(rank);
    Ok(resources)
}

#[derive(Default)]
struct Changes {
    create: Vec<Resource>,
    update: Vec<(Resource, Resource)>,
    destroy: [Vec<Resource>; 2],
}

/// The resources of a cluster on the server that belong to its template.
fn actual(client: &mut Connection, cluster: &str, expected: &[Resource]) -> Result<Vec<Resource>, ToolError> {
    let mut out = Vec::new();
    out.extend(client.find(&Key::new(CLUSTER, DEFAULT, cluster))?);
    for typ in [MACHINE_SET, MACHINE_SET_NODE, CONFIG_PATCH, EXTENSIONS_CONFIGURATION] {
        let found = client.list(typ, DEFAULT, vec![Term::equal(L_CLUSTER, cluster)])?;
        out.extend(
            found.into_iter().filter(|found| found.label(L_MANAGED_NODE).is_none() && found.md.owner.is_empty()),
        );
    }
    for resource in expected {
        if !out.iter().any(|found| found.key() == resource.key())
            && let Some(found) = client.find(&resource.key())?
            && found.md.owner.is_empty()
        {
            out.push(found);
        }
    }
    Ok(out)
}

/// Splits the resources to delete into phases: sets and nodes, then the rest. Those deleted with their owner are left out.
fn phases(gone: Vec<Resource>, cluster: &str) -> Result<[Vec<Resource>; 2], ToolError> {
    let of = |resource: &Resource| resource.label(L_CLUSTER).unwrap_or_default().to_owned();
    if let Some(foreign) = gone.iter().find(|found| found.md.typ != CLUSTER && of(found) != cluster) {
        let (name, owner) = (foreign.name(), of(foreign));
        let text = format!("resource {name} belongs to cluster {owner:?}, but template is for cluster {cluster:?}");
        return Err(ToolError::Message(text));
    }
    let goes = |typ: &str, id: Option<&str>| gone.iter().any(|other| other.md.typ == typ && Some(&*other.md.id) == id);
    let with_owner = |resource: &Resource| match resource.md.typ.as_str() {
        CLUSTER => false,
        MACHINE_SET_NODE => goes(MACHINE_SET, resource.label(L_MACHINE_SET)),
        _ => goes(CLUSTER, resource.label(L_CLUSTER)),
    };
    let named = gone.iter().filter(|resource| !with_owner(resource)).cloned();
    let first = |resource: &Resource| [MACHINE_SET, MACHINE_SET_NODE].contains(&resource.md.typ.as_str());
    let (mut sets, mut rest): (Vec<_>, Vec<_>) = named.partition(first);
    sets.sort_by_key(rank);
    rest.sort_by_key(rank);
    Ok([sets, rest])
}

fn changes(client: &mut Connection, template: &Template) -> Result<Changes, ToolError> {
    let cluster = template.cluster_name()?;
    let mut missing = template.translate()?;
    let found = actual(client, &cluster, &missing)?;
    let (mut update, mut gone) = (Vec::new(), Vec::new());
    for old in found {
        let Some(at) = missing.iter().position(|wanted| wanted.key() == old.key()) else {
            gone.push(old);
            continue;
        };
        let mut new = missing.remove(at);
        // The template does not determine the rest of the metadata.
        (new.md.version, new.md.sequence) = (old.md.version, old.md.sequence);
        (new.md.created, new.md.updated) = (old.md.created, old.md.updated);
        new.md.finalizers.clone_from(&old.md.finalizers);
        if old != new {
            update.push((old, new));
        }
    }
    missing.sort_by_key(rank);
    update.sort_by_key(|(_, new)| rank(new));
    Ok(Changes { create: missing, update, destroy: phases(gone, &cluster)? })
}

/// The diff that `--verbose` prints, empty if nothing changed (client/pkg/diff). Keys are sorted and strings quoted as by
/// serde_yaml, not as by Go.
fn diff(old: Option<&Resource>, new: Option<&Resource>) -> String {
    let yaml = |resource: Option<&Resource>| {
        resource.and_then(|resource| serde_yaml::to_string(&resource.to_json()).ok()).unwrap_or_default()
    };
    let name = |resource: Option<&Resource>| resource.map_or("/dev/null".to_owned(), Resource::name);
    TextDiff::from_lines(&yaml(old), &yaml(new)).unified_diff().header(&name(old), &name(new)).to_string()
}

/// Prints an action and, with `--verbose`, the diff.
fn print_action(what: &str, (dry, verbose): (bool, bool), old: Option<&Resource>, new: Option<&Resource>) {
    let name = new.or(old).map(Resource::short_name).unwrap_or_default();
    out(&format!("* {what}{} {name}\n", if dry { " (dry run)" } else { "" }));
    if verbose {
        out(&diff(old, new));
    }
}

fn apply_changes(client: &mut Connection, changes: Changes, dry: bool, verbose: bool) -> Result<(), ToolError> {
    for new in changes.create {
        print_action("creating", (dry, verbose), None, Some(&new));
        if !dry {
            client.call::<()>(OmniCall::Create(new))?;
        }
    }
    for (old, new) in changes.update {
        print_action("updating", (dry, verbose), Some(&old), Some(&new));
        if !dry {
            client.call::<()>(OmniCall::Update(new))?;
        }
    }
    changes.destroy.into_iter().try_for_each(|phase| tear_down_all(client, phase, dry, verbose))
}

/// Tears down the resources of a phase and waits, without a deadline, until all of them are gone.
fn tear_down_all(client: &mut Connection, phase: Vec<Resource>, dry: bool, verbose: bool) -> Result<(), ToolError> {
    for resource in &phase {
        print_action("tearing down", (dry, verbose), Some(resource), None);
        if dry {
            continue;
        }
        match client.call::<bool>(OmniCall::Teardown(resource.key())) {
            Err(why) if !why.not_found() => return Err(why),
            _ => {}
        }
    }
    let mut left = if dry { Vec::new() } else { phase };
    let mut revision = 0;
    while !left.is_empty() {
        let mut still = Vec::new();
        for resource in left {
            match client.find(&resource.key())? {
                Some(found) if !found.md.finalizers.is_empty() => {
                    still.push(resource);
                    continue;
                }
                Some(_) => match client.call::<()>(OmniCall::Destroy(resource.key())) {
                    Err(why) if !why.not_found() => return Err(why),
                    _ => {}
                },
                None => {}
            }
            out(&format!("* destroyed {}\n", resource.short_name()));
        }
        left = still;
        if !left.is_empty() {
            revision = client.wait_for_change(revision, 60_000)?;
        }
    }
    Ok(())
}

/// `sync`: one file or, since 1.5, all files below a directory.
pub fn sync(client: &mut Connection, path: &str, dry: bool, verbose: bool) -> Result<(), ToolError> {
    let one = |client: &mut Connection, file: &str| -> Result<(), ToolError> {
        let template = template::load(client.release, file)?;
        let changes = changes(client, &template).map_err(|why| why.wrap("error syncing template"))?;
        apply_changes(client, changes, dry, verbose)
    };
    if client.release.old() {
        return one(client, path);
    }
    let files = apply::files(path).map_err(|why| format!("failed to discover template files from {path:?}: {why}"))?;
    if verbose {
        out(&format!("Processing {} template file(s)\n", files.len()));
    }
    for file in files {
        let shown = file.display().to_string();
        if verbose {
            out(&format!("Syncing template: {shown}\n"));
        }
        one(client, &shown).map_err(|why| why.wrap(&format!("failed to sync template {shown:?}")))?;
    }
    Ok(())
}

/// `cluster delete`: an unknown cluster is not an error, and nothing is printed. With `disconnected`, the links of disconnected
/// machines are deleted first, so that the deletion does not wait for them (client/pkg/template/operations/delete.go).
pub fn delete_cluster(client: &mut Connection, cluster: &str, dry: bool, disconnected: bool) -> Result<(), ToolError> {
    if disconnected {
        let silent = Term { key: L_DISCONNECTED.to_owned(), value: None };
        let machines = client.list(MACHINE_STATUS, DEFAULT, vec![Term::equal(L_CLUSTER, cluster), silent])?;
        let mut links = Vec::new();
        for machine in machines {
            links.extend(client.find(&Key::new(LINK, DEFAULT, &machine.md.id))?);
        }
        tear_down_all(client, links, dry, false)?;
    }
    let gone = actual(client, cluster, &[])?;
    apply_changes(client, Changes { destroy: phases(gone, cluster)?, ..Changes::default() }, dry, false)
}
