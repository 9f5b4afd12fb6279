//! `proxmox-inventory`: the nodes with their free resources, their storages and bridges, and where ISO images are stored.
//!
//! 1. Finds the provider's own login; reads the version and the nodes of Proxmox.
//! 2. Reads the storages, bridges and guests of every online node, in parallel.
//! 3. Prints the inventory, and saves it to a file if requested.

use std::path::Path;

use crate::cli::ProxmoxInventory;
use crate::flow::{project_files, provider, proxmox};
use crate::prelude::*;
use check::capacity::format_bytes;
use domain::secret::Secret;
use domain::status::proxmox::{Inventory, Node, Storage};
use runtime::files;
use runtime::ui::{bar, table};

pub fn run(args: &ProxmoxInventory, cx: &Cx) -> anyhow::Result<Outcome> {
    match args.save {
        Some(_) => read_one(args, &cx.for_single_provider()?),
        None => provider::for_each(cx, |cx| read_one(args, cx)),
    }
}

/// Shows the Proxmox of one provider.
fn read_one(args: &ProxmoxInventory, cx: &Cx) -> anyhow::Result<Outcome> {
    let inventory = proxmox::observe(cx, &proxmox::login(cx)?)?;
    show(cx, &inventory);
    let warnings = proxmox::warnings(&inventory);
    for warning in &warnings {
        cx.ui.note("inventory", warning.as_str(), Status::Warning, "");
    }
    let save = args.save.as_deref().map(|file| save(cx, file, &inventory)).transpose()?;
    let mut data = inventory.document().map_err(|why| Failure::new(Code::Failed, why))?;
    if !args.everything.all {
        // The storages are listed below, and the number of VMs is enough.
        for node in data["nodes"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            node.remove("storages");
            let vms = node.get("vms").and_then(|vms| vms["known"].as_array()).map(Vec::len);
            vms.map(|vms| node.insert("vms".to_owned(), json!(vms)));
        }
    }
    data["warnings"] = json!(warnings);
    let iso = |node: &Node| json!(node.iso_storages().iter().map(|storage| &storage.name).collect::<Vec<_>>());
    data["iso"] =
        inventory.nodes.iter().map(|node| (node.name.clone(), iso(node))).collect::<serde_json::Map<_, _>>().into();
    // The command line names the file, which is consent enough.
    Plan::from_iter(save).carry_out_unasked(cx, &data)?;
    Ok(Outcome::done(summary(&inventory)).with(data).next("cargo xtask cluster-plan"))
}

/// Step 3: the change that writes the file.
///
/// # Errors
/// Fails with [`Code::Usage`] for `-`, which is not meant as a file name, or with [`Code::Conflict`] if it is another file.
fn save<'a>(cx: &Cx, file: &Path, inventory: &Inventory) -> anyhow::Result<Change<'a>> {
    let shown = file.display().to_string();
    if shown == "-" {
        return Err(Failure::new(Code::Usage, "--save does not write to standard output")
            .cause("`-` would become the name of a file")
            .hint("--json --all prints the inventory on stdout, as `data` of its document; to write a file with that name, give ./-")
            .next("cargo xtask proxmox-inventory --json --all")
            .into());
    }
    let verb = project_files::check_output(cx, file, "an inventory", |text| Inventory::parse(text).is_ok())?;
    let path = std::path::absolute(file)?;
    let document = inventory.document().map_err(|why| Failure::new(Code::Failed, why))?;
    let contents = Secret::plain(serde_json::to_string_pretty(&document)? + "\n");
    let effect = format!(
        "the inventory of {}, {}",
        count(inventory.nodes.len(), "node"),
        count(inventory.storages().count(), "storage")
    );
    Ok(project_files::write(verb, (path, shown), (contents, files::SHARED), effect, "remove the file"))
}

fn summary(inventory: &Inventory) -> String {
    let online = inventory.nodes.iter().filter(|node| node.is_online()).count();
    let figures: Vec<_> = inventory.nodes.iter().filter_map(|node| node.figures.known()).collect();
    let total: u64 = figures.iter().map(|figures| figures.memory_total).sum();
    let free: u64 = figures.iter().map(|figures| figures.memory_total.saturating_sub(figures.memory_used)).sum();
    let memory = if total == 0 {
        "memory unknown".to_owned()
    } else {
        format!("{} of {} memory free", format_bytes(free), format_bytes(total))
    };
    format!("{online} of {} online, {memory}", count(inventory.nodes.len(), "node"))
}

