//! The resource store: versions, finalizers, phases and the errors of the COSI runtime
//! (cosi-project/runtime v1.16.2 pkg/state/impl/inmem).

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::names::{L_CLUSTER, L_MACHINE_SET, L_REQUEST_SET, MACHINE_REQUEST_STATUS};
use super::resource::{Key, Phase, Resource};
use super::status::{Code, Status};

/// All resources of an Omni. Every change increments `revision`.
#[derive(Debug, Default)]
pub struct Store {
    /// Resources by type, namespace and ID. Nested maps compare each part separately, and a lookup copies nothing.
    items: BTreeMap<String, BTreeMap<String, BTreeMap<String, Resource>>>,
    /// IDs by [`INDEXED`] label, so that a cluster's resources are found without scanning ten thousand others.
    index: BTreeMap<IndexKey, BTreeSet<String>>,
    /// Cache of printed resources: version and text by sequence.
    printed: RefCell<HashMap<u64, (u64, String)>>,
    revision: u64,
    sequence: u64,
    now: i64,
    stamp: i64,
}

/// The labels by which controllers and templates find related resources.
const INDEXED: [&str; 3] = [L_CLUSTER, L_MACHINE_SET, L_REQUEST_SET];
/// The index key for the machine that a request status names in its spec.
const NAMED_MACHINE: &str = "spec.id";

/// Type, namespace, label and value.
type IndexKey = (String, String, &'static str, String);

/// Returns the index entries of a resource.
fn index_keys(resource: &Resource) -> Vec<IndexKey> {
    let mark = |label: &'static str, value: &str| {
        (resource.md.typ.clone(), resource.md.namespace.clone(), label, value.to_owned())
    };
    let labels = INDEXED.iter().filter_map(|label| Some(mark(label, resource.label(label)?)));
    let named =
        resource.spec["id"].as_str().filter(|uuid| resource.md.typ == MACHINE_REQUEST_STATUS && !uuid.is_empty());
    labels.chain(named.map(|uuid| mark(NAMED_MACHINE, uuid))).collect()
}

/// Returns the error `resource T(ns/id@undefined) doesn't exist`.
pub fn not_found(key: &Key) -> Status {
    let Key { typ, namespace, id } = key;
    Status::new(Code::NotFound, format!("resource {typ}({namespace}/{id}@undefined) doesn't exist"))
}

impl Store {
    /// Returns the number of changes to all resources.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Sets the current time, in seconds since 1970.
    pub fn set_now(&mut self, now: i64) {
        (self.now, self.stamp) = (now, now);
    }

    /// Sets the time that changes are stamped with. It is simulated, so that ages are those of a real deployment.
    pub fn set_stamp(&mut self, stamp: i64) {
        self.stamp = stamp;
    }

    /// Returns the current time, which keys and heartbeats are compared with.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Returns the resource with this type, namespace and ID.
    pub fn get(&self, typ: &str, namespace: &str, id: &str) -> Option<&Resource> {
        self.all(typ, namespace)?.get(id)
    }

    fn all(&self, typ: &str, namespace: &str) -> Option<&BTreeMap<String, Resource>> {
        self.items.get(typ)?.get(namespace)
    }

    fn all_mut(&mut self, key: &Key) -> Option<&mut BTreeMap<String, Resource>> {
        self.items.get_mut(&key.typ)?.get_mut(&key.namespace)
    }

    /// Returns the resource with this key.
    pub fn find(&self, key: &Key) -> Option<&Resource> {
        self.get(&key.typ, &key.namespace, &key.id)
    }

    fn find_mut(&mut self, key: &Key) -> Option<&mut Resource> {
        self.all_mut(key)?.get_mut(&key.id)
    }

    /// Returns the resource with this type and ID in namespace `default`.
    pub fn by_id(&self, typ: &str, id: &str) -> Option<&Resource> {
        self.get(typ, "default", id)
    }

