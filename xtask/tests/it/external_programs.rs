//! Services and programs with unexpected responses: HTML pages, half a document, nothing, another structure, redirects, refusals,
//! silence. Each task that queries them ends with one error, which describes what failed, where, why, and how to continue, and
//! with the intended exit code. No file changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::operation::with_cluster;
use crate::sandbox::{Files, Sandbox, list};

/// Runs instead of the real program. While a file `NAME.says` exists, a call that contains the words of `NAME.asked`, in its
/// arguments or for curl in its configuration, prints that file and exits with the status in `NAME.ends`.
const STAND_IN: &str = concat!("#!/bin/sh\n", include_str!("../fixtures/stand-ins/says"));

/// A lab in which the runbook has run, with programs whose output can be replaced.
struct Rig {
    lab: Sandbox,
    dir: PathBuf,
    /// The errors found; all of them are reported at the end.
    wrong: RefCell<Vec<String>>,
}

impl Rig {
    fn new() -> Rig {
        let mut lab = with_cluster(0);
        lab.set("DOCKER_HOST", Some("tcp://lab"));
        // Something to apply to Omni, so that changing tasks do not end early.
        let template = lab.read("clusters/demo.yaml");
        lab.write("clusters/demo.yaml", &template.replacen("size: 1", "size: 3", 1));
        let class = lab.read("machine-classes/small.yaml");
        lab.write("machine-classes/small.yaml", &class.replace("cores: 2", "cores: 4"));
        let dir = lab.scratch().join("rig");
        lab.wrap_programs(&dir, "curl omnictl docker", STAND_IN);
        Rig { lab, dir, wrong: RefCell::default() }
    }

    /// From now on, a call of `program` that contains `asked` prints this and exits with this status.
    fn says(&self, program: &str, asked: &str, out: &str, err: &str, ends: i32) {
        for (what, text) in [("asked", asked), ("cries", err), ("ends", &ends.to_string()), ("says", out)] {
            fs::write(self.dir.join(format!("{program}.{what}")), text).expect("written");
        }
    }

    /// Returns the operator's files, without the provider's health, which is saved even if it is bad.
    fn files(&self) -> Files {
        let mut files = self.lab.files();
        let state = files.get_mut(".claude/omni-scale.local.md").expect("a state");
        let text = String::from_utf8_lossy(&state.1).into_owned();
        let health = |line: &&str| !line.starts_with("provider_status:") && !line.starts_with("last_checked:");
        let front: Vec<&str> = text.split("## ").next().unwrap_or_default().lines().filter(health).collect();
        state.1 = front.join("\n").into_bytes();
        files
    }

