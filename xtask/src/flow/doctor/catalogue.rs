//! The catalogue of checks: `data/doctor.yaml` has an entry for each, with why it matters, how to fix it, and where to read more.

use std::sync::LazyLock;

use serde::Deserialize;

use super::installation::Verdict;
use super::{Installation, certificates, files, host, keys, network, services, stack};
use check::diagnosis::{Area, Diagnosis};
use domain::failure::Code;

/// A catalogue entry; `data/doctor.yaml` explains the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub id: String,
    pub title: String,
    pub why: String,
    pub fix: String,
    pub anchor: String,
    #[serde(default)]
    code: Option<Code>,
}

impl Entry {
    /// The error code if the check fails.
    pub fn code(&self) -> Code {
        self.code.unwrap_or(Code::Failed)
    }

    /// The area of the check: the first word of its ID.
    pub fn area(&self) -> Area {
        let word = self.id.split('.').next().unwrap_or_default();
        word.parse().unwrap_or_else(|_| panic!("data/doctor.yaml: {word} is not an area"))
    }

    /// Runs the check.
    pub fn run(&self, of: &Installation<'_>) -> Diagnosis {
        let (_, run) = RUNS.iter().find(|(id, _)| *id == self.id).unwrap_or_else(|| panic!("{} has no code", self.id));
        run(of).unwrap_or_else(|early| early)
    }
}

/// All checks, in display order.
pub static CHECKS: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let text = include_str!("../../../data/doctor.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/doctor.yaml: {error}"))
});

type Run = fn(&Installation<'_>) -> Verdict;

const RUNS: &[(&str, Run)] = &[
    ("tools.curl", |of| Ok(host::curl(of))),
    ("tools.compose", |of| Ok(host::compose(of))),
    ("tools.omnictl", |of| Ok(host::omnictl(of))),
    ("tools.helpers", |of| Ok(host::helpers(of))),
    ("docker.engine", |of| Ok(host::engine(of))),
    ("docker.containers", stack::containers),
    ("docker.other-omni", stack::other),
    ("host.disk", |of| Ok(host::disk(of))),
    ("host.clock", |of| Ok(host::clock(of))),
    ("host.tun", |of| Ok(host::tun(of))),
    ("host.boot", host::boot),
    ("host.tsidp", |of| Ok(host::tsidp(of))),
    ("network.lan-address", network::lan_address),
    ("network.ports", network::ports),
    ("network.dns", network::dns),
    ("certificates.file", certificates::file),
    ("certificates.served", certificates::served),
    ("keys.store", keys::store),
    ("keys.slots", keys::slots),
    ("keys.provider", keys::provider),
    ("keys.account", |of| Ok(keys::account(of))),
    ("keys.shadow", |of| Ok(keys::shadow(of))),
    ("omni.health", services::health),
    ("omni.data", stack::data),
    ("omni.backup", stack::backup),
    ("omni.store", stack::store),
    ("omni.break-glass", stack::break_glass),
    ("omni.etcd-backups", stack::etcd_backups),
    ("omni.account", stack::account),
    ("omni.user", stack::user),
    ("omni.licence", |of| Ok(services::licence(of))),
    ("omni.versions", |of| Ok(services::versions(of))),
    ("provider.version", |of| Ok(stack::provider_version(of))),
    ("provider.id", services::provider_id),
    ("provider.config", files::config),
    ("provider.proxmox", services::proxmox),
    ("provider.permissions", services::permissions),
    ("provider.storages", services::storages),
    ("provider.registration", services::registration),
    ("tsidp.issuer", services::issuer),
    ("tsidp.discovery", services::discovery),
    ("tsidp.claims", services::claims),
    ("tailscale.state", services::tailscale),
    ("tailscale.data", stack::login),
    ("tailscale.key", keys::tailscale),
    ("files.env", |of| Ok(files::env(of))),
    ("files.site", files::site),
    ("files.modes", |of| Ok(files::modes(of))),
    ("files.tracked", |of| Ok(files::tracked(of))),
    ("files.secrets", |of| Ok(files::secrets(of))),
    ("state.reality", services::state),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Converts a heading to its anchor as GitHub does.
    fn slug(heading: &str) -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    }

    #[test]
    fn anchors_exist_in_the_docs() {
        for check in CHECKS.iter() {
            let (file, anchor) = check.anchor.split_once('#').expect("file#heading");
            let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).expect(&path);
            let found = text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
            assert!(found, "{}: {}", check.id, check.anchor);
        }
    }

    #[test]
    fn every_check_has_an_area_a_code_and_texts() {
        let ids: Vec<&str> = CHECKS.iter().map(|check| check.id.as_str()).collect();
        assert_eq!(ids, RUNS.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        for check in CHECKS.iter() {
            assert!(check.id.starts_with(&format!("{}.", <&str>::from(check.area()))), "{}", check.id);
            assert_eq!(ids.iter().filter(|id| **id == check.id).count(), 1, "{}", check.id);
            assert!(!check.why.is_empty() && !check.fix.is_empty());
        }
    }
}
