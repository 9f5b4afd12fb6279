//! The checks: `data/checks.yaml` has an entry for each, with what it checks and what fixes it.

use std::sync::LazyLock;

use serde::Deserialize;

use super::outside::{run_check, run_command};
use super::own::{architecture_check, secrets_check, verdict_of, yaml_check};
use crate::dev::{commit_check, docs};
use crate::prelude::*;
use yaml::Finding;

/// An entry of that file, which explains the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub name: String,
    pub about: String,
    pub fix: String,
    pub run: Option<String>,
    pub repair: Option<String>,
    #[serde(default)]
    pub scripts: bool,
    #[serde(default)]
    pub alone: bool,
    #[serde(default)]
    pub group: bool,
}

/// The input of every check.
pub struct CheckInput<'a> {
    pub cx: &'a Cx,
    /// The files of the repository, relative to its root.
    pub files: &'a [String],
}

/// The result of a check.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The check passed; how much was checked.
    Passed(String),
    /// The check failed: the findings, and the output of a program, if one ran.
    Found { findings: Vec<Finding>, output: String },
    /// The check could not run: why, and what to install for it.
    Unavailable { why: String, hint: String },
}

/// Every check, in the order of the summary.
pub static CHECKS: LazyLock<Vec<Check>> = LazyLock::new(|| {
    let text = include_str!("../../../data/checks.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/checks.yaml: {error}"))
});

impl Check {
    /// Runs the check.
    ///
    /// # Errors
    /// Returns an error if it cannot run: git is missing, a file cannot be read, or the operator interrupts.
    pub fn run(&'static self, input: &CheckInput<'_>) -> Result<Verdict, Failure> {
        match (self.name.as_str(), &self.run) {
            (_, Some(line)) => run_check(input, self, line),
            ("docs", _) => docs::check_pages(input.cx).map(|found| verdict_of(found, "every page is up to date")),
            ("yaml", _) => yaml_check(input),
            ("architecture", _) => architecture_check(input),
            ("secrets", _) => secrets_check(input),
            ("commits", _) => run_check(input, self, &format!("committed {}", commit_check::unmerged(input.cx)?)),
            (name, _) => run_check(input, self, &format!("bash .ci/{name}.sh")),
        }
    }

    /// Returns true if `--fix` can fix its findings.
    pub fn repairs(&self) -> bool {
        self.repair.is_some() || self.name == "docs"
    }

    /// Fixes what the check would find.
    ///
    /// # Errors
    /// Fails with [`domain::failure::Code::Prerequisite`] if its program is missing, or if the program fails.
    pub fn repair(&'static self, input: &CheckInput<'_>) -> Result<(), Failure> {
        match &self.repair {
            Some(line) => run_command(input, self, line).map(drop),
            None => docs::write_pages(input.cx),
        }
    }
}
