//! Backups of the Omni stack: the contents of the archive, its file name, and which archives to keep.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::version;
use crate::words::count;

/// The version of the archive layout. Version 1 had no checksum of the manifest.
pub const FORMAT: u32 = 2;
/// The manifest, which describes the other parts, and its SHA-256 checksum.
pub const MANIFEST: &str = "manifest.json";
pub const MANIFEST_SUM: &str = "manifest.sha256";
/// The snapshot of the embedded etcd.
pub const ETCD: &str = "etcd.db";
/// The SQLite database; its write-ahead log, if any, is in the same directory.
pub const SQLITE: &str = "sqlite/omni.db";
/// `docker/.env`.
pub const ENV: &str = "docker/env";
/// The key of the store; only in encrypted archives.
pub const STORE_KEY: &str = "docker/omni.asc";
pub const CONFIG: &str = "docker/config.yaml";
pub const SITE: &str = "docker/site.yaml";
/// The directory of the files that the site settings refer to.
pub const SITE_FILES: &str = "docker/site";
/// The directory of additional providers.
pub const PROVIDERS: &str = "docker/providers";
/// The certificate authorities of additional providers, by provider ID.
pub const PROVIDER_CAS: &str = "tls/providers";
pub const COMPOSE: &str = "docker/compose.yaml";
pub const TLS_CERT: &str = "tls/fullchain.pem";
pub const TLS_KEY: &str = "tls/privkey.pem";
pub const CA: &str = "tls/ca.pem";
/// The identity of the sidecar on the tailnet, with its directory.
pub const TAILSCALE: &str = "tailscale/tailscaled.state";
/// The parts without which a new host cannot take over.
const NEEDED: [&str; 7] = [ETCD, SQLITE, ENV, COMPOSE, TLS_CERT, TLS_KEY, TAILSCALE];

/// A file in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub sha256: String,
    pub bytes: u64,
}

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// When the backup was started.
    pub made_at: String,
    /// The version of each service.
    pub versions: BTreeMap<String, String>,
    /// `OMNI_ACCOUNT_UUID`.
    pub account: String,
    /// The keys that open the store, by slot name.
    pub key_slots: BTreeSet<String>,
    /// The number of resources in Omni by type.
    pub counts: BTreeMap<String, u64>,
    pub parts: BTreeMap<String, Part>,
}

impl Manifest {
    /// Parses `manifest.json`.
    ///
    /// # Errors
    /// Returns the reason if it is not a backup manifest that this version supports.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let found: Versioned = serde_json::from_slice(bytes).map_err(|error| format!("{MANIFEST}: {error}"))?;
        if !(1..=FORMAT).contains(&found.format) {
            let why = format!(
                "its format is {}, but this version of the tasks reads only formats up to {FORMAT}",
                found.format
            );
            return Err(format!("{why}: use the checkout that created it"));
        }
        serde_json::from_slice(bytes).map_err(|error| format!("{MANIFEST}: {error}"))
    }

    /// Returns the parts that are missing, changed or unexpected, given the files found and the checksum of the manifest.
    pub fn differences(&self, found: &BTreeMap<String, Part>, sum: Option<&str>) -> Vec<String> {
        // Format 1 has no checksum, so a checksum file next to it is from elsewhere.
        let wanted = found.get(MANIFEST).filter(|_| self.format > 1).map(|part| part.sha256.as_str());
        let changed = (sum.map(str::trim) != wanted).then(|| format!("{MANIFEST} was changed: its checksum is wrong"));
        let needed = NEEDED.iter().filter(|name| !self.parts.contains_key(**name));
        let needed = needed.map(|name| format!("{name} is not part of the backup"));
        let parts = self.parts.iter().filter_map(|(name, part)| match found.get(name) {
            None => Some(format!("{name} is missing")),
            Some(other) if other == part => None,
            Some(other) if other.bytes != part.bytes => {
                Some(format!("{name} has {}, not {}", count(other.bytes, "byte"), part.bytes))
            }
            Some(_) => Some(format!("{name} was changed: its checksum is wrong")),
        });
        let own = |name: &str| name == MANIFEST || name == MANIFEST_SUM || self.parts.contains_key(name);
        let foreign = found.keys().filter(|name| !own(name));
        changed
            .into_iter()
            .chain(needed)
            .chain(parts)
            .chain(foreign.map(|name| format!("{name} does not belong to the backup")))
            .collect()
    }

    /// Returns the number of resources of a type in Omni.
    pub fn count(&self, kind: &str) -> u64 {
        self.counts.get(kind).copied().unwrap_or_default()
    }

    /// Whether an Omni of version `pinned` may open the store: another minor version would migrate it or fail to read it.
    pub fn can_be_opened_by(&self, pinned: &str) -> bool {
        let omni = self.versions.get("omni").and_then(|version| version::minor(version));
        omni.is_some() && omni == version::minor(pinned)
    }
}

