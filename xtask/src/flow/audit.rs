//! Checks that the provider's login may do all that the provider does: for `proxmox-audit`, and as one line of other tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::flow::{project_classes, proxmox};
use crate::prelude::*;
use check::capacity::machine::Machine;
use check::permissions::{self, ProxmoxFacts, Requirements, Row, Scope, UnlistedObject};
use domain::status::proxmox::{self as status, AclEntry, Inventory, Permissions, TokenInfo};
use runtime::parallel::{NO_LIMIT, map_all, run_both};
use runtime::tool::proxmox::{Login, Proxmox};
use runtime::ui::{Check, table};

/// The short result of an audit.
pub struct Summary {
    /// `None` if nothing is missing.
    pub missing: Option<Failure>,
    /// How many privileges are present, counted per path.
    pub present: usize,
}

/// Audits the classes for which `counts` returns true, as one line of another task, with all queries in parallel.
///
/// # Errors
/// Returns an error if Proxmox cannot be queried; then nothing is known.
pub fn summary(cx: &Cx, proxmox: &Proxmox, counts: &dyn Fn(&str) -> bool) -> Result<Summary, Failure> {
    let (provider, _) = proxmox::provider_version(cx, None)?;
    let wanted = requirements(cx, counts)?;
    let mut answers = query_all(cx, proxmox, &wanted)?;
    let mut answer = |path: &str| answers.remove(path).unwrap_or_default();
    let nodes = proxmox::parse_nodes(&answer(NODES))?;
    let nodes = proxmox::add_storages(cx, proxmox, nodes, &answer(STORAGE), &answer(RESOURCES))?;
    let inventory = Inventory { taken_at: String::new(), endpoint: proxmox.url.clone(), version: String::new(), nodes };
    let tree = answer(PERMISSIONS);
    // The token explains the result only for a login without any privilege.
    let token = match tree.as_object().is_none_or(serde_json::Map::is_empty) {
        true => optional(read_token(cx, proxmox))?,
        false => Value::Null,
    };
    let facts = LoginFacts::of(
        [&tree, &answer(ROLES), &token, &Value::Null, &answer(NEXT_ID), &answer(VNETS)],
        proxmox.login.token_name().unwrap_or_default(),
    )?;
    let scope = Scope::new(provider, &inventory, facts.proxmox_facts(), &wanted);
    let mut visible = visible_paths(&inventory);
    visible.extend(status::parse_pools(&answer(POOLS)).iter().map(|pool| format!("/pool/{pool}")));
    // No VM has this ID, and Proxmox deletes a VM's ACL entries together with the VM (pve-access-control 9.1 `remove_vm_access`).
    visible.insert(format!("/vms/{}", scope.vmid));
    let permissions = permissions_on(cx, proxmox, &scope, &facts.tree, &visible)?;
    let rows = permissions::rows(&scope, &permissions);
    let lacks = |row: &Row| row.status == permissions::Verdict::Missing && row.path.starts_with("/sdn/");
    // Bridges are queried only if one is in doubt.
    let inventory = if rows.iter().any(lacks) { proxmox::observe_quietly(cx, proxmox)? } else { inventory };
    let absent = permissions::unlisted_objects(&rows, &scope, &inventory);
    let missing = missing_failure(&proxmox.login, &rows, &facts, &absent).map(|failure| {
        let audit = "`cargo xtask proxmox-audit` prints the pveum lines that grant them";
        let hint = if failure.hint.is_empty() { audit.to_owned() } else { format!("{}; {audit}", failure.hint) };
        failure.hint(hint)
    });
    Ok(Summary { missing, present: count_present(&rows) })
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

/// Queries all paths that are known beforehand, and returns the answers by path. Only the nodes and the permissions are required,
/// which every login may read; the audit can do without the others.
fn query_all(cx: &Cx, proxmox: &Proxmox, wanted: &Requirements) -> Result<BTreeMap<&'static str, Value>, Failure> {
    let mut paths = vec![NODES, STORAGE, PERMISSIONS, ROLES, NEXT_ID];
    if wanted.machines.iter().any(|machine| !machine.networks.is_empty()) {
        paths.push(VNETS);
    }
    if !wanted.sets.is_empty() || wanted.machines.iter().any(|machine| machine.pool.is_some()) {
        paths.push(POOLS);
    }
    let purpose = "reading the privileges of the login";
    let short: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    let (mut answers, resources) =
        run_both(|| proxmox.get_all(cx, purpose, &short), || proxmox.get(cx, purpose, RESOURCES));
    paths.push(RESOURCES);
    answers.push(resources);
    let known = |(path, answer): (&'static str, Result<Value, Failure>)| {
        let needed = [NODES, PERMISSIONS].contains(&path);
        Ok((path, if needed { answer? } else { optional(answer)? }))
    };
    paths.into_iter().zip(answers).map(known).collect()
}

