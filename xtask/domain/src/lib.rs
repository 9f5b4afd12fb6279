//! Desired and actual state as data. Nothing here starts a process or opens a file or connection.
//!
//! [`spec`] is the desired state (bytes parsed into typed values with file:line:column), [`status`] the actual state (parsed
//! program output). It is a separate crate so that the compiler enforces its purity.

pub mod backup;
pub mod clock;
pub mod failure;
pub mod log;
pub mod nearest;
pub mod placeholder;
#[cfg(test)]
#[path = "../../tests/planted.rs"]
mod planted;
pub mod releases;
pub mod saved_plan;
pub mod scrub;
pub mod secret;
pub mod spec;
pub mod status;
pub mod version;
pub mod words;
