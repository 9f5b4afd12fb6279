//! Killed anywhere: the whole sequence, ended by SIGKILL at a random instant, leaves whole files, and running it again
//! reaches Running with exactly the machines that were wanted.
//!
//! 60 times by default; `OMNI_SCALE_KILLS=1000 OMNI_SCALE_SEED=… cargo test -p xtask --test it killed -- --nocapture` is
//! the soak. The seed is printed, and gives the same instants again.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sandbox::{Options, Sandbox, class_words};

const CONTROL_PLANES: usize = 1;
const WORKERS: usize = 1;

/// The runbook as a newcomer types it, one command line a step.
fn sequence() -> Vec<Vec<String>> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        owned(&["provider-setup", "--yes"]),
        owned(&class_words("small")),
        owned(&["machineclass-apply", "small", "--yes"]),
        owned(&["cluster-create", "demo", "--control-planes", "1", "--workers", "1", "--yes", "--timeout", "60s"]),
    ]
}

/// The next number of a small generator (Steele, Lea, Flood, "Fast splittable pseudorandom number generators").
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn killed_anywhere_a_second_run_reaches_running() {
    let kills = number("OMNI_SCALE_KILLS").unwrap_or(60);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let seed = number("OMNI_SCALE_SEED").unwrap_or(clock);
    println!("seed {seed}");
    let (mut state, mut landed) = (seed, 0);
    // How long the sequence takes is measured once: instants beyond it would kill nothing.
    let begun = std::time::Instant::now();
    let lab = Sandbox::with(&Options { clock: Some(400), ..Options::default() });
    let started = std::time::Instant::now();
    again(&lab);
    let length = started.elapsed();
    drop(lab);
    for round in 0..kills {
        let at = length.mul_f64((next(&mut state) % 10_000) as f64 / 10_000.0);
        let lab = Sandbox::with(&Options { clock: Some(400), ..Options::default() });
        landed += u64::from(killed_at(&lab, at));
        whole(&lab, round, at);
        again(&lab);
        settled(&lab, round, at);
    }
    println!(
        "killed {landed} of {kills} times (seed {seed}) in {:.0} s: every file whole, every second run Running, no duplicate, no orphan",
        begun.elapsed().as_secs_f64()
    );
    assert!(landed * 2 > kills, "only {landed} of {kills} kills hit a running task");
}

/// Runs the sequence and kills whatever runs `at` that instant. Whether something did.
fn killed_at(lab: &Sandbox, at: Duration) -> bool {
    let end = std::time::Instant::now() + at;
    for words in sequence() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut running = lab.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        loop {
            if std::time::Instant::now() >= end {
                let _ = Command::new("kill").args(["-KILL", &running.id().to_string()]).status();
                let _ = running.wait();
                return true;
            }
            match running.try_wait().expect("it is ours") {
                Some(status) if status.success() => break,
                Some(status) => panic!("{words:?} failed before it was killed: {status}"),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
    false
}

/// Every file that a task writes parses, and holds nothing half.
#[track_caller]
fn whole(lab: &Sandbox, round: u64, at: Duration) {
    for (path, (_, bytes)) in lab.tree() {
        let name = path.strip_prefix(lab.project()).expect("inside").display().to_string();
        if name.starts_with("target/") || name.ends_with(".tmp") {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap_or_else(|_| panic!("round {round}, {at:?}: {name} is no text"));
        let ok = match name.as_str() {
            "docker/.env" => xtask::spec::env::EnvFile::parse(&name, &text).is_ok() && text.ends_with('\n'),
            "docker/config.yaml" => xtask::spec::config::ProviderConfig::parse(&name, &text).is_ok(),
            ".claude/omni-scale.local.md" => text.starts_with("---\n") && text.contains("## Next Steps"),
            name if name.starts_with("machine-classes/") => {
                !xtask::spec::machine_class::parse(name, text.as_bytes()).has_errors()
            }
            name if name.starts_with("clusters/") => !xtask::spec::template::parse(name, text.as_bytes()).has_errors(),
            _ => true,
        };
        assert!(ok, "round {round}, killed after {at:?}: {name} is not whole:\n{text}");
    }
}

/// The same sequence once more, to its end.
#[track_caller]
fn again(lab: &Sandbox) {
    for words in sequence() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        lab.run_words(&words).exits(0);
    }
}

/// Exactly the machines that were wanted, each one a virtual machine, and no other.
#[track_caller]
fn settled(lab: &Sandbox, round: u64, at: Duration) {
    let dump = lab.dump();
    let vms = dump["proxmox"]["vms"].as_array().expect("a list");
    assert_eq!(vms.len(), CONTROL_PLANES + WORKERS, "round {round}, killed after {at:?}: {dump:#}");
    let clusters = dump["omni"]["clusters"].as_array().expect("a list");
    assert_eq!(clusters.len(), 1, "round {round}, killed after {at:?}: {dump:#}");
    let machines: Vec<&str> = clusters[0]["machine_sets"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|set| set["machines"].as_array().expect("a list"))
        .filter_map(|machine| machine["request"].as_str())
        .collect();
    for vm in vms {
        let name = vm["name"].as_str().expect("a name");
        assert!(machines.contains(&name), "round {round}, killed after {at:?}: {name} is an orphan: {dump:#}");
    }
}
