//! The inputs of `provider-setup`: from flags, environment, files and, on a terminal, from prompts.

use std::time::{Duration, SystemTime};

use crate::cli::ProviderSetup;
use crate::flow::proxmox;
use crate::prelude::*;
use check::values;
use domain::secret::Secret;
use domain::spec::config::{self, ProviderConfig};
use domain::spec::{key, name};
use runtime::answers::Answers;
use runtime::files;
use runtime::settings::{Lookup, Origin};
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::{Login, Proxmox, Token};

/// The values that the task needs, complete.
pub struct ProviderInputs {
    pub id: String,
    pub omni: String,
    pub proxmox: Proxmox,
    /// `docker/config.yaml` already exists.
    pub configured: bool,
    pub ca_file: Option<String>,
}

/// The source of the provider's key.
pub enum ProviderKey {
    /// The key is in `docker/.env`.
    Stored,
    /// The key was given, and must be stored.
    Given(Secret),
    /// Omni creates the key; the provider may already exist there.
    Created { exists: bool },
}

/// Gathers all values from flags, environment, files and, on a terminal, from prompts.
pub fn gather(args: &ProviderSetup, cx: &Cx) -> anyhow::Result<ProviderInputs> {
    let id = cx.settings.provider_id(args.provider_id.as_deref());
    name::check_existing("provider", &id.value)?;
    let answers = Answers::load(cx);
    let omni = match cx.settings.omni_endpoint(args.omni_endpoint.as_deref()) {
        Some(found) => omni_address(&found.value)?,
        None => {
            let missing = missing("the address of Omni", "--omni-endpoint", "OMNI_ENDPOINT");
            answers.ask("OMNI_ENDPOINT", "Address of Omni (https://…)", None, missing, omni_address)?
        }
    };
    let ca_file = cx.settings.ca_file(args.ca_file.as_deref()).map(|found| found.value);
    let (proxmox, configured) = match files::read_optional_text(&cx.paths.config())? {
        Some(text) => (configured_proxmox(args, cx, &text)?, true),
        None => (given_proxmox(args, cx, &answers, ca_file.clone())?, false),
    };
    Ok(ProviderInputs { id: id.value, omni, proxmox, configured, ca_file })
}

fn missing(name: &str, flag: &str, env: &str) -> MissingValue {
    MissingValue { env: Some(env.to_owned()), ..MissingValue::flag(name, flag) }
}

/// Refuses an address that contains a login, because addresses are shown to everyone and kept in the state.
fn refuse_login(address: &str, example: &str) -> Result<(), Failure> {
    match config::find_login(address) {
        None => Ok(()),
        Some(_) => Err(Failure::new(Code::Usage, "the address contains a login")
            .cause("addresses are shown in output and stored in the state")
            .hint(format!("write it as {example}"))),
    }
}

/// Parses the address of Omni; the scheme is optional.
fn omni_address(text: &str) -> Result<String, Failure> {
    refuse_login(text, "https://omni.example.ts.net")?;
    values::https_address(text, None).map_err(|why| {
        Failure::new(Code::Usage, format!("the address of Omni {text:?} {why}"))
            .cause("the provider connects to Omni over TLS, and the address contains only Omni's name")
            .hint("write it as https://OMNI_DOMAIN, in --omni-endpoint or OMNI_ENDPOINT")
    })
}

/// Parses the address of Proxmox, and removes `/api2/json`; scheme and port are optional.
fn proxmox_address(text: &str) -> Result<String, Failure> {
    refuse_login(text, "https://pve.example.com:8006")?;
    let address = config::without_api_path(text);
    if address.starts_with("http://") {
        return Ok(address.to_owned());
    }
    values::https_address(address, Some(8006)).map_err(|why| {
        Failure::new(Code::Usage, format!("the address of Proxmox {text:?} {why}"))
            .hint("write it as https://PROXMOX_HOST:8006, in --proxmox-url or PROXMOX_VE_ENDPOINT")
    })
}

/// Returns Proxmox as configured in `docker/config.yaml`. The provider uses that file, so a flag that contradicts it is refused.
fn configured_proxmox(args: &ProviderSetup, cx: &Cx, text: &str) -> anyhow::Result<Proxmox> {
    let shown = cx.paths.show(&cx.paths.config());
    let found = ProviderConfig::parse(&shown, text)?;
    let proxmox = proxmox::proxmox_of(cx, &found)?;
    proxmox.check_encrypted(cx)?;
    proxmox::report_conflicts(cx, &proxmox);
    if let Some(asked) = args.proxmox_url.as_deref().map(config::without_api_path).filter(|asked| *asked != proxmox.url)
    {
        let what = format!("{shown} reaches Proxmox at {}, not at {asked}", proxmox.url);
        return Err(Failure::new(Code::Conflict, what)
            .cause("the file exists and is never overwritten: it may contain your own changes")
            .hint(format!("change `url` in {shown}, or move the file away and run this again"))
            .into());
    }
    Ok(proxmox)
}

