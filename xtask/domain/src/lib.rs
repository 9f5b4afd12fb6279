//! What is wanted and what is there, as data. Nothing here starts a process, opens a file or a connection.
//!
//! [`spec`] is what is wanted (bytes become typed values with file:line:column), [`status`] what is there (what the
//! programs said). A crate of its own, so that it builds beside what the rest of the
//! runner waits for, and so that the compiler holds the line.

pub mod clock;
pub mod failure;
pub mod nearest;
pub mod place;
pub mod record;
pub mod releases;
pub mod secret;
pub mod spec;
pub mod status;
pub mod version;
pub mod words;
