//! `infisical-scan`: searches the history, or what is staged, for secrets, with infisical and `.infisical-scan.toml`.
//!
//! `staged-check` is the part of this that needs no program and is always on.

use super::program;
use crate::prelude::*;

pub fn run(staged: bool, cx: &Cx) -> anyhow::Result<Outcome> {
    // `--redact`: found secrets are not printed. The flags of both commands: infisical-cli 0.43 packages/cmd/scan.go.
    let scan = if staged { "scan git-changes --staged" } else { "scan" };
    let words = format!("{scan} --redact --config .infisical-scan.toml");
    program::run(cx, "infisical", "searching for secrets", &words)
}
