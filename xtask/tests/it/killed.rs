//! Killed anywhere: every changing task, ended by SIGKILL at a random instant, leaves complete files, and running it again
//! completes it; the runbook reaches Running with exactly the requested machines.
//!
//! 12 kills of the runbook in `cargo test`, 60 in the pipeline (`.ci/kill.sh`). The soak test is
//! `OMNI_SCALE_KILLS=1000 OMNI_SCALE_SEED=… cargo test -p xtask --test it killed -- --nocapture`. The seed is printed, and
//! reproduces the same instants.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::spec::key::KeyInfo;
use runtime::state::State;
use serde_json::Value;

use crate::sandbox::{Files, Sandbox};
use crate::transcripts::whole;

/// Two sandboxes at a time keep a small machine busy: each spends half of its time waiting for the simulated services.
const BESIDE: usize = 2;
const CLASS: &str = "machine-classes/small.yaml";
const CLUSTER: &str = "clusters/demo.yaml";
const STATE: &str = ".claude/omni-scale.local.md";

/// A task and its approximate duration in milliseconds.
type Step = (&'static str, u64);

/// Reads a part of `fixtures/killed.txt`.
fn steps(part: &str) -> impl Iterator<Item = Step> {
    let (_, rest) = include_str!("../fixtures/killed.txt").split_once(&format!("\n== {part}")).expect("the part");
    let lines = rest.lines().skip(1).take_while(|line| !line.is_empty());
    lines.map(|line| {
        line.split_once(' ').map(|(millis, line)| (line, millis.parse().expect("a number"))).expect("a task")
    })
}

const UPGRADE: Step = ("omni-upgrade --without-backup --yes", 1200);

/// Returns the number of kills and the seed of this run.
fn chosen() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let (kills, seed) = (number("OMNI_SCALE_KILLS").unwrap_or(12), number("OMNI_SCALE_SEED").unwrap_or(clock));
    println!("seed {seed}");
    (kills, seed)
}

fn sandbox() -> Sandbox {
    Sandbox::with("--clock 400")
}

#[test]
fn killed_anywhere_a_second_run_reaches_running() {
    let ((kills, seed), begun) = (chosen(), Instant::now());
    let lab = sandbox();
    steps("runbook").for_each(|(line, _)| drop(lab.run(line).exits(0)));
    let expected = [lab.read(CLASS), lab.read(CLUSTER)];
    let keys = state_keys(&lab.read(STATE));
    assert!(keys.contains("provider_configured"), "{keys:?}");
    let (rounds, landed) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        // The loop must also end on a machine where no task is ever hit.
        while landed.load(Ordering::Relaxed) < kills && rounds.load(Ordering::Relaxed) < kills {
            let round = rounds.fetch_add(1, Ordering::Relaxed);
            let mut random = fastrand::Rng::with_seed(seed.wrapping_add(round));
            let lab = sandbox();
            let before = lab.files();
            let hits =
                steps("runbook").filter(|step| killed_in(&lab, &lab.scratch().join("killed"), step, &mut random));
            landed.fetch_add(hits.count() as u64, Ordering::Relaxed);
            settled(&lab, &before, &format!("seed {seed}, round {round}"));
            assert_eq!([lab.read(CLASS), lab.read(CLUSTER)], expected, "seed {seed}, round {round}");
            assert_eq!(state_keys(&lab.read(STATE)), keys, "seed {seed}, round {round}");
        }
    };
    std::thread::scope(|scope| (0..BESIDE).for_each(|_| drop(scope.spawn(work))));
    let (landed, rounds, took) = (landed.into_inner(), rounds.into_inner(), begun.elapsed().as_secs_f64());
    println!(
        "killed {landed} times in {rounds} rounds (seed {seed}) in {took:.0} s: every file whole, every second run Running"
    );
    assert!(landed >= kills, "only {landed} tasks of {rounds} rounds were ended by a kill");
}

