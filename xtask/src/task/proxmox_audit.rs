//! `proxmox-audit`: whether the provider's login may do everything that the provider does.
//!
//! 1. Look at Proxmox as the provider's own login; read the classes and clusters of this project.
//! 2. Ask Proxmox what this login may do: once for all paths, and by itself for each that this leaves in doubt.
//! 3. Walk every call that the provider makes, and say of each privilege whether it is there.
//! 4. Print the smallest `pveum` script that grants what is missing; warn of too much, and of what will end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::proxmox_inventory::{self, Login};
use super::{cluster_plan, provider_verify};
use crate::cli::ProxmoxAudit;
use crate::outcome::Outcome;
use check::capacity::machine::Machine;
use check::capacity::selector;
use check::permissions::{self, Row, Scope, Told, Wanted};
use domain::clock::rfc3339;
use domain::failure::{Code, Failure};
use domain::status::proxmox::{self, AclEntry, Inventory, Permissions, TokenInfo};
use domain::words::count;
use runtime::cx::Cx;
use runtime::parallel::{ALL, Job, run_all};
use runtime::tool::proxmox::{self as proxmox_tool, Proxmox};
use runtime::ui::{Check, Done, Status, table};

/// A token that ends within this time is worth a warning.
const SOON: Duration = Duration::from_secs(30 * 86_400);

pub fn run(args: &ProxmoxAudit, cx: &Cx) -> anyhow::Result<Outcome> {
    let login = proxmox_inventory::login(cx)?;
    let (provider, origin) = proxmox_inventory::provider_version(cx, args.provider_version)?;
    let inventory = proxmox_inventory::observe(cx, &login)?;
    let facts = ask(cx, &login.proxmox)?;
    let wanted = wanted(cx)?;
    note_wanted(cx, &wanted);
    let scope = Scope::new(provider, &inventory, facts.told(), &wanted, &selector::selects);
    let title = format!("what provider {provider} ({origin}) calls");
    let permissions = cx.ui.step("permissions", title, || {
        let permissions = permissions_on(cx, &login.proxmox, &scope, &facts.tree, &visible(&inventory))?;
        Ok(Done::ok(permissions, format!("{} checked", count(scope.paths().len(), "path"))))
    })?;
    let rows = permissions::rows(&scope, &permissions);
    let warnings = warnings(&login, &inventory, &facts, &scope, &permissions, &wanted);
    let access = &login.proxmox.login;
    let (id, user) = (access.id(), access.user());
    let script = permissions::script(
        &scope,
        &permissions,
        &permissions::Login {
            user: &user,
            token: access.token_name().map(|_| id.as_str()),
            privsep: facts.token.map(|token| token.privsep),
            roles: facts.roles.as_ref(),
            acl: &facts.acl,
        },
    );
    show(cx, &rows, &scope, script.as_deref(), args.all);
    for (rule, message) in &warnings {
        cx.ui.note(rule, message.as_str(), Status::Warning, "");
    }
    let warned = warnings.iter().map(|(rule, message)| json!({ "rule": rule, "message": message }));
    let data = json!({
        "token": id,
        "provider_version": provider.to_string(),
        "proxmox_version": inventory.version,
        "rows": rows,
        "script": script.clone().unwrap_or_default(),
        "warnings": warned.collect::<Vec<_>>(),
    });
    let present = present(&rows);
    match lacks(access, &rows, &facts) {
        None => {
            let summary = format!("{id} has every privilege that the provider needs ({present})");
            Ok(Outcome::done(summary).with(data).next("cargo xtask provider-verify"))
        }
        Some(failure) => {
            let script = if cx.ui.json() { "the script in `data.script`" } else { "the script above" };
            let hint = format!("run {script} as root on any Proxmox node, then this again");
            let hint = if failure.hint.is_empty() { hint } else { format!("{}; or {hint}", failure.hint) };
            Err(failure.hint(hint).with(data).into())
        }
    }
}

/// The audit's result for a check of another task.
pub struct Verdict {
    /// `None` when nothing is missing.
    pub lacks: Option<Failure>,
    /// How many privileges are there, each on its path.
    pub present: usize,
}

