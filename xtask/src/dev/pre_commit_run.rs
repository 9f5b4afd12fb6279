//! `pre-commit-run`: runs every hook on every file, as git would on a commit.

use super::program;
use crate::prelude::*;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let effect = "some hooks fix the files that they check";
    program::run_change(cx, "prek", "running the hooks", "run --all-files", effect)
}
