//! JSON Schemas for editors, generated from the tables of the checks: `schemas/*.json`. The files in `machine-classes/` and
//! `clusters/`, and `docker/site.yaml`, refer to them in their first line, so that an editor completes and validates while typing.

use serde_json::{Map, Value, json};

use super::{provider_keys, site as settings};
use domain::releases::{Minor, table};
use domain::spec::machine_class as class;
use domain::spec::template::decode as template;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema of a machine class file.
pub fn machine_class() -> Value {
    let text = || json!({"type": "string"});
    let strings = || json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}});
    let metadata = object(class::METADATA_KEYS, &["namespace", "type", "id"], |key| match key {
        "namespace" => {
            json!({"const": class::NAMESPACE, "description": "without it Omni stores the class where nothing finds it"})
        }
        "type" => json!({"const": class::TYPE}),
        "id" => {
            json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "description": "name of the class"})
        }
        "labels" | "annotations" => strings(),
        "finalizers" => json!({"type": "array"}),
        _ => json!({}),
    });
    let data = provider_keys::schema(&provider_keys::KEYS, None);
    let provision = object(class::PROVISION_KEYS, &["providerid", "providerdata"], |key| match key {
        "providerid" => json!({"type": "string", "minLength": 1, "description": "the provider's --id"}),
        "kernelargs" => json!({"type": "array", "items": {"type": "string", "maxLength": 256}, "maxItems": 64}),
        "metavalues" => {
            json!({"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {
            "key": {"type": "integer", "minimum": 0}, "value": {"type": "string"}}}})
        }
        "providerdata" => json!({"type": "string", "contentMediaType": "application/yaml", "contentSchema": data,
            "description": format!("YAML as text (`|`): {}", keys_of(&data))}),
        "grpctunnel" => json!({"enum": [0, 1, 2], "description": "0: Omni's default, 1: on, 2: off"}),
        _ => text(),
    });
    let spec = object(class::SPEC_KEYS, &[], |key| match key {
        "matchlabels" => json!({"type": "array", "items": {"type": "string"},
            "description": "selectors over machine labels: items are alternatives, commas are conditions"}),
        _ => provision.clone(),
    });
    json!({
        "$schema": DRAFT,
        "title": "Omni machine class",
        "type": "object",
        "additionalProperties": false,
        "required": ["metadata", "spec"],
        "properties": {"metadata": metadata, "spec": spec},
    })
}

/// The schema of `docker/site.yaml` for the recommended Omni.
pub fn site() -> Value {
    let mut schema = settings::schema(Minor::from(&table().recommended.omni.version));
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!("Omni's settings of a site");
    schema
}

/// The schema of one document of a cluster template.
pub fn cluster_template() -> Value {
    let kinds = [("Cluster", cluster()), ("ControlPlane", set(true)), ("Workers", set(false)), ("Machine", machine())];
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
    let mut schema = object(template::CLUSTER_KEYS, &["name", "kubernetes", "talos"], |key| match key {
        "name" => json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}),
        "kubernetes" => {
            json!({"type": "object", "required": ["version"], "additionalProperties": false, "properties": {
                "version": version("^v?[0-9]+\\.[0-9]+\\.[0-9]+"),
                "manifests": {"type": "array", "items": content(template::MANIFEST_KEYS, "inline", &["mode"])},
                "healthchecks": {"type": "array", "items": content(template::HEALTHCHECK_KEYS, "job", &[])},
            }})
        }
        "talos" => json!({"type": "object", "required": ["version"], "additionalProperties": false, "properties": {
            "version": version("^v[0-9]+\\.[0-9]+\\.[0-9]+")}}),
        "features" => object(template::FEATURE_KEYS, &[], |key| match key {
            "backupConfiguration" => json!({"type": "object", "additionalProperties": false, "properties": {
                "interval": {"type": "string", "pattern": "^([0-9.]+(h|m|s|ms))+$", "description": "between 1h and 24h"}}}),
            _ => json!({"type": "boolean"}),
        }),
        _ => common(key),
    });
    schema["properties"]["kind"] = json!({"const": "Cluster"});
    schema
}

