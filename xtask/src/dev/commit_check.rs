//! `commit-check`: commit messages are Conventional Commits with the types and scopes of `committed.toml`, by committed. As the
//! commit-msg hook it gets the file with the message; in a pipeline it reads the commits that the main branch does not have.

use super::program;
use crate::cli::CommitCheck;
use crate::dev::ci::repo;
use crate::prelude::*;
use runtime::files;

pub fn run(args: &CommitCheck, cx: &Cx) -> anyhow::Result<Outcome> {
    let words = match (&args.file, &args.range) {
        (Some(file), _) => {
            let shown = file.display().to_string();
            let text = files::read_text_if_there(file)?.ok_or_else(|| {
                Failure::new(Code::NotFound, format!("`{shown}` does not exist"))
                    .hint("git gives the commit-msg hook its path")
            })?;
            // In a file, committed cannot tell these from what somebody wrote.
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

/// The commits that origin/main does not have, or where there is none the last one; what is merged can no longer be fixed.
///
/// # Errors
/// When git cannot be asked.
pub fn unmerged(cx: &Cx) -> Result<&'static str, Failure> {
    Ok(if repo::knows(cx, "origin/main")? { "origin/main..HEAD" } else { "HEAD" })
}
