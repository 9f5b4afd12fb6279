//! The privileges of Proxmox VE 9 and the roles that are made from them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

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

/// Every privilege once; its place is its bit.
fn names() -> impl Iterator<Item = &'static str> {
    let grouped = GROUPS.iter().flat_map(|(_, ranks)| ranks.iter().flat_map(|rank| rank.split_whitespace()));
    // `SDN.Audit` and `Pool.Audit` stand in two ranks: the first place counts.
    std::iter::once("Permissions.Modify").chain(grouped)
}

/// A set of privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privs(u64);

impl Privs {
    /// One privilege by its name; `None` if Proxmox VE 9 has no such privilege.
    pub fn parse(name: &str) -> Option<Privs> {
        names().position(|known| known == name).map(|bit| Privs(1 << bit))
    }

    /// The privileges of these names. A name that does not exist asks for what no role has.
    pub fn named(wanted: &[&str]) -> Privs {
        let unknown = Privs(1 << 63);
        wanted.iter().fold(Privs(0), |all, name| all.union(Privs::parse(name).unwrap_or(unknown)))
    }

    /// Every privilege there is.
    pub fn all() -> Privs {
        names().fold(Privs(0), |all, name| all.union(Privs::named(&[name])))
    }

    /// Both sets.
    pub fn union(self, other: Privs) -> Privs {
        Privs(self.0 | other.0)
    }

    /// What is in this set and not in the other.
    pub fn without(self, other: Privs) -> Privs {
        Privs(self.0 & !other.0)
    }

    /// Whether every privilege of the other set is in this one.
    pub fn contains(self, other: Privs) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether a privilege is in both.
    pub fn intersects(self, other: Privs) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names, in alphabetical order.
    pub fn names(self) -> Vec<&'static str> {
        let mut found: Vec<_> = names().filter(|name| self.contains(Privs::named(&[name]))).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What is granted on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// All that is granted there.
    pub set: Privs,
    /// What of it goes on to the paths below.
    pub propagated: Privs,
}

impl Granted {
    /// What root@pam has everywhere.
    pub fn everything() -> Granted {
        Granted { set: Privs::all(), propagated: Privs::all() }
    }

    /// Adds the privileges of one role.
    pub fn add(&mut self, privs: Privs, propagate: bool) {
        self.set = self.set.union(privs);
        if propagate {
            self.propagated = self.propagated.union(privs);
        }
    }

    /// What both grant: a token with privilege separation.
    pub fn and(self, other: Granted) -> Granted {
        Granted { set: Privs(self.set.0 & other.set.0), propagated: Privs(self.propagated.0 & other.propagated.0) }
    }

    /// `{"VM.Audit": 1, …}`, where 1 means that it propagates.
    pub fn to_json(self) -> Value {
        let entry = |name: &'static str| {
            let propagated = self.propagated.contains(Privs::named(&[name]));
            (name.to_owned(), Value::from(u8::from(propagated)))
        };
        Value::Object(self.set.names().into_iter().map(entry).collect::<Map<_, _>>())
    }
}

/// The built-in roles, made as `AccessControl.pm` `create_roles` makes them.
pub fn special_roles() -> BTreeMap<String, Privs> {
    let mut roles = BTreeMap::from([
        ("NoAccess".to_owned(), Privs::default()),
        ("Administrator".to_owned(), Privs::all()),
        ("PVETemplateUser".to_owned(), Privs::named(&["VM.Clone", "VM.Audit"])),
    ]);
    let mut add = |role: String, privs: &str| {
        let held = roles.entry(role).or_default();
        *held = held.union(Privs::named(&privs.split_whitespace().collect::<Vec<_>>()));
    };
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
    let admin = roles.entry("PVEAdmin".to_owned()).or_default();
    *admin = admin.without(Privs::named(&["Mapping.Modify"]));
    roles
}
