//! Exported clusters, and manual changes; other operations on an existing cluster are tested in the transcripts `operation` and
//! `other-names`.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use serde_json::Value;

use crate::access::as_root_with;
use crate::sandbox::{Sandbox, root, wait_for};
use crate::transcripts::Player;

pub fn with_cluster(workers: u32) -> Sandbox {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    let create = format!("cluster-create demo --control-planes 1 --workers {workers} --yes --timeout 60s");
    lab.run(&create).exits(0);
    lab
}

pub fn vms(lab: &Sandbox) -> usize {
    lab.dump()["proxmox"]["vms"].as_array().expect("a list").len()
}

/// A manual change: its name in `drift` with the object, a part of the detail, how to make it, and how to undo it.
#[derive(Deserialize, Clone)]
struct ManualChange {
    object: String,
    says: String,
    make: Vec<String>,
    undo: Vec<String>,
}

/// The contents of `xtask/tests/fixtures/drift.yaml`.
#[derive(Deserialize)]
struct ManualChanges {
    of_site: Vec<ManualChange>,
    of_vm: Vec<(String, String)>,
}

/// A change of a VM, whose undo restores the current value.
fn of_vm(lab: &Sandbox, vm: &Value, (field, says): &(String, String)) -> ManualChange {
    let (node, name) = (vm["node"].as_str().expect("a node"), vm["name"].as_str().expect("a name"));
    let path = format!("/nodes/{node}/qemu/{}/config", vm["vmid"]);
    let config = &as_root_with("GET", lab, &path, &[])["data"];
    let key = field.split('=').next().unwrap_or_default();
    let undo = match &config[key] {
        Value::Null => format!("delete={key}"),
        old => format!("{key}={}", old.as_str().map_or(old.to_string(), str::to_owned)),
    };
    let put = |field: &str| format!("proxmox PUT {path} {field}");
    ManualChange {
        object: format!("vm-changed VM {} ({name}) on {node}", vm["vmid"]),
        says: says.clone(),
        make: vec![put(field)],
        undo: vec![put(&undo)],
    }
}

/// Twenty random manual changes in Proxmox, Omni, the files and the containers, several at a time; `DRIFT=1000` makes that many,
/// `SEED=7` others. All of them are reported, and nothing else.
#[test]
fn drift_finds_every_change_by_hand_and_no_other() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (all, seed) = (number("DRIFT").unwrap_or(20), number("SEED").unwrap_or(18));
    let changes: ManualChanges =
        serde_yaml::from_slice(&fs::read(root().join("xtask/tests/fixtures/drift.yaml")).expect("a table"))
            .expect("changes");
    let mut player = Player::of(with_cluster(5));
    let vms = player.lab().dump()["proxmox"]["vms"].as_array().expect("a list").clone();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut made = BTreeMap::new();
    let mut total = 0;
    while total < all {
        // One change for each object, the last one chosen.
        let mut hands = BTreeMap::new();
        for vm in vms.iter().filter(|_| random.bool()).collect::<Vec<_>>() {
            let which = &changes.of_vm[random.usize(..changes.of_vm.len())];
            hands.insert(vm["name"].to_string(), (which.1.clone(), of_vm(player.lab(), vm, which)));
        }
        for change in &changes.of_site {
            if random.u8(..3) == 0 {
                let object = change.object.split_once(' ').map_or("", |words| words.1);
                hands.insert(object.to_owned(), (format!("{} {}", change.object, change.says), change.clone()));
            }
        }
        hands.values().flat_map(|hand| &hand.1.make).for_each(|line| player.change(line));
        let found = differences(player.lab());
        let expected: BTreeMap<_, _> = hands.values().map(|(_, hand)| (hand.object.clone(), &hand.says)).collect();
        let missed: Vec<_> = expected
            .iter()
            .filter(|(object, says)| !found.get(*object).is_some_and(|detail| detail.contains(**says)))
            .collect();
        let wrong: Vec<_> = found.iter().filter(|(object, _)| !expected.contains_key(*object)).collect();
        assert!(
            missed.is_empty() && wrong.is_empty(),
            "after {total}: missed {missed:#?}, wrong {wrong:#?}, {found:#?}"
        );
        hands.values().rev().flat_map(|hand| &hand.1.undo).for_each(|line| player.change(line));
        hands.values().for_each(|(what, _)| *made.entry(what.clone()).or_insert(0) += 1);
        total += hands.len() as u64;
    }
    let lab = player.lab();
    assert_eq!(differences(lab), BTreeMap::new(), "all was taken back");
    // Changes that cannot be undone: an additional disk, and a VM that is gone.
    let (more, gone) = (&vms[0], &vms[5]);
    let config = format!("/nodes/{}/qemu/{}/config", more["node"].as_str().expect("a node"), more["vmid"]);
    as_root_with("PUT", lab, &config, &["scsi1=local-lvm:8"]);
    wait_for("the VM is destroyed", || lab.paste(&format!("qm stop {0}; qm destroy {0}", gone["vmid"])).code == 0);
    let found = differences(lab).into_iter().map(|(object, detail)| format!("{object}: {detail}")).collect::<Vec<_>>();
    let name = |vm: &Value| vm["name"].as_str().expect("a name").to_owned();
    let due = [
        (name(gone), "no longer exists"),
        (format!("user-data-{}.iso", gone["vmid"]), "which does not exist"),
        (name(more), "a disk scsi1 (8.0 GiB)"),
    ];
    let named = |(object, says): &(String, &str)| found.iter().any(|it| it.contains(object) && it.contains(says));
    assert!(found.len() == due.len() && due.iter().all(named), "{found:#?}");
    // The provider deletes by node and ID: the VM that has them now must not be deleted with the machine.
    let (id, node) = (&gone["vmid"], gone["node"].as_str().expect("a node"));
    let taken = ["name=guest".to_owned(), format!("vmid={id}")];
    as_root_with("POST", lab, &format!("/nodes/{node}/qemu"), &taken.each_ref().map(String::as_str));
    let says = [&format!("VM {id} `guest` on {node} may have its ID now"), &format!("qm migrate {id} ")];
    lab.run(&format!("machine-replace {} --dry-run", name(gone))).exits(1).says(&says.map(String::as_str));
    println!("seed {seed}: {total} changes, all found, no other: {made:#?}");
}

