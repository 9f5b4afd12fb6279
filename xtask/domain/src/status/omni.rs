//! Parses Omni's resources as omnictl prints them.
//!
//! `get -o json` prints objects one after another, not an array. Keys of `spec` are the Go field names in lower case,
//! enumerations are integers, labels without a value are null, and IDs that look like numbers are printed as numbers (omnictl
//! 1.4.9 and 1.9.3). Unknown fields are ignored; missing ones read as zero.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::clock;

/// A resource of any type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: Value,
}

/// The metadata that every resource has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// The revision; COSI prints it as a number.
    #[serde(default)]
    pub version: Value,
    /// `tearingDown` while the resource is being deleted.
    #[serde(default)]
    pub phase: String,
    /// The controllers that still block the deletion of the resource.
    #[serde(default)]
    pub finalizers: Vec<String>,
    /// The only controller that may destroy the resource; empty if users may.
    #[serde(default)]
    pub owner: Option<String>,
    /// When the resource was created and last updated, in RFC 3339 format.
    #[serde(default)]
    pub created: String,
    #[serde(default)]
    pub updated: String,
    #[serde(default)]
    labels: BTreeMap<String, Value>,
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
}

/// Deserializes an ID, which omnictl prints as a number if it looks like one.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

impl Metadata {
    /// Whether the resource has the label `omni.sidero.dev/<name>`, with or without a value.
    pub fn has_label(&self, name: &str) -> bool {
        self.labels.contains_key(&format!("omni.sidero.dev/{name}"))
    }

    /// Returns the value of the label `omni.sidero.dev/<name>`.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(&format!("omni.sidero.dev/{name}"))?.as_str()
    }

    /// Whether the resource has the annotation `omni.sidero.dev/<name>`.
    pub fn has_annotation(&self, name: &str) -> bool {
        self.annotations.contains_key(&format!("omni.sidero.dev/{name}"))
    }

    /// Returns all labels.
    pub fn labels(&self) -> &BTreeMap<String, Value> {
        &self.labels
    }

    pub fn tearing_down(&self) -> bool {
        self.phase == "tearingDown"
    }
}

impl Resource {
    /// Returns the value at a path of keys below `spec`.
    pub fn at(&self, path: &[&str]) -> &Value {
        path.iter().fold(&self.spec, |value, key| value.get(key).unwrap_or(&Value::Null))
    }

    pub fn text(&self, path: &[&str]) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    pub fn number(&self, path: &[&str]) -> u64 {
        self.at(path).as_u64().unwrap_or_default()
    }

    pub fn flag(&self, path: &[&str]) -> bool {
        self.at(path).as_bool().unwrap_or_default()
    }
}

/// The ID of a resource and part of its spec, to save memory when there are ten thousand machines.
#[derive(Debug, Deserialize)]
pub struct Brief<T> {
    pub metadata: Id,
    pub spec: T,
}

#[derive(Debug, Deserialize)]
pub struct Id {
    #[serde(deserialize_with = "text")]
    pub id: String,
}

/// Parses the output of `omnictl get -o json`.
///
/// # Errors
/// See [`Objects::finish`].
pub fn parse_resources(text: &str) -> Result<Vec<Resource>, String> {
    Objects::default().finish(text)
}

/// Parses the output of `omnictl get -o json` while it is printed, keeping only the fields of `T`: the output for ten thousand
/// machines is never in memory as a whole.
pub struct Objects<T> {
    found: Vec<T>,
    /// Number of bytes left over by the last parse.
    left: usize,
}

impl<T> Default for Objects<T> {
    fn default() -> Objects<T> {
        Objects { found: Vec::new(), left: 0 }
    }
}

impl<T: DeserializeOwned> Objects<T> {
    /// Moves the complete objects out of `text`. An incomplete object is parsed again once `text` is twice as long.
    pub fn take_complete(&mut self, text: &mut Vec<u8>) {
        if text.len() < self.left * 2 {
            return;
        }
        let mut objects = serde_json::Deserializer::from_slice(text).into_iter();
        self.found.extend(objects.by_ref().map_while(Result::ok));
        text.drain(..objects.byte_offset());
        self.left = text.len();
    }

    /// Returns all objects, including those in `rest`, the end of the output.
    ///
    /// # Errors
    /// Returns the number of the object that cannot be parsed, and the reason.
    pub fn finish(mut self, rest: &str) -> Result<Vec<T>, String> {
        for object in serde_json::Deserializer::from_str(rest).into_iter() {
            let number = self.found.len() + 1;
            self.found.push(object.map_err(|error| format!("object {number} of its output: {error}"))?);
        }
        Ok(self.found)
    }
}

