//! Cluster templates: everything that omnictl refuses offline, what only the server would refuse, and what nobody
//! refuses but operators regret.

mod cluster;
mod regrets;
mod sets;

use serde_json::Value as Json;

use super::patch;
use super::verdict::{Checked, Verdict};
use super::{Finding, Severity};
use model::spec::template::{ClusterTemplate, Label, Patch, parse_stream};
use model::spec::yaml;
use model::spec::{At, Place};

/// What became of reading a file that a template refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRead {
    Bytes(Vec<u8>),
    /// Why it cannot be read.
    Missing(String),
}

/// A machine class as far as templates care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassInfo {
    pub name: String,
    /// True if its machines are made by a provider.
    pub provisions: bool,
}

/// A Talos version as Omni offers it (TalosVersion).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TalosInfo {
    /// Without `v`.
    pub version: String,
    pub compatible_kubernetes: Vec<String>,
    pub unsupported: bool,
}

/// What is known around the template. Nothing is: the default.
#[derive(Clone, Copy, Default)]
pub struct TemplateContext<'a> {
    /// Reads a file relative to the template's directory; none leaves what files say undecided.
    pub read: Option<&'a dyn Fn(&str) -> FileRead>,
    /// The schema that Talos publishes (`--talos-schema`).
    pub talos_schema: Option<&'a Json>,
    /// The Talos versions that Omni offers.
    pub talos_versions: Option<&'a [TalosInfo]>,
    /// The classes that Omni has.
    pub omni_classes: Option<&'a [ClassInfo]>,
    /// The classes in `machine-classes/`, asked when Omni was not.
    pub local_classes: Option<&'a [ClassInfo]>,
}

impl TemplateContext<'_> {
    fn class(&self, name: &str) -> Option<&ClassInfo> {
        let known = self.omni_classes.or(self.local_classes)?;
        // Thousands of templates may ask for thousands of classes: a sorted list, as the tasks give it, is not walked.
        match known.binary_search_by(|c| c.name.as_str().cmp(name)) {
            Ok(at) => known.get(at),
            Err(_) => known.iter().find(|c| c.name == name),
        }
    }
}

/// Checks a template. The verdict is that of `omnictl cluster template validate`.
pub fn check(file: &str, bytes: &[u8], context: &TemplateContext<'_>) -> Checked<ClusterTemplate> {
    let stream = yaml::load(file, bytes);
    let parsed = parse_stream(file, &stream);
    let mut checker = Checker { file, context, findings: parsed.findings, open: false, contents: Vec::new() };
    if let Some(template) = &parsed.value {
        checker.cluster(template);
        checker.sets(template);
        checker.regrets(template);
    }
    let Checker { mut findings, open, .. } = checker;
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (f.place.file != file, f.place.line, f.place.column);
        key(a).cmp(&key(b))
    });
    let verdict = Verdict::of(&findings, open);
    Checked { file: file.to_owned(), value: parsed.value, verdict, program: "omnictl", schema: None, findings }
}

/// Which machines a patch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    /// The set's index.
    Set(usize),
    Machine,
}

struct Checker<'a> {
    file: &'a str,
    context: &'a TemplateContext<'a>,
    findings: Vec<Finding>,
    /// Something that omnictl knows was left undecided.
    open: bool,
    /// What the patches say, for the checks across them.
    contents: Vec<(Scope, patch::Content)>,
}

impl Checker<'_> {
    fn report(&mut self, severity: Severity, rule: &'static str, place: Place, message: String, fix: &str) {
        self.findings.push(Finding { rule, severity, place, message, fix: fix.to_owned() });
    }

    fn error(&mut self, rule: &'static str, at: At, message: impl Into<String>, fix: &str) {
        self.report(Severity::Error, rule, at.in_file(self.file), message.into(), fix);
    }

    fn warning(&mut self, rule: &'static str, at: At, message: impl Into<String>, fix: &str) {
        self.report(Severity::Warning, rule, at.in_file(self.file), message.into(), fix);
    }

    fn descriptors(&mut self, labels: &[Label], annotations: &[Label]) {
        for label in labels.iter().chain(annotations).filter(|l| l.key.starts_with("omni.sidero.dev/")) {
            let message = format!("`{}`: the prefix omni.sidero.dev/ is reserved for Omni", label.key);
            self.error("template-reserved-label", label.at, message, "use another prefix");
        }
    }

    fn patches(&mut self, patches: &[Patch], scope: Scope) {
        for patch in patches {
            self.descriptors(&patch.labels, &patch.annotations);
            let checked = match (&patch.file, &patch.inline) {
                (Some(_), Some(_)) => {
                    let message = "a patch has `file` or `inline`, not both";
                    self.error("template-patch-source", patch.at, message, "keep one of the two");
                    continue;
                }
                (None, None) => {
                    let message = "a patch needs `file` or `inline`";
                    self.error("template-patch-source", patch.at, message, "add one of the two");
                    continue;
                }
                (Some((path, at)), None) => {
                    let Some((name, bytes)) = self.file(path, *at) else { continue };
                    patch::in_file(&name, &bytes, self.context.talos_schema)
                }
                (None, Some(inline)) => {
                    if patch.name.is_empty() && patch.id_override.is_empty() {
                        let message = "an inline patch needs `name` or `idOverride`";
                        self.error("template-patch-name", patch.at, message, "name it");
                    }
                    patch::inline(self.file, inline, patch.at, self.context.talos_schema)
                }
            };
            self.findings.extend(checked.findings);
            self.open |= checked.open;
            self.contents.extend(checked.content.map(|c| (scope, c)));
        }
    }

    /// The bytes of a file that the template refers to, with the path by which findings name it.
    fn file(&mut self, path: &str, at: At) -> Option<(String, Vec<u8>)> {
        if escapes(path) {
            let message = format!("`{path}` leaves the template's directory: omnictl 1.8 and later refuse that");
            self.error("template-file-outside", at, message, "move the file below the template");
            return None;
        }
        let Some(read) = self.context.read else {
            self.open = true;
            return None;
        };
        match read(path) {
            FileRead::Bytes(bytes) => {
                let directory = self.file.rsplit_once('/').map_or("", |(d, _)| d);
                let name = if directory.is_empty() { path.to_owned() } else { format!("{directory}/{path}") };
                Some((name, bytes))
            }
            FileRead::Missing(why) => {
                let fix = "paths are relative to the template's directory";
                self.error("template-file-missing", at, format!("`{path}` cannot be read: {why}"), fix);
                None
            }
        }
    }
}

/// True if a relative path leaves the directory that it starts in.
fn escapes(path: &str) -> bool {
    let mut depth = 0i32;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    path.starts_with('/')
}
