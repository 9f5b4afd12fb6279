//! Proxmox as the provider reaches it: its login, and its nodes, storages, bridges and guests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::SystemTime;

use crate::flow::{inputs, provider};
use crate::prelude::*;
use check::capacity::provider::Provider;
use check::capacity::{format_bytes, room};
use check::drift::Image;
use check::placeholder;
use domain::clock::rfc3339;
use domain::secret::Secret;
use domain::spec::config::{Auth, ProviderConfig, find_login, without_api_path};
use domain::status::proxmox as status;
use domain::status::proxmox::{Inventory, Node, Observed};
use runtime::bundle::{INVENTORY, OpenedBundle};
use runtime::files;
use runtime::parallel::{NO_LIMIT, map_all, run_both};
use runtime::paths::path_to_paste;
use runtime::settings::Origin;
use runtime::tool::proxmox::{Login, Proxmox, Token};
use runtime::ui::Check;

/// Returns the login in `docker/config.yaml`, which is the provider's own; without that file, PROXMOX_VE_ENDPOINT with
/// PROXMOX_VE_API_TOKEN. If both exist and differ, a step reports which one is used.
///
/// # Errors
/// Fails with [`Code::MissingInput`] if there is neither, or as in [`proxmox_of`].
pub fn login(cx: &Cx) -> Result<Proxmox, Failure> {
    let proxmox = login_quietly(cx)?;
    if cx.paths.config().is_file() {
        report_conflicts(cx, &proxmox);
    }
    Ok(proxmox)
}

/// Like [`login`], without a step.
///
/// # Errors
/// See [`login`].
pub fn login_quietly(cx: &Cx) -> Result<Proxmox, Failure> {
    if let Some(recorded) = &cx.settings.recorded {
        return recorded_proxmox(cx, recorded);
    }
    read_config(cx)?.map_or_else(|| login_of_environment(cx), Ok)
}

/// Returns the Proxmox recorded in a bundle, without a login.
fn recorded_proxmox(cx: &Cx, recorded: &OpenedBundle) -> Result<Proxmox, Failure> {
    let site = cx.site();
    let dir = recorded.proxmox_dir(site.as_deref());
    recorded.check_available(&dir)?;
    let url = recorded.manifest.versions.get(&format!("{dir}_url")).cloned().unwrap_or_default();
    let token = Token { id: String::new(), secret: Secret::plain("") };
    let mut proxmox = Proxmox::new(url, "the bundle", Login::Token(token), None);
    proxmox.site = site;
    Ok(proxmox)
}

fn login_of_environment(cx: &Cx) -> Result<Proxmox, Failure> {
    let shown = cx.paths.show(&cx.paths.config());
    let ca_file = cx.settings.ca_file(None).map(|found| found.value);
    let token = cx.settings.secret("PROXMOX_VE_API_TOKEN");
    let endpoint = cx.settings.proxmox_endpoint(None);
    let (Some(endpoint), Some(found)) = (&endpoint, &token) else {
        let absent = MissingValue::filter_absent([
            (endpoint.is_none(), MissingValue::env("the address of Proxmox", "PROXMOX_VE_ENDPOINT")),
            (token.is_none(), MissingValue::secret("the Proxmox API token", "PROXMOX_VE_API_TOKEN")),
        ]);
        let cause = format!("{shown} does not exist, and the environment does not set it");
        return Err(Failure::missing(absent).cause(cause).next("cargo xtask provider-setup"));
    };
    let token = Token::parse(found.value.expose(), &found.origin.to_string())?;
    Ok(Proxmox::new(endpoint.value.clone(), endpoint.origin.to_string(), Login::Token(token), ca_file))
}

/// The fields kept of each VM, in lists of up to ten thousand.
const VM_FIELDS: [&str; 11] =
    ["name", "node", "vmid", "status", "lock", "template", "tags", "maxcpu", "maxmem", "maxdisk", "mem"];

/// Returns the VMs that `wanted` selects from those visible to the login. Sizes are in bytes, states are up to ten seconds old.
/// Each VM has the site that [`status::place`] shows.
///
/// # Errors
/// See [`Proxmox::get_selection`].
pub fn list_vms(cx: &Cx, proxmox: &Proxmox, wanted: &dyn Fn(&Value) -> bool) -> Result<status::Selection, Failure> {
    let (purpose, path) = ("listing the virtual machines of Proxmox", "/cluster/resources?type=vm");
    let mut found = proxmox.get_selection(cx, purpose, path, &VM_FIELDS, wanted)?;
    if let Some(site) = &proxmox.site {
        found.entries.iter_mut().for_each(|vm| vm["site"] = site.as_str().into());
    }
    Ok(found)
}

