//! `upgrade-plan`: its duration, and its calls. The transcripts `upgrade` and `upgrade-files` cover its output.

use std::fs;
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

#[test]
fn files_are_planned_in_50_ms() {
    let lab = Sandbox::new();
    let patched = "kind: Cluster\nname: demo\nkubernetes: {version: v1.36.2}\ntalos: {version: v1.13.5}\npatches: [{file: none.yaml}]\n";
    lab.write("clusters/demo.yaml", patched);
    let best = (0..20).map(|_| {
        let begun = Instant::now();
        drop(lab.command(&["upgrade-plan", "--from-files"]).output());
        begun.elapsed()
    });
    // For a build without optimization, on a machine that is also busy with other work.
    assert!(best.min().unwrap_or_default() < Duration::from_millis(50));
}

#[test]
fn live_versions_are_planned_with_the_same_calls_for_any_number_of_machines() {
    let plan = |lab: &Sandbox, line: &str, code: i32| {
        let _ = fs::remove_file(lab.journal());
        let document = lab.run(&format!("upgrade-plan --json {line}")).exits(code).json();
        let calls = fs::read_to_string(lab.journal()).expect("a journal").lines().count();
        let clusters = document["data"]["installed"]["clusters"].as_array().map(Vec::len);
        (clusters, calls, document)
    };
    let of_1_9 = |flags: &str| {
        let lab = Sandbox::with(&format!("--omni-version 1.9.3 {flags}"));
        lab.pin("omni", "v1.9.3");
        lab.provider();
        lab
    };
    let (clusters, few, _) = plan(&of_1_9("--vms 4 --clusters 1"), "--all", 3);
    assert_eq!(clusters, Some(1));
    let large = of_1_9("--vms 120 --clusters 9");
    let (clusters, many, document) = plan(&large, "--all", 3);
    assert_eq!((clusters, many), (Some(9), few), "{document:#}");
    let (_, _, document) = plan(&large, "--omni --to v1.11.0", 3);
    let steps = document["steps"].as_array().expect("steps").iter();
    let read = steps.filter(|step| step["id"] == "machinestatuses").count();
    assert_eq!(read, 1, "machines are read where their Talos decides: {document:#}");
}
