//! `upgrade-plan` from files and against the lab: exit codes, reasons, and what it calls.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox::{Options, Sandbox};

fn plan(lab: &Sandbox, line: &str) -> (i32, Value) {
    let ran = lab.run(&format!("upgrade-plan --json {line}"));
    (ran.code, ran.json())
}

fn rules(document: &Value, kind: &str) -> Vec<String> {
    let steps = document["data"]["steps"].as_array().unwrap_or_else(|| panic!("{document:#}")).iter();
    let reasons = steps.flat_map(|step| step[kind].as_array().expect("reasons"));
    reasons.map(|reason| reason["rule"].as_str().unwrap_or_default().to_owned()).collect()
}

fn ways(document: &Value) -> Vec<String> {
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let steps = document["data"]["steps"].as_array().expect("steps").iter();
    steps.map(|step| format!("{} {}>{}", text(step, "component"), text(step, "from"), text(step, "to"))).collect()
}

const PATCHED: &str = "kind: Cluster\nname: demo\nkubernetes:\n  version: v1.36.2\ntalos:\n  version: v1.13.5\npatches:\n  \
    - name: ca\n    file: patches/ca.yaml\n---\nkind: ControlPlane\nmachineClass:\n  name: small\n  size: 1\n---\nkind: Workers\n";

#[test]
fn files_are_planned_without_a_network() {
    let lab = Sandbox::new();
    lab.pin("omni", "v1.8.1");
    lab.write("clusters/demo.yaml", &PATCHED.replace("patches:\n  - name: ca\n    file: patches/ca.yaml\n", ""));
    let called = fs::read_to_string(lab.journal()).unwrap_or_default();
    let (code, document) = plan(&lab, "--from-files --omni");
    assert_eq!(
        (code, ways(&document)),
        (3, vec!["Omni 1.8.1>1.9.3".into(), "Omni 1.9.3>1.10.6".into()]),
        "{document:#}"
    );
    assert!(document["data"]["steps"][1]["irreversible"].as_str().is_some_and(|what| what.contains("backup")));
    assert_eq!(document["data"]["plan"], Value::Null, "nothing is changed");
    lab.run("upgrade-plan --from-files --omni").exits(3).says(&["1. Omni 1.8.1 → 1.9.3", "set the tag of `omni`"]);
    lab.run("upgrade-plan --from-files --omni --dry-run").exits(3);
    let (code, document) = plan(&lab, "--from-files --talos");
    assert_eq!((code, rules(&document, "blockers")), (1, vec!["omni-talos-meta".to_owned()]), "{document:#}");
    lab.pin("omni", "v1.10.6");
    lab.run("upgrade-plan --from-files --omni").exits(0).says(&["nothing to upgrade"]);
    let (code, document) = plan(&lab, "--from-files --talos");
    assert_eq!((code, ways(&document)), (3, vec!["Talos of `demo` 1.13.5>1.13.13".into()]), "{document:#}");
    assert_eq!(fs::read_to_string(lab.journal()).unwrap_or_default(), called, "a program was called");
}

#[test]
fn files_are_planned_in_50_ms() {
    let lab = Sandbox::new();
    lab.write("clusters/demo.yaml", &PATCHED.replace("patches/ca.yaml", "none.yaml"));
    let best = (0..20).map(|_| {
        let begun = Instant::now();
        drop(lab.command(&["upgrade-plan", "--from-files"]).output());
        begun.elapsed()
    });
    // Of a build without optimization, on a machine that does other things as well.
    assert!(best.min().unwrap_or_default() < Duration::from_millis(50));
}

