//! Rewrites older forms from other guides into the real one, with a reason for each change. A form without an exact equivalent
//! is refused: a guess would affect real machines.

mod class;
mod comments;
mod in_place;
mod selector;
mod template;

use super::Finding;
use domain::spec::Place;

pub use class::classes as machine_class;
pub use selector::{Selector, selector};
pub use template::cluster_template;

/// What became of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It has the real form already.
    Unchanged,
    Converted {
        text: String,
        changes: Vec<Change>,
    },
    /// Why it cannot be converted; rule `convert-refused`, or the YAML's own.
    Refused(Vec<Finding>),
}

/// One change and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub place: Place,
    /// The old and the new text.
    pub what: String,
    pub why: String,
}

fn refuse(place: Place, message: impl Into<String>, fix: &str) -> Finding {
    Finding::error("convert-refused", place, message, fix)
}
