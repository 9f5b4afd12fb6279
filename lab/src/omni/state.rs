//! The state of an Omni, and the only place that changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::accounts::Account;
use super::kinds::{self, OmniRelease};
use super::machine::Machines;
use super::names::*;
use super::resource::{Key, Resource};
use super::store::Store;

/// Moves a cluster one step closer to what its resources specify.
pub type Controller = fn(&mut State, &str);

/// Events that are caused by the passing of time.
#[derive(Clone, Copy)]
pub struct Timer {
    /// Performs everything that is due.
    pub advance: fn(&mut State),
    /// Returns when the next event is due, in simulated time.
    pub next_due: fn(&State) -> Option<Duration>,
}

/// The state of an Omni. All methods are fast and none of them blocks.
#[derive(Default)]
pub struct State {
    /// Simulated time by which a heartbeat may be late because this machine is busy: with a fast clock, the second between a
    /// heartbeat and its limit is only a few milliseconds of real time.
    pub slack: Duration,
    pub store: Store,
    /// The simulated release.
    pub release: OmniRelease,
    /// Simulated time since the lab started.
    pub elapsed: Duration,
    /// Users and service accounts by identity (e-mail form).
    pub accounts: BTreeMap<String, Account>,
    /// The simulated machines by SMBIOS UUID: their actual state, whether or not Omni has noticed it.
    pub machines: Machines,
    /// When each provider last sent a heartbeat, in simulated time.
    pub heartbeats: BTreeMap<String, Duration>,
    /// Whether Omni's license has been accepted.
    pub eula_accepted: bool,
    /// The tag of the last image that ran.
    tag: String,
    controllers: Vec<Controller>,
    timers: Vec<Timer>,
    dirty: BTreeSet<String>,
    random: fastrand::Rng,
}

impl State {
    /// Creates an empty Omni with its cluster controllers and its timers.
    pub fn empty(release: OmniRelease, seed: u64, now: i64, controllers: Vec<Controller>, timers: Vec<Timer>) -> State {
        let mut state = State {
            release,
            eula_accepted: true,
            controllers,
            timers,
            random: fastrand::Rng::with_seed(seed),
            ..State::default()
        };
        state.store.set_now(now);
        state
    }

    /// Starts Omni's container with this image. The first image has the lab's release, whatever its tag. Later, a newer tag is
    /// an upgrade, and an older one fails because it cannot read the store (omni v1.9.3 migration/manager.go).
    ///
    /// # Errors
    /// Returns Omni's last log line if it cannot read the store.
    pub fn start_image(&mut self, image: &str) -> Result<(), &'static str> {
        let tag = check::stack::tag(image).unwrap_or(image).to_owned();
        let before = std::mem::replace(&mut self.tag, tag.clone());
        if before.is_empty() || before == tag {
            return Ok(());
        }
        let (old, new) = (super::versions::parse(&before), super::versions::parse(&tag));
        let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
        if (new.0, new.1) < (old.0, old.1) {
            self.tag = before;
            return Err(
                "failed to run Omni: the current version of Omni is too old to run with the current DB version: 18",
            );
        }
        self.release = OmniRelease::nearest(new);
        self.store.set(&Key::new(SYS_VERSION, EPHEMERAL, "current"), "backendversion", tag.into());
        Ok(())
    }

    /// Creates a resource of a known type with every field of its spec present.
    pub fn make(&self, typ: &str, namespace: &str, id: &str, spec: serde_json::Value) -> Resource {
        let spec = kinds::by_type(self.release, typ).map_or_else(|| spec.clone(), |kind| kind.complete(&spec));
        Resource::new(typ, namespace, id, spec, self.store.now())
    }

    /// Returns six characters as Omni appends them to a machine request's name (k8s.io/apimachinery util/rand: no vowels).
    pub fn random_suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..6).map(|_| char::from(ALPHABET[self.random.usize(..ALPHABET.len())])).collect()
    }

    /// Returns a random version 4 UUID.
    pub fn uuid(&mut self) -> String {
        crate::tls::uuid(&mut self.random)
    }

    /// Marks a cluster as changed.
    pub fn touch_cluster(&mut self, cluster: &str) {
        if !cluster.is_empty() {
            self.dirty.insert(cluster.to_owned());
        }
    }

    /// Marks the clusters that a changed resource affects.
    pub fn touch(&mut self, resource: &Resource) {
        let cluster = match resource.md.typ.as_str() {
            CLUSTER => Some(resource.md.id.clone()),
            MACHINE_CLASS => {
                for cluster in self.clusters_of_class(&resource.md.id) {
                    self.dirty.insert(cluster);
                }
                None
            }
            MACHINE_REQUEST | MACHINE_REQUEST_STATUS => self.cluster_of_request(resource.label(L_REQUEST_SET)),
            _ => resource.label(L_CLUSTER).map(str::to_owned),
        };
        if let Some(cluster) = cluster {
            self.touch_cluster(&cluster);
        }
    }

    fn clusters_of_class(&self, class: &str) -> BTreeSet<String> {
        let sets = self.store.list(MACHINE_SET, DEFAULT);
        let of_class = sets.filter(|set| set.spec["machineallocation"]["name"] == class);
        of_class.filter_map(|set| set.label(L_CLUSTER).map(str::to_owned)).collect()
    }

    fn cluster_of_request(&self, set: Option<&str>) -> Option<String> {
        self.store.by_id(MACHINE_SET, set?)?.label(L_CLUSTER).map(str::to_owned)
    }

    /// Runs every controller until nothing changes.
    pub fn settle(&mut self) {
        let mut passes: BTreeMap<String, u32> = BTreeMap::new();
        while let Some(cluster) = self.dirty.pop_first() {
            let before = self.store.revision();
            for controller in self.controllers.clone() {
                controller(self, &cluster);
            }
            if self.store.revision() == before {
                continue;
            }
            // A cluster that never settles is a bug in the lab: tests fail on it, a rehearsal continues.
            let passes = passes.entry(cluster.clone()).or_default();
            *passes += 1;
            debug_assert!(*passes < 100, "the controllers of {cluster} do not come to rest");
            if *passes < 100 {
                self.dirty.insert(cluster);
            }
        }
    }

    /// Advances the time to `elapsed`: machines progress, silent providers disconnect.
    pub fn advance(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
        for timer in self.timers.clone() {
            (timer.advance)(self);
        }
        self.settle();
    }

    /// Returns when the next timed event is due, in simulated time.
    pub fn next_due(&self) -> Option<Duration> {
        self.timers.iter().filter_map(|timer| (timer.next_due)(self)).min()
    }

    /// Removes a resource and marks its cluster as changed.
    pub fn remove(&mut self, key: &Key) {
        if let Some(gone) = self.store.remove(key) {
            self.touch(&gone);
        }
    }
}
