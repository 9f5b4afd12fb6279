//! `markdown-lint`: checks every Markdown file against `.markdownlint-cli2.yaml`.

use super::program;
use crate::prelude::*;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    program::run(cx, "markdownlint-cli2", "checking the Markdown files", "")
        .map_err(|error| program::with_next(error, "cargo xtask markdown-fix"))
}
