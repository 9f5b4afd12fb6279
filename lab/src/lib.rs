//! The far ends, simulated.

pub mod clock;
pub mod http;
pub mod proxmox;
pub mod tls;
