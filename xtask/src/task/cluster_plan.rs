//! `cluster-plan [NAME…|--all]`: where the machines of clusters would go, what does not fit, and what the loss of a node
//! would do. Changes nothing.
//!
//! 1. Read the templates and their classes.
//! 2. See what there is: Proxmox now, or as it was saved; the machines that Omni asks for already.
//! 3. Place what does not exist yet by the provider's own rule; try the loss of each node.
//! 4. Exit 1 when it cannot fit, 3 when machines are to be created or removed, 0 when all is as the templates say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::json;

use super::cluster_sync;
use super::proxmox_inventory::{self, bar};
use crate::cli::ClusterPlan;
use crate::flow::{inputs, lookup};
use crate::outcome::Outcome;
use check::capacity::demand::{Demand, demand};
use check::capacity::machine::{self, Machine};
use check::capacity::{self, Fit, NodeRoom, Placement, PoolRoom, State, bytes, selector};
use domain::failure::{Code, Failure};
use domain::spec::Parsed;
use domain::spec::machine_class::{self, MachineClass};
use domain::spec::template::{self, ClusterTemplate};
use domain::status::omni::Resource;
use domain::status::proxmox::Seen;
use domain::words::count;
use runtime::cx::Cx;
use runtime::tool::omnictl::Omnictl;
use runtime::ui::{Done, Status, table};

pub fn run(args: &ClusterPlan, cx: &Cx) -> anyhow::Result<Outcome> {
    let all = args.all || args.name.is_empty();
    let files = inputs::chosen(&args.name, all, &cx.paths.clusters(), "cluster", |name| cx.paths.cluster(name))?;
    let files = if all { inputs::without_examples(cx, files, "cluster", "cluster-plan")? } else { files };
    let classes = lookup::local_classes(cx);
    let known = inputs::Known { local_classes: classes.as_deref(), ..inputs::Known::default() };
    inputs::templates(cx, &files, &known, &[])?;
    let templates: Vec<ClusterTemplate> = parsed(cx, &files)?;
    refuse_destroyed(cx, &templates)?;
    let classes = needed_classes(cx, &templates)?;
    let (provider, origin) = proxmox_inventory::provider_version(cx, args.provider_version)?;
    let inventory = match &args.inventory {
        Some(file) => cx.ui.step("inventory", format!("the inventory in `{}`", file.display()), || {
            let saved = proxmox_inventory::saved(file)?;
            let detail =
                format!("{} of {}, as of {}", count(saved.nodes.len(), "node"), saved.endpoint, saved.taken_at);
            Ok(Done::ok(saved, detail))
        })?,
        None => proxmox_inventory::observe(cx, &proxmox_inventory::login(cx)?)?,
    };
    let requests = requests(cx)?;
    let mut demand = demand(&templates, &classes, &inventory, &requests);
    let removed = removed_sets(cx, &templates, &requests)?;
    let removed_ids: BTreeSet<String> = removed.keys().cloned().collect();
    demand.surplus.extend(removed);
    for words in &demand.notes {
        cx.ui.note("demand", words.as_str(), Status::Warning, "");
    }
    let fit = capacity::plan(&inventory, &demand.members, &removed_ids, provider, &selector::selects);
    cx.ui.note(
        "place",
        format!("machines placed by the rule of provider {provider} ({origin})"),
        Status::Ok,
        counted(&fit, &demand),
    );
    show(cx, &fit, &demand);
    for finding in &fit.findings {
        cx.ui.say(&finding.to_string());
    }
    let data = json!({
        "clusters": templates.iter().map(|template| &template.name).collect::<Vec<_>>(),
        "provider_version": provider.to_string(),
        "inventory_of": inventory.taken_at,
        "machines": fit.placements,
        "surplus": demand.surplus,
        "nodes": fit.nodes,
        "storages": fit.pools,
        "losses": fit.losses,
        "findings": fit.findings,
    });
    verdict(&templates, &fit, &demand, data)
}

