//! The releases of the provider that behave differently.

use crate::stack;
use domain::releases::table;
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// A release of omni-infra-provider-proxmox, by the tag of its image; ordered from old to new.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Display, EnumString, IntoStaticStr, VariantArray,
)]
pub enum Provider {
    /// The last commit before the first release (February 2026).
    #[default]
    #[strum(serialize = "0d9fd58")]
    Untagged,
    #[strum(serialize = "v0.1.0")]
    V0_1,
    #[strum(serialize = "v0.2.0")]
    V0_2,
    #[strum(serialize = "v0.3.0")]
    V0_3,
}

impl Provider {
    /// Returns the release for an image tag: the newest known release that is not newer. `None` for a tag without a
    /// version, such as `latest`.
    pub fn of_tag(tag: &str) -> Option<Provider> {
        if tag.starts_with("0d9fd58") {
            return Some(Provider::Untagged);
        }
        let mut parts = tag.strip_prefix('v')?.split(['.', '-']).map(|part| part.parse::<u32>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        Some(match (major, minor) {
            (0, 0) => Provider::Untagged,
            (0, 1) => Provider::V0_1,
            (0, 2) => Provider::V0_2,
            _ => Provider::V0_3,
        })
    }

    /// Returns the release that this project pins.
    pub fn pinned() -> Provider {
        let tag = format!("v{}", table().recommended.provider.version);
        Provider::of_tag(&tag).unwrap_or(Provider::V0_3)
    }

    /// Reads the release from the text of a compose file that runs the provider: the tag of its image.
    pub fn of_compose(text: &str) -> Option<Provider> {
        let images = stack::images(text);
        let image = images.values().find(|image| image.contains("omni-infra-provider-proxmox:"))?;
        Provider::of_tag(stack::tag(image)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_tags_are_parsed() {
        for (tag, release) in [
            ("v0.1.4", Some(Provider::V0_1)),
            ("v0.2.0", Some(Provider::V0_2)),
            ("v0.3.0-beta.1", Some(Provider::V0_3)),
            ("v1.4.0", Some(Provider::V0_3)),
            ("0d9fd58", Some(Provider::Untagged)),
            ("latest", None),
            ("v1", None),
        ] {
            assert_eq!(Provider::of_tag(tag), release, "{tag}");
        }
        let compose = "services:\n  a: {image: ghcr.io/siderolabs/omni:v1.9.3}\n  b:\n    image: ghcr.io/siderolabs/omni-infra-provider-proxmox:v0.1.0@sha256:00 # pinned\n";
        assert_eq!(Provider::of_compose(compose), Some(Provider::V0_1));
        assert_eq!(Provider::of_compose("image: x"), None);
    }
}
