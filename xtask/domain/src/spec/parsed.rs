//! What a parser gives back.

use super::{Finding, Severity};

/// The result of parsing a file. `value` is set if anything useful could be read, even with errors, so that all findings are
/// reported together; a caller that acts on the value checks [`Parsed::has_errors`] first.
#[derive(Debug, Clone)]
pub struct Parsed<T> {
    pub value: Option<T>,
    pub findings: Vec<Finding>,
}

impl<T> Parsed<T> {
    /// True if any finding is an error: the value must not be acted upon.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Error)
    }
}
