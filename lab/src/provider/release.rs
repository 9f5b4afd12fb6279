//! The releases of the provider that the lab simulates, and how they differ
//! (siderolabs/omni-infra-provider-proxmox CHANGELOG.md, cmd/omni-infra-provider-proxmox/data/schema.json).

use serde_json::Value;

/// A release, by the tag of its image. Ordered from old to new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProviderRelease {
    /// 0d9fd58, the last commit before the first release, with which everything was recorded.
    Untagged,
    /// v0.2.0: placement strategies with a ledger, pools, firmware.
    V0_2,
    /// v0.3.0: Omni creates the schematic, ISO files have other names, USB devices, nodes that are gone do not block a teardown.
    /// Also used for newer tags and images without a tag.
    #[default]
    V0_3,
}

impl ProviderRelease {
    /// Returns the release of this image; a digest after the tag is ignored.
    pub fn of_image(image: &str) -> ProviderRelease {
        match check::stack::tag(image) {
            Some("0d9fd58") => ProviderRelease::Untagged,
            Some(tag) if tag.starts_with("v0.2.") => ProviderRelease::V0_2,
            _ => ProviderRelease::V0_3,
        }
    }

    /// Returns the steps in order.
    pub fn steps(self) -> &'static [&'static str] {
        const OLD: [&str; 7] =
            ["pickNode", "createSchematic", "uploadISO", "syncVM", "startVM", "registerHA", "syncHARules"];
        const NEW: [&str; 6] = ["pickNode", "uploadISO", "syncVM", "startVM", "registerHA", "syncHARules"];
        match self {
            ProviderRelease::Untagged => &OLD[..5],
            ProviderRelease::V0_2 => &OLD,
            ProviderRelease::V0_3 => &NEW,
        }
    }

    /// Returns the version that the provider reports to Omni; clients before 0.2 report none.
    pub fn version(self) -> &'static str {
        match self {
            ProviderRelease::Untagged => "",
            ProviderRelease::V0_2 => "v0.2.0",
            ProviderRelease::V0_3 => "v0.3.0",
        }
    }

    /// Returns the JSON Schema that it registers, with the limits of the v0.2.0 line (its data/schema.json at 54ea656f).
    pub fn schema(self) -> String {
        let added: &[&str] = match self {
            ProviderRelease::Untagged => return super::SCHEMA.to_owned(),
            ProviderRelease::V0_2 => &[include_str!("schema-0.2.json")],
            ProviderRelease::V0_3 => &[include_str!("schema-0.2.json"), include_str!("schema-0.3.json")],
        };
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let mut schema = read(super::SCHEMA);
        added.iter().for_each(|text| merge(&mut schema, read(text)));
        schema.to_string()
    }
}

/// Adds what a schema has in addition to the previous one.
fn merge(into: &mut Value, added: Value) {
    match (into, added) {
        (Value::Object(into), Value::Object(added)) => {
            added.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, added) => *into = added,
    }
}