fn verdict(
    templates: &[ClusterTemplate],
    fit: &Fit,
    demand: &Demand,
    data: serde_json::Value,
) -> anyhow::Result<Outcome> {
    let what = match templates {
        [one] => format!("cluster `{}`", one.name),
        many => count(many.len(), "cluster"),
    };
    if !fit.fits() {
        let errors: Vec<&check::Finding> = fit.findings.iter().filter(|finding| finding.is_error()).collect();
        let cause: Vec<&str> = errors.iter().map(|finding| finding.message.as_str()).collect();
        return Err(Failure::new(Code::Failed, format!("{what} cannot fit"))
            .cause(cause.join("\n"))
            .hint(errors[0].fix.clone())
            .with(data)
            .into());
    }
    let new = fit.placements.iter().filter(|placement| !matches!(placement.state, State::Exists(_))).count();
    let gone: usize = demand.surplus.values().sum();
    if new == 0 && gone == 0 {
        let summary = match fit.placements.len() {
            1 => format!("{what}: its machine exists"),
            all => format!("{what}: all {all} machines exist"),
        };
        return Ok(Outcome::done(summary).with(data).next("cargo xtask cluster-status"));
    }
    let mut words = Vec::new();
    if new > 0 {
        let fit = if new == 1 { "it fits" } else { "they fit" };
        words.push(format!("{} to create, and {fit}", count(new, "machine")));
    }
    if gone > 0 {
        words.push(format!("{gone} to remove"));
    }
    // What Omni asks for already is not made by another sync.
    let to_sync = gone > 0 || fit.placements.iter().any(|placement| placement.state == State::New);
    let next = match templates {
        [one] if to_sync => format!("cargo xtask cluster-sync {}", one.name),
        [one] => format!("cargo xtask cluster-status {}", one.name),
        _ if !to_sync => "cargo xtask cluster-status".to_owned(),
        _ => "cargo xtask cluster-sync --all".to_owned(),
    };
    Ok(Outcome::pending(format!("{what}: {}", words.join(", "))).with(data).next(next))
}

/// A machine class of this project with what its machines ask of Proxmox.
pub struct Class {
    pub class: MachineClass,
    /// Its file is marked as an example that this repository ships.
    pub example: bool,
    pub machine: Parsed<Machine>,
}

impl Class {
    /// The provider that makes its machines.
    pub fn provider_id(&self) -> Option<&str> {
        self.class.auto_provision.as_ref().map(|provision| provision.provider_id.as_str())
    }
}

/// Every class in `machine-classes/` that can be made out, whole or not: who acts on one looks at its findings.
///
/// # Errors
/// When a file cannot be read.
pub fn classes(cx: &Cx) -> Result<Vec<Class>, Failure> {
    let mut found = Vec::new();
    for file in inputs::in_dir(&cx.paths.machine_classes()) {
        let bytes = cx.read(&file, "")?;
        let parsed = machine_class::parse(&cx.paths.show(&file), &bytes);
        let classes = parsed.value.unwrap_or_default().into_iter();
        let example = inputs::is_example(&bytes);
        found.extend(classes.map(|class| Class { machine: machine::machine(&class), class, example }));
    }
    Ok(found)
}

/// Every template in `clusters/` that can be made out, without the shipped examples that were never synced.
///
/// # Errors
/// When a file cannot be read.
pub fn templates_in_use(cx: &Cx) -> Result<Vec<ClusterTemplate>, Failure> {
    let files = inputs::in_dir(&cx.paths.clusters());
    let (examples, own): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(|file| inputs::example_in(file));
    let synced = cx.settings.state.list("clusters");
    let mut found = parsed(cx, &own)?;
    found.extend(parsed(cx, &examples)?.into_iter().filter(|template| synced.contains(&template.name)));
    Ok(found)
}

fn parsed(cx: &Cx, files: &[PathBuf]) -> Result<Vec<ClusterTemplate>, Failure> {
    let mut found = Vec::new();
    for file in files {
        let bytes = cx.read(file, "write it with `cargo xtask cluster-create`")?;
        found.extend(template::parse(&cx.paths.show(file), &bytes).value);
    }
    Ok(found)
}