/// Returns Proxmox from flags, environment or prompts, to be written to `docker/config.yaml`.
fn given_proxmox(
    args: &ProviderSetup,
    cx: &Cx,
    answers: &Answers<'_>,
    ca_file: Option<String>,
) -> anyhow::Result<Proxmox> {
    let endpoint = cx.settings.proxmox_endpoint(args.proxmox_url.as_deref());
    let origin = endpoint.as_ref().map_or("the address".to_owned(), |found| found.origin.to_string());
    let endpoint = endpoint.map(|found| found.value);
    let token = cx.settings.secret("PROXMOX_VE_API_TOKEN");
    let token_missing = MissingValue::secret("the Proxmox API token", "PROXMOX_VE_API_TOKEN");
    let url_missing = missing("the address of Proxmox", "--proxmox-url", "PROXMOX_VE_ENDPOINT");
    if !cx.ask.can_prompt() {
        MissingValue::check([(endpoint.is_none(), url_missing.clone()), (token.is_none(), token_missing.clone())])?;
    }
    let url = match endpoint {
        Some(url) => proxmox_address(&url)?,
        None => {
            let question = "Address of Proxmox (https://…:8006)";
            let url = answers.ask("PROXMOX_VE_ENDPOINT", question, None, url_missing, proxmox_address)?;
            cx.ui.say(&format!("  Using Proxmox at {}", config::with_api_path(&url)));
            url
        }
    };
    let token = match token {
        Some(found) => Token::parse(found.value.expose(), &found.origin.to_string())?,
        None => {
            let question = "Proxmox API token (user@realm!name=secret)";
            let check = |text: &str| Token::parse(text, "as typed");
            answers.ask("PROXMOX_VE_API_TOKEN", question, None, token_missing, check)?
        }
    };
    let login = Login::Token(token);
    let proxmox = Proxmox::new(url, origin, login, ca_file).insecure(args.insecure_skip_tls_verify);
    proxmox.check_encrypted(cx)?;
    Ok(proxmox)
}

/// Returns the existing key, or how Omni can create one; `None` if only the operator can provide it.
pub fn find_key(cx: &Cx, id: &str) -> anyhow::Result<StepResult<Option<ProviderKey>>> {
    let now = SystemTime::now();
    let lookup = Lookup { env: Some("OMNI_INFRA_PROVIDER_KEY"), ..Lookup::default() };
    if let Some(found) = cx.settings.find(lookup) {
        let info = key::check_provider_key(&found.value, id, &found.origin.to_string(), now).map_err(|failure| {
            match found.origin {
                // A new key in docker/.env would be ignored.
                Origin::Environment(name) => {
                    let hint = format!("{}; first `unset {name}`, which overrides docker/.env", failure.hint);
                    failure.hint(hint.trim_start_matches("; ").to_owned())
                }
                _ => failure,
            }
        })?;
        let left = info
            .remaining_lifetime(now)
            .map_or("no limit".to_owned(), |left| format!("{} left", count((left.as_secs() / 86_400) as usize, "day")));
        let stored = cx.settings.env_file.get("OMNI_INFRA_PROVIDER_KEY") == Some(found.value.as_str());
        let detail = format!("of {}, {left}, from {}", info.name, found.origin);
        let key = if stored { ProviderKey::Stored } else { ProviderKey::Given(Secret::new(found.value)) };
        return Ok(match info.remaining_lifetime(now) {
            Some(left) if left < Duration::from_secs(30 * 86_400) => StepResult::warning(Some(key), detail),
            _ => StepResult::ok(Some(key), detail),
        });
    }
    match Omnictl::find(cx) {
        Ok(omnictl) => {
            let exists = omnictl.get("infraproviders", id)?.is_some();
            if !exists {
                // Omni 1.10 and later do not create providers with other names.
                name::check("provider", id)?;
            }
            let detail = if exists {
                "none yet; Omni knows the provider and can create one"
            } else {
                "none yet; Omni can create one"
            };
            Ok(StepResult::ok(Some(ProviderKey::Created { exists }), detail))
        }
        Err(failure) if matches!(failure.code, Code::MissingInput | Code::Prerequisite) => {
            Ok(StepResult::warning(None, format!("none yet, and Omni could not be queried: {}", failure.message)))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Prompts for the key, which the operator gets from Omni.
pub fn ask_for_key(cx: &Cx, inputs: &ProviderInputs) -> anyhow::Result<ProviderKey> {
    let missing = MissingValue::secret("the provider's key", "OMNI_INFRA_PROVIDER_KEY");
    let page = format!("{}/settings/infraproviders", inputs.omni);
    cx.ui.say(&format!("  Create the key of the provider `{}` in Omni at {page}", inputs.id));
    let check = |text: &str| {
        key::check_provider_key(text, &inputs.id, "as typed", SystemTime::now()).map(|_| Secret::new(text))
    };
    let asked = Answers::load(cx).ask("OMNI_INFRA_PROVIDER_KEY", "Key of the provider", None, missing, check);
    let typed = asked.map_err(|failure| {
        if failure.code == Code::MissingInput {
            failure.hint(format!(
                "create it at {page} and put it into {} as {}; or log in as an admin (OMNI_SERVICE_ACCOUNT_KEY) and this task creates it in Omni",
                cx.paths.show(&cx.paths.provider_env()),
                cx.settings.provider_variable("OMNI_INFRA_PROVIDER_KEY").map_or("OMNI_INFRA_PROVIDER_KEY", |(own, _)| own)
            ))
        } else {
            failure
        }
    })?;
    Ok(ProviderKey::Given(typed))
}
