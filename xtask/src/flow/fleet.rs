//! The fleet page: gathers the site's data into one value, which the templates in `data/fleet/` render.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cli::FleetPage;
use crate::flow::cluster_demand::{self, DemandInputs};
use crate::flow::drift::{self, Area, Omni};
use crate::flow::upgrade::{self, commands, title};
use crate::flow::{backup, inputs, keys, lookup, placement_tables, project_classes, proxmox};
use check::capacity::demand::Demand;
use check::capacity::{Fit, format_bytes};
use check::drift::Drift;
use check::fleet::{self, Counts, Set, Sources};
use check::stack;
use check::upgrade::{self as versions, Installed, Step, TargetVersions};
use domain::clock;
use domain::failure::{Code, Failure};
use domain::releases::table;
use domain::status::cluster::{ClusterLine, cluster_lines};
use domain::status::docker::Container;
use domain::status::machines::{MachineLine, machine_lines};
use domain::status::omni::Resource;
use domain::status::proxmox::{Inventory, Observed, host};
use domain::words::count;
use runtime::cx::Cx;
use runtime::parallel::{Job, NO_LIMIT, map_all, run_all, run_both};
use runtime::proc;
use runtime::settings::environment;
use runtime::tool::compose::Compose;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;
use runtime::ui::{Status, shown};

/// How many upgrade steps, differences and planned machines are listed; the rest is only counted.
const LISTED: usize = 100;

/// Everything that the fleet page shows.
pub struct FleetData {
    /// The input of the templates.
    pub model: Value,
    pub counts: Counts,
    /// What could not be queried, and why.
    pub missing: Vec<(String, String)>,
}

/// What Omni reports about its clusters.
struct OmniView<'a> {
    omnictl: Omnictl<'a>,
    omni: Omni,
    clusters: Vec<ClusterLine>,
    sets: Vec<Set>,
    version: String,
    /// The resource lists that upgrades depend on, in the order of [`upgrade::kinds`], or why they are unknown.
    upgrades: Result<Vec<Vec<Resource>>, Failure>,
}

/// A planned cluster: what it needs, and whether it fits.
struct PlannedDemand {
    title: String,
    demand: Demand,
    fit: Fit,
}

