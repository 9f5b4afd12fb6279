//! Machine classes: the resource `MachineClasses.omni.sidero.dev` as `omnictl apply` reads it.
//!
//! The format is that of omnictl v1.9.3: each document is a mapping of exactly `metadata` and `spec` (cosi-project/runtime
//! v1.16.2 pkg/resource/protobuf/yaml.go); the keys of `spec` are the Go names in lower case without separators. omnictl silently
//! drops all other keys, so every unknown key is an error here.

mod render;

use super::Parsed;
use super::decode::{Decoder, Rules};
use selector::time::is_timestamp;
use yaml::{Data, Finding, Location, Node, Position, TextPosition};

pub use render::{NewClass, render};

/// The resource type of a machine class.
pub const TYPE: &str = "MachineClasses.omni.sidero.dev";
/// The namespace that `omnictl get` reads; classes in any other namespace are never found.
pub const NAMESPACE: &str = "default";

const RULES: Rules = Rules {
    unknown_key: "class-unknown-key",
    wrong_type: "class-wrong-type",
    levels: &[
        ("`metadata`", METADATA_KEYS),
        ("`spec`", SPEC_KEYS),
        ("`spec.autoprovision`", PROVISION_KEYS),
        ("the text of `spec.autoprovision.providerdata`", super::provider_data::KEYS),
    ],
};
/// Keys of `metadata`.
pub const METADATA_KEYS: &[&str] = &[
    "namespace",
    "type",
    "id",
    "version",
    "owner",
    "phase",
    "created",
    "updated",
    "finalizers",
    "labels",
    "annotations",
];
/// Keys of `spec`.
pub const SPEC_KEYS: &[&str] = &["matchlabels", "autoprovision"];
/// Keys of `spec.autoprovision`.
pub const PROVISION_KEYS: &[&str] = &["providerid", "kernelargs", "metavalues", "providerdata", "grpctunnel"];

/// A machine class.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineClass {
    pub id: String,
    /// Empty if missing in the file: Omni then stores the class where nothing finds it.
    pub namespace: String,
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
    /// Selectors over machine labels: list items are alternatives, commas inside one are conditions.
    pub match_labels: Vec<String>,
    /// How the machines are provisioned; mutually exclusive with `match_labels`.
    pub auto_provision: Option<AutoProvision>,
    /// Position of the document.
    pub place: Location,
    /// Position of `metadata.id`.
    pub id_at: Position,
    /// Position of `spec`.
    pub spec_at: Position,
}

/// The section of a class that makes an infrastructure provider create its machines.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoProvision {
    /// The ID of the provider in Omni, equal to its `--id`.
    pub provider_id: String,
    pub kernel_args: Vec<String>,
    pub meta_values: Vec<(u32, String)>,
    /// YAML text that only the provider reads; see [`super::provider_data`].
    pub provider_data: String,
    /// 0 unset, 1 enabled, 2 disabled (specs.GrpcTunnelMode).
    pub grpc_tunnel: u8,
    /// Positions of `autoprovision`, `providerid` and the text of `providerdata`.
    pub at: Position,
    pub provider_id_at: Position,
    pub provider_data_at: TextPosition,
}

/// Returns true for the Kubernetes-style format of older guides, which no program reads (`kind: MachineClass`,
/// `apiVersion: infrastructure.omni.siderolabs.io/v1alpha1`).
pub fn is_legacy(root: &Node) -> bool {
    let api = root.get("apiVersion").and_then(Node::text).unwrap_or_default();
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    api.starts_with("infrastructure.omni.siderolabs.io/") || kind == "MachineClass"
}

/// Parses every class in a file. The value contains all classes that could be parsed, complete or not; documents of other
/// resource types are reported and omitted.
pub fn parse(file: &str, bytes: &[u8]) -> Parsed<Vec<MachineClass>> {
    let stream = yaml::load(file, bytes);
    parse_stream(file, &stream)
}

/// Same as [`parse`] for a stream that is already loaded.
pub fn parse_stream(file: &str, stream: &yaml::Stream) -> Parsed<Vec<MachineClass>> {
    let mut decoder = Decoder::new(file, RULES);
    decoder.findings = stream.findings.clone();
    let mut classes = Vec::new();
    for document in &stream.documents {
        duplicates_in_metadata(&mut decoder, &document.root);
        if let Some(class) = resource(&mut decoder, &document.root) {
            classes.push(class);
        }
    }
    if stream.documents.is_empty() && !stream.is_broken() {
        let fix = "define a class in it, or delete it";
        decoder.error_at("class-no-document", Position::START, "the file contains no document", fix);
    }
    let value = (!stream.is_broken() || !classes.is_empty()).then_some(classes);
    Parsed { value, findings: decoder.findings }
}

