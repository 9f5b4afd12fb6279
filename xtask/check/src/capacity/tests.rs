use super::machine::{Disk, Network, Strategy};
use super::*;
use domain::spec::At;
use domain::status::proxmox::{Figures, Node, Seen, Storage, Vm};

const GIB: u64 = 1 << 30;

fn storage(node: &str, name: &str, kind: &str, content: &str, available: u64, shared: bool) -> Storage {
    Storage {
        name: name.into(),
        node: node.into(),
        kind: kind.into(),
        available: available * GIB,
        total: available * 2 * GIB,
        content: content.split(',').map(str::to_owned).collect(),
        enabled: true,
        active: true,
        shared,
    }
}

/// A node of 64 GiB and 16 threads with `used` GiB in use, as the lab has them.
fn node(name: &str, used: u64) -> Node {
    let figures = Figures { cpus: 16, cpu_load: 0.1, memory_total: 64 * GIB, memory_used: used * GIB };
    Node {
        name: name.into(),
        status: "online".into(),
        figures: Seen::Known(figures),
        storages: Seen::Known(vec![
            storage(name, "local", "dir", "iso,backup", 80, false),
            storage(name, "local-lvm", "lvmthin", "images,rootdir", 200, false),
            storage(name, "vm_ssd", "rbd", "images", 1000, true),
        ]),
        bridges: Seen::Known(vec!["vmbr0".into()]),
        vms: Seen::Known(Vec::new()),
    }
}

/// A VM that runs with `memory` GiB, of which it uses some.
fn vm(id: u64, name: &str, memory: u64, used: u64) -> Vm {
    let (memory, memory_used) = (memory * GIB, used * GIB);
    Vm { id, name: name.into(), running: true, memory, memory_used, tags: vec![], disks: vec![] }
}

fn of_set(id: u64, set: &str, memory: u64, used: u64) -> Vm {
    Vm { tags: vec![format!("machine-request.{set}")], ..vm(id, &format!("{set}-{id}"), memory, used) }
}

fn cluster(used: &[u64]) -> Inventory {
    let nodes = used.iter().enumerate().map(|(at, used)| node(&format!("pve{}", at + 1), *used));
    Inventory { taken_at: String::new(), endpoint: String::new(), version: "9.0.10".into(), nodes: nodes.collect() }
}

fn machine(class: &str, memory: u64, disk: u64, selector: &str) -> Machine {
    let place = At::START.in_file(&format!("{class}.yaml"));
    Machine {
        class: class.into(),
        memory: memory * GIB,
        vcpus: 4,
        disks: vec![Disk { size: disk * GIB, selector: selector.into(), place: place.clone() }],
        node: None,
        networks: vec![Network { bridge: "vmbr0".into(), vlan: None }],
        pci: Vec::new(),
        usb: Vec::new(),
        pool: None,
        ha: false,
        strategy: Strategy::Spread,
        hugepages: false,
        place,
    }
}

fn members(set: &str, count: usize, machine: &Machine) -> Vec<Member> {
    let member = |at| Member {
        name: format!("{set}-new-{at}"),
        cluster: "demo".into(),
        set: set.into(),
        control_plane: set.ends_with("control-planes"),
        machine: machine.clone(),
        place: At { line: 9, column: 3 }.in_file("demo.yaml"),
        state: State::New,
    };
    (1..=count).map(member).collect()
}

fn demo(count: usize, memory: u64, disk: u64) -> Vec<Member> {
    let class = machine("cp", memory, disk, "name == \"local-lvm\"");
    members("demo-control-planes", count, &class)
}

fn run(inventory: &Inventory, members: &[Member], provider: Provider) -> Fit {
    plan(inventory, members, &BTreeSet::new(), provider, &selector::selects)
}

fn nodes(fit: &Fit) -> Vec<&str> {
    fit.placements.iter().map(|placement| placement.node.as_deref().unwrap_or("-")).collect()
}

fn rules(fit: &Fit) -> Vec<(&'static str, bool)> {
    let mut rules: Vec<_> = fit.findings.iter().map(|finding| (finding.rule, finding.is_error())).collect();
    rules.dedup();
    rules
}

