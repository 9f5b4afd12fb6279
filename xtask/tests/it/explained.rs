//! The output of `cluster-explain` for each fault of the lab. The expected broken link, and the causes in order, are in the lab's
//! own table (`breaks` and `causes` in `lab/data/faults.yaml`).
//!
//! `EXPLAIN=NAME,NAME` tests some faults; `EXPLAIN_TABLE=FILE` records the results.

mod next;
mod pairs;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use runtime::tool::lab::faults::Fault;
use serde_json::{Value, json};

use crate::faults::table;
use crate::sandbox::{CommandOutput, Sandbox, in_parallel, previous_set};

/// Number of faults tested in parallel: most of the time is spent waiting.
const PARALLEL: usize = 6;

/// Number of retries for an explanation that differs from the expected one.
const LOOKS: usize = 3;

/// If a fault only shows when Proxmox is read, the runbook continues to a cluster, which the fault may keep from running.
const ON: [&str; 4] = [
    "provider-setup",
    "machineclass-create rehearsal-machine --cores 2 --memory 4096 --disk 20 --selector 'name == \"local-lvm\"'",
    "machineclass-apply rehearsal-machine",
    "cluster-create rehearsal --control-planes 1 --workers 1 --timeout 6s",
];

/// A sandbox in which the fault was triggered.
pub fn start_with(fault: &Fault) -> Sandbox {
    start_with_all(&[fault])
}

/// A sandbox in which these faults were triggered: the runbook runs as far as any of them needs.
fn start_with_all(faults: &[&Fault]) -> Sandbox {
    let flags: String = faults.iter().map(|fault| format!("--fault {} ", fault.name)).collect();
    let lab = Sandbox::with(&flags);
    let task = |line: &str| {
        let _ = lab.run(&format!("{line} --yes"));
    };
    let before = faults.iter().map(|fault| &fault.before).max_by_key(|before| before.len()).expect("a fault");
    for line in before {
        if let Some(change) = line.strip_prefix("edit ") {
            let (file, change) = change.split_once(": ").expect("a file");
            let (from, to) = change.split_once(" -> ").expect("a change");
            if lab.file(file).exists() {
                lab.write(file, &lab.read(file).replacen(from, to, 1));
            }
            continue;
        }
        task(line);
    }
    faults.iter().for_each(|fault| task(&fault.task));
    let looks = ["proxmox-audit", "proxmox-inventory", "selector-test"];
    if before.len() < 2 && faults.iter().any(|fault| looks.iter().any(|task| fault.task.starts_with(task))) {
        ON.into_iter().for_each(task);
    }
    lab
}

/// Returns the document, the broken link of the first cause, and the IDs of the causes.
fn explained(lab: &Sandbox) -> (Value, String, Vec<String>) {
    let document = lab.run("cluster-explain --json --timeout 5s").json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let causes = document["data"]["causes"].as_array().cloned().unwrap_or_default();
    let breaks = causes.first().map_or(String::new(), |first| text(&first["link"]));
    let ids = causes.iter().map(|cause| text(&cause["id"])).collect();
    (document, breaks, ids)
}

