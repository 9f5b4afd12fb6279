//! Looks up settings: from a flag, the environment, `docker/.env`, the state, or a default, in this order. Each value keeps its
//! origin for error messages.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use crate::bundle::OpenedBundle;
use crate::files;
use crate::paths::Paths;
use crate::proc;
use crate::state::State;
use crate::tool::compose::PROVIDER;
use domain::failure::{Code, Failure};
use domain::secret::{self, Secret};
use domain::spec::config::{self, without_api_path};
use domain::spec::env::EnvFile;

/// The default provider ID, the same as that of the provider's `--id` (omni-infra-provider-proxmox 0d9fd58 `main.go:156`).
pub const PROVIDER_ID: &str = "proxmox";

/// In `docker/.env`: the file that includes the services of further providers, relative to `docker`.
pub const PROVIDERS_FILE: &str = "OMNI_PROVIDERS_FILE";

/// The provider's variables, and their names in the `.env` of a further provider. These differ because compose lets
/// `docker/.env` override a variable of the same name (docker compose 5.5.1, tried).
const PROVIDER_VARIABLES: [(&str, &str); 2] =
    [("OMNI_INFRA_PROVIDER_KEY", "INFRA_PROVIDER_KEY"), ("PROVIDER_CA_FILE", "INFRA_PROVIDER_CA_FILE")];

/// Keys of `docker/.env` whose values are secrets.
const SECRETS: &[&str] = &[
    "INFRA_PROVIDER_KEY",
    "TS_AUTHKEY",
    "OIDC_CLIENT_SECRET",
    "OMNI_INFRA_PROVIDER_KEY",
    "OMNI_SERVICE_ACCOUNT_KEY",
    "SIDERO_SERVICE_ACCOUNT_KEY",
    "PROXMOX_VE_API_TOKEN",
];

/// Variables that configure tasks or the programs that they call; entries that end in `*` are prefixes.
const KNOWN_VARIABLES: &str = "OMNI* PROXMOX_VE_* SIDERO* TS_* OIDC_* PROVIDER_* SSL_CERT_* DOCKER_* COMPOSE_* HTTP_PROXY HTTPS_PROXY ALL_PROXY \
     NO_PROXY http_proxy https_proxy all_proxy no_proxy HOME PATH XDG_*";

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    EnvFile(&'static str),
    State(&'static str),
    /// The `.env` of a further provider: variable and file.
    Provider(&'static str, String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => write!(f, "{name}"),
            Origin::Environment(name) => write!(f, "{name} in the environment"),
            Origin::EnvFile(name) => write!(f, "{name} in docker/.env"),
            Origin::Provider(name, file) => write!(f, "{name} in {file}"),
            Origin::State(name) => write!(f, "{name} in the state"),
            Origin::Default => write!(f, "the default"),
        }
    }
}

/// A value and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub origin: Origin,
}

/// The settings of a task, read once at its start.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub env_file: EnvFile,
    pub state: State,
    pub flag_overrides: FlagOverrides,
    /// The further provider that these settings are for; `None` for the first one.
    pub provider: Option<String>,
    /// The shared certificate authorities, for a further provider that has none of its own.
    shared_ca: Option<String>,
    /// These settings are for one provider, the named or the only one.
    pub is_single_provider: bool,
    /// The bundle whose contents replace calls of all programs.
    pub recorded: Option<Arc<OpenedBundle>>,
}

/// Flags of a task that override the settings of every program it calls.
#[derive(Debug, Clone, Default)]
pub struct FlagOverrides {
    pub omni_endpoint: Option<String>,
    pub ca_file: Option<String>,
}

/// The sources of one value, in order; those that are `None` are skipped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lookup<'a> {
    pub flag: Option<(&'static str, Option<&'a str>)>,
    pub env: Option<&'static str>,
    pub state: Option<&'static str>,
}

impl Settings {
    /// The settings without a project: only the environment.
    ///
    /// # Errors
    /// Fails like `check_environment`.
    pub fn from_environment() -> Result<Settings, Failure> {
        check_environment()?;
        let settings = Settings::default();
        redact_known_secrets(&settings.env_file);
        Ok(settings)
    }

