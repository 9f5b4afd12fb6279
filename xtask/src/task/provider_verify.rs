//! `provider-verify`: the provider end to end, all checks side by side.
//!
//! 1. Every container of the stack runs, and is healthy where it can say so.
//! 2. Omni answers as Omni.
//! 3. Proxmox answers the provider's own login, as `docker/config.yaml` has it.
//! 4. That login has every privilege that the provider needs, as `proxmox-audit` counts them.
//! 5. Omni has heard from the provider within the last minute, and hears no complaint.
//!
//! What was found is kept in the state, also when it is bad: a session of the plugin greets with it.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::proxmox_audit::Verdict;
use super::{proxmox_audit, proxmox_inventory};
use crate::outcome::Outcome;
use check::capacity::provider::Provider;
use check::placeholder;
use domain::clock::rfc3339;
use domain::failure::{Code, Failure};
use domain::spec::config::{Auth, ProviderConfig, login_in, without_api_path};
use domain::status::docker::Container;
use domain::status::omni::{ProviderHealth, Resource};
use domain::words::count;
use runtime::cx::Cx;
use runtime::files;
use runtime::parallel::{ALL, Job, run_all};
use runtime::tool::compose::{Compose, PROVIDER, SIDECAR};
use runtime::tool::omni;
use runtime::tool::omnictl::{Omnictl, no_endpoint};
use runtime::tool::proxmox::{Login, Proxmox, Token};
use runtime::triage::Issues;
use runtime::ui::{Check, Done, Status};
use runtime::wait::{self, Look};

/// What to do about a provider without a container, here and in `provider-status`.
pub const NO_CONTAINER: &str = "`cargo xtask provider-setup` makes it; one that was set up before comes back with \
                                `cargo xtask stack-up`";

pub fn run(cx: &Cx) -> anyhow::Result<Outcome> {
    let id = cx.settings.provider_id(None).value;
    if let Ok(proxmox) = configured_proxmox(cx) {
        proxmox_inventory::report_conflicts(cx, &proxmox);
    }
    let checks = vec![
        Check::new("containers", "the stack's containers run", || containers(cx)),
        Check::new("omni", "Omni answers", || {
            let endpoint = cx.settings.omni_endpoint(None).ok_or_else(no_endpoint)?;
            let ca_file = cx.settings.ca_file(None).map(|found| found.value);
            omni::healthy(cx, &endpoint.value, ca_file.as_deref())?;
            Ok(Done::ok((), format!("{} ({})", endpoint.value, endpoint.origin)))
        }),
        Check::new("proxmox", "Proxmox answers the provider's login", || {
            let proxmox = configured_proxmox(cx)?;
            let version = proxmox.version(cx)?;
            let detail = format!("{}, version {version}, as {}", proxmox.url, proxmox.login.id());
            Ok(match by_password(&proxmox.login) {
                Some(advice) => Done::warning((), format!("{detail}: {advice}")),
                None => Done::ok((), detail),
            })
        }),
        Check::new("permissions", "the login has the privileges that the provider needs", || permissions(cx)),
        Check::new("registration", format!("provider `{id}`"), || registered(cx, &id)),
    ];
    let ids = ["containers", "omni", "proxmox", "permissions", "registration"];
    let results = cx.ui.side_by_side("checking the provider", checks);
    if runtime::proc::interrupted() {
        // What an interrupted check did not see says nothing about the provider.
        return Err(runtime::proc::interruption("checking the provider").into());
    }
    let failures: Vec<(&str, Failure)> =
        ids.iter().zip(&results).filter_map(|(id, result)| Some((*id, Failure::of(result.as_ref().err()?)))).collect();
    let unasked = failures.iter().all(|(_, failure)| matches!(failure.code, Code::MissingInput | Code::Prerequisite));
    let health = match failures.len() {
        0 => "healthy",
        _ if unasked => "unknown",
        _ if failures.iter().any(|(id, _)| matches!(*id, "containers" | "registration")) => "down",
        _ => "degraded",
    };
    note_health(cx, health);
    let data = json!({ "provider_id": id, "provider_status": health });
    let Some((_, first)) = failures.first().cloned() else {
        return Ok(Outcome::done(format!("the provider `{id}` is healthy")).with(data).next(onward(cx)));
    };
    for (_, failure) in &failures[1..] {
        cx.ui.fail(failure);
    }
    let next = if first.next.is_empty() { vec!["cargo xtask provider-status".to_owned()] } else { first.next.clone() };
    Err(Failure { next, ..first.with(data) }.into())
}

