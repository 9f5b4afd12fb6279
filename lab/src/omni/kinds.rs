//! The registry of resource types: names, aliases, print columns, and the ordered fields of each spec.
//!
//! `kinds.tsv` in this directory was taken from the programs' own registry (siderolabs/omni v1.9.3 and v1.4.9,
//! client/pkg/omni/resources and client/api/omni/specs).

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_yaml::Value as Notation;
use strum::{EnumString, IntoStaticStr};

/// The release of Omni and omnictl that the lab simulates.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, EnumString, IntoStaticStr,
)]
pub enum OmniRelease {
    /// 1.4.9, for which recordings of the unmodified programs exist.
    #[strum(serialize = "v1.4.9")]
    V1_4_9,
    /// 1.9.3, whose omnictl was run.
    #[strum(serialize = "v1.9.3")]
    V1_9_3,
    /// 1.10.6, the release that the kit pins: 1.9.3 with the changes in the sources of v1.10.4 and in its CHANGELOG.
    #[default]
    #[strum(serialize = "v1.10.6")]
    V1_10_6,
}

impl OmniRelease {
    /// Parses a release number, with or without a leading `v`.
    pub fn parse(text: &str) -> Option<OmniRelease> {
        format!("v{}", text.trim_start_matches('v')).parse().ok()
    }

    /// Returns the newest release that is not newer than this version.
    pub fn nearest((major, minor, patch): (u64, u64, u64)) -> OmniRelease {
        match (major, minor, patch) {
            version if version >= (1, 10, 0) => OmniRelease::V1_10_6,
            version if version >= (1, 9, 0) => OmniRelease::V1_9_3,
            _ => OmniRelease::V1_4_9,
        }
    }

    /// Returns the tag, e.g. `v1.9.3`.
    pub fn tag(self) -> &'static str {
        self.into()
    }

    /// Returns true for 1.4.9, some of whose messages differ.
    pub fn old(self) -> bool {
        self == OmniRelease::V1_4_9
    }

    /// Returns the verb that its YAML library uses in error messages.
    pub fn decoding(self) -> &'static str {
        if self.old() { "unmarshal" } else { "construct" }
    }

    /// Returns true if this release has a type or field with this mark in `kinds.tsv` or `template-models.yaml`.
    pub fn has(self, name: &str) -> bool {
        match name.chars().last() {
            Some('+') => !self.old(),
            Some('^') => self >= OmniRelease::V1_10_6,
            Some('-') => self.old(),
            _ => true,
        }
    }
}

/// A resource type.
#[derive(Clone, Debug)]
pub struct ResourceType {
    /// Full type, e.g. `Clusters.omni.sidero.dev`.
    pub typ: String,
    /// The value of the TYPE column in tables.
    pub display: String,
    /// The default namespace of `omnictl get`.
    pub namespace: String,
    /// Other names of the type in lower case: the singular and the abbreviations.
    pub aliases: Vec<String>,
    /// Table columns after the common four: name and JSONPath into the spec.
    pub columns: Vec<(String, String)>,
    /// Access rule: `users` may also write it, `everybody` may read it, `infra` types have a separate state.
    pub access: String,
    /// The fields of the spec, in the notation of `kinds.tsv`; `?` if the lab does not model them.
    spec: String,
    release: OmniRelease,
    read: OnceLock<Option<Notation>>,
}

impl ResourceType {
    /// Returns a spec in which every field has its zero value, overlaid with `given`. Keys that the type does not have are
    /// dropped.
    pub fn complete(&self, given: &Value) -> Value {
        let read = || Some(&self.spec).filter(|spec| *spec != "?").and_then(|spec| serde_yaml::from_str(spec).ok());
        match self.read.get_or_init(read) {
            Some(fields) => complete(fields, Some(given), self.release),
            None => given.clone(),
        }
    }
}

