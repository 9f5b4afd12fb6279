//! The provider's own choice of a node.
//!
//! 0d9fd58 and v0.1.0 sort by the fewest machines of the same set, which they always count as 0 (go-proxmox's `HasTag`
//! reads a configuration that the list of VMs does not include; go-proxmox v0.3.2 `virtual_machine.go:60-80`), then by the
//! free fraction of memory. v0.2.0 keeps a ledger of its placements within the last hour (`scheduler.go`), by strategy.
//! All of them consider memory, never processors, storages or bridges, and never refuse a node as too small.

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
    /// The number of VMs on it.
    pub vms: usize,
}

/// A machine that needs a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacementRequest<'a> {
    pub set: &'a str,
    pub pinned: Option<&'a str>,
    /// Bytes.
    pub memory: u64,
    pub strategy: Strategy,
    pub ha: bool,
}

/// What v0.2.0 and later remember of the machines that they placed: count and memory by set and node. Only the sums are
/// stored, so the cost of a choice does not depend on the number of earlier placements.
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

/// The provider's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    pub node: String,
    /// The other nodes that are equal to it. The provider picks the first in Proxmox's list, whose order is that of a Perl hash
    /// (pve-cluster 9 `Cluster.pm` `get_nodelist`).
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
pub fn pick(
    provider: Provider,
    nodes: &[Candidate],
    request: &PlacementRequest<'_>,
    ledger: &mut Ledger,
) -> Result<Picked, String> {
    if nodes.is_empty() {
        return Err("no nodes available".to_owned());
    }
    if let Some(pinned) = request.pinned {
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
    let mut entries: Vec<Entry<'_>> = online.iter().map(|node| entry(provider, node, request)).collect();
    let strategy = if provider < Provider::V0_2 { Strategy::Spread } else { request.strategy };
    if provider >= Provider::V0_2 {
        for (node, (count, memory)) in ledger.0.get(request.set).into_iter().flatten() {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.name == node) {
                reserve(entry, strategy, *count, *memory);
            }
        }
    }
    entries.sort_by(|a, b| compare(a, b, strategy, request.memory));
    let node = entries.first().map_or(first.name.as_str(), |entry| entry.name).to_owned();
    let alike =
        entries.iter().skip(1).take_while(|entry| compare(&entries[0], entry, strategy, request.memory).is_eq());
    let alike = alike.map(|entry| entry.name.to_owned()).collect();
    ledger.remember(request.set, &node, request.memory);
    Ok(Picked { node, alike })
}