/// Gives duplicate keys in `metadata` a rule of their own: omnictl uses the last one there, and rejects duplicates elsewhere.
fn duplicates_in_metadata(d: &mut Decoder<'_>, root: &Node) {
    let Some(metadata) = root.get("metadata") else { return };
    let labels = ["labels", "annotations"].iter().filter_map(|k| metadata.get(k)).flat_map(Node::entries);
    let keys: Vec<Position> = metadata.entries().iter().chain(labels).map(|e| e.at).collect();
    let inside = |f: &Finding| keys.iter().any(|at| (at.line, at.column) == (f.place.line, f.place.column));
    for finding in d.findings.iter_mut().filter(|f| f.rule == "yaml-duplicate-key") {
        if inside(finding) {
            finding.rule = "class-metadata-duplicate";
        }
    }
}

fn resource(d: &mut Decoder<'_>, root: &Node) -> Option<MachineClass> {
    if root.is_null() {
        let message = "an empty document: omnictl crashes on it (\"resource is not set\")".to_owned();
        d.error("class-empty-document", root, message, "remove the `---` without content after it");
        return None;
    }
    if is_legacy(root) {
        let message = format!(
            "Omni does not accept this Kubernetes-style MachineClass: omnictl reports \"expected 4 elements node, got {}\"",
            root.entries().len() * 2
        );
        let fix = format!("rewrite it with `cargo xtask machineclass-check --convert {}`", d.file);
        d.error("class-legacy-form", root, message, fix);
        return None;
    }
    if !root.is_map() {
        let message =
            format!("a resource must be a mapping with `metadata` and `spec`, but this is {}", root.tag_name());
        d.error("class-structure", root, message, "start the document with `metadata:`");
        return None;
    }
    let (metadata, spec) = sections(d, root)?;
    class(d, root, metadata, spec)
}

fn sections<'n>(d: &mut Decoder<'_>, root: &'n Node) -> Option<(&'n Node, &'n Node)> {
    let mut sound = true;
    for entry in root.entries().iter().take(super::decode::MAX_REPORTED) {
        if !matches!(entry.key.as_str(), "metadata" | "spec") {
            let message = format!("top-level key `{}`: a resource contains only `metadata` and `spec`", entry.key);
            let fix = crate::nearest::suggestion(&entry.key, &["metadata", "spec"]);
            d.error_at("class-structure", entry.at, message, fix);
            sound = false;
        } else if !entry.value.is_map() {
            let message = format!("`{}` must be a mapping, but is {}", entry.key, entry.value.tag_name());
            d.error_at("class-structure", entry.at, message, "indent its keys below it");
            sound = false;
        }
    }
    for key in ["metadata", "spec"] {
        if root.entry(key).is_none() {
            let message = format!("`{key}` is missing");
            d.error("class-structure", root, message, "write a mapping with `metadata` and `spec`");
            sound = false;
        }
    }
    match (root.get("metadata"), root.get("spec")) {
        (Some(metadata), Some(spec)) if metadata.is_map() && spec.is_map() && (sound || root.entries().len() > 2) => {
            Some((metadata, spec))
        }
        _ => None,
    }
}

fn class(d: &mut Decoder<'_>, root: &Node, metadata: &Node, spec: &Node) -> Option<MachineClass> {
    d.check_known_keys(metadata, METADATA_KEYS, "metadata");
    let kind = d.text_at(metadata, "type");
    let at = metadata.get("type").unwrap_or(metadata);
    if kind != TYPE {
        if kind.ends_with(".sidero.dev") && crate::nearest::nearest(&kind, [TYPE]).is_none() {
            let place = at.at.in_file(d.file);
            let message = format!("this document has the type {kind} and is not a machine class: it is not checked");
            let fix = "move it out of machine-classes/, and apply it with `omnictl apply -f FILE`";
            d.findings.push(Finding::warning("class-other-resource", place, message, fix));
        } else {
            let message = match kind.as_str() {
                "" => "`metadata.type` is missing".to_owned(),
                other => format!("`{other}` is not a resource type of omnictl"),
            };
            d.error("class-type", at, message, format!("write `type: {TYPE}`"));
        }
        return None;
    }
    let (id, id_at) = d.text_with_position(metadata, "id");
    if id.is_empty() {
        d.error(
            "class-id",
            metadata.get("id").unwrap_or(metadata),
            "`metadata.id` is missing".into(),
            "name the class: `id: NAME`",
        );
    }
    let namespace = d.text_at(metadata, "namespace");
    if namespace != NAMESPACE {
        let at = metadata.get("namespace").unwrap_or(metadata);
        let (rule, message) = match namespace.as_str() {
            "" => (
                "class-namespace-missing",
                "`metadata.namespace` is missing: omnictl accepts that, but the class is never found again".to_owned(),
            ),
            other => ("class-namespace", format!("machine classes are in the namespace `default`, not in `{other}`")),
        };
        d.error(rule, at, message, "write `namespace: default`");
    }
    check_metadata_values(d, metadata);
    let labels = d.string_map(metadata, "labels");
    let annotations = d.string_map(metadata, "annotations");
    d.check_known_keys(spec, SPEC_KEYS, "spec (omnictl drops it silently)");
    let match_labels = d.strings(spec, "matchlabels").unwrap_or_default();
    let auto_provision = d.map(spec, "autoprovision").map(|node| provision(d, node));
    let (place, spec_at) = (root.at.in_file(d.file), spec.at);
    Some(MachineClass { id, namespace, labels, annotations, match_labels, auto_provision, place, id_at, spec_at })
}

