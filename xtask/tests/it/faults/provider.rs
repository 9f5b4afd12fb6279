//! Faults of the infrastructure provider.

use super::fault_case::says;

/// What a set-up leaves that cannot prove the registration: everything, so that the next run goes on; no state.
const WRITTEN: &[&str] = &["docker/.env", "docker/config.yaml"];

fault_cases! {
    provider_never_registers "provider-never-registers": says(&["the registration of the provider `proxmox`", "it has never registered"])
        .hints(&["whether OMNI_ENDPOINT can be reached", "cargo xtask provider-status"])
        .changes(WRITTEN);
    provider_crashes "provider-crashes": says(&["controller runtime watch error", "provider-watch-lost"])
        .changes(&[".claude/omni-scale.local.md"]);
    provider_stopped "provider-stopped": says(&["cluster `rehearsal` cannot go on", "the provider `proxmox`: its container does not run: Exited (0)"])
        .hints(&["start it", "cargo xtask stack-up", "cargo xtask cluster-status rehearsal"])
        .changes(&["clusters/rehearsal.yaml"])
        .then(|lab| {
            let verify = lab.run("provider-verify --json").exits(1).json();
            let registration = verify["steps"].as_array().unwrap().iter().find(|step| step["id"] == "registration").unwrap();
            assert_eq!(registration["status"], "warning", "{verify:#}");
            assert!(registration["detail"].as_str().unwrap().contains("its container does not run: Exited"), "{verify:#}");
        });
    provider_omni_version "provider-omni-version": says(&["the provider does not stay up", "unknown service cosi.resource.State"])
        .hints(&["the versions are not compatible", "docker diff compose.yaml"])
        .changes(WRITTEN);
}
