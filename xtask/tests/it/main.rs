//! The real binary in a sandbox.
mod cel_truth;
mod check_bench;
mod check_corpus;