/// Queries Omni, Proxmox and Docker for everything that the page shows.
///
/// # Errors
/// Returns an error if none of them answers, or if a cluster or node on the command line does not exist.
pub fn gather(args: &FleetPage, cx: &Cx) -> anyhow::Result<FleetData> {
    let mut missing: Vec<(String, String)> = Vec::new();
    let wanted = recommended_versions();
    let ((proxmox, containers), (omni, credentials)) = cx.ui.with_spinner("querying Omni, Proxmox and Docker", || {
        // A bundle does not contain its installation's credentials, and this host's are unrelated to it.
        let credentials = || if args.bundle.is_some() { Vec::new() } else { keys::list_credentials(cx) };
        let docker = || Compose::find(cx).and_then(|compose| compose.containers());
        run_both(|| run_both(|| read_all_nodes(args, cx), docker), || run_both(|| query_omni(cx, &wanted), credentials))
    });
    let mut sites = Vec::new();
    for (site, seen) in proxmox? {
        match seen {
            // A file given on the command line must exist.
            Err(failure) if args.inventory.is_some() => return Err(failure.into()),
            seen => {
                let name = site.site().map_or("Proxmox".to_owned(), |id| format!("Proxmox of provider {id}"));
                sites.extend(
                    optional_part(cx, &mut missing, &name, seen)?
                        .map(|(inventory, proxmox)| (site, inventory, proxmox)),
                );
            }
        }
    }
    let mut omni = optional_part(cx, &mut missing, "Omni", omni)?;
    let containers = optional_part(cx, &mut missing, "Docker", containers)?;
    if sites.is_empty() && omni.is_none() && containers.is_none() {
        let failure = Failure::new(Code::Unreachable, "none of Proxmox, Omni and Docker can be queried");
        let causes: Vec<String> = missing.iter().map(|(part, why)| format!("{part}: {why}")).collect();
        return Err(failure.cause(causes.join("\n")).next("cargo xtask doctor").into());
    }
    let steps = match (&mut omni, &containers) {
        (Some(seen), Some(containers)) => {
            let installed = installed_versions(cx, seen, containers);
            optional_part(cx, &mut missing, "upgrades", installed)?.map(|installed| versions::plan(&installed, &wanted))
        }
        _ => None,
    };
    let compares = omni.is_some() && args.bundle.is_none();
    let areas = omni
        .as_ref()
        .filter(|_| compares)
        .map(|seen| cx.ui.with_spinner("comparing", || drift::compare_all(cx, &seen.omnictl, &seen.omni, false)));
    if args.bundle.is_some() {
        let why = "a bundle contains neither keys nor the changes that omnictl would make";
        missing.push(("keys and drift".to_owned(), why.to_owned()));
    }
    let drift = differences(areas.unwrap_or_default(), &mut missing)?;
    let needed = omni.as_ref().filter(|seen| sites.is_empty() || seen.clusters.iter().any(|line| !line.running));
    let machines = needed.map(machines).transpose();
    let machines = optional_part(cx, &mut missing, "machines", machines)?.flatten().unwrap_or_default();
    let planned = plan(args, cx, &mut sites, omni.as_mut());
    let planned = match planned {
        Err(failure) if args.plan.is_some() || args.without.is_some() => return Err(failure.into()),
        planned => optional_part(cx, &mut missing, "plan", planned)?.flatten(),
    };
    if proc::is_interrupted() {
        return Err(proc::interruption("reading the fleet").into());
    }
    let inventory = join_nodes(sites);
    let inventory = inventory.as_ref();
    let fleet = fleet::view(&Sources {
        inventory,
        clusters: omni.as_ref().map_or(&[], |seen| &seen.clusters),
        sets: omni.as_ref().map_or(&[], |seen| &seen.sets),
        machines: &machines,
        fit: planned.as_ref().map(|planned| &planned.fit),
        lost: args.without.as_deref(),
    });
    let now = page_time(cx);
    let model = json!({
        "as_of": clock::rfc3339_of(now),
        "facts": facts(inventory, omni.as_ref(), containers.as_deref().unwrap_or_default()),
        "missing": missing,
        "plan": planned.as_ref().map(planned_view),
        "without": args.without,
        "steps": steps.as_deref().map(steps_view),
        "keys": credentials.iter().map(credential).collect::<Vec<_>>(),
        "backup": backup_view(cx, now),
        "drift": compares.then(|| drift_view(&drift)),
        "fleet": fleet,
    });
    Ok(FleetData { model: with_attention(model), counts: fleet.counts, missing })
}

/// Returns the templates' input for a saved inventory alone.
pub fn model_of_inventory(inventory: &Inventory) -> Value {
    let fleet = fleet::view(&Sources { inventory: Some(inventory), ..Sources::default() });
    json!({
        "as_of": inventory.taken_at, "facts": facts(Some(inventory), None, &[]), "fleet": fleet, "attention": [],
        "missing": [], "plan": null, "without": null, "steps": null, "keys": [], "backup": null, "drift": null,
    })
}

/// The time that the page shows: SOURCE_DATE_EPOCH if it is set, as defined by reproducible-builds.org.
fn page_time(cx: &Cx) -> u64 {
    let given = environment("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| cx.now())
}

/// Returns a part, or records that it is missing. Fails only if the task is interrupted.
fn optional_part<T>(
    cx: &Cx,
    missing: &mut Vec<(String, String)>,
    what: &str,
    found: Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.code == Code::Interrupted => Err(failure),
        Err(failure) => {
            cx.ui.note("missing", what, Status::Warning, format!("not on the page: {failure}"));
            missing.push((what.to_owned(), failure.to_string()));
            Ok(None)
        }
    }
}

