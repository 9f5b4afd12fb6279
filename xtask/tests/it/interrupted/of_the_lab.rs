//! The same for the tasks that start a lab: no process and no directory of the lab is left, unless `lab-up` completed.
//!
//! The program that builds the lab has a gate as well: it reports a gate in front of the lab as the program that it has built.

use std::fs;
use std::path::PathBuf;

use super::{Gate, passed, walk_and};
use crate::sandbox::{Sandbox, lab_program, wait_for};

/// A project with a gate in front of cargo and the lab, and without the sandbox's own lab.
fn gated() -> (Sandbox, Gate) {
    let mut lab = Sandbox::new();
    // The sandbox's own lab is not on PATH: the tasks of a rehearsal have a separate lab.
    lab.set("PATH", Some("/usr/local/bin:/usr/bin:/bin"));
    for name in
        ["OMNI_ENDPOINT", "OMNI_SERVICE_ACCOUNT_KEY", "PROXMOX_VE_ENDPOINT", "PROXMOX_VE_API_TOKEN", "SSL_CERT_FILE"]
    {
        lab.set(name, None);
    }
    let gate = Gate::new(&mut lab);
    let built = format!(
        r#"{{"target":{{"kind":["bin"],"name":"lab"}},"executable":"{}"}}"#,
        gate.dir.join("bin/lab").display()
    );
    gate.wrap("cargo", &format!("#!/bin/sh\nprintf '%s\\n' '{built}'\n"));
    gate.wrap("lab", &format!("#!/bin/sh\nexec '{}' \"$@\"\n", lab_program().display()));
    (lab, gate)
}

/// Returns the processes of labs that tasks have started in the project.
fn labs(lab: &Sandbox) -> Vec<String> {
    let target = lab.file("target").display().to_string();
    let lines = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(" serve ") && line.contains(&target)).collect()
}

/// Returns the directories of labs in the project.
fn directories(lab: &Sandbox) -> Vec<PathBuf> {
    let found = fs::read_dir(lab.file("target")).into_iter().flatten().flatten().map(|entry| entry.path());
    found.filter(|path| path.is_dir()).collect()
}

/// Checks that nothing of a lab is left, at once or after it has noticed that it has to exit.
#[track_caller]
fn nothing_is_left(lab: &Sandbox, place: &str) {
    wait_for(&format!("{place}: a lab lives on"), || labs(lab).is_empty());
    assert_eq!(directories(lab), Vec::<PathBuf>::new(), "{place}: its directory stays");
}

#[test]
fn ctrl_c_in_every_step_of_a_rehearsal() {
    let (lab, gate) = gated();
    let places = walk_and(&lab, &gate, &["rehearse"], 0, true, |place| nothing_is_left(&lab, place));
    passed(&places, &["before cargo build", "before lab serve", "before lab dump", "before curl"]);
    let fault = ["rehearse", "--fault", "omni-unhealthy"];
    let places = walk_and(&lab, &gate, &fault, 0, true, |place| nothing_is_left(&lab, place));
    passed(&places, &["before lab faults", "before lab serve", "before curl"]);
}

#[test]
fn ctrl_c_in_every_step_of_a_lab_that_stays_up() {
    let (lab, gate) = gated();
    let up = ["lab-up", "--fault", "omni-eula", "--yes"];
    let places = walk_and(&lab, &gate, &up, 0, true, |place| nothing_is_left(&lab, place));
    passed(&places, &["before cargo build", "before lab faults", "before lab serve"]);
    assert_eq!((labs(&lab).len(), directories(&lab)), (1, vec![lab.file("target/lab")]));
    // The lab is up until it is known to have exited.
    let places = walk_and(&lab, &gate, &["lab-up", "--dump"], 0, true, |place| {
        assert_eq!(labs(&lab).len(), 1, "{place}: the lab has stopped");
    });
    passed(&places, &["before cargo build", "before lab dump"]);
    let places = walk_and(&lab, &gate, &["lab-heal", "omni-eula"], 0, false, |_| {});
    passed(&places, &["before lab heal"]);
    let down = ["lab-down", "--yes"];
    let places = walk_and(&lab, &gate, &down, 0, true, |place| {
        let there = lab.file("target/lab/lab.json").exists();
        assert_eq!(there, labs(&lab).len() == 1, "{place}: a lab that cannot be ended, or half of one");
    });
    passed(&places, &["before cargo build", "before lab dump", "before lab stop", "after lab stop"]);
    nothing_is_left(&lab, "lab-down in the end");
}
