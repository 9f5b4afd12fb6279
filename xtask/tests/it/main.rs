//! The real binary in a sandbox.
mod cel_truth;
