//! Contributors' tasks, one file per task, and the generated pages.

pub mod changelog;
pub mod changelog_bump;
pub mod ci;
pub mod commit_check;
pub mod docs;
pub mod hooks_install;
pub mod infisical_scan;
pub mod markdown_fix;
pub mod markdown_lint;
pub mod pages;
pub mod pre_commit_run;
mod program;
pub mod staged_check;
