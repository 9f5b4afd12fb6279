//! System calls that fail in the middle of a task: a full disk, an input/output error, a limit. Wherever this happens, the task
//! ends with one document and a documented exit code, every file is either old or new, nothing is left behind, and the same
//! command then does what it would have done before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{CommandOutput, Sandbox, Scratch, in_parallel};

/// Tasks that write: a separate file each, and one that reads it from Proxmox first.
const TASKS: [&str; 3] = [
    "machineclass-create new --yes --cores 2 --memory 4096 --disk 20 --selector true",
    "cluster-create new --yes --no-wait --dry-run --control-planes 1 --workers 0",
    "proxmox-inventory --save inventory.json",
];

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Returns the files of a project, without build output; times and figures that change from run to run are removed.
fn files(dir: &Path) -> Files {
    let read = |name: PathBuf| {
        let text = String::from_utf8_lossy(&fs::read(dir.join(&name)).expect("readable")).into_owned();
        // An inventory is a snapshot of one moment, so only its completeness is checked.
        let whole = serde_json::from_str::<Value>(&text).is_ok() && name.ends_with("inventory.json");
        let dated = |line: &&str| line.match_indices("20").any(|(at, _)| line[at..].get(4..5) == Some("-"));
        let lines = text.lines().filter(|line| !whole && !dated(line));
        (name, lines.collect::<Vec<_>>().join("\n").into_bytes())
    };
    let names = runtime::files::list_files(dir).expect("readable").into_iter().map(|(name, _)| name);
    names.filter(|name| !name.starts_with("target")).map(read).collect()
}

struct Trial<'a> {
    lab: &'a Sandbox,
    line: &'static str,
    before: Files,
    after: Files,
}

impl<'a> Trial<'a> {
    fn new(lab: &'a Sandbox, line: &'static str) -> Trial<'a> {
        let scratch = Scratch::new();
        let dir = copy(lab, &scratch);
        let mut trial = Trial { lab, line, before: files(&dir), after: Files::new() };
        let ran = trial.run(&dir, &[]);
        assert!(matches!(ran.code, 0 | 3), "{line}: {ran:?}");
        trial.after = files(&dir);
        trial
    }

    /// Runs the task in `dir`, started by `wrap`.
    fn run(&self, dir: &Path, wrap: &[&str]) -> CommandOutput {
        let words = [wrap, &[env!("CARGO_BIN_EXE_xtask")]].concat();
        let mut command = self.lab.program(words[0]);
        command.args(&words[1..]).args(self.line.split(' ')).args(["--json", "--project-dir"]).arg(dir);
        // Each run has its own lock, because they run in parallel.
        command.env("XDG_STATE_HOME", dir.with_extension("state"));
        CommandOutput::of(command.current_dir(dir))
    }

    /// Returns what is wrong after a run in which something failed.
    fn broken(&self, wrap: &[&str]) -> Vec<String> {
        let scratch = Scratch::new();
        let dir = copy(self.lab, &scratch);
        let ran = self.run(&dir, wrap);
        let mut wrong = Vec::new();
        match ran.code {
            code @ (0..=5 | 124 | 130) => {
                let document = serde_json::from_str::<Value>(&ran.stdout);
                let ok = document.as_ref().is_ok_and(|document| document["ok"] == matches!(code, 0 | 3));
                // Standard output itself may have failed.
                if !ok && !ran.stderr.contains("standard output could not be written") {
                    wrong.push(format!("no document: {ran:?}"));
                }
                if code == 0 && files(&dir) != self.after {
                    wrong.push("it says done, and it is not".to_owned());
                }
            }
            // The loader did not find a library, so the runner has not started.
            127 => return wrong,
            _ => wrong.push(format!("the end: {ran:?}")),
        }
        for (name, bytes) in files(&dir) {
            let known = [&self.before, &self.after].iter().any(|tree| tree.get(&name) == Some(&bytes));
            if !known {
                wrong.push(format!("{} is neither old nor new", name.display()));
            }
        }
        let again = self.run(&dir, &[]);
        if !matches!(again.code, 0 | 3) || files(&dir) != self.after {
            wrong.push(format!("run again: {again:?}"));
        }
        wrong.iter().map(|fault| format!("{}: {wrap:?}: {fault}", self.line)).collect()
    }
}

