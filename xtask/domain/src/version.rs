//! Versions of Omni, omnictl, the provider, Talos and Kubernetes: one parser and one ordering (semver) for the workspace.

use std::fmt;

pub use semver::Version;
use serde::{Deserialize, Deserializer, de::Error};

/// A minor version: `1.10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minor {
    pub major: u64,
    pub minor: u64,
}

impl Minor {
    pub const fn new(major: u64, minor: u64) -> Minor {
        Minor { major, minor }
    }
}

impl From<&Version> for Minor {
    fn from(version: &Version) -> Minor {
        Minor { major: version.major, minor: version.minor }
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl<'de> Deserialize<'de> for Minor {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Minor, D::Error> {
        let text = String::deserialize(reader)?;
        minor(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a minor")))
    }
}

/// Parses a version as omnictl does (blang/semver `ParseTolerant`): `v`, leading zeros and missing numbers are allowed.
///
/// # Errors
/// Returns a short reason.
pub fn parse(text: &str) -> Result<Version, String> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let (core, tail) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let mut numbers: Vec<&str> = core.split('.').map(without_zeros).collect();
    if numbers.len() < 3 && !tail.is_empty() {
        return Err("a short version cannot have a pre-release or build part".to_owned());
    }
    numbers.resize(numbers.len().max(3), "0");
    Version::parse(&format!("{}{tail}", numbers.join("."))).map_err(|error| error.to_string())
}

fn without_zeros(number: &str) -> &str {
    let digits = number.trim_start_matches('0');
    if digits.is_empty() && !number.is_empty() { "0" } else { digits }
}

/// Whether all three numbers are present.
pub fn is_full(text: &str) -> bool {
    text.split(['-', '+']).next().unwrap_or_default().matches('.').count() == 2
}

/// Whether `version` is lower than `major.minor.0`, as are its pre-releases.
pub fn is_before(version: &Version, major: u64, minor: u64) -> bool {
    version.cmp_precedence(&Version::new(major, minor, 0)).is_lt()
}

/// Whether two spellings mean the same version; texts that are not versions are compared literally.
pub fn is_same_version(a: &str, b: &str) -> bool {
    match (parse(a), parse(b)) {
        (Ok(a), Ok(b)) => a.cmp_precedence(&b).is_eq(),
        _ => a == b,
    }
}

/// Returns the version without `v` and build metadata, as in Omni's resources.
pub fn bare(version: &Version) -> String {
    Version { build: semver::BuildMetadata::EMPTY, ..version.clone() }.to_string()
}

/// Returns the minor version of a text such as `v1.9.3`.
pub fn minor(text: &str) -> Option<Minor> {
    parse(text).ok().as_ref().map(Minor::from)
}

/// Returns the first three numbers without the suffix of a distribution: `2.23.1` for `2.23.1-0ubuntu1~22.04.1`.
pub fn numbers(text: &str) -> Option<(u64, u64, u64)> {
    let text = text.trim().trim_start_matches('v');
    let core = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    parse(core).ok().map(|version| (version.major, version.minor, version.patch))
}

/// Sorts oldest first: a pre-release comes before its release, and texts that are not versions come first.
pub fn sort<T>(items: &mut [T], text: impl Fn(&T) -> &str) {
    items.sort_by_cached_key(|item| (parse(text(item)).ok(), text(item).to_owned()));
}

/// Returns the newest release. Pre-releases are ignored; they must be requested by name.
pub fn newest_release<'a>(versions: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let release = |text: &'a str| parse(text).ok().filter(|version| version.pre.is_empty()).map(|found| (found, text));
    versions.into_iter().filter_map(release).max().map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_is_as_tolerant_as_omnictl() {
        for good in ["v1.2.3", "1.2", "1", "v1.13.0-alpha.1", "1.2.3+build", " v1.2.3", "01.02.03", "1.2.3-0a"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "v", "latest", "1.2.x", "1.2-rc", "1.2.3-", "1.2.3-01", "1..2", "1.2.3.4", "vv1.2.3", "-1.2.3"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(is_full("v1.2.3-rc.1") && !is_full("v1.2") && !is_full("1"));
        assert_eq!(bare(&parse("v1.14.0-beta.1+x").unwrap()), "1.14.0-beta.1");
        assert!(
            is_same_version("v1.9.3", "1.9.3")
                && !is_same_version("v1.9.3", "v1.9.3-rc.1")
                && is_same_version("dev", "dev")
        );
        assert_eq!((minor("v1.10.4"), minor("0d9fd58"), minor("latest")), (Some(Minor::new(1, 10)), None, None));
    }

    #[test]
    fn pre_release_sorts_before_its_release() {
        let version = parse("v1.5.0-beta.1").unwrap();
        assert!(is_before(&version, 1, 5) && !is_before(&version, 1, 4));
        let mut found = ["1.14.0", "1.9.9", "x", "1.14.0-beta.1", "1.14.0-alpha.10", "1.14.0-alpha.2", "1.13.10"];
        sort(&mut found, |text| text);
        let sorted = ["x", "1.9.9", "1.13.10", "1.14.0-alpha.2", "1.14.0-alpha.10", "1.14.0-beta.1", "1.14.0"];
        assert_eq!(found, sorted);
    }

    #[test]
    fn newest_release_ignores_pre_releases() {
        assert_eq!(newest_release(["1.13.9", "1.14.0-beta.1", "1.13.10"]), Some("1.13.10"));
        assert_eq!(newest_release(["1.14.0-beta.1", "latest"]), None);
    }

    #[test]
    fn numbers_ignore_what_distributions_append() {
        for text in ["2.23.1", "v2.23.1-desktop.1", "2.23.1-0ubuntu1~22.04.1", "2.23.1+ds1-0ubuntu1"] {
            assert_eq!(numbers(text), Some((2, 23, 1)), "{text}");
        }
        assert_eq!((numbers("dev"), numbers("20.10")), (None, Some((20, 10, 0))));
    }
}
