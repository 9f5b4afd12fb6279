//! Talos patches in a template: their form, what Talos decodes of them, and the fields that Omni manages (siderolabs/omni v1.4 to
//! v1.11 client/pkg/omni/resources/omni/config_patch.go; siderolabs/talos pkg/machinery v1.14.0-alpha.1
//! config/configloader/internal/decoder and config/container).

use super::placeholder;
use super::releases::Omni;
use super::talos::{self, Fault, Kind, Problem, Reader, V1ALPHA1};
use domain::nearest::{nearest, suggestion};
use domain::releases::table;
use domain::spec::template::Inline;
use domain::version::Minor;
use yaml::{CopyOrigin, Data, Finding, Location, Node, Position};

/// The first minor of omnictl 1.x that checks every document of a patch; earlier ones check only the first document.
const EVERY_DOCUMENT: u64 = 10;
/// Fields of documents that omnictl refuses in a patch from [`EVERY_DOCUMENT`] on.
const FORBIDDEN_IN_DOCUMENTS: &[(&str, &str)] = &[("KubeServiceAccountConfig", "issuer.privateKey")];
const KUBERNETES_OBJECTS: &str = "put Kubernetes objects into kubernetes.manifests of the Cluster document";
/// Top-level fields of a v1alpha1 configuration, which needs no `kind`.
pub const LEGACY: &[&str] = &["machine", "cluster", "debug", "persist"];

/// What the result depends on besides the patch itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatchContext {
    /// The release of omnictl that reads the patch.
    pub omni: Option<Omni>,
    /// The minor of Talos 1.x that the machines run.
    pub talos: Option<u64>,
}

/// Why omnictl's verdict on a template is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Undecided {
    /// Releases of omnictl differ, and it is unknown which one reads the patch.
    Release,
    /// The release of omnictl is newer than the known Talos documents.
    Newer,
    /// Talos trims bytes of UTF-16.
    Wide,
    /// The files that the template names were not read.
    Files,
    /// This omnictl resolves paths from the directory that it is started in.
    OlderPaths,
}

/// A patch with its content.
#[derive(Debug)]
pub struct Content {
    /// The file that the positions refer to: the template, or the patch's own.
    pub file: String,
    pub documents: Vec<Node>,
}

/// The result of checking a patch.
#[derive(Debug, Default)]
pub struct CheckedPatch {
    pub content: Option<Content>,
    pub findings: Vec<Finding>,
    /// Why parts of the patch are undecided.
    pub open: Vec<Undecided>,
}

/// Checks the content of an inline patch.
pub fn check_inline(file: &str, inline: &Inline, at: Position, known: PatchContext) -> CheckedPatch {
    match inline {
        Inline::Documents(documents) => {
            let mut documents = documents.clone();
            documents.iter_mut().for_each(Node::write_out);
            of(file, yaml::Stream::default(), documents, at, known)
        }
        Inline::Text { text, origin } => {
            let stream = yaml::load_embedded(file, text, *origin);
            check_stream(file, stream, at, known)
        }
    }
}

/// Checks a file that the template refers to; its findings name that file.
pub fn check_file(file: &str, bytes: &[u8], known: PatchContext) -> CheckedPatch {
    check_stream(file, yaml::load(file, bytes), Position::START, known)
}

fn check_stream(file: &str, mut stream: yaml::Stream, at: Position, known: PatchContext) -> CheckedPatch {
    if stream.is_broken() {
        return CheckedPatch { findings: stream.findings, ..CheckedPatch::default() };
    }
    let documents: Vec<Node> =
        std::mem::take(&mut stream.documents).into_iter().map(|document| document.root).collect();
    stream.findings.extend(placeholders(file, &documents));
    of(file, stream, documents, at, known)
}

/// Reports values that an example leaves for its reader to fill in.
pub fn placeholders<'a>(file: &str, documents: impl IntoIterator<Item = &'a Node>) -> Vec<Finding> {
    let report = |left: placeholder::Placeholder<'_>| {
        let message = format!("`{}` looks like a placeholder: Omni and the machines use it unchanged", left.text);
        Finding::warning("template-placeholder", left.at.in_file(file), message, "write the intended value")
    };
    documents.into_iter().flat_map(placeholder::find_in_node).map(report).collect()
}

