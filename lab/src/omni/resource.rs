//! A resource as Omni keeps it: metadata and a spec, in the shapes of the COSI runtime (cosi-project/runtime v1.16.2,
//! pkg/resource/metadata.go).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::AsRefStr;

use super::names::{L_CONTROL_PLANE, L_WORKER};

/// The time that Go calls zero (`0001-01-01T00:00:00Z`), in seconds since 1970.
pub const ZERO_TIME: i64 = -62_135_596_800;

/// Where a resource is in its life, as `omnictl get` prints it: `tearingDown` means that deletion was asked for and finalizers
/// still hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, AsRefStr)]
#[strum(serialize_all = "camelCase")]
pub enum Phase {
    /// In use.
    #[default]
    Running,
    /// Deletion was asked for; it goes when its last finalizer goes.
    TearingDown,
}

/// The metadata of a resource. Times are whole seconds since 1970; a version of 0 is printed as `undefined`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Namespace, such as `default` or `infra-provider`.
    pub namespace: String,
    /// Full type, such as `Clusters.omni.sidero.dev`.
    pub typ: String,
    /// Id within namespace and type.
    pub id: String,
    /// Counts every change, that of a finalizer included.
    pub version: u64,
    /// The controller that made it; empty for what a user made.
    pub owner: String,
    /// Running or tearing down.
    pub phase: Phase,
    /// When the server created it.
    pub created: i64,
    /// When it last changed; [`ZERO_TIME`] for what `omnictl apply` created and nothing changed since.
    pub updated: i64,
    /// Order of creation within one server, finer than the seconds of `created`.
    pub sequence: u64,
    /// Labels, an empty value printed as null.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Who must let go before it can be destroyed, in the order of their coming.
    pub finalizers: Vec<String>,
}

/// One resource: metadata and the spec with every field of its type present.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    pub md: Metadata,
    /// The spec, keys in lower case.
    pub spec: Value,
}

/// What names a resource in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub typ: String,
    pub namespace: String,
    pub id: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(typ: &str, namespace: &str, id: &str) -> Key {
        Key { typ: typ.to_owned(), namespace: namespace.to_owned(), id: id.to_owned() }
    }
}

impl Resource {
    /// A resource that no server has seen yet: version undefined, phase running, times of `now`.
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

    /// The same with a label set.
    pub fn with_label(mut self, key: &str, value: &str) -> Resource {
        self.md.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The same with an owner.
    pub fn with_owner(mut self, owner: &str) -> Resource {
        self.md.owner = owner.to_owned();
        self
    }

    /// Its key in the store.
    pub fn key(&self) -> Key {
        Key::new(&self.md.typ, &self.md.namespace, &self.md.id)
    }

    /// A label's value, if it has the label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.md.labels.get(key).map(String::as_str)
    }

    /// A text of its spec; empty if it has none.
    pub fn text(&self, field: &str) -> &str {
        self.spec[field].as_str().unwrap_or_default()
    }

    /// Whether it is a control plane, or a set of them.
    pub fn is_control_plane(&self) -> bool {
        self.label(L_CONTROL_PLANE).is_some()
    }

    /// The label of its role.
    pub fn role(&self) -> &'static str {
        if self.is_control_plane() { L_CONTROL_PLANE } else { L_WORKER }
    }

    /// True when deletion was asked for.
    pub fn tearing_down(&self) -> bool {
        self.md.phase == Phase::TearingDown
    }

    /// `Type(namespace/id)`, as the runtime names a resource (pkg/resource/resource.go `String`).
    pub fn name(&self) -> String {
        format!("{}({}/{})", self.md.typ, self.md.namespace, self.md.id)
    }

    /// `Type(id)`, as `omnictl cluster template sync` names one (client/pkg/template/operations/internal/utils).
    pub fn short_name(&self) -> String {
        format!("{}({})", self.md.typ, self.md.id)
    }

    /// The text of the version: a number, or `undefined`.
    pub fn version_text(&self) -> String {
        if self.md.version == 0 { "undefined".to_owned() } else { self.md.version.to_string() }
    }

    /// The object that `omnictl get -o json` prints: what Go reads back from its own YAML, so that an id that looks like a number is one
    /// and an empty owner or label is null (client/pkg/omnictl/output/json.go).
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

    /// The text that `omnictl get -o json` prints of it, with four spaces, and `<`, `>` and `&` escaped, as Go's encoder writes it.
    pub fn print(&self) -> String {
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        // Writing a value into memory does not fail.
        let _ = self.to_json().serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter));
        let text = String::from_utf8(bytes).unwrap_or_default();
        text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n"
    }
}

/// What a plain YAML scalar without a tag is read back as.
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

/// Seconds since 1970 as `2026-11-22T01:10:42Z`.
pub fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_looks_like_a_number_is_printed_as_one() {
        let resource = Resource::new("Machines.omni.sidero.dev", "default", "430", json!({}), 0);
        assert_eq!(resource.to_json()["metadata"]["id"], json!(430));
        assert_eq!(resource.to_json()["metadata"]["version"], json!("undefined"));
        assert_eq!(resource.to_json()["metadata"]["owner"], Value::Null);
    }
}
