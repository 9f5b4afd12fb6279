//! Predicts which node the provider chooses.
//!
//! 0d9fd58 and v0.1.0 sort by the fewest machines of the same set, which they always count as 0 (go-proxmox's `HasTag`
//! reads a configuration that the list of VMs does not include; go-proxmox v0.3.2 `virtual_machine.go:60-80`), then by the
//! free fraction of memory. v0.2.0 keeps a ledger of its placements within the last hour (`scheduler.go`), by strategy.
//! All of them consider memory, never processors, storages or bridges, and never refuse a node as too small.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::machine::{Machine, Strategy};
use super::provider::Provider;

/// A node as the provider sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub name: String,
    pub online: bool,
    /// Total and used bytes; `None` if its figures are hidden.
    pub memory: Option<(u64, u64)>,
    /// The number of VMs on it.
    pub vms: usize,
}

/// What v0.2.0 and later remember about the machines that they placed: count and memory by set and node. Only the sums are
/// stored, so the cost of a choice does not depend on the number of earlier placements.
#[derive(Debug, Clone, Default)]
pub struct Ledger(BTreeMap<String, BTreeMap<String, (usize, u64)>>);

/// A node in the comparison.
struct Entry<'a> {
    name: &'a str,
    /// `None` compares below every number, as NaN does in Go's `cmp.Compare`.
    fraction: Option<f64>,
    free: u64,
    same_set: usize,
    vms: usize,
}

/// The node that the provider chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeChoice {
    pub node: String,
    /// The other nodes that rank equal to it. The provider picks the first in Proxmox's list, whose order is that of a Perl hash
    /// (pve-cluster 9 `Cluster.pm` `get_nodelist`).
    pub alike: Vec<String>,
}

impl Ledger {
    /// Records a machine as placed.
    pub fn record(&mut self, set: &str, node: &str, memory: u64) {
        let (count, sum) = self.0.entry(set.to_owned()).or_default().entry(node.to_owned()).or_default();
        (*count, *sum) = (*count + 1, sum.saturating_add(memory));
    }
}

/// Returns the node that the provider picks for a machine of a set, and records the placement.
///
/// # Errors
/// Returns the provider's own error if it finds no node.
pub fn pick(
    provider: Provider,
    nodes: &[Candidate],
    set: &str,
    machine: &Machine,
    ledger: &mut Ledger,
) -> Result<NodeChoice, String> {
    if nodes.is_empty() {
        return Err("no nodes available".to_owned());
    }
    if let Some(pinned) = &machine.node {
        return match nodes.iter().find(|node| node.name == *pinned) {
            Some(node) if node.online => Ok(NodeChoice { node: pinned.clone(), alike: Vec::new() }),
            Some(_) => Err(format!("specified node \"{pinned}\" is not online")),
            None => Err(format!("specified node \"{pinned}\" not found in cluster")),
        };
    }
    if provider == Provider::Untagged
        && let Some(off) = nodes.iter().find(|node| !node.online)
    {
        return Err(format!(
            "failed to get node \"{}\", unexpected end of JSON input (provider 0d9fd58 queries offline nodes too)",
            off.name
        ));
    }
    let online: Vec<&Candidate> = nodes.iter().filter(|node| node.online).collect();
    let Some(first) = online.first() else { return Err("no online nodes available for provisioning".to_owned()) };
    let mut entries: Vec<Entry<'_>> = online.iter().map(|node| entry(provider, node, machine.ha)).collect();
    let strategy = if provider < Provider::V0_2 { Strategy::Spread } else { machine.strategy };
    if provider >= Provider::V0_2 {
        for (node, (count, memory)) in ledger.0.get(set).into_iter().flatten() {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.name == node) {
                reserve(entry, strategy, *count, *memory);
            }
        }
    }
    let order = |a: &Entry<'_>, b: &Entry<'_>| compare(a, b, strategy, machine.memory);
    // Among equal nodes the first wins, as after a stable sort.
    let best = entries.iter().min_by(|a, b| order(a, b));
    let node = best.map_or(first.name.as_str(), |entry| entry.name).to_owned();
    let alike =
        entries.iter().filter(|entry| entry.name != node && best.is_some_and(|best| order(best, entry).is_eq()));
    let alike = alike.map(|entry| entry.name.to_owned()).collect();
    ledger.record(set, &node, machine.memory);
    Ok(NodeChoice { node, alike })
}