#[test]
fn patches_and_flags_that_the_next_version_refuses_block_it() {
    let lab = Sandbox::new();
    lab.pin("omni", "v1.9.3");
    lab.write("clusters/demo.yaml", PATCHED);
    lab.write(
        "clusters/patches/ca.yaml",
        "cluster:\n  ca:\n    crt: x\n---\napiVersion: v1alpha1\nkind: UnattendedInstallConfig\n",
    );
    let compose = lab.read("docker/compose.yaml");
    lab.write(
        "docker/compose.yaml",
        &compose.replace("- --name=omni", "- --name=omni\n      - --frontend-bind=0.0.0.0"),
    );
    let (code, document) = plan(&lab, "--from-files --omni");
    assert_eq!(rules(&document, "blockers"), ["flag-removed", "patch-forbidden", "patch-forbidden"], "{document:#}");
    assert_eq!((code, &document["error"]["code"]), (1, &"failed".into()));
    let cause = document["error"]["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("--frontend-bind"), "{cause}");
}

#[test]
fn bad_versions_are_refused() {
    let lab = Sandbox::new();
    let before = lab.tree();
    for (line, code, words) in [
        ("--omni --to latest", 2, "`latest` is not a version"),
        ("--omni --to 1.10", 2, "`1.10` is not a version"),
        ("--omni --to sha256:00ff", 2, "is not a version"),
        ("--to v1.10.6", 2, "--to is the version of one component"),
        ("--omni --talos --to v1.10.6", 2, "--to is the version of one component"),
        ("--omni --to v1.11.0-beta.1", 1, "is a pre-release"),
        ("--omni --to v1.8.2", 1, "an older Omni refuses the newer store"),
        ("--omni --to v1.10.99", 3, "make sure that 1.10.99 exists"),
        ("--provider --to v0.2.9", 3, "make sure that 0.2.9 exists"),
        ("--omni --to v1.16.0", 3, "unknown beyond 1.11.0"),
    ] {
        lab.run(&format!("upgrade-plan --from-files {line}")).exits(code).says(&[words]);
    }
    lab.write("clusters/demo.yaml", &PATCHED.replace("patches/ca.yaml", "none.yaml"));
    for (line, words) in [
        ("--talos --to v1.14.6", "supports Talos up to 1.13"),
        ("--kubernetes --to v1.37.0", "Talos 1.13.5 supports Kubernetes 1.31 to 1.36"),
        ("--talos --to v1.12.11", "control planes cannot go back a minor"),
        ("--talos --to v1.13.1", "modules of extensions are broken"),
    ] {
        lab.run(&format!("upgrade-plan --from-files {line}")).exits(1).says(&[words]);
    }
    fs::remove_file(lab.file("clusters/demo.yaml")).expect("it was there");
    assert!(lab.tree() == before, "something was changed");
}

#[test]
fn images_without_a_release_are_refused() {
    let lab = Sandbox::new();
    let compose = lab.read("docker/compose.yaml");
    for image in [
        "ghcr.io/siderolabs/omni:latest",
        "ghcr.io/siderolabs/omni",
        "ghcr.io/siderolabs/omni@sha256:3e1b7ad8f1d7e3a1c0a3a5a7a1e7f6c3d2b1a0998877665544332211ffeeddcc",
        "ghcr.io/me/omni:v1.9.3-acme.2",
        "ghcr.io/siderolabs/omni:v1.9.3-5-gabc1234",
        "ghcr.io/siderolabs/omni:v1.9",
    ] {
        lab.pin("omni", image);
        let ran = lab.run("upgrade-plan --from-files").exits(1);
        ran.says(&["the version of `omni` is not known", image, "omnictl get sysversion"]);
        lab.write("docker/compose.yaml", &compose);
    }
    // The commit that the provider's first image was tagged with is a release.
    lab.pin("omni", "v1.9.3");
    lab.pin("omni-infra-provider-proxmox", "0d9fd58");
    let (code, document) = plan(&lab, "--from-files --provider");
    assert_eq!((code, ways(&document)), (3, vec!["provider 0.0.0>0.3.0".to_owned()]));
}

#[test]
fn versions_newer_than_the_facts_are_named_as_such() {
    let lab = Sandbox::new();
    lab.pin("omni", "v1.14.0");
    lab.run("upgrade-plan --from-files --omni").exits(0).says(&["the facts end at 1.11.0", "nothing to upgrade"]);
    lab.write("clusters/demo.yaml", &PATCHED.replace("patches/ca.yaml", "none.yaml"));
    let (code, document) = plan(&lab, "--from-files --talos");
    assert_eq!((code, rules(&document, "warnings").contains(&"facts-end".to_owned())), (3, true), "{document:#}");
}

#[test]
fn files_that_say_nothing_are_reported() {
    let lab = Sandbox::new();
    lab.write("clusters/broken.yaml", "kind: [");
    lab.run("upgrade-plan --from-files").exits(1).says(&["clusters/broken.yaml", "cluster-check"]);
    fs::remove_file(lab.file("clusters/broken.yaml")).expect("it was there");
    lab.write("docker/compose.yaml", "services: {}\n");
    lab.run("upgrade-plan --from-files").exits(4).says(&["there is nothing to upgrade"]);
}

#[test]
fn live_versions_are_planned_with_the_same_calls_for_any_number_of_machines() {
    let calls = |lab: &Sandbox| {
        let before = fs::read_to_string(lab.journal()).unwrap_or_default().lines().count();
        let (code, document) = plan(lab, "--all");
        let journal = fs::read_to_string(lab.journal()).expect("a journal");
        (code, document, journal.lines().count() - before)
    };
    let of_1_9 = |flags: &[&str]| {
        let lab = Sandbox::with(&Options { flags, release: Some("1.9.3"), ..Options::default() });
        lab.pin("omni", "v1.9.3");
        lab.pin("omni-infra-provider-proxmox", "v0.2.0");
        lab.provider();
        lab
    };
    let small = of_1_9(&["--vms", "4", "--clusters", "1"]);
    let (code, document, few) = calls(&small);
    assert_eq!(code, 3, "{document:#}");
    let way = ["Omni 1.9.3>1.10.6", "provider 0.2.0>0.3.0"];
    assert_eq!(ways(&document)[..2], way, "{document:#}");
    assert_eq!(document["data"]["installed"]["clusters"].as_array().map(Vec::len), Some(1));
    let large = of_1_9(&["--vms", "120", "--clusters", "9"]);
    let (code, document, many) = calls(&large);
    assert_eq!((code, few, document["data"]["installed"]["clusters"].as_array().map(Vec::len)), (3, many, Some(9)));
    let (_, document) = plan(&large, "--omni --to v1.11.0");
    let read =
        document["steps"].as_array().expect("steps").iter().filter(|step| step["id"] == "machinestatuses").count();
    assert_eq!(read, 1, "machines are read where their Talos decides: {document:#}");
    // What Omni does not offer, in what the image factory has.
    let (code, document) = plan(&large, "--talos --to v1.13.12");
    assert_eq!((code, rules(&document, "blockers").contains(&"not-offered".to_owned())), (1, true), "{document:#}");
    let text = fs::read_to_string(large.scratch().join("lab/clusters/fleet-001.yaml")).expect("the lab writes it");
    large.write(
        "clusters/fleet-001.yaml",
        &text.replacen("talos:\n", "systemExtensions: [siderolabs/gone]\ntalos:\n", 1),
    );
    let (_, document) = plan(&large, "--talos --to v1.13.9");
    assert!(rules(&document, "blockers").contains(&"extension-missing".to_owned()), "{document:#}");
}

#[test]
fn an_unhealthy_cluster_blocks() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 0 --talos-version v1.13.9 --no-wait --yes").exits(0);
    let (code, document) = plan(&lab, "--all");
    assert_eq!(
        (code, rules(&document, "blockers").contains(&"cluster-unhealthy".to_owned())),
        (1, true),
        "{document:#}"
    );
}