/// Returns the explanation once the state has settled: a poll can fall between two states (a container during its restart), and
/// the next poll shows the final one. An explanation that is wrong stays wrong.
fn settled(fault: &Fault) -> (Value, String, Vec<String>) {
    settled_in(&start_with(fault), fault)
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

/// Every machine has its steps in order, with the times of both Omni and Proxmox; without Proxmox, the steps in between are one.
#[test]
fn timeline_shows_each_step_of_each_machine() {
    // Slow, so that a busy host is not mistaken for a slow step.
    let lab = Sandbox::with("--clock 60");
    lab.provider();
    lab.class("small");
    let made = lab.run("cluster-create demo --control-planes 1 --workers 2 --yes --json").exits(0).json();
    let rows = made["data"]["timeline"].as_array().expect("a timeline");
    assert!(rows.len() == 3 && rows.iter().all(|row| row["steps"][4]["step"] == "configure"), "{made:#}");
    let steps = |lab: &Sandbox| -> Vec<String> {
        let document = lab.run("cluster-explain demo --timeline --json").json();
        let rows = document["data"]["timeline"].as_array().expect("a timeline").clone();
        let step = |it: &Value| {
            assert!(it["seconds"].is_u64() && it["usually"].as_u64() > Some(0), "{it:#}");
            it["step"].as_str().unwrap_or_default().to_owned()
        };
        let words =
            |row: &Value| row["steps"].as_array().into_iter().flatten().map(step).collect::<Vec<_>>().join(", ");
        rows.iter().map(words).collect()
    };
    assert_eq!(steps(&lab), ["prepare, create, start, join, configure"; 3]);
    let shown = lab.run("cluster-explain demo --timeline").exits(0);
    shown.says(&["MACHINE", "STEPS", "prepare ", ", join ", "general times"]);
    // The machines that a run created are shown at its end, and saved as numbers only; a damaged file is ignored.
    let files = std::fs::read_dir(lab.state_dir()).expect("a directory").flatten().map(|entry| entry.path());
    let kept = files.into_iter().find(|path| path.extension().is_some_and(|end| end == "times")).expect("kept times");
    let times: Value = serde_json::from_slice(&std::fs::read(&kept).expect("read")).expect("times");
    assert!(times["steps"]["join"].is_array() && times.as_object().is_some_and(|all| all.len() == 2), "{times:#}");
    std::fs::write(&kept, "{\"steps\": [1, ").expect("written");
    lab.run("cluster-explain demo --timeline").exits(0).says(&["usual times in", "are ignored", "general times"]);
    let few = ["prepare", "create", "start", "join", "configure"].map(|step| (step, [1; 3]));
    let site = serde_json::json!({"until": times["until"], "steps": BTreeMap::from(few)});
    std::fs::write(&kept, site.to_string()).expect("written");
    lab.run("cluster-explain demo --timeline").exits(0).says(&["usual at this site"]);
    lab.write("clusters/demo.yaml", &lab.read("clusters/demo.yaml").replace("size: 2", "size: 3"));
    let grown = lab.run("cluster-sync demo --yes").exits(0);
    assert_eq!(grown.stderr.matches(", configure ").count(), 1, "{grown:#?}");
    let config = lab.read("docker/config.yaml");
    let away =
        |line: &str| if line.contains("url:") { "  url: https://127.0.0.1:9/api2/json" } else { line }.to_owned();
    lab.write("docker/config.yaml", &config.lines().map(away).collect::<Vec<_>>().join("\n"));
    assert_eq!(steps(&lab), ["prepare to join, configure"; 4]);
}

/// Runs `look` for each of these faults, some in parallel. Fails with everything that is wrong.
#[track_caller]
fn for_each<T: Sync>(faults: &[T], look: impl Fn(&T) -> Result<(), String> + Sync) {
    let wrong: Vec<String> = in_parallel(faults, PARALLEL, look).into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Appends a row to the file that the variable names, if it is set.
fn append_row(variable: &str, row: &str) {
    if let Ok(file) = std::env::var(variable) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
        writeln!(file.expect("a file"), "{row}").expect("written");
    }
}

/// Returns the faults that a variable names, `all` of them, or by default a sample.
fn chosen(variable: &str, sample: &str) -> Vec<&'static Fault> {
    let only = std::env::var(variable).unwrap_or_else(|_| sample.to_owned());
    all().filter(|fault| only == "all" || only.split(',').any(|name| name == fault.name)).collect()
}

/// Returns the faults that this set of versions can have: Omni drains nodes from 1.10 on (omni v1.10.4
/// `internal/backend/talos/lifecycle/manager.go`).
fn all() -> impl Iterator<Item = &'static Fault> {
    table().iter().filter(|fault| fault.name != "upgrade-drain-blocked" || !previous_set())
}

