//! The rules themselves: what is wrong, what it leads to, the fix and an example, a rule in three or four lines.

use super::Effect::{Accepts, Rejects, Unknown};
use super::{Rule, rule};
use crate::Severity::{Error, Warning};

/// All rules, in the order of the documentation.
#[rustfmt::skip]
pub static RULES: &[Rule] = &[
    // YAML itself.
    rule("yaml-syntax", Error, Rejects, [
        "the file is not valid YAML", "nothing reads it", "check quotes, brackets and indentation at the place named",
        "name: a: b",
    ]),
    rule("yaml-encoding", Error, Rejects, [
        "the file is not UTF-8", "Omni's YAML library refuses it", "save it as UTF-8", "name: caf\\xE9",
    ]),
    rule("yaml-utf16", Error, Accepts, [
        "the file is UTF-16", "most tools cannot read it", "save it as UTF-8", "a file that Notepad saved as Unicode",
    ]),
    rule("yaml-too-large", Error, Unknown, [
        "the file is larger than 1 MiB", "Omni's store accepts no resource of that size",
        "move large patches and manifests to separate files", "a template with a CNI's manifests inline",
    ]),
    rule("yaml-too-deep", Error, Unknown, [
        "values are nested more than 100 levels deep", "no valid document of Omni, Talos or Kubernetes is that deep", "flatten it",
        "[[[[…]]]]",
    ]),
    rule("yaml-alias-bomb", Error, Unknown, [
        "aliases expand to more than 24 MiB", "a few lines would fill the memory of the program that reads them",
        "write the values out", "b: [*a, *a, *a, *a]",
    ]),
    rule("yaml-alias-cycle", Error, Rejects, [
        "the value of an anchor contains itself", "expanding expanding it would never end", "write the value out", "a: &a [*a]",
    ]),
    rule("yaml-unknown-anchor", Error, Rejects, [
        "an alias without an anchor before it", "there is no value to repeat",
        "define the anchor first, or quote the value", "name: *x",
    ]),
    rule("yaml-duplicate-key", Error, Rejects, [
        "a key is given twice", "the programs refuse it: it is not clear which one applies",
        "keep one of the two", "name: a\nname: b",
    ]),
    rule("yaml-complex-key", Error, Rejects, [
        "a key that is a list or a mapping", "no field has such a key", "quote it if it is text", "{a: 1}: b",
    ]),
    rule("yaml-bom", Warning, Accepts, [
        "the file starts with a byte order mark", "shells, diffs and other tools fail on it",
        "save it as UTF-8 without BOM", "a file that Windows saved",
    ]),
    rule("yaml-crlf", Warning, Accepts, [
        "the file has Windows line endings", "every line shows as changed in a diff",
        "convert it to LF, and pin that in .gitattributes", "a file that Windows saved",
    ]),
    // Machine classes.
    rule("class-legacy-form", Error, Rejects, [
        "a Kubernetes-style MachineClass", "omnictl: expected 4 elements node, got 8", "machineclass-check --convert",
        "apiVersion: infrastructure.omni.siderolabs.io/v1alpha1\nkind: MachineClass",
    ]),
    rule("class-no-document", Error, Unknown, [
        "a file without a class", "omnictl does nothing and prints nothing", "describe a class in it, or delete it",
        "# a comment alone",
    ]),
    rule("class-empty-document", Error, Rejects, [
        "an empty document", "omnictl crashes: resource is not set", "remove the `---` without content after it",
        "---\n---",
    ]),
    rule("class-structure", Error, Rejects, [
        "a document that is not exactly `metadata` and `spec`", "omnictl refuses it: expected 4 elements node",
        "two mappings, `metadata` and `spec`, and nothing else", "metadata: {}\nspec: {}\nstatus: {}",
    ]),
    rule("class-type", Error, Rejects, [
        "`metadata.type` is not MachineClasses.omni.sidero.dev",
        "omnictl: no resource is registered for the resource type", "type: MachineClasses.omni.sidero.dev",
        "metadata: {type: MachineClass}",
    ]),
    rule("class-other-resource", Warning, Unknown, [
        "a document of another resource type", "it is not checked here, and omnictl would apply it too",
        "keep it in a file of its own", "metadata: {type: ConfigPatches.omni.sidero.dev}",
    ]),
    rule("class-id", Error, Unknown, [
        "`metadata.id` is missing", "the class has no name that a template could use", "id: NAME",
        "metadata: {namespace: default}",
    ]),
    rule("class-name", Warning, Accepts, [
        "the name is not a DNS label", "it becomes part of names of machines and files",
        "use a-z, 0-9 and `-`, up to 63", "metadata: {id: My_Class}",
    ]),
    rule("class-namespace-missing", Error, Accepts, [
        "`metadata.namespace` is missing", "Omni stores the class in the empty namespace, where templates do not find it",
        "namespace: default", "metadata: {type: MachineClasses.omni.sidero.dev, id: worker}",
    ]),
    rule("class-namespace", Error, Unknown, [
        "a namespace other than `default`", "templates look for classes only in `default`", "namespace: default",
        "metadata: {namespace: prod}",
    ]),
    rule("class-metadata-duplicate", Error, Accepts, [
        "a key of `metadata` is given twice", "omnictl takes the last one silently", "keep one of the two",
        "metadata:\n  id: a\n  id: b",
    ]),
    rule("class-metadata-limits", Error, Unknown, [
        "an id, a label or an annotation that is too long, without a key or with a control character",
        "the server of Omni 1.9 refuses it", "up to 1024 bytes for an id and a key, 16 KiB for a value, 256 of either",
        "metadata: {id: \"a\\tb\"}",
    ]),
    rule("class-unknown-key", Error, Accepts, [
        "a key that the resource does not have",
        "omnictl drops it silently, and it has no effect",
        "write the known key: all lower case, no `_`", "spec: {autoProvision: {providerId: proxmox}}",
    ]),
    rule("class-wrong-type", Error, Rejects, [
        "a value of the wrong type", "omnictl: cannot construct",
        "write the type in the message; `providerdata` is a string: `providerdata: |`",
        "spec: {autoprovision: {providerdata: {cores: 4}}}",
    ]),
    rule("class-grpc-tunnel", Error, Unknown, [
        "`grpctunnel` is not 0, 1 or 2", "it means nothing to Omni", "0: Omni's default, 1: on, 2: off",
        "spec: {autoprovision: {grpctunnel: 7}}",
    ]),
    rule("class-both-sources", Error, Rejects, [
        "both `autoprovision` and `matchlabels`",
        "server: can't set both auto provision and match labels at the same time", "keep one of the two",
        "spec: {autoprovision: {providerid: p}, matchlabels: [a]}",
    ]),
    rule("class-no-source", Error, Rejects, [
        "neither `autoprovision` nor `matchlabels`",
        "server: machine class should either have auto provision or match labels set",
        "add `autoprovision` for machines that a provider creates", "spec: {}",
    ]),
    rule("class-provider-id", Error, Rejects, [
        "`providerid` is missing", "server: providerID can not be empty", "providerid: the provider's --id",
        "spec: {autoprovision: {providerdata: ''}}",
    ]),
    rule("class-provider-name", Warning, Accepts, [
        "a `providerid` that is not a DNS label",
        "Omni 1.10 and later accept no other ids of providers: invalid infra provider name",
        "register the provider under an id of a-z, 0-9 and `-`, up to 63",
        "providerid: Proxmox_A",
    ]),
    rule("class-provider-schema", Warning, Unknown, [
        "the provider is not this project's Proxmox provider, and its schema is not known",
        "`providerdata` is not checked: each provider has keys of its own",
        "ask Omni by leaving out --offline; set OMNI_PROVIDER_ID if it is yours",
        "providerid: libvirt",
    ]),
    rule("class-placeholder", Warning, Accepts, [
        "a placeholder: <…>, __…__, ${…}, CHANGE_ME, your-…, x.x.x.x, example.com",
        "Omni and the provider use it unchanged, and no machine can be created",
        "replace it with the real value",
        "network_bridge: <BRIDGE>",
    ]),
    rule("class-match-labels", Error, Rejects, [
        "a selector of `matchlabels` that cannot be read", "server: failed to parse matchLabels",
        "KEY, !KEY, KEY = V, KEY != V, KEY in (A, B), KEY >= N, joined by commas", "spec: {matchlabels: ['a ==']}",
    ]),
    rule("class-no-manual-allocation", Error, Rejects, [
        "a selector over omni.sidero.dev/no-manual-allocation", "server: selectors using label … are not allowed",
        "leave it out", "spec: {matchlabels: [omni.sidero.dev/no-manual-allocation]}",
    ]),
    rule("class-kernel-args", Error, Unknown, [
        "more than 64 kernel arguments, or one longer than 256 bytes", "the server refuses the class",
        "fewer, or shorter", "kernelargs: […65 of them…]",
    ]),
    rule("class-provider-unknown", Error, Rejects, [
        "the provider has never registered with this Omni", "server: failed to get provider",
        "start it once: cargo xtask provider-setup", "providerid: nobody",
    ]),
    rule("class-static-provider", Error, Rejects, [
        "the provider is one for existing machines",
        "server: cannot use static provider in the auto-provisioned machine class",
        "use a provider that creates machines", "providerid: bare-metal",
    ]),
    // What the provider reads.
    rule("providerdata-required", Error, Rejects, [
        "a key that the provider requires is missing", "server: config value … is required", "add it",
        "providerdata: 'cores: 4'",
    ]),
    rule("providerdata-schema", Error, Rejects, [
        "a value that the provider's schema refuses", "server: config value … must be …", "write what the message names",
        "cores: \"2\"",
    ]),
    rule("providerdata-unknown-key", Error, Accepts, [
        "a key that no version of the provider knows",
        "Omni and the provider both ignore it silently",
        "write the known key",
        "cpu: 4",
    ]),
    rule("providerdata-misplaced-key", Error, Accepts, [
        "a key of the class inside `providerdata`",
        "nothing reads it there, and it has no effect",
        "move it one level up, next to `providerdata`; matchlabels to `spec`",
        "providerdata: |\n  kernelargs: [net.ifnames=0]",
    ]),
    rule("providerdata-misplaced-default", Warning, Accepts, [
        "a key of the class inside `providerdata` that only repeats the default",
        "nothing reads it there",
        "move it one level up, or remove it",
        "providerdata: |\n  grpctunnel: 0",
    ]),
    rule("providerdata-newer-key", Warning, Unknown, [
        "a key that this project's provider does not read (the tag of its image in docker/compose.yaml, or its schema in Omni)",
        "it is ignored silently",
        "remove it, or update the provider",
        "usb_devices: [{mapping: key}] with provider v0.2.0",
    ]),
    rule("providerdata-newer-type", Error, Unknown, [
        "a value of the wrong type for a key of a later release, while the provider's release is not known",
        "a provider that knows the key refuses it",
        "write the type named",
        "tags: prod",
    ]),
    rule("providerdata-schema-keyword", Warning, Accepts, [
        "the provider's schema uses a keyword that this check does not interpret",
        "Omni may refuse what is accepted here", "none needed; update this tool", "\"not\": {}",
    ]),
    rule("providerdata-second-document", Warning, Accepts, [
        "a second document in `providerdata`", "Omni and the provider read only the first",
        "remove everything from `---` on", "providerdata: |\n  cores: 4\n  ---\n  memory: 8192",
    ]),
    rule("providerdata-sockets", Error, Accepts, [
        "`sockets` is missing",
        "the provider sends 0 and Proxmox refuses every VM: value must have a minimum value of 1", "sockets: 1",
        "cores: 4",
    ]),
    rule("providerdata-machine-type", Error, Accepts, [
        "`machine_type: i440fx`", "Proxmox refuses that name, although it is its own default", "leave the key out",
        "machine_type: i440fx",
    ]),
    rule("providerdata-hugepages-numa", Error, Accepts, [
        "`hugepages` without `numa: true`",
        "the VM is created but does not start: numa needs to be enabled to use hugepages", "numa: true",
        "hugepages: 1GB",
    ]),
    rule("providerdata-hugepages-token", Warning, Accepts, [
        "`hugepages`",
        "only root@pam with a password can set it, no API token: only root can set 'hugepages' config",
        "remove it, or use that login for the provider", "hugepages: 2MB",
    ]),
    rule("providerdata-rombar", Warning, Accepts, [
        "`rombar: false`", "the provider leaves it out, and Proxmox's default is on",
        "remove the line: it cannot be disabled", "pci_devices: [{mapping: gpu, rombar: false}]",
    ]),
    rule("providerdata-pcie", Error, Accepts, [
        "`pcie: true` without `machine_type: q35`", "the VM does not start: q35 machine model is not enabled",
        "machine_type: q35", "pci_devices: [{mapping: gpu, pcie: true}]",
    ]),
    rule("providerdata-aio", Warning, Accepts, [
        "`disk_aio: native` with a cache mode that QEMU does not accept with it", "the VM does not start",
        "disk_cache: none or directsync, or disk_aio: io_uring", "disk_aio: native\ndisk_cache: writeback",
    ]),
    rule("providerdata-vlan", Error, Accepts, [
        "a VLAN tag above 4094", "Proxmox refuses the VM", "1 to 4094, or 0 for none", "vlan: 5000",
    ]),
    rule("providerdata-install-disk", Warning, Accepts, [
        "an additional disk above 5 GB that is not larger than `disk_size`",
        "Omni installs Talos on the smallest disk above 5 GB; of two equal ones it may pick either",
        "make `disk_size` the smallest, or set `machine.install.disk` in a patch of the machine set (up to Omni 1.10)",
        "disk_size: 450\nadditional_disks: [{disk_size: 300, storage_selector: 'name == \"sata\"'}]",
    ]),
    rule("providerdata-selector", Error, Accepts, [
        "a storage selector that does not compile",
        "Omni does not check it; every machine of the class fails in step syncVM",
        "what the message names; try it with cargo xtask selector-test", "storage_selector: type == \"rbd\"",
    ]),
    rule("providerdata-selector-legacy", Error, Accepts, [
        "a storage selector that filters a list", "there is no list: the expression is evaluated for each storage",
        "machineclass-check --convert", "storage_selector: storage.filter(s, s.type == \"rbd\")[0].storage",
    ]),
    rule("providerdata-selector-unsure", Warning, Accepts, [
        "a storage selector with a construct that this check does not know", "it may or may not compile",
        "try it on the provider", "storage_selector: google.protobuf.BoolValue{value: true}",
    ]),
    rule("providerdata-selector-any", Warning, Accepts, [
        "a storage selector that does not depend on the storage",
        "it matches all or none, and Proxmox lists storages in random order", "select one storage by name or type",
        "storage_selector: 'true'",
    ]),
    rule("convert-refused", Error, Rejects, [
        "an older form without an exact equivalent (only with --convert)",
        "a guess would affect your machines", "what the message names",
        "storage_selector: storage.max(s, s.avail).storage",
    ]),
    // Cluster templates: what omnictl refuses.
    rule("template-legacy-form", Error, Rejects, [
        "the nested form with `controlPlane:` and `workers:` in one document",
        "omnictl: field controlPlane not found in type models.Cluster", "cluster-check --convert",
        "kind: Cluster\ncontrolPlane: {machineClass: cp, count: 3}",
    ]),
    rule("template-not-a-mapping", Error, Rejects, [
        "a document that is not a mapping", "omnictl: unexpected node kind",
        "remove the `---` without content after it", "---\n---",
    ]),
    rule("template-kind", Error, Rejects, [
        "`kind` is missing or unknown", "omnictl: unknown model kind", "Cluster, ControlPlane, Workers or Machine",
        "kind: Worker",
    ]),
    rule("template-unknown-key", Error, Rejects, [
        "a key that the document does not have", "omnictl: field … not found", "write the known key",
        "kind: Workers\nreplicas: 3",
    ]),
    rule("template-key-too-new", Error, Rejects, [
        "a key that the omnictl of this project does not know yet (the tag of Omni's image in docker/compose.yaml)",
        "omnictl: field … not found",
        "remove it, or update Omni",
        "features: {enableNodeAuditSkip: true} with Omni 1.9",
    ]),
    rule("template-key-newer", Warning, Unknown, [
        "a key that omnictl knows from 1.10 or 1.11 on, while its version is not known",
        "an older omnictl refuses it: field … not found",
        "compare it with `omnictl --version`",
        "features: {enableNodeAuditSkip: true}",
    ]),
    rule("template-wrong-type", Error, Rejects, [
        "a value of the wrong type", "omnictl: cannot construct", "write the type named", "name: [a]",
    ]),
    rule("template-size", Error, Rejects, [
        "a size that is not a number", "omnictl: invalid machine count", "a whole number, or unlimited",
        "machineClass: {name: a, size: three}",
    ]),
    rule("template-strategy", Error, Rejects, [
        "an unknown strategy type", "omnictl: invalid update strategy type", "Rolling or Unset",
        "updateStrategy: {type: Recreate}",
    ]),
    rule("template-manifest-mode", Error, Rejects, [
        "an unknown mode of a manifest", "omnictl: unknown mode name", "full or one-time",
        "manifests: [{name: a, mode: once, inline: {}}]",
    ]),
    rule("template-interval", Error, Rejects, [
        "a duration without a unit", "omnictl: cannot construct", "like 1h or 90m",
        "backupConfiguration: {interval: 3600}",
    ]),
    rule("template-no-cluster", Error, Rejects, [
        "no Cluster document", "omnictl: template should contain 1 cluster, got 0", "add kind: Cluster",
        "kind: ControlPlane",
    ]),
    rule("template-many-clusters", Error, Rejects, [
        "more than one Cluster document", "omnictl: template should contain 1 cluster", "one cluster per file",
        "kind: Cluster\n---\nkind: Cluster",
    ]),
    rule("template-no-control-plane", Error, Rejects, [
        "no ControlPlane document", "omnictl: template should contain 1 controlplane, got 0",
        "add kind: ControlPlane", "kind: Cluster",
    ]),
    rule("template-many-control-planes", Error, Rejects, [
        "more than one ControlPlane document", "omnictl: template should contain 1 controlplane",
        "one with the intended size", "kind: ControlPlane\n---\nkind: ControlPlane",
    ]),
    rule("template-name", Error, Rejects, [
        "the cluster's name is missing or has other characters than letters, digits, `-` and `_`",
        "omnictl refuses it", "a-z, 0-9 and `-`", "name: my.cluster",
    ]),
    rule("template-version", Error, Rejects, [
        "a version that is missing or not valid", "omnictl: version is required, version should be in semver format",
        "like v1.13.5", "talos: {version: latest}",
    ]),
    rule("template-talos-prefix", Error, Rejects, [
        "the Talos version lacks its `v`", "omnictl: version should start with 'v'", "v1.13.5",
        "talos: {version: 1.13.5}",
    ]),
    rule("template-encryption", Error, Rejects, [
        "disk encryption with Talos before 1.5.0",
        "omnictl: disk encryption is supported only for Talos version >= 1.5.0", "a newer Talos",
        "features: {diskEncryption: true}",
    ]),
    rule("template-reserved-label", Error, Rejects, [
        "a label or annotation under omni.sidero.dev/", "omnictl: prefix is reserved for internal use",
        "another prefix", "labels: {omni.sidero.dev/x: y}",
    ]),
    rule("template-control-plane-name", Error, Rejects, [
        "a name for the control plane", "omnictl: custom name is not allowed in the controlplane", "remove it",
        "kind: ControlPlane\nname: cp",
    ]),
    rule("template-control-plane-strategy", Error, Rejects, [
        "updateStrategy or deleteStrategy for the control plane", "omnictl: not allowed in the controlplane",
        "remove it; upgradeStrategy is allowed", "kind: ControlPlane\nupdateStrategy: {type: Rolling}",
    ]),
    rule("template-bootstrap", Error, Rejects, [
        "a bootstrapSpec that is incomplete or for workers", "omnictl refuses it",
        "clusterUUID and snapshot, in the ControlPlane", "bootstrapSpec: {snapshot: x}",
    ]),
    rule("template-workers-name", Error, Rejects, [
        "workers named control-planes", "omnictl: cannot be used in workers", "another name",
        "kind: Workers\nname: control-planes",
    ]),
    rule("template-workers-duplicate", Error, Rejects, [
        "two sets of workers with the same name", "omnictl: duplicate workers with name", "give each a `name`",
        "kind: Workers\n---\nkind: Workers",
    ]),
    rule("template-both-sources", Error, Rejects, [
        "a set with both machines and machineClass", "omnictl: machine set can not have both", "keep one of the two",
        "machines: [uuid]\nmachineClass: {name: a, size: 1}",
    ]),
    rule("template-kernel-args-set", Error, Rejects, [
        "kernelArgs in a set that uses a class",
        "omnictl: kernelArgs cannot be defined for machine set since it uses machine class",
        "put them into the machine class", "machineClass: {name: a, size: 1}\nkernelArgs: [x]",
    ]),
    rule("template-machine-id", Error, Rejects, [
        "a machine that is not a UUID", "omnictl: invalid machine ID", "the machine's UUID, from omnictl get machines",
        "machines: [node-1]",
    ]),
    rule("template-machine-shared", Error, Rejects, [
        "a machine in two sets, or twice in one set of workers",
        "omnictl: is used in multiple workers",
        "keep it once",
        "the same UUID in two documents",
    ]),
    rule("template-machine-twice", Warning, Accepts, [
        "a machine that the control plane lists twice",
        "it counts once, so the control plane has one machine fewer",
        "remove one of the two",
        "kind: ControlPlane\nmachines: [uuid, uuid]",
    ]),
    rule("template-machine-unused", Error, Rejects, [
        "a Machine document of a machine that no set uses", "omnictl: is not used in controlplane or workers",
        "add it to a set's machines", "kind: Machine\nname: uuid",
    ]),
    rule("template-machine-locked", Error, Rejects, [
        "a locked machine in the control plane", "omnictl: is locked and used in controlplane", "unlock it",
        "kind: Machine\nlocked: true",
    ]),
    rule("template-patch-source", Error, Rejects, [
        "a patch with both `file` and `inline`, or neither", "omnictl: path and inline are mutually exclusive",
        "exactly one of them", "patches: [{name: a}]",
    ]),
    rule("template-patch-name", Error, Rejects, [
        "an inline patch without a name", "omnictl: either name or idOverride is required for inline patches",
        "name: …", "patches: [{inline: {machine: {}}}]",
    ]),
    rule("template-patch-form", Error, Rejects, [
        "a patch that is not a Talos configuration", "omnictl: failed to validate patch",
        "`machine:` or `cluster:`, or documents with apiVersion and kind", "inline: {foo: bar}",
    ]),
    rule("template-patch-kind", Error, Rejects, [
        "a document of a kind that this project's omnictl does not know",
        "omnictl: not registered",
        "the older form of the setting, or a newer Omni",
        "apiVersion: v1alpha1\nkind: KubeProxyConfig",
    ]),
    rule("template-patch-kind-newer", Warning, Unknown, [
        "a document of a kind that only a newer omnictl knows, or none that is known here, while its version is not known",
        "an older omnictl refuses it: not registered",
        "omnictl cluster template validate decides",
        "apiVersion: v1alpha1\nkind: KubeletConfig",
    ]),
    rule("template-patch-kind-talos", Error, Accepts, [
        "a document of a kind that the cluster's Talos does not read",
        "omnictl accepts it, and the machine refuses its configuration",
        "the older form of the setting, or a newer Talos",
        "talos: {version: v1.11.6}\n…\nkind: LinkConfig",
    ]),
    rule("template-patch-forbidden", Error, Rejects, [
        "a patch of a field or document that Omni manages",
        "omnictl: overriding … is not allowed in the config patch; which fields depends on its version",
        "remove it",
        "inline: {machine: {type: worker}}",
    ]),
    rule("template-patch-forbidden-later", Warning, Unknown, [
        "a field that Omni manages, in a later document of a patch, where omnictl before 1.10 does not look",
        "Omni overwrites it or the machine never becomes ready; omnictl 1.10 and later refuse it",
        "remove the field",
        "inline: |\n  …\n  ---\n  machine: {type: worker}",
    ]),
    rule("template-patch-forbidden-newer", Warning, Unknown, [
        "a field or document that omnictl 1.10 or later refuses, while its version is not known",
        "omnictl: overriding … is not allowed in the config patch",
        "remove it",
        "inline: {cluster: {ca: {}}}",
    ]),
    rule("template-patch-unknown-field", Error, Rejects, [
        "a field that this omnictl, or the given Talos schema, does not have", "omnictl: unknown keys found during decoding",
        "write the known field", "inline: {machine: {sysctl: {}}}",
    ]),
    rule("template-patch-value", Error, Unknown, [
        "a value that the given Talos schema refuses", "omnictl checks some of them, the machine the rest",
        "write what the message names", "inline: {machine: {kubelet: {nodeIP: 1}}}",
    ]),
    rule("template-file-outside", Error, Rejects, [
        "a path or a link that leads out of the template's directory",
        "omnictl 1.8 and later: path escapes from parent",
        "move the file below the template",
        "patches: [{file: ../a.yaml}]",
    ]),
    rule("template-file-missing", Error, Rejects, [
        "a file that cannot be read", "omnictl: failed to access", "a path relative to the template's directory",
        "patches: [{file: nowhere.yaml}]",
    ]),
    rule("template-manifest", Error, Rejects, [
        "a Kubernetes manifest without name, mode or source", "omnictl refuses it",
        "name, mode and one of inline and file", "manifests: [{mode: full, inline: {}}]",
    ]),
    rule("template-manifest-twice", Error, Rejects, [
        "two Kubernetes manifests with the same name",
        "omnictl: duplicate manifest name",
        "a name of its own for each",
        "manifests: [{name: a, …}, {name: a, …}]",
    ]),
    rule("template-healthcheck", Error, Rejects, [
        "a healthcheck without name or job, or two with the same name", "omnictl refuses it",
        "name, and one of job and file", "healthchecks: [{name: a}]",
    ]),
    // What only the server refuses.
    rule("template-kernel-args-cluster", Error, Accepts, [
        "kernelArgs for the cluster while a set uses a class", "sync: kernelArgs cannot be defined at cluster level",
        "put them into the machine class", "kind: Cluster\nkernelArgs: [x]",
    ]),
    rule("template-duplicate-id", Error, Accepts, [
        "two resources of the template get the same id", "sync: resource ID duplicate", "another name or idOverride",
        "kind: Workers\n---\nkind: Workers\nname: workers",
    ]),
    rule("template-version-short", Error, Accepts, [
        "a version with fewer than three numbers", "the server knows no such version", "like v1.36.2",
        "kubernetes: {version: v1.36}",
    ]),
    rule("template-talos-version", Error, Accepts, [
        "a Talos version that this Omni does not offer", "server: invalid talos version",
        "one of those that Omni lists", "talos: {version: v1.99.0}",
    ]),
    rule("template-kubernetes-version", Error, Accepts, [
        "a Kubernetes version that is not compatible with the Talos version",
        "server: is not compatible with talos version", "one of those that Omni lists for it",
        "kubernetes: {version: v1.20.0}",
    ]),
    rule("template-version-pair", Warning, Accepts, [
        "versions that are not compatible by the tables of Talos and Omni, while Omni was not checked",
        "the server refuses the cluster: talos version … is not supported by this Omni release",
        "a Talos that this Omni supports, and a Kubernetes that this Talos supports",
        "talos: {version: v1.13.5}\nkubernetes: {version: v1.20.0}",
    ]),
    rule("template-talos-meta", Error, Accepts, [
        "Talos 1.13.10 or later, or 1.14.0 or later, with Omni before 1.10.6",
        "Omni's writes to META keys fail: the cluster stays Reconfiguring and its machines cannot be reset (siderolabs/omni issue 3360)",
        "Talos 1.13.9 or older, or Omni 1.10.6 or later",
        "talos: {version: v1.13.10}",
    ]),
    rule("template-class-unknown", Error, Accepts, [
        "a machine class that Omni does not have", "server: machine class … doesn't exist; the sync stops midway",
        "apply the class first", "machineClass: {name: nobody, size: 1}",
    ]),
    rule("template-class-elsewhere", Warning, Accepts, [
        "a machine class that is not in machine-classes/, while Omni was not checked",
        "if Omni has none of that name either, the sync stops midway", "check the name",
        "machineClass: {name: wroker, size: 1}",
    ]),
    rule("template-placeholder", Warning, Accepts, [
        "a placeholder: <…>, __…__, ${…}, CHANGE_ME, your-…, x.x.x.x",
        "Omni and the machines use it unchanged",
        "replace it with the real value",
        "machineClass: {name: <CLASS>, size: 3}",
    ]),
    rule("template-unlimited", Error, Accepts, [
        "`size: unlimited` with a class that provisions machines",
        "server: unlimited machine set allocation is not supported; half a cluster is left", "a number",
        "machineClass: {name: matrix-worker, size: unlimited}",
    ]),
    rule("template-backup-interval", Error, Accepts, [
        "a backup interval outside of 1h to 24h", "server: backup interval must be greater than 1h0m0s",
        "between 1h and 24h", "backupConfiguration: {interval: 10m}",
    ]),
    rule("template-no-machines", Error, Accepts, [
        "a control plane without machines", "it validates, and the cluster never comes up",
        "machineClass with a size of at least 1", "kind: ControlPlane",
    ]),
    // What is accepted and does harm.
    rule("template-name-dns", Warning, Accepts, [
        "the cluster's name is not a DNS label", "it becomes part of host names and of names of machines",
        "a-z, 0-9 and `-`, up to 63", "name: My_Cluster",
    ]),
    rule("template-shared-class", Warning, Accepts, [
        "unlimited workers share a class of existing machines with the control plane",
        "they can take its machines while the cluster comes up",
        "a class of their own",
        "the same class in ControlPlane and Workers with size: unlimited",
    ]),
    rule("template-even-control-planes", Warning, Accepts, [
        "an even number of control planes", "etcd needs a majority: 4 tolerate no more failures than 3", "1, 3 or 5",
        "kind: ControlPlane\nmachineClass: {name: cp, size: 2}",
    ]),
    rule("template-node-role", Warning, Accepts, [
        "a label under kubernetes.io or k8s.io in machine.nodeLabels of workers, other than those a kubelet may set",
        "NodeRestriction refuses the whole update: no label and no taint of `machine` is set; the node becomes ready without them",
        "another label, or kubectl label node; on a control plane it is fine",
        "inline: {machine: {nodeLabels: {node-role.kubernetes.io/worker: ''}}}",
    ]),
    rule("template-node-taints", Warning, Accepts, [
        "machine.nodeTaints of workers",
        "NodeRestriction refuses the whole update: no label and no taint of `machine` is set; the node becomes ready without them",
        "kubectl taint node, or registerWithTaints in machine.kubelet.extraConfig; on a control plane it is fine",
        "inline: {machine: {nodeTaints: {gpu: 'true:NoSchedule'}}}",
    ]),
    rule("template-static-hostname", Error, Accepts, [
        "one static host name for several machines", "every node gets the same name",
        "remove it: the provider names machines",
        "patches: [{name: h, inline: {machine: {network: {hostname: a}}}}]",
    ]),
    rule("template-static-address", Error, Accepts, [
        "one static address for several machines",
        "each of them gets it: duplicate addresses on the network",
        "DHCP, which a machine needs before a patch can reach it anyway; or a set of one machine for each address",
        "machine: {network: {interfaces: [{interface: ens18, addresses: [192.0.2.11/24]}]}}",
    ]),
    rule("template-patches-too-large", Warning, Accepts, [
        "the patches of one machine come to 4 MiB or more",
        "a machine in maintenance mode does not accept them, so it is never installed; only Omni's log says so: received message larger than max",
        "kubernetes.manifests of the Cluster document, or cluster.extraManifests by URL",
        "six patches of 0.9 MB each",
    ]),
    rule("template-install-disk", Warning, Accepts, [
        "a machine class with an additional disk above 5 GB that is not larger than its first, and no patch that names the disk",
        "Omni installs Talos on the smallest disk above 5 GB",
        "make disk_size the smallest, or machine.install.disk in a patch of the set (up to Omni 1.10)",
        "machineClass: {name: gpu-worker, size: 1}",
    ]),
    rule("template-hostname-twice", Warning, Accepts, [
        "a host name both by HostnameConfig and by machine.network",
        "Talos 1.12 and later: static hostname is already set in v1alpha1 config", "keep one of the two",
        "machine.network.hostname and kind: HostnameConfig",
    ]),
    rule("template-cilium-mtu", Warning, Accepts, [
        "Cilium without an MTU",
        "it uses the MTU of Omni's tunnel, 1280, for every pod: traffic is slow without an error",
        "set `mtu` (MTU in Helm values)", "a ConfigMap cilium-config without mtu",
    ]),
];