/// Returns the ISO images in every storage visible to the login; those of a shared storage only once.
///
/// # Errors
/// Returns an error if Proxmox cannot be queried.
pub fn list_images(cx: &Cx, proxmox: &Proxmox) -> Result<Vec<Image>, Failure> {
    let holds = |entry: &Value| {
        let content = entry["content"].as_str().unwrap_or_default();
        entry["status"] == "available" && content.split(',').any(|kind| kind == "iso")
    };
    let (purpose, path) = ("listing the storages of Proxmox", "/cluster/resources?type=storage");
    let listed = proxmox.get_selection(cx, purpose, path, &["node", "storage", "shared"], &holds)?;
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let mut places: BTreeMap<(String, String), String> = BTreeMap::new();
    for entry in &listed.entries {
        let (node, storage) = (text(entry, "node"), text(entry, "storage"));
        let of = if entry["shared"].as_u64() == Some(1) { String::new() } else { node.clone() };
        places.entry((storage, of)).or_insert(node);
    }
    let path = |((storage, _), node): (&(String, String), &String)| {
        format!("/nodes/{node}/storage/{storage}/content?content=iso")
    };
    let paths: Vec<String> = places.iter().map(path).collect();
    let mut found = Vec::new();
    for (node, answer) in places.values().zip(proxmox.get_all(cx, "reading the ISO images from Proxmox", &paths)) {
        for image in answer?.as_array().into_iter().flatten() {
            let (volume, size) = (text(image, "volid"), image["size"].as_u64().unwrap_or_default());
            found.push(Image { node: status::host(proxmox.site.as_deref(), node), volume, size });
        }
    }
    Ok(found)
}

/// Returns Proxmox with the login of `docker/config.yaml`, the provider's own.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] if there is no such file, or as in [`proxmox_of`].
pub fn configured(cx: &Cx) -> Result<Proxmox, Failure> {
    if let Some(recorded) = &cx.settings.recorded {
        return recorded_proxmox(cx, recorded);
    }
    read_config(cx)?.ok_or_else(|| {
        Failure::new(Code::Prerequisite, format!("`{}` does not exist", cx.paths.show(&cx.paths.config())))
            .cause("the provider is not set up")
            .next("cargo xtask provider-setup")
    })
}

fn read_config(cx: &Cx) -> Result<Option<Proxmox>, Failure> {
    let path = cx.paths.config();
    let Some(text) = files::read_optional_text(&path)? else { return Ok(None) };
    let mut proxmox = proxmox_of(cx, &ProviderConfig::parse(&cx.paths.show(&path), &text)?)?;
    proxmox.renewal = Some(provider::with_flag(cx, "cargo xtask keys --rotate proxmox"));
    Ok(Some(proxmox))
}

