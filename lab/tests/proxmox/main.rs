//! Tests the simulated Proxmox VE over HTTPS, as clients use the real one.
#![allow(clippy::unwrap_used)] // a test that cannot continue should panic

mod calls;
mod fuzz;
#[path = "../harness/random.rs"]
mod random;
mod replay;
mod support;