fn show(cx: &Cx, inventory: &Inventory) {
    let mut text =
        table(&["NODE", "STATE", "CPU", "MEMORY", "VMS", "ISO IMAGES"], inventory.nodes.iter().map(node_row));
    let rows = storage_rows(inventory);
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["STORAGE", "TYPE", "ON", "TAKES", "FREE"], &rows));
    }
    let rows = bridge_rows(inventory);
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["BRIDGE", "ON"], &rows));
    }
    cx.ui.print_states(&text);
}

fn node_row(node: &Node) -> Vec<String> {
    let iso: Vec<&str> = node.iso_storages().iter().map(|storage| storage.name.as_str()).collect();
    let iso = match (node.storages.known(), iso.as_slice()) {
        (None, _) => "?".to_owned(),
        (Some(_), []) => "none".to_owned(),
        (Some(_), names) => names.join(" or "),
    };
    let vms = node.vms.known().map_or("?".to_owned(), |vms| vms.len().to_string());
    let (cpu, memory) = match node.figures.known() {
        Some(figures) => {
            let used = figures.memory_used as f64 / figures.memory_total as f64;
            let free = figures.memory_total.saturating_sub(figures.memory_used);
            (
                format!("{} {:>3.0} % of {}", bar(8, figures.cpu_load, 0.0), figures.cpu_load * 100.0, figures.cpus),
                format!("{} {} of {} free", bar(16, used, 0.0), format_bytes(free), format_bytes(figures.memory_total)),
            )
        }
        None => ("?".to_owned(), "?".to_owned()),
    };
    vec![node.name.clone(), node.status.clone(), cpu, memory, vms, iso]
}

/// Returns one row for each shared storage, with its nodes, and one for each local storage, which differ in space.
fn storage_rows(inventory: &Inventory) -> Vec<Vec<String>> {
    let mut shown: Vec<(&Storage, Vec<&str>)> = Vec::new();
    for storage in inventory.storages() {
        let same = |other: &Storage| {
            storage.shared && other.shared && other.name == storage.name && is_on(other) == is_on(storage)
        };
        match shown.iter_mut().find(|(other, _)| same(other)) {
            Some((_, nodes)) => nodes.push(&storage.node),
            None => shown.push((storage, vec![&storage.node])),
        }
    }
    shown.sort_by(|(a, _), (b, _)| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    let row = |(storage, nodes): &(&Storage, Vec<&str>)| {
        let space = if is_on(storage) {
            let used = storage.total.saturating_sub(storage.available) as f64 / storage.total.max(1) as f64;
            format!("{} {} of {}", bar(12, used, 0.0), format_bytes(storage.available), format_bytes(storage.total))
        } else {
            if storage.enabled { "not reachable".to_owned() } else { "disabled".to_owned() }
        };
        let shared = if storage.shared { " (shared)" } else { "" };
        let places = node_names(nodes, inventory);
        vec![storage.name.clone(), storage.kind.clone(), format!("{places}{shared}"), storage.content.join(", "), space]
    };
    shown.iter().map(row).collect()
}

fn is_on(storage: &Storage) -> bool {
    storage.enabled && storage.active
}

fn bridge_rows(inventory: &Inventory) -> Vec<Vec<String>> {
    let mut bridges: Vec<(&str, Vec<&str>)> = Vec::new();
    for node in &inventory.nodes {
        for bridge in node.bridges.known().into_iter().flatten() {
            match bridges.iter_mut().find(|(name, _)| name == bridge) {
                Some((_, nodes)) => nodes.push(&node.name),
                None => bridges.push((bridge, vec![&node.name])),
            }
        }
    }
    bridges.sort();
    bridges.iter().map(|(name, nodes)| vec![(*name).to_owned(), node_names(nodes, inventory)]).collect()
}

/// Returns `all nodes`, or their names.
fn node_names(nodes: &[&str], inventory: &Inventory) -> String {
    let online = inventory.nodes.iter().filter(|node| node.is_online()).count();
    if nodes.len() == online && online > 1 { "all nodes".to_owned() } else { nodes.join(", ") }
}
