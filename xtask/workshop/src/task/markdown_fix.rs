//! `markdown-fix`: mends what markdownlint can mend; what it cannot is named and fails.

use super::{Outcome, program};
use crate::ci::program::MARKDOWNLINT;
use xtask::cx::Cx;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    program::call(
        cx,
        MARKDOWNLINT,
        "mending the Markdown files",
        &["--fix"],
        "mends spaces, lists, headings and fences",
    )
}
