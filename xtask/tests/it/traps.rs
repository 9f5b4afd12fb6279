//! `doctor` in a lab: a configured hub has no findings, and each known trap, set one at a time, is found by its check and by no
//! other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::input::lasting_key;
use crate::sandbox::{CommandOutput, Sandbox, in_parallel};
use crate::transcripts::KEYS;

/// A trap: an entry of `traps.yaml`, which explains each field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trap {
    name: String,
    #[serde(default)]
    faults: Vec<String>,
    #[serde(default)]
    own: bool,
    #[serde(default)]
    step: String,
    wanted: Vec<String>,
    exit: i32,
}

static TRAPS: LazyLock<Vec<Trap>> =
    LazyLock::new(|| serde_yaml::from_str(include_str!("../fixtures/traps.yaml")).expect("the traps"));

/// A hub that is set up in a lab, with its own copy of the project's files.
struct World<'a> {
    lab: &'a Sandbox,
    project: PathBuf,
}

impl World<'_> {
    /// Sets a trap.
    fn step(&self, script: &str) {
        let made = |found: &regex::Captures<'_>| lasting_key(&found[1], found[2].parse().expect("a number of days"));
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let lab_bin = self.lab.env("PATH").split(':').next().unwrap_or_default();
        let mut shell = self.lab.program("sh");
        shell.arg("-c").arg(format!("{}\n{}", include_str!("../fixtures/traps.sh"), KEYS.replace_all(script, made)));
        shell.env("PROJECT", &self.project).env("FIXTURES", fixtures).env("LAB_BIN", lab_bin);
        shell.env("XTASK", env!("CARGO_BIN_EXE_xtask")).env("LC_ALL", "C").env("DOCKER_HOST", "tcp://lab");
        CommandOutput::of(&mut shell).exits(0);
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.lab.command_in(&self.project, words);
        // The engine is the lab's, so what is on this host does not matter.
        command.env("DOCKER_HOST", "tcp://lab").env("LC_ALL", "C");
        let given = fs::read_to_string(self.project.with_extension("env")).unwrap_or_default();
        command.envs(given.lines().filter_map(|line| line.split_once('=')));
        command
    }

    /// Returns the exit status, and the checks that are neither ok nor skipped, as `id status`.
    fn doctor(&self) -> (i32, Vec<String>) {
        reported(&CommandOutput::of(&mut self.command(&["doctor", "--all", "--json"])))
    }
}

/// Returns the findings of a run of doctor.
fn reported(ran: &CommandOutput) -> (i32, Vec<String>) {
    let document = ran.json();
    let checks = document["data"]["checks"].as_array().unwrap_or_else(|| panic!("{document:#}")).iter();
    let word = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let bad = checks.filter(|check| !["ok", "skipped"].contains(&word(check, "status").as_str()));
    (ran.code, bad.map(|check| word(check, "id") + " " + &word(check, "status")).collect())
}

/// A lab whose hub is set up to the provider, under git.
fn set_up(faults: &[String]) -> Sandbox {
    let flags: String = faults.iter().map(|fault| format!("--fault {fault} ")).collect();
    let lab = Sandbox::with(&flags);
    World { lab: &lab, project: lab.project() }.step("set_up");
    lab
}

/// Copies the project for one trap.
fn copy(lab: &Sandbox, number: usize) -> PathBuf {
    let to = lab.scratch().join(format!("trap-{number}"));
    let done = Command::new("cp").arg("-a").arg(lab.project()).arg(&to).status().expect("cp runs");
    assert!(done.success());
    to
}