#[test]
fn every_fault_is_explained_by_its_first_cause_and_by_no_other() {
    for_each(&chosen("EXPLAIN", "all"), |fault| {
        let (document, breaks, causes) = settled(fault);
        let row = format!("{}\t{breaks}\t{}\t{}", fault.name, causes.join(" "), document["summary"]);
        append_row("EXPLAIN_TABLE", &row);
        let links = serde_json::to_string(&document["data"]["links"]).unwrap_or_default();
        match (&breaks, &causes) == (&fault.breaks, &fault.causes) {
            true => Ok(()),
            false => Err(format!("{row}\n  due: {} {:?}\n  {links}", fault.breaks, fault.causes)),
        }
    });
}

/// Returns the machines of the clusters, each with the role of its set.
fn all_machines(state: &Value) -> Vec<Value> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let sets = list(&state["omni"], "clusters").into_iter().flat_map(|cluster| list(&cluster, "machine_sets"));
    let with_role = |set: Value| {
        let role = set["role"].clone();
        list(&set, "machines").into_iter().map(move |mut machine| {
            machine["role"] = role.clone();
            machine
        })
    };
    sets.flat_map(with_role).collect()
}

/// Returns the roles of the machines, by their requests.
fn machines(state: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all_machines(state).iter().map(|machine| (text(&machine["request"]), text(&machine["role"]))).collect()
}

/// Faults that the printed commands fix.
const SAMPLE: &str = "machine-vm-stopped,machine-vm-deleted,provider-stopped,docker-sidecar-died,docker-port-taken,\
                      omnictl-api-mismatch,cluster-delete-stuck,cluster-locked";

/// Fixes faults, each in a separate lab. No control plane is lost, and every VM belongs to a machine. `VARIABLE=all` or
/// `VARIABLE=NAME,NAME` selects other faults, and `VARIABLE_TABLE=FILE` records how each ended.
#[track_caller]
fn end_each(variable: &str, sample: &str, end: impl Fn(&mut Sandbox, &Fault) -> Result<String, String> + Sync) {
    for_each(&chosen(variable, sample), |fault| {
        let mut lab = start_with(fault);
        // A machine that was never created is not lost.
        let made = |machine: &Value| machine["stage"] != "FAILED" && machine["stage"] != "PROVISIONING";
        let before: Vec<Value> = all_machines(&lab.dump()).into_iter().filter(made).collect();
        let ended = end(&mut lab, fault);
        let state = lab.dump();
        let after = machines(&state);
        let cluster = &state["omni"]["clusters"][0];
        let sets = cluster["machine_sets"].as_array();
        let stays = cluster["phase"] != "DESTROYING" && sets.is_some_and(|sets| !sets.is_empty());
        let gone = |machine: &Value| !after.contains_key(machine["request"].as_str().unwrap_or_default());
        let lost = before.iter().any(|machine| stays && machine["role"] == "controlplane" && gone(machine));
        let vms = state["proxmox"]["vms"].as_array().into_iter().flatten().filter_map(|vm| vm["name"].as_str());
        let orphans: Vec<&str> =
            vms.filter(|name| name.starts_with("rehearsal-") && !after.contains_key(*name)).collect();
        let row = format!("{}\t{ended:?}\torphans: {orphans:?}, a control plane is lost: {lost}", fault.name);
        append_row(&format!("{variable}_TABLE"), &row);
        if ended.is_ok() && orphans.is_empty() && !lost { Ok(()) } else { Err(row) }
    });
}