/// Where a healthy provider leads: to the first thing that is missing, and at the end to the look at everything.
fn onward(cx: &Cx) -> &'static str {
    let has = |list: &str| !cx.settings.state.list(list).is_empty();
    match (has("machine_classes"), has("clusters")) {
        (_, true) => "cargo xtask doctor",
        (true, false) => "cargo xtask cluster-create",
        (false, false) => "cargo xtask machineclass-create",
    }
}

fn containers(cx: &Cx) -> anyhow::Result<Done<()>> {
    let found = Compose::find(cx)?.containers()?;
    if !found.iter().any(|container| container.service == PROVIDER) {
        return Err(Failure::new(Code::Failed, format!("there is no container of the service `{PROVIDER}`"))
            .cause(if found.is_empty() { "the stack is not up" } else { "the rest of the stack is up" })
            .hint(NO_CONTAINER)
            .next("cargo xtask provider-setup")
            .into());
    }
    let bad: Vec<String> = found
        .iter()
        .filter(|container| !container.well())
        .map(|container| format!("{}: {}", container.service, container.status))
        .collect();
    if bad.is_empty() {
        return Ok(Done::ok((), format!("{} of {}", found.len(), found.len())));
    }
    let mut failure = Failure::new(Code::Failed, "containers of the stack do not run").cause(bad.join("\n"));
    if found.iter().any(|container| container.service == PROVIDER && !container.well()) {
        failure = explain_by_log(cx, failure);
    }
    Err(failure.into())
}

/// The last lines of the provider's log explain what its container's state does not.
fn explain_by_log(cx: &Cx, mut failure: Failure) -> Failure {
    let log = Compose::find(cx).and_then(|compose| compose.log(PROVIDER, 20));
    let (Ok(log), Ok(issues)) = (log, Issues::of(cx)) else { return failure };
    if let Some(hit) = issues.find(&log).last() {
        failure.cause.push_str(&format!("\nits log: {}", hit.text));
        failure.hint = hit.hint();
        failure.next.push(hit.next());
    } else if let Some(line) =
        log.lines().rev().find(|line| line.contains("Error:") || line.contains("\"level\":\"error\""))
    {
        failure.cause.push_str(&format!("\nits log: {line}"));
    }
    failure
}

/// Proxmox with the login of `docker/config.yaml`, the provider's own.
///
/// # Errors
/// [`Code::Prerequisite`] when there is no such file; those of [`proxmox_of`].
pub fn configured_proxmox(cx: &Cx) -> anyhow::Result<Proxmox> {
    let path = cx.paths.config();
    let shown = cx.paths.show(&path);
    let text = files::read_text_if_there(&path)?.ok_or_else(|| {
        Failure::new(Code::Prerequisite, format!("`{shown}` does not exist"))
            .cause("the provider is not set up")
            .next("cargo xtask provider-setup")
    })?;
    let config = ProviderConfig::parse(&shown, &text)?;
    Ok(proxmox_of(cx, &config)?)
}

/// The privileges of the provider's login; skipped where Proxmox cannot be asked, which another check reports.
fn permissions(cx: &Cx) -> anyhow::Result<Done<()>> {
    let asked = configured_proxmox(cx).and_then(|proxmox| Ok(proxmox_audit::lacking(cx, &proxmox)?));
    match asked.map_err(|error| Failure::of(&error)) {
        Ok(Verdict { lacks: None, present }) => Ok(Done::ok((), format!("{} present", count(present, "privilege")))),
        Ok(Verdict { lacks: Some(failure), .. }) => Err(failure.into()),
        Err(failure) if failure.code == Code::Interrupted => Err(failure.into()),
        Err(failure) => Ok(Done::skipped((), format!("Proxmox could not be asked: {}", failure.message))),
    }
}

/// What to say about a login with a password, which works and is not the best way.
pub fn by_password(login: &Login) -> Option<String> {
    matches!(login, Login::Password { .. }).then(|| {
        format!("{} logs in with a password: an API token can be limited, replaced and revoked by itself", login.user())
    })
}

