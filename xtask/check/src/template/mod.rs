//! Checks cluster templates: everything that omnictl refuses offline, what only the server would refuse, and lints for what is
//! accepted but causes problems later.

mod addresses;
mod cluster;
mod deletions;
mod files;
mod lints;
mod merged;
mod sets;

use std::collections::BTreeSet;

pub use files::clean;

use super::patch::{self, Undecided};
use super::provider_data;
use super::releases::Omni;
use super::verdict::{FileCheck, Verdict};
use domain::spec;
use domain::spec::machine_class::{AutoProvision, MachineClass};
use domain::spec::template::{ClusterTemplate, Inline, Label, Patch, parse_stream};
use yaml::{Finding, Location, Position, Severity};

/// The result of reading a file that a template refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRead {
    Bytes(Vec<u8>),
    /// The path leads out of the template's directory.
    Outside,
    Missing {
        /// Why the file cannot be read.
        why: String,
        /// Where the path exists instead, relative to the template's directory: below one of the parent folders.
        above: Option<String>,
    },
}

/// The properties of a machine class that matter for templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassInfo {
    pub name: String,
    /// Whether a provider creates its machines.
    pub provisions: bool,
    /// Why Omni does not install Talos on the first disk of its machines; `None` if it does.
    pub install_disk: Option<String>,
}

impl ClassInfo {
    /// Extracts the properties of a class that was read from a file.
    pub fn of(class: &MachineClass) -> ClassInfo {
        let provision = class.auto_provision.as_ref();
        ClassInfo {
            name: class.id.clone(),
            provisions: provision.is_some(),
            install_disk: provision.and_then(install_disk),
        }
    }
}

/// Returns the finding about Talos's install disk, for data of the Proxmox provider; no other provider has such keys.
pub fn install_disk(provision: &AutoProvision) -> Option<String> {
    if !may_have_further_disks(&provision.provider_data) {
        return None;
    }
    let data = spec::provider_data::parse("", provision).value?;
    provider_data::install_disk(&data).map(|(_, message)| message)
}

/// Returns true if provider data may define further disks: most classes have one, and only an escape could hide the key.
pub fn may_have_further_disks(provider_data: &str) -> bool {
    ["additional_disks", "\\"].iter().any(|mark| provider_data.contains(mark))
}

/// A Talos version as Omni offers it (TalosVersion).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TalosInfo {
    /// Without `v`.
    pub version: String,
    pub compatible_kubernetes: Vec<String>,
    pub unsupported: bool,
    /// Whether Omni still offers it but no longer uses it for a new cluster by default.
    pub deprecated: bool,
}

/// What is known about the template's surroundings; by default nothing.
#[derive(Clone, Copy, Default)]
pub struct TemplateContext<'a> {
    /// The release of Omni, and of the omnictl that reads the template, if known.
    pub omni: Option<Omni>,
    /// Reads a file by its path in the template; without it, the contents of files stay undecided.
    pub read: Option<&'a dyn Fn(&str) -> FileRead>,
    /// The Talos versions that Omni offers.
    pub talos_versions: Option<&'a [TalosInfo]>,
    /// The classes that Omni has.
    pub omni_classes: Option<&'a [ClassInfo]>,
    /// Whether Omni stores backups of etcd anywhere, if known.
    pub backup_store: Option<bool>,
    /// The name of the file in `clusters/`.
    pub file_name: Option<&'a str>,
    /// The classes in `machine-classes/`, used if Omni was not queried.
    pub local_classes: Option<&'a [ClassInfo]>,
}

impl TemplateContext<'_> {
    fn class(&self, name: &str) -> Option<&ClassInfo> {
        let known = self.omni_classes.or(self.local_classes)?;
        // Thousands of templates may use thousands of classes: the tasks pass a sorted list, so that it need not be walked.
        match known.binary_search_by(|c| c.name.as_str().cmp(name)) {
            Ok(at) => known.get(at),
            Err(_) => known.iter().find(|c| c.name == name),
        }
    }
}

/// Checks a template. The verdict is that of `omnictl cluster template validate`.
pub fn check(file: &str, bytes: &[u8], context: &TemplateContext<'_>) -> FileCheck<ClusterTemplate> {
    let stream = yaml::load(file, bytes);
    let parsed = parse_stream(file, &stream);
    let mut checker = Checker {
        file,
        context,
        findings: parsed.findings,
        undecided: BTreeSet::new(),
        contents: Vec::new(),
        talos: None,
    };
    if let Some(template) = &parsed.value {
        checker.placeholders(template, &stream);
        checker.newer_keys(template);
        checker.cluster(template);
        checker.sets(template);
        checker.lints(template);
    }
    let Checker { mut findings, undecided, .. } = checker;
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (f.place.file != file, f.place.line, f.place.column);
        key(a).cmp(&key(b))
    });
    let verdict = Verdict::of(&findings, !undecided.is_empty());
    let undecided = undecided.into_iter().map(reason).collect();
    FileCheck {
        file: file.to_owned(),
        value: parsed.value,
        verdict,
        program: "omnictl",
        schema: None,
        undecided,
        findings,
    }
}