/// Returns Proxmox with the address and login of the provider's configuration.
///
/// # Errors
/// Fails with [`Code::Invalid`] for a configuration with which the provider would fail later, with a less helpful message.
pub fn proxmox_of(cx: &Cx, config: &ProviderConfig) -> Result<Proxmox, Failure> {
    let shown = cx.paths.show(&cx.paths.config());
    let wrong = |what: String| Failure::new(Code::Invalid, format!("{shown}: {what}"));
    if find_login(&config.url).is_some() {
        return Err(wrong("`url` contains a login".to_owned())
            .cause("addresses are shown in output and stored in the state")
            .hint("url: https://HOST:8006/api2/json, and the login as tokenID and tokenSecret"));
    }
    let host = config.url.split_once("://").map_or(config.url.as_str(), |(_, rest)| rest);
    let token_id = if let Auth::Token { id, .. } = &config.auth { id.as_str() } else { "" };
    for (key, value) in [("url", host), ("tokenID", token_id)] {
        if placeholder::is_placeholder(value) {
            return Err(wrong(format!("`{key}` looks like a placeholder: {value}"))
                .cause("the provider uses it unchanged")
                .hint("write the value of your Proxmox, or let `cargo xtask provider-setup` write the file"));
        }
    }
    if let Auth::Token { secret, .. } = &config.auth
        && placeholder::is_placeholder(secret.expose())
    {
        return Err(wrong("`tokenSecret` looks like a placeholder".to_owned())
            .cause("the provider uses it unchanged")
            .hint("create a token with `pveum user token add USER@REALM NAME --privsep 0` and write its secret"));
    }
    if !config.url.ends_with("/api2/json") {
        return Err(wrong(format!("`url` is {:?}", config.url))
            .cause("the provider appends paths to it, so it must end in /api2/json, without a slash after it")
            .hint(format!("url: {}/api2/json", without_api_path(&config.url))));
    }
    let login = match &config.auth {
        Auth::Token { id, .. } if !id.contains('!') || !id.contains('@') => {
            return Err(wrong(format!("`tokenID` is {id:?}")).hint("it has the form user@realm!name"));
        }
        Auth::Token { id, secret } => Login::Token(Token { id: id.clone(), secret: secret.clone() }),
        Auth::Password { user, realm, password } => {
            let (provider, origin) = provider_version(cx, None)?;
            // go-proxmox v0.4.1, with which v0.1.0 was built, logs in again before the ticket expires.
            if provider == Provider::Untagged {
                return Err(wrong(format!("it logs in as {user} with a password"))
                    .cause(format!("the login's ticket is valid for two hours, and provider {provider} ({origin}) never renews it; after that every call is refused"))
                    .hint("run provider v0.1.0 or later, or create a token (`pveum user token add USER@REALM provider --privsep 0`) and write tokenID and tokenSecret instead"));
            }
            if realm.is_empty() && !user.contains('@') {
                return Err(wrong(format!("`username` is {user:?}, but `realm` is not set"))
                    .cause("Proxmox identifies a user by name and realm")
                    .hint(format!("add `realm: pam` for a user of the Proxmox host, `realm: pve` for a user that only Proxmox has; or write {user}@REALM")));
            }
            Login::Password { user: user.clone(), realm: realm.clone(), password: password.clone() }
        }
        Auth::None => {
            return Err(wrong("it contains no login".to_owned())
                .cause("the provider starts without complaint and is then refused by every call; the keys are tokenID and tokenSecret, in this spelling")
                .hint("compare it with docker/config.yaml.example"));
        }
    };
    let url = without_api_path(&config.url).to_owned();
    let ca_file = cx.settings.ca_file(None).map(|found| found.value);
    let origin = format!("`url` in {shown}");
    let mut proxmox = Proxmox::new(url, origin, login, ca_file).insecure(config.insecure_skip_verify);
    proxmox.site = cx.site();
    Ok(proxmox)
}

/// Advises against a login with a password, which works but is not the best choice.
pub fn password_advice(login: &Login) -> Option<String> {
    matches!(login, Login::Password { .. }).then(|| {
        format!("{} logs in with a password: an API token can be limited, replaced and revoked by itself", login.user())
    })
}

/// Lists how the environment and `docker/.env` differ from `docker/config.yaml`, which takes precedence.
pub fn conflicts(cx: &Cx, proxmox: &Proxmox) -> Vec<String> {
    let mut found = Vec::new();
    // The environment describes the first provider.
    if cx.settings.provider.is_some() {
        return found;
    }
    let from_environment = |origin: &Origin| matches!(origin, Origin::Environment(_) | Origin::EnvFile(_));
    if let Some(other) =
        cx.settings.proxmox_endpoint(None).filter(|other| from_environment(&other.origin) && other.value != proxmox.url)
    {
        found.push(format!("{} is {}, not {}", other.origin, other.value, proxmox.url));
    }
    if let Some(other) = cx.settings.secret("PROXMOX_VE_API_TOKEN") {
        let token = Token::parse(other.value.expose(), "").ok().map(Login::Token);
        match token {
            Some(token) if token == proxmox.login => {}
            Some(token) if token.id() == proxmox.login.id() => {
                found.push(format!("{} has a different secret for {}", other.origin, token.id()));
            }
            Some(token) => {
                found.push(format!("{} is for {}, not for {}", other.origin, token.id(), proxmox.login.id()))
            }
            None => found.push(format!("{} is not a token", other.origin)),
        }
    }
    found
}

/// Reports in a step which login is used if two differ.
pub fn report_conflicts(cx: &Cx, proxmox: &Proxmox) {
    let found = conflicts(cx, proxmox);
    if !found.is_empty() {
        let title = format!("{} overrides the environment", cx.paths.show(&cx.paths.config()));
        cx.ui.note("login", title, Status::Warning, found.join("; "));
    }
}

