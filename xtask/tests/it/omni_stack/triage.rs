//! `triage`: a log against the known issues.

use std::fs;

use serde_json::Value;

use super::Hub;
use crate::sandbox::root;

/// The samples of `data/known-issues.yaml` with their ids.
fn samples() -> Vec<(String, String)> {
    let issues: Vec<serde_yaml::Value> = serde_yaml::from_str(include_str!("../../../data/known-issues.yaml")).unwrap();
    let text = |issue: &serde_yaml::Value, key: &str| issue[key].as_str().unwrap().to_owned();
    issues.iter().map(|issue| (text(issue, "id"), text(issue, "sample"))).collect()
}

#[test]
fn every_sample_is_named_once_at_its_line() {
    let samples = samples();
    assert!(samples.len() >= 60);
    let log: String = samples.iter().map(|(_, sample)| format!("all is well here\n{sample}\n")).collect();
    let hub = Hub::new();
    // A provider of an unknown release may have any issue.
    let compose = fs::read_to_string(root().join("docker/compose.yaml")).unwrap();
    hub.put("docker/compose.yaml", &compose.replace("provider-proxmox:v", "provider-proxmox:fix-of-v"), 0o644);
    let ran = hub.run_with(&["triage", "-", "--json"], &[], &log);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let document = ran.json();
    let found = document["data"]["findings"].as_array().unwrap();
    let seen: Vec<(&str, u64)> =
        found.iter().map(|each| (each["id"].as_str().unwrap(), each["line"].as_u64().unwrap())).collect();
    let wanted: Vec<(&str, u64)> =
        samples.iter().enumerate().map(|(at, (id, _))| (id.as_str(), at as u64 * 2 + 2)).collect();
    assert_eq!(seen, wanted);
    for each in found {
        for key in ["title", "cause", "fix", "next", "reference", "text"] {
            assert!(each[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {}", each["id"]);
        }
    }
}

/// A read that waits for more is restarted after a signal: it is given up all the same.
#[test]
fn triage_ends_at_the_first_interrupt_while_it_reads_standard_input() {
    use std::process::{Command, Stdio};
    let hub = Hub::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["triage", "-"]).current_dir(hub.project()).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = child.stdin.as_mut().unwrap();
    std::io::Write::write_all(log, b"a line, and more to come\n").unwrap();
    // Time to begin reading; too early it would end all the same.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if std::time::Instant::now() > end => {
                child.kill().unwrap();
                panic!("it still reads");
            }
            None => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    };
    assert_eq!(status, Some(130));
}

/// Through the whole program: the object of the line in `next`, and what the project knows.
#[test]
fn next_names_the_objects_of_the_log() {
    let hub = Hub::new();
    let log = "TASK ERROR: can't lock file '/var/lock/qemu-server/lock-4711.conf' - got timeout\n\
               TASK ERROR: Permission check failed (/sdn/zones/zebra/vnet9, SDN.Use)\n";
    let document = hub.run_with(&["triage", "-", "--json"], &[], log).json();
    assert_eq!(document["next"][0], "qm status 4711", "{document:#}");
    let grant = document["next"][1].as_str().unwrap();
    assert!(grant.starts_with("pveum acl modify /sdn/zones/zebra/vnet9 --users "), "{grant}");
    let shown = hub.run_with(&["triage", "-"], &[], log);
    assert!(shown.stdout.contains("   next: qm status 4711\n") && !shown.stdout.contains("100"), "{}", shown.stdout);
}

#[test]
fn nothing_known_is_an_answer() {
    let ran = Hub::new().run_with(&["triage", "--json"], &[], "all is well\n\u{1b}[31mred\u{1b}[0m\n");
    let document = ran.json();
    assert_eq!(
        (ran.code, &document["data"]["findings"], &document["data"]["lines"]),
        (0, &Value::Array(vec![]), &2.into())
    );
    assert_eq!(document["next"][0], "cargo xtask doctor");
}

#[test]
fn files_of_other_systems_are_read_or_said_to_be_none() {
    let hub = Hub::new();
    let (id, sample) = samples().swap_remove(0);
    let path = hub.project().join("odd.log");
    for (mark, of) in [([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), ([0xfe, 0xff], u16::to_be_bytes)] {
        let wide = format!("ok\r\n{sample}\r\n").encode_utf16().flat_map(of).collect::<Vec<u8>>();
        std::fs::write(&path, [&mark[..], &wide].concat()).unwrap();
        let document = hub.run(&["triage", "odd.log", "--json"]).json();
        let found = &document["data"]["findings"];
        assert_eq!(
            (&found[0]["id"], &found[0]["line"], &found[1]),
            (&Value::from(id.as_str()), &2.into(), &Value::Null),
            "{document:#}"
        );
    }
    std::fs::write(&path, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]).unwrap();
    let ran = hub.run(&["triage", "odd.log", "--json"]);
    assert_eq!((ran.code, ran.json()["error"]["code"].as_str()), (1, Some("invalid")), "{}", ran.stdout);
    assert!(ran.json()["error"]["hint"].as_str().unwrap().contains("zcat"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ran = Hub::new().run(&["triage", "nowhere.log", "--json"]);
    assert_eq!((ran.code, ran.json()["error"]["code"].as_str()), (1, Some("not_found")));
    assert!(ran.json()["error"]["message"].as_str().unwrap().contains("nowhere.log"));
}
