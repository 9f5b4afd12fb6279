//! The nodes and pools, with the machines and disks placed on them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::machine::{Disk, Machine};
use super::place::{self, Candidate, Ledger, NodeChoice};
use super::provider::Provider;
use super::selector::selects;
use super::{Member, NodeRoom, Placement, PoolRoom, State, Vms, advice, control_planes, format_bytes};
use domain::status::proxmox::{Inventory, Storage, Vm};
use yaml::{Finding, Location};

/// An upper bound for the size of a Talos image: nocloud images with the guest agent are 100 to 350 MB (Talos v1.9 to v1.13).
const IMAGE: u64 = 512 << 20;
/// The fraction of use above which a pool is nearly full: thin pools and file systems fail at 100 %.
const NEARLY_FULL: f64 = 0.9;

/// The indexes of storages, by selector and node.
type Matched = BTreeMap<(String, String), Vec<usize>>;

#[derive(Clone)]
pub(super) struct PlacementState<'a> {
    pub inventory: &'a Inventory,
    pub provider: Provider,
    pub rooms: Vec<NodeRoom>,
    /// The pools that something was placed on, by node (empty for a shared pool) and name.
    pub pools: BTreeMap<(String, String), PoolRoom>,
    /// The space that the disks of removed sets free, by the same keys.
    freed: BTreeMap<(String, String), u64>,
    pub findings: Vec<Finding>,
    pub ledger: Ledger,
    /// Like `ledger`, but assuming that the running provider placed the existing machines within the last hour.
    pub remembered: Ledger,
    /// The rules that were already reported, with their sets: random placement is reported once per set.
    pub reported: BTreeSet<(&'static str, String)>,
    /// The position of the first request that uses a node or pool.
    first_request: BTreeMap<(String, String), Location>,
    /// The used memory of a node as the provider sees it, if it differs from Proxmox's current figure.
    pub seen: BTreeMap<String, u64>,
    /// The node whose loss is simulated; in that case only what does not fit matters.
    pub offline: Option<String>,
    /// The nodes as the provider sees them; [`PlacementState::refresh_candidates`] updates them.
    candidates: Rc<[Candidate]>,
    /// The storages that match, by selector and node; shared by all copies of the state.
    matched: Rc<RefCell<Matched>>,
}

