//! A service account for the tasks: creates or renews it, stores its key in `docker/.env`, and verifies the key.

use std::time::{Duration, SystemTime};

use crate::flow::change::is_overtaken;
use crate::flow::project_files::write_env_key;
use crate::prelude::*;
use domain::clock::rfc3339;
use domain::secret::Secret;
use domain::spec::env::EnvFile;
use domain::spec::key::KeyInfo;
use runtime::files;
use runtime::settings::environment;
use runtime::tool::omnictl::{self, Omnictl, ServiceAccountKey};

const KEY: &str = "OMNI_SERVICE_ACCOUNT_KEY";
/// Keys are renewed 30 days before they expire, because Omni does not warn.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// The roles of a service account (omni v1.9.3 `internal/pkg/auth/role/role.go`); InfraProvider is for providers only.
const ROLES: [&str; 3] = ["Reader", "Operator", "Admin"];

/// The state of a service account in Omni.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    exists: bool,
    /// The key in `docker/.env` may not manage accounts, but the operator's own login may.
    as_person: bool,
}

/// Creates the service account `name` with `role`, or renews its key if that is about to expire; `None` while its key is valid.
/// `running`: Omni is already up and can be queried now.
///
/// # Errors
/// Fails with [`Code::Usage`] for a name or role that Omni would not accept, with [`Code::Conflict`] if `docker/.env` has another
/// account's key, or if omnictl fails: the existing key or the operator's login must be an administrator's.
pub fn ensure<'a>(cx: &'a Cx, name: &'a str, role: &'a str, running: bool) -> Result<Option<Change<'a>>, Failure> {
    check_name(name)?;
    if !ROLES.contains(&role) {
        let near = domain::nearest::nearest(role, ROLES);
        return Err(Failure::new(Code::Usage, format!("{role:?} is not a role of a service account"))
            .cause(format!("the roles are {}", ROLES.join(", ")))
            .hint(format!("--service-account {}", near.unwrap_or("Operator"))));
    }
    match cx.settings.env_file.get(KEY).map(KeyInfo::parse) {
        Some(Ok(info)) if info.name != name => {
            return Err(Failure::new(Code::Conflict, format!("docker/.env has the key of `{}`", info.name))
                .cause(format!("it would be replaced by the key of `{name}`"))
                .hint(format!("keep it, or remove the line {KEY} first, or choose another --service-account-name")));
        }
        Some(Ok(info)) if info.remaining_lifetime(SystemTime::now()).is_none_or(|left| left >= RENEW_BEFORE) => {
            cx.ui.note("account", format!("Check service account `{name}`"), Status::Skipped, "its key is valid");
            return Ok(None);
        }
        _ => {}
    }
    // An Omni that is not running yet cannot be queried, and most likely has no accounts.
    let account = running.then(|| find_account(cx, name)).transpose()?;
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
        let account = account.map_or_else(|| find_account(cx, name), Ok)?;
        let (key, renewed) = new_key(cx, name, role, account)?;
        let info = KeyInfo::parse(key.expose())
            .map_err(|why| Failure::new(Code::Failed, "Omni returned an invalid key").cause(why))?;
        let until =
            info.expires.map_or("without an expiry".to_owned(), |at| format!("valid until {}", &rfc3339(at)[..10]));
        let how = if renewed { "renewed" } else { "created" };
        write_env_key(cx, KEY, &key, &format!("{how} by Omni, stored in docker/.env, {until}"))
    };
    Ok(Some(Change::new(verb, object, effect, undo, apply).with_verification(|cx| verify(cx, name)).with_record(
        move |state| {
            state.set("service_account", name);
            if let Some(at) = stored_key(cx).ok().and_then(|(info, _)| info.expires) {
                state.set("service_account_expires", rfc3339(at));
            }
        },
    )))
}

/// State key: the account that a rotation replaces, from before its successor's key is stored until it is destroyed.
const REPLACED: &str = "service_account_replaced";

