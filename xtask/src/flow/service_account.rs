//! A service account for the tasks: created or renewed, its key stored in `docker/.env` and proved.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::flow::change::{Change, overtaken};
use crate::flow::project_files::write_env_key;
use domain::clock::rfc3339;
use domain::failure::{Code, Failure};
use domain::secret::Secret;
use domain::spec::env::EnvFile;
use domain::spec::key::KeyInfo;
use runtime::cx::Cx;
use runtime::files;
use runtime::settings::environment;
use runtime::tool::omnictl::Omnictl;
use runtime::ui::{Done, Status};

const KEY: &str = "OMNI_SERVICE_ACCOUNT_KEY";
/// Omni does not warn before a key expires, so it is renewed a month before.
const SOON: Duration = Duration::from_secs(30 * 86_400);

/// The roles that a service account can be given (omni v1.9.3 `internal/pkg/auth/role/role.go`); InfraProvider is a provider's.
const ROLES: [&str; 3] = ["Reader", "Operator", "Admin"];

/// What Omni has of a service account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    exists: bool,
    /// The key in `docker/.env` may not manage accounts; the operator's own login may.
    as_person: bool,
}

/// Creates the service account `name` with `role`, or renews its key when that is about to expire; nothing while its key is
/// valid. `running`: Omni is up already and can be asked now.
///
/// # Errors
/// [`Code::Usage`] for a name or role that Omni would not accept; [`Code::Conflict`] when `docker/.env` holds another account's
/// key; those of omnictl: the key that there is must be an administrator's, or the operator logged in as one.
pub fn change<'a>(cx: &'a Cx, name: &'a str, role: &'a str, running: bool) -> Result<Option<Change<'a>>, Failure> {
    check_name(name)?;
    if !ROLES.contains(&role) {
        let near = domain::nearest::nearest(role, ROLES);
        return Err(Failure::new(Code::Usage, format!("{role:?} is not a role of a service account"))
            .cause(format!("the roles are {}", ROLES.join(", ")))
            .hint(format!("--service-account {}", near.unwrap_or("Operator"))));
    }
    match cx.settings.env_file.get(KEY).map(KeyInfo::parse) {
        Some(Ok(info)) if info.name != name => {
            return Err(Failure::new(Code::Conflict, format!("docker/.env holds the key of `{}`", info.name))
                .cause(format!("it would be replaced by the one of `{name}`"))
                .hint(format!("keep it, or remove the line {KEY} first; --service-account-name takes another name")));
        }
        Some(Ok(info)) if info.left(SystemTime::now()).is_none_or(|left| left >= SOON) => {
            cx.ui.note("account", format!("the service account `{name}`"), Status::Skipped, "its key is valid");
            return Ok(None);
        }
        _ => {}
    }
    // An Omni that is not there yet cannot say, and has no accounts most likely.
    let account = running.then(|| find(cx, name)).transpose()?;
    let destroy = format!("omnictl serviceaccount destroy {name}");
    let (verb, effect, undo) = match account.map(|account| account.exists) {
        Some(true) => (
            "renew",
            "one more key for it, valid for a year".to_owned(),
            "nothing to undo: its older keys stay valid until they expire".to_owned(),
        ),
        Some(false) => ("create", format!("role {role}, key valid for a year"), destroy),
        None => {
            ("create", format!("role {role}, key valid for a year; renewed if Omni has the account already"), destroy)
        }
    };
    let object = format!("the service account `{name}` in Omni, key to {KEY} in docker/.env");
    let apply = move |cx: &Cx| {
        let account = account.map_or_else(|| find(cx, name), Ok)?;
        let (key, renewed) = new_key(cx, name, role, account)?;
        let info = KeyInfo::parse(key.expose())
            .map_err(|why| Failure::new(Code::Failed, "Omni returned an invalid key").cause(why))?;
        let until =
            info.expires.map_or("without an end".to_owned(), |at| format!("valid until {}", &rfc3339(at)[..10]));
        let how = if renewed { "renewed" } else { "created" };
        write_env_key(cx, KEY, &key, &format!("{how} by Omni, stored in docker/.env, {until}"))
    };
    Ok(Some(Change::new(verb, object, effect, undo, apply).verified(|cx| verify(cx, name)).recorded(move |state| {
        state.set("service_account", name);
        if let Some(at) = current(cx).ok().and_then(|(info, _)| info.expires) {
            state.set("service_account_expires", rfc3339(at));
        }
    })))
}