#[test]
fn memory_of_removed_sets_is_free_for_new_machines() {
    let mut inventory = cluster(&[60]);
    let vms = [(100, "demo-old"), (101, "demo-old"), (102, "demo-kept")];
    inventory.nodes[0].vms = Seen::Known(vms.map(|(id, set)| of_set(id, set, 16, 12)).into());
    let members = demo(1, 16, 20);
    let plan = |removed: &[&str]| {
        let removed = removed.iter().map(|set| (*set).to_owned()).collect();
        plan(&inventory, &members, &removed, Provider::V0_2, &selector::selects)
    };
    let kept = plan(&[]);
    assert!(!kept.fits() && rules(&kept).contains(&("plan-memory", true)), "{:?}", kept.findings);
    let freed = plan(&["demo-old"]);
    assert!(freed.fits(), "{:?}", freed.findings);
    let room = &freed.nodes[0];
    assert_eq!((room.used / GIB, room.freed / GIB, room.after() / GIB, room.promised / GIB), (60, 24, 52, 4));
    assert!(!plan(&["other-old"]).fits(), "the sets of other clusters stay");
}

#[test]
fn disks_of_removed_sets_are_free_for_new_machines() {
    let mut inventory = cluster(&[10]);
    let vm = |id: u64, set: &str, storage: &str| Vm {
        running: false,
        disks: vec![(storage.into(), 50 * GIB), ("local".into(), GIB)],
        ..of_set(id, set, 1, 0)
    };
    inventory.nodes[0].vms = Seen::Known(vec![
        vm(100, "demo-old", "local-lvm"),
        vm(101, "demo-old", "vm_ssd"),
        vm(102, "demo-kept", "local-lvm"),
    ]);
    let plan = |count: usize, removed: &[&str]| {
        let removed = removed.iter().map(|set| (*set).to_owned()).collect();
        plan(&inventory, &demo(count, 4, 80), &removed, Provider::V0_2, &selector::selects)
    };
    assert!(rules(&plan(3, &[])).contains(&("plan-disk", true)), "200 GiB are left for 240");
    let freed = plan(3, &["demo-old"]);
    assert!(freed.fits() && rules(&freed).contains(&("plan-disk-later", false)), "{:?}", freed.findings);
    let pool = freed.pools.iter().find(|pool| pool.name == "local-lvm").unwrap();
    assert_eq!((pool.available / GIB, pool.freed / GIB, pool.added / GIB), (200, 50, 240));
    assert!(rules(&plan(4, &["demo-old"])).contains(&("plan-disk", true)), "320 GiB are still too much");
}

#[test]
fn provider_v0_2_0_spreads_machines() {
    let inventory = cluster(&[10, 20, 30]);
    let fit = run(&inventory, &demo(3, 8, 20), Provider::V0_2);
    assert_eq!(nodes(&fit), ["pve1", "pve2", "pve3"]);
    assert_eq!(fit.placements[0].storages, ["local-lvm"]);
    assert!(fit.fits() && fit.findings.is_empty(), "{:?}", fit.findings);
    let room = &fit.nodes[0];
    assert_eq!((room.used / GIB, room.added / GIB, room.vcpus, room.control_planes), (10, 8, 4, 1));
    assert!(fit.losses.iter().all(|loss| loss.problems.is_empty() && loss.majority_lost.is_empty()));
    let pools: Vec<_> =
        fit.pools.iter().map(|pool| (pool.node.as_str(), pool.name.as_str(), pool.added >> 20)).collect();
    assert_eq!(pools[..2], [("pve1", "local", 512), ("pve1", "local-lvm", 20 << 10)]);
}

#[test]
fn first_provider_fills_one_node() {
    let inventory = cluster(&[10, 20, 30]);
    let fit = run(&inventory, &demo(3, 8, 20), Provider::Untagged);
    assert_eq!(nodes(&fit), ["pve1", "pve1", "pve1"]);
    assert_eq!(rules(&fit), [("plan-control-planes-together", false), ("plan-loss", false)]);
    assert_eq!(fit.losses[0].majority_lost, ["demo"]);
    assert!(fit.losses[0].problems[0].contains("unexpected end of JSON input"), "an offline node stops its choice");
    assert!(fit.findings[0].message.contains("3 of 3 control planes of `demo` share pve1"), "{:?}", fit.findings);
}

