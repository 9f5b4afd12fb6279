//! `pre-commit-run`: every hook on every file, as git would run them on a commit.

use super::{Outcome, contributor};
use crate::ci::program::PREK;
use crate::cx::Cx;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    contributor::call(
        cx,
        PREK,
        "running the hooks",
        &["run", "--all-files"],
        "some hooks mend the files that they look at",
    )
}