/// Returns an optional answer: null if the query failed, unless it was interrupted.
fn optional(answer: Result<Value, Failure>) -> Result<Value, Failure> {
    match answer {
        Err(failure) if failure.code != Code::Interrupted => Ok(Value::Null),
        other => other,
    }
}

/// Counts the privileges that are present, per path.
pub fn count_present(rows: &[Row]) -> usize {
    let there = rows.iter().filter(|row| row.status == permissions::Verdict::Present);
    there.map(|row| (&row.privilege, &row.path)).collect::<BTreeSet<_>>().len()
}

/// Returns true if the row's privilege is absent.
pub fn is_missing(row: &Row) -> bool {
    matches!(row.status, permissions::Verdict::Missing | permissions::Verdict::Optional)
}

/// Returns a failure that lists what is missing; `None` if nothing is.
pub fn missing_failure(login: &Login, rows: &[Row], facts: &LoginFacts, absent: &[UnlistedObject]) -> Option<Failure> {
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
    Some(match privilege_separation_hint(login, facts) {
        None if absent.is_empty() => failure,
        None => {
            let objects: Vec<&str> = absent.iter().map(|one| one.object.as_str()).collect();
            let (objects, do_not, them) = match objects.as_slice() {
                [one] => ((*one).to_owned(), "does not", "it"),
                several => (several.join(", "), "do not", "them"),
            };
            let unseen = format!("{objects} {do_not} exist, or {} is not allowed to see {them}", login.id());
            let known = |path: &str| absent.iter().any(|one| one.path == path);
            let listed: BTreeSet<&str> = absent.iter().map(|one| one.listed.as_str()).collect();
            let listed = format!("Proxmox lists {}", listed.into_iter().collect::<Vec<_>>().join(", "));
            let cause = format!("{}\n{listed}", failure.cause);
            let failure = match missing.iter().all(|(_, path)| known(path)) {
                true => Failure { message: unseen, ..failure }.cause(cause),
                false => failure.cause(format!("{cause}: {unseen}")),
            };
            failure.hint(format!("correct the machine class if {objects} {do_not} exist"))
        }
        Some(hint) => {
            let cause = format!(
                "{}\nit has no privilege on any path: most likely the token is separated from its user (`--privsep 1`, the \
                 default) and has no entry of its own in the access control list; a token cannot see this itself",
                failure.cause
            );
            failure.cause(cause).hint(hint)
        }
    })
}