#[test]
fn missing_memory_is_an_error_with_the_amount() {
    let inventory = cluster(&[40, 50, 60]);
    let fit = run(&inventory, &demo(3, 20, 20), Provider::V0_2);
    assert_eq!(rules(&fit), [("plan-memory", true)]);
    let messages: Vec<&str> = fit.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "pve2 needs 70.0 GiB of memory and has 64.0 GiB: 6.0 GiB too little",
            "pve3 needs 80.0 GiB of memory and has 64.0 GiB: 16.0 GiB too little"
        ]
    );
    assert_eq!(fit.findings[0].place.to_string(), "demo.yaml:9:3");
}

#[test]
fn overcommitted_memory_is_a_warning() {
    let mut inventory = cluster(&[10, 10]);
    inventory.nodes[0].vms = Seen::Known(vec![vm(100, "db", 50, 2)]);
    let fit = run(&inventory, &demo(2, 8, 20), Provider::V0_2);
    let found: Vec<_> = rules(&fit).into_iter().filter(|(rule, _)| rule.starts_with("plan-memory")).collect();
    assert_eq!(found, [("plan-memory-promised", false)]);
}

#[test]
fn existing_machine_is_counted_once() {
    let mut inventory = cluster(&[20, 10]);
    inventory.nodes[0].vms = Seen::Known(vec![vm(101, "demo-control-planes-new-1", 8, 6)]);
    let mut members = demo(2, 8, 20);
    members[0].state = State::Exists("pve1".into());
    let fit = run(&inventory, &members, Provider::V0_2);
    assert_eq!(nodes(&fit), ["pve1", "pve2"]);
    // What it was given and has not used yet, and not once more what it uses.
    assert_eq!((fit.nodes[0].added / GIB, fit.nodes[0].promised, fit.nodes[0].machines), (2, 0, 1));
    assert_eq!(fit.nodes[1].added / GIB, 8);
}

#[test]
fn disks_use_pool_space() {
    // 200 GiB left on each local-lvm, 1000 GiB on the one pool of all.
    let inventory = cluster(&[10]);
    let local = run(&inventory, &demo(3, 4, 70), Provider::V0_2);
    assert_eq!(rules(&local), [("plan-disk", true), ("plan-control-planes-together", false)]);
    assert_eq!(
        local.findings[0].message,
        "`local-lvm` on pve1 has 200.0 GiB left for 210.0 GiB: it fills up as the machines write"
    );
    let class = machine("cp", 4, 300, "name == \"vm_ssd\"");
    let shared = run(&cluster(&[10, 10, 10]), &members("demo-workers", 3, &class), Provider::V0_2);
    assert_eq!(rules(&shared)[0], ("plan-disk-nearly-full", false));
    assert!(
        shared.findings[0].message.starts_with("`vm_ssd` is left with 100.0 GiB of 2.0 TiB"),
        "{:?}",
        shared.findings
    );
    assert!(shared.fits(), "one pool, counted once");
}

#[test]
fn failing_selectors_are_reported() {
    let mut inventory = cluster(&[10]);
    let storages = vec![
        storage("pve1", "local", "dir", "iso", 80, false),
        storage("pve1", "nfs", "nfs", "backup,iso", 80, true),
        Storage { active: false, ..storage("pve1", "gone", "nfs", "images", 0, true) },
        storage("pve1", "a", "lvm", "images", 80, false),
        storage("pve1", "b", "lvm", "images", 80, false),
    ];
    inventory.nodes[0].storages = Seen::Known(storages);
    for (selector, rule, error) in [
        ("name == \"none\"", "plan-selector-none", true),
        ("name = 1", "plan-selector", true),
        ("name == \"nfs\"", "plan-storage-content", true),
        ("name == \"gone\"", "plan-storage-state", true),
        ("storageType == \"lvm\"", "plan-selector-ambiguous", false),
    ] {
        let members = members("demo-workers", 1, &machine("w", 4, 20, selector));
        let fit = run(&inventory, &members, Provider::V0_2);
        let found: Vec<_> = rules(&fit).into_iter().filter(|(rule, _)| *rule != "plan-iso-several").collect();
        let found: Vec<_> = found.into_iter().filter(|(rule, _)| *rule != "plan-disk").collect();
        assert_eq!(found, [(rule, error)], "{selector}: {:?}", fit.findings);
        assert!(rules(&fit).contains(&("plan-iso-several", false)));
    }
}

