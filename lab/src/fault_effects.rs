//! The effects of faults on the simulated services. Permanent faults are applied when the lab starts. Temporary faults answer
//! a request, end a task, or do what somebody might do by hand at a bad moment.

mod accounts;
mod omni_stack;
mod proxmox;

pub use accounts::env_keys;
pub use omni_stack::{
    before_call, disturb_compared_cluster, end_stopped_faults, is_provider_stopped, is_stopped_by_hand, leaf,
    log_refused_login, pull_error, stall_stage, start_error, tls_cause,
};
pub use proxmox::{RequestEffect, TaskEffect};

use serde_json::{Value, json};

use crate::faults::Faults;
use crate::omni::Omni;
use crate::omni::names::{EPHEMERAL, SYS_VERSION, TALOS_VERSION};
use crate::omni::resource::Key;
use crate::omni::state::State;
use crate::omni::{machines, versions};
use crate::proxmox::Proxmox;

/// The faults that a simulated program implements itself: each call receives the names of those that occur.
const OF_OMNICTL: &[&str] =
    &["omnictl-hangs", "omnictl-version-differs", "omnictl-newer-than-omni", "omnictl-drops-keys"];
const OF_DOCKER: &[&str] = &["docker-down", "docker-denied", "docker-no-compose", "docker-compose-old"];

/// Returns the faults that occur in this call of a simulated program.
pub fn faults_of_tool(faults: &Faults, program: &str) -> Vec<String> {
    let own = if program == "omnictl" { OF_OMNICTL } else { OF_DOCKER };
    own.iter().filter(|name| faults.hit(name)).map(|name| (*name).to_owned()).collect()
}

/// Applies the permanent effect of a fault, or reverts it.
pub fn set_fault<'a>(fault: &str, on: bool, faults: &Faults, omni: &Omni, sites: impl Iterator<Item = &'a Proxmox>) {
    omni.with(|state| match fault {
        "omni-eula" => state.eula_accepted = !on,
        "omnictl-api-mismatch" => api_version(faults, state),
        "omni-no-talos-versions" | "talos-not-offered" | "cluster-kubernetes-refused" => {
            if !on {
                versions::fill(state);
            }
            offer_versions(faults, state);
        }
        "provider-half-made" if on => accounts::create_provider(state, "proxmox"),
        _ if on => {}
        "cluster-locked" => omni_stack::unlock_all(state),
        "machine-silent"
        | "machine-never-joins"
        | "network-mtu"
        | "cluster-bootstrap-stalls"
        | "upgrade-machine-lost"
        | "upgrade-drain-blocked" => machines::end_faults(state),
        _ => {}
    });
    sites.for_each(|site| site.with(|world| proxmox::set_fault(fault, on, world)));
}

/// Sets the API version that Omni reports to omnictl.
fn api_version(faults: &Faults, state: &mut State) {
    let version = if faults.has("omnictl-api-mismatch") { 3 } else { 2 };
    state.store.set(&Key::new(SYS_VERSION, EPHEMERAL, "current"), "backendapiversion", json!(version));
}

/// Ends the faults of a wrong omnictl: one that is downloaded from this Omni matches it.
pub fn end_omnictl_faults(faults: &Faults, omni: &Omni) {
    faults.end("omnictl-api-mismatch");
    OF_OMNICTL.iter().filter(|name| **name != "omnictl-hangs").for_each(|name| _ = faults.end(name));
    omni.with(|state| api_version(faults, state));
}

/// Removes the Talos and Kubernetes versions that faults withhold.
fn offer_versions(faults: &Faults, state: &mut State) {
    let all: Vec<String> = state.store.list(TALOS_VERSION, "default").map(|found| found.md.id.clone()).collect();
    // The version that operators get by default: the newest of this Omni.
    let default = all.iter().max_by_key(|version| versions::parse(version)).cloned().unwrap_or_default();
    for id in all {
        let key = Key::new(TALOS_VERSION, "default", &id);
        if faults.has("omni-no-talos-versions") || (faults.has("talos-not-offered") && id == default) {
            state.store.remove(&key);
        }
        if faults.has("cluster-kubernetes-refused") && id == default {
            let newest = |version: &Value| version.as_str().is_some_and(|text| text.starts_with("1.36."));
            state.store.modify(&key, |found| {
                if let Some(list) = found.spec["compatiblekubernetesversions"].as_array_mut() {
                    list.retain(|version| !newest(version));
                }
            });
        }
    }
}
