//! Checks the Cluster document.

use std::collections::HashSet;

use super::Checker;
use crate::values::is_label;
use crate::{placeholder, releases};
use domain::releases::{Bug, Severity, table};
use domain::spec::name;
use domain::spec::template::{ClusterTemplate, HealthCheck, Manifest, NewerKey};
use domain::version::Minor;
use domain::version::{self, Version};
use yaml::Position;

impl Checker<'_> {
    pub(super) fn cluster(&mut self, t: &ClusterTemplate) {
        if t.cluster_documents > 1 {
            let message = format!("template should contain 1 cluster, got {}", t.cluster_documents);
            let at = t.second_cluster_at.unwrap_or(t.name_at);
            self.error("template-many-clusters", at, message, "keep one cluster per file");
        }
        self.name(t);
        let kubernetes = self.version(&t.kubernetes_version, t.kubernetes_at, "Kubernetes");
        let talos = self.version(&t.talos_version, t.talos_at, "Talos");
        if talos.is_some() && !t.talos_version.starts_with('v') {
            let message = format!("the Talos version `{}` should start with `v`", t.talos_version);
            let fix = format!("write v{}", t.talos_version);
            self.error("template-talos-prefix", t.talos_at, message, &fix);
        }
        if let (Some(kubernetes), Some(talos)) = (&kubernetes, &talos) {
            self.pair(t, kubernetes, talos);
        }
        if let Some(talos) = &talos {
            self.talos = (talos.major == 1).then_some(talos.minor);
            self.meta_keys(t, talos);
        }
        if t.features.disk_encryption && talos.as_ref().is_some_and(|v| version::is_before(v, 1, 5)) {
            let at = t.features.disk_encryption_at.unwrap_or(t.talos_at);
            let message = "disk encryption is supported only for Talos 1.5.0 and later";
            self.error("template-encryption", at, message, "use a newer Talos, or omit it");
        }
        if let (Some(at), Some(talos)) = (t.features.disable_public_discovery_at, &talos) {
            let embedded = t.features.use_embedded_discovery_service;
            let (message, fix) = match version::is_before(talos, 1, 14) {
                true => (
                    "disables the public discovery service only for clusters created with Talos 1.14 or newer",
                    "use a newer Talos, or omit it",
                ),
                false => ("rejects a cluster without any discovery service", "add `useEmbeddedDiscoveryService: true`"),
            };
            if version::is_before(talos, 1, 14) || !embedded {
                self.error("template-discovery", at, format!("{} {message}", self.omni_from(10)), fix);
            }
        }
        self.extensions(t);
        let older = self.context.omni.filter(|omni| omni.is_before(5, 8) && t.features.backup_interval_is_number);
        if let Some((omni, at)) = older.zip(t.features.backup_interval_at) {
            let message = format!(
                "omnictl {omni} does not accept a number as `interval`: 1.5.8 is the first version that accepts 0"
            );
            self.error("template-interval", at, message, "write 0s");
        }
        if let Some(at) = t.features.backup_interval_at.filter(|_| t.features.backup_interval_s != 0.0) {
            if t.features.backup_interval_s < 0.0 {
                let message = "no backup is made at a negative interval";
                self.error("template-backup-interval", at, message, "use an interval between 1h and 24h");
            } else if !(3600.0..=86_400.0).contains(&t.features.backup_interval_s) {
                let message = "the server accepts backup intervals from 1h to 24h";
                self.error("template-backup-interval", at, message, "use an interval between 1h and 24h");
            }
            if self.context.backup_store == Some(false) {
                let message = "no backup is made: Omni in docker/compose.yaml has no storage for etcd backups";
                let fix = "start Omni with `--etcd-backup-s3` or `--etcd-backup-local-path`, or remove the interval \
                           (docs/how-to/operations.md#etcd-backups-of-the-clusters)";
                self.warning("template-backup-store", at, message, fix);
            }
        }
        self.labels(&t.labels);
        self.manifests(&t.manifests);
        self.healthchecks(t);
        self.patches(&t.patches, super::PatchScope::Cluster);
    }

    /// Checks lists of extensions, which Omni has limited since 1.9 (validations/extensions.go).
    fn extensions(&mut self, t: &ClusterTemplate) {
        if self.context.omni.is_some_and(|omni| omni.is_before(9, 0)) {
            return;
        }
        let of_sets = t.sets.iter().map(|set| (&set.system_extensions, set.system_extensions_at));
        let of_machines = t.machines.iter().map(|machine| (&machine.system_extensions, Some(machine.name_at)));
        let own = (&t.system_extensions, None);
        for (list, at) in std::iter::once(own).chain(of_sets).chain(of_machines) {
            let (list, at) = (list.as_deref().unwrap_or_default(), at.unwrap_or(t.name_at));
            let mut seen = HashSet::new();
            let full = |name: &str| if name.contains('/') { name.to_owned() } else { format!("siderolabs/{name}") };
            let twice = list.iter().find(|name| !seen.insert(full(name)));
            let message = match twice {
                Some(name) => {
                    format!("the extension `{name}` is listed more than once: {} rejects duplicates", self.omni_from(9))
                }
                None if list.len() > 256 => {
                    format!("{} accepts up to 256 extensions, not {}", self.omni_from(9), list.len())
                }
                None => continue,
            };
            self.error("template-extensions", at, message, "list each extension once");
        }
    }

    /// Names the Omni that refuses what Omni 1.`since` and later refuse.
    fn omni_from(&self, since: u64) -> String {
        match self.context.omni.filter(|omni| !omni.is_before(since, 0)) {
            Some(omni) => format!("Omni {omni}"),
            None => format!("Omni 1.{since} or later"),
        }
    }

    fn name(&mut self, t: &ClusterTemplate) {
        let plain = |c: char| selector::is_letter_or_digit(c) || c == '-' || c == '_';
        if t.name.is_empty() {
            self.error("template-name", t.name_at, "the cluster's `name` is missing", "add `name: …`");
        } else if !t.name.chars().all(plain) {
            let message = format!("`{}`: a name may contain only letters, digits, dashes and underscores", t.name);
            self.error("template-name", t.name_at, message, "use a-z, 0-9 and `-`");
        } else if !placeholder::is_placeholder(&t.name) && name::check("cluster", &t.name).is_err() {
            let message =
                format!("`{}` is not a DNS label, but it becomes part of host names and machine names", t.name);
            self.warning("template-name-dns", t.name_at, message, "use a-z, 0-9 and `-`, up to 63 characters");
        }
        let other = self.context.file_name.filter(|file| *file != t.name && !placeholder::is_placeholder(&t.name));
        if let Some(file) = other.filter(|_| !t.name.is_empty()) {
            let name = &t.name;
            let message =
                format!("the file is called `{file}`, but contains the template of cluster `{name}`, not of `{file}`");
            let fix = format!("rename it to {name}.yaml, or write `name: {file}` if you mean that cluster");
            self.warning("template-file-name", t.name_at, message, &fix);
        }
    }

    fn version(&mut self, text: &str, at: Position, what: &str) -> Option<Version> {
        if text.is_empty() {
            let message = format!("the {what} version is missing");
            self.error("template-version", at, message, "add `version: …`");
            return None;
        }
        match version::parse(text) {
            Ok(version) => {
                if !version::is_full(text) {
                    let message = format!(
                        "`{text}` is not a full version: the server requires {what} versions with three numbers"
                    );
                    self.error("template-version-short", at, message, "add the patch version");
                }
                Some(version)
            }
            Err(why) => {
                let message = format!("`{text}` is not a valid {what} version: {why}");
                let fix = match self.default_version(what) {
                    Some((omni, version)) => {
                        format!("write it as vMAJOR.MINOR.PATCH; the default of Omni {omni} is v{version}")
                    }
                    None => "write it as vMAJOR.MINOR.PATCH".to_owned(),
                };
                self.error("template-version", at, message, &fix);
                None
            }
        }
    }

    /// Returns the version of Talos or Kubernetes that this Omni, or the one that this project pins, uses by default.
    fn default_version(&self, what: &str) -> Option<(Minor, &'static Version)> {
        let omni = self.context.omni.map_or_else(|| table().recommended.omni.version.clone(), |omni| omni.version());
        let release = table().omni(&omni)?;
        let version = match what {
            "Talos" => release.talos.as_ref().map(|talos| &talos.default),
            _ => release.kubernetes.as_ref(),
        };
        Some((release.minor, version?))
    }

    /// Checks that the server would accept the versions: by its own lists, or by Talos's table.
    fn pair(&mut self, t: &ClusterTemplate, kubernetes: &Version, talos: &Version) {
        let Some(offered) = self.context.talos_versions else {
            return self.pair_by_table(t, kubernetes, talos);
        };
        let (bare_talos, bare_kubernetes) = (version::bare(talos), version::bare(kubernetes));
        match offered.iter().find(|v| v.version == bare_talos) {
            None => {
                let usable = offered.iter().filter(|v| !v.unsupported).map(|v| v.version.as_str());
                let newest = version::newest_release(usable);
                let message = format!("{} does not offer Talos {bare_talos}", self.this_omni());
                let fix = newest.map_or("see `omnictl get talosversions`".to_owned(), |n| format!("use e.g. v{n}"));
                self.error("template-talos-version", t.talos_at, message, &fix);
            }
            Some(offer) if offer.unsupported => {
                let message = format!("{} does not support Talos {bare_talos}", self.this_omni());
                self.error("template-talos-version", t.talos_at, message, "see `omnictl get talosversions`");
            }
            Some(offer) if !offer.compatible_kubernetes.contains(&bare_kubernetes) => {
                let message = format!("Kubernetes {bare_kubernetes} is not compatible with Talos {bare_talos}");
                let best = version::newest_release(offer.compatible_kubernetes.iter().map(String::as_str));
                let fix = best.map_or("see `omnictl get talosversions`".to_owned(), |b| format!("use e.g. v{b}"));
                self.error("template-kubernetes-version", t.kubernetes_at, message, &fix);
            }
            Some(_) => {}
        }
    }

    fn this_omni(&self) -> String {
        self.context.omni.map_or("this Omni".to_owned(), |omni| format!("Omni {omni}"))
    }

    fn pair_by_table(&mut self, t: &ClusterTemplate, kubernetes: &Version, talos: &Version) {
        if self.outside_of_omni(t, talos) {
            return;
        }
        let Some((least, most)) = table().kubernetes_of_talos(Minor::from(talos)) else {
            return;
        };
        if !(least..=most).contains(&Minor::from(kubernetes)) {
            let message = format!("Talos 1.{} supports Kubernetes {least} to {most}", talos.minor);
            self.warning("template-version-pair", t.kubernetes_at, message, "use a Kubernetes version in that range");
        }
    }

    /// Reports a Talos beyond what this project's Omni, or any known one, supports. Returns true if it was reported.
    fn outside_of_omni(&mut self, t: &ClusterTemplate, talos: &Version) -> bool {
        let omni = self.context.omni;
        let (who, least, newest) = match omni.map(|omni| (omni, omni.talos())) {
            Some((omni, Some((least, newest)))) => (format!("Omni {omni}"), least, newest),
            Some((omni, None)) => (format!("Omni {omni}"), 0, None),
            None => {
                let newest = table().talos_of_omni(&table().facts.omni);
                let least = newest.map_or(0, |talos| talos.min.minor);
                let most = newest.and_then(|talos| talos.max).map(|most| most.minor);
                (format!("Omni 1.{}, the newest known version,", releases::newest()), least, most)
            }
        };
        let refused = table().bugs_of(None, Some(talos), None).find(|bug| bug.severity == Severity::Block);
        let message = if let Some(bug) = refused {
            format!("Talos {}: {}", version::bare(talos), bug.harm)
        } else if version::is_before(talos, 1, least) {
            format!("{who} supports Talos 1.{least} and later")
        } else if newest.is_some_and(|newest| (talos.major, talos.minor) > (1, newest)) {
            format!("{who} supports Talos up to 1.{}", newest.unwrap_or_default())
        } else {
            return false;
        };
        let fix = match newest {
            Some(newest) if refused.is_none() => {
                format!("use Talos 1.{least} to 1.{newest}, or update Omni first (docs/how-to/upgrade.md)")
            }
            _ => "use a newer Talos".to_owned(),
        };
        self.warning("template-version-pair", t.talos_at, message, &fix);
        true
    }

    /// Reports a Talos that this Omni cannot manage.
    fn meta_keys(&mut self, t: &ClusterTemplate, talos: &Version) {
        let Some(omni) = self.context.omni else { return };
        let newest = omni.talos().and_then(|(_, newest)| newest);
        // Omni refuses the cluster anyway.
        let refused = newest.is_some_and(|newest| talos.minor > newest);
        let version = omni.version();
        let pair = |bug: &&Bug| bug.severity == Severity::Block && bug.omni.is_some() && bug.talos.is_some();
        for bug in table().bugs_of(Some(&version), Some(talos), None).filter(pair).filter(|_| !refused) {
            let (talos, fixed) = (version::bare(talos), &bug.fixed);
            let message = format!("Omni {omni} cannot manage Talos {talos}: {} ({})", bug.harm, bug.source);
            let fix = format!("use an older Talos, or update Omni to {fixed} or later (docs/how-to/upgrade.md)");
            self.error("template-talos-meta", t.talos_at, message, &fix);
        }
    }

    /// Reports keys that this project's omnictl does not know, or that only a newer omnictl knows.
    pub(super) fn newer_keys(&mut self, t: &ClusterTemplate) {
        for NewerKey { key, since, at } in &t.newer_keys {
            match self.context.omni {
                Some(omni) if omni.is_before(*since, 0) => {
                    let message = format!("omnictl {omni} does not support `{key}`: it requires 1.{since} or later");
                    let fix = format!("remove it, or update Omni to 1.{since} (docs/how-to/upgrade.md)");
                    self.error("template-key-too-new", *at, message, &fix);
                }
                None if *since > 9 => {
                    let message = format!("`{key}` requires omnictl 1.{since} or later: older versions reject it");
                    self.warning("template-key-newer", *at, message, "compare it with `omnictl --version`");
                }
                _ => {}
            }
        }
    }

    fn manifests(&mut self, manifests: &[Manifest]) {
        let mut names: HashSet<&str> = HashSet::new();
        for manifest in manifests {
            self.labels(&manifest.labels);
            let at = manifest.at;
            let file = manifest.file.as_ref().map_or("", |(path, _)| path);
            let name = if manifest.name.is_empty() { file } else { &manifest.name };
            if !name.is_empty() && !names.insert(name) {
                let message = format!("the manifest `{name}` is defined twice (\"duplicate manifest name\")");
                self.error("template-manifest-twice", at, message, "give each manifest its own `name`");
            }
            if manifest.name.is_empty() && manifest.file.is_none() {
                self.error("template-manifest", at, "a manifest needs a `name`", "name it");
            }
            if manifest.mode.is_empty() {
                let fix = "write `mode: full` or `mode: one-time`";
                self.error("template-manifest", at, "a manifest needs a `mode`", fix);
            }
            let (file, inline) = (manifest.file.as_ref(), manifest.inline.as_ref());
            let given = [file.is_some(), inline.is_some()];
            if self.has_one_source("template-manifest", at, "a manifest", "`file` or `inline`", given) {
                self.content(file, inline);
            }
        }
    }

    fn healthchecks(&mut self, t: &ClusterTemplate) {
        let mut seen: Vec<&str> = Vec::new();
        for check in &t.healthchecks {
            let at = check.at;
            self.labels(&check.labels);
            let id = if check.id_override.is_empty() { &check.name } else { &check.id_override };
            if id.is_empty() {
                self.error("template-healthcheck", at, "a healthcheck needs `name` or `idOverride`", "name it");
            } else if seen.contains(&id.as_str()) {
                self.error(
                    "template-healthcheck",
                    at,
                    format!("the healthcheck `{id}` is defined twice"),
                    "give it another name",
                );
            }
            seen.push(id);
            self.healthcheck_on_server(t, check);
            let (file, job) = (check.file.as_ref(), check.job.as_ref());
            let given = [file.is_some(), job.is_some()];
            if self.has_one_source("template-healthcheck", at, "a healthcheck", "`job` or `file`", given)
                && let Some(stream) = self.content(file, job)
            {
                self.job(at, &stream);
            }
        }
    }

    /// Reports what the server refuses in a healthcheck (siderolabs/omni v1.9.3 validations/kubernetes_healthchecks.go).
    fn healthcheck_on_server(&mut self, t: &ClusterTemplate, check: &HealthCheck) {
        let id = match check.id_override.as_str() {
            "" => format!("{}-{}", t.name, check.name),
            id => id.to_owned(),
        };
        // A label of a subdomain has no length limit of its own.
        let label = |label: &str| is_label(label, |b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let full = format!("omni-healthcheck-{id}");
        let named = !check.name.is_empty() || !check.id_override.is_empty();
        if named && (full.len() > 253 || !full.split('.').all(label)) {
            let message = format!("the healthcheck's ID is `{id}`, but the server accepts only a-z, 0-9, `-` and `.`");
            self.error("template-healthcheck-refused", check.at, message, "use a-z, 0-9 and `-` in its name");
        }
        if check.interval_s > 0.0 && check.interval_s < 5.0 {
            let message = "the server accepts healthcheck intervals of 5s or more";
            self.error("template-healthcheck-refused", check.at, message, "use 5s or more");
        }
    }

    /// Text that is not a mapping cannot be a Job.
    fn job(&mut self, at: Position, stream: &yaml::Stream) {
        let job = stream.documents.iter().find(|document| !document.root.is_null());
        if !stream.is_broken() && job.is_none_or(|document| !document.root.is_map()) {
            let message = "the healthcheck's job is not a Job: the server rejects it";
            self.error("template-healthcheck-refused", at, message, "write a Kubernetes object of `kind: Job`");
        }
    }
}