/// How to end privilege separation if that is the likely cause, because the token has no privilege anywhere.
fn privilege_separation_hint(login: &Login, facts: &LoginFacts) -> Option<String> {
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

/// What Proxmox reports about the login and about itself.
pub struct LoginFacts {
    pub tree: status::Tree,
    /// `None` if the login may not read them.
    pub roles: Option<BTreeMap<String, BTreeSet<String>>>,
    pub token: Option<TokenInfo>,
    pub acl: Vec<AclEntry>,
    vmid: u64,
    zones: BTreeMap<String, String>,
}

impl LoginFacts {
    /// Parses the answers about the permission tree, roles, token, access control list, next ID and vnets.
    fn of([tree, roles, token, acl, next_id, vnets]: [&Value; 6], name: &str) -> Result<LoginFacts, Failure> {
        let tree = status::parse_permissions(tree)
            .map_err(|why| Failure::new(Code::Failed, format!("{PERMISSIONS}: {why}")))?;
        let vmid = next_id.as_str().and_then(|id| id.parse().ok()).or_else(|| next_id.as_u64());
        Ok(LoginFacts {
            tree,
            roles: status::parse_roles(roles).ok(),
            token: status::find_token(token, name),
            acl: status::parse_acl(acl),
            vmid: vmid.unwrap_or(100),
            zones: status::parse_zones(vnets),
        })
    }

    pub fn proxmox_facts(&self) -> ProxmoxFacts {
        ProxmoxFacts {
            known: self.roles.as_ref().and_then(|roles| roles.get("Administrator").cloned()),
            vmid: self.vmid,
            zones: self.zones.clone(),
        }
    }
}

/// Reads the token, from its user's entry or from its own: a login may be allowed to read only one of them.
pub fn read_token(cx: &Cx, proxmox: &Proxmox) -> Result<Value, Failure> {
    let Some(name) = proxmox.login.token_name() else { return Ok(Value::Null) };
    let user = format!("/access/users/{}", percent_encode(&proxmox.login.user()));
    proxmox.get(cx, "reading the user from Proxmox", &user).or_else(|failure| match failure.code {
        Code::Interrupted => Err(failure),
        _ => proxmox.get(cx, "reading the token from Proxmox", &format!("{user}/token/{}", percent_encode(name))),
    })
}

/// Queries Proxmox about the login, with one step per query. Only the tree is required: every login may read its own.
pub fn observe(cx: &Cx, proxmox: &Proxmox) -> anyhow::Result<LoginFacts> {
    let (user, name) = (proxmox.login.user(), proxmox.login.token_name());
    let get = |purpose: &'static str, path: &str| proxmox.get(cx, purpose, path);
    let checks: Vec<Check<'_, Value>> = vec![
        Check::new("tree", "Read the privileges of the login", || {
            let tree = get("reading the login's permissions from Proxmox", PERMISSIONS)?;
            let paths = tree.as_object().map_or(0, serde_json::Map::len);
            let detail = format!("on {}", count(paths, "path"));
            Ok(if paths == 0 { StepResult::warning(tree, detail) } else { StepResult::ok(tree, detail) })
        }),
        Check::new("roles", "Read the roles", || optional_step(get("reading the roles from Proxmox", ROLES))),
        Check::new("token", "Read the token's expiry and privilege separation", || match read_token(cx, proxmox) {
            _ if name.is_none() => Ok(StepResult::skipped(Value::Null, "the login is not a token")),
            Err(failure) if failure.code == Code::Refused => Ok(StepResult::skipped(
                Value::Null,
                format!("not shown to the token itself; see `pveum user token list {user}`"),
            )),
            other => optional_step(other),
        }),
        Check::new("acl", "Read the visible access control list", || {
            optional_step(get("reading the access control list from Proxmox", ACL))
        }),
        Check::new("nextid", "Read the next free VM ID", || {
            optional_step(get("reading the next VM ID from Proxmox", NEXT_ID))
        }),
        Check::new("vnets", "Read the SDN vnets", || optional_step(get("reading the vnets from Proxmox", VNETS))),
    ];
    let answers: Vec<Value> =
        cx.ui.run_checks("querying Proxmox about the login", checks).into_iter().collect::<Result<_, _>>()?;
    Ok(LoginFacts::of(std::array::from_fn(|at| answers.get(at).unwrap_or(&Value::Null)), name.unwrap_or_default())?)
}

/// Turns an answer that the audit can do without into a step.
fn optional_step(answer: Result<Value, Failure>) -> anyhow::Result<StepResult<Value>> {
    match answer {
        Ok(Value::String(text)) => Ok(StepResult::ok(Value::String(text.clone()), text)),
        Ok(value) => Ok(StepResult::ok(value, "")),
        Err(failure) if failure.code == Code::Interrupted => Err(failure.into()),
        Err(failure) => Ok(StepResult::skipped(Value::Null, failure.to_string())),
    }
}

/// Percent-encodes a path segment for a URL.
fn percent_encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~@".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Returns what the operator's own classes and clusters require, for classes for which `counts` returns true. A shipped example
/// is included once it is used: by one of the operator's clusters, or in Omni according to the state.
pub fn requirements(cx: &Cx, counts: &dyn Fn(&str) -> bool) -> Result<Requirements, Failure> {
    let id = cx.settings.provider_id(None).value;
    let mut sets = BTreeMap::new();
    for template in project_classes::templates_in_use(cx)? {
        for set in template.sets.iter().filter(|set| set.class.is_some()) {
            let class = set.class.as_ref().map_or(String::new(), |class| class.name.clone());
            sets.insert(set.id(&template.name), class);
        }
    }
    sets.retain(|_, class| counts(class));
    let applied = cx.settings.state.list("machine_classes");
    let used: BTreeSet<&str> = sets.values().chain(&applied).map(String::as_str).collect();
    let classes = project_classes::read_classes(cx)?;
    let ours = |class: &&project_classes::Class| {
        let (own, name) = (class.provider_id() == Some(id.as_str()), class.class.id.as_str());
        own && counts(name) && (!class.example || used.contains(name))
    };
    let machines: Vec<Machine> = classes.iter().filter(ours).filter_map(|class| class.machine.value.clone()).collect();
    Ok(Requirements { machines, sets })
}