    /// Runs `line`, which must fail as intended and mention one of `named`; records what is wrong.
    fn refused(&self, line: &str, case: &str, named: &[&str]) {
        let before = self.files();
        let ran = self.lab.run(&format!("{line} --json --timeout 3s"));
        let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        let error = &document["error"];
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let all = format!("{} {} {}", text("message"), text("cause"), text("hint"));
        let expected = match text("code").as_str() {
            "usage" | "missing_input" => 2,
            "prerequisite" => 4,
            "unreachable" | "refused" => 5,
            "timeout" => 124,
            _ => 1,
        };
        let next = document["next"].as_array().is_some_and(|next| !next.is_empty());
        for (holds, what) in [
            (!ran.stderr.contains("panicked"), "it panicked"),
            (document["ok"] == false && ran.code != 0, "it did not fail"),
            (ran.code == expected, "its exit code is not that of its error"),
            (!text("message").is_empty() && !text("cause").is_empty(), "it does not say what and why"),
            (!text("hint").is_empty() || next, "it does not say how to go on"),
            (named.iter().any(|name| all.contains(name)), "it does not say where"),
            (self.files() == before, "a file has changed"),
        ] {
            if !holds {
                let said = format!("{line}, {case}: {what} (exit {}): {error}", ran.code);
                self.wrong.borrow_mut().push(said);
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let wrong = self.wrong.borrow();
        assert!(wrong.is_empty() || std::thread::panicking(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// Formats a response as curl prints it: its headers, its body, and the trailer that the tasks request.
fn answer(status: u16, reason: &str, content: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} {reason}\r\nContent-Type: {content}\r\n\r\n{body}\n{status} {content}")
}

/// What a program prints instead of the expected output.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    case: String,
    #[serde(default)]
    out: String,
    #[serde(default)]
    err: String,
    #[serde(default)]
    ends: i32,
}

/// Reads a list of `fixtures/external-programs.yaml`.
fn printed(list: &str) -> Vec<Printed> {
    let lists: BTreeMap<String, Vec<Printed>> =
        serde_yaml::from_str(include_str!("../fixtures/external-programs.yaml")).expect("the lists");
    lists[list].clone()
}

/// Runs tasks with a replaced program: the list in `fixtures/external-programs.yaml`, the query (of which program, containing
/// which words), the tasks in turn, how many of them get each response, and what their errors mention.
#[track_caller]
fn meets(list: &str, (program, asked): (&str, &str), tasks: &[&str], each: usize, named: &[&str]) {
    let rig = Rig::new();
    let url = |name: &str| rig.lab.env(name).trim_end_matches("/api2/json").to_owned();
    let asked = if asked.ends_with("_ENDPOINT") { url(asked) } else { asked.to_owned() };
    let mut turn = tasks.iter().cycle();
    // A healthy Omni returns an empty response, and a log may contain anything. For plans, only failures count, because an
    // unreadable plan is treated as empty.
    let only_failures = ["sync", "apply"].iter().any(|word| asked.contains(word));
    let of_omni = asked.starts_with("https") && named == ["Omni"];
    let answers = printed(list).into_iter().filter(|answer| !(of_omni && answer.case == "nothing"));
    for Printed { case, out, err, ends } in answers.filter(|answer| !only_failures || answer.ends != 0) {
        rig.says(program, &asked, &out, &err, ends);
        for line in turn.by_ref().filter(|line| ends != 0 || **line != "stack-logs").take(each) {
            let place = if program == "curl" { asked.as_str() } else { program };
            rig.refused(line, &case, &[named, &[place]].concat());
        }
    }
}

#[test]
fn invalid_proxmox_responses_are_reported() {
    // The tasks share the query, so each response is tested with half of them.
    let tasks =
        "provider-setup --yes|cluster-plan demo|proxmox-inventory|proxmox-audit|provider-verify|selector-test true";
    meets("curl", ("curl", "PROXMOX_VE_ENDPOINT"), &tasks.split('|').collect::<Vec<_>>(), 3, &["Proxmox"]);
}

#[test]
fn invalid_omni_output_is_reported() {
    let tasks = ["provider-setup --yes", "provider-verify", "omni-verify"];
    meets("curl", ("curl", "OMNI_ENDPOINT"), &tasks, 2, &["Omni"]);
}

#[test]
fn unexpected_omnictl_output_is_reported() {
    let looks = ["cluster-status", "cluster-status demo", "provider-verify"];
    meets("tools", ("omnictl", ""), &looks, 3, &["omnictl"]);
    let changes = ["machineclass-apply small --yes", "cluster-create two --control-planes 1 --workers 0 --yes"];
    meets("tools", ("omnictl", "get "), &changes, 2, &["omnictl"]);
    meets("tools", ("omnictl", " sync "), &["cluster-sync demo --yes"], 1, &["omnictl"]);
    meets("tools", ("omnictl", "apply "), &changes[..1], 1, &["omnictl"]);
}

#[test]
fn unexpected_docker_output_is_reported() {
    let tasks =
        "provider-setup --yes|provider-status|stack-up --yes|stack-down --yes|omni-status|provider-verify|stack-logs";
    meets("tools", ("docker", ""), &tasks.split('|').collect::<Vec<_>>(), 4, &["docker"]);
}

/// Failures without a replaced program: no server at the address, an untrusted certificate, a missing program.
#[test]
fn missing_servers_and_programs_are_reported() {
    let mut rig = Rig::new();
    let tasks = |lists: &[&str], more: &[&'static str]| -> Vec<&str> {
        lists.iter().flat_map(|name| list(name)).map(String::as_str).chain(more.iter().copied()).collect()
    };
    let (omni, ca) = (rig.lab.env("OMNI_ENDPOINT").to_owned(), rig.lab.env("SSL_CERT_FILE").to_owned());
    for address in ["https://127.0.0.1:1", "https://no-such-name.invalid"] {
        rig.lab.set("OMNI_ENDPOINT", Some(address));
        for line in tasks(&["of-omni"], &["omnictl-install --force --yes --mirror http://127.0.0.1:1"]) {
            rig.refused(line, address, &["127.0.0.1", "no-such-name.invalid"]);
        }
    }
    rig.lab.set("OMNI_ENDPOINT", Some(&omni));
    rig.lab.set("SSL_CERT_FILE", None);
    // provider-setup has saved which CA to trust.
    let env = rig.lab.read("docker/.env");
    let trusting: Vec<&str> = env.lines().filter(|line| !line.starts_with("PROVIDER_CA_FILE=")).collect();
    rig.lab.write("docker/.env", &(trusting.join("\n") + "\n"));
    for line in tasks(&["of-omni", "of-proxmox"], &[]) {
        rig.refused(line, "self-signed", &["is not trusted"]);
    }
    rig.lab.write("docker/.env", &env);
    rig.lab.set("SSL_CERT_FILE", Some(&ca));
    rig.lab.set("PATH", Some("/nowhere"));
    for (tasks, program) in [
        (tasks(&["of-omni"], &[]), "omnictl"),
        (tasks(&["of-proxmox"], &["cluster-plan demo", "omni-setup --yes", "omnictl-install --yes"]), "curl"),
        (tasks(&["of-docker"], &[]), "docker"),
    ] {
        for line in tasks {
            let named = format!("`{program}` is not installed");
            rig.refused(line, "no program", &[&named, "`docker` is not installed", "`curl` is not installed"]);
        }
    }
}

/// A response in Proxmox's format, whose data has another structure than expected.
#[test]
fn proxmox_data_of_another_shape_causes_no_panic() {
    let rig = Rig::new();
    let tasks = ["proxmox-audit", "proxmox-inventory", "cluster-plan demo", "selector-test true"];
    let mut turn = tasks.iter().cycle();
    for path in ["/nodes\"", "/storage\"", "/version\"", "/access/permissions", "/network", "/qemu"] {
        for data in ["null", "5", "\"text\"", "[]", "{}", "[5]", "[{}]", "[{\"node\":5}]", "{\"a\":{\"b\":[1]}}"] {
            rig.says("curl", path, &answer(200, "OK", "application/json", &format!("{{\"data\":{data}}}")), "", 0);
            for line in turn.by_ref().take(1) {
                let before = rig.files();
                let ran = rig.lab.run(&format!("{line} --json"));
                let place = format!("{line}, {data} at {path}: {ran:#?}");
                assert!(!ran.stderr.contains("panicked") && (0..=5).contains(&ran.code), "{place}");
                assert_eq!(ran.json()["ok"], ran.code == 0 || ran.code == 3, "{place}");
                assert_eq!(rig.files(), before, "{place}");
            }
        }
    }
}
