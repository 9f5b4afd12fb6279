//! Checks of the desired configuration: pure functions from values to findings, each with a rule, a location and a fix.

pub mod adopt;
pub mod capacity;
pub mod certificate;
pub mod convert;
pub mod diagnosis;
pub mod drift;
pub mod editors;
pub mod explain;
pub mod fleet;
pub mod grant;
pub mod labels;
pub mod machine_class;
pub mod oidc;
pub mod patch;
pub mod permissions;
pub mod provider_data;
pub mod provider_keys;
#[cfg(test)]
#[path = "../../tests/recorded.rs"]
mod recorded;
pub mod releases;
pub mod replacement;
mod report;
pub mod rules;
pub mod schema;
pub mod site;
pub mod stack;
mod talos;
pub mod template;
pub mod timeline;
pub mod upgrade;
pub mod values;
pub mod verdict;

pub use domain::placeholder;
pub use rules::{RULES, Rule};
pub use verdict::{FileCheck, Verdict};
