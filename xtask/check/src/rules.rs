//! Every rule of the checks, from `data/rules.yaml`: the source of `docs/reference/checks.md`, of the severities and of what the
//! real programs make of a file that breaks one.

use std::sync::LazyLock;

use serde::Deserialize;

use yaml::Severity;

/// What the real program makes of a file that breaks the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    Rejects,
    /// It accepts the file; the harm comes later or from elsewhere.
    Accepts,
    /// It depends on what this check does not know.
    Depends,
}

/// One rule.
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
    /// The lines that break it.
    pub example: String,
    /// Which upstream source makes it so.
    pub source: String,
}

/// All rules, in the order of the documentation.
pub static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let text = include_str!("../../data/rules.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/rules.yaml: {error}"))
});

/// The rule of that id.
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}