impl<'a> PlacementState<'a> {
    pub fn new(inventory: &'a Inventory, provider: Provider, removed: &BTreeSet<String>) -> PlacementState<'a> {
        let room = |node: &domain::status::proxmox::Node| {
            let figures = node.figures.known();
            let vms = node.vms.known().map_or(&[] as &[Vm], Vec::as_slice);
            let running = vms.iter().filter(|vm| vm.running);
            let (leaving, staying): (Vec<&Vm>, Vec<&Vm>) =
                running.partition(|vm| vm.machine_request_set().is_some_and(|set| removed.contains(set)));
            NodeRoom {
                name: node.name.clone(),
                online: node.is_online(),
                total: figures.map_or(0, |figures| figures.memory_total),
                used: figures.map_or(0, |figures| figures.memory_used),
                freed: leaving.iter().map(|vm| vm.memory_used).sum(),
                promised: staying.iter().map(|vm| vm.memory.saturating_sub(vm.memory_used)).sum(),
                cpus: figures.map_or(0, |figures| figures.cpus),
                ..NodeRoom::default()
            }
        };
        let mut state = PlacementState {
            inventory,
            provider,
            rooms: inventory.nodes.iter().map(room).collect(),
            pools: BTreeMap::new(),
            freed: freed(inventory, removed),
            findings: Vec::new(),
            ledger: Ledger::default(),
            remembered: Ledger::default(),
            reported: BTreeSet::new(),
            first_request: BTreeMap::new(),
            seen: BTreeMap::new(),
            offline: None,
            candidates: Rc::default(),
            matched: Rc::default(),
        };
        state.refresh_candidates();
        state
    }

    pub fn room(&mut self, node: &str) -> Option<&mut NodeRoom> {
        self.rooms.iter_mut().find(|room| room.name == node)
    }

    /// Returns the current state of the pool behind a storage.
    fn pool(&mut self, storage: &Storage) -> &mut PoolRoom {
        let inventory = self.inventory;
        let freed = self.freed.get(&storage.pool()).copied().unwrap_or(0);
        self.pools.entry(storage.pool()).or_insert_with(|| {
            let (node, name) = storage.pool();
            // A node that cannot reach a shared storage reports no space for it, so the best report counts.
            let same = |other: &&Storage| other.shared && other.name == name;
            let others = inventory.nodes.iter().filter_map(|node| node.storages.known()?.iter().find(same));
            let best = others.filter(|_| storage.shared).max_by_key(|other| other.available).unwrap_or(storage);
            PoolRoom {
                name: best.name.clone(),
                node,
                kind: best.kind.clone(),
                total: best.total,
                available: best.available,
                // A thin pool frees no more than it uses.
                freed: freed.min(best.total.saturating_sub(best.available)),
                ..PoolRoom::default()
            }
        })
    }

    /// Counts an existing machine; `None` if it does not exist.
    pub fn count_existing(&mut self, member: &Member, vms: &Vms<'_>) -> Option<Placement> {
        let State::Exists(node) = &member.state else { return None };
        let vm = vms.get(&(node.as_str(), member.name.as_str()));
        // A VM will use all the memory it was given, and a stopped VM will be started.
        let growth = vm.map_or(0, |vm| if vm.running { vm.memory.saturating_sub(vm.memory_used) } else { vm.memory });
        let (memory, running) = vm.map_or((member.machine.memory, true), |vm| (vm.memory, vm.running));
        self.remembered.record(&member.set, node, member.machine.memory);
        if let Some(room) = self.room(node) {
            room.added += growth;
            room.promised = room.promised.saturating_sub(if running { growth } else { 0 });
            room.machines += 1;
            room.control_planes += usize::from(member.control_plane);
        }
        self.first_request.entry((node.clone(), String::new())).or_insert_with(|| member.place.clone());
        let disk = member.machine.disks.iter().map(|disk| disk.size).sum();
        Some(placement(member, Some(node.clone()), Vec::new(), memory, disk))
    }

    /// Places a machine as the provider would.
    pub fn place_new(&mut self, member: &Member) -> Placement {
        let machine = &member.machine;
        let disk = machine.disks.iter().map(|disk| disk.size).sum();
        let candidates = Rc::clone(&self.candidates);
        // Random choices do not matter when a loss is simulated.
        let mut remembered =
            || place::pick(self.provider, &candidates, &member.set, machine, &mut self.remembered).ok();
        let remembered = if self.offline.is_none() { remembered() } else { None };
        let node = match place::pick(self.provider, &candidates, &member.set, machine, &mut self.ledger) {
            Ok(picked) => {
                self.warn_if_unpredictable(member, &picked, remembered);
                picked.node
            }
            Err(why) => {
                let fix = advice::no_node(self.provider, self.inventory, machine.node.as_deref());
                let message = format!("no node for machines of the class `{}`: {why}", machine.class);
                self.error("plan-no-node", &machine.place, message, fix);
                return placement(member, None, Vec::new(), machine.memory, disk);
            }
        };
        self.add_to_node(member, &node);
        self.check_network(machine, &node);
        let storages = machine.disks.iter().map(|disk| self.place_disk(machine, disk, &node)).collect();
        self.count_image(&node, &machine.place);
        placement(member, Some(node), storages, machine.memory, disk)
    }

    /// Warns, once per set, if the choice of a node cannot be predicted.
    fn warn_if_unpredictable(&mut self, member: &Member, picked: &NodeChoice, remembered: Option<NodeChoice>) {
        if self.offline.is_some() {
            return;
        }
        let mut say = |rule: &'static str, message: String| {
            if self.reported.insert((rule, member.set.clone())) {
                let fix =
                    "none needed if any of these nodes is acceptable; otherwise use one class per node with `node:`";
                self.findings.push(Finding::warning(rule, member.place.clone(), message, fix));
            }
        };
        let NodeChoice { node, alike } = picked;
        if !alike.is_empty() {
            let message = format!(
                "{node} and {} rank equally for the provider: it picks one at random for a machine of {}",
                alike.join(", "),
                member.set
            );
            say("plan-node-by-chance", message);
        }
        if let Some(other) = remembered.filter(|other| other.node != *node && !alike.contains(&other.node)) {
            let message = format!(
                "a machine of {} is placed on {node}, or on {} if the existing machines were placed within the last hour: the provider remembers placements for an hour, or until it restarts",
                member.set, other.node
            );
            say("plan-node-by-memory", message);
        }
    }

