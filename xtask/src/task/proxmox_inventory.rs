//! `proxmox-inventory`: the nodes with what is free on them, their storages and bridges, and where ISO images go.
//!
//! 1. Find the provider's own login; ask Proxmox for its version and its nodes.
//! 2. Ask every node that is online for its storages, bridges and guests, side by side.
//! 3. Show it, and keep it in a file when asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::provider_verify;
use crate::cli::ProxmoxInventory;
use crate::flow::apply;
use crate::outcome::Outcome;
use check::capacity::bytes;
use check::capacity::provider::Provider;
use domain::clock::rfc3339;
use domain::failure::{Code, Failure, Missing};
use domain::plan::{Action, Plan};
use domain::secret::Secret;
use domain::spec::config::ProviderConfig;
use domain::status::proxmox as status;
use domain::status::proxmox::{Inventory, Node, Seen, Storage};
use domain::words::count;
use runtime::cx::Cx;
use runtime::files;
use runtime::parallel::{ALL, Job, run_all};
use runtime::settings::Origin;
use runtime::tool::proxmox::{self, Proxmox, Token};
use runtime::ui::{Check, Done, Status, table};

pub fn run(args: &ProxmoxInventory, cx: &Cx) -> anyhow::Result<Outcome> {
    let login = login(cx)?;
    let inventory = observe(cx, &login)?;
    show(cx, &inventory);
    let warnings = warnings(&inventory);
    for warning in &warnings {
        cx.ui.note("inventory", warning.as_str(), Status::Warning, "");
    }
    let plan = args.save.as_deref().map_or(Ok(Plan::default()), |file| save_plan(cx, file, &inventory))?;
    let mut data = inventory.document().map_err(|why| Failure::new(Code::Failed, why))?;
    data["warnings"] = json!(warnings);
    let iso = |node: &Node| json!(node.iso_storages().iter().map(|storage| &storage.name).collect::<Vec<_>>());
    data["iso"] =
        inventory.nodes.iter().map(|node| (node.name.clone(), iso(node))).collect::<serde_json::Map<_, _>>().into();
    if cx.dry_run && !plan.is_empty() {
        return Ok(apply::planned(cx, &plan).and(data));
    }
    // The file is named by the call itself: that is consent enough.
    apply::execute(cx, &plan.steps)?;
    Ok(Outcome::done(summary(&inventory)).with(data).next("cargo xtask cluster-plan"))
}

/// Proxmox as the provider logs in to it.
pub struct Login {
    pub proxmox: Proxmox,
    /// Where the login was found.
    pub origin: String,
}

/// The login in `docker/config.yaml`, which is the provider's own; without that file PROXMOX_VE_ENDPOINT with
/// PROXMOX_VE_API_TOKEN. Where both are there and differ, a step says which one counts.
///
/// # Errors
/// [`Code::MissingInput`] when there is neither; those of [`provider_verify::proxmox_of`].
pub fn login(cx: &Cx) -> Result<Login, Failure> {
    let path = cx.paths.config();
    if let Some(text) = files::read_text_if_there(&path)? {
        let shown = cx.paths.show(&path);
        let proxmox = provider_verify::proxmox_of(cx, &ProviderConfig::parse(&shown, &text)?)?;
        report_conflicts(cx, &proxmox);
        return Ok(Login { proxmox, origin: shown });
    }
    let ca_file = cx.settings.ca_file(None).map(|found| found.value);
    let token = cx.settings.secret("PROXMOX_VE_API_TOKEN");
    let endpoint = cx.settings.proxmox_endpoint(None);
    let missing =
        |name: &str, env: &str, secret| Missing { name: name.into(), flag: None, env: Some(env.into()), secret };
    let (Some(endpoint), Some(found)) = (&endpoint, &token) else {
        let absent = [
            (endpoint.is_none(), missing("the address of Proxmox", "PROXMOX_VE_ENDPOINT", false)),
            (token.is_none(), missing("the Proxmox API token", "PROXMOX_VE_API_TOKEN", true)),
        ];
        let absent = absent.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
        let cause = format!("there is no {}, and the environment does not say it either", cx.paths.show(&path));
        return Err(Failure::missing(absent).cause(cause).next("cargo xtask provider-setup"));
    };
    let token = Token::parse(found.value.expose(), &found.origin.to_string())?;
    let proxmox =
        Proxmox::new(endpoint.value.clone(), endpoint.origin.to_string(), proxmox::Login::Token(token), ca_file);
    Ok(Login { proxmox, origin: found.origin.to_string() })
}

