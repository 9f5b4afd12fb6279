//! The releases of the provider that the lab knows, and how they differ
//! (siderolabs/omni-infra-provider-proxmox CHANGELOG.md, cmd/omni-infra-provider-proxmox/data/schema.json).

use serde_json::Value;

/// A release, by the tag of its image. The order is theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProviderRelease {
    /// 0d9fd58, the last commit before the first release: every recording is of it.
    Untagged,
    /// v0.2.0: placement strategies over a ledger, pools, firmware.
    V0_2,
    /// v0.3.0: Omni makes the schematic, ISO files are named otherwise, USB devices, nodes that are gone do not stop a teardown.
    /// Also what newer tags and none at all get.
    #[default]
    V0_3,
}

impl ProviderRelease {
    /// The release that runs in this image; a digest behind the tag does not count.
    pub fn of_image(image: &str) -> ProviderRelease {
        match check::stack::tag(image) {
            Some("0d9fd58") => ProviderRelease::Untagged,
            Some(tag) if tag.starts_with("v0.2.") => ProviderRelease::V0_2,
            _ => ProviderRelease::V0_3,
        }
    }

    /// Its steps in their order.
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

    /// The version that it reports to Omni, which clients before 0.2 do not.
    pub fn version(self) -> &'static str {
        match self {
            ProviderRelease::Untagged => "",
            ProviderRelease::V0_2 => "v0.2.0",
            ProviderRelease::V0_3 => "v0.3.0",
        }
    }

    /// The JSON Schema that it registers, with the limits of the v0.2.0 line (its data/schema.json at 54ea656f).
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

/// Puts in what a schema has more than the one before it.
fn merge(into: &mut Value, added: Value) {
    match (into, added) {
        (Value::Object(into), Value::Object(added)) => {
            added.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, added) => *into = added,
    }
}
