//! `tests/corpus/capacity.yaml` has nodes and machines with the expected results; these tests cover what a file cannot express.

use super::machine::{Disk, Network, Strategy};
use super::*;
use domain::status::proxmox::{Figures, Node, Observed, Storage, Vm};
use serde::Deserialize;
use serde_json::Value;
use yaml::Position;

const GIB: u64 = 1 << 30;

/// Parses a size in GiB.
fn gib(text: &str) -> u64 {
    (text.parse::<f64>().expect("a number") * GIB as f64) as u64
}

/// `NAME TYPE CONTENT FREE [shared] [inactive]`
fn storage(node: &str, line: &str) -> Storage {
    let words: Vec<&str> = line.split(' ').collect();
    Storage {
        name: words[0].into(),
        node: node.into(),
        kind: words[1].into(),
        available: gib(words[3]),
        total: gib(words[3]) * 2,
        content: words[2].split(',').map(str::to_owned).collect(),
        enabled: true,
        active: !words.contains(&"inactive"),
        shared: words.contains(&"shared"),
    }
}

/// `ID NAME MEMORY USED [set:SET] [stopped] [disk:STORAGE:SIZE]`
fn vm(line: &str) -> Vm {
    let words: Vec<&str> = line.split(' ').collect();
    let disk = |text: &str| text.split_once(':').map(|(storage, size)| (storage.to_owned(), gib(size)));
    Vm {
        id: words[0].parse().expect("an id"),
        name: words[1].into(),
        running: !words.contains(&"stopped"),
        memory: gib(words[2]),
        memory_used: gib(words[3]),
        tags: words.iter().filter_map(|word| Some(format!("machine-request.{}", word.strip_prefix("set:")?))).collect(),
        disks: words.iter().filter_map(|word| disk(word.strip_prefix("disk:")?)).collect(),
    }
}

/// A node with 64 GiB and 16 threads, like those of the lab.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NodeCase {
    used: u64,
    offline: bool,
    unseen: bool,
    storages: Option<Vec<String>>,
    bridges: Option<Vec<String>>,
    vms: Vec<String>,
}

impl NodeCase {
    fn node(&self, number: usize) -> Node {
        let name = format!("pve{number}");
        fn seen<T>(yes: bool, value: T) -> Observed<T> {
            if yes { Observed::Known(value) } else { Observed::Unknown("refused".into()) }
        }
        let own = ["local dir iso,backup 80", "local-lvm lvmthin images,rootdir 200", "vm_ssd rbd images 1000 shared"];
        let storages = self.storages.clone().unwrap_or_else(|| own.map(str::to_owned).into());
        let figures = Figures { cpus: 16, cpu_load: 0.1, memory_total: 64 * GIB, memory_used: self.used * GIB };
        Node {
            status: if self.offline { "offline" } else { "online" }.into(),
            figures: seen(!self.offline && !self.unseen, figures),
            storages: seen(!self.offline && !self.unseen, storages.iter().map(|line| storage(&name, line)).collect()),
            bridges: seen(!self.offline, self.bridges.clone().unwrap_or_else(|| vec!["vmbr0".into()])),
            vms: seen(!self.offline, self.vms.iter().map(|line| vm(line)).collect()),
            name,
        }
    }
}

/// Machines of a set, of one class.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MembersCase {
    set: String,
    count: usize,
    memory: u64,
    disk: u64,
    selector: String,
    node: Option<String>,
    bridge: String,
    vcpus: u64,
    binpack: bool,
    exists: Vec<String>,
}

impl Default for MembersCase {
    fn default() -> MembersCase {
        MembersCase {
            set: "demo-control-planes".into(),
            count: 1,
            memory: 4,
            disk: 20,
            selector: "name == \"local-lvm\"".into(),
            node: None,
            bridge: "vmbr0".into(),
            vcpus: 4,
            binpack: false,
            exists: Vec::new(),
        }
    }
}