/// Returns the findings of a trap if they differ from the expected ones. Checks that became unknown because of it are ignored,
/// unless they are expected.
fn wrong(trap: &Trap, world: &World<'_>) -> Option<String> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let (exit, found) = world.doctor();
        let unknown = |found: &&String| found.ends_with("unknown");
        let reported: Vec<&str> = found.iter().filter(|each| !unknown(each)).map(String::as_str).collect();
        let told: Vec<&str> =
            trap.wanted.iter().map(String::as_str).filter(|each| !each.ends_with("unknown")).collect();
        let named = trap.wanted.iter().all(|each| found.iter().any(|other| other == each));
        if reported == told && named && exit == trap.exit {
            return None;
        }
        // A service may need a moment to show its fault, and a heartbeat may be late on a busy host.
        if Instant::now() > end {
            return Some(format!("{}: {found:?}, exit {exit}", trap.name));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn each_trap_is_found_in_the_lab_and_nothing_else() {
    let shared = set_up(&[]);
    let healthy = World { lab: &shared, project: shared.project() };
    let nothing: Trap = serde_yaml::from_str("{name: a healthy hub, wanted: [], exit: 0}").expect("a trap");
    assert_eq!(wrong(&nothing, &healthy), None);
    let one = |(number, trap): &(usize, &Trap)| {
        let own = (trap.own || !trap.faults.is_empty()).then(|| set_up(&trap.faults));
        let lab = own.as_ref().unwrap_or(&shared);
        let world = World { lab, project: if own.is_some() { lab.project() } else { copy(lab, *number) } };
        world.step(&trap.step);
        wrong(trap, &world)
    };
    let all: Vec<(usize, &Trap)> = TRAPS.iter().enumerate().collect();
    let missed: Vec<String> = in_parallel(&all, 2, one).into_iter().flatten().collect();
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), TRAPS.len(), missed.join("\n"));
    assert_eq!(wrong(&nothing, &healthy), None, "no trap was left behind");
}

/// Traps of the host itself, which are set in a separate mount namespace: what is mounted, whether the hub is set up, the
/// expected findings, and the exit status.
const OF_THE_HOST: &[(&str, bool, &[&str], i32)] = &[
    ("mount -t tmpfs none /usr/local/bin && touch /usr/local/bin/tsidp", true, &["host.tsidp failed"], 1),
    ("mount -t tmpfs none /run && mkdir -p /run/systemd/system", true, &["host.boot warning"], 0),
    ("if [ -d /dev/net ]; then mount -t tmpfs none /dev/net; fi", false, &["host.tun failed"], 4),
];

#[test]
fn traps_of_the_host_are_found() {
    let may =
        Command::new("unshare").args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP traps_of_the_host_are_found: no mount namespace may be made here");
        return;
    }
    let (ready, fresh) = (set_up(&[]), Sandbox::new());
    for (number, (mounts, is_set_up, wanted, exit)) in OF_THE_HOST.iter().enumerate() {
        let lab = if *is_set_up { &ready } else { &fresh };
        let world = World { lab, project: copy(lab, number) };
        if !is_set_up {
            for file in ["docker/.env", "docker/omni.asc"] {
                fs::remove_file(world.project.join(file)).expect("it was there");
            }
        }
        let inner = world.command(&["doctor", "--all", "--json"]);
        let mut outer = Command::new("unshare");
        outer.args(["--map-root-user", "--mount", "sh", "-c", &format!("{mounts}\nexec \"$@\""), "sh"]);
        outer.arg(inner.get_program()).args(inner.get_args()).env_clear().current_dir(lab.scratch());
        for (name, value) in inner.get_envs().filter_map(|(name, value)| Some((name, value?))) {
            outer.env(name, value);
        }
        // Here the engine is this host's.
        outer.env_remove("DOCKER_HOST").stdin(Stdio::null());
        let (ended, found) = reported(&CommandOutput::of(&mut outer));
        assert_eq!((ended, found), (*exit, wanted.iter().map(|each| (*each).to_owned()).collect()), "{mounts}");
    }
}

/// Checks without a trap in the table, which [`OF_THE_HOST`] covers.
const ELSEWHERE: [&str; 3] = ["host.tun", "host.boot", "host.tsidp"];

#[test]
fn every_check_has_its_trap() {
    let stepped: BTreeSet<&str> =
        TRAPS.iter().flat_map(|trap| &trap.wanted).filter_map(|found| found.split(' ').next()).collect();
    for check in xtask::flow::doctor::CHECKS.iter() {
        let elsewhere = OF_THE_HOST.iter().flat_map(|(_, _, wanted, _)| *wanted);
        let of_the_host = elsewhere.filter_map(|found| found.split(' ').next()).any(|id| id == check.id);
        assert_eq!(of_the_host, ELSEWHERE.contains(&check.id.as_str()), "{}", check.id);
        assert_ne!(stepped.contains(check.id.as_str()), ELSEWHERE.contains(&check.id.as_str()), "{}", check.id);
    }
}