/// The objects that Proxmox shows to this login, as their permission paths.
pub fn visible_paths(inventory: &Inventory) -> BTreeSet<String> {
    let nodes = inventory.nodes.iter().filter(|node| node.figures.known().is_some());
    let nodes = nodes.map(|node| format!("/nodes/{}", node.name));
    nodes.chain(inventory.storages().map(|storage| format!("/storage/{}", storage.name))).collect()
}

/// Determines the login's permissions. The tree omits paths without any privilege, so the doubtful ones are queried individually.
///
/// # Errors
/// Returns the first failure.
pub fn permissions_on(
    cx: &Cx,
    proxmox: &Proxmox,
    scope: &Scope,
    tree: &status::Tree,
    visible: &BTreeSet<String>,
) -> Result<Permissions, Failure> {
    // A connection costs about as much as four answers over it, and Proxmox has three workers to answer (pve-manager 9.2
    // `PVE/Service/pveproxy.pm`).
    const CONNECTIONS: usize = 3;
    const AT_LEAST: usize = 4;
    let (mut exact, mut doubtful) = (BTreeMap::new(), Vec::new());
    for path in scope.paths() {
        match status::conclusive_privileges(tree, &path, visible.contains(&path)) {
            Some(held) => _ = exact.insert(path, held),
            None => doubtful.push(path),
        }
    }
    let purpose = format!("reading the permissions on {}", count(doubtful.len(), "path"));
    let ask = |paths: &[String]| -> Result<Vec<BTreeSet<String>>, Failure> {
        let queries: Vec<String> =
            paths.iter().map(|path| format!("{PERMISSIONS}?path={}", percent_encode(path))).collect();
        let answers = proxmox.get_over_one_connection(cx, &purpose, &queries, Duration::from_secs(10))?;
        queries.iter().zip(answers).map(|(query, data)| privileges_in(query, &data)).collect()
    };
    let parts = doubtful.chunks(doubtful.len().div_ceil(CONNECTIONS).max(AT_LEAST));
    let answers = map_all(parts, NO_LIMIT, ask).into_iter().collect::<Result<Vec<_>, _>>()?;
    exact.extend(doubtful.iter().cloned().zip(answers.into_iter().flatten()));
    Ok(Permissions { tree: tree.clone(), exact })
}

/// The privileges in the answer for one path.
fn privileges_in(query: &str, data: &Value) -> Result<BTreeSet<String>, Failure> {
    let found = status::parse_permissions(data).map_err(|why| Failure::new(Code::Failed, format!("{query}: {why}")))?;
    Ok(found.into_values().flat_map(BTreeMap::into_keys).collect())
}

/// Replaces the node in a row by `{node}`, and returns it separately.
pub fn without_node(row: &Row, scope: &Scope) -> (Row, Option<String>) {
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

/// Adds a step that shows what the audit covers.
pub fn report_requirements(cx: &Cx, wanted: &Requirements) {
    let (status, detail) = match wanted.machines.len() {
        0 => {
            (Status::Warning, "no machine class of this provider: only what every machine needs is checked".to_owned())
        }
        machines => {
            let words = [count(machines, "machine class"), count(wanted.sets.len(), "machine set")];
            (Status::Ok, words.join(", "))
        }
    };
    cx.ui.note("classes", "Read the classes and clusters of this project", status, detail);
}

/// Shows the rows; without `all`, only absent privileges. Rows that differ only in their node are merged.
pub fn show(cx: &Cx, rows: &[Row], scope: &Scope, script: Option<&str>, all: bool) {
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
    let listed: Vec<Vec<String>> = shown.iter().filter(|(each, _)| all || is_missing(each)).map(row).collect();
    let mut text = String::new();
    if !listed.is_empty() {
        text.push_str(&table(&["STATUS", "PRIVILEGE", "PATH", "CALL", "ON"], &listed));
    }
    if !all {
        let rest = count(count_present(rows), "privilege");
        text.push_str(&format!("{rest} present; `--all` lists every call with the privileges it needs\n"));
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
    cx.ui.print_states(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_segments_are_percent_encoded() {
        assert_eq!(percent_encode("omni@pve"), "omni@pve");
        assert_eq!(percent_encode("/vms/100"), "%2Fvms%2F100");
        assert_eq!(percent_encode("a b&c"), "a%20b%26c");
    }
}
