//! The fleet as pictures and tables show it: nodes with their machines, what each machine waits for, and the nodes before and
//! after a plan. The numbers come from the inventory, from Omni and from [`capacity::plan`](crate::capacity::plan).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::capacity::{Fit, State, format_bytes};
use domain::status::cluster::ClusterLine;
use domain::status::machines::MachineLine;
use domain::status::proxmox::{Inventory, Node, Storage, Vm};
use domain::words::count;

/// From this many machines on, the tiles of a node are not grouped by cluster: the headings would take up most of the page.
const DENSE: usize = 2_000;
/// How many storages of a node, and how many nodes of a machine set, are named; the others are counted.
const NAMED: usize = 4;
/// The number of tiles in a line of a picture.
const PER_LINE: usize = 13;
/// How many waiting machines are listed.
const LISTED: usize = 500;

/// A machine set as Omni or a template names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub id: String,
    pub cluster: String,
    pub control_plane: bool,
}

/// What is known about a fleet. Data that could not be queried is empty here and reported elsewhere.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    pub inventory: Option<&'a Inventory>,
    pub clusters: &'a [ClusterLine],
    pub sets: &'a [Set],
    /// The machines of clusters that are not running, or of all clusters.
    pub machines: &'a [MachineLine],
    pub fit: Option<&'a Fit>,
    /// The node that is shown as lost.
    pub lost: Option<&'a str>,
}

/// The view of a fleet.
#[derive(Debug, Serialize)]
pub struct Fleet {
    /// `9 machines of 3 clusters on 3 nodes`.
    pub words: String,
    pub nodes: Vec<NodeView>,
    /// Machines that Omni requested and that are on no node.
    pub unplaced: Vec<Group>,
    pub shared: Vec<Bar>,
    pub clusters: Vec<ClusterRow>,
    /// Machine, cluster, node, and what the machine waits for.
    pub waits: Vec<[String; 4]>,
    pub counts: Counts,
    pub dense: bool,
    /// The maximum number of lines that the tiles and headings of a node take in a picture.
    pub lines: usize,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub nodes: usize,
    pub online: usize,
    pub clusters: usize,
    pub running: usize,
    pub machines: usize,
    /// VMs that are not machines of a cluster.
    pub others: usize,
    pub waits: usize,
    pub new: usize,
}

#[derive(Debug, Serialize)]
pub struct NodeView {
    pub name: String,
    pub online: bool,
    pub lost: bool,
    /// Why nothing more is known about it.
    pub why: String,
    pub bars: Vec<Bar>,
    pub groups: Vec<Group>,
    /// Its tiles in words.
    pub words: String,
    pub others: String,
}

/// How full something is, now and after the plan, in percent of the total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bar {
    pub label: String,
    pub used: u64,
    pub more: u64,
    pub words: String,
}

/// The machines of one cluster on one node, or of all clusters on a dense page.
#[derive(Debug, Serialize)]
pub struct Group {
    pub cluster: String,
    pub tiles: Vec<Tile>,
    pub words: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Tile {
    /// The first sort key: control planes come before workers.
    #[serde(skip)]
    worker: bool,
    pub name: String,
    /// Its classes in the style sheet: `c` control plane; `w` waits, `o` off, `n` new, `l` lost.
    pub class: String,
    pub state: &'static str,
    #[serde(skip)]
    cluster: String,
}

#[derive(Debug, Serialize)]
pub struct ClusterRow {
    pub name: String,
    pub phase: String,
    pub running: bool,
    /// Whether Omni does not report it as running, or a machine is waiting.
    pub bad: bool,
    pub talos: String,
    pub kubernetes: String,
    pub sets: Vec<SetRow>,
}

#[derive(Debug, Serialize)]
pub struct SetRow {
    pub id: String,
    pub control_plane: bool,
    pub machines: usize,
    pub waits: usize,
    pub nodes: String,
}

/// A machine and its node.
struct Machine<'a> {
    name: &'a str,
    set: &'a str,
    cluster: String,
    control_plane: bool,
    node: Option<&'a str>,
    mark: Mark,
    waits_for: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ready,
    Waits,
    Off,
    New,
    Lost,
}