type Nodes = (Inventory, Option<Proxmox>);
/// A provider with its nodes, or why they are unknown.
type ProviderNodes = (Cx, Result<Nodes, Failure>);
/// A provider with its nodes.
type Site = (Cx, Inventory, Option<Proxmox>);

/// Reads the nodes of each provider. An inventory file contains those of a single one.
fn read_all_nodes(args: &FleetPage, cx: &Cx) -> Result<Vec<ProviderNodes>, Failure> {
    if let Some(file) = &args.inventory {
        return Ok(vec![(cx.clone(), proxmox::read_saved(file).map(|inventory| (inventory, None)))]);
    }
    let look = |cx: Cx| -> Job<'_, ProviderNodes> {
        Box::new(move || {
            let seen = read_nodes(args, &cx);
            (cx, seen)
        })
    };
    Ok(run_all(cx.providers()?.into_iter().map(look).collect(), NO_LIMIT))
}

/// Joins all nodes; with several providers, their names include the provider.
fn join_nodes(sites: Vec<Site>) -> Option<Inventory> {
    sites
        .into_iter()
        .map(|(cx, inventory, _)| inventory.with_site_prefix(cx.site().as_deref()))
        .reduce(Inventory::merge)
}

fn read_nodes(args: &FleetPage, cx: &Cx) -> Result<Nodes, Failure> {
    let login = proxmox::login_quietly(cx)?;
    if args.bundle.is_some() {
        return Ok((proxmox::observe_quietly(cx, &login)?, None));
    }
    Ok((proxmox::read_overview(cx, &login)?, Some(login)))
}

fn query_omni<'a>(cx: &'a Cx, wanted: &TargetVersions) -> Result<OmniView<'a>, Failure> {
    let omnictl = Omnictl::find(cx)?;
    // The clusters themselves are read with the rest of the comparison.
    let kinds: Vec<&str> = upgrade::kinds(wanted).skip(1).collect();
    let read = || lookup::list_all(&omnictl, ["machinesets", "sysversions"], None);
    let upgrades = || map_all(kinds, NO_LIMIT, |kind| omnictl.list(kind, None)).into_iter();
    let ((omni, lists), mut upgrades) = run_both(|| run_both(|| Omni::observe(&omnictl), read), upgrades);
    let (omni, [sets, versions], statuses) = (omni?, lists?, upgrades.next().unwrap_or(Ok(Vec::new()))?);
    let sets = sets.iter().map(|set| Set {
        id: set.metadata.id.clone(),
        cluster: set.metadata.label("cluster").unwrap_or_default().to_owned(),
        control_plane: set.metadata.has_label("role-controlplane"),
    });
    let version = versions.first().map_or(String::new(), |found| found.text(&["backendversion"]).to_owned());
    let clusters = cluster_lines(&omni.clusters, &statuses);
    let known = [Ok(omni.clusters.clone()), Ok(statuses)];
    let upgrades = known.into_iter().chain(upgrades).collect();
    Ok(OmniView { clusters, sets: sets.collect(), omnictl, omni, version, upgrades })
}

/// Returns the machines and what each waits for. This list grows with the fleet, so it is read only if a cluster is not running.
fn machines(seen: &OmniView<'_>) -> Result<Vec<MachineLine>, Failure> {
    let kinds = ["clustermachinerequeststatuses", "clustermachinestatuses"];
    let [requests, machines] = lookup::list_all(&seen.omnictl, kinds, None)?;
    Ok(machine_lines(&requests, &machines, &[], &[]))
}

/// The versions that this kit recommends.
fn recommended_versions() -> TargetVersions {
    let pins = &table().recommended;
    TargetVersions {
        keep_newer: true,
        omni: Some(pins.omni.version.clone()),
        provider: Some(pins.provider.version.clone()),
        talos: Some(pins.talos.version.clone()),
        kubernetes: Some(pins.kubernetes.version.clone()),
    }
}

/// The installed versions, from which upgrade steps start.
fn installed_versions(cx: &Cx, seen: &mut OmniView<'_>, containers: &[Container]) -> Result<Installed, Failure> {
    let lists = std::mem::replace(&mut seen.upgrades, Ok(Vec::new()))?;
    upgrade::from_running(cx, &upgrade::read_templates(cx)?, containers, lists)
}