/// Proxmox as the provider reaches it.
///
/// # Errors
/// [`Code::Invalid`] for a configuration with which the provider would fail later, and say less.
pub fn proxmox_of(cx: &Cx, config: &ProviderConfig) -> Result<Proxmox, Failure> {
    let shown = cx.paths.show(&cx.paths.config());
    let wrong = |what: String| Failure::new(Code::Invalid, format!("{shown}: {what}"));
    if login_in(&config.url).is_some() {
        return Err(wrong("`url` has a login in it".to_owned())
            .cause("an address is shown to everyone, and kept in the state")
            .hint("url: https://HOST:8006/api2/json, and the login as tokenID and tokenSecret"));
    }
    let host = config.url.split_once("://").map_or(config.url.as_str(), |(_, rest)| rest);
    let token_id = if let Auth::Token { id, .. } = &config.auth { id.as_str() } else { "" };
    for (key, value) in [("url", host), ("tokenID", token_id)] {
        if placeholder::is_placeholder(value) {
            return Err(wrong(format!("`{key}` looks like a placeholder: {value}"))
                .cause("the provider takes it as it is")
                .hint("write the value of your Proxmox, or let `cargo xtask provider-setup` write the file"));
        }
    }
    if let Auth::Token { secret, .. } = &config.auth
        && placeholder::is_placeholder(secret.expose())
    {
        return Err(wrong("`tokenSecret` looks like a placeholder".to_owned())
            .cause("the provider takes it as it is")
            .hint("make a token with `pveum user token add USER@REALM NAME --privsep 0` and write its secret"));
    }
    if !config.url.ends_with("/api2/json") {
        return Err(wrong(format!("`url` is {:?}", config.url))
            .cause("the provider appends paths to it, so it must end in /api2/json, without a slash after it")
            .hint(format!("url: {}/api2/json", without_api_path(&config.url))));
    }
    let login = match &config.auth {
        Auth::Token { id, .. } if !id.contains('!') || !id.contains('@') => {
            return Err(wrong(format!("`tokenID` is {id:?}")).hint("it looks like user@realm!name"));
        }
        Auth::Token { id, secret } => Login::Token(Token { id: id.clone(), secret: secret.clone() }),
        Auth::Password { user, realm, password } => {
            let (provider, origin) = proxmox_inventory::provider_version(cx, None)?;
            // go-proxmox v0.4.1, with which v0.1.0 was built, logs in again before the ticket ends.
            if provider == Provider::Untagged {
                return Err(wrong(format!("it logs in as {user} with a password"))
                    .cause(format!("the login's ticket is valid for two hours, and provider {provider} ({origin}) never renews it; after that every call is refused"))
                    .hint("run provider v0.1.0 or later, or make a token (`pveum user token add USER@REALM provider --privsep 0`) and write tokenID and tokenSecret instead"));
            }
            if realm.is_empty() && !user.contains('@') {
                return Err(wrong(format!("`username` is {user:?}, and there is no `realm`"))
                    .cause("Proxmox knows a user by name and realm")
                    .hint(format!("add `realm: pam` for a user of the Proxmox host, `realm: pve` for one of Proxmox alone; or write {user}@REALM")));
            }
            Login::Password { user: user.clone(), realm: realm.clone(), password: password.clone() }
        }
        Auth::None => {
            return Err(wrong("there is no login in it".to_owned())
                .cause("the provider starts without complaint and is then refused by every call; the keys are tokenID and tokenSecret, in this spelling")
                .hint("compare it with docker/config.yaml.example"));
        }
    };
    let url = without_api_path(&config.url).to_owned();
    let ca_file = cx.settings.ca_file(None).map(|found| found.value);
    let origin = format!("`url` in {shown}");
    Ok(Proxmox::new(url, origin, login, ca_file).insecure(config.insecure_skip_verify))
}

/// What Omni knows of the provider; `None` when it was never created there. Where its flag and its heartbeat contradict each
/// other, the age of the heartbeat is taken again by Omni's own clock.
///
/// # Errors
/// Those of omnictl.
pub fn registration(cx: &Cx, omnictl: &Omnictl<'_>, id: &str) -> Result<Option<ProviderHealth>, Failure> {
    let get =
        |kind: &'static str| -> Job<'_, Result<Option<Resource>, Failure>> { Box::new(move || omnictl.get(kind, id)) };
    let kinds = ["infraprovidercombinedstatus", "infraproviderhealthstatuses"];
    let mut answers = run_all(kinds.map(get).into(), ALL).into_iter();
    let mut next = || answers.next().unwrap_or(Ok(None));
    let Some(combined) = next()? else { return Ok(None) };
    // The flag is there without it.
    let heartbeat = next().unwrap_or(None);
    let local = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let health = ProviderHealth::of(&combined, heartbeat.as_ref(), local);
    if !health.contradictory() {
        return Ok(Some(health));
    }
    let endpoint = cx.settings.omni_endpoint(None).map(|found| found.value);
    let ca_file = cx.settings.ca_file(None).map(|found| found.value);
    let there = endpoint.and_then(|endpoint| omni::clock(cx, &endpoint, ca_file.as_deref()));
    Ok(Some(there.map_or(health, |now| ProviderHealth::of(&combined, heartbeat.as_ref(), now))))
}

