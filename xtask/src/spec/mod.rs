//! What is wanted, as pure values: bytes go in, typed values with their places come out. No module here names a
//! process or the file system, so that everything which can be wrong about a file is tested in microseconds.

pub mod config;
pub mod decode;
pub mod env;
pub mod hujson;
pub mod key;
pub mod machine_class;
pub mod name;
pub mod nearest;
pub mod place;
pub mod provider_data;
pub mod template;
pub mod yaml;

pub use place::{At, Parsed, Place};
