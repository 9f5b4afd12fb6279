//! `omnictl cluster template export` (client/pkg/template/operations/export.go; output recorded from 1.4.9): fields are in
//! the order of the models, and empty fields are omitted.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::Value;

use super::client::Connection;
use crate::omni::kinds::OmniRelease;
use crate::omni::names::*;
use crate::omni::query::Term;
use crate::omni::resource::Resource;
use crate::tools::failure::ToolError;
use crate::tools::out;

/// Prints the template of a cluster.
pub fn run(client: &mut Connection, cluster: &str) -> Result<(), ToolError> {
    let named = |why: ToolError| why.wrap(&format!("error getting cluster {cluster:?}"));
    let found = client.get(CLUSTER, DEFAULT, cluster).map_err(named)?;
    let mut of = |typ: &str| client.list(typ, DEFAULT, vec![Term::equal(L_CLUSTER, cluster)]);
    let (sets, patches, extensions) = (of(MACHINE_SET)?, of(CONFIG_PATCH)?, of(EXTENSIONS_CONFIGURATION)?);
    let parts = Parts { patches, extensions, release: client.release };
    let mut documents = vec![parts.cluster(&found)];
    let (control_planes, mut workers): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| set.is_control_plane());
    workers.sort_by(|a, b| a.md.id.cmp(&b.md.id));
    documents.extend(control_planes.iter().map(|set| parts.set("ControlPlane", cluster, set)));
    documents.extend(workers.iter().map(|set| parts.set("Workers", cluster, set)));
    let written = documents.iter().filter_map(|document| serde_yaml::to_string(document).ok());
    out(&written.collect::<Vec<_>>().join("---\n"));
    Ok(())
}

/// Patches and extensions of the cluster and its machine sets.
struct Parts {
    patches: Vec<Resource>,
    extensions: Vec<Resource>,
    release: OmniRelease,
}

impl Parts {
    fn cluster(&self, cluster: &Resource) -> Value {
        let spec = &cluster.spec;
        let version =
            |field: &str| model([("version", format!("v{}", spec[field].as_str().unwrap_or_default()).into())]);
        let features = [
            "diskEncryption",
            "enableWorkloadProxy",
            "useEmbeddedDiscoveryService",
            "disablePublicDiscoveryService",
            "enableNodeAuditSkip",
        ];
        let on = |name: &&str| spec["features"][name.to_lowercase()] == true;
        model([
            ("kind", "Cluster".into()),
            ("systemExtensions", self.extensions(None)),
            ("name", cluster.md.id.as_str().into()),
            ("labels", user_entries(&cluster.md.labels)),
            ("annotations", user_entries(&cluster.md.annotations)),
            ("kubernetes", version("kubernetesversion")),
            ("talos", version("talosversion")),
            ("features", model(features.into_iter().filter(on).map(|name| (name, true.into())))),
            ("patches", self.patches(None)),
        ])
    }

    fn set(&self, kind: &str, cluster: &str, set: &Resource) -> Value {
        let name = set.md.id.strip_prefix(&format!("{cluster}-")).unwrap_or_default();
        let named = kind == "Workers" && name != "workers";
        let class = &set.spec["machineallocation"];
        let size = match class["allocationtype"].as_u64() {
            Some(1) => "unlimited".into(),
            _ => value(&class["machinecount"]),
        };
        model([
            ("kind", kind.into()),
            ("systemExtensions", self.extensions(Some(&set.md.id))),
            ("name", if named { name.into() } else { Value::Null }),
            ("labels", user_entries(&set.md.labels)),
            ("annotations", user_entries(&set.md.annotations)),
            ("machineClass", model([("name", value(&class["name"])), ("size", size)])),
            ("patches", self.patches(Some(&set.md.id))),
        ])
    }

    fn extensions(&self, set: Option<&str>) -> Value {
        let found = self.extensions.iter().find(|found| found.label(L_MACHINE_SET) == set);
        found.map(|found| value(&found.spec["extensions"])).unwrap_or_default()
    }

    fn patches(&self, set: Option<&str>) -> Value {
        let mut found: Vec<&Resource> = self.patches.iter().filter(|found| found.label(L_MACHINE_SET) == set).collect();
        found.sort_by(|a, b| a.md.id.cmp(&b.md.id));
        let patches = found.into_iter().map(|patch| {
            let data = patch.text("data");
            // Since 1.8, the text is exported verbatim (client/pkg/template/internal/models/inline.go). Before, its first document
            // was decoded and encoded again, which loses comments and indentation.
            let first = || serde_yaml::Deserializer::from_str(data).next().map(Value::deserialize);
            model([
                ("idOverride", patch.md.id.as_str().into()),
                ("labels", user_entries(&patch.md.labels)),
                ("annotations", user_entries(&patch.md.annotations)),
                (
                    "inline",
                    if self.release.old() { first().and_then(Result::ok).unwrap_or_default() } else { data.into() },
                ),
            ])
        });
        patches.collect::<Vec<_>>().into()
    }
}

/// Builds a model without the empty fields.
fn model<'k>(fields: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Mapping(map) => map.is_empty(),
        Value::Sequence(items) => items.is_empty(),
        _ => false,
    };
    Value::Mapping(
        fields.into_iter().filter(|(_, value)| !empty(value)).map(|(key, value)| (key.into(), value)).collect(),
    )
}

fn value(json: &serde_json::Value) -> Value {
    serde_yaml::to_value(json).unwrap_or_default()
}

/// Labels or annotations, except Omni's own.
fn user_entries(map: &BTreeMap<String, String>) -> Value {
    let own = map.iter().filter(|(key, _)| !key.starts_with(SYSTEM_PREFIX));
    Value::Mapping(own.map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
}
