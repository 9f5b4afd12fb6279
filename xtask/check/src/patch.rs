//! Talos patches in a template: their form, and the fields that Omni manages (siderolabs/omni v1.9.3
//! client/pkg/omni/resources/omni/config_patch.go; siderolabs/talos pkg/machinery v1.14.0-alpha.1
//! config/configloader/internal/decoder). Which fields exist is Talos's own schema to say.

use serde_json::Value as Json;

use super::Finding;
use super::schema::{Mismatch, MismatchKind, validate_at};
use model::spec::nearest::suggestion;
use model::spec::template::Inline;
use model::spec::yaml::{self, Data, Node};
use model::spec::{At, Place};

/// Fields that omnictl 1.9.3 refuses in a patch.
const FORBIDDEN: &[&str] = &[
    "cluster.clusterName",
    "cluster.id",
    "cluster.controlPlane.endpoint",
    "cluster.token",
    "cluster.secret",
    "cluster.aescbcEncryptionSecret",
    "cluster.secretboxEncryptionSecret",
    "cluster.acceptedCAs",
    "machine.token",
    "machine.ca",
    "machine.type",
    "machine.install.extensions",
    "machine.acceptedCAs",
];
/// Top-level fields of a v1alpha1 configuration, which needs no `kind`.
const V1ALPHA1: &[&str] = &["machine", "cluster", "debug", "persist"];

/// Fields that Talos still reads and leaves out of the schema that it publishes, because they are deprecated
/// (siderolabs/talos pkg/machinery v1.14.0-alpha.1 config/types/v1alpha1/v1alpha1_types.go against config.schema.json).
const DEPRECATED: &[&str] = &[
    ".persist",
    ".machine.controlPlane",
    ".machine.network",
    ".machine.disks",
    ".machine.env",
    ".machine.time",
    ".machine.registries",
    ".machine.systemDiskEncryption",
    ".machine.install.extraKernelArgs",
    ".machine.install.extensions",
    ".machine.install.bootloader",
    ".machine.features.rbac",
    ".machine.features.stableHostname",
    ".machine.features.apidCheckExtKeyUsage",
    ".machine.features.hostDNS",
    ".machine.features.imageCache",
    ".cluster.aescbcEncryptionSecret",
    ".cluster.secretboxEncryptionSecret",
    ".cluster.controllerManager",
    ".cluster.scheduler",
    ".cluster.allowSchedulingOnMasters",
    ".cluster.apiServer.disablePodSecurityPolicy",
    ".cluster.etcd.subnet",
];

/// One patch with its content.
#[derive(Debug)]
pub struct Content {
    /// The file that the places are in: the template, or the patch's own.
    pub file: String,
    pub documents: Vec<Node>,
}

/// What a patch turned out to be.
#[derive(Debug, Default)]
pub struct Checked {
    pub content: Option<Content>,
    pub findings: Vec<Finding>,
    /// Talos's schema would have to say more.
    pub open: bool,
}

/// Checks the content that stands in the template.
pub fn inline(file: &str, inline: &Inline, at: At, schema: Option<&Json>) -> Checked {
    match inline {
        Inline::Documents(documents) => of(file, documents.clone(), at.in_file(file), schema, Vec::new()),
        Inline::Text { text, origin } => {
            let stream = yaml::load_inner(file, text, *origin);
            loaded(file, stream, at.in_file(file), schema)
        }
    }
}

/// Checks a file that the template refers to; its findings name that file.
pub fn in_file(file: &str, bytes: &[u8], schema: Option<&Json>) -> Checked {
    loaded(file, yaml::load(file, bytes), At::START.in_file(file), schema)
}

fn loaded(file: &str, stream: yaml::Stream, place: Place, schema: Option<&Json>) -> Checked {
    if stream.is_broken() {
        return Checked { findings: stream.findings, ..Checked::default() };
    }
    let wide = stream.findings.iter().any(|f| f.rule == "yaml-utf16");
    let mut checked = of(file, stream.documents.into_iter().map(|d| d.root).collect(), place, schema, stream.findings);
    // Talos trims the bytes of a patch before it decodes them, which may leave half a character.
    checked.open |= wide;
    checked
}