/// A key for the service account, and whether the account existed.
fn new_key(cx: &Cx, name: &str, role: &str, account: Account) -> Result<(Secret, bool), Failure> {
    let omnictl = if account.as_person { Omnictl::as_person(cx)? } else { Omnictl::find(cx)? };
    if !account.exists {
        match omnictl.create_service_account(name, role) {
            Err(failure) if overtaken(&failure) => {}
            made => return made.map(|key| (key, false)),
        }
    }
    Ok((omnictl.renew_service_account(name)?, true))
}

/// Omni makes `NAME@serviceaccount.omni.sidero.dev` of it (omni v1.9.3 `client/pkg/access/serviceaccount.go`): what can
/// stand before the `@`, and is not an option to omnictl.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 63 && name.chars().all(plain) {
        return Ok(());
    }
    Err(Failure::new(Code::Usage, format!("{name:?} is not a valid name of a service account"))
        .cause("it takes 1 to 63 letters, digits, dashes, dots and underscores, the first one a letter or digit")
        .hint("--service-account-name automation"))
}

/// The account in Omni now.
///
/// # Errors
/// Those of omnictl, with the way to log in.
fn find(cx: &Cx, name: &str) -> Result<Account, Failure> {
    let (names, as_person) = administrator(cx)?;
    Ok(Account { exists: names.iter().any(|each| each == name), as_person })
}

/// The service accounts that there are, and whether it takes the operator's own login to see them: a key that has expired
/// cannot renew itself, and one with a smaller role not make another.
fn administrator(cx: &Cx) -> Result<(Vec<String>, bool), Failure> {
    let hint = "log in to omnictl as an administrator, as docs/how-to/deployment.md says in step 6, or give an administrator's key \
                in OMNI_SERVICE_ACCOUNT_KEY";
    let failure = match Omnictl::find(cx).and_then(|omnictl| omnictl.service_accounts()) {
        Ok(names) => return Ok((names, false)),
        Err(failure) => failure,
    };
    match (failure.code, Omnictl::as_person(cx)) {
        (Code::Refused | Code::MissingInput | Code::Invalid, Ok(person)) => {
            let names = person.service_accounts().map_err(|failure| match failure.code {
                // omnictl waits for somebody to log in, and its page is not shown anywhere.
                Code::Timeout => {
                    failure.hint("that login may have ended: `BROWSER=echo omnictl get sysversion` renews it")
                }
                _ => failure,
            })?;
            Ok((names, true))
        }
        (Code::Refused | Code::MissingInput, Err(_)) => Err(failure.hint(hint)),
        _ => Err(failure),
    }
}

/// The key in `docker/.env` as it is now.
fn current(cx: &Cx) -> Result<(KeyInfo, Secret), Failure> {
    let path = cx.paths.env();
    let text = files::read_text_if_there(&path)?.unwrap_or_default();
    let env = EnvFile::parse(&cx.paths.show(&path), &text)?;
    let secret = Secret::new(env.get(KEY).unwrap_or_default());
    let info = KeyInfo::parse(secret.expose()).map_err(|why| {
        Failure::new(Code::Failed, format!("{KEY} in docker/.env is not a service-account key")).cause(why)
    })?;
    Ok((info, secret))
}

/// Reads the key back from where it was put, and asks Omni something with it.
fn verify(cx: &Cx, name: &str) -> anyhow::Result<()> {
    let secret = cx.ui.step("account", format!("the key of `{name}` works"), || {
        let (info, secret) = current(cx)?;
        Omnictl::with_key(cx, &secret)?.get("sysversions", "current")?;
        let until = info.expires.map_or("without an end".to_owned(), |at| format!("until {}", &rfc3339(at)[..10]));
        Ok(Done::ok(secret, until))
    })?;
    if environment(KEY).is_some_and(|set| set != secret.expose()) {
        cx.ui.say(&format!("  note: {KEY} is also set in your shell, and counts before docker/.env"));
    }
    Ok(())
}

/// What the JSON document says of the account; null while there is no key.
pub fn document(cx: &Cx, name: &str, role: &str) -> Value {
    match current(cx) {
        Ok((info, _)) => json!({
            "name": name, "role": role, "place": format!("{KEY} in docker/.env"), "expires": info.expires.map(rfc3339),
        }),
        Err(_) => Value::Null,
    }
}
