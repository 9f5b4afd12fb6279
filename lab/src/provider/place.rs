//! Node selection (omni-infra-provider-proxmox v0.2.0 internal/pkg/provider: scheduler and pickNode).
//!
//! The number of a set's machines on a node comes from tags that the list of VMs does not contain (go-proxmox `HasTag`,
//! issue 51), so it is always 0. Machines are spread by the ledger of v0.2.0, which has the placements of the last hour.

use std::cmp::Ordering;
use std::sync::Mutex;
use std::time::Duration;

/// How long a placement counts.
const HOUR: Duration = Duration::from_secs(3600);

/// The value of `placement_strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum Strategy {
    /// Fewest machines of the set, then the largest share of free memory.
    #[default]
    Spread,
    /// Fewest VMs of any kind, then the largest share of free memory.
    FewerVms,
    /// Fewest machines of the set, then by name.
    RoundRobin,
    /// The fullest node on which the machine still fits.
    Binpack,
}

impl Strategy {
    /// Parses the value in the provider data; an empty value means `spread`.
    pub fn parse(text: &str) -> Result<Strategy, String> {
        let unknown = |_| format!("unknown placement strategy {text:?}");
        if text.is_empty() { Ok(Strategy::default()) } else { text.parse().map_err(unknown) }
    }
}

/// An online node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    pub name: String,
    /// Free memory as a share of the total; 0 if the token is not allowed to read it.
    pub share: f64,
    /// Free memory in bytes.
    pub free: u64,
    /// Number of machines of the same set.
    pub same_set: usize,
    pub vms: usize,
}

/// A placement.
struct PlacedMachine {
    request: String,
    set: String,
    node: String,
    memory: u64,
    until: Duration,
}

/// The provider's record of its placements, which a restart clears.
#[derive(Default)]
pub struct Ledger(Mutex<Vec<PlacedMachine>>);

/// A machine that needs a node.
pub struct PlacementRequest<'a> {
    /// The ID of the machine request.
    pub id: &'a str,
    pub set: &'a str,
    pub memory: u64,
    /// The strategy to place it with.
    pub strategy: Strategy,
}

impl Ledger {
    /// Picks a node and records the placement. Returns `None` if there is no node.
    pub fn pick(&self, mut nodes: Vec<Candidate>, request: &PlacementRequest<'_>, now: Duration) -> Option<String> {
        let mut placed = self.0.lock().unwrap_or_else(|e| e.into_inner());
        placed.retain(|one| one.until > now && one.request != request.id);
        for one in placed.iter().filter(|one| one.set == request.set) {
            let Some(node) = nodes.iter_mut().find(|node| node.name == one.node) else { continue };
            match request.strategy {
                Strategy::FewerVms => node.vms += 1,
                Strategy::Binpack => node.free = node.free.saturating_sub(one.memory),
                Strategy::Spread | Strategy::RoundRobin => node.same_set += 1,
            }
        }
        // A stable sort, because Go sorts so few elements by insertion.
        nodes.sort_by(|a, b| compare(a, b, request));
        let node = nodes.into_iter().next()?.name;
        let (id, set) = (request.id.to_owned(), request.set.to_owned());
        placed.push(PlacedMachine { request: id, set, node: node.clone(), memory: request.memory, until: now + HOUR });
        Some(node)
    }

    /// Removes the placement of a request whose machine is deleted.
    pub fn release(&self, request: &str) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).retain(|one| one.request != request);
    }
}

fn compare(a: &Candidate, b: &Candidate, request: &PlacementRequest<'_>) -> Ordering {
    let most_free = || b.share.partial_cmp(&a.share).unwrap_or(Ordering::Equal);
    match request.strategy {
        Strategy::Spread => a.same_set.cmp(&b.same_set).then_with(most_free),
        Strategy::FewerVms => a.vms.cmp(&b.vms).then_with(most_free),
        Strategy::RoundRobin => a.same_set.cmp(&b.same_set).then_with(|| a.name.cmp(&b.name)),
        Strategy::Binpack => {
            let fits = |node: &Candidate| node.free >= request.memory;
            match (fits(a), fits(b)) {
                (true, true) => a.free.cmp(&b.free),
                (false, false) => b.free.cmp(&a.free),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Candidate> {
        let node = |name: &str, free: u64, vms: usize| Candidate {
            name: name.into(),
            share: free as f64 / 64.0,
            free,
            same_set: 0,
            vms,
        };
        vec![node("pve1", 24, 1), node("pve2", 54, 9), node("pve3", 34, 2)]
    }

    fn picks(ledger: &Ledger, strategy: Strategy, requests: &[&str], now: Duration) -> Vec<String> {
        let one = |request: &&str| {
            ledger.pick(nodes(), &PlacementRequest { id: request, set: "workers", memory: 8, strategy }, now)
        };
        requests.iter().filter_map(one).collect()
    }

    #[test]
    fn strategies_order_nodes() {
        for (strategy, wanted) in [
            (Strategy::Spread, ["pve2", "pve3", "pve1", "pve2"]),
            (Strategy::RoundRobin, ["pve1", "pve2", "pve3", "pve1"]),
            (Strategy::FewerVms, ["pve1", "pve3", "pve1", "pve3"]),
            (Strategy::Binpack, ["pve1", "pve1", "pve1", "pve3"]),
        ] {
            let ledger = Ledger::default();
            assert_eq!(picks(&ledger, strategy, &["a", "b", "c", "d"], Duration::ZERO), wanted, "{strategy:?}");
        }
    }

    #[test]
    fn placement_counts_for_an_hour_or_until_release() {
        let ledger = Ledger::default();
        assert_eq!(
            picks(&ledger, Strategy::Spread, &["a", "a"], Duration::ZERO),
            ["pve2", "pve2"],
            "a retry is not a machine"
        );
        ledger.release("a");
        assert_eq!(picks(&ledger, Strategy::Spread, &["b", "c"], Duration::ZERO), ["pve2", "pve3"]);
        assert_eq!(picks(&ledger, Strategy::Spread, &["d"], HOUR), ["pve2"], "what is older is forgotten");
        let other = PlacementRequest { id: "x", set: "control-planes", memory: 8, strategy: Strategy::Spread };
        assert_eq!(ledger.pick(nodes(), &other, HOUR).as_deref(), Some("pve2"), "another set does not count");
    }

    #[test]
    fn unknown_strategy_is_refused() {
        assert_eq!(Strategy::parse("").unwrap(), Strategy::Spread);
        assert_eq!(Strategy::parse("clever").unwrap_err(), "unknown placement strategy \"clever\"");
    }
}
