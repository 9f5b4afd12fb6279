//! Generates a new machine class, formatted as if written by hand, with comments that explain the values.

use yaml::quote;

/// The parameters of a new class. Units are those of the provider's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClass {
    /// Name of the class and of its file; a DNS label.
    pub name: String,
    /// ID of the infrastructure provider in Omni.
    pub provider_id: String,
    pub cores: u32,
    pub memory_mib: u64,
    pub disk_gib: u64,
    /// CEL expression that is true for exactly one storage on each node.
    pub selector: String,
    /// Node to pin the machines to; `None` lets the provider choose.
    pub node: Option<String>,
    /// Bridge of the first network interface; `None` means `vmbr0`.
    pub bridge: Option<String>,
}

/// Returns the text of a machine class file.
pub fn render(class: &NewClass) -> String {
    let mut data = vec![
        format!("cores: {}", class.cores),
        "# Never leave sockets out: the provider then sends 0 and Proxmox refuses the VM.".to_owned(),
        "sockets: 1".to_owned(),
        format!("memory: {}        # MiB, at least 2048", class.memory_mib),
        format!("disk_size: {}       # GiB, at least 5", class.disk_gib),
        "# A CEL expression, evaluated for each storage of the node (name, node, storageType: string, availableSpace: uint).".to_owned(),
        "# It must match exactly one storage: Proxmox lists storages in random order, and the first match wins.".to_owned(),
        format!("storage_selector: {}", quote(&class.selector)),
    ];
    if let Some(node) = &class.node {
        data.push(
            "# Places every machine of this class on this node; without it the provider picks a node with enough room."
                .to_owned(),
        );
        data.push(format!("node: {}", quote(node)));
    }
    if let Some(bridge) = &class.bridge {
        data.push(format!("network_bridge: {}", quote(bridge)));
    }
    let data: String = data.iter().map(|line| format!("      {line}\n")).collect();
    format!(
        "\
# yaml-language-server: $schema=../schemas/machine-class.schema.json
# A machine class: the configuration of the virtual machines in a machine set.
# Check it with `cargo xtask machineclass-check {name}`, apply it with `cargo xtask machineclass-apply {name}`.
metadata:
  namespace: default # without it Omni stores the class where templates cannot find it
  type: MachineClasses.omni.sidero.dev
  id: {id}
spec: # all keys in lower case: omnictl silently drops any other
  autoprovision:
    providerid: {provider} # the provider's --id
    kernelargs: []
    metavalues: []
    # A string that contains YAML, not a mapping: Omni passes it to the provider unchanged.
    # A change affects only new machines; existing ones keep their settings.
    providerdata: |
{data}    grpctunnel: 0
",
        name = class.name,
        id = quote(&class.name),
        provider = quote(&class.provider_id),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::machine_class::parse;
    use crate::spec::provider_data;

    #[test]
    fn rendered_text_parses_back() {
        let class = NewClass {
            name: "db-1".into(),
            provider_id: "proxmox".into(),
            cores: 4,
            memory_mib: 8192,
            disk_gib: 40,
            selector: r#"storageType == "rbd" && name == "vm: ssd # 1""#.into(),
            node: Some("yes".into()),
            bridge: Some("vmbr1".into()),
        };
        let read = parse("db-1.yaml", render(&class).as_bytes());
        assert!(read.findings.is_empty(), "{:?}", read.findings);
        let read = read.value.expect("a value").remove(0);
        assert_eq!((read.id.as_str(), read.namespace.as_str()), ("db-1", "default"));
        let provision = read.auto_provision.expect("a value");
        assert_eq!(provision.provider_id, "proxmox");
        let data = provider_data::parse("db-1.yaml", &provision).value.expect("a value");
        assert_eq!(data.storage_selector.as_deref(), Some(class.selector.as_str()));
        assert_eq!(
            (data.cores, data.sockets, data.memory_mib, data.disk_size_gib),
            (Some(4), Some(1), Some(8192), Some(40))
        );
        assert_eq!((data.node.as_deref(), data.network_bridge.as_deref()), (Some("yes"), Some("vmbr1")));
    }
}
