//! `cluster-upgrade` against the lab: the steps and their gates, what stops it, and how it goes on.

use std::fs;

use serde_json::Value;

use crate::sandbox::{Options, Sandbox};

/// A lab with a cluster of these versions.
fn with_cluster(faults: &[&str], talos: &str, kubernetes: &str) -> Sandbox {
    let lab = Sandbox::with(&Options { faults, ..Options::default() });
    lab.provider();
    lab.class("small");
    lab.run(&format!(
        "cluster-create demo --control-planes 1 --workers 1 --talos-version {talos} --kubernetes-version {kubernetes} --yes --timeout 60s"
    ))
    .exits(0);
    lab
}

/// The versions of Talos that machines report.
fn talos(lab: &Sandbox) -> Vec<String> {
    let wide = lab.run("cluster-status -o wide").exits(0);
    let lines = wide.stdout.lines().skip(1);
    lines.map(|line| line.split_whitespace().nth(7).unwrap_or_default().to_owned()).collect()
}

#[test]
fn upgrade_goes_minor_by_minor_and_keeps_the_rest_of_the_template() {
    let lab = with_cluster(&[], "v1.12.7", "v1.34.7");
    let template = lab.read("clusters/demo.yaml").replace("v1.12.7\n", "v1.12.7 # LTS\n");
    lab.write("clusters/demo.yaml", &template);
    let line = "cluster-upgrade demo --talos v1.13.13 --kubernetes v1.36.3";
    let planned = lab.run(&format!("{line} --dry-run --json")).exits(3).json();
    let changes: Vec<&str> =
        planned["data"]["plan"].as_array().unwrap().iter().filter_map(|change| change["object"].as_str()).collect();
    let file = "clusters/demo.yaml";
    let expected = [file, "Talos of `demo`", file, "Kubernetes of `demo`", file, "Kubernetes of `demo`"];
    assert_eq!(changes, expected, "{planned:#}");
    let effect = planned["data"]["plan"][1]["effect"].as_str().unwrap_or_default();
    assert!(effect.starts_with("1.12.7 → 1.13.13; 2 machines drained and rebooted, one after another: demo-control"));
    assert_eq!(lab.read(file), template, "a dry run changes nothing");
    assert_eq!(lab.run(line).code, 2, "it asks");
    lab.run(&format!("{line} --yes --timeout 60s")).exits(0).says(&[
        "each node is drained first",
        "every machine of cluster `demo` runs Talos 1.13.13: Running and ready, 2 machines",
        "every machine of cluster `demo` runs Kubernetes 1.35.0",
        "cluster `demo` runs Talos 1.13.13 and Kubernetes 1.36.3",
    ]);
    assert_eq!(lab.read(file), template.replace("v1.12.7", "v1.13.13").replace("v1.34.7", "v1.36.3"));
    assert_eq!(talos(&lab), ["1.13.13", "1.13.13"]);
    lab.run(&format!("{line} --yes")).exits(0).says(&["nothing to upgrade"]);
    lab.run("cluster-sync demo --dry-run").exits(0).says(&["in sync"]);
    let journal = fs::read_to_string(lab.journal()).unwrap();
    assert!(journal.contains("upgrade-pre-checks demo --to 1.35.0"), "{journal}");
}

#[test]
fn upgrade_refuses_what_would_not_work_and_changes_nothing() {
    let lab = with_cluster(&[], "v1.13.9", "v1.36.2");
    lab.refuses(
        "cluster-upgrade",
        &[
            ("demo --talos latest", 2, "`latest` is not a version"),
            ("demo --talos 1.13", 2, "`1.13` is not a version"),
            ("demo --kubernetes sha256:00ff", 2, "is not a version"),
            ("demo --talos v1.13.99", 1, "Omni offers no Talos 1.13.99"),
            ("demo --talos v1.13.10-beta.1", 1, "is a pre-release"),
            ("demo --talos v1.13.10-fork", 1, "is a pre-release"),
            ("demo --talos v1.14.6", 1, "supports Talos up to 1.13"),
            ("demo --talos v1.12.7", 1, "control planes cannot go back a minor"),
            ("demo --kubernetes v1.35.4", 1, "Kubernetes does not go back a minor"),
            ("demo --kubernetes v1.38.0", 1, "Talos 1.13.9 supports Kubernetes 1.31 to 1.36"),
            ("nodemo --talos v1.13.13", 1, "there is no cluster `nodemo`"),
            ("--talos v1.13.13", 2, "<NAME>"),
            ("demo --all", 2, "cannot be used with"),
        ],
    );
    let template = lab.read("clusters/demo.yaml");
    lab.write("clusters/demo.yaml", &template.replace("size: 1", "size: 3"));
    lab.run("cluster-upgrade demo --talos v1.13.13 --yes").exits(1).says(&[
        "differs from Omni in more than its versions",
        "machine set demo-workers",
        "cargo xtask cluster-sync demo --dry-run",
    ]);
    let other = template.replace("name: demo\n", "name: other\n");
    lab.write("clusters/other.yaml", &other);
    lab.run("cluster-upgrade other --yes").exits(1).says(&["Omni has no cluster `other`"]);
    assert_eq!(talos(&lab), ["1.13.9", "1.13.9"]);
}