impl Mark {
    fn describe(self) -> (&'static str, &'static str) {
        match self {
            Mark::Ready => ("", "ready"),
            Mark::Waits => ("w", "waits"),
            Mark::Off => ("o", "off"),
            Mark::New => ("n", "new"),
            Mark::Lost => ("l", "lost"),
        }
    }
}

/// Builds the view of a fleet from its sources.
pub fn view(sources: &Sources<'_>) -> Fleet {
    let machines = machines(sources);
    let dense = machines.len() > DENSE;
    let mut by_node: BTreeMap<&str, Vec<&Machine<'_>>> = BTreeMap::new();
    machines.iter().for_each(|machine| by_node.entry(machine.node.unwrap_or_default()).or_default().push(machine));
    let of_node = |node: &str| groups(by_node.get(node).map_or(&[], Vec::as_slice), dense);
    let all = sources.inventory.map_or(&[][..], |inventory| &inventory.nodes);
    let ours: BTreeSet<&str> = machines.iter().map(|machine| machine.name).collect();
    let nodes: Vec<NodeView> = all.iter().map(|node| node_view(node, of_node(&node.name), &ours, sources)).collect();
    let clusters = clusters(sources, &machines);
    let waiting = |machine: &&Machine<'_>| matches!(machine.mark, Mark::Waits | Mark::Off);
    let wait = |machine: &Machine<'_>| {
        let off = machine.mark == Mark::Off && machine.waits_for.is_empty();
        let waits_for = if off { "its VM to start" } else { machine.waits_for };
        [machine.name, &machine.cluster, machine.node.unwrap_or("–"), waits_for].map(str::to_owned)
    };
    let vms = all.iter().filter_map(|node| node.vms.known()).flatten();
    let counts = Counts {
        nodes: nodes.len(),
        online: nodes.iter().filter(|node| node.online).count(),
        running: clusters.iter().filter(|cluster| cluster.running).count(),
        clusters: clusters.len(),
        machines: machines.iter().filter(|machine| machine.mark != Mark::New).count(),
        others: vms.filter(|vm| !ours.contains(vm.name.as_str())).count(),
        waits: machines.iter().filter(waiting).count(),
        new: machines.iter().filter(|machine| machine.mark == Mark::New).count(),
    };
    let height = |group: &Group| usize::from(!dense) + group.tiles.len().div_ceil(PER_LINE);
    let lines = nodes.iter().map(|node| node.groups.iter().map(height).sum()).max().unwrap_or(0);
    let [on, of] = [count(counts.nodes, "node"), count(counts.clusters, "cluster")];
    Fleet {
        words: format!("{} of {of} on {on}", count(counts.machines, "machine")),
        unplaced: of_node(""),
        shared: shared_bars(sources.inventory),
        waits: machines.iter().filter(waiting).take(LISTED).map(wait).collect(),
        nodes,
        clusters,
        counts,
        dense,
        lines,
    }
}

