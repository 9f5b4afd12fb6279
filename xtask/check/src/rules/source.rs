//! Which upstream source makes a rule so: what `docs/reference/checks.md` cites, so that a newer release can be compared with it.

const MODELS: &str = "siderolabs/omni v1.9.3 client/pkg/template/internal/models/";
const VALIDATIONS: &str = "siderolabs/omni v1.9.3 internal/backend/runtime/omni/validations/";
const YAML: &str = "go.yaml.in/yaml v4.0.0-rc.4, which omnictl 1.9.3 reads files with: ";
const PROVIDER: &str = "siderolabs/omni-infra-provider-proxmox 0d9fd58 ";
const COSI: &str = "cosi-project/runtime v1.16.2 pkg/resource/";
const FIELD: &str = "what operators of Talos and Proxmox report: ";
const INSTALL_DISK: &str = "internal/backend/runtime/omni/controllers/omni/machine_config_gen_options.go";
const NODE_APPLY: &str = "siderolabs/talos internal/app/machined/pkg/controllers/k8s/node_apply.go, ";
const OURS: &str = "a rule of this tool: ";

/// The start of a rule's id, where its source is, and which part of it. The longest start that fits counts.
const SOURCES: &[(&str, &str, &str)] = &[
    ("yaml-syntax", YAML, "internal/libyaml scanner.go and parser.go"),
    ("yaml-encoding", YAML, "internal/libyaml reader.go"),
    ("yaml-utf16", YAML, "internal/libyaml reader.go"),
    ("yaml-too-large", OURS, "etcd refuses a request beyond 1.5 MiB"),
    ("yaml-too-deep", OURS, "nothing that Omni, Talos or Kubernetes reads is that deep"),
    ("yaml-alias-bomb", OURS, "aliases may not fill the memory of whoever reads them"),
    ("yaml-alias-cycle", YAML, "constructor.go (anchor contains itself)"),
    ("yaml-unknown-anchor", YAML, "composer.go (unknown anchor)"),
    ("yaml-duplicate-key", YAML, "constructor.go (mapping key already defined)"),
    ("yaml-complex-key", YAML, "constructor.go (invalid map key)"),
    ("yaml-bom", OURS, "YAML 1.2.2 §5.2 allows the mark, and shells trip over it"),
    ("yaml-crlf", OURS, "YAML 1.2.2 §5.4 allows the line ends, and every difference shows them"),
    (
        "class-",
        COSI,
        "protobuf/yaml.go and metadata.go, the specs of siderolabs/omni v1.9.3 client/api/omni/specs/omni.proto",
    ),
    ("class-empty-document", "siderolabs/omni v1.9.3 ", "client/pkg/omnictl/apply.go"),
    ("class-no-document", "siderolabs/omni v1.9.3 ", "client/pkg/omnictl/apply.go"),
    ("class-name", OURS, "names of machines are made of it, and Proxmox takes DNS labels"),
    (
        "class-namespace",
        "siderolabs/omni v1.9.3 ",
        "client/pkg/omni/resources/omni/machine_class.go (namespace `default`)",
    ),
    ("class-metadata-limits", VALIDATIONS, "metadata.go"),
    ("class-both-sources", VALIDATIONS, "machine_class.go"),
    ("class-no-source", VALIDATIONS, "machine_class.go"),
    ("class-provider-", VALIDATIONS, "machine_class.go"),
    ("class-provider-name", "siderolabs/omni v1.10.4 ", "internal/pkg/dnslabel"),
    ("class-provider-schema", VALIDATIONS, "machine_class.go (the schema that the provider registered)"),
    ("class-placeholder", OURS, "values of examples are not values"),
    ("class-match-labels", VALIDATIONS, "machine_class.go and client/pkg/cosi/labels"),
    ("class-no-manual-allocation", VALIDATIONS, "machine_class.go"),
    ("class-kernel-args", VALIDATIONS, "strings.go and kernel_args.go"),
    ("class-static-provider", VALIDATIONS, "machine_class.go"),
    ("class-legacy-form", PROVIDER, "README.md:77, a form that no program reads (issues 21 and 24)"),
    ("providerdata-", PROVIDER, "cmd/omni-infra-provider-proxmox/data/schema.json"),
    ("providerdata-schema-keyword", "siderolabs/omni v1.9.3 ", "internal/pkg/jsonschema/jsonschema.go"),
    (
        "providerdata-second-document",
        "siderolabs/omni v1.9.3 ",
        "internal/pkg/jsonschema/jsonschema.go (yaml.Unmarshal)",
    ),
    ("providerdata-newer-", PROVIDER, "and its releases v0.1.0 to v0.3.0, internal/pkg/provider/data.go"),
    (
        "providerdata-sockets",
        PROVIDER,
        "internal/pkg/provider/provision.go:327; qemu-server PVE/QemuServer.pm (sockets, minimum 1)",
    ),
    ("providerdata-machine-type", "qemu-server ", "PVE/QemuServer/Machine.pm (the format of `machine`)"),
    ("providerdata-hugepages-numa", "qemu-server ", "PVE/QemuServer/Memory.pm:388"),
    ("providerdata-hugepages-token", "qemu-server ", "PVE/API2/Qemu.pm:1035"),
    ("providerdata-rombar", PROVIDER, "internal/pkg/provider/provision.go (`rombar=1` or nothing)"),
    ("providerdata-pcie", "qemu-server ", "PVE/QemuServer/PCI.pm (pcie needs q35)"),
    ("providerdata-aio", "QEMU ", "block/file-posix.c (aio=native needs cache.direct)"),
    ("providerdata-misplaced-", COSI, "protobuf/yaml.go, and the spec of a machine class in omni.proto"),
    ("providerdata-install-disk", "siderolabs/omni v1.9.3 ", INSTALL_DISK),
    ("providerdata-vlan", "qemu-server ", "PVE/QemuServer.pm (tag, 1 to 4094)"),
    ("providerdata-selector", PROVIDER, "internal/pkg/provider/provision.go:585 and google/cel-go v0.27.0"),
    ("convert-refused", OURS, "what cannot be said in the real form is not guessed"),
    ("template-", MODELS, "models.go and list.go"),
    ("template-legacy-form", OURS, "the nested form of older guides, which models.go does not know"),
    ("template-wrong-type", YAML, "constructor.go, with KnownFields"),
    ("template-unknown-key", YAML, "constructor.go, with KnownFields"),
    ("template-key-", "siderolabs/omni v1.4 to v1.11 ", "client/pkg/template/internal/models (the yaml tags)"),
    ("template-placeholder", OURS, "values of examples are not values"),
    ("template-manifest-twice", MODELS, "kubernetes_manifest.go (KubernetesManifestsList.Validate)"),
    ("template-talos-meta", "siderolabs/omni ", "issue 3360, fixed in v1.10.6"),
    (
        "template-patch-kind",
        "siderolabs/talos ",
        "pkg/machinery/config/internal/registry, at the version of each go.mod",
    ),
    ("template-patches-too-large", "siderolabs/talos ", "the gRPC limit of the maintenance API, 4 MiB"),
    ("template-install-disk", "siderolabs/omni v1.9.3 ", INSTALL_DISK),
    ("template-node-taints", NODE_APPLY, "and the NodeRestriction admission plugin of Kubernetes"),
    (
        "template-static-address",
        FIELD,
        "one address for all machines of the set (siderolabs/omni issue 2593, siderolabs/docs issue 602)",
    ),
    ("template-machine-", MODELS, "list.go"),
    ("template-size", MODELS, "machineset.go (Size.UnmarshalYAML)"),
    ("template-strategy", MODELS, "machineset.go (UpdateStrategyType)"),
    ("template-interval", MODELS, "cluster.go (BackupConfiguration)"),
    ("template-manifest", MODELS, "kubernetes_manifest.go"),
    ("template-healthcheck", MODELS, "kubernetes_healthcheck.go"),
    ("template-name", "siderolabs/omni v1.9.3 ", "client/pkg/omni/resources/omni/cluster.go (validateID)"),
    ("template-name-dns", OURS, "names of hosts and machines are made of it"),
    ("template-version", "siderolabs/omni v1.9.3 ", "client/pkg/omni/resources/omni/cluster.go (ClusterValidator)"),
    ("template-version-short", VALIDATIONS, "version.go"),
    (
        "template-version-pair",
        "siderolabs/talos ",
        "pkg/machinery/compatibility, and client/pkg/constants of siderolabs/omni",
    ),
    ("template-talos-prefix", MODELS, "cluster.go (TalosCluster)"),
    ("template-talos-version", VALIDATIONS, "version.go"),
    ("template-kubernetes-version", VALIDATIONS, "version.go"),
    ("template-encryption", "siderolabs/omni v1.9.3 ", "client/pkg/omni/resources/omni/cluster.go (ClusterValidator)"),
    ("template-reserved-label", MODELS, "models.go (Descriptors)"),
    ("template-control-plane-", MODELS, "controlplane.go"),
    ("template-bootstrap", MODELS, "controlplane.go and workers.go"),
    ("template-workers-name", MODELS, "workers.go"),
    ("template-both-sources", MODELS, "machineset.go"),
    ("template-kernel-args-", MODELS, "machineset.go"),
    ("template-machine-id", MODELS, "machine.go"),
    (
        "template-patch-",
        "siderolabs/omni v1.9.3 ",
        "and v1.10.4 client/pkg/omni/resources/omni/config_patch.go, and siderolabs/talos pkg/machinery v1.14.0-alpha.1 config/configloader",
    ),
    ("template-patch-source", MODELS, "patch.go"),
    ("template-patch-name", MODELS, "patch.go"),
    ("template-file-", MODELS, "models.go (FileContext, os.Root)"),
    ("template-class-", VALIDATIONS, "machine_set.go"),
    ("template-unlimited", VALIDATIONS, "machine_set.go"),
    ("template-backup-interval", VALIDATIONS, "cluster.go"),
    ("template-no-machines", MODELS, "controlplane.go asks for no machines, and none ever come"),
    ("template-shared-class", FIELD, "the workers of one class take the machines that the control plane waits for"),
    ("template-even-control-planes", "etcd ", "the majority of its members must agree"),
    ("template-node-role", NODE_APPLY, "and the NodeRestriction admission plugin of Kubernetes"),
    (
        "template-static-hostname",
        FIELD,
        "one name for all machines of the set (siderolabs/omni-infra-provider-proxmox issue 43)",
    ),
    ("template-hostname-twice", "siderolabs/talos ", "config/types/v1alpha1 (static hostname is already set)"),
    ("template-cilium-mtu", FIELD, "Cilium takes the MTU of the smallest interface, SideroLink's"),
];

/// Where the rule comes from.
pub fn source(id: &str) -> String {
    let fitting = SOURCES.iter().filter(|(start, ..)| id.starts_with(start));
    fitting.max_by_key(|(start, ..)| start.len()).map_or(String::new(), |(_, place, part)| format!("{place}{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RULES;

    #[test]
    fn every_rule_has_a_source_and_every_source_a_rule() {
        for rule in RULES {
            assert!(!source(rule.id).is_empty(), "{}", rule.id);
        }
        for (start, ..) in SOURCES {
            assert!(RULES.iter().any(|rule| rule.id.starts_with(start)), "{start}");
        }
    }
}
