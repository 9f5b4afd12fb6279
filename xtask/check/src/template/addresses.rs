//! Static addresses in patches.

use yaml::Node;

/// Documents of links that may have addresses. The addresses of dummy links are meant to be the same on several machines.
const LINKS: &[&str] = &["LinkConfig", "BondConfig", "BridgeConfig", "VLANConfig", "WireguardConfig"];

/// Returns the static addresses that a document gives to a machine, unless it selects the link by a hardware address, which
/// only one machine has. `aliases` are the names of links that documents of the template select.
pub(super) fn of<'n>(document: &'n Node, aliases: &[&str]) -> Vec<&'n Node> {
    let kind = document.get("kind").and_then(Node::text);
    let found: Vec<&Node> = match kind {
        Some(kind) if LINKS.contains(&kind) => {
            let name = document.get("name").and_then(Node::text).unwrap_or_default();
            let own = !is_local(name) && !aliases.contains(&name);
            items(document, "addresses").filter_map(|entry| entry.get("address")).filter(|_| own).collect()
        }
        Some(_) => Vec::new(),
        None => {
            let network = document.path(&["machine", "network"]);
            let interfaces = network.into_iter().flat_map(|network| items(network, "interfaces"));
            interfaces.filter(|interface| is_shared(interface)).flat_map(of_interface).collect()
        }
    };
    found.into_iter().filter(|node| node.text().is_some_and(is_global)).collect()
}

/// Returns the name of a link that the document selects by a hardware property.
pub(super) fn alias(document: &Node) -> Option<&str> {
    let alias = document.get("kind").and_then(Node::text) == Some("LinkAliasConfig");
    document.get("name").and_then(Node::text).filter(|_| alias)
}

fn items<'n>(node: &'n Node, key: &str) -> impl Iterator<Item = &'n Node> {
    node.get(key).map_or(&[][..], Node::items).iter()
}

fn of_interface(interface: &Node) -> Vec<&Node> {
    let vlans = items(interface, "vlans").flat_map(|vlan| items(vlan, "addresses").chain(vlan.get("cidr")));
    items(interface, "addresses").chain(interface.get("cidr")).chain(vlans).collect()
}

/// Returns true for an interface that every machine of a set has.
fn is_shared(interface: &Node) -> bool {
    let hardware = ["hardwareAddr", "permanentAddr"];
    let one = hardware.iter().any(|key| interface.path(&["deviceSelector", key]).is_some());
    let dummy = interface.get("dummy").and_then(Node::text) == Some("true");
    !one && !dummy && !is_local(interface.get("interface").and_then(Node::text).unwrap_or_default())
}

fn is_local(name: &str) -> bool {
    name == "lo" || name.starts_with("dummy")
}

/// Returns false for addresses that are valid only on one link or one machine.
fn is_global(address: &str) -> bool {
    let address = address.to_ascii_lowercase();
    !address.is_empty() && !["127.", "169.254.", "fe80:", "::1"].iter().any(|start| address.starts_with(start))
}
