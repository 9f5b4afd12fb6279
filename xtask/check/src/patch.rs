//! Talos patches in a template: their form, and the fields that Omni manages (siderolabs/omni v1.4 to v1.11
//! client/pkg/omni/resources/omni/config_patch.go; siderolabs/talos pkg/machinery v1.14.0-alpha.1
//! config/configloader/internal/decoder). Which fields exist is Talos's own schema to say.

use serde_json::Value as Json;

use super::releases::{self, Omni};
use super::schema::{Mismatch, MismatchKind, validate_at};
use super::talos_keys::{self, UnknownField};
use super::{Finding, placeholder};
use domain::nearest::suggestion;
use domain::releases::{Minor, table};
use domain::spec::template::Inline;
use domain::spec::yaml::{self, Data, Node};
use domain::spec::{At, Place};

/// The first minor of omnictl 1.x that checks every document of a patch; earlier ones check only the first document.
const EVERY_DOCUMENT: u64 = 10;
/// Fields of documents that omnictl refuses in a patch from [`EVERY_DOCUMENT`] on.
const FORBIDDEN_IN_DOCUMENTS: &[(&str, &str)] = &[("KubeServiceAccountConfig", "issuer.privateKey")];
/// Top-level fields of a v1alpha1 configuration, which needs no `kind`.
const V1ALPHA1: &[&str] = &["machine", "cluster", "debug", "persist"];

/// What the result depends on besides the patch itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatchContext<'a> {
    /// The schema that Talos publishes.
    pub schema: Option<&'a Json>,
    /// The release of omnictl that reads the patch.
    pub omni: Option<Omni>,
    /// The minor of Talos 1.x that the machines run.
    pub talos: Option<u64>,
}

/// Why omnictl's answer to a patch is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Open {
    /// Values, and the fields of documents with a kind, are not checked without Talos's schema.
    NoSchema,
    /// Talos's schema leaves deprecated fields out.
    Deprecated,
    /// Parts are deleted with `$patch`.
    Deletes,
    /// Talos trims bytes of UTF-16.
    Wide,
}

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
    /// What is left undecided, and why.
    pub open: Vec<Open>,
}

/// Checks the content of an inline patch.
pub fn inline(file: &str, inline: &Inline, at: At, known: PatchContext<'_>) -> Checked {
    match inline {
        Inline::Documents(documents) => of(file, documents.clone(), at.in_file(file), known, Vec::new()),
        Inline::Text { text, origin } => {
            let stream = yaml::load_inner(file, text, *origin);
            loaded(file, stream, at.in_file(file), known)
        }
    }
}

/// Checks a file that the template refers to; its findings name that file.
pub fn in_file(file: &str, bytes: &[u8], known: PatchContext<'_>) -> Checked {
    loaded(file, yaml::load(file, bytes), At::START.in_file(file), known)
}

fn loaded(file: &str, stream: yaml::Stream, place: Place, known: PatchContext<'_>) -> Checked {
    if stream.is_broken() {
        return Checked { findings: stream.findings, ..Checked::default() };
    }
    let wide = stream.findings.iter().any(|f| f.rule == "yaml-utf16");
    let mut checked = of(file, stream.documents.into_iter().map(|d| d.root).collect(), place, known, stream.findings);
    // Talos trims the bytes of a patch before it decodes them, which may leave half a character.
    checked.open.extend(wide.then_some(Open::Wide));
    checked
}

