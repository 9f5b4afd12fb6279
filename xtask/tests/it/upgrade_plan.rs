//! `upgrade-plan`: how long it takes, and what it calls. The transcripts `upgrade` and `upgrade-files` have what it says.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox::Sandbox;

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
fn live_versions_are_planned_with_the_same_calls_for_any_number_of_machines() {
    let calls = |lab: &Sandbox| {
        let before = fs::read_to_string(lab.journal()).unwrap_or_default().lines().count();
        let (code, document) = plan(lab, "--all");
        let journal = fs::read_to_string(lab.journal()).expect("a journal");
        (code, document, journal.lines().count() - before)
    };
    let of_1_9 = |flags: &str| {
        let lab = Sandbox::with(&format!("--omni-version 1.9.3 {flags}"));
        lab.pin("omni", "v1.9.3");
        lab.pin("omni-infra-provider-proxmox", "v0.2.0");
        lab.provider();
        lab
    };
    let small = of_1_9("--vms 4 --clusters 1");
    let (code, document, few) = calls(&small);
    assert_eq!(code, 3, "{document:#}");
    let way = ["Omni 1.9.3>1.10.6", "provider 0.2.0>0.3.0"];
    assert_eq!(ways(&document)[..2], way, "{document:#}");
    assert_eq!(document["data"]["installed"]["clusters"].as_array().map(Vec::len), Some(1));
    let large = of_1_9("--vms 120 --clusters 9");
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
