//! Faults of machines.

use super::fault_case::says;

const TEMPLATE: &[&str] = &["clusters/rehearsal.yaml"];

fault_cases! {
    proxmox_create_fails "proxmox-create-fails": says(&["the task qmcreate", "pve/data is out of metadata space"])
        .hints(&["storage-thin-metadata", "The provider never looks at this task again", "omnictl delete machinerequest rehearsal-"])
        .changes(TEMPLATE);
    machine_no_kvm "machine-no-kvm": says(&["the task qmstart", "KVM virtualisation configured, but not available"])
        .hints(&["machine-no-kvm", "omnictl delete machinerequest rehearsal-"])
        .changes(TEMPLATE);
    machine_task_warns "machine-task-warns": says(&["ended with `WARNINGS: 1`", "no efidisk configured"])
        .hints(&["machine-task-warned", "omnictl delete machinerequest rehearsal-"])
        .changes(TEMPLATE);
    machine_never_joins "machine-never-joins": says(&["the machine to join Omni", "rehearsal-control-planes-"])
        .hints(&["on its console in Proxmox", "8090/tcp and 50180/udp", "cargo xtask doctor"])
        .changes(TEMPLATE);
    machine_silent "machine-silent": says(&["1 of 2 machines ready", "rehearsal-workers-", "Omni has no connection to it"]);
    machine_vm_stopped "machine-vm-stopped": says(&["Running and ready", "\"running\":false", "the VM of `rehearsal-workers-", "on pve1 is stopped|on pve2 is stopped|on pve3 is stopped", "\"status\":\"failed\"", "is not ready: the VM of"])
        .hints(&["qm start 10"])
        .then(|lab| {
            let list = lab.run("cluster-status --json").exits(0).json();
            assert_eq!(list["data"]["clusters"][0]["running"], false, "{list:#}");
            assert!(list.to_string().contains("is stopped"), "{list:#}");
            let sync = lab.run("cluster-sync rehearsal --yes --timeout 30s").exits(1);
            sync.says(&["cannot go on: the VM of `rehearsal-workers-", "is stopped"]);
        });
    machine_all_dead "machine-all-dead": says(&["\"running\":false", "the VM of `rehearsal-control-planes-", "on pve1 is stopped|on pve2 is stopped|on pve3 is stopped", "\"status\":\"failed\""])
        .hints(&["qm start 100"]);
    machine_vm_deleted "machine-vm-deleted": says(&["1 of 2 machines ready", "rehearsal-workers-", "it does not exist in Proxmox any more", "\"status\":\"failed\""])
        .hints(&["omnictl delete machinerequest rehearsal-workers-"])
        .then(|lab| assert_eq!(lab.dump()["proxmox"]["vms"].as_array().unwrap().len(), 1));
    machine_locked "machine-locked": says(&["syncing", "the task qmstop", "VM is locked (backup)"])
        .hints(&["machine-vm-locked", "sync again to continue"])
        .changes(TEMPLATE);
    machine_in_ha "machine-in-ha": says(&["syncing", "used in HA resources"]).hints(&["machine-in-ha"]).changes(TEMPLATE);
}
