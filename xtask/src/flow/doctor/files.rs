//! Files with secrets: complete, readable only by their owner, and not in git.

use super::Installation;
use super::installation::{Verdict, proxmox_of};
use crate::flow::{proxmox, site};
use check::diagnosis::Diagnosis;
use check::{placeholder, values};
use domain::secret::Secret;
use domain::spec::config::ProviderConfig;
use domain::spec::env::REQUIRED;
use domain::words::count;
use runtime::files as disk;
use runtime::settings::environment;
use runtime::tool::git;
use runtime::tool::proxmox::{Login, Proxmox, Token};

/// Shorter values are not searched for: they would be found everywhere.
const SHORTEST: usize = 12;

pub fn env(installation: &Installation<'_>) -> Diagnosis {
    if !installation.set_up {
        return installation.missing_verdict("");
    }
    let file = &installation.cx.settings.env_file;
    let mut found = values::check_complete(file, &installation.example);
    if file.get("COMPOSE_PROJECT_NAME").is_some() {
        let why = "it sets COMPOSE_PROJECT_NAME: compose, run by hand or at boot, then starts another, empty Omni";
        found = found.and(Diagnosis::failed(why).fix("remove that line from docker/.env"));
    }
    // Compose prefers its environment to the file, and the environment is different when the stack is started at boot.
    let keys = REQUIRED.iter().map(|each| each.key).chain(values::PROVIDER);
    let before: Vec<&str> = keys
        .filter(|key| file.get(key).is_some_and(|value| environment(key).is_some_and(|set| set != value)))
        .collect();
    if before.is_empty() {
        return found;
    }
    let names = before.join(" ");
    found.and(
        Diagnosis::warning(format!("your shell sets {names} to another value, which overrides docker/.env in compose"))
            .fix(format!("`unset {names}`, or put the value into docker/.env: at boot there is no shell")),
    )
}

pub fn modes(installation: &Installation<'_>) -> Diagnosis {
    let paths = &installation.cx.paths;
    let mut open = Vec::new();
    let mut found = 0;
    let site = site::path(installation.cx).unwrap_or_else(|| paths.site());
    let ids = installation.cx.provider_ids();
    let further = ids.iter().skip(1).map(|id| paths.for_provider(id)).flat_map(|of| [of.provider_env(), of.config()]);
    for path in [paths.env(), paths.config(), paths.store_key(), site].into_iter().chain(further) {
        let Some(mode) = disk::mode(&path) else { continue };
        found += 1;
        if mode & 0o077 != 0 {
            open.push(format!("{} has mode {mode:04o}", paths.show(&path)));
        }
    }
    match (found, open.is_empty()) {
        (0, _) => installation.missing_verdict("none of them exists"),
        (_, true) => Diagnosis::ok(count(found, "file")),
        (_, false) => Diagnosis::failed(open.join(", ")),
    }
}

pub fn config(installation: &Installation<'_>) -> Verdict {
    let path = installation.cx.paths.config();
    let shown = installation.cx.paths.show(&path);
    let text = disk::read_optional_text(&path)?;
    let text = text.ok_or_else(|| installation.missing_verdict(&format!("{shown} does not exist yet")))?;
    let checked = ProviderConfig::parse(&shown, &text)
        .and_then(|config| proxmox::proxmox_of(installation.cx, &config).map(|found| (config, found)));
    Ok(match checked {
        Ok((config, found)) => configured(installation, &config, &found),
        Err(failure) => Diagnosis::failed(failure.line()).fix(failure.hint),
    })
}