fn registered(cx: &Cx, id: &str) -> anyhow::Result<Done<()>> {
    let omnictl = Omnictl::find(cx)?;
    match registration(cx, &omnictl, id)? {
        Some(health) if health.well() => Ok(Done::ok((), health.words())),
        Some(health) => {
            let failure = Failure::new(Code::Failed, format!("Omni does not hear from the provider `{id}`"))
                .cause(health.words())
                .hint("see what the provider's log says; a clock that is off by more than 31 s looks the same");
            Err(failure.next("cargo xtask provider-status").into())
        }
        None => Err(Failure::new(Code::Failed, format!("Omni knows no provider `{id}`"))
            .cause("it was never created there, or under another id; ids are compared letter by letter")
            .hint("`omnictl infraprovider list` shows the ones that it knows")
            .next("cargo xtask provider-setup")
            .into()),
    }
}

/// When Omni last heard from the provider, as it says it; `None` when it never did. Only compared for being another one:
/// clocks may differ.
///
/// # Errors
/// Those of omnictl.
pub fn heartbeat(omnictl: &Omnictl<'_>, id: &str) -> Result<Option<Value>, Failure> {
    let found = omnictl.get("infraproviderhealthstatuses", id)?;
    Ok(found.map(|found| found.at(&["lastheartbeattimestamp"]).clone()))
}

/// Waits until Omni hears from the provider; a container that ended ends the wait. `before` is the last heartbeat of the
/// provider that was replaced: it counts as connected for 31 s after its end, and proves nothing of the new one.
///
/// # Errors
/// [`Code::Timeout`], or what the provider's log says.
pub fn wait_for_registration(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    id: &str,
    before: Option<&Value>,
    limit: Duration,
) -> anyhow::Result<Done<()>> {
    let what = format!("the registration of the provider `{id}`");
    let say = |words: &str| cx.ui.waiting(words);
    let seen = || -> Result<(Option<ProviderHealth>, bool), Failure> {
        let health = registration(cx, omnictl, id)?;
        let fresh = match before {
            Some(before) => heartbeat(omnictl, id)?.as_ref() != Some(before),
            None => true,
        };
        Ok((health, fresh))
    };
    // Whether the provider runs and only its heartbeat is missing.
    let silent = Cell::new(false);
    let result = wait::until(&what, limit, say, || {
        silent.set(false);
        let (health, fresh) = match seen() {
            // The stack was made anew and Omni with it: until it is back, that is what is waited for.
            Err(failure) if matches!(failure.code, Code::Unreachable | Code::Timeout) => {
                return Ok(Look::Waiting(format!("waiting for Omni to come back: {}", failure.message)));
            }
            other => other?,
        };
        match health {
            Some(health) if health.well() && fresh => {
                running(cx)?;
                Ok(Look::Done(Done::ok((), health.words())))
            }
            Some(health) if health.well() => {
                running(cx)?;
                silent.set(true);
                Ok(Look::Waiting("waiting for the first heartbeat of the new container".to_owned()))
            }
            other => {
                running(cx)?;
                silent.set(other.as_ref().is_some_and(|health| health.initialized && !health.connected));
                let words = other.map_or("Omni to know it".to_owned(), |health| format!("Omni: {}", steady(&health)));
                Ok(Look::Waiting(format!("waiting for {words}")))
            }
        }
    });
    result.map_err(|error| {
        let failure = Failure::of(&error);
        if failure.code != Code::Timeout {
            return error;
        }
        let hint = match silent.get() {
            true => "the provider runs and reports, and its time is not Omni's: compare the clocks of both hosts (`timedatectl`); a clock that is off by more than 31 s looks the same as a provider that is gone",
            false => "the container runs and Omni hears nothing: see what its log says, and whether OMNI_ENDPOINT can be reached from the sidecar's network",
        };
        explain_by_log(cx, failure.hint(hint)).next("cargo xtask provider-status").into()
    })
}

