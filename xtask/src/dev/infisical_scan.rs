//! `infisical-scan`: the history, or what is staged, searched for secrets by infisical with `.infisical-scan.toml`.
//!
//! `staged-check` is the part of it that needs no program and that is always on.

use super::program;
use crate::prelude::*;

pub fn run(staged: bool, cx: &Cx) -> anyhow::Result<Outcome> {
    // `--redact`: what is found is not printed. The flags of both commands: infisical-cli 0.43 packages/cmd/scan.go.
    let scan = if staged { "scan git-changes --staged" } else { "scan" };
    let words = format!("{scan} --redact --config .infisical-scan.toml");
    program::run(cx, "infisical", "searching for secrets", &words)
}