fn of(file: &str, documents: Vec<Node>, place: Place, schema: Option<&Json>, mut findings: Vec<Finding>) -> Checked {
    let mut open = false;
    let form = |place: Place, message: String, fix: &str| Finding::error("template-patch-form", place, message, fix);
    if documents.iter().all(Node::is_null) {
        let fix = "write `machine:`, `cluster:` or a document with apiVersion and kind, or remove the patch";
        findings.push(form(place, "the patch is empty".to_owned(), fix));
        return Checked { content: None, findings, open };
    }
    let mut seen: Vec<(String, String, String)> = Vec::new();
    for (n, document) in documents.iter().enumerate().filter(|(_, d)| !d.is_null()) {
        if !document.is_map() {
            let message = format!("a Talos configuration is a mapping, this is {}", document.tag_name());
            findings.push(form(document.at.in_file(file), message, "start it with `machine:` or `cluster:`"));
            continue;
        }
        // A document that is deleted as a whole is not decoded.
        let deleted = document.get("$patch").and_then(Node::text) == Some("delete");
        let deletes = deleted || mentions_delete(document, 0);
        open |= deletes;
        if deleted {
            continue;
        }
        let text = |key: &str| document.get(key).and_then(Node::text).unwrap_or_default().to_owned();
        let id = (text("apiVersion"), text("kind"), text("name"));
        if seen.contains(&id) {
            let message = format!("a second document {}", if id.1.is_empty() { "without kind" } else { &id.1 });
            findings.push(form(document.at.in_file(file), message, "merge the two: Talos refuses duplicates"));
        }
        kind(file, document, &id.0, &id.1, &mut findings);
        seen.push(id);
        managed(file, document, n == 0, &mut findings);
        argument_lists(file, document, 0, &mut findings);
        match schema {
            // What is deleted is not decoded: the schema does not bind it.
            Some(_) if deletes => {}
            Some(schema) => open |= against(file, document, schema, &mut findings),
            None => open = true,
        }
    }
    let content = Content { file: file.to_owned(), documents };
    Checked { content: Some(content), findings, open }
}

/// How the document says what it is.
fn kind(file: &str, document: &Node, version: &str, kind: &str, findings: &mut Vec<Finding>) {
    let place = document.at.in_file(file);
    let legacy = V1ALPHA1.iter().any(|k| document.entry(k).is_some());
    let finding = if kind.is_empty() {
        if legacy || version == "v1alpha1" {
            return;
        }
        let keys: Vec<&str> = document.entries().iter().map(|e| e.key.as_str()).take(3).collect();
        let fix = match document
            .entries()
            .first()
            .and_then(|e| model::spec::nearest::nearest(&e.key, V1ALPHA1.iter().copied()))
        {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write `machine:`, `cluster:` or a document with apiVersion and kind".to_owned(),
        };
        let message =
            format!("no Talos configuration: it has `{}` and no `kind` (\"missing kind\")", keys.join("`, `"));
        Finding::error("template-patch-form", place, message, fix)
    } else if version.is_empty() && !legacy {
        let fix = "add `apiVersion: v1alpha1`";
        Finding::error("template-patch-form", place, format!("`kind: {kind}` without apiVersion"), fix)
    } else if version != "v1alpha1" && !legacy {
        let message = format!("{version} {kind} is no Talos configuration: those have `apiVersion: v1alpha1`");
        let fix = "Kubernetes objects go into kubernetes.manifests of the Cluster document";
        Finding::error("template-patch-form", place, message, fix)
    } else {
        return;
    };
    findings.push(finding);
}

/// The fields that Omni manages. omnictl looks at the first document alone.
fn managed(file: &str, document: &Node, first: bool, findings: &mut Vec<Finding>) {
    for field in FORBIDDEN {
        let keys: Vec<&str> = field.split('.').collect();
        let Some((last, parents)) = keys.split_last() else { continue };
        if let Some(entry) = document.path(parents).and_then(|n| n.entry(last)) {
            let place = entry.at.in_file(file);
            let message = format!("overriding \"{field}\" is not allowed in a patch: Omni manages it");
            findings.push(match first {
                true => Finding::error("template-patch-forbidden", place, message, "remove the field"),
                false => Finding::warning("template-patch-forbidden-later", place, message, "remove the field"),
            });
        }
    }
    let roles = document.path(&["machine", "features", "kubernetesTalosAPIAccess", "allowedRoles"]);
    for role in roles.map_or(&[][..], Node::items) {
        if role.text() == Some("os:admin") && first {
            let message =
                "element \"os:admin\" is not allowed in machine.features.kubernetesTalosAPIAccess.allowedRoles";
            findings.push(Finding::error("template-patch-forbidden", role.at.in_file(file), message, "use os:reader"));
        }
    }
}