/// Takes only the steps of `--heal`: in the end nothing is broken, or a human step is named with its reason.
#[test]
fn healing_ends_with_nothing_broken_or_with_a_human_step() {
    end_each("HEAL", SAMPLE, |lab, _| {
        let run = lab.run("cluster-explain --heal --yes --allow-destroy rehearsal --json --timeout 60s");
        let document = run.json();
        let healed = document["data"]["healed"].as_array().cloned().unwrap_or_default();
        let ends = run.code == 0 || healed.last().is_some_and(|step| step["result"] == "needs a human");
        let steps: Vec<String> =
            healed.iter().map(|it| format!("{}: {} {}", it["cause"], it["object"], it["result"])).collect();
        let row = format!("{}: {} {}", steps.join(" | "), document["summary"], document["error"]["cause"]);
        if ends && healed.len() <= 6 { Ok(row) } else { Err(row) }
    });
}

/// Runs a printed command, as an operator who agrees to it: if it only plans, runs the command that it suggests.
fn follow(lab: &Sandbox, command: &str) -> CommandOutput {
    let ran = lab.paste(command);
    if ran.code == 3 { lab.paste(ran.json()["next"][0].as_str().unwrap_or_default()) } else { ran }
}

/// Takes a step of `fix` in the table of faults.
fn take(lab: &mut Sandbox, fault: &Fault, step: &str) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ran = match (step, step.strip_suffix(" ID")) {
        ("person", _) => lab.heal(&fault.name),
        ("pveum", _) => lab.paste(&text(&lab.run("proxmox-audit --json").json()["data"]["script"])),
        ("next", _) => follow(lab, &text(&settled_in(lab, fault).0["next"][0])),
        (_, Some(delete)) => {
            let failed = all_machines(&lab.dump()).into_iter().filter(|machine| machine["stage"] == "FAILED");
            let ids: Vec<String> = failed.map(|machine| text(&machine["request"])).collect();
            lab.paste(&if ids.is_empty() { "true".to_owned() } else { format!("{delete} {}", ids.join(" ")) })
        }
        _ => {
            let state = lab.dump();
            let vms = state["proxmox"]["vms"].as_array().into_iter().flatten();
            let off: Vec<String> =
                vms.filter(|vm| vm["status"] == "stopped").map(|vm| vm["vmid"].to_string()).collect();
            follow(lab, &step.replace("VMID", &off.join(" ")))
        }
    };
    if ran.code == 0 { Ok(()) } else { Err(format!("`{step}`: {ran:#?}")) }
}

