//! Ctrl-C in every step of every task: the task exits with 130 and explains how to continue, its programs are gone, its files are
//! complete, its lock is free, and running it again completes it.
//!
//! Nothing depends on timing. A gate is first on PATH for every program that a task calls. It passes every call through, except
//! the first one in a run at which this task was not yet interrupted. It holds that call, before the program starts or after a
//! program that changes something has finished, and reports where it is. The task is interrupted there, and run again, until a
//! run has no new place and succeeds.

pub mod gate;
mod of_the_lab;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use domain::words::split as words;
use gate::Gate;
use serde_json::Value;

use crate::sandbox::{Sandbox, is_alive, kill};
use crate::transcripts::Player;

const STATE: &str = ".claude/omni-scale.local.md";

/// Interrupts a task at each of its calls and runs it again, until it exits with `exit`. Returns the places. If `reads`, the task
/// must not change files before that.
#[track_caller]
fn walk(lab: &Sandbox, gate: &Gate, words: &[&str], exit: i32, reads: bool) -> BTreeSet<String> {
    walk_and(lab, gate, words, exit, reads, |_| {})
}

/// Like [`walk`], and calls `look` at each of the places.
#[track_caller]
fn walk_and(
    lab: &Sandbox,
    gate: &Gate,
    words: &[&str],
    exit: i32,
    reads: bool,
    look: impl Fn(&str),
) -> BTreeSet<String> {
    let (mut places, mut again) = (BTreeSet::new(), false);
    gate.reset();
    for round in 0_usize.. {
        assert!(round < 200, "{words:?} has no end: {places:#?}");
        gate.arm();
        let before = lab.files();
        // Every other time with JSON; a terminal interrupts the whole group, `kill` only the runner.
        let (json, group) = (round % 2 == 1 && !words.contains(&"--follow"), round % 3 == 1);
        let mut command = lab.command(words);
        command.args(json.then_some("--json")).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut running = command.spawn().expect("the runner starts");
        let held = gate.wait_for_call(&mut running);
        let pid = running.id();
        if held.is_some() {
            let whom = if group { format!("-{pid}") } else { pid.to_string() };
            kill(if round % 4 == 3 { "TERM" } else { "INT" }, whom);
        }
        let begun = Instant::now();
        let output = running.wait_with_output().expect("it is ours");
        let (took, said) = (begun.elapsed(), String::from_utf8_lossy(&output.stderr).into_owned());
        let Some(held) = held else {
            // On a busy machine with a fast clock, a heartbeat may be late, so a read-only task may try once more.
            if reads && !again && output.status.code() != Some(exit) {
                again = true;
                continue;
            }
            assert_eq!(output.status.code(), Some(exit), "{words:?} in the end: {output:#?}");
            gate.open();
            return places;
        };
        let place = format!("{words:?} interrupted {}", held.words);
        assert_eq!(output.status.code(), Some(130), "{place}: {output:#?}");
        assert!(took < Duration::from_secs(4), "{place}: it took {took:?}");
        assert!(held.pids.iter().all(|pid| !is_alive(pid)), "{place}: a program lives on");
        if json {
            let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{place}: {why}"));
            let error = &document["error"];
            assert_eq!((&error["code"], &document["ok"]), (&"interrupted".into(), &false.into()), "{place}");
            assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{place}: {document:#}");
        } else {
            // A rehearsal also shows the error of the task that it runs.
            let most = if words[0] == "rehearse" { 2 } else { 1 };
            assert!((1..=most).contains(&said.matches("error: ").count()), "{place}: one error:\n{said}");
            let words = ["error: interrupted while ", "error: stopped waiting for "];
            assert!(words.iter().any(|words| said.contains(words)) && said.contains("hint: "), "{place}:\n{said}");
        }
        let after = lab.files();
        assert!(!reads || before == after, "{place}: a reading task changed a file");
        assert!(after.keys().all(|name| !name.ends_with(".tmp")), "{place}: half a file is left: {:?}", after.keys());
        for (name, (_, bytes)) in after.iter().filter(|(name, file)| before.get(*name) != Some(file)) {
            let text = String::from_utf8(bytes.clone()).unwrap_or_else(|_| panic!("{place}: {name} is not text"));
            assert!(text.ends_with('\n'), "{place}: {name} is not whole:\n{text}");
        }
        let scratch: Vec<_> = fs::read_dir(gate.dir.join("tmp")).expect("it is there").flatten().collect();
        assert!(gate.wait_until_unused(), "{place}: an agent lives on");
        assert!(
            scratch.is_empty() && lab.leftovers().is_empty(),
            "{place}: scratch files stay: {scratch:?} {:?}",
            lab.leftovers()
        );
        for lock in [lab.state_dir().join("lock"), lab.project()] {
            let free = File::open(&lock).map_or(true, |lock| lock.try_lock().is_ok());
            assert!(free, "{place}: {} is locked", lock.display());
        }
        look(&place);
        places.insert(held.words);
    }
    unreachable!("the rounds have an end")
}

/// Checks that the places of a task contain each of these.
#[track_caller]
fn passed(places: &BTreeSet<String>, wanted: &[&str]) {
    for word in wanted {
        assert!(places.iter().any(|place| place.contains(word)), "never interrupted at {word:?}: {places:#?}");
    }
}

/// A lab with the gate in front of it.
fn gated() -> (Sandbox, Gate) {
    let mut lab = Sandbox::with("--clock 400");
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    let gate = Gate::new(&mut lab);
    (lab, gate)
}

/// Plays a part of `fixtures/interrupted.txt`, which explains its lines.
#[track_caller]
fn played(player: &mut Player, gate: &Gate, part: &str) {
    let script = include_str!("../fixtures/interrupted.txt").split("\n== ").skip(1);
    let script = script.filter_map(|part| part.split_once('\n')).find(|(name, _)| *name == part).expect("the part").1;
    let (mut exit, mut places) = (0, BTreeSet::new());
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (mark, rest) = (&line[..1], player.filled(line[1..].trim_start()));
        let machines = |player: &mut Player| player.lab().dump()["proxmox"]["vms"].as_array().map_or(0, Vec::len);
        match mark {
            "@" => player.change(&rest),
            "=" => exit = rest.parse().expect("an exit code"),
            "~" => passed(&places, &[&rest]),
            "%" => assert_eq!(machines(player).to_string(), rest, "machines, after so many interrupted runs"),
            _ => {
                let words = words(&rest);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                places = walk(player.lab(), gate, &words, std::mem::take(&mut exit), mark == "?");
                assert!(places.len() >= 2 || mark == "$", "{rest}: {places:#?}");
            }
        }
    }
}

