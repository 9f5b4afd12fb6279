//! Permissions, roles, tokens and zones.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{entries, flag, integer, text, words};

/// Privileges by path, as in `GET /access/permissions`; the bool is whether the privilege propagates to the paths below.
pub type Tree = BTreeMap<String, BTreeMap<String, bool>>;

/// Parses `GET /access/permissions`, for all paths or for one.
///
/// # Errors
/// Returns an error if the response is not a map of maps.
pub fn parse_permissions(data: &Value) -> Result<Tree, String> {
    let no_map = || "the response is not a map of paths".to_owned();
    let mut tree = Tree::new();
    for (path, privileges) in data.as_object().ok_or_else(no_map)? {
        let privileges = privileges.as_object().ok_or_else(no_map)?;
        let known = privileges.iter().filter(|(_, propagates)| !propagates.is_null());
        tree.insert(path.clone(), known.map(|(name, propagates)| (name.clone(), flag(propagates))).collect());
    }
    Ok(tree)
}

/// The privileges of a login: the tree, plus the exact privileges that Proxmox reported for some paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Every path with an ACL entry on which the login has a privilege.
    pub tree: Tree,
    /// Privileges that were requested path by path. A path without any privilege is missing in the tree, where it looks like one
    /// that inherits (pve-access-control 9.1 `RPCEnvironment.pm` `get_effective_permissions`); here it is empty.
    pub exact: BTreeMap<String, BTreeSet<String>>,
}

impl Permissions {
    /// Whether the login has the privilege on the path.
    pub fn has(&self, path: &str, privilege: &str) -> bool {
        if let Some(privileges) = self.exact.get(path) {
            return privileges.contains(privilege);
        }
        if let Some(privileges) = self.tree.get(path) {
            return privileges.contains_key(privilege);
        }
        self.propagates(parent(path), privilege)
    }

    /// Whether the login has the privilege on the path or above it, and the privilege propagates to the paths below.
    pub fn propagates(&self, path: Option<&str>, privilege: &str) -> bool {
        let mut next = path;
        while let Some(path) = next {
            if let Some(privileges) = self.tree.get(path) {
                return privileges.get(privilege).copied().unwrap_or(false);
            }
            next = parent(path);
        }
        false
    }
}

/// Paths that the tree always contains if the login has a privilege on them (`get_effective_permissions`).
const TOP: [&str; 8] = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];

/// Returns the privileges on `path` if the tree is conclusive; `None` if only Proxmox can tell. `visible` means that Proxmox
/// shows the object to the login, which requires a privilege on it.
///
/// A path that is missing in the tree either has no ACL entry, or the login has no privileges on it. A visible one therefore has
/// no entry and inherits what propagates from its parent. If the parent propagates nothing, its entries may hide those further up
/// (`AccessControl.pm` `roles`).
pub fn conclusive_privileges(tree: &Tree, path: &str, visible: bool) -> Option<BTreeSet<String>> {
    if let Some(privileges) = tree.get(path) {
        return Some(privileges.keys().cloned().collect());
    }
    if TOP.contains(&path) {
        return Some(BTreeSet::new());
    }
    let above = tree.get(parent(path)?).filter(|_| visible)?;
    let handed_down = above.iter().filter(|(_, propagates)| **propagates).map(|(privilege, _)| privilege.clone());
    Some(handed_down.collect()).filter(|handed_down: &BTreeSet<String>| !handed_down.is_empty())
}

/// Returns the parent path: `/a/b` → `/a` → `/` → `None`.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => Some("/"),
        at => Some(&path[..at]),
    }
}

/// Parses the privileges of each role in `GET /access/roles`.
///
/// # Errors
/// Returns an error if the response is not a list.
pub fn parse_roles(data: &Value) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let read = |entry: &Value| (text(&entry["roleid"]), words(&entry["privs"], &[',']).into_iter().collect());
    Ok(entries(data, "roles")?.iter().map(read).collect())
}

/// An entry of the access control list: the role of a user, group or token on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclEntry {
    pub path: String,
    /// `user`, `group` or `token`.
    pub kind: String,
    pub who: String,
    pub role: String,
}

/// Parses the entries in `GET /access/acl`: all of them for a login with Sys.Audit on /access, otherwise only those on paths
/// whose permissions the login may change (pve-access-control 9.1 `API2/ACL.pm`). Returns none if the response is not a list.
pub fn parse_acl(data: &Value) -> Vec<AclEntry> {
    let read = |entry: &Value| AclEntry {
        path: text(&entry["path"]),
        kind: text(&entry["type"]),
        who: text(&entry["ugid"]),
        role: text(&entry["roleid"]),
    };
    data.as_array().into_iter().flatten().map(read).collect()
}

/// An API token and its user, as Proxmox shows them to a login with sufficient privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenInfo {
    /// Whether the token's privileges are the intersection of its own and the user's.
    pub privsep: bool,
    /// Expiry as a Unix time; 0 means never.
    pub expires: u64,
}

/// Parses the token `name` in `GET /access/users/{userid}/token/{name}` or in `tokens` of `GET /access/users/{userid}`.
pub fn find_token(data: &Value, name: &str) -> Option<TokenInfo> {
    let tokens = data.get("tokens");
    let token = tokens.map_or(Some(data), |tokens| tokens.get(name))?.as_object()?;
    let user_expires = tokens.and_then(|_| integer(&data["expire"])).filter(|at| *at > 0);
    let expires = token.get("expire").and_then(integer).filter(|at| *at > 0);
    let first = [user_expires, expires].into_iter().flatten().min();
    Some(TokenInfo { privsep: token.get("privsep").is_none_or(flag), expires: first.unwrap_or(0) })
}

/// Returns the zone of each vnet in `GET /cluster/sdn/vnets`.
pub fn parse_zones(data: &Value) -> BTreeMap<String, String> {
    let entries = data.as_array().into_iter().flatten();
    entries.map(|entry| (text(&entry["vnet"]), text(&entry["zone"]))).filter(|(vnet, _)| !vnet.is_empty()).collect()
}
