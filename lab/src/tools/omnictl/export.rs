//! `omnictl cluster template export` (client/pkg/template/operations/export.go; its output recorded from 1.4.9): the fields in
//! the order of the models, empty ones left out.

use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::client::{Connection, OmnictlError};
use crate::omni::kinds::OmniRelease;
use crate::omni::names::*;
use crate::omni::query::Term;
use crate::omni::resource::Resource;
use crate::tools::out;

type Fields = Vec<(String, Value)>;

/// Prints the template of a cluster.
pub fn run(client: &mut Connection, cluster: &str) -> Result<(), OmnictlError> {
    let named = |why: OmnictlError| why.wrap(&format!("error getting cluster {cluster:?}"));
    let found = client.get(CLUSTER, DEFAULT, cluster).map_err(named)?;
    let mut of = |typ: &str| client.list(typ, DEFAULT, vec![Term::equal(L_CLUSTER, cluster)]);
    let (sets, patches, extensions) = (of(MACHINE_SET)?, of(CONFIG_PATCH)?, of(EXTENSIONS_CONFIGURATION)?);
    let parts = Parts { patches, extensions, release: client.release };
    let mut documents = vec![parts.cluster(&found)];
    let (control_planes, mut workers): (Vec<_>, Vec<_>) =
        sets.into_iter().partition(|set| set.label(L_CONTROL_PLANE).is_some());
    workers.sort_by(|a, b| a.md.id.cmp(&b.md.id));
    documents.extend(control_planes.iter().map(|set| parts.set("ControlPlane", cluster, set)));
    documents.extend(workers.iter().map(|set| parts.set("Workers", cluster, set)));
    let written = documents.into_iter().filter_map(|document| serde_yaml::to_string(&map(document)).ok());
    out(&written.collect::<Vec<_>>().join("---\n"));
    Ok(())
}

/// What belongs to the cluster or to one of its machine sets.
struct Parts {
    patches: Vec<Resource>,
    extensions: Vec<Resource>,
    release: OmniRelease,
}

impl Parts {
    fn cluster(&self, cluster: &Resource) -> Fields {
        let mut fields = vec![text("kind", "Cluster")];
        fields.extend(self.extensions(None));
        fields.push(text("name", &cluster.md.id));
        fields.extend(descriptors(cluster));
        for (key, version) in [("kubernetes", "kubernetesversion"), ("talos", "talosversion")] {
            let version = format!("v{}", cluster.spec[version].as_str().unwrap_or_default());
            fields.push((key.to_owned(), map(vec![text("version", &version)])));
        }
        let names = [
            "diskEncryption",
            "enableWorkloadProxy",
            "useEmbeddedDiscoveryService",
            "disablePublicDiscoveryService",
            "enableNodeAuditSkip",
        ];
        let on = |name: &&str| cluster.spec["features"][name.to_lowercase()] == true;
        let features: Fields =
            names.iter().filter(|name| on(name)).map(|name| ((*name).to_owned(), Value::Bool(true))).collect();
        fields.extend((!features.is_empty()).then(|| ("features".to_owned(), map(features))));
        fields.extend(self.patches(None));
        fields
    }

    fn set(&self, kind: &str, cluster: &str, set: &Resource) -> Fields {
        let mut fields = vec![text("kind", kind)];
        fields.extend(self.extensions(Some(&set.md.id)));
        let name = set.md.id.strip_prefix(&format!("{cluster}-")).unwrap_or_default();
        fields.extend((kind == "Workers" && name != "workers").then(|| text("name", name)));
        fields.extend(descriptors(set));
        let class = &set.spec["machineallocation"];
        if class.is_object() {
            let size = match class["allocationtype"].as_u64() {
                Some(1) => "unlimited".into(),
                _ => value(&class["machinecount"]),
            };
            let class = vec![text("name", class["name"].as_str().unwrap_or_default()), ("size".to_owned(), size)];
            fields.push(("machineClass".to_owned(), map(class)));
        }
        fields.extend(self.patches(Some(&set.md.id)));
        fields
    }

    fn extensions(&self, set: Option<&str>) -> Option<(String, Value)> {
        let found = self.extensions.iter().find(|found| found.label(L_MACHINE_SET) == set)?;
        Some(("systemExtensions".to_owned(), value(&found.spec["extensions"])))
    }

    fn patches(&self, set: Option<&str>) -> Option<(String, Value)> {
        let mut found: Vec<&Resource> = self.patches.iter().filter(|found| found.label(L_MACHINE_SET) == set).collect();
        found.sort_by(|a, b| a.md.id.cmp(&b.md.id));
        let patches = found.into_iter().map(|patch| {
            let mut fields = vec![text("idOverride", &patch.md.id)];
            fields.extend(descriptors(patch));
            let data = patch.spec["data"].as_str().unwrap_or_default();
            // Since 1.8 the text as it is (client/pkg/template/internal/models/inline.go). Before, its first document was read into a
            // tree and written again: comments and indentation do not survive that.
            let inline = match self.release.old() {
                true => {
                    serde_yaml::Deserializer::from_str(data).next().and_then(|first| Value::deserialize(first).ok())
                }
                false => Some(Value::String(data.to_owned())),
            };
            fields.push(("inline".to_owned(), inline.unwrap_or_default()));
            map(fields)
        });
        let patches: Vec<Value> = patches.collect();
        (!patches.is_empty()).then(|| ("patches".to_owned(), Value::Sequence(patches)))
    }
}

fn text(key: &str, value: &str) -> (String, Value) {
    (key.to_owned(), value.into())
}

fn map(fields: Fields) -> Value {
    Value::Mapping(fields.into_iter().map(|(key, value)| (key.into(), value)).collect::<Mapping>())
}

fn value(json: &serde_json::Value) -> Value {
    serde_yaml::to_value(json).unwrap_or_default()
}

/// Labels and annotations, without those of Omni.
fn descriptors(resource: &Resource) -> Fields {
    let maps = [("labels", &resource.md.labels), ("annotations", &resource.md.annotations)];
    let own = maps.map(|(name, map)| {
        let own = map.iter().filter(|(key, _)| !key.starts_with(SYSTEM_PREFIX));
        (name.to_owned(), own.map(|(key, value)| text(key, value)).collect::<Fields>())
    });
    own.into_iter().filter(|(_, map)| !map.is_empty()).map(|(name, map)| (name, self::map(map))).collect()
}