#[test]
fn ctrl_c_in_every_step_of_the_runbook() {
    let (lab, gate) = gated();
    played(&mut Player::of(lab), &gate, "runbook");
}

#[test]
fn interrupted_rotation_leaves_a_working_key() {
    let (mut lab, gate) = gated();
    lab.provider();
    crate::keys::keep_in_env(&mut lab);
    let works = |name: &str, place: &str| {
        let key = crate::keys::in_env(&lab, name);
        let said = crate::keys::asked_with(&lab, &key, &["get", "sysversion"]);
        // A provider may not read this, but Omni reports that only for a key that it accepts.
        assert!(said.code == 0 || said.stderr.contains("insufficient role"), "{place}: {said:#?}");
    };
    let provider: &[&str] = &["keys", "--rotate", "provider", "--yes"];
    let look = |place: &str| works("OMNI_INFRA_PROVIDER_KEY", place);
    passed(&walk_and(&lab, &gate, provider, 0, false, look), &["after omnictl infraprovider renewkey", "after docker"]);
    // An interrupted run may have left keys of an account that becomes the current one.
    let today = crate::keys::account_of_today();
    let second = format!("{today}.2");
    let account: &[&str] =
        &["keys", "--rotate", "account", "--yes", "--allow-destroy", &today, "--allow-destroy", &second];
    let look = |place: &str| works("OMNI_SERVICE_ACCOUNT_KEY", place);
    let places = walk_and(&lab, &gate, account, 0, false, look);
    passed(&places, &["after omnictl serviceaccount create", "before omnictl serviceaccount destroy"]);
    let key = crate::keys::in_env(&lab, "OMNI_SERVICE_ACCOUNT_KEY");
    let left = crate::keys::asked_with(&lab, &key, &["serviceaccount", "list"]).exits(0).stdout.clone();
    assert!(!left.contains("automation "), "the first account is gone:\n{left}");
}