/// The machines of the classes that the templates use; `None` for a class that takes machines by their labels.
///
/// # Errors
/// [`Code::NotFound`] for a class that no file describes, [`Code::Invalid`] for one that says too little or wrong.
fn needed_classes(cx: &Cx, templates: &[ClusterTemplate]) -> Result<BTreeMap<String, Option<Machine>>, Failure> {
    let known = classes(cx)?;
    // The first of two of one name counts, as everywhere.
    let by_name: BTreeMap<&str, &Class> = known.iter().rev().map(|class| (class.class.id.as_str(), class)).collect();
    let id = cx.settings.provider_id(None).value;
    let mut needed = BTreeMap::new();
    for (template, set) in templates.iter().flat_map(|template| template.sets.iter().map(move |set| (template, set))) {
        let Some(wanted) = &set.class else { continue };
        if needed.contains_key(&wanted.name) {
            continue;
        }
        let Some(class) = by_name.get(wanted.name.as_str()) else {
            let names = by_name.keys().copied();
            let near = domain::nearest::nearest(&wanted.name, names);
            let place = wanted.name_at.in_file(&template.place.file);
            let failure = Failure::new(Code::NotFound, format!("{place}: there is no machine class `{}`", wanted.name))
                .cause("no file in machine-classes/ describes it")
                .next(format!("cargo xtask machineclass-create {}", wanted.name));
            return Err(near.map_or(failure.clone(), |near| failure.hint(format!("did you mean `{near}`?"))));
        };
        let bad: Vec<_> = class.machine.findings.iter().filter(|finding| finding.is_error()).collect();
        if let Some(first) = bad.first() {
            return Err(Failure::new(Code::Invalid, format!("the machine class `{}` cannot be placed", wanted.name))
                .cause(format!("{}: {}", first.place, first.message))
                .hint(first.fix.clone())
                .with(json!({ "findings": bad })));
        }
        let ours = class.provider_id() == Some(id.as_str());
        needed.insert(wanted.name.clone(), class.machine.value.clone().filter(|_| ours));
    }
    Ok(needed)
}

/// The machine requests that Omni has, or why they are not known.
///
/// # Errors
/// Only when the task is interrupted.
fn requests(cx: &Cx) -> anyhow::Result<Seen<Vec<Resource>>> {
    let found = Omnictl::find(cx).and_then(|omnictl| omnictl.list("machinerequests", None));
    let title = "the machines that Omni asks for";
    Ok(match found {
        Ok(requests) => {
            cx.ui.note("requests", title, Status::Ok, requests.len().to_string());
            Seen::Known(requests)
        }
        Err(failure) if failure.code == Code::Interrupted => return Err(failure.into()),
        Err(failure) => {
            let detail = format!("not known, the tags of the VMs must do: {failure}");
            cx.ui.note("requests", title, Status::Skipped, detail);
            Seen::Unknown(failure.to_string())
        }
    })
}

/// The machine sets of these clusters that Omni has and no template names any more, with how many machines each has: a sync
/// destroys them. None where Omni cannot be asked.
///
/// # Errors
/// Only when the task is interrupted.
fn removed_sets(
    cx: &Cx,
    templates: &[ClusterTemplate],
    requests: &Seen<Vec<Resource>>,
) -> Result<BTreeMap<String, usize>, Failure> {
    let Some(requests) = requests.known() else { return Ok(BTreeMap::new()) };
    let sets = match Omnictl::find(cx).and_then(|omnictl| omnictl.list("machinesets", None)) {
        Err(failure) if failure.code == Code::Interrupted => return Err(failure),
        found => found.unwrap_or_default(),
    };
    let ids = |template: &ClusterTemplate| -> BTreeSet<String> {
        template.sets.iter().map(|set| set.id(&template.name)).collect()
    };
    let wanted: BTreeMap<&str, BTreeSet<String>> =
        templates.iter().map(|template| (template.name.as_str(), ids(template))).collect();
    let mut removed = BTreeMap::new();
    for set in &sets {
        let id = &set.metadata.id;
        let named = set.metadata.label("cluster").and_then(|cluster| wanted.get(cluster));
        if named.is_none_or(|named| named.contains(id)) {
            continue;
        }
        let of_set = |request: &&Resource| request.metadata.label("machine-request-set") == Some(id.as_str());
        let machines = requests.iter().filter(of_set).filter(|request| !request.metadata.tearing_down()).count();
        if machines > 0 {
            removed.insert(id.clone(), machines);
        }
    }
    Ok(removed)
}

/// A cluster that Omni destroys has no machines to plan; where Omni cannot be asked, that is not known.
fn refuse_destroyed(cx: &Cx, templates: &[ClusterTemplate]) -> Result<(), Failure> {
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    match Omnictl::find(cx).and_then(|omnictl| cluster_sync::refuse_destroyed(&omnictl, &names)) {
        Err(failure) if matches!(failure.code, Code::Conflict | Code::Interrupted) => Err(failure),
        _ => Ok(()),
    }
}

fn counted(fit: &Fit, demand: &Demand) -> String {
    let of = |wanted: fn(&State) -> bool| fit.placements.iter().filter(|placement| wanted(&placement.state)).count();
    let mut words = vec![
        format!("{} exist", of(|state| matches!(state, State::Exists(_)))),
        format!("{} to create", of(|state| !matches!(state, State::Exists(_)))),
    ];
    let gone: usize = demand.surplus.values().sum();
    if gone > 0 {
        words.push(format!("{gone} to remove"));
    }
    words.join(", ")
}