    /// Updates the candidates after a change of `seen` or `offline`.
    pub fn refresh_candidates(&mut self) {
        let candidate = |node: &domain::status::proxmox::Node| {
            let figures = node.figures.known();
            let used = |used: u64| self.seen.get(&node.name).copied().unwrap_or(used);
            Candidate {
                name: node.name.clone(),
                online: node.is_online() && self.offline.as_deref() != Some(node.name.as_str()),
                memory: figures.map(|figures| (figures.memory_total, used(figures.memory_used))),
                vms: node.vms.known().map_or(0, Vec::len),
            }
        };
        self.candidates = self.inventory.nodes.iter().map(candidate).collect();
    }

    fn add_to_node(&mut self, member: &Member, node: &str) {
        let machine = &member.machine;
        self.first_request.entry((node.to_owned(), String::new())).or_insert_with(|| member.place.clone());
        let Some(room) = self.room(node) else { return };
        room.added += machine.memory;
        room.vcpus += machine.vcpus;
        room.machines += 1;
        room.control_planes += usize::from(member.control_plane);
        let cpus = room.cpus;
        if cpus > 0 && machine.vcpus > cpus {
            let message = format!(
                "a machine of the class `{}` has {} processors, and {node} has {cpus} threads: Proxmox does not start it",
                machine.class, machine.vcpus
            );
            self.error("plan-cpu", &machine.place, message, advice::cpu(&self.rooms, machine.vcpus));
        }
    }

    fn check_network(&mut self, machine: &Machine, node: &str) {
        let Some(bridges) = self.inventory.node(node).and_then(|node| node.bridges.known()) else { return };
        let absent = machine.networks.iter().find(|network| !bridges.contains(&network.bridge));
        if let Some(network) = absent {
            let message = format!(
                "{node} has no bridge `{}` that the login may use: Proxmox refuses a machine of the class `{}` there",
                network.bridge, machine.class
            );
            let fix = advice::bridge(node, bridges, self.inventory, &network.bridge);
            self.error("plan-bridge", &machine.place, message, fix);
        }
    }

    /// Places a disk and returns its storage; empty if there is none.
    fn place_disk(&mut self, machine: &Machine, disk: &Disk, node: &str) -> String {
        let Some(storages) = self.inventory.node(node).and_then(|found| found.storages.known()) else {
            let message = format!("the storages of {node} are not known: cannot tell which one gets the disk");
            self.warning("plan-unseen", &disk.place, message, "let the login see them (`cargo xtask proxmox-audit`)");
            return String::new();
        };
        let matching = match self.matching_storages(&disk.selector, storages, node) {
            Ok(matching) => matching,
            Err((storage, why)) => {
                let message = format!("the selector of the class `{}` fails on `{storage}`: {why}", machine.class);
                self.error("plan-selector", &disk.place, message, "try it with `cargo xtask selector-test`");
                return String::new();
            }
        };
        let Some(first) = matching.first().copied() else {
            let message = format!("the selector of the class `{}` matches no storage on {node}", machine.class);
            let fix = advice::no_storage(node, storages);
            self.error("plan-selector-none", &disk.place, message, fix);
            return String::new();
        };
        if matching.len() > 1 {
            let names: Vec<&str> = matching.iter().map(|storage| storage.name.as_str()).collect();
            let message = format!(
                "the selector of the class `{}` matches {} on {node}: the provider picks one at random",
                machine.class,
                names.join(" and ")
            );
            self.warning("plan-selector-ambiguous", &disk.place, message, "make it match one storage on each node");
        }
        for storage in &matching {
            self.check_room(machine, disk, storage);
        }
        self.first_request.entry(first.pool()).or_insert_with(|| disk.place.clone());
        self.pool(first).added += disk.size;
        first.name.clone()
    }