/// Returns the provider's release, and its source: the flag, else the image in `docker/compose.yaml`, else the release that this
/// kit pins.
///
/// # Errors
/// Returns an error if the compose file cannot be read.
pub fn provider_version(cx: &Cx, flag: Option<Provider>) -> Result<(Provider, &'static str), Failure> {
    if let Some(given) = flag {
        return Ok((given, "--provider-version"));
    }
    let compose = files::read_optional_text(&cx.paths.compose())?;
    Ok(match compose.as_deref().and_then(Provider::of_compose) {
        Some(found) => (found, "docker/compose.yaml"),
        None => (Provider::pinned(), "the default"),
    })
}

/// Reads the nodes with everything they have. What the login may not see is unknown in the result, with the reason.
///
/// # Errors
/// Returns an error if Proxmox does not respond, refuses the login, or if the task is interrupted.
pub fn observe(cx: &Cx, proxmox: &Proxmox) -> anyhow::Result<Inventory> {
    let version = cx.ui.step("proxmox", "Check that Proxmox answers", || {
        let version = proxmox.version(cx)?;
        let of_environment = || cx.settings.secret("PROXMOX_VE_API_TOKEN").map(|found| found.origin.to_string());
        let config = cx.paths.config();
        let origin = if config.is_file() { Some(cx.paths.show(&config)) } else { of_environment() };
        let from = origin.unwrap_or_default();
        let detail = format!("{}, version {version}, as {} ({from})", proxmox.url, proxmox.login.id());
        Ok(match password_advice(&proxmox.login) {
            Some(advice) => StepResult::warning(version, format!("{detail}: {advice}")),
            None => StepResult::ok(version, detail),
        })
    })?;
    let nodes = cx.ui.step("nodes", "Read the nodes of Proxmox", || {
        let nodes = list_nodes(cx, proxmox)?;
        let offline: Vec<String> =
            nodes.iter().filter(|node| !node.is_online()).map(|node| node.name.clone()).collect();
        let detail = format!("{} of {} online", nodes.len() - offline.len(), nodes.len());
        if offline.is_empty() {
            return Ok(StepResult::ok(nodes, detail));
        }
        Ok(StepResult::warning(nodes, format!("{detail}; not {}", offline.join(", "))))
    })?;
    let checks = nodes.into_iter().map(|node| {
        Check::new("node", format!("Read node {}", node.name), move || {
            let node = read_node(cx, proxmox, node)?;
            let (unseen, detail) = (describe_unread(&node), describe_counts(&node));
            Ok(if unseen.is_empty() { StepResult::ok(node, detail) } else { StepResult::warning(node, unseen) })
        })
    });
    let nodes = cx.ui.run_checks("querying the nodes", checks.collect()).into_iter().collect::<Result<_, _>>()?;
    Ok(Inventory { taken_at: rfc3339(SystemTime::now()), endpoint: proxmox.url.clone(), version, nodes })
}

/// Like [`observe`], without a step, for a check of another task.
///
/// # Errors
/// See [`observe`].
pub fn observe_quietly(cx: &Cx, proxmox: &Proxmox) -> Result<Inventory, Failure> {
    if let Some(recorded) = &cx.settings.recorded {
        return recorded.document(&format!("{}/{INVENTORY}", recorded.proxmox_dir(proxmox.site.as_deref())));
    }
    let nodes = list_nodes(cx, proxmox)?;
    let nodes = map_all(nodes, NO_LIMIT, |node| read_node(cx, proxmox, node)).into_iter().collect::<Result<_, _>>()?;
    let (taken_at, version) = (rfc3339(SystemTime::now()), String::new());
    Ok(Inventory { taken_at, endpoint: proxmox.url.clone(), version, nodes })
}

/// Adds the storages to the nodes: from `GET /storage` and `GET /cluster/resources?type=storage` if those show them all,
/// otherwise from one request for each node.
///
/// # Errors
/// Returns an error only if the task is interrupted: what a node does not return is unknown.
pub fn add_storages(
    cx: &Cx,
    proxmox: &Proxmox,
    nodes: Vec<Node>,
    config: &Value,
    resources: &Value,
) -> Result<Vec<Node>, Failure> {
    let known = status::storages_by_node(config, resources);
    let ask = |mut node: Node| {
        if node.is_online() {
            node.storages = match &known {
                Some(known) => Observed::Known(known.get(&node.name).cloned().unwrap_or_default()),
                None => {
                    let (purpose, path) =
                        (format!("reading the storages of {}", node.name), format!("/nodes/{}/storage", node.name));
                    parse_answer(proxmox.get(cx, &purpose, &path), |data| status::parse_storages(&node.name, data))?
                }
            };
        }
        Ok(node)
    };
    map_all(nodes, NO_LIMIT, ask).into_iter().collect()
}

