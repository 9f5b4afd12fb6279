//! Lints: templates that every program accepts but that cause problems later.

use std::collections::HashSet;

use super::{Checker, ParsedPatch, PatchScope, Undecided, addresses};
use crate::patch::Content;
use crate::provider_data;
use crate::talos::{Excluded, applies, excluded, is_of_control_planes};
use domain::spec::template::{ClusterTemplate, Inline, MachineSet, SetKind};
use domain::words;
use yaml::{Finding, Location, Node, Position, Severity};

/// A fresh machine accepts only a configuration below this size, which is gRPC's limit for one message.
const MOST: usize = 4 << 20;

/// The machines that a patch applies to.
#[derive(Clone, Copy)]
struct Target {
    /// The number of machines; `u32::MAX` for all that match.
    machines: u32,
    workers: bool,
}

impl Target {
    fn of(t: &ClusterTemplate, scope: PatchScope, control_plane: &HashSet<&str>) -> Target {
        let count = |set: &MachineSet| set.machine_count().unwrap_or(u32::MAX);
        match scope {
            PatchScope::Cluster => Target {
                machines: t.sets.iter().map(count).fold(0, u32::saturating_add),
                workers: t.workers().any(|set| count(set) > 0),
            },
            PatchScope::Set(n) => {
                Target { machines: count(&t.sets[n]), workers: t.sets[n].kind != SetKind::ControlPlane }
            }
            PatchScope::Machine(n) => {
                Target { machines: 1, workers: !control_plane.contains(t.machines[n].name.as_str()) }
            }
        }
    }

    fn count(self) -> String {
        if self.machines == u32::MAX { "all machines".to_owned() } else { words::count(self.machines, "machine") }
    }
}

