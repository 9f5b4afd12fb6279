//! A service account for the tasks: its own name, a role, a place, and an end that is told.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use domain::clock::rfc3339;
use domain::failure::{Code, Failure};
use domain::plan::{Action, KnownAccount, Plan};
use domain::secret::Secret;
use domain::spec::env::EnvFile;
use domain::spec::key::KeyInfo;
use runtime::cx::Cx;
use runtime::files;
use runtime::settings::environment;
use runtime::tool::omnictl::Omnictl;
use runtime::ui::{Done, Status};

const KEY: &str = "OMNI_SERVICE_ACCOUNT_KEY";
/// Omni says nothing when a key ends, so it is renewed a month before.
const SOON: Duration = Duration::from_secs(30 * 86_400);

/// The roles that a service account can be given (omni v1.9.3 `internal/pkg/auth/role/role.go`); InfraProvider is a provider's.
const ROLES: [&str; 3] = ["Reader", "Operator", "Admin"];

/// The step that makes the service account `name` with `role`, or renews its key when that is about to end; none while its key
/// lasts. `running`: Omni is up already and can be asked now.
///
/// # Errors
/// [`Code::Usage`] for a name or role that Omni would not take; [`Code::Conflict`] when `docker/.env` holds another account's
/// key; those of omnictl: the key that there is must be an administrator's, or the operator logged in as one.
pub fn plan(cx: &Cx, name: &str, role: &str, running: bool, plan: &mut Plan) -> anyhow::Result<()> {
    check_name(name)?;
    if !ROLES.contains(&role) {
        let near = domain::nearest::nearest(role, ROLES);
        return Err(Failure::new(Code::Usage, format!("{role:?} is not a role of a service account"))
            .cause(format!("the roles are {}", ROLES.join(", ")))
            .hint(format!("--service-account {}", near.unwrap_or("Operator")))
            .into());
    }
    match stored(cx) {
        Some(Ok(info)) if info.name != name => {
            return Err(Failure::new(Code::Conflict, format!("docker/.env holds the key of `{}`", info.name))
                .cause(format!("it would be replaced by the one of `{name}`"))
                .hint(format!("keep it, or remove the line {KEY} first; --service-account-name takes another name"))
                .into());
        }
        Some(Ok(info)) if info.left(SystemTime::now()).is_none_or(|left| left >= SOON) => {
            cx.ui.note("account", format!("the service account `{name}`"), Status::Skipped, "its key is valid");
            return Ok(());
        }
        _ => {}
    }
    // An Omni that is not there yet cannot say, and has no accounts most likely.
    let known = running.then(|| look(cx, name)).transpose()?;
    let (verb, effect, undo) = match known.map(|known| known.exists) {
        Some(true) => ("renew", "one more key for it, valid for a year".to_owned(), nothing_to_undo()),
        Some(false) => ("create", format!("role {role}, key valid for a year"), destroy(name)),
        None => (
            "create",
            format!("role {role}, key valid for a year; renewed if Omni has the account already"),
            destroy(name),
        ),
    };
    let object = format!("the service account `{name}` in Omni, key to {KEY} in docker/.env");
    let action = Action::ServiceAccount { name: name.to_owned(), role: role.to_owned(), known };
    plan.push(verb, object, effect, undo, action);
    Ok(())
}

fn nothing_to_undo() -> String {
    "nothing to undo: its older keys stay valid until they expire".to_owned()
}

fn destroy(name: &str) -> String {
    format!("omnictl serviceaccount destroy {name}")
}

/// Omni makes `NAME@serviceaccount.omni.sidero.dev` of it (omni v1.9.3 `client/pkg/access/serviceaccount.go`): what can
/// stand before the `@`, and is no option to omnictl.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 63 && name.chars().all(plain) {
        return Ok(());
    }
    Err(Failure::new(Code::Usage, format!("{name:?} is not a valid name of a service account"))
        .cause("it takes 1 to 63 letters, digits, dashes, dots and underscores, the first one a letter or digit")
        .hint("--service-account-name automation"))
}

fn stored(cx: &Cx) -> Option<Result<KeyInfo, String>> {
    cx.settings.env_file.get(KEY).map(KeyInfo::parse)
}

/// What the JSON document says of the account: after its step was `done`, its key is proved first.
///
/// # Errors
/// When the key does not work.
pub fn report(cx: &Cx, name: &str, role: &str, done: bool) -> anyhow::Result<Value> {
    match stored(cx) {
        _ if done => prove(cx, name, role),
        Some(Ok(info)) => Ok(told(&info, name, role)),
        _ => Ok(Value::Null),
    }
}

/// What Omni says of the account now.
///
/// # Errors
/// Those of omnictl, with the way to log in.
pub fn look(cx: &Cx, name: &str) -> Result<KnownAccount, Failure> {
    let (names, as_person) = administrator(cx)?;
    Ok(KnownAccount { exists: names.iter().any(|each| each == name), as_person })
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
