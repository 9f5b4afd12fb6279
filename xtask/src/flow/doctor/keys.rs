//! Keys: their kind, and how long they are valid.

use std::time::{Duration, SystemTime};

use super::Installation;
use super::installation::Verdict;
use check::diagnosis::Diagnosis;
use check::values;
use domain::clock;
use domain::spec::key::{self, KeyInfo};
use domain::spec::store_key;
use domain::words::count;
use runtime::files;
use runtime::settings::environment;
use runtime::tool::omnictl::{self, Login};

/// Warn if a key that cannot renew itself expires within this time.
const SOON: Duration = Duration::from_secs(30 * 86_400);

pub fn store(installation: &Installation<'_>) -> Verdict {
    let path = installation.cx.paths.store_key();
    let text = match files::read_optional_text(&path) {
        Ok(Some(text)) => text,
        Ok(None) if installation.set_up => {
            return Ok(Diagnosis::failed("docker/omni.asc does not exist").fix(
                "if Omni ran before, restore it from your backup: no other key opens its store; otherwise `cargo xtask omni-setup` creates it",
            ));
        }
        Ok(None) => return Err(installation.missing_verdict("")),
        Err(failure) => return Err(failure.into()),
    };
    Ok(match store_key::check(&text, installation.now) {
        Ok(found) => match found.expires {
            Some(at) => Diagnosis::warning(format!("it expires on {}, and with it access to the store", clock::date(at)))
                .fix("remove its expiry: `gpg --quick-set-expire FINGERPRINT 0`, the same with '*' for its subkeys, then export it again"),
            None => Diagnosis::ok("no passphrase, an encryption subkey, no expiry"),
        },
        Err(unfit) => Diagnosis::failed(unfit.why).fix(unfit.fix),
    })
}

/// Checks how many keys open the store, according to its last verified backup.
pub fn slots(installation: &Installation<'_>) -> Verdict {
    let state = installation.cx.reload_state()?;
    let slots = state.list("store_key_slots");
    Ok(match slots.as_slice() {
        [] => installation.missing_verdict("known after `cargo xtask omni-backup-verify`"),
        [only] => Diagnosis::warning(format!("only {only} opens the store: without docker/omni.asc it is lost")),
        slots => Diagnosis::ok(slots.join(", ")),
    })
}

pub fn provider(installation: &Installation<'_>) -> Verdict {
    const NAME: &str = "OMNI_INFRA_PROVIDER_KEY";
    // Compose and `provider-setup` prefer the environment.
    let (key, origin) = match environment(NAME) {
        Some(key) => (key, format!("{NAME} in the environment")),
        None => (installation.required_value(NAME)?.to_owned(), installation.cx.settings.variable_location(NAME)),
    };
    let id = installation.cx.settings.provider_id(None).value;
    let now = SystemTime::now();
    Ok(match key::check_provider_key(&key, &id, &origin, now) {
        Ok(info) => expiry_verdict(&info, now).unwrap_or_else(|| Diagnosis::ok(format!("of {}", info.name))),
        Err(failure) => Diagnosis::failed(failure.cause).fix(failure.hint),
    })
}

/// The verdict on a key's remaining time; `None` if it does not expire.
fn expiry_verdict(info: &KeyInfo, now: SystemTime) -> Option<Diagnosis> {
    let left = info.remaining_lifetime(now)?;
    let days = left.as_secs() / 86_400;
    Some(if left < SOON {
        Diagnosis::warning(format!("the key of {} expires in {}", info.name, count(days, "day")))
    } else {
        Diagnosis::ok(format!("of {}, {} left", info.name, count(days, "day")))
    })
}

pub fn account(installation: &Installation<'_>) -> Diagnosis {
    let (variable, origin, secret) = match omnictl::login(installation.cx) {
        Some(Login::Key { variable, origin, secret }) => (variable, origin, secret),
        Some(Login::Config { file, .. }) => return Diagnosis::ok(format!("omnictl's own login, {}", file.display())),
        None => return installation.missing_verdict("nobody is logged in to Omni"),
    };
    let info = match KeyInfo::parse(secret.expose()) {
        Ok(info) => info,
        Err(why) => return Diagnosis::failed(format!("{origin}: {why}")),
    };
    if info.provider().is_some() {
        return Diagnosis::failed(format!("{origin} is the key of a provider, which has no other rights"))
            .fix("put a service account's key there: `cargo xtask omni-setup --service-account Admin`");
    }
    let now = SystemTime::now();
    if info.is_expired(now) {
        let failed = Diagnosis::failed(format!("the key of {} ({origin}) has expired", info.name));
        return match omnictl::is_shadowing(installation.cx, variable, &origin) {
            true => failed.fix(format!("`unset {variable}`: {}", omnictl::SHADOWING_HINT)),
            false => failed,
        };
    }
    if let Some(refusal) = installation.login_refused() {
        return Diagnosis::failed(refusal.line()).fix("`cargo xtask omni-setup --service-account` creates a new one");
    }
    expiry_verdict(&info, now).unwrap_or_else(|| Diagnosis::ok(format!("of {} ({origin})", info.name)))
}

pub fn shadow(installation: &Installation<'_>) -> Diagnosis {
    let set = |name: &'static str| {
        environment(name).or_else(|| installation.cx.settings.env_file.get(name).map(str::to_owned))
    };
    match (set("SIDERO_SERVICE_ACCOUNT_KEY"), set("OMNI_SERVICE_ACCOUNT_KEY")) {
        (Some(first), Some(second)) if first != second => Diagnosis::warning(
            "SIDERO_SERVICE_ACCOUNT_KEY and OMNI_SERVICE_ACCOUNT_KEY differ, and the first takes precedence",
        ),
        _ => Diagnosis::ok("at most one key"),
    }
}

pub fn tailscale(installation: &Installation<'_>) -> Verdict {
    let key = installation.required_value("TS_AUTHKEY")?;
    Ok(values::check_tailscale_key(key))
}