fn entry<'a>(provider: Provider, node: &'a Candidate, request: &PlacementRequest<'_>) -> Entry<'a> {
    let free = node.memory.map_or(0, |(total, used)| total.saturating_sub(used));
    let fraction = match node.memory {
        Some((total, _)) if total > 0 => Some(free as f64 / total as f64),
        _ if provider < Provider::V0_2 => None,
        _ => Some(0.0),
    };
    // With `ha` Proxmox moves the machines, and the provider does not count them (v0.2.0 `shouldCountSetVMs`).
    let vms = if request.ha { 0 } else { node.vms };
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

    fn request(strategy: Strategy) -> PlacementRequest<'static> {
        PlacementRequest { set: "workers", pinned: None, memory: 8 * GIB, strategy, ha: false }
    }

    fn picks(provider: Provider, nodes: &[Candidate], request: &PlacementRequest<'_>, count: usize) -> Vec<String> {
        let mut ledger = Ledger::default();
        let one = |_| pick(provider, nodes, request, &mut ledger).map_or_else(|error| error, |picked| picked.node);
        (0..count).map(one).collect()
    }

    #[test]
    fn node_choice_uses_the_free_fraction() {
        // 6 of 8 free beats 60 of 128 free.
        let nodes = [node("big", 128, 68, 0), node("small", 8, 2, 0)];
        assert_eq!(picks(Provider::Untagged, &nodes, &request(Strategy::Spread), 1), ["small"]);
    }

    #[test]
    fn provider_before_v0_2_0_fills_one_node() {
        let nodes = [node("pve1", 64, 20, 3), node("pve2", 64, 10, 0), node("pve3", 64, 30, 0)];
        for provider in [Provider::Untagged, Provider::V0_1] {
            assert_eq!(picks(provider, &nodes, &request(Strategy::Binpack), 3), ["pve2", "pve2", "pve2"], "{provider}");
        }
    }

    #[test]
    fn strategies_follow_provider_v0_2_0() {
        let nodes = [node("pve1", 64, 40, 1), node("pve2", 64, 10, 9), node("pve3", 64, 30, 2)];
        for (strategy, expected) in [
            (Strategy::Spread, ["pve2", "pve3", "pve1", "pve2"]),
            (Strategy::RoundRobin, ["pve1", "pve2", "pve3", "pve1"]),
            (Strategy::FewerVms, ["pve1", "pve3", "pve1", "pve3"]),
            // 24, 34 and 54 GiB free: three of 8 on the fullest that still fits, then the next.
            (Strategy::Binpack, ["pve1", "pve1", "pve1", "pve3"]),
        ] {
            assert_eq!(picks(Provider::V0_2, &nodes, &request(strategy), 4), expected, "{strategy:?}");
        }
        let full = [node("pve1", 64, 60, 0), node("pve2", 64, 62, 0)];
        assert_eq!(picks(Provider::V0_2, &full, &request(Strategy::Binpack), 1), ["pve1"], "none fits: the emptiest");
    }

    #[test]
    fn sets_have_separate_ledgers() {
        let nodes = [node("pve1", 64, 10, 0), node("pve2", 64, 20, 0)];
        let mut ledger = Ledger::default();
        let one = pick(Provider::V0_2, &nodes, &request(Strategy::Spread), &mut ledger).unwrap();
        let other = PlacementRequest { set: "control-planes", ..request(Strategy::Spread) };
        let two = pick(Provider::V0_2, &nodes, &other, &mut ledger).unwrap();
        assert_eq!((one.node.as_str(), two.node.as_str()), ("pve1", "pve1"));
    }

    #[test]
    fn equal_nodes_are_named() {
        let nodes = [node("pve3", 64, 10, 2), node("pve1", 64, 10, 1), node("pve2", 64, 20, 1)];
        for (strategy, memory, node, alike) in [
            (Strategy::Spread, 8, "pve3", &["pve1"][..]),
            (Strategy::FewerVms, 8, "pve1", &[]),
            (Strategy::RoundRobin, 8, "pve1", &[]),
            (Strategy::Binpack, 50, "pve3", &["pve1"]),
            (Strategy::Binpack, 8, "pve2", &[]),
            (Strategy::Binpack, 60, "pve3", &["pve1"]),
        ] {
            let request = PlacementRequest { memory: memory * GIB, ..request(strategy) };
            let picked = pick(Provider::V0_2, &nodes, &request, &mut Ledger::default()).unwrap();
            assert_eq!(
                (picked.node.as_str(), picked.alike.as_slice()),
                (node, &alike.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()[..]),
                "{strategy:?} {memory}"
            );
        }
        let pinned = PlacementRequest { pinned: Some("pve1"), ..request(Strategy::Spread) };
        assert!(pick(Provider::V0_2, &nodes, &pinned, &mut Ledger::default()).unwrap().alike.is_empty());
    }

    #[test]
    fn ha_ignores_the_number_of_vms() {
        let nodes = [node("pve1", 64, 40, 0), node("pve2", 64, 10, 9)];
        let ha = PlacementRequest { ha: true, ..request(Strategy::FewerVms) };
        assert_eq!(picks(Provider::V0_2, &nodes, &ha, 1), ["pve2"]);
    }

    #[test]
    fn offline_nodes_block_only_the_first_provider() {
        let off = Candidate { online: false, memory: None, ..node("pve2", 1, 0, 0) };
        let nodes = [node("pve1", 64, 10, 0), off];
        let said = picks(Provider::Untagged, &nodes, &request(Strategy::Spread), 1);
        assert!(said[0].contains("unexpected end of JSON input"), "{said:?}");
        assert_eq!(picks(Provider::V0_1, &nodes, &request(Strategy::Spread), 1), ["pve1"]);
        let pinned = PlacementRequest { pinned: Some("pve2"), ..request(Strategy::Spread) };
        assert_eq!(picks(Provider::V0_3, &nodes, &pinned, 1), ["specified node \"pve2\" is not online"]);
        let pinned = PlacementRequest { pinned: Some("pve1"), ..request(Strategy::Spread) };
        assert_eq!(picks(Provider::Untagged, &nodes, &pinned, 1), ["pve1"], "only the pinned node counts");
        assert_eq!(
            picks(Provider::V0_1, &nodes[1..], &request(Strategy::Spread), 1),
            ["no online nodes available for provisioning"]
        );
        assert_eq!(picks(Provider::V0_1, &[], &request(Strategy::Spread), 1), ["no nodes available"]);
    }

    #[test]
    fn hidden_figures_pick_the_first_node() {
        let blind = |name: &str| Candidate { memory: None, ..node(name, 1, 0, 0) };
        let nodes = [blind("pve1"), blind("pve2")];
        assert_eq!(picks(Provider::Untagged, &nodes, &request(Strategy::Spread), 2), ["pve1", "pve1"]);
        let nodes = [blind("pve1"), node("pve2", 64, 63, 0)];
        assert_eq!(picks(Provider::Untagged, &nodes, &request(Strategy::Spread), 1), ["pve2"], "NaN sorts last");
    }
}
