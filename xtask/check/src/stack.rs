//! Checks of the Omni stack from its files and the output of its programs: mounts, ports, versions, names. Pure functions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::diagnosis::Diagnosis;
use super::{site, upgrade};
use domain::clock;
use domain::releases::table;
use domain::status::docker::{Container, ContainerDetails};
use domain::version::Minor;
use domain::version::{self, Version};
use domain::words::count;

/// Returns where Omni keeps what must outlive its container, according to its arguments (omni v1.9.3 `cmd/omni/cmd/cmd.go`;
/// the directory of the embedded etcd has a default, the SQLite file has had none since 1.4).
pub fn data_paths(omni: &ContainerDetails) -> Vec<String> {
    let absolute = |path: String| if path.starts_with('/') { path } else { format!("/{path}") };
    let etcd = omni.flag("--etcd-embedded-db-path").unwrap_or_else(|| "/_out/etcd".to_owned());
    [Some(etcd), omni.flag("--sqlite-storage-path")].into_iter().flatten().map(absolute).collect()
}

/// Where Tailscale stores the node's identity: `TS_STATE_DIR` in `docker/compose.yaml`.
pub const TAILSCALE_STATE: &str = "/var/lib/tailscale";

/// Returns the paths of Omni's data that would be lost with the container, with the reason.
pub fn unmounted(omni: &ContainerDetails) -> Vec<String> {
    off_mounts(omni, &data_paths(omni))
}

/// Returns the `paths` that would be lost with the container, with the reason.
pub fn off_mounts(container: &ContainerDetails, paths: &[String]) -> Vec<String> {
    let mut bad = Vec::new();
    for path in paths {
        let path = path.trim_end_matches('/');
        let mount = container.mount_of(path);
        match mount {
            None => bad.push(format!("{path} is not on a mount")),
            Some(mount) if mount.kind == "tmpfs" => bad.push(format!("{path} is in memory (tmpfs)")),
            // Docker names an anonymous volume with 64 hexadecimal digits; `down` and `up` create a new one.
            Some(mount) if mount.kind == "volume" && is_anonymous(&mount.name) => {
                bad.push(format!("{path} is on an anonymous volume"));
            }
            Some(_) => {}
        }
    }
    bad
}

fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The ports that machines and people need, on the host's LAN address: `(port, protocol, for whom)`.
pub const PORTS: [(u16, &str, &str); 4] = [
    (443, "tcp", "browsers, omnictl and machines"),
    (8090, "tcp", "machines that request how to join"),
    (8100, "tcp", "kubectl"),
    (50180, "udp", "the machines' WireGuard"),
];

/// Checks that the sidecar publishes the ports on `lan`.
pub fn check_ports(sidecar: &Container, lan: &str) -> Diagnosis {
    let Some(found) = &sidecar.publishers else {
        return Diagnosis::unknown("docker does not report the published ports");
    };
    let on = |url: &str| url == lan || matches!(url, "0.0.0.0" | "::" | "");
    let missing: Vec<String> = PORTS
        .iter()
        .filter(|(port, protocol, _)| {
            !found.iter().any(|each| each.published == *port && each.protocol == *protocol && on(&each.url))
        })
        .map(|(port, protocol, who)| format!("{port}/{protocol} for {who}"))
        .collect();
    if missing.is_empty() {
        return Diagnosis::ok(format!("443, 8090, 8100/tcp and 50180/udp on {lan}"));
    }
    Diagnosis::failed(format!("not published on {lan}: {}", missing.join("; ")))
        .fix("recreate the stack: `cargo xtask stack-up --recreate`; if that does not help, compare docker/compose.yaml with the repository's")
}

/// Returns true for Tailscale's addresses: 100.64.0.0/10 and fd7a:115c:a1e0::/48.
pub fn is_tailnet(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]),
        IpAddr::V6(ip) => ip.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0],
    }
}

