//! Every credential of the installation: its owner, what it permits, where it is stored and how long it is valid. Values are
//! read if that takes no more than a file, and never shown.

use std::path::Path;

use serde::Serialize;

use crate::flow::cluster_access::AccessFile;
use crate::flow::doctor::Installation;
use crate::flow::{audit, omni_stack, proxmox};
use crate::prelude::*;
use domain::clock::{date, parse_rfc3339};
use domain::spec::key::{KeyInfo, token_expiry};
use domain::spec::store_key;
use domain::status::certificate;
use runtime::files;
use runtime::parallel::{Job, NO_LIMIT, run_all};
use runtime::settings::Setting;
use runtime::tool::omnictl::{Omnictl, ServiceAccountKey};

/// Warn about a key that expires within a month (in seconds).
const SOON: u64 = 30 * 86_400;

/// One credential, without its secret.
#[derive(Debug, Serialize)]
pub struct Credential {
    /// `provider`, `account`, `proxmox`, …; the value for `--rotate` if the credential can be rotated.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// What it permits.
    pub role: String,
    /// Where it is stored.
    pub place: String,
    /// Seconds since the Unix epoch.
    pub expires: Option<u64>,
    /// `valid`, `soon`, `expired`, or `unknown`.
    pub state: &'static str,
    /// Describes the expiry, or why it is unknown.
    pub detail: String,
}

/// When a credential expires: `Ok(None)` means never, `Err` is why it is unknown.
type End = Result<Option<u64>, String>;

impl Credential {
    fn new(
        name: &str,
        owner: impl Into<String>,
        role: &str,
        place: impl Into<String>,
        end: End,
        now: u64,
    ) -> Credential {
        let (state, detail) = match &end {
            Err(why) => ("unknown", why.clone()),
            Ok(None) => ("valid", "no end".to_owned()),
            Ok(Some(end)) if *end <= now => ("expired", format!("expired on {}", date(*end))),
            Ok(Some(end)) => {
                // A kubeconfig is short-lived by design.
                let state = if end - now < SOON && name != "kubeconfig" { "soon" } else { "valid" };
                (state, format!("{} ({})", date(*end), count((end - now) / 86_400, "day")))
            }
        };
        let (name, role) = (name.to_owned(), role.to_owned());
        Credential { name, owner: owner.into(), role, place: place.into(), expires: end.ok().flatten(), state, detail }
    }

    /// The command that renews it, if there is one.
    pub fn renewal_command(&self) -> Option<&'static str> {
        Some(match (self.name.as_str(), self.state) {
            ("provider", _) => "cargo xtask keys --rotate provider",
            ("account", "expired") => "cargo xtask omni-setup --service-account",
            ("account", _) => "cargo xtask keys --rotate account",
            ("proxmox", _) => "cargo xtask keys --rotate proxmox",
            _ => return None,
        })
    }

    /// Returns the row for the table.
    pub fn row(&self) -> Vec<String> {
        [&self.name, &self.owner, &self.role, &self.place, &self.detail].map(Clone::clone).to_vec()
    }
}

