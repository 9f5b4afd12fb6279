//! Everything one Omni knows, and the one place where it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::accounts::Account;
use super::kinds::{self, OmniRelease};
use super::machine::Machines;
use super::names::*;
use super::resource::{Key, Resource};
use super::store::Store;

/// The pace of what happens between Omni and its machines, in the field's time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From power-on to the first contact with Omni.
    pub boot: Duration,
    /// Writing Talos to the disk.
    pub install: Duration,
    /// The reboot into the installed system.
    pub reboot: Duration,
    /// From configuration to a running kubelet.
    pub configure: Duration,
    /// The first etcd member forming the cluster.
    pub bootstrap: Duration,
    /// A node joining a cluster that runs.
    pub join: Duration,
    /// Wiping a machine that leaves its cluster.
    pub reset: Duration,
    /// How long the API of a machine may not answer before its cluster's load balancer says so.
    pub unanswered: Duration,
    /// How long a machine may be silent before it counts as disconnected.
    pub silence: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        let seconds = Duration::from_secs;
        Pace {
            boot: seconds(8),
            install: seconds(6),
            reboot: seconds(5),
            configure: seconds(3),
            bootstrap: seconds(6),
            join: seconds(3),
            reset: seconds(5),
            // Omni 1.4.9, recorded: a cluster whose machines all died at once.
            unanswered: seconds(56),
            // WireGuard's PeerDownInterval is 275 s after the last handshake, which was 9 s old in that recording
            // (siderolabs/siderolink; omni v1.9.3 internal/pkg/siderolink/manager.go:631).
            silence: seconds(266),
        }
    }
}

/// Brings one cluster a step closer to what its resources ask for.
pub type Controller = fn(&mut State, &str);

/// What happens by itself as time passes.
#[derive(Clone, Copy)]
pub struct Timer {
    /// Does everything that is due.
    pub advance: fn(&mut State),
    /// When the next thing is due, in field time.
    pub next_due: fn(&State) -> Option<Duration>,
}

/// The state of one Omni. All methods are quick and none waits.
pub struct State {
    /// Field time that a heartbeat may be late because this machine is busy: at a fast clock the one second between the
    /// heartbeat and its limit is a few real milliseconds.
    pub slack: Duration,
    /// The resources.
    pub store: Store,
    /// Which release it behaves like.
    pub release: OmniRelease,
    /// Its pace.
    pub pace: Pace,
    /// Field time since the lab began.
    pub field: Duration,
    /// Users and service accounts by identity (e-mail form).
    pub accounts: BTreeMap<String, Account>,
    /// The simulated machines by SMBIOS UUID: what really runs, whatever Omni has heard of it.
    pub machines: Machines,
    /// When each provider was last heard of, in field time.
    pub heartbeats: BTreeMap<String, Duration>,
    /// Whether the licence of Omni has been accepted.
    pub eula_accepted: bool,
    controllers: Vec<Controller>,
    timers: Vec<Timer>,
    dirty: BTreeSet<String>,
    random: u64,
}

impl State {
    /// An empty Omni with what acts in it: the controllers of clusters, and what time alone sets off.
    pub fn empty(release: OmniRelease, seed: u64, now: i64, controllers: Vec<Controller>, timers: Vec<Timer>) -> State {
        let mut state = State {
            slack: Duration::ZERO,
            store: Store::default(),
            release,
            pace: Pace::default(),
            field: Duration::ZERO,
            accounts: BTreeMap::new(),
            machines: Machines::default(),
            heartbeats: BTreeMap::new(),
            eula_accepted: true,
            controllers,
            timers,
            dirty: BTreeSet::new(),
            random: seed | 1,
        };
        state.store.set_now(now);
        state
    }

    /// A resource of a known type with every field of its spec present.
    pub fn make(&self, typ: &str, namespace: &str, id: &str, spec: serde_json::Value) -> Resource {
        let spec = kinds::by_type(self.release, typ).map_or_else(|| spec.clone(), |kind| kind.complete(&spec));
        Resource::new(typ, namespace, id, spec, self.store.now())
    }

    /// A random number below `bound`, which must not be 0. Not for secrets.
    pub fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*: plenty for names and dice.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    /// Six characters as Omni appends them to a machine request's name (k8s.io/apimachinery util/rand: no vowels).
    pub fn suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..6).map(|_| char::from(ALPHABET[self.below(ALPHABET.len() as u64) as usize])).collect()
    }

    /// A random UUID of version 4.
    pub fn uuid(&mut self) -> String {
        let mut part = |digits: usize| -> String {
            (0..digits).map(|_| char::from_digit(self.below(16) as u32, 16).unwrap_or('0')).collect()
        };
        let (a, b, c, d, e) = (part(8), part(4), part(3), part(3), part(12));
        format!("{a}-{b}-4{c}-a{d}-{e}")
    }

    /// Says that something of this cluster has changed.
    pub fn touch_cluster(&mut self, cluster: &str) {
        if !cluster.is_empty() {
            self.dirty.insert(cluster.to_owned());
        }
    }

    /// Says that this resource has changed: finds the clusters that it concerns.
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

    /// Runs every controller until nothing changes any more.
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
            // A cluster that never comes to rest would be a bug of the lab: tests hear of it, a rehearsal goes on.
            let passes = passes.entry(cluster.clone()).or_default();
            *passes += 1;
            debug_assert!(*passes < 100, "the controllers of {cluster} do not come to rest");
            if *passes < 100 {
                self.dirty.insert(cluster);
            }
        }
    }

    /// Lets time pass up to `field`: machines move on, silent providers disconnect.
    pub fn advance(&mut self, field: Duration) {
        self.field = field;
        for timer in self.timers.clone() {
            (timer.advance)(self);
        }
        self.settle();
    }

    /// When something will happen by itself, in field time.
    pub fn next_due(&self) -> Option<Duration> {
        self.timers.iter().filter_map(|timer| (timer.next_due)(self)).min()
    }

    /// Removes a resource and tells its cluster.
    pub fn remove(&mut self, key: &Key) {
        if let Some(gone) = self.store.remove(key) {
            self.touch(&gone);
        }
    }
}