fn of(file: &str, documents: Vec<Node>, place: Place, known: PatchContext<'_>, mut findings: Vec<Finding>) -> Checked {
    let mut open = Vec::new();
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
        open.extend(deletes.then_some(Open::Deletes));
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
        // A schema that is given knows the kinds better than a guess about versions.
        let unknown = unknown_kind(file, document, known).filter(|f| f.is_error() || known.schema.is_none());
        managed(PatchDocument { file, node: document, first: n == 0 }, known.omni, &mut findings);
        argument_lists(file, document, 0, known.omni, &mut findings);
        placeholders(file, document, &mut findings);
        match known.schema {
            // What is deleted is not decoded: the schema does not bind it. A kind that is not known has no fields.
            Some(_) if deletes || unknown.is_some() => {}
            Some(schema) => {
                open.extend(against(file, document, schema, known.omni, &mut findings).then_some(Open::Deprecated))
            }
            None => {
                open.push(Open::NoSchema);
                if id.1.is_empty() && (legacy(document) || id.0 == "v1alpha1") {
                    let fields = talos_keys::unknown_fields(document, known.omni);
                    findings.extend(fields.into_iter().map(|field| unknown_field(file, field, known.omni)));
                }
            }
        }
        findings.extend(unknown);
        seen.push(id);
    }
    let content = Content { file: file.to_owned(), documents };
    Checked { content: Some(content), findings, open }
}

/// True for a v1alpha1 configuration, which needs no `kind`.
fn legacy(document: &Node) -> bool {
    V1ALPHA1.iter().any(|key| document.entry(key).is_some())
}

/// A field that the omnictl of this release does not decode.
fn unknown_field(file: &str, field: UnknownField, omni: Option<Omni>) -> Finding {
    let (reader, path) = (omni.map_or("omnictl".to_owned(), |omni| format!("omnictl {omni}")), field.path);
    let (message, fix) = match field.since {
        Some(since) => (
            format!("{reader} does not know the field `{path}`: 1.{since} is the first that does"),
            format!("remove it, or update Omni to 1.{since} (docs/upgrade.md)"),
        ),
        None => (
            format!("{reader} does not know the field `{path}` (\"unknown keys found during decoding\")"),
            suggestion(&field.key, field.siblings),
        ),
    };
    Finding::error("template-patch-unknown-field", field.at.in_file(file), message, fix)
}

/// A kind of document that omnictl, or the Talos of the machines, does not know.
fn unknown_kind(file: &str, document: &Node, known: PatchContext<'_>) -> Option<Finding> {
    let v1alpha1 = document.get("apiVersion").and_then(Node::text) == Some("v1alpha1");
    let node = document.get("kind").filter(|_| v1alpha1 && !legacy(document))?;
    let kind = node.text().filter(|kind| !kind.is_empty())?;
    let place = node.at.in_file(file);
    let unsure = |message: String| {
        let fix = "check it with `omnictl cluster template validate`";
        Some(Finding::warning("template-patch-kind-newer", place.clone(), message, fix))
    };
    let (omnictl, talos) = match (table().document(kind), known.omni) {
        (Some((omnictl, talos)), _) => (omnictl.minor, talos.minor),
        // The list of 1.11 is not complete here.
        (None, Some(omni)) if omni.is_before(releases::newest(), 0) => {
            let message = format!("omnictl {omni} knows no document `{kind}`: \"{kind}\" \"v1alpha1\": not registered");
            let kinds: Vec<&str> = table().kinds().collect();
            return Some(Finding::error("template-patch-kind", place, message, suggested(kind, &kinds)));
        }
        (None, _) => {
            let newest = releases::newest();
            return unsure(format!("no omnictl up to 1.{newest} is known to read a document `{kind}`"));
        }
    };
    match known.omni {
        Some(omni) if omni.is_before(omnictl, 0) => {
            let message = format!(
                "omnictl {omni} does not know `{kind}` (\"{kind}\" \"v1alpha1\": not registered): 1.{omnictl} is the first \
                 that does"
            );
            let fix =
                format!("write the older form of the setting, or update Omni to 1.{omnictl} (docs/how-to/upgrade.md)");
            return Some(Finding::error("template-patch-kind", place, message, fix));
        }
        None if omnictl > 9 => return unsure(format!("omnictl 1.{omnictl} is the first that knows `{kind}`")),
        _ => {}
    }
    let minor = known.talos.filter(|minor| *minor < talos)?;
    let message =
        format!("Talos 1.{talos} is the first that reads `{kind}`: the machines of this cluster run 1.{minor}");
    let fix = "write the older form of the setting, or use a newer Talos";
    Some(Finding::error("template-patch-kind-talos", place, message, fix))
}

