//! `omni-upgrade` against the lab: its omnictl, and the unit that starts the stack. The transcripts `omni-upgrade`,
//! `omni-upgrade-refused` and `omni-minors` have the rest.

use std::fs;

use crate::sandbox::{Options, Sandbox, program_at, root};

/// A lab of Omni 1.9.3 with two clusters, and a stack of that version that runs.
pub fn of_1_9() -> Sandbox {
    let flags = &["--vms", "6", "--clusters", "2"];
    let lab = Sandbox::with(&Options { release: Some("1.9.3"), flags, ..Options::default() });
    lab.pin("omni", "v1.9.3");
    lab.pin("omni-infra-provider-proxmox", "v0.2.0");
    lab.run("stack-up --yes").exits(0);
    lab.provider();
    lab
}

#[test]
fn older_omnictl_is_replaced() {
    let mut lab = of_1_9();
    let stand_in = lab.scratch().join("lab/bin/omnictl");
    let (elsewhere, home) = (lab.scratch().join("lab/other"), lab.env("HOME").to_owned());
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(lab.scratch().join("lab/bin/.lab.json"), elsewhere.join(".lab.json")).unwrap();
    fs::rename(&stand_in, elsewhere.join("omnictl")).unwrap();
    let own = std::path::Path::new(&home).join(".local/bin/omnictl");
    let real = elsewhere.join("omnictl").display().to_string();
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'omnictl version v1.9.3 (API Version: 2)'; exit; }\nexec REAL \"$@\"\n";
    program_at(&own, &script.replace("REAL", &real));
    lab.set("XDG_DATA_HOME", None);
    lab.run("omni-upgrade --without-backup --yes").exits(0).says(&["v1.10.6 from https://127.0.0.1:", "verified"]);
    assert!(fs::read(&own).unwrap().len() > 1000, "the program of the new version");
}

/// A changed tag is an upgrade, which a start of the host does not carry out.
#[test]
fn unit_starts_the_containers_that_are_there() {
    let unit = fs::read_to_string(root().join("docker/omni-scale.service")).unwrap();
    let starts: Vec<&str> = unit.lines().filter(|line| line.starts_with("ExecStart=/usr/bin/docker")).collect();
    assert_eq!(starts, ["ExecStart=/usr/bin/docker compose -p omni-scale --env-file /dev/null start"]);
}
