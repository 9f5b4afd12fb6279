//! Finds privileges that the provider does not need.

use std::collections::{BTreeMap, BTreeSet};

use super::Scope;
use domain::status::proxmox::{Permissions, parent};

/// Privileges that depend on a class, its machine request set or its `ha`: without a class, they cannot be called excessive.
const OF_CLASSES: &str =
    "Datastore.AllocateSpace Datastore.Audit Mapping.Use Pool.Allocate Pool.Audit SDN.Use Sys.Audit Sys.Console";

/// Returns, by path of the tree, the privileges of the login that no call needs there or below. A path with the same excess as
/// its parent is left out. Without a class (`classes` false) privileges that a class may need are not excessive; on a storage,
/// bridge or device they never are, because they were granted for classes, including future ones.
pub fn excess(scope: &Scope, permissions: &Permissions, classes: bool) -> BTreeMap<String, BTreeSet<String>> {
    let needs = scope.call_requirements();
    let wants: Vec<_> = needs.iter().flat_map(|need| need.ways.iter().flatten()).collect();
    let needed_at = |path: &str, privilege: &str| {
        let below = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        // Every alternative of every call counts: a privilege that only another alternative needs is not excessive.
        wants.iter().any(|want| want.privilege == privilege && (want.path == path || want.path.starts_with(&below)))
    };
    let surplus = |path: &str| -> BTreeSet<String> {
        let privileges = permissions.tree.get(path).into_iter().flat_map(BTreeMap::keys);
        let object = ["/storage/", "/sdn/zones/", "/mapping/"].iter().any(|above| path.starts_with(above));
        let undecided =
            |privilege: &&String| (object || !classes) && OF_CLASSES.split(' ').any(|one| one == *privilege);
        let surplus =
            |privilege: &&String| applies(privilege, path) && !needed_at(path, privilege) && !undecided(privilege);
        privileges.filter(surplus).cloned().collect()
    };
    let mut found = BTreeMap::new();
    for path in permissions.tree.keys() {
        let here = surplus(path);
        let above =
            std::iter::successors(parent(path), |path| parent(path)).find(|path| permissions.tree.contains_key(*path));
        let new: BTreeSet<String> = match above {
            Some(above) => here.difference(&inherited(permissions, above)).cloned().collect(),
            None => here,
        };
        if !new.is_empty() {
            found.insert(path.clone(), new);
        }
    }
    found
}

/// Returns true if Proxmox ever checks a privilege of this kind on this kind of path. A VM or storage in a pool has the pool's
/// privileges, but those about pools have no meaning there (pve-access-control 9.1 `RPCEnvironment.pm` `permissions`).
fn applies(privilege: &str, path: &str) -> bool {
    let kind = path.split('/').nth(1).unwrap_or_default();
    match privilege.split('.').next().unwrap_or_default() {
        _ if kind.is_empty() => true,
        "Pool" => kind == "pool",
        "VM" => matches!(kind, "vms" | "pool"),
        "Datastore" => matches!(kind, "storage" | "pool"),
        "SDN" => kind == "sdn",
        "Mapping" => kind == "mapping",
        _ => true,
    }
}

/// Returns the privileges that `path` passes down.
fn inherited(permissions: &Permissions, path: &str) -> BTreeSet<String> {
    let privileges = permissions.tree.get(path).into_iter().flatten();
    privileges.filter(|(_, propagates)| **propagates).map(|(privilege, _)| privilege.clone()).collect()
}
