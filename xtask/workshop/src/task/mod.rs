//! One file per task, named as the task.

pub mod changelog;
pub mod changelog_bump;
pub mod ci;
pub mod commit_check;
pub mod docs;
pub mod hooks_install;
pub mod infisical_scan;
pub mod lab_down;
pub mod lab_faults;
pub mod lab_up;
pub mod markdown_fix;
pub mod markdown_lint;
pub mod pre_commit_run;
mod program;
pub mod rehearse;
pub mod staged_check;

pub use xtask::task::Outcome;