/// Audits without a step of its own: one line of another task, from questions that are all asked at once.
///
/// # Errors
/// When Proxmox cannot be asked: then nothing is known.
pub fn lacking(cx: &Cx, proxmox: &Proxmox) -> Result<Verdict, Failure> {
    let (provider, _) = proxmox_inventory::provider_version(cx, None)?;
    let wanted = wanted(cx)?;
    let mut answers = ask_at_once(cx, proxmox, &wanted)?;
    let mut answer = |path: &str| answers.remove(path).unwrap_or_default();
    let nodes = proxmox::nodes(&answer(NODES)).map_err(|why| Failure::new(Code::Failed, format!("/nodes: {why}")))?;
    let nodes = proxmox_inventory::with_storages(cx, proxmox, nodes, &answer(STORAGE), &answer(RESOURCES))?;
    let inventory = Inventory { taken_at: String::new(), endpoint: proxmox.url.clone(), version: String::new(), nodes };
    let tree = answer(PERMISSIONS);
    // Only a login without any privilege needs an explanation by its token.
    let token = match tree.as_object().is_none_or(serde_json::Map::is_empty) {
        true => optional(token(cx, proxmox))?,
        false => Value::Null,
    };
    let facts = Facts::of(
        [&tree, &answer(ROLES), &token, &Value::Null, &answer(NEXT_ID), &answer(VNETS)],
        proxmox.login.token_name().unwrap_or_default(),
    )?;
    let scope = Scope::new(provider, &inventory, facts.told(), &wanted, &selector::selects);
    let mut visible = visible(&inventory);
    visible.extend(proxmox::pools(&answer(POOLS)).iter().map(|pool| format!("/pool/{pool}")));
    // No VM has this id, and Proxmox deletes the entries of a VM with it (pve-access-control 9.1 `remove_vm_access`).
    visible.insert(format!("/vms/{}", scope.vmid));
    let permissions = permissions_on(cx, proxmox, &scope, &facts.tree, &visible)?;
    let rows = permissions::rows(&scope, &permissions);
    let lacks = lacks(&proxmox.login, &rows, &facts).map(|failure| {
        let audit = "`cargo xtask proxmox-audit` prints the pveum lines that grant them";
        let hint = if failure.hint.is_empty() { audit.to_owned() } else { format!("{}; {audit}", failure.hint) };
        failure.hint(hint)
    });
    Ok(Verdict { lacks, present: present(&rows) })
}

const NODES: &str = "/nodes";
const STORAGE: &str = "/storage";
const RESOURCES: &str = "/cluster/resources?type=storage";
const PERMISSIONS: &str = "/access/permissions";
const ROLES: &str = "/access/roles";
const ACL: &str = "/access/acl";
const NEXT_ID: &str = "/cluster/nextid";
const VNETS: &str = "/cluster/sdn/vnets";
const POOLS: &str = "/pools";

/// The answers to all questions whose paths are known beforehand, by path. The audit can do without most of them: only
/// every login may see the nodes and its own permissions.
fn ask_at_once(cx: &Cx, proxmox: &Proxmox, wanted: &Wanted) -> Result<BTreeMap<&'static str, Value>, Failure> {
    let mut paths = vec![NODES, STORAGE, RESOURCES, PERMISSIONS, ROLES, NEXT_ID];
    if wanted.machines.iter().any(|machine| !machine.networks.is_empty()) {
        paths.push(VNETS);
    }
    if !wanted.sets.is_empty() || wanted.machines.iter().any(|machine| machine.pool.is_some()) {
        paths.push(POOLS);
    }
    let ask = |path: &'static str| -> Job<'_, Result<(&'static str, Value), Failure>> {
        Box::new(move || {
            let answer = proxmox.get(cx, "asking Proxmox what the login may do", path);
            let needed = [NODES, PERMISSIONS].contains(&path);
            Ok((path, if needed { answer? } else { optional(answer)? }))
        })
    };
    run_all(paths.into_iter().map(ask).collect(), ALL).into_iter().collect()
}

/// An answer that is not needed: none where Proxmox refuses it.
fn optional(answer: Result<Value, Failure>) -> Result<Value, Failure> {
    match answer {
        Err(failure) if failure.code != Code::Interrupted => Ok(Value::Null),
        other => other,
    }
}

