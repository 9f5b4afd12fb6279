//! Generates the smallest `pveum` script that grants what is missing.
//!
//! An ACL entry replaces, on its path and below, what the same user inherits; entries on one path add up
//! (pve-access-control 9.1 `AccessControl.pm` `roles`). So the role of a new entry contains everything that the provider needs
//! there, not only what is missing; otherwise the login would lose inherited privileges. NoAccess on a path overrides every role
//! there; the script removes it if the list shows it, or if only it explains what the login sees.

use std::collections::{BTreeMap, BTreeSet};

use super::{ALL_POOLS, PrivilegeOnPath, Scope, has, known_alternatives};
use domain::status::proxmox::{AclEntry, Permissions, parent};
use domain::words::quote;

/// The login that receives the privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login<'a> {
    /// `omni@pve`.
    pub user: &'a str,
    /// `omni@pve!provider`; `None` for a login with a password.
    pub token: Option<&'a str>,
    /// Whether the token has privilege separation; `None` if the login may not see it.
    pub privsep: Option<bool>,
    /// The existing roles with their privileges; `None` if Proxmox does not report them.
    pub roles: Option<&'a BTreeMap<String, BTreeSet<String>>>,
    /// The entries of the access control list that the login can see: all, some or none.
    pub acl: &'a [AclEntry],
}

/// The roles to grant, by path.
type Grants = BTreeMap<String, BTreeSet<&'static str>>;

/// Returns the script, or `None` if nothing is missing. Each line can be run again without harm.
pub fn script(scope: &Scope, permissions: &Permissions, login: &Login<'_>) -> Option<String> {
    let grants = grants(scope, permissions, login);
    if grants.is_empty() {
        return None;
    }
    let needed = role_privileges(scope);
    let used: BTreeSet<&str> = grants.values().flatten().copied().collect();
    let mut lines = vec![format!(
        "# Grants {} what provider {} lacks. Run as root on any node.",
        login.token.unwrap_or(login.user),
        scope.provider
    )];
    if let Some(guess) = scope.guessed_iso.as_ref().filter(|guess| grants.contains_key(&format!("/storage/{guess}"))) {
        lines.push(format!(
            "# `{guess}` is a guess: on at least one node the login sees no storage for ISO images. Replace it with yours."
        ));
    }
    for role in used {
        let privileges = needed.get(role).cloned().unwrap_or_default();
        lines.extend(role_line(role, &privileges, login));
    }
    let who = match (login.privsep, login.token) {
        (Some(false), _) | (_, None) => format!("--users {}", quote(login.user)),
        // A token with privilege separation has what both it and its user have; without it, the token's own entries do not count.
        (_, Some(token)) => format!("--users {} --tokens {}", quote(login.user), quote(token)),
    };
    let bar = |(path, roles): &(&String, &BTreeSet<&str>)| {
        let made = roles.iter().all(|role| role_is_complete(role, &needed, login));
        has_no_access(path, made, scope, permissions, login)
    };
    let barred: Vec<&String> = grants.iter().filter(bar).map(|(path, _)| path).collect();
    if !barred.is_empty() {
        lines.push(
            "# NoAccess overrides every role on its path; deleting it has no effect where it is not set.".to_owned(),
        );
    }
    for path in &barred {
        lines.push(format!("pveum acl delete {} {who} --roles NoAccess", quote(path)));
    }
    for (path, roles) in &grants {
        let roles: Vec<&str> = roles.iter().copied().collect();
        // On /, grant only the path itself: a propagating entry would replace a group's privileges.
        let flat = if path == "/" { " --propagate 0" } else { "" };
        lines.push(format!("pveum acl modify {} {who} --roles {}{flat}", quote(path), roles.join(",")));
    }
    // If the roles exist, this script may have been run before.
    let again = |(path, roles): (&String, &BTreeSet<&str>)| {
        !barred.contains(&path) && roles.iter().all(|role| role_is_complete(role, &needed, login))
    };
    if !permissions.tree.is_empty() && grants.iter().any(again) {
        lines.push(format!(
            "# If a path is still missing, it has NoAccess: pveum acl delete PATH {who} --roles NoAccess"
        ));
    }
    Some(lines.join("\n") + "\n")
}

/// Returns the paths that need an entry, with their roles.
fn grants(scope: &Scope, permissions: &Permissions, login: &Login<'_>) -> Grants {
    let needs = scope.call_requirements();
    let mut grants = Grants::new();
    loop {
        let before = grants.len();
        for need in needs.iter().filter(|need| !need.optional) {
            let ways = known_alternatives(need, scope);
            let has = |want: &&PrivilegeOnPath| has(permissions, want);
            // A new entry replaces what another alternative depends on; our roles contain only what the first alternatives need.
            let replaced = |want: &PrivilegeOnPath| grants.keys().any(|path| covers(path, &want.path));
            let kept = |(nth, way): (usize, &&Vec<PrivilegeOnPath>)| {
                way.iter().all(|want| has(&want) && (nth == 0 || !replaced(want)))
            };
            if ways.iter().enumerate().any(kept) {
                continue;
            }
            for want in ways.first().into_iter().flat_map(|way| way.iter()).filter(|want| !has(want)) {
                grants.entry(grant_path(want, permissions, login)).or_default();
            }
        }
        if grants.len() == before {
            break;
        }
    }
    let mut all = grants.clone();
    for want in needs
        .iter()
        .filter(|need| !need.optional)
        .filter_map(|need| known_alternatives(need, scope).first().copied())
        .flatten()
    {
        let path = grant_path(want, permissions, login);
        if grants.contains_key(&path) {
            all.entry(path).or_default().insert(role_for(want, scope));
        }
    }
    all
}