/// Parses the version and the API version in `omnictl --version`: `omnictl version v1.9.3 (API Version: 2)`.
pub fn parse_omnictl_version(text: &str) -> Option<(String, u32)> {
    let rest = text.trim().strip_prefix("omnictl version ")?;
    let (version, api) = rest.split_once(" (API Version: ")?;
    Some((version.to_owned(), api.strip_suffix(')')?.parse().ok()?))
}

/// The health of an infrastructure provider, from `infraprovidercombinedstatus` and `infraproviderhealthstatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderHealth {
    /// Whether it has ever registered.
    pub initialized: bool,
    /// Whether it is connected: Omni's own flag is set, and the last heartbeat is recent.
    pub connected: bool,
    /// Whether Omni reports it as connected; before 1.6 this flag stays true after the provider stops.
    pub flagged: bool,
    /// Seconds since the last heartbeat; `None` if there was none.
    pub heartbeat_age: Option<u64>,
    /// When Omni received the heartbeat, by Omni's clock, in seconds since the Unix epoch; 0 if there was none.
    pub heartbeat_at: u64,
    /// The error that the provider reports; empty if it is healthy.
    pub error: String,
}

/// A provider sends a heartbeat every 30 s, and Omni 1.6 and later reports it as disconnected after 31 s. The age is computed
/// from two clocks, so it must be clearly greater before it overrides Omni's own flag.
const OLD_HEARTBEAT: u64 = 61;

impl ProviderHealth {
    /// Evaluates the health at `now`, in seconds since the Unix epoch, by Omni's clock if known.
    pub fn of(combined: &Resource, heartbeat: Option<&Resource>, now: u64) -> ProviderHealth {
        let sent = heartbeat.map_or(0, |found| found.number(&["lastheartbeattimestamp", "seconds"]));
        let heartbeat_age = (sent > 0).then(|| now.saturating_sub(sent));
        let flagged = combined.flag(&["health", "connected"]);
        ProviderHealth {
            initialized: combined.flag(&["health", "initialized"]),
            connected: flagged && heartbeat_age.is_none_or(|age| age < OLD_HEARTBEAT),
            flagged,
            heartbeat_age,
            heartbeat_at: heartbeat.and_then(|found| clock::parse_rfc3339(&found.metadata.updated)).unwrap_or(0),
            error: combined.text(&["health", "error"]).to_owned(),
        }
    }

    /// Whether Omni's flag and the age of the heartbeat disagree: either the provider is gone and this version of Omni does not
    /// notice, or the clock behind `now` is off.
    pub fn is_contradictory(&self) -> bool {
        self.flagged && !self.connected
    }

    pub fn is_healthy(&self) -> bool {
        self.initialized && self.connected && self.error.is_empty()
    }

    /// Describes the health in words.
    pub fn describe(&self) -> String {
        match (self.initialized, self.connected, self.error.as_str()) {
            (false, _, _) => "it has never registered".to_owned(),
            (true, false, _) => match self.heartbeat_age {
                None => "it has registered, but not sent a heartbeat yet".to_owned(),
                Some(age) if age <= 31 => "its last heartbeat is more than 31 s old by Omni's clock".to_owned(),
                Some(age) => format!("its last heartbeat is {age} s old"),
            },
            (true, true, "") => "registered and connected".to_owned(),
            (true, true, error) => format!("it reports: {error}"),
        }
    }
}

/// Returns the word for an enumeration value, or the number itself if it is newer than this code.
fn enum_label(words: &str, value: u64) -> String {
    words.split(' ').nth(value as usize).map_or_else(|| format!("phase {value}"), str::to_owned)
}

/// `ClusterStatus.phase` (omni v1.9.3 `client/api/omni/specs/omni.proto`).
pub fn cluster_phase(value: u64) -> String {
    enum_label("Unknown ScalingUp ScalingDown Running Destroying", value)
}

/// `MachineSetStatus.phase`.
pub fn machine_set_phase(value: u64) -> String {
    enum_label("Unknown ScalingUp ScalingDown Running Destroying Failed Reconfiguring Upgrading", value)
}

/// `ClusterMachineStatus.stage`.
pub fn machine_stage(value: u64) -> String {
    let words = "Unknown Booting Installing Configuring Running Destroying Upgrading Rebooting ShuttingDown \
     BeforeDestroy PoweringOn PoweredOff";
    enum_label(words, value)
}