fn set(control_plane: bool) -> Value {
    let not_here: &[&str] =
        if control_plane { &["name", "updateStrategy", "deleteStrategy"] } else { &["bootstrapSpec"] };
    let keys: Vec<&str> = template::SET_KEYS.iter().copied().filter(|k| !not_here.contains(k)).collect();
    let strategy = json!({"type": "object", "additionalProperties": false, "properties": {
        "type": {"enum": ["Rolling", "Unset"]},
        "rolling": {"type": "object", "additionalProperties": false, "properties": {
            "maxParallelism": {"type": "integer", "minimum": 0}}}}});
    let mut schema = object(&keys, &[], |key| match key {
        "machines" => json!({"type": "array", "items": {"type": "string"}, "description": "UUIDs of machines"}),
        "machineClass" => {
            json!({"type": "object", "required": ["name", "size"], "additionalProperties": false, "properties": {
            "name": {"type": "string", "minLength": 1},
            "size": {"anyOf": [{"type": "integer", "minimum": 0}, {"enum": ["unlimited"]}],
                "description": "a number; unlimited only for classes with matchlabels"}}})
        }
        "bootstrapSpec" => {
            json!({"type": "object", "required": ["clusterUUID", "snapshot"], "additionalProperties": false,
            "properties": {"clusterUUID": {"type": "string"}, "snapshot": {"type": "string"}}})
        }
        "updateStrategy" | "deleteStrategy" | "upgradeStrategy" => strategy.clone(),
        _ => common(key),
    });
    schema["properties"]["kind"] = json!({"const": if control_plane { "ControlPlane" } else { "Workers" }});
    // omnictl accepts one of them; kernel arguments of a class are in the class.
    schema["not"] = json!({"anyOf": [
        {"required": ["machines", "machineClass"]}, {"required": ["kernelArgs", "machineClass"]}]});
    schema
}

fn machine() -> Value {
    let mut schema = object(template::MACHINE_KEYS, &["name"], |key| match key {
        "locked" => json!({"type": "boolean"}),
        "install" => {
            json!({"type": "object", "additionalProperties": false, "properties": {"disk": {"type": "string"}}})
        }
        _ => common(key),
    });
    schema["properties"]["kind"] = json!({"const": "Machine"});
    schema
}

/// A patch, a manifest or a healthcheck: content in a file or in place.
fn content(keys: &[&str], place: &str, required: &[&str]) -> Value {
    let mut schema = object(keys, required, |key| match key {
        "mode" => json!({"enum": ["full", "one-time"]}),
        "inline" | "job" => json!({"type": ["object", "array", "string"]}),
        "file" => json!({"type": "string", "description": "relative to the template's directory, and inside of it"}),
        _ => common(key),
    });
    schema["oneOf"] = json!([{"required": ["file"]}, {"required": [place]}]);
    schema
}

fn common(key: &str) -> Value {
    match key {
        "labels" | "annotations" => {
            json!({"type": "object", "propertyNames": {"not": {"pattern": "^omni\\.sidero\\.dev/"}}})
        }
        "patches" => json!({"type": "array", "items": content(template::PATCH_KEYS, "inline", &[])}),
        "systemExtensions" | "kernelArgs" => json!({"type": "array", "items": {"type": "string"}}),
        _ => json!({"type": "string"}),
    }
}

fn version(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

fn object(keys: &[&str], required: &[&str], schema: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), schema(key))).collect();
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

fn keys_of(schema: &Value) -> String {
    let keys = schema["properties"].as_object().into_iter().flat_map(|p| p.keys().map(String::as_str));
    keys.collect::<Vec<_>>().join(", ")
}