#[test]
fn ctrl_c_in_every_step_of_the_stack() {
    let (lab, gate) = gated();
    let mut player = Player::of(lab);
    played(&mut player, &gate, "stack");
    let lab = player.lab();
    let left = fs::read_dir(lab.state_dir().join("backups")).expect("it was made").flatten().count();
    assert_eq!(left, 2, "one whole backup and the one that is kept, after so many interrupted runs");
    let key = lab.read("docker/omni.asc");
    crate::backup::lose_host(lab);
    lab.write("docker/omni.asc", &key);
    played(&mut player, &gate, "restored");
    assert_eq!(player.lab().dump()["docker"]["containers"].as_array().map(Vec::len), Some(0), "the stack is down");
    played(&mut player, &gate, "started");
}

/// After each interruption, the next run continues, and in the end the new Omni contains what the old one did.
#[test]
fn ctrl_c_in_every_step_of_an_upgrade_of_omni() {
    let mut lab = crate::omni_upgrade::of_1_9();
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    let gate = Gate::new(&mut lab);
    let places = walk(&lab, &gate, &["omni-upgrade", "--without-backup", "--yes"], 0, false);
    passed(
        &places,
        &["before docker pull", "before docker compose", "after docker compose", "before omnictl get sysv"],
    );
    assert!(lab.read("docker/compose.yaml").contains("siderolabs/omni:v1.10.6"));
    lab.run("omni-upgrade --yes").exits(0).says(&["nothing to upgrade"]);
}

#[test]
fn ctrl_c_in_every_step_of_the_set_up() {
    let (mut lab, words) = crate::omni_stack_in_lab::bare();
    let gate = Gate::new(&mut lab);
    if !gate.dir.join("bin/gpg").exists() {
        eprintln!("SKIP ctrl_c_in_every_step_of_the_set_up: gpg is not installed");
        return;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "--json").collect();
    let more = ["--service-account", "Operator", "--service-account-name", "tasks"];
    let places = walk(&lab, &gate, &[words.as_slice(), &more].concat(), 0, false);
    passed(&places, &["before gpg", "before docker compose", "after docker compose", "before curl"]);
    passed(&places, &["before omnictl serviceaccount create", "after omnictl serviceaccount create"]);
    let accounts = lab.read("docker/.env").matches("OMNI_SERVICE_ACCOUNT_KEY=").count();
    assert_eq!(accounts, 1, "one key of its account, after so many interrupted runs");
}

/// Starts a task, interrupts it once it has printed `word` to standard output or error, and returns its output.
#[track_caller]
fn interrupted_at(lab: &Sandbox, line: &str, word: &str) -> String {
    let (out, err) = (lab.scratch().join("out"), lab.scratch().join("err"));
    let mut command = lab.command(line.split(' '));
    command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
    let mut running = command.spawn().expect("the runner starts");
    let said =
        || format!("{}{}", fs::read_to_string(&out).unwrap_or_default(), fs::read_to_string(&err).unwrap_or_default());
    let end = Instant::now() + Duration::from_secs(60);
    while !said().contains(word) {
        assert!(Instant::now() < end && running.try_wait().expect("it is ours").is_none(), "{line}:\n{}", said());
        std::thread::sleep(Duration::from_millis(2));
    }
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.id())).unwrap_or_default();
    kill("INT", running.id());
    let begun = Instant::now();
    let status = running.wait().expect("it is ours");
    assert_eq!(status.code(), Some(130), "{line}:\n{}", said());
    assert!(begun.elapsed() < Duration::from_secs(4), "{line}: it took {:?}", begun.elapsed());
    assert!(children.split_whitespace().all(|pid| !is_alive(pid)), "{line}: a program lives on");
    said()
}

