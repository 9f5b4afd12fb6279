//! `rehearse --project`: an operator's own site in the lab, from a directory that is not a project and is not changed.

use std::path::Path;

use serde_json::{Value, json};

use crate::lab::runner;
use crate::sandbox::{CommandOutput, Scratch, pin, root};

const CLASS: &str = include_str!("../fixtures/site/class.yaml");

fn template() -> String {
    let text = include_str!("../fixtures/site/cluster.yaml");
    ["kubernetes", "talos"].iter().fold(text.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), &pin(name)))
}

/// A directory with a class, a cluster `demo`, and a patch that it refers to.
pub fn site() -> Scratch {
    let site = Scratch::new();
    write(&site, "machine-classes/small.yaml", CLASS);
    write(&site, "clusters/first.yaml", &template());
    write(&site, "clusters/more/p.yaml", "machine:\n  sysctls:\n    vm.swappiness: \"1\"\n");
    site
}

pub fn write(site: &Scratch, file: &str, text: &str) {
    let path = site.path().join(file);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, text).expect("written");
}

fn rehearse(site: &Path, words: &[&str]) -> CommandOutput {
    let home = site.with_extension("home");
    std::fs::create_dir_all(&home).expect("a home");
    let mut command = runner("rehearse --project . --json");
    let output = CommandOutput::of(command.args(words).current_dir(site).env("XDG_STATE_HOME", &home));
    let left = std::fs::read_dir(home.join("omni-scale/tmp")).into_iter().flatten().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name != "lock").collect();
    assert!(left.is_empty(), "{left:?}");
    let _ = std::fs::remove_dir_all(&home);
    output
}

/// Returns the failed steps of a rehearsal, and all steps.
fn steps(document: &Value) -> (Vec<&str>, Vec<&str>) {
    let steps = document["data"]["steps"].as_array().expect("steps").iter();
    let failed =
        steps.clone().filter(|step| step["status"] == "failed").filter_map(|step| step["step"].as_str()).collect();
    (failed, steps.filter_map(|step| step["step"].as_str()).collect())
}

#[test]
fn own_site_lives_a_whole_life_in_the_lab() {
    let site = site();
    let before = runtime::files::list_files(site.path()).expect("readable");
    let document = rehearse(site.path(), &[]).exits(0).json();
    let (failed, all) = steps(&document);
    assert_eq!(failed, Vec::<&str>::new(), "{document:#}");
    for step in [
        "provider-setup --provider-id house",
        "machineclass-apply small",
        "cluster-sync clusters/first.yaml --allow-destroy demo",
        "cluster-scale demo --set workers=2",
        "cluster-scale demo --set workers=1 --allow-destroy demo",
        "cluster-status demo --wait running",
        "cluster-delete demo --allow-destroy demo",
        "nothing is left",
    ] {
        assert!(all.contains(&step), "{step}: {all:#?}");
    }
    assert!(all.iter().any(|step| step.starts_with("node ") && step.ends_with(" goes off")), "{all:#?}");
    assert_eq!(document["data"]["inventory"], "generated so that the classes fit");
    assert!(document["data"]["not_rehearsed"].as_array().is_some_and(|what| !what.is_empty()));
    assert_eq!(runtime::files::list_files(site.path()).expect("readable"), before, "it is as it was");
}

#[test]
fn faults_of_a_seed_pass_in_a_saved_inventory() {
    let site = site();
    write(
        &site,
        "machine-classes/small.yaml",
        &CLASS.replace("vmbr9", "vmbr0").replace("tank", "local-lvm").replace("zfspool", "lvmthin"),
    );
    let inventory = root().join("xtask/tests/fixtures/inventory/two-of-three-online.json");
    let mut inventory: Value = serde_json::from_slice(&std::fs::read(inventory).expect("there")).expect("JSON");
    // As from a site with ten thousand guests, and from a version with additional fields.
    let guest = json!({"id": 1, "name": "<b>\u{202e}", "running": true, "memory": 1, "memory_used": 1, "tags": []});
    inventory["nodes"][0]["vms"]["known"] = vec![guest; 10_000].into();
    inventory["nodes"][0]["more"] = json!({"of": "a newer version"});
    write(&site, "inventory.json", &inventory.to_string());
    let words = ["--inventory", "inventory.json", "--faults", "2", "--seed", "3"];
    let document = rehearse(site.path(), &words).exits(0).json();
    assert_eq!(document["data"]["faults"].as_array().map(Vec::len), Some(2));
    assert_eq!(steps(&document).0, Vec::<&str>::new(), "{document:#}");
}

#[test]
fn a_site_that_cannot_be_rehearsed_says_why() {
    let site = site();
    for (words, code, said) in [
        (&["--cluster", "dmeo"][..], 1, "there is no cluster `dmeo`"),
        (&["--inventory", "none.json"], 1, "`none.json` does not exist"),
        (&["--inventory", "clusters/first.yaml"], 1, "is not an inventory"),
        (&["--seed", "1"], 2, "--faults"),
        (&["--fault", "docker-down"], 2, "cannot be used with"),
        (&["--dry-run"], 3, "nothing changed"),
    ] {
        rehearse(site.path(), words).exits(code).says(&[said]);
    }
    let mut nowhere = runner("rehearse --project nowhere --json");
    CommandOutput::of(nowhere.current_dir(site.path())).exits(1).says(&["`nowhere` is not a directory"]);
    // The checks come first; their failure ends the rehearsal.
    write(&site, "clusters/first.yaml", &template().replace("ControlPlane", "ControlPlan"));
    let document = rehearse(site.path(), &[]).exits_with_one_of(&[1]).json();
    assert!(document["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{document:#}");
    std::fs::remove_dir_all(site.path().join("clusters")).expect("it is there");
    rehearse(site.path(), &[]).exits(1).says(&["there is no cluster to rehearse"]);
}
