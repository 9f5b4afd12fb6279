//! What is wrong with what is wanted: pure functions from values to findings, each with a rule, a place and a fix.

pub mod cel;
pub mod convert;
pub mod finding;
pub mod labels;
pub mod machine_class;
pub mod patch;
pub mod provider_data;
pub mod provider_keys;
pub mod rules;
pub mod schema;
pub mod template;
pub mod verdict;
pub mod versions;

pub use finding::{Finding, Severity};
pub use rules::{RULES, Rule};
pub use verdict::{Checked, Verdict};
