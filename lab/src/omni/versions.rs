//! The Talos and Kubernetes versions that Omni offers, and which are compatible.

use serde_json::{Value, json};

use super::kinds::OmniRelease;
use super::names::*;
use super::resource::Key;
use super::state::State;

/// A sample of the Talos versions of 1.9.3 and 1.10.6: the image factory's, from the oldest supported (1.9.0) to the cap (1.13).
const TALOS: &[&str] = &[
    "1.9.0", "1.9.5", "1.10.0", "1.10.9", "1.11.0", "1.11.6", "1.12.0", "1.12.1", "1.12.7", "1.13.0", "1.13.2",
    "1.13.4", "1.13.5", "1.13.8", "1.13.9", "1.13.13",
];
/// A sample of the Kubernetes versions of each minor release.
const KUBERNETES: &[&str] = &[
    "1.27.16", "1.28.15", "1.29.15", "1.30.0", "1.30.14", "1.31.0", "1.31.14", "1.32.0", "1.32.13", "1.33.1",
    "1.33.11", "1.34.0", "1.34.1", "1.34.7", "1.35.0", "1.35.4", "1.36.0", "1.36.2", "1.36.3",
];
/// A sample of system extensions, the same for every Talos version here.
const EXTENSIONS: &[&str] = &["iscsi-tools", "qemu-guest-agent", "tailscale", "util-linux-tools"];
/// The versions in the recordings of 1.4.9.
const OLD_TALOS: &[&str] = &["1.12.1"];
const OLD_KUBERNETES: &[&str] = &["1.33.1", "1.34.0", "1.34.1", "1.35.0"];

/// Returns the default Talos and Kubernetes versions of a new cluster, without `v` (client/pkg/constants and
/// internal/pkg/constants: `DefaultTalosVersion`, `DefaultKubernetesVersion`; for 1.4.9 those of the recordings).
pub fn defaults(release: OmniRelease) -> (String, String) {
    let (talos, kubernetes) = match release {
        OmniRelease::V1_4_9 => ("1.12.1", "1.35.0"),
        OmniRelease::V1_9_3 => ("1.13.5", "1.36.2"),
        OmniRelease::V1_10_6 => ("1.13.8", "1.36.3"),
    };
    (talos.to_owned(), kubernetes.to_owned())
}

/// Parses a version such as `1.13.5` into major, minor and patch, with or without `v`; missing parts are 0.
pub fn parse(version: &str) -> Option<(u64, u64, u64)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let mut part = || parts.next().map_or(Some(0), |text| text.parse().ok());
    Some((part()?, part()?, part()?))
}

/// Returns true if Talos supports this Kubernetes version: it supports six minor releases, up to 1.32 in Talos 1.9 and up to
/// 1.36 in 1.13 (siderolabs/talos pkg/machinery/compatibility).
fn fits(talos: &str, kubernetes: &str) -> bool {
    let (Some((_, talos, _)), Some((_, kubernetes, _))) = (parse(talos), parse(kubernetes)) else { return false };
    let newest = talos + 23;
    (newest - 5..=newest).contains(&kubernetes)
}

/// Adds the versions to a new Omni.
pub fn fill(state: &mut State) {
    let (talos, kubernetes) = if state.release.old() { (OLD_TALOS, OLD_KUBERNETES) } else { (TALOS, KUBERNETES) };
    for version in talos {
        let compatible: Vec<&str> = kubernetes.iter().copied().filter(|k8s| fits(version, k8s)).collect();
        let (_, minor, _) = parse(version).unwrap_or_default();
        // A machine can be moved within its own minor release or to an adjacent one.
        let upgradable: Vec<&str> = talos
            .iter()
            .copied()
            .filter(|other| other != version && parse(other).is_some_and(|(_, found, _)| found.abs_diff(minor) <= 1))
            .collect();
        let spec = json!({"version": version, "compatiblekubernetesversions": compatible,
            "upgradabletalosversions": upgradable});
        let made = state.make(TALOS_VERSION, DEFAULT, version, spec).with_owner("VersionsController");
        state.store.put(made);
        state.store.add_finalizers(&Key::new(TALOS_VERSION, DEFAULT, version), ["TalosExtensionsController"]);
        let items: Vec<Value> = EXTENSIONS.iter().map(|name| json!({"name": format!("siderolabs/{name}")})).collect();
        let made = state.make(TALOS_EXTENSIONS, DEFAULT, version, json!({"items": items}));
        state.store.put(made.with_owner("TalosExtensionsController"));
    }
    for version in kubernetes {
        let made = state.make(KUBERNETES_VERSION, DEFAULT, version, json!({"version": version}));
        state.store.put(made.with_owner("VersionsController"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_versions_are_compatible() {
        assert!(fits("1.13.5", "1.36.2"));
        assert!(!fits("1.12.1", "1.36.2"));
        assert!(!fits("1.13.5", "1.30.0"));
        assert!(fits("1.9.0", "1.27.16"));
        for release in [OmniRelease::V1_4_9, OmniRelease::V1_9_3, OmniRelease::V1_10_6] {
            let (talos, kubernetes) = defaults(release);
            let state = State::new(release, 1, 0);
            let offered =
                state.store.by_id(TALOS_VERSION, &talos).map(|found| &found.spec["compatiblekubernetesversions"]);
            assert!(offered.is_some_and(|list| list.as_array().unwrap().contains(&kubernetes.as_str().into())));
        }
        let state = State::new(OmniRelease::V1_4_9, 1, 0);
        let version = state.store.by_id(TALOS_VERSION, "1.12.1").unwrap();
        assert_eq!(version.spec["compatiblekubernetesversions"], json!(OLD_KUBERNETES));
        assert_eq!(version.md.version, 2);
    }
}
