//! What git knows of the repository: its files, what is staged, its commits.

use std::time::Duration;

use xshell::cmd;

use crate::dev::program;
use crate::prelude::*;
use runtime::files;
use runtime::proc::{self, CommandOutput, Job};
use runtime::settings::environment;

/// git is local: one that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// The tracked files, and those that would be if they were added, relative to the project root and sorted.
///
/// # Errors
/// [`Code::Prerequisite`] without git, [`Code::Failed`] when the project is not a repository.
pub fn files(cx: &Cx) -> Result<Vec<String>, Failure> {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"];
    let listed = git(cx, "listing the files of the repository", &words)?;
    let mut files: Vec<String> = listed.stdout.split_terminator('\0').map(str::to_owned).collect();
    // Deleted and not yet committed: git still lists it.
    files.retain(|file| cx.paths.root().join(file).exists());
    files.sort();
    Ok(files)
}

/// The text of a file of the repository; `None` when it is not UTF-8 text.
///
/// # Errors
/// [`Code::Failed`] when it cannot be read.
pub fn text(cx: &Cx, file: &str) -> Result<Option<String>, Failure> {
    Ok(files::read_if_there(&cx.paths.root().join(file))?.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// The files that the next commit would add or change, with what it would hold of each.
///
/// # Errors
/// As [`files`].
pub fn staged(cx: &Cx) -> Result<Vec<(String, String)>, Failure> {
    let words = ["diff", "--cached", "--name-only", "-z", "--diff-filter=ACMRT"];
    let names = git(cx, "listing what is staged", &words)?;
    let mut staged = Vec::new();
    for name in names.stdout.split_terminator('\0') {
        let blob = format!(":{name}");
        staged.push((name.to_owned(), git(cx, "reading what is staged", &["show", &blob])?.stdout));
    }
    Ok(staged)
}

/// Whether git knows `revision`.
///
/// # Errors
/// As [`files`].
pub fn knows(cx: &Cx, revision: &str) -> Result<bool, Failure> {
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
    // A hook of `git commit PATH` works on an index of its own.
    if let Some(index) = environment("GIT_INDEX_FILE") {
        job = job.env("GIT_INDEX_FILE", index);
    }
    cx.proc.run(job)?.checked()
}