/// The answer of a resolver for Omni's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// A description of the resolver: `192.0.2.1 (Proxmox node pve1)`.
    pub resolver: String,
    /// Whether machines use this resolver.
    pub machines: bool,
    pub addresses: Result<Vec<IpAddr>, String>,
}

/// Checks that machines resolve Omni's name to `lan`. Machines get their resolver from DHCP, and it is usually that of the
/// Proxmox nodes. They are not on the tailnet, so only the LAN address works for them.
pub fn names(domain: &str, lan: &str, answers: &[Answer]) -> Diagnosis {
    let lan_ip = lan.parse::<IpAddr>().ok();
    let mut all = Diagnosis::ok("");
    let mut known = 0;
    for answer in answers {
        let who = &answer.resolver;
        let verdict = match &answer.addresses {
            Err(why) => Diagnosis::unknown(format!("{who}: {why}")),
            Ok(found) => {
                known += 1;
                let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
                let shown = if shown.is_empty() { "no address".to_owned() } else { shown.join(", ") };
                let right = lan_ip.is_some_and(|lan| found.contains(&lan));
                match (answer.machines, right) {
                    (_, true) if found.len() > 1 && answer.machines => {
                        Diagnosis::warning(format!("{who} returns {shown}: machines may use an unreachable address"))
                    }
                    (_, true) => Diagnosis::ok(format!("{who}: {shown}")),
                    (false, _) if found.iter().any(|ip| is_tailnet(*ip)) => {
                        Diagnosis::ok(format!("{who}: {shown} (tailnet)"))
                    }
                    (false, _) if found.is_empty() => {
                        Diagnosis::warning(format!("{who} cannot resolve {domain}: anyone using it cannot open Omni"))
                    }
                    (false, _) => Diagnosis::warning(format!("{who} returns {shown}, not {lan}")),
                    (true, _) if found.is_empty() => {
                        Diagnosis::failed(format!("{who} cannot resolve {domain}: machines that use it never join"))
                    }
                    (true, _) => {
                        Diagnosis::failed(format!("{who} returns {shown}, not {lan}: machines that use it never join"))
                    }
                }
            }
        };
        all = all.and(verdict);
    }
    if known == 0 && !answers.is_empty() { Diagnosis::unknown(all.detail) } else { all }
}

/// Returns the images of the services in a compose file.
pub fn images(compose: &str) -> BTreeMap<String, String> {
    let stream = yaml::load("docker/compose.yaml", compose.as_bytes());
    let services = stream.documents.first().and_then(|document| document.root.get("services"));
    let entries = services.map(yaml::Node::entries).unwrap_or_default();
    entries
        .iter()
        .filter_map(|service| Some((service.key.clone(), service.value.get("image")?.text()?.to_owned())))
        .collect()
}

/// Returns the flags of Omni's command in a compose file, without dashes and values, and the dotted keys of its configuration.
pub fn omni_settings(compose: &str) -> (Vec<String>, Vec<String>) {
    let stream = yaml::load("docker/compose.yaml", compose.as_bytes());
    let Some(document) = stream.documents.first() else { return Default::default() };
    let command = document.root.path(&["services", "omni", "command"]);
    let words = command.map(yaml::Node::items).unwrap_or_default().iter().filter_map(yaml::Node::text);
    let flags = words.filter_map(|word| word.strip_prefix("--"));
    let flags = flags.map(|flag| flag.split('=').next().unwrap_or(flag).to_owned()).collect();
    let mut keys = Vec::new();
    for config in document.root.get("configs").map(yaml::Node::entries).unwrap_or_default() {
        let text = config.value.get("content").and_then(yaml::Node::text).unwrap_or_default();
        let stream = yaml::load("configs", text.as_bytes());
        keys.extend(stream.documents.iter().flat_map(|document| upgrade::paths(&document.root)));
    }
    (flags, keys)
}

