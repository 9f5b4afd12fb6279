//! `changelog`: writes CHANGELOG.md from the commit messages, with git-cliff and `cliff.toml`.

use super::program;
use crate::prelude::*;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let effect = "writes CHANGELOG.md from the commit messages";
    program::run_change(cx, "git-cliff", "writing CHANGELOG.md", "--output CHANGELOG.md", effect)
}