/// Checks the documents of a patch. `stream` is what they were read from, if that was text.
fn of(file: &str, stream: yaml::Stream, documents: Vec<Node>, at: Position, known: PatchContext) -> CheckedPatch {
    let yaml::Stream { findings, .. } = stream;
    // Talos trims the bytes of a patch before it decodes them, which may leave half a character.
    let wide = findings.iter().any(|f| f.rule == "yaml-utf16").then_some(Undecided::Wide);
    let open = wide.into_iter().collect();
    let reader = Reader::omnictl(known.omni);
    let mut patch = Patch { file, known, reader, findings, open, seen: Vec::new() };
    let mut decoded = 0;
    for (n, document) in documents.iter().enumerate().filter(|(_, d)| !d.is_null()) {
        if !document.is_map() {
            let message = format!("a Talos configuration must be a mapping, but this is {}", document.tag_name());
            patch.report_form(document.at, message, "start it with `machine:` or `cluster:`");
            continue;
        }
        let before = patch.findings.len();
        patch.report_managed(document, n == 0);
        let later = patch.findings[before..].iter().any(|f| f.rule == "template-patch-forbidden-later");
        patch.open.extend((later && known.omni.is_none()).then_some(Undecided::Release));
        let mut rest = document.clone();
        match prune(&mut rest, Parent::Document, false, &Header::of(document)) {
            Err((at, message)) => {
                let fix = "delete a field, a whole document, or a list entry by one of its values";
                patch.report_form(at, message, fix);
            }
            Ok(true) => decoded += 1,
            Ok(false) if is_bare(&rest) => decoded += usize::from(rest.entries().len() < document.entries().len()),
            Ok(false) => {
                decoded += 1;
                patch.document(&rest);
            }
        }
    }
    if decoded == 0 && !patch.findings.iter().any(Finding::is_error) {
        let fix = "write `machine:`, `cluster:` or a document with apiVersion and kind, or remove the patch";
        patch.report_form(at, "the patch is empty", fix);
    }
    let Patch { findings, open, .. } = patch;
    let content = Some(Content { file: file.to_owned(), documents }).filter(|_| decoded > 0);
    CheckedPatch { content, findings, open }
}

/// The fields that identify a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Header {
    version: String,
    kind: String,
    name: String,
    /// The name of a virtual link's other end, which may be missing there; `None` for other kinds.
    peer: Option<String>,
}

impl Header {
    fn of(document: &Node) -> Header {
        let text = |key: &str| document.get(key).and_then(Node::text).unwrap_or_default().to_owned();
        let peer = document.path(&["peer", "name"]).and_then(Node::text).unwrap_or_default().to_owned();
        let peer = (text("kind") == "VethConfig").then_some(peer);
        Header { version: text("apiVersion"), kind: text("kind"), name: text("name"), peer }
    }

    /// Returns true if Talos refuses the two documents together: only one kind of each exclusive set may use a name.
    fn excludes(&self, other: &Header, reader: Reader) -> bool {
        let names = |header: &Header| [Some(header.name.clone()), header.peer.clone()];
        let shared = names(self).iter().flatten().any(|name| names(other).contains(&Some(name.clone())));
        let veth = self.kind == other.kind && self.name != other.name && self.peer.is_some();
        shared && (veth || talos::exclude_each_other(&self.kind, &other.kind, reader))
    }
}

/// The parent of a mapping with `$patch`.
#[derive(Clone, Copy, PartialEq)]
enum Parent {
    Document,
    Map,
    List,
}