/// Returns the nodes, by name, without the details that each node must be queried for.
///
/// # Errors
/// Returns an error if Proxmox does not respond, or not with a list.
pub fn list_nodes(cx: &Cx, proxmox: &Proxmox) -> Result<Vec<Node>, Failure> {
    parse_nodes(&proxmox.get(cx, "reading the nodes from Proxmox", "/nodes")?)
}

/// Parses the response of `/nodes`.
///
/// # Errors
/// Returns an error if it is not a list of nodes.
pub fn parse_nodes(data: &Value) -> Result<Vec<Node>, Failure> {
    status::parse_nodes(data).map_err(|why| Failure::new(Code::Failed, format!("/nodes: {why}")))
}

/// Returns the names of the nodes that are online.
///
/// # Errors
/// Returns an error if Proxmox does not respond.
pub fn online_nodes(cx: &Cx, proxmox: &Proxmox) -> Result<Vec<String>, Failure> {
    Ok(list_nodes(cx, proxmox)?.into_iter().filter(Node::is_online).map(|node| node.name).collect())
}

/// Reads the nodes with their storages, in three requests.
///
/// # Errors
/// Returns an error if Proxmox does not respond.
pub fn read_storages(cx: &Cx, proxmox: &Proxmox) -> Result<Vec<Node>, Failure> {
    let paths = ["/nodes", "/storage", "/cluster/resources?type=storage"].map(str::to_owned);
    let mut answers = proxmox.get_all(cx, "reading the storages from Proxmox", &paths).into_iter();
    let mut next = || answers.next().unwrap_or(Ok(Value::Null));
    let nodes = parse_nodes(&next()?)?;
    add_storages(cx, proxmox, nodes, &next().unwrap_or_default(), &next().unwrap_or_default())
}

/// Reads the storages, bridges and guests of one node, in parallel.
///
/// # Errors
/// Returns an error only if the task is interrupted: what the node does not return is unknown.
fn read_node(cx: &Cx, proxmox: &Proxmox, mut node: Node) -> Result<Node, Failure> {
    if !node.is_online() {
        return Ok(node);
    }
    let name = node.name.clone();
    let paths = ["storage", "network?type=any_bridge", "qemu"].map(|path| format!("/nodes/{name}/{path}"));
    let purpose = format!("reading storages, bridges and guests of {name}");
    let mut answers = proxmox.get_all(cx, &purpose, &paths).into_iter();
    let mut next = || answers.next().unwrap_or(Ok(Value::Null));
    node.storages = parse_answer(next(), |data| status::parse_storages(&name, data))?;
    node.bridges = parse_answer(next(), status::parse_bridges)?;
    node.vms = parse_answer(next(), status::parse_vms)?;
    Ok(node)
}

/// Reads the nodes with their storages and VMs, in the same number of requests for any number of nodes. The bridges stay unknown,
/// and the states of the VMs are up to ten seconds old.
///
/// # Errors
/// Returns an error if Proxmox does not respond or refuses the login.
pub fn read_overview(cx: &Cx, proxmox: &Proxmox) -> Result<Inventory, Failure> {
    let (version, (nodes, listed)) = run_both(
        || proxmox.version(cx),
        || run_both(|| read_storages(cx, proxmox), || list_vms(cx, proxmox, &|_| true)),
    );
    let (version, mut nodes, listed) = (version?, nodes?, listed?);
    let mut by_node: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for vm in listed.entries {
        by_node.entry(vm["node"].as_str().unwrap_or_default().to_owned()).or_default().push(vm);
    }
    for node in nodes.iter_mut().filter(|node| node.is_online()) {
        let vms = Value::Array(by_node.remove(&node.name).unwrap_or_default());
        node.vms = match listed.list_is_empty {
            true => Observed::Unknown("this login cannot see any VM in Proxmox: it may lack VM.Audit".to_owned()),
            false => status::parse_vms(&vms).into(),
        };
    }
    Ok(Inventory { taken_at: rfc3339(SystemTime::now()), endpoint: proxmox.url.clone(), version, nodes })
}

