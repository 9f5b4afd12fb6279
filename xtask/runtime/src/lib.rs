//! All side effects: processes, files, the terminal, and one adapter per program.
//!
//! Only [`proc`] starts processes, only [`files`] writes files, and only [`ui`] prints. [`tool`] knows the arguments and the
//! output of each program. A task gets all of it as a [`cx::Cx`].

pub mod answers;
pub mod bundle;
pub mod called;
pub mod cx;
pub mod files;
pub mod parallel;
pub mod paths;
pub mod proc;
#[cfg(test)]
#[path = "../../tests/recorded.rs"]
mod recorded;
pub mod settings;
pub mod state;
pub mod summary;
pub mod tool;
pub mod triage;
pub mod ui;
pub mod wait;
