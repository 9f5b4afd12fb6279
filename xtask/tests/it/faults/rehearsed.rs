//! `lab-faults`, `lab-up --fault` and `rehearse --fault`, as an operator uses them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::table;
use crate::lab::runner;
use crate::sandbox::{CommandOutput, Scratch, lab_program, pin, root};

fn run(line: &str) -> CommandOutput {
    CommandOutput::of(&mut runner(line))
}

/// A drill reveals the fault when it detects that the fault is fixed, or when its time is up.
#[test]
fn drill_ends_when_the_fault_is_fixed() {
    let mut drill = runner("rehearse --fault docker-no-tun --drill").stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(drill.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let mut before = Vec::new();
    let project = lines.by_ref().find_map(|line| {
        let heal =
            line.trim().strip_prefix("cargo xtask --project-dir ")?.strip_suffix(" lab-heal NAME").map(str::to_owned);
        before.push(line);
        heal
    });
    assert!(!before.join("\n").contains("docker-no-tun"), "{before:#?}");
    let project = project.expect("where it is");
    run(&format!("--project-dir {project} lab-heal omni-eula")).exits(1);
    run(&format!("--project-dir {project} lab-heal docker-no-tun")).exits(0);
    let env = std::path::Path::new(&project).with_file_name("env");
    let stack_up =
        format!(". {} && exec {} stack-up --yes --project-dir {project}", env.display(), env!("CARGO_BIN_EXE_xtask"));
    CommandOutput::of(Command::new("sh").args(["-c", &stack_up]).env("HOME", Scratch::new().path())).exits(0);
    let after: Vec<String> = lines.collect();
    assert!(drill.wait().is_ok_and(|status| status.success()), "{after:#?}");
    assert!(after.join("\n").contains("the fault was docker-no-tun"), "{after:#?}");
    let late = run("rehearse --fault docker-no-tun --drill --timeout 8s --json").exits(124).json();
    let message = late["error"]["message"].as_str().unwrap_or_default();
    assert!(message.ends_with("the fault was docker-no-tun"), "{late:#}");
}

#[test]
fn faults_are_listed_all_and_by_group() {
    let all = run("lab-faults --json").exits(0).json();
    assert_eq!(all["data"]["faults"].as_array().map(Vec::len), Some(table().len()));
    let shown = run("lab-faults").exits(0);
    for fault in table() {
        assert!(shown.stdout.contains(&fault.name) && shown.stdout.contains(&fault.heals), "{}", fault.name);
    }
    let some = run("lab-faults --group docker --json").exits(0).json();
    let groups: Vec<&Value> = some["data"]["faults"].as_array().unwrap().iter().map(|fault| &fault["group"]).collect();
    assert!(groups.len() > 5 && groups.iter().all(|group| **group == "docker"), "{groups:?}");
    run("lab-faults --group dokcer").exits(2).says(&["there is no group `dokcer`", "did you mean `docker`?"]);
}

#[test]
fn an_unknown_fault_names_the_near_ones_everywhere() {
    for task in ["rehearse", "lab-up --yes"] {
        let error = run(&format!("{task} --fault docker-dwon --json")).exits(2).json()["error"].clone();
        assert_eq!(error["code"], "usage", "{task}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("docker-down")), "{task}: {error}");
        run(&format!("{task} --fault docker-down:soon")).exits(2).says(&["is not a valid time for", "..2"]);
    }
    let mut lab = Command::new(lab_program());
    let ran = CommandOutput::of(lab.args(["serve", "--dir", "/nowhere", "--fault", "omni-unreachble"]));
    assert_ne!(ran.code, 0);
    ran.says(&["did you mean omni-unreachable"]);
}

#[test]
fn a_rehearsed_fault_is_one_document_and_leaves_nothing() {
    let ran = run("rehearse --fault docker-down --json").exits(0);
    assert_eq!(ran.stdout.trim().lines().count(), 1, "{}", ran.stdout);
    let data = &ran.json()["data"];
    assert_eq!((&data["fault"]["name"], &data["exit"]), (&"docker-down".into(), &5.into()), "{data:#}");
    assert_eq!(data["stopped_at"]["error"]["code"], "unreachable");
    assert!(data["fault"]["heals"].as_str().unwrap().contains("systemctl start docker"));
    let left = std::fs::read_dir(root().join("target")).unwrap().flatten().filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("rehearsal-")?.to_owned();
        (!std::path::Path::new("/proc").join(pid).exists()).then_some(name)
    });
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_rehearsal_shows_what_the_task_says_and_what_ends_it() {
    let ran = run("rehearse --fault cluster-kubernetes-refused").exits(0);
    ran.says(&[
        "fault cluster-kubernetes-refused",
        "$ cargo xtask machineclass-apply rehearsal-machine",
        &format!("Talos {} does not support Kubernetes {}", pin("talos"), pin("kubernetes")),
        "what ends it: use a Kubernetes version that is offered",
        "exited with 1, as it does on a real system",
    ]);
    let plan = run("rehearse --fault docker-down --dry-run --json").exits(3).json();
    assert_eq!(plan["data"]["plan"][0]["object"], "cargo xtask stack-up");
}

#[test]
fn fault_that_does_not_occur_is_a_failure() {
    // Only from the ninth call of docker on, which the task does not reach.
    let ran = run("rehearse --fault docker-down:99+ --json").exits(1).json();
    assert!(ran["error"]["message"].as_str().is_some_and(|message| message.contains(", not with 5")), "{ran:#}");
}
