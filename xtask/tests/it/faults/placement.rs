//! Faults of where machines go.

use super::fault_case::says;

fault_cases! {
    proxmox_node_offline "proxmox-node-offline": says(&["2 of 3 nodes online", "pve3"]);
    placement_node_gone "placement-node-gone": says(&["specified node \"pve1\" not found in cluster", "at pickNode"])
        .hints(&["pve-node-unknown", "cargo xtask proxmox-inventory"])
        .changes(&["clusters/rehearsal.yaml"]);
    placement_no_memory "placement-no-memory": says(&["cannot fit", "of memory", "too little"]).hints(&["fewer or smaller machines"]);
    placement_vmid_taken "placement-vmid-taken": says(&["Running and ready, 2 machines"])
        .changes(&["clusters/rehearsal.yaml", ".claude/omni-scale.local.md"])
        .then(|lab| {
            lab.run("provider-status").exits(0).says(&["the provider runs: Up"]);
            let found = lab.dump();
            let names = found["proxmox"]["vms"].as_array().unwrap().iter().map(|vm| vm["name"].as_str().unwrap().to_owned());
            let names: Vec<String> = names.collect();
            assert_eq!(names.iter().filter(|name| name.starts_with("rehearsal-")).count(), 2, "{names:?}");
            assert_eq!(names.len(), 3, "the other client's machine stays: {names:?}");
        });
}
