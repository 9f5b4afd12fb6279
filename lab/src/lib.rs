//! The simulated services: Proxmox VE, Omni, its provider, omnictl and docker.

pub mod clock;
pub mod daemon;
pub mod dns;
pub mod dump;
pub mod fault_effects;
pub mod faults;
pub mod fill;
pub mod go_errors;
pub mod http;
pub mod omni;
pub mod provider;
pub mod proxmox;
pub mod selector;
pub mod site;
pub mod tls;
pub mod tools;
