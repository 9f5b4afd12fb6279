//! Cluster templates: the multi-document format that `omnictl cluster template` reads (siderolabs/omni v1.9.3,
//! client/pkg/template/internal/models). Decoding is as strict as in omnictl: an unknown key or kind is an error.

pub mod decode;
pub mod edit;
mod render;

use super::Parsed;
use yaml::{Location, Node, Position, TextPosition};

pub use decode::parse_stream;
pub use render::{NewCluster, render};

/// A template: the cluster and its machine sets, in file order.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterTemplate {
    pub name: String,
    /// As written, with or without `v`; empty if missing.
    pub kubernetes_version: String,
    pub talos_version: String,
    pub features: Features,
    pub labels: Vec<Label>,
    pub system_extensions: Option<Vec<String>>,
    pub kernel_args: Option<Vec<String>>,
    pub patches: Vec<Patch>,
    pub manifests: Vec<Manifest>,
    pub healthchecks: Vec<HealthCheck>,
    /// The control plane and the workers.
    pub sets: Vec<MachineSet>,
    /// Documents of kind Machine.
    pub machines: Vec<Machine>,
    /// Keys, in any document, that only newer versions of omnictl support.
    pub newer_keys: Vec<NewerKey>,
    /// Positions of the Cluster document, its name and its versions.
    pub place: Location,
    pub name_at: Position,
    pub kubernetes_at: Position,
    pub talos_at: Position,
    /// Number of Cluster documents in the file; anything but 1 is an error.
    pub cluster_documents: u32,
    /// Position of the second Cluster document, if any.
    pub second_cluster_at: Option<Position>,
}

/// A key that omnictl supports only since 1.`since`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerKey {
    pub key: &'static str,
    pub since: u64,
    pub at: Position,
}

/// A label or annotation with its position; the `labels` of a document contain both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub key: String,
    pub at: Position,
}

/// Features of a cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    pub disk_encryption: bool,
    pub use_embedded_discovery_service: bool,
    /// Interval between etcd backups in seconds; 0 for none.
    pub backup_interval_s: f64,
    pub backup_interval_at: Option<Position>,
    /// Whether the interval is written as the number 0, without a unit.
    pub backup_interval_is_number: bool,
    pub disk_encryption_at: Option<Position>,
    /// Position of the setting that disables the public discovery service, if any.
    pub disable_public_discovery_at: Option<Position>,
}

/// The kind of a machine set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetKind {
    ControlPlane,
    /// Workers with the name in the file; empty for the default set.
    Workers {
        name: String,
    },
}

/// The number of machines that a set takes from its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Count(u32),
    /// Every matching machine; not allowed for classes that provision machines.
    Unlimited,
}

/// The machine class that a set takes its machines from.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassRef {
    pub name: String,
    pub size: Size,
    pub name_at: Position,
    pub size_at: Position,
}

/// A machine set: a document of kind ControlPlane or Workers.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineSet {
    pub kind: SetKind,
    pub class: Option<ClassRef>,
    /// Machine UUIDs with their positions.
    pub machines: Vec<(String, Position)>,
    pub labels: Vec<Label>,
    pub system_extensions: Option<Vec<String>>,
    pub kernel_args: Option<Vec<String>>,
    pub patches: Vec<Patch>,
    pub bootstrap_spec: Option<BootstrapSpec>,
    pub update_strategy: Option<Strategy>,
    pub delete_strategy: Option<Strategy>,
    pub upgrade_strategy: Option<Strategy>,
    pub kernel_args_at: Option<Position>,
    pub system_extensions_at: Option<Position>,
    /// The name and its position, if any (a control plane must not have a name).
    pub name: Option<(String, Position)>,
    pub place: Location,
}

/// `bootstrapSpec`: restores the control plane from a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapSpec {
    pub cluster_uuid: String,
    pub snapshot: String,
    pub at: Position,
}

/// An update, delete or upgrade strategy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strategy {
    /// `Rolling` or `Unset`.
    pub kind: Option<String>,
    pub max_parallelism: Option<u32>,
    pub at: Position,
}

/// A document of kind Machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub name: String,
    pub locked: bool,
    pub install_disk: String,
    pub labels: Vec<Label>,
    pub system_extensions: Option<Vec<String>>,
    pub kernel_args: Option<Vec<String>>,
    pub patches: Vec<Patch>,
    pub place: Location,
    pub name_at: Position,
    pub locked_at: Option<Position>,
}

/// A Talos machine configuration patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    pub name: String,
    pub id_override: String,
    pub labels: Vec<Label>,
    /// Path relative to the directory of the template.
    pub file: Option<(String, Position)>,
    pub inline: Option<Inline>,
    /// Whether `inline` is a mapping, the only form that omnictl before 1.8 reads.
    pub is_mapping: bool,
    pub at: Position,
}

