//! The real binary in a sandbox.

// Tests play the operator and the far ends: they start processes and write files as they like.
#![allow(clippy::disallowed_methods)]

mod hub;
