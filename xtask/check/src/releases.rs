//! What each release of Omni, its omnictl and Talos knows, as far as it was published by November 2026: the facts that
//! decide whether a rule applies. The facts end at [`NEWEST`]; nothing is claimed of a later release.

use std::fmt;

use domain::version::{self, Version};

use crate::stack;

/// The newest minor of Omni 1.x whose facts are here.
pub const NEWEST: u64 = 11;

/// A release of Omni 1.x, which is also the release of the omnictl that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Omni {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Omni {
    /// From an image tag or a version; `None` for `latest` and the like.
    pub fn of_tag(tag: &str) -> Option<Omni> {
        let version = version::parse(tag).ok().filter(|_| version::is_full(tag))?;
        Some(Omni { major: version.major, minor: version.minor, patch: version.patch })
    }

    /// From the text of a compose file that runs Omni: the tag of its image.
    pub fn of_compose(text: &str) -> Option<Omni> {
        let images = stack::images(text);
        let mut tags = images.values().filter(|image| is_omni(image)).filter_map(|image| stack::tag(image));
        Omni::of_tag(tags.next()?)
    }

    /// True if this release comes before 1.`minor`.`patch`.
    pub fn is_before(self, minor: u64, patch: u64) -> bool {
        self < Omni { major: 1, minor, patch }
    }

    /// True if the facts here cover this release.
    pub fn is_known(self) -> bool {
        self.is_before(NEWEST + 1, 0)
    }

    /// The oldest minor of Talos 1.x for new clusters, and the newest, if this release has such a limit
    /// (siderolabs/omni internal/pkg/constants MinTalosVersion, client/pkg/constants LatestSupportedTalosVersion).
    pub fn talos(self) -> Option<(u64, Option<u64>)> {
        Some(match (self.major, self.minor) {
            (1, 0 | 1) => (5, None),
            (1, 2..=4) => (6, None),
            (1, 5) => (7, None),
            (1, 6 | 7) => (8, None),
            (1, 8) => (9, None),
            (1, 9 | 10) => (9, Some(13)),
            (1, 11) => (9, Some(14)),
            _ => return None,
        })
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

/// True if Talos of this version refuses writes to its META keys, which Omni before 1.10.6 makes on every reconcile
/// (siderolabs/omni issue 3360): from 1.13.10 and 1.14.0 on, release candidates excepted.
pub fn locks_meta(talos: &Version) -> bool {
    let number = (talos.major, talos.minor, talos.patch);
    talos.pre.is_empty() && (number >= (1, 14, 0) || (talos.minor == 13 && number >= (1, 13, 10)))
}

/// Kinds of Talos's documents: the minor of omnictl 1.x that registers them first, the minor of Talos 1.x that reads
/// them first, and their names (registry.Register in siderolabs/talos pkg/machinery at the version of each go.mod).
#[rustfmt::skip]
const DOCUMENTS: &[(u64, u64, &[&str])] = &[
    (0, 9, &[
        "EventSinkConfig", "ExtensionServiceConfig", "KmsgLogConfig", "KubeSpanEndpointsConfig",
        "NetworkDefaultActionConfig", "NetworkRuleConfig", "SideroLinkConfig", "TrustedRootsConfig", "VolumeConfig",
        "WatchdogTimerConfig",
    ]),
    (0, 10, &["EthernetConfig", "PCIDriverRebindConfig", "UserVolumeConfig"]),
    (0, 11, &["ExistingVolumeConfig", "RawVolumeConfig", "SwapVolumeConfig", "ZswapConfig"]),
    (3, 12, &[
        "DHCPv4Config", "DHCPv6Config", "DummyLinkConfig", "HCloudVIPConfig", "HostnameConfig", "Layer2VIPConfig",
        "LinkAliasConfig", "LinkConfig", "OOMConfig", "StaticHostConfig",
    ]),
    (4, 12, &[
        "BondConfig", "BridgeConfig", "RegistryAuthConfig", "RegistryMirrorConfig", "RegistryTLSConfig",
        "ResolverConfig", "TimeSyncConfig", "VLANConfig", "WireguardConfig",
    ]),
    (5, 13, &["EnvironmentConfig", "ExternalVolumeConfig", "KubeSpanConfig", "TCPProbeConfig"]),
    (6, 13, &["BlackholeRouteConfig", "ImageVerificationConfig", "RoutingRuleConfig", "VRFConfig"]),
    (9, 14, &[
        "HTTPProbeConfig", "ImageCacheConfig", "KubeControllerManagerConfig", "KubeEtcdEncryptionConfig",
        "KubeSchedulerConfig",
    ]),
    (10, 14, &[
        "BGPInstanceConfig", "CRIBaseRuntimeSpecConfig", "CRICustomizationConfig", "DiscoveryIdentityConfig",
        "DiscoveryServiceConfig", "EtcFileConfig", "FilesystemScrubConfig", "FilesystemTrimConfig",
        "KernelModuleConfig", "KubeAPIServerCAConfig", "KubeAPIServerConfig", "KubeAdmissionControlConfig",
        "KubeAggregatorCAConfig", "KubeAuditPolicyConfig", "KubeAuthenticationConfig", "KubeAuthorizerConfig",
        "KubeClusterConfig", "KubeCoreDNSConfig", "KubeCredentialProviderConfig", "KubeExternalManifestConfig",
        "KubeFlannelCNIConfig", "KubeInlineManifestConfig", "KubeNetworkConfig", "KubeNodeConfig",
        "KubePrismConfig", "KubeProxyConfig", "KubeServiceAccountConfig", "KubeStaticPodConfig",
        "KubeTalosAPIAccessConfig", "KubeletConfig", "LVMLogicalVolumeConfig", "LVMVolumeGroupConfig",
        "RAIDArrayConfig", "SecurityProfileConfig", "SysctlConfig", "SysfsConfig", "UdevRulesConfig",
        "UnattendedInstallConfig", "VethConfig",
    ]),
    (11, 14, &["ContainerConfig"]),
];

/// The minors of omnictl 1.x and of Talos 1.x that know a kind of document first; `None` for a kind that none knows here.
pub fn document(kind: &str) -> Option<(u64, u64)> {
    DOCUMENTS.iter().find(|(.., kinds)| kinds.contains(&kind)).map(|(omnictl, talos, _)| (*omnictl, *talos))
}

/// All kinds of documents that are known here.
pub fn documents() -> impl Iterator<Item = &'static str> {
    DOCUMENTS.iter().flat_map(|(.., kinds)| kinds.iter().copied())
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

    #[test]
    fn documents_belong_to_their_releases() {
        assert_eq!(document("KubeProxyConfig"), Some((10, 14)));
        assert_eq!(document("LinkConfig"), Some((3, 12)));
        assert_eq!(document("Deployment"), None);
        // The sizes of the registries that were read: omnictl 1.9 and 1.10, Talos 1.12 and 1.13.
        let known = |omnictl, talos| {
            documents().filter(|kind| document(kind).is_some_and(|(o, t)| o <= omnictl && t <= talos)).count()
        };
        assert_eq!([known(9, 99), known(10, 99), known(99, 12), known(99, 13)], [49, 88, 36, 44]);
    }

    #[test]
    fn talos_locks_its_meta_keys_from_two_releases_on() {
        let locks = |text: &str| locks_meta(&version::parse(text).expect("a version"));
        for (text, expected) in
            [("v1.13.9", false), ("v1.13.10", true), ("v1.14.0-rc.1", false), ("v1.14.0", true), ("v1.12.11", false)]
        {
            assert_eq!(locks(text), expected, "{text}");
        }
    }
}
