//! What a check of the repository gets, and what it comes to.

use check::Finding;
use runtime::cx::Cx;

/// What every check gets.
pub struct Bench<'a> {
    pub cx: &'a Cx,
    /// The files of the repository, relative to its root.
    pub files: &'a [String],
}

/// What a check comes to.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is so; how much was looked at.
    Passed(String),
    /// It is not so: what was found, and what a program said about it, if one did.
    Found { findings: Vec<Finding>, output: String },
    /// It could not be looked at, and what to install for it.
    Unavailable { why: String, hint: String },
}
