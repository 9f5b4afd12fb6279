//! What is wrong with what is wanted: pure functions from values to findings, each with a rule, a place and a fix.

pub mod finding;
pub mod fit;
pub mod permissions;

pub use finding::{Finding, Severity};
