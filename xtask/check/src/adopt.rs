//! Translates an Omni that other compose files started into this project's files. Pure functions.
//!
//! Everything comes from the arguments of the containers, which compose has filled in, whatever its file and variables are
//! called: those differ between the original kit, Omni's own compose file and the starter kit next to it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{site, stack};
use domain::spec::env::EnvFile;
use domain::status::docker::ContainerDetails;

/// The account ID of an Omni that was started without one (omni v1.9.3 `internal/pkg/config/schema.json`).
pub const DEFAULT_ACCOUNT: &str = "edd2822a-7834-4fe0-8172-cc5581f13a8d";
/// Prefixes of flags that docker/compose.yaml sets under another name (`--machine-api-…`) or as a file.
const SAME: [&str; 2] = ["siderolink-api-", "auth-oidc-client-secret"];

/// What is taken over from an existing Omni.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// Values for docker/.env; unknown ones are missing.
    pub values: BTreeMap<&'static str, String>,
    /// The directory of its etcd and the file of its SQLite database, both in its container.
    pub data: [String; 2],
    /// The key of its store, on this host.
    pub key: String,
    /// The configuration of its provider, on this host.
    pub config: Option<String>,
    /// What will be different, in words.
    pub differences: Vec<String>,
}

/// Translates an Omni and its provider; `files` are the environment files next to their compose files.
///
/// # Errors
/// Returns why it cannot be taken over.
pub fn existing(
    omni: &ContainerDetails,
    provider: Option<&ContainerDetails>,
    files: &[EnvFile],
    compose: &str,
) -> Result<Existing, String> {
    let flag = |name: &str| omni.flag(name).filter(|value| !value.is_empty());
    let file = flag("--config-path").map_or("", |_| ": settings in a --config-path file are not read");
    let no = |name: &str| format!("it has no --{name}{file}");
    let variable = |name: &str| files.iter().find_map(|file| file.get(name)).map(str::to_owned);
    let url = flag("--advertised-api-url").ok_or_else(|| no("advertised-api-url"))?;
    let domain = url.trim_start_matches("https://").trim_end_matches('/').to_owned();
    let mounted = |name: &str| flag(name).and_then(|path| omni.host_path(&path));
    let address = flag("--siderolink-wireguard-advertised-addr");
    let address = address.as_deref().and_then(|address| Some(address.rsplit_once(':')?.0.trim_matches(['[', ']'])));
    let argument = |name: &str| provider.and_then(|provider| provider.flag(name));
    let id = provider.map(|_| argument("--id").unwrap_or_else(|| "proxmox".to_owned()));
    let account = flag("--account-id").unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned());
    let key = || argument("--omni-service-account-key").or_else(|| variable("OMNI_INFRA_PROVIDER_KEY"));
    let values = [
        ("OMNI_DOMAIN", Some(domain.clone())),
        ("OMNI_ACCOUNT_UUID", Some(account)),
        ("OMNI_LAN_ADDRESS", address.filter(|address| address.parse::<IpAddr>().is_ok()).map(str::to_owned)),
        ("OMNI_INITIAL_USER", flag("--initial-users").and_then(|users| Some(users.split(',').next()?.to_owned()))),
        ("OMNI_TLS_CERT", mounted("--cert")),
        ("OMNI_TLS_KEY", mounted("--key")),
        ("OIDC_ISSUER_URL", flag("--auth-oidc-provider-url")),
        ("OIDC_CLIENT_ID", flag("--auth-oidc-client-id")),
        ("OIDC_CLIENT_SECRET", flag("--auth-oidc-client-secret")),
        ("TS_AUTHKEY", variable("TS_AUTHKEY")),
        ("OMNI_PROVIDER_ID", id),
        ("OMNI_INFRA_PROVIDER_KEY", provider.and_then(|_| key().or_else(|| variable("OMNI_SERVICE_ACCOUNT_KEY")))),
    ];
    let source = flag("--private-key-source").ok_or_else(|| no("private-key-source"))?;
    let path = source.strip_prefix("file://").ok_or("its store key is not in a file")?;
    let [etcd, sqlite] = stack::data_paths(omni).try_into().map_err(|_| no("sqlite-storage-path"))?;
    let bad = stack::unmounted(omni);
    if !bad.is_empty() {
        return Err(bad.join("; "));
    }
    let joins = flag("--machine-api-advertised-url").or_else(|| flag("--siderolink-api-advertised-url"));
    let joins = joins.filter(|url| url.trim_end_matches('/') != format!("https://{domain}:8090"));
    let mut differs: Vec<String> = joins
        .map(|url| format!("machines join at {url}; this repository uses https://{domain}:8090/"))
        .into_iter()
        .collect();
    let (known, _) = stack::omni_settings(compose);
    let own = omni.args.iter().filter_map(|arg| arg.strip_prefix("--")?.split('=').next());
    for flag in
        own.filter(|flag| !SAME.iter().any(|same| flag.starts_with(same)) && !known.iter().any(|known| known == flag))
    {
        let key = site::key_of(flag).map(|key| format!(", `{key}` in docker/site.yaml")).unwrap_or_default();
        differs.push(format!("--{flag}{key}, is not set here"));
    }
    let config = argument("--config-file").and_then(|path| provider?.host_path(&path));
    let key = omni.host_path(path).ok_or_else(|| format!("its store key {path} is not a file on this host"))?;
    let values = values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    Ok(Existing { values, data: [etcd, sqlite], key, config, differences: differs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::status::docker::parse_inspect;

    fn layout(args: &str, mounts: &[(&str, &str)]) -> ContainerDetails {
        let mounts: Vec<String> = mounts
            .iter()
            .map(|(source, to)| format!(r#"{{"Type":"bind","Source":"{source}","Destination":"{to}"}}"#))
            .collect();
        let args: Vec<String> = args.split_whitespace().map(|arg| format!("{arg:?}")).collect();
        parse_inspect(&format!(r#"{{"mounts":[{}],"args":[{}]}}"#, mounts.join(","), args.join(","))).unwrap()
    }

    const COMPOSE: &str = include_str!("../../../docker/compose.yaml");
    /// The arguments that the original kit and Omni's own compose file use.
    const ORIGINAL: &str = "--sqlite-storage-path=/_out/omni.db --private-key-source=file:///omni.asc \
        --advertised-api-url=https://omni.example.ts.net/ --machine-api-advertised-url=https://omni.example.ts.net:8090/ \
        --siderolink-wireguard-advertised-addr=omni.example.ts.net:50180 --auth-oidc-client-secret=s --initial-users=a@b.c";
    const UPSTREAM: &str = "--account-id=a --name=omni --sqlite-storage-path=/_out/secondary-storage/sqlite.db --cert=/tls.crt \
        --private-key-source=file:///omni.asc --advertised-api-url=https://omni.example.com --initial-users=a@b.c,d@e.f \
        --siderolink-api-advertised-url=https://omni.example.com:8099/ --siderolink-api-cert=/tls.crt --join-tokens-mode=strict \
        --siderolink-wireguard-advertised-addr=192.0.2.9:50180 --auth-auth0-enabled=true";

    #[test]
    fn layouts_become_values_of_this_project() {
        let provider = layout("--config-file /config.yaml --id=Proxmox", &[("/kit/config.yaml", "/config.yaml")]);
        let files = [EnvFile::parse("x", "TS_AUTHKEY=t\nOMNI_INFRA_PROVIDER_KEY=k\n").unwrap()];
        let omni = layout(ORIGINAL, &[("/v", "/_out"), ("/kit/omni.asc", "/omni.asc")]);
        let found = existing(&omni, Some(&provider), &files, COMPOSE).unwrap();
        let value = |found: &Existing, key: &str| found.values.get(key).cloned().unwrap_or_default();
        assert_eq!(found.data, ["/_out/etcd", "/_out/omni.db"]);
        assert_eq!((found.key.as_str(), found.config.as_deref()), ("/kit/omni.asc", Some("/kit/config.yaml")));
        assert_eq!(value(&found, "OMNI_DOMAIN"), "omni.example.ts.net");
        assert_eq!(value(&found, "OMNI_ACCOUNT_UUID"), DEFAULT_ACCOUNT);
        assert_eq!(["OMNI_LAN_ADDRESS", "OMNI_TLS_CERT"].map(|key| value(&found, key)), ["", ""]);
        let keys = ["OIDC_CLIENT_SECRET", "TS_AUTHKEY", "OMNI_PROVIDER_ID", "OMNI_INFRA_PROVIDER_KEY"];
        assert_eq!(keys.map(|key| value(&found, key)), ["s", "t", "Proxmox", "k"]);
        assert_eq!(found.differences, [""; 0]);

        let mounts = [("/e", "/_out/etcd"), ("/s", "/_out/secondary-storage"), ("/k", "/omni.asc"), ("/c", "/tls.crt")];
        let found = existing(&layout(UPSTREAM, &mounts), None, &[], COMPOSE).unwrap();
        let keys = ["OMNI_ACCOUNT_UUID", "OMNI_LAN_ADDRESS", "OMNI_TLS_CERT", "OMNI_INITIAL_USER", "OMNI_PROVIDER_ID"];
        assert_eq!(keys.map(|key| value(&found, key)), ["a", "192.0.2.9", "/c", "a@b.c", ""]);
        let differs = "machines join at https://omni.example.com:8099/; this repository uses https://omni.example.com:8090/|\
            --join-tokens-mode, `services.siderolink.joinTokensMode` in docker/site.yaml, is not set here|\
            --auth-auth0-enabled, `auth.auth0.enabled` in docker/site.yaml, is not set here";
        assert_eq!(found.differences.join("|"), differs);
    }

    #[test]
    fn existing_refuses_unsupported_omni() {
        let mounts = [("/v", "/_out"), ("/kit/omni.asc", "/omni.asc")];
        for (args, mounts, why) in [
            ("--config-path=/x.yaml", &mounts[..], "it has no --advertised-api-url: settings in a --config-path file"),
            (ORIGINAL, &mounts[..1], "its store key /omni.asc is not a file on this host"),
            (ORIGINAL, &mounts[1..], "/_out/etcd is not on a mount"),
            (&ORIGINAL.replace("file://", "vault://"), &mounts, "its store key is not in a file"),
            (&ORIGINAL.replace("--sqlite", "--x"), &mounts, "it has no --sqlite-storage-path"),
        ] {
            let found = existing(&layout(args, mounts), None, &[], COMPOSE).unwrap_err();
            assert!(found.starts_with(why), "{found}");
        }
    }
}
