//! Steps that several tasks share: inputs, the Omni stack, lookups in Omni, plans and their execution, diagnosis.

pub mod apply;
pub mod check_report;
pub mod diagnose;
pub mod impact;
pub mod inputs;
pub mod lookup;
pub mod obstacle;
pub mod omni_stack;
pub mod stage;
