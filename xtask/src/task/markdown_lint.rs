//! `markdown-lint`: every Markdown file against `.markdownlint-cli2.yaml`.

use super::{Outcome, contributor};
use crate::ci::program::MARKDOWNLINT;
use crate::cx::Cx;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    contributor::look(cx, MARKDOWNLINT, "checking the Markdown files", &[])
        .map_err(|error| contributor::with_next(error, "cargo xtask markdown-fix"))
}
