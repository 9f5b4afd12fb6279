//! The real binary in a sandbox.

mod audit;
mod audit_far_end;
mod cluster_plan;
mod inventory;