/// What the environment and `docker/.env` say otherwise than `docker/config.yaml`, which counts.
pub fn conflicts(cx: &Cx, proxmox: &Proxmox) -> Vec<String> {
    let mut found = Vec::new();
    let said = |origin: &Origin| matches!(origin, Origin::Environment(_) | Origin::EnvFile(_));
    if let Some(other) =
        cx.settings.proxmox_endpoint(None).filter(|other| said(&other.origin) && other.value != proxmox.url)
    {
        found.push(format!("{} is {}, not {}", other.origin, other.value, proxmox.url));
    }
    if let Some(other) = cx.settings.secret("PROXMOX_VE_API_TOKEN") {
        let token = Token::parse(other.value.expose(), "").ok().map(proxmox::Login::Token);
        match token {
            Some(token) if token == proxmox.login => {}
            Some(token) if token.id() == proxmox.login.id() => {
                found.push(format!("{} has another secret for {}", other.origin, token.id()));
            }
            Some(token) => {
                found.push(format!("{} is for {}, not for {}", other.origin, token.id(), proxmox.login.id()))
            }
            None => found.push(format!("{} is not a token", other.origin)),
        }
    }
    found
}

/// A step that says which login counts where two differ.
pub fn report_conflicts(cx: &Cx, proxmox: &Proxmox) {
    let found = conflicts(cx, proxmox);
    if !found.is_empty() {
        let title = format!("{} counts, not the environment", cx.paths.show(&cx.paths.config()));
        cx.ui.note("login", title, Status::Warning, found.join("; "));
    }
}

/// The release of the provider that counts, and who says so: the flag, else the image in `docker/compose.yaml`, else the one
/// that this kit pins.
///
/// # Errors
/// When the compose file cannot be read.
pub fn provider_version(cx: &Cx, flag: Option<Provider>) -> Result<(Provider, &'static str), Failure> {
    if let Some(given) = flag {
        return Ok((given, "--provider-version"));
    }
    let compose = files::read_text_if_there(&cx.paths.compose())?;
    Ok(match compose.as_deref().and_then(Provider::of_compose) {
        Some(found) => (found, "docker/compose.yaml"),
        None => (Provider::V0_2, "the default"),
    })
}

/// Steps 1 and 2. What the login may not see is unknown in the result, with the reason.
///
/// # Errors
/// When Proxmox does not answer, refuses the login, or the task is interrupted.
pub fn observe(cx: &Cx, login: &Login) -> anyhow::Result<Inventory> {
    let proxmox = &login.proxmox;
    let version = cx.ui.step("proxmox", "Proxmox answers", || {
        let version = proxmox.version(cx)?;
        let detail = format!("{}, version {version}, as {} ({})", proxmox.url, proxmox.login.id(), login.origin);
        Ok(match provider_verify::by_password(&proxmox.login) {
            Some(advice) => Done::warning(version, format!("{detail}: {advice}")),
            None => Done::ok(version, detail),
        })
    })?;
    let nodes = cx.ui.step("nodes", "its nodes", || {
        let data = proxmox.get(cx, "asking Proxmox for its nodes", "/nodes")?;
        let nodes = status::nodes(&data).map_err(|why| Failure::new(Code::Failed, format!("/nodes: {why}")))?;
        let offline: Vec<String> = nodes.iter().filter(|node| !node.online()).map(|node| node.name.clone()).collect();
        let detail = format!("{} of {} online", nodes.len() - offline.len(), nodes.len());
        if offline.is_empty() {
            return Ok(Done::ok(nodes, detail));
        }
        Ok(Done::warning(nodes, format!("{detail}; not {}", offline.join(", "))))
    })?;
    let checks = nodes.into_iter().map(|node| {
        Check::new("node", format!("node {}", node.name), move || {
            let node = ask_node(cx, proxmox, node)?;
            let (blind, detail) = (blind(&node), seen(&node));
            Ok(if blind.is_empty() { Done::ok(node, detail) } else { Done::warning(node, blind) })
        })
    });
    let nodes = cx.ui.side_by_side("asking the nodes", checks.collect()).into_iter().collect::<Result<_, _>>()?;
    Ok(Inventory { taken_at: rfc3339(SystemTime::now()), endpoint: proxmox.url.clone(), version, nodes })
}

