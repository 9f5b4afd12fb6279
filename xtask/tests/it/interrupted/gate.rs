//! The gate in front of the programs of a task, which holds one call of a run.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::sandbox::{Sandbox, program_at, wait_for};

/// The programs that tasks call. A program that this machine does not have gets no gate.
const PROGRAMS: &str = "omnictl docker curl gpg git openssl getent";

/// A call is identified by its words, without numbers and the random part of a scratch directory; the first two calls in a run
/// with the same identity are separate places. `sleep` is the grandchild that must not outlive the task either.
const GATE: &str = concat!("#!/bin/sh\n", include_str!("../../fixtures/stand-ins/gate"));

/// The gate, and the places where tasks were interrupted.
pub struct Gate {
    pub dir: PathBuf,
}

/// A call that the gate holds.
pub struct HeldCall {
    pub pids: Vec<String>,
    /// `before` or `after`, the program and its arguments.
    pub words: String,
}

impl Gate {
    /// Puts a gate in front of the programs of `lab`.
    pub fn new(lab: &mut Sandbox) -> Gate {
        let dir = lab.scratch().join("gate");
        for each in ["seen", "run"] {
            fs::create_dir_all(dir.join(each)).expect("a directory");
        }
        lab.wrap_programs(&dir, PROGRAMS, GATE);
        // The directory for scratch files, to check that none is left.
        let temp = dir.join("tmp");
        fs::create_dir(&temp).expect("a directory");
        lab.set("TMPDIR", Some(&temp.display().to_string()));
        let gate = Gate { dir };
        gate.open();
        gate
    }

    /// Puts the gate in front of `pass`, a program that is not on PATH.
    pub fn wrap(&self, name: &str, pass: &str) {
        let real = self.dir.join("real").join(name);
        let text = GATE.replace("@DIR@", &self.dir.display().to_string()).replace("@NAME@", name);
        program_at(&self.dir.join("bin").join(name), &text.replace("@REAL@", &real.display().to_string()));
        program_at(&real, pass);
    }

    /// Lets every call pass.
    pub fn open(&self) {
        let _ = fs::create_dir(self.dir.join("run/held"));
    }

    /// Waits until no process uses the scratch files of a task; false if one still does. gpg's agent reports its end too early.
    pub fn wait_until_unused(&self) -> bool {
        let end = Instant::now() + Duration::from_secs(1);
        while self.is_in_use() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        !self.is_in_use()
    }

    /// Returns true if a process uses the scratch files of a task: gpg's agent leaves its group, and runs on its own.
    pub fn is_in_use(&self) -> bool {
        let temp = self.dir.with_file_name("home/.local/state/omni-scale/tmp").display().to_string();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .any(|line| String::from_utf8_lossy(&line).contains(&temp))
    }

    /// Resets the gate before a task that is run repeatedly, until it has no new place.
    pub fn reset(&self) {
        let _ = fs::remove_dir_all(self.dir.join("seen"));
        fs::create_dir(self.dir.join("seen")).expect("a directory");
    }

    /// Prepares the gate for a run.
    pub fn arm(&self) {
        let run = self.dir.join("run");
        // The programs of a task that was killed may still be writing there.
        wait_for("the last run's calls can be removed", || fs::remove_dir_all(&run).is_ok() || !run.exists());
        fs::create_dir(run).expect("a directory");
    }

    /// Waits for the call at which `running` is held; `None` if it exits before that.
    pub fn wait_for_call(&self, running: &mut Child) -> Option<HeldCall> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let ended = running.try_wait().expect("it is ours").is_some();
            if let Ok(text) = fs::read_to_string(self.dir.join("run/at")) {
                let mut lines = text.lines().map(str::to_owned);
                let pids = lines.by_ref().take(2).collect();
                return Some(HeldCall { pids, words: lines.next().unwrap_or_default() });
            }
            if ended {
                return None;
            }
            assert!(Instant::now() < end, "neither held nor ended");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