/// Content that is written in the template itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Inline {
    /// A mapping, or a list of mappings, each of which is a document.
    Documents(Vec<Node>),
    /// A YAML string with one or more documents.
    Text { text: String, origin: TextPosition },
}

impl Inline {
    /// Returns the approximate size of the content in bytes as a separate file; documents count their scalars and keys.
    pub fn size(&self) -> usize {
        fn of(node: &Node) -> usize {
            let entries: usize = node.entries().iter().map(|entry| entry.key.len() + 2 + of(&entry.value)).sum();
            let items: usize = node.items().iter().map(|item| 2 + of(item)).sum();
            node.scalar().map_or(0, |scalar| scalar.text.len()) + 1 + entries + items
        }
        match self {
            Inline::Documents(documents) => documents.iter().map(of).sum(),
            Inline::Text { text, .. } => text.len(),
        }
    }
}

/// An entry of `kubernetes.manifests`.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    pub name: String,
    /// `full`, `one-time` or empty if missing.
    pub mode: String,
    pub file: Option<(String, Position)>,
    pub inline: Option<Inline>,
    pub labels: Vec<Label>,
    pub at: Position,
}

/// An entry of `kubernetes.healthchecks`.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    pub name: String,
    pub id_override: String,
    pub file: Option<(String, Position)>,
    pub job: Option<Inline>,
    /// Interval in seconds; 0 if not set.
    pub interval_s: f64,
    pub labels: Vec<Label>,
    pub at: Position,
}

impl ClusterTemplate {
    /// Returns the control plane set, if the template has one.
    pub fn control_plane(&self) -> Option<&MachineSet> {
        self.sets.iter().find(|s| s.kind == SetKind::ControlPlane)
    }

    /// Returns the worker sets in file order.
    pub fn workers(&self) -> impl Iterator<Item = &MachineSet> {
        self.sets.iter().filter(|s| s.kind != SetKind::ControlPlane)
    }

    /// Returns the names of all machine classes in use, without duplicates.
    pub fn classes(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.sets.iter().filter_map(|s| s.class.as_ref()).map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns the paths of all files that the template refers to (patches, manifests, healthcheck jobs), relative to its
    /// directory, with the positions of the references. Callers read the files and pass the bytes to the checks.
    pub fn files(&self) -> Vec<(&str, Position)> {
        let sets = self.sets.iter().flat_map(|s| &s.patches);
        let machines = self.machines.iter().flat_map(|m| &m.patches);
        let patches = self.patches.iter().chain(sets).chain(machines).filter_map(|p| p.file.as_ref());
        let manifests = self.manifests.iter().filter_map(|m| m.file.as_ref());
        let jobs = self.healthchecks.iter().filter_map(|h| h.file.as_ref());
        patches.chain(manifests).chain(jobs).map(|(path, at)| (path.as_str(), *at)).collect()
    }
}

impl MachineSet {
    /// Returns the ID of the set in Omni: `<cluster>-control-planes`, `<cluster>-workers` or `<cluster>-<name>`
    /// (client/pkg/omni/resources/omni/machine_set.go).
    pub fn id(&self, cluster: &str) -> String {
        match &self.kind {
            SetKind::ControlPlane => format!("{cluster}-control-planes"),
            SetKind::Workers { name } if name.is_empty() => format!("{cluster}-workers"),
            SetKind::Workers { name } => format!("{cluster}-{name}"),
        }
    }

    /// Returns the display name of the set.
    pub fn title(&self) -> String {
        match &self.kind {
            SetKind::ControlPlane => "the control plane".to_owned(),
            SetKind::Workers { name } if name.is_empty() => "the workers".to_owned(),
            SetKind::Workers { name } => format!("the workers `{name}`"),
        }
    }

    /// Returns the number of machines in the set; `None` if unlimited.
    pub fn machine_count(&self) -> Option<u32> {
        match &self.class {
            Some(ClassRef { size: Size::Count(n), .. }) => Some(*n),
            Some(_) => None,
            None => Some(self.machines.len() as u32),
        }
    }
}

/// Returns true for the nested format of older guides: one document with `controlPlane:` and `workers:` keys.
pub fn is_legacy(root: &Node) -> bool {
    let nested = |key| root.get(key).is_some_and(|n: &Node| !n.is_null());
    nested("controlPlane") || nested("workers") || nested("controlplane")
}

/// Returns true for a Cluster written as a Kubernetes object (`apiVersion`, `metadata`, `spec`), which no program reads.
pub fn is_kubernetes_style(root: &Node) -> bool {
    let style = |key| root.entry(key).is_some();
    style("apiVersion") || style("spec") && !style("kubernetes")
}

/// Parses a template. The value is present if a Cluster document was found; see [`Parsed`].
pub fn parse(file: &str, bytes: &[u8]) -> Parsed<ClusterTemplate> {
    parse_stream(file, &yaml::load(file, bytes))
}
