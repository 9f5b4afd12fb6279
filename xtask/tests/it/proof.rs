//! What a task may claim, and what it leaves behind when it is cut off.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

/// What a flag says holds for omnictl too, not for the task's own calls alone.
#[test]
fn the_endpoint_of_the_flag_is_the_one_that_omnictl_asks() {
    let mut lab = Sandbox::new();
    let endpoint = lab.env("OMNI_ENDPOINT").to_owned();
    lab.set("OMNI_ENDPOINT", Some("https://127.0.0.1:9"));
    lab.run("provider-setup --yes").exits(5).says(&["127.0.0.1:9"]);
    lab.run(&format!("provider-setup --yes --omni-endpoint {endpoint}")).exits(0);
}

/// `provider-status --follow | head` ends when head does, also when the log says nothing more.
#[test]
fn following_a_log_ends_with_its_reader() {
    let lab = Sandbox::new();
    lab.run("provider-setup --yes").exits(0);
    let mut command = lab.command(&["provider-status", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(!line.trim().is_empty());
    drop(reader);
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on without a reader");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
}

/// A run that was killed while it wrote leaves a file with secrets in it: the next changing task takes it away.
#[test]
fn what_a_killed_run_left_is_swept_by_the_next_one() {
    let lab = Sandbox::new();
    for left in ["docker/..env.omni-scale-x1Y2z3.tmp", ".claude/.omni-scale.local.md.omni-scale-x1Y2z3.tmp"] {
        lab.write(left, "OMNI_INFRA_PROVIDER_KEY=canary\n");
    }
    lab.run("provider-setup --dry-run").exits(3);
    assert!(lab.file("docker/..env.omni-scale-x1Y2z3.tmp").exists(), "a dry run changes nothing");
    lab.run("provider-setup --yes").exits(0);
    assert!(!lab.file("docker/..env.omni-scale-x1Y2z3.tmp").exists());
    assert!(!lab.file(".claude/.omni-scale.local.md.omni-scale-x1Y2z3.tmp").exists());
}
