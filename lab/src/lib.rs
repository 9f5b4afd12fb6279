//! The far ends, simulated.

pub mod cel;
pub mod clock;
pub mod http;
pub mod omni;
pub mod pattern;
pub mod provider;
pub mod tls;