/// The first machine that does not come back ends it; when it is back, the same command goes on.
#[test]
fn upgrade_stops_at_a_machine_that_does_not_return_and_goes_on_when_it_does() {
    let lab = with_cluster(&["upgrade-machine-lost:1"], "v1.13.9", "v1.36.3");
    let line = "cluster-upgrade demo --talos v1.13.13 --yes";
    lab.run(&format!("{line} --timeout 20s"))
        .exits(124)
        .says(&["Omni has no connection to demo-workers-", "cargo xtask cluster-upgrade demo --talos v1.13.13"]);
    assert!(lab.read("clusters/demo.yaml").contains("v1.13.13"), "what was synced stays");
    let vms = lab.dump()["proxmox"]["vms"].as_array().expect("a list").clone();
    let worker = |vm: &&Value| vm["name"].as_str().is_some_and(|name| name.starts_with("demo-workers"));
    let vm = vms.iter().find(worker).expect("a worker");
    let place = |verb: &str| format!("/nodes/{}/qemu/{}/status/{verb}", vm["node"].as_str().unwrap(), vm["vmid"]);
    crate::access::as_root_with("POST", &lab, &place("stop"), &[]);
    crate::access::as_root_with("POST", &lab, &place("start"), &[]);
    lab.run(&format!("{line} --timeout 60s")).exits(0);
    assert_eq!(talos(&lab), ["1.13.13", "1.13.13"]);
}

/// A drain that a PodDisruptionBudget blocks is taken back by a sync of the old version, and then the next try succeeds.
#[test]
fn upgrade_stops_at_a_drain_that_is_blocked_and_is_taken_back() {
    let lab = with_cluster(&["upgrade-drain-blocked:1"], "v1.13.9", "v1.36.3");
    let old = lab.read("clusters/demo.yaml");
    let more = old.replace("name: demo\n", "name: zebra\n");
    lab.write("clusters/zebra.yaml", &more);
    lab.run("cluster-upgrade --all --talos v1.13.13 --yes --timeout 60s").exits(1).says(&[
        "cannot be drained before its upgrade: failed to drain node",
        "PodDisruptionBudget",
        "kubectl get poddisruptionbudgets --all-namespaces",
        "not upgraded: zebra",
    ]);
    assert!(lab.read("clusters/zebra.yaml") == more, "it stops at the first");
    lab.write("clusters/demo.yaml", &old);
    lab.run("cluster-sync demo --yes --timeout 60s").exits(0);
    lab.run("cluster-upgrade demo --talos v1.13.13 --yes --timeout 60s").exits(0);
    assert_eq!(talos(&lab), ["1.13.13", "1.13.13"]);
}

#[test]
fn upgrade_of_all_takes_one_cluster_after_another() {
    let lab = with_cluster(&[], "v1.13.9", "v1.36.3");
    lab.write("clusters/zebra.yaml", &lab.read("clusters/demo.yaml").replace("name: demo\n", "name: zebra\n"));
    lab.run("cluster-sync zebra --yes --timeout 60s").exits(0);
    let line = "cluster-upgrade --all --talos v1.13.13 --json";
    let planned = lab.run(&format!("{line} --dry-run")).exits(3).json();
    assert_eq!(planned["data"]["plan"].as_array().map(Vec::len), Some(4), "{planned:#}");
    let done = lab.run(&format!("{line} --yes --timeout 60s")).exits(0).json();
    let clusters = done["data"]["clusters"].as_array().map(Vec::len);
    assert_eq!((&done["summary"], clusters), (&"2 clusters upgraded".into(), Some(2)));
    assert_eq!(talos(&lab), ["1.13.13"; 4]);
}
