//! The programs in the kit's containers.

use std::time::Duration;

use serde::Deserialize as _;
use serde_json::json;
use serde_yaml::Value;

use super::compose::Service;
use crate::clock::Clock;
use crate::provider::Settings;
use crate::provider::log::Log;
use crate::provider::release::ProviderRelease;

/// Reads the provider's settings from its service: flags, environment and mounted files.
pub fn provider_settings(service: &Service) -> Settings {
    let env = |name: &str| service.environment.get(name).cloned().unwrap_or_default();
    let flag = |name: &str| -> Option<String> {
        let mut words = service.argv.iter();
        while let Some(word) = words.next() {
            let bare = word.strip_prefix("--")?;
            match bare.split_once('=') {
                Some((found, value)) if found == name => return Some(value.to_owned()),
                None if bare == name => return words.next().cloned(),
                None if bare != "insecure-skip-verify" => drop(words.next()),
                _ => {}
            }
        }
        None
    };
    let on_host = |path: &str| service.host_path(path).and_then(|host| std::fs::read_to_string(host).ok());
    let config_path = flag("config-file").unwrap_or_default();
    let ca = env("SSL_CERT_FILE");
    Settings {
        release: ProviderRelease::of_image(&service.image),
        endpoint: flag("omni-api-endpoint").unwrap_or_else(|| env("OMNI_ENDPOINT")),
        key: flag("omni-service-account-key").unwrap_or_else(|| env("OMNI_SERVICE_ACCOUNT_KEY")),
        id: flag("id").unwrap_or_else(|| "proxmox".to_owned()),
        config: on_host(&config_path),
        config_path,
        ca: if ca.is_empty() { None } else { Some(on_host(&ca).unwrap_or_default()) },
        insecure: service.argv.iter().any(|word| word.starts_with("--insecure-skip-verify")),
        name: flag("provider-name").unwrap_or_else(|| "Proxmox".to_owned()),
        description: flag("provider-description").unwrap_or_else(|| "Proxmox infrastructure provider".to_owned()),
    }
}

/// Logs the first lines of a healthy Omni.
pub fn log_omni_start(log: &Log) {
    let say = |caller: &str, text: &str| log.zap("info", caller, text, &[("component", json!("server"))]);
    say("omni/app.go:92", "starting Omni");
    say("backend/server.go:402", "service http server starting");
}

/// The error with which Omni exits if its settings have an unknown key or are not valid YAML (omni v1.9.3, run).
pub fn refused_settings(service: &Service) -> Option<String> {
    let text = std::fs::read_to_string(service.host_path("/etc/omni/site.yaml")?).ok()?;
    let failed = "failed to run Omni: failed to load config from file \"/etc/omni/site.yaml\"";
    // Omni reads only the first document.
    match serde_yaml::Deserializer::from_str(&text).next().map(Value::deserialize)? {
        Ok(value) => Some(format!("{failed}: unknown keys found during decoding: {}", unknown_setting(&value, "")?)),
        Err(why) => Some(format!("{failed}: yaml: {why}")),
    }
}

/// Reads the public keys for the store from the files named in the settings. The error is the one with which Omni exits if a file
/// does not exist (omni v1.9.3 `internal/backend/runtime/omni/state_etcd.go`).
pub fn public_keys(service: &Service) -> Result<Vec<String>, String> {
    let text = service.host_path("/etc/omni/site.yaml").and_then(|host| std::fs::read_to_string(host).ok());
    let text = text.unwrap_or_default();
    let files = check::site::setting_texts(&text, &["storage", "default", "etcd", "publicKeyFiles"]);
    let read = |file: String| {
        let host = file.strip_prefix("/etc/omni/site/").zip(service.host_path("/etc/omni/site"));
        host.and_then(|(name, dir)| std::fs::read_to_string(dir.join(name)).ok()).ok_or_else(|| {
            format!(
                "failed to run Omni: failed to read public key file '{file}': open {file}: no such file or directory"
            )
        })
    };
    files.into_iter().map(read).collect()
}

/// Finds the first key below `above` that is neither a setting nor the parent of one.
fn unknown_setting(value: &Value, above: &str) -> Option<String> {
    let settings =
        || include_str!("../../../../xtask/data/omni-settings.txt").lines().filter_map(|line| line.split(' ').next());
    value.as_mapping()?.iter().find_map(|(key, inner)| {
        let path = format!("{above}{}", key.as_str().unwrap_or_default());
        match settings().any(|known| known == path) {
            true => None,
            false if settings().any(|known| known.starts_with(&format!("{path}."))) => {
                unknown_setting(inner, &format!("{path}."))
            }
            false => Some(path),
        }
    })
}

/// Runs a shell script with the few commands that stand-in containers use: `sleep`, `echo` and `exit`; any other command runs
/// indefinitely. Their health check waits for a file named `/ok`.
pub async fn script(text: &str, log: &Log, clock: &Clock, healthy: impl Fn()) -> i32 {
    for command in text.split(';').map(str::trim) {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        match word {
            "sleep" => match rest.trim().parse() {
                Ok(seconds) => clock.sleep(Duration::from_secs(seconds)).await,
                Err(_) => return 1,
            },
            "echo" => {
                let rest = rest.trim_end_matches(">&2").trim();
                match rest.rsplit_once('>') {
                    Some((_, file)) if !file.trim().ends_with(['\'', '"', '}']) => {
                        if file.trim() == "/ok" {
                            healthy();
                        }
                    }
                    _ => log.raw(rest.trim_matches('\'')),
                }
            }
            "exit" => return rest.trim().parse().unwrap_or(0),
            "" => {}
            _ => std::future::pending().await,
        }
    }
    0
}
