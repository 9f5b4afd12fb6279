//! What is done with a cluster after it was created, as far as chance decides what is printed; the transcripts
//! `operation` and `other-names` have the rest.

use std::collections::BTreeSet;
use std::fs;

use runtime::state::State;
use serde_json::Value;

use crate::access::as_root_with;
use crate::sandbox::{Sandbox, root};

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

/// A change made by hand: what `drift` calls it, the object, how it is made, and how it is taken back.
struct ManualChange<'a> {
    kind: &'static str,
    object: String,
    make: Box<dyn Fn() + 'a>,
    undo: Box<dyn Fn() + 'a>,
}

const PATCH: &str = "metadata:\n  namespace: default\n  type: ConfigPatches.omni.sidero.dev\n  id: 500-ui\n  \
                     labels: {omni.sidero.dev/cluster: demo}\nspec:\n  data: |\n    machine: {env: {A: b}}\n";

/// Something in Omni, in the files or in the project's notes.
fn of_site<'a>(lab: &'a Sandbox, which: usize, vm: &Value) -> ManualChange<'a> {
    let hand = |kind, object: &str, make: Box<dyn Fn() + 'a>, undo: Box<dyn Fn() + 'a>| ManualChange {
        kind,
        object: object.to_owned(),
        make,
        undo,
    };
    let class = lab.read("machine-classes/small.yaml");
    let other = class.replace("id: small", "id: other");
    let file = |name: &'static str, text: String| Box::new(move || lab.write(name, &text));
    let gone = |name: &'static str| Box::new(move || fs::remove_file(lab.file(name)).expect("it is there"));
    let apply = |text: String| {
        Box::new(move || {
            lab.write("../by-hand.yaml", &text);
            drop(lab.omnictl(&["apply", "-f", &lab.file("../by-hand.yaml").display().to_string()]));
        })
    };
    let destroy = |words: [&'static str; 3]| Box::new(move || drop(lab.omnictl(&words)));
    let (other_file, template) = ("machine-classes/other.yaml", lab.read("clusters/demo.yaml"));
    let node = vm["node"].as_str().expect("a node").to_owned();
    match which {
        0 => hand(
            "class-differs",
            "machine class small",
            file("machine-classes/small.yaml", class.replace("memory: 4096", "memory: 6144")),
            file("machine-classes/small.yaml", class),
        ),
        1 => hand("class-not-in-omni", "machine class other", file(other_file, other), gone(other_file)),
        2 => {
            let text = template.replace("name: demo", "name: second");
            hand(
                "cluster-not-in-omni",
                "cluster second",
                file("clusters/second.yaml", text),
                gone("clusters/second.yaml"),
            )
        }
        3 => hand(
            "cluster-differs",
            "cluster demo",
            apply(PATCH.to_owned()),
            destroy(["delete", "configpatches", "500-ui"]),
        ),
        4 => {
            let class = class.replace("id: small", "id: foreign");
            let destroy = destroy(["delete", "machineclasses", "foreign"]);
            hand("class-without-file", "machine class foreign", apply(class), destroy)
        }
        5 => {
            let notes = ".claude/omni-scale.local.md";
            let before = lab.read(notes);
            let mut state = State::load(&lab.file(notes), notes).expect("the notes");
            state.add("clusters", "nowhere");
            hand("state-outdated", "cluster nowhere", file(notes, state.text()), file(notes, before))
        }
        _ => {
            let fields = ["vmid=9999", "name=demo-workers-old", "memory=512", "tags=machine-request.demo-workers"];
            let (create, delete) = (format!("/nodes/{node}/qemu"), format!("/nodes/{node}/qemu/9999"));
            let make = Box::new(move || drop(as_root_with("POST", lab, &create, &fields)));
            let undo = Box::new(move || drop(as_root_with("DELETE", lab, &delete, &[])));
            hand("vm-without-request", &format!("VM 9999 (demo-workers-old) on {node}"), make, undo)
        }
    }
}

/// A VM that is not what its request asks for.
fn of_vm<'a>(lab: &'a Sandbox, which: usize, random: &mut fastrand::Rng, vm: &Value) -> ManualChange<'a> {
    let (node, id) = (vm["node"].as_str().expect("a node").to_owned(), vm["vmid"].to_string());
    let path = format!("/nodes/{node}/qemu/{id}/config");
    let config = as_root_with("GET", lab, &path, &[])["data"].clone();
    let now = |key: &str| format!("{key}={}", config[key].as_str().map_or(config[key].to_string(), str::to_owned));
    let more = random.u64(1..1 << 12);
    let (field, undo) = match which {
        0 => (format!("memory={}", 4096 + 16 * more), now("memory")),
        1 => (format!("cores={}", 3 + more % 4), now("cores")),
        2 => (format!("tags=mine-{more}"), now("tags")),
        _ => (format!("net0=virtio,bridge=vmbr0,tag={}", 1 + more % 4000), now("net0")),
    };
    let put = |field: String, path: String| Box::new(move || drop(as_root_with("PUT", lab, &path, &[&field])));
    let object = format!("VM {id} ({}) on {node}", vm["name"].as_str().expect("a name"));
    ManualChange { kind: "vm-changed", object, make: put(field, path.clone()), undo: put(undo, path) }
}