/// Returns whether Omni in a compose file, with the site's own settings, has a place for etcd backups; `None` if some of its
/// settings cannot be read
/// (omni v1.9.3 `internal/pkg/config/schema.json`, `etcdbackup/store/store.go`: without one the store is disabled).
pub fn backup_store(compose: &str, site: &str) -> Option<bool> {
    let (flags, mut keys) = omni_settings(compose);
    keys.extend(site::keys(site));
    let stores = |name: &String| ["etcd-backup-s3", "etcd-backup-local-path"].contains(&name.as_str());
    let configures = |key: &String| ["etcdBackup.s3Enabled", "etcdBackup.localPath"].contains(&key.as_str());
    // A configuration in a separate file is not read.
    let elsewhere = keys.is_empty() && flags.iter().any(|flag| flag == "config-path");
    (!flags.is_empty() && !elsewhere).then(|| flags.iter().any(stores) || keys.iter().any(configures))
}

/// Returns the container of a service.
pub fn service<'c>(containers: &'c [Container], name: &str) -> Option<&'c Container> {
    containers.iter().find(|container| container.service == name)
}

/// Returns the tag of an image: `v1.9.3` for `ghcr.io/siderolabs/omni:v1.9.3@sha256:…`.
pub fn tag(image: &str) -> Option<&str> {
    let image = image.split('@').next()?;
    let name = image.rsplit('/').next()?;
    name.split_once(':').map(|(_, tag)| tag)
}

/// The versions that could be determined.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// The tag of Omni in the compose file.
    pub pinned: Option<String>,
    /// The image that the container of Omni runs.
    pub running: Option<String>,
    /// The version and API version that Omni reports.
    pub server: Option<(String, u64)>,
    /// The version and API version of the omnictl that the tasks call.
    pub omnictl: Option<(String, u32)>,
}

/// Checks that Omni and omnictl match: equal API versions are required, equal minors are the tested case.
pub fn check_pairing(found: &Versions) -> Diagnosis {
    let mut all = Diagnosis::ok("");
    if let Some(pinned) = &found.pinned {
        if version::minor(pinned).is_none() {
            return Diagnosis::failed(format!("Omni's image has the tag {pinned}, which is not a version"))
                .fix("pin a version in docker/compose.yaml: updates must be deliberate, one minor version at a time");
        }
        if let Some(running) = found.running.as_deref().filter(|running| running != pinned) {
            all = all
                .and(Diagnosis::warning(format!("Omni runs as {running}, docker/compose.yaml has {pinned}")).fix(
                    format!("run `cargo xtask omni-upgrade`, or set the tag in docker/compose.yaml to {running}"),
                ));
        }
    }
    let omni = found.server.as_ref().map(|(version, _)| version).or(found.running.as_ref()).or(found.pinned.as_ref());
    let (Some(omni), Some((version, api))) = (omni, &found.omnictl) else {
        let why = if found.omnictl.is_none() { "omnictl is not installed" } else { "the version of Omni is not known" };
        return all.and(Diagnosis::unknown(why));
    };
    let install = "install the version that Omni offers: `cargo xtask omnictl-install`";
    if let Some((_, server_api)) = &found.server
        && *server_api != u64::from(*api)
    {
        let detail = format!("omnictl {version} uses API version {api}, Omni {omni} uses version {server_api}");
        return Diagnosis::failed(detail).fix(install);
    }
    if version::minor(omni) != version::minor(version) {
        let detail = format!("omnictl is {version}, Omni {omni}");
        return all.and(Diagnosis::warning(detail).fix(install));
    }
    all.and(Diagnosis::ok(format!("Omni {omni}, omnictl {version}")))
}

