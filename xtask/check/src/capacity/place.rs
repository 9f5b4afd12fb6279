//! The provider's own choice of a node.
//!
//! 0d9fd58 and v0.1.0 sort by the fewest machines of the same set, which they always count as none (go-proxmox's `HasTag`
//! reads a configuration that the list of VMs does not bring; go-proxmox v0.3.2 `virtual_machine.go:60-80`), then by the
//! free fraction of memory. v0.2.0 keeps a ledger of what it placed within the last hour (`scheduler.go`), by strategy.
//! Either way it looks at memory, never at processors, storages or bridges, and never refuses a node as too small.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::machine::Strategy;
use super::provider::Provider;

/// A node as the provider sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub name: String,
    pub online: bool,
    /// Bytes; `None` when its figures are hidden.
    pub memory: Option<(u64, u64)>,
    /// How many VMs stand on it.
    pub vms: usize,
}

/// What asks for a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked<'a> {
    pub set: &'a str,
    pub pinned: Option<&'a str>,
    /// Bytes.
    pub memory: u64,
    pub strategy: Strategy,
    pub ha: bool,
}

/// What v0.2.0 and later remember of the machines that they placed: by set and node, how many and how much memory. Only the
/// sums count, so a choice costs the same however many machines were placed before it.
#[derive(Debug, Clone, Default)]
pub struct Ledger(BTreeMap<String, BTreeMap<String, (usize, u64)>>);

/// One node in the comparison.
struct Entry<'a> {
    name: &'a str,
    /// `None` compares below every number, as Go's `cmp.Compare` does with NaN.
    fraction: Option<f64>,
    free: u64,
    same_set: usize,
    vms: usize,
}

/// What the provider takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    pub node: String,
    /// The other nodes that it could as well have taken. It takes the first of them in Proxmox's list, whose order is that
    /// of a Perl hash (pve-cluster 9 `Cluster.pm` `get_nodelist`).
    pub alike: Vec<String>,
}

impl Ledger {
    /// Remembers a machine as placed.
    pub fn remember(&mut self, set: &str, node: &str, memory: u64) {
        // Looked up before it is inserted: the names are cloned once for each set and node, not for each machine.
        if !self.0.contains_key(set) {
            self.0.insert(set.to_owned(), BTreeMap::new());
        }
        let Some(nodes) = self.0.get_mut(set) else { return };
        match nodes.get_mut(node) {
            Some((count, sum)) => (*count, *sum) = (*count + 1, sum.saturating_add(memory)),
            None => drop(nodes.insert(node.to_owned(), (1, memory))),
        }
    }
}

/// The node that the provider takes.
///
/// # Errors
/// The provider's own error.
pub fn pick(provider: Provider, nodes: &[Candidate], asked: &Asked<'_>, ledger: &mut Ledger) -> Result<Picked, String> {
    if nodes.is_empty() {
        return Err("no nodes available".to_owned());
    }
    if let Some(pinned) = asked.pinned {
        return match nodes.iter().find(|node| node.name == pinned) {
            Some(node) if node.online => Ok(Picked { node: pinned.to_owned(), alike: Vec::new() }),
            Some(_) => Err(format!("specified node \"{pinned}\" is not online")),
            None => Err(format!("specified node \"{pinned}\" not found in cluster")),
        };
    }
    if provider == Provider::Untagged
        && let Some(off) = nodes.iter().find(|node| !node.online)
    {
        return Err(format!(
            "failed to get node \"{}\", unexpected end of JSON input (provider 0d9fd58 asks offline nodes too)",
            off.name
        ));
    }
    let online: Vec<&Candidate> = nodes.iter().filter(|node| node.online).collect();
    let Some(first) = online.first() else { return Err("no online nodes available for provisioning".to_owned()) };
    let mut entries: Vec<Entry<'_>> = online.iter().map(|node| entry(provider, node, asked)).collect();
    let strategy = if provider < Provider::V0_2 { Strategy::Spread } else { asked.strategy };
    if provider >= Provider::V0_2 {
        for (node, (count, memory)) in ledger.0.get(asked.set).into_iter().flatten() {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.name == node) {
                reserve(entry, strategy, *count, *memory);
            }
        }
    }
    entries.sort_by(|a, b| compare(a, b, strategy, asked.memory));
    let node = entries.first().map_or(first.name.as_str(), |entry| entry.name).to_owned();
    let alike = entries.iter().skip(1).take_while(|entry| compare(&entries[0], entry, strategy, asked.memory).is_eq());
    let alike = alike.map(|entry| entry.name.to_owned()).collect();
    ledger.remember(asked.set, &node, asked.memory);
    Ok(Picked { node, alike })
}

