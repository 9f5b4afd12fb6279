//! `omni-upgrade` against the lab: its gates, the upgrade, what interrupts it, and the tasks that refuse to upgrade on the way.

use std::fs;

use crate::sandbox::{Options, Sandbox, program_at, root};

const STATE: &str = ".claude/omni-scale.local.md";
const UPGRADE: &str = "omni-upgrade --without-backup --yes";

/// A lab of Omni 1.9.3 with two clusters, and a stack of that version that runs.
pub fn of_1_9(faults: &[&str]) -> Sandbox {
    let flags = &["--vms", "6", "--clusters", "2"];
    let lab = Sandbox::with(&Options { release: Some("1.9.3"), flags, faults, ..Options::default() });
    lab.pin("omni", "v1.9.3");
    lab.pin("omni-infra-provider-proxmox", "v0.2.0");
    // Where a fault ends Omni, nothing answers before its first start.
    lab.run("stack-up --yes").exits(0);
    lab.provider();
    lab
}

fn tag(lab: &Sandbox) -> String {
    let compose = lab.read("docker/compose.yaml");
    let rest = compose.split_once("siderolabs/omni:").expect("an image").1;
    rest.split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn omni_is_upgraded_by_one_minor_and_keeps_what_it_holds() {
    let lab = of_1_9(&[]);
    let planned = lab.run("omni-upgrade --without-backup --dry-run --json").exits(3).json();
    let changes: Vec<&str> =
        planned["data"]["plan"].as_array().unwrap().iter().filter_map(|change| change["object"].as_str()).collect();
    let image = "ghcr.io/siderolabs/omni:v1.10.6";
    assert_eq!(changes, [image, "docker/compose.yaml", "the stack", "omnictl"], "{planned:#}");
    assert_eq!((tag(&lab).as_str(), &planned["data"]["to"]), ("v1.9.3", &"1.10.6".into()));
    let held = "2 clusters, 6 machines";
    lab.run(UPGRADE).exits(0).says(&[
        held,
        "going on without one",
        "the store is migrated",
        "Omni is of version 1.10.6",
        "Omni 1.10.6 runs; account, clusters, machines and keys are the same",
    ]);
    assert_eq!(tag(&lab), "v1.10.6");
    lab.run("omni-upgrade --yes").exits(0).says(&["Omni v1.10.6 runs; nothing to upgrade"]);
    lab.run("stack-up --yes").exits(0);
    let journal = fs::read_to_string(lab.journal()).unwrap();
    let at = |words: &str| journal.rfind(words).unwrap_or_else(|| panic!("{words}: {journal}"));
    assert!(at("docker pull --quiet ghcr.io/siderolabs/omni:v1.10.6") < at("up -d --force-recreate"));
}

#[test]
fn omni_upgrade_refuses_skips_downgrades_and_missing_backups() {
    let lab = of_1_9(&[]);
    lab.refuses(
        "omni-upgrade",
        &[
            ("--to latest", 2, "`latest` is not a version"),
            ("--to 1.10", 2, "`1.10` is not a version"),
            ("--to sha256:00ff", 2, "is not a version"),
            ("--to v1.11.0 --without-backup", 2, "cargo xtask omni-upgrade --to v1.10.6"),
            ("--to v1.14.0 --without-backup", 2, "Omni 1.14.0 is 5 upgrades away"),
            ("--to v1.8.2 --without-backup", 1, "an older Omni refuses the newer store"),
            ("--to v1.10.6-fork --without-backup", 1, "is a pre-release"),
            ("--to v1.10.0 --without-backup", 1, "a machine's tunnel address can change"),
            ("--to v1.10.6", 4, "no backup is recorded"),
        ],
    );
    // What `omni-backup` records.
    let archive = lab.file("omni-backup.tar");
    let record = |at: &str| {
        let state = lab.read(STATE);
        let kept: Vec<&str> = state.lines().filter(|line| !line.starts_with("last_backup")).collect();
        let keys = format!("---\nlast_backup: {}\nlast_backup_at: '{at}'", archive.display());
        lab.write(STATE, &format!("{}\n", kept.join("\n").replacen("---", &keys, 1)));
    };
    let now = domain::clock::rfc3339(std::time::SystemTime::now());
    record(&now);
    lab.run("omni-upgrade --yes").exits(4).says(&["omni-backup.tar, is not there"]);
    fs::write(&archive, "an archive").unwrap();
    record("2026-01-02T03:04:05Z");
    lab.run("omni-upgrade --yes").exits(4).says(&["hours old", "--without-backup"]);
    record(&now);
    lab.run("omni-upgrade --dry-run").exits(3).says(&["there is a current backup"]);
    // A cluster that is not healthy blocks it.
    let machine = lab.dump()["proxmox"]["vms"][0].clone();
    let place = format!("/nodes/{}/qemu/{}/status/stop", machine["node"].as_str().unwrap(), machine["vmid"]);
    crate::access::as_root_with("POST", &lab, &place, &[]);
    crate::sandbox::wait_for("Omni misses the machine", || {
        lab.run("omni-upgrade --dry-run").stderr.contains("is not healthy: repair it first")
    });
}

/// A changed tag is an upgrade or a downgrade, and nothing but `omni-upgrade` carries it out.
#[test]
fn other_tasks_refuse_to_start_another_omni() {
    let lab = of_1_9(&[]);
    let env = lab.read("docker/.env");
    for (pinned, words) in
        [("v1.10.6", "cargo xtask omni-upgrade"), ("v1.7.3", "an older Omni refuses the newer store")]
    {
        lab.pin("omni", pinned);
        for line in ["stack-up --yes", "stack-up --recreate --dry-run"] {
            lab.run(line).exits(1).says(&[&format!("docker/compose.yaml has Omni {pinned}, and v1.9.3 ran"), words]);
        }
        // Something that takes a restart.
        lab.write("docker/.env", &env.replace("OMNI_INFRA_PROVIDER_KEY=", "OLD_KEY="));
        lab.run("provider-setup --yes").exits(1).says(&["and v1.9.3 ran until now"]);
        lab.write("docker/.env", &env);
    }
    lab.pin("omni", "v1.9.3");
    lab.run("stack-down --yes").exits(0);
    lab.pin("omni", "v1.10.6");
    lab.run("stack-up --yes").exits(1).says(&["and v1.9.3 ran until now"]);
    lab.run(UPGRADE).exits(4).says(&["Omni has no container here"]);
    lab.pin("omni", "v1.9.3");
    lab.run("stack-up --yes").exits(0);
    assert_eq!(lab.run(UPGRADE).code, 0);
    let unit = fs::read_to_string(root().join("docker/omni-scale.service")).unwrap();
    let starts: Vec<&str> = unit.lines().filter(|line| line.starts_with("ExecStart=/usr/bin/docker")).collect();
    assert_eq!(starts, ["ExecStart=/usr/bin/docker compose -p omni-scale --env-file /dev/null start"]);
}

#[test]
fn image_that_cannot_be_fetched_changes_nothing() {
    // Two containers of the stack, then all three.
    let lab = of_1_9(&["docker-disk-full:6"]);
    let before = lab.files();
    lab.run(UPGRADE).exits(1).says(&["no space left on device"]);
    assert!(lab.files() == before && tag(&lab) == "v1.9.3", "something was changed");
    lab.run(UPGRADE).exits(0);
}

/// The new Omni does not start: the way back is shown, and the next run goes on.
#[test]
fn omni_that_does_not_start_is_named_with_the_way_back() {
    let lab = of_1_9(&["omni-store-full:3+"]);
    lab.run(&format!("{UPGRADE} --timeout 20s")).exits_with_one_of(&[1, 124]).says(&[
        "to go back, set the tag of `omni` in docker/compose.yaml to v1.9.3 and restore a backup",
        "cargo xtask omni-upgrade",
    ]);
    assert_eq!(tag(&lab), "v1.10.6");
    lab.run(&format!("{UPGRADE} --timeout 20s"))
        .exits_with_one_of(&[1, 124])
        .says(&["an upgrade that was interrupted goes on: from 1.9.3 to 1.10.6"]);
}

#[test]
fn older_omnictl_is_replaced() {
    let mut lab = of_1_9(&[]);
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
    lab.run(UPGRADE).exits(0).says(&["v1.10.6 from https://127.0.0.1:", "verified"]);
    assert!(fs::read(&own).unwrap().len() > 1000, "the program of the new version");
}

/// 1.4 → 1.10, each minor in its turn.
#[test]
fn omni_goes_through_every_minor() {
    let lab = Sandbox::with(&Options {
        release: Some("1.4.9"),
        flags: &["--vms", "4", "--clusters", "1"],
        ..Options::default()
    });
    lab.pin("omni", "v1.4.9");
    lab.pin("omni-infra-provider-proxmox", "0d9fd58");
    lab.provider();
    for to in ["v1.5.11", "v1.6.6", "v1.7.3", "v1.8.2", "v1.9.3", "v1.10.6"] {
        lab.run(UPGRADE).exits(0);
        assert_eq!(tag(&lab), to);
    }
    lab.run("cluster-status").exits(0).says(&["1 of 1 cluster Running and ready"]);
}
