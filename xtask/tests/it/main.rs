//! The real binary in a sandbox.
mod cel_truth;
mod check_bench;
mod check_convert;
mod check_corpus;
mod check_editors;
mod check_rules;
