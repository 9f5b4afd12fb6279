//! Faults of the token's rights.

use super::fault_case::says;

fault_cases! {
    proxmox_download_forbidden "proxmox-download-forbidden": says(&["lacks 3 privileges", "Sys.AccessNetwork on /nodes/pve1"])
        .hints(&["run the script in `data.script` as root"]);
    permission_privsep "permission-privsep": says(&["omni@pve!provider lacks", "separated from its user"])
        .hints(&["run the script in `data.script` as root"]);
    permission_bridge "permission-bridge": says(&["lacks 1 privilege", "SDN.Use on /sdn/zones/localnetwork/vmbr0"])
        .hints(&["run the script in `data.script` as root"]);
    permission_upload "permission-upload": says(&["not authorized to access endpoint", "at uploadISO"])
        .hints(&["pve-not-authorized", "cargo xtask proxmox-audit"])
        .changes(&["clusters/rehearsal.yaml"])
        .then(|lab| drop(lab.run("proxmox-audit").exits(1).says(&["Datastore.AllocateTemplate", "pveum"])));
    permission_iso_delete "permission-iso-delete": says(&["Datastore.Allocate on /storage/local"])
        .hints(&["run the script in `data.script` as root"]);
    permission_no_memory "permission-no-memory": says(&["lacks 3 privileges", "Sys.Audit on /nodes/pve3"])
        .hints(&["run the script in `data.script` as root"]);
    permission_vm_admin "permission-vm-admin": says(&["lacks 9 privileges", "Datastore.AllocateTemplate on /storage/local"])
        .hints(&["run the script in `data.script` as root"]);
    permission_storage_hidden "permission-storage-hidden": says(&["the selector matches no storage on any node"]).hints(&["may not see"]);
}
