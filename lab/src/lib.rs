//! The far ends, simulated.

pub mod clock;
pub mod daemon;
pub mod dns;
pub mod dump;
pub mod faults;
pub mod faulty;
pub mod fill;
pub mod gonet;
pub mod http;
pub mod omni;
pub mod provider;
pub mod proxmox;
pub mod selector;
pub mod tls;
pub mod tools;
