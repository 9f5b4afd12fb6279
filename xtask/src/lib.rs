//! The deployment runbook of Omni-Scale.

pub mod check;
pub mod spec;
