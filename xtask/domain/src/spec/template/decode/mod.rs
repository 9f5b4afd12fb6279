//! Decodes documents into a [`ClusterTemplate`] and reports every key that omnictl would reject.

mod content;

use content::{healthcheck, manifest, patches};

pub use content::{HEALTHCHECK_KEYS, MANIFEST_KEYS, PATCH_KEYS};

use super::*;
use crate::nearest::suggestion;
use crate::releases;
use crate::spec::decode::{Decoder, Rules};
use yaml::{Finding, Stream, Value};

const RULES: Rules = Rules {
    unknown_key: "template-unknown-key",
    wrong_type: "template-wrong-type",
    levels: &[
        ("`machineClass`", &["size"]),
        ("`install` of a Machine", &["disk", "diskSelector"]),
        ("`kubernetes`", &["manifests", "healthchecks"]),
        ("`kubernetes` and `talos`", &["version"]),
        ("`features`", FEATURE_KEYS),
        ("`features.backupConfiguration`", &["interval"]),
        ("a patch", &["idOverride", "inline", "file"]),
        ("a manifest", &["mode"]),
        ("`rolling` of a strategy", &["maxParallelism"]),
        ("a Machine", MACHINE_KEYS),
        ("a ControlPlane or Workers", SET_KEYS),
        ("a Cluster", CLUSTER_KEYS),
    ],
};
/// The document kinds.
pub const KINDS: &[&str] = &["Cluster", "ControlPlane", "Workers", "Machine"];
/// The keys of a Cluster that omnictl accepts; editors complete them too.
pub const CLUSTER_KEYS: &[&str] = &[
    "kind",
    "name",
    "labels",
    "annotations",
    "kubernetes",
    "talos",
    "features",
    "patches",
    "systemExtensions",
    "kernelArgs",
];
/// The keys of `features` that omnictl accepts; editors complete them too.
pub const FEATURE_KEYS: &[&str] = &[
    "diskEncryption",
    "enableWorkloadProxy",
    "useEmbeddedDiscoveryService",
    "backupConfiguration",
    "disablePublicDiscoveryService",
    "enableNodeAuditSkip",
];
/// The keys of a ControlPlane or Workers that omnictl accepts; editors complete them too.
pub const SET_KEYS: &[&str] = &[
    "kind",
    "name",
    "labels",
    "annotations",
    "machines",
    "machineClass",
    "patches",
    "systemExtensions",
    "kernelArgs",
    "bootstrapSpec",
    "updateStrategy",
    "deleteStrategy",
    "upgradeStrategy",
];
/// The keys of a Machine that omnictl accepts; editors complete them too.
pub const MACHINE_KEYS: &[&str] =
    &["kind", "name", "labels", "annotations", "locked", "install", "patches", "systemExtensions", "kernelArgs"];

/// Decodes a template from a stream that is already loaded.
pub fn parse_stream(file: &str, stream: &Stream) -> Parsed<ClusterTemplate> {
    let mut d = Decoder::new(file, RULES);
    d.findings = stream.findings.clone();
    let mut cluster: Option<ClusterTemplate> = None;
    let (mut sets, mut machines) = (Vec::new(), Vec::new());
    let mut legacy = false;
    let mut newer = Vec::new();
    for document in &stream.documents {
        let root = &document.root;
        let Some(kind) = kind(&mut d, root) else { continue };
        newer.extend(newer_keys(root));
        match kind {
            "Cluster" if is_kubernetes_style(root) => {
                legacy = true;
                let message = "this is a Kubernetes-style form, which omnictl rejects: a template has `kind`, \
                               `name`, `kubernetes` and `talos` at the top level, and one document per machine set"
                    .to_owned();
                d.error("template-legacy-form", root, message, "rewrite it as a cluster template, see clusters/");
            }
            "Cluster" => {
                legacy |= is_legacy(root);
                let next = cluster_of(&mut d, root);
                match &mut cluster {
                    None => cluster = Some(next),
                    Some(first) => {
                        first.cluster_documents += 1;
                        first.second_cluster_at.get_or_insert(root.at);
                    }
                }
            }
            "Machine" => machines.push(machine(&mut d, root)),
            kind => sets.push(set(&mut d, root, kind == "ControlPlane")),
        }
    }
    if let Some(cluster) = &mut cluster {
        (cluster.sets, cluster.machines, cluster.newer_keys) = (sets, machines, newer);
    } else if !stream.is_broken() && !legacy {
        let message = "template should contain 1 cluster, got 0".to_owned();
        let fix = "start the file with a document of `kind: Cluster`";
        d.error_at("template-no-cluster", Position::START, message, fix);
    }
    // The nested format has no ControlPlane document because it contains the control plane itself.
    if let Some(cluster) = cluster.as_ref().filter(|it| it.control_plane().is_none() && !legacy && !stream.is_broken())
    {
        let fix = "add a document of `kind: ControlPlane` after a line `---`";
        let message = "template should contain 1 controlplane, got 0";
        d.findings.push(Finding::error("template-no-control-plane", cluster.place.clone(), message, fix));
    }
    Parsed { value: cluster, findings: d.findings }
}