fn show(cx: &Cx, fit: &Fit, demand: &Demand) {
    let mut parts = Vec::new();
    if !fit.placements.is_empty() {
        let rows: Vec<Vec<String>> = fit.placements.iter().map(machine_row).collect();
        parts.push(table(&["MACHINE", "STATE", "NODE", "STORAGE", "MEMORY", "DISK"], &rows));
    }
    if !demand.surplus.is_empty() {
        let kept = |set: &str| fit.placements.iter().any(|placement| placement.set == set);
        let row = |(set, count): (&String, &usize)| match kept(set) {
            true => vec![set.clone(), format!("{count} fewer; Omni chooses which")],
            false => vec![set.clone(), format!("all {count}")],
        };
        parts.push(table(&["MACHINE SET", "TO REMOVE"], &demand.surplus.iter().map(row).collect::<Vec<_>>()));
    }
    let rows: Vec<Vec<String>> = fit.nodes.iter().map(node_row).collect();
    parts.push(table(&["NODE", "MEMORY  █ used ▒ to come", "BEFORE", "AFTER", "MACHINES", "CPUS ASKED"], &rows));
    if !fit.pools.is_empty() {
        let rows: Vec<Vec<String>> = fit.pools.iter().map(pool_row).collect();
        parts.push(table(&["STORAGE", "ON", "SPACE  █ used ▒ to come", "BEFORE", "AFTER"], &rows));
    }
    let losses: Vec<_> = fit.losses.iter().filter(|loss| loss.machines > 0).collect();
    if !losses.is_empty() {
        let row = |loss: &&capacity::NodeFailure| {
            let etcd = if loss.majority_lost.is_empty() {
                "keeps its majority".to_owned()
            } else {
                format!("lost in {}", loss.majority_lost.join(", "))
            };
            let elsewhere = match loss.problems.as_slice() {
                [] => "fit on the others".to_owned(),
                [one] => one.clone(),
                [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
            };
            vec![loss.node.clone(), loss.machines.to_string(), etcd, elsewhere]
        };
        parts.push(table(
            &["WITHOUT", "MACHINES LOST", "ETCD", "RECREATED"],
            &losses.iter().map(row).collect::<Vec<_>>(),
        ));
    }
    cx.ui.data(&parts.join("\n"));
}

fn machine_row(placement: &Placement) -> Vec<String> {
    let state = match &placement.state {
        State::Exists(_) => "exists",
        State::Requested => "requested",
        State::New => "new",
    };
    let storages: BTreeSet<&str> =
        placement.storages.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    let storages: Vec<&str> = storages.into_iter().collect();
    let none = || "–".to_owned();
    vec![
        placement.name.clone(),
        state.to_owned(),
        placement.node.clone().unwrap_or_else(none),
        if storages.is_empty() { none() } else { storages.join(", ") },
        bytes(placement.memory),
        bytes(placement.disk),
    ]
}

fn node_row(room: &NodeRoom) -> Vec<String> {
    let machines = match (room.machines, room.control_planes) {
        (0, _) => String::new(),
        (all, 0) => all.to_string(),
        (all, some) => format!("{all} ({})", count(some, "control plane")),
    };
    let cpus = if room.vcpus == 0 { String::new() } else { format!("{} of {}", room.vcpus, room.cpus) };
    if room.total == 0 {
        let why = if room.online { "not known" } else { "offline" };
        return vec![room.name.clone(), why.to_owned(), String::new(), String::new(), machines, cpus];
    }
    let part = |count: u64| count as f64 / room.total as f64;
    let percent = |count: u64| format!("{:.0} %", part(count) * 100.0);
    vec![
        room.name.clone(),
        bar(24, part(room.used.saturating_sub(room.freed)), part(room.added)),
        percent(room.used),
        format!("{} of {}", percent(room.after()), bytes(room.total)),
        machines,
        cpus,
    ]
}

fn pool_row(pool: &PoolRoom) -> Vec<String> {
    let total = pool.total.max(1) as f64;
    let used = pool.total.saturating_sub(pool.available);
    let on = if pool.node.is_empty() { "all nodes".to_owned() } else { pool.node.clone() };
    let after = pool.available.saturating_sub(pool.added);
    let short = pool.added.saturating_sub(pool.available);
    let left = if short > 0 { format!("{} too little", bytes(short)) } else { format!("{} free", bytes(after)) };
    vec![
        pool.name.clone(),
        on,
        bar(24, used as f64 / total, pool.added as f64 / total),
        format!("{} free", bytes(pool.available)),
        left,
    ]
}
