//! Killed anywhere: the whole sequence, ended by SIGKILL at a random instant, leaves whole files, and running it again
//! reaches Running with exactly the machines that were wanted.
//!
//! 12 times in `cargo test`, 60 in the pipeline (`.ci/kill.sh`). The soak is
//! `OMNI_SCALE_KILLS=1000 OMNI_SCALE_SEED=… cargo test -p xtask --test it killed -- --nocapture`. The seed is printed, and
//! gives the same instants again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::spec::config::ProviderConfig;
use domain::spec::env::EnvFile;
use domain::spec::key::KeyInfo;
use domain::spec::{machine_class, template};
use runtime::files;
use runtime::state::State;
use serde_json::Value;

use crate::sandbox::{Files, Options, Sandbox};

/// Two sandboxes at a time keep a small machine busy: each waits for its far ends half of its time.
const BESIDE: usize = 2;
const CONTROL_PLANES: usize = 1;
const WORKERS: usize = 1;
const CLASS: &str = "machine-classes/small.yaml";
const CLUSTER: &str = "clusters/demo.yaml";
const STATE: &str = ".claude/omni-scale.local.md";

/// The runbook as a newcomer types it, and about how many milliseconds each step takes: longer ones are hit more often.
const SEQUENCE: [(&str, u64); 4] = [
    ("provider-setup --yes", 700),
    ("machineclass-create small --yes --cores 2 --memory 4096 --disk 20 --selector name==\"local-lvm\"", 150),
    ("machineclass-apply small --yes", 300),
    ("cluster-create demo --control-planes 1 --workers 1 --yes --timeout 120s", 1800),
];

/// The kills and the seed of this run.
fn chosen() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    (number("OMNI_SCALE_KILLS").unwrap_or(12), number("OMNI_SCALE_SEED").unwrap_or(clock))
}

#[test]
fn killed_anywhere_a_second_run_reaches_running() {
    let ((kills, seed), begun) = (chosen(), Instant::now());
    println!("seed {seed}");
    let lab = sandbox();
    run_all(&lab, &SEQUENCE);
    let wanted =
        ExpectedFiles { class: lab.read(CLASS), cluster: lab.read(CLUSTER), keys: state_keys(&lab.read(STATE)) };
    assert!(wanted.keys.contains("provider_configured"), "{:?}", wanted.keys);
    let (rounds, landed, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let _watch = Watch(&over);
        while landed.load(Ordering::Relaxed) < kills && !over.load(Ordering::Relaxed) {
            let round = rounds.fetch_add(1, Ordering::Relaxed);
            // A machine on which nothing is ever hit must not keep us here.
            if round >= kills * 4 {
                return;
            }
            landed.fetch_add(u64::from(killed_in_round(&wanted, seed, round)), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| (0..BESIDE).for_each(|_| drop(scope.spawn(work))));
    let (landed, rounds) = (landed.into_inner(), rounds.into_inner().min(kills * 4));
    let took = begun.elapsed().as_secs_f64();
    println!(
        "killed {landed} times in {rounds} rounds (seed {seed}) in {took:.0} s: every file whole, every second run Running"
    );
    assert!(landed >= kills, "only {landed} of {rounds} rounds were ended by a kill");
}

/// What the files hold in the end, from a run that nobody disturbed.
struct ExpectedFiles {
    class: String,
    cluster: String,
    /// The keys of the state.
    keys: BTreeSet<String>,
}

/// Says that a round failed, when it is dropped by a panic: the others need not go on.
struct Watch<'a>(&'a AtomicBool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.fetch_or(std::thread::panicking(), Ordering::Relaxed);
    }
}

/// One kill, and the sequence once more; whether the task was still running.
fn killed_in_round(wanted: &ExpectedFiles, seed: u64, round: u64) -> bool {
    let all: u64 = SEQUENCE.iter().map(|(_, millis)| millis).sum();
    let (mut step, mut at) = (0, fastrand::Rng::with_seed(seed.wrapping_add(round)).u64(..all));
    while at >= SEQUENCE[step].1 {
        at -= SEQUENCE[step].1;
        step += 1;
    }
    let lab = sandbox();
    let before = lab.files();
    run_all(&lab, &SEQUENCE[..step]);
    let hit = kill(&lab, SEQUENCE[step].0, Duration::from_millis(at));
    let place = format!("seed {seed}, round {round}, {} killed after {at} ms ({hit})", SEQUENCE[step].0);
    whole(&lab, &before, wanted, &place);
    run_all(&lab, &SEQUENCE);
    settled(&lab, &before, wanted, &place);
    hit
}