/// Reports what the custom `metadata` parser of omnictl rejects besides wrong types (cosi-project/runtime v1.16.2
/// pkg/resource/metadata.go): nulls for mappings and lists, aliases, and values that are not valid.
fn check_metadata_values(d: &mut Decoder<'_>, metadata: &Node) {
    for entry in metadata.entries() {
        let (key, value) = (entry.key.as_str(), &entry.value);
        let text = value.scalar().map(|scalar| scalar.text.as_str());
        let wanted = match (key, text) {
            ("labels" | "annotations", Some(_)) if value.is_null() => "a mapping",
            ("finalizers", _) if !matches!(value.data, Data::Seq(_)) => "a list",
            ("version", Some(text)) if text != "undefined" && text.parse::<i64>().is_err() => "a whole number",
            ("phase", Some(text)) if !matches!(text, "running" | "tearingDown") => "`running` or `tearingDown`",
            ("created" | "updated", Some(text)) if !is_timestamp(text) => "a timestamp, e.g. 2026-01-02T03:04:05Z",
            ("owner", Some(text)) if !text.is_empty() && !value.is_null() => "empty: only Omni sets it",
            // An alias has the position of its anchor, which is before the key.
            _ if METADATA_KEYS.contains(&key)
                && (value.at.line, value.at.column) < (entry.at.line, entry.at.column) =>
            {
                "written out: omnictl does not support aliases here"
            }
            _ => continue,
        };
        let message = format!("`{key}` must be {wanted}");
        d.error("class-wrong-type", value, message, format!("omit `{key}`, or write {wanted}"));
    }
}

fn provision(d: &mut Decoder<'_>, node: &Node) -> AutoProvision {
    d.check_known_keys(node, PROVISION_KEYS, "spec.autoprovision (omnictl drops it silently)");
    let (provider_id, provider_id_at) = d.text_with_position(node, "providerid");
    let kernel_args = d.strings(node, "kernelargs").unwrap_or_default();
    let meta_values = meta_values(d, node);
    let grpc_tunnel = d.integer(node, "grpctunnel", i128::from(i32::MIN), i128::from(i32::MAX));
    if let Some(n) = grpc_tunnel
        && !(0..=2).contains(&n)
    {
        let message = format!("`grpctunnel: {n}` is not 0 (Omni's default), 1 (on) or 2 (off)");
        d.error("class-grpc-tunnel", node.get("grpctunnel").unwrap_or(node), message, "write 0, 1 or 2");
    }
    let (provider_data, provider_data_at) = provider_data(d, node);
    AutoProvision {
        provider_id,
        kernel_args,
        meta_values,
        provider_data,
        grpc_tunnel: grpc_tunnel.and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
        at: node.at,
        provider_id_at,
        provider_data_at,
    }
}

fn provider_data(d: &mut Decoder<'_>, node: &Node) -> (String, TextPosition) {
    let Some(data) = node.get("providerdata") else { return (String::new(), TextPosition::point(node.at)) };
    match &data.data {
        Data::Scalar(scalar) => (data.text().unwrap_or_default().to_owned(), scalar.body),
        _ => {
            let message = "`providerdata` is a mapping, but must be a string that contains YAML".to_owned();
            d.error("class-wrong-type", data, message, "write `providerdata: |` and keep the lines below unchanged");
            (String::new(), TextPosition::point(data.at))
        }
    }
}

fn meta_values(d: &mut Decoder<'_>, node: &Node) -> Vec<(u32, String)> {
    let mut values = Vec::new();
    for item in d.maps(node, "metavalues") {
        d.check_known_keys(item, &["key", "value"], "spec.autoprovision.metavalues (omnictl drops it silently)");
        let key = d.integer(item, "key", 0, i128::from(u32::MAX));
        values.push((key.map_or(0, |k| k as u32), d.text_at(item, "value")));
    }
    values
}