fn entry(provider: Provider, node: &Candidate, ha: bool) -> Entry<'_> {
    let free = node.memory.map_or(0, |(total, used)| total.saturating_sub(used));
    let fraction = match node.memory {
        Some((total, _)) if total > 0 => Some(free as f64 / total as f64),
        _ if provider < Provider::V0_2 => None,
        _ => Some(0.0),
    };
    // With `ha` Proxmox moves the machines, so the provider does not count them (v0.2.0 `shouldCountSetVMs`).
    let vms = if ha { 0 } else { node.vms };
    Entry { name: &node.name, fraction, free, same_set: 0, vms }
}

/// Mirrors v0.2.0 `applyReservation`.
fn reserve(entry: &mut Entry<'_>, strategy: Strategy, count: usize, memory: u64) {
    match strategy {
        Strategy::FewerVms => entry.vms += count,
        Strategy::Binpack => entry.free = entry.free.saturating_sub(memory),
        Strategy::Spread | Strategy::RoundRobin => entry.same_set += count,
    }
}

/// Mirrors v0.2.0 `selectNode` and `pickNode`. Ties keep the order of the list: Go sorts up to twelve entries by insertion.
fn compare(a: &Entry<'_>, b: &Entry<'_>, strategy: Strategy, memory: u64) -> Ordering {
    let most_free = || b.fraction.partial_cmp(&a.fraction).unwrap_or(Ordering::Equal);
    match strategy {
        Strategy::Spread => a.same_set.cmp(&b.same_set).then_with(most_free),
        Strategy::FewerVms => a.vms.cmp(&b.vms).then_with(most_free),
        Strategy::RoundRobin => a.same_set.cmp(&b.same_set).then_with(|| a.name.cmp(b.name)),
        Strategy::Binpack => match (a.free >= memory, b.free >= memory) {
            (true, true) => a.free.cmp(&b.free),
            (false, false) => b.free.cmp(&a.free),
            (a, b) => b.cmp(&a),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    const GIB: u64 = 1 << 30;

    /// A case of `tests/corpus/places.yaml`.
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Case {
        name: String,
        provider: String,
        nodes: Vec<String>,
        strategy: Option<String>,
        memory: Option<u64>,
        pinned: Option<String>,
        ha: bool,
        picks: Vec<String>,
        alike: Option<Vec<String>>,
    }

    /// Parses `NAME TOTAL USED VMS [offline|hidden]`.
    fn candidate(line: &str) -> Candidate {
        let words: Vec<&str> = line.split(' ').collect();
        let gib = |at: usize| words[at].parse::<u64>().unwrap() * GIB;
        let seen = words.len() == 4;
        Candidate {
            name: words[0].into(),
            online: !words.contains(&"offline"),
            memory: seen.then(|| (gib(1), gib(2))),
            vms: words[3].parse().unwrap(),
        }
    }

    fn machine(case: &Case) -> Machine {
        Machine {
            node: case.pinned.clone(),
            memory: case.memory.unwrap_or(8) * GIB,
            strategy: case.strategy.as_deref().unwrap_or_default().parse().unwrap(),
            ha: case.ha,
            ..Machine::default()
        }
    }

    #[test]
    fn nodes_are_picked_as_in_the_cases() {
        let mut cases: serde_yaml::Value =
            serde_yaml::from_str(include_str!("../../tests/corpus/places.yaml")).unwrap();
        cases.apply_merge().unwrap();
        for case in serde_yaml::from_value::<Vec<Case>>(cases).unwrap() {
            let nodes: Vec<Candidate> = case.nodes.iter().map(|line| candidate(line)).collect();
            let (provider, mut ledger) = (Provider::of_tag(&case.provider).unwrap(), Ledger::default());
            let mut pick = |_| pick(provider, &nodes, "workers", &machine(&case), &mut ledger);
            let picked: Vec<Result<NodeChoice, String>> = (0..case.picks.len()).map(&mut pick).collect();
            let named = |one: &Result<NodeChoice, String>| one.clone().map_or_else(|error| error, |picked| picked.node);
            let what = format!("{} {} {:?} {picked:?}", case.name, case.provider, case.strategy);
            assert_eq!(picked.iter().map(named).collect::<Vec<_>>(), case.picks, "{what}");
            let alike = picked[0].as_ref().map(|picked| picked.alike.clone()).unwrap_or_default();
            assert!(case.alike.is_none_or(|due| alike == due), "{what}");
        }
    }

    #[test]
    fn sets_have_separate_ledgers() {
        let nodes = ["pve1 64 10 0", "pve2 64 20 0"].map(candidate);
        let (case, mut ledger) = (Case::default(), Ledger::default());
        let mut on = |set| pick(Provider::V0_2, &nodes, set, &machine(&case), &mut ledger);
        assert_eq!(["workers", "control-planes"].map(|set| on(set).unwrap().node), ["pve1", "pve1"]);
    }
}
