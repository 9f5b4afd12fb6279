//! What `cluster-explain` makes of each fault of the lab: the link that breaks and the causes, the first one first, are in the
//! lab's own table (`breaks` and `causes` in `lab/data/faults.yaml`).
//!
//! `EXPLAIN=NAME,NAME` tries some; `EXPLAIN_TABLE=FILE` writes down what was found.

use std::collections::BTreeMap;
use std::io::Write;
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
pub fn met(fault: &Fault) -> Sandbox {
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
    settled_in(&met(fault), fault)
}

pub fn settled_in(lab: &Sandbox, fault: &Fault) -> (Value, String, Vec<String>) {
    let mut found = explained(lab);
    for _ in 0..LOOKS {
        if (&found.1, &found.2) == (&fault.breaks, &fault.causes) {
            break;
        }
        std::thread::sleep(Duration::from_secs(2));
        found = explained(lab);
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

/// Every machine has its steps in their order, with the times of both Omni and Proxmox; without Proxmox those in between are one.
#[test]
fn timeline_shows_each_step_of_each_machine() {
    // Slow, so that a busy host does not look like a slow step.
    let lab = Sandbox::with(&Options { clock: Some(60), ..Options::default() });
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 2 --yes").exits(0);
    let steps = |lab: &Sandbox| -> Vec<String> {
        let document = lab.run("cluster-explain demo --timeline --json").json();
        let rows = document["data"]["timeline"].as_array().expect("a timeline").clone();
        assert_eq!(rows.len(), 3, "{document:#}");
        let step = |it: &Value| {
            assert!(it["seconds"].is_u64() && it["usually"].as_u64() > Some(0), "{it:#}");
            it["step"].as_str().unwrap_or_default().to_owned()
        };
        let words =
            |row: &Value| row["steps"].as_array().into_iter().flatten().map(step).collect::<Vec<_>>().join(", ");
        rows.iter().map(words).collect()
    };
    assert_eq!(steps(&lab), ["prepare, create, start, join, configure"; 3]);
    lab.run("cluster-explain demo --timeline").exits(0).says(&["MACHINE", "STEPS", "prepare ", ", join "]);
    let config = lab.read("docker/config.yaml");
    let away =
        |line: &str| if line.contains("url:") { "  url: https://127.0.0.1:9/api2/json" } else { line }.to_owned();
    lab.write("docker/config.yaml", &config.lines().map(away).collect::<Vec<_>>().join("\n"));
    assert_eq!(steps(&lab), ["prepare to join, configure"; 3]);
}

/// Does something with each of these faults, some at a time; what comes back is what is wrong with them.
#[track_caller]
fn for_each(faults: &[&Fault], look: impl Fn(&Fault) -> Result<(), String> + Sync) {
    let (queue, wrong) = (Mutex::new(faults.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some(fault) = { queue.lock().expect("unpoisoned").next() } {
                    if let Err(why) = look(fault) {
                        wrong.lock().expect("unpoisoned").push(why);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("unpoisoned");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Appends a row to the file that `variable` names, if it does.
fn note(variable: &str, row: &str) {
    if let Ok(file) = std::env::var(variable) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
        writeln!(file.expect("a file"), "{row}").expect("written");
    }
}

#[test]
fn every_fault_is_explained_by_its_first_cause_and_by_no_other() {
    let only = std::env::var("EXPLAIN").unwrap_or_default();
    let chosen = |fault: &&Fault| only.is_empty() || only.split(',').any(|name| name == fault.name);
    let faults: Vec<&Fault> = table().iter().filter(chosen).collect();
    for_each(&faults, |fault| {
        let (document, breaks, causes) = settled(fault);
        let row = format!("{}\t{breaks}\t{}\t{}", fault.name, causes.join(" "), document["summary"]);
        note("EXPLAIN_TABLE", &row);
        let links = serde_json::to_string(&document["data"]["links"]).unwrap_or_default();
        match (&breaks, &causes) == (&fault.breaks, &fault.causes) {
            true => Ok(()),
            false => Err(format!("{row}\n  due: {} {:?}\n  {links}", fault.breaks, fault.causes)),
        }
    });
}

/// Nothing is destroyed without the name, and nothing at all that costs etcd its quorum.
#[test]
fn healing_takes_consent_and_keeps_the_quorum() {
    let lab = met(table().iter().find(|fault| fault.name == "machine-vm-deleted").expect("a fault"));
    let names = |lab: &Sandbox| machines(&lab.dump()).into_keys().collect::<Vec<_>>();
    let before = names(&lab);
    let planned = lab.run("cluster-explain rehearsal --heal --dry-run --json").exits(3).json();
    let step = &planned["data"]["plan"][0];
    assert!(step["object"].as_str().is_some_and(|it| it.starts_with("cargo xtask machine-replace ")), "{planned:#}");
    assert!(step["destroys"].as_array().is_some_and(|lost| !lost.is_empty()), "{planned:#}");
    assert_eq!(planned["data"]["allow_destroy"], serde_json::json!(["rehearsal"]));
    for (flags, missing) in [("", "--yes"), (" --yes", "--allow-destroy rehearsal")] {
        let line = format!("cluster-explain rehearsal --heal{flags} --non-interactive");
        lab.run(&line).exits(2).says(&[missing]);
    }
    lab.run("cluster-explain --heal --request x").exits(2).says(&["cannot be used with"]);
    assert_eq!(names(&lab), before);
    lab.run("cluster-explain rehearsal --heal --yes --allow-destroy rehearsal --timeout 60s").exits(0);
    // Then the only control plane is lost.
    let state = lab.dump();
    let vms = state["proxmox"]["vms"].as_array().expect("a list");
    let own = |vm: &&Value| vm["name"].as_str().is_some_and(|name| name.contains("control-planes"));
    let vm = vms.iter().find(own).expect("a control plane");
    let path = format!(
        "{}/api2/json/nodes/{}/qemu/{}",
        lab.env("PROXMOX_VE_ENDPOINT"),
        vm["node"].as_str().unwrap_or_default(),
        vm["vmid"]
    );
    let token = format!("Authorization: PVEAPIToken={}", lab.env("PROXMOX_VE_API_TOKEN"));
    let call = |method: &str, path: &str| {
        let curl = std::process::Command::new("curl")
            .args(["-sf", "-X", method, "-H", &token, "--cacert"])
            .arg(lab.env("SSL_CERT_FILE"))
            .arg(path)
            .output();
        curl.is_ok_and(|output| output.status.success())
    };
    assert!(call("POST", &format!("{path}/status/stop")));
    crate::sandbox::wait_for("the VM can be deleted", || call("DELETE", &path));
    let found = || lab.run("cluster-explain rehearsal --json").json()["data"]["causes"].clone();
    let lost = |causes: &Value| {
        let of = |it: &Value| it["id"] == "vm-missing" && it["cause"].to_string().contains("control-planes");
        causes.as_array().is_some_and(|all| all.iter().any(of))
    };
    crate::sandbox::wait_for("Omni has lost the control plane", || lost(&found()));
    let line = "cluster-explain rehearsal --heal --yes --allow-destroy rehearsal --timeout 20s";
    lab.run(line).exits(1).says(&["takes a human", "cannot be replaced now"]);
    assert!(machines(&lab.dump()).values().any(|role| role == "controlplane"));
}

/// The machines of the clusters, by their requests, each with its role.
fn machines(state: &Value) -> BTreeMap<String, String> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let sets = list(&state["omni"], "clusters").into_iter().flat_map(|cluster| list(&cluster, "machine_sets"));
    sets.flat_map(|set| list(&set, "machines").into_iter().map(move |it| (text(&it["request"]), text(&set["role"]))))
        .collect()
}

/// A robot that takes the steps of `--heal` and nothing else: in the end nothing is broken, or a human step is named with its
/// reason. No control plane is lost, and every VM belongs to a machine. `HEAL=all` or `HEAL=NAME,NAME` chooses other faults, and
/// `HEAL_TABLE=FILE` gets what was found.
#[test]
fn healing_ends_with_nothing_broken_or_with_a_human_step() {
    const SAMPLE: &str = "machine-vm-stopped,machine-vm-deleted,provider-stopped,docker-sidecar-died,docker-port-taken,\
                          omnictl-api-mismatch,cluster-delete-stuck,cluster-locked";
    let only = std::env::var("HEAL").unwrap_or_else(|_| SAMPLE.to_owned());
    let chosen = |fault: &&Fault| only == "all" || only.split(',').any(|name| name == fault.name);
    let faults: Vec<&Fault> = table().iter().filter(chosen).collect();
    for_each(&faults, |fault| {
        let lab = met(fault);
        let before = machines(&lab.dump());
        let run = lab.run("cluster-explain --heal --yes --allow-destroy rehearsal --json --timeout 60s");
        let (document, state) = (run.json(), lab.dump());
        let (healed, after) = (document["data"]["healed"].as_array().cloned().unwrap_or_default(), machines(&state));
        let last = healed.last().map_or(&Value::Null, |step| &step["result"]);
        let steps: Vec<String> =
            healed.iter().map(|it| format!("{}: {} {}", it["cause"], it["object"], it["result"])).collect();
        let (summary, why) = (document["summary"].to_string(), &document["error"]["cause"]);
        let row = format!("{}\t{}\t{}\t{summary}\t{why}", fault.name, run.code, steps.join(" | "));
        note("HEAL_TABLE", &row);
        let lost = before.iter().any(|(name, role)| role == "controlplane" && !after.contains_key(name));
        let vms = state["proxmox"]["vms"].as_array().cloned().unwrap_or_default();
        let names = vms.iter().filter_map(|vm| vm["name"].as_str()).filter(|name| name.starts_with("rehearsal-"));
        let orphans: Vec<&str> = names.filter(|name| !after.contains_key(*name)).collect();
        let ends = (run.code == 0 || *last == "takes a human") && healed.len() <= 6;
        match ends && orphans.is_empty() && (!lost || summary.contains("is gone")) {
            true => Ok(()),
            false => Err(format!("{row}\n  orphans: {orphans:?}, a control plane is lost: {lost}")),
        }
    });
}
