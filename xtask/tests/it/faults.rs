//! Every fault of the lab's table, with the real task: `tests/transcripts/faults/NAME.txt` contains the task's output, its exit
//! code and the files that it changes, and the results of the tasks after it.
//!
//! The steps that lead to a fault and the expected exit code are in the lab's own table (`lab/data/faults.yaml`), so a rehearsal
//! behaves as tested here.

mod rehearsed;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::OnceLock;

use runtime::tool::lab::faults::Fault;

use crate::sandbox::lab_program;
use crate::transcripts::{listed, transcripts};

transcripts! { "faults/":
    omnictl_missing omnictl_hangs omnictl_api_mismatch omnictl_version_differs omnictl_newer_than_omni omnictl_drops_keys
    omni_unreachable omni_unhealthy omni_html omni_eula omni_unknown_ca omni_certificate_expired omni_certificate_name omni_key_passphrase omni_other_key omni_no_tun omni_issuer_unreachable omni_store_full
    key_wrong_role key_expired key_unknown key_shadowed provider_key_wrong_kind provider_key_expired provider_key_ending provider_id_case provider_half_made
    docker_down docker_denied docker_no_compose docker_compose_old docker_image_missing docker_disk_full docker_port_taken docker_address_not_here docker_no_tun docker_sidecar_died docker_sidecar_unhealthy sidecar_key_expired
    tailnet_name_taken tailnet_logged_out tailnet_key_expires tailnet_no_magicdns
    tsidp_unreachable tsidp_renamed tsidp_email_unverified tsidp_admin_open
    provider_never_registers provider_crashes provider_before_omni provider_stopped provider_omni_version
    proxmox_unauthorized proxmox_self_signed proxmox_hangs proxmox_web_page proxmox_no_quorum
    proxmox_download_forbidden permission_privsep permission_bridge permission_upload permission_iso_delete permission_no_memory permission_vm_admin permission_storage_hidden
    proxmox_storage_full storage_one_node storage_no_images storage_offline storage_two_iso storage_no_iso storage_second_pool
    image_factory_unreachable image_download_failed image_storage_full image_slow omni_no_talos_versions talos_not_offered
    proxmox_node_offline placement_node_gone placement_no_memory placement_vmid_taken
    network_bridge_missing network_omni_name network_proxmox_name network_mtu dns_tailnet_address dns_two_addresses dns_no_name
    proxmox_create_fails machine_no_kvm machine_task_warns machine_never_joins machine_silent machine_vm_stopped machine_vm_deleted machine_all_dead machine_locked machine_in_ha
    cluster_sync_cut cluster_locked cluster_delete_stuck cluster_bootstrap_stalls cluster_kubernetes_refused
    upgrade_machine_lost upgrade_drain_blocked
    services_slow time_clock_skew time_proxmox_clock time_certificate_early
}

/// Returns the lab's table of faults.
pub fn table() -> &'static [Fault] {
    static TABLE: OnceLock<Vec<Fault>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let output = Command::new(lab_program()).arg("faults").output().expect("the lab runs");
        serde_json::from_slice(&output.stdout).expect("a table")
    })
}

#[test]
fn every_fault_has_a_transcript_and_a_test() {
    let of_table: BTreeSet<String> = table().iter().map(|fault| fault.name.replace('-', "_")).collect();
    assert!(of_table.len() >= 60, "{} faults", of_table.len());
    assert_eq!(of_table, NAMES.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    assert_eq!(of_table, listed("faults"));
}