#[test]
fn missing_node_resources_are_reported() {
    let mut inventory = cluster(&[10]);
    inventory.nodes[0].storages = Seen::Known(vec![storage("pve1", "local-lvm", "lvmthin", "images", 200, false)]);
    let mut class = machine("w", 4, 20, "true");
    class.vcpus = 17;
    class.networks[0].bridge = "vmbr9".into();
    let fit = run(&inventory, &members("demo-workers", 1, &class), Provider::V0_2);
    assert_eq!(rules(&fit), [("plan-bridge", true), ("plan-cpu", true), ("plan-iso-missing", true)]);
    class.node = Some("pve7".into());
    let fit = run(&inventory, &members("demo-workers", 1, &class), Provider::V0_2);
    assert_eq!(rules(&fit), [("plan-no-node", true)]);
    assert_eq!(nodes(&fit), ["-"]);
    let mut full = cluster(&[10]);
    full.nodes[0].storages = Seen::Known(vec![
        storage("pve1", "local-lvm", "lvmthin", "images", 200, false),
        Storage { available: GIB / 4, ..storage("pve1", "local", "dir", "iso", 80, false) },
    ]);
    assert_eq!(rules(&run(&full, &demo(1, 4, 20), Provider::V0_2)), [("plan-iso-space", true)]);
}

#[test]
fn invisible_objects_are_unknown() {
    let mut inventory = cluster(&[10, 10]);
    for node in &mut inventory.nodes {
        node.figures = Seen::Unknown("the login lacks Sys.Audit".into());
        node.storages = Seen::Unknown("refused".into());
    }
    let fit = run(&inventory, &demo(1, 8, 20), Provider::V0_2);
    let unseen = ("plan-unseen", false);
    assert_eq!(rules(&fit), [unseen, ("plan-node-by-chance", false), unseen]);
    assert_eq!(nodes(&fit), ["pve1"]);
}

#[test]
fn node_failure_is_simulated() {
    let inventory = cluster(&[40, 40, 40]);
    let fit = run(&inventory, &members("demo-workers", 3, &machine("w", 20, 20, "name == \"vm_ssd\"")), Provider::V0_2);
    assert!(fit.fits());
    assert_eq!(rules(&fit), [("plan-loss", false), ("plan-node-by-chance", false)]);
    assert_eq!(fit.losses[0].machines, 1);
    assert!(fit.losses[0].problems[0].contains("16.0 GiB too little"), "{:?}", fit.losses[0]);
    let mut pinned = machine("w", 4, 20, "name == \"vm_ssd\"");
    pinned.node = Some("pve2".into());
    let fit = run(&inventory, &members("demo-workers", 1, &pinned), Provider::V0_2);
    assert!(fit.losses[1].problems[0].contains("specified node \"pve2\" is not online"));
    assert!(fit.losses[0].problems.is_empty() && fit.losses[2].problems.is_empty());
}

#[test]
fn thick_pool_shrinks_with_every_disk() {
    let mut inventory = cluster(&[10]);
    inventory.nodes[0].storages = Seen::Known(vec![
        storage("pve1", "local", "dir", "iso", 80, false),
        storage("pve1", "thick", "lvm", "images", 50, false),
    ]);
    let enough = |_: &str, storage: &Storage| Ok(storage.available > 30 * GIB && storage.takes_images());
    let fit = plan(&inventory, &demo(2, 4, 25), &BTreeSet::new(), Provider::V0_2, &enough);
    let found = [("plan-selector-none", true), ("plan-control-planes-together", false)];
    assert_eq!(rules(&fit), found, "25 of 50 GiB are gone when the second is placed");
}

#[test]
fn plan_handles_empty_input() {
    let fit = run(&cluster(&[10]), &[], Provider::V0_2);
    assert!(fit.fits() && fit.placements.is_empty() && fit.losses.is_empty() && fit.pools.is_empty());
    let fit = run(&cluster(&[]), &demo(1, 4, 20), Provider::V0_2);
    assert_eq!(rules(&fit), [("plan-no-node", true)]);
}