fn differences(areas: Vec<Area>, missing: &mut Vec<(String, String)>) -> Result<Vec<Drift>, Failure> {
    let mut all = Vec::new();
    for Area { name, found, unread } in areas {
        missing.extend(unread.into_iter().map(|(what, why)| (format!("drift of {what}"), why)));
        match found {
            Ok(found) => all.extend(found),
            Err(failure) if failure.code == Code::Interrupted => return Err(failure),
            Err(failure) => missing.push((format!("drift of {name}"), failure.to_string())),
        }
    }
    Ok(all)
}

/// The plan of one cluster or of all; `None` if there is no template.
fn plan(
    args: &FleetPage,
    cx: &Cx,
    sites: &mut [Site],
    omni: Option<&mut OmniView<'_>>,
) -> Result<Option<PlannedDemand>, Failure> {
    if sites.is_empty() {
        let failure = Failure::new(Code::Unreachable, "the plan cannot be made").cause("Proxmox is not known");
        return if args.plan.is_none() && args.without.is_none() { Ok(None) } else { Err(failure) };
    }
    let names = sites.iter().flat_map(|(cx, inventory, _)| {
        let site = cx.site();
        inventory.nodes.iter().map(move |node| host(site.as_deref(), &node.name))
    });
    let names: Vec<String> = names.collect();
    if let Some(node) = args.without.as_ref().filter(|node| !names.contains(node)) {
        let failure = Failure::new(Code::NotFound, format!("there is no node `{node}`"));
        return Err(failure.cause(format!("Proxmox has: {}", names.join(", "))));
    }
    let given: Vec<String> = args.plan.iter().cloned().collect();
    let files = match given.is_empty() {
        true => inputs::list_yaml_files(&cx.paths.clusters())
            .into_iter()
            .filter(|file| !inputs::is_example_file(file))
            .collect(),
        false => inputs::resolve_files(cx, inputs::Input::Cluster, &given)?,
    };
    let mut templates = project_classes::read_templates(cx, &files)?;
    if let ([file], []) = (given.as_slice(), templates.as_slice()) {
        let failure = Failure::new(Code::Invalid, format!("`{file}` is not a valid cluster template"));
        return Err(failure.next(format!("cargo xtask cluster-check {}", inputs::shell_arguments(&given))));
    }
    let gone =
        |seen: &OmniView<'_>, name: &str| seen.clusters.iter().any(|line| line.name == name && line.tearing_down);
    templates.retain(|template| omni.as_deref().is_none_or(|seen| !gone(seen, &template.name)));
    if templates.is_empty() {
        return Ok(None);
    }
    let requests = match omni {
        Some(seen) => Observed::Known(std::mem::take(&mut seen.omni.requests)),
        None => Observed::Unknown("Omni was not queried".to_owned()),
    };
    let (provider, _) = proxmox::provider_version(cx, None)?;
    let (mut demand, mut fit) = (Demand::default(), Fit::default());
    for (cx, inventory, proxmox) in sites {
        let classes = project_classes::needed_classes(cx, &templates, &[])?;
        if let Some(proxmox) = &proxmox {
            proxmox::read_bridges(cx, proxmox, inventory)?;
        }
        let site = cx.site();
        let names = inventory.nodes.iter().map(|node| &node.name);
        let mut lost = names.filter(|name| args.without.as_ref() == Some(&host(site.as_deref(), name)));
        let lost = lost.next().cloned();
        let lost = lost.as_deref();
        let wanted = DemandInputs { templates: &templates, classes: &classes, requests: &requests, provider, lost };
        let (more, found) = cluster_demand::place_machines(cx, &wanted, proxmox.as_ref(), inventory)?;
        demand.surplus.extend(more.surplus);
        fit.add(found, site.as_deref());
    }
    let lost = args.without.as_deref();
    let of = match templates.as_slice() {
        [one] => format!("cluster {}", one.name),
        many => count(many.len(), "cluster"),
    };
    let title = lost.map_or(format!("Plan of {of}"), |node| format!("Plan of {of} without {node}"));
    Ok(Some(PlannedDemand { title, demand, fit }))
}

