//! A service account for the tasks: created or renewed, its key stored in `docker/.env` and proved.

use std::time::{Duration, SystemTime};

use crate::flow::change::overtaken;
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
            cx.ui.note("account", format!("Check service account `{name}`"), Status::Skipped, "its key is valid");
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

/// The account that a rotation replaces, from when its successor's key is about to be stored until it is destroyed.
const REPLACED: &str = "service_account_replaced";

/// Replaces the service account whose key is in `docker/.env` by another of its role: made, tried and stored, and only then the
/// old one destroyed with its keys, because Omni revokes no single key (omni v1.9.3 `internal/backend/runtime/omni/state_access.go`
/// gives no access to PublicKeys). A run that is cut off leaves a key that works, and the next one finishes it.
///
/// # Errors
/// [`Code::NotFound`] without such a key; those of [`change`].
pub fn replacement(cx: &Cx) -> Result<Plan<'static>, Failure> {
    let none = |failure: Failure| {
        failure.hint("`cargo xtask omni-setup --service-account Operator` makes one and stores it there")
    };
    let old = current(cx).map_err(none)?.0.name;
    refuse_own_shell(&old)?;
    let (keys, as_person) = administrator(cx)?;
    let listed = |name: &str| keys.iter().filter(|key| key.account == name).cloned().collect::<Vec<_>>();
    let left = cx.fresh_state()?.get(REPLACED).map(|left| listed(&left)).unwrap_or_default();
    if left.first().is_some_and(|left| left.account != old) {
        return Ok(destroy(&left, as_person).into_iter().collect());
    }
    let own = listed(&old);
    let Some(role) = own.first().map(|key| key.role.clone()) else {
        return Err(Failure::new(Code::NotFound, format!("Omni lists no service account `{old}`"))
            .cause("the key in docker/.env is of an account that was destroyed, or of a provider"));
    };
    let new = successor(&old, &role, &rfc3339(SystemTime::now())[..10], &keys);
    let account = Account { exists: keys.iter().any(|key| key.account == new), as_person };
    let object = format!("the service account `{new}` in Omni, key to {KEY} in docker/.env");
    let effect = format!("role {role}, key valid for a year; tried before it is stored");
    let undo = format!("omnictl serviceaccount destroy {new}");
    let name = new.clone();
    let create = Change::new("create", object, effect, undo, move |cx| {
        let (key, _) = new_key(cx, &name, &role, account)?;
        Omnictl::with_key(cx, &key)?.accepted()?;
        let mut state = cx.fresh_state()?;
        state.set(REPLACED, old);
        cx.save_state(state)?;
        write_env_key(cx, KEY, &key, "made by Omni, tried, stored in docker/.env")
    });
    let name = new.clone();
    let create = create.verified(move |cx| verify(cx, &name)).recorded(move |state| state.set("service_account", new));
    Ok(Plan::from_iter([create]).then(destroy(&own, as_person).into_iter().collect()))
}

/// Refuses to destroy the account whose key the shell has: it counts before docker/.env, so no task in this shell could log in.
fn refuse_own_shell(old: &str) -> Result<(), Failure> {
    let set = omnictl::KEYS.iter().find_map(|name| Some((name, KeyInfo::parse(&environment(name)?).ok()?)));
    match set {
        Some((name, info)) if info.name == old => Err(Failure::new(
            Code::Conflict,
            format!("{name} in this shell is a key of `{old}`, which would be destroyed"),
        )
        .cause("it counts before docker/.env, where the new key goes: no task in this shell could log in any more")
        .next(format!("unset {name}"))),
        _ => Ok(()),
    }
}

/// Destroys the service account of these keys. Somebody else may use another key of it: then its name confirms that.
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
        let omnictl = if as_person { Omnictl::as_person(cx)? } else { Omnictl::with_key(cx, &current(cx)?.1)? };
        match omnictl.destroy_service_account(&name) {
            // A run that was cut off may have done it.
            Err(failure) if failure.code != Code::NotFound => Err(failure.into()),
            _ => Ok("destroyed with its keys".to_owned()),
        }
    });
    Some(change.destroying(&owner, of_others).recorded(|state| state.set(REPLACED, "")))
}

