//! What is left when a node is lost: whether etcd keeps its majority, and whether the lost machines fit on the others.

use std::collections::{BTreeMap, BTreeSet};

use super::board::Board;
use super::place::Ledger;
use super::selector::Selects;
use super::{Member, Placement, State};

/// The loss of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    pub node: String,
    /// How many machines of these clusters go with it.
    pub machines: usize,
    pub control_planes: usize,
    /// The clusters whose etcd loses its majority.
    pub majority_lost: Vec<String>,
    /// Why the lost machines cannot be made anew on the other nodes; empty when they can.
    pub problems: Vec<String>,
}

model::written!(Loss { node, machines, control_planes, majority_lost, problems });

/// The loss of each node that is online, one at a time. Nothing for a cluster of one node, whose loss is that of everything.
pub(super) fn losses(
    board: &mut Board<'_>,
    members: &[Member],
    placements: &[Placement],
    selects: &Selects<'_>,
) -> Vec<Loss> {
    let online: Vec<String> = board.rooms.iter().filter(|room| room.online).map(|room| room.name.clone()).collect();
    if online.len() < 2 {
        return Vec::new();
    }
    let losses: Vec<Loss> = online.iter().map(|node| loss(board, node, members, placements, selects)).collect();
    // Where the machines do not fit at all, their not fitting elsewhere is no news.
    let fits = problems(board).is_empty();
    for loss in losses.iter().filter(|loss| fits && !loss.problems.is_empty()) {
        let on_it = placements.iter().find(|placement| placement.node.as_deref() == Some(&loss.node));
        let place = on_it.and_then(|placement| members.iter().find(|member| member.name == placement.name));
        let Some(place) = place.map(|member| member.place.clone()) else { continue };
        let message = format!(
            "without {} its {} machines do not fit elsewhere: {}",
            loss.node,
            loss.machines,
            loss.problems.join("; ")
        );
        board.warning("plan-loss", &place, message, "leave room for one node's machines on the others");
    }
    losses
}

fn loss(board: &Board<'_>, node: &str, members: &[Member], placements: &[Placement], selects: &Selects<'_>) -> Loss {
    let lost: Vec<&Placement> = placements.iter().filter(|placement| placement.node.as_deref() == Some(node)).collect();
    let mut after = board.clone();
    after.findings.clear();
    (after.ledger, after.remembered) = (Ledger::default(), Ledger::default());
    after.offline = Some(node.to_owned());
    // By then the machines have been running for a while, and Proxmox's figures show it.
    after.seen = board.rooms.iter().map(|room| (room.name.clone(), room.used + room.added)).collect();
    let before: BTreeSet<String> = problems(board).into_iter().collect();
    for placement in &lost {
        let member = members.iter().find(|member| member.name == placement.name);
        if let Some(member) = member {
            after.put(&Member { state: State::New, ..member.clone() }, selects);
        }
    }
    after.judge();
    // What was wrong before is no consequence of the loss.
    let problems: BTreeSet<String> = problems(&after).into_iter().filter(|problem| !before.contains(problem)).collect();
    Loss {
        node: node.to_owned(),
        machines: lost.len(),
        control_planes: lost.iter().filter(|placement| placement.control_plane).count(),
        majority_lost: majority_lost(node, placements),
        problems: problems.into_iter().collect(),
    }
}

fn problems(board: &Board<'_>) -> Vec<String> {
    board.findings.iter().filter(|finding| finding.is_error()).map(|finding| finding.message.clone()).collect()
}

fn majority_lost(node: &str, placements: &[Placement]) -> Vec<String> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for placement in placements.iter().filter(|placement| placement.control_plane) {
        let (all, lost) = counts.entry(&placement.cluster).or_default();
        *all += 1;
        *lost += usize::from(placement.node.as_deref() == Some(node));
    }
    let gone = counts.into_iter().filter(|(_, (all, lost))| *lost > 0 && all - lost <= all / 2);
    gone.map(|(cluster, _)| cluster.to_owned()).collect()
}