fn planned_view(planned: &PlannedDemand) -> Value {
    let PlannedDemand { title, demand, fit } = planned;
    let new = |placement: &&check::capacity::Placement| !matches!(placement.state, check::capacity::State::Exists(_));
    let machines: Vec<Vec<String>> =
        fit.placements.iter().filter(new).take(LISTED).map(placement_tables::machine_row).collect();
    let node = |room: &check::capacity::NodeRoom| {
        let known = room.total > 0;
        let of = |bytes: String| if known { bytes } else { "not known".to_owned() };
        json!([
            room.name,
            of(format_bytes(room.used)),
            of(format_bytes(room.used_after())),
            of(format_bytes(room.total)),
            room.machines,
            room.control_planes
        ])
    };
    let finding = |found: &yaml::Finding| {
        let severity = if found.is_error() { "error" } else { "warning" };
        [severity.to_owned(), found.message.clone(), found.fix.clone()]
    };
    let losses: Vec<Vec<String>> =
        fit.losses.iter().filter(|loss| loss.machines > 0).map(placement_tables::loss_row).collect();
    json!({
        "title": title,
        "fits": fit.fits(),
        "new": fit.placements.iter().filter(new).count(),
        "machines": machines,
        "surplus": demand.surplus,
        "nodes": fit.nodes.iter().map(node).collect::<Vec<_>>(),
        "errors": fit.findings.iter().filter(|finding| finding.is_error()).count(),
        "findings": fit.findings.iter().take(LISTED).map(finding).collect::<Vec<_>>(),
        "losses": losses,
    })
}

fn steps_view(steps: &[Step]) -> Value {
    let messages = |reasons: &[versions::Reason]| reasons.iter().map(|why| why.message.clone()).collect::<Vec<_>>();
    let one = |step: &Step| {
        json!({
            "title": title(step), "blockers": messages(&step.blockers), "warnings": messages(&step.warnings),
            "irreversible": step.irreversible, "command": commands(step).first(),
        })
    };
    let blocked = steps.iter().filter(|step| !step.blockers.is_empty()).count();
    json!({ "count": steps.len(), "blocked": blocked, "list": steps.iter().take(LISTED).map(one).collect::<Vec<_>>() })
}

fn credential(found: &keys::Credential) -> Value {
    let until = found.expires.map_or(found.detail.clone(), clock::date);
    let keys::Credential { name, owner, role, place, state, .. } = found;
    json!({ "name": name, "owner": owner, "role": role, "place": place, "state": state, "until": until })
}

fn backup_view(cx: &Cx, now: u64) -> Value {
    match backup::last_backup(&cx.settings.state) {
        Some((file, made)) => {
            json!({ "file": file, "made": clock::rfc3339_of(made), "old": now.saturating_sub(made) > 86_400 })
        }
        None => Value::Null,
    }
}

fn drift_view(drift: &[Drift]) -> Value {
    json!({ "count": drift.len(), "list": drift[..drift.len().min(LISTED)] })
}

/// Names and values of what the site runs.
fn facts(inventory: Option<&Inventory>, omni: Option<&OmniView<'_>>, containers: &[Container]) -> Vec<[String; 2]> {
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| facts.push([name.to_owned(), value]);
    if let Some(seen) = omni {
        fact("Omni", format!("{} at {}", seen.version, seen.omnictl.endpoint()));
    }
    if let Some(inventory) = inventory {
        fact("Proxmox", format!("{} at {}", inventory.version, inventory.endpoint));
        fact("Nodes as of", inventory.taken_at.clone());
    }
    for container in containers {
        let version = stack::tag(&container.image).unwrap_or(&container.image);
        let health = if container.health.is_empty() { String::new() } else { format!(", {}", container.health) };
        fact(&format!("Container {}", container.service), format!("{version}, {}{health}", container.state));
    }
    facts
}