/// Checks that the provider in the compose file fits this Omni. From 0.3 on it gets images from Omni's own media API,
/// which came with 1.10 (omni-infra-provider-proxmox v0.3.0 release notes).
pub fn check_provider_pairing(omni: Option<&str>, provider: Option<&str>, running: Option<&str>) -> Diagnosis {
    let (Some(omni), Some(provider)) = (omni, provider) else {
        return Diagnosis::unknown("docker/compose.yaml specifies no image");
    };
    if let Some(running) = running.filter(|running| *running != provider) {
        return Diagnosis::warning(format!("the provider runs as {running}, docker/compose.yaml has {provider}"))
            .fix("`cargo xtask stack-up`");
    }
    let (Some(_), Some(provider_minor)) = (version::minor(omni), version::minor(provider)) else {
        let named = [("Omni", omni), ("provider", provider)];
        if let Some((what, tag)) = named.into_iter().find(|(_, tag)| matches!(*tag, "latest" | "main" | "edge")) {
            return Diagnosis::failed(format!("{what} `{tag}`: this tag can move to another version"))
                .fix("pin both in docker/compose.yaml");
        }
        return Diagnosis::unknown(format!("Omni {omni} and provider {provider}: at least one tag is not a version"));
    };
    let release = table().provider.iter().rev().find(|known| Minor::from(&known.version) <= provider_minor);
    let refused = release.and_then(|known| known.omni.as_ref()).is_some_and(|range| {
        version::parse(omni).is_ok_and(|omni| !range.contains(&Version { pre: Default::default(), ..omni }))
    });
    if refused {
        return Diagnosis::failed(format!("the provider {provider} does not run with Omni {omni}: update Omni first"));
    }
    if provider_minor < Minor::new(0, 1) {
        return Diagnosis::warning(format!("the provider {provider} is older than its first release"));
    }
    Diagnosis::ok(format!("Omni {omni}, provider {provider}"))
}

/// Checks that the sidecar is permanently on the tailnet under Omni's name; `text` is the output of `tailscale status --json`.
pub fn check_tailscale(text: &str, domain: &str, now: u64) -> Diagnosis {
    let Ok(status) = serde_json::from_str::<Value>(text) else {
        return Diagnosis::unknown("`tailscale status` did not print JSON");
    };
    let state = status["BackendState"].as_str().unwrap_or("unknown");
    if state != "Running" {
        let login = Diagnosis::failed(format!("Tailscale in the sidecar is `{state}`"));
        return login
            .fix("create a new auth key, set TS_AUTHKEY in docker/.env, then run `cargo xtask stack-up --recreate`");
    }
    let own = status["Self"]["DNSName"].as_str().unwrap_or_default().trim_end_matches('.').to_owned();
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let (found, expected) = (label(&own), label(domain));
    let mut all = Diagnosis::ok(own.clone());
    if found != expected {
        let renamed = found.strip_prefix(&expected).is_some_and(|rest| rest.starts_with('-'));
        let detail = if renamed {
            format!(
                "the sidecar is `{own}`: the name `{expected}` belongs to another device, usually an older sidecar of the same stack"
            )
        } else {
            format!("the sidecar is `{own}`, but OMNI_DOMAIN starts with `{expected}`")
        };
        // Only a name in the tailnet must be the node's own.
        let verdict = if domain.ends_with(".ts.net") { Diagnosis::failed(detail) } else { Diagnosis::warning(detail) };
        all = all.and(verdict);
    }
    if status["CurrentTailnet"]["MagicDNSEnabled"] == Value::Bool(false) {
        let verdict = Diagnosis::failed("MagicDNS is disabled in the tailnet: tsidp's name does not resolve");
        return verdict.fix("enable it and HTTPS certificates in the admin console, under DNS");
    }
    if let Some(until) = status["Self"]["KeyExpiry"].as_str().and_then(clock::parse_rfc3339) {
        let days = (until as i64 - now as i64).div_euclid(86_400);
        let when = match days {
            0.. => format!("expires on {}, in {}", clock::date(until), count(days, "day")),
            _ => format!("expired on {}", clock::date(until)),
        };
        let detail = format!("its login {when}: the node is not tagged");
        let fix = "create a tagged auth key (tag:omni), or disable key expiry for the device in the admin console";
        all = all.and(if days < 0 { Diagnosis::failed(detail) } else { Diagnosis::warning(detail) }.fix(fix));
    }
    all
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
