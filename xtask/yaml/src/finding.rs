//! Findings: problems in a file, in one format for terminals, pipes and editors.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Location;

/// The severity of a finding. An error stops every task that would use the file; a warning is only shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    /// Returns the word used in text and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A finding. `Display` prints the compiler format `file:line:column: error[rule]: message` followed by the fix; as JSON it is
/// flat: `{rule, severity, file, line, column, message, fix}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// ID of the rule, stable across releases: the argument of `--allow`, described in `docs/reference/checks.md`.
    pub rule: &'static str,
    pub severity: Severity,
    #[serde(flatten)]
    pub place: Location,
    /// What is wrong and what it causes, without a full stop.
    pub message: String,
    /// The fix; empty only if the message already contains it.
    pub fix: String,
}

impl Finding {
    /// Creates an error.
    pub fn error(rule: &'static str, place: Location, message: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { rule, severity: Severity::Error, place, message: message.into(), fix: fix.into() }
    }

    /// Creates a warning.
    pub fn warning(rule: &'static str, place: Location, message: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { rule, severity: Severity::Warning, place, message: message.into(), fix: fix.into() }
    }

    /// Returns true for an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Returns true if `other` has the same rule, position and message, regardless of the fix.
    pub fn is_repeat_of(&self, other: &Finding) -> bool {
        (self.rule, &self.place, &self.message) == (other.rule, &other.place, &other.message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}[{}]: {}", self.place, self.severity.as_str(), self.rule, self.message)?;
        if !self.fix.is_empty() {
            write!(f, "\n  fix: {}", self.fix)?;
        }
        Ok(())
    }
}
