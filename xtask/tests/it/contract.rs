//! The contract of `--json`: in any environment, and with any command line, standard output is exactly one document on one line,
//! which agrees with the exit code.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;

use serde_json::Value;

use crate::operation::with_cluster;
use crate::sandbox::{CommandOutput, Sandbox, in_parallel, list};

const EXIT_CODES: [i32; 8] = [0, 1, 2, 3, 4, 5, 124, 130];
const FILES: [&str; 4] = [".claude/omni-scale.local.md", "docker/.env", "docker/config.yaml", "docker/compose.yaml"];

/// Returns how the output breaks the contract; `None` if it does not.
fn broken(command: &mut Command) -> Option<String> {
    let CommandOutput { code, stdout: text, stderr } = CommandOutput::of(command);
    let fault = |what: &str| Some(format!("{what}: {code} {text:?} {stderr:?}"));
    let Ok(document) = serde_json::from_str::<Value>(&text) else { return fault("not one document") };
    let good = matches!(code, 0 | 3);
    let keys = ["schema_version", "task", "ok", "summary", "steps", "data", "next", "error"];
    if !EXIT_CODES.contains(&code) {
        fault("exit code")
    } else if text.matches('\n').count() != 1 || !text.ends_with('\n') {
        fault("not one line")
    } else if let Some(key) = keys.iter().find(|key| document.get(key).is_none()) {
        fault(&format!("no `{key}`"))
    } else if document["ok"] != good || document["error"].is_null() != good {
        fault("`ok` and `error` do not agree with the exit code")
    } else if !good && document["error"]["message"].as_str().is_none_or(str::is_empty) {
        fault("no message")
    } else if stderr.contains("panicked") {
        fault("a panic")
    } else {
        None
    }
}