    /// Returns all resources of a type in a namespace, ordered by ID.
    pub fn list(&self, typ: &str, namespace: &str) -> impl Iterator<Item = &Resource> + use<'_> {
        self.all(typ, namespace).into_iter().flat_map(BTreeMap::values)
    }

    /// Returns the resources of a type in a namespace with this value of an indexed label, ordered by ID.
    pub fn list_labelled(
        &self,
        typ: &str,
        namespace: &str,
        label: &str,
        value: &str,
    ) -> impl Iterator<Item = &Resource> + use<'_> {
        let known = INDEXED.iter().chain([&NAMED_MACHINE]).find(|known| **known == label);
        debug_assert!(known.is_some(), "{label} has no index");
        let mark = known.map(|label| (typ.to_owned(), namespace.to_owned(), *label, value.to_owned()));
        let ids = mark.and_then(|mark| self.index.get(&mark)).into_iter().flatten();
        let all = self.all(typ, namespace);
        ids.filter_map(move |id| all?.get(id))
    }

    /// Returns the status of the machine request that this machine was created for.
    pub fn request_status_of(&self, uuid: &str) -> Option<&Resource> {
        self.list_labelled(MACHINE_REQUEST_STATUS, "infra-provider", NAMED_MACHINE, uuid).next()
    }

    /// Returns true if [`Store::list_labelled`] supports this label.
    pub fn has_index(label: &str) -> bool {
        INDEXED.contains(&label)
    }

    /// Returns the IDs of the resources of a type in namespace `default` with this value of an indexed label.
    pub fn ids_labelled(&self, typ: &str, label: &str, value: &str) -> Vec<String> {
        self.list_labelled(typ, "default", label, value).map(|resource| resource.md.id.clone()).collect()
    }

    fn index(&mut self, resource: &Resource) {
        for key in index_keys(resource) {
            self.index.entry(key).or_default().insert(resource.md.id.clone());
        }
    }

    fn unindex(&mut self, resource: &Resource) {
        for key in index_keys(resource) {
            if let Some(ids) = self.index.get_mut(&key) {
                ids.remove(&resource.md.id);
                if ids.is_empty() {
                    self.index.remove(&key);
                }
            }
        }
    }

    /// Adds a new resource. Fails if it exists.
    pub fn create(&mut self, mut resource: Resource) -> Result<(), Status> {
        let key = resource.key();
        if self.find(&key).is_some() {
            let Key { typ, namespace, id } = &key;
            let text = format!("resource {typ}({namespace}/{id}@{}) already exists", resource.version_text());
            return Err(Status::new(Code::AlreadyExists, text));
        }
        self.sequence += 1;
        resource.md.sequence = self.sequence;
        resource.md.version = 1;
        (resource.md.created, resource.md.updated) = (self.stamp, self.stamp);
        self.revision += 1;
        self.index(&resource);
        let all = self.items.entry(key.typ).or_default().entry(key.namespace).or_default();
        all.insert(key.id, resource);
        Ok(())
    }

    /// Replaces a resource. Fails unless its version is the one that the caller read.
    pub fn update(&mut self, mut resource: Resource) -> Result<(), Status> {
        let key = resource.key();
        let now = self.stamp;
        let Some(old) = self.find_mut(&key) else { return Err(not_found(&key)) };
        if old.md.version != resource.md.version {
            let text = format!(
                "resource {}({}/{}@{}) update conflict: expected version {:?}, actual version {:?}",
                key.typ,
                key.namespace,
                key.id,
                resource.md.version,
                resource.version_text(),
                old.version_text()
            );
            return Err(Status::new(Code::FailedPrecondition, text));
        }
        resource.md.version += 1;
        resource.md.created = old.md.created;
        resource.md.sequence = old.md.sequence;
        resource.md.updated = now;
        let before = std::mem::replace(old, resource.clone());
        self.unindex(&before);
        self.index(&resource);
        self.revision += 1;
        Ok(())
    }

    /// Changes a resource in place. Returns false if it does not exist or `change` leaves it unchanged.
    pub fn modify(&mut self, key: &Key, change: impl FnOnce(&mut Resource)) -> bool {
        let now = self.stamp;
        let Some(resource) = self.find_mut(key) else { return false };
        let before = resource.clone();
        change(resource);
        if *resource == before {
            return false;
        }
        resource.md.version = before.md.version + 1;
        resource.md.updated = now;
        if index_keys(resource) != index_keys(&before) {
            let after = resource.clone();
            self.unindex(&before);
            self.index(&after);
        }
        self.revision += 1;
        true
    }

    /// Creates a resource, or sets its spec and labels to those of `wanted`, as a controller does. Finalizers are kept.
    pub fn put(&mut self, wanted: Resource) -> bool {
        let key = wanted.key();
        if self.find(&key).is_none() {
            return self.create(wanted).is_ok();
        }
        self.modify(&key, |resource| {
            resource.spec = wanted.spec;
            resource.md.labels = wanted.md.labels;
        })
    }

    /// Sets one field of a spec.
    pub fn set(&mut self, key: &Key, field: &str, value: Value) -> bool {
        self.modify(key, |resource| resource.spec[field] = value)
    }

    /// Adds finalizers one at a time: each is a separate change, as controllers make them.
    pub fn add_finalizers<'n>(&mut self, key: &Key, names: impl IntoIterator<Item = &'n str>) {
        for name in names {
            self.modify(key, |resource| {
                if !resource.md.finalizers.iter().any(|held| held == name) {
                    resource.md.finalizers.push(name.to_owned());
                }
            });
        }
    }

    /// Removes every finalizer for which `gone` is true.
    pub fn remove_finalizers(&mut self, key: &Key, gone: impl Fn(&str) -> bool) -> bool {
        self.modify(key, |resource| resource.md.finalizers.retain(|name| !gone(name)))
    }

    /// Requests deletion. Returns true if no finalizer is left.
    pub fn tear_down(&mut self, key: &Key) -> Result<bool, Status> {
        self.modify(key, |resource| resource.md.phase = Phase::TearingDown);
        self.find(key).map(|resource| resource.md.finalizers.is_empty()).ok_or_else(|| not_found(key))
    }

    /// Removes a resource. Fails if it has finalizers.
    pub fn destroy(&mut self, key: &Key) -> Result<(), Status> {
        let Some(resource) = self.find(key) else { return Err(not_found(key)) };
        if !resource.md.finalizers.is_empty() {
            let held = resource.md.finalizers.join(" ");
            let text = format!(
                "resource {}({}/{}@{}) has pending finalizers [{held}]",
                key.typ, key.namespace, key.id, resource.md.version
            );
            return Err(Status::new(Code::FailedPrecondition, text));
        }
        self.remove(key);
        Ok(())
    }

    /// Removes a resource regardless of its finalizers, as a controller does with its own output.
    pub fn remove(&mut self, key: &Key) -> Option<Resource> {
        let gone = self.all_mut(key).and_then(|all| all.remove(&key.id));
        if let Some(gone) = &gone {
            self.unindex(gone);
            self.printed.get_mut().remove(&gone.md.sequence);
            self.revision += 1;
        }
        gone
    }

    /// Removes the resources with one ID and several types in namespace `default`.
    pub fn remove_each(&mut self, types: &[&str], id: &str) {
        types.iter().for_each(|typ| _ = self.remove(&Key::new(typ, "default", id)));
    }

    /// Returns what `omnictl get -o json` prints for these resources. Stored resources are formatted once per change.
    pub fn print(&self, found: &[Cow<'_, Resource>]) -> String {
        let mut printed = self.printed.borrow_mut();
        let mut text = String::new();
        for resource in found {
            let Cow::Borrowed(resource) = resource else {
                text.push_str(&resource.print());
                continue;
            };
            let (version, kept) = printed.entry(resource.md.sequence).or_default();
            if *version != resource.md.version {
                (*version, *kept) = (resource.md.version, resource.print());
            }
            text.push_str(kept);
        }
        text
    }
}
