//! git, to check whether a secret is in the files that will be pushed.

use std::time::Duration;

use xshell::cmd;

use super::Tool;
use crate::cx::Cx;
use crate::proc::{self, Job};
use domain::failure::{Code, Failure};
use domain::secret::Secret;

const QUICK: Duration = Duration::from_secs(20);

/// The files among `paths` that git tracks; `None` if the project is not a git checkout.
///
/// # Errors
/// [`Code::Prerequisite`] if git is not installed; otherwise git's own error.
pub fn tracked_files(cx: &Cx, paths: &[&str]) -> Result<Option<Vec<String>>, Failure> {
    let job = call(cx, "listing the files that git tracks", &[&["ls-files", "--"], paths].concat())?;
    let ended = cx.proc.run(job)?;
    if ended.stderr.contains("not a git repository") {
        return Ok(None);
    }
    let ended = ended.require_success()?;
    Ok(Some(ended.stdout.lines().map(str::to_owned).collect()))
}

/// The tracked files that contain one of `secrets`, which are passed to git on standard input.
///
/// # Errors
/// Fails like [`tracked_files`].
pub fn files_with_secrets(cx: &Cx, secrets: &[Secret]) -> Result<Vec<String>, Failure> {
    if secrets.is_empty() {
        return Ok(Vec::new());
    }
    let patterns: Vec<&str> = secrets.iter().map(Secret::expose).collect();
    let words = ["grep", "--files-with-matches", "--fixed-strings", "-f", "-"];
    let job = call(cx, "looking for secrets in what git tracks", &words)?;
    let ended = cx.proc.run(job.stdin(patterns.join("\n") + "\n"))?;
    match ended.status.code() {
        Some(0) => Ok(ended.stdout.lines().map(str::to_owned).collect()),
        // Nothing found.
        Some(1) => Ok(Vec::new()),
        _ => Err(Failure::new(Code::Failed, "git could not look through the files").cause(ended.failure().cause)),
    }
}

/// A call of git in the project root.
fn call(cx: &Cx, purpose: &str, words: &[&str]) -> Result<Job, Failure> {
    let (git, shell) = (Tool::Git.find()?, proc::shell()?);
    shell.change_dir(cx.paths.root());
    Ok(Job::new(purpose, cmd!(shell, "{git} {words...}")).deadline(QUICK))
}
