//! The release of Omni and of its omnictl, which determines whether a rule applies. The facts are in [`domain::releases`].

use std::fmt;

use domain::releases::table;
use domain::version::{self, Version};

use crate::stack;

/// Returns the newest minor of Omni 1.x that the facts cover.
pub fn newest() -> u64 {
    table().facts.omni.minor
}

/// A release of Omni 1.x, and of the omnictl that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Omni {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Omni {
    /// Parses an image tag or a version; `None` for `latest` and the like.
    pub fn of_tag(tag: &str) -> Option<Omni> {
        let version = version::parse(tag).ok().filter(|_| version::is_full(tag))?;
        Some(Omni { major: version.major, minor: version.minor, patch: version.patch })
    }

    /// Reads the release from the text of a compose file that runs Omni: the tag of its image.
    pub fn of_compose(text: &str) -> Option<Omni> {
        let images = stack::images(text);
        let mut tags = images.values().filter(|image| is_omni(image)).filter_map(|image| stack::tag(image));
        Omni::of_tag(tags.next()?)
    }

    /// Returns true if this release is earlier than 1.`minor`.`patch`.
    pub fn is_before(self, minor: u64, patch: u64) -> bool {
        self < Omni { major: 1, minor, patch }
    }

    /// Returns true if the facts here cover this release.
    pub fn is_known(self) -> bool {
        self.is_before(newest() + 1, 0)
    }

    /// Returns the oldest minor of Talos 1.x for new clusters, and the newest, if it is limited; `None` beyond the facts.
    pub fn talos(self) -> Option<(u64, Option<u64>)> {
        let talos = table().talos_of_omni(&self.version())?;
        Some((talos.min.minor, talos.max.map(|newest| newest.minor)))
    }

    /// Returns the release as a version.
    pub fn version(self) -> Version {
        Version::new(self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Omni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

fn is_omni(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    name.split(':').next() == Some("omni")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn omni_is_read_from_its_image() {
        let compose = "services:\n  omni:\n    image: registry.example.com/siderolabs/omni:v1.10.4@sha256:00\n  \
                       provider:\n    image: ghcr.io/siderolabs/omni-infra-provider-proxmox:v0.2.0\n";
        let omni = Omni::of_compose(compose).expect("a version");
        assert_eq!(omni.to_string(), "v1.10.4");
        assert!(omni.is_before(10, 6) && !omni.is_before(10, 4) && omni.is_known());
        assert_eq!(omni.talos(), Some((9, Some(13))));
        for none in
            ["services:\n  omni:\n    image: ghcr.io/siderolabs/omni:latest\n", "services: {}", "image: x:v1.2.3"]
        {
            assert_eq!(Omni::of_compose(none), None, "{none}");
        }
    }
}
