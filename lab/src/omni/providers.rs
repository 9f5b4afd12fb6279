//! Infrastructure providers as Omni sees them: registered or not, connected or not (omni v1.9.3 controllers
//! infra_provider_status, infraprovider/state.go; client/pkg/infra/infra.go).

use std::time::Duration;

use serde_json::{Value, json};

use super::names::*;
use super::resource::Key;
use super::state::State;

/// How long after its last heartbeat a provider still counts as connected.
pub const SILENT_AFTER: Duration = Duration::from_secs(31);

/// Handles the creation of a provider by an administrator.
pub fn created(state: &mut State, id: &str) {
    let key = Key::new(INFRA_PROVIDER, INFRA, id);
    let finalizers =
        ["InfraProviderStatusController", "InfraProviderCleanupController", "ProviderJoinConfigController"];
    state.store.add_finalizers(&key, finalizers);
    combine(state, id);
}

/// Registers a provider with its schema, name, description and version.
pub fn register(state: &mut State, id: &str, mut spec: Value) {
    spec["icon"] = ICON.into();
    let made = state.make(INFRA_PROVIDER_STATUS, INFRA, id, spec).with_label(L_PROVIDER, id);
    state.store.put(made);
    combine(state, id);
}

/// Records a heartbeat of a provider whose clock is `behind`. Omni compares the provider's time with its own.
pub fn heartbeat(state: &mut State, id: &str, behind: Duration) {
    // Time starts with the lab: a heartbeat from before counts as long past.
    let last = state.elapsed.checked_sub(behind);
    match last {
        Some(last) => drop(state.heartbeats.insert(id.to_owned(), last)),
        None => drop(state.heartbeats.remove(id)),
    }
    let seconds = state.store.now() - behind.as_secs() as i64;
    let spec = json!({"lastheartbeattimestamp": {"seconds": seconds, "nanos": 0}});
    let made = state.make(INFRA_PROVIDER_HEALTH, INFRA_EPHEMERAL, id, spec).with_label(L_PROVIDER, id);
    state.store.put(made);
    combine(state, id);
}

/// Disconnects the providers that have been silent for too long. Omni does not check this before 1.6 (recorded with 1.4.9: a
/// provider stayed connected 100 s after it exited).
pub fn advance(state: &mut State) {
    if state.release.old() {
        return;
    }
    let ids: Vec<String> = state.heartbeats.keys().cloned().collect();
    for id in ids {
        combine(state, &id);
    }
}

/// Returns when the next provider will count as disconnected.
pub fn next_due(state: &State) -> Option<Duration> {
    if state.release.old() {
        return None;
    }
    state.heartbeats.values().map(|last| *last + SILENT_AFTER + state.slack).filter(|due| *due > state.elapsed).min()
}

fn combine(state: &mut State, id: &str) {
    if state.store.get(INFRA_PROVIDER, INFRA, id).is_none() {
        return;
    }
    let connected = state.heartbeats.get(id).is_some_and(|last| state.elapsed < *last + SILENT_AFTER + state.slack);
    let status = state.store.get(INFRA_PROVIDER_STATUS, INFRA, id);
    let health = state.store.get(INFRA_PROVIDER_HEALTH, INFRA_EPHEMERAL, id);
    // `make` drops fields that the release does not have.
    let text = |field: &str| status.and_then(|status| status.spec[field].as_str()).unwrap_or_default().to_owned();
    let spec = json!({
        "name": text("name"), "description": text("description"), "icon": text("icon"),
        "health": {"connected": connected, "error": health.map_or("", |found| found.spec["error"].as_str()
            .unwrap_or_default()), "initialized": status.is_some()}, "version": text("version"),
    });
    let made = state.make(INFRA_PROVIDER_COMBINED, EPHEMERAL, id, spec);
    state.store.put(made.with_owner("InfraProviderStatusController"));
}

/// Removes everything about a provider that was torn down. Its machines in Proxmox stay.
pub fn deleted(state: &mut State, id: &str) {
    state.heartbeats.remove(id);
    for (typ, namespace) in
        [(INFRA_PROVIDER_STATUS, INFRA), (INFRA_PROVIDER_HEALTH, INFRA_EPHEMERAL), (INFRA_PROVIDER_COMBINED, EPHEMERAL)]
    {
        state.store.remove(&Key::new(typ, namespace, id));
    }
    let requests: Vec<Key> = {
        let all = state.store.list(MACHINE_REQUEST_STATUS, INFRA);
        all.filter(|status| status.label(L_PROVIDER) == Some(id)).map(|status| status.key()).collect()
    };
    for key in requests {
        state.remove(&key);
    }
    state.accounts.remove(&super::keys::identity(&format!("{}{id}", super::keys::PROVIDER_PREFIX)));
    state.store.remove_finalizers(&Key::new(INFRA_PROVIDER, INFRA, id), |_| true);
    let clusters: Vec<String> = state.store.list(CLUSTER, DEFAULT).map(|cluster| cluster.md.id.clone()).collect();
    for cluster in clusters {
        state.touch_cluster(&cluster);
    }
}

/// Placeholder for the icon, a picture in base64.
const ICON: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::omni::kinds::OmniRelease;
    use crate::omni::resource::Resource;

    /// Omni 1.9.3 disconnects a provider that is silent for 31 s; 1.4.9 keeps it connected (both recorded).
    #[test]
    fn silent_provider_disconnects_since_1_6() {
        for (release, still) in [(OmniRelease::V1_9_3, false), (OmniRelease::V1_4_9, true)] {
            let mut state = State::new(release, 1, 1_800_000_000);
            state.store.put(Resource::new(INFRA_PROVIDER, INFRA, "p", json!({}), 1_800_000_000));
            register(&mut state, "p", json!({"name": "Proxmox", "schema": "{}"}));
            let connected = |state: &State| {
                let found = state.store.get(INFRA_PROVIDER_COMBINED, EPHEMERAL, "p").map(|found| found.spec.clone());
                found.map(|spec| (spec["health"]["initialized"] == true, spec["health"]["connected"] == true))
            };
            assert_eq!(connected(&state), Some((true, false)), "registered, and not heard of yet");
            heartbeat(&mut state, "p", Duration::ZERO);
            assert_eq!(connected(&state), Some((true, true)));
            state.advance(Duration::from_secs(100));
            assert_eq!(connected(&state), Some((true, still)), "{release:?}");
        }
    }
}