/// Replaces the service account of the key in `docker/.env` with a new one of the same role. The new key is created, tried and
/// stored before the old account is destroyed with all its keys, because Omni cannot revoke a single key (omni v1.9.3
/// `internal/backend/runtime/omni/state_access.go` gives no access to PublicKeys). An interrupted run leaves a working key, and
/// the next run finishes the rotation.
///
/// # Errors
/// Fails with [`Code::NotFound`] if there is no such key, or as in [`ensure`].
pub fn plan_rotation(cx: &Cx) -> Result<Plan<'static>, Failure> {
    let none = |failure: Failure| {
        failure.hint("`cargo xtask omni-setup --service-account Operator` creates one and stores it there")
    };
    let old = stored_key(cx).map_err(none)?.0.name;
    refuse_key_in_shell(&old)?;
    let (keys, as_person) = list_keys(cx)?;
    let listed = |name: &str| keys.iter().filter(|key| key.account == name).cloned().collect::<Vec<_>>();
    let left = cx.reload_state()?.get(REPLACED).map(|left| listed(&left)).unwrap_or_default();
    if left.first().is_some_and(|left| left.account != old) {
        return Ok(destroy(&left, as_person).into_iter().collect());
    }
    let own = listed(&old);
    let Some(role) = own.first().map(|key| key.role.clone()) else {
        return Err(Failure::new(Code::NotFound, format!("Omni lists no service account `{old}`"))
            .cause("the key in docker/.env belongs to a deleted account or to a provider"));
    };
    let new = successor_name(&old, &role, &rfc3339(SystemTime::now())[..10], &keys);
    let account = Account { exists: keys.iter().any(|key| key.account == new), as_person };
    let object = format!("the service account `{new}` in Omni, key to {KEY} in docker/.env");
    let effect = format!("role {role}, key valid for a year; tested before it is stored");
    let undo = format!("omnictl serviceaccount destroy {new}");
    let name = new.clone();
    let create = Change::new("create", object, effect, undo, move |cx| {
        let (key, _) = new_key(cx, &name, &role, account)?;
        Omnictl::with_key(cx, &key)?.check_key_accepted()?;
        let mut state = cx.reload_state()?;
        state.set(REPLACED, old);
        cx.save_state(state)?;
        write_env_key(cx, KEY, &key, "created by Omni, tested, stored in docker/.env")
    });
    let name = new.clone();
    let create = create
        .with_verification(move |cx| verify(cx, &name))
        .with_record(move |state| state.set("service_account", new));
    Ok(Plan::from_iter([create]).then(destroy(&own, as_person).into_iter().collect()))
}

/// Refuses to destroy the account whose key is set in this shell: it overrides docker/.env, so no task here could log in.
fn refuse_key_in_shell(old: &str) -> Result<(), Failure> {
    let set = omnictl::KEYS.iter().find_map(|name| Some((name, KeyInfo::parse(&environment(name)?).ok()?)));
    match set {
        Some((name, info)) if info.name == old => Err(Failure::new(
            Code::Conflict,
            format!("{name} in this shell is a key of `{old}`, which is about to be destroyed"),
        )
        .cause("it overrides docker/.env, where the new key is stored: tasks in this shell could no longer log in")
        .next(format!("unset {name}"))),
        _ => Ok(()),
    }
}

/// Destroys the service account of these keys. If it has several, others may use them, so its name must be confirmed.
fn destroy(keys: &[ServiceAccountKey], as_person: bool) -> Option<Change<'static>> {
    let name = keys.first()?.account.clone();
    let of_others: Vec<String> = match keys {
        [_, _, ..] => {
            keys.iter().map(|key| format!("key {} of `{name}`, valid until {}", key.id, key.expires)).collect()
        }
        _ => Vec::new(),
    };
    let (owner, object) = (name.clone(), format!("the service account `{name}`"));
    let change = Change::new("destroy", object, "its keys no longer work", "nothing to undo", move |cx| {
        let omnictl = if as_person { Omnictl::with_own_login(cx)? } else { Omnictl::with_key(cx, &stored_key(cx)?.1)? };
        match omnictl.destroy_service_account(&name) {
            // An interrupted run may have destroyed it.
            Err(failure) if failure.code != Code::NotFound => Err(failure.into()),
            _ => Ok("destroyed with its keys".to_owned()),
        }
    });
    Some(change.with_destroyed(&owner, of_others).with_record(|state| state.set(REPLACED, "")))
}

/// Returns `automation-2026-11-29`, or that with a number appended: never the name of the old account, or of one with another
/// role. An existing account with the same role was left by an interrupted run, and is reused.
fn successor_name(old: &str, role: &str, date: &str, keys: &[ServiceAccountKey]) -> String {
    let dated = |end: &str| {
        end.strip_prefix('-').is_some_and(|end| domain::clock::parse_rfc3339(&format!("{end}T00:00:00Z")).is_some())
    };
    let undated = old.split_once('.').map_or(old, |(name, _)| name);
    let split = undated.len().checked_sub(date.len() + 1).and_then(|at| undated.split_at_checked(at));
    let base = split.filter(|(_, end)| dated(end)).map_or(old, |(base, _)| base);
    // A name has at most 63 characters.
    let base: String = base.chars().take(48).collect();
    let mut names = std::iter::once(String::new()).chain((2..).map(|number| format!(".{number}")));
    let free = |name: &String| name != old && keys.iter().all(|key| key.account != *name || key.role == role);
    names.find_map(|number| Some(format!("{base}-{date}{number}")).filter(free)).unwrap_or_default()
}

/// Creates a key for the service account. Returns it, and whether the account existed.
fn new_key(cx: &Cx, name: &str, role: &str, account: Account) -> Result<(Secret, bool), Failure> {
    let omnictl = if account.as_person { Omnictl::with_own_login(cx)? } else { Omnictl::find(cx)? };
    if !account.exists {
        match omnictl.create_service_account(name, role) {
            Err(failure) if is_overtaken(&failure) => {}
            made => return made.map(|key| (key, false)),
        }
    }
    Ok((omnictl.renew_service_account(name)?, true))
}

