//! Which Kubernetes goes with which Talos.

/// The first and the last minor of Kubernetes 1.x that a minor of Talos 1.x supports
/// (siderolabs/talos pkg/machinery v1.14.0-alpha.1 compatibility/talos1NN).
pub fn kubernetes_of_talos(minor: u64) -> Option<(u64, u64)> {
    match minor {
        8 => Some((26, 31)),
        9..=14 => Some((minor + 18, minor + 23)),
        _ => None,
    }
}