fn sandbox() -> Sandbox {
    Sandbox::with(&Options { clock: Some(400), ..Options::default() })
}

/// Kills a task `at` that instant; whether it was still running.
fn kill(lab: &Sandbox, line: &str, at: Duration) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let begun = Instant::now();
    let mut running = lab.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    loop {
        if begun.elapsed() >= at {
            let _ = Command::new("kill").args(["-KILL", &running.id().to_string()]).status();
            return running.wait().expect("it is ours").code().is_none();
        }
        match running.try_wait().expect("it is ours") {
            Some(status) if status.success() => return false,
            Some(status) => panic!("{line} failed before it was killed: {status}"),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[track_caller]
fn run_all(lab: &Sandbox, steps: &[(&str, u64)]) {
    steps.iter().for_each(|(line, _)| drop(lab.run(line).exits(0)));
}

/// Every file is as it was, or whole and what it should be; what the killed task had not renamed yet is nobody else's to
/// read.
#[track_caller]
fn whole(lab: &Sandbox, before: &Files, wanted: &ExpectedFiles, place: &str) {
    for (name, (mode, bytes)) in lab.files() {
        if before.get(&name).is_some_and(|(_, old)| *old == bytes) {
            continue;
        }
        if name.ends_with(".tmp") {
            let secret = name.starts_with("docker/") || name.starts_with(".claude/");
            assert!(!secret || mode & 0o077 == 0, "{place}: others may read {name}");
            continue;
        }
        let text = String::from_utf8(bytes).unwrap_or_else(|_| panic!("{place}: {name} is no text"));
        let ok = match name.as_str() {
            "docker/.env" => only_the_provider_is_new(lab, before, &text),
            "docker/config.yaml" => {
                let token = lab.env("PROXMOX_VE_API_TOKEN").split_once('=').expect("id=secret");
                ProviderConfig::parse(&name, &text).is_ok_and(|config| {
                    config.url == format!("{}/api2/json", lab.env("PROXMOX_VE_ENDPOINT"))
                        && text.contains(token.0)
                        && text.contains(token.1)
                        && text.ends_with('\n')
                })
            }
            STATE => {
                let keys = state_keys(&text);
                keys.is_subset(&wanted.keys)
                    && text.contains("\n## Current Status\n")
                    && text.contains("\n## Next Steps\n")
            }
            CLASS => text == wanted.class && !machine_class::parse(&name, text.as_bytes()).has_errors(),
            CLUSTER => text == wanted.cluster && !template::parse(&name, text.as_bytes()).has_errors(),
            _ => false,
        };
        assert!(ok, "{place}: {name} is not whole, or not this runbook's:\n{text}");
    }
}

/// Line by line the file that was there, with at most the provider's key and its CA filled in.
fn only_the_provider_is_new(lab: &Sandbox, before: &Files, text: &str) -> bool {
    let old = String::from_utf8_lossy(&before["docker/.env"].1).into_owned();
    let differ: Vec<(&str, &str)> = old.lines().zip(text.lines()).filter(|(old, new)| old != new).collect();
    let fits = |new: &str| match new.split_once('=') {
        Some(("OMNI_INFRA_PROVIDER_KEY", key)) => {
            KeyInfo::parse(key).is_ok_and(|key| key.provider() == Some("proxmox"))
        }
        Some(("PROVIDER_CA_FILE", file)) => file == lab.env("SSL_CERT_FILE"),
        _ => false,
    };
    EnvFile::parse("docker/.env", text).is_ok()
        && old.lines().count() == text.lines().count()
        && text.ends_with('\n')
        && differ.iter().all(|(_, new)| fits(new))
}

/// The keys of a state that can be read.
fn state_keys(text: &str) -> BTreeSet<String> {
    let front = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).expect("front matter").0;
    let values: serde_yaml::Mapping = serde_yaml::from_str(front).unwrap_or_else(|why| panic!("{why}: {text}"));
    values.keys().filter_map(|key| key.as_str().map(str::to_owned)).collect()
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of[field].as_array().map_or(&[], Vec::as_slice)
}

/// Exactly the machines that were wanted, each one a virtual machine with a disk, and no other; one of everything else;
/// and the files of an undisturbed run.
#[track_caller]
fn settled(lab: &Sandbox, before: &Files, wanted: &ExpectedFiles, place: &str) {
    let dump = lab.dump();
    let (proxmox, omni) = (&dump["proxmox"], &dump["omni"]);
    let clusters = list(omni, "clusters");
    let counts = [list(omni, "providers").len(), list(omni, "machine_classes").len(), clusters.len()];
    assert_eq!(counts, [1, 1, 1], "{place}: providers, classes, clusters: {dump:#}");
    assert!(clusters[0]["ready"] == true && clusters[0]["phase"] == "RUNNING", "{place}: {dump:#}");
    let machines = list(&clusters[0], "machine_sets").iter().flat_map(|set| list(set, "machines"));
    let machines: BTreeSet<&str> = machines.filter_map(|machine| machine["request"].as_str()).collect();
    let vms = list(proxmox, "vms");
    let names: BTreeSet<&str> = vms.iter().filter_map(|vm| vm["name"].as_str()).collect();
    assert_eq!(vms.len(), CONTROL_PLANES + WORKERS, "{place}: {dump:#}");
    assert_eq!(names, machines, "{place}: a machine is an orphan: {dump:#}");
    let disks = list(proxmox, "storages").iter().filter(|storage| storage["storage"] == "local-lvm");
    let disks: u64 = disks.filter_map(|storage| storage["volumes"].as_u64()).sum();
    assert_eq!(disks as usize, vms.len(), "{place}: a disk is an orphan: {dump:#}");
    let services: Vec<&str> =
        list(&dump["docker"], "containers").iter().filter_map(|container| container["service"].as_str()).collect();
    let once: BTreeSet<&str> = services.iter().copied().collect();
    assert!(once.len() == services.len() && once.contains("proxmox-provider"), "{place}: {services:?}");
    let after = lab.files();
    let new: BTreeSet<&str> = after.keys().filter(|name| !before.contains_key(*name)).map(String::as_str).collect();
    let expected = BTreeSet::from([STATE, CLASS, CLUSTER, "docker/config.yaml"]);
    assert_eq!(new, expected, "{place}: a file is too many or missing");
    assert_eq!((lab.read(CLASS), lab.read(CLUSTER)), (wanted.class.clone(), wanted.cluster.clone()), "{place}");
    assert_eq!(state_keys(&lab.read(STATE)), wanted.keys, "{place}");
    State::load(&lab.file(STATE), STATE).unwrap_or_else(|why| panic!("{place}: {why}"));
    let env = lab.read("docker/.env");
    assert!(only_the_provider_is_new(lab, before, &env) && env.contains("PROVIDER_KEY=ey"), "{place}: docker/.env");
    assert_eq!(files::mode(&lab.file("docker/.env")), Some(files::PRIVATE), "{place}");
}

/// The other changing tasks, in an order in which each finds what the one before left, and about how many milliseconds each takes.
/// `{dir}` is a directory of this test, `{worker}` a worker of the cluster, `{today}` the account that a rotation makes.
const OTHERS: [(&str, u64); 19] = [
    ("init {dir}/site", 60),
    ("cluster-scale demo --set workers=2 --yes --timeout 60s", 1500),
    ("apply {dir}/plan.json --yes --timeout 60s", 700),
    ("cluster-upgrade demo --talos v1.13.13 --yes --timeout 60s", 2000),
    ("machine-replace {worker} --yes --allow-destroy demo --timeout 60s", 2500),
    ("keys --rotate provider --yes", 1200),
    ("keys --rotate account --yes --allow-destroy {today} --allow-destroy {today}.2", 700),
    ("cluster-kubeconfig demo --merge --yes", 400),
    ("cluster-talosconfig demo --force", 300),
    ("cluster-export demo --force --yes", 400),
    ("machineclass-export small --force --yes", 300),
    ("support-bundle --out {dir} --yes", 900),
    ("fleet-page --out {dir}/page.html", 900),
    ("omni-backup", 1200),
    ("stack-up --recreate --yes", 900),
    ("stack-down --yes", 400),
    ("stack-up --yes", 600),
    ("cluster-delete demo --yes --allow-destroy demo --timeout 60s", 1500),
    ("omni-restore {dir}/kept.tar.gz --yes", 1500),
];
const UPGRADE: &str = "omni-upgrade --without-backup --yes";

/// Whether a file that a killed task has written is whole.
fn is_whole(file: &Path) -> bool {
    let bytes = std::fs::read(file).unwrap_or_default();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Command::new("gzip").arg("-t").arg(file).status().is_ok_and(|status| status.success()),
        Some("yaml") => serde_yaml::from_slice::<Vec<serde_yaml::Value>>(&bytes).is_ok() || bytes.ends_with(b"\n"),
        _ => bytes.ends_with(b"\n"),
    }
}

