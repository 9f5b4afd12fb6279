//! The output of `cluster-explain` for two faults at once: both are named, and nothing else is. The rules for the pairs are in
//! `fixtures/pairs.yaml`.
//!
//! `PAIRS=FROM-TO` tests these of all pairs, `PAIRS=NAME+NAME` one; `PAIRS_TABLE=FILE` records the results.

use std::time::Duration;

use runtime::tool::lab::faults::Fault;
use serde::Deserialize;

use super::{LOOKS, all, append_row, explained, for_each, start_with_all};
use crate::sandbox::previous_set;

type Pair = [&'static Fault; 2];

#[derive(Deserialize)]
struct Rules {
    standing: Vec<String>,
    same: Vec<Vec<String>>,
    steps: Vec<Vec<Vec<String>>>,
    follows: Vec<String>,
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|other| other == name)
}

/// Read-only tasks: the runbook continues after them.
const LOOK: [&str; 6] =
    ["doctor", "omnictl-install", "proxmox-audit", "proxmox-inventory", "selector-test", "tsidp-verify"];

impl Rules {
    /// Returns true if nothing keeps the two faults from occurring together.
    fn meet(&self, pair: &Pair) -> bool {
        let [a, b] = pair;
        let same = self.same.iter().any(|names| has(names, &a.name) && has(names, &b.name));
        let step = |steps: &[Vec<String>]| pair.map(|fault| steps.iter().position(|step| has(step, &fault.name)));
        let one_chain = self.steps.iter().any(|steps| matches!(step(steps), [Some(_), Some(_)]));
        !same && !one_chain && !ends_before(a, b) && !ends_before(b, a)
    }
}

/// How far the runbook has to run for a fault: one that read-only tasks meet needs a cluster.
fn reach(fault: &Fault) -> usize {
    let look = ["proxmox-audit", "proxmox-inventory", "selector-test"].iter().any(|task| fault.task.starts_with(task));
    if look { fault.before.len().max(3) } else { fault.before.len() }
}

fn ends_before(first: &Fault, later: &Fault) -> bool {
    let ends = first.exit != 0 && !LOOK.iter().any(|task| first.task.starts_with(task));
    ends && reach(first) < reach(later)
}

/// Returns the possible pairs, in an order that depends only on their names.
fn pairs(rules: &Rules) -> Vec<Pair> {
    // If the task succeeds, the progress of the runbook does not depend on the fault.
    let breaks = |fault: &&Fault| fault.causes.iter().any(|id| fault.exit != 0 || !has(&rules.follows, id));
    let faults: Vec<&Fault> = all().filter(breaks).collect();
    let with = |at: usize| faults[at + 1..].iter().map(|other| [faults[at], *other]).collect::<Vec<_>>();
    let mut pairs: Vec<Pair> = (0..faults.len()).flat_map(with).filter(|pair| rules.meet(pair)).collect();
    // FNV-1a, so that a new fault does not reorder the other pairs.
    pairs.sort_by_key(|pair| {
        let names = pair.iter().flat_map(|fault| fault.name.bytes());
        names.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    });
    pairs
}

#[test]
fn two_faults_are_both_named_and_nothing_else() {
    let rules: Rules = serde_yaml::from_str(include_str!("../../fixtures/pairs.yaml")).expect("the rules");
    let possible = pairs(&rules);
    let chosen = std::env::var("PAIRS").unwrap_or_else(|_| "0-20".to_owned());
    let number = |text: &str| text.parse().expect("FROM-TO");
    let pairs: Vec<Pair> = match (chosen.split_once('+'), chosen.split_once('-')) {
        (Some(names), _) => {
            let own = |pair: &&Pair| pair.iter().all(|fault| fault.name == names.0 || fault.name == names.1);
            possible.iter().filter(own).copied().collect()
        }
        (_, Some((from, to))) => possible[number(from)..possible.len().min(number(to))].to_vec(),
        _ => possible.clone(),
    };
    let least = if previous_set() { 880 } else { 900 };
    assert!(!pairs.is_empty() && possible.len() > least, "{chosen} of {} pairs", possible.len());
    for_each(&pairs, |pair| {
        let mut faults = *pair;
        faults.sort_by_key(|fault| reach(fault));
        let lab = start_with_all(&faults);
        let mut found = explained(&lab);
        let named = |found: &[String]| pair.iter().all(|fault| has(found, &fault.causes[0]));
        for _ in 0..LOOKS {
            if named(&found.2) {
                break;
            }
            std::thread::sleep(Duration::from_secs(2));
            found = explained(&lab);
        }
        let state = lab.dump();
        let bitten = state["bitten"].to_string();
        let happened =
            |fault: &&&Fault| has(&rules.standing, &fault.name) || bitten.contains(&format!("\"{}\"", fault.name));
        let connected = state["omni"]["providers"].to_string().contains("\"connected\":true");
        let due =
            |id: &String| pair.iter().any(|fault| has(&fault.causes, id)) || (!connected && has(&rules.follows, id));
        let wrong: Vec<&String> = found.2.iter().filter(|id| !due(id)).collect();
        let end = match (pair.iter().filter(happened).count(), named(&found.2)) {
            _ if !wrong.is_empty() => "WRONG",
            (0 | 1, _) => "not met",
            (_, true) => "both",
            _ => "MISSED",
        };
        let [a, b] = pair;
        let row = format!("{}+{}\t{end}\t{}\t{wrong:?}\t{}", a.name, b.name, found.2.join(" "), found.0["summary"]);
        append_row("PAIRS_TABLE", &row);
        if end.starts_with(char::is_uppercase) { Err(row) } else { Ok(()) }
    });
}