    /// Returns the storages that a selector matches on a node, or the storage that it fails on and why. The result is cached
    /// unless disks take space when they are created, which can change the result for the next disk.
    fn matching_storages<'s>(
        &self,
        selector: &str,
        storages: &'s [Storage],
        node: &str,
    ) -> Result<Vec<&'s Storage>, (String, String)> {
        let key = (selector.to_owned(), node.to_owned());
        if let Some(found) = self.matched.borrow().get(&key) {
            return Ok(found.iter().map(|at| &storages[*at]).collect());
        }
        let mut found = Vec::new();
        for (at, storage) in storages.iter().enumerate() {
            if selects(selector, &self.storage_after_disks(storage)).map_err(|why| (storage.name.clone(), why))? {
                found.push(at);
            }
        }
        let matching = found.iter().map(|at| &storages[*at]).collect();
        if !storages.iter().any(Storage::is_thick) {
            self.matched.borrow_mut().insert(key, found);
        }
        Ok(matching)
    }

    /// Returns the storage as it is after the preceding disks, for selectors that use the free space.
    fn storage_after_disks(&self, storage: &Storage) -> Storage {
        let mut left = storage.clone();
        if left.is_thick() {
            let added = self.pools.get(&storage.pool()).map_or(0, |pool| pool.added);
            left.available = left.available.saturating_sub(added);
        }
        left
    }

    fn check_room(&mut self, machine: &Machine, disk: &Disk, storage: &Storage) {
        let Storage { name, node, .. } = storage;
        if !storage.accepts_images() {
            let message = format!(
                "the selector of the class `{}` matches `{name}` on {node}, which cannot store VM disks ({})",
                machine.class,
                storage.content.join(", ")
            );
            let fix = "exclude it in the selector, or add `images` to its content types";
            self.error("plan-storage-content", &disk.place, message, fix);
        }
        if !storage.enabled || !storage.active {
            let word = if storage.enabled { "not reachable" } else { "disabled" };
            let message =
                format!("the selector of the class `{}` matches `{name}`, which is {word} on {node}", machine.class);
            let fix = "add `&& availableSpace > 0u` to the selector, or fix the storage";
            self.error("plan-storage-state", &disk.place, message, fix);
        }
    }

    /// Counts Talos's image once for each storage to which it is downloaded.
    fn count_image(&mut self, node: &str, place: &Location) {
        let Some(found) = self.inventory.node(node) else { return };
        if found.storages.known().is_none() {
            return;
        }
        let storages = found.iso_storages();
        let names: Vec<&str> = storages.iter().map(|storage| storage.name.as_str()).collect();
        if storages.is_empty() {
            let message = format!("no storage on {node} accepts ISO images: Talos cannot be downloaded there");
            let fix = advice::iso(node, found.storages.known().map_or(&[], Vec::as_slice));
            self.error("plan-iso-missing", place, message, fix);
        }
        if storages.len() > 1 {
            let message = format!(
                "{} on {node} all accept ISO images: the provider picks one at random for each machine",
                names.join(" and ")
            );
            let fix = "let the login see only one: revoke Datastore.* on the others";
            self.warning("plan-iso-several", place, message, fix);
        }
        for storage in storages {
            self.first_request.entry(storage.pool()).or_insert_with(|| place.clone());
            let pool = self.pool(storage);
            if pool.iso == 0 {
                pool.iso = IMAGE;
                pool.added += IMAGE;
            }
        }
    }

    /// Reports nodes and pools that are too full.
    pub fn check_limits(&mut self) {
        for room in self.rooms.clone().into_iter().filter(|room| room.added > 0) {
            let Some(place) = self.first_request.get(&(room.name.clone(), String::new())).cloned() else { continue };
            let (name, after) = (&room.name, room.used_after());
            if room.total == 0 {
                let message = format!("the memory of {name} is not known: cannot tell whether the machines fit");
                self.warning("plan-unseen", &place, message, "grant Sys.Audit on /nodes (`cargo xtask proxmox-audit`)");
            } else if after > room.total {
                let message = format!(
                    "{name} needs {} of memory and has {}: {} too little",
                    format_bytes(after),
                    format_bytes(room.total),
                    format_bytes(after - room.total)
                );
                self.error("plan-memory", &place, message, advice::memory(self.provider, &self.rooms));
            } else if after.saturating_add(room.promised) > room.total {
                let message = format!(
                    "{name} has {} for {} if its other guests use all their memory",
                    format_bytes(room.total),
                    format_bytes(after.saturating_add(room.promised))
                );
                let fix = "use fewer or smaller machines there, or smaller guests";
                self.warning("plan-memory-promised", &place, message, fix);
            }
        }
        for (key, pool) in self.pools.clone().into_iter().filter(|(_, pool)| pool.added > 0) {
            if let Some(place) = self.first_request.get(&key).cloned() {
                self.check_pool(&pool, &place);
            }
        }
    }

    fn check_pool(&mut self, pool: &PoolRoom, place: &Location) {
        let name =
            if pool.node.is_empty() { format!("`{}`", pool.name) } else { format!("`{}` on {}", pool.name, pool.node) };
        let free = pool.available.saturating_add(pool.freed);
        let after = free.saturating_sub(pool.added);
        if pool.added > pool.available && pool.added <= free {
            let message = format!(
                "{name} has {} left for {} until the removed machines are gone, with disks of {}",
                format_bytes(pool.available),
                format_bytes(pool.added),
                format_bytes(pool.freed)
            );
            let fix = "sync the removal first, then the new machines once the old ones are gone";
            self.warning("plan-disk-later", place, message, fix);
        } else if pool.added > pool.available {
            let thin = Storage::is_thin_kind(&pool.kind);
            let how = if thin { ": it fills up as the machines write data" } else { "" };
            let message =
                format!("{name} has {} left for {}{how}", format_bytes(pool.available), format_bytes(pool.added));
            let rule = if pool.iso == pool.added { "plan-iso-space" } else { "plan-disk" };
            self.error(rule, place, message, "use smaller disks or another storage, or add space");
        } else if pool.total > 0 && (pool.total - after.min(pool.total)) as f64 / pool.total as f64 > NEARLY_FULL {
            let message = format!("{name} will have {} of {} left", format_bytes(after), format_bytes(pool.total));
            self.warning("plan-disk-nearly-full", place, message, "free some space before the machines are created");
        }
    }

    /// Reports control planes on the same node.
    pub fn check_control_planes(&mut self, members: &[Member], placements: &[Placement]) {
        let mut first: BTreeMap<&str, &Member> = BTreeMap::new();
        for member in members.iter().filter(|member| member.control_plane) {
            first.entry(&member.cluster).or_insert(member);
        }
        for (cluster, (all, on)) in control_planes(placements) {
            let Some(member) = first.get(cluster) else { continue };
            let total = all.len();
            for (node, count) in on.into_iter().filter(|(_, count)| *count > 1) {
                let majority = total - count > total / 2;
                let then =
                    if majority { "if it fails, all of them fail" } else { "if it fails, etcd loses its majority" };
                let message = format!("{count} of {total} control planes of `{cluster}` share {node}: {then}");
                let fix = advice::together(self.provider, self.inventory, &member.machine, &all);
                self.warning("plan-control-planes-together", &member.place, message, fix);
            }
        }
    }

    fn error(&mut self, rule: &'static str, place: &Location, message: String, fix: impl Into<String>) {
        self.findings.push(Finding::error(rule, place.clone(), message, fix));
    }

    pub fn warning(&mut self, rule: &'static str, place: &Location, message: String, fix: impl Into<String>) {
        self.findings.push(Finding::warning(rule, place.clone(), message, fix));
    }
}

/// Returns the disk space of machines of `removed` sets, by pool.
fn freed(inventory: &Inventory, removed: &BTreeSet<String>) -> BTreeMap<(String, String), u64> {
    let mut freed = BTreeMap::new();
    for (node, vm) in
        inventory.vms().filter(|(_, vm)| vm.machine_request_set().is_some_and(|set| removed.contains(set)))
    {
        for (name, size) in &vm.disks {
            if let Some(storage) = node.storages.known().into_iter().flatten().find(|storage| storage.name == *name) {
                *freed.entry(storage.pool()).or_default() += size;
            }
        }
    }
    freed
}

fn placement(member: &Member, node: Option<String>, storages: Vec<String>, memory: u64, disk: u64) -> Placement {
    Placement {
        name: member.name.clone(),
        cluster: member.cluster.clone(),
        set: member.set.clone(),
        control_plane: member.control_plane,
        class: member.machine.class.clone(),
        state: member.state.clone(),
        node,
        storages,
        memory,
        disk,
    }
}
