//! The privileges of Proxmox VE 9 and the roles that are made from them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The built-in roles with their privileges.
fn built_in() -> impl Iterator<Item = (&'static str, Privs)> {
    let lines = include_str!("roles.txt").lines().filter(|line| !line.starts_with('#'));
    let roles = lines.map(|line| line.split_once(' ').unwrap_or((line, "")));
    roles.map(|(role, privs)| (role, privs.split_whitespace().collect()))
}

/// Every privilege.
fn all() -> Privs {
    built_in().find(|(role, _)| *role == "Administrator").map(|(_, privs)| privs).unwrap_or_default()
}

/// A set of privileges.
pub type Privs = BTreeSet<&'static str>;

/// A privilege by its name; `None` if Proxmox VE 9 has no such privilege.
pub fn privilege(name: &str) -> Option<&'static str> {
    all().get(name).copied()
}

/// What is granted on a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// All that is granted there.
    pub set: Privs,
    /// What of it goes on to the paths below.
    pub propagated: Privs,
}

impl Granted {
    /// What root@pam has everywhere.
    pub fn everything() -> Granted {
        Granted { set: all(), propagated: all() }
    }

    /// Adds the privileges of one role.
    pub fn add(&mut self, privs: &Privs, propagate: bool) {
        self.set.extend(privs);
        if propagate {
            self.propagated.extend(privs);
        }
    }

    /// What both grant: a token with privilege separation.
    pub fn and(&self, other: &Granted) -> Granted {
        Granted { set: &self.set & &other.set, propagated: &self.propagated & &other.propagated }
    }

    /// `{"VM.Audit": 1, …}`, where 1 means that it propagates.
    pub fn to_json(&self) -> Value {
        let entry = |name: &&str| ((*name).to_owned(), Value::from(u8::from(self.propagated.contains(name))));
        Value::Object(self.set.iter().map(entry).collect())
    }
}

/// The built-in roles.
pub fn special_roles() -> BTreeMap<String, Privs> {
    built_in().map(|(role, privs)| (role.to_owned(), privs)).collect()
}
