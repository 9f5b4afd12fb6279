//! The simulated Omni: its resources, its rules, and their effects over time.
//!
//! One lock guards one state. Every call settles the controllers before it returns, and one task advances the time. No response
//! is scripted: `omnictl get` shows the current state.

pub mod access;
pub mod accounts;
pub mod api;
mod control;
pub mod front;
pub mod keys;
pub mod kinds;
pub mod machine;
pub mod machines;
pub mod names;
pub mod providers;
pub mod query;
pub mod requests;
pub mod resource;
mod schema;
pub mod state;
pub mod status;
mod statuses;
pub mod store;
mod upgrades;
pub mod validate;
pub mod versions;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;

use accounts::{Account, PublicKey, Role};
use kinds::OmniRelease;
use names::{EPHEMERAL, SYS_VERSION};
use state::{State, Timer};

/// A running Omni. Clones are handles to the same instance.
#[derive(Clone)]
pub struct Omni(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: Clock,
    revision: watch::Sender<u64>,
    wake: Notify,
}

/// Returns the wall-clock time in seconds since 1970.
pub fn wall_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

impl State {
    /// Creates a fresh Omni with its versions, without providers and clusters.
    pub fn new(release: OmniRelease, seed: u64, now: i64) -> State {
        let machines =
            Timer { advance: machines::advance, next_due: |state| state.machines.next().map(|(due, _)| *due) };
        let providers = Timer { advance: providers::advance, next_due: providers::next_due };
        let mut state = State::empty(release, seed, now, vec![control::reconcile], vec![machines, providers]);
        versions::fill(&mut state);
        let spec = json!({"backendversion": release.tag(), "instancename": "lab", "backendapiversion": 2});
        let version = state.make(SYS_VERSION, EPHEMERAL, "current", spec);
        state.store.put(version);
        state
    }
}

impl Omni {
    /// Starts an Omni, and a task that advances its time until the last handle is dropped or the runtime ends.
    pub fn start(clock: Clock, release: OmniRelease) -> Omni {
        let mut seed = [0u8; 8];
        // Without random bytes, names repeat between runs, which is harmless.
        let _ = crate::tls::fill(&mut seed);
        let mut state = State::new(release, u64::from_le_bytes(seed), wall_now());
        state.slack = Duration::from_millis(400).mul_f64(clock.factor());
        let (revision, _) = watch::channel(state.store.revision());
        let inner = Arc::new(Inner { state: Mutex::new(state), clock, revision, wake: Notify::new() });
        let driven = Arc::downgrade(&inner);
        tokio::spawn(async move {
            loop {
                let Some(omni) = driven.upgrade().map(Omni) else { return };
                let field = omni.0.clock.elapsed();
                let due = omni.with(|state| {
                    state.advance(field);
                    state.next_due()
                });
                let wait = match due {
                    Some(due) => omni.0.clock.real(due.saturating_sub(field)),
                    None => Duration::from_secs(1),
                };
                let _ = tokio::time::timeout(wait, omni.0.wake.notified()).await;
            }
        });
        Omni(inner)
    }

    /// Runs `work` on the state. Before this returns, the controllers settle and all subscribers are notified of a change.
    pub fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.store.revision();
        let due = state.next_due();
        state.store.set_now(wall_now());
        state.store.set_stamp(i64::try_from(self.0.clock.unix()).unwrap_or(i64::MAX));
        state.elapsed = state.elapsed.max(self.0.clock.elapsed());
        let out = work(&mut state);
        state.settle();
        let (after, sooner) = (state.store.revision(), state.next_due() != due);
        drop(state);
        if after != before {
            self.0.revision.send_replace(after);
        }
        if sooner {
            self.0.wake.notify_one();
        }
        out
    }

    /// Subscribes to changes; the value is the store's revision.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.revision.subscribe()
    }

    /// Creates a service account and returns its key, as an administrator would. `created` and `lifetime` are in seconds.
    pub fn add_key(&self, name: &str, role: Role, created: i64, lifetime: u32) -> anyhow::Result<String> {
        let key = keys::generate(name, created, lifetime)?;
        let public = PublicKey { id: key.fingerprint.clone(), created, expires: key.expires };
        self.with(|state| {
            let id = keys::identity(name);
            match state.accounts.get_mut(&id) {
                Some(account) => account.keys.push(public),
                None => {
                    let user_id = state.uuid();
                    let account = Account { name: name.to_owned(), role, user_id, keys: vec![public] };
                    state.accounts.insert(id, account);
                }
            }
        });
        Ok(key.encoded)
    }
}