/// The privileges that are there, each on its path.
fn present(rows: &[Row]) -> usize {
    let there = rows.iter().filter(|row| row.status == permissions::Verdict::Present);
    there.map(|row| (&row.privilege, &row.path)).collect::<BTreeSet<_>>().len()
}

/// What is missing, as a failure; `None` when nothing is.
fn lacks(login: &proxmox_tool::Login, rows: &[Row], facts: &Facts) -> Option<Failure> {
    let missing = rows.iter().filter(|row| row.status == permissions::Verdict::Missing);
    let missing: BTreeSet<(&str, &str)> = missing.map(|row| (row.privilege.as_str(), row.path.as_str())).collect();
    if missing.is_empty() {
        return None;
    }
    let first: Vec<String> = missing.iter().take(3).map(|(privilege, path)| format!("{privilege} on {path}")).collect();
    let more = if missing.len() > 3 { format!(" and {} more", missing.len() - 3) } else { String::new() };
    let failure = Failure::new(Code::Failed, format!("{} lacks {}", login.id(), count(missing.len(), "privilege")))
        .cause(format!("{}{more}", first.join(", ")))
        .next("cargo xtask proxmox-audit");
    Some(match separated(login, facts) {
        None => failure,
        Some(hint) => {
            let cause = format!(
                "{}\nit has no privilege on any path: most likely the token is separated from its user (`--privsep 1`, the \
                 default) and has no entry of its own in the access control list; a token cannot see that itself",
                failure.cause
            );
            failure.cause(cause).hint(hint)
        }
    })
}

/// How to end privilege separation, where that is the likely cause: the token has nothing anywhere.
fn separated(login: &proxmox_tool::Login, facts: &Facts) -> Option<String> {
    let name = login.token_name()?;
    let may_be = facts.token.is_none_or(|token| token.privsep);
    let user = login.user();
    (may_be && facts.tree.is_empty()).then(|| {
        format!(
            "if {user} has its privileges already (`pveum acl list` as root on a Proxmox node shows them), \
             `pveum user token modify {user} {name} --privsep 0` gives them to the token"
        )
    })
}

/// What Proxmox says about the login and about itself.
struct Facts {
    tree: proxmox::Tree,
    /// `None` when it was not told.
    roles: Option<BTreeMap<String, BTreeSet<String>>>,
    token: Option<TokenInfo>,
    acl: Vec<AclEntry>,
    vmid: u64,
    zones: BTreeMap<String, String>,
}

impl Facts {
    /// From the answers about the tree, roles, the token, the access control list, the next id and vnets.
    fn of([tree, roles, token, acl, next_id, vnets]: [&Value; 6], name: &str) -> Result<Facts, Failure> {
        let tree =
            proxmox::permissions(tree).map_err(|why| Failure::new(Code::Failed, format!("{PERMISSIONS}: {why}")))?;
        let vmid = next_id.as_str().and_then(|id| id.parse().ok()).or_else(|| next_id.as_u64());
        Ok(Facts {
            tree,
            roles: proxmox::roles(roles).ok(),
            token: proxmox::token_info(token, name),
            acl: proxmox::acl(acl),
            vmid: vmid.unwrap_or(100),
            zones: proxmox::zones(vnets),
        })
    }

    fn told(&self) -> Told {
        Told {
            known: self.roles.as_ref().and_then(|roles| roles.get("Administrator").cloned()),
            vmid: self.vmid,
            zones: self.zones.clone(),
        }
    }
}

/// The token, from its user's entry or from its own: a login may be allowed to read only one of the two.
fn token(cx: &Cx, proxmox: &Proxmox) -> Result<Value, Failure> {
    let Some(name) = proxmox.login.token_name() else { return Ok(Value::Null) };
    let user = format!("/access/users/{}", encoded(&proxmox.login.user()));
    proxmox.get(cx, "asking Proxmox for the user", &user).or_else(|failure| match failure.code {
        Code::Interrupted => Err(failure),
        _ => proxmox.get(cx, "asking Proxmox for the token", &format!("{user}/token/{}", encoded(name))),
    })
}