/// Talos's schema allows a list for an argument in `extraArgs`, and the decoder in omnictl 1.9.3 fails on it, because its
/// search for unknown keys knows no type that is both (config/configloader/internal/decoder).
fn argument_lists(file: &str, node: &Node, depth: usize, findings: &mut Vec<Finding>) {
    if depth > 3 {
        return;
    }
    for entry in node.entries() {
        if entry.key != "extraArgs" {
            argument_lists(file, &entry.value, depth + 1, findings);
            continue;
        }
        for argument in entry.value.entries().iter().filter(|argument| matches!(argument.value.data, Data::Seq(_))) {
            let message = format!("omnictl 1.9.3 takes no list for the argument `{}`", argument.key);
            let place = argument.value.at.in_file(file);
            let fix = "join the values with commas, if the program takes that";
            findings.push(Finding::error("template-patch-form", place, message, fix));
        }
    }
}

/// The document against the schema that Talos publishes. A patch may leave out what a whole configuration must have.
/// True if the schema does not cover all of it.
fn against(file: &str, document: &Node, schema: &Json, findings: &mut Vec<Finding>) -> bool {
    let kind = document.get("kind").and_then(Node::text);
    let Some(part) = part_for(schema, kind) else {
        let kind = kind.unwrap_or_default();
        let message = format!("the given Talos schema has no document of kind `{kind}`");
        let place = document.get("kind").unwrap_or(document).at.in_file(file);
        let known = kinds(schema);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        findings.push(Finding::error("template-patch-unknown-field", place, message, suggestion(kind, &known)));
        return false;
    };
    let mut open = false;
    for m in validate_at(schema, part, document) {
        match kind.is_none() && m.kind == MismatchKind::UnknownKey && DEPRECATED.contains(&m.path.as_str()) {
            true => open = true,
            false => findings.extend(mismatch(file, &m)),
        }
    }
    open
}

fn mismatch(file: &str, m: &Mismatch) -> Option<Finding> {
    let place = m.at.in_file(file);
    match m.kind {
        MismatchKind::UnknownKey => {
            let (key, known) = m.known.clone().unwrap_or_default();
            if key == "$patch" {
                return None;
            }
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let message = format!("Talos has no field `{}`", m.path.trim_start_matches('.'));
            Some(Finding::error("template-patch-unknown-field", place, message, suggestion(&key, &known)))
        }
        // Go decodes any scalar into a string, and a patch need not be complete.
        MismatchKind::Required | MismatchKind::Keyword => None,
        MismatchKind::Type { wants_string: true, .. } => None,
        _ => Some(Finding::error("template-patch-value", place, m.message.clone(), "write what is named")),
    }
}

/// The part of the schema for documents of a kind; without one, a v1alpha1 configuration.
fn part_for<'s>(schema: &'s Json, kind: Option<&str>) -> Option<&'s Json> {
    let definitions = schema.get("$defs")?.as_object()?;
    match kind {
        None => definitions.get("v1alpha1.Config"),
        Some(kind) => definitions.values().find(|d| kind_of(d).is_some_and(|k| k == kind)),
    }
}

fn kind_of(definition: &Json) -> Option<&str> {
    definition.pointer("/properties/kind/enum/0").and_then(Json::as_str)
}

fn kinds(schema: &Json) -> Vec<String> {
    let definitions = schema.get("$defs").and_then(Json::as_object);
    definitions.into_iter().flat_map(|d| d.values()).filter_map(kind_of).map(str::to_owned).collect()
}

fn mentions_delete(node: &Node, depth: usize) -> bool {
    if depth > yaml::MAX_DEPTH {
        return false;
    }
    match &node.data {
        Data::Map(entries) => entries.iter().any(|e| e.key == "$patch" || mentions_delete(&e.value, depth + 1)),
        Data::Seq(items) => items.iter().any(|i| mentions_delete(i, depth + 1)),
        Data::Scalar(_) => false,
    }
}
