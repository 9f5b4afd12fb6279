//! Rewrites older forms from other guides into the real form, with a reason for each change. A form without an exact equivalent
//! is refused, because a guess would affect real machines.

mod class;
mod comments;
mod in_place;
mod selector;
mod template;

use super::FileCheck;
use yaml::{Entry, Finding, Location, Node, Position};

pub use class::classes as machine_class;
pub use selector::{Selector, selector};
pub use template::cluster_template;

/// The result of converting a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The file already has the real form.
    Unchanged,
    Converted {
        text: String,
        changes: Vec<Change>,
    },
    /// Why the file cannot be converted; rule `convert-refused`, or a rule of the YAML itself.
    Refused(Vec<Finding>),
}

/// A change and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub place: Location,
    /// The old and the new text.
    pub what: String,
    pub why: String,
}

fn refuse(place: Location, message: impl Into<String>, fix: &str) -> Finding {
    Finding::error("convert-refused", place, message, fix)
}

/// A file that is being converted.
struct Conversion<'a> {
    file: &'a str,
    changes: Vec<Change>,
    refused: Vec<Finding>,
}

impl<'a> Conversion<'a> {
    fn new(file: &'a str) -> Conversion<'a> {
        Conversion { file, changes: Vec::new(), refused: Vec::new() }
    }

    fn refuse(&mut self, at: Position, message: impl Into<String>, fix: &str) {
        self.refused.push(refuse(at.in_file(self.file), message, fix));
    }

    fn add_change(&mut self, node: &Node, what: String, why: &str) {
        self.changes.push(Change { place: node.at.in_file(self.file), what, why: why.to_owned() });
    }

    /// Refuses a key that has no counterpart.
    fn refuse_key(&mut self, entry: &Entry, message: String) {
        self.refuse(entry.at, message, "remove it, if it is not needed");
    }

    /// Refuses the conversion if the real program would refuse the converted file.
    fn check_result<T>(&mut self, at: Position, checked: &FileCheck<T>) {
        for finding in checked.findings.iter().filter(|finding| finding.is_error()) {
            self.refuse(at, format!("the converted file would be rejected: {}", finding.message), &finding.fix);
        }
    }

    fn into_outcome(self, text: String) -> Outcome {
        match self.refused.is_empty() {
            true => Outcome::Converted { text, changes: self.changes },
            false => Outcome::Refused(self.refused),
        }
    }
}
