//! Benchmarks of a fresh clone, with its packages already in cargo's registry, and of an edit in it.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Bench, header, row, run_checked, run_timed};

pub fn run(bench: &Bench) -> Result<()> {
    let clone = bench.scratch.join("clone");
    run_checked(Command::new("git").args(["clone", "--quiet"]).arg(&bench.root).arg(&clone))?;
    let cargo = |args: &[&str]| {
        let mut command = Command::new(&bench.cargo);
        command.args(args).current_dir(&clone).stdin(Stdio::null());
        command
    };
    header();
    let (first, all) = first_output(&mut cargo(&["xtask", "rehearse"]))?;
    row("`cargo xtask rehearse` in a fresh clone, its first output", &[first], "2 s");
    row("… all of it, with every build", &[all], "60 s");
    let edits = |file: &str, words: &[&str]| -> Result<Vec<Duration>> {
        run_checked(&mut cargo(words))?;
        let edited = |_| edit(&clone.join(file)).and_then(|()| run_timed(&mut cargo(words)));
        (0..3).map(edited).collect()
    };
    let help = edits("xtask/src/task/doctor.rs", &["xtask", "--help"])?;
    row("`cargo xtask --help` after an edit of a task", &help, "2 s");
    let test = edits("xtask/check/src/machine_class.rs", &["test", "--quiet", "--package", "check"])?;
    row("`cargo test --package check` after an edit of a rule", &test, "8 s");
    fs::remove_dir_all(&clone)?;
    Ok(())
}

/// Adds a private function, because the compiler can skip a changed comment.
fn edit(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let number = text.matches("fn edited_").count();
    let mut file = OpenOptions::new().append(true).open(file)?;
    Ok(writeln!(file, "\n#[allow(dead_code)]\nfn edited_{number}() -> usize {{\n    {number}\n}}")?)
}

/// Returns the time to the first output on standard error, and to the end.
fn first_output(command: &mut Command) -> Result<(Duration, Duration)> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = child.stderr.take().context("piped")?;
    let mut output = vec![0];
    stderr.read_exact(&mut output)?;
    let first = begun.elapsed();
    stderr.read_to_end(&mut output)?;
    match child.wait()?.success() {
        true => Ok((first, begun.elapsed())),
        false => bail!("{command:?}: {}", String::from_utf8_lossy(&output)),
    }
}