/// The same without a step, for a check of another task.
///
/// # Errors
/// As [`observe`].
pub fn observe_quietly(cx: &Cx, proxmox: &Proxmox) -> Result<Inventory, Failure> {
    let data = proxmox.get(cx, "asking Proxmox for its nodes", "/nodes")?;
    let nodes = status::nodes(&data).map_err(|why| Failure::new(Code::Failed, format!("/nodes: {why}")))?;
    let ask = |node| -> Job<'_, Result<Node, Failure>> { Box::new(move || ask_node(cx, proxmox, node)) };
    let nodes = run_all(nodes.into_iter().map(ask).collect(), ALL).into_iter().collect::<Result<_, _>>()?;
    let (taken_at, version) = (rfc3339(SystemTime::now()), String::new());
    Ok(Inventory { taken_at, endpoint: proxmox.url.clone(), version, nodes })
}

/// The nodes with their storages: from `GET /storage` and `GET /cluster/resources?type=storage` where those show them all,
/// else from a call a node.
///
/// # Errors
/// Only when the task is interrupted: what a node does not tell is unknown.
pub fn with_storages(
    cx: &Cx,
    proxmox: &Proxmox,
    nodes: Vec<Node>,
    config: &Value,
    resources: &Value,
) -> Result<Vec<Node>, Failure> {
    let mut known = status::storages_by_node(config, resources);
    let ask = |mut node: Node| -> Job<'_, Result<Node, Failure>> {
        let found = known.as_mut().map(|known| known.remove(&node.name).unwrap_or_default());
        Box::new(move || {
            if !node.online() {
                return Ok(node);
            }
            node.storages = match found {
                Some(found) => Seen::Known(found),
                None => {
                    let (purpose, path) =
                        (format!("asking {} for its storages", node.name), format!("/nodes/{}/storage", node.name));
                    understood(proxmox.get(cx, &purpose, &path), |data| status::storages(&node.name, data))?
                }
            };
            Ok(node)
        })
    };
    run_all(nodes.into_iter().map(ask).collect(), ALL).into_iter().collect()
}

/// Asks one node for what it has, all at once.
///
/// # Errors
/// Only when the task is interrupted: what a node does not tell is unknown.
fn ask_node(cx: &Cx, proxmox: &Proxmox, mut node: Node) -> Result<Node, Failure> {
    if !node.online() {
        return Ok(node);
    }
    let name = node.name.clone();
    let ask = |(what, path): (&'static str, &'static str)| -> Job<'_, Result<Value, Failure>> {
        let (purpose, path) = (format!("asking {name} for its {what}"), format!("/nodes/{name}/{path}"));
        Box::new(move || proxmox.get(cx, &purpose, &path))
    };
    let questions = [("storages", "storage"), ("bridges", "network?type=any_bridge"), ("guests", "qemu")];
    let mut answers = run_all(questions.into_iter().map(ask).collect(), ALL).into_iter();
    let mut next = || answers.next().unwrap_or(Ok(Value::Null));
    node.storages = understood(next(), |data| status::storages(&name, data))?;
    node.bridges = understood(next(), status::bridges)?;
    node.vms = understood(next(), status::vms)?;
    Ok(node)
}

