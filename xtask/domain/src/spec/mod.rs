//! What is wanted, as pure values: bytes go in, typed values with their places come out. No module here names a
//! process or the file system, so that everything which can be wrong about a file is tested in microseconds.

pub mod config;
pub mod decode;
pub mod env;
mod finding;
pub mod hujson;
pub mod json;
pub mod key;
pub mod machine_class;
pub mod name;
pub mod provider_data;
pub mod size;
pub mod store_key;
pub mod template;
pub mod yaml;

pub use crate::place::{Location, Position};
pub use finding::{Finding, Parsed, Severity};
