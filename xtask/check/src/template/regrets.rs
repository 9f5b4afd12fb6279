//! What nobody refuses and operators regret.

use super::{Checker, Scope};
use crate::{Finding, Severity};
use model::spec::template::{ClusterTemplate, Inline, SetKind};
use model::spec::yaml::Node;
use model::spec::{At, Place};

impl Checker<'_> {
    pub(super) fn regrets(&mut self, t: &ClusterTemplate) {
        let contents = std::mem::take(&mut self.contents);
        let total: u32 = t.sets.iter().map(|s| s.machine_count().unwrap_or(u32::MAX)).fold(0, u32::saturating_add);
        let mut hostnames: Vec<(Scope, bool, Place)> = Vec::new();
        for (scope, content) in &contents {
            let machines = match scope {
                Scope::Cluster => total,
                Scope::Set(n) => t.sets[*n].machine_count().unwrap_or(u32::MAX),
                Scope::Machine => 1,
            };
            let workers = !matches!(scope, Scope::Set(n) if t.sets[*n].kind == SetKind::ControlPlane);
            for document in &content.documents {
                self.node_labels(&content.file, document, workers);
                if let Some((config, node)) = hostname(document) {
                    hostnames.push((*scope, config, node.at.in_file(&content.file)));
                    self.hostname(&content.file, node, machines);
                }
                for manifest in document.path(&["cluster", "inlineManifests"]).map_or(&[][..], Node::items) {
                    if let Some(text) = manifest.get("contents").and_then(Node::text) {
                        self.cilium(text, manifest.at.in_file(&content.file));
                    }
                }
            }
        }
        self.twice(&hostnames);
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

    fn node_labels(&mut self, file: &str, document: &Node, workers: bool) {
        let Some(labels) = document.path(&["machine", "nodeLabels"]) else { return };
        for entry in labels.entries().iter().filter(|e| e.key.starts_with("node-role.kubernetes.io/")) {
            if !workers && entry.key == "node-role.kubernetes.io/control-plane" {
                continue;
            }
            let message =
                format!("`{}` in nodeLabels: NodeRestriction refuses it and the node never gets ready", entry.key);
            let fix = "use another label, or set this one afterwards with `kubectl label node`";
            self.report(Severity::Error, "template-node-role", entry.at.in_file(file), message, fix);
        }
    }

    fn hostname(&mut self, file: &str, node: &Node, machines: u32) {
        if machines > 1 {
            let count = if machines == u32::MAX { "all".to_owned() } else { machines.to_string() };
            let message = format!("a static host name for {count} machines: every node gets the same name");
            let fix = "leave it out: the provider names each machine";
            self.report(Severity::Error, "template-static-hostname", node.at.in_file(file), message, fix);
        }
    }

    fn twice(&mut self, hostnames: &[(Scope, bool, Place)]) {
        let meets = |a: &Scope, b: &Scope| a == b || *a == Scope::Cluster || *b == Scope::Cluster;
        for (scope, config, place) in hostnames.iter().filter(|(_, config, _)| *config) {
            if hostnames.iter().any(|(s, c, _)| c != config && meets(s, scope)) {
                let message =
                    "a host name both by HostnameConfig and by machine.network: Talos 1.12 and later refuse that";
                let fix = "keep one of the two";
                self.findings.push(Finding::warning("template-hostname-twice", place.clone(), message, fix));
            }
        }
    }

    /// Cilium's configuration inside of text: the ConfigMap, or the arguments of its installer.
    fn cilium(&mut self, text: &str, place: Place) {
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

    fn cilium_config(&mut self, document: &Node, at: At) {
        let name = document.path(&["metadata", "name"]).and_then(Node::text);
        let kind = document.get("kind").and_then(Node::text);
        if name == Some("cilium-config") && kind == Some("ConfigMap") && document.path(&["data", "mtu"]).is_none() {
            self.no_mtu(at.in_file(self.file));
        }
    }

    fn no_mtu(&mut self, place: Place) {
        let message = "Cilium without an MTU takes the 1280 of Omni's tunnel for every pod: slow, and nothing says why";
        let fix = "set `mtu` in cilium-config (`MTU` in Helm values) to that of the machines' network, 1500 as a rule";
        self.report(Severity::Warning, "template-cilium-mtu", place, message.to_owned(), fix);
    }
}

/// A static host name in a document of a patch; true if it is a HostnameConfig.
fn hostname(document: &Node) -> Option<(bool, &Node)> {
    let named = |node: &Node| node.text().is_some_and(|t| !t.is_empty());
    if document.get("kind").and_then(Node::text) == Some("HostnameConfig") {
        return document.get("hostname").filter(|n| named(n)).map(|n| (true, n));
    }
    document.path(&["machine", "network", "hostname"]).filter(|n| named(n)).map(|n| (false, n))
}
