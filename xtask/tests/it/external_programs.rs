//! Far ends and programs that answer with what no task expects: pages of HTML, half a document, nothing, another shape,
//! redirects, refusals, silence. Each task that asks them ends with one error, which says what, where and why, and how to go
//! on, with the exit code of the design; and every file is as it was.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::operation::with_cluster;
use crate::sandbox::{Files, Sandbox, list};

/// Stands before the real program. While there is a file `NAME.says`, a call that holds the words of `NAME.asked`, in its
/// arguments or for curl in its configuration, gets that and the status of `NAME.ends`.
const STAND_IN: &str = concat!("#!/bin/sh\n", include_str!("../fixtures/stand-ins/says"));

/// A lab in which the runbook has been gone through, with programs that can be told what to say.
struct Rig {
    lab: Sandbox,
    dir: PathBuf,
    /// What was found wrong: all of it is told in the end.
    wrong: RefCell<Vec<String>>,
}

impl Rig {
    fn new() -> Rig {
        let mut lab = with_cluster(0);
        lab.set("DOCKER_HOST", Some("tcp://lab"));
        // Something to bring to Omni, so that changing tasks do not end early.
        let template = lab.read("clusters/demo.yaml");
        lab.write("clusters/demo.yaml", &template.replacen("size: 1", "size: 3", 1));
        let class = lab.read("machine-classes/small.yaml");
        lab.write("machine-classes/small.yaml", &class.replace("cores: 2", "cores: 4"));
        let dir = lab.scratch().join("rig");
        lab.stand_before(&dir, "curl omnictl docker", STAND_IN);
        Rig { lab, dir, wrong: RefCell::default() }
    }

    /// From now on a call of `program` that holds `asked` says this, and ends so.
    fn says(&self, program: &str, asked: &str, out: &str, err: &str, ends: i32) {
        for (what, text) in [("asked", asked), ("cries", err), ("ends", &ends.to_string()), ("says", out)] {
            fs::write(self.dir.join(format!("{program}.{what}")), text).expect("written");
        }
    }

    /// The files of the operator. What was seen of the provider's health is kept also when it is bad.
    fn files(&self) -> Files {
        let mut files = self.lab.files();
        let state = files.get_mut(".claude/omni-scale.local.md").expect("a state");
        let text = String::from_utf8_lossy(&state.1).into_owned();
        let health = |line: &&str| !line.starts_with("provider_status:") && !line.starts_with("last_checked:");
        let front: Vec<&str> = text.split("## ").next().unwrap_or_default().lines().filter(health).collect();
        state.1 = front.join("\n").into_bytes();
        files
    }

    /// Runs `line`, which must fail as the design says, and say one of `named`; what is wrong with that is noted.
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

/// What curl prints of an answer: its headers, its body, and the trailer that the tasks ask for.
fn answer(status: u16, reason: &str, content: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} {reason}\r\nContent-Type: {content}\r\n\r\n{body}\n{status} {content}")
}

/// What a program prints instead of an answer.
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

/// A list of `fixtures/external-programs.yaml`.
fn printed(list: &str) -> Vec<Printed> {
    let lists: BTreeMap<String, Vec<Printed>> =
        serde_yaml::from_str(include_str!("../fixtures/external-programs.yaml")).expect("the lists");
    lists[list].clone()
}

/// What a program in the place of another prints: the list in `fixtures/external-programs.yaml`, what is asked (of which program, with
/// which words in it), the tasks in their turn, how many of them meet each answer, and what they name.
#[track_caller]
fn meets(list: &str, (program, asked): (&str, &str), tasks: &[&str], each: usize, named: &[&str]) {
    let rig = Rig::new();
    let url = |name: &str| rig.lab.env(name).trim_end_matches("/api2/json").to_owned();
    let asked = if asked.ends_with("_ENDPOINT") { url(asked) } else { asked.to_owned() };
    let mut turn = tasks.iter().cycle();
    // An empty answer is what a healthy Omni gives, and a log may be anything. A plan that cannot be read is none: there what fails
    // counts.
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
fn a_proxmox_that_is_none() {
    // They share what asks: each answer meets half of them.
    let tasks =
        "provider-setup --yes|cluster-plan demo|proxmox-inventory|proxmox-audit|provider-verify|selector-test true";
    meets("curl", ("curl", "PROXMOX_VE_ENDPOINT"), &tasks.split('|').collect::<Vec<_>>(), 3, &["Proxmox"]);
}

#[test]
fn an_omni_that_is_none() {
    let tasks = ["provider-setup --yes", "provider-verify", "omni-verify"];
    meets("curl", ("curl", "OMNI_ENDPOINT"), &tasks, 2, &["Omni"]);
}

#[test]
fn an_omnictl_that_prints_anything() {
    let looks = ["cluster-status", "cluster-status demo", "provider-verify"];
    meets("tools", ("omnictl", ""), &looks, 3, &["omnictl"]);
    let changes = ["machineclass-apply small --yes", "cluster-create two --control-planes 1 --workers 0 --yes"];
    meets("tools", ("omnictl", "get "), &changes, 2, &["omnictl"]);
    meets("tools", ("omnictl", " sync "), &["cluster-sync demo --yes"], 1, &["omnictl"]);
    meets("tools", ("omnictl", "apply "), &changes[..1], 1, &["omnictl"]);
}

#[test]
fn a_docker_that_prints_anything() {
    let tasks =
        "provider-setup --yes|provider-status|stack-up --yes|stack-down --yes|omni-status|provider-verify|stack-logs";
    meets("tools", ("docker", ""), &tasks.split('|').collect::<Vec<_>>(), 4, &["docker"]);
}

/// What no stand-in says: nobody at the address, a certificate that nobody vouches for, a program that is not there.
#[test]
fn what_is_not_there() {
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
    // provider-setup has kept which authority is to be trusted.
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

/// An answer in Proxmox's frame, with another thing inside than what was asked for.
#[test]
fn a_proxmox_that_answers_another_shape() {
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