fn understood<T>(
    answer: Result<Value, Failure>,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Seen<T>, Failure> {
    match answer {
        Ok(data) => Ok(read(&data).into()),
        Err(failure) if failure.code == Code::Interrupted => Err(failure),
        Err(failure) => Ok(Seen::Unknown(failure.to_string())),
    }
}

/// What could not be seen of a node that is online.
fn blind(node: &Node) -> String {
    if !node.online() {
        return format!("it is {}", node.status);
    }
    let parts = [
        ("figures", node.figures.why()),
        ("storages", node.storages.why()),
        ("bridges", node.bridges.why()),
        ("guests", node.vms.why()),
    ];
    let unseen = parts.iter().filter_map(|(part, why)| Some(format!("{part} not seen: {}", (*why)?)));
    unseen.collect::<Vec<_>>().join("; ")
}

fn seen(node: &Node) -> String {
    let count = |known: Option<usize>, one: &str| match known {
        Some(number) => count(number, one),
        None => format!("{one}s not seen"),
    };
    [
        count(node.storages.known().map(Vec::len), "storage"),
        count(node.bridges.known().map(Vec::len), "bridge"),
        count(node.vms.known().map(Vec::len), "VM"),
    ]
    .join(", ")
}

/// The file to write, if it does not hold this already.
///
/// # Errors
/// [`Code::Usage`] for `-`, which is a file name to nobody; [`Code::Conflict`] for a file that holds something else.
fn save_plan(cx: &Cx, file: &Path, inventory: &Inventory) -> anyhow::Result<Plan> {
    let shown = file.display().to_string();
    if shown == "-" {
        return Err(Failure::new(Code::Usage, "--save does not write to standard output")
            .cause("`-` would become the name of a file")
            .hint("--json prints the inventory on stdout, as `data` of its document; to write a file of that name give ./-")
            .next("cargo xtask proxmox-inventory --json")
            .into());
    }
    let verb = match files::read_text_if_there(file)? {
        Some(text) if Inventory::parse(&text).is_err() => {
            return Err(Failure::new(Code::Conflict, format!("`{shown}` exists and is not an inventory"))
                .hint("name another file, or remove this one")
                .into());
        }
        Some(_) => "update",
        None => "create",
    };
    let path = std::path::absolute(file)?;
    if !cx.dry_run {
        files::check_writable(&path)?;
    }
    let document = inventory.document().map_err(|why| Failure::new(Code::Failed, why))?;
    let contents = Secret::plain(serde_json::to_string_pretty(&document)? + "\n");
    let effect = format!(
        "the inventory of {}, {}",
        count(inventory.nodes.len(), "node"),
        count(inventory.storages().count(), "storage")
    );
    let mut plan = Plan::default();
    plan.push(verb, shown, effect, "remove the file", Action::Write { path, contents, mode: files::SHARED });
    Ok(plan)
}

/// Reads a saved inventory.
///
/// # Errors
/// [`Code::NotFound`] and [`Code::Invalid`] with the way to make one.
pub fn saved(file: &Path) -> Result<Inventory, Failure> {
    let shown = file.display();
    let command = format!("cargo xtask proxmox-inventory --save {shown}");
    let text = files::read_text_if_there(file)?
        .ok_or_else(|| Failure::new(Code::NotFound, format!("`{shown}` does not exist")).next(command.as_str()))?;
    Inventory::parse(&text).map_err(|why| {
        Failure::new(Code::Invalid, format!("`{shown}` is no inventory")).cause(why).next(command.as_str())
    })
}

/// What an operator should know before machines are made; what is the same on several nodes is said once.
pub fn warnings(inventory: &Inventory) -> Vec<String> {
    // The words before and after the nodes' names.
    let mut found: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for node in inventory.nodes.iter().filter(|node| node.online() && node.storages.known().is_some()) {
        let iso = node.iso_storages();
        let names: Vec<&str> = iso.iter().map(|storage| storage.name.as_str()).collect();
        let mut say =
            |before: String, after: &str| found.entry((before, after.to_owned())).or_default().push(&node.name);
        match names.as_slice() {
            [] => say(
                "no storage for ISO images is seen on ".into(),
                ": Talos cannot be downloaded there; give one the content `iso`, or let the login see it",
            ),
            [_] => {}
            many => say(
                format!("{} all take ISO images on ", many.join(" and ")),
                ": the provider takes any of them, each time anew; let its login see one alone",
            ),
        }
        let lost = |storage: &&Storage| storage.enabled && !storage.active;
        for storage in node.storages.known().into_iter().flatten().filter(lost) {
            say(format!("storage {} is enabled and not reachable on ", storage.name), "");
        }
    }
    found.into_iter().map(|((before, after), nodes)| format!("{before}{}{after}", nodes.join(", "))).collect()
}

fn summary(inventory: &Inventory) -> String {
    let online = inventory.nodes.iter().filter(|node| node.online()).count();
    let figures: Vec<_> = inventory.nodes.iter().filter_map(|node| node.figures.known()).collect();
    let total: u64 = figures.iter().map(|figures| figures.memory_total).sum();
    let free: u64 = figures.iter().map(|figures| figures.memory_total.saturating_sub(figures.memory_used)).sum();
    let memory = if total == 0 {
        "memory unknown".to_owned()
    } else {
        format!("{} of {} memory free", bytes(free), bytes(total))
    };
    format!("{online} of {} online, {memory}", count(inventory.nodes.len(), "node"))
}

fn show(cx: &Cx, inventory: &Inventory) {
    let rows: Vec<Vec<String>> = inventory.nodes.iter().map(node_row).collect();
    let mut text = table(&["NODE", "STATE", "CPU", "MEMORY", "VMS", "ISO IMAGES"], &rows);
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
    cx.ui.data(&text);
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
                format!("{} {} of {} free", bar(16, used, 0.0), bytes(free), bytes(figures.memory_total)),
            )
        }
        None => ("?".to_owned(), "?".to_owned()),
    };
    vec![node.name.clone(), node.status.clone(), cpu, memory, vms, iso]
}