fn suggested(kind: &str, kinds: &[&str]) -> String {
    match domain::nearest::nearest(kind, kinds.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "Kubernetes objects go into kubernetes.manifests of the Cluster document".to_owned(),
    }
}

/// Values of one line that an example leaves to its reader.
fn placeholders(file: &str, node: &Node, findings: &mut Vec<Finding>) {
    for value in node.entries().iter().map(|entry| &entry.value).chain(node.items()) {
        if let Some(text) = value.text().filter(|text| placeholder::is_placeholder(text)) {
            let message = format!("`{}` looks like a placeholder: it reaches the machines unchanged", text.trim());
            let fix = "write the value that is meant";
            findings.push(Finding::warning("template-placeholder", value.at.in_file(file), message, fix));
        }
        placeholders(file, value, findings);
    }
}

/// The document's own name for its kind.
fn kind(file: &str, document: &Node, version: &str, kind: &str, findings: &mut Vec<Finding>) {
    let place = document.at.in_file(file);
    let legacy = legacy(document);
    let finding = if kind.is_empty() {
        if legacy || version == "v1alpha1" {
            return;
        }
        let keys: Vec<&str> = document.entries().iter().map(|e| e.key.as_str()).take(3).collect();
        let fix =
            match document.entries().first().and_then(|e| domain::nearest::nearest(&e.key, V1ALPHA1.iter().copied())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write `machine:`, `cluster:` or a document with apiVersion and kind".to_owned(),
            };
        let message =
            format!("not a Talos configuration: it has `{}` and no `kind` (\"missing kind\")", keys.join("`, `"));
        Finding::error("template-patch-form", place, message, fix)
    } else if version.is_empty() && !legacy {
        let fix = "add `apiVersion: v1alpha1`";
        Finding::error("template-patch-form", place, format!("`kind: {kind}` without apiVersion"), fix)
    } else if version != "v1alpha1" && !legacy {
        let message = format!("{version} {kind} is not a Talos configuration: those have `apiVersion: v1alpha1`");
        let fix = "Kubernetes objects go into kubernetes.manifests of the Cluster document";
        Finding::error("template-patch-form", place, message, fix)
    } else {
        return;
    };
    findings.push(finding);
}

#[derive(Clone, Copy)]
struct PatchDocument<'a> {
    file: &'a str,
    node: &'a Node,
    first: bool,
}

/// The fields and documents that Omni manages.
fn managed(document: PatchDocument<'_>, omni: Option<Omni>, findings: &mut Vec<Finding>) {
    let node = document.node;
    let kind = node.get("kind").and_then(Node::text).unwrap_or_default();
    let newer = omni.is_none_or(|omni| !omni.is_before(EVERY_DOCUMENT, 0));
    if newer && table().forbidden.documents.kinds.iter().any(|forbidden| forbidden == kind) {
        let message = format!("the document \"{kind}\" is not allowed in a patch");
        findings.push(forbidden(document, EVERY_DOCUMENT, node, message, "remove the document", omni));
    }
    // From 1.10 on each list applies only to its own documents.
    let own = |of: &str| of == kind || omni.is_some_and(|omni| omni.is_before(EVERY_DOCUMENT, 0)) && of.is_empty();
    let fields = table().forbidden.fields.iter();
    let fields = fields.flat_map(|entry| entry.paths.iter().map(|path| ("", since(entry.since), path.as_str())));
    let fields = fields.chain(FORBIDDEN_IN_DOCUMENTS.iter().map(|(of, field)| (*of, EVERY_DOCUMENT, *field)));
    for (_, since, field) in fields.filter(|(of, ..)| own(of)) {
        let keys: Vec<&str> = field.split('.').collect();
        let Some((last, parents)) = keys.split_last() else { continue };
        let Some(entry) = node.path(parents).and_then(|parent| parent.entry(last)) else { continue };
        if omni.is_some_and(|omni| omni.is_before(since, 0)) {
            continue;
        }
        let message = format!("overriding \"{field}\" is not allowed in a patch: Omni manages it");
        let found = Node { at: entry.at, tag: None, data: Data::Map(Vec::new()) };
        findings.push(forbidden(document, since, &found, message, "remove the field", omni));
    }
    let roles = match kind {
        "KubeTalosAPIAccessConfig" if newer => Some((EVERY_DOCUMENT, node.get("allowedRoles"))),
        _ if own("") => Some((0, node.path(&["machine", "features", "kubernetesTalosAPIAccess", "allowedRoles"]))),
        _ => None,
    };
    let Some((since, Some(roles))) = roles else { return };
    for role in roles.items().iter().filter(|role| role.text() == Some("os:admin")) {
        let message = "the role \"os:admin\" is not allowed in the allowedRoles of Talos's API access".to_owned();
        findings.push(forbidden(document, since, role, message, "use os:reader", omni));
    }
}

