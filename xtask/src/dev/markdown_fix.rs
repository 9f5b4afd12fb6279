//! `markdown-fix`: mends what markdownlint can mend; what it cannot is named and fails.

use super::program;
use crate::dev::ci::program::MARKDOWNLINT;
use crate::outcome::Outcome;
use runtime::cx::Cx;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    program::call(
        cx,
        MARKDOWNLINT,
        "mending the Markdown files",
        &["--fix"],
        "mends spaces, lists, headings and fences",
    )
}
