//! What is there, as pure data made of what the far ends printed.

pub mod certificate;
pub mod cluster;
pub mod docker;
pub mod omni;
pub mod proxmox;
pub mod sync;

#[cfg(test)]
#[path = "../../../tests/recorded.rs"]
pub(crate) mod testing;
