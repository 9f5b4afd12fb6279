//! The releases of the provider that the lab knows, and how they differ
//! (siderolabs/omni-infra-provider-proxmox CHANGELOG.md, cmd/omni-infra-provider-proxmox/data/schema.json).

use serde_json::{Value, json};

/// A release, by the tag of its image. The order is theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProviderRelease {
    /// 0d9fd58, the last commit before the first release: every recording is of it.
    Untagged,
    /// v0.1.0: offline nodes are passed over, machines stand in pools and carry tags.
    V0_1,
    /// v0.2.0: placement strategies over a ledger, firmware, high availability. Also what newer tags and none at all get.
    #[default]
    V0_2,
}

impl ProviderRelease {
    /// The release that runs in this image; a digest behind the tag does not count.
    pub fn of_image(image: &str) -> ProviderRelease {
        let name = image.split('@').next().unwrap_or_default();
        let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("", |(_, tag)| tag);
        match tag {
            "0d9fd58" => ProviderRelease::Untagged,
            _ if tag.starts_with("v0.0.") => ProviderRelease::Untagged,
            _ if tag.starts_with("v0.1.") => ProviderRelease::V0_1,
            _ => ProviderRelease::V0_2,
        }
    }

    /// Its steps in their order.
    pub fn steps(self) -> &'static [&'static str] {
        const ALL: [&str; 7] =
            ["pickNode", "createSchematic", "uploadISO", "syncVM", "startVM", "registerHA", "syncHARules"];
        if self < ProviderRelease::V0_2 { &ALL[..5] } else { &ALL }
    }

    /// The JSON Schema that it registers. Upstream publishes no limits for the keys of later releases, so none stand here.
    pub fn schema(self) -> String {
        let text = |description: &str| json!({"type": "string", "description": description});
        let flag = |description: &str| json!({"type": "boolean", "description": description});
        let list =
            |description: &str| json!({"type": "array", "items": {"type": "string"}, "description": description});
        let Ok(mut schema) = serde_json::from_str::<Value>(super::SCHEMA) else { return super::SCHEMA.to_owned() };
        if self == ProviderRelease::Untagged {
            return super::SCHEMA.to_owned();
        }
        let keys = &mut schema["properties"];
        keys["tags"] = list("Tags of the VM");
        keys["pool"] = text("Resource pool of the VM; by default one named after the machine request set");
        keys["network_firewall"] = flag("Enable the Proxmox firewall on the primary NIC (default true)");
        keys["pci_devices"]["items"]["properties"]["mdev"] = text("Type of the mediated device");
        if self >= ProviderRelease::V0_2 {
            keys["placement_strategy"] = text("How a node is chosen");
            keys["placement_strategy"]["enum"] = json!(["spread", "fewer-vms", "round-robin", "binpack"]);
            keys["bios"] = json!({"type": "string", "enum": ["seabios", "ovmf"], "description": "Firmware of the VM"});
            keys["vga"] = text("Display of the VM");
            let number = json!({"type": "integer"});
            keys["ha"] = json!({"type": "object", "description": "High availability (Proxmox VE 9)", "properties": {
                "state": text("Requested state"), "comment": text("Comment"), "failback": flag("Return to the best node"),
                "max_restart": number, "max_relocate": number, "rules": list("Rules to join"),
                "resource_affinity": text("positive or negative"), "node_affinity_nodes": list("Nodes of the affinity rule"),
                "node_affinity_strict": flag("Run nowhere else"),
            }});
        }
        schema.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_the_image_decides() {
        let image = "ghcr.io/siderolabs/omni-infra-provider-proxmox";
        for (tag, release) in [
            (":0d9fd58", ProviderRelease::Untagged),
            (":v0.1.4@sha256:00", ProviderRelease::V0_1),
            (":v0.2.0", ProviderRelease::V0_2),
            (":v0.3.0", ProviderRelease::V0_2),
            (":latest", ProviderRelease::V0_2),
            ("", ProviderRelease::V0_2),
        ] {
            assert_eq!(ProviderRelease::of_image(&format!("{image}{tag}")), release, "{tag}");
        }
        assert_eq!(ProviderRelease::of_image("registry.example:5000/provider:v0.1.0"), ProviderRelease::V0_1);
    }

    #[test]
    fn each_release_adds_to_the_schema() {
        assert_eq!(ProviderRelease::Untagged.schema(), crate::provider::SCHEMA, "to the byte: the recordings hold it");
        let keys =
            |release: ProviderRelease| serde_json::from_str::<Value>(&release.schema()).unwrap()["properties"].clone();
        assert!(keys(ProviderRelease::Untagged)["pool"].is_null());
        assert!(keys(ProviderRelease::V0_1)["pool"].is_object() && keys(ProviderRelease::V0_1)["ha"].is_null());
        assert_eq!(keys(ProviderRelease::V0_2)["placement_strategy"]["enum"][0], "spread");
        assert_eq!(keys(ProviderRelease::V0_2)["cores"], keys(ProviderRelease::Untagged)["cores"]);
    }
}
