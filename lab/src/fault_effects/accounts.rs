//! EnvKeys and accounts that are not what they should be: what is in `DIR/env`.

use anyhow::Result;

use crate::faults::Faults;
use crate::omni::accounts::Role;
use crate::omni::names::{INFRA, INFRA_PROVIDER};
use crate::omni::state::State;
use crate::omni::{Omni, keys, providers, wall_now};

const DAY: i64 = 86_400;

/// The keys of `DIR/env`, by the variable that holds them.
pub struct EnvKeys {
    /// OMNI_SERVICE_ACCOUNT_KEY: an administrator's, unless a fault says otherwise.
    pub admin: String,
    pub more: Vec<(&'static str, String)>,
}

impl EnvKeys {
    /// Its lines of `DIR/env`.
    pub fn lines(&self) -> String {
        let all = std::iter::once(("OMNI_SERVICE_ACCOUNT_KEY", &self.admin))
            .chain(self.more.iter().map(|(name, key)| (*name, key)));
        all.map(|(name, key)| format!("export {name}='{key}'\n")).collect()
    }

    /// Makes them.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn make(faults: &Faults, omni: &Omni) -> Result<EnvKeys> {
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
        let mut more = Vec::new();
        if faults.has("key-shadowed") {
            more.push(("SIDERO_SERVICE_ACCOUNT_KEY", add("reader", Role::Reader, now - DAY)?));
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
        more.extend(key.map(|key| ("OMNI_INFRA_PROVIDER_KEY", key)));
        Ok(EnvKeys { admin, more })
    }
}

fn create_provider(state: &mut State, id: &str) {
    let made = state.make(INFRA_PROVIDER, INFRA, id, serde_json::json!({}));
    state.store.put(made);
    providers::created(state, id);
}

/// The first half of `infraprovider create`, without the second (omni v1.9.3 client/pkg/omnictl/infraprovider.go).
pub fn half_made(state: &mut State) {
    create_provider(state, "proxmox");
}
