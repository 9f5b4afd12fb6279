//! Access control: users, API tokens, roles, ACLs and pools, with the rules of Proxmox VE 9
//! (pve-access-control 9.1 `AccessControl.pm` `roles()`, `RPCEnvironment.pm` `permissions()`).

mod privilege;

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::{Outcome, Refusal};

pub use privilege::{Granted, Privs, privilege, special_roles};

/// A user in `user.cfg`. Neither this type nor its containers implement `Debug`, which would print passwords and secrets.
#[derive(Clone, Default)]
pub struct User {
    /// The password, which only root has; without one, only tokens work.
    pub password: Option<String>,
    /// API tokens by the part of their ID after the exclamation mark.
    pub tokens: BTreeMap<String, Token>,
}

/// An API token of a user.
#[derive(Clone, Default)]
pub struct Token {
    /// The secret, a UUID.
    pub secret: String,
    /// Whether privileges are separated: the token has only the user's rights that its own ACLs also grant. Otherwise it has all
    /// rights of the user.
    pub privsep: bool,
    /// Unix time of expiry; 0 means never.
    pub expire: u64,
}

/// A set of guests that share rights.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    pub comment: Option<String>,
    pub vms: BTreeSet<u32>,
}

/// The ACL entries of one path, by user or full token ID: roles, and whether each propagates to the paths below.
type Entries = BTreeMap<String, BTreeMap<String, bool>>;

/// The contents of `user.cfg`.
#[derive(Clone, Default)]
pub struct Access {
    /// Users by ID, `name@realm`.
    pub users: BTreeMap<String, User>,
    /// Privileges by role ID.
    pub roles: BTreeMap<String, Privs>,
    /// Pools by ID.
    pub pools: BTreeMap<String, Pool>,
    /// The pool of each VM; a VM is in at most one.
    pub vm_pool: BTreeMap<u32, String>,
    acl: BTreeMap<String, Entries>,
}

/// Splits a full token ID into `user@realm` and token name, which is `None` for a plain user.
pub fn split_token(auth: &str) -> (&str, Option<&str>) {
    match auth.split_once('!') {
        Some((user, token)) => (user, Some(token)),
        None => (auth, None),
    }
}

impl Access {
    /// Grants a role on a path, where `propagate` is whether it also applies to the paths below, or revokes it with `None`.
    pub fn set_acl(&mut self, path: &str, who: &str, role: &str, propagate: Option<bool>) {
        let roles = self.acl.entry(path.to_owned()).or_default().entry(who.to_owned()).or_default();
        match propagate {
            Some(propagate) => drop(roles.insert(role.to_owned(), propagate)),
            None => drop(roles.remove(role)),
        }
        self.acl.retain(|_, entries| {
            entries.retain(|_, roles| !roles.is_empty());
            !entries.is_empty()
        });
    }

    /// Grants a user a role on a path and everything below it.
    pub fn grant(&mut self, path: &str, user: &str, role: &str) {
        self.set_acl(path, user, role, Some(true));
    }

    /// Removes the ACL entries of a path and everything below it, as happens when its object is deleted.
    pub fn remove_path(&mut self, path: &str) {
        let below = format!("{path}/");
        self.acl.retain(|known, _| known != path && !known.starts_with(&below));
    }

    /// Removes all ACL entries of a user and its tokens.
    pub fn remove_subject(&mut self, user: &str) {
        for entries in self.acl.values_mut() {
            entries.retain(|who, _| split_token(who).0 != user);
        }
        self.acl.retain(|_, entries| !entries.is_empty());
    }

    /// All entries: path, user or token, role, and whether it propagates.
    pub fn acl(&self) -> impl Iterator<Item = (&str, &str, &str, bool)> {
        self.acl.iter().flat_map(|(path, entries)| {
            entries.iter().flat_map(move |(who, roles)| {
                roles.iter().map(move |(role, propagate)| (path.as_str(), who.as_str(), role.as_str(), *propagate))
            })
        })
    }

