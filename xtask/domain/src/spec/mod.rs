//! What is wanted, as pure values: bytes go in, typed values with their places come out. No module here names a
//! process or the file system, so that everything which can be wrong about a file is tested in microseconds.

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

/// The result of parsing a file. `value` is set if anything useful could be read, even with errors, so that all findings are
/// reported together; a caller that acts on the value looks for errors first.
#[derive(Debug, Clone)]
pub struct Parsed<T> {
    pub value: Option<T>,
    pub findings: Vec<Finding>,
}