#[test]
fn sizes_are_printed_with_units() {
    for (count, words) in [(0, "0.0 GiB"), (512 << 20, "512 MiB"), (3 * GIB / 2, "1.5 GiB"), (2048 * GIB, "2.0 TiB")] {
        assert_eq!(bytes(count), words);
    }
}

#[test]
fn random_placement_is_reported() {
    // Two of three are alike: once for the set, not for each machine.
    let fit = run(&cluster(&[10, 10, 30]), &demo(3, 8, 20), Provider::V0_2);
    let by_chance: Vec<_> = fit.findings.iter().filter(|finding| finding.rule == "plan-node-by-chance").collect();
    assert_eq!(by_chance.len(), 1, "{:?}", fit.findings);
    assert!(by_chance[0].message.starts_with("pve1 and pve2 are equal to the provider"), "{}", by_chance[0].message);
    assert!(fit.fits());
    // One machine stands on the emptiest node. Placed just now, it sends the next one elsewhere.
    let mut all = demo(2, 8, 20);
    all[0].state = State::Exists("pve1".into());
    let fit = run(&cluster(&[10, 20, 30]), &all, Provider::V0_2);
    let said = fit.findings.iter().find(|finding| finding.rule == "plan-node-by-memory").map(|f| f.message.as_str());
    assert!(said.is_some_and(|said| said.contains("goes to pve1, or to pve2 if those that stand")), "{said:?}");
    // The first releases remember nothing.
    assert!(
        !rules(&run(&cluster(&[10, 20, 30]), &all, Provider::V0_1))
            .iter()
            .any(|(rule, _)| *rule == "plan-node-by-memory")
    );
}

fn offline(inventory: &mut Inventory, name: &str) {
    let node = inventory.nodes.iter_mut().find(|node| node.name == name).unwrap();
    *node = Node {
        name: name.into(),
        status: "offline".into(),
        figures: Seen::Unknown("the node is offline".into()),
        storages: Seen::Unknown("the node is offline".into()),
        bridges: Seen::Unknown("the node is offline".into()),
        vms: Seen::Unknown("the node is offline".into()),
    };
}

fn fix_of(fit: &Fit, rule: &str) -> String {
    let finding = fit.findings.iter().find(|finding| finding.rule == rule);
    finding.unwrap_or_else(|| panic!("{rule}: {:?}", fit.findings)).fix.clone()
}

#[test]
fn advice_for_shared_control_planes_depends_on_the_nodes() {
    const RULE: &str = "plan-control-planes-together";
    // bpg/terraform-provider-proxmox#692: one of three nodes is offline.
    let mut two = cluster(&[10, 20, 30]);
    offline(&mut two, "pve3");
    let fix = fix_of(&run(&two, &demo(3, 4, 20), Provider::V0_2), RULE);
    assert_eq!(fix, "bring pve3 back before the sync: no rule can spread 3 control planes over 2 online nodes");
    let fix = fix_of(&run(&cluster(&[10, 20]), &demo(3, 4, 20), Provider::V0_2), RULE);
    assert_eq!(fix, "add 1 node before the sync: no rule can spread 3 control planes over 2 online nodes");
    offline(&mut two, "pve2");
    let fix = fix_of(&run(&two, &demo(5, 4, 20), Provider::V0_2), RULE);
    assert!(fix.starts_with("bring pve2 and pve3 back and add 2 nodes before the sync"), "{fix}");
    // A single node is warned of as well.
    let fit = run(&cluster(&[10]), &demo(3, 4, 20), Provider::V0_2);
    assert_eq!(rules(&fit), [(RULE, false)], "{:?}", fit.findings);
    assert!(fix_of(&fit, RULE).starts_with("add 2 nodes before the sync"), "{:?}", fit.findings);
    assert!(run(&cluster(&[10]), &demo(1, 4, 20), Provider::V0_2).findings.is_empty(), "one control plane is alone");
    // Enough nodes: the class, or the provider, is what puts them together.
    let three = cluster(&[10, 20, 30]);
    let with = |change: fn(&mut Machine)| {
        let mut class = machine("cp", 4, 20, "name == \"local-lvm\"");
        change(&mut class);
        fix_of(&run(&three, &members("demo-control-planes", 3, &class), Provider::V0_2), RULE)
    };
    assert_eq!(
        with(|class| class.node = Some("pve2".into())),
        "the class `cp` pins all of them to pve2: remove its `node:`"
    );
    assert_eq!(with(|class| class.strategy = Strategy::Binpack), "set `placement_strategy: spread` in the class `cp`");
    let mut stand = demo(3, 4, 20);
    stand.iter_mut().for_each(|member| member.state = State::Exists("pve1".into()));
    let fix = fix_of(&run(&three, &stand, Provider::V0_2), RULE);
    assert!(fix.starts_with("a machine that exists stays on its node"), "{fix}");
    let fix = fix_of(&run(&three, &demo(3, 4, 20), Provider::V0_1), RULE);
    assert!(fix.contains("provider v0.2.0"), "{fix}");
}