    /// Reads `docker/.env` and the state.
    ///
    /// # Errors
    /// Returns an error if one of them exists and cannot be parsed; otherwise fails like `check_environment`.
    pub fn load(paths: &Paths) -> Result<Settings, Failure> {
        check_environment()?;
        let state = State::load(&paths.state(), &paths.show(&paths.state()))?;
        let env_file = match files::read_optional_text(&paths.env())? {
            Some(text) => EnvFile::parse(&paths.show(&paths.env()), &text)?,
            None => EnvFile::default(),
        };
        secret::hide_logins(&files::read_text_or_empty(&paths.state()));
        let further = further_providers(paths, &env_file);
        for paths in std::iter::once(paths.clone()).chain(further.iter().map(|id| paths.for_provider(id))) {
            config::hide_secrets(&files::read_text_or_empty(&paths.config()));
            secret::hide_in(&files::read_text_or_empty(&paths.provider_env()));
        }
        let site =
            env_file.get("OMNI_SITE_FILE").map_or_else(|| paths.site(), |name| paths.root().join("docker").join(name));
        let site = files::read_text_or_empty(&site);
        config::hide_secrets(&site);
        secret::hide_in(&site);
        redact_known_secrets(&env_file);
        Ok(Settings { env_file, state, ..Settings::default() })
    }

    /// The settings from a bundle, without this host's environment. If a file in it is invalid, the defaults apply.
    pub fn for_bundle(paths: &Paths, recorded: OpenedBundle) -> Settings {
        Settings { recorded: Some(Arc::new(recorded)), ..Settings::load(paths).unwrap_or_default() }
    }

    /// The settings of a further provider, with its own key and certificate authorities instead of the first one's.
    ///
    /// # Errors
    /// Returns an error if its `.env` cannot be parsed.
    pub fn for_provider(&self, paths: &Paths, id: &str) -> Result<Settings, Failure> {
        let path = paths.provider_env();
        let text = files::read_optional_text(&path)?.unwrap_or_default();
        let own = EnvFile::parse(&paths.show(&path), &text)?;
        let shared_ca = self.env_file.get("PROVIDER_CA_FILE").map(str::to_owned);
        let mut settings =
            Settings { provider: Some(id.to_owned()), is_single_provider: true, shared_ca, ..self.clone() };
        for (name, its) in PROVIDER_VARIABLES {
            settings.env_file.set(name, own.get(its).unwrap_or_default());
        }
        Ok(settings)
    }

    /// The name of a variable in the `.env` of this further provider, and that file; `None` for a variable of `docker/.env`.
    pub fn provider_variable(&self, name: &str) -> Option<(&'static str, String)> {
        let id = self.provider.as_ref()?;
        let (_, own) = PROVIDER_VARIABLES.into_iter().find(|(known, _)| *known == name)?;
        Some((own, format!("docker/providers/{id}/.env")))
    }

    /// The service of the provider in docker/compose.yaml.
    pub fn provider_service(&self) -> String {
        self.provider.as_ref().map_or(PROVIDER.to_owned(), |id| format!("{PROVIDER}-{id}"))
    }

    /// A variable and its file, for messages.
    pub fn variable_location(&self, name: &'static str) -> String {
        let (name, file) = self.provider_variable(name).unwrap_or((name, "docker/.env".to_owned()));
        format!("{name} in {file}")
    }

    /// The first value found.
    pub fn find(&self, lookup: Lookup<'_>) -> Option<Setting<String>> {
        let some = |value: &str, origin: Origin| Some(Setting { value: value.to_owned(), origin });
        if let Some((flag, Some(value))) = lookup.flag {
            return some(value, Origin::Flag(flag));
        }
        if let Some(name) = lookup.env {
            if let Some(value) = environment(name).filter(|_| self.recorded.is_none()) {
                return some(&value, Origin::Environment(name));
            }
            if let Some(value) = self.env_file.get(name) {
                let origin = match self.provider_variable(name) {
                    Some((own, file)) => Origin::Provider(own, file),
                    None => Origin::EnvFile(name),
                };
                return some(value, origin);
            }
        }
        // Other than Omni's endpoint, the state only has values of the first provider.
        let name = lookup.state.filter(|name| self.provider.is_none() || *name == "omni_endpoint")?;
        self.state.get(name).and_then(|value| some(&value, Origin::State(name)))
    }

    /// The secret in `name`, from the environment or `docker/.env`.
    pub fn secret(&self, name: &'static str) -> Option<Setting<Secret>> {
        let found = self.find(Lookup { env: Some(name), ..Lookup::default() })?;
        Some(Setting { value: Secret::new(found.value), origin: found.origin })
    }

