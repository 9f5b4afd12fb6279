//! The real binary in a sandbox.
