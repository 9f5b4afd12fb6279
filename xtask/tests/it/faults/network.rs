//! Faults of networks and names.

use super::fault_case::says;

const TEMPLATE: &[&str] = &["clusters/rehearsal.yaml"];

fault_cases! {
    network_bridge_missing "network-bridge-missing": says(&["the task qmstart", "on pve", "bridge 'vmbr0' does not exist"])
        .hints(&["machine-bridge-missing", "Create the bridge on every node", "omnictl delete machinerequest rehearsal-"])
        .changes(TEMPLATE);
    network_omni_name "network-omni-name": says(&["the provider does not stay up", "produced zero addresses"])
        .hints(&["name servers of the sidecar's network", "cargo xtask stack-up --recreate"])
        .changes(&["docker/.env", "docker/config.yaml"]);
    network_proxmox_name "network-proxmox-name": says(&["lookup localhost on 127.0.0.11:53: no such host", "at pickNode"])
        .hints(&["pve-name-unknown"])
        .changes(TEMPLATE);
    dns_tailnet_address "dns-tailnet-address": says(&["network.dns", "100.101.102.103"]).hints(&["resolve OMNI_DOMAIN to OMNI_LAN_ADDRESS"]);
    dns_two_addresses "dns-two-addresses": says(&["network.dns", "100.101.102.103"]);
    dns_no_name "dns-no-name": says(&["network.dns"]).hints(&["resolve OMNI_DOMAIN to OMNI_LAN_ADDRESS"]);
    network_mtu "network-mtu": says(&["the machine to be ready (installing)", "rehearsal-control-planes-"])
        .hints(&["drops large frames (MTU)", "omnictl machine-logs"])
        .changes(TEMPLATE);
}
