//! The checks: `data/checks.yaml` has an entry for each, with what it looks at and what fixes it.

use std::sync::LazyLock;

use serde::Deserialize;

use super::outside::{command, deny, ended, rehearsal, script, slow_tests, tests};
use super::own::{architecture_check, link_check, ours, secrets, yaml_check};
use super::verdict::{Bench, Verdict};
use crate::dev::{commit_check, docs};
use domain::failure::Failure;
use domain::words::count;

/// An entry, whose fields the file explains.
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

/// Every check, in the order of the summary.
pub static CHECKS: LazyLock<Vec<Check>> = LazyLock::new(|| {
    let text = include_str!("../../../data/checks.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/checks.yaml: {error}"))
});

impl Check {
    /// Looks.
    ///
    /// # Errors
    /// When it cannot: git is missing, a file cannot be read, the operator interrupts.
    pub fn run(&'static self, bench: &Bench<'_>) -> Result<Verdict, Failure> {
        match (self.name.as_str(), &self.run) {
            (_, Some(line)) => command(bench, self, line),
            ("test", _) => tests(bench),
            ("slow", _) => slow_tests(bench),
            ("docs", _) => docs::drift(bench.cx).map(|found| ours(found, "every page is up to date")),
            ("links", _) => link_check(bench),
            ("yaml", _) => yaml_check(bench),
            ("architecture", _) => architecture_check(bench),
            ("licences", _) => deny(bench, "licences", &["licenses", "bans", "sources"]),
            ("advisories", _) => deny(bench, "advisories", &["advisories"]),
            ("secrets", _) => secrets(bench),
            ("commits", _) => {
                commit_check::findings(bench.cx, None).map(|(found, all)| ours(found, &count(all, "message")))
            }
            ("rehearsal", _) => rehearsal(bench),
            (name, _) => script(bench, name),
        }
    }

    /// Whether `--fix` can fix what it finds.
    pub fn repairs(&self) -> bool {
        self.repair.is_some() || self.name == "docs"
    }

    /// Fixes what it would find.
    ///
    /// # Errors
    /// [`domain::failure::Code::Prerequisite`] without its program; what the program cannot do.
    pub fn repair(&'static self, bench: &Bench<'_>) -> Result<(), Failure> {
        match &self.repair {
            Some(line) => {
                let (path, words) = self.call(bench, line)?;
                ended(bench, &self.name, path, &words).map(drop)
            }
            None => docs::write(bench.cx),
        }
    }
}