/// A shared storage is one row, and so is one that is the same everywhere; local ones differ by their space.
fn storage_rows(inventory: &Inventory) -> Vec<Vec<String>> {
    let mut shown: Vec<(&Storage, Vec<&str>)> = Vec::new();
    for storage in inventory.storages() {
        let same =
            |other: &Storage| storage.shared && other.shared && other.name == storage.name && on(other) == on(storage);
        match shown.iter_mut().find(|(other, _)| same(other)) {
            Some((_, nodes)) => nodes.push(&storage.node),
            None => shown.push((storage, vec![&storage.node])),
        }
    }
    shown.sort_by(|(a, _), (b, _)| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    let row = |(storage, nodes): &(&Storage, Vec<&str>)| {
        let space = if on(storage) {
            let used = storage.total.saturating_sub(storage.available) as f64 / storage.total.max(1) as f64;
            format!("{} {} of {}", bar(12, used, 0.0), bytes(storage.available), bytes(storage.total))
        } else {
            if storage.enabled { "not reachable".to_owned() } else { "disabled".to_owned() }
        };
        let shared = if storage.shared { " (shared)" } else { "" };
        let places = places(nodes, inventory);
        vec![storage.name.clone(), storage.kind.clone(), format!("{places}{shared}"), storage.content.join(", "), space]
    };
    shown.iter().map(row).collect()
}

fn on(storage: &Storage) -> bool {
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
    bridges.iter().map(|(name, nodes)| vec![(*name).to_owned(), places(nodes, inventory)]).collect()
}

/// `all nodes`, or their names.
fn places(nodes: &[&str], inventory: &Inventory) -> String {
    let online = inventory.nodes.iter().filter(|node| node.online()).count();
    if nodes.len() == online && online > 1 { "all nodes".to_owned() } else { nodes.join(", ") }
}

/// A bar of `width` characters: what is used, what comes on top, what is left. Fractions of the whole; whatever is more than
/// the whole ends the bar with `!`.
pub fn bar(width: usize, used: f64, added: f64) -> String {
    let cells = |fraction: f64| (fraction.clamp(0.0, 1.0) * width as f64).round() as usize;
    let end = cells(used + added);
    let full = cells(used).min(end);
    // Something is shown for something.
    let full = if used > 0.0 && full == 0 { 1 } else { full };
    let end = if added > 0.0 { end.max(full + 1).min(width) } else { end.max(full) };
    let full = full.min(end);
    let mut bar = "█".repeat(full) + &"▒".repeat(end - full) + &"░".repeat(width - end);
    if used + added > 1.0 {
        bar.pop();
        bar.push('!');
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_what_is_and_what_comes() {
        for (used, added, shown) in [
            (0.0, 0.0, "░░░░░░░░"),
            (0.001, 0.0, "█░░░░░░░"),
            (0.5, 0.0, "████░░░░"),
            (0.5, 0.25, "████▒▒░░"),
            (0.5, 0.001, "████▒░░░"),
            (1.0, 0.0, "████████"),
            (0.9, 0.3, "███████!"),
            (2.0, 0.0, "███████!"),
        ] {
            assert_eq!(bar(8, used, added), shown, "{used} + {added}");
        }
    }
}