#[test]
fn advice_for_an_offline_node_depends_on_the_provider() {
    let lost = |provider, pinned: Option<&str>| {
        let mut class = machine("w", 4, 20, "name == \"vm_ssd\"");
        class.node = pinned.map(str::to_owned);
        let fit = run(&cluster(&[10, 20, 30]), &members("demo-workers", 1, &class), provider);
        let message =
            fit.findings.iter().find(|finding| finding.rule == "plan-loss").map(|finding| finding.message.clone());
        message.map(|message| (message, fix_of(&fit, "plan-loss")))
    };
    let (message, fix) = lost(Provider::Untagged, None).unwrap();
    assert!(message.starts_with("without pve1, its 1 machine cannot be recreated: "), "{message}");
    assert_eq!(fix, "run provider v0.1.0 or later, which skips offline nodes; or a class for each node with `node:`");
    assert_eq!(lost(Provider::V0_1, None), None, "there is room on the others");
    let (_, fix) = lost(Provider::V0_2, Some("pve3")).unwrap();
    assert_eq!(fix, "remove `node:` from the class `w` if its machines may move");
    // The same node is offline already.
    let mut inventory = cluster(&[10, 20, 30]);
    offline(&mut inventory, "pve2");
    let none = |provider, pinned: Option<&str>| {
        let mut class = machine("w", 4, 20, "name == \"vm_ssd\"");
        class.node = pinned.map(str::to_owned);
        let fit = run(&inventory, &members("demo-workers", 1, &class), provider);
        (!fit.fits()).then(|| fix_of(&fit, "plan-no-node"))
    };
    assert!(none(Provider::Untagged, None).unwrap().starts_with("run provider v0.1.0 or later"));
    assert_eq!(none(Provider::V0_1, None), None);
    let fix = none(Provider::V0_1, Some("pve2")).unwrap();
    assert_eq!(fix, "bring pve2 back, or change `node:` in the class (online: pve1, pve3)");
    assert_eq!(none(Provider::V0_1, Some("pve9")).unwrap(), "change `node:` in the class (online: pve1, pve3)");
}

#[test]
fn advice_names_what_this_proxmox_has() {
    // plugin case: a token without rights sees no bridge and no storage, and the fix listed nothing.
    let mut blind = cluster(&[10]);
    (blind.nodes[0].storages, blind.nodes[0].bridges) = (Seen::Known(vec![]), Seen::Known(vec![]));
    let fit = run(&blind, &demo(1, 4, 20), Provider::V0_2);
    for rule in ["plan-bridge", "plan-selector-none", "plan-iso-missing"] {
        let fix = fix_of(&fit, rule);
        assert!(fix.starts_with("pve1 shows this login no ") && fix.contains("proxmox-audit"), "{rule}: {fix}");
    }
    let mut inventory = cluster(&[10, 20]);
    inventory.nodes[0].storages = Seen::Known(vec![
        storage("pve1", "local-lvm", "lvmthin", "images", 200, false),
        storage("pve1", "tank-files", "nfs", "backup", 200, true),
    ]);
    inventory.nodes[1].bridges = Seen::Known(vec!["vmbr7".into()]);
    let mut class = machine("w", 4, 20, "name == \"local-lvm\"");
    (class.node, class.vcpus, class.networks[0].bridge) = (Some("pve1".into()), 99, "vmbr7".into());
    let fit = run(&inventory, &members("demo-workers", 1, &class), Provider::V0_2);
    assert_eq!(fix_of(&fit, "plan-iso-missing"), "`pvesm set tank-files --content backup,iso` on any node");
    assert!(fix_of(&fit, "plan-bridge").starts_with("pve1 has vmbr0; `vmbr7` exists on pve2; "));
    assert_eq!(fix_of(&fit, "plan-cpu"), "give it fewer cores or sockets: no node has so many threads");
}

