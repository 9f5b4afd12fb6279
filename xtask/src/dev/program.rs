//! Shared by the contributors' tasks: finds a program, and runs it with its output shown as it arrives.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context as _;
use xshell::cmd;

use crate::prelude::*;
use runtime::paths::Paths;
use runtime::proc::{self, Job};

/// How to install each program, by name.
static INSTALL: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let text = include_str!("../../data/programs.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/programs.yaml: {error}"))
});

/// Finds a program, on PATH or where `.ci/run` installs what it needs.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] and how to install it.
pub fn find(name: &str, paths: &Paths) -> Result<PathBuf, Failure> {
    let ours = paths.target().join("ci/bin").join(name);
    which::which(name).or_else(|_| which::which(ours)).map_err(|_| {
        Failure::new(Code::Prerequisite, format!("`{name}` is not installed"))
            .cause("it is neither on PATH nor in target/ci/bin")
            .hint(INSTALL.get(name).map_or("", String::as_str))
    })
}

/// Runs a program that changes nothing; `words` are its arguments, separated by spaces.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] and how to install it if it is missing, or with [`Code::Failed`] if it exits with an error.
pub fn run(cx: &Cx, program: &str, purpose: &str, words: &str) -> anyhow::Result<Outcome> {
    let path = find(program, &cx.paths)?;
    let shell = proc::shell()?;
    shell.change_dir(cx.paths.root());
    let words = words.split_whitespace();
    let job = Job::new(purpose, cmd!(shell, "{path} {words...}")).deadline(cx.wait_limit(Duration::from_secs(600)));
    let mut lines: Vec<String> = Vec::new();
    let ended = cx.proc.follow(job, |line| {
        // git-cliff and others use colors even when writing to a pipe.
        let line = console::strip_ansi_codes(line);
        cx.ui.print_data(&line);
        lines.push(line.into_owned());
    })?;
    if proc::is_interrupted() {
        return Err(proc::interruption(purpose).into());
    }
    if ended.is_success() {
        return Ok(Outcome::done(format!("{purpose}: done")).with(json!({ "output": lines })));
    }
    let tail = lines[lines.len().saturating_sub(20)..].join("\n");
    let output = if cx.ui.json() { tail } else { "its output is above".to_owned() };
    let code = ended.status.code().map_or("was killed".to_owned(), |code| format!("exited with {code}"));
    Err(Failure::new(Code::Failed, format!("{purpose} failed: `{}` {code}", ended.line)).cause(output).into())
}

/// Runs a program that changes files of the checkout or its hooks. No confirmation is needed, as git or a second run undoes that.
///
/// # Errors
/// See [`run`].
pub fn run_change(cx: &Cx, program: &str, purpose: &str, words: &str, effect: &str) -> anyhow::Result<Outcome> {
    find(program, &cx.paths)?;
    let _lock = cx.lock_checkout()?;
    let result = OnceCell::new();
    let call = Change::new("run", format!("{program} {words}"), effect, "git", |cx| {
        let outcome = run(cx, program, purpose, words)?;
        Ok(result.get_or_init(|| outcome).summary.clone())
    });
    match Plan::from_iter([call]).run_unasked(cx)? {
        Some(planned) => Ok(planned),
        None => result.into_inner().context("the plan runs it"),
    }
}

/// Adds the next command to `error`, if the program ran and failed.
pub fn with_next(error: anyhow::Error, next: &str) -> anyhow::Error {
    let failure = Failure::of(&error);
    if failure.code == Code::Failed { failure.next(next).into() } else { failure.into() }
}