/// Returns the keys of a document that only newer versions of omnictl support.
fn newer_keys(root: &Node) -> impl Iterator<Item = NewerKey> + '_ {
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    releases::table().template_keys.iter().filter_map(move |known| {
        let holder = known.r#in.iter().find(|holder| holder.split('.').next() == Some(kind))?;
        let parents: Vec<&str> = holder.split('.').skip(1).collect();
        let entry = root.path(&parents)?.entry(&known.key)?;
        Some(NewerKey { key: &known.key, since: known.since.minor, at: entry.at })
    })
}

fn kind<'n>(d: &mut Decoder<'_>, root: &'n Node) -> Option<&'n str> {
    if !root.is_map() {
        let message = match root.is_null() {
            true => "an empty document: omnictl rejects it (\"unexpected node kind\")".to_owned(),
            false => format!("a template document must be a mapping, but this is {}", root.tag_name()),
        };
        d.error("template-not-a-mapping", root, message, "remove the `---` without content after it");
        return None;
    }
    let Some(entry) = root.entry("kind") else {
        let fix = format!("start the document with `kind:` and one of these values: {}", KINDS.join(", "));
        d.error("template-kind", root, "`kind` is missing".into(), fix);
        return None;
    };
    let kind = entry.value.text().unwrap_or_default();
    if !KINDS.contains(&kind) {
        let message = format!("unknown model kind `{kind}`");
        d.error("template-kind", &entry.value, message, suggestion(kind, KINDS));
        return None;
    }
    Some(kind)
}

fn cluster_of(d: &mut Decoder<'_>, root: &Node) -> ClusterTemplate {
    if is_legacy(root) {
        legacy(d, root);
    } else {
        d.check_known_keys(root, CLUSTER_KEYS, "a Cluster");
    }
    let (name, name_at) = d.text_with_position(root, "name");
    let kubernetes = d.map(root, "kubernetes");
    let talos = d.map(root, "talos");
    if let Some(kubernetes) = kubernetes {
        d.check_known_keys(kubernetes, &["version", "manifests", "healthchecks"], "kubernetes");
    }
    if let Some(talos) = talos {
        d.check_known_keys(talos, &["version"], "talos");
    }
    let mut version = |of: Option<&Node>| of.map_or((String::new(), root.at), |n| d.text_with_position(n, "version"));
    let (kubernetes_version, kubernetes_at) = version(kubernetes);
    let (talos_version, talos_at) = version(talos);
    let list = |d: &mut Decoder<'_>, key| kubernetes.map_or(Vec::new(), |n| d.maps(n, key));
    let manifests = list(d, "manifests").into_iter().map(|n| manifest(d, n)).collect();
    let healthchecks = list(d, "healthchecks").into_iter().map(|n| healthcheck(d, n)).collect();
    ClusterTemplate {
        name,
        name_at,
        kubernetes_version,
        kubernetes_at,
        talos_version,
        talos_at,
        features: features(d, root),
        labels: labels(d, root),
        system_extensions: d.strings(root, "systemExtensions"),
        kernel_args: d.strings(root, "kernelArgs"),
        patches: patches(d, root),
        manifests,
        healthchecks,
        sets: Vec::new(),
        machines: Vec::new(),
        newer_keys: Vec::new(),
        place: root.at.in_file(d.file),
        cluster_documents: 1,
        second_cluster_at: None,
    }
}