    /// Omni's https endpoint, without a trailing slash. Derived from `OMNI_DOMAIN` if `OMNI_ENDPOINT` is not set.
    pub fn omni_endpoint(&self, flag: Option<&str>) -> Option<Setting<String>> {
        let trimmed = |mut found: Setting<String>| {
            found.value.truncate(found.value.trim_end_matches('/').len());
            found
        };
        let flag = Some(("--omni-endpoint", flag.or(self.flag_overrides.omni_endpoint.as_deref())));
        if let Some(found) = self.find(Lookup { flag, env: Some("OMNI_ENDPOINT"), state: None }) {
            return Some(trimmed(found));
        }
        if let Some(found) = self.find(Lookup { env: Some("OMNI_DOMAIN"), ..Lookup::default() }) {
            return Some(Setting { value: format!("https://{}", found.value), origin: found.origin });
        }
        self.find(Lookup { state: Some("omni_endpoint"), ..Lookup::default() }).map(trimmed)
    }

    /// The address of Proxmox without `/api2/json`.
    pub fn proxmox_endpoint(&self, flag: Option<&str>) -> Option<Setting<String>> {
        let flag = Some(("--proxmox-url", flag));
        let lookup = Lookup { flag, env: Some("PROXMOX_VE_ENDPOINT"), state: Some("proxmox_endpoint") };
        let found = self.find(lookup)?;
        Some(Setting { value: without_api_path(&found.value).to_owned(), origin: found.origin })
    }

    /// The ID that the provider registers with.
    pub fn provider_id(&self, flag: Option<&str>) -> Setting<String> {
        let flag = Some(("--provider-id", flag.or(self.provider.as_deref())));
        self.find(Lookup { flag, env: Some("OMNI_PROVIDER_ID"), state: Some("provider_id") })
            .unwrap_or(Setting { value: PROVIDER_ID.to_owned(), origin: Origin::Default })
    }

    /// The certificate authorities to trust in addition to the system's.
    pub fn ca_file(&self, flag: Option<&str>) -> Option<Setting<String>> {
        let flag = Some(("--ca-file", flag.or(self.flag_overrides.ca_file.as_deref())));
        self.find(Lookup { flag, env: Some("SSL_CERT_FILE"), state: None })
            .or_else(|| self.find(Lookup { env: Some("PROVIDER_CA_FILE"), ..Lookup::default() }))
            .or_else(|| Some(Setting { value: self.shared_ca.clone()?, origin: Origin::EnvFile("PROVIDER_CA_FILE") }))
    }
}

/// The further providers whose services `docker/compose.yaml` includes, from the list that `provider-setup` writes.
pub fn further_providers(paths: &Paths, env_file: &EnvFile) -> Vec<String> {
    let Some(file) = env_file.get(PROVIDERS_FILE) else { return Vec::new() };
    let text = files::read_text_or_empty(&paths.root().join("docker").join(file));
    let id = |line: &str| Some(line.trim().strip_prefix("- path: ")?.strip_suffix("/compose.yaml")?.to_owned());
    text.lines().filter_map(id).collect()
}

/// Redacts everything in the environment that could be a secret from all output, for files that are passed on to others.
pub fn hide_environment() {
    variables().for_each(|(name, value)| secret::hide_in(&format!("{}={}", name.display(), value.display())));
}

/// Redacts the secrets of the environment, of `docker/.env` and of omnictl's own login from all output.
fn redact_known_secrets(env_file: &EnvFile) {
    proc::hide_secrets();
    for key in SECRETS {
        for value in [env_file.get(key).map(str::to_owned), environment(key)].into_iter().flatten() {
            secret::hide(&value);
            if let Some((_, tail)) = value.split_once('=').filter(|_| *key == "PROXMOX_VE_API_TOKEN") {
                secret::hide(tail);
            }
        }
    }
    env_file.keys().filter_map(|key| env_file.get(key)).for_each(secret::hide_logins);
    variables().for_each(|(_, value)| secret::hide_logins(&value.to_string_lossy()));
}

/// Refuses a known variable that is not valid UTF-8: if it were treated as unset, a task could use a different Omni.
///
/// # Errors
/// [`Code::Usage`] with its name.
fn check_environment() -> Result<(), Failure> {
    let bad = variables()
        .filter(|(_, value)| value.to_str().is_none())
        .find_map(|(name, _)| name.into_string().ok().filter(|name| proc::is_listed(KNOWN_VARIABLES, name)));
    match bad {
        None => Ok(()),
        Some(name) => Err(Failure::new(Code::Usage, format!("{name} in the environment is not valid UTF-8"))
            .cause("its value cannot be used")
            .hint(format!("set it again, or `unset {name}`"))),
    }
}

/// All variables of this process.
#[allow(clippy::disallowed_methods)] // the only place that reads the environment
fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// A variable of this process, unless it is unset or empty.
#[allow(clippy::disallowed_methods)] // the only place that reads the environment
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
