//! The checks over whole files, as the library makes them: corpora with the answers of the real programs, and every rule.

// Tests rewrite their own corpora.
#![allow(clippy::disallowed_methods)]

mod convert;
mod corpus;
mod editors;
mod patches;
mod rules;
mod versions;