/// Checks the name. Omni turns it into `NAME@serviceaccount.omni.sidero.dev` (omni v1.9.3 `client/pkg/access/serviceaccount.go`),
/// so it must be valid before an `@`, and omnictl must not take it for an option.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 63 && name.chars().all(plain) {
        return Ok(());
    }
    Err(Failure::new(Code::Usage, format!("{name:?} is not a valid name for a service account"))
        .cause("use 1 to 63 letters, digits, dashes, dots and underscores, starting with a letter or digit")
        .hint("--service-account-name NAME"))
}

/// Looks up the account in Omni.
fn find_account(cx: &Cx, name: &str) -> Result<Account, Failure> {
    let (keys, as_person) = list_keys(cx)?;
    Ok(Account { exists: keys.iter().any(|key| key.account == name), as_person })
}

/// Returns the existing service-account keys, and whether listing them needs the operator's own login: a key that has expired
/// cannot renew itself, and a key with a lesser role cannot create another.
fn list_keys(cx: &Cx) -> Result<(Vec<ServiceAccountKey>, bool), Failure> {
    // The usual advice for a refused login is this same task, so it is replaced.
    let log_in = |failure: Failure| {
        let hint = "log in to omnictl as an administrator, as in step 6 of docs/how-to/deployment.md, or give an administrator's \
                    key in OMNI_SERVICE_ACCOUNT_KEY";
        Failure { next: Vec::new(), ..failure }.hint(hint)
    };
    let failure = match Omnictl::find(cx).and_then(|omnictl| omnictl.service_account_keys()) {
        Ok(keys) => return Ok((keys, false)),
        Err(failure) => failure,
    };
    match (failure.code, Omnictl::with_own_login(cx)) {
        (Code::Refused | Code::MissingInput | Code::Invalid, Ok(person)) => {
            let keys = person.service_account_keys().map_err(|failure| match failure.code {
                // omnictl waits for a login, but its login page is not shown anywhere.
                Code::Timeout => {
                    failure.hint("that login may have expired: `BROWSER=echo omnictl get sysversion` renews it")
                }
                _ if failure.kind == Kind::Login => log_in(failure),
                _ => failure,
            })?;
            Ok((keys, true))
        }
        (Code::Refused | Code::MissingInput, Err(_)) => Err(log_in(failure)),
        _ => Err(failure),
    }
}

/// Reads the key in `docker/.env` again.
fn stored_key(cx: &Cx) -> Result<(KeyInfo, Secret), Failure> {
    let path = cx.paths.env();
    let text = files::read_optional_text(&path)?.unwrap_or_default();
    let env = EnvFile::parse(&cx.paths.show(&path), &text)?;
    let Some(key) = env.get(KEY).filter(|key| !key.is_empty()) else {
        return Err(Failure::new(Code::NotFound, format!("docker/.env has no {KEY}")));
    };
    let secret = Secret::new(key);
    let info = KeyInfo::parse(secret.expose()).map_err(|why| {
        Failure::new(Code::Failed, format!("{KEY} in docker/.env is not a service-account key")).cause(why)
    })?;
    Ok((info, secret))
}

/// Reads the key back from `docker/.env`, and sends a request to Omni with it.
fn verify(cx: &Cx, name: &str) -> anyhow::Result<()> {
    let secret = cx.ui.step("account", format!("Check that the key of `{name}` works"), || {
        let (info, secret) = stored_key(cx)?;
        Omnictl::with_key(cx, &secret)?.get("sysversions", "current")?;
        let until = info.expires.map_or("without an expiry".to_owned(), |at| format!("until {}", &rfc3339(at)[..10]));
        Ok(StepResult::ok(secret, until))
    })?;
    if environment(KEY).is_some_and(|set| set != secret.expose()) {
        cx.ui.say(&format!("  note: {KEY} is also set in your shell and overrides docker/.env"));
    }
    Ok(())
}

/// Returns the account for the JSON document; null if there is no key.
pub fn document(cx: &Cx, name: &str, role: &str) -> Value {
    match stored_key(cx) {
        Ok((info, _)) => json!({
            "name": name, "role": role, "place": format!("{KEY} in docker/.env"), "expires": info.expires.map(rfc3339),
        }),
        Err(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successor_name_has_the_date() {
        let key = |account: &str, role: &str| ServiceAccountKey {
            account: account.to_owned(),
            role: role.to_owned(),
            id: String::new(),
            expires: String::new(),
        };
        let keys = [key("ci-2026-11-28", "Reader"), key("ci-2026-11-29", "Reader"), key("ci-2026-11-29.2", "Admin")];
        let of = |old: &str| successor_name(old, "Reader", "2026-11-29", &keys);
        assert_eq!(of("automation"), "automation-2026-11-29");
        assert_eq!((of("ci-2026-11-28"), of("ci")), ("ci-2026-11-29".to_owned(), "ci-2026-11-29".to_owned()));
        assert_eq!(of("ci-2026-11-29"), "ci-2026-11-29.3");
        assert_eq!(of("ci-2026-11-29.2"), "ci-2026-11-29");
        assert_eq!(of("a.b"), "a.b-2026-11-29");
        assert!(of(&"x".repeat(63)).len() <= 63);
    }
}
