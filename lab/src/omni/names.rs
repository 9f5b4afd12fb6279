//! The resource types and labels that the lab uses (siderolabs/omni v1.9.3 client/pkg/omni/resources).

macro_rules! names {
    ($before:literal, $after:literal: $($name:ident $text:literal)*) => {
        $(#[doc = concat!("`", $before, $text, $after, "`")]
        pub const $name: &str = concat!($before, $text, $after);)*
    };
}

names! { "", ".omni.sidero.dev":
    CLUSTER "Clusters"
    CLUSTER_STATUS "ClusterStatuses"
    CLUSTER_BOOTSTRAP_STATUS "ClusterBootstrapStatuses"
    MACHINE_SET "MachineSets"
    MACHINE_SET_STATUS "MachineSetStatuses"
    MACHINE_SET_NODE "MachineSetNodes"
    MACHINE_CLASS "MachineClasses"
    MACHINE_REQUEST_SET "MachineRequestSets"
    MACHINE_REQUEST "MachineRequests"
    MACHINE_REQUEST_STATUS "MachineRequestStatuses"
    CLUSTER_MACHINE_REQUEST_STATUS "ClusterMachineRequestStatuses"
    MACHINE "Machines"
    MACHINE_STATUS "MachineStatuses"
    CLUSTER_MACHINE "ClusterMachines"
    CLUSTER_MACHINE_STATUS "ClusterMachineStatuses"
    CONTROL_PLANE_STATUS "ControlPlaneStatuses"
    LOAD_BALANCER_STATUS "LoadBalancerStatuses"
    TALOS_EXTENSIONS "TalosExtensions"
    TALOS_UPGRADE_STATUS "TalosUpgradeStatuses"
    KUBERNETES_STATUS "KubernetesStatuses"
    KUBERNETES_UPGRADE_STATUS "KubernetesUpgradeStatuses"
    LINK "Links"
    CONFIG_PATCH "ConfigPatches"
    EXTENSIONS_CONFIGURATION "ExtensionsConfigurations"
    KERNEL_ARGS "KernelArgs"
    KUBERNETES_MANIFEST_GROUP "KubernetesManifestGroups"
    KUBERNETES_HEALTH_CHECK "KubernetesHealthChecks"
    TALOS_VERSION "TalosVersions"
    KUBERNETES_VERSION "KubernetesVersions"
    INFRA_PROVIDER "InfraProviders"
    INFRA_PROVIDER_STATUS "InfraProviderStatuses"
    INFRA_PROVIDER_HEALTH "InfraProviderHealthStatuses"
    INFRA_PROVIDER_COMBINED "InfraProviderCombinedStatuses"
    CURRENT_USER "CurrentUsers"
    CLUSTER_PERMISSIONS "ClusterPermissions"
    IDENTITY "Identities"
}

/// `SysVersions.system.sidero.dev`, namespace `ephemeral`
pub const SYS_VERSION: &str = "SysVersions.system.sidero.dev";

/// The namespace of resources that users and most controllers create.
pub const DEFAULT: &str = "default";
/// The namespace that providers read and write.
pub const INFRA: &str = "infra-provider";
/// The namespace of provider heartbeats.
pub const INFRA_EPHEMERAL: &str = "infra-provider-ephemeral";
/// The namespace of resources that are not stored on disk.
pub const EPHEMERAL: &str = "ephemeral";

/// The prefix of labels that users must not set.
pub const SYSTEM_PREFIX: &str = "omni.sidero.dev/";

// Labels (`L_`) and annotations (`A_`).
names! { "omni.sidero.dev/", "":
    L_CLUSTER "cluster"
    L_MACHINE_SET "machine-set"
    L_CONTROL_PLANE "role-controlplane"
    L_WORKER "role-worker"
    L_PROVIDER "infra-provider-id"
    L_REQUEST "machine-request"
    L_REQUEST_SET "machine-request-set"
    L_REQUEST_IN_USE "machine-request-in-use"
    L_CONNECTED "connected"
    L_DISCONNECTED "disconnected"
    L_MANAGED_NODE "managed-by-machine-set-node-controller"
    L_NODE_NAME "node-name"
    A_TEMPLATE "managed-by-cluster-templates"
    A_CLUSTER_LOCKED "cluster-locked"
}