/// Returns the file name of a backup started at `seconds` since the Unix epoch: `omni-scale-20261129T061500Z.tar.gz`, plus the
/// extension of the encryption program.
pub fn file_name(seconds: u64, ending: &str) -> String {
    format!("omni-scale-{}.tar.gz{ending}", clock::rfc3339_of(seconds).replace(['-', ':'], ""))
}

/// Returns when the backup with this file name was started; `None` for any other file.
pub fn started_at(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("omni-scale-")?;
    let (time, ending) = rest.split_once(".tar.gz")?;
    let seconds = clock::parse_rfc3339(time)?;
    (["", ".age", ".gpg"].contains(&ending) && file_name(seconds, ending) == name).then_some(seconds)
}

/// Retention rule: for how many days and weeks to keep the newest backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    daily: usize,
    weekly: usize,
}

const DAY: u64 = 86_400;

impl Retention {
    /// Parses `daily=7,weekly=4`.
    ///
    /// # Errors
    /// Returns the reason if the rule is not valid.
    pub fn parse(text: &str) -> Result<Retention, String> {
        let mut keep = Retention { daily: 0, weekly: 0 };
        for part in text.split(',') {
            let (period, number) = part.split_once('=').unwrap_or((part, ""));
            let number = number.parse().ok().filter(|number| (1..=1000).contains(number));
            match (period, number) {
                ("daily", Some(number)) => keep.daily = number,
                ("weekly", Some(number)) => keep.weekly = number,
                _ => return Err(format!("{part:?} is not a valid rule: write daily=7,weekly=4")),
            }
        }
        Ok(keep)
    }