/// Returns every credential found in the files, Omni, Proxmox and Tailscale. What cannot be queried is unknown.
pub fn list_credentials(cx: &Cx) -> Vec<Credential> {
    let installation = &Installation::new(cx);
    let parts: [fn(&Installation<'_>) -> Vec<Credential>; 6] =
        [of_omni, of_proxmox, of_tailscale, of_oidc, of_certificate, of_files];
    let jobs = parts.map(|part| -> Job<'_, Vec<Credential>> { Box::new(move || part(installation)) });
    run_all(jobs.into(), NO_LIMIT).into_iter().flatten().collect()
}

/// The provider's key, your service-account key, and the other keys in Omni, which does not list keys of providers (omni v1.9.3
/// `internal/backend/runtime/omni/controllers/omni/service_account_status.go`).
fn of_omni(installation: &Installation<'_>) -> Vec<Credential> {
    let (cx, now) = (installation.cx, installation.now);
    let omnictl = Omnictl::find(cx);
    let listed = omnictl.as_ref().map_err(Clone::clone).and_then(Omnictl::service_account_keys);
    let mut found = Vec::new();
    let mut own = Vec::new();
    let providers = cx.providers().unwrap_or_default();
    let accounts = ["OMNI_SERVICE_ACCOUNT_KEY", "SIDERO_SERVICE_ACCOUNT_KEY"].map(|name| ("account", name, cx));
    let providers = providers.iter().map(|cx| ("provider", "OMNI_INFRA_PROVIDER_KEY", cx));
    for (name, variable, cx) in providers.chain(accounts) {
        let Some(Setting { value, origin }) = cx.settings.secret(variable) else { continue };
        let info = KeyInfo::parse(value.expose());
        let owner = info.as_ref().map_or("?".to_owned(), |info| info.name.clone());
        let role = match (name, &listed) {
            ("provider", _) => "InfraProvider".to_owned(),
            (_, Ok(listed)) => {
                listed.iter().find(|key| key.account == owner).map_or("?".to_owned(), |key| key.role.clone())
            }
            _ => service_account_role(omnictl.as_ref().ok()),
        };
        let end = info.map(|info| Some(info.expires?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()));
        found.push(Credential::new(name, owner.as_str(), &role, origin.to_string(), end, now));
        own.push(owner);
    }
    match listed {
        Ok(listed) => found.extend(listed.iter().map(|key| listed_key(key, &own, now))),
        Err(failure) => {
            found.push(Credential::new("account", "other service accounts", "?", "Omni", unknown_end(&failure), now))
        }
    }
    found
}

/// A key that Omni lists; only its fingerprint would show which of several keys the tasks use.
fn listed_key(key: &ServiceAccountKey, own: &[String], now: u64) -> Credential {
    let ours = if own.contains(&key.account) { ", also used here" } else { "" };
    let place = format!("Omni, key {}{ours}", key.id.get(..12).unwrap_or(&key.id));
    let end = parse_rfc3339(&key.expires).map(Some).ok_or(format!("Omni returned {:?}", key.expires));
    Credential::new("omni-account", key.account.as_str(), &key.role, place, end, now)
}

fn service_account_role(omnictl: Option<&Omnictl<'_>>) -> String {
    let user = omnictl.and_then(|omnictl| omnictl.get("currentusers", "current").ok().flatten());
    user.map_or("?".to_owned(), |user| user.text(&["role"]).to_owned())
}

fn unknown_end(failure: &Failure) -> End {
    Err(format!("unknown: {}", failure.message))
}

/// The provider's token; Proxmox shows its expiry only to a login that may read users.
fn of_proxmox(installation: &Installation<'_>) -> Vec<Credential> {
    let each = installation.cx.providers().unwrap_or_default();
    each.iter().flat_map(|cx| of_provider(cx, installation.now)).collect()
}

fn of_provider(cx: &Cx, now: u64) -> Vec<Credential> {
    let Ok(proxmox) = proxmox::configured(cx) else { return Vec::new() };
    let (owner, place) = (proxmox.login.id(), cx.paths.show(&cx.paths.config()));
    let role = "as `cargo xtask proxmox-audit` shows";
    let Some(token) = proxmox.login.token_name() else {
        return vec![Credential::new("proxmox", owner, role, place, Ok(None), now)];
    };
    let end = match audit::read_token(cx, &proxmox) {
        // Either the token's own entry, or the user's with all its tokens; 0 means never (pve-access-control 9.1 `API2/User.pm`).
        Ok(found) => {
            Ok(found.get("tokens").map_or(&found, |tokens| &tokens[token])["expire"].as_u64().filter(|end| *end != 0))
        }
        Err(failure) if failure.code == Code::Refused => {
            Err(format!("not shown to the token itself; see `pveum user token list {}`", proxmox.login.user()))
        }
        Err(failure) => unknown_end(&failure),
    };
    vec![Credential::new("proxmox", owner, role, place, end, now)]
}

/// The key that the sidecar joined with, and its node key, which is in its volume.
fn of_tailscale(installation: &Installation<'_>) -> Vec<Credential> {
    let now = installation.now;
    let mut found = Vec::new();
    if installation.value("TS_AUTHKEY").is_some() {
        let own = |name, role, place, end| Credential::new(name, "the sidecar", role, place, end, now);
        let end = Err("used once, to join; Tailscale's admin console shows its expiry".to_owned());
        found.push(own("tailscale-key", "joins the tailnet", "TS_AUTHKEY in docker/.env", end));
        let end = match installation.tailscale().as_ref().map(|text| serde_json::from_str::<Value>(text)) {
            Ok(Ok(status)) => Ok(status["Self"]["KeyExpiry"].as_str().and_then(parse_rfc3339)),
            Ok(Err(error)) => Err(format!("unknown: the sidecar's status is not valid JSON: {error}")),
            Err(_) => Err("unknown: the sidecar does not answer".to_owned()),
        };
        found.push(own("tailscale-node", "node of the tailnet", "the volume ts-state", end));
    }
    found
}

fn of_oidc(installation: &Installation<'_>) -> Vec<Credential> {
    let client = installation.value("OIDC_CLIENT_SECRET").and(installation.value("OIDC_CLIENT_ID"));
    let of = |client: &str| {
        let (owner, place) = (format!("Omni, client {client}"), "OIDC_CLIENT_SECRET in docker/.env");
        Credential::new("oidc-client", owner, "logs users in", place, Ok(None), installation.now)
    };
    client.map(of).into_iter().collect()
}

fn of_certificate(installation: &Installation<'_>) -> Vec<Credential> {
    let (cx, now) = (installation.cx, installation.now);
    let mut found = Vec::new();
    if let Some(file) = installation.value("OMNI_TLS_CERT") {
        let chain = read(&omni_stack::host_path(cx, file)).and_then(|text| certificate::read_pem(&text));
        let end = chain.map(|chain| chain.first().map(|leaf| leaf.not_after));
        let owner = installation.value("OMNI_DOMAIN").unwrap_or("Omni");
        found.push(Credential::new("certificate", owner, "Omni's TLS", file, end, now));
    }
    if let Ok(text) = read(&cx.paths.store_key()) {
        let end = store_key::check(&text, now).map(|found| found.expires).map_err(|unfit| unfit.why);
        found.push(Credential::new("store-key", "Omni", "decrypts its store", "docker/omni.asc", end, now));
    }
    found
}

/// The files that give access to clusters: those in the project, and those that `cluster-kubeconfig` and `cluster-talosconfig`
/// wrote or merged elsewhere.
fn of_files(installation: &Installation<'_>) -> Vec<Credential> {
    let cx = installation.cx;
    let entries = std::fs::read_dir(cx.paths.root()).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<AccessFile> = entries.filter_map(|path| AccessFile::parse_file_name(&path)).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.extend(AccessFile::files_outside_project(&cx.settings.state));
    let of = |AccessFile { kind, cluster, path }: AccessFile| {
        let (role, end) = match (kind.as_str(), read(&path)) {
            (_, Err(why)) => ("?", Err(why)),
            ("kubeconfig", Ok(text)) => match token_expiry(&text, &cluster) {
                Err(why) => ("?", Err(why)),
                Ok(end) => end.map_or(("your own login", Ok(None)), |end| ("service account", Ok(end))),
            },
            _ => ("your own key of Omni", Ok(None)),
        };
        Credential::new(&kind, format!("cluster {cluster}"), role, cx.paths.show(&path), end, installation.now)
    };
    files.into_iter().map(of).collect()
}

fn read(path: &Path) -> Result<String, String> {
    match files::read_optional_text(path) {
        Ok(text) => text.ok_or_else(|| format!("`{}` does not exist", path.display())),
        Err(failure) => Err(failure.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_credential_is_put_in_words() {
        let of = |end| {
            let made = Credential::new("a", "b", "c", "d", end, 86_400);
            (made.state, made.detail)
        };
        assert_eq!(of(Ok(None)), ("valid", "no end".to_owned()));
        assert_eq!(of(Ok(Some(86_400))), ("expired", "expired on 1970-01-02".to_owned()));
        assert_eq!(of(Ok(Some(3 * 86_400))), ("soon", "1970-01-04 (2 days)".to_owned()));
        assert_eq!(of(Ok(Some(100 * 86_400))).0, "valid");
        assert_eq!(of(Err("why".to_owned())).0, "unknown");
    }
}