    /// The roles that ACLs grant on a path and whether each propagates, without those inherited from a pool.
    fn roles_on(&self, auth: &str, path: &str) -> BTreeMap<&str, bool> {
        let mut roles = BTreeMap::new();
        for (prefix, last) in prefixes(path) {
            let said = self.acl.get(prefix).and_then(|entries| entries.get(auth)).into_iter().flatten();
            let heard = said.filter(|(_, propagate)| last || **propagate);
            let new: BTreeMap<&str, bool> = heard.map(|(role, propagate)| (role.as_str(), *propagate)).collect();
            // Entries on a deeper level replace all those from the levels above.
            if !new.is_empty() {
                roles = new;
            }
        }
        match roles.get("NoAccess") {
            Some(propagate) => BTreeMap::from([("NoAccess", *propagate)]),
            None => roles,
        }
    }

    /// Adds the roles that a guest inherits from its pool.
    fn add_pool_roles<'a>(&'a self, auth: &str, path: &str, roles: &mut BTreeMap<&'a str, bool>) {
        let vmid = path.strip_prefix("/vms/").and_then(|id| id.parse::<u32>().ok());
        let Some(pool) = vmid.and_then(|vmid| self.vm_pool.get(&vmid)) else { return };
        if roles.contains_key("NoAccess") {
            return;
        }
        let from_pool = self.roles_on(auth, &format!("/pool/{pool}"));
        if from_pool.contains_key("NoAccess") {
            *roles = BTreeMap::from([("NoAccess", false)]);
            return;
        }
        for role in from_pool.into_keys() {
            roles.entry(role).or_insert(false);
        }
    }

    /// The privileges of a user or token on a path, and which of them propagate to the paths below.
    pub fn permissions(&self, auth: &str, path: &str) -> Granted {
        if auth == "root@pam" {
            return Granted::everything();
        }
        let (user, token) = split_token(auth);
        let of_user = match token {
            None => None,
            Some(token) => {
                let Some(info) = self.users.get(user).and_then(|user| user.tokens.get(token)) else {
                    return Granted::default();
                };
                if !info.privsep {
                    return self.permissions(user, path);
                }
                Some(self.permissions(user, path))
            }
        };
        let mut roles = self.roles_on(auth, path);
        self.add_pool_roles(auth, path, &mut roles);
        let mut granted = Granted::default();
        for (role, propagate) in roles {
            self.roles.get(role).into_iter().for_each(|privs| granted.add(privs, propagate));
        }
        match of_user {
            Some(of_user) => granted.and(&of_user),
            None => granted,
        }
    }

    /// Whether a user or token has all of the privileges.
    pub fn may(&self, auth: &str, path: &str, privileges: &[&str]) -> bool {
        let granted = self.permissions(auth, path);
        privileges.iter().all(|privilege| granted.set.contains(privilege))
    }

    /// Whether a user or token has at least one of the privileges.
    pub fn may_any(&self, auth: &str, path: &str, privileges: &[&str]) -> bool {
        let granted = self.permissions(auth, path);
        privileges.iter().any(|privilege| granted.set.contains(privilege))
    }

    /// Like [`Access::may_any`], for many objects in one folder (`/vms`, `/storage`): the result for objects without a pool or
    /// an ACL entry of their own is computed once.
    pub fn below<'a>(&'a self, auth: &'a str, folder: &'a str, privileges: &'a [&'a str]) -> Below<'a> {
        // No object has this name, so only the folder's entries apply to it.
        let usual = self.may_any(auth, &format!("{folder}/*"), privileges);
        Below { access: self, auth, folder, privileges, usual }
    }

    /// Whether this path has ACL entries of its own or is in a pool.
    fn is_special(&self, path: &str) -> bool {
        let vmid = path.strip_prefix("/vms/").filter(|_| !self.vm_pool.is_empty());
        let pooled = vmid.is_some_and(|id| id.parse().is_ok_and(|id: u32| self.vm_pool.contains_key(&id)));
        pooled || self.acl.contains_key(path)
    }

    /// Fails with a 403 that names the path and the first missing privilege unless all of the privileges are granted.
    pub fn check(&self, auth: &str, path: &str, privileges: &[&str]) -> Outcome<()> {
        let set = self.permissions(auth, path).set;
        match privileges.iter().find(|privilege| !set.contains(*privilege)) {
            Some(missing) => Err(Refusal::denied(&format!("{path}, {missing}"))),
            None => Ok(()),
        }
    }

    /// Fails with a 403 that names the path and all of the privileges unless at least one of them is granted.
    pub fn check_any(&self, auth: &str, path: &str, privileges: &[&str]) -> Outcome<()> {
        if self.may_any(auth, path, privileges) {
            return Ok(());
        }
        Err(Refusal::denied(&format!("{path}, {}", privileges.join("|"))))
    }

    /// The permissions that `GET /access/permissions` returns, by path.
    pub fn effective(&self, auth: &str) -> BTreeMap<String, Granted> {
        let top = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
        let mut paths: BTreeSet<String> = top.iter().map(|path| (*path).to_owned()).collect();
        // PVE's ACL tree also contains the intermediate paths (`iterate_acl_tree`).
        paths.extend(self.acl.keys().flat_map(|path| prefixes(path)).map(|(path, _)| path.to_owned()));
        for pool in self.pools.values() {
            paths.extend(pool.vms.iter().map(|id| format!("/vms/{id}")));
        }
        let granted = paths.into_iter().map(|path| {
            let granted = self.permissions(auth, &path);
            (path, granted)
        });
        granted.filter(|(_, granted)| !granted.set.is_empty()).collect()
    }

    /// Returns a user, or pve-access-control's error message.
    pub fn user(&self, user: &str) -> Result<&User, String> {
        self.users.get(user).ok_or_else(|| format!("no such user ('{user}')"))
    }
}

