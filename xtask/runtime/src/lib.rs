//! Everything that touches the world: processes, files, the terminal, and one adapter per program.
//!
//! [`proc`] is the only place that starts a process, [`files`] the only one that writes, [`ui`] the only one that speaks;
//! [`tool`] holds what each program is called with and what it answers. A task gets all of it as a [`cx::Cx`].

pub mod answers;
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
#[cfg(test)]
mod testing;
pub mod tool;
pub mod triage;
pub mod ui;
pub mod wait;