/// Lists every machine of a cluster by name: VMs with the provider's tag or a name that Omni knows, machines without a VM, and
/// machines that the plan adds.
fn machines<'a>(sources: &Sources<'a>) -> Vec<Machine<'a>> {
    let sets: BTreeMap<&str, &Set> = sources.sets.iter().map(|set| (set.id.as_str(), set)).collect();
    let known: BTreeMap<&str, &MachineLine> = sources.machines.iter().map(|line| (line.name.as_str(), line)).collect();
    let of = |name: &'a str, set: &'a str, node: Option<&'a str>, mark: Mark, waits_for: &'a str| {
        let (cluster, control_plane) = match sets.get(set) {
            Some(set) => (set.cluster.clone(), set.control_plane),
            None => cluster_of_set(set),
        };
        Machine { name, set, cluster, control_plane, node, mark, waits_for }
    };
    let mut found: BTreeMap<&str, Machine<'a>> = BTreeMap::new();
    for (node, vm) in sources.inventory.into_iter().flat_map(vms) {
        let line = known.get(vm.name.as_str()).copied();
        let Some(set) = vm.machine_request_set().or(line.map(|line| line.machine_set.as_str())) else { continue };
        let mark = match line {
            _ if sources.lost == Some(node.name.as_str()) => Mark::Lost,
            _ if !vm.running => Mark::Off,
            Some(line) if !line.ready => Mark::Waits,
            _ => Mark::Ready,
        };
        let waits_for = line.map_or("", |line| line.waits_for.as_str());
        found.insert(&vm.name, of(&vm.name, set, Some(&node.name), mark, waits_for));
    }
    for line in sources.machines {
        let mark = if line.ready { Mark::Ready } else { Mark::Waits };
        let machine = || of(&line.name, &line.machine_set, line.node.as_deref(), mark, &line.waits_for);
        found.entry(&line.name).or_insert_with(machine);
    }
    let placed = sources.fit.into_iter().flat_map(|fit| &fit.placements);
    for placement in placed.filter(|placement| !matches!(placement.state, State::Exists(_))) {
        let (name, node) = (placement.name.as_str(), placement.node.as_deref());
        // A lost machine stays where it was: the one that the plan places after the loss is a different machine.
        match found.get_mut(name) {
            Some(machine) if machine.node.is_none() => machine.node = node,
            Some(_) => {}
            None => _ = found.insert(name, of(name, &placement.set, node, Mark::New, "")),
        }
    }
    found.into_values().collect()
}

fn vms(inventory: &Inventory) -> impl Iterator<Item = (&Node, &Vm)> {
    inventory.nodes.iter().flat_map(|node| node.vms.known().into_iter().flatten().map(move |vm| (node, vm)))
}

/// Derives the cluster of a machine set from omnictl's names (omni v1.9.3 `client/pkg/omni/resources/omni/machine_set.go`: the
/// name of the cluster, then `control-planes`, `workers`, or the name of the set).
fn cluster_of_set(set: &str) -> (String, bool) {
    match (set.strip_suffix("-control-planes"), set.strip_suffix("-workers")) {
        (Some(cluster), _) => (cluster.to_owned(), true),
        (_, Some(cluster)) => (cluster.to_owned(), false),
        _ => (set.to_owned(), false),
    }
}