/// `ClusterMachineRequestStatus.stage`.
pub fn request_stage(value: u64) -> String {
    enum_label("Unknown Pending Provisioning Provisioned Deprovisioning Failed", value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::testing::recorded;
    use serde_json::json;

    fn read(name: &str) -> Vec<Resource> {
        parse_resources(&recorded("omnictl", name).stdout).unwrap()
    }

    #[test]
    fn every_recorded_resource_is_read() {
        for (name, count) in [
            ("get-clusters-json", 1),
            ("get-machinesets-json", 2),
            ("get-machinerequests-json", 3),
            ("get-machines-empty", 0),
            ("get-talosversion-json", 1),
            ("get-infraproviderstatus-json", 1),
        ] {
            assert_eq!(read(name).len(), count, "{name}");
        }
    }

    #[test]
    fn shapes_of_1_9_3_are_parsed() {
        let text = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/fixtures/omnictl/resource-shapes-v1.9.3.txt"
        ));
        let text = text.unwrap();
        let objects: String = text
            .lines()
            .filter(|line| !line.starts_with("## "))
            // Stop at the list of aliases that follows the shapes.
            .take_while(|line| !line.contains(".omni.sidero.dev default ["))
            .collect::<Vec<_>>()
            .join("\n");
        let found = parse_resources(&objects).unwrap();
        assert!(found.len() > 10, "{}", found.len());
    }

    #[test]
    fn provider_health_is_read() {
        let recorded = &read("get-infraprovidercombinedstatus-json")[0];
        let health = ProviderHealth::of(recorded, None, 0);
        assert!(health.is_healthy());
        assert_eq!(health.describe(), "registered and connected");
    }

    /// Omni 1.4.9 still reported connected 100 s after the provider stopped. One heartbeat may be late, and clocks differ.
    #[test]
    fn health_follows_flag_and_heartbeat_age() {
        let resource = |spec: serde_json::Value| -> Resource {
            serde_json::from_value(json!({ "metadata": { "id": "p" }, "spec": spec })).unwrap()
        };
        for (initialized, connected, sent, words, contradictory) in [
            (true, true, Some(9_990), "registered and connected", false),
            (true, true, Some(9_945), "registered and connected", false),
            (true, true, Some(10_020), "registered and connected", false),
            (true, true, Some(9_900), "its last heartbeat is 100 s old", true),
            (true, false, Some(9_960), "its last heartbeat is 40 s old", false),
            (true, false, Some(9_990), "its last heartbeat is more than 31 s old by Omni's clock", false),
            (true, false, None, "it has registered, but not sent a heartbeat yet", false),
            (false, false, None, "it has never registered", false),
        ] {
            let health = json!({ "initialized": initialized, "connected": connected, "error": "" });
            let heartbeat =
                sent.map(|seconds: u64| resource(json!({ "lastheartbeattimestamp": { "seconds": seconds } })));
            let health = ProviderHealth::of(&resource(json!({ "health": health })), heartbeat.as_ref(), 10_000);
            assert_eq!((health.describe().as_str(), health.is_contradictory()), (words, contradictory), "{sent:?}");
            assert_eq!(health.is_healthy(), words == "registered and connected", "{sent:?}");
        }
    }

    #[test]
    fn versions_are_read() {
        let text = recorded("omnictl", "version").stdout;
        assert_eq!(parse_omnictl_version(&text), Some(("v1.4.9".to_owned(), 2)));
        assert_eq!(parse_omnictl_version("<html>"), None);
    }

    #[test]
    fn numeric_ids_parse_and_damage_is_located() {
        let found = parse_resources("{\"metadata\":{\"id\":12}}{\"metadata\":{\"id\":\"a\"}}").unwrap();
        assert_eq!(found[0].metadata.id, "12");
        assert!(parse_resources("{\"metadata\":{\"id\":1}} x").unwrap_err().contains("object 2"));
    }

    #[test]
    fn objects_are_parsed_incrementally() {
        let text = recorded("omnictl", "get-machinerequests-json").stdout;
        let (mut objects, mut held, mut most) = (Objects::<Resource>::default(), Vec::new(), 0);
        for part in text.as_bytes().chunks(100) {
            held.extend_from_slice(part);
            most = most.max(held.len());
            objects.take_complete(&mut held);
        }
        assert!(most < text.len(), "a text of several objects is not held as a whole");
        assert_eq!(objects.finish(&String::from_utf8(held).unwrap()).unwrap(), parse_resources(&text).unwrap());
    }
}
