//! The values that `omni-setup` and `omni-adopt` use, and where each value comes from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use crate::cli::OmniValues;
use crate::flow::omni_stack::{OmniAddress, host_and_port};
use crate::flow::{omni_checks, project_files};
use crate::prelude::*;
use check::diagnosis::{self, Diagnosis};
use check::values;
use domain::clock::rfc3339;
use domain::secret::Secret;
use domain::spec::env::{EnvFile, REQUIRED, Variable};
use runtime::answers::Answers;
use runtime::files;
use runtime::settings::environment;
use runtime::state::State;

const ACCOUNT: &str = "OMNI_ACCOUNT_UUID";

/// A value for every variable of [`REQUIRED`].
pub struct OmniInputs(BTreeMap<&'static str, Secret>);

impl OmniInputs {
    /// Returns the value of a variable of [`REQUIRED`].
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).map(Secret::expose).unwrap_or_default()
    }

    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// Omni's host name, without a port.
    pub fn host(&self) -> String {
        host_and_port(self.get("OMNI_DOMAIN")).0
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.get("OMNI_DOMAIN"))
    }

    /// Sets an additional variable.
    pub fn set(&mut self, key: &'static str, value: Secret) {
        self.0.insert(key, value);
    }

    /// The address that machines use: Omni's LAN address, whatever this host's DNS resolves.
    pub fn address(&self, cx: &Cx) -> OmniAddress {
        let connect = self.host().parse::<IpAddr>().is_err().then(|| self.get("OMNI_LAN_ADDRESS").to_owned());
        OmniAddress { endpoint: self.endpoint(), connect, ca_file: cx.settings.ca_file(None).map(|found| found.value) }
    }

    /// Returns the changes that bring `docker/.env` up to date with these values.
    pub fn env_changes<'a>(&self, cx: &Cx, example: &EnvFile) -> Vec<Change<'a>> {
        let path = cx.paths.env();
        if !path.exists() {
            let mut file = example.clone();
            self.all().for_each(|(key, value)| file.set(key, value.expose()));
            let names: Vec<&str> = self.all().map(|(key, _)| key).collect();
            let effect = format!("from docker/.env.example, with {}", names.join(", "));
            let contents = (Secret::plain(file.text()), files::PRIVATE);
            return vec![project_files::write("create", (path, "docker/.env"), contents, effect, "remove the file")];
        }
        let differs = |(key, value): &(&'static str, &Secret)| cx.settings.env_file.get(key) != Some(value.expose());
        let set = |(key, value): (&'static str, &Secret)| {
            project_files::set_env_key(cx, key, value.clone(), "the stack uses it", "restore the line")
        };
        let changes: Vec<Change<'_>> = self.all().filter(differs).map(set).collect();
        // Setting a value also writes the file with the right mode.
        if changes.is_empty() { project_files::protect(path, "docker/.env").into_iter().collect() } else { changes }
    }

    /// Records that Omni is set up.
    pub fn record(state: &mut State, endpoint: &str) {
        state.set("omni_configured", true);
        state.set("omni_endpoint", endpoint);
        if state.get("omni_configured_at").is_none() {
            state.set("omni_configured_at", rfc3339(SystemTime::now()));
        }
    }
}

/// Returns `--domain or `, to be followed by the equivalent variable; empty for secrets, which have no flag.
fn flag_hint(key: &str) -> String {
    flag(&OmniValues::default(), key).map_or(String::new(), |(name, _)| format!("{name} or "))
}

/// The flag for a variable, and the value it was given.
fn flag<'a>(args: &'a OmniValues, key: &str) -> Option<(&'static str, Option<&'a str>)> {
    Some(match key {
        "OMNI_DOMAIN" => ("--domain", args.domain.as_deref()),
        "OMNI_LAN_ADDRESS" => ("--lan-address", args.lan_address.as_deref()),
        "OMNI_INITIAL_USER" => ("--initial-user", args.initial_user.as_deref()),
        "OMNI_TLS_CERT" => ("--tls-cert", args.tls_cert.as_deref()),
        "OMNI_TLS_KEY" => ("--tls-key", args.tls_key.as_deref()),
        "OIDC_ISSUER_URL" => ("--issuer", args.issuer.as_deref()),
        "OIDC_CLIENT_ID" => ("--client-id", args.client_id.as_deref()),
        _ => return None,
    })
}

/// The known values of an Omni that is being taken over.
pub type AdoptedValues = BTreeMap<&'static str, String>;