fn groups(machines: &[&Machine<'_>], dense: bool) -> Vec<Group> {
    let mut tiles: Vec<Tile> = machines.iter().map(|machine| tile(machine)).collect();
    tiles.sort_by(|a, b| (&a.cluster, a.worker, &a.name).cmp(&(&b.cluster, b.worker, &b.name)));
    let mut groups: Vec<Group> = Vec::new();
    for tile in tiles {
        match groups.last_mut() {
            Some(group) if dense || group.cluster == tile.cluster => group.tiles.push(tile),
            _ => {
                let cluster = if dense { String::new() } else { tile.cluster.clone() };
                groups.push(Group { cluster, tiles: vec![tile], words: String::new() });
            }
        }
    }
    groups.iter_mut().for_each(|group| group.words = describe(&group.tiles));
    groups
}

fn tile(machine: &Machine<'_>) -> Tile {
    let (class, state) = machine.mark.describe();
    let class = if machine.control_plane { format!("c {class}") } else { class.to_owned() };
    Tile {
        worker: !machine.control_plane,
        name: machine.name.to_owned(),
        class: class.trim_end().to_owned(),
        state,
        cluster: machine.cluster.clone(),
    }
}

/// Summarizes tiles, for example as `12 machines: 3 control planes; 1 waits, 2 new`.
fn describe(tiles: &[Tile]) -> String {
    let clusters: BTreeSet<&str> = tiles.iter().map(|tile| tile.cluster.as_str()).collect();
    let mut text = count(tiles.len(), "machine");
    if clusters.len() > 1 {
        text.push_str(&format!(" of {} clusters", clusters.len()));
    }
    let control_planes = tiles.iter().filter(|tile| !tile.worker).count();
    let states = ["waits", "off", "new", "lost"];
    let mut parts: Vec<String> =
        (control_planes > 0).then(|| count(control_planes, "control plane")).into_iter().collect();
    for state in states {
        match tiles.iter().filter(|tile| tile.state == state).count() {
            0 => {}
            1 if state == "waits" => parts.push("1 waits".to_owned()),
            some if state == "waits" => parts.push(format!("{some} wait")),
            some => parts.push(format!("{some} {state}")),
        }
    }
    if !parts.is_empty() {
        text.push_str(&format!(": {}", parts.join(", ")));
    }
    text
}

fn node_view(node: &Node, groups: Vec<Group>, ours: &BTreeSet<&str>, sources: &Sources<'_>) -> NodeView {
    let foreign: Vec<&Vm> =
        node.vms.known().into_iter().flatten().filter(|vm| !ours.contains(vm.name.as_str())).collect();
    let memory = foreign.iter().filter(|vm| vm.running).map(|vm| vm.memory).sum();
    let others = match foreign.len() {
        0 => String::new(),
        some => format!("{} of others, {} given", count(some, "VM"), format_bytes(memory)),
    };
    let all: Vec<Tile> = groups.iter().flat_map(|group| group.tiles.iter().cloned()).collect();
    let lost = sources.lost == Some(node.name.as_str());
    let why = match (node.is_online(), node.vms.why().or(node.figures.why())) {
        _ if lost => String::new(),
        (false, _) => format!("it is {}", node.status),
        (true, Some(why)) => why.to_owned(),
        (true, None) => String::new(),
    };
    NodeView {
        name: node.name.clone(),
        online: node.is_online(),
        lost,
        why,
        bars: bars(node, sources.fit),
        words: if all.is_empty() { "no machines of clusters".to_owned() } else { describe(&all) },
        groups,
        others,
    }
}

/// Returns bars for CPU, memory and the fullest storages of a node.
fn bars(node: &Node, fit: Option<&Fit>) -> Vec<Bar> {
    let mut bars = Vec::new();
    let room = fit.and_then(|fit| fit.nodes.iter().find(|room| room.name == node.name));
    if let Some(figures) = node.figures.known() {
        let load = (figures.cpu_load * 100.0).round().clamp(0.0, 100.0) as u64;
        let asked =
            room.filter(|room| room.vcpus > 0).map(|room| format!("; {} more given", count(room.vcpus, "vCPU")));
        let words = format!("{load} % of {}{}", count(figures.cpus, "thread"), asked.unwrap_or_default());
        bars.push(Bar { label: "CPU".to_owned(), used: load, more: 0, words });
        let after = room.map_or(figures.memory_used, |room| room.used_after());
        bars.push(bar("Memory", figures.memory_used, after, figures.memory_total));
    }
    let local = node.storages.known().into_iter().flatten().filter(|storage| !storage.shared);
    bars.extend(fullest_bars(local, fit));
    bars
}

/// Returns bars for the fullest of these storages; the others are counted.
fn fullest_bars<'a>(storages: impl Iterator<Item = &'a Storage>, fit: Option<&Fit>) -> Vec<Bar> {
    let usable = storages.filter(|storage| storage.enabled && storage.active && storage.total > 0);
    let mut bars: Vec<Bar> = usable.map(|storage| storage_bar(storage, fit)).collect();
    bars.sort_by(|a, b| (b.used + b.more, &a.label).cmp(&(a.used + a.more, &b.label)));
    let rest = bars.split_off(bars.len().min(NAMED));
    if let Some(next) = rest.first() {
        let words = format!("{} at most {} % full", count(rest.len(), "more storage"), next.used + next.more);
        bars.push(Bar { label: "Others".to_owned(), used: next.used, more: next.more, words });
    }
    bars
}

