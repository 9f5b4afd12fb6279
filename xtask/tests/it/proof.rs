//! What a task may claim, and what it leaves behind when it is cut off.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

/// Without a login Omni cannot be asked: a provider that stays up is set up, and its health is not known.
#[test]
fn without_a_login_the_providers_health_is_not_claimed() {
    let mut lab = Sandbox::new();
    lab.run("provider-setup --yes").exits(0);
    assert!(lab.read(".claude/omni-scale.local.md").contains("provider_status: healthy"));
    lab.set("OMNI_SERVICE_ACCOUNT_KEY", None);
    let document = lab.run("provider-setup --yes --json").exits(0).json();
    let steps = document["steps"].as_array().unwrap();
    let proof = steps.iter().find(|step| step["id"] == "registration").unwrap();
    assert_eq!(proof["status"], "warning", "{proof}");
    assert!(proof["detail"].as_str().unwrap().contains("nobody is logged in"), "{proof}");
    let state = lab.read(".claude/omni-scale.local.md");
    assert!(state.contains("provider_status: unknown") && state.contains("provider_configured: true"), "{state}");
}

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

/// A new version is there when Omni has upgraded to it, not when it has taken the wish.
#[test]
fn a_new_version_is_waited_for() {
    let lab = Sandbox::new();
    lab.run("provider-setup --yes").exits(0);
    lab.class("small");
    let made = "cluster-create up --control-planes 1 --workers 1";
    lab.run(&format!("{made} --kubernetes-version v1.36.0 --yes")).exits(0);
    let template = lab.read("clusters/up.yaml");
    lab.write("clusters/up.yaml", &template.replace("1.36.0", "1.36.2"));
    lab.run("cluster-sync up --yes").exits(0).says(&["Running and ready"]);
    let document = lab.run("cluster-status up --json").exits(0).json();
    assert_eq!(document["data"]["cluster"]["upgrade"], "", "{document}");
    assert_eq!(document["data"]["cluster"]["running"], true, "{document}");
}
