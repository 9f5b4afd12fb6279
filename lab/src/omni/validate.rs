//! The server's validation of resources (omni v1.9.3 internal/backend/runtime/omni/validations).

use serde_json::Value;

use super::kinds::OmniRelease;
use super::names::*;
use super::resource::{Key, Resource};
use super::state::State;
use super::status::Status;
use super::store::not_found;
use super::{schema, versions};

/// Checks whether a resource may be written; `old` is the resource that it replaces.
pub fn write(state: &State, old: Option<&Resource>, new: &Resource) -> Result<(), Status> {
    let checked = match new.md.typ.as_str() {
        MACHINE_CLASS => machine_class(state, old, new),
        CLUSTER => match cluster(state, old, new) {
            errors if errors.is_empty() => Ok(()),
            errors => return Err(Status::invalid(&errors)),
        },
        MACHINE_SET => machine_set(state, old, new),
        INFRA_PROVIDER if old.is_none() && state.release >= OmniRelease::V1_10_6 => {
            dns_label(&new.md.id).map_err(|why| format!("invalid infra provider name: {why}"))
        }
        EXTENSIONS_CONFIGURATION if !state.release.old() => extensions(state, new),
        _ => Ok(()),
    };
    checked.map_err(|why| Status::invalid(&[why]))
}

/// Checks the extensions of a cluster's machines against the catalog of its Talos version (validations/extensions.go).
fn extensions(state: &State, new: &Resource) -> Result<(), String> {
    let list: Vec<&str> = new.spec["extensions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if list.is_empty() {
        return Ok(());
    }
    let id = new.label(L_CLUSTER).unwrap_or_default();
    let cluster = state.store.by_id(CLUSTER, id).ok_or_else(|| format!("cluster {id:?} does not exist"))?;
    if list.len() > 256 {
        return Err(format!("extensions list has {} entries, exceeds maximum of 256", list.len()));
    }
    let talos = cluster.text("talosversion");
    let catalog = state.store.by_id(TALOS_EXTENSIONS, talos).and_then(|found| found.spec["items"].as_array());
    let catalog = catalog.ok_or_else(|| format!("no Talos extensions catalog for version {talos:?}"))?;
    let mut seen = Vec::new();
    for (at, name) in list.into_iter().enumerate() {
        let full = if name.contains('/') { name.to_owned() } else { format!("siderolabs/{name}") };
        if !catalog.iter().any(|known| known["name"] == full.as_str()) {
            return Err(format!("extension {name:?} (entry {at}) is not available for Talos version {talos:?}"));
        }
        if seen.contains(&full) {
            return Err(format!("extension {name:?} (entry {at}) is listed more than once"));
        }
        seen.push(full);
    }
    Ok(())
}

/// Checks a DNS label (omni v1.10.4 internal/pkg/dnslabel).
fn dns_label(text: &str) -> Result<(), String> {
    if text.len() > 63 {
        return Err(format!("DNS-1123 label is too long: {} bytes (max 63)", text.len()));
    }
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.is_empty() && text.chars().all(|c| good(c) || c == '-') && text.starts_with(good) && text.ends_with(good) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is not a valid DNS-1123 label (lowercase alphanumeric and hyphens, starting and ending with \
         alphanumeric, max 63 characters)"
    ))
}