/// Runs all tasks, a few in parallel, each modified by `with`.
#[track_caller]
fn holds(lab: &Sandbox, what: &str, with: impl Fn(&mut Command) + Sync) {
    let faults = in_parallel(list("contract"), 4, |line| {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = vec![name, "--json", "--dry-run", "--timeout", "20s"];
        // `--` ends the options, so the sandbox's own options come before it.
        let last = if rest.starts_with("-- ") { rest } else { "" };
        words.extend(rest.split(' ').filter(|word| !word.is_empty() && last.is_empty()));
        let mut command = lab.command(&words);
        command.args(last.split(' ').filter(|word| !word.is_empty()));
        with(&mut command);
        broken(&mut command).map(|fault| format!("{what}: {line}: {fault}"))
    });
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn json_is_one_document_in_every_environment() {
    let lab = with_cluster(0);
    holds(&lab, "as it is", |_| {});
    for (what, name, value) in [
        ("empty PATH", "PATH", Some("")),
        ("relative PATH", "PATH", Some(".:bin")),
        ("no PATH", "PATH", None),
        ("no HOME", "HOME", None),
        ("HOME=/dev/null", "HOME", Some("/dev/null")),
        ("no TMPDIR", "TMPDIR", Some("/nonexistent/tmp")),
    ] {
        holds(&lab, what, |command| match value {
            Some(value) => drop(command.env(name, value)),
            None => drop(command.env_remove(name)),
        });
    }
    holds(&lab, "no environment", |command| _ = command.env_clear());
}

#[test]
fn json_is_one_document_for_every_state_of_the_project_files() {
    let lab = with_cluster(0);
    for file in FILES {
        let (path, text) = (lab.file(file), lab.read(file));
        for (what, bytes) in [("nonsense", &b"A B C: [\n='\n"[..]), ("binary", &[0xff, 0xfe, 0, 1].repeat(100))] {
            fs::write(&path, bytes).expect("written");
            holds(&lab, &format!("{what} in {file}"), |_| {});
        }
        fs::remove_file(&path).expect("it is there");
        fs::create_dir(&path).expect("a directory");
        holds(&lab, &format!("a directory at {file}"), |_| {});
        fs::remove_dir(&path).expect("it is empty");
        std::os::unix::fs::symlink(&path, &path).expect("a link to itself");
        holds(&lab, &format!("a link loop at {file}"), |_| {});
        fs::remove_file(&path).expect("it is there");
        fs::write(&path, text).expect("restored");
    }
}

#[test]
fn json_is_one_document_for_every_command_line() {
    let lab = Sandbox::new();
    // Arguments are separated by spaces; `LONG` is a long one, `NOT-UTF-8` one of invalid bytes.
    let lines = "--json|--json --help|--help --json|--json --version|help --json|cluster-sync --json -h|cluster-sync --json --help|\
        --json --json doctor|doctor --json --json=true|--json no-such-task|--json |--json -|--json --|\
        cluster-status --json --no-such-flag|cluster-status --json NOT-UTF-8|NOT-UTF-8 --json|\
        cluster-status --json a\nb\x1b[31mc|cluster-status --json LONG|\
        cluster-status --json --timeout 99999999999999999999s|cluster-status --json --timeout=|stack-logs --json --follow|\
        triage --json /nonexistent/log|selector-test --json \"\"\"\\u{0}|machineclass-create --json --cores -1";
    let word = |word: &str| match word {
        "LONG" => "x".repeat(100_000).into(),
        "NOT-UTF-8" => OsString::from_vec(b"\xff\xfe".to_vec()),
        word => word.into(),
    };
    for line in lines.split('|') {
        assert_eq!(broken(&mut lab.command(line.split(' ').map(word))), None, "{line:?}");
    }
    let help = lab.run_words(&["cluster-sync", "--json", "--help"]).exits(0).json();
    assert_eq!(help["task"], "cluster-sync");
    assert!(help["data"]["text"].as_str().is_some_and(|text| text.contains("--all")), "{help:#}");
    for (words, same) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "cluster-sync"], &["cluster-sync", "--help"]),
        (&["version"], &["--version"]),
    ] {
        assert_eq!(lab.run_words(words).exits(0).stdout, lab.run_words(same).exits(0).stdout, "{words:?}");
    }
    let version = lab.run_words(&["--json", "--version"]).exits(0).json();
    assert!(version["summary"].as_str().is_some_and(|text| text.ends_with(env!("CARGO_PKG_VERSION"))), "{version:#}");
}

#[test]
fn environment_values_that_are_not_utf8_are_errors() {
    let lab = Sandbox::new();
    for (name, task) in [
        ("OMNI_ENDPOINT", "cluster-status"),
        ("PROXMOX_VE_API_TOKEN", "proxmox-inventory"),
        ("OMNI_SERVICE_ACCOUNT_KEY", "doctor"),
        ("OMNICONFIG", "cluster-status"),
    ] {
        let mut command = lab.command(&[task, "--json"]);
        command.env(name, OsStr::from_bytes(b"https://\xff\xfe.example.com"));
        let document = CommandOutput::of(&mut command).exits(2).json();
        assert_eq!(document["error"]["message"], format!("{name} in the environment is not valid UTF-8"));
    }
    // Other variables may have any value.
    let mut command = lab.command(["triage", "--json", "-"]);
    CommandOutput::of(command.env("LESSOPEN", OsStr::from_bytes(b"\xff"))).exits(0);
}

/// The tasks of the git hooks, with git missing or its variables pointing elsewhere.
#[test]
fn json_is_one_document_for_the_hooks_in_any_git() {
    let lab = Sandbox::new();
    let bare = lab.scratch().join("bare.git");
    let made = Command::new("git").args(["init", "-q", "--bare"]).arg(&bare).status().expect("git is there");
    assert!(made.success());
    let git_dir = bare.display().to_string();
    for task in ["staged-check", "commit-check", "changelog"] {
        for (name, value) in [("GIT_DIR", "/nonexistent"), ("GIT_DIR", git_dir.as_str()), ("PATH", "/nonexistent")] {
            assert_eq!(broken(lab.command([task, "--json"]).env(name, value)), None, "{task} {name}={value}");
        }
    }
}