/// Describes what is left undecided, and what decides it.
fn reason(open: Undecided) -> String {
    let what = match open {
        Undecided::Files => "the files that the template references were not read",
        Undecided::OlderPaths => "omnictl before 1.8 looks for files relative to its working directory",
        Undecided::Release => "omnictl releases treat a patch differently, and the release in use is not known",
        Undecided::Newer => "this omnictl is newer than the Talos documents that this tool knows",
        Undecided::Wide => "a patch is UTF-16",
    };
    format!("{what}: `omnictl cluster template validate` decides")
}

/// The machines that a patch applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatchScope {
    Cluster,
    /// The index of the machine set.
    Set(usize),
    /// The index of the Machine document.
    Machine(usize),
}

struct Checker<'a> {
    file: &'a str,
    context: &'a TemplateContext<'a>,
    findings: Vec<Finding>,
    /// What omnictl knows but this check does not.
    undecided: BTreeSet<Undecided>,
    /// The contents of the patches, for the checks across them.
    contents: Vec<ParsedPatch>,
    /// The minor of Talos 1.x that the cluster runs.
    talos: Option<u64>,
}

struct ParsedPatch {
    scope: PatchScope,
    size: usize,
    content: Option<patch::Content>,
}

impl Checker<'_> {
    fn report(&mut self, severity: Severity, rule: &'static str, place: Location, message: String, fix: &str) {
        self.findings.push(Finding { rule, severity, place, message, fix: fix.to_owned() });
    }

    fn error(&mut self, rule: &'static str, at: Position, message: impl Into<String>, fix: &str) {
        self.report(Severity::Error, rule, at.in_file(self.file), message.into(), fix);
    }

    fn warning(&mut self, rule: &'static str, at: Position, message: impl Into<String>, fix: &str) {
        self.report(Severity::Warning, rule, at.in_file(self.file), message.into(), fix);
    }

    fn labels(&mut self, labels: &[Label]) {
        for label in labels.iter().filter(|l| l.key.starts_with("omni.sidero.dev/")) {
            let message = format!("`{}`: the prefix omni.sidero.dev/ is reserved for Omni", label.key);
            self.error("template-reserved-label", label.at, message, "use another prefix");
        }
    }

    fn patches(&mut self, patches: &[Patch], scope: PatchScope) {
        for patch in patches {
            self.labels(&patch.labels);
            let known = patch::PatchContext { omni: self.context.omni, talos: self.talos };
            let (file, inline) = (patch.file.as_ref(), patch.inline.as_ref());
            let given = [file.is_some(), inline.is_some()];
            if !self.has_one_source("template-patch-source", patch.at, "a patch", "`file` or `inline`", given) {
                continue;
            }
            let (checked, size) = if let Some((path, at)) = file {
                let Some((name, bytes)) = self.file(path, *at) else { continue };
                (patch::check_file(&name, &bytes, known), bytes.len())
            } else if let Some(inline) = inline {
                if patch.name.is_empty() && patch.id_override.is_empty() {
                    let message = "an inline patch needs `name` or `idOverride`";
                    self.error("template-patch-name", patch.at, message, "name it");
                }
                if let Some(omni) = self.context.omni.filter(|omni| !patch.is_mapping && omni.is_before(8, 0)) {
                    let message = format!(
                        "omnictl {omni} accepts only a mapping as `inline`: 1.8 is the first version that accepts more"
                    );
                    self.error("template-wrong-type", patch.at, message, "write it as a mapping, without `|`");
                }
                (patch::check_inline(self.file, inline, patch.at, known), inline.size())
            } else {
                continue;
            };
            self.findings.extend(checked.findings);
            self.undecided.extend(checked.open);
            self.contents.push(ParsedPatch { scope, size, content: checked.content });
        }
    }

    /// Reports placeholders in the template itself. One for a version is reported as an invalid version; YAML embedded as text is
    /// read by the checks of patches and manifests.
    fn placeholders(&mut self, t: &ClusterTemplate, stream: &yaml::Stream) {
        let roots = stream.documents.iter().map(|document| &document.root);
        let versions = [t.kubernetes_at, t.talos_at].map(|at| at.in_file(self.file));
        let found = patch::placeholders(self.file, roots).into_iter();
        self.findings.extend(found.filter(|finding| !versions.contains(&finding.place)));
    }

    /// Returns true if exactly one of two sources is given, and reports an error otherwise.
    fn has_one_source(&mut self, rule: &'static str, at: Position, what: &str, places: &str, given: [bool; 2]) -> bool {
        let (message, fix) = match given {
            [true, true] => (format!("{what} has {places}, not both"), "keep only one of them"),
            [false, false] => (format!("{what} needs {places}"), "add one of them"),
            _ => return true,
        };
        self.error(rule, at, message, fix);
        false
    }

    /// Loads the YAML of a manifest or a job from text or a file and reports placeholders in it; `None` for a mapping.
    fn content(&mut self, file: Option<&(String, Position)>, inline: Option<&Inline>) -> Option<yaml::Stream> {
        let (name, stream) = match (file, inline) {
            (Some((path, at)), _) => {
                let (name, bytes) = self.file(path, *at)?;
                let stream = yaml::load(&name, &bytes);
                (name, stream)
            }
            (None, Some(Inline::Text { text, origin })) => {
                (self.file.to_owned(), yaml::load_embedded(self.file, text, *origin))
            }
            _ => return None,
        };
        self.findings.extend(patch::placeholders(&name, stream.documents.iter().map(|document| &document.root)));
        Some(stream)
    }
}
