//! Faults of keys and accounts, which affect the contents of `DIR/env`.

use anyhow::Result;

use crate::faults::Faults;
use crate::omni::accounts::Role;
use crate::omni::names::{INFRA, INFRA_PROVIDER};
use crate::omni::state::State;
use crate::omni::{Omni, keys, providers, wall_now};

const DAY: i64 = 86_400;

/// Creates the keys of `DIR/env`, an administrator's unless a fault changes that. Returns the lines that export them.
///
/// # Errors
/// Returns an error if the system has no random bytes.
pub fn env_keys(faults: &Faults, omni: &Omni) -> Result<String> {
    let now = wall_now();
    let add = |name: &str, role, created: i64| omni.add_key(name, role, created, keys::YEAR);
    let ended = now - i64::from(keys::YEAR) - DAY;
    let mut admin = add("automation", Role::Admin, now - DAY)?;
    if faults.has("key-wrong-role") {
        admin = add("reader", Role::Reader, now - DAY)?;
    } else if faults.has("key-expired") {
        admin = add("automation", Role::Admin, ended)?;
    } else if faults.has("key-unknown") {
        admin = add("former", Role::Admin, now - DAY)?;
        omni.with(|state| state.accounts.remove(&keys::identity("former")));
    }
    let mut keys = vec![("OMNI_SERVICE_ACCOUNT_KEY", admin)];
    if faults.has("key-shadowed") {
        keys.push(("SIDERO_SERVICE_ACCOUNT_KEY", add("reader", Role::Reader, now - DAY)?));
    }
    let provider = |id: &str, created: i64| {
        omni.with(|state| create_provider(state, id));
        add(&format!("{}{id}", keys::PROVIDER_PREFIX), Role::InfraProvider, created)
    };
    let key = if faults.has("provider-key-wrong-kind") {
        Some(add("provider", Role::Operator, now - DAY)?)
    } else if faults.has("provider-key-expired") {
        Some(provider("proxmox", ended)?)
    } else if faults.has("provider-key-ending") {
        Some(provider("proxmox", now - i64::from(keys::YEAR) + 3 * DAY + 600)?)
    } else if faults.has("provider-id-case") {
        Some(provider("Proxmox", now - DAY)?)
    } else {
        None
    };
    keys.extend(key.map(|key| ("OMNI_INFRA_PROVIDER_KEY", key)));
    Ok(keys.iter().map(|(name, key)| format!("export {name}='{key}'\n")).collect())
}

/// Performs the first half of `infraprovider create`; a fault omits the second (omni v1.9.3 client/pkg/omnictl/infraprovider.go).
pub fn create_provider(state: &mut State, id: &str) {
    let made = state.make(INFRA_PROVIDER, INFRA, id, serde_json::json!({}));
    state.store.put(made);
    providers::created(state, id);
}