/// Two numbers of the environment, `A/B`, in place of these.
fn chosen(name: &str, usual: (usize, usize)) -> (usize, usize) {
    let given = std::env::var(name).unwrap_or_default();
    let numbers = given.split_once('/').map(|(a, b)| (a.parse().expect("a number"), b.parse().expect("a number")));
    numbers.unwrap_or(usual)
}

/// Twenty random changes by hand in Proxmox, in Omni and in the files, several at a time; `DRIFT=1000/7` makes a thousand from the
/// seed 7. Each is named, and nothing else.
#[test]
fn drift_finds_every_change_by_hand_and_no_other() {
    let lab = with_cluster(5);
    let vms = lab.dump()["proxmox"]["vms"].as_array().expect("a list").clone();
    let (all, seed) = chosen("DRIFT", (20, 18));
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let found = || {
        let document = lab.run("drift --hardware --json").exits(0).json();
        assert_eq!(document["data"]["unknown"].as_array().map(Vec::len), Some(0), "{document:#}");
        let text = |drift: &Value, key: &str| drift[key].as_str().expect("a text").to_owned();
        let drift = document["data"]["drift"].as_array().expect("a list").iter();
        drift.map(|drift| (text(drift, "kind"), text(drift, "object"))).collect::<BTreeSet<_>>()
    };
    let mut made = 0;
    while made < all {
        let mut hands = Vec::new();
        for vm in vms.iter().filter(|_| random.bool()).collect::<Vec<_>>() {
            let which = random.usize(..4);
            hands.push(of_vm(&lab, which, &mut random, vm));
        }
        for which in (0..7).filter(|_| random.bool()).collect::<Vec<_>>() {
            hands.push(of_site(&lab, which, &vms[0]));
        }
        hands.iter().for_each(|hand| (hand.make)());
        // The class is what new machines get: those that stand are compared with their own requests.
        let expected: BTreeSet<_> = hands.iter().map(|hand| (hand.kind.to_owned(), hand.object.clone())).collect();
        assert_eq!(found(), expected, "after {made} changes");
        hands.iter().for_each(|hand| (hand.undo)());
        made += hands.len();
    }
    assert_eq!(found(), BTreeSet::new(), "all was taken back");
    println!("seed {seed}: {made} changes, all found, no other");
}

/// Every eighth template of the corpus that is accepted, every fourth after the first three with `EXPORT=3/4`: a sync of what was
/// exported changes nothing, or the export names what omnictl leaves out.
#[test]
fn sync_of_an_exported_cluster_changes_nothing() {
    let lab = Sandbox::new();
    lab.provider();
    ["cp", "worker"].iter().for_each(|class| lab.class(class));
    let corpus = root().join("xtask/check/tests/corpus");
    let table = fs::read_to_string(corpus.join("templates.tsv")).expect("the table");
    let accepted: Vec<&str> =
        table.lines().filter_map(|line| line.split_once("\taccept\taccept\t")).map(|row| row.0).collect();
    let (first, every) = chosen("EXPORT", (0, 8));
    let (mut synced, mut whole) = (0, 0);
    for file in accepted.iter().skip(first).step_by(every) {
        let (text, name) = (fs::read(corpus.join("templates").join(file)), file.trim_end_matches(".yaml"));
        let text = String::from_utf8(text.expect("a template")).unwrap_or_default();
        let template = format!("clusters/{name}.yaml");
        let text = text.replacen("name: demo\n", &format!("name: {name}\n"), 1);
        lab.write(&template, &text);
        let parsed = domain::spec::template::parse(file, text.as_bytes());
        let cluster = parsed.value.map_or(name.to_owned(), |template| template.name);
        // Some need files, classes or a Talos that this lab does not have.
        if lab.run(&format!("cluster-sync {name} --yes --no-wait")).code == 0 {
            let export = lab.run(&format!("cluster-export {cluster} --force --yes")).exits(0);
            let again = lab.run(&format!("cluster-sync {cluster} --dry-run"));
            let same = again.code == 0 && again.stderr.contains("is in sync; nothing to change");
            assert!(
                same || export.stderr.contains("omnictl does not export all of it"),
                "{file}: {export:#?} {again:#?}"
            );
            (synced, whole) = (synced + 1, whole + usize::from(same));
        }
        fs::remove_file(lab.file(&template)).expect("it was written");
    }
    println!("{whole} of {synced} clusters are exported whole");
    assert!(synced * 4 >= accepted.len() / every && whole * 2 > synced, "{whole} of {synced} of {}", accepted.len());
}
