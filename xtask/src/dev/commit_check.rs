//! `commit-check`: checks commit messages with committed: they must be Conventional Commits with the types and scopes of
//! `committed.toml`. The commit-msg hook passes the file with the message; in a pipeline, commits not in main are checked.

use super::program;
use crate::cli::CommitCheck;
use crate::dev::ci::repo;
use crate::prelude::*;
use runtime::files;

pub fn run(args: &CommitCheck, cx: &Cx) -> anyhow::Result<Outcome> {
    let words = match (&args.file, &args.range) {
        (Some(file), _) => {
            let shown = file.display().to_string();
            let text = files::read_optional_text(file)?.ok_or_else(|| {
                Failure::new(Code::NotFound, format!("`{shown}` does not exist"))
                    .hint("git gives the commit-msg hook its path")
            })?;
            // In a file, committed cannot distinguish these from messages written by a person.
            if text.starts_with("Merge ") || text.starts_with("Revert \"") {
                return Ok(Outcome::done("git wrote this message"));
            }
            format!("--commit-file {shown}")
        }
        (_, Some(range)) => range.clone(),
        _ => unmerged(cx)?.to_owned(),
    };
    program::run(cx, "committed", "checking the commit messages", &words)
        .map_err(|error| program::with_next(error, "git commit --amend"))
}

/// Returns the commits that are not in origin/main, or without that branch the last one; merged commits can no longer be fixed.
///
/// # Errors
/// Returns an error if git fails.
pub fn unmerged(cx: &Cx) -> Result<&'static str, Failure> {
    Ok(if repo::has_revision(cx, "origin/main")? { "origin/main..HEAD" } else { "HEAD" })
}
