//! `staged-check`: refuses a commit of files that must never be committed: `docker/.env`, `docker/config.yaml`, a state file, a
//! service-account key, a private key. The pre-commit hook calls it; it needs only git.

use crate::dev::ci::{guard, repo};
use crate::prelude::*;

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let staged = repo::staged_files(cx)?;
    let findings: Vec<_> = staged.iter().flat_map(|(path, text)| guard::check(path, text.as_bytes())).collect();
    let data = json!({ "files": staged.len(), "findings": findings });
    if findings.is_empty() {
        return Ok(Outcome::done(format!("{} staged files contain no secrets", staged.len())).with(data));
    }
    findings.iter().for_each(|finding| cx.ui.print_data(&finding.to_string()));
    Err(Failure::new(Code::Invalid, "the commit contains files or secrets that must never be committed")
        .cause(format!("{} places, listed above; nothing was committed", findings.len()))
        .hint("`git restore --staged FILE` removes a file from the commit and keeps it on disk")
        .with(data)
        .into())
}