/// Asks for all of it side by side. Only the tree must be seen: every login may see its own.
fn ask(cx: &Cx, proxmox: &Proxmox) -> anyhow::Result<Facts> {
    let (user, name) = (proxmox.login.user(), proxmox.login.token_name());
    let get = |purpose: &'static str, path: &str| proxmox.get(cx, purpose, path);
    let checks: Vec<Check<'_, Value>> = vec![
        Check::new("tree", "what the login may do", || {
            let tree = get("asking Proxmox for the login's permissions", PERMISSIONS)?;
            let paths = tree.as_object().map_or(0, serde_json::Map::len);
            let detail = format!("privileges on {}", count(paths, "path"));
            Ok(if paths == 0 { Done::warning(tree, detail) } else { Done::ok(tree, detail) })
        }),
        Check::new("roles", "the roles", || seen(get("asking Proxmox for its roles", ROLES))),
        Check::new("token", "the token's end and privilege separation", || match token(cx, proxmox) {
            _ if name.is_none() => Ok(Done::skipped(Value::Null, "the login is not a token")),
            Err(failure) if failure.code == Code::Refused => Ok(Done::skipped(
                Value::Null,
                format!("not shown to the token itself; see `pveum user token list {user}`"),
            )),
            other => seen(other),
        }),
        Check::new("acl", "the access control list, as far as it is shown", || {
            seen(get("asking Proxmox for its access control list", ACL))
        }),
        Check::new("nextid", "the next VM's id", || seen(get("asking Proxmox for the next VM id", NEXT_ID))),
        Check::new("vnets", "SDN vnets", || seen(get("asking Proxmox for its vnets", VNETS))),
    ];
    let answers: Vec<Value> =
        cx.ui.side_by_side("asking Proxmox about the login", checks).into_iter().collect::<Result<_, _>>()?;
    Ok(Facts::of(std::array::from_fn(|at| answers.get(at).unwrap_or(&Value::Null)), name.unwrap_or_default())?)
}

/// An answer that the audit can do without.
fn seen(answer: Result<Value, Failure>) -> anyhow::Result<Done<Value>> {
    match answer {
        Ok(Value::String(text)) => Ok(Done::ok(Value::String(text.clone()), text)),
        Ok(value) => Ok(Done::ok(value, "")),
        Err(failure) if failure.code == Code::Interrupted => Err(failure.into()),
        Err(failure) => Ok(Done::skipped(Value::Null, failure.to_string())),
    }
}

/// A part of a path, for a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~@".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What the operator's own classes and clusters ask for. A shipped example counts once it is used: by a cluster of theirs,
/// or in Omni, as the state remembers.
fn wanted(cx: &Cx) -> Result<Wanted, Failure> {
    let id = cx.settings.provider_id(None).value;
    let mut sets = BTreeMap::new();
    for template in cluster_plan::templates_in_use(cx)? {
        for set in template.sets.iter().filter(|set| set.class.is_some()) {
            let class = set.class.as_ref().map_or(String::new(), |class| class.name.clone());
            sets.insert(set.id(&template.name), class);
        }
    }
    let applied = cx.settings.state.list("machine_classes");
    let used: BTreeSet<&str> = sets.values().chain(&applied).map(String::as_str).collect();
    let classes = cluster_plan::classes(cx)?;
    let counts = |class: &&cluster_plan::Class| {
        class.provider_id() == Some(id.as_str()) && (!class.example || used.contains(class.class.id.as_str()))
    };
    let machines: Vec<Machine> =
        classes.iter().filter(counts).filter_map(|class| class.machine.value.clone()).collect();
    Ok(Wanted { machines, sets })
}

fn note_wanted(cx: &Cx, wanted: &Wanted) {
    let (status, detail) = match wanted.machines.len() {
        0 => {
            (Status::Warning, "no machine class of this provider: only what every machine needs is checked".to_owned())
        }
        machines => {
            let words = [count(machines, "machine class"), count(wanted.sets.len(), "machine set")];
            (Status::Ok, words.join(", "))
        }
    };
    cx.ui.note("classes", "the classes and clusters of this project", status, detail);
}

/// The objects that Proxmox shows this login, by the paths of their permissions.
fn visible(inventory: &Inventory) -> BTreeSet<String> {
    let nodes = inventory.nodes.iter().filter(|node| node.figures.known().is_some());
    let nodes = nodes.map(|node| format!("/nodes/{}", node.name));
    nodes.chain(inventory.storages().map(|storage| format!("/storage/{}", storage.name))).collect()
}

