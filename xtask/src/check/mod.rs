//! What is wrong with what is wanted: pure functions from values to findings, each with a rule, a place and a fix.

pub mod certificate;
pub mod diagnosis;
pub mod finding;
pub mod grant;
pub mod hub;
pub mod oidc;
pub mod store_key;

pub use finding::{Finding, Severity};