fn legacy(d: &mut Decoder<'_>, root: &Node) {
    let at = ["controlPlane", "controlplane", "workers"].iter().find_map(|k| root.entry(k)).map_or(root.at, |e| e.at);
    let message = "this is the nested form from older guides, which omnictl rejects (\"field controlPlane not found \
                   in type models.Cluster\"): each machine set is a separate document";
    let fix = "rewrite it with `cargo xtask cluster-check --convert`";
    d.error_at("template-legacy-form", at, message, fix);
}

fn features(d: &mut Decoder<'_>, root: &Node) -> Features {
    let mut features = Features::default();
    let Some(node) = d.map(root, "features") else { return features };
    d.check_known_keys(node, FEATURE_KEYS, "features");
    let mut flag = |key| d.boolean(node, key).unwrap_or_default();
    features.disk_encryption = flag("diskEncryption");
    flag("enableWorkloadProxy");
    features.use_embedded_discovery_service = flag("useEmbeddedDiscoveryService");
    flag("enableNodeAuditSkip");
    let private = flag("disablePublicDiscoveryService");
    features.disable_public_discovery_at =
        node.entry("disablePublicDiscoveryService").filter(|_| private).map(|entry| entry.at);
    features.disk_encryption_at = node.entry("diskEncryption").map(|e| e.at);
    if let Some(backup) = d.map(node, "backupConfiguration") {
        d.check_known_keys(backup, &["interval"], "backupConfiguration");
        if let Some(interval) = backup.get("interval") {
            features.backup_interval_at = Some(interval.at);
            features.backup_interval_is_number = matches!(interval.value(), Some(Value::Int(0)));
            features.backup_interval_s = duration(d, interval);
        }
    }
    features
}

/// Decodes a Go duration into seconds.
fn duration(d: &mut Decoder<'_>, node: &Node) -> f64 {
    let seconds = match node.value() {
        Some(Value::Null | Value::Int(0)) => Some(0.0),
        Some(Value::Str(text)) => selector::time::duration(text).map(|nanos| nanos as f64 / 1e9),
        _ => None,
    };
    seconds.unwrap_or_else(|| {
        let shown = node.text().unwrap_or_default();
        let message = format!("`interval: {shown}` is not a valid duration");
        d.error("template-interval", node, message, "write a number with a unit, e.g. `1h` or `90m`");
        0.0
    })
}

fn set(d: &mut Decoder<'_>, root: &Node, control_plane: bool) -> MachineSet {
    d.check_known_keys(root, SET_KEYS, if control_plane { "a ControlPlane" } else { "Workers" });
    let name = d.string_at(root, "name").map(|(s, n)| (s, n.at));
    let kind = match control_plane {
        true => SetKind::ControlPlane,
        false => SetKind::Workers { name: name.as_ref().map(|(s, _)| s.clone()).unwrap_or_default() },
    };
    let machines = root.get("machines").map_or(&[][..], |n| d.list(n, "machines"));
    // Go's YAML library skips nulls in a list.
    let machines = machines.iter().filter(|n| !n.is_null());
    let machines = machines.map(|n| (d.string(n, "machines").unwrap_or_default(), n.at)).collect();
    MachineSet {
        kind,
        class: d.map(root, "machineClass").map(|n| class_ref(d, n)),
        machines,
        labels: labels(d, root),
        system_extensions: d.strings(root, "systemExtensions"),
        kernel_args: d.strings(root, "kernelArgs"),
        patches: patches(d, root),
        bootstrap_spec: d.map(root, "bootstrapSpec").map(|n| bootstrap(d, n)),
        update_strategy: strategy(d, root, "updateStrategy"),
        delete_strategy: strategy(d, root, "deleteStrategy"),
        upgrade_strategy: strategy(d, root, "upgradeStrategy"),
        kernel_args_at: root.entry("kernelArgs").map(|e| e.at),
        system_extensions_at: root.entry("systemExtensions").map(|e| e.at),
        name,
        place: root.at.in_file(d.file),
    }
}