#[test]
fn ctrl_c_ends_waiting_and_following_tasks() {
    let lab = Sandbox::with("--fault machine-never-joins");
    lab.provider();
    lab.class("small");
    let before = lab.files();
    let line = "cluster-create demo --control-planes 1 --workers 0 --yes";
    let said = interrupted_at(&lab, line, "waits for the machine to join");
    for words in [
        "error: stopped waiting for cluster `demo`; Omni continues",
        "run the same command again",
        "cargo xtask cluster-status demo",
    ] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    assert!(!said.contains("half written"), "the cluster is being made:\n{said}");
    let after = lab.files();
    let new: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert_eq!(new, ["clusters/demo.yaml"]);
    assert_eq!(before[STATE], after[STATE], "what was not proved is not kept");
    for line in ["stack-logs --follow", "stack-logs omni --follow", "provider-status --follow"] {
        let said = interrupted_at(&lab, line, "202");
        assert!(said.contains("error: interrupted while "), "{line}: {said}");
    }
}

/// A sync that was interrupted while it waited has made all changes. A new run has only to wait, and it does: for one cluster,
/// for several, and for one next to another that it changes.
#[test]
fn second_run_waits_after_interrupted_wait() {
    let lab = Sandbox::with("--clock 60");
    lab.provider();
    lab.class("small");
    let runs =
        |name: &str| lab.run(&format!("cluster-status {name} --json")).json()["data"]["cluster"]["running"].clone();
    let copy = |name: &str| {
        let text = lab.read("clusters/one.yaml").replace("name: one", &format!("name: {name}"));
        lab.write(&format!("clusters/{name}.yaml"), &text);
    };
    let line = "cluster-create one --control-planes 1 --workers 0 --yes";
    interrupted_at(&lab, line, "waits for");
    for line in ["cluster-status --watch", "cluster-status one -w"] {
        interrupted_at(&lab, line, "one  ");
    }
    assert!(!lab.read(STATE).contains("clusters"), "what was not proved is not kept");
    for line in ["cluster-sync one --yes --no-wait", "cluster-sync one --dry-run"] {
        let ran = lab.run(line).exits(0).says(&["`one` is in sync; nothing to change"]);
        assert!(!ran.stderr.contains("Running and ready"), "{line} does not wait: {ran:#?}");
    }
    lab.run("cluster-sync one --yes").exits(0).says(&["Running and ready", "`one` is in sync; nothing to change"]);
    assert_eq!(runs("one"), true);
    for name in ["two", "three"] {
        copy(name);
        interrupted_at(&lab, &format!("cluster-sync {name} --yes"), "waits for");
    }
    let said =
        lab.run("cluster-sync --all --yes").exits(0).says(&[" of 3 Running and ready", "3 clusters are in sync"]);
    assert_eq!((runs("two"), runs("three")), (true.into(), true.into()), "{said:#?}");
    // Next to one that is changed.
    ["four", "five"].into_iter().for_each(copy);
    interrupted_at(&lab, "cluster-sync four --yes", "waits for");
    lab.run("cluster-sync four five --yes").exits(0).says(&["cluster `five` is synced, Running and ready"]);
    assert_eq!((runs("four"), runs("five")), (true.into(), true.into()));
    // If there is nothing to do or to wait for, a single check of all clusters reports that.
    let journal = || fs::read_to_string(lab.journal()).unwrap_or_default().lines().count();
    let before = journal();
    lab.run("cluster-sync --all --yes").exits(0).says(&["5 of 5 Running and ready", "5 clusters are in sync"]);
    let reads =
        "the clusters, a comparison each, seven reads for all, what Omni offers, and Proxmox's virtual machines";
    assert_eq!(journal() - before, 1 + 5 + 7 + 3 + 1, "{reads}");
}
