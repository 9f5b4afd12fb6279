//! The fields of Talos's v1alpha1 configuration that each omnictl decodes; it refuses every other one.

use std::collections::HashMap;
use std::sync::LazyLock;

use domain::spec::At;
use domain::spec::yaml::{Data, Node};

use super::releases::Omni;

/// The fields with the minor of omnictl 1.x that decodes each first.
static FIELDS: LazyLock<HashMap<&str, u64>> = LazyLock::new(|| {
    let lines = include_str!("../../data/talos-keys.txt").lines().filter(|line| !line.starts_with('#'));
    let field = |line: &'static str| match line.split_once(" since ") {
        Some((path, since)) => (path, since.parse().unwrap_or(0)),
        None => (line, 0),
    };
    lines.map(field).collect()
});

/// The names of the fields directly below each place, in order.
static CHILDREN: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
    let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
    for path in FIELDS.keys() {
        let (place, name) = path.rsplit_once('.').unwrap_or(("", path));
        children.entry(place).or_default().push(name);
    }
    children.values_mut().for_each(|names| names.sort_unstable());
    children
});

/// A field that omnictl does not decode.
#[derive(Debug)]
pub struct UnknownField {
    pub at: At,
    pub path: String,
    pub key: String,
    /// The minor of omnictl 1.x that decodes it first, if one does.
    pub since: Option<u64>,
    /// The fields that it decodes in the same place.
    pub siblings: &'static [&'static str],
}

/// The fields of a v1alpha1 configuration that this omnictl refuses; without a version, those that each one refuses.
/// Nothing is said of an omnictl that is newer than the facts.
pub fn unknown_fields(document: &Node, omni: Option<Omni>) -> Vec<UnknownField> {
    let mut found = Vec::new();
    if omni.is_none_or(Omni::is_known) {
        walk(document, "", "", omni, &mut found);
    }
    found
}

/// True if some omnictl decodes the field; a path has no list indexes.
pub fn is_field(path: &str) -> bool {
    FIELDS.contains_key(path)
}

/// `place` is the path in the table, where `*` is any key; `path` is that of the document.
fn walk(node: &Node, place: &str, path: &str, omni: Option<Omni>, found: &mut Vec<UnknownField>) {
    let decoded = !is_field(&join(place, "**"));
    match &node.data {
        Data::Seq(items) => items.iter().for_each(|item| walk(item, place, path, omni, found)),
        Data::Map(entries) if decoded && (place.is_empty() || !children(place).is_empty()) => {
            // A mapping with `$patch` is removed before the rest is decoded.
            for entry in entries.iter().filter(|entry| entry.value.entry("$patch").is_none()) {
                let below = join(path, &entry.key);
                let known = [entry.key.as_str(), "*"].into_iter().filter(|key| !key.contains('.'));
                let known = known.map(|key| join(place, key)).find(|place| is_field(place));
                let since = known.as_ref().map(|place| FIELDS[place.as_str()]);
                let reads = |since: u64| omni.is_none_or(|omni| !omni.is_before(since, 0));
                match known {
                    Some(place) if since.is_none_or(reads) => walk(&entry.value, &place, &below, omni, found),
                    _ => found.push(UnknownField {
                        at: entry.at,
                        path: below,
                        key: entry.key.clone(),
                        since,
                        siblings: children(place),
                    }),
                }
            }
        }
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn children(place: &str) -> &'static [&'static str] {
    CHILDREN.get(place).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::spec::yaml;

    fn refused(text: &str, omni: Option<&str>) -> Vec<String> {
        let stream = yaml::load("patch.yaml", text.as_bytes());
        let omni = omni.map(|tag| Omni::of_tag(tag).expect("a release"));
        stream.documents.iter().flat_map(|d| unknown_fields(&d.root, omni)).map(|field| field.path).collect()
    }

    /// What siderolabs/talos pkg/machinery v1.12.0-beta.1 and v1.14.0-alpha.1 configpatcher.LoadPatch answer (run).
    #[test]
    fn unknown_fields_are_those_that_talos_refuses() {
        let cases: &[(&str, &[&str])] = &[
            (
                "machine: {network: {interfaces: [{interface: eth0, vip: {dhcp: true}}]}}",
                &["machine.network.interfaces.vip.dhcp"],
            ),
            (
                "machine: {kubelet: {extraMount: []}}\ncluster: {proxy: {disable: true}}",
                &["machine.kubelet.extraMount", "cluster.proxy.disable"],
            ),
            ("cluster: {inlineManifests: [{name: x, content: 'a: b'}]}", &["cluster.inlineManifests.content"]),
            (
                "machine: {registries: {mirrors: {docker.io: {endpoint: [https://a]}}}}",
                &["machine.registries.mirrors.docker.io.endpoint"],
            ),
            ("machine: {network.interfaces: []}", &["machine.network.interfaces"]),
            ("machine: {}\nfoo: 1", &["foo"]),
            ("machine: {foo: }", &["machine.foo"]),
            ("apiVersion: v1alpha1\nmachine: {}", &["apiVersion"]),
            ("machine: {foo: 1, network: {$patch: delete}}", &["machine.foo"]),
            ("machine: {network: {$patch: delete, foo: 1}}", &[]),
            ("machine: {foo: {$patch: delete}}", &[]),
            (
                "machine: {sysctls: {net.ipv4.ip_forward: '1'}, kubelet: {extraConfig: {a: {b: 1}}, extraArgs: {v: '1'}}, \
                 nodeLabels: {a.b/c: d}, network: {interfaces: [{interface: eth0, vip: {ip: 10.0.0.1}}]}}",
                &[],
            ),
        ];
        for (text, expected) in cases {
            for omni in [None, Some("v1.4.9"), Some("v1.9.3")] {
                assert_eq!(refused(text, omni), *expected, "{omni:?}: {text}");
            }
        }
    }

    #[test]
    fn a_field_belongs_to_the_omnictl_that_decodes_it() {
        let text = "cluster: {network: {cni: {name: flannel, flannel: {kubeNetworkPoliciesEnabled: true}}}}";
        for (omni, expected) in [(None, 0), (Some("v1.5.9"), 1), (Some("v1.6.0"), 0), (Some("v1.11.0"), 0)] {
            assert_eq!(refused(text, omni).len(), expected, "{omni:?}");
        }
        assert_eq!(refused("machine: {foo: 1}", Some("v1.99.0")), [""; 0], "newer than the facts");
    }
}