impl Checker<'_> {
    pub(super) fn lints(&mut self, t: &ClusterTemplate) {
        let patches = std::mem::take(&mut self.contents);
        self.sizes(t, &patches);
        self.install_disks(t, &patches);
        let contents: Vec<(PatchScope, &Content)> =
            patches.iter().filter_map(|patch| Some((patch.scope, patch.content.as_ref()?))).collect();
        let aliases: Vec<&str> =
            contents.iter().flat_map(|(_, content)| &content.documents).filter_map(addresses::alias).collect();
        let control_plane: HashSet<&str> =
            t.control_plane().into_iter().flat_map(|set| &set.machines).map(|(machine, _)| machine.as_str()).collect();
        let mut hostnames: Vec<(PatchScope, bool, Location)> = Vec::new();
        for (scope, content) in &contents {
            let target = Target::of(t, *scope, &control_plane);
            for document in &content.documents {
                self.kubelet_labels(&content.file, document);
                self.written_files(&content.file, document);
                if target.workers {
                    self.node_labels(&content.file, document);
                    self.report_control_plane_fields(&content.file, document);
                }
                if let Some((config, node)) = hostname(document) {
                    match target.machines {
                        0 | 1 => hostnames.push((*scope, config, node.at.in_file(&content.file))),
                        _ => self.hostname(&content.file, node, target),
                    }
                }
                if target.machines > 1 {
                    for node in addresses::of(document, &aliases) {
                        self.address(&content.file, node, target);
                    }
                }
                for manifest in document.path(&["cluster", "inlineManifests"]).map_or(&[][..], Node::items) {
                    if let Some(text) = manifest.get("contents").and_then(Node::text) {
                        self.cilium(text, manifest.at.in_file(&content.file));
                    }
                }
            }
        }
        self.check_single_hostnames(&contents, &hostnames);
        self.report_both_forms(&contents, t.sets.iter().any(|set| set.class.is_none() && !set.machines.is_empty()));
        self.merged(t, &contents);
        for manifest in &t.manifests {
            match &manifest.inline {
                Some(Inline::Text { text, .. }) => self.cilium(text, manifest.at.in_file(self.file)),
                Some(Inline::Documents(documents)) => {
                    documents.iter().for_each(|d| self.cilium_config(d, manifest.at));
                }
                None => {}
            }
        }
    }

    /// Checks the size of everything that one machine is sent when it is installed.
    fn sizes(&mut self, t: &ClusterTemplate, patches: &[ParsedPatch]) {
        if patches.iter().map(|patch| patch.size).sum::<usize>() < MOST {
            return;
        }
        let size = |scope: PatchScope| -> usize { patches.iter().filter(|p| p.scope == scope).map(|p| p.size).sum() };
        let of_cluster = size(PatchScope::Cluster);
        let own: Vec<usize> = (0..t.machines.len()).map(|n| size(PatchScope::Machine(n))).collect();
        let of_machine = |set: &MachineSet| {
            let listed = |name: &str| set.machines.iter().any(|(machine, _)| machine == name);
            let sizes = t.machines.iter().zip(&own).filter(|(machine, _)| listed(&machine.name)).map(|(_, size)| *size);
            sizes.max().unwrap_or_default()
        };
        let sets =
            t.sets.iter().enumerate().map(|(n, set)| (of_cluster + size(PatchScope::Set(n)) + of_machine(set), set));
        let Some((most, set)) = sets.max_by_key(|(size, _)| *size).filter(|(size, _)| *size >= MOST) else { return };
        let at = t.patches.first().or(set.patches.first()).map_or(t.name_at, |patch| patch.at);
        let message = format!(
            "the patches for one machine of {} total {:.1} MB: a machine in maintenance mode accepts less than 4 \
             MiB, so it is never installed, and only Omni's log shows why",
            set.title(),
            most as f64 / 1e6
        );
        let fix = "move manifests to kubernetes.manifests of the Cluster document, which Omni applies, or to \
                   cluster.extraManifests by URL";
        self.warning("template-patches-too-large", at, message, fix);
    }

    /// Reports classes whose machines get Talos on a disk other than the first, unless a patch names the disk.
    fn install_disks(&mut self, t: &ClusterTemplate, patches: &[ParsedPatch]) {
        let names_disk = |document: &Node| {
            ["disk", "diskSelector"].iter().any(|key| document.path(&["machine", "install", key]).is_some())
        };
        let named = |n: usize| {
            let of_set =
                patches.iter().filter(|p| matches!(p.scope, PatchScope::Cluster) || p.scope == PatchScope::Set(n));
            of_set.filter_map(|p| p.content.as_ref()).flat_map(|content| &content.documents).any(names_disk)
        };
        for (n, set) in t.sets.iter().enumerate() {
            let Some(class) = &set.class else { continue };
            let found = self.context.class(&class.name).and_then(|known| known.install_disk.clone());
            if let Some(message) = found.filter(|_| !named(n) && !self.undecided.contains(&Undecided::Files)) {
                let message = format!("machine class `{}`: {message}", class.name);
                self.warning("template-install-disk", class.name_at, message, provider_data::INSTALL_DISK_FIX);
            }
        }
    }

    fn address(&mut self, file: &str, node: &Node, target: Target) {
        let text = node.text().unwrap_or_default();
        let message = format!("the static address {text} applies to {}: each of them gets it", target.count());
        let fix = "use DHCP, which a machine needs before it can receive a patch, or create one machine set with a \
                   single machine per address";
        self.report(Severity::Error, "template-static-address", node.at.in_file(file), message, fix);
    }

    /// Reports labels and taints that fail on workers: Talos writes those of a worker with the kubelet's own login, and those of
    /// a control plane as an administrator (siderolabs/talos internal/app/machined/pkg/controllers/k8s/node_apply.go).
    fn node_labels(&mut self, file: &str, document: &Node) {
        let refused = "the API server rejects the whole update of a worker's node (NodeRestriction): no labels or \
                       taints from `machine` are set, and the node becomes ready without them";
        let labels = document.path(&["machine", "nodeLabels"]);
        for entry in labels.map_or(&[][..], Node::entries).iter().filter(|e| is_restricted(&e.key)) {
            let message = format!("`{}` in nodeLabels: {refused}", entry.key);
            let fix = "use a label outside of kubernetes.io and k8s.io, or set this one with `kubectl label node NODE`";
            self.report(Severity::Warning, "template-node-role", entry.at.in_file(file), message, fix);
        }
        let taints = document.path(&["machine", "nodeTaints"]);
        if let Some(entry) = taints.and_then(|taints| taints.entries().first()) {
            let message = format!("`{}` in nodeTaints: {refused}", entry.key);
            let fix =
                "set the taint with `kubectl taint node NODE`, or `registerWithTaints` in machine.kubelet.extraConfig";
            self.report(Severity::Warning, "template-node-taints", entry.at.in_file(file), message, fix);
        }
    }

    /// Reports what Talos accepts only on control planes (siderolabs/talos pkg/machinery/config/types/v1alpha1 `Validate`).
    fn report_control_plane_fields(&mut self, file: &str, document: &Node) {
        if let Some(kind) = document.get("kind").filter(|kind| is_of_control_planes(kind.text().unwrap_or_default()))
            && self.talos.is_some()
            && document.get("$patch").is_none()
        {
            let name = kind.text().unwrap_or_default();
            self.not_for_workers(file, kind.at, name);
        }
        let interfaces = document.path(&["machine", "network", "interfaces"]).map_or(&[][..], Node::items);
        let links = interfaces
            .iter()
            .flat_map(|device| std::iter::once(device).chain(device.get("vlans").map_or(&[][..], Node::items)));
        let vips = links.filter_map(|link| Some(("vip", link.get("vip")?)));
        let access = document.path(&["machine", "features", "kubernetesTalosAPIAccess"]);
        let access = access.filter(|access| access.get("enabled").and_then(Node::text) == Some("true"));
        let fields = [("cluster.etcd", document.path(&["cluster", "etcd"])), ("kubernetesTalosAPIAccess", access)];
        let fields = fields.into_iter().filter_map(|(name, node)| Some((name, node?)));
        for (name, node) in fields.chain(vips).filter(|(_, node)| !node.is_null() && node.get("$patch").is_none()) {
            self.not_for_workers(file, node.at, name);
        }
    }

    fn not_for_workers(&mut self, file: &str, at: Position, name: &str) {
        let message = format!(
            "`{name}` for workers: Talos accepts it only on control planes, and rejects the whole configuration"
        );
        let fix = "move the patch to the ControlPlane document";
        self.report(Severity::Error, "template-patch-talos", at.in_file(file), message, fix);
    }

    /// Reports labels that keep a kubelet from starting, on any node (kubernetes cmd/kubelet/app/options `ValidateKubeletFlags`);
    /// Talos passes them on (siderolabs/talos internal/app/machined/pkg/controllers/k8s/kubelet_spec.go).
    fn kubelet_labels(&mut self, file: &str, document: &Node) {
        let of_kubelet = match document.get("kind").and_then(Node::text) {
            Some("KubeletConfig") => Some(document),
            _ => document.path(&["machine", "kubelet"]),
        };
        let Some(value) = of_kubelet.and_then(|kubelet| kubelet.path(&["extraArgs", "node-labels"])) else { return };
        for node in std::iter::once(value).chain(value.items()) {
            let labels =
                node.text().unwrap_or_default().split(',').map(|label| label.split('=').next().unwrap_or(label));
            for label in labels.map(str::trim).filter(|label| is_restricted(label)) {
                let message = format!(
                    "`{label}` in the kubelet's `node-labels`: the kubelet does not start (unknown 'kubernetes.io' \
                     or 'k8s.io' labels specified with --node-labels)"
                );
                let fix =
                    "use a label outside of kubernetes.io and k8s.io, or set this one with `kubectl label node NODE`";
                self.report(Severity::Warning, "template-node-role", node.at.in_file(file), message, fix);
            }
        }
    }

    /// Reports entries of `machine.files` at which the boot stops: Talos creates files only below /var and does nothing but
    /// `create`, `append` and `overwrite` (siderolabs/talos v1.9.6 to v1.13.5 internal/app/machined/pkg/runtime/v1alpha1
    /// v1alpha1_sequencer_tasks.go `WriteUserFiles`). Two places have another writer: static pods, and containerd's part.
    fn written_files(&mut self, file: &str, document: &Node) {
        for entry in document.path(&["machine", "files"]).map_or(&[][..], Node::items) {
            if entry.is_null() || entry.get("$patch").is_some() {
                continue;
            }
            let text = |key: &str| entry.get(key).and_then(Node::text).unwrap_or_default();
            let (path, op) = (text("path"), text("op"));
            let stops = "and the boot of the machine fails";
            if !matches!(op, "create" | "append" | "overwrite") {
                let place = entry.get("op").map_or(entry.at, |node| node.at).in_file(file);
                let message = match op {
                    "" => format!("a file without `op`: Talos does not write it, {stops}"),
                    _ => format!("`op: {op}`: Talos does not know it (unknown operation for file), {stops}"),
                };
                self.report(Severity::Error, "template-files", place, message, "write create, append or overwrite");
                continue;
            }
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
            let has_another_writer = directory == "/etc/kubernetes/manifests"
                || (directory == "/etc/cri/conf.d" && name == "20-customization.part");
            let is_in_var = path.trim_start_matches('/').split('/').next() == Some("var");
            if op == "create" && !has_another_writer && !is_in_var {
                let place = entry.get("path").map_or(entry.at, |node| node.at).in_file(file);
                let message = format!(
                    "`{path}`: Talos refuses to create a file there (create operation not allowed outside of /var), {stops}"
                );
                let fix = if directory == "/etc/cri/conf.d" {
                    "write the settings into /etc/cri/conf.d/20-customization.part, the only part that a patch can set"
                } else {
                    "put the file below /var, or use `configFiles` of an ExtensionServiceConfig if an extension reads it"
                };
                self.report(Severity::Error, "template-files", place, message, fix);
            }
        }
    }

    fn hostname(&mut self, file: &str, node: &Node, target: Target) {
        let message = format!("a static host name for {}: every node gets the same name", target.count());
        let fix = "omit it: the provider names each machine";
        self.report(Severity::Error, "template-static-hostname", node.at.in_file(file), message, fix);
    }

    /// Reports a document and the older field of the same setting for the same machines. Machines of a new cluster have documents
    /// from the start (siderolabs/talos v1.14.0-rc.1 pkg/machinery/config/generate/kubernetes.go).
    fn report_both_forms(&mut self, contents: &[(PatchScope, &Content)], listed: bool) {
        let documents = || {
            contents.iter().flat_map(|(scope, content)| content.documents.iter().map(move |d| (*scope, *content, d)))
        };
        let kind = |document: &Node| document.get("kind").and_then(Node::text).map(str::to_owned);
        let kinds: HashSet<String> = documents().filter_map(|(.., document)| kind(document)).collect();
        let talos = self.talos;
        let sets = |path: &str| -> Vec<(PatchScope, &Content, Position)> {
            let keys: Vec<&str> = path.split(['=', '&']).next().unwrap_or_default().split('.').collect();
            let set = |document: &Node| {
                let (last, parents) = keys.split_last()?;
                let entry = document.path(parents)?.entry(last)?;
                let is_set = !entry.value.is_null() && entry.value.get("$patch").is_none();
                (is_set && (!path.contains(['=', '&']) || applies(path, document))).then_some(entry.at)
            };
            documents().filter_map(|(scope, content, document)| Some((scope, content, set(document)?))).collect()
        };
        for &Excluded { kind: name, path, condition, since, advice } in excluded(self.talos) {
            // If the kind is the path of a field, such a cluster has the field, and a patch may change it.
            let given = since.is_some()
                && talos >= since
                && (listed || !name.contains('.'))
                && !name.split('|').any(|name| name.contains('.') && !sets(name).is_empty());
            if !given && !kinds.contains(name) {
                continue;
            }
            let fields = sets(path);
            if fields.is_empty() {
                continue;
            }
            if let (Some((_, content, at)), Some(since), true) = (fields.first(), since, given) {
                let field = path.split(['=', '&']).next().unwrap_or_default();
                let beside = format!("next to their {name}");
                let (why, fix) =
                    advice.unwrap_or((&beside, "write the setting as a document, unless the cluster is older"));
                let message = format!(
                    "`{field}`: machines of a cluster that was created with Talos 1.{since} or later reject it {why}"
                );
                self.report(Severity::Warning, "template-older-form", at.in_file(&content.file), message, fix);
            }
            let there = |document: &Node| {
                let of = kind(document).as_deref() == Some(name) && document.get("$patch").is_none();
                of && applies(condition, document)
            };
            for (scope, content, document) in documents().filter(|(.., document)| there(document)) {
                if fields.iter().any(|(field, ..)| overlaps(field, &scope)) {
                    let message = format!("{name} and `{path}` for the same machines: Talos rejects the combination");
                    let place = document.at.in_file(&content.file);
                    self.report(Severity::Error, "template-patch-talos", place, message, "keep only one of them");
                }
            }
        }
    }

    /// Checks host names of single machines. Clusters created with Talos 1.12 or later have `HostnameConfig` with `auto: stable`
    /// (siderolabs/talos pkg/machinery/config/generate/network.go), which excludes another name of its own and the older field.
    fn check_single_hostnames(
        &mut self,
        contents: &[(PatchScope, &Content)],
        hostnames: &[(PatchScope, bool, Location)],
    ) {
        if self.talos.is_none_or(|minor| minor < 12) {
            return;
        }
        let without_auto = |document: &Node, config: bool| {
            let (key, word) = if config { ("auto", "off") } else { ("$patch", "delete") };
            let text = document.get(key).and_then(Node::text).unwrap_or_default();
            let switched = document.path(&["machine", "features", "stableHostname"]).is_some();
            switched
                || document.get("kind").and_then(Node::text) == Some("HostnameConfig")
                    && text.eq_ignore_ascii_case(word)
        };
        for (scope, config, place) in hostnames {
            let reaches = |of: &PatchScope| {
                overlaps(of, scope) || matches!((of, scope), (PatchScope::Set(_), PatchScope::Machine(_)))
            };
            let mut near = contents.iter().filter(|(of, _)| reaches(of)).flat_map(|(_, content)| &content.documents);
            if !near.any(|document| without_auto(document, *config)) {
                let fix = "write a HostnameConfig with `hostname` and `auto: off`";
                // Machines of older clusters have `stableHostname` instead of `auto: stable`.
                if *config {
                    let message =
                        "a HostnameConfig without `auto: off`: Talos sets an automatic name, and rejects a second one";
                    self.findings.push(Finding::error("template-patch-talos", place.clone(), message, fix));
                    continue;
                }
                let message = "machine.network.hostname: machines of a cluster that was created with Talos 1.12 or \
                               later reject it";
                self.findings.push(Finding::warning("template-hostname-twice", place.clone(), message, fix));
            }
        }
    }

    /// Checks Cilium's configuration inside text: the ConfigMap, or the arguments of its installer.
    fn cilium(&mut self, text: &str, place: Location) {
        let config = text.contains("cilium-config") && text.contains("ConfigMap");
        let install = text.contains("cilium install") || text.contains("name: cilium-install");
        let sets_mtu = text.lines().any(|line| {
            let line = line.trim_start().trim_start_matches("- ");
            let key = line.trim_start_matches(['"', '\'']).to_ascii_lowercase();
            key.starts_with("mtu") || line.contains("MTU=") || line.contains("mtu=")
        });
        if (config || install) && !sets_mtu {
            self.no_mtu(place);
        }
    }

    fn cilium_config(&mut self, document: &Node, at: Position) {
        let name = document.path(&["metadata", "name"]).and_then(Node::text);
        let kind = document.get("kind").and_then(Node::text);
        if name == Some("cilium-config") && kind == Some("ConfigMap") && document.path(&["data", "mtu"]).is_none() {
            self.no_mtu(at.in_file(self.file));
        }
    }

    fn no_mtu(&mut self, place: Location) {
        let message = "without an MTU, Cilium uses 1280 from Omni's tunnel for every pod: traffic is slow, but no error is reported";
        let fix = "set `mtu` in cilium-config (`MTU` in Helm values) to the MTU of the machines' network, usually 1500";
        self.report(Severity::Warning, "template-cilium-mtu", place, message.to_owned(), fix);
    }
}

