//! `markdown-fix`: fixes what markdownlint can fix; reports the rest and fails.

use super::program;
use crate::prelude::*;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let effect = "fixes spaces, lists, headings and fences";
    program::run_change(cx, "markdownlint-cli2", "fixing the Markdown files", "--fix", effect)
}
