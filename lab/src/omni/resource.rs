//! A resource as Omni stores it: metadata and a spec, as in the COSI runtime (cosi-project/runtime v1.16.2,
//! pkg/resource/metadata.go).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::AsRefStr;

use super::names::{L_CONTROL_PLANE, L_WORKER};

/// Go's zero time (`0001-01-01T00:00:00Z`), in seconds since 1970.
pub const ZERO_TIME: i64 = -62_135_596_800;

/// The phase of a resource, as `omnictl get` prints it: `tearingDown` means that deletion was requested and finalizers are
/// left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, AsRefStr)]
#[strum(serialize_all = "camelCase")]
pub enum Phase {
    /// In use.
    #[default]
    Running,
    /// Deletion was requested; the resource is removed with its last finalizer.
    TearingDown,
}

/// The metadata of a resource. Times are whole seconds since 1970; version 0 is printed as `undefined`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Namespace, e.g. `default` or `infra-provider`.
    pub namespace: String,
    /// Full type, e.g. `Clusters.omni.sidero.dev`.
    pub typ: String,
    /// ID, unique within namespace and type.
    pub id: String,
    /// Incremented by every change, including changes of finalizers.
    pub version: u64,
    /// The controller that created it; empty if a user did.
    pub owner: String,
    /// Running or tearing down.
    pub phase: Phase,
    /// When the server created it.
    pub created: i64,
    /// When it last changed; [`ZERO_TIME`] if `omnictl apply` created it and it has not changed since.
    pub updated: i64,
    /// Order of creation within one server, finer than the seconds of `created`.
    pub sequence: u64,
    /// Labels; an empty value is printed as null.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Who must release it before it can be destroyed, in the order they were added.
    pub finalizers: Vec<String>,
}

/// A resource: metadata and a spec with every field of its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    pub md: Metadata,
    /// The spec, with lower-case keys.
    pub spec: Value,
}

/// Identifies a resource in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub typ: String,
    pub namespace: String,
    pub id: String,
}

impl Key {
    /// Creates a key from its parts.
    pub fn new(typ: &str, namespace: &str, id: &str) -> Key {
        Key { typ: typ.to_owned(), namespace: namespace.to_owned(), id: id.to_owned() }
    }
}

impl Resource {
    /// Creates a resource that no server has stored yet: version undefined, phase running, times of `now`.
    pub fn new(typ: &str, namespace: &str, id: &str, spec: Value, now: i64) -> Resource {
        Resource {
            md: Metadata {
                namespace: namespace.to_owned(),
                typ: typ.to_owned(),
                id: id.to_owned(),
                created: now,
                updated: now,
                ..Metadata::default()
            },
            spec,
        }
    }

    /// Sets a label.
    pub fn with_label(mut self, key: &str, value: &str) -> Resource {
        self.md.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets the owner.
    pub fn with_owner(mut self, owner: &str) -> Resource {
        self.md.owner = owner.to_owned();
        self
    }

    /// Returns the resource's key in the store.
    pub fn key(&self) -> Key {
        Key::new(&self.md.typ, &self.md.namespace, &self.md.id)
    }

    /// Returns the value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.md.labels.get(key).map(String::as_str)
    }

    /// Returns a string field of the spec; empty if it is missing.
    pub fn text(&self, field: &str) -> &str {
        self.spec[field].as_str().unwrap_or_default()
    }

    /// Returns true if this is a control plane or a set of control planes.
    pub fn is_control_plane(&self) -> bool {
        self.label(L_CONTROL_PLANE).is_some()
    }

    /// Returns the label of the role.
    pub fn role(&self) -> &'static str {
        if self.is_control_plane() { L_CONTROL_PLANE } else { L_WORKER }
    }

    /// Returns true if deletion was requested.
    pub fn tearing_down(&self) -> bool {
        self.md.phase == Phase::TearingDown
    }

    /// Returns `Type(namespace/id)`, as the runtime names a resource (pkg/resource/resource.go `String`).
    pub fn name(&self) -> String {
        format!("{}({}/{})", self.md.typ, self.md.namespace, self.md.id)
    }

    /// Returns `Type(id)`, as `omnictl cluster template sync` names a resource (client/pkg/template/operations/internal/utils).
    pub fn short_name(&self) -> String {
        format!("{}({})", self.md.typ, self.md.id)
    }

    /// Returns the version as text: a number or `undefined`.
    pub fn version_text(&self) -> String {
        if self.md.version == 0 { "undefined".to_owned() } else { self.md.version.to_string() }
    }

    /// Returns the object that `omnictl get -o json` prints. Go reads it back from its own YAML, so an ID that looks like a
    /// number is a number, and an empty owner or label is null (client/pkg/omnictl/output/json.go).
    pub fn to_json(&self) -> Value {
        let md = &self.md;
        let mut shown = json!({
            "created": rfc3339(md.created), "id": bare(&md.id), "namespace": bare(&md.namespace), "owner": bare(&md.owner),
            "phase": md.phase.as_ref(), "type": md.typ, "updated": rfc3339(md.updated), "version": bare(&self.version_text()),
        });
        for (name, map) in
            [("annotations", &md.annotations), ("labels", &md.labels)].into_iter().filter(|(_, map)| !map.is_empty())
        {
            shown[name] = map.iter().map(|(key, value)| (key.clone(), bare(value))).collect();
        }
        if !md.finalizers.is_empty() {
            shown["finalizers"] = json!(md.finalizers);
        }
        json!({ "metadata": shown, "spec": self.spec })
    }

    /// Returns what `omnictl get -o json` prints: indented by four spaces, with `<`, `>` and `&` escaped by Go's encoder.
    pub fn print(&self) -> String {
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        // Writing to memory cannot fail.
        let _ = self.to_json().serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter));
        let text = String::from_utf8(bytes).unwrap_or_default();
        text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n"
    }
}

/// Parses a plain YAML scalar without a tag.
fn bare(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        other => match other.parse::<i64>() {
            Ok(number) if number.to_string() == other => number.into(),
            _ => Value::String(other.to_owned()),
        },
    }
}

/// Formats seconds since 1970 like `2026-11-22T01:10:42Z`.
pub fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_id_is_printed_unquoted() {
        let resource = Resource::new("Machines.omni.sidero.dev", "default", "430", json!({}), 0);
        assert_eq!(resource.to_json()["metadata"]["id"], json!(430));
        assert_eq!(resource.to_json()["metadata"]["version"], json!("undefined"));
        assert_eq!(resource.to_json()["metadata"]["owner"], Value::Null);
    }
}
