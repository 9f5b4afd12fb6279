//! `hooks-install`: installs the git hooks of `.pre-commit-config.yaml` with prek. The hooks call `cargo xtask`, so they check
//! the same as CI.

use super::program;
use crate::prelude::*;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let effect = "installs pre-commit and commit-msg in .git/hooks";
    let outcome = program::run_change(cx, "prek", "installing the git hooks", "install --overwrite", effect)?;
    if let Err(failure) = program::find("infisical", &cx.paths) {
        cx.ui.note("infisical", "infisical is not installed: the hooks skip its scan", Status::Warning, failure.hint);
    }
    Ok(outcome.next("cargo xtask pre-commit-run"))
}