fn entry<'a>(provider: Provider, node: &'a Candidate, asked: &Asked<'_>) -> Entry<'a> {
    let free = node.memory.map_or(0, |(total, used)| total.saturating_sub(used));
    let fraction = match node.memory {
        Some((total, _)) if total > 0 => Some(free as f64 / total as f64),
        _ if provider < Provider::V0_2 => None,
        _ => Some(0.0),
    };
    // With `ha` Proxmox moves the machines, and their number is not asked for (v0.2.0 `shouldCountSetVMs`).
    let vms = if asked.ha { 0 } else { node.vms };
    Entry { name: &node.name, fraction, free, same_set: 0, vms }
}

/// v0.2.0 `applyReservation`.
fn reserve(entry: &mut Entry<'_>, strategy: Strategy, count: usize, memory: u64) {
    match strategy {
        Strategy::FewerVms => entry.vms += count,
        Strategy::Binpack => entry.free = entry.free.saturating_sub(memory),
        Strategy::Spread | Strategy::RoundRobin => entry.same_set += count,
    }
}

/// v0.2.0 `selectNode` and `pickNode`. Ties keep the order of the list: Go sorts up to twelve with insertion.
fn compare(a: &Entry<'_>, b: &Entry<'_>, strategy: Strategy, memory: u64) -> Ordering {
    let most_free = || b.fraction.partial_cmp(&a.fraction).unwrap_or(Ordering::Equal);
    match strategy {
        Strategy::Spread => a.same_set.cmp(&b.same_set).then_with(most_free),
        Strategy::FewerVms => a.vms.cmp(&b.vms).then_with(most_free),
        Strategy::RoundRobin => a.same_set.cmp(&b.same_set).then_with(|| a.name.cmp(b.name)),
        Strategy::Binpack => match (a.free >= memory, b.free >= memory) {
            (true, true) => a.free.cmp(&b.free),
            (false, false) => b.free.cmp(&a.free),
            (fits, _) => {
                if fits {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn node(name: &str, total: u64, used: u64, vms: usize) -> Candidate {
        Candidate { name: name.into(), online: true, memory: Some((total * GIB, used * GIB)), vms }
    }

    fn asked(strategy: Strategy) -> Asked<'static> {
        Asked { set: "workers", pinned: None, memory: 8 * GIB, strategy, ha: false }
    }

    fn picks(provider: Provider, nodes: &[Candidate], asked: &Asked<'_>, count: usize) -> Vec<String> {
        let mut ledger = Ledger::default();
        let one = |_| pick(provider, nodes, asked, &mut ledger).map_or_else(|error| error, |picked| picked.node);
        (0..count).map(one).collect()
    }

    #[test]
    fn the_free_fraction_counts_not_the_bytes() {
        // 6 of 8 free beats 60 of 128 free.
        let nodes = [node("big", 128, 68, 0), node("small", 8, 2, 0)];
        assert_eq!(picks(Provider::Untagged, &nodes, &asked(Strategy::Spread), 1), ["small"]);
    }

    #[test]
    fn before_the_ledger_all_go_to_one_node() {
        let nodes = [node("pve1", 64, 20, 3), node("pve2", 64, 10, 0), node("pve3", 64, 30, 0)];
        for provider in [Provider::Untagged, Provider::V0_1] {
            assert_eq!(picks(provider, &nodes, &asked(Strategy::Binpack), 3), ["pve2", "pve2", "pve2"], "{provider}");
        }
    }

    #[test]
    fn the_strategies_of_v0_2_0_are_its_own() {
        let nodes = [node("pve1", 64, 40, 1), node("pve2", 64, 10, 9), node("pve3", 64, 30, 2)];
        for (strategy, expected) in [
            (Strategy::Spread, ["pve2", "pve3", "pve1", "pve2"]),
            (Strategy::RoundRobin, ["pve1", "pve2", "pve3", "pve1"]),
            (Strategy::FewerVms, ["pve1", "pve3", "pve1", "pve3"]),
            // 24, 34 and 54 GiB free: three of 8 on the fullest that still fits, then the next.
            (Strategy::Binpack, ["pve1", "pve1", "pve1", "pve3"]),
        ] {
            assert_eq!(picks(Provider::V0_2, &nodes, &asked(strategy), 4), expected, "{strategy:?}");
        }
        let full = [node("pve1", 64, 60, 0), node("pve2", 64, 62, 0)];
        assert_eq!(picks(Provider::V0_2, &full, &asked(Strategy::Binpack), 1), ["pve1"], "none fits: the emptiest");
    }

    #[test]
    fn sets_do_not_see_each_others_ledger() {
        let nodes = [node("pve1", 64, 10, 0), node("pve2", 64, 20, 0)];
        let mut ledger = Ledger::default();
        let one = pick(Provider::V0_2, &nodes, &asked(Strategy::Spread), &mut ledger).unwrap();
        let other = Asked { set: "control-planes", ..asked(Strategy::Spread) };
        let two = pick(Provider::V0_2, &nodes, &other, &mut ledger).unwrap();
        assert_eq!((one.node.as_str(), two.node.as_str()), ("pve1", "pve1"));
    }

    #[test]
    fn nodes_that_are_alike_are_named() {
        let nodes = [node("pve3", 64, 10, 2), node("pve1", 64, 10, 1), node("pve2", 64, 20, 1)];
        for (strategy, memory, node, alike) in [
            (Strategy::Spread, 8, "pve3", &["pve1"][..]),
            (Strategy::FewerVms, 8, "pve1", &[]),
            (Strategy::RoundRobin, 8, "pve1", &[]),
            (Strategy::Binpack, 50, "pve3", &["pve1"]),
            (Strategy::Binpack, 8, "pve2", &[]),
            (Strategy::Binpack, 60, "pve3", &["pve1"]),
        ] {
            let asked = Asked { memory: memory * GIB, ..asked(strategy) };
            let picked = pick(Provider::V0_2, &nodes, &asked, &mut Ledger::default()).unwrap();
            assert_eq!(
                (picked.node.as_str(), picked.alike.as_slice()),
                (node, &alike.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()[..]),
                "{strategy:?} {memory}"
            );
        }
        let pinned = Asked { pinned: Some("pve1"), ..asked(Strategy::Spread) };
        assert!(pick(Provider::V0_2, &nodes, &pinned, &mut Ledger::default()).unwrap().alike.is_empty());
    }

    #[test]
    fn with_ha_the_number_of_vms_does_not_count() {
        let nodes = [node("pve1", 64, 40, 0), node("pve2", 64, 10, 9)];
        let ha = Asked { ha: true, ..asked(Strategy::FewerVms) };
        assert_eq!(picks(Provider::V0_2, &nodes, &ha, 1), ["pve2"]);
    }

    #[test]
    fn offline_nodes_stop_the_first_provider_and_are_passed_by_later_ones() {
        let off = Candidate { online: false, memory: None, ..node("pve2", 1, 0, 0) };
        let nodes = [node("pve1", 64, 10, 0), off];
        let said = picks(Provider::Untagged, &nodes, &asked(Strategy::Spread), 1);
        assert!(said[0].contains("unexpected end of JSON input"), "{said:?}");
        assert_eq!(picks(Provider::V0_1, &nodes, &asked(Strategy::Spread), 1), ["pve1"]);
        let pinned = Asked { pinned: Some("pve2"), ..asked(Strategy::Spread) };
        assert_eq!(picks(Provider::V0_3, &nodes, &pinned, 1), ["specified node \"pve2\" is not online"]);
        let pinned = Asked { pinned: Some("pve1"), ..asked(Strategy::Spread) };
        assert_eq!(picks(Provider::Untagged, &nodes, &pinned, 1), ["pve1"], "a pinned node is the only one asked");
        assert_eq!(
            picks(Provider::V0_1, &nodes[1..], &asked(Strategy::Spread), 1),
            ["no online nodes available for provisioning"]
        );
        assert_eq!(picks(Provider::V0_1, &[], &asked(Strategy::Spread), 1), ["no nodes available"]);
    }

    #[test]
    fn without_figures_the_first_node_wins() {
        let blind = |name: &str| Candidate { memory: None, ..node(name, 1, 0, 0) };
        let nodes = [blind("pve1"), blind("pve2")];
        assert_eq!(picks(Provider::Untagged, &nodes, &asked(Strategy::Spread), 2), ["pve1", "pve1"]);
        let nodes = [blind("pve1"), node("pve2", 64, 63, 0)];
        assert_eq!(picks(Provider::Untagged, &nodes, &asked(Strategy::Spread), 1), ["pve2"], "NaN sorts last");
    }
}
