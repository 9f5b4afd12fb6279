//! The provider's calls, in the order of a machine's life: `data/provider-calls.yaml`, for the objects of a scope.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::{ALL_POOLS, CallRequirement, PrivilegeOnPath, Scope};
use crate::capacity::provider::Provider;

/// A row of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    each: CallScope,
    call: String,
    #[serde(default)]
    ways: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    without: String,
}

/// How often the provider makes a call: once, or for each node, disk or network.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CallScope {
    Once,
    Node,
    Iso,
    Disk,
    Network,
    Pci,
    Usb,
    Set,
    Pool,
    Vm,
    Ha,
}

static CALLS: LazyLock<Vec<Call>> = LazyLock::new(|| {
    let text = include_str!("../../../data/provider-calls.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/provider-calls.yaml: {error}"))
});

/// An object of a scope: its node and storage, if it has them, and the path of its permissions.
#[derive(Default)]
struct Object<'a> {
    node: &'a str,
    storage: &'a str,
    path: String,
}

impl Scope {
    /// Returns every call with its requirements, in the order of a machine's life.
    pub fn call_requirements(&self) -> Vec<CallRequirement> {
        let rows = CALLS.chunk_by(|one, next| one.each == next.each);
        let needs = rows.flat_map(|rows| {
            let objects = objects(rows[0].each, self);
            objects.iter().flat_map(|object| rows.iter().map(|row| requirement(row, object, self))).collect::<Vec<_>>()
        });
        needs.collect()
    }
}

fn requirement(row: &'static Call, object: &Object<'_>, scope: &Scope) -> CallRequirement {
    let filled = |text: &str| {
        let names = [("{node}", object.node), ("{storage}", object.storage), ("{path}", &object.path)];
        let named = names.into_iter().filter(|(_, name)| !name.is_empty());
        named.fold(text.replace("{vmid}", &scope.vmid.to_string()), |text, (key, name)| text.replace(key, name))
    };
    let way = |text: &'static String| -> Vec<PrivilegeOnPath> {
        let words: Vec<&'static str> = text.split(' ').collect();
        words.chunks_exact(2).map(|pair| PrivilegeOnPath { privilege: pair[0], path: filled(pair[1]) }).collect()
    };
    let mut ways: Vec<Vec<PrivilegeOnPath>> = row.ways.iter().map(way).collect();
    // A privilege on the VM counts on `/vms` or, from v0.1.0 on, on the pool of its set in which it is created.
    if let Some(privilege) = ways.first().filter(|_| row.each == CallScope::Vm).map(|way| way[0].privilege) {
        let pools: Vec<PrivilegeOnPath> =
            pools(scope).into_iter().map(|path| PrivilegeOnPath { privilege, path }).collect();
        ways.extend(Some(pools).filter(|pools| !pools.is_empty()));
    }
    CallRequirement { call: filled(&row.call), ways, optional: row.optional, without: &row.without }
}

/// Returns the objects of a kind in the scope.
fn objects(each: CallScope, scope: &Scope) -> Vec<Object<'_>> {
    let with = |path: String| Object { path, ..Object::default() };
    let mappings = |kind: &str, names: &BTreeSet<String>| -> Vec<Object<'_>> {
        names.iter().map(|name| with(format!("/mapping/{kind}/{name}"))).collect()
    };
    match each {
        CallScope::Once => vec![Object::default()],
        CallScope::Node => scope.nodes.iter().map(|node| with(format!("/nodes/{node}"))).collect(),
        CallScope::Iso => storages(&scope.iso),
        CallScope::Disk => storages(&scope.disks),
        CallScope::Network => scope.networks.iter().map(|network| with(scope.network_path(network))).collect(),
        CallScope::Pci => mappings("pci", &scope.pci),
        CallScope::Usb if scope.provider >= Provider::V0_3 => mappings("usb", &scope.usb),
        CallScope::Set if scope.provider >= Provider::V0_1 => set_pools(scope).map(with).collect(),
        CallScope::Pool => pools(scope).into_iter().map(with).collect(),
        CallScope::Vm => vec![with(format!("/vms/{}", scope.vmid))],
        // Only for classes with `ha`.
        CallScope::Ha if scope.ha && scope.provider >= Provider::V0_2 => vec![Object::default()],
        CallScope::Usb | CallScope::Set | CallScope::Ha => Vec::new(),
    }
}

fn storages(of_nodes: &BTreeMap<String, BTreeSet<String>>) -> Vec<Object<'_>> {
    let all = of_nodes.iter().flat_map(|(node, storages)| storages.iter().map(move |storage| (node, storage)));
    all.map(|(node, storage)| Object { node, storage, path: format!("/storage/{storage}") }).collect()
}

/// Returns the paths of the pools in which machines are created: those that classes name, else those of machine request sets.
fn pools(scope: &Scope) -> Vec<String> {
    let named = || scope.pools.iter().map(|pool| format!("/pool/{pool}"));
    if scope.provider < Provider::V0_1 { Vec::new() } else { set_pools(scope).chain(named()).collect() }
}

/// Returns the paths of the pools that the provider creates, one per machine request set; `/pool` represents future sets.
fn set_pools(scope: &Scope) -> impl Iterator<Item = String> {
    scope.sets.iter().map(|set| format!("/pool/{set}")).chain(scope.new_sets.then(|| ALL_POOLS.to_owned()))
}
