//! All rules of the checks, from `data/rules.yaml`: the source of `docs/reference/checks.md`, of the severities and of how the
//! real programs treat a file that breaks a rule.

use std::sync::LazyLock;

use serde::Deserialize;

use yaml::Severity;

/// How the real program treats a file that breaks the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    Rejects,
    /// It accepts the file; the problem appears later or elsewhere.
    Accepts,
    /// It depends on something that this check does not know.
    Depends,
}

/// A rule of the checks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub id: String,
    pub severity: Severity,
    #[serde(rename = "program")]
    pub effect: Effect,
    /// What is wrong.
    pub what: String,
    /// What it leads to.
    pub why: String,
    pub fix: String,
    /// Lines that break the rule.
    pub example: String,
    /// The upstream source of the rule.
    pub source: String,
}

/// All rules, in the order of the documentation.
pub static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let text = include_str!("../../data/rules.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/rules.yaml: {error}"))
});

/// Returns the rule with this ID.
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}
