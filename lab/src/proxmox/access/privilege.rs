//! The privileges of Proxmox VE 9 and the roles that are made from them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Privileges in the groups that the built-in roles are made from: category, then the ranks root, admin, user, audit
/// (pve-access-control 9.1 `AccessControl.pm` `$privgroups`).
const GROUPS: &[(&str, [&str; 4])] = &[
    (
        "VM",
        [
            "",
            "VM.Config.Disk VM.Config.CPU VM.Config.Memory VM.Config.Network VM.Config.HWType VM.Config.Options VM.Allocate \
             VM.Clone VM.GuestAgent.Unrestricted VM.Migrate VM.Replicate VM.Snapshot VM.Snapshot.Rollback",
            "VM.Config.CDROM VM.Config.Cloudinit VM.Console VM.Backup VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt \
             VM.GuestAgent.FileWrite VM.PowerMgmt",
            "VM.Audit VM.GuestAgent.Audit",
        ],
    ),
    ("Sys", ["Sys.PowerMgmt Sys.Modify Sys.Incoming Sys.AccessNetwork", "Sys.Console Sys.Syslog", "", "Sys.Audit"]),
    ("Datastore", ["", "Datastore.Allocate Datastore.AllocateTemplate", "Datastore.AllocateSpace", "Datastore.Audit"]),
    ("SDN", ["", "SDN.Allocate SDN.Audit", "SDN.Use", "SDN.Audit"]),
    ("User", ["Realm.Allocate", "User.Modify Group.Allocate Realm.AllocateUser", "", ""]),
    ("Pool", ["", "Pool.Allocate", "Pool.Audit", "Pool.Audit"]),
    ("Mapping", ["", "Mapping.Modify", "Mapping.Use", "Mapping.Audit"]),
];

/// Every privilege.
fn names() -> impl Iterator<Item = &'static str> {
    let grouped = GROUPS.iter().flat_map(|(_, ranks)| ranks.iter().flat_map(|rank| rank.split_whitespace()));
    std::iter::once("Permissions.Modify").chain(grouped)
}

/// A set of privileges.
pub type Privs = BTreeSet<&'static str>;

/// A privilege by its name; `None` if Proxmox VE 9 has no such privilege.
pub fn privilege(name: &str) -> Option<&'static str> {
    names().find(|known| *known == name)
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
        Granted { set: names().collect(), propagated: names().collect() }
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

/// The built-in roles, made as `AccessControl.pm` `create_roles` makes them.
pub fn special_roles() -> BTreeMap<String, Privs> {
    let mut roles = BTreeMap::from([
        ("NoAccess".to_owned(), Privs::default()),
        ("Administrator".to_owned(), names().collect()),
        ("PVETemplateUser".to_owned(), Privs::from(["VM.Clone", "VM.Audit"])),
    ]);
    let mut add = |role: String, privs: &'static str| roles.entry(role).or_default().extend(privs.split_whitespace());
    for (category, [_root, admin, user, audit]) in GROUPS {
        for privs in [admin, user, audit] {
            add(format!("PVE{category}Admin"), privs);
            add("PVEAdmin".to_owned(), privs);
        }
        if !user.is_empty() {
            add(format!("PVE{category}User"), user);
            add(format!("PVE{category}User"), audit);
        }
        add("PVEAuditor".to_owned(), audit);
    }
    roles.entry("PVEAdmin".to_owned()).or_default().remove("Mapping.Modify");
    roles
}
