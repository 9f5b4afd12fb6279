//! A service account for the tasks: its own name, a role, a place, and an end that is told.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::apply::{self, Applied};
use crate::clock::rfc3339;
use crate::cx::Cx;
use crate::failure::{Code, Failure};
use crate::files;
use crate::plan::{Action, Plan};
use crate::secret::Secret;
use crate::settings::environment;
use crate::spec::env::EnvFile;
use crate::spec::key::KeyInfo;
use crate::tool::omnictl::Omnictl;
use crate::ui::{Done, Status};

const KEY: &str = "OMNI_SERVICE_ACCOUNT_KEY";
/// Omni says nothing when a key ends, so it is renewed a month before.
const SOON: Duration = Duration::from_secs(30 * 86_400);

/// Makes the service account `name` with `role`, or renews its key when that is about to end, and proves the key.
///
/// # Errors
/// [`Code::Conflict`] when `docker/.env` holds another account's key; those of omnictl: the key that there is must be an
/// administrator's, or the operator logged in as one.
pub fn ensure(cx: &Cx, name: &str, role: &str) -> anyhow::Result<Value> {
    let now = SystemTime::now();
    let old = cx.settings.env_file.get(KEY).map(KeyInfo::parse);
    match &old {
        Some(Ok(info)) if info.name != name => {
            return Err(Failure::new(Code::Conflict, format!("docker/.env holds the key of `{}`", info.name))
                .cause(format!("it would be replaced by the one of `{name}`"))
                .hint(format!("keep it, or remove the line {KEY} first; --service-account-name takes another name"))
                .into());
        }
        Some(Ok(info)) if info.left(now).is_none_or(|left| left >= SOON) => {
            cx.ui.note("account", format!("the service account `{name}`"), Status::Skipped, "its key lasts");
            return Ok(told(info, name, role));
        }
        _ => {}
    }
    let (names, as_person) = administrator(cx)?;
    let exists = names.iter().any(|each| each == name);
    let mut plan = Plan::default();
    let (verb, effect) = if exists {
        ("renew", "one more key for it, good for a year".to_owned())
    } else {
        ("create", format!("role {role}, key good for a year"))
    };
    let object = format!("the service account `{name}` in Omni, key to {KEY} in docker/.env");
    let action = Action::ServiceAccount { name: name.to_owned(), role: role.to_owned(), exists, as_person };
    plan.push(verb, object, effect, format!("omnictl serviceaccount destroy {name}"), action);
    if let Applied::Planned(_) = apply::run(cx, &plan, "make a key for the tasks")? {
        return Ok(Value::Null);
    }
    prove(cx, name, role)
}

/// The service accounts that there are, and whether it takes the operator's own login to see them: a key that has expired
/// cannot renew itself, and one with a smaller role not make another.
fn administrator(cx: &Cx) -> Result<(Vec<String>, bool), Failure> {
    let hint = "log in to omnictl as an administrator, as docs/deployment.md says in step 6, or give an administrator's key \
                in OMNI_SERVICE_ACCOUNT_KEY";
    let failure = match Omnictl::find(cx).and_then(|omnictl| omnictl.service_accounts()) {
        Ok(names) => return Ok((names, false)),
        Err(failure) => failure,
    };
    match (failure.code, Omnictl::as_person(cx)) {
        (Code::Refused | Code::MissingInput | Code::Invalid, Ok(person)) => {
            let names = person.service_accounts().map_err(|failure| match failure.code {
                // omnictl waits for somebody to log in, and nobody sees the page that it names.
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

/// Reads the key back from where it was put, and asks Omni something with it.
fn prove(cx: &Cx, name: &str, role: &str) -> anyhow::Result<Value> {
    let (info, secret) = cx.ui.step("account", format!("the key of `{name}` works"), || {
        let path = cx.paths.env();
        let text = files::read_text_if_there(&path)?.unwrap_or_default();
        let env = EnvFile::parse(&cx.paths.show(&path), &text)?;
        let secret = Secret::new(env.get(KEY).unwrap_or_default());
        let info = KeyInfo::parse(secret.expose())
            .map_err(|why| Failure::new(Code::Failed, format!("{KEY} in docker/.env is no key")).cause(why))?;
        Omnictl::with_key(cx, &secret)?.get("sysversions", "current")?;
        let until = info.expires.map_or("without an end".to_owned(), |at| format!("until {}", &rfc3339(at)[..10]));
        Ok(Done::ok((info, secret), until))
    })?;
    if environment(KEY).is_some_and(|set| set != secret.expose()) {
        cx.ui.say(&format!("  note: {KEY} is also set in your shell, and counts before docker/.env"));
    }
    let mut state = cx.fresh_state()?;
    state.set("service_account", name);
    if let Some(at) = info.expires {
        state.set("service_account_expires", rfc3339(at));
    }
    cx.save_state(state)?;
    Ok(told(&info, name, role))
}

fn told(info: &KeyInfo, name: &str, role: &str) -> Value {
    json!({ "name": name, "role": role, "place": format!("{KEY} in docker/.env"), "expires": info.expires.map(rfc3339) })
}
