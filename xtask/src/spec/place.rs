//! Where something stands in a user's file, and what a parser gives back.

use std::fmt;

use crate::check::{Finding, Severity};

/// A position in one file: 1-based line and column, the column counted in characters as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    pub line: u32,
    pub column: u32,
}

impl At {
    /// The first character of a file; for findings that are about the whole of it.
    pub const START: At = At { line: 1, column: 1 };

    /// The same position with the file it is in.
    pub fn in_file(self, file: &str) -> Place {
        Place { file: file.to_owned(), line: self.line, column: self.column }
    }
}

/// A position with its file, the form that people and editors can jump to. `Display` prints `file:line:column`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: String,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What a parser made of a file. `value` is there as soon as anything useful could be read, even next to errors, so
/// that every finding is reported at once; a caller that acts on the value asks [`Parsed::has_errors`] first.
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

    /// The value, if it was read without any error; otherwise the findings.
    ///
    /// # Errors
    /// All findings, warnings included, when one of them is an error or nothing could be read.
    pub fn into_ok(self) -> Result<T, Vec<Finding>> {
        if self.has_errors() {
            return Err(self.findings);
        }
        self.value.ok_or(self.findings)
    }
}
