//! Killed anywhere: the whole sequence, ended by SIGKILL at a random instant, leaves whole files, and running it again
//! reaches Running with exactly the machines that were wanted.
//!
//! 12 times in `cargo test`, 60 in the pipeline (`.ci/kill.sh`). The soak is
//! `OMNI_SCALE_KILLS=1000 OMNI_SCALE_SEED=… cargo test -p xtask --test it killed -- --nocapture`. The seed is printed, and
//! gives the same instants again, as parts of the time that the sequence takes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::spec::config::ProviderConfig;
use domain::spec::env::EnvFile;
use domain::spec::key::KeyInfo;
use domain::spec::{machine_class, template};
use runtime::files;
use runtime::state::State;
use serde_json::Value;

use crate::sandbox::{Files, Options, Sandbox, class_words};

/// Two sandboxes at a time keep a small machine busy: each waits for its far ends half of its time.
const BESIDE: usize = 2;
const CONTROL_PLANES: usize = 1;
const WORKERS: usize = 1;
const CLASS: &str = "machine-classes/small.yaml";
const CLUSTER: &str = "clusters/demo.yaml";
const STATE: &str = ".claude/omni-scale.local.md";

/// The runbook as a newcomer types it, one command line a step.
fn sequence() -> Vec<Vec<String>> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        owned(&["provider-setup", "--yes"]),
        owned(&class_words("small")),
        owned(&["machineclass-apply", "small", "--yes"]),
        owned(&["cluster-create", "demo", "--control-planes", "1", "--workers", "1", "--yes", "--timeout", "120s"]),
    ]
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn killed_anywhere_a_second_run_reaches_running() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let (kills, seed) = (number("OMNI_SCALE_KILLS").unwrap_or(12), number("OMNI_SCALE_SEED").unwrap_or(clock));
    println!("seed {seed}");
    let soak = Soak::new(kills, seed);
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| soak.work());
        }
    });
    println!("{}", soak.summary());
    let (landed, rounds) = (soak.landed.load(Ordering::Relaxed), soak.rounds.load(Ordering::Relaxed));
    assert!(landed >= kills, "only {landed} of {rounds} rounds were ended by a kill");
}

/// All rounds of one run.
struct Soak {
    kills: u64,
    seed: u64,
    begun: Instant,
    rounds: AtomicU64,
    landed: AtomicU64,
    /// In which task a kill hit.
    hits: Mutex<BTreeMap<String, u64>>,
    /// How long each step takes when nobody disturbs it, on this machine as busy as it is now: an instant is a part of it.
    typical: Mutex<Vec<Duration>>,
    wanted: Wanted,
    /// A round failed: the others need not go on.
    over: AtomicBool,
}

/// What the files hold in the end, from a run that nobody disturbed.
struct Wanted {
    class: String,
    cluster: String,
    /// The keys of the state.
    keys: BTreeSet<String>,
}

/// Says that a round failed, when it is dropped by a panic.
struct Watch<'a>(&'a AtomicBool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.fetch_or(std::thread::panicking(), Ordering::Relaxed);
    }
}

impl Soak {
    fn new(kills: u64, seed: u64) -> Soak {
        let lab = sandbox();
        let typical = Mutex::new(again(&lab));
        let wanted = Wanted { class: lab.read(CLASS), cluster: lab.read(CLUSTER), keys: state_keys(&lab.read(STATE)) };
        assert!(wanted.keys.contains("provider_configured"), "{:?}", wanted.keys);
        Soak {
            kills,
            seed,
            begun: Instant::now(),
            rounds: AtomicU64::new(0),
            landed: AtomicU64::new(0),
            hits: Mutex::default(),
            typical,
            wanted,
            over: AtomicBool::new(false),
        }
    }

    fn work(&self) {
        let _watch = Watch(&self.over);
        while self.landed.load(Ordering::Relaxed) < self.kills && !self.over.load(Ordering::Relaxed) {
            let round = self.rounds.fetch_add(1, Ordering::Relaxed);
            // A machine on which nothing is ever hit must not keep us here.
            if round >= self.kills * 4 {
                return;
            }
            self.round(round);
        }
    }

