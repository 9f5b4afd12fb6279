//! The effects of losing a node: whether etcd keeps its majority, and whether the lost machines fit on the other nodes.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use super::advice;
use super::placement_state::PlacementState;
use super::{Member, Placement, State, control_planes};
use domain::words::count;
use yaml::Finding;

/// The loss of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeFailure {
    pub node: String,
    /// How many machines of these clusters are lost with it.
    pub machines: usize,
    pub control_planes: usize,
    /// The clusters whose etcd loses its majority.
    pub majority_lost: Vec<String>,
    /// Why the lost machines cannot be recreated on the other nodes; empty if they can.
    pub problems: Vec<String>,
}

/// Simulates the loss of each online node, one at a time. A single node is skipped: with it, everything is lost.
pub(super) fn simulate_losses(
    state: &mut PlacementState<'_>,
    members: &[Member],
    placements: &[Placement],
) -> Vec<NodeFailure> {
    let online: Vec<String> = state.rooms.iter().filter(|room| room.online).map(|room| room.name.clone()).collect();
    if online.len() < 2 {
        return Vec::new();
    }
    // If the machines do not fit at all, a node failure adds nothing to report.
    let before: BTreeSet<String> = problems(state).into_iter().collect();
    let by_name: BTreeMap<&str, &Member> = members.iter().map(|member| (member.name.as_str(), member)).collect();
    let mut lost: BTreeMap<&str, Vec<&Placement>> = BTreeMap::new();
    for placement in placements {
        lost.entry(placement.node.as_deref().unwrap_or_default()).or_default().push(placement);
    }
    let mut majorities = majorities_lost(placements);
    // Keep the state after the plan, without what grows with the number of machines: it is cloned for each node.
    let findings = std::mem::take(&mut state.findings);
    (state.ledger, state.remembered, state.reported) = Default::default();
    let mut warnings = Vec::new();
    let losses: Vec<NodeFailure> = online
        .iter()
        .map(|node| {
            let gone = lost.get(node.as_str()).map_or(&[][..], Vec::as_slice);
            let gone: Vec<&Member> =
                gone.iter().filter_map(|placement| by_name.get(placement.name.as_str()).copied()).collect();
            let loss = NodeFailure {
                node: node.clone(),
                machines: gone.len(),
                control_planes: gone.iter().filter(|member| member.control_plane).count(),
                majority_lost: majorities.remove(node.as_str()).unwrap_or_default(),
                problems: recreation_problems(state, node, &gone, &before),
            };
            if before.is_empty() && !loss.problems.is_empty() {
                warnings.extend(warning(&loss, &gone, state));
            }
            loss
        })
        .collect();
    state.findings = findings;
    state.findings.extend(warnings);
    losses
}

fn warning(loss: &NodeFailure, gone: &[&Member], state: &PlacementState<'_>) -> Option<Finding> {
    let machines = count(loss.machines, "machine");
    let message = format!("without {}, its {machines} cannot be recreated: {}", loss.node, loss.problems.join("; "));
    Some(Finding::warning("plan-loss", gone.first()?.place.clone(), message, advice::loss(state.provider, gone)))
}

/// Returns why the lost machines cannot be recreated on the other nodes, without problems that existed before the loss.
fn recreation_problems(
    state: &PlacementState<'_>,
    node: &str,
    gone: &[&Member],
    before: &BTreeSet<String>,
) -> Vec<String> {
    let mut after = state.clone();
    after.offline = Some(node.to_owned());
    // By then the machines have been running for a while, and Proxmox's figures include them.
    after.seen = state.rooms.iter().map(|room| (room.name.clone(), room.used_after())).collect();
    after.refresh_candidates();
    for member in gone {
        after.place_new(&Member { state: State::New, ..(*member).clone() });
    }
    after.check_limits();
    let problems: BTreeSet<String> = problems(&after).into_iter().filter(|problem| !before.contains(problem)).collect();
    problems.into_iter().collect()
}

fn problems(state: &PlacementState<'_>) -> Vec<String> {
    state.findings.iter().filter(|finding| finding.is_error()).map(|finding| finding.message.clone()).collect()
}

/// Returns, by node, the clusters whose etcd loses its majority with the node.
fn majorities_lost(placements: &[Placement]) -> BTreeMap<&str, Vec<String>> {
    let mut lost: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (cluster, (all, on)) in control_planes(placements) {
        let all = all.len();
        for (node, _) in on.into_iter().filter(|(_, gone)| all - gone <= all / 2) {
            lost.entry(node).or_default().push(cluster.to_owned());
        }
    }
    lost
}