/// The verdict for a configuration that works: warns about what should be improved.
fn configured(installation: &Installation<'_>, config: &ProviderConfig, found: &Proxmox) -> Diagnosis {
    let mut verdict = Diagnosis::ok(format!("{}, as {}", found.url, found.login.id()));
    if !config.url.starts_with("https://") {
        verdict = verdict.and(
            Diagnosis::warning("`url` is not an https:// address: the provider sends its login unencrypted")
                .fix("write `url` as https://HOST:8006/api2/json: Proxmox speaks only TLS there"),
        );
    }
    // An address that answers belongs to somebody, even if it looks like an example.
    if placeholder::is_example_host(&found.url) && found.version(installation.cx).is_err() {
        verdict = verdict.and(
            Diagnosis::warning(format!("{} is an address for examples", found.url))
                .fix("set `url` in docker/config.yaml to https://HOST:8006/api2/json of your Proxmox"),
        );
    }
    if found.insecure {
        verdict = verdict.and(
            Diagnosis::warning("TLS certificates of Proxmox are not verified (insecureSkipVerify)")
                .fix("copy Proxmox's /etc/pve/pve-root-ca.pem here, set PROVIDER_CA_FILE to its path, and set insecureSkipVerify to false"),
        );
    }
    if let Some(advice) = proxmox::password_advice(&found.login) {
        verdict =
            verdict.and(Diagnosis::warning(advice).fix(
                "`pveum user token add USER@REALM provider --privsep 0`, and write tokenID and tokenSecret instead",
            ));
    }
    let conflicts = proxmox::conflicts(installation.cx, found);
    if !conflicts.is_empty() {
        let words = format!("docker/config.yaml overrides the environment: {}", conflicts.join("; "));
        verdict = verdict.and(
            Diagnosis::warning(words)
                .fix("`unset PROXMOX_VE_ENDPOINT PROXMOX_VE_API_TOKEN`, or change docker/config.yaml"),
        );
    }
    verdict
}

pub fn site(installation: &Installation<'_>) -> Verdict {
    let cx = installation.cx;
    let found = site::findings(cx, &installation.compose())
        .map_err(|failure| Diagnosis::failed(failure.line()).fix(failure.hint))?;
    let Some(found) = found else { return Ok(Diagnosis::skipped("there is no docker/site.yaml")) };
    let mut verdict = Diagnosis::ok("");
    for each in &found {
        let detail = format!("{}:{}:{}: {}", each.place.file, each.place.line, each.place.column, each.message);
        let one = if each.is_error() { Diagnosis::failed(detail) } else { Diagnosis::warning(detail) };
        verdict = verdict.and(one.fix(each.fix.clone()));
    }
    if site::name_existing(cx).is_some() {
        verdict =
            verdict.and(Diagnosis::warning("docker/.env does not refer to docker/site.yaml, so Omni does not read it"));
    } else if site::has_changed(cx, installation.containers()?).is_ok_and(|changed| changed) {
        verdict = verdict.and(Diagnosis::warning("Omni was started with different settings than the file has now"));
    }
    Ok(verdict)
}

pub fn tracked(installation: &Installation<'_>) -> Diagnosis {
    let wanted = [
        "docker/.env",
        "docker/config.yaml",
        "docker/providers/*",
        "docker/site.yaml",
        "docker/*.asc",
        ".claude/*.local.md",
        "*.key",
        "*omniconfig*",
        "*kubeconfig",
    ];
    match git::tracked_files(installation.cx, &wanted) {
        Ok(None) => Diagnosis::skipped("the project is not a git checkout"),
        Ok(Some(found)) if found.is_empty() => Diagnosis::ok("none"),
        Ok(Some(found)) => Diagnosis::failed(found.join(", ")),
        Err(failure) => failure.into(),
    }
}

pub fn secrets(installation: &Installation<'_>) -> Diagnosis {
    let cx = installation.cx;
    let secret = REQUIRED.iter().filter(|each| each.secret).map(|each| each.key);
    let keys = secret.chain(["OMNI_INFRA_PROVIDER_KEY", "OMNI_SERVICE_ACCOUNT_KEY", "PROXMOX_VE_API_TOKEN"]);
    let mut values: Vec<Secret> = keys
        .filter_map(|key| installation.value(key))
        .filter(|value| value.len() >= SHORTEST)
        .map(Secret::new)
        .collect();
    if let Ok(found) = proxmox_of(installation) {
        let (Login::Token(Token { secret, .. }) | Login::Password { password: secret, .. }) = found.login;
        values.extend(Some(secret).filter(|secret| secret.expose().len() >= SHORTEST));
    }
    if values.is_empty() {
        return installation.missing_verdict("there are no secrets yet");
    }
    match git::tracked_files(cx, &["docker/compose.yaml"]) {
        Ok(None) => return Diagnosis::skipped("the project is not a git checkout"),
        Err(failure) => return Diagnosis::unknown(failure.line()),
        Ok(Some(_)) => {}
    }
    match git::files_with_secrets(cx, &values) {
        Ok(found) if found.is_empty() => Diagnosis::ok(format!("none of {}", values.len())),
        Ok(found) => Diagnosis::failed(format!("a secret of docker/ is in {}", found.join(", "))),
        Err(failure) => failure.into(),
    }
}