/// Continues the runbook from where a fault stopped it, until a cluster runs, or is gone if it was deleted.
fn check_runbook_continues(lab: &Sandbox, fault: &Fault) -> Result<(), String> {
    let done = |line: &str| fault.before.iter().any(|before| before.split(' ').next() == line.split(' ').next());
    for line in ON.iter().filter(|line| line.starts_with("provider-setup") || !done(line)) {
        let line = format!("{} --yes", line.replace("--timeout 6s", "--timeout 120s"));
        let ran = lab.run(&line);
        if ran.code != 0 {
            return Err(format!("`{line}`: {ran:#?}"));
        }
    }
    let mut look = Value::Null;
    for _ in 0..15 {
        look = lab.run("cluster-explain --json --timeout 5s").json();
        let clusters = &lab.dump()["omni"]["clusters"];
        let runs = look["ok"] == true && clusters[0]["phase"] == "RUNNING" && clusters[0]["ready"] == true;
        if if fault.name == "cluster-delete-stuck" { *clusters == json!([]) } else { runs } {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    Err(format!("no cluster runs: {look:#}"))
}

/// `fix` in the table of faults ends each fault: the runbook then continues to a running cluster.
#[test]
fn fix_of_a_fault_ends_it() {
    const MORE: &str = "permission-privsep,permission-bridge,machine-in-ha,network-bridge-missing,omni-certificate-expired,\
                        omni-no-tun,key-expired,storage-no-iso";
    end_each("FIX", &format!("{SAMPLE},{MORE}"), |lab, fault| {
        fault.fix.iter().try_for_each(|step| take(lab, fault, step))?;
        check_runbook_continues(lab, fault).map(|()| "a cluster runs".to_owned())
    });
}

/// The result of reading `--json` and running only the commands of `next`.
struct Reading {
    /// Empty if it did not end.
    end: String,
    commands: Vec<String>,
    calls: usize,
    bytes: usize,
}

/// Runs the first command of `next` repeatedly, until nothing is broken or a person is needed.
fn read_next(lab: &Sandbox, mut document: Value) -> Reading {
    let look = || lab.run("cluster-explain --json --timeout 5s").json();
    let mut reading = Reading { end: String::new(), commands: Vec::new(), calls: 1, bytes: document.to_string().len() };
    for _ in 0..=6 {
        let cause = &document["data"]["causes"][0];
        match (document["ok"] == true, cause["human"].as_str()) {
            (true, _) => "nothing is broken".clone_into(&mut reading.end),
            (_, Some(why)) => reading.end = format!("takes a person: {why}"),
            _ => {
                let next = document["next"][0].as_str().unwrap_or_default();
                let ran = follow(lab, next);
                reading.commands.push(format!("{next} ({})", ran.code));
                // The command's effect takes time, so wait for it without counting the polls.
                let same = |now: &Value| now["data"]["causes"][0]["cause"] == cause["cause"] && now["ok"] == false;
                let mut looks = std::iter::repeat_with(|| std::thread::sleep(Duration::from_secs(1))).map(|()| look());
                let Some(now) = looks.by_ref().take(15).find(|now| !same(now)) else {
                    // As with `--heal`, a command that fails and reports what a person has to do is a step of theirs.
                    let error = &serde_json::from_str::<Value>(&ran.stdout).unwrap_or_default()["error"];
                    if let Some(hint) = error["hint"].as_str().filter(|hint| !hint.is_empty()) {
                        reading.end = format!("takes a person: {hint}");
                    }
                    break;
                };
                reading.calls += 2;
                reading.bytes += ran.stdout.len() + ran.stderr.len() + now.to_string().len();
                document = now;
                continue;
            }
        }
        break;
    }
    reading
}

/// Running only `next` from `--json` comes to an end with at least 95 of 100 faults (`NEXT=all`): nothing is broken, or a step
/// needs a person, with the reason. The default is these two, in addition to the twelve cases below.
#[test]
fn following_next_ends() {
    let (sample, lost) = ("docker-port-taken,omnictl-api-mismatch", Mutex::new(Vec::new()));
    end_each("NEXT", sample, |lab, fault| {
        let Reading { end, commands, .. } = read_next(lab, settled_in(lab, fault).0);
        if end.is_empty() {
            lost.lock().expect("unpoisoned").push(format!("{}: {commands:?}", fault.name));
        }
        Ok(format!("{end} {commands:?}"))
    });
    let lost = lost.into_inner().expect("unpoisoned");
    assert!(lost.len() * 20 <= chosen("NEXT", sample).len(), "{}", lost.join("\n"));
}

/// Questions that a person asks an assistant: the first document names the cause, and the commands in `next` fix everything, or
/// the step needs a person, in three calls and 16 kB.
#[test]
fn twelve_cases_take_three_calls() {
    const CASES: &str = "permission-privsep,machine-never-joins,proxmox-storage-full,provider-key-expired,machine-locked,\
                         machine-vm-deleted,machine-vm-stopped,provider-stopped,machine-in-ha,cluster-locked,\
                         cluster-delete-stuck,docker-sidecar-died";
    end_each("CASES", CASES, |lab, fault| {
        let first = settled_in(lab, fault).0;
        let cause = first["data"]["causes"][0]["id"].clone();
        let Reading { end, commands, calls, bytes } = read_next(lab, first);
        let row = format!("{cause}: {end} {commands:?}, {calls} calls, {bytes} bytes");
        let short = calls <= 3 && bytes <= 16_384;
        if cause == *fault.causes[0] && !end.is_empty() && short { Ok(row) } else { Err(row) }
    });
}