/// Adds what to look at first, each with the section that has the details.
fn with_attention(mut model: Value) -> Value {
    let mut found: Vec<[String; 2]> = Vec::new();
    let mut say = |words: String, section: &str| found.push([words, section.to_owned()]);
    let number = |path: &str| model.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let list = |path: &str| model.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    for node in list("/fleet/nodes").iter().filter(|node| node["online"] != true && node["lost"] != true) {
        say(format!("node {} is not online", node["name"].as_str().unwrap_or_default()), "nodes");
    }
    match number("/fleet/counts/waits") {
        0 => {}
        1 => say("1 machine waits".to_owned(), "waits"),
        some => say(format!("{some} machines wait"), "waits"),
    }
    if model["plan"]["fits"] == false {
        say(format!("the plan does not fit: {}", count(number("/plan/errors"), "error")), "plan");
    }
    let blocked = number("/steps/blocked");
    if blocked > 0 {
        say(format!("{} of {} blocked", blocked, count(number("/steps/count"), "upgrade step")), "upgrades");
    }
    for (state, words) in [("expired", "expired"), ("soon", "valid for less than a month")] {
        match list("/keys").iter().filter(|key| key["state"] == state).count() {
            0 => {}
            some => say(format!("{} {words}", count(some, "credential")), "keys"),
        }
    }
    match &model["backup"] {
        Value::Null => say("no backup is recorded".to_owned(), "keys"),
        backup if backup["old"] == true => say("the last backup is older than a day".to_owned(), "keys"),
        _ => {}
    }
    let differences = number("/drift/count");
    if differences > 0 {
        say(count(differences, "difference"), "drift");
    }
    let missing = list("/missing").len();
    if missing > 0 {
        say(format!("{} could not be queried", count(missing, "part")), "missing");
    }
    model["attention"] = json!(found);
    model
}

const CSS: &str = include_str!("../../data/fleet/page.css");
const JS: &str = include_str!("../../data/fleet/page.js");

/// Renders the page.
///
/// # Errors
/// Returns an error only for a defect in the template.
pub fn render_page(model: &Value) -> Result<String, Failure> {
    let hash = |text: &str| format!("sha256-{}", STANDARD.encode(Sha256::digest(text)));
    let source = include_str!("../../data/fleet/page.html");
    render(
        source,
        model,
        minijinja::context! { css => mark_safe(CSS), js => mark_safe(JS), css_hash => hash(CSS), js_hash => hash(JS) },
    )
}

/// Renders the picture of nodes and machines.
///
/// # Errors
/// As [`render_page`].
pub fn render_picture(model: &Value) -> Result<String, Failure> {
    render(include_str!("../../data/fleet/picture.svg"), model, minijinja::context! {})
}

fn mark_safe(text: &str) -> minijinja::Value {
    minijinja::Value::from_safe_string(text.to_owned())
}

/// Renders a template with every value escaped.
fn render(source: &str, model: &Value, more: minijinja::Value) -> Result<String, Failure> {
    let mut model = model.clone();
    clean_strings(&mut model);
    let values = minijinja::context! { ..more, ..minijinja::Value::from(Serde(&model)) };
    let rendered = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().and_then(|syntax| {
        let mut templates = Environment::new();
        templates.set_syntax(syntax);
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.render_str(source, values)
    });
    // The engine strips the template's last newline.
    rendered
        .map(|text| text + "\n")
        .map_err(|error| Failure::new(Code::Failed, "the page cannot be rendered").cause(format!("{error:#}")))
}

