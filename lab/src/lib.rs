//! The far ends, simulated.