/// Checks whether a resource may be deleted.
pub fn destroy(state: &State, resource: &Resource) -> Result<(), Status> {
    let id = resource.md.id.as_str();
    match resource.md.typ.as_str() {
        MACHINE_CLASS => {
            let sets = state.store.list(MACHINE_SET, DEFAULT);
            let using: Vec<String> =
                sets.filter(|set| set.spec["machineallocation"]["name"] == id).map(|set| set.md.id.clone()).collect();
            let text =
                format!("can not delete the machine class as it is still in use by machine sets: {}", using.join(", "));
            if using.is_empty() { Ok(()) } else { Err(Status::invalid(&[text])) }
        }
        INFRA_PROVIDER => {
            let machines = state.store.list(MACHINE, DEFAULT).filter(|machine| machine.label(L_PROVIDER) == Some(id));
            let running: Vec<String> =
                machines.filter(|machine| !machine.tearing_down()).map(|machine| machine.md.id.clone()).collect();
            let text = format!(
                "cannot delete the infra provider {id:?}, as there are {} running machines managed by it: [{}]",
                running.len(),
                running.join(" ")
            );
            if running.is_empty() { Ok(()) } else { Err(Status::invalid(&[text])) }
        }
        _ => Ok(()),
    }
}

fn machine_class(state: &State, old: Option<&Resource>, new: &Resource) -> Result<(), String> {
    let labels = new.spec["matchlabels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let provision = &new.spec["autoprovision"];
    if provision.is_object() && !labels.is_empty() {
        return Err("can't set both auto provision and match labels at the same time".to_owned());
    }
    if provision.is_object() {
        let provider = provision["providerid"].as_str().unwrap_or_default();
        if provider.is_empty() {
            return Err("providerID can not be empty".to_owned());
        }
        let unchanged = old.is_some_and(|old| old.spec["autoprovision"]["providerdata"] == provision["providerdata"]);
        return if unchanged { Ok(()) } else { provider_data(state, provider, &provision["providerdata"]) };
    }
    match labels.is_empty() {
        true => Err("machine class should either have auto provision or match labels set".to_owned()),
        false => Err("the lab does not simulate classes without auto provision".to_owned()),
    }
}

fn provider_data(state: &State, provider: &str, data: &Value) -> Result<(), String> {
    let status = state.store.get(INFRA_PROVIDER_STATUS, INFRA, provider).ok_or_else(|| {
        let why = not_found(&Key::new(INFRA_PROVIDER_STATUS, INFRA, provider)).message;
        // 1.4.9 reads its own store here and returns the error unchanged; 1.9.3 wraps it once more.
        format!("failed to get provider: {}{why}", if state.release.old() { "" } else { "failed to get: " })
    })?;
    match status.spec["schema"].as_str() {
        None | Some("") => Ok(()),
        Some(schema) => schema::validate(state.release, provider, schema, data.as_str().unwrap_or_default()),
    }
}

fn talos_version(state: &State, version: &str) -> Result<(), String> {
    let found = state.store.by_id(TALOS_VERSION, version).ok_or_else(|| {
        let why = not_found(&Key::new(TALOS_VERSION, DEFAULT, version)).message;
        format!("invalid talos version {version:?}: failed to get: {why}")
    })?;
    if found.spec["deprecated"] == true {
        return Err(format!("talos version {version:?} is no longer supported"));
    }
    Ok(())
}

fn cluster(state: &State, old: Option<&Resource>, new: &Resource) -> Vec<String> {
    let (talos, kubernetes) = (new.text("talosversion"), new.text("kubernetesversion"));
    let encrypted = |from: &Resource| from.spec["features"]["diskencryption"] == true;
    let mut errors = Vec::new();
    if old.is_some_and(|old| encrypted(old) != encrypted(new)) {
        errors.push("updating disk encryption settings is not allowed".to_owned());
    }
    let embedded = |from: &Resource| from.spec["features"]["useembeddeddiscoveryservice"] == true;
    if embedded(new) && !old.is_some_and(embedded) {
        errors.push("embedded discovery service is not enabled".to_owned());
    }
    if new.spec["features"]["disablepublicdiscoveryservice"] == true {
        // omni v1.10.4 validations/cluster.go
        if versions::parse(talos).is_some_and(|version| version < (1, 14, 0)) {
            let text =
                "the public discovery service can only be configured for clusters created with Talos 1.14 or newer";
            errors.push(text.to_owned());
        } else if !embedded(new) {
            let text = "the discovery service cannot be disabled entirely: keep the public discovery service enabled or enable \
                        the embedded discovery service";
            errors.push(text.to_owned());
        }
    }
    let same = |field: &str| old.is_some_and(|old| old.text(field) == new.text(field));
    if !(same("talosversion") && same("kubernetesversion")) {
        errors.extend(cluster_versions(state, old, talos, kubernetes).err());
    }
    errors
}

fn cluster_versions(state: &State, old: Option<&Resource>, talos: &str, kubernetes: &str) -> Result<(), String> {
    talos_version(state, talos)?;
    if let Some(old) = old {
        let before = old.text("talosversion");
        if let (Some((a, b, _)), Some((c, d, _))) = (versions::parse(before), versions::parse(talos))
            && (c, d) < (a, b)
        {
            return Err(format!("downgrading from version {before:?} to {talos:?} is not supported"));
        }
        let before = old.text("kubernetesversion");
        if let (Some((_, a, _)), Some((_, b, _))) = (versions::parse(before), versions::parse(kubernetes))
            && !(a..=a + 1).contains(&b)
        {
            return Err(format!("kubernetes version is not supported for upgrade to {kubernetes:?} from {before:?}"));
        }
    }
    let compatible = state.store.by_id(TALOS_VERSION, talos).map(|found| &found.spec["compatiblekubernetesversions"]);
    let fits = compatible.and_then(Value::as_array).is_some_and(|list| list.iter().any(|found| found == kubernetes));
    match fits {
        true => Ok(()),
        false => {
            Err(format!("invalid kubernetes version {kubernetes:?}: is not compatible with talos version {talos:?}"))
        }
    }
}

fn machine_set(state: &State, old: Option<&Resource>, new: &Resource) -> Result<(), String> {
    let name = new.label(L_CLUSTER).ok_or_else(|| format!("label {L_CLUSTER:?} does not exist"))?;
    let id = new.md.id.as_str();
    let cluster = state.store.by_id(CLUSTER, name).ok_or_else(|| format!("the cluster {name:?} does not exist"))?;
    if old.is_none() && cluster.tearing_down() {
        return Err(format!("the cluster {name:?} is tearing down"));
    }
    if cluster.md.annotations.contains_key(A_CLUSTER_LOCKED) {
        let (verb, place) = if old.is_none() { ("adding", "to") } else { ("updating", "on") };
        let what = format!("{verb} machine set {id:?} {place} the cluster {name:?}");
        return Err(format!("{what} is not allowed: the cluster is locked"));
    }
    if new.is_control_plane() && old.is_none() && state.store.by_id(CLUSTER_BOOTSTRAP_STATUS, name).is_some() {
        return Err("adding control plane machine set to an already bootstrapped cluster is not allowed".to_owned());
    }
    allocation(state, old, new)
}

fn allocation(state: &State, old: Option<&Resource>, new: &Resource) -> Result<(), String> {
    let allocation = &new.spec["machineallocation"];
    if !allocation.is_object() {
        return Ok(());
    }
    let class = allocation["name"].as_str().unwrap_or_default();
    if class.is_empty() {
        return Err("machine allocation source name is not set".to_owned());
    }
    let unlimited = allocation["allocationtype"] == 1;
    if unlimited && allocation["machinecount"].as_u64().unwrap_or(0) != 0 {
        return Err("machine count can be set only if static allocation type is used".to_owned());
    }
    let before = old.map(|old| &old.spec["machineallocation"]["name"]);
    if before.is_none_or(|name| name.is_string() && name != class) {
        let found = state.store.by_id(MACHINE_CLASS, class);
        let found = found.ok_or_else(|| format!("machine class with name {class:?} doesn't exist"))?;
        if unlimited && found.spec["autoprovision"].is_object() {
            return Err(format!(
                "machine class {class:?} is using autoprovision, so unlimited machine set allocation is not supported"
            ));
        }
    }
    Ok(())
}
