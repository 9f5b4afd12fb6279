//! Files that cannot be written or read: the result is one error with the path and the reason, before anything is changed;
//! nothing is half written, and nothing is left behind. Root can write despite file modes, so the obstacles here also stop root.
//! The transcript `errors` covers directories in place of files.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::sandbox::{Files, Sandbox, class_line};

const STATE: &str = ".claude/omni-scale.local.md";
const CREATE: &str = "cluster-create demo --control-planes 1 --workers 0 --yes --timeout 60s";

/// The project without `target`, and the simulated services.
fn all(lab: &Sandbox) -> (Files, serde_json::Value) {
    (lab.files(), crate::runbook::settled(lab.dump()))
}

/// Runs a task that is blocked.
#[track_caller]
fn check_stops(lab: &Sandbox, line: &str, code: i32, words: &[&str]) {
    let before = all(lab);
    let ran = lab.run(line).exits(code).says(words).says(&["hint: "]);
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "one error: {ran:#?}");
    assert_eq!(all(lab), before, "`{line}` changed something: {ran:#?}");
}

/// A file that `chattr` protects, if that is possible here; dropping the value removes the protection.
struct Immutable(PathBuf);

impl Immutable {
    fn new(path: PathBuf) -> Option<Immutable> {
        let status = Command::new("chattr").arg("+i").arg(&path).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success()).then_some(Immutable(path))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.0).status();
    }
}

#[test]
fn unwritable_files_are_found_before_the_first_change() {
    let lab = Sandbox::new();
    let protected = |name: &str, line: &str, code: i32| {
        let Some(_immutable) = Immutable::new(lab.file(name)) else { return false };
        check_stops(&lab, line, code, &[name.trim_start_matches("../"), "Operation not permitted", "lsattr"]);
        true
    };
    if !protected("docker/.env", "provider-setup --yes", 4) {
        eprintln!("SKIP unwritable_files_are_found_before_the_first_change: `chattr +i` is not allowed here");
        return;
    }
    assert!(protected("docker", "provider-setup --yes", 4));
    fs::remove_file(lab.state_dir().join("lock")).expect("the first run made it");
    assert!(protected("../home/.local/state/omni-scale", "provider-setup --yes", 1));
    assert!(protected("machine-classes", &class_line("small"), 1));
    lab.provider();
    lab.class("small");
    assert!(protected("clusters", CREATE, 4));
    assert!(protected(STATE, CREATE, 4), "the cluster would be made, and the task would fail all the same");
    lab.run(CREATE).exits(0);
    lab.write("clusters/demo.yaml", &lab.read("clusters/demo.yaml").replacen("size: 1", "size: 3", 1));
    assert!(protected(STATE, "cluster-sync demo --yes --timeout 60s", 4));
}

#[test]
fn file_size_limit_is_an_error() {
    let lab = Sandbox::new();
    let before = all(&lab);
    let ran = lab.run_limited(0, "provider-setup --yes").exits(1);
    ran.says(&["File too large", "ulimit -f unlimited"]);
    assert_eq!(all(&lab), before);
}