fn storage_bar(storage: &Storage, fit: Option<&Fit>) -> Bar {
    let (node, name) = storage.pool();
    let pool = fit.and_then(|fit| fit.pools.iter().find(|pool| pool.node == node && pool.name == name));
    let used = storage.total.saturating_sub(storage.available);
    let after = pool.map_or(used, |pool| used.saturating_sub(pool.freed).saturating_add(pool.added));
    bar(&storage.name, used, after, storage.total)
}

/// Returns a bar of bytes now and after the plan.
fn bar(label: &str, used: u64, after: u64, total: u64) -> Bar {
    let percent = |bytes: u64| (bytes as f64 / total.max(1) as f64 * 100.0).round() as u64;
    let then = if after == used { String::new() } else { format!("; {} after the plan", format_bytes(after)) };
    let words = format!("{} of {}{then}", format_bytes(used), format_bytes(total));
    let now = percent(used.min(after)).min(100);
    Bar { label: label.to_owned(), used: now, more: percent(after).saturating_sub(now).min(100 - now), words }
}

/// Returns bars for the storages that all nodes share, each once.
fn shared_bars(inventory: Option<&Inventory>) -> Vec<Bar> {
    let all = inventory.into_iter().flat_map(Inventory::storages).filter(|storage| storage.shared);
    let pools: BTreeMap<(String, String), &Storage> = all.map(|storage| (storage.pool(), storage)).collect();
    fullest_bars(pools.into_values(), None)
}

fn clusters(sources: &Sources<'_>, machines: &[Machine<'_>]) -> Vec<ClusterRow> {
    let mut by_cluster: BTreeMap<&str, BTreeMap<&str, Vec<&Machine<'_>>>> = BTreeMap::new();
    sources.clusters.iter().for_each(|line| _ = by_cluster.entry(&line.name).or_default());
    for machine in machines.iter().filter(|machine| machine.mark != Mark::New) {
        by_cluster.entry(&machine.cluster).or_default().entry(machine.set).or_default().push(machine);
    }
    let lines: BTreeMap<&str, &ClusterLine> = sources.clusters.iter().map(|line| (line.name.as_str(), line)).collect();
    let row = |(name, sets): (&str, BTreeMap<&str, Vec<&Machine<'_>>>)| {
        let line = lines.get(name);
        let mut sets: Vec<SetRow> = sets.into_iter().map(|(id, machines)| set_row(id, &machines)).collect();
        sets.sort_by(|a, b| (!a.control_plane, &a.id).cmp(&(!b.control_plane, &b.id)));
        ClusterRow {
            name: name.to_owned(),
            phase: line.map_or("not known", |line| line.phase.as_str()).to_owned(),
            running: line.is_some_and(|line| line.running),
            bad: line.is_some_and(|line| !line.running) || sets.iter().any(|set| set.waits > 0),
            talos: line.map_or(String::new(), |line| line.talos.clone()),
            kubernetes: line.map_or(String::new(), |line| line.kubernetes.clone()),
            sets,
        }
    };
    by_cluster.into_iter().map(row).collect()
}

fn set_row(id: &str, machines: &[&Machine<'_>]) -> SetRow {
    let mut on: BTreeMap<&str, usize> = BTreeMap::new();
    machines.iter().for_each(|machine| *on.entry(machine.node.unwrap_or("no node")).or_default() += 1);
    let more = on.len().saturating_sub(NAMED);
    let named: Vec<String> = on.into_iter().take(NAMED).map(|(node, count)| format!("{node} × {count}")).collect();
    let nodes = named.join(", ");
    SetRow {
        id: id.to_owned(),
        control_plane: machines.iter().any(|machine| machine.control_plane),
        machines: machines.len(),
        waits: machines.iter().filter(|machine| matches!(machine.mark, Mark::Waits | Mark::Off)).count(),
        nodes: if more == 0 { nodes } else { format!("{nodes} and {}", count(more, "more node")) },
    }
}
