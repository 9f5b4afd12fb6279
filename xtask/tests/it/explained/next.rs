//! Where the `next` of each read-only task leads on a site with a fault: to `cluster-explain` or its advice, in few steps.

use serde_json::Value;

use super::{append_row, explained, for_each, machines, start_with};
use crate::faults::table;

const TASKS: [&str; 6] =
    ["cluster-status", "provider-status", "provider-verify", "doctor", "cluster-plan", "cluster-sync --all --dry-run"];

/// Maximum number of tasks until one of them names it.
const STEPS: usize = 2;

fn next(document: &Value) -> Vec<String> {
    let list = document["next"].as_array().into_iter().flatten();
    list.filter_map(|next| next.as_str().map(str::to_owned)).collect()
}

#[test]
fn next_leads_to_the_cause_and_never_in_a_circle() {
    let default = "machine-vm-stopped,machine-vm-deleted,machine-silent,provider-stopped,proxmox-storage-full,\
                   docker-sidecar-died,tailnet-logged-out,image-download-failed,provider-key-expired,cluster-locked";
    let only = std::env::var("NEXT").unwrap_or_else(|_| default.to_owned());
    let chosen = |name: &str| only == "all" || only.split(',').any(|only| only == name);
    let faults: Vec<_> = table().iter().filter(|fault| !fault.causes.is_empty() && chosen(&fault.name)).collect();
    for_each(&faults, |fault| {
        let lab = start_with(fault);
        let advised = next(&explained(&lab).0);
        let word = |line: &str| line.split(' ').take(3).collect::<Vec<_>>().join(" ");
        let there = |next: &String| {
            next.starts_with("cargo xtask cluster-explain") || advised.iter().any(|one| word(one) == word(next))
        };
        let run = |line: &str| lab.run(&format!("{line} --json --non-interactive --timeout 5s")).json();
        let clusters = !machines(&lab.dump()).is_empty();
        let mut lost = Vec::new();
        for task in TASKS.iter().filter(|task| clusters || !task.starts_with("cluster-")) {
            let mut path = vec![(*task).to_owned()];
            let mut found = next(&run(task));
            while path.len() < STEPS && !found.iter().any(there) {
                let Some(first) = found.first().and_then(|first| first.strip_prefix("cargo xtask ")) else { break };
                path.push(first.to_owned());
                found = next(&run(first));
            }
            if !found.iter().any(there) {
                lost.push(format!("{} > {found:?}", path.join(" > ")));
            }
        }
        append_row("NEXT_TABLE", &format!("{}\t{}\tadvised {advised:?}", fault.name, lost.join(" | ")));
        match lost.is_empty() {
            true => Ok(()),
            false => Err(format!("{}: {}\n  advised: {advised:?}", fault.name, lost.join("\n  "))),
        }
    });
}
