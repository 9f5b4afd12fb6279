//! Faults of storages.

use super::fault_case::says;

const TEMPLATE: &[&str] = &["clusters/rehearsal.yaml"];

fault_cases! {
    proxmox_storage_full "proxmox-storage-full": says(&["the task qmcreate", "free space in thin pool pve/data reached threshold"])
        .hints(&["storage-thin-full", "omnictl delete machinerequest rehearsal-"])
        .changes(TEMPLATE);
    storage_one_node "storage-one-node": says(&["local-lvm on pve2 matches and is disabled or not active", "local-lvm on pve3"]);
    storage_no_images "storage-no-images": says(&["local-lvm on pve1 matches and does not hold VM images"]);
    storage_offline "storage-offline": says(&["vm_ssd on pve1 matches and is disabled or not active"]);
    storage_two_iso "storage-two-iso": says(&["iso-nfs and local all take ISO images on pve1, pve2, pve3", "let its login see one alone"]);
    storage_no_iso "storage-no-iso": says(&["unable to find the item you are looking for", "at uploadISO"])
        .hints(&["storage-no-iso", "Enable iso on exactly one storage of every node"])
        .changes(TEMPLATE);
    storage_second_pool "storage-second-pool": says(&["local-lvm", "slow-lvm", "pve1"]);
}
