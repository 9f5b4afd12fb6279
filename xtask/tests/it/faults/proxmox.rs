//! Faults of Proxmox's API.

use super::fault_case::says;

/// The template stays and a sync goes on from it.
const TEMPLATE: &[&str] = &["clusters/rehearsal.yaml"];

fault_cases! {
    proxmox_unauthorized "proxmox-unauthorized": says(&["refuses the token omni@pve!provider", "401 authentication failure"])
        .hints(&["pveum user token list"]);
    proxmox_self_signed "proxmox-self-signed": says(&["/api2/json/version is not trusted", "self-signed certificate"])
        .hints(&["/etc/pve/pve-root-ca.pem"]);
    proxmox_hangs "proxmox-hangs": says(&["no answer from https://127.0.0.1:", "in 10 s"]).hints(&["overloaded"]);
    proxmox_web_page "proxmox-web-page": says(&["is not a Proxmox API", "is not valid JSON (text/html)"])
        .hints(&["https://HOST:8006"]);
    proxmox_no_quorum "proxmox-no-quorum": says(&["cluster not ready - no quorum?", "at syncVM"])
        .hints(&["pve-no-quorum", "Start the nodes", "cargo xtask proxmox-inventory"])
        .changes(TEMPLATE);
}