    /// Returns the backups among `names` that need not be kept. The newest backup is always kept, and so is the newest encrypted
    /// one: only an encrypted backup may contain the key of the store.
    pub fn expired(self, names: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut backups: Vec<(u64, String)> =
            names.into_iter().filter_map(|name| Some((started_at(&name)?, name))).collect();
        backups.sort_unstable_by(|one, other| other.cmp(one));
        let (mut days, mut weeks) = (BTreeSet::new(), BTreeSet::new());
        let mut kept = |seconds: u64| {
            // 1 January 1970 was a Thursday; weeks start on Monday.
            let (day, week) = (seconds / DAY, (seconds / DAY + 3) / 7);
            let of_day = days.len() < self.daily && days.insert(day);
            let of_week = weeks.len() < self.weekly && weeks.insert(week);
            of_day || of_week
        };
        let encrypted = backups.iter().position(|(_, name)| !name.ends_with(".tar.gz"));
        let expired = |(at, (seconds, name))| (!kept(seconds) && at > 0 && Some(at) != encrypted).then_some(name);
        backups.into_iter().enumerate().filter_map(expired).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn started_at_accepts_only_backup_names() {
        assert_eq!(file_name(1_795_316_645, ".age"), "omni-scale-20261122T030405Z.tar.gz.age");
        for ending in ["", ".age", ".gpg"] {
            assert_eq!(started_at(&file_name(1_795_316_645, ending)), Some(1_795_316_645));
        }
        let names = "omni-scale-20261122T030405Z.tar|omni-scale-20261122T030405Z.tar.gz.tmp|\
             omni-scale-20261122T030465Z.tar.gz|omni-scale-2026-11-22T030405Z.tar.gz|\
             my-omni-scale-20261122T030405Z.tar.gz|omni-scale-größe.tar.gz|omni-scale-.tar.gz";
        for name in names.split('|') {
            assert_eq!(started_at(name), None, "{name}");
        }
    }

    #[test]
    fn retention_keeps_newest_of_each_day_and_week() {
        // Twice a day for 40 days, the last on Sunday, 22 November 2026.
        let names: Vec<String> = (0..80)
            .map(|half| file_name(1_795_316_645 - half * DAY / 2, if half % 3 == 0 { ".gpg" } else { "" }))
            .collect();
        let left = |rule: &str| {
            let expired =
                Retention::parse(rule).unwrap().expired(names.iter().cloned().chain(["notes.txt".to_owned()]));
            assert!(!expired.contains(&"notes.txt".to_owned()));
            let days = names.iter().filter(|name| !expired.contains(name)).map(|name| name[15..19].to_owned());
            days.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left("daily=3"), "1122 1121 1120");
        assert_eq!(left("daily=2,weekly=3"), "1122 1121 1115 1108");
        assert_eq!(left("weekly=1"), "1122");
        // The last backup with the key of the store.
        let of = |hours: u64, ending: &str| file_name(1_795_316_645 - hours * 3600, ending);
        let mixed = [of(0, ""), of(1, ".age"), of(2, ".age"), of(3, "")];
        assert_eq!(Retention::parse("daily=1").unwrap().expired(mixed), [of(2, ".age"), of(3, "")]);
        for bad in ["", "daily", "daily=0", "daily=x", "monthly=1", "daily=7;weekly=4"] {
            assert!(Retention::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn differences_name_missing_and_changed_parts() {
        let part = |text: &str| Part { sha256: text.to_owned(), bytes: text.len() as u64 };
        let parts: BTreeMap<String, Part> = NEEDED.iter().map(|name| ((*name).to_owned(), part("abc"))).collect();
        let manifest = Manifest {
            format: FORMAT,
            made_at: String::new(),
            versions: [("omni".to_owned(), "v1.10.6".to_owned())].into(),
            account: String::new(),
            key_slots: BTreeSet::new(),
            counts: BTreeMap::new(),
            parts: parts.clone(),
        };
        assert!(manifest.differences(&parts, None).is_empty());
        let mut found = parts.clone();
        found.remove(SQLITE);
        found.insert(ETCD.to_owned(), part("abd"));
        found.insert(ENV.to_owned(), part("ab"));
        found.insert("x".to_owned(), part("x"));
        let wanted = [
            "docker/env has 2 bytes, not 3",
            "etcd.db was changed: its checksum is wrong",
            "sqlite/omni.db is missing",
            "x does not belong to the backup",
        ];
        assert_eq!(manifest.differences(&found, None), wanted);
        let without = Manifest { parts: BTreeMap::new(), ..manifest.clone() };
        assert_eq!(without.differences(&BTreeMap::new(), None).len(), NEEDED.len());
        assert!(
            manifest.can_be_opened_by("v1.10.4")
                && !manifest.can_be_opened_by("v1.11.0")
                && !without.can_be_opened_by("latest")
        );
        found =
            [(MANIFEST.to_owned(), part("m")), (MANIFEST_SUM.to_owned(), part("s"))].into_iter().chain(parts).collect();
        assert!(manifest.differences(&found, Some("m\n")).is_empty());
        let older = Manifest { format: 1, ..manifest.clone() };
        for (manifest, sum) in [(&manifest, Some("n")), (&manifest, None), (&older, Some("m"))] {
            assert_eq!(manifest.differences(&found, sum), ["manifest.json was changed: its checksum is wrong"]);
        }
        let text = serde_json::to_string(&manifest).unwrap();
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest));
        for format in ["0", "3"] {
            let other = Manifest::parse(text.replace("\"format\":2", &format!("\"format\":{format}")).as_bytes());
            assert!(other.unwrap_err().contains(&format!("its format is {format}")));
        }
        assert!(Manifest::parse(b"{}").is_err() && Manifest::parse(b"").is_err());
    }
}