/// Reads the bridges of the nodes that are online into the inventory.
///
/// # Errors
/// Returns an error only if the task is interrupted.
pub fn read_bridges(cx: &Cx, proxmox: &Proxmox, inventory: &mut Inventory) -> Result<(), Failure> {
    let online: Vec<&mut Node> = inventory.nodes.iter_mut().filter(|node| node.is_online()).collect();
    let paths: Vec<String> =
        online.iter().map(|node| format!("/nodes/{}/network?type=any_bridge", node.name)).collect();
    let answers = proxmox.get_all(cx, "reading the bridges of the nodes", &paths);
    for (node, answer) in online.into_iter().zip(answers) {
        node.bridges = parse_answer(answer, status::parse_bridges)?;
    }
    Ok(())
}

/// Reads the disks of the machines of these sets into the inventory. What Proxmox does not return stays unknown.
///
/// # Errors
/// Returns an error only if the task is interrupted.
pub fn read_disks(
    cx: &Cx,
    proxmox: &Proxmox,
    inventory: &mut Inventory,
    sets: &BTreeSet<String>,
) -> Result<(), Failure> {
    let (mut paths, mut removed) = (Vec::new(), Vec::new());
    for node in &mut inventory.nodes {
        let Observed::Known(vms) = &mut node.vms else { continue };
        for vm in vms.iter_mut().filter(|vm| vm.machine_request_set().is_some_and(|set| sets.contains(set))) {
            paths.push(format!("/nodes/{}/qemu/{}/config", node.name, vm.id));
            removed.push(vm);
        }
    }
    let answers = proxmox.get_all(cx, "reading the disks of VMs to be removed", &paths);
    for (vm, answer) in removed.into_iter().zip(answers) {
        if let Observed::Known(config) = Observed::of(answer)? {
            vm.disks = status::parse_disks(&config);
        }
    }
    Ok(())
}

fn parse_answer<T>(
    answer: Result<Value, Failure>,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Observed<T>, Failure> {
    Ok(match Observed::of(answer)? {
        Observed::Known(data) => read(&data).into(),
        Observed::Unknown(why) => Observed::Unknown(why),
    })
}

/// Describes the parts of a node that could not be read.
fn describe_unread(node: &Node) -> String {
    if !node.is_online() {
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

fn describe_counts(node: &Node) -> String {
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

/// Reads a saved inventory.
///
/// # Errors
/// Fails with [`Code::NotFound`] or [`Code::Invalid`], and the command that creates an inventory.
pub fn read_saved(file: &Path) -> Result<Inventory, Failure> {
    let shown = file.display();
    let command = format!("cargo xtask proxmox-inventory --save {}", path_to_paste(file));
    let text = inputs::read_optional_text(file)?
        .ok_or_else(|| Failure::new(Code::NotFound, format!("`{shown}` does not exist")).next(command.as_str()))?;
    Inventory::parse(&text).map_err(|why| {
        Failure::new(Code::Invalid, format!("`{shown}` is not an inventory")).cause(why).next(command.as_str())
    })
}

/// Returns warnings for the operator before machines are created. A warning that applies to several nodes appears only once.
pub fn warnings(inventory: &Inventory) -> Vec<String> {
    // The text before and after the names of the nodes.
    let mut found: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for node in inventory.nodes.iter().filter(|node| node.is_online() && node.storages.known().is_some()) {
        let iso = node.iso_storages();
        let names: Vec<&str> = iso.iter().map(|storage| storage.name.as_str()).collect();
        let mut say =
            |before: String, after: &str| found.entry((before, after.to_owned())).or_default().push(&node.name);
        match names.as_slice() {
            [] => say(
                "no storage for ISO images is visible on ".into(),
                ": Talos cannot be downloaded there; add the content `iso` to a storage, or let the login see one",
            ),
            [_] => {}
            many => say(
                format!("{} all accept ISO images on ", many.join(" and ")),
                ": the provider picks one at random each time; let its login see only one of them",
            ),
        }
        for storage in node.storages.known().into_iter().flatten().filter(|storage| storage.enabled) {
            let name = &storage.name;
            match room::is_full(storage) {
                _ if !storage.active => say(format!("storage {name} is enabled but not reachable on "), ""),
                true => say(
                    format!("storage {name} has no room ({} free) on ", format_bytes(storage.available)),
                    ": free some space; nothing that needs this storage can be created",
                ),
                false => {}
            }
        }
    }
    found.into_iter().map(|((before, after), nodes)| format!("{before}{}{after}", nodes.join(", "))).collect()
}
