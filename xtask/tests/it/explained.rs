//! What `cluster-explain` makes of each fault of the lab: the link that breaks and the causes, the first one first, are in the
//! lab's own table (`breaks` and `causes` in `lab/data/faults.yaml`).
//!
//! `EXPLAIN=NAME,NAME` tries some; `EXPLAIN_TABLE=FILE` writes down what was found.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use runtime::tool::lab::faults::{Fault, words};
use serde_json::Value;

use crate::faults::table;
use crate::sandbox::{Options, Sandbox};

/// How many faults are met at a time: most of the time is waited for.
const PARALLEL: usize = 6;

/// How often an explanation that is not the one that is due is asked for again.
const LOOKS: usize = 3;

/// Where a fault only shows in a look at Proxmox, the runbook goes on to a cluster, which it may keep from running.
const ON: [&str; 4] = [
    "provider-setup",
    "machineclass-create rehearsal-machine --cores 2 --memory 4096 --disk 20 --selector 'name == \"local-lvm\"'",
    "machineclass-apply rehearsal-machine",
    "cluster-create rehearsal --control-planes 1 --workers 1 --timeout 6s",
];

/// A sandbox in which the fault was met.
fn met(fault: &Fault) -> Sandbox {
    let lab = Sandbox::with(&Options { flags: &["--fault", &fault.name], ..Options::default() });
    let task = |line: &str| {
        let line = format!("{line} --yes");
        let _ = lab.run_words(&words(&line).iter().map(String::as_str).collect::<Vec<_>>());
    };
    for line in &fault.before {
        if let Some(change) = line.strip_prefix("edit ") {
            let (file, change) = change.split_once(": ").expect("a file");
            let (from, to) = change.split_once(" -> ").expect("a change");
            lab.write(file, &lab.read(file).replacen(from, to, 1));
            continue;
        }
        task(line);
    }
    task(&fault.task);
    let looks = ["proxmox-audit", "proxmox-inventory", "selector-test"];
    if fault.before.is_empty() && looks.iter().any(|task| fault.task.starts_with(task)) {
        ON.into_iter().for_each(task);
    }
    lab
}

/// The document, the broken link of the first cause, and the ids of the causes.
fn explained(lab: &Sandbox) -> (Value, String, Vec<String>) {
    let document = lab.run("cluster-explain --json --timeout 5s").json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let causes = document["data"]["causes"].as_array().cloned().unwrap_or_default();
    let breaks = causes.first().map_or(String::new(), |first| text(&first["link"]));
    let ids = causes.iter().map(|cause| text(&cause["id"])).collect();
    (document, breaks, ids)
}

/// The explanation once the state has settled: a look can fall between two states (a container in its restart), and the
/// next one says what stays. An explanation that is wrong stays wrong.
fn settled(fault: &Fault) -> (Value, String, Vec<String>) {
    let lab = met(fault);
    let mut found = explained(&lab);
    for _ in 0..LOOKS {
        if (&found.1, &found.2) == (&fault.breaks, &fault.causes) {
            break;
        }
        std::thread::sleep(Duration::from_secs(2));
        found = explained(&lab);
    }
    found
}

/// The provider's log keeps the node and the task for minutes alone: then Proxmox's own list has them, and the storage shows.
#[test]
fn full_storage_is_found_without_the_providers_log() {
    for (name, storage) in [("proxmox-storage-full", "local-lvm"), ("image-storage-full", "local")] {
        let fault = table().iter().find(|fault| fault.name == name).expect("a fault");
        let mut lab = met(fault);
        lab.stand_in("docker", "case \"$*\" in *logs*) exit 0;; esac\nexec @REAL@ \"$@\"");
        let (document, breaks, ids) = explained(&lab);
        assert_eq!((&breaks, &ids), (&fault.breaks, &fault.causes), "{document:#}");
        let lacks = |line: &str, code: i32, list: &str| {
            let document = lab.run(line).exits(code).json();
            let found = document["data"][list].to_string();
            assert!(found.contains(&format!("{storage} ")), "{line}: {document:#}");
        };
        lacks("proxmox-inventory --json", 0, "warnings");
        lacks("doctor --area provider --json", 1, "checks");
    }
}

#[test]
fn every_fault_is_explained_by_its_first_cause_and_by_no_other() {
    let only = std::env::var("EXPLAIN").unwrap_or_default();
    let chosen = |fault: &&&Fault| only.is_empty() || only.split(',').any(|name| name == fault.name);
    let faults: Vec<&Fault> = table().iter().collect();
    let queue = Mutex::new(faults.iter().filter(chosen));
    let (rows, wrong) = (Mutex::new(Vec::new()), Mutex::new(String::new()));
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some(fault) = { queue.lock().unwrap().next() } {
                    let (document, breaks, causes) = settled(fault);
                    let row = format!("{}\t{breaks}\t{}\t{}", fault.name, causes.join(" "), document["summary"]);
                    rows.lock().unwrap().push(row.clone());
                    if (&breaks, &causes) != (&fault.breaks, &fault.causes) {
                        let links = serde_json::to_string(&document["data"]["links"]).unwrap_or_default();
                        let _ = writeln!(
                            wrong.lock().unwrap(),
                            "{row}\n  due: {} {:?}\n  {links}",
                            fault.breaks,
                            fault.causes
                        );
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort();
    if let Ok(file) = std::env::var("EXPLAIN_TABLE") {
        std::fs::write(file, rows.join("\n")).unwrap();
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong}");
}
