//! Property strings such as `virtio,bridge=vmbr0,firewall=1`, which are several values in one parameter
//! (pve-common `JSONSchema.pm` `parse_property_string`).

use std::collections::BTreeMap;

use super::params::{Param, ParamType, UNDEFINED, check_text};
use super::vmschema::find;
use crate::proxmox::world::Config;

/// Splits a property string of any format into keys and values; a value without a key has an empty key.
pub fn pairs(text: &str) -> BTreeMap<&str, &str> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or(("", part))).collect()
}

impl Param {
    /// Validates a property string, and returns PVE's error message if it is not valid. `name` may include a number.
    pub fn check(&self, name: &str, text: &str) -> Result<(), String> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let mut errors = String::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some(("volume", value)) if self.name != "net" => ("file", value),
                Some(pair) => pair,
                None => match self.keys.iter().find(|key| key.default) {
                    Some(default) => (default.name, part),
                    None => return Err("value without key, but schema does not define a default key".into()),
                },
            };
            // In `virtio=BC:24:11:…` the model is the key and the MAC address its value.
            let (key, value) = if self.name == "net" && is_model(key) { ("model", key) } else { (key, value) };
            if seen.insert(key, value).is_some() {
                return Err(format!("duplicate key in comma-separated list property: {key}"));
            }
        }
        for (key, value) in &seen {
            let wrong = match self.keys.iter().find(|known| known.name == *key) {
                // In a property string a boolean may also be a word: the provider sends `enabled=true`.
                Some(known) if matches!(known.kind, ParamType::Bool) && is_boolean(value) => None,
                Some(known) => check_text(key, known.kind, value)
                    .err()
                    .map(|why| why.unwrap_or_else(|| format!("type check failed - got '{value}'"))),
                None => Some(UNDEFINED.into()),
            };
            if let Some(wrong) = wrong {
                errors.push_str(&format!("{name}.{key}: {}\n", wrong.trim_end()));
            }
        }
        for key in self.keys.iter().filter(|key| key.required && !seen.contains_key(key.name)) {
            errors.push_str(&format!("{name}.{}: property is missing and it is not optional\n", key.name));
        }
        if errors.is_empty() { Ok(()) } else { Err(format!("format error\n{}", errors.trim_end())) }
    }
}

/// Whether a word is a network device model.
fn is_model(word: &str) -> bool {
    let model = find("net0").and_then(|net| net.keys.iter().find(|key| key.name == "model"));
    model.is_some_and(|model| check_text("model", model.kind, word).is_ok())
}

fn is_boolean(text: &str) -> bool {
    matches!(text, "0" | "1" | "true" | "false" | "yes" | "no" | "on" | "off")
}

/// Returns the bridge and the VLAN tag of a network device.
pub fn bridge_of(net: &str) -> Option<(&str, Option<&str>)> {
    let pairs = pairs(net);
    Some((*pairs.get("bridge")?, pairs.get("tag").copied()))
}

/// Adds a MAC address to a network device, unless it already has one.
pub fn with_mac(net: &str, mac: impl FnOnce() -> String) -> String {
    let (head, tail) = net.split_once(',').unwrap_or((net, ""));
    let tail = if tail.is_empty() { String::new() } else { format!(",{tail}") };
    if head.split_once('=').is_some_and(|(model, _)| is_model(model)) {
        return net.to_owned();
    }
    let model = head.strip_prefix("model=").unwrap_or(head);
    format!("{model}={}{tail}", mac())
}

/// The devices in a boot order that are missing from the configuration.
pub fn missing_boot_devices(boot: &str, config: &Config) -> Vec<String> {
    let order = pairs(boot).get("order").copied().unwrap_or("").to_owned();
    order.split(';').filter(|device| !device.is_empty() && !config.contains_key(*device)).map(str::to_owned).collect()
}