impl MembersCase {
    fn machine(&self) -> Machine {
        let class = if self.set.ends_with("control-planes") { "cp" } else { "w" };
        let place = Position::START.in_file(&format!("{class}.yaml"));
        Machine {
            class: class.into(),
            memory: self.memory * GIB,
            vcpus: self.vcpus,
            disks: vec![Disk { size: self.disk * GIB, selector: self.selector.clone(), place: place.clone() }],
            node: self.node.clone(),
            networks: vec![Network { bridge: self.bridge.clone(), vlan: None }],
            strategy: if self.binpack { Strategy::Binpack } else { Strategy::Spread },
            place,
            ..Machine::default()
        }
    }

    fn members(&self) -> Vec<Member> {
        let member = |at: usize| Member {
            name: format!("{}-new-{}", self.set, at + 1),
            cluster: "demo".into(),
            set: self.set.clone(),
            control_plane: self.set.ends_with("control-planes"),
            machine: self.machine(),
            place: Position { line: 9, column: 3 }.in_file("demo.yaml"),
            state: self.exists.get(at).map_or(State::New, |node| State::Exists(node.clone())),
        };
        (0..self.count).map(member).collect()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    name: String,
    provider: Option<String>,
    nodes: Vec<NodeCase>,
    members: Vec<MembersCase>,
    removed: BTreeSet<String>,
    placed: Option<Vec<String>>,
    rules: Vec<String>,
    says: Vec<String>,
    fix: BTreeMap<String, String>,
    fit: BTreeMap<String, Value>,
}

fn inventory(nodes: &[NodeCase]) -> Inventory {
    let nodes = nodes.iter().enumerate().map(|(at, node)| node.node(at + 1)).collect();
    Inventory { nodes, ..Inventory::default() }
}

fn rules(fit: &Fit) -> Vec<String> {
    let mut rules: Vec<_> =
        fit.findings.iter().map(|finding| format!("{} {}", finding.severity.as_str(), finding.rule)).collect();
    rules.dedup();
    rules
}

/// Returns true if a value of the document is the expected one: it contains the text, or it has the size.
fn matches_expected(value: Option<&Value>, wanted: &Value) -> bool {
    let size = |text: &str| text.strip_suffix(" GiB").map(|size| Value::from(gib(size)));
    match (value, wanted) {
        (Some(Value::String(text)), Value::String(part)) => text.contains(part),
        (Some(value), Value::String(text)) => size(text).as_ref() == Some(value),
        (value, wanted) => value == Some(wanted),
    }
}

impl Case {
    /// Describes what differs from the case.
    fn mismatches(&self) -> Vec<String> {
        let provider = Provider::of_tag(self.provider.as_deref().unwrap_or("v0.2.0")).expect("a release");
        let members: Vec<Member> = self.members.iter().flat_map(MembersCase::members).collect();
        let fit = plan(&inventory(&self.nodes), &members, &self.removed, provider);
        let placed = fit.placements.iter().map(|placement| placement.node.clone().unwrap_or("-".into()));
        let document = serde_json::to_value(&fit).expect("JSON");
        let has = |holds: &dyn Fn(&Finding) -> bool| fit.findings.iter().any(holds);
        let mut wrong = Vec::new();
        let mut expect = |holds: bool, what: String| (!holds).then(|| wrong.push(format!("{}: {what}", self.name)));
        expect(self.placed.as_ref().is_none_or(|due| placed.eq(due.iter().cloned())), "placed".into());
        expect(rules(&fit) == self.rules, format!("rules: {:?}", rules(&fit)));
        for text in &self.says {
            expect(has(&|finding| finding.message.contains(text)), format!("{text}: {:?}", fit.findings));
        }
        for (rule, text) in &self.fix {
            let fixes = |finding: &Finding| finding.rule == rule && finding.fix.contains(text);
            expect(has(&fixes), format!("{text}: {:?}", fit.findings));
        }
        for (place, wanted) in &self.fit {
            let value = document.pointer(place);
            expect(matches_expected(value, wanted), format!("{place}: {value:?}"));
        }
        wrong
    }
}

#[test]
fn plan_matches_the_cases() {
    let cases: Vec<Case> = serde_yaml::from_str(include_str!("../../tests/corpus/capacity.yaml")).unwrap();
    let wrong: Vec<String> = cases.iter().flat_map(Case::mismatches).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn thick_pool_shrinks_with_every_disk() {
    let storages = vec!["local dir iso 80".to_owned(), "thick lvm images 50".to_owned()];
    let inventory = inventory(&[NodeCase { used: 10, storages: Some(storages), ..NodeCase::default() }]);
    let selector = format!("name == \"thick\" && availableSpace > {}u", 30 * GIB);
    let members = MembersCase { count: 2, disk: 25, selector, ..MembersCase::default() }.members();
    let fit = plan(&inventory, &members, &BTreeSet::new(), Provider::V0_2);
    let found = ["error plan-selector-none", "warning plan-control-planes-together"];
    assert_eq!(rules(&fit), found, "25 of 50 GiB are gone when the second is placed");
}

#[test]
fn sizes_are_printed_with_units() {
    for (count, words) in [(0, "0.0 GiB"), (512 << 20, "512 MiB"), (3 * GIB / 2, "1.5 GiB"), (2048 * GIB, "2.0 TiB")] {
        assert_eq!(format_bytes(count), words);
    }
}

/// Returns the fastest of three runs over `sets` machine sets of one machine each, half of which exist.
fn measure_plan(sets: usize) -> std::time::Duration {
    let mut inventory = inventory(&[NodeCase::default(), NodeCase::default(), NodeCase::default()]);
    let member = |set: usize| {
        let exists = if set.is_multiple_of(2) { vec!["pve1".to_owned()] } else { Vec::new() };
        let case = MembersCase { set: format!("c{set}-control-planes"), exists, ..MembersCase::default() };
        Member { cluster: format!("c{set}"), ..case.members().remove(0) }
    };
    let all: Vec<Member> = (0..sets).map(member).collect();
    let exists = all.iter().filter(|member| matches!(member.state, State::Exists(_))).enumerate();
    let vms = exists.map(|(at, member)| vm(&format!("{} {} 1 1", 100 + at, member.name))).collect();
    inventory.nodes[0].vms = Observed::Known(vms);
    let once = || {
        let start = std::time::Instant::now();
        let fit = plan(&inventory, &all, &BTreeSet::new(), Provider::V0_2);
        assert_eq!(fit.placements.len(), sets);
        start.elapsed()
    };
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn plan_time_grows_linearly_with_the_number_of_sets() {
    // 32 times the work takes about 32 times as long. When each machine caused a walk over all machines, it took more than 100
    // times as long. A host that is busy with something else gets two more tries.
    let ratio = || measure_plan(32_000).as_secs_f64() / measure_plan(1000).as_secs_f64();
    assert!((0..3).any(|_| ratio() < 96.0), "more than 96 times as long for 32 times the machine sets");
}

#[test]
fn shortages_depend_on_the_kind_of_storage() {
    let found = |kind: &str, free: [u64; 2], iso: u64| {
        let node = |free: u64| {
            let storages = vec![format!("fast {kind} images {free}"), format!("local dir iso {iso}")];
            NodeCase { storages: Some(storages), ..NodeCase::default() }
        };
        let machine =
            MembersCase { set: "web".into(), disk: 40, selector: "name == \"fast\"".into(), ..MembersCase::default() };
        room::shortages(&inventory(&free.map(node)).nodes, &[machine.machine()])
    };
    assert_eq!(found("lvm", [40, 50], 1), []);
    assert_eq!(found("lvmthin", [5, 50], 1), []);
    for (kind, free, everywhere) in [("lvm", [39, 50], false), ("lvmthin", [0, 4], true), ("rbd", [0, 0], true)] {
        let all = found(kind, free, 1);
        assert_eq!((all.len(), all[0].everywhere), (1, everywhere), "{all:?}");
        assert!(all[0].words.ends_with("for the 40.0 GiB of class `w`"), "{all:?}");
    }
    assert_eq!(found("lvm", [40, 40], 0)[0].words, "local on pve1, pve2 has 0.0 GiB free, for a Talos image");
    let full = |content| room::is_full(&storage("pve1", &format!("x dir {content} 0")));
    assert_eq!(["iso", "images,rootdir", "vztmpl"].map(full), [true, true, false]);
}

#[test]
fn rooms_of_absurd_inventories_do_not_overflow() {
    assert_eq!(NodeRoom { used: u64::MAX, added: 1, ..NodeRoom::default() }.used_after(), u64::MAX);
}