/// Each of the other changing tasks, killed at a random instant: files are whole, and the second run completes. Once each here, as
/// often as `OMNI_SCALE_KILLS` is a multiple of twelve in the pipeline.
#[test]
fn killed_in_any_other_task_a_second_run_completes() {
    let (kills, seed) = chosen();
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..(kills / 12).max(1) {
        let mut lab = sandbox();
        lab.set("DOCKER_HOST", Some("tcp://lab"));
        let create = "cluster-create demo --control-planes 1 --workers 1 --talos-version v1.13.9 --yes --timeout 60s";
        lab.provider();
        lab.class("small");
        lab.run(create).exits(0);
        crate::keys::keep_in_env(&mut lab);
        let mut older = crate::omni_upgrade::of_1_9();
        older.set("DOCKER_HOST", Some("tcp://lab"));
        let dir = lab.scratch().join("killed");
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut hit = |lab: &Sandbox, line: &str, millis: u64| {
            let at = Duration::from_millis(random.u64(..millis));
            killed_in(lab, &dir, line, at, &format!("seed {seed}, round {round}, {line} killed after {at:?}"))
        };
        let upgrade = usize::from(hit(&older, UPGRADE, 2500));
        assert!(older.read("docker/compose.yaml").contains("siderolabs/omni:v1.10.6"), "seed {seed}");
        older.run(UPGRADE).exits(0).says(&["nothing to upgrade"]);
        let hits = upgrade + OTHERS.iter().filter(|(line, millis)| hit(&lab, line, *millis)).count();
        println!("seed {seed}, round {round}: {hits} of {} tasks were killed", OTHERS.len() + 1);
        assert!(hits > OTHERS.len() / 4, "seed {seed}, round {round}: too few were still running: {hits}");
        assert_eq!(list(&lab.dump()["proxmox"], "vms").len(), 0, "seed {seed}: the cluster is deleted");
    }
}