    fn round(&self, round: u64) {
        let (step, at) = self.instant(round);
        let lab = sandbox();
        let before = lab.files();
        let hit = killed_at(&lab, step, at);
        let task = sequence()[step][0].clone();
        let place = format!("seed {}, round {round}, {task} killed after {at:?} ({hit})", self.seed);
        if hit {
            let landed = self.landed.fetch_add(1, Ordering::Relaxed) + 1;
            *self.hits.lock().unwrap_or_else(PoisonError::into_inner).entry(task).or_default() += 1;
            if landed.is_multiple_of(100) {
                println!("{landed} kills, {:.0} s", self.begun.elapsed().as_secs_f64());
            }
        }
        whole(&lab, &before, &self.wanted, &place);
        let took = again(&lab);
        // The steps behind the one that was hit ran for the first time.
        let mut typical = self.typical.lock().unwrap_or_else(PoisonError::into_inner);
        typical.iter_mut().zip(took).skip(step + 1).for_each(|(typical, took)| *typical = (*typical * 3 + took) / 4);
        drop(typical);
        settled(&lab, &before, &self.wanted, &place);
    }

    /// The instant of a round: a step, and how long after its start. Longer steps are hit more often.
    fn instant(&self, round: u64) -> (usize, Duration) {
        let typical = self.typical.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut left =
            typical.iter().sum::<Duration>().mul_f64(fastrand::Rng::with_seed(self.seed.wrapping_add(round)).f64());
        for (step, takes) in typical.iter().enumerate() {
            if left < *takes {
                return (step, left);
            }
            left -= *takes;
        }
        (typical.len() - 1, left)
    }

    fn summary(&self) -> String {
        let hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
        let hits: Vec<String> = hits.iter().map(|(task, count)| format!("{count} in {task}")).collect();
        format!(
            "killed {} times in {} rounds (seed {}) in {:.0} s ({}): every file whole, every second run Running, no \
             duplicate, no orphan",
            self.landed.load(Ordering::Relaxed),
            self.rounds.load(Ordering::Relaxed).min(self.kills * 4),
            self.seed,
            self.begun.elapsed().as_secs_f64(),
            hits.join(", ")
        )
    }
}

fn sandbox() -> Sandbox {
    Sandbox::with(&Options { clock: Some(400), ..Options::default() })
}

/// Runs the sequence up to a step and kills that one `at` that instant of it; whether it was still running.
fn killed_at(lab: &Sandbox, step: usize, at: Duration) -> bool {
    let steps = sequence();
    run_all(lab, &steps[..step]);
    let words: Vec<&str> = steps[step].iter().map(String::as_str).collect();
    let begun = Instant::now();
    let mut running = lab.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    loop {
        if begun.elapsed() >= at {
            let _ = Command::new("kill").args(["-KILL", &running.id().to_string()]).status();
            return running.wait().expect("it is ours").code().is_none();
        }
        match running.try_wait().expect("it is ours") {
            Some(status) if status.success() => return false,
            Some(status) => panic!("{words:?} failed before it was killed: {status}"),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Every file is as it was, or whole and what it should be; what the killed task had not renamed yet is nobody else's to
/// read.
#[track_caller]
fn whole(lab: &Sandbox, before: &Files, wanted: &Wanted, place: &str) {
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

/// The same sequence once more, to its end, and how long each step took.
#[track_caller]
fn again(lab: &Sandbox) -> Vec<Duration> {
    run_all(lab, &sequence())
}

#[track_caller]
fn run_all(lab: &Sandbox, steps: &[Vec<String>]) -> Vec<Duration> {
    let one = |words: &Vec<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let begun = Instant::now();
        lab.run_words(&words).exits(0);
        begun.elapsed()
    };
    steps.iter().map(one).collect()
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of[field].as_array().map_or(&[], Vec::as_slice)
}

/// Exactly the machines that were wanted, each one a virtual machine with a disk, and no other; one of everything else;
/// and the files of an undisturbed run.
#[track_caller]
fn settled(lab: &Sandbox, before: &Files, wanted: &Wanted, place: &str) {
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

/// `infraprovider create` that ended between its two steps, the provider and the account that its key is of.
#[test]
fn half_a_provider_is_made_whole() {
    let lab = Sandbox::new();
    let text =
        "metadata:\n  namespace: infra-provider\n  type: InfraProviders.omni.sidero.dev\n  id: proxmox\nspec: {}\n";
    lab.write("half.yaml", text);
    lab.omnictl(&["apply", "-f", "half.yaml"]);
    lab.provider();
    lab.run("provider-verify").exits(0).says(&["registered and connected"]);
}
