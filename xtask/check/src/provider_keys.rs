//! What `providerdata` may contain, by provider version: `data/provider-keys.yaml`, the table behind the offline check and the
//! editors' schema.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use strum::VariantArray;

use crate::capacity::provider::Provider;

/// The type of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    Text,
    Flag,
    /// A whole number.
    Number,
    /// A list of strings.
    Texts,
    Map,
    /// A list of mappings.
    List,
}

/// The release that introduced a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum KeyRelease {
    Release(Provider),
    /// Only in an open pull request.
    Unreleased,
}

impl From<String> for KeyRelease {
    fn from(name: String) -> KeyRelease {
        name.parse().map_or(KeyRelease::Unreleased, KeyRelease::Release)
    }
}

impl KeyRelease {
    fn first() -> KeyRelease {
        KeyRelease::Release(Provider::Untagged)
    }

    /// Returns true if this release of the provider reads the key.
    pub fn is_in(self, release: Provider) -> bool {
        matches!(self, KeyRelease::Release(since) if since <= release)
    }
}

/// A key, with the limits that its schema states.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderKey {
    pub name: String,
    pub kind: KeyKind,
    #[serde(default)]
    pub required: bool,
    #[serde(default = "KeyRelease::first")]
    pub since: KeyRelease,
    pub about: String,
    #[serde(default)]
    values: Vec<String>,
    least: Option<u64>,
    most: Option<u64>,
    pattern: Option<String>,
    /// The keys of a map, or of each mapping in a list.
    #[serde(default)]
    pub keys: Vec<ProviderKey>,
}

/// Every key of `providerdata`.
pub static KEYS: LazyLock<Vec<ProviderKey>> = LazyLock::new(|| {
    let text = include_str!("../../data/provider-keys.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/provider-keys.yaml: {error}"))
});

/// Returns the schema of the whole table for a release of the provider; without a release, of all keys.
pub fn built_in(release: Option<Provider>) -> &'static Value {
    static ALL: LazyLock<Value> = LazyLock::new(|| schema(&KEYS, None));
    static EACH: LazyLock<Vec<Value>> =
        LazyLock::new(|| Provider::VARIANTS.iter().map(|release| schema(&KEYS, Some(*release))).collect());
    release.and_then(|release| EACH.get(release as usize)).unwrap_or(&ALL)
}

/// Returns the JSON Schema of the keys that a release reads; without a release, of all keys.
pub fn schema(keys: &[ProviderKey], release: Option<Provider>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys.iter().filter(|key| release.is_none_or(|release| key.since.is_in(release))) {
        let mut property = match (key.kind, &key.pattern) {
            (KeyKind::Text, _) => json!({"type": "string"}),
            (KeyKind::Flag, _) => json!({"type": "boolean"}),
            (KeyKind::Number, _) => json!({"type": "integer"}),
            (KeyKind::Texts, None) => json!({"type": "array", "items": {"type": "string", "minLength": 1}}),
            (KeyKind::Texts, Some(pattern)) => {
                json!({"type": "array", "items": {"type": "string", "pattern": pattern, "maxLength": key.most}})
            }
            (KeyKind::Map, _) => schema(&key.keys, release),
            (KeyKind::List, _) => json!({"type": "array", "items": schema(&key.keys, release)}),
        };
        if !key.values.is_empty() {
            property["enum"] = json!(key.values);
        }
        if let Some(least) = key.least {
            property["minimum"] = least.into();
        }
        if let Some(most) = key.most.filter(|_| key.kind == KeyKind::Text) {
            property["maxLength"] = most.into();
        }
        let since = match key.since {
            KeyRelease::Release(Provider::Untagged) => String::new(),
            KeyRelease::Release(since) => format!(" (provider {since})"),
            KeyRelease::Unreleased => " (not yet in a provider release)".to_owned(),
        };
        property["description"] = json!(format!("{}{since}", key.about));
        properties.insert(key.name.clone(), property);
        if key.required {
            required.push(key.name.as_str());
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}
