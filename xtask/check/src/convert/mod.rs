//! Older forms that circulate, rewritten into the real one, with a reason for each change. A form that cannot be
//! rewritten faithfully is refused: a guess would be applied to somebody's machines.

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
    /// What was there and what stands there now.
    pub what: String,
    pub why: String,
}

fn refuse(place: Place, message: impl Into<String>, fix: &str) -> Finding {
    Finding::error("convert-refused", place, message, fix)
}
