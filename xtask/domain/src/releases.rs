//! Facts about each release of Omni, omnictl, the provider, Talos and Proxmox, parsed from `data/releases.yaml`. Every entry
//! there cites its source. Beyond these facts, lookups return `None` (unknown), never a guess.

use std::sync::LazyLock;

use semver::{Version, VersionReq};
use serde::{Deserialize, Deserializer, de::Error};

use crate::version::Minor;

/// Returns the table that is compiled into this build.
pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        let text = include_str!("../../data/releases.yaml");
        serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/releases.yaml: {error}"))
    });
    &TABLE
}

/// The releases that an entry applies to: semver ranges, any of which may match.
#[derive(Debug, Clone)]
pub struct Affected(Vec<VersionReq>);

impl Affected {
    pub fn contains(&self, version: &Version) -> bool {
        self.0.iter().any(|range| range.matches(version))
    }
}

impl<'de> Deserialize<'de> for Affected {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Affected, D::Error> {
        let text = String::deserialize(reader)?;
        let ranges = text.split("||").map(|range| VersionReq::parse(range.trim()));
        ranges.collect::<Result<_, _>>().map(Affected).map_err(D::Error::custom)
    }
}

/// The parts of the file that the code uses; the other columns are for people reading it.
#[derive(Debug, Deserialize)]
pub struct Table {
    pub facts: Facts,
    pub recommended: Recommended,
    pub omni: Vec<OmniRelease>,
    api: Vec<ApiVersion>,
    etcd: Vec<EtcdVersion>,
    pub flags: Vec<FlagChange>,
    pub notes: Vec<Note>,
    pub bugs: Vec<Bug>,
    pub talos: Vec<TalosRelease>,
    pub provider: Vec<ProviderRelease>,
    pub template_keys: Vec<TemplateKey>,
    pub forbidden: Forbidden,
}

/// The newest release of each program that the facts cover.
#[derive(Debug, Deserialize)]
pub struct Facts {
    pub omni: Version,
    pub talos: Version,
    pub kubernetes: Version,
    pub provider: Version,
    pub date: String,
}

/// The versions that this kit recommends.
#[derive(Debug, Deserialize)]
pub struct Recommended {
    pub omni: Pin,
    pub omnictl: Pin,
    pub provider: Pin,
    pub talos: Pin,
    pub kubernetes: Pin,
    pub tailscale: Pin,
    pub tsidp: Pin,
    pub compose: Pin,
}

#[derive(Debug, Deserialize)]
pub struct Pin {
    pub version: Version,
}

/// A minor version of Omni, which is also that of the matching omnictl.
#[derive(Debug, Deserialize)]
pub struct OmniRelease {
    pub minor: Minor,
    /// The newest known patch release.
    pub newest: Option<Version>,
    /// `None` if unknown.
    pub talos: Option<TalosSupport>,
    /// The default Kubernetes version of new clusters.
    pub kubernetes: Option<Version>,
    /// Whether an upgrade to it migrates the store, so that the previous minor version can no longer open it.
    #[serde(default)]
    pub migrates: bool,
}

#[derive(Debug, Deserialize)]
pub struct TalosSupport {
    pub default: Version,
    /// The oldest version for new clusters and upgrades.
    pub min: Minor,
    /// The newest version; `None` if Omni has no such limit.
    pub max: Option<Minor>,
}

