//! The hook script, actually run on state files from healthy to hostile: `tests/fixtures/plugin/states.yaml`, and cases that
//! cannot be written as text.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Scratch, repository};

/// A project with a state file, and a PATH that contains only `dd`: any other program would be "not found".
struct Project(Scratch);

impl Project {
    fn with(state: &[u8]) -> Project {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.path().join("project/.claude")).expect("the project can be written");
        fs::create_dir_all(scratch.path().join("bin")).expect("the project can be written");
        let dd = ["/bin/dd", "/usr/bin/dd"].into_iter().find(|path| Path::new(path).exists()).expect("dd is POSIX");
        symlink(dd, scratch.path().join("bin/dd")).expect("the project can be written");
        let project = Project(scratch);
        fs::write(project.state(), state).expect("the project can be written");
        project
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("project/.claude/omni-scale.local.md")
    }

    /// Runs the hook as Claude Code does, and returns its text for the model; a hook must never fail or print errors.
    fn says(&self, shell: &str) -> String {
        let mut command = Command::new(shell);
        command.arg(repository().join("hooks/session-start.sh")).current_dir(self.0.path()).env_clear();
        command.env("PATH", self.0.path().join("bin")).env("CLAUDE_PROJECT_DIR", self.0.path().join("project"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a shell exists");
        crate::sandbox::wait_for("the hook hangs", || child.try_wait().expect("it is ours").is_some());
        let output = child.wait_with_output().expect("it is ours");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr)), (Some(0), "".into()), "{shell}");
        if output.stdout.is_empty() {
            return String::new();
        }
        let text = String::from_utf8(output.stdout).expect("the hook prints ASCII");
        assert_eq!(text.lines().count(), 1, "one line, not: {text}");
        let document: serde_json::Value = serde_json::from_str(&text).expect("the hook prints JSON");
        assert_eq!(document["hookSpecificOutput"]["hookEventName"], "SessionStart");
        document["hookSpecificOutput"]["additionalContext"].as_str().expect("a text for the model").to_owned()
    }
}

/// `sh` is dash on Debian and bash on other systems, so both are tested if they exist.
fn shells() -> impl Iterator<Item = &'static str> {
    ["/bin/sh", "/bin/dash", "/bin/bash"].into_iter().filter(|shell| Path::new(shell).exists())
}

const SOUND: &str = "---\nprovider_status: healthy\nlast_checked: 2026-11-22T10:20:30Z\n---\n\n# Omni-Scale\n";

#[test]
fn hook_says_what_the_runner_last_saw_or_nothing() {
    #[derive(Deserialize)]
    struct Case {
        #[serde(default)]
        front: String,
        file: Option<String>,
        says: String,
    }
    let cases: Vec<Case> =
        serde_yaml::from_str(include_str!("../../fixtures/plugin/states.yaml")).expect("the state files");
    let whole = |case: Case| {
        let text = case.file.unwrap_or_else(|| format!("---\n{}---\n\n# Omni-Scale\n", case.front));
        (text.into_bytes(), case.says)
    };
    let rest = [
        b"---\nprovider_status: \xff\xfehealthy\n---\n".to_vec(),
        // Longer than the part that is read: the front matter is never closed.
        [b"---\nprovider_status: healthy\nx: ".to_vec(), vec![b'x'; 4 << 20], b"\n---\n".to_vec()].concat(),
        vec![b'-'; 4 << 20],
        vec![0; 4096],
    ];
    let rest = rest.map(|state| (state, String::new()));
    for (state, says) in cases.into_iter().map(whole).chain(rest) {
        let project = Project::with(&state);
        let shown = String::from_utf8_lossy(&state[..state.len().min(80)]).into_owned();
        for shell in shells() {
            let said = project.says(shell);
            let right = if says.is_empty() {
                said.is_empty()
            } else {
                said == format!("Omni-Scale, from its state file: {says} Live status: /omni-scale:provider-status")
            };
            assert!(right, "under {shell}: {shown:?}: {said:?}");
        }
    }
}

#[test]
fn hook_follows_no_links_and_waits_for_no_pipe() {
    for shell in shells() {
        let project = Project::with(SOUND.as_bytes());
        let (state, elsewhere) = (project.state(), project.0.path().join("elsewhere"));
        let claude = state.parent().expect("a folder");
        fs::rename(claude, &elsewhere).expect("the project can be written");
        symlink(&elsewhere, claude).expect("the project can be written");
        assert_eq!(project.says(shell), "", "a linked .claude");
        fs::remove_file(claude).expect("the project can be written");
        fs::create_dir(claude).expect("the project can be written");
        assert_eq!(project.says(shell), "", "no state file");
        symlink(elsewhere.join("omni-scale.local.md"), &state).expect("the project can be written");
        assert_eq!(project.says(shell), "", "a linked state file");
        fs::remove_file(&state).expect("the project can be written");
        fs::create_dir(&state).expect("the project can be written");
        assert_eq!(project.says(shell), "", "a directory");
        fs::remove_dir(&state).expect("the project can be written");
        assert!(Command::new("mkfifo").arg(&state).status().expect("mkfifo is POSIX").success());
        assert_eq!(project.says(shell), "", "a pipe without a writer");
    }
}

/// Only the start is read, so a huge body costs nothing, and escapes in it have no effect. hooks.json runs the hook with `sh`,
/// but the executable bit lets a person try it, with the same result.
#[test]
fn hook_is_quick_and_starts_by_itself() {
    let escapes = b"\x1b]0;owned\x07\x1b[2J".repeat(1 << 10);
    let project = Project::with(&[SOUND.as_bytes(), &escapes, &vec![b'x'; 64 << 20]].concat());
    for shell in shells() {
        let timed = |_| {
            let start = Instant::now();
            assert!(project.says(shell).contains("provider status healthy, last checked 2026"), "{shell}");
            start.elapsed()
        };
        let quickest = (0..5).map(timed).min().expect("five runs");
        assert!(quickest < Duration::from_millis(100), "under {shell}: a session would wait {quickest:?}");
    }
    let mut command = Command::new(repository().join("hooks/session-start.sh"));
    let output = command.env("CLAUDE_PROJECT_DIR", project.0.path().join("project")).stdin(Stdio::null()).output();
    let output = output.expect("the run bit is set");
    assert!(String::from_utf8_lossy(&output.stdout).contains("provider status healthy"), "{output:?}");
}