/// Gathers the values. `stored` means that Omni ran before, so its name and its account ID can no longer change. `known` takes
/// precedence over `docker/.env`.
///
/// # Errors
/// Fails with [`Code::MissingInput`] and all missing values, or with [`Code::Conflict`] if a value may not change.
pub fn gather(
    args: &OmniValues,
    cx: &Cx,
    example: &EnvFile,
    stored: bool,
    known: &AdoptedValues,
) -> Result<OmniInputs, Failure> {
    let env = &cx.settings.env_file;
    let mut values = BTreeMap::new();
    let mut missing = Vec::new();
    let answers = Answers::load(cx);
    let known = |key: &str| known.get(key).map(String::as_str);
    let old = |key| known(key).or_else(|| values::own_value(env, example, key));
    let of_example = |key: &str, value: &str| example.get(key) == Some(normalize(key, value).as_str());
    let refuse_example = |variable: &Variable, value: &str| match of_example(variable.key, value) {
        true => Err(invalid(variable, value, "is the example value from docker/.env.example, not yours")),
        false => Ok(()),
    };
    if let Some(given) = args.account_uuid.as_deref().filter(|given| of_example(ACCOUNT, given)) {
        let failure = Failure::new(
            Code::Usage,
            format!("the account UUID {given} is the example value from docker/.env.example"),
        );
        return Err(failure.hint("omit --account-uuid to have one generated"));
    }
    values.insert(ACCOUNT, Secret::plain(account_uuid(args, old(ACCOUNT), stored)?));
    for variable in REQUIRED.iter().filter(|variable| variable.key != ACCOUNT) {
        let flag = flag(args, variable.key);
        let given = flag.and_then(|(_, value)| value.map(str::to_owned)).or_else(|| environment(variable.key));
        let found = match given {
            Some(given) => {
                let value = absolute_path(variable.key, given);
                refuse_example(variable, &value)?;
                Some(value)
            }
            None if known(variable.key).is_none() && env.refers_to_environment(variable.key) => {
                return Err(foreign(variable.key));
            }
            None => old(variable.key).map(str::to_owned),
        };
        let wanted = MissingValue {
            name: variable.name.into(),
            flag: flag.map(|(name, _)| name.to_owned()),
            env: Some(variable.key.into()),
            secret: variable.secret,
        };
        let value = match found {
            Some(value) if variable.secret => Secret::new(value),
            Some(value) => Secret::plain(normalize(variable.key, &value)),
            None if !cx.ask.can_prompt() => {
                missing.push(wanted);
                continue;
            }
            None => prompt_for(cx, &answers, variable, &values, wanted, &refuse_example)?,
        };
        values.insert(variable.key, value);
    }
    if !missing.is_empty() {
        return Err(Failure::missing(missing));
    }
    let values = OmniInputs(values);
    check_forms(&values)?;
    refuse_new_domain(&values, old("OMNI_DOMAIN").filter(|_| stored))?;
    Ok(values)
}

/// The failure for a value in which compose would substitute a variable.
fn foreign(key: &str) -> Failure {
    Failure::new(Code::Invalid, format!("compose treats what follows the `$` in {key} as a variable"))
        .cause("docker/.env does not set it, so compose fills it from the environment or leaves it empty")
        .hint(values::NO_VARIABLE)
}

/// The values known so far.
type GatheredValues = BTreeMap<&'static str, Secret>;

/// Prompts until the answer is valid, with a default where there is one.
fn prompt_for(
    cx: &Cx,
    answers: &Answers<'_>,
    variable: &Variable,
    gathered: &GatheredValues,
    missing: MissingValue,
    refuse_example: &dyn Fn(&Variable, &str) -> Result<(), Failure>,
) -> Result<Secret, Failure> {
    let question = capitalize(variable.name);
    let check = |text: &str| {
        refuse_example(variable, text)?;
        check_answer(cx, variable, text, gathered)
    };
    let usual = match variable.key {
        "OMNI_TLS_CERT" => Some(format!("/etc/letsencrypt/live/{}/fullchain.pem", host(gathered))),
        "OMNI_TLS_KEY" => Some(format!("/etc/letsencrypt/live/{}/privkey.pem", host(gathered))),
        _ => None,
    };
    let value = answers.ask(variable.key, &question, usual.as_deref(), missing, check)?;
    Ok(if variable.secret { Secret::new(value) } else { Secret::plain(value) })
}

/// Omni's host name, or empty if it is not known yet.
fn host(gathered: &GatheredValues) -> String {
    gathered.get("OMNI_DOMAIN").map(|value| host_and_port(value.expose()).0).unwrap_or_default()
}

