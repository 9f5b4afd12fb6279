//! Every fault of the lab's table, met by the real task: what it says of the cause, what it says to do, with which code
//! it ends, and what it leaves behind.
//!
//! A group has a file, a fault a line or two in it: `fault_cases!` makes a test of each, and `every_fault_has_a_test` compares
//! their names with `lab faults`. What leads to a fault and the exit code that is due stand in the lab's own table
//! (`lab/data/faults.yaml`), so that a rehearsal meets what is tested here.

#[macro_use]
pub mod fault_case;

mod clusters;
mod docker;
mod image;
mod keys;
mod machines;
mod network;
mod omni;
mod permissions;
mod placement;
mod provider;
mod proxmox;
mod rehearsed;
mod storage;
mod tailnet;
mod time;
mod tools;
mod tsidp;

use std::collections::BTreeSet;

/// The tests of each group.
const TESTED: &[(&str, &[&str])] = &[
    ("tools", tools::TESTED),
    ("omni", omni::TESTED),
    ("keys", keys::TESTED),
    ("docker", docker::TESTED),
    ("tailnet", tailnet::TESTED),
    ("tsidp", tsidp::TESTED),
    ("provider", provider::TESTED),
    ("proxmox", proxmox::TESTED),
    ("permissions", permissions::TESTED),
    ("storage", storage::TESTED),
    ("image", image::TESTED),
    ("placement", placement::TESTED),
    ("network", network::TESTED),
    ("machines", machines::TESTED),
    ("clusters", clusters::TESTED),
    ("time", time::TESTED),
];

#[test]
fn every_fault_has_a_test() {
    let of_table: BTreeSet<(&str, &str)> =
        fault_case::table().iter().map(|fault| (fault.group.as_str(), fault.name.as_str())).collect();
    let tested: BTreeSet<(&str, &str)> =
        TESTED.iter().flat_map(|(group, names)| names.iter().map(move |name| (*group, *name))).collect();
    assert!(of_table.len() >= 60, "{} faults", of_table.len());
    assert_eq!(of_table, tested, "left: the lab's table, right: the tests");
}
