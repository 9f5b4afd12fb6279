//! Where a value comes from: a flag, the environment, `docker/.env`, the state, or a default, in this order. Each value
//! keeps its origin for error messages.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use crate::bundle::Recorded;
use crate::files;
use crate::paths::Paths;
use crate::proc;
use crate::state::State;
use domain::failure::{Code, Failure};
use domain::secret::{self, Secret};
use domain::spec::config::{self, without_api_path};
use domain::spec::env::EnvFile;

/// The default provider id; `--id` of the provider has the same default
/// (omni-infra-provider-proxmox 0d9fd58 `main.go:156`).
pub const PROVIDER_ID: &str = "proxmox";

/// Keys of `docker/.env` whose values are secrets.
const SECRETS: &[&str] = &[
    "TS_AUTHKEY",
    "OIDC_CLIENT_SECRET",
    "OMNI_INFRA_PROVIDER_KEY",
    "OMNI_SERVICE_ACCOUNT_KEY",
    "SIDERO_SERVICE_ACCOUNT_KEY",
    "PROXMOX_VE_API_TOKEN",
];

/// Names of variables that tasks, or the programs that they call, are configured with; entries that end in `*` are prefixes.
const OURS: &str = "OMNI* PROXMOX_VE_* SIDERO* TS_* OIDC_* PROVIDER_* SSL_CERT_* DOCKER_* COMPOSE_* HTTP_PROXY HTTPS_PROXY ALL_PROXY \
     NO_PROXY http_proxy https_proxy all_proxy no_proxy HOME PATH XDG_*";

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    EnvFile(&'static str),
    State(&'static str),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => write!(f, "{name}"),
            Origin::Environment(name) => write!(f, "{name} in the environment"),
            Origin::EnvFile(name) => write!(f, "{name} in docker/.env"),
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

/// The files that settings come from, read once at the start of a task.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub env_file: EnvFile,
    pub state: State,
    pub given: Given,
    /// The bundle that answers in place of all programs.
    pub recorded: Option<Arc<Recorded>>,
}

/// Flags of a task that hold for every program that it calls.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub omni_endpoint: Option<String>,
    pub ca_file: Option<String>,
}

/// What is tried in order for one value; absent names are skipped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lookup<'a> {
    pub flag: Option<(&'static str, Option<&'a str>)>,
    pub env: Option<&'static str>,
    pub state: Option<&'static str>,
}

impl Settings {
    /// What there is without a project: the environment.
    ///
    /// # Errors
    /// As [`readable_environment`].
    pub fn outside() -> Result<Settings, Failure> {
        readable_environment()?;
        let settings = Settings::default();
        hide_known(&settings.env_file);
        Ok(settings)
    }

    /// Reads `docker/.env` and the state.
    ///
    /// # Errors
    /// When one of them is there and cannot be understood; as [`readable_environment`].
    pub fn load(paths: &Paths) -> Result<Settings, Failure> {
        readable_environment()?;
        let state = State::load(&paths.state(), &paths.show(&paths.state()))?;
        let env_file = match files::read_text_if_there(&paths.env())? {
            Some(text) => EnvFile::parse(&paths.show(&paths.env()), &text)?,
            None => EnvFile::default(),
        };
        // A file that cannot be read is reported by the task that needs it.
        if let Ok(Some(text)) = files::read_text_if_there(&paths.env()) {
            secret::hide_in(&text);
        }
        if let Ok(Some(text)) = files::read_text_if_there(&paths.state()) {
            secret::hide_logins(&text);
        }
        if let Ok(Some(config)) = files::read_text_if_there(&paths.config()) {
            config::hide_secrets(&config);
        }
        let site =
            env_file.get("OMNI_SITE_FILE").map_or_else(|| paths.site(), |name| paths.root().join("docker").join(name));
        if let Ok(Some(site)) = files::read_text_if_there(&site) {
            config::hide_secrets(&site);
            secret::hide_in(&site);
        }
        hide_known(&env_file);
        Ok(Settings { env_file, state, ..Settings::default() })
    }

    /// Those of a bundle: this host's environment is no part of it, and a file that was wrong then is as good as none.
    pub fn of_bundle(paths: &Paths, recorded: Recorded) -> Settings {
        Settings { recorded: Some(Arc::new(recorded)), ..Settings::load(paths).unwrap_or_default() }
    }

    /// The first value that there is.
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
                return some(value, Origin::EnvFile(name));
            }
        }
        let name = lookup.state?;
        self.state.get(name).and_then(|value| some(&value, Origin::State(name)))
    }

    /// The secret in `name`, from the environment or `docker/.env`.
    pub fn secret(&self, name: &'static str) -> Option<Setting<Secret>> {
        let found = self.find(Lookup { env: Some(name), ..Lookup::default() })?;
        Some(Setting { value: Secret::new(found.value), origin: found.origin })
    }

    /// The https address of Omni, without a trailing slash. Without `OMNI_ENDPOINT` it comes from `OMNI_DOMAIN`.
    pub fn omni_endpoint(&self, flag: Option<&str>) -> Option<Setting<String>> {
        let trimmed = |mut found: Setting<String>| {
            found.value.truncate(found.value.trim_end_matches('/').len());
            found
        };
        let flag = Some(("--omni-endpoint", flag.or(self.given.omni_endpoint.as_deref())));
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

    /// The id under which the provider registers.
    pub fn provider_id(&self, flag: Option<&str>) -> Setting<String> {
        let flag = Some(("--provider-id", flag));
        self.find(Lookup { flag, env: Some("OMNI_PROVIDER_ID"), state: Some("provider_id") })
            .unwrap_or(Setting { value: PROVIDER_ID.to_owned(), origin: Origin::Default })
    }

    /// The certificate authorities to trust in addition to the system's.
    pub fn ca_file(&self, flag: Option<&str>) -> Option<Setting<String>> {
        let flag = Some(("--ca-file", flag.or(self.given.ca_file.as_deref())));
        self.find(Lookup { flag, env: Some("SSL_CERT_FILE"), state: None })
            .or_else(|| self.find(Lookup { env: Some("PROVIDER_CA_FILE"), ..Lookup::default() }))
    }
}

/// Redacts everything in the environment that could be a secret from all output: for what is handed to others.
pub fn hide_environment() {
    variables().for_each(|(name, value)| secret::hide_in(&format!("{}={}", name.display(), value.display())));
}

/// Redacts the secrets of the environment, of `docker/.env` and of omnictl's own login from all output.
fn hide_known(env_file: &EnvFile) {
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

/// Refuses a known variable that is not valid UTF-8: treated as unset, it could make a task use another Omni.
///
/// # Errors
/// [`Code::Usage`] with its name.
fn readable_environment() -> Result<(), Failure> {
    let bad = variables()
        .filter(|(_, value)| value.to_str().is_none())
        .find_map(|(name, _)| name.into_string().ok().filter(|name| proc::is_listed(OURS, name)));
    match bad {
        None => Ok(()),
        Some(name) => Err(Failure::new(Code::Usage, format!("{name} in the environment is not valid UTF-8"))
            .cause("its value cannot be used")
            .hint(format!("set it again, or `unset {name}`"))),
    }
}

/// All variables of this process.
#[allow(clippy::disallowed_methods)] // the one reader
fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// A variable of this process that is set to something.
#[allow(clippy::disallowed_methods)] // the one reader
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