/// Normalizes an answer, and checks it by itself and against the values known so far.
fn check_answer(cx: &Cx, variable: &Variable, text: &str, gathered: &GatheredValues) -> Result<String, Failure> {
    let key = variable.key;
    let text = if variable.secret { text.to_owned() } else { normalize(key, &absolute_path(key, text.to_owned())) };
    check_form(variable, &text)?;
    let value = |key: &str| gathered.get(key).map(Secret::expose).unwrap_or_default();
    let verdict = match key {
        "OMNI_LAN_ADDRESS" => omni_checks::check_lan(&text, &host(gathered)),
        "OMNI_INITIAL_USER" => values::check_initial_user(&text, None),
        "OMNI_TLS_CERT" => omni_checks::check_certificate(cx, &host(gathered), &text, None),
        "OMNI_TLS_KEY" => omni_checks::check_certificate(cx, &host(gathered), value("OMNI_TLS_CERT"), Some(&text)),
        "OIDC_ISSUER_URL" => values::check_issuer(&text, Some(value("OMNI_DOMAIN"))),
        _ => Diagnosis::ok(""),
    };
    if verdict.state == diagnosis::State::Failed {
        return Err(Failure::new(Code::Usage, verdict.detail).hint(verdict.fix.unwrap_or_default()));
    }
    Ok(text)
}

/// Checks that a value from tsidp was copied completely. Values from another identity provider have another form and pass.
fn check_copied(text: &str, length: usize) -> Diagnosis {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.len() {
        _ if text.contains(char::is_whitespace) => Diagnosis::failed("it contains a space"),
        count if digits && count != length => {
            Diagnosis::failed(format!("it has {count} hexadecimal digits; tsidp uses {length}"))
                .fix("copy the whole value from tsidp's admin page")
        }
        _ => Diagnosis::ok(""),
    }
}

fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Normalizes the spelling of a value: a domain has no scheme; an issuer has one, and no slash at its end.
fn normalize(key: &str, value: &str) -> String {
    match key {
        "OMNI_DOMAIN" => values::bare_domain(value),
        "OIDC_ISSUER_URL" => {
            let issuer = value.trim_end_matches('/');
            if issuer.is_empty() || issuer.contains("://") { issuer.to_owned() } else { format!("https://{issuer}") }
        }
        "OMNI_INITIAL_USER" => value.trim().to_lowercase(),
        _ => value.to_owned(),
    }
}

/// Resolves a path against the current directory, where it was typed; compose would resolve it against `docker/`.
fn absolute_path(key: &str, value: String) -> String {
    if !matches!(key, "OMNI_TLS_CERT" | "OMNI_TLS_KEY") || value.is_empty() {
        return value;
    }
    std::path::absolute(&value).map_or(value, |path| path.display().to_string())
}

/// Refuses values that a file, an argument or a host name cannot contain.
fn check_forms(values: &OmniInputs) -> Result<(), Failure> {
    REQUIRED.iter().try_for_each(|variable| check_form(variable, values.get(variable.key)))
}

/// The failure for a value that `docker/.env` cannot have. A secret is not shown.
fn invalid(variable: &Variable, value: &str, why: &str) -> Failure {
    let shown = if variable.secret { String::new() } else { format!(" {value:?}") };
    Failure::new(Code::Usage, format!("the {}{shown} {why}", variable.name))
        .cause(format!("it would become {} in docker/.env", variable.key))
        .hint(format!("give another value as {}{}", flag_hint(variable.key), variable.key))
}

/// Checks the form of one value.
fn check_form(variable: &Variable, value: &str) -> Result<(), Failure> {
    let bad = |why: &str| Err(invalid(variable, value, why));
    if value.trim().is_empty() {
        return bad("is empty");
    }
    let domain = (variable.key == "OMNI_DOMAIN").then(|| values::check_domain(value).err()).flatten();
    domain.or_else(|| values::invalid_reason(value)).map_or(Ok(()), bad)?;
    let verdict = match variable.key {
        "OIDC_CLIENT_ID" => check_copied(value, 32),
        "OIDC_CLIENT_SECRET" => check_copied(value, 64),
        "TS_AUTHKEY" if value.contains(char::is_whitespace) => Diagnosis::failed("it contains a space"),
        "TS_AUTHKEY" => values::check_tailscale_key(value),
        _ => Diagnosis::ok(""),
    };
    match verdict.state {
        diagnosis::State::Failed => {
            let refused = Failure::new(Code::Usage, format!("the {} is not valid: {}", variable.name, verdict.detail));
            Err(refused.hint(verdict.fix.unwrap_or_default()))
        }
        _ => Ok(()),
    }
}

/// Refuses to change the domain once Omni has a store, because its machines use that name.
fn refuse_new_domain(values: &OmniInputs, old: Option<&str>) -> Result<(), Failure> {
    let new = values.get("OMNI_DOMAIN");
    match old.filter(|old| !old.eq_ignore_ascii_case(new)) {
        Some(old) => Err(Failure::new(Code::Conflict, format!("cannot rename Omni from {old} to {new}"))
            .cause("Omni already has a store, and its machines and users depend on that name")
            .hint(format!("keep --domain {old}; a new name needs a new installation"))),
        None => Ok(()),
    }
}