/// Cleans names and messages, which come from outside: hides secrets, and escapes control characters.
fn clean_strings(value: &mut Value) {
    match value {
        Value::String(text) => *text = shown(text).replace(['\n', '\t'], " "),
        Value::Array(items) => items.iter_mut().for_each(clean_strings),
        Value::Object(fields) => fields.values_mut().for_each(clean_strings),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as an attacker or an accident could produce them, for nodes, VMs, machine sets and storages.
    const HOSTILE: [&str; 9] = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</title><base href=//x>",
        "{{ as_of }}{% raw %}&amp;&#60;",
        "a\u{202e}fdp.exe\u{2066}",
        "a\u{1b}]0;title\u{7}\u{9b}2J\u{0}",
        "]]>--><!--",
        "日本語\u{200f}é𝕏",
    ];

    fn hostile_inventory() -> Inventory {
        let long = "x".repeat(200);
        let names: Vec<&str> = HOSTILE.into_iter().chain([long.as_str()]).collect();
        let node = |name: &str| {
            let vm = |(at, vm): (usize, &&str)| {
                json!({ "id": at, "name": format!("{vm}{name}"), "running": at % 2 == 0, "memory": 1, "memory_used": 1,
                    "tags": [format!("machine-request.{vm}")] })
            };
            let storage =
                json!({ "name": name, "node": name, "storageType": "dir", "availableSpace": 1, "totalSpace": 2 });
            json!({
                "name": name, "status": if name.contains('<') { name } else { "online" },
                "figures": { "known": { "cpus": 1, "cpu_load": 0.5, "memory_total": 2, "memory_used": 1 } },
                "storages": { "known": [storage] }, "bridges": { "unknown": name },
                "vms": { "known": names.iter().enumerate().map(vm).collect::<Vec<_>>() },
            })
        };
        let nodes: Vec<Value> = names.iter().map(|name| node(name)).collect();
        let document = json!({ "taken_at": HOSTILE[0], "endpoint": HOSTILE[1], "version": HOSTILE[2], "nodes": nodes });
        Inventory::parse(&document.to_string()).unwrap()
    }

    #[test]
    fn hostile_names_are_escaped_everywhere() {
        let mut model = model_of_inventory(&hostile_inventory());
        model["missing"] = json!([[HOSTILE[0], HOSTILE[1]]]);
        model["attention"] = json!([[HOSTILE[3], "nodes"]]);
        for (text, own) in [(render_page(&model).unwrap(), 1), (render_picture(&model).unwrap(), 0)] {
            assert_eq!(text.matches("<script").count(), own);
            for raw in ["<img", "<base", "' onmouse", "]]>"] {
                assert!(!text.contains(raw), "{raw}");
            }
            let control = |c: char| {
                c.is_control() && c != '\n'
                    || matches!(c, '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert!(!text.contains(control));
            assert!(text.contains("&lt;script&gt;alert(1)") && text.contains("\\u{202e}") && text.contains("日本語"));
        }
    }

    #[test]
    fn same_fleet_gives_the_same_bytes() {
        let of = |inventory: &Inventory| {
            (
                render_page(&model_of_inventory(inventory)).unwrap(),
                render_picture(&model_of_inventory(inventory)).unwrap(),
            )
        };
        let mut shuffled = hostile_inventory();
        for node in &mut shuffled.nodes {
            if let Observed::Known(vms) = &mut node.vms {
                vms.reverse();
            }
        }
        assert_eq!(of(&hostile_inventory()), of(&hostile_inventory()));
        assert_eq!(of(&hostile_inventory()).1, of(&shuffled).1);
    }

    #[test]
    fn every_picture_has_a_text() {
        let text = render_page(&model_of_inventory(&hostile_inventory())).unwrap();
        let tag = |name: &str| {
            text.split(&format!("<{name}"))
                .skip(1)
                .map(|rest| rest.split('>').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert!(tag("svg").iter().all(|svg| svg.contains("aria-hidden")), "the bar has its text next to it");
        let tiles: Vec<String> = tag("p class=\"t\"");
        assert!(
            !tiles.is_empty()
                && tiles.iter().all(|tiles| tiles.contains("role=\"img\"") && tiles.contains("aria-label=\""))
        );
        for loads in ["<img", "<link", "<iframe", "<object", "@import", "url("] {
            assert!(!text.contains(loads), "{loads}");
        }
    }
}
