//! The sections *Current Status* and *Next Steps* of the state file, generated from its front matter.

use crate::state::State;

/// The texts of *Current Status* and *Next Steps*.
pub fn sections(state: &State) -> (String, String) {
    let classes = state.list("machine_classes");
    let clusters = state.list("clusters");
    let configured = state.get("provider_configured").as_deref() == Some("true");
    let mut status = Vec::new();
    if let Some(endpoint) = state.get("omni_endpoint") {
        status.push(format!("- Omni: {endpoint}"));
    }
    if let Some(endpoint) = state.get("proxmox_endpoint") {
        status.push(format!("- Proxmox: {endpoint}"));
    }
    let id = state.get("provider_id").unwrap_or_else(|| "proxmox".to_owned());
    match (configured, state.get("provider_configured_at")) {
        (true, Some(at)) => status.push(format!("- Provider `{id}`: configured on {at}")),
        (true, None) => status.push(format!("- Provider `{id}`: configured")),
        (false, _) => status.push(format!("- Provider `{id}`: not configured")),
    }
    if let (Some(health), Some(at)) = (state.get("provider_status"), state.get("last_checked")) {
        status.push(format!("- Provider health: {health}, checked on {at}"));
    }
    for (what, names) in [("Machine classes in Omni", &classes), ("Clusters", &clusters)] {
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            status.push(format!("- {what}: {}", names.join(", ")));
        }
    }
    let next = if !configured {
        "- `cargo xtask provider-setup`: connect Omni to Proxmox".to_owned()
    } else if classes.is_empty() {
        "- `cargo xtask machineclass-create --apply`: write a machine class and apply it to Omni".to_owned()
    } else if clusters.is_empty() {
        "- `cargo xtask cluster-create`: create the first cluster".to_owned()
    } else {
        let which = if let [one] = clusters.as_slice() { one } else { "--all" };
        format!(
            "- `cargo xtask cluster-status`: show the clusters\n- `cargo xtask cluster-sync {which}`: apply changed templates to Omni"
        )
    };
    (status.join("\n"), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_step_depends_on_the_state() {
        let mut state = State::default();
        assert!(sections(&state).1.contains("provider-setup"));
        state.set("provider_configured", true);
        assert!(sections(&state).1.contains("machineclass-create"));
        state.add_to_list("machine_classes", "dev");
        assert!(sections(&state).1.contains("cluster-create"));
        state.add_to_list("clusters", "c");
        let (status, next) = sections(&state);
        assert!(next.contains("`cargo xtask cluster-sync c`"), "{next}");
        state.add_to_list("clusters", "d");
        assert!(sections(&state).1.contains("`cargo xtask cluster-sync --all`"));
        assert!(next.contains("cluster-status") && status.contains("- Clusters: `c`"), "{status}");
    }
}