/// Returns the account UUID: the one in `docker/.env`, the one given, or a new one. An existing one is never replaced.
fn account_uuid(args: &OmniValues, old: Option<&str>, stored: bool) -> Result<String, Failure> {
    let given = args.account_uuid.as_deref().map(str::to_ascii_lowercase);
    if let Some(given) = given.as_deref().filter(|given| !values::is_uuid(given)) {
        return Err(
            Failure::new(Code::Usage, format!("{given:?} is not a valid UUID")).hint("omit it to have one generated")
        );
    }
    match (old, given) {
        (Some(old), Some(given)) if !old.eq_ignore_ascii_case(&given) => {
            Err(Failure::new(Code::Conflict, "the account UUID cannot be changed").cause(format!(
                "the account of this Omni is {old}; with another UUID, its machines no longer belong to it"
            )))
        }
        (Some(old), _) if !values::is_uuid(old) => Err(Failure::new(
            Code::Invalid,
            format!("OMNI_ACCOUNT_UUID in docker/.env is {old:?}, which is not a valid UUID"),
        )
        .hint("restore it from your backup; if Omni never ran, empty the line and run this again")),
        (Some(old), _) => Ok(old.to_owned()),
        (None, Some(given)) => Ok(given),
        (None, None) if stored => Err(Failure::new(
            Code::Conflict,
            "Omni has a store, but docker/.env has no account UUID",
        )
        .cause("the store belongs to an account: with a new UUID, its machines would no longer belong to this Omni")
        .hint("restore docker/.env from your backup, or give the old one with --account-uuid")),
        (None, None) => Ok(new_uuid()),
    }
}

/// A random UUID (RFC 9562, version 4).
fn new_uuid() -> String {
    let mut bytes = fastrand::u128(..).to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalize_gives_one_spelling() {
        let values = [
            ("OMNI_DOMAIN", "https://Omni.example.com/"),
            ("OIDC_ISSUER_URL", "https://idp.x/"),
            ("OMNI_INITIAL_USER", "A@b.c"),
        ];
        let values = OmniInputs(values.map(|(key, value)| (key, Secret::plain(normalize(key, value)))).into());
        assert_eq!(values.endpoint(), "https://omni.example.com");
        assert_eq!((values.get("OIDC_ISSUER_URL"), values.get("OMNI_INITIAL_USER")), ("https://idp.x", "a@b.c"));
        assert_eq!(normalize("OIDC_ISSUER_URL", "idp.tail1.ts.net/"), "https://idp.tail1.ts.net");
        assert_eq!(check_copied(&"0f".repeat(8), 64).state, diagnosis::State::Failed);
        assert!(
            check_copied(&"0f".repeat(32), 64).state == diagnosis::State::Ok
                && check_copied("of-another-kind", 64).state == diagnosis::State::Ok
        );
    }

    #[test]
    fn check_forms_refuses_unsafe_values_without_showing_secrets() {
        let with = |key: &'static str, value: &str| {
            let good = |each: &Variable| match each.key {
                "OMNI_DOMAIN" => "omni.example.com",
                _ => "x",
            };
            let mut values: BTreeMap<_, _> =
                REQUIRED.iter().map(|each| (each.key, Secret::plain(good(each)))).collect();
            values.insert(key, Secret::plain(value));
            check_forms(&OmniInputs(values)).err().map(|failure| failure.message).unwrap_or_default()
        };
        assert_eq!(with("OMNI_DOMAIN", "omni.example.com"), "");
        assert_eq!(with("OMNI_DOMAIN", "127.0.0.1:8443"), "");
        let domains = "omni.example.com\"; rm -rf /|omni.example.com?x=1|a..b|-a.b|omni_1.example.com|ümlaut|\
             omni.example.com.|*.example.com|fd00::1|omni.example.com/x";
        for domain in domains.split('|') {
            assert!(with("OMNI_DOMAIN", domain).ends_with("is not a valid host name"), "{domain}");
        }
        for domain in ["omni.example.com:8443", "192.0.2.1:443"] {
            assert!(with("OMNI_DOMAIN", domain).contains("has a port"), "{domain}");
        }
        assert!(with("OIDC_CLIENT_ID", "x\nOMNI_DOMAIN=evil").contains("a line break"));
        assert_eq!(
            with("OIDC_CLIENT_SECRET", "hush\n"),
            "the secret of Omni's client in tsidp contains a line break or another control character"
        );
        assert_eq!(
            with("OIDC_CLIENT_SECRET", "  hush"),
            "the secret of Omni's client in tsidp starts or ends with a space"
        );
        assert!(with("OMNI_INITIAL_USER", " ").ends_with("is empty"));
    }
}
