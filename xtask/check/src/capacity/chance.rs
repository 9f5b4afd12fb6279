//! Warnings where the provider's choice of a node cannot be predicted.

use super::Member;
use super::place::NodeChoice;
use super::placement_state::PlacementState;
use crate::Finding;

impl PlacementState<'_> {
    /// Says, once for each set, where the choice of a node is not for anybody to know beforehand.
    pub(super) fn chance(&mut self, member: &Member, picked: &NodeChoice, remembered: Option<NodeChoice>) {
        if self.offline.is_some() {
            return;
        }
        let mut say = |rule: &'static str, message: String| {
            if self.reported.insert((rule, member.set.clone())) {
                let fix = "nothing, if any of them will do; else a class for each node with `node:`";
                self.findings.push(Finding::warning(rule, member.place.clone(), message, fix));
            }
        };
        let NodeChoice { node, alike } = picked;
        if !alike.is_empty() {
            let message = format!(
                "{node} and {} are equal to the provider: it picks one at random for a machine of {}",
                alike.join(", "),
                member.set
            );
            say("plan-node-by-chance", message);
        }
        if let Some(other) = remembered.filter(|other| other.node != *node && !alike.contains(&other.node)) {
            let message = format!(
                "a machine of {} goes to {node}, or to {} if those that stand were placed within the last hour: the \
                 provider remembers them so long, and until it is restarted",
                member.set, other.node
            );
            say("plan-node-by-memory", message);
        }
    }
}
