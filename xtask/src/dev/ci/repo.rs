//! Queries to git about the repository: its files, what is staged, its commits.

use std::time::Duration;

use xshell::cmd;

use crate::dev::program;
use crate::prelude::*;
use runtime::files;
use runtime::proc::{self, CommandOutput, Job};
use runtime::settings::environment;

/// git runs locally, so if it takes longer it hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the tracked files, and the untracked ones that are not ignored, relative to the project root and sorted.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] if git is not installed, or with [`Code::Failed`] if the project is not a repository.
pub fn list_files(cx: &Cx) -> Result<Vec<String>, Failure> {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"];
    let listed = git(cx, "listing the files of the repository", &words)?;
    let mut files: Vec<String> = listed.stdout.split_terminator('\0').map(str::to_owned).collect();
    // git still lists a file that is deleted but not yet committed.
    files.retain(|file| cx.paths.root().join(file).exists());
    files.sort();
    Ok(files)
}

/// Returns the text of a file of the repository; `None` if it is not UTF-8 text.
///
/// # Errors
/// Fails with [`Code::Failed`] if it cannot be read.
pub fn read_text(cx: &Cx, file: &str) -> Result<Option<String>, Failure> {
    Ok(files::read_optional(&cx.paths.root().join(file))?.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// Returns the files that the next commit would add or change, with their staged contents.
///
/// # Errors
/// See [`list_files`].
pub fn staged_files(cx: &Cx) -> Result<Vec<(String, String)>, Failure> {
    let words = ["diff", "--cached", "--name-only", "-z", "--diff-filter=ACMRT"];
    let names = git(cx, "listing what is staged", &words)?;
    let mut staged = Vec::new();
    for name in names.stdout.split_terminator('\0') {
        let blob = format!(":{name}");
        staged.push((name.to_owned(), git(cx, "reading what is staged", &["show", &blob])?.stdout));
    }
    Ok(staged)
}

/// Returns true if git knows `revision`.
///
/// # Errors
/// See [`list_files`].
pub fn has_revision(cx: &Cx, revision: &str) -> Result<bool, Failure> {
    let words = ["rev-parse", "--verify", "--quiet", "--end-of-options", revision];
    match git(cx, "looking up a revision", &words) {
        Ok(_) => Ok(true),
        Err(failure) if failure.code == Code::Failed => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn git(cx: &Cx, purpose: &str, words: &[&str]) -> Result<CommandOutput, Failure> {
    let program = program::find("git", &cx.paths)?;
    let shell = proc::shell()?;
    shell.change_dir(cx.paths.root());
    let mut job = Job::new(purpose, cmd!(shell, "{program} {words...}")).deadline(DEADLINE);
    // A hook of `git commit PATH` uses a separate index.
    if let Some(index) = environment("GIT_INDEX_FILE") {
        job = job.env("GIT_INDEX_FILE", index);
    }
    cx.proc.run(job)?.require_success()
}
