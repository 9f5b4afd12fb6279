//! The deployment runbook of Omni-Scale.