fn copy(lab: &Sandbox, scratch: &Scratch) -> PathBuf {
    let dir = scratch.path().join("project");
    let copied = Command::new("cp").arg("-r").arg(lab.project()).arg(&dir).status().expect("coreutils");
    assert!(copied.success());
    dir
}

/// Runs all trials, a few in parallel.
#[track_caller]
fn hold(trials: &[(&Trial<'_>, Vec<String>)]) {
    let broken =
        |(trial, wrap): &(&Trial<'_>, Vec<String>)| trial.broken(&wrap.iter().map(String::as_str).collect::<Vec<_>>());
    let faults = in_parallel(trials, 4, broken).concat();
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), trials.len(), faults.join("\n"));
}

fn prepared() -> Sandbox {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("m1");
    lab
}

/// Limits file sizes, file descriptors and streams, without any tool.
#[test]
fn task_that_cannot_write_or_open_more_leaves_whole_files() {
    let lab = prepared();
    let all: Vec<Trial<'_>> = TASKS.iter().map(|line| Trial::new(&lab, line)).collect();
    let limits = (0..6).map(|blocks| format!("ulimit -f {blocks}"));
    let limits = limits.chain([4, 6, 7, 8, 9, 10, 12, 16].map(|count| format!("ulimit -n {count}")));
    let limits = limits.chain(["exec 2>/dev/full", "exec 2>&-", "exec 0<&-"].map(str::to_owned));
    let shell = |limit: String| ["sh", "-c", &format!("{limit}; exec \"$0\" \"$@\"")].map(str::to_owned).to_vec();
    let wraps: Vec<Vec<String>> = limits.map(shell).collect();
    let trials: Vec<_> = all.iter().flat_map(|trial| wraps.iter().map(move |wrap| (trial, wrap.clone()))).collect();
    hold(&trials);
}

/// Each system call that uses files, at each position, with each of its possible errors.
#[test]
fn injected_errors_of_system_calls_leave_whole_files() {
    const NAME: &str = "injected_errors_of_system_calls_leave_whole_files";
    let traced =
        Command::new("strace").args(["-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"]).output();
    if !traced.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP {NAME}: needs strace, and the right to trace");
        return;
    }
    let lab = prepared();
    let trial = Trial::new(&lab, TASKS[0]);
    let scratch = Scratch::new();
    let counts = scratch.path().join("counts");
    let _ = trial.run(&copy(&lab, &scratch), &["strace", "-c", "-o", counts.to_str().expect("UTF-8")]);
    let counts = fs::read_to_string(counts).expect("strace wrote it");
    let count = |call: &str| -> usize {
        let line = counts.lines().find(|line| line.split_whitespace().last() == Some(call));
        line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0)
    };
    let mut trials = Vec::new();
    for line in include_str!("../fixtures/injected.txt").lines().filter(|line| !line.starts_with('#')) {
        let [call, errors, first, step] = line.split(' ').collect::<Vec<_>>().try_into().expect("four words");
        let [first, step]: [usize; 2] = [first, step].map(|number| number.parse().expect("a number"));
        let of_error = |error| (first..=count(call)).step_by(step).map(move |at| (error, at));
        for (error, at) in errors.split(',').flat_map(of_error) {
            let inject = format!("inject={call}:error={error}:when={at}");
            trials.push((&trial, ["strace", "-qq", "-o", "/dev/null", "-e", &inject].map(str::to_owned).to_vec()));
        }
    }
    assert!(trials.len() > 60, "{} injections: {counts}", trials.len());
    hold(&trials);
}