/// Removes what `$patch: delete` deletes, which is not decoded, and what that leaves empty. True if the node itself is removed.
fn prune(node: &mut Node, parent: Parent, in_list: bool, header: &Header) -> Result<bool, (Position, String)> {
    let mut pruned = false;
    match &mut node.data {
        // Talos deletes only nodes that are written out.
        _ if node.copied != CopyOrigin::No => Ok(false),
        Data::Map(entries) => {
            let deletes =
                |key: &str, value: &Node| key == "$patch" && value.scalar().is_some_and(|s| s.text == "delete");
            if let Some(entry) = entries.iter().find(|entry| deletes(&entry.key, &entry.value)) {
                let header = (!header.version.is_empty(), !header.kind.is_empty());
                let fault = match parent {
                    Parent::List if entries.len() == 1 => {
                        "`$patch: delete` in a list needs a value that selects the entry"
                    }
                    Parent::Document | Parent::Map if in_list => {
                        "`$patch: delete` inside a list entry: Talos deletes only whole entries"
                    }
                    Parent::Document if header != (true, true) => {
                        "deleting a whole document requires both apiVersion and kind"
                    }
                    _ if header.0 != header.1 => "`$patch: delete` needs both apiVersion and kind, or neither",
                    _ => return Ok(true),
                };
                return Err((entry.at, fault.to_owned()));
            }
            let mut n = 0;
            while n < entries.len() {
                let goes = prune(&mut entries[n].value, Parent::Map, in_list, header)?;
                pruned |= goes;
                if goes { drop(entries.remove(n)) } else { n += 1 }
            }
            Ok(pruned && entries.is_empty())
        }
        Data::Seq(items) => {
            let mut n = 0;
            while n < items.len() {
                let goes = prune(&mut items[n], Parent::List, true, header)?;
                pruned |= goes;
                if goes { drop(items.remove(n)) } else { n += 1 }
            }
            Ok(pruned && items.is_empty())
        }
        Data::Scalar(_) => Ok(false),
    }
}

/// Returns true if a document contains nothing but its name; Talos skips it.
fn is_bare(document: &Node) -> bool {
    let bare = |key: &str| matches!(key, "version" | "kind" | "name");
    document.entries().iter().all(|entry| bare(&entry.key) && entry.value.scalar().is_some())
}

/// The documents of one patch.
struct Patch<'a> {
    file: &'a str,
    known: PatchContext,
    /// The omnictl that decodes the patch.
    reader: Reader,
    findings: Vec<Finding>,
    open: Vec<Undecided>,
    seen: Vec<Header>,
}