/// As [`ProviderHealth::words`], without an age that grows from look to look.
fn steady(health: &ProviderHealth) -> String {
    match health.heartbeat_age {
        Some(_) if health.initialized && !health.connected => "its last heartbeat is more than 31 s old".to_owned(),
        _ => health.words(),
    }
}

/// How long the provider must stay up to have been accepted: it asks Omni for its types and registers before it settles, and
/// ends with `Error:` when Omni refuses it or does not answer (omni v1.9.3 `client/pkg/infra/infra.go` Run).
const SETTLED: Duration = Duration::from_secs(30);
/// The first line of the provider's log (omni-infra-provider-proxmox 0d9fd58 `main.go:117`).
const STARTS: &str = "starting infra provider";

/// Waits until the provider has started and stayed up: all that can be known when Omni cannot be asked. A container that
/// was made anew has a new log: two starts in it are a loop.
///
/// # Errors
/// As [`wait_for_registration`].
pub fn wait_for_start(cx: &Cx, limit: Duration) -> anyhow::Result<Done<()>> {
    wait::until(
        "the start of the provider",
        limit,
        |words| cx.ui.waiting(words),
        || {
            let container = running(cx)?;
            let up = container.up_for().unwrap_or_default();
            if up >= SETTLED {
                let detail = format!("{}, without an error; nobody is logged in to Omni to ask it", container.status);
                return Ok(Look::Done(Done::warning((), detail)));
            }
            let log = Compose::find(cx)?.log(PROVIDER, 50)?;
            if log.matches(STARTS).count() > 1 && log.contains("Error:") {
                let failure = Failure::new(Code::Failed, "the provider starts again and again").cause(container.status);
                return Err(explain_by_log(cx, failure).into());
            }
            let words = match log.contains(STARTS) {
                true => format!("waiting for the provider to stay up for {} s", SETTLED.as_secs()),
                false => "waiting for its log to say that it starts".to_owned(),
            };
            Ok(Look::Waiting(words))
        },
    )
}

/// The provider's container; a failure when it has ended.
///
/// # Errors
/// Those of docker; [`Code::Failed`] with what its log says.
pub fn running(cx: &Cx) -> Result<Container, Failure> {
    let containers = Compose::find(cx)?.containers()?;
    let sidecar = containers.iter().find(|container| container.service == SIDECAR);
    if let Some(sidecar) = sidecar.filter(|sidecar| matches!(sidecar.state.as_str(), "exited" | "dead")) {
        // Whatever the others say then is a consequence.
        return Err(Failure::new(Code::Failed, "the containers lost the network that they share")
            .cause(format!("{SIDECAR}: {}", sidecar.status))
            .hint("the whole stack must be made anew together")
            .next("cargo xtask stack-up --recreate"));
    }
    match containers.into_iter().find(|container| container.service == PROVIDER) {
        Some(container) if matches!(container.state.as_str(), "running" | "created") => Ok(container),
        Some(container) => {
            let failure = Failure::new(Code::Failed, "the provider does not stay up").cause(container.status.clone());
            Err(explain_by_log(cx, failure))
        }
        None => Err(Failure::new(Code::Failed, "the provider's container is gone").next("cargo xtask provider-setup")),
    }
}

/// As [`remember_health`]; a state that cannot be written is a warning beside what was found, not instead of it.
pub fn note_health(cx: &Cx, health: &str) {
    if let Err(error) = remember_health(cx, health) {
        cx.ui.note("state", "the state", Status::Warning, Failure::of(&error).to_string());
    }
}

/// Keeps the provider's health in the state for those who only want the last known one. A changing task that holds the
/// lock writes the state itself, and this one does not wait for it.
///
/// # Errors
/// When the state is broken or cannot be written.
fn remember_health(cx: &Cx, health: &str) -> anyhow::Result<()> {
    let Ok(_lock) = cx.lock_now() else { return Ok(()) };
    if cx.dry_run {
        return Ok(());
    }
    let mut state = cx.fresh_state()?;
    state.set("provider_status", health);
    state.set("last_checked", rfc3339(SystemTime::now()));
    cx.save_state(state)?;
    Ok(())
}
