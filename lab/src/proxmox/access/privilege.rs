//! The privileges and built-in roles of Proxmox VE 9.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The built-in roles with their privileges.
fn built_in() -> impl Iterator<Item = (&'static str, Privs)> {
    let lines = include_str!("roles.txt").lines().filter(|line| !line.starts_with('#'));
    let roles = lines.map(|line| line.split_once(' ').unwrap_or((line, "")));
    roles.map(|(role, privs)| (role, privs.split_whitespace().collect()))
}

/// All privileges.
fn all() -> Privs {
    built_in().find(|(role, _)| *role == "Administrator").map(|(_, privs)| privs).unwrap_or_default()
}

/// A set of privileges.
pub type Privs = BTreeSet<&'static str>;

/// Returns a privilege by name; `None` if Proxmox VE 9 does not have it.
pub fn privilege(name: &str) -> Option<&'static str> {
    all().get(name).copied()
}

/// The privileges granted on a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// All privileges granted on the path.
    pub set: Privs,
    /// Those that propagate to the paths below.
    pub propagated: Privs,
}

impl Granted {
    /// All privileges, which root@pam has on every path.
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

    /// The privileges that both grant, as for a token with privilege separation.
    pub fn and(&self, other: &Granted) -> Granted {
        Granted { set: &self.set & &other.set, propagated: &self.propagated & &other.propagated }
    }

    /// Formats the privileges as `{"VM.Audit": 1, …}`, where 1 means that a privilege propagates.
    pub fn to_json(&self) -> Value {
        let entry = |name: &&str| ((*name).to_owned(), Value::from(u8::from(self.propagated.contains(name))));
        Value::Object(self.set.iter().map(entry).collect())
    }
}

/// The built-in roles, by ID.
pub fn special_roles() -> BTreeMap<String, Privs> {
    built_in().map(|(role, privs)| (role.to_owned(), privs)).collect()
}