/// Step 2. The tree leaves out paths on which the login has nothing, so those that it leaves in doubt are asked one by one.
///
/// # Errors
/// The first failure.
fn permissions_on(
    cx: &Cx,
    proxmox_at: &Proxmox,
    scope: &Scope,
    tree: &proxmox::Tree,
    visible: &BTreeSet<String>,
) -> Result<Permissions, Failure> {
    // A connection costs about as much as four answers over it.
    const CONNECTIONS: usize = 8;
    const AT_LEAST: usize = 4;
    let (mut exact, mut doubtful) = (BTreeMap::new(), Vec::new());
    for path in scope.paths() {
        match proxmox::certain(tree, &path, visible.contains(&path)) {
            Some(held) => _ = exact.insert(path, held),
            None => doubtful.push(path),
        }
    }
    let purpose = format!("asking Proxmox for the permissions on {}", count(doubtful.len(), "path"));
    let ask = |paths: &'_ [String]| -> Result<Vec<BTreeSet<String>>, Failure> {
        let queries: Vec<String> = paths.iter().map(|path| format!("{PERMISSIONS}?path={}", encoded(path))).collect();
        let answers = proxmox_at.get_each(cx, &purpose, &queries)?;
        queries.iter().zip(answers).map(|(query, data)| held_in(query, &data)).collect()
    };
    let ask = &ask;
    let job = |paths| -> Job<'_, Result<Vec<BTreeSet<String>>, Failure>> { Box::new(move || ask(paths)) };
    let jobs = doubtful.chunks(doubtful.len().div_ceil(CONNECTIONS).max(AT_LEAST)).map(job).collect();
    let answers = run_all(jobs, ALL).into_iter().collect::<Result<Vec<_>, _>>()?;
    exact.extend(doubtful.iter().cloned().zip(answers.into_iter().flatten()));
    Ok(Permissions { tree: tree.clone(), exact })
}

/// The privileges in the answer about one path.
fn held_in(query: &str, data: &Value) -> Result<BTreeSet<String>, Failure> {
    let found = proxmox::permissions(data).map_err(|why| Failure::new(Code::Failed, format!("{query}: {why}")))?;
    Ok(found.into_values().flat_map(BTreeMap::into_keys).collect())
}

fn warnings(
    login: &Login,
    inventory: &Inventory,
    facts: &Facts,
    scope: &Scope,
    permissions: &Permissions,
    wanted: &Wanted,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    found.extend(provider_verify::by_password(&login.proxmox.login).map(|advice| ("audit-password", advice)));
    if let Some(at) =
        facts.token.map(|token| token.expires).filter(|at| *at > 0).map(|at| UNIX_EPOCH + Duration::from_secs(at))
    {
        let left = at.duration_since(SystemTime::now()).unwrap_or_default();
        if left < SOON {
            let days = left.as_secs() / 86_400;
            let until = rfc3339(at);
            found.push((
                "audit-expiry",
                format!(
                    "the token expires in {} ({until}): `pveum user token modify` changes that",
                    count(days as usize, "day")
                ),
            ));
        }
    }
    for (path, privileges) in permissions::excess(scope, permissions, !wanted.machines.is_empty()) {
        let all = privileges.len();
        let some: Vec<&str> = privileges.iter().take(4).map(String::as_str).collect();
        let more = if all > some.len() { format!(" and {} more", all - some.len()) } else { String::new() };
        let what = if privileges.contains("Permissions.Modify") && path == "/" {
            "the login is an administrator: it may give itself any right; the provider needs none of"
        } else {
            "more rights than these classes need"
        };
        found.push(("audit-excess", format!("{what}: {}{more} on {path}", some.join(", "))));
    }
    for machine in wanted.machines.iter().filter(|machine| machine.hugepages) {
        let message = format!(
            "class `{}` sets `hugepages`, which Proxmox takes from root@pam with a password alone",
            machine.class
        );
        found.push(("audit-hugepages", message));
    }
    let blind = permissions::blind_selectors(inventory, scope, wanted, &selector::selects);
    found.extend(blind.into_iter().map(|message| ("audit-selector", message)));
    found.extend(proxmox_inventory::warnings(inventory).into_iter().map(|message| ("audit-storage", message)));
    found
}

