//! Patches, manifests and healthchecks: content in the template itself or in a separate file.

use super::{duration, labels};
use crate::spec::decode::Decoder;
use crate::spec::template::{HealthCheck, Inline, Manifest, Patch};
use yaml::{Data, Node, Position, Value};

/// The keys of a patch that omnictl accepts; editors complete them too.
pub const PATCH_KEYS: &[&str] = &["name", "idOverride", "labels", "annotations", "file", "inline"];
/// The keys of a manifest that omnictl accepts; editors complete them too.
pub const MANIFEST_KEYS: &[&str] = &["name", "mode", "labels", "annotations", "file", "inline"];
/// The keys of a healthcheck that omnictl accepts; editors complete them too.
pub const HEALTHCHECK_KEYS: &[&str] = &["name", "idOverride", "labels", "annotations", "file", "job", "interval"];

pub(super) fn patches(d: &mut Decoder<'_>, root: &Node) -> Vec<Patch> {
    d.maps(root, "patches").into_iter().map(|n| patch(d, n)).collect()
}

pub(super) fn patch(d: &mut Decoder<'_>, node: &Node) -> Patch {
    d.check_known_keys(node, PATCH_KEYS, "a patch");
    Patch {
        name: d.text_at(node, "name"),
        id_override: d.text_at(node, "idOverride"),
        labels: labels(d, node),
        file: file(d, node),
        inline: inline(d, node, "inline"),
        is_mapping: node.get("inline").is_some_and(Node::is_map),
        at: node.at,
    }
}

pub(super) fn manifest(d: &mut Decoder<'_>, node: &Node) -> Manifest {
    d.check_known_keys(node, MANIFEST_KEYS, "a manifest");
    let mode = d.string_at(node, "mode");
    if let Some((mode, at)) = &mode
        && !matches!(mode.as_str(), "full" | "one-time")
    {
        d.error("template-manifest-mode", at, format!("unknown mode name `{mode}`"), "write `full` or `one-time`");
    }
    Manifest {
        name: d.text_at(node, "name"),
        mode: mode.map(|(s, _)| s).unwrap_or_default(),
        file: file(d, node),
        inline: inline(d, node, "inline"),
        labels: labels(d, node),
        at: node.at,
    }
}

pub(super) fn healthcheck(d: &mut Decoder<'_>, node: &Node) -> HealthCheck {
    d.check_known_keys(node, HEALTHCHECK_KEYS, "a healthcheck");
    let interval_s = node.get("interval").map_or(0.0, |interval| duration(d, interval));
    HealthCheck {
        name: d.text_at(node, "name"),
        id_override: d.text_at(node, "idOverride"),
        file: file(d, node),
        job: inline(d, node, "job"),
        interval_s,
        labels: labels(d, node),
        at: node.at,
    }
}

/// Returns the path of the file and its position; an empty path counts as absent, as in omnictl.
pub(super) fn file(d: &mut Decoder<'_>, node: &Node) -> Option<(String, Position)> {
    d.string_at(node, "file").filter(|(path, _)| !path.is_empty()).map(|(path, n)| (path, n.at))
}

pub(super) fn inline(d: &mut Decoder<'_>, node: &Node, key: &str) -> Option<Inline> {
    let node = node.get(key)?;
    let tag = node.tag.as_deref().filter(|tag| *tag != "!").unwrap_or_else(|| node.tag_name());
    match (&node.data, node.value()) {
        (Data::Map(_), _) => Some(Inline::Documents(vec![node.clone()])),
        (Data::Seq(_), _) => {
            let items = d.list(node, key);
            Some(Inline::Documents(items.iter().filter(|n| d.check_map(n, key)).cloned().collect()))
        }
        (Data::Scalar(_), Some(Value::Null)) => None,
        (Data::Scalar(s), Some(Value::Str(_))) if tag == "!!str" => {
            Some(Inline::Text { text: s.text.clone(), origin: s.body })
        }
        _ => {
            let message = format!("expected string, but got {tag}");
            d.error("template-wrong-type", node, message, "write a mapping, a list of mappings or a block (`|`)");
            None
        }
    }
}