impl Patch<'_> {
    fn report_form(&mut self, at: Position, message: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding::error("template-patch-form", at.in_file(self.file), message, fix));
    }

    fn document(&mut self, document: &Node) {
        let (reader, header) = (self.reader, Header::of(document));
        let same =
            |seen: &Header| (&seen.version, &seen.kind, &seen.name) == (&header.version, &header.kind, &header.name);
        if self.seen.iter().any(same) {
            let message =
                format!("a second document {}", if header.kind.is_empty() { "without kind" } else { &header.kind });
            self.report_form(document.at, message, "merge them: Talos rejects duplicates");
        }
        if let Some(other) = self.seen.iter().find(|seen| seen.excludes(&header, reader)) {
            let message =
                format!("{} and {} have the same name: Talos rejects the combination", other.kind, header.kind);
            self.report_form(document.at, message, "keep only one of them");
        }
        if header.peer.as_ref() == Some(&header.name) {
            let message = "both ends of a VethConfig have the same name: Talos rejects it";
            self.report_form(document.at, message, "give `name` and `peer.name` different names");
        }
        self.seen.push(header.clone());
        let Some(kind) = self.kind(document, &header) else { return };
        let walk = talos::walk(document, &kind, reader);
        self.open.extend(walk.differs.then_some(Undecided::Release));
        let beyond = self.known.omni.is_some_and(|omni| !omni.is_known());
        self.open.extend((beyond || !reader.exact && !walk.problems.is_empty()).then_some(Undecided::Newer));
        let problems = walk.problems.iter().map(|problem| refusal(self.file, problem, self.known.omni, reader.exact));
        self.findings.extend(problems);
    }

    /// Returns the document's kind as omnictl determines it; `None` if the document is refused.
    fn kind(&mut self, document: &Node, header: &Header) -> Option<Kind> {
        // Talos also takes a value of this name for the key.
        let words = document.entries().iter().flat_map(|entry| [Some(entry.key.as_str()), entry.value.text()]);
        let legacy = words.flatten().any(|word| LEGACY.contains(&word));
        let version = if legacy { V1ALPHA1 } else { &header.version };
        let kind = match (version, header.kind.as_str()) {
            (V1ALPHA1, "") => return Kind::find(V1ALPHA1),
            (_, "") => {
                self.missing_kind(document);
                return None;
            }
            ("", kind) => {
                let message = format!("`kind: {kind}` without apiVersion");
                self.report_form(document.at, message, "add `apiVersion: v1alpha1`");
                return None;
            }
            (V1ALPHA1, kind) => kind,
            (version, kind) => {
                let message = format!(
                    "{version} {kind} is not a Talos configuration: Talos documents have `apiVersion: v1alpha1`"
                );
                self.report_form(document.at, message, KUBERNETES_OBJECTS);
                return None;
            }
        };
        let place = document.get("kind").unwrap_or(document).at.in_file(self.file);
        let found = Kind::find(kind);
        if let Some(unknown) = unknown_kind(place.clone(), kind, found.as_ref(), self.known.omni, self.reader) {
            self.findings.push(unknown);
            return None;
        }
        let (found, minor) = (found?, self.known.talos);
        let newer = found.talos().filter(|talos| minor.is_some_and(|minor| minor < *talos));
        self.findings.extend(newer.zip(minor).map(|(talos, minor)| {
            let message = format!("`{kind}` requires Talos 1.{talos} or later: this cluster's machines run 1.{minor}");
            let fix = "write the older form of the setting, or use a newer Talos";
            Finding::error("template-patch-kind-talos", place, message, fix)
        }));
        Some(found)
    }

    fn missing_kind(&mut self, document: &Node) {
        let keys: Vec<&str> = document.entries().iter().map(|e| e.key.as_str()).take(3).collect();
        let fix = match document.entries().first().and_then(|e| nearest(&e.key, LEGACY.iter().copied())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write `machine:`, `cluster:` or a document with apiVersion and kind".to_owned(),
        };
        let message =
            format!("not a Talos configuration: it has `{}` and no `kind` (\"missing kind\")", keys.join("`, `"));
        self.report_form(document.at, message, fix);
    }

    /// Reports fields and documents that Omni manages.
    fn report_managed(&mut self, node: &Node, first: bool) {
        let omni = self.known.omni;
        let kind = node.get("kind").and_then(Node::text).unwrap_or_default();
        let newer = omni.is_none_or(|omni| !omni.is_before(EVERY_DOCUMENT, 0));
        if newer && table().forbidden.documents.kinds.iter().any(|forbidden| forbidden == kind) {
            let message = format!("the document \"{kind}\" is not allowed in a patch");
            self.report_forbidden(first, EVERY_DOCUMENT, node.at, message, "remove the document");
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
            if omni.is_none_or(|omni| !omni.is_before(since, 0)) {
                let message = format!("overriding \"{field}\" is not allowed in a patch: Omni manages it");
                self.report_forbidden(first, since, entry.at, message, "remove the field");
            }
        }
        let roles = match kind {
            "KubeTalosAPIAccessConfig" if newer => Some((EVERY_DOCUMENT, node.get("allowedRoles"))),
            _ if own("") => Some((0, node.path(&["machine", "features", "kubernetesTalosAPIAccess", "allowedRoles"]))),
            _ => None,
        };
        let Some((since, Some(roles))) = roles else { return };
        for role in roles.items().iter().filter(|role| role.text() == Some("os:admin")) {
            let message = "the role \"os:admin\" is not allowed in the allowedRoles of Talos's API access".to_owned();
            self.report_forbidden(first, since, role.at, message, "use os:reader");
        }
    }

    /// Reports a part that omnictl refuses from 1.`since` on: an error if certain, a warning if this omnictl checks only the
    /// first document or its version is unknown.
    fn report_forbidden(&mut self, first: bool, since: u64, at: Position, message: String, fix: &str) {
        let place = at.in_file(self.file);
        let looks = self.known.omni.is_some_and(|omni| !omni.is_before(EVERY_DOCUMENT, 0));
        self.findings.push(if self.known.omni.is_none() && since > 0 {
            let message = format!("{message}, from omnictl 1.{since} on");
            Finding::warning("template-patch-forbidden-newer", place, message, fix)
        } else if first || looks {
            Finding::error("template-patch-forbidden", place, message, fix)
        } else {
            Finding::warning("template-patch-forbidden-later", place, message, fix)
        });
    }
}

