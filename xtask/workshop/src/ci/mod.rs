//! What contributors and pipelines check: a table of named checks (`table`), run by `cargo xtask ci`, each with its fix.
//!
//! What is ours to decide is pure and tested on planted faults: `commit`, `guard`, `links`, `architecture`, `pages`.
//! What others know better is left to their programs (`program`): rustfmt, clippy, markdownlint, shellcheck,
//! cargo-deny.

pub mod architecture;
pub mod commit;
pub mod guard;
pub mod links;
pub mod outside;
mod own;
pub mod pages;
pub mod program;
pub mod repo;
pub mod table;
pub mod verdict;