/// `automation-2026-11-29`, or with a number behind it: not the name of the old account, nor of one with another role. One of the
/// same role was left by a run that was cut off.
fn successor(old: &str, role: &str, date: &str, keys: &[ServiceAccountKey]) -> String {
    let dated = |end: &str| {
        end.strip_prefix('-').is_some_and(|end| domain::clock::seconds(&format!("{end}T00:00:00Z")).is_some())
    };
    let undated = old.split_once('.').map_or(old, |(name, _)| name);
    let split = undated.len().checked_sub(date.len() + 1).and_then(|at| undated.split_at_checked(at));
    let base = split.filter(|(_, end)| dated(end)).map_or(old, |(base, _)| base);
    // A name has 63 characters at most.
    let base: String = base.chars().take(48).collect();
    let mut names = std::iter::once(String::new()).chain((2..).map(|number| format!(".{number}")));
    let free = |name: &String| name != old && keys.iter().all(|key| key.account != *name || key.role == role);
    names.find_map(|number| Some(format!("{base}-{date}{number}")).filter(free)).unwrap_or_default()
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
        .hint("--service-account-name NAME"))
}

/// The account in Omni now.
fn find(cx: &Cx, name: &str) -> Result<Account, Failure> {
    let (keys, as_person) = administrator(cx)?;
    Ok(Account { exists: keys.iter().any(|key| key.account == name), as_person })
}

/// The keys of service accounts that there are, and whether it takes the operator's own login to see them: a key that has expired
/// cannot renew itself, and one with a smaller role not make another.
fn administrator(cx: &Cx) -> Result<(Vec<ServiceAccountKey>, bool), Failure> {
    // What is advised of a login that Omni refuses is this task.
    let log_in = |failure: Failure| {
        let hint = "log in to omnictl as an administrator, as docs/how-to/deployment.md says in step 6, or give an administrator's \
                    key in OMNI_SERVICE_ACCOUNT_KEY";
        Failure { next: Vec::new(), ..failure }.hint(hint)
    };
    let failure = match Omnictl::find(cx).and_then(|omnictl| omnictl.service_account_keys()) {
        Ok(keys) => return Ok((keys, false)),
        Err(failure) => failure,
    };
    match (failure.code, Omnictl::as_person(cx)) {
        (Code::Refused | Code::MissingInput | Code::Invalid, Ok(person)) => {
            let keys = person.service_account_keys().map_err(|failure| match failure.code {
                // omnictl waits for somebody to log in, and its page is not shown anywhere.
                Code::Timeout => {
                    failure.hint("that login may have ended: `BROWSER=echo omnictl get sysversion` renews it")
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

/// The key in `docker/.env` as it is now.
fn current(cx: &Cx) -> Result<(KeyInfo, Secret), Failure> {
    let path = cx.paths.env();
    let text = files::read_text_if_there(&path)?.unwrap_or_default();
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

/// Reads the key back from where it was put, and asks Omni something with it.
fn verify(cx: &Cx, name: &str) -> anyhow::Result<()> {
    let secret = cx.ui.step("account", format!("Check that the key of `{name}` works"), || {
        let (info, secret) = current(cx)?;
        Omnictl::with_key(cx, &secret)?.get("sysversions", "current")?;
        let until = info.expires.map_or("without an end".to_owned(), |at| format!("until {}", &rfc3339(at)[..10]));
        Ok(StepResult::ok(secret, until))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successor_of_an_account_carries_the_date() {
        let key = |account: &str, role: &str| ServiceAccountKey {
            account: account.to_owned(),
            role: role.to_owned(),
            id: String::new(),
            expires: String::new(),
        };
        let keys = [key("ci-2026-11-28", "Reader"), key("ci-2026-11-29", "Reader"), key("ci-2026-11-29.2", "Admin")];
        let of = |old: &str| successor(old, "Reader", "2026-11-29", &keys);
        assert_eq!(of("automation"), "automation-2026-11-29");
        assert_eq!((of("ci-2026-11-28"), of("ci")), ("ci-2026-11-29".to_owned(), "ci-2026-11-29".to_owned()));
        assert_eq!(of("ci-2026-11-29"), "ci-2026-11-29.3");
        assert_eq!(of("ci-2026-11-29.2"), "ci-2026-11-29");
        assert_eq!(of("a.b"), "a.b-2026-11-29");
        assert!(of(&"x".repeat(63)).len() <= 63);
    }
}