fn class_ref(d: &mut Decoder<'_>, node: &Node) -> ClassRef {
    d.check_known_keys(node, &["name", "size"], "machineClass");
    let (name, name_at) = d.text_with_position(node, "name");
    let size = node.get("size");
    ClassRef {
        name,
        name_at,
        size: size.map_or(Size::Count(0), |n| size_of(d, n)),
        size_at: size.map_or(node.at, |n| n.at),
    }
}

fn size_of(d: &mut Decoder<'_>, node: &Node) -> Size {
    let Some(text) = d.string(node, "size") else { return Size::Count(0) };
    match text.as_str() {
        "unlimited" | "Unlimited" | "∞" | "infinity" => Size::Unlimited,
        "Static" => Size::Count(0),
        digits => {
            // strconv.ParseUint accepts only digits, Rust's parse also a sign.
            let count = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
            count.map(Size::Count).unwrap_or_else(|| {
                let message = format!("invalid machine count `{text}`");
                d.error("template-size", node, message, "write a whole number, or `unlimited`");
                Size::Count(0)
            })
        }
    }
}

fn bootstrap(d: &mut Decoder<'_>, node: &Node) -> BootstrapSpec {
    d.check_known_keys(node, &["clusterUUID", "snapshot"], "bootstrapSpec");
    let cluster_uuid = d.text_at(node, "clusterUUID");
    let snapshot = d.text_at(node, "snapshot");
    BootstrapSpec { cluster_uuid, snapshot, at: node.at }
}

fn strategy(d: &mut Decoder<'_>, root: &Node, key: &str) -> Option<Strategy> {
    let (entry, node) = root.entry(key).zip(d.map(root, key))?;
    d.check_known_keys(node, &["type", "rolling"], key);
    let kind = d.string_at(node, "type");
    if let Some((kind, at)) = &kind
        && !matches!(kind.as_str(), "Rolling" | "Unset")
    {
        d.error(
            "template-strategy",
            at,
            format!("invalid update strategy type `{kind}`"),
            "write `Rolling` or `Unset`",
        );
    }
    let rolling = d.map(node, "rolling");
    let max_parallelism = rolling.and_then(|rolling| {
        d.check_known_keys(rolling, &["maxParallelism"], "rolling");
        d.integer(rolling, "maxParallelism", 0, i128::from(u32::MAX))
    });
    let kind = kind.map(|(s, _)| s);
    Some(Strategy { kind, max_parallelism: max_parallelism.map(|n| n as u32), at: entry.at })
}

fn machine(d: &mut Decoder<'_>, root: &Node) -> Machine {
    d.check_known_keys(root, MACHINE_KEYS, "a Machine");
    let (name, name_at) = d.text_with_position(root, "name");
    let install = d.map(root, "install");
    let install_disk = install.map(|install| {
        d.check_known_keys(install, &["disk", "diskSelector"], "install");
        d.string_at(install, "diskSelector");
        d.text_at(install, "disk")
    });
    Machine {
        name,
        name_at,
        locked: d.boolean(root, "locked").unwrap_or_default(),
        locked_at: root.entry("locked").map(|e| e.at),
        install_disk: install_disk.unwrap_or_default(),
        labels: labels(d, root),
        system_extensions: d.strings(root, "systemExtensions"),
        kernel_args: d.strings(root, "kernelArgs"),
        patches: patches(d, root),
        place: root.at.in_file(d.file),
    }
}

/// Decodes the labels and annotations of a document or an entry.
fn labels(d: &mut Decoder<'_>, node: &Node) -> Vec<Label> {
    let mut found = Vec::new();
    for key in ["labels", "annotations"] {
        for entry in d.map(node, key).map_or(&[][..], Node::entries) {
            d.string(&entry.value, &entry.key);
            found.push(Label { key: entry.key.clone(), at: entry.at });
        }
    }
    found
}
