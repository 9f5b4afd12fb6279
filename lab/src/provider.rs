//! The infrastructure provider, simulated.

/// The JSON Schema that the provider registers (omni-infra-provider-proxmox 0d9fd58
/// cmd/omni-infra-provider-proxmox/data/schema.json).
pub const SCHEMA: &str = include_str!("provider/schema.json");
