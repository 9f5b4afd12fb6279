//! The far ends, simulated.

pub mod clock;
pub mod http;
pub mod omni;
pub mod provider;
pub mod tls;