/// Once each here; in the pipeline, once for every twelve in `OMNI_SCALE_KILLS`.
#[test]
fn killed_in_any_other_task_a_second_run_completes() {
    let (kills, seed) = chosen();
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..(kills / 12).max(1) {
        let mut lab = sandbox();
        lab.set("DOCKER_HOST", Some("tcp://lab"));
        let create = "cluster-create demo --control-planes 1 --workers 1 --talos-version v1.13.8 --yes --timeout 60s";
        lab.provider();
        lab.class("small");
        lab.run(create).exits(0);
        crate::keys::keep_in_env(&mut lab);
        crate::access::new_token(&mut lab, "second", "privsep=0");
        let mut older = crate::omni_upgrade::of_1_9();
        older.set("DOCKER_HOST", Some("tcp://lab"));
        let dir = lab.scratch().join("killed");
        std::fs::create_dir_all(&dir).expect("a directory");
        let all = steps("others").count() + 1;
        let upgrade = usize::from(killed_in(&older, &dir, &UPGRADE, &mut random));
        assert!(older.read("docker/compose.yaml").contains("siderolabs/omni:v1.10.6"), "seed {seed}");
        older.run(UPGRADE.0).exits(0).says(&["nothing to upgrade"]);
        let hits = upgrade + steps("others").filter(|step| killed_in(&lab, &dir, step, &mut random)).count();
        println!("seed {seed}, round {round}: {hits} of {} tasks were killed", all);
        // On a faster machine, many of the tasks finish before their instant.
        assert!(hits > all / 8, "seed {seed}, round {round}: too few were still running: {hits}");
        assert_eq!(list(&lab.dump()["proxmox"], "vms").len(), 0, "seed {seed}: the cluster is deleted");
    }
}

/// Prepares a step of the table, and returns its line with the placeholders filled in.
fn prepared(lab: &Sandbox, dir: &Path, line: &str) -> String {
    if line.starts_with("omni-restore ") {
        let key = lab.read("docker/omni.asc");
        lab.run(&format!("omni-backup --to {}/kept.tar.gz", dir.display())).exits(0);
        crate::backup::lose_host(lab);
        lab.write("docker/omni.asc", &key);
    }
    if line.starts_with("omni-key-rotate ") {
        crate::store_keys::write(lab, "next", &format!("{}/next.asc", dir.display()));
    }
    if line.starts_with("apply ") {
        lab.write(CLUSTER, &lab.read(CLUSTER).replacen("name: demo\n", "name: demo\nlabels: {a: b}\n", 1));
        lab.run(&format!("cluster-sync demo --plan-out {}/plan.json", dir.display())).exits(3);
    }
    let dump = lab.dump();
    let mut names = list(&dump["proxmox"], "vms").iter().filter_map(|vm| vm["name"].as_str());
    let worker = names.find(|name| name.contains("workers")).unwrap_or_default();
    let today = crate::keys::account_of_today();
    line.replace("{dir}", &dir.display().to_string()).replace("{worker}", worker).replace("{today}", &today)
}

/// Kills a task at a random instant, checks the files that it has changed, and runs it again. True if it was still running.
fn killed_in(lab: &Sandbox, dir: &Path, (line, millis): &Step, random: &mut fastrand::Rng) -> bool {
    let line = prepared(lab, dir, line);
    let (before, at) = (lab.files(), Duration::from_millis(random.u64(..millis)));
    let hit = kill(lab, &line, at);
    println!("{line} killed after {at:?} ({hit})");
    for (name, (mode, bytes)) in lab.files() {
        match before.get(&name) {
            Some((_, old)) if *old == bytes => {}
            // A file that is not renamed yet must not be readable by others.
            _ if name.contains(".tmp") => {
                let secret = name.starts_with("docker/") || name.starts_with(".claude/");
                assert!(!secret || mode & 0o077 == 0, "others may read {name}");
            }
            old => {
                assert!(bytes.ends_with(b"\n"), "{name} is not whole");
                whole(&name, mode, &bytes);
                let old = old.filter(|_| name == "docker/.env");
                old.into_iter().for_each(|(_, old)| only_keys_are_new(old, &bytes));
            }
        }
    }
    let written = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let complete = |path: &PathBuf| match path.extension().is_some_and(|end| end == "gz") {
        true => Command::new("gzip").arg("-t").arg(path).status().is_ok_and(|status| status.success()),
        false => std::fs::read(path).is_ok_and(|bytes| bytes.ends_with(b"\n")),
    };
    for path in written.filter(|path| path.is_file() && !path.to_string_lossy().contains(".tmp")) {
        assert!(complete(&path), "{} is not whole", path.display());
    }
    let again = lab.run(&line);
    // A restore that completed is not repeated.
    let ended = !hit && line.starts_with("omni-restore ") && again.stderr.contains("this host already has a stack");
    assert!(again.code == 0 || ended, "the second run: {again:#?}");
    hit
}

