//! Every rule of the checks: the source of `docs/reference/checks.md`, of the severities and of what the real programs make of it.
//!
//! A rule's effect is the answer of the program that reads the file: omnictl 1.9.3's `cluster template validate` for
//! `template-*`, the server of Omni 1.9.3 asked to create the class for `class-*` and `providerdata-*`, both for `yaml-*`.

mod source;
mod table;

use super::Severity;

pub use source::source;
pub use table::RULES;

/// What the real program makes of a file that breaks the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Rejects,
    /// It accepts the file; the harm comes later or from elsewhere.
    Accepts,
    /// It depends on what this check does not know.
    Unknown,
}

/// One rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub id: &'static str,
    pub severity: Severity,
    pub effect: Effect,
    /// What is wrong.
    pub what: &'static str,
    /// What it leads to.
    pub why: &'static str,
    pub fix: &'static str,
    /// The lines that break it.
    pub example: &'static str,
}

/// The rule of that id.
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.id == id)
}

const fn rule(
    id: &'static str,
    severity: Severity,
    effect: Effect,
    [what, why, fix, example]: [&'static str; 4],
) -> Rule {
    Rule { id, severity, effect, what, why, fix, example }
}