/// Returns the details of the differences that `drift` finds, by kind and object.
fn differences(lab: &Sandbox) -> BTreeMap<String, String> {
    let document = lab.run("drift --hardware --json").exits(0).json();
    assert_eq!(document["data"]["unknown"].as_array().map(Vec::len), Some(0), "{document:#}");
    let text = |drift: &Value, key: &str| drift[key].as_str().expect("a text").to_owned();
    let of = |drift: &Value| (format!("{} {}", text(drift, "kind"), text(drift, "object")), text(drift, "detail"));
    document["data"]["drift"].as_array().expect("a list").iter().map(of).collect()
}

/// Every accepted template of the corpus: a sync of its export changes nothing.
#[test]
fn sync_of_an_exported_cluster_changes_nothing() {
    let lab = Sandbox::new();
    lab.provider();
    ["cp", "worker"].iter().for_each(|class| lab.class(class));
    let corpus = root().join("xtask/check/tests/corpus");
    let table = fs::read_to_string(corpus.join("templates.tsv")).expect("the table");
    let accepted: Vec<&str> =
        table.lines().filter_map(|line| line.split_once("\taccept\taccept\t")).map(|row| row.0).collect();
    let mut synced = 0;
    for file in &accepted {
        let (text, name) = (fs::read(corpus.join("templates").join(file)), file.trim_end_matches(".yaml"));
        let text = String::from_utf8(text.expect("a template")).unwrap_or_default();
        let template = format!("clusters/{name}.yaml");
        let text = text.replacen("name: demo\n", &format!("name: {name}\n"), 1);
        lab.write(&template, &text);
        let parsed = domain::spec::template::parse(file, text.as_bytes());
        let cluster = parsed.value.map_or(name.to_owned(), |template| template.name);
        // Some need files, classes or a Talos version that this lab does not have.
        if lab.run(&format!("cluster-sync {name} --yes --no-wait")).code == 0 {
            let export = lab.run(&format!("cluster-export {cluster} --force --yes")).exits(0);
            let again = lab.run(&format!("cluster-sync {cluster} --dry-run"));
            let same = again.code == 0 && again.stderr.contains("is in sync; nothing to change");
            assert!(same, "{file}: {export:#?} {again:#?}");
            synced += 1;
        }
        fs::remove_file(lab.file(&template)).expect("it was written");
    }
    assert!(synced * 4 >= accepted.len(), "{synced} of {}", accepted.len());
}
