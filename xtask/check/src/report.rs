//! Collects the findings about one file.

use yaml::{Finding, Position};

pub(crate) struct Report<'f> {
    pub file: &'f str,
    pub findings: Vec<Finding>,
}

impl Report<'_> {
    pub fn error(&mut self, rule: &'static str, at: Position, message: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding::error(rule, at.in_file(self.file), message, fix));
    }

    pub fn warning(&mut self, rule: &'static str, at: Position, message: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding::warning(rule, at.in_file(self.file), message, fix));
    }
}
