//! `cargo xtask ci`, cold and warm, and what a task costs over calling its program directly, beside the same through mise,
//! just and task: one table, one run.
//!
//! The program says its version and no more, so that what is left is the runner. Every round asks all of them, one after
//! the other, so that a machine that slows down slows all. What is not installed is said by name: `.ci/tools.sh bench`
//! installs all three.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Bench, median, ms, timed};

const ROUNDS: usize = 30;
/// The program, and the task that calls it once and nothing else.
const PROGRAM: &str = "omnictl";
const TASK: &str = "omnictl-install";
/// The same of a contributor's task, which is in a program of its own that cargo has to look at.
const OTHER_PROGRAM: &str = "markdownlint-cli2";
const OTHER_TASK: &str = "markdown-lint";

/// A way to the program: its name in the table, and the call.
struct Way {
    name: &'static str,
    program: PathBuf,
    words: Vec<&'static str>,
    dir: PathBuf,
}

pub fn run(bench: &Bench) -> Result<()> {
    println!("\n| how | median | fastest | beyond the program |\n| --- | --- | --- | --- |");
    tasks(bench)?;
    checks(bench)
}

/// What the table has of one way.
fn line(name: &str, times: &[Duration], beyond: &str) {
    let fastest = times.iter().min().copied().unwrap_or_default();
    println!("| {name} | {} | {} | {beyond} |", ms(median(times)), ms(fastest));
}

fn tasks(bench: &Bench) -> Result<()> {
    let bin = bench.scratch.join("bin");
    for program in [PROGRAM, OTHER_PROGRAM] {
        write(&bin.join(program), "#!/bin/sh\necho 'omnictl version v1.9.3 (API Version: 2)'\n")?;
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755))?;
    }
    let project = bench.scratch.join("runners");
    write(&project.join("mise.toml"), &format!("[tasks]\n{TASK} = {{ run = \"{PROGRAM}\" }}\n"))?;
    write(&project.join("justfile"), &format!("{TASK}:\n  @{PROGRAM}\n"))?;
    let taskfile = format!("version: \"3\"\ntasks:\n  {TASK}:\n    cmds: [{PROGRAM}]\n    silent: true\n");
    write(&project.join("Taskfile.yml"), &taskfile)?;
    let ours = |name: &str| bench.root.join("target/ci/bin").join(name);
    let way = |name, program: PathBuf, words: &[&'static str], dir: &Path| Way {
        name,
        program,
        words: words.to_vec(),
        dir: dir.to_owned(),
    };
    let ways = [
        way("the program itself", bin.join(PROGRAM), &[], &bench.root),
        way("`target/debug/xtask`", bench.xtask.clone(), &[TASK], &bench.root),
        way("`cargo xtask`", PathBuf::from(&bench.cargo), &["xtask", TASK], &bench.root),
        way("`cargo xtask`, a contributor's task", PathBuf::from(&bench.cargo), &["xtask", OTHER_TASK], &bench.root),
        way("`mise run`, calling the program", ours("mise"), &["run", TASK], &project),
        way("`mise run`, this kit's alias of `cargo xtask`", ours("mise"), &["run", TASK], &bench.root),
        way("`just`, calling the program", ours("just"), &[TASK], &project),
        way("`task`, calling the program", ours("task"), &[TASK], &project),
    ];
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let call = |way: &Way| {
        let mut command = Command::new(&way.program);
        command.args(&way.words).current_dir(&way.dir).env("PATH", &path);
        command.env("MISE_TRUSTED_CONFIG_PATHS", format!("{}:{}", project.display(), bench.root.display()));
        // Nothing of this kit's own pins is installed by mise for this.
        command.env("MISE_OFFLINE", "1").env("MISE_QUIET", "1").env("MISE_TASK_RUN_AUTO_INSTALL", "false");
        command
    };
    let mut times: Vec<Result<Vec<Duration>, String>> = ways.iter().map(|_| Ok(Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter().zip(&mut times) {
            let Ok(list) = times else { continue };
            match timed(&mut call(way)) {
                Ok(time) => list.push(time),
                Err(error) => *times = Err(error.to_string()),
            }
        }
    }
    let bare = times[0].as_ref().map(|times| median(times)).unwrap_or_default();
    for (way, times) in ways.iter().zip(&times) {
        match times {
            Ok(times) => line(way.name, times, &ms(median(times).saturating_sub(bare))),
            Err(_) if !way.program.exists() => println!("| {} | not installed: `.ci/tools.sh bench` | | |", way.name),
            Err(error) => println!("| {} | failed: {} | | |", way.name, error.lines().next().unwrap_or_default()),
        }
    }
    Ok(())
}

/// Cold is a target directory in which nothing has been built; the tools that the checks call are there. Warm is the call
/// after one that passed.
fn checks(bench: &Bench) -> Result<()> {
    let target = bench.scratch.join("target-ci");
    let ci = || {
        let mut command = bench.cargo(&bench.root, &["xtask", "ci", "--quiet"]);
        command.env("CARGO_TARGET_DIR", &target);
        command
    };
    let cold = timed(&mut ci())?;
    let warm = [timed(&mut ci())?, timed(&mut ci())?, timed(&mut ci())?];
    line("`cargo xtask ci`, cold: nothing is built", &[cold], "");
    line("`cargo xtask ci`, warm (bound: 60 s)", &warm, "");
    fs::remove_dir_all(target)?;
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    Ok(fs::write(file, text)?)
}
