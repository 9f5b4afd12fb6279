//! The actual state as pure data, parsed from the output of Omni, Proxmox and Docker.

pub mod certificate;
pub mod cluster;
pub mod docker;
pub mod machines;
pub mod omni;
pub mod proxmox;
pub mod snapshot;
pub mod sync;

#[cfg(test)]
#[path = "../../../tests/recorded.rs"]
pub(crate) mod testing;
