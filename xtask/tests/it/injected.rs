//! System calls that fail in the middle of a task: a disk that fills up, an input/output error, a limit. Wherever it happens, the
//! task ends with one document and a code of the contract, every file is the old one or the new one, nothing is left beside, and
//! the same command then does what it would have done undisturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::sandbox::{Sandbox, Scratch, each};

/// Tasks that write: a file of their own each, and one that reads it from Proxmox first.
const TASKS: [&str; 3] = [
    "machineclass-create new --yes --cores 2 --memory 4096 --disk 20 --selector true",
    "cluster-create new --yes --no-wait --dry-run --control-planes 1 --workers 0",
    "proxmox-inventory --save inventory.json",
];

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The files of a project, without what a build leaves; times and figures that change from run to run are taken out.
fn files(dir: &Path) -> Files {
    let read = |name: PathBuf| {
        let text = String::from_utf8_lossy(&fs::read(dir.join(&name)).expect("readable")).into_owned();
        // An inventory is a picture of one moment: only that it is whole counts.
        let whole = serde_json::from_str::<Value>(&text).is_ok() && name.ends_with("inventory.json");
        let dated = |line: &&str| line.match_indices("20").any(|(at, _)| line[at..].get(4..5) == Some("-"));
        let lines = text.lines().filter(|line| !whole && !dated(line));
        (name, lines.collect::<Vec<_>>().join("\n").into_bytes())
    };
    let names = runtime::files::tree(dir).expect("readable").into_iter().map(|(name, _)| name);
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
        assert!(matches!(ran.status.code(), Some(0 | 3)), "{line}: {ran:?}");
        trial.after = files(&dir);
        trial
    }

    /// Runs the task in `dir`, started by `wrap`.
    fn run(&self, dir: &Path, wrap: &[&str]) -> Output {
        let words = [wrap, &[env!("CARGO_BIN_EXE_xtask")]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(self.line.split(' ')).args(["--json", "--project-dir"]).arg(dir);
        command.env_clear().envs(self.lab.variables().map(|name| (name, self.lab.env(name))));
        // Each run has a lock of its own: they run beside each other.
        command.env("XDG_STATE_HOME", dir.with_extension("state"));
        command.current_dir(dir).stdin(Stdio::null()).output().expect("it starts")
    }

    /// What is wrong after a run in which something failed.
    fn broken(&self, wrap: &[&str]) -> Vec<String> {
        let scratch = Scratch::new();
        let dir = copy(self.lab, &scratch);
        let ran = self.run(&dir, wrap);
        let mut wrong = Vec::new();
        match ran.status.code() {
            Some(code @ (0..=5 | 124 | 130)) => {
                let document = serde_json::from_slice::<Value>(&ran.stdout);
                let ok = document.as_ref().is_ok_and(|document| document["ok"] == matches!(code, 0 | 3));
                // Standard output itself may be what failed.
                if !ok && !String::from_utf8_lossy(&ran.stderr).contains("standard output could not be written") {
                    wrong.push(format!("no document: {ran:?}"));
                }
                if code == 0 && files(&dir) != self.after {
                    wrong.push("it says done, and it is not".to_owned());
                }
            }
            // The loader found no library: the runner has not begun.
            Some(127) => return wrong,
            _ => wrong.push(format!("the end: {ran:?}")),
        }
        for (name, bytes) in files(&dir) {
            let known = [&self.before, &self.after].iter().any(|tree| tree.get(&name) == Some(&bytes));
            if !known {
                wrong.push(format!("{} is neither old nor new", name.display()));
            }
        }
        let again = self.run(&dir, &[]);
        if !matches!(again.status.code(), Some(0 | 3)) || files(&dir) != self.after {
            wrong.push(format!("run again: {:?} {}", again.status, String::from_utf8_lossy(&again.stdout)));
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

/// Runs all trials, a few beside each other.
#[track_caller]
fn hold(trials: &[(&Trial<'_>, Vec<String>)]) {
    let broken =
        |(trial, wrap): &(&Trial<'_>, Vec<String>)| trial.broken(&wrap.iter().map(String::as_str).collect::<Vec<_>>());
    let faults = each(trials, 4, broken).concat();
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), trials.len(), faults.join("\n"));
}

fn prepared() -> Sandbox {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("m1");
    lab
}

/// The size of files, the number of descriptors and the streams, without any tool.
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

/// Each system call that touches files, at each position, with each error that it may have.
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
    trial.run(&copy(&lab, &scratch), &["strace", "-c", "-o", counts.to_str().expect("UTF-8")]);
    let counts = fs::read_to_string(counts).expect("strace wrote it");
    let count = |call: &str| -> usize {
        let line = counts.lines().find(|line| line.split_whitespace().last() == Some(call));
        line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0)
    };
    // How many calls of the loader come first, and how many are passed by between two that fail.
    let mut trials = Vec::new();
    for (call, errors, first, step) in [
        ("write", &["ENOSPC", "EIO", "EINTR", "EDQUOT"][..], 1, 1),
        ("fsync", &["EIO", "ENOSPC"], 1, 1),
        ("rename", &["EIO", "EXDEV"], 1, 1),
        ("renameat2", &["EIO", "EINVAL"], 1, 1),
        ("linkat", &["EIO", "EPERM"], 1, 1),
        ("unlink", &["EIO"], 1, 1),
        ("mkdir", &["EACCES", "ENOSPC"], 1, 1),
        ("fchmod", &["EIO"], 1, 1),
        ("flock", &["EIO", "ENOLCK"], 1, 1),
        ("getdents64", &["EIO"], 1, 1),
        ("close", &["EIO"], 12, 3),
        ("openat", &["EMFILE", "EACCES", "EIO"], 12, 3),
        ("read", &["EIO", "EINTR"], 12, 3),
        ("statx", &["EIO", "EACCES"], 1, 5),
        ("clone3", &["EAGAIN"], 1, 1),
        ("pipe2", &["EMFILE"], 1, 1),
    ] {
        for (error, at) in
            errors.iter().flat_map(|error| (first..=count(call)).step_by(step).map(move |at| (error, at)))
        {
            let inject = format!("inject={call}:error={error}:when={at}");
            trials.push((&trial, ["strace", "-qq", "-o", "/dev/null", "-e", &inject].map(str::to_owned).to_vec()));
        }
    }
    assert!(trials.len() > 60, "{} injections: {counts}", trials.len());
    hold(&trials);
}
