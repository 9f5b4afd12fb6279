//! The releases of the provider that the lab knows, and how they differ
//! (siderolabs/omni-infra-provider-proxmox CHANGELOG.md, cmd/omni-infra-provider-proxmox/data/schema.json).

use serde_json::{Value, json};

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
        let name = image.split('@').next().unwrap_or_default();
        let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("", |(_, tag)| tag);
        match tag {
            "0d9fd58" => ProviderRelease::Untagged,
            _ if tag.starts_with("v0.2.") => ProviderRelease::V0_2,
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
        let text = |description: &str| json!({"type": "string", "description": description});
        let flag = |description: &str| json!({"type": "boolean", "description": description});
        let Ok(mut schema) = serde_json::from_str::<Value>(super::SCHEMA) else { return super::SCHEMA.to_owned() };
        if self == ProviderRelease::Untagged {
            return super::SCHEMA.to_owned();
        }
        let keys = &mut schema["properties"];
        keys["tags"] =
            json!({"type": "array", "items": {"type": "string", "minLength": 1}, "description": "Tags of the VM"});
        keys["pool"] = text("Resource pool of the VM; by default one named after the machine request set");
        keys["network_firewall"] = flag("Enable the Proxmox firewall on the primary NIC (default true)");
        keys["pci_devices"]["items"]["properties"]["mdev"] = text("Type of the mediated device");
        keys["placement_strategy"] = text("How a node is chosen");
        keys["placement_strategy"]["enum"] = json!(["spread", "fewer-vms", "round-robin", "binpack"]);
        keys["bios"] = json!({"type": "string", "enum": ["seabios", "ovmf"], "description": "Firmware of the VM"});
        keys["vga"] = text("Display of the VM");
        let number = json!({"type": "integer", "minimum": 0});
        let names = |pattern: &str, most: u32| json!({"type": "array", "items": {"type": "string", "pattern": pattern, "maxLength": most}});
        keys["ha"] = json!({"type": "object", "description": "High availability (Proxmox VE 9)", "properties": {
            "state": {"type": "string", "enum": ["started", "stopped", "disabled", "ignored"]},
            "comment": {"type": "string", "maxLength": 4096}, "failback": flag("Return to the best node"),
            "max_restart": number, "max_relocate": number, "rules": names("^[A-Za-z0-9][A-Za-z0-9_-]*$", 64),
            "resource_affinity": {"type": "string", "enum": ["negative", "positive"]},
            "node_affinity_nodes": names("^[A-Za-z0-9][A-Za-z0-9-]*$", 63),
            "node_affinity_strict": flag("Run nowhere else"),
        }});
        if self >= ProviderRelease::V0_3 {
            keys["usb_devices"] = json!({"type": "array", "items": {"type": "object", "required": ["mapping"],
                "properties": {"mapping": text("Resource mapping of the device"), "usb3": flag("Attach it as USB 3")}}});
        }
        schema.to_string()
    }
}
