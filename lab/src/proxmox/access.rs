//! Who may do what: users, API tokens, roles, ACLs and pools, with the rules of Proxmox VE 9
//! (pve-access-control 9.1 `AccessControl.pm` `roles()`, `RPCEnvironment.pm` `permissions()`).

mod privilege;

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::{Outcome, Refusal};

pub use privilege::{Granted, Privs, privilege, special_roles};

/// A user of `user.cfg`. No `Debug` here or around it: it would print passwords and secrets.
#[derive(Clone, Default)]
pub struct User {
    /// The password of root; without one only tokens work.
    pub password: Option<String>,
    /// API tokens by the part of their id after the exclamation mark.
    pub tokens: BTreeMap<String, Token>,
}

/// An API token of a user.
#[derive(Clone, Default)]
pub struct Token {
    /// The secret, a UUID.
    pub secret: String,
    /// Whether its rights are the user's cut by its own ACLs; if not, it has all that the user has.
    pub privsep: bool,
    /// Unix time after which access ends; 0 is never.
    pub expire: u64,
}

/// A set of guests that share rights.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    pub comment: Option<String>,
    pub vms: BTreeSet<u32>,
}

/// The entries of one path: role and whether it goes on to the paths below, by user or full token id.
type Entries = BTreeMap<String, BTreeMap<String, bool>>;

/// `user.cfg` as a whole.
#[derive(Clone, Default)]
pub struct Access {
    /// By user id, `name@realm`.
    pub users: BTreeMap<String, User>,
    /// Privileges by role id.
    pub roles: BTreeMap<String, Privs>,
    /// By pool id.
    pub pools: BTreeMap<String, Pool>,
    /// Which pool a VM is in; a VM is in one at most.
    pub vm_pool: BTreeMap<u32, String>,
    acl: BTreeMap<String, Entries>,
}

/// `user@realm` and the token's name of a full token id; the second is `None` for a plain user.
pub fn split_token(auth: &str) -> (&str, Option<&str>) {
    match auth.split_once('!') {
        Some((user, token)) => (user, Some(token)),
        None => (auth, None),
    }
}

impl Access {
    /// Gives a role on a path: with whether it goes on to the paths below, or takes it with `None`.
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

    /// Gives a user a role on a path and everything below it.
    pub fn grant(&mut self, path: &str, user: &str, role: &str) {
        self.set_acl(path, user, role, Some(true));
    }

    /// Forgets what was said about a path and everything below it, as deleting its object does.
    pub fn forget_path(&mut self, path: &str) {
        let below = format!("{path}/");
        self.acl.retain(|known, _| known != path && !known.starts_with(&below));
    }

    /// Forgets what was granted to a user and to its tokens.
    pub fn forget_subject(&mut self, user: &str) {
        for entries in self.acl.values_mut() {
            entries.retain(|who, _| split_token(who).0 != user);
        }
        self.acl.retain(|_, entries| !entries.is_empty());
    }

    /// Every entry: path, user or token, role, whether it propagates.
    pub fn acl(&self) -> impl Iterator<Item = (&str, &str, &str, bool)> {
        self.acl.iter().flat_map(|(path, entries)| {
            entries.iter().flat_map(move |(who, roles)| {
                roles.iter().map(move |(role, propagate)| (path.as_str(), who.as_str(), role.as_str(), *propagate))
            })
        })
    }

    /// The roles that ACLs give on a path, with their propagation; pools left aside.
    fn roles_on(&self, auth: &str, path: &str) -> BTreeMap<&str, bool> {
        let mut roles = BTreeMap::new();
        for (prefix, last) in prefixes(path) {
            let said = self.acl.get(prefix).and_then(|entries| entries.get(auth)).into_iter().flatten();
            let heard = said.filter(|(_, propagate)| last || **propagate);
            let new: BTreeMap<&str, bool> = heard.map(|(role, propagate)| (role.as_str(), *propagate)).collect();
            // A level that says anything replaces what the levels above said.
            if !new.is_empty() {
                roles = new;
            }
        }
        match roles.get("NoAccess") {
            Some(propagate) => BTreeMap::from([("NoAccess", *propagate)]),
            None => roles,
        }
    }