/// The fastest of three runs over `sets` machine sets of one machine each, half of which exist.
fn timed(sets: usize) -> std::time::Duration {
    let mut inventory = cluster(&[10, 10, 10]);
    let class = machine("w", 4, 20, "name == \"vm_ssd\"");
    let mut all = Vec::new();
    for set in 0..sets {
        let mut one = members(&format!("c{set}-control-planes"), 1, &class);
        one[0].cluster = format!("c{set}");
        if set % 2 == 0 {
            one[0].state = State::Exists("pve1".into());
        }
        all.extend(one);
    }
    let exists = all.iter().filter(|member| matches!(member.state, State::Exists(_))).enumerate();
    let vm = |(at, member): (usize, &Member)| Vm {
        id: 100 + at as u64,
        name: member.name.clone(),
        running: true,
        memory: 1,
        memory_used: 1,
        tags: vec![],
        disks: vec![],
    };
    inventory.nodes[0].vms = Seen::Known(exists.map(vm).collect());
    let always = |_: &str, storage: &Storage| Ok(storage.takes_images());
    let once = || {
        let start = std::time::Instant::now();
        let fit = plan(&inventory, &all, &BTreeSet::new(), Provider::V0_2, &always);
        assert_eq!(fit.placements.len(), sets);
        start.elapsed()
    };
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn plan_time_grows_linearly_with_the_number_of_sets() {
    // 32 times the work takes about 32 times as long. With one walk over all machines for each machine it took more than 100
    // times as long. A host that is busy with something else gets two more tries.
    let ratio = || timed(32_000).as_secs_f64() / timed(1000).as_secs_f64();
    assert!((0..3).any(|_| ratio() < 96.0), "more than 96 times as long for 32 times the machine sets");
}

#[test]
fn room_is_what_the_kind_of_storage_needs() {
    let by_name = |_: &str, storage: &Storage| Ok(storage.name == "fast");
    let found = |kind: &str, free: [u64; 2], iso: u64| {
        let nodes = [("pve1", free[0]), ("pve2", free[1])].map(|(name, free)| Node {
            storages: Seen::Known(vec![
                storage(name, "fast", kind, "images", free, false),
                storage(name, "local", "dir", "iso", iso, false),
            ]),
            ..node(name, 0)
        });
        room::shortages(&nodes, &[machine("web", 1, 40, "by_name")], &by_name)
    };
    assert_eq!(found("lvm", [40, 50], 1), []);
    assert_eq!(found("lvmthin", [5, 50], 1), []);
    for (kind, free, everywhere) in [("lvm", [39, 50], false), ("lvmthin", [0, 4], true), ("rbd", [0, 0], true)] {
        let all = found(kind, free, 1);
        assert_eq!((all.len(), all[0].everywhere), (1, everywhere), "{all:?}");
        assert!(all[0].words.ends_with("for the 40.0 GiB of class `web`"), "{all:?}");
    }
    assert_eq!(found("lvm", [40, 40], 0)[0].words, "local on pve1, pve2 has 0.0 GiB free, for an image of Talos");
    let full = |content| room::is_full(&storage("pve1", "x", "dir", content, 0, false));
    assert_eq!(["iso", "images,rootdir", "vztmpl"].map(full), [true, true, false]);
}

#[test]
fn rooms_of_absurd_inventories_do_not_overflow() {
    let room = NodeRoom {
        name: "pve1".into(),
        online: true,
        total: u64::MAX,
        used: u64::MAX,
        freed: 0,
        added: 1,
        promised: 0,
        cpus: 1,
        vcpus: 1,
        machines: 1,
        control_planes: 1,
    };
    assert_eq!(room.after(), u64::MAX);
}
