//! JSON Schemas for editors, generated from the tables of the checks: `schemas/*.json`. The files in `machine-classes/` and
//! `clusters/`, and `docker/site.yaml`, name them in their first line, so that an editor completes and validates while typing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{provider_keys, site as settings};
use domain::releases::table;
use domain::spec::machine_class as class;
use domain::spec::template::decode as template;
use domain::version::Minor;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema of each key, by the mapping that contains it.
static SCHEMAS: LazyLock<BTreeMap<String, BTreeMap<String, Value>>> = LazyLock::new(|| {
    let text = include_str!("../../data/editor-schemas.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/editor-schemas.yaml: {error}"))
});

/// Returns the schema of a machine class file.
pub fn machine_class() -> Value {
    let data = provider_keys::schema(&provider_keys::KEYS, None);
    let keys = data["properties"].as_object().into_iter().flat_map(Map::keys);
    let keys = keys.map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut provision = object("autoprovision", class::PROVISION_KEYS, &["providerid", "providerdata"]);
    provision["properties"]["providerdata"] = json!({"type": "string", "contentMediaType": "application/yaml",
        "contentSchema": data, "description": format!("YAML as text (`|`): {keys}")});
    let mut spec = object("spec", class::SPEC_KEYS, &[]);
    spec["properties"]["autoprovision"] = provision;
    let metadata = object("metadata", class::METADATA_KEYS, &["namespace", "type", "id"]);
    json!({
        "$schema": DRAFT,
        "title": "Omni machine class",
        "type": "object",
        "additionalProperties": false,
        "required": ["metadata", "spec"],
        "properties": {"metadata": metadata, "spec": spec},
    })
}

/// Returns the schema of `docker/site.yaml` for the recommended Omni.
pub fn site() -> Value {
    let mut schema = settings::schema(Minor::from(&table().recommended.omni.version));
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!("site-specific Omni settings");
    schema
}

/// Returns the schema of one document of a cluster template.
pub fn cluster_template() -> Value {
    let machine = object("machine", template::MACHINE_KEYS, &["name"]);
    let kinds = [("Cluster", cluster()), ("ControlPlane", set(true)), ("Workers", set(false)), ("Machine", machine)];
    let branches = kinds.map(
        |(kind, schema)| json!({"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": schema}),
    );
    json!({
        "$schema": DRAFT,
        "title": "Omni cluster template",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": template::KINDS}},
        "allOf": branches,
    })
}

fn cluster() -> Value {
    let mut schema = object("cluster", template::CLUSTER_KEYS, &["name", "kubernetes", "talos"]);
    let properties = &mut schema["properties"];
    properties["features"] = object("features", template::FEATURE_KEYS, &[]);
    let kubernetes = &mut properties["kubernetes"]["properties"];
    kubernetes["manifests"] = contents(template::MANIFEST_KEYS, "inline", &["mode"]);
    kubernetes["healthchecks"] = contents(template::HEALTHCHECK_KEYS, "job", &[]);
    schema
}

fn set(control_plane: bool) -> Value {
    let not_here: &[&str] =
        if control_plane { &["name", "updateStrategy", "deleteStrategy"] } else { &["bootstrapSpec"] };
    let keys: Vec<&str> = template::SET_KEYS.iter().copied().filter(|k| !not_here.contains(k)).collect();
    let mut schema = object("set", &keys, &[]);
    schema["properties"]["kind"] = json!({"const": if control_plane { "ControlPlane" } else { "Workers" }});
    // omnictl accepts only one of each pair; kernel arguments for a class belong in the class.
    schema["not"] = json!({"anyOf": [
        {"required": ["machines", "machineClass"]}, {"required": ["kernelArgs", "machineClass"]}]});
    schema
}

/// Returns the schema of a list of patches, manifests or healthchecks: each has its content in a file or inline.
fn contents(keys: &[&str], place: &str, required: &[&str]) -> Value {
    let mut schema = object("content", keys, required);
    schema["oneOf"] = json!([{"required": ["file"]}, {"required": [place]}]);
    json!({"type": "array", "items": schema})
}

fn object(name: &str, keys: &[&str], required: &[&str]) -> Value {
    let (own, common) = (&SCHEMAS[name], &SCHEMAS["common"]);
    let schema = |key: &str| match own.get(key).or(common.get(key)).or(own.get("*")) {
        _ if key == "patches" => contents(template::PATCH_KEYS, "inline", &[]),
        found => found.unwrap_or(&common["*"]).clone(),
    };
    let properties: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), schema(key))).collect();
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}
