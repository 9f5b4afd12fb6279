//! Rewrites older forms from other guides into the real one, with a reason for each change. A form without an exact equivalent
//! is refused: a guess would affect real machines.

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
    pub place: Location,
    /// The old and the new text.
    pub what: String,
    pub why: String,
}

fn refuse(place: Location, message: impl Into<String>, fix: &str) -> Finding {
    Finding::error("convert-refused", place, message, fix)
}

/// A file as far as it is converted.
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

    fn changed(&mut self, node: &Node, what: String, why: &str) {
        self.changes.push(Change { place: node.at.in_file(self.file), what, why: why.to_owned() });
    }

    /// Refuses a key that has no counterpart.
    fn odd(&mut self, entry: &Entry, message: String) {
        self.refuse(entry.at, message, "remove it, if it is not needed");
    }

    /// What comes of it must pass the check: what the real program refuses is a refusal of the conversion.
    fn prove<T>(&mut self, at: Position, checked: &FileCheck<T>) {
        for finding in checked.findings.iter().filter(|finding| finding.is_error()) {
            self.refuse(at, format!("the converted file would be refused: {}", finding.message), &finding.fix);
        }
    }

    fn ended(self, text: String) -> Outcome {
        match self.refused.is_empty() {
            true => Outcome::Converted { text, changes: self.changes },
            false => Outcome::Refused(self.refused),
        }
    }
}
