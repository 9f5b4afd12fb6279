//! The Cluster document.

use super::Checker;
use crate::machine_class::is_dns_label;
use crate::versions;
use model::spec::template::{ClusterTemplate, HealthCheck, Manifest};
use model::version::{self, Version};

impl Checker<'_> {
    pub(super) fn cluster(&mut self, t: &ClusterTemplate) {
        if t.cluster_documents > 1 {
            let message = format!("template should contain 1 cluster, got {}", t.cluster_documents);
            let at = t.second_cluster_at.unwrap_or(t.name_at);
            self.error("template-many-clusters", at, message, "keep one cluster a file");
        }
        self.name(t);
        let kubernetes = self.version(&t.kubernetes_version, t.kubernetes_at, "Kubernetes");
        let talos = self.version(&t.talos_version, t.talos_at, "Talos");
        if talos.is_some() && !t.talos_version.starts_with('v') {
            let message = format!("the Talos version `{}` should start with `v`", t.talos_version);
            self.error("template-talos-prefix", t.talos_at, message, "write it like v1.13.5");
        }
        if let (Some(kubernetes), Some(talos)) = (&kubernetes, &talos) {
            self.pair(t, kubernetes, talos);
        }
        if t.features.disk_encryption && talos.as_ref().is_some_and(|v| version::is_before(v, 1, 5)) {
            let at = t.features.disk_encryption_at.unwrap_or(t.talos_at);
            let message = "disk encryption is supported only for Talos 1.5.0 and later";
            self.error("template-encryption", at, message, "use a newer Talos, or leave it out");
        }
        if let Some(at) = t.features.backup_interval_at
            && t.features.backup_interval_s > 0.0
            && !(3600.0..=86_400.0).contains(&t.features.backup_interval_s)
        {
            let message = "the server takes backup intervals from 1h to 24h";
            self.error("template-backup-interval", at, message, "use an interval between 1h and 24h");
        }
        self.descriptors(&t.labels, &t.annotations);
        self.manifests(&t.manifests);
        self.healthchecks(&t.healthchecks);
        self.patches(&t.patches, super::Scope::Cluster);
    }

    fn name(&mut self, t: &ClusterTemplate) {
        let plain = |c: char| cel::is_letter_or_digit(c) || c == '-' || c == '_';
        if t.name.is_empty() {
            self.error("template-name", t.name_at, "the cluster's `name` is missing", "add `name: …`");
        } else if !t.name.chars().all(plain) {
            let message = format!("`{}`: a name has letters, digits, dashes and underscores", t.name);
            self.error("template-name", t.name_at, message, "use a-z, 0-9 and `-`");
        } else if !is_dns_label(&t.name) {
            let message =
                format!("`{}` is no DNS label: it becomes part of host names and of names of machines", t.name);
            self.warning("template-name-dns", t.name_at, message, "use a-z, 0-9 and `-`, up to 63 characters");
        }
    }

    fn version(&mut self, text: &str, at: model::spec::At, what: &str) -> Option<Version> {
        if text.is_empty() {
            let message = format!("the {what} version is missing");
            self.error("template-version", at, message, "add `version: …`");
            return None;
        }
        match version::parse(text) {
            Ok(version) => {
                if !version::is_full(text) {
                    let message =
                        format!("`{text}` is no full version: the server knows {what} versions by three numbers");
                    self.error("template-version-short", at, message, "add the patch version");
                }
                Some(version)
            }
            Err(why) => {
                let message = format!("`{text}` is no {what} version: {why}");
                self.error("template-version", at, message, "write it like v1.13.5");
                None
            }
        }
    }

    /// Whether the server would take the versions: by its own lists, or by Talos's table.
    fn pair(&mut self, t: &ClusterTemplate, kubernetes: &Version, talos: &Version) {
        let Some(offered) = self.context.talos_versions else {
            return self.pair_by_table(t, kubernetes, talos);
        };
        let (bare_talos, bare_kubernetes) = (version::bare(talos), version::bare(kubernetes));
        match offered.iter().find(|v| v.version == bare_talos) {
            None => {
                let usable = offered.iter().filter(|v| !v.unsupported).map(|v| v.version.as_str());
                let newest = version::newest_release(usable);
                let message = format!("this Omni does not offer Talos {bare_talos}");
                let fix =
                    newest.map_or("see `omnictl get talosversions`".to_owned(), |n| format!("use v{n}, for example"));
                self.error("template-talos-version", t.talos_at, message, &fix);
            }
            Some(offer) if offer.unsupported => {
                let message = format!("Talos {bare_talos} is not supported by this Omni");
                self.error("template-talos-version", t.talos_at, message, "see `omnictl get talosversions`");
            }
            Some(offer) if !offer.compatible_kubernetes.contains(&bare_kubernetes) => {
                let message = format!("Kubernetes {bare_kubernetes} is not compatible with Talos {bare_talos}");
                let best = version::newest_release(offer.compatible_kubernetes.iter().map(String::as_str));
                let fix =
                    best.map_or("see `omnictl get talosversions`".to_owned(), |b| format!("use v{b}, for example"));
                self.error("template-kubernetes-version", t.kubernetes_at, message, &fix);
            }
            Some(_) => {}
        }
    }

    fn pair_by_table(&mut self, t: &ClusterTemplate, kubernetes: &Version, talos: &Version) {
        if version::is_before(talos, 1, 9) {
            let message = "Omni 1.9 supports Talos from 1.9 on";
            self.warning("template-version-pair", t.talos_at, message, "use a newer Talos");
            return;
        }
        let Some((least, most)) = versions::kubernetes_of_talos(talos.minor).filter(|_| talos.major == 1) else {
            return;
        };
        if kubernetes.major != 1 || !(least..=most).contains(&kubernetes.minor) {
            let message = format!("Talos 1.{} supports Kubernetes 1.{least} to 1.{most}", talos.minor);
            self.warning("template-version-pair", t.kubernetes_at, message, "use a Kubernetes version of that range");
        }
    }

    fn manifests(&mut self, manifests: &[Manifest]) {
        for manifest in manifests {
            self.descriptors(&manifest.labels, &manifest.annotations);
            let at = manifest.at;
            if manifest.name.is_empty() && manifest.file.is_none() {
                self.error("template-manifest", at, "a manifest needs a `name`", "name it");
            }
            if manifest.mode.is_empty() {
                self.error(
                    "template-manifest",
                    at,
                    "a manifest needs a `mode`",
                    "write `mode: full` or `mode: one-time`",
                );
            }
            match (&manifest.file, &manifest.inline) {
                (Some(_), Some(_)) => {
                    self.error(
                        "template-manifest",
                        at,
                        "a manifest has `file` or `inline`, not both",
                        "keep one of the two",
                    );
                }
                (None, None) => {
                    self.error("template-manifest", at, "a manifest needs `file` or `inline`", "add one of the two")
                }
                (Some((path, at)), None) => drop(self.file(path, *at)),
                (None, Some(_)) => {}
            }
        }
    }

    fn healthchecks(&mut self, healthchecks: &[HealthCheck]) {
        let mut seen: Vec<&str> = Vec::new();
        for check in healthchecks {
            let at = check.at;
            self.descriptors(&check.labels, &check.annotations);
            let id = if check.id_override.is_empty() { &check.name } else { &check.id_override };
            if id.is_empty() {
                self.error("template-healthcheck", at, "a healthcheck needs `name` or `idOverride`", "name it");
            } else if seen.contains(&id.as_str()) {
                self.error("template-healthcheck", at, format!("a second healthcheck `{id}`"), "give it another name");
            }
            seen.push(id);
            match (&check.file, &check.job) {
                (Some(_), Some(_)) => {
                    self.error(
                        "template-healthcheck",
                        at,
                        "a healthcheck has `job` or `file`, not both",
                        "keep one of the two",
                    );
                }
                (None, None) => {
                    self.error("template-healthcheck", at, "a healthcheck needs `job` or `file`", "add one of the two")
                }
                (Some((path, at)), None) => drop(self.file(path, *at)),
                (None, Some(_)) => {}
            }
        }
    }
}