/// The result of [`Access::below`].
pub struct Below<'a> {
    access: &'a Access,
    auth: &'a str,
    folder: &'a str,
    privileges: &'a [&'a str],
    usual: bool,
}

impl Below<'_> {
    /// Whether at least one of the privileges is granted for this object in the folder.
    pub fn may(&self, id: impl std::fmt::Display) -> bool {
        let path = format!("{}/{id}", self.folder);
        if self.access.is_special(&path) { self.access.may_any(self.auth, &path, self.privileges) } else { self.usual }
    }
}

/// The prefixes of a path, for example `/`, `/a` and `/a/b` for `/a/b`, each with whether it is the whole path.
fn prefixes(path: &str) -> impl Iterator<Item = (&str, bool)> {
    let ends = path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]);
    let below = ends.filter(move |_| path != "/").map(move |end| (&path[..end], end == path.len()));
    std::iter::once(("/", path == "/")).chain(below)
}

/// Normalizes an ACL path; `None` if it is not valid.
pub fn normalize_path(path: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    if path.is_empty() || !path.chars().all(good) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Some(format!("/{}", parts.join("/")))
}

/// Whether PVE accepts an ACL path (`AccessControl.pm` `check_path`; compared with the engine of pve-access-control 9.1.1).
pub fn known_path(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let number = |text: &str, digits: usize| {
        text.len() >= digits && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    match parts.as_slice() {
        [""] => true,
        ["access"] | ["access", "groups" | "realm"] | ["access", "groups" | "realm", _] => true,
        ["nodes" | "storage" | "mapping" | "pool" | "sdn" | "vms"] => true,
        ["nodes" | "storage", _] | ["mapping", _] | ["mapping", _, _] => true,
        ["pool", names @ ..] => names.len() <= 3,
        ["sdn", "controllers" | "dns" | "fabrics" | "ipams" | "prefix-lists" | "route-maps" | "zones"] => true,
        ["sdn", "controllers" | "dns" | "fabrics" | "ipams", name] => !name.contains(['.', '-']),
        ["sdn", "prefix-lists" | "route-maps" | "zones", _] | ["sdn", "zones", _, _] => true,
        ["sdn", "zones", _, _, tag] => number(tag, 1) && tag.len() <= 4,
        ["vms", id] => number(id, 3),
        _ => false,
    }
}