/// Returns a finding for a kind of document that this omnictl does not know, or may not know.
fn unknown_kind(
    place: Location,
    kind: &str,
    found: Option<&Kind>,
    omni: Option<Omni>,
    reader: Reader,
) -> Option<Finding> {
    let unsure = |message: String| {
        let fix = "check it with `omnictl cluster template validate`";
        Some(Finding::warning("template-patch-kind-newer", place.clone(), message, fix))
    };
    let since = found.and_then(Kind::omnictl);
    match (found.map_or(Some(false), |found| found.known_to(reader)), since, omni) {
        (Some(true), ..) => None,
        (None, Some(since), _) => unsure(format!("`{kind}` requires omnictl 1.{since} or later")),
        (_, Some(since), Some(omni)) if reader.exact => {
            let message = format!(
                "omnictl {omni} does not support `{kind}` (\"{kind}\" \"v1alpha1\": not registered): it requires \
                 1.{since} or later"
            );
            let fix =
                format!("write the older form of the setting, or update Omni to 1.{since} (docs/how-to/upgrade.md)");
            Some(Finding::error("template-patch-kind", place, message, fix))
        }
        (.., Some(omni)) if reader.exact => {
            let message =
                format!("omnictl {omni} has no document kind `{kind}`: \"{kind}\" \"v1alpha1\": not registered");
            let fix = match nearest(kind, talos::kinds()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => KUBERNETES_OBJECTS.to_owned(),
            };
            Some(Finding::error("template-patch-kind", place, message, fix))
        }
        _ => unsure(format!("no known omnictl release reads a document `{kind}`")),
    }
}

/// Returns the finding for what omnictl refuses in a document: an error if `sure`, else a warning.
fn refusal(file: &str, problem: &Problem, omni: Option<Omni>, sure: bool) -> Finding {
    let program = omni.map_or("omnictl".to_owned(), |omni| format!("omnictl {omni}"));
    let (place, path) = (problem.at.in_file(file), &problem.path);
    let (rule, message, fix) = match &problem.fault {
        Fault::Key { since: Some(since), .. } => (
            "template-patch-unknown-field",
            format!("{program} does not support the field `{path}`: it requires 1.{since} or later"),
            format!("remove it, or update Omni to 1.{since} (docs/how-to/upgrade.md)"),
        ),
        Fault::Key { key, .. } if key == "<<" => (
            "template-patch-unknown-field",
            format!("{program} treats the `<<` of `{path}` as an unknown field"),
            "write out the merged values, or write the patch as a mapping instead of text".to_owned(),
        ),
        Fault::Key { key, known, .. } => (
            "template-patch-unknown-field",
            format!("{program} does not know the field `{path}` (\"unknown keys found during decoding\")"),
            suggestion(key, known),
        ),
        Fault::Value { found, wanted } => (
            "template-patch-value",
            format!("`{path}` is {found}, which {program} cannot decode"),
            format!("write {wanted}"),
        ),
        // Only the Talos of a machine checks relations.
        Fault::Relation(broken) => ("template-patch-value", broken.what.clone(), broken.fix.clone()),
    };
    match sure {
        true => Finding::error(rule, place, message, fix),
        false => Finding::warning("template-patch-unsure", place, format!("{message}, as far as this tool knows"), fix),
    }
}

/// Returns the finding for what omnictl accepts and the Talos of the machines refuses.
pub fn finding_for_machine(file: &str, problem: &Problem, kind: &str, minor: u64) -> Finding {
    let path = &problem.path;
    let (message, fix) = match &problem.fault {
        Fault::Key { key, known, .. } => {
            (format!("Talos 1.{minor}, which the machines run, has no field `{path}`"), suggestion(key, known))
        }
        Fault::Value { found, wanted } => {
            (format!("`{path}` is {found}, which Talos 1.{minor} refuses"), format!("write {wanted}"))
        }
        Fault::Relation(broken) => {
            let of = if path.is_empty() { kind } else { path };
            (format!("Talos 1.{minor} refuses `{of}` {}", broken.what), broken.fix.clone())
        }
    };
    Finding::error("template-patch-talos", problem.at.in_file(file), message, fix)
}

/// Returns the first minor of omnictl 1.x that refuses a field; 0 if every omnictl that this project can meet does.
fn since(minor: Minor) -> u64 {
    if minor <= table().forbidden.fields[0].since { 0 } else { minor.minor }
}
