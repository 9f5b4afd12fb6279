//! Versions as omnictl reads them, and which Kubernetes goes with which Talos.

/// Three numbers; a pre-release is told apart because it comes before its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    pub pre: Option<String>,
    /// False for a version that was written with less than three numbers.
    pub full: bool,
}

/// Reads a version as blang/semver's ParseTolerant does: `v` and missing numbers are allowed.
///
/// # Errors
/// What is wrong, in a few words.
pub fn parse(text: &str) -> Result<Version, String> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts = text.splitn(3, '.');
    let (major, minor, last) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if last.is_none() && text.contains(['+', '-']) {
        return Err("a short version cannot have a pre-release or build part".to_owned());
    }
    let (patch, tail) = match last {
        None => ("0", ""),
        Some(last) => last.find(['-', '+']).map_or((last, ""), |n| last.split_at(n)),
    };
    let number = |part: &str, what: &str| -> Result<u64, String> {
        let digits = part.trim_start_matches('0');
        let digits = if digits.is_empty() && !part.is_empty() { "0" } else { digits };
        match digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty() {
            true => digits.parse().map_err(|_| format!("{what} is too large")),
            false => Err(format!("{what} `{part}` is no number")),
        }
    };
    let (before_build, build) = tail.split_once('+').map_or((tail, None), |(a, b)| (a, Some(b)));
    let identifiers = |part: &str, numeric: bool| {
        part.split('.').all(|id| {
            let digits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
            let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            !id.is_empty() && plain && !(numeric && digits && id.len() > 1 && id.starts_with('0'))
        })
    };
    let pre = before_build.strip_prefix('-');
    if pre.is_some_and(|p| !identifiers(p, true)) || build.is_some_and(|b| !identifiers(b, false)) {
        return Err(format!("`{tail}` is no pre-release or build part"));
    }
    Ok(Version {
        major: number(major, "major version")?,
        minor: number(minor.unwrap_or("0"), "minor version")?,
        patch: number(patch, "patch version")?,
        pre: pre.map(str::to_owned),
        full: last.is_some(),
    })
}

impl Version {
    /// True if the version comes before `major.minor.0`.
    pub fn is_before(&self, major: u64, minor: u64) -> bool {
        (self.major, self.minor) < (major, minor)
            || ((self.major, self.minor, self.patch) == (major, minor, 0) && self.pre.is_some())
    }

    /// Without `v`, as Omni's resources have it.
    pub fn bare(&self) -> String {
        let pre = self.pre.as_ref().map_or(String::new(), |p| format!("-{p}"));
        format!("{}.{}.{}{pre}", self.major, self.minor, self.patch)
    }
}

/// The first and the last minor of Kubernetes 1.x that a minor of Talos 1.x supports
/// (siderolabs/talos pkg/machinery v1.14.0-alpha.1 compatibility/talos1NN).
pub fn kubernetes_of_talos(minor: u64) -> Option<(u64, u64)> {
    match minor {
        8 => Some((26, 31)),
        9..=14 => Some((minor + 18, minor + 23)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerant_as_omnictl() {
        for good in ["v1.2.3", "1.2", "1", "v1.13.0-alpha.1", "1.2.3+build", " v1.2.3", "01.02.03", "1.2.3-0a"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "v", "latest", "1.2.x", "1.2-rc", "1.2.3-", "1.2.3-01", "1..2", "1.2.3.4", "vv1.2.3", "-1.2.3"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let version = parse("v1.5.0-beta.1").expect("valid");
        assert!(version.is_before(1, 5) && !version.is_before(1, 4));
        assert_eq!(kubernetes_of_talos(13), Some((31, 36)));
    }
}
