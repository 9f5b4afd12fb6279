//! The desired state as pure values: parses bytes into typed values with positions. No module here starts processes or accesses
//! the file system, so that tests of invalid files run in microseconds.

pub mod config;
pub mod decode;
pub mod env;
pub mod hujson;
pub mod json;
pub mod key;
pub mod machine_class;
pub mod name;
pub mod provider_data;
pub mod size;
pub mod store_key;
pub mod template;

use yaml::Finding;

/// The result of parsing a file. `value` is set if anything useful could be parsed, even with errors, so that all findings are
/// reported together; callers that use the value must check for errors first.
#[derive(Debug, Clone)]
pub struct Parsed<T> {
    pub value: Option<T>,
    pub findings: Vec<Finding>,
}