#[derive(Debug, Deserialize)]
struct ApiVersion {
    since: Version,
    version: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct EtcdVersion {
    since: Version,
    version: Version,
}

/// Flags and configuration keys that a release of Omni requires or no longer accepts.
#[derive(Debug, Deserialize)]
pub struct FlagChange {
    pub since: Version,
    #[serde(default)]
    pub requires: Vec<String>,
    #[serde(default)]
    pub removes: Vec<String>,
    #[serde(default)]
    pub removes_keys: Vec<String>,
    pub source: String,
}

/// A note to read before upgrading Omni to a release.
#[derive(Debug, Deserialize)]
pub struct Note {
    pub at: Version,
    pub text: String,
    pub source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Do not upgrade to an affected release.
    Block,
    Note,
}

/// A severe bug. If it names several programs, it only occurs with an affected release of each.
#[derive(Debug, Deserialize)]
pub struct Bug {
    pub id: String,
    pub omni: Option<Affected>,
    pub talos: Option<Affected>,
    pub provider: Option<Affected>,
    pub harm: String,
    pub fixed: Version,
    pub severity: Severity,
    pub source: String,
}

#[derive(Debug, Deserialize)]
pub struct TalosRelease {
    pub minor: Minor,
    pub newest: Option<Version>,
    /// The oldest and newest supported minor version of Kubernetes.
    pub kubernetes: (Minor, Minor),
    /// The oldest minor version that can be upgraded to this one.
    pub from: Option<Minor>,
}

#[derive(Debug, Deserialize)]
pub struct ProviderRelease {
    pub version: Version,
    /// The image tag, if it differs from the version.
    pub tag: Option<String>,
    /// The Omni releases that it works with; `None` for any contemporary release.
    pub omni: Option<Affected>,
    pub text: Option<String>,
    pub source: String,
}

/// A key of cluster templates that only newer versions of omnictl support.
#[derive(Debug, Deserialize)]
pub struct TemplateKey {
    pub since: Minor,
    /// The mappings that contain the key: a document kind and the path below it.
    pub r#in: Vec<String>,
    pub key: String,
}

#[derive(Debug, Deserialize)]
pub struct Forbidden {
    pub fields: Vec<ForbiddenFields>,
    pub documents: ForbiddenDocuments,
}

#[derive(Debug, Deserialize)]
pub struct ForbiddenFields {
    pub since: Minor,
    pub paths: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct ForbiddenDocuments {
    pub since: Minor,
    pub kinds: Vec<String>,
}

impl Table {
    /// Returns the facts about a release of Omni; `None` if unknown.
    pub fn omni(&self, version: &Version) -> Option<&OmniRelease> {
        let minor = Minor::from(version);
        self.omni.iter().find(|release| release.minor == minor)
    }

    /// Returns the Talos versions that a release of Omni supports; `None` if unknown.
    pub fn talos_of_omni(&self, omni: &Version) -> Option<&TalosSupport> {
        self.omni(omni)?.talos.as_ref()
    }

    /// Returns the API version of a release of Omni or omnictl; `None` if unknown.
    pub fn api(&self, version: &Version) -> Option<u32> {
        self.api.iter().rev().find(|entry| entry.since <= *version)?.version
    }

    /// Returns the image with the tools for the etcd of an Omni release; beyond the facts, that of the newest known etcd.
    pub fn etcd_image(&self, omni: &Version) -> String {
        let entry = self.etcd.iter().rev().find(|entry| entry.since <= *omni).or(self.etcd.first());
        let version = entry.map(|entry| entry.version.to_string()).unwrap_or_default();
        format!("gcr.io/etcd-development/etcd:v{version}")
    }

    pub fn talos(&self, version: &Version) -> Option<&TalosRelease> {
        let minor = Minor::from(version);
        self.talos.iter().find(|release| release.minor == minor)
    }

    /// Returns the oldest and newest minor version of Kubernetes that a Talos version supports; `None` if unknown.
    pub fn kubernetes_of_talos(&self, talos: Minor) -> Option<(Minor, Minor)> {
        self.talos.iter().find(|release| release.minor == talos).map(|release| release.kubernetes)
    }

