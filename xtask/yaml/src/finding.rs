//! One thing that is wrong, in the one form that people, pipes and editors get it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Location;

/// How bad a finding is. An error stops every task that would act on the file, a warning is shown and passed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    /// The word used in text and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One finding. `Display` prints the compiler form `file:line:column: error[rule]: message` followed by the fix;
/// as JSON it is flat: `{rule, severity, file, line, column, message, fix}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Id of the rule, stable across releases: what `--allow` names and `docs/reference/checks.md` explains.
    pub rule: &'static str,
    pub severity: Severity,
    #[serde(flatten)]
    pub place: Location,
    /// What is wrong and what it leads to, without a full stop.
    pub message: String,
    /// The fix; empty only if the message already contains it.
    pub fix: String,
}

impl Finding {
    /// An error at a place.
    pub fn error(rule: &'static str, place: Location, message: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { rule, severity: Severity::Error, place, message: message.into(), fix: fix.into() }
    }

    /// A warning at a place.
    pub fn warning(rule: &'static str, place: Location, message: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { rule, severity: Severity::Warning, place, message: message.into(), fix: fix.into() }
    }

    /// True for an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// True for the same finding at the same place, whatever fix is advised.
    pub fn repeats(&self, other: &Finding) -> bool {
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
