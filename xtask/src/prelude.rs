//! The names that nearly every task and step uses: `use crate::prelude::*`.

pub use serde_json::{Value, json};

pub use crate::flow::change::{Change, Plan};
pub use crate::outcome::Outcome;
pub use domain::failure::{Code, Failure, Kind, MissingValue};
pub use domain::words::count;
pub use runtime::cx::Cx;
pub use runtime::ui::{Status, StepResult};