    /// Returns the bugs that affect a set of versions. A bug of several programs requires all of their versions.
    pub fn bugs_of<'a>(
        &'a self,
        omni: Option<&'a Version>,
        talos: Option<&'a Version>,
        provider: Option<&'a Version>,
    ) -> impl Iterator<Item = &'a Bug> {
        let meets = |affected: &Option<Affected>, version: Option<&Version>| {
            affected.as_ref().is_none_or(|affected| version.is_some_and(|version| affected.contains(version)))
        };
        self.bugs
            .iter()
            .filter(move |bug| meets(&bug.omni, omni) && meets(&bug.talos, talos) && meets(&bug.provider, provider))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A misspelt key would be a fact that is never read.
    fn assert_named_and_sourced(value: &serde_yaml::Value) {
        const KEYS: &str = " facts recommended omni api etcd flags notes bugs talos provider template_keys forbidden \
             omnictl kubernetes tailscale tsidp compose seen date version why minor newest default min max machinery migrates \
             since requires removes removes_keys at text id harm fixed severity from below tag steps in key \
             fields documents paths kinds confidence source ";
        for (key, below) in value.as_mapping().into_iter().flatten() {
            let key = key.as_str().unwrap();
            assert!(KEYS.contains(&format!(" {key} ")), "{key}");
            let sourced = key != "confidence" || value["source"].is_string() && "ABC".contains(below.as_str().unwrap());
            assert!(sourced, "{value:?}");
            assert_named_and_sourced(below);
        }
        value.as_sequence().into_iter().flatten().for_each(assert_named_and_sourced);
    }

    fn version(text: &str) -> Version {
        crate::version::parse(text).unwrap()
    }

    #[test]
    fn table_is_complete_and_ordered() {
        let table = table();
        assert!(table.omni.windows(2).all(|pair| pair[0].minor < pair[1].minor));
        assert!(table.talos.windows(2).all(|pair| pair[0].minor < pair[1].minor));
        assert!(table.api.windows(2).all(|pair| pair[0].since < pair[1].since));
        let text: serde_yaml::Value = serde_yaml::from_str(include_str!("../../data/releases.yaml")).unwrap();
        assert_named_and_sourced(&text);
        let mut ids: Vec<&str> = table.bugs.iter().map(|bug| bug.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), table.bugs.len(), "a bug is listed once");
        for bug in &table.bugs {
            let affected = [&bug.omni, &bug.talos, &bug.provider].into_iter().flatten();
            assert!(affected.clone().count() > 0, "{} names no release", bug.id);
        }
        // The recommended versions are covered by the facts and have no blocking bugs.
        let pins = &table.recommended;
        let (omni, talos, provider) = (&pins.omni.version, &pins.talos.version, &pins.provider.version);
        assert!(
            table.omni(omni).is_some()
                && table.talos(talos).is_some()
                && table.api(omni) == table.api(&pins.omnictl.version)
        );
        let block = |bug: &&Bug| bug.severity == Severity::Block;
        assert_eq!(table.bugs_of(Some(omni), Some(talos), Some(provider)).filter(block).count(), 0);
        let (least, most) = table.kubernetes_of_talos(Minor::from(talos)).unwrap();
        assert!((least..=most).contains(&Minor::from(&pins.kubernetes.version)));
    }

    #[test]
    fn api_changes_inside_a_minor_and_is_unknown_beyond_the_facts() {
        let api = |text| table().api(&version(text));
        assert_eq!([api("1.4.4"), api("1.4.5"), api("1.10.6"), api("1.11.0")], [Some(1), Some(2), Some(2), Some(3)]);
        assert_eq!(api("1.12.0"), None);
        assert_eq!(table().talos_of_omni(&version("1.14.0")).map(|talos| talos.min), None);
    }

    #[test]
    fn meta_bug_needs_both_versions_and_spares_release_candidates() {
        let has = |omni, talos: Option<&str>| {
            let talos = talos.map(version);
            let omni = version(omni);
            table().bugs_of(Some(&omni), talos.as_ref(), None).any(|bug| bug.id == "omni-talos-meta")
        };
        assert!(has("1.9.3", Some("1.13.10")) && has("1.10.5", Some("1.14.0")));
        assert!(!has("1.10.6", Some("1.13.13")) && !has("1.9.3", Some("1.13.9")) && !has("1.9.3", None));
        assert!(!has("1.9.3", Some("1.14.0-rc.1")));
    }
}
