//! The simulated Proxmox VE, asked over HTTPS as its clients ask the real one.
#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod calls;
mod fuzz;
#[path = "../harness/random.rs"]
mod random;
mod replay;
mod support;