/// Returns the given value as it is printed, or the zero value of the type.
fn complete(notation: &Notation, given: Option<&Value>, release: OmniRelease) -> Value {
    match (notation, given) {
        (Notation::Mapping(fields), Some(Value::Object(values))) if !fields.contains_key("<map>") => {
            let named = fields.iter().filter_map(|(name, node)| Some((name.as_str()?, node)));
            let field = |(name, node): (&str, &Notation)| {
                let name = bare(name);
                (name.to_owned(), complete(node, values.get(name), release))
            };
            named.filter(|(name, _)| release.has(name)).map(field).collect()
        }
        (Notation::Sequence(of), Some(Value::Array(items))) if of[0].is_mapping() => {
            items.iter().map(|item| complete(&of[0], Some(item), release)).collect()
        }
        (_, Some(value)) if !value.is_null() => value.clone(),
        (Notation::Mapping(fields), _) if fields.contains_key("<map>") => json!({}),
        (Notation::Mapping(_), _) => Value::Null,
        (Notation::Sequence(_), _) => json!([]),
        (word, _) => match word.as_str().unwrap_or_default() {
            "str" => json!(""),
            "bool" => json!(false),
            // Printed as a list of numbers.
            "bytes" => json!([]),
            _ => json!(0),
        },
    }
}

/// Strips the mark from a name.
fn bare(name: &str) -> &str {
    name.trim_end_matches(['+', '^', '-'])
}

/// Returns every type of a release, sorted by name.
pub fn all(release: OmniRelease) -> &'static [ResourceType] {
    static KINDS: [OnceLock<Vec<ResourceType>>; 3] = [const { OnceLock::new() }; 3];
    KINDS[release as usize].get_or_init(|| {
        let lines = include_str!("kinds.tsv").lines().filter(|line| !line.starts_with('#'));
        let mut kinds: Vec<ResourceType> = lines.filter_map(|line| parse_line(line, release)).collect();
        kinds.sort_by(|a, b| a.typ.cmp(&b.typ));
        kinds
    })
}

fn parse_line(line: &str, release: OmniRelease) -> Option<ResourceType> {
    let mut parts = line.split('\t');
    let (name, display, namespace) = (parts.next()?, parts.next()?, parts.next()?);
    let (aliases, columns, spec) = (parts.next()?, parts.next()?, parts.next()?);
    let access = parts.next().unwrap_or_default().to_owned();
    if !release.has(name) {
        return None;
    }
    let columns = match columns.split_once(" || ") {
        Some((_, old)) if release.old() => old,
        Some((new, _)) => new,
        None => columns,
    };
    Some(ResourceType {
        typ: bare(name).to_owned(),
        display: display.to_owned(),
        namespace: namespace.to_owned(),
        aliases: aliases.split(',').filter(|alias| !alias.is_empty()).map(str::to_owned).collect(),
        columns: columns
            .split(';')
            .filter_map(|column| column.split_once('='))
            .map(|(name, path)| (name.to_owned(), path.to_owned()))
            .collect(),
        access,
        spec: spec.to_owned(),
        release,
        read: OnceLock::new(),
    })
}

/// Returns the type with exactly this full name.
pub fn by_type(release: OmniRelease, typ: &str) -> Option<&'static ResourceType> {
    let all = all(release);
    all.binary_search_by(|kind| kind.typ.as_str().cmp(typ)).ok().map(|at| &all[at])
}

/// Returns the types that a name on the command line may refer to, ignoring case (client/pkg/omnictl/resources/destroy.go
/// `ResolveType`).
pub fn resolve(release: OmniRelease, name: &str) -> Vec<&'static ResourceType> {
    let wanted = name.to_ascii_lowercase();
    all(release)
        .iter()
        .filter(|kind| {
            let id = kind.typ.to_ascii_lowercase();
            let mut prefixes = id.match_indices('.').map(|(at, _)| &id[..at]);
            id == wanted || kind.aliases.contains(&wanted) || prefixes.any(|prefix| prefix == wanted)
        })
        .collect()
}
