//! `commit-check`: commit messages are Conventional Commits with this project's types and scopes. As the commit-msg hook
//! it gets the file with the message; in a pipeline it reads the commits that the main branch does not have.

use serde_json::json;

use crate::cli::CommitCheck;
use crate::dev::ci::{commit, repo};
use crate::outcome::Outcome;
use check::Finding;
use domain::failure::{Code, Failure};
use domain::words;
use runtime::cx::Cx;
use runtime::files;

pub fn run(args: &CommitCheck, cx: &Cx) -> anyhow::Result<Outcome> {
    let (findings, count) = match &args.file {
        Some(file) => {
            let shown = file.display().to_string();
            let text = files::read_text_if_there(file)?.ok_or_else(|| {
                Failure::new(Code::NotFound, format!("`{shown}` does not exist"))
                    .hint("git gives the commit-msg hook its path")
            })?;
            (commit::check(&shown, &text), 1)
        }
        None => findings(cx, args.range.as_deref())?,
    };
    let data = json!({ "messages": count, "findings": findings });
    if findings.is_empty() {
        return Ok(
            Outcome::done(format!("{} checked, all well formed", words::count(count, "commit message"))).with(data)
        );
    }
    findings.iter().for_each(|finding| cx.ui.data(&finding.to_string()));
    Err(Failure::new(Code::Invalid, format!("{} in commit messages", words::count(findings.len(), "fault")))
        .hint("git commit --amend fixes the last message, git rebase --interactive earlier ones")
        .with(data)
        .into())
}

/// The faults in the messages of `range`, and how many messages that are. Without a range: the commits that origin/main
/// does not have, and where there are none the last one; what is merged can no longer be fixed.
///
/// # Errors
/// When git cannot be asked.
pub fn findings(cx: &Cx, range: Option<&str>) -> Result<(Vec<Finding>, usize), Failure> {
    let mut commits = match range {
        Some(range) => repo::commits(cx, &[range])?,
        None if repo::knows(cx, "origin/main")? => repo::commits(cx, &["origin/main..HEAD"])?,
        None => Vec::new(),
    };
    if commits.is_empty() && range.is_none() {
        commits = repo::commits(cx, &["-1", "HEAD"])?;
    }
    let found = commits.iter().flat_map(|(hash, message)| commit::check(&format!("commit {hash}"), message));
    Ok((found.collect(), commits.len()))
}