/// Kills a task at that instant. Returns true if it was still running.
fn kill(lab: &Sandbox, line: &str, at: Duration) -> bool {
    let (begun, mut running) = (Instant::now(), lab.start(line));
    while begun.elapsed() < at {
        if let Some(status) = running.try_wait().expect("it is ours") {
            assert!(status.success(), "{line} failed before it was killed: {status}");
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = running.kill();
    running.wait().expect("it is ours").code().is_none()
}

/// Checks that the file is the old one line by line; only keys, the provider's CA and the site's settings may be filled in.
fn only_keys_are_new(old: &[u8], new: &[u8]) {
    let [old, new] = [old, new].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let kept = |text: &str| {
        let names = ["OMNI_INFRA_PROVIDER_KEY=", "PROVIDER_CA_FILE=", "OMNI_SERVICE_ACCOUNT_KEY=", "OMNI_SITE_FILE="];
        let kept = text.lines().filter(|line| !names.iter().any(|name| line.starts_with(name)));
        kept.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(kept(&new), kept(&old), "docker/.env");
    let key = new.lines().find_map(|line| line.strip_prefix("OMNI_INFRA_PROVIDER_KEY=")).unwrap_or_default();
    let fits = |key: &str| KeyInfo::parse(key).is_ok_and(|key| key.provider() == Some("proxmox"));
    assert!(key.is_empty() || fits(key), "the key in docker/.env");
}

/// Returns the keys of a state file, which must be readable.
fn state_keys(text: &str) -> BTreeSet<String> {
    let front = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).expect("front matter").0;
    let values: serde_yaml::Mapping = serde_yaml::from_str(front).unwrap_or_else(|why| panic!("{why}: {text}"));
    values.keys().filter_map(|key| key.as_str().map(str::to_owned)).collect()
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of[field].as_array().map_or(&[], Vec::as_slice)
}

/// Checks that there are exactly the requested machines, each of them a VM with a disk, and one of everything else.
#[track_caller]
fn settled(lab: &Sandbox, before: &Files, place: &str) {
    let dump = lab.dump();
    let (proxmox, omni) = (&dump["proxmox"], &dump["omni"]);
    let clusters = list(omni, "clusters");
    let counts = [list(omni, "providers").len(), list(omni, "machine_classes").len(), clusters.len()];
    assert_eq!(counts, [1, 1, 1], "{place}: providers, classes, clusters: {dump:#}");
    assert!(clusters[0]["ready"] == true && clusters[0]["phase"] == "RUNNING", "{place}: {dump:#}");
    let machines = list(&clusters[0], "machine_sets").iter().flat_map(|set| list(set, "machines"));
    let machines: BTreeSet<&str> = machines.filter_map(|machine| machine["request"].as_str()).collect();
    let names: Vec<&str> = list(proxmox, "vms").iter().filter_map(|vm| vm["name"].as_str()).collect();
    assert_eq!((names.len(), names.into_iter().collect()), (2, machines), "{place}: a machine is an orphan: {dump:#}");
    let disks = list(proxmox, "storages").iter().filter(|storage| storage["storage"] == "local-lvm");
    let disks: u64 = disks.filter_map(|storage| storage["volumes"].as_u64()).sum();
    assert_eq!(disks, 2, "{place}: a disk is an orphan: {dump:#}");
    let mut services: Vec<&Value> = list(&dump["docker"], "containers").iter().map(|found| &found["service"]).collect();
    services.sort_by_key(|service| service.to_string());
    let all = services.len();
    services.dedup();
    assert!(services.len() == all && services.contains(&&"proxmox-provider".into()), "{place}: {services:?}");
    let after = lab.files();
    let new: BTreeSet<&str> = after.keys().filter(|name| !before.contains_key(*name)).map(String::as_str).collect();
    assert_eq!(
        new,
        BTreeSet::from([STATE, CLASS, CLUSTER, "docker/config.yaml"]),
        "{place}: a file too many or missing"
    );
    State::load(&lab.file(STATE), STATE).unwrap_or_else(|why| panic!("{place}: {why}"));
    assert!(lab.read("docker/.env").contains("PROVIDER_KEY=ey"), "{place}: docker/.env");
}