/// Returns true if some machine may get patches of both scopes.
pub(super) fn overlaps(one: &PatchScope, other: &PatchScope) -> bool {
    one == other || *one == PatchScope::Cluster || *other == PatchScope::Cluster
}

/// Returns true for a label that a kubelet may not set on its node (the NodeRestriction admission plugin of Kubernetes,
/// plugin/pkg/admission/noderestriction, and kubelet/pkg/apis/well_known_labels.go).
fn is_restricted(label: &str) -> bool {
    const ALLOWED: &str = "kubernetes.io/hostname kubernetes.io/os kubernetes.io/arch topology.kubernetes.io/zone \
         topology.kubernetes.io/region failure-domain.beta.kubernetes.io/zone \
         failure-domain.beta.kubernetes.io/region beta.kubernetes.io/os beta.kubernetes.io/arch \
         beta.kubernetes.io/instance-type";
    let Some((namespace, _)) = label.split_once('/') else { return false };
    let is_in = |name: &str| namespace == name || namespace.ends_with(&format!(".{name}"));
    let own = is_in("kubelet.kubernetes.io") || is_in("node.kubernetes.io");
    (is_in("kubernetes.io") || is_in("k8s.io")) && !own && !ALLOWED.split(' ').any(|allowed| allowed == label)
}

/// Returns the static host name in a document of a patch, and whether the document is a HostnameConfig.
fn hostname(document: &Node) -> Option<(bool, &Node)> {
    let named = |node: &Node| node.text().is_some_and(|t| !t.is_empty());
    if document.get("kind").and_then(Node::text) == Some("HostnameConfig") {
        return document.get("hostname").filter(|n| named(n)).map(|n| (true, n));
    }
    document.path(&["machine", "network", "hostname"]).filter(|n| named(n)).map(|n| (false, n))
}
