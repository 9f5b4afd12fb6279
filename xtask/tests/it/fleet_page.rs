//! `fleet-page`: what is on the page of a lab, what is not overwritten, and what is missing when somebody does not answer.

use crate::sandbox::{CommandOutput, Sandbox};

/// An inventory of one node with a VM of the provider and one of somebody else.
const INVENTORY: &str = r#"{"taken_at":"2026-11-29T06:00:00Z","endpoint":"https://pve","version":"9.0.10","nodes":[
    {"name":"pve1","status":"online","figures":{"known":{"cpus":8,"cpu_load":0.25,"memory_total":8,"memory_used":2}},
     "storages":{"known":[]},"bridges":{"known":["vmbr0"]},"vms":{"known":[
        {"id":100,"name":"prod-control-planes-a","running":true,"memory":4,"memory_used":2,"tags":["machine-request.prod-control-planes"]},
        {"id":101,"name":"nas","running":true,"memory":4,"memory_used":2,"tags":[]}]}}]}"#;

/// Runs the task with its files in the project.
fn page(lab: &Sandbox, words: &str) -> CommandOutput {
    let names = ["fleet.html", "fleet.svg", "inventory.json", "notes.html"];
    let word = |word: &str| match names.contains(&word) {
        true => lab.file(word).display().to_string(),
        false => word.to_owned(),
    };
    let words: Vec<String> = ["fleet-page"].into_iter().chain(words.split_whitespace()).map(word).collect();
    lab.run_words(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn page_shows_nodes_machines_and_what_each_waits_for() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes --timeout 60s").exits(0);
    let output = page(&lab, "--out fleet.html --svg fleet.svg --json").exits(0);
    let data = &output.json()["data"];
    assert_eq!(data["counts"]["machines"], 2, "{data:#}");
    assert_eq!(data["missing"], serde_json::json!([]), "{data:#}");
    let text = lab.read("fleet.html");
    for words in ["demo-control-planes", "demo-workers", "pve1", "Running", "config.yaml", "No differences"] {
        assert!(text.contains(words), "{words}");
    }
    assert!(lab.read("fleet.svg").contains("2 machines of 1 cluster on 3 nodes of Proxmox"));
    let lost = text.split("<h3 id=").skip(1).find(|node| node.contains("class=\"c\"")).expect("a control plane");
    let node = lost.split('>').nth(1).and_then(|rest| rest.split('<').next()).expect("its node").to_owned();
    page(&lab, &format!("--out fleet.html --plan demo --without {node}")).exits(0);
    let text = lab.read("fleet.html");
    for words in [&format!("Plan of cluster demo without {node}"), ", recreated", "lost in demo", ": lost\""] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn page_says_what_did_not_answer() {
    let mut lab = Sandbox::new();
    for name in ["OMNI_ENDPOINT", "PROXMOX_VE_ENDPOINT"] {
        lab.set(name, Some("https://127.0.0.1:9"));
    }
    lab.write("inventory.json", INVENTORY);
    lab.set("SOURCE_DATE_EPOCH", Some("1795932000"));
    page(&lab, "--out fleet.html --inventory inventory.json")
        .exits(0)
        .says(&["1 node, 1 cluster and 1 machine; without 1 part"]);
    let text = lab.read("fleet.html");
    for words in
        ["2026-11-29T06:00:00Z", "prod-control-planes-a", "1 VM of others", "Omni</th>", "No backup is recorded"]
    {
        assert!(text.contains(words), "{words}");
    }
    assert!(!text.contains("nas"), "a VM of others is counted, not named");
    page(&lab, "--out fleet.html --inventory inventory.json").exits(0);
    assert_eq!(lab.read("fleet.html"), text, "the same fleet at the same time");
}

#[test]
fn page_needs_one_that_answers() {
    let mut lab = Sandbox::new();
    for name in ["OMNI_ENDPOINT", "PROXMOX_VE_ENDPOINT"] {
        lab.set(name, Some("https://127.0.0.1:9"));
    }
    lab.stand_in("docker", "exit 1");
    page(&lab, "--out fleet.html")
        .exits(5)
        .says(&["neither Proxmox nor Omni nor Docker can be asked", "cargo xtask doctor"]);
    assert!(!lab.file("fleet.html").exists());
}

#[test]
fn page_overwrites_nothing_but_a_page() {
    let lab = Sandbox::new();
    lab.write("inventory.json", INVENTORY);
    lab.write("notes.html", "<h1>mine</h1>");
    lab.write("fleet.html", "");
    for (words, code, says) in [
        ("--out notes.html", 1, "notes.html` exists and is not a page of this task"),
        ("--out fleet.html --svg notes.html", 1, "notes.html` exists and is not a page of this task"),
        ("--out -", 2, "does not write to standard output"),
        ("--out /", 1, "directory"),
        ("--out /dev/full", 1, "/dev/full"),
        ("--out fleet.html --without pve9", 1, "Proxmox has: pve1"),
        ("--out fleet.html --plan nope", 1, "there is no cluster `nope`"),
        ("--out fleet.html --inventory notes.html", 1, "notes.html` is not an inventory"),
    ] {
        let with = if words.contains("--inventory") { "" } else { "--inventory inventory.json" };
        page(&lab, &format!("{words} {with}")).exits(code).says(&[says]);
    }
    assert_eq!(lab.read("notes.html"), "<h1>mine</h1>");
    assert_eq!(lab.read("fleet.html"), "");
    page(&lab, "--out fleet.html --inventory inventory.json --dry-run").exits(3).says(&["update"]);
    assert_eq!(lab.read("fleet.html"), "");
}
