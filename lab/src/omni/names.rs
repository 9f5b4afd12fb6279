//! The resource types and labels that the lab works with (siderolabs/omni v1.9.3 client/pkg/omni/resources).

/// `Clusters.omni.sidero.dev`
pub const CLUSTER: &str = "Clusters.omni.sidero.dev";
/// `ClusterStatuses.omni.sidero.dev`
pub const CLUSTER_STATUS: &str = "ClusterStatuses.omni.sidero.dev";
/// `ClusterBootstrapStatuses.omni.sidero.dev`
pub const CLUSTER_BOOTSTRAP_STATUS: &str = "ClusterBootstrapStatuses.omni.sidero.dev";
/// `MachineSets.omni.sidero.dev`
pub const MACHINE_SET: &str = "MachineSets.omni.sidero.dev";
/// `MachineSetStatuses.omni.sidero.dev`
pub const MACHINE_SET_STATUS: &str = "MachineSetStatuses.omni.sidero.dev";
/// `MachineSetNodes.omni.sidero.dev`
pub const MACHINE_SET_NODE: &str = "MachineSetNodes.omni.sidero.dev";
/// `MachineClasses.omni.sidero.dev`
pub const MACHINE_CLASS: &str = "MachineClasses.omni.sidero.dev";
/// `MachineRequestSets.omni.sidero.dev`
pub const MACHINE_REQUEST_SET: &str = "MachineRequestSets.omni.sidero.dev";
/// `MachineRequests.omni.sidero.dev`, namespace `infra-provider`
pub const MACHINE_REQUEST: &str = "MachineRequests.omni.sidero.dev";
/// `MachineRequestStatuses.omni.sidero.dev`, namespace `infra-provider`
pub const MACHINE_REQUEST_STATUS: &str = "MachineRequestStatuses.omni.sidero.dev";
/// `ClusterMachineRequestStatuses.omni.sidero.dev`
pub const CLUSTER_MACHINE_REQUEST_STATUS: &str = "ClusterMachineRequestStatuses.omni.sidero.dev";
/// `Machines.omni.sidero.dev`
pub const MACHINE: &str = "Machines.omni.sidero.dev";
/// `MachineStatuses.omni.sidero.dev`
pub const MACHINE_STATUS: &str = "MachineStatuses.omni.sidero.dev";
/// `ClusterMachines.omni.sidero.dev`
pub const CLUSTER_MACHINE: &str = "ClusterMachines.omni.sidero.dev";
/// `ClusterMachineStatuses.omni.sidero.dev`
pub const CLUSTER_MACHINE_STATUS: &str = "ClusterMachineStatuses.omni.sidero.dev";
/// `ControlPlaneStatuses.omni.sidero.dev`
pub const CONTROL_PLANE_STATUS: &str = "ControlPlaneStatuses.omni.sidero.dev";
/// `LoadBalancerStatuses.omni.sidero.dev`
pub const LOAD_BALANCER_STATUS: &str = "LoadBalancerStatuses.omni.sidero.dev";
/// `TalosExtensions.omni.sidero.dev`
pub const TALOS_EXTENSIONS: &str = "TalosExtensions.omni.sidero.dev";
/// `TalosUpgradeStatuses.omni.sidero.dev`
pub const TALOS_UPGRADE_STATUS: &str = "TalosUpgradeStatuses.omni.sidero.dev";
/// `KubernetesUpgradeStatuses.omni.sidero.dev`
pub const KUBERNETES_UPGRADE_STATUS: &str = "KubernetesUpgradeStatuses.omni.sidero.dev";
/// `Links.omni.sidero.dev`
pub const LINK: &str = "Links.omni.sidero.dev";
/// `ConfigPatches.omni.sidero.dev`
pub const CONFIG_PATCH: &str = "ConfigPatches.omni.sidero.dev";
/// `ExtensionsConfigurations.omni.sidero.dev`
pub const EXTENSIONS_CONFIGURATION: &str = "ExtensionsConfigurations.omni.sidero.dev";
/// `KernelArgs.omni.sidero.dev`
pub const KERNEL_ARGS: &str = "KernelArgs.omni.sidero.dev";
/// `KubernetesManifestGroups.omni.sidero.dev`
pub const KUBERNETES_MANIFEST_GROUP: &str = "KubernetesManifestGroups.omni.sidero.dev";
/// `KubernetesHealthChecks.omni.sidero.dev`
pub const KUBERNETES_HEALTH_CHECK: &str = "KubernetesHealthChecks.omni.sidero.dev";
/// `TalosVersions.omni.sidero.dev`
pub const TALOS_VERSION: &str = "TalosVersions.omni.sidero.dev";
/// `KubernetesVersions.omni.sidero.dev`
pub const KUBERNETES_VERSION: &str = "KubernetesVersions.omni.sidero.dev";
/// `InfraProviders.omni.sidero.dev`, namespace `infra-provider`
pub const INFRA_PROVIDER: &str = "InfraProviders.omni.sidero.dev";
/// `InfraProviderStatuses.omni.sidero.dev`, namespace `infra-provider`
pub const INFRA_PROVIDER_STATUS: &str = "InfraProviderStatuses.omni.sidero.dev";
/// `InfraProviderHealthStatuses.omni.sidero.dev`, namespace `infra-provider-ephemeral`
pub const INFRA_PROVIDER_HEALTH: &str = "InfraProviderHealthStatuses.omni.sidero.dev";
/// `InfraProviderCombinedStatuses.omni.sidero.dev`, namespace `ephemeral`
pub const INFRA_PROVIDER_COMBINED: &str = "InfraProviderCombinedStatuses.omni.sidero.dev";
/// `SysVersions.system.sidero.dev`, namespace `ephemeral`
pub const SYS_VERSION: &str = "SysVersions.system.sidero.dev";
/// Who asks.
pub const CURRENT_USER: &str = "CurrentUsers.omni.sidero.dev";
/// What who asks may do with a cluster.
pub const CLUSTER_PERMISSIONS: &str = "ClusterPermissions.omni.sidero.dev";
/// `Users.omni.sidero.dev`
pub const USER: &str = "Users.omni.sidero.dev";
/// `Identities.omni.sidero.dev`
pub const IDENTITY: &str = "Identities.omni.sidero.dev";
/// `ServiceAccountStatuses.omni.sidero.dev`, namespace `ephemeral`
pub const SERVICE_ACCOUNT_STATUS: &str = "ServiceAccountStatuses.omni.sidero.dev";