/// Returns true if NoAccess is, or must be, on a path that needs a grant: the list shows it, or the login has nothing there
/// although it inherits something, or although the roles for exactly this path are `made`.
fn has_no_access(path: &str, made: bool, scope: &Scope, permissions: &Permissions, login: &Login<'_>) -> bool {
    let ours =
        |entry: &&AclEntry| entry.path == path && (entry.who == login.user || Some(entry.who.as_str()) == login.token);
    if login.acl.iter().filter(ours).any(|entry| entry.role == "NoAccess") {
        return true;
    }
    // A path with its own entries proves nothing about this one.
    let asked = scope.paths().into_iter().filter(|other| covers(path, other) && !permissions.tree.contains_key(other));
    let nothing = !permissions.tree.contains_key(path)
        && asked.into_iter().all(|other| permissions.exact.get(&other).is_some_and(BTreeSet::is_empty));
    let above = std::iter::successors(parent(path), |path| parent(path)).find_map(|path| permissions.tree.get(path));
    let inherits = above.is_some_and(|held| held.values().any(|propagates| *propagates));
    let single = matches!(path.split('/').nth(1), Some("vms" | "nodes" | "pool"));
    nothing && (inherits || single && made && !permissions.tree.is_empty())
}

/// Returns true if a role of ours exists with all its privileges.
fn role_is_complete(role: &str, needed: &BTreeMap<&str, BTreeSet<&str>>, login: &Login<'_>) -> bool {
    let held = login.roles.and_then(|roles| roles.get(role));
    held.is_some_and(|held| needed.get(role).is_some_and(|all| all.iter().all(|each| held.contains(*each))))
}

/// Returns the privileges that each role must contain.
fn role_privileges(scope: &Scope) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut roles: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
    for need in scope.call_requirements().iter().filter(|need| !need.optional) {
        for want in known_alternatives(need, scope).first().into_iter().flat_map(|way| way.iter()) {
            roles.entry(role_for(want, scope)).or_default().insert(want.privilege);
        }
    }
    roles
}

/// Returns true if an entry on `path` affects `other`; an entry on `/` affects only `/` itself.
fn covers(path: &str, other: &str) -> bool {
    path == other || path != "/" && other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

/// Returns the path of the entry that grants `want`: one entry for all VMs and for all nodes, one by name for everything else. If
/// an entry on the path itself hides inherited roles, the grant must be there.
fn grant_path(want: &PrivilegeOnPath, permissions: &Permissions, login: &Login<'_>) -> String {
    let path = want.path.as_str();
    let listed = || permissions.tree.contains_key(path) || login.acl.iter().any(|entry| entry.path == path);
    let above = match path.split('/').nth(1) {
        Some("vms" | "nodes" | "pool") if path != ALL_POOLS => parent(path),
        // The bridge: its entry applies to all of its VLANs.
        Some("sdn") if path.matches('/').count() == 5 => parent(path),
        _ => None,
    };
    match above {
        Some(above) if !listed() && !permissions.propagates(Some(above), want.privilege) => above.to_owned(),
        _ => path.to_owned(),
    }
}

/// Returns the role for a privilege on this kind of path.
fn role_for(want: &PrivilegeOnPath, scope: &Scope) -> &'static str {
    let storage = want.path.strip_prefix("/storage/");
    match want.path.split('/').nth(1).unwrap_or_default() {
        "vms" => "OmniVM",
        "nodes" => "OmniNode",
        "storage" => match want.privilege {
            "Datastore.Allocate" | "Datastore.AllocateTemplate" => "OmniISO",
            "Datastore.AllocateSpace" => "OmniDisk",
            _ if scope.iso.values().flatten().any(|iso| Some(iso.as_str()) == storage) => "OmniISO",
            _ => "OmniDisk",
        },
        "sdn" => "OmniNet",
        "mapping" => "OmniMap",
        "pool" => "OmniPool",
        _ if want.privilege == "Sys.Modify" => "OmniDownload",
        _ if scope.ha => "OmniHA",
        _ => "OmniDownload",
    }
}

/// Returns the line that gives the role all its privileges; `None` if it has them.
fn role_line(role: &str, privileges: &BTreeSet<&str>, login: &Login<'_>) -> Option<String> {
    let list = |privileges: &[&str]| privileges.join(",");
    let all: Vec<&str> = privileges.iter().copied().collect();
    let add = format!("pveum role add {role} --privs {}", list(&all));
    let Some(roles) = login.roles else {
        return Some(format!("{add} || pveum role modify {role} --append 1 --privs {}", list(&all)));
    };
    let Some(held) = roles.get(role) else { return Some(add) };
    let lacking: Vec<&str> = all.into_iter().filter(|privilege| !held.contains(*privilege)).collect();
    (!lacking.is_empty()).then(|| format!("pveum role modify {role} --append 1 --privs {}", list(&lacking)))
}
