//! The part of JSON Schema that a provider's schema uses, with the messages of two releases: 1.4.9 prints what
//! santhosh-tekuri/jsonschema v6 says, 1.9.3 words it for people (omni internal/pkg/jsonschema/jsonschema.go).

use serde_json::Value;

use super::kinds::OmniRelease;

/// One violation: where in the data, and what.
struct Leaf {
    path: Vec<String>,
    what: Violation,
}

enum Violation {
    Missing(Vec<String>),
    Type { want: String, got: &'static str },
    Minimum(f64, String),
    Enum(Vec<String>),
}

/// Checks provider data (YAML text) against a schema (JSON text). The error is the whole message.
pub fn validate(release: OmniRelease, provider: &str, schema: &str, data: &str) -> Result<(), String> {
    let schema: Value = serde_json::from_str(schema)
        .map_err(|why| format!("failed to load json schema for provider {provider:?}: {why}"))?;
    let data: serde_yaml::Value =
        serde_yaml::from_str(data).map_err(|why| format!("failed to unmarshal YAML yaml: {why}"))?;
    let data = match data {
        serde_yaml::Value::Null if !release.old() => Value::Object(serde_json::Map::new()),
        other => serde_json::to_value(other).map_err(|why| format!("failed to unmarshal YAML {why}"))?,
    };
    let mut leaves = Vec::new();
    check(&schema, &data, &mut Vec::new(), &mut leaves);
    if leaves.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = leaves.iter().map(|leaf| if release.old() { old(leaf) } else { new(leaf) }).collect();
    let list = lines.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n");
    Err(match release.old() {
        true => format!("jsonschema validation failed with 'file://{provider}-schema.json#'\n{list}"),
        false => list,
    })
}

fn check(schema: &Value, data: &Value, path: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    let mut leaf = |what| leaves.push(Leaf { path: path.clone(), what });
    if let Some(want) = schema["type"].as_str()
        && !is(want, data)
    {
        leaf(Violation::Type { want: want.to_owned(), got: type_name(data) });
        return;
    }
    if let (Some(minimum), Some(given)) = (schema["minimum"].as_f64(), data.as_f64())
        && given < minimum
    {
        leaf(Violation::Minimum(minimum, data.to_string()));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(data)
    {
        leaf(Violation::Enum(allowed.iter().map(|v| v.as_str().map_or(v.to_string(), str::to_owned)).collect()));
    }
    if let Value::Object(map) = data {
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names = required.iter().filter_map(Value::as_str);
        let missing: Vec<String> = names.filter(|name| !map.contains_key(*name)).map(str::to_owned).collect();
        if !missing.is_empty() {
            leaf(Violation::Missing(missing));
        }
        for (name, inner) in map {
            if let Some(property) = schema["properties"].get(name) {
                path.push(name.clone());
                check(property, inner, path, leaves);
                path.pop();
            }
        }
    }
    if let (Value::Array(items), Some(item)) = (data, schema.get("items")) {
        for (number, inner) in items.iter().enumerate() {
            path.push(number.to_string());
            check(item, inner, path, leaves);
            path.pop();
        }
    }
}

fn is(want: &str, data: &Value) -> bool {
    match want {
        "integer" => data.is_i64() || data.is_u64() || data.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => data.is_number(),
        other => type_name(data) == other,
    }
}

fn type_name(data: &Value) -> &'static str {
    match data {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn old(leaf: &Leaf) -> String {
    let place: String = leaf.path.iter().map(|part| format!("/{part}")).collect();
    let quoted = |names: &[String]| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let what = match &leaf.what {
        Violation::Missing(names) if names.len() == 1 => format!("missing property {}", quoted(names)),
        Violation::Missing(names) => format!("missing properties {}", quoted(names)),
        Violation::Type { want, got } => format!("got {got}, want {want}"),
        Violation::Minimum(want, got) => format!("minimum: got {got}, want {want}"),
        Violation::Enum(allowed) => format!("value must be one of {}", quoted(allowed)),
    };
    format!("at '{place}': {what}")
}

fn new(leaf: &Leaf) -> String {
    let field = |path: &[String], what: &str| format!("config value {:?}: {what}", format!(".{}", path.join(".")));
    match &leaf.what {
        Violation::Missing(names) => {
            let one = |name: &String| {
                let mut path = leaf.path.clone();
                path.push(name.clone());
                field(&path, "is required")
            };
            names.iter().map(one).collect::<Vec<_>>().join("; ")
        }
        Violation::Type { got: "null", .. } => field(&leaf.path, "is required but was not set"),
        Violation::Type { want, got } => field(&leaf.path, &format!("must be of type {want}, but got {got}")),
        Violation::Minimum(want, _) => field(&leaf.path, &format!("must be at least {want}")),
        Violation::Enum(allowed) => {
            let list = allowed.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(", ");
            field(&leaf.path, &format!("must be one of {list}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = crate::provider::SCHEMA;
    const GOOD: &str = "cores: 4\nmemory: 8192\ndisk_size: 40\nstorage_selector: 'true'\n";

    fn said(release: OmniRelease, data: &str) -> String {
        validate(release, "proxmox", SCHEMA, data).unwrap_err()
    }

    #[test]
    fn good_data_passes_and_unknown_keys_too() {
        for release in [OmniRelease::V1_4_9, OmniRelease::V1_9_3] {
            assert_eq!(validate(release, "proxmox", SCHEMA, &format!("{GOOD}nonsense: 1\n")), Ok(()));
        }
    }

    #[test]
    fn the_old_release_speaks_as_the_library() {
        assert_eq!(
            said(OmniRelease::V1_4_9, &GOOD.replace("cores: 4", "cores: \"4\"")),
            "jsonschema validation failed with 'file://proxmox-schema.json#'\n- at '/cores': got string, want integer"
        );
        assert!(
            said(OmniRelease::V1_4_9, &GOOD.replace("memory: 8192\n", ""))
                .ends_with("- at '': missing property 'memory'")
        );
    }

    #[test]
    fn the_new_release_speaks_to_people() {
        let data = GOOD.replace("cores: 4", "cores: \"4\"").replace("8192", "1024") + "disk_cache: fast\n";
        assert_eq!(
            said(OmniRelease::V1_9_3, &data),
            "- config value \".cores\": must be of type integer, but got string\n\
             - config value \".disk_cache\": must be one of 'none', 'writethrough', 'writeback', 'directsync', 'unsafe'\n\
             - config value \".memory\": must be at least 2048"
        );
        assert!(
            said(OmniRelease::V1_9_3, "cores: 1\n")
                .contains("config value \".memory\": is required; config value \".disk_size\": is required")
        );
        let nested = format!("{GOOD}additional_nics:\n- vlan: -1\n");
        assert!(said(OmniRelease::V1_9_3, &nested).contains("config value \".additional_nics.0.bridge\": is required"));
    }
}