/// The minor of omnictl 1.x that refuses a field first; 0 where every omnictl that this kit can meet does.
fn since(minor: Minor) -> u64 {
    if minor <= table().forbidden.fields[0].since { 0 } else { minor.minor }
}

/// A part that omnictl refuses from 1.`since` on: certain, left for later by an omnictl that looks at the first document
/// alone, or dependent on a version that is not known.
fn forbidden(
    document: PatchDocument<'_>,
    since: u64,
    node: &Node,
    message: String,
    fix: &str,
    omni: Option<Omni>,
) -> Finding {
    let place = node.at.in_file(document.file);
    let looks = omni.is_some_and(|omni| !omni.is_before(EVERY_DOCUMENT, 0));
    if omni.is_none() && since > 0 {
        let message = format!("{message}, from omnictl 1.{since} on");
        return Finding::warning("template-patch-forbidden-newer", place, message, fix);
    }
    match document.first || looks {
        true => Finding::error("template-patch-forbidden", place, message, fix),
        false => Finding::warning("template-patch-forbidden-later", place, message, fix),
    }
}

/// Talos's schema allows a list for an argument in `extraArgs`, and the decoder in omnictl up to 1.9.3 fails on it, because
/// its search for unknown keys knows no type that is both (config/configloader/internal/decoder).
fn argument_lists(file: &str, node: &Node, depth: usize, omni: Option<Omni>, findings: &mut Vec<Finding>) {
    let reads_lists = omni.is_none_or(|omni| !omni.is_before(10, 0));
    if depth > 3 || reads_lists {
        return;
    }
    for entry in node.entries() {
        if entry.key != "extraArgs" {
            argument_lists(file, &entry.value, depth + 1, omni, findings);
            continue;
        }
        for argument in entry.value.entries().iter().filter(|argument| matches!(argument.value.data, Data::Seq(_))) {
            let message = format!("omnictl up to 1.9 accepts no list for the argument `{}`", argument.key);
            let place = argument.value.at.in_file(file);
            let fix = "join the values with commas, if the program accepts that";
            findings.push(Finding::error("template-patch-form", place, message, fix));
        }
    }
}

/// The document against the schema that Talos publishes. A patch may leave out what a whole configuration must have.
/// True if the schema does not cover all of it.
fn against(file: &str, document: &Node, schema: &Json, omni: Option<Omni>, findings: &mut Vec<Finding>) -> bool {
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
    // Deprecated fields that Talos still reads are not in the schema that it publishes.
    let mut deprecated = Vec::new();
    for m in validate_at(schema, part, document) {
        let path = m.path.trim_start_matches('.');
        match kind.is_none() && m.kind == MismatchKind::UnknownKey && talos_keys::is_field(path) {
            true => deprecated.push(format!("{path}.")),
            false => findings.extend(mismatch(file, &m)),
        }
    }
    if !deprecated.is_empty() {
        let fields = talos_keys::unknown_fields(document, omni).into_iter();
        let fields = fields.filter(|field| deprecated.iter().any(|above| field.path.starts_with(above.as_str())));
        findings.extend(fields.map(|field| unknown_field(file, field, omni)));
    }
    !deprecated.is_empty()
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
        _ => Some(Finding::error("template-patch-value", place, m.message.clone(), "write what the message names")),
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