fn killed_in(lab: &Sandbox, dir: &Path, line: &str, at: Duration, place: &str) -> bool {
    let dump = lab.dump();
    let mut names = list(&dump["proxmox"], "vms").iter().filter_map(|vm| vm["name"].as_str());
    let worker = names.find(|name| name.contains("workers")).unwrap_or_default();
    let (dir_name, today) = (dir.display().to_string(), crate::keys::account_of_today());
    let line = line.replace("{dir}", &dir_name).replace("{worker}", worker).replace("{today}", &today);
    if line.starts_with("omni-restore ") {
        let key = lab.read("docker/omni.asc");
        lab.run(&format!("omni-backup --to {}/kept.tar.gz", dir.display())).exits(0);
        crate::backup::lose_host(lab);
        lab.write("docker/omni.asc", &key);
    }
    if line.starts_with("apply ") {
        let text = lab.read(CLUSTER).replacen("name: demo\n", "name: demo\nlabels: {a: b}\n", 1);
        lab.write(CLUSTER, &text);
        lab.run(&format!("cluster-sync demo --plan-out {}/plan.json", dir.display())).exits(3);
    }
    let before = lab.files();
    let hit = kill(lab, &line, at);
    let changed = lab.files().into_iter().filter(|(name, file)| before.get(name) != Some(file));
    let written = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    for file in changed.map(|(name, _)| lab.file(&name)).chain(written.filter(|path| path.is_file())) {
        let passing = file.to_string_lossy().contains(".tmp");
        assert!(passing || is_whole(&file), "{place}: {} is not whole", file.display());
    }
    let again = lab.run(&line);
    // What was restored to its end is not restored over.
    let ended = !hit && line.starts_with("omni-restore ") && again.stderr.contains("a stack is here already");
    assert!(again.code == 0 || ended, "{place}, and the second run: {again:#?}");
    hit
}
