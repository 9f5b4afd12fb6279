//! `pre-commit-run`: every hook on every file, as git would run them on a commit.

use super::{Outcome, program};
use crate::ci::program::PREK;
use xtask::cx::Cx;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    program::call(cx, PREK, "running the hooks", &["run", "--all-files"], "some hooks mend the files that they look at")
}