    /// Adds what comes to a guest from the pool that it is in.
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

    /// What a user or token may do on a path, and what of that it may do below it.
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

    /// Whether all the privileges are there.
    pub fn may(&self, auth: &str, path: &str, privileges: &[&str]) -> bool {
        let granted = self.permissions(auth, path);
        privileges.iter().all(|privilege| granted.set.contains(privilege))
    }

    /// Whether one of the privileges is there.
    pub fn may_any(&self, auth: &str, path: &str, privileges: &[&str]) -> bool {
        let granted = self.permissions(auth, path);
        privileges.iter().any(|privilege| granted.set.contains(privilege))
    }

    /// Whether one of the privileges is there, for many objects of one folder (`/vms`, `/storage`): what holds for all
    /// that nothing special was said about is looked up once.
    pub fn below<'a>(&'a self, auth: &'a str, folder: &'a str, privileges: &'a [&'a str]) -> Below<'a> {
        // No object has such a name, so nothing is said of it but what is said of the folder.
        let usual = self.may_any(auth, &format!("{folder}/*"), privileges);
        Below { access: self, auth, folder, privileges, usual }
    }

    /// Whether something was said about just this path, or it has a place in a pool.
    fn is_special(&self, path: &str) -> bool {
        let vmid = path.strip_prefix("/vms/").filter(|_| !self.vm_pool.is_empty());
        let pooled = vmid.is_some_and(|id| id.parse().is_ok_and(|id: u32| self.vm_pool.contains_key(&id)));
        pooled || self.acl.contains_key(path)
    }

    /// All the privileges, or 403 with the path and the first that is missing.
    pub fn check(&self, auth: &str, path: &str, privileges: &[&str]) -> Outcome<()> {
        let set = self.permissions(auth, path).set;
        match privileges.iter().find(|privilege| !set.contains(*privilege)) {
            Some(missing) => Err(Refusal::denied(&format!("{path}, {missing}"))),
            None => Ok(()),
        }
    }

    /// One of the privileges, or 403 with the path and all of them.
    pub fn check_any(&self, auth: &str, path: &str, privileges: &[&str]) -> Outcome<()> {
        if self.may_any(auth, path, privileges) {
            return Ok(());
        }
        Err(Refusal::denied(&format!("{path}, {}", privileges.join("|"))))
    }

    /// The tree that `GET /access/permissions` shows: paths of interest with what is granted there.
    pub fn effective(&self, auth: &str) -> BTreeMap<String, Granted> {
        let top = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
        let mut paths: BTreeSet<String> = top.iter().map(|path| (*path).to_owned()).collect();
        // The tree of entries has the paths between, too (`iterate_acl_tree`).
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

    /// A user; otherwise pve-access-control's words.
    pub fn user(&self, user: &str) -> Result<&User, String> {
        self.users.get(user).ok_or_else(|| format!("no such user ('{user}')"))
    }
}

/// The answer of [`Access::below`].
pub struct Below<'a> {
    access: &'a Access,
    auth: &'a str,
    folder: &'a str,
    privileges: &'a [&'a str],
    usual: bool,
}

impl Below<'_> {
    /// Whether one of the privileges is there for this object of the folder.
    pub fn may(&self, id: impl std::fmt::Display) -> bool {
        let path = format!("{}/{id}", self.folder);
        if self.access.is_special(&path) { self.access.may_any(self.auth, &path, self.privileges) } else { self.usual }
    }
}

/// `/`, `/a`, `/a/b` for `/a/b`, each with whether it is the path itself.
fn prefixes(path: &str) -> impl Iterator<Item = (&str, bool)> {
    let ends = path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]);
    let below = ends.filter(move |_| path != "/").map(move |end| (&path[..end], end == path.len()));
    std::iter::once(("/", path == "/")).chain(below)
}

/// An ACL path in its normal form; `None` if it cannot be one.
pub fn normalize_path(path: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    if path.is_empty() || !path.chars().all(good) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Some(format!("/{}", parts.join("/")))
}

/// Whether PVE knows such a path (`AccessControl.pm` `check_path`; compared with the engine of pve-access-control 9.1.1).
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
