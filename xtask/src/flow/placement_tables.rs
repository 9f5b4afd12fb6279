//! The tables of `cluster-plan`: machines with their placement, nodes and storages before and after, and the loss of each node.

use std::collections::BTreeSet;

use crate::prelude::*;
use check::capacity::demand::Demand;
use check::capacity::{Fit, NodeFailure, NodeRoom, Placement, PoolRoom, State, format_bytes};
use runtime::ui::{bar, table};

pub fn count_machines(fit: &Fit, demand: &Demand) -> String {
    let of = |wanted: fn(&State) -> bool| fit.placements.iter().filter(|placement| wanted(&placement.state)).count();
    let mut words = vec![
        format!("{} exist", of(|state| matches!(state, State::Exists(_)))),
        format!("{} to create", of(|state| !matches!(state, State::Exists(_)))),
    ];
    let gone: usize = demand.surplus.values().sum();
    if gone > 0 {
        words.push(format!("{gone} to remove"));
    }
    words.join(", ")
}

pub fn show(cx: &Cx, fit: &Fit, demand: &Demand) {
    let mut parts = Vec::new();
    if !fit.placements.is_empty() {
        let rows: Vec<Vec<String>> = fit.placements.iter().map(machine_row).collect();
        parts.push(table(&["MACHINE", "STATE", "NODE", "STORAGE", "MEMORY", "DISK"], &rows));
    }
    if !demand.surplus.is_empty() {
        let kept = |set: &str| fit.placements.iter().any(|placement| placement.set == set);
        let row = |(set, count): (&String, &usize)| match kept(set) {
            true => vec![set.clone(), format!("{count} fewer; Omni chooses which")],
            false => vec![set.clone(), format!("all {count}")],
        };
        parts.push(table(&["MACHINE SET", "TO REMOVE"], demand.surplus.iter().map(row)));
    }
    let rows: Vec<Vec<String>> = fit.nodes.iter().map(node_row).collect();
    parts.push(table(&["NODE", "MEMORY  █ used ▒ planned", "BEFORE", "AFTER", "MACHINES", "CPUS REQUESTED"], &rows));
    if !fit.pools.is_empty() {
        let rows: Vec<Vec<String>> = fit.pools.iter().map(pool_row).collect();
        parts.push(table(&["STORAGE", "ON", "SPACE  █ used ▒ planned", "BEFORE", "AFTER"], &rows));
    }
    let losses: Vec<_> = fit.losses.iter().filter(|loss| loss.machines > 0).collect();
    if !losses.is_empty() {
        parts.push(table(&["WITHOUT", "MACHINES LOST", "ETCD", "RECREATED"], losses.into_iter().map(loss_row)));
    }
    cx.ui.print_states(&parts.join("\n"));
}

/// Describes the loss of a node: the machines lost, whether etcd keeps its majority, and where the machines can be recreated.
pub fn loss_row(loss: &NodeFailure) -> Vec<String> {
    let etcd = if loss.majority_lost.is_empty() {
        "keeps its majority".to_owned()
    } else {
        format!("lost in {}", loss.majority_lost.join(", "))
    };
    let elsewhere = match loss.problems.as_slice() {
        [] => "fit on the others".to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    };
    vec![loss.node.clone(), loss.machines.to_string(), etcd, elsewhere]
}

pub fn machine_row(placement: &Placement) -> Vec<String> {
    let state = match &placement.state {
        State::Exists(_) => "exists",
        State::Requested => "requested",
        State::New => "new",
    };
    let storages: BTreeSet<&str> =
        placement.storages.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    let storages: Vec<&str> = storages.into_iter().collect();
    let none = || "–".to_owned();
    vec![
        placement.name.clone(),
        state.to_owned(),
        placement.node.clone().unwrap_or_else(none),
        if storages.is_empty() { none() } else { storages.join(", ") },
        format_bytes(placement.memory),
        format_bytes(placement.disk),
    ]
}

fn node_row(room: &NodeRoom) -> Vec<String> {
    let machines = match (room.machines, room.control_planes) {
        (0, _) => String::new(),
        (all, 0) => all.to_string(),
        (all, some) => format!("{all} ({})", count(some, "control plane")),
    };
    let cpus = if room.vcpus == 0 { String::new() } else { format!("{} of {}", room.vcpus, room.cpus) };
    if room.total == 0 {
        let why = if room.online { "not known" } else { "offline" };
        return vec![room.name.clone(), why.to_owned(), String::new(), String::new(), machines, cpus];
    }
    let part = |count: u64| count as f64 / room.total as f64;
    let percent = |count: u64| format!("{:.0} %", part(count) * 100.0);
    vec![
        room.name.clone(),
        bar(24, part(room.used.saturating_sub(room.freed)), part(room.added)),
        percent(room.used),
        format!("{} of {}", percent(room.used_after()), format_bytes(room.total)),
        machines,
        cpus,
    ]
}

fn pool_row(pool: &PoolRoom) -> Vec<String> {
    let total = pool.total.max(1) as f64;
    let used = pool.total.saturating_sub(pool.available);
    let on = if pool.node.is_empty() { "all nodes".to_owned() } else { pool.node.clone() };
    let room = pool.available + pool.freed;
    let after = room.saturating_sub(pool.added);
    let short = pool.added.saturating_sub(room);
    let left =
        if short > 0 { format!("{} too little", format_bytes(short)) } else { format!("{} free", format_bytes(after)) };
    vec![
        pool.name.clone(),
        on,
        bar(24, used.saturating_sub(pool.freed) as f64 / total, pool.added as f64 / total),
        format!("{} free", format_bytes(pool.available)),
        left,
    ]
}