/// Without `all` only what is not there. Rows that differ in their node alone are shown as one.
fn show(cx: &Cx, rows: &[Row], scope: &Scope, script: Option<&str>, all: bool) {
    let mut shown: Vec<(Row, BTreeSet<String>)> = Vec::new();
    for row in rows {
        let (general, node) = without_node(row, scope);
        let same = |known: &&mut (Row, BTreeSet<String>)| {
            let known = &known.0;
            (&known.call, &known.privilege, &known.path, known.status)
                == (&general.call, &general.privilege, &general.path, general.status)
        };
        match shown.iter_mut().find(same) {
            Some((_, nodes)) => nodes.extend(node),
            None => shown.push((general, node.into_iter().collect())),
        }
    }
    let nodes = |nodes: &BTreeSet<String>| match nodes.len() {
        0 => String::new(),
        _ if *nodes == scope.nodes && nodes.len() > 1 => "all nodes".to_owned(),
        1..=4 => nodes.iter().cloned().collect::<Vec<_>>().join(", "),
        count => format!("{count} of {} nodes", scope.nodes.len()),
    };
    let word = |status: permissions::Verdict| match status {
        permissions::Verdict::Present => "present",
        permissions::Verdict::Missing => "MISSING",
        permissions::Verdict::Optional => "optional",
        permissions::Verdict::Unneeded => "any login",
    };
    let row = |(row, on): &(Row, BTreeSet<String>)| {
        let not_checked = row.status == permissions::Verdict::Unneeded && !row.privilege.is_empty();
        let status = if not_checked { "not checked" } else { word(row.status) };
        vec![status.to_owned(), row.privilege.clone(), row.path.clone(), row.call.clone(), nodes(on)]
    };
    let absent = |row: &Row| matches!(row.status, permissions::Verdict::Missing | permissions::Verdict::Optional);
    let listed: Vec<Vec<String>> = shown.iter().filter(|(each, _)| all || absent(each)).map(row).collect();
    let mut text = String::new();
    if !listed.is_empty() {
        text.push_str(&table(&["STATUS", "PRIVILEGE", "PATH", "CALL", "ON"], &listed));
    }
    if !all {
        let rest = count(present(rows), "privilege");
        text.push_str(&format!("{rest} present; `--all` lists every call with what it needs\n"));
    }
    let missing: Vec<&(Row, BTreeSet<String>)> =
        shown.iter().filter(|(row, _)| row.status == permissions::Verdict::Missing).collect();
    if !missing.is_empty() {
        let mut consequences: Vec<Vec<String>> = Vec::new();
        for (row, _) in missing {
            let mut privilege = row.privilege.clone();
            if !row.alternatives.is_empty() {
                privilege.push_str(&format!(" (or {})", row.alternatives.join(" or ")));
            }
            let line = vec![privilege, row.path.clone(), row.without.to_owned()];
            if !consequences.contains(&line) {
                consequences.push(line);
            }
        }
        text.push('\n');
        text.push_str(&table(&["MISSING", "ON", "WITHOUT IT"], &consequences));
    }
    if let Some(script) = script {
        text.push('\n');
        text.push_str(script);
    }
    cx.ui.data(&text);
}

/// The row with `{node}` for the node that it is about, and that node.
fn without_node(row: &Row, scope: &Scope) -> (Row, Option<String>) {
    let named = |text: &str, node: &str| {
        text.split_once("/nodes/")
            .is_some_and(|(_, rest)| rest == node || rest.strip_prefix(node).is_some_and(|rest| rest.starts_with('/')))
    };
    let Some(node) = scope.nodes.iter().find(|node| named(&row.call, node) || named(&row.path, node)) else {
        return (row.clone(), None);
    };
    let general = |text: &str| {
        if named(text, node) { text.replacen(&format!("/nodes/{node}"), "/nodes/{node}", 1) } else { text.to_owned() }
    };
    let alternatives = row.alternatives.iter().map(|way| general(way)).collect();
    (Row { call: general(&row.call), path: general(&row.path), alternatives, ..row.clone() }, Some(node.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_paths_are_encoded() {
        assert_eq!(encoded("omni@pve"), "omni@pve");
        assert_eq!(encoded("/vms/100"), "%2Fvms%2F100");
        assert_eq!(encoded("a b&c"), "a%20b%26c");
    }
}