/// The namespace of what users and most controllers make.
pub const DEFAULT: &str = "default";
/// The namespace that providers read and write.
pub const INFRA: &str = "infra-provider";
/// The namespace of provider heartbeats.
pub const INFRA_EPHEMERAL: &str = "infra-provider-ephemeral";
/// The namespace of what is not kept on disk.
pub const EPHEMERAL: &str = "ephemeral";

/// Label: the cluster a resource belongs to.
pub const L_CLUSTER: &str = "omni.sidero.dev/cluster";
/// Label: the machine set.
pub const L_MACHINE_SET: &str = "omni.sidero.dev/machine-set";
/// Label: a control plane set or node.
pub const L_CONTROL_PLANE: &str = "omni.sidero.dev/role-controlplane";
/// Label: a worker set or node.
pub const L_WORKER: &str = "omni.sidero.dev/role-worker";
/// Label: the infrastructure provider.
pub const L_PROVIDER: &str = "omni.sidero.dev/infra-provider-id";
/// Label: the machine request that a machine came from.
pub const L_REQUEST: &str = "omni.sidero.dev/machine-request";
/// Label: the machine request set.
pub const L_REQUEST_SET: &str = "omni.sidero.dev/machine-request-set";
/// Label: a request whose machine is in its cluster.
pub const L_REQUEST_IN_USE: &str = "omni.sidero.dev/machine-request-in-use";
/// Label: the machine answers.
pub const L_CONNECTED: &str = "omni.sidero.dev/connected";
/// Label: a machine that only its machine set may take.
pub const L_NO_MANUAL: &str = "omni.sidero.dev/no-manual-allocation";
/// Label: a node that a controller, not a user, put into its set.
pub const L_MANAGED_NODE: &str = "omni.sidero.dev/managed-by-machine-set-node-controller";
/// Label: the Kubernetes node name.
pub const L_NODE_NAME: &str = "omni.sidero.dev/node-name";
/// Annotation: written by a cluster template.
pub const A_TEMPLATE: &str = "omni.sidero.dev/managed-by-cluster-templates";
/// Annotation: a locked cluster.
pub const A_CLUSTER_LOCKED: &str = "omni.sidero.dev/cluster-locked";
/// What begins the labels that users may not set.
pub const SYSTEM_PREFIX: &str = "omni.sidero.dev/";
