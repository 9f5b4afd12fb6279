//! The provider: its registration with Omni, the waits for it, its key, and its last known health.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use crate::flow::change::is_overtaken;
use crate::flow::project_files::{self, set_env_key, write_env_key};
use crate::flow::{omni_stack, project_classes, provider_log};
use crate::prelude::*;
use domain::clock::rfc3339;
use domain::secret::Secret;
use domain::spec::{config, key, name};
use domain::status::docker::Container;
use domain::status::omni::ProviderHealth;
use runtime::files;
use runtime::parallel::run_both;
use runtime::settings::{PROVIDERS_FILE, further_providers};
use runtime::tool::compose::Compose;
use runtime::tool::omni;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::{Proxmox, Token};
use runtime::triage::{self, Issues};
use runtime::wait::{self, Poll};

/// Names the provider in messages: by its ID if there is more than one.
pub fn label(cx: &Cx) -> String {
    cx.settings.provider.as_ref().map_or("the provider".to_owned(), |id| format!("the provider `{id}`"))
}

/// Adds `--provider` with the further provider of this context to every command in `text` that works on a provider.
pub fn with_flag(cx: &Cx, text: &str) -> String {
    let Some(id) = &cx.settings.provider else { return text.to_owned() };
    let tasks = [
        "provider-setup",
        "provider-status",
        "provider-verify",
        "proxmox-audit",
        "machineclass-create",
        "keys --rotate provider",
        "keys --rotate proxmox",
    ];
    tasks.into_iter().fold(text.to_owned(), |text, task| {
        let (plain, full) = (format!("cargo xtask {task}"), format!("cargo xtask {task} --provider {id}"));
        text.replace(&full, &plain).replace(&plain, &full)
    })
}

/// Applies [`with_flag`] to the commands in a failure of one provider.
pub fn failure_with_flag(cx: &Cx, failure: Failure) -> Failure {
    let next = failure.next.iter().map(|next| with_flag(cx, next)).collect();
    Failure { hint: with_flag(cx, &failure.hint), cause: with_flag(cx, &failure.cause), next, ..failure }
}

/// Returns the context of the provider `id`: one of this project or, with `new`, a further one that is about to be set up.
///
/// # Errors
/// Fails with [`Code::NotFound`] and the known IDs, or with [`Code::Prerequisite`] for a further provider before the first.
pub fn choose(cx: &Cx, id: &str, new: bool) -> Result<Cx, Failure> {
    let ids = cx.provider_ids();
    if ids.iter().any(|known| known == id) {
        return cx.for_provider(id);
    }
    if !new {
        let failure = Failure::new(Code::NotFound, format!("this project has no provider `{id}`"))
            .cause(format!("it has {}", ids.join(", ")));
        return Err(match domain::nearest::nearest(id, ids.iter().map(String::as_str)) {
            Some(near) => failure.hint(format!("did you mean --provider {near}?")),
            None => failure.next(format!("cargo xtask provider-setup --provider {}", domain::words::quote(id))),
        });
    }
    name::check("provider", id)?;
    omni_stack::provider_ready(cx).map_err(|why| {
        Failure::new(
            Code::Prerequisite,
            format!("`{}` is not set up, and `{id}` would be an additional provider", ids[0]),
        )
        .cause(why)
        .hint(format!(
            "set up the first provider first, under this ID: `cargo xtask provider-setup --provider-id {id}`"
        ))
    })?;
    cx.for_provider(id)
}

/// Runs `one` for each selected provider, under a heading if there are several. A failure does not stop the others.
///
/// # Errors
/// Returns the first failure.
pub fn for_each(cx: &Cx, one: impl Fn(&Cx) -> anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    let all = cx.providers()?;
    if let [only] = all.as_slice() {
        return one(only);
    }
    let mut outcome = Outcome::done("");
    let (mut summaries, mut failures, mut data) = (Vec::new(), Vec::new(), serde_json::Map::new());
    for cx in &all {
        let id = cx.settings.provider_id(None).value;
        cx.ui.print_data(&format!("==> provider {id} <=="));
        match one(cx) {
            Ok(done) => {
                summaries.push(format!("{id}: {}", done.summary));
                for next in done.next.iter().map(|next| with_flag(cx, next)) {
                    if !outcome.next.contains(&next) {
                        outcome.next.push(next);
                    }
                }
                outcome.pending |= done.pending;
                data.insert(id, done.data);
            }
            Err(error) => {
                let failure = failure_with_flag(cx, Failure::of(&error));
                if failure.code == Code::Interrupted {
                    return Err(error);
                }
                data.insert(id, failure.data.clone());
                failures.push(failure);
            }
        }
    }
    let data = json!({ "providers": data });
    let Some((first, others)) = failures.split_first() else {
        return Ok(Outcome { summary: summaries.join("; "), ..outcome }.with(data));
    };
    // With JSON output, the document already has them in its steps.
    others.iter().filter(|_| !cx.ui.json()).for_each(|failure| cx.ui.fail(failure));
    Err(first.clone().with(data).into())
}

/// Returns a context for each provider of this project among these IDs, or `cx` itself if there is none.
pub fn contexts_of_providers<'a>(cx: &Cx, ids: impl Iterator<Item = &'a str>) -> Vec<Cx> {
    let (ids, known): (BTreeSet<&str>, _) = (ids.collect(), cx.provider_ids());
    let own = ids.into_iter().filter(|id| known.iter().any(|known| known == id));
    let found: Vec<Cx> = own.filter_map(|id| cx.for_provider(id).ok()).collect();
    if found.is_empty() { vec![cx.clone()] } else { found }
}

/// Returns the only one of these contexts, or that of all providers.
pub fn context_of_sites(cx: &Cx, sites: &[Cx]) -> Cx {
    if let [one] = sites { one.clone() } else { cx.clone() }
}

/// Returns the context of the provider that creates these machines; `cx` itself if the provider is not of this project, or if
/// there is more than one.
pub fn context_of_machines<'a>(cx: &Cx, ids: impl Iterator<Item = &'a str>) -> Cx {
    context_of_sites(cx, &contexts_of_providers(cx, ids))
}

/// Returns a context for each provider of a cluster, according to its machine requests in Omni.
pub fn contexts_of_cluster(cx: &Cx, omnictl: Result<&Omnictl<'_>, &Failure>, cluster: &str) -> Vec<Cx> {
    let Some(omnictl) = omnictl.ok().filter(|_| cx.provider_ids().len() > 1) else { return vec![cx.clone()] };
    let of = format!("omni.sidero.dev/cluster={cluster}");
    let requests = omnictl.list("clustermachinerequeststatuses", Some(&of)).unwrap_or_default();
    contexts_of_providers(cx, requests.iter().map(|request| request.text(&["providerid"])))
}

/// The failure for a provider without a container; one that was set up before comes back with the stack.
pub fn no_container(cx: &Cx, containers: &[Container]) -> Failure {
    let failure = Failure::new(Code::Failed, format!("{} has no container", label(cx)))
        .cause(if containers.is_empty() { "the stack is not up" } else { "the rest of the stack is up" });
    match cx.settings.env_file.get("OMNI_INFRA_PROVIDER_KEY").is_some() && cx.paths.config().is_file() {
        true => failure.hint("it was set up before, and comes back with the stack").next("cargo xtask stack-up"),
        false => failure.hint("`cargo xtask provider-setup` creates it").next("cargo xtask provider-setup"),
    }
}

/// Returns the state of the provider in Omni; `None` if it was never created there. If its flag and its heartbeat contradict each
/// other, the age of the heartbeat is computed again by Omni's clock.
///
/// # Errors
/// Returns an error if omnictl fails.
pub fn registration(cx: &Cx, omnictl: &Omnictl<'_>, id: &str) -> Result<Option<ProviderHealth>, Failure> {
    let (combined, heartbeat) =
        run_both(|| omnictl.get("infraprovidercombinedstatus", id), || omnictl.get("infraproviderhealthstatuses", id));
    let Some(combined) = combined? else { return Ok(None) };
    // The flag is known even without the heartbeat.
    let heartbeat = heartbeat.unwrap_or(None);
    let local = cx.now();
    let health = ProviderHealth::of(&combined, heartbeat.as_ref(), local);
    if !health.is_contradictory() {
        return Ok(Some(health));
    }
    let endpoint = cx.settings.omni_endpoint(None).map(|found| found.value);
    let ca_file = cx.settings.ca_file(None).map(|found| found.value);
    let there = endpoint.and_then(|endpoint| omni::server_time(cx, &endpoint, ca_file.as_deref()));
    Ok(Some(there.map_or(health, |now| ProviderHealth::of(&combined, heartbeat.as_ref(), now))))
}

/// Returns when Omni last heard from the provider, in Omni's own form; `None` if it never did. Compare it only for equality, as
/// clocks may differ.
///
/// # Errors
/// Returns an error if omnictl fails.
pub fn last_heartbeat(omnictl: &Omnictl<'_>, id: &str) -> Result<Option<Value>, Failure> {
    let found = omnictl.get("infraproviderhealthstatuses", id)?;
    Ok(found.map(|found| found.at(&["lastheartbeattimestamp"]).clone()))
}

/// Waits until Omni hears from the provider; fails if its container exits meanwhile. `before` is the last heartbeat of the
/// provider that was replaced: that one counts as connected for 31 s after its end, which proves nothing about the new one.
///
/// # Errors
/// Fails with [`Code::Timeout`], or with the cause from the provider's log.
fn wait_for_registration(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    id: &str,
    before: Option<&Value>,
) -> anyhow::Result<StepResult<()>> {
    let what = format!("the registration of the provider `{id}`");
    let seen = || -> Result<(Option<ProviderHealth>, bool), Failure> {
        let health = registration(cx, omnictl, id)?;
        let fresh = match before {
            Some(before) => last_heartbeat(omnictl, id)?.as_ref() != Some(before),
            None => true,
        };
        Ok((health, fresh))
    };
    // True if the provider runs and only its heartbeat is missing.
    let silent = Cell::new(false);
    // When Omni first responded in this wait.
    let answered = OnceCell::new();
    let up = || find_container(cx, answered.get_or_init(Instant::now).elapsed() < RESTART_LIMIT);
    let result = cx.wait(&what, REGISTRATION, || {
        silent.set(false);
        let (health, fresh) = match seen() {
            // Omni was recreated with the stack; wait until it is back.
            Err(failure) if matches!(failure.code, Code::Unreachable | Code::Timeout) => {
                return Ok(Poll::Waiting(format!("waiting for Omni to come back: {}", failure.message)));
            }
            other => other?,
        };
        match health {
            Some(health) if health.is_healthy() && fresh => match up()? {
                container if container.state == "restarting" => Ok(Poll::Waiting(RESTART_PROGRESS.to_owned())),
                _ => Ok(Poll::Done(StepResult::ok((), health.describe()))),
            },
            Some(health) if health.is_healthy() => {
                up()?;
                silent.set(true);
                Ok(Poll::Waiting("waiting for the first heartbeat of the new container".to_owned()))
            }
            other => {
                up()?;
                silent.set(other.as_ref().is_some_and(|health| health.initialized && !health.connected));
                let words =
                    other.map_or("Omni to know it".to_owned(), |health| format!("Omni: {}", without_age(&health)));
                Ok(Poll::Waiting(format!("waiting for {words}")))
            }
        }
    });
    result.map_err(|error| {
        let failure = Failure::of(&error);
        if failure.code != Code::Timeout {
            return error;
        }
        let hint = match silent.get() {
            true => "the provider runs and reports, but its clock differs from Omni's: compare the clocks of both hosts (`timedatectl`); a clock that is off by more than 31 s has the same effect as a provider that is gone",
            false => "the container runs, but Omni receives nothing from it: read its log, and check that OMNI_ENDPOINT can be reached from the sidecar's network",
        };
        explain_by_log(cx, failure.hint(hint)).next("cargo xtask provider-status").into()
    })
}

/// Like [`ProviderHealth::describe`], but without an age that changes with each poll.
fn without_age(health: &ProviderHealth) -> String {
    match health.heartbeat_age {
        Some(_) if health.initialized && !health.connected => "its last heartbeat is more than 31 s old".to_owned(),
        _ => health.describe(),
    }
}

/// How long the provider must stay up before it counts as accepted. It reads its types from Omni and registers before it settles,
/// and exits with `Error:` if Omni refuses it or does not respond (omni v1.9.3 `client/pkg/infra/infra.go` Run).
const SETTLE_TIME: Duration = Duration::from_secs(30);

/// The first line of the provider's log (omni-infra-provider-proxmox 0d9fd58 `main.go:117`).
const START_MESSAGE: &str = "starting infra provider";

/// How long the provider may keep restarting after Omni is back: it exits while Omni does not respond, and docker doubles its
/// delay before each start, from 0.1 s to 60 s (moby `restartmanager.go`).
const RESTART_LIMIT: Duration = Duration::from_secs(75);

/// The progress message meanwhile.
const RESTART_PROGRESS: &str = "waiting for docker to restart the provider, which exited while Omni did not answer";

/// Waits until the provider has started and stayed up, which is all that can be checked if Omni cannot be queried. A recreated
/// container has a new log, so two starts in it are a restart loop.
fn wait_for_start(cx: &Cx) -> anyhow::Result<StepResult<()>> {
    let begun = Instant::now();
    cx.wait("the start of the provider", REGISTRATION, || {
        let container = find_container(cx, begun.elapsed() < RESTART_LIMIT)?;
        if container.state == "restarting" {
            return Ok(Poll::Waiting(RESTART_PROGRESS.to_owned()));
        }
        let up = container.uptime().unwrap_or_default();
        if up >= SETTLE_TIME {
            let detail = format!("{}, without an error; Omni was not queried: nobody is logged in", container.status);
            return Ok(Poll::Done(StepResult::warning((), detail)));
        }
        let log = Compose::find(cx)?.log(&cx.settings.provider_service(), 50)?;
        if log.matches(START_MESSAGE).count() > 1 && log.contains("Error:") && !provider_log::omni_was_away(&log) {
            let failure = Failure::new(Code::Failed, "the provider keeps restarting").cause(container.status);
            return Err(explain_by_log(cx, failure).into());
        }
        let words = match log.contains(START_MESSAGE) {
            true => format!("waiting for the provider to keep running for {} s", SETTLE_TIME.as_secs()),
            false => "waiting for it to log its start".to_owned(),
        };
        Ok(Poll::Waiting(words))
    })
}

/// Returns the provider's container. Fails if it has exited, unless it is `catching_up` after Omni was away.
///
/// # Errors
/// Returns an error if docker fails, or [`Code::Failed`] with the cause from its log.
fn find_container(cx: &Cx, catching_up: bool) -> Result<Container, Failure> {
    let containers = Compose::find(cx)?.containers()?;
    if let Some(failure) = omni_stack::sidecar_failure(&containers) {
        return Err(failure);
    }
    let service = cx.settings.provider_service();
    match containers.into_iter().find(|container| container.service == service) {
        Some(container) if matches!(container.state.as_str(), "running" | "created") => Ok(container),
        Some(container) if catching_up && restarts_until_omni_responds(cx, &container)? => Ok(container),
        Some(container) => {
            let failure =
                Failure::new(Code::Failed, format!("{} keeps exiting", label(cx))).cause(container.status.clone());
            Err(explain_by_log(cx, failure))
        }
        None => Err(Failure::new(Code::Failed, "the provider's container is gone").next("cargo xtask provider-setup")),
    }
}

/// Returns true if this is a provider that docker is restarting because Omni did not respond.
///
/// # Errors
/// Returns an error if docker fails.
pub fn restarts_until_omni_responds(cx: &Cx, container: &Container) -> Result<bool, Failure> {
    let restarts = Compose::is_provider(&container.service) && container.state == "restarting";
    Ok(restarts && provider_log::omni_was_away(&Compose::find(cx)?.log(&container.service, 20)?))
}

/// Waits until docker has restarted the provider.
///
/// # Errors
/// Fails with [`Code::Timeout`], or with [`Code::Failed`] and the cause from its log if it exits although Omni responds.
pub fn wait_until_up(cx: &Cx, limit: Duration) -> anyhow::Result<StepResult<()>> {
    let begun = Instant::now();
    let each = cx.providers()?;
    cx.wait("the provider", limit, || {
        let mut states = Vec::new();
        for cx in &each {
            match find_container(cx, begun.elapsed() < RESTART_LIMIT)? {
                container if container.state == "restarting" => return Ok(Poll::Waiting(RESTART_PROGRESS.to_owned())),
                container => states.push(container.status),
            }
        }
        Ok(Poll::Done(StepResult::ok((), states.join(", "))))
    })
}

/// Adds the cause from the last lines of the provider's log, which the state of its container does not show.
pub fn explain_by_log(cx: &Cx, mut failure: Failure) -> Failure {
    let log = Compose::find(cx).and_then(|compose| compose.log(&cx.settings.provider_service(), 20));
    let (Ok(log), Ok(issues)) = (log, Issues::for_provider_log(cx)) else { return failure };
    let log = provider_log::unresolved(&log);
    if let Some(hit) = issues.find_newest_first(&log).first() {
        return triage::explain(failure, hit);
    }
    let error = |line: &&str| line.contains("Error:") || line.contains("\"level\":\"error\"");
    if let Some(line) = log.lines().rev().find(error) {
        failure.cause.push_str(&format!("\nits log: {line}"));
    }
    failure
}

/// The task that examines everything, for failures without a more specific next step.
pub const EXPLAIN: &str = "cargo xtask cluster-explain";

/// Returns true if this project has a cluster. One whose creation timed out is not in the state, but has its template.
pub fn has_clusters(cx: &Cx) -> bool {
    !cx.settings.state.list("clusters").is_empty()
        || project_classes::templates_in_use(cx).is_ok_and(|found| !found.is_empty())
}

/// The next step after a healthy provider: whatever is missing first, or the task that examines everything.
pub fn next_step(cx: &Cx) -> &'static str {
    match !cx.settings.state.list("machine_classes").is_empty() {
        _ if has_clusters(cx) => EXPLAIN,
        true => "cargo xtask cluster-create",
        false => "cargo xtask machineclass-create",
    }
}

/// Like `remember_health`, but only warns if the state cannot be written, so that the result is still reported.
pub fn try_remember_health(cx: &Cx, health: &str) {
    if let Err(error) = remember_health(cx, health) {
        cx.ui.note("state", "the state", Status::Warning, Failure::of(&error).to_string());
    }
}

/// Saves the provider's health in the state, for commands that only need the last known one. Does not wait for the lock: a task
/// that makes changes may have it, and writes the state itself.
fn remember_health(cx: &Cx, health: &str) -> anyhow::Result<()> {
    let Ok(_lock) = cx.try_lock_checkout() else { return Ok(()) };
    // The state has a single health: that of the only provider, or of all together.
    if cx.dry_run || cx.settings.provider.is_some() {
        return Ok(());
    }
    let mut state = cx.reload_state()?;
    state.set("provider_status", health);
    state.set("last_checked", rfc3339(SystemTime::now()));
    cx.save_state(state)?;
    Ok(())
}

/// Has Omni create a key for the provider `id`, and stores it in `docker/.env`. `exists`: Omni already has the provider.
pub fn create_key(cx: &Cx, id: String, exists: bool) -> Change<'static> {
    let undo = match exists {
        true => "nothing to undo: the provider stays, and its older keys stay valid".to_owned(),
        false => format!("omnictl infraprovider delete {id}"),
    };
    let effect = format!("created by Omni, stored as {}", cx.settings.variable_location("OMNI_INFRA_PROVIDER_KEY"));
    Change::new("create", format!("a key for the provider {id}"), effect, undo, move |cx| {
        let key = new_key(&Omnictl::find(cx)?, &id, exists)?;
        key::check_provider_key(key.expose(), &id, "as Omni created it", SystemTime::now())?;
        Omnictl::with_key(cx, &key)?.check_key_accepted()?;
        let stored = format!("created by Omni, stored in {}", cx.paths.show(&cx.paths.provider_env()));
        write_env_key(cx, "OMNI_INFRA_PROVIDER_KEY", &key, &stored)
    })
}

/// Creates a key for the provider `id`, whatever already exists of it: `infraprovider create` creates the provider first and then
/// its account, so one may exist without the other (omni v1.9.3 `client/pkg/omnictl/infraprovider.go`).
fn new_key(omnictl: &Omnictl<'_>, id: &str, exists: bool) -> Result<Secret, Failure> {
    let made = match exists {
        true => omnictl.renew_provider_key(id),
        false => match omnictl.create_provider(id) {
            Err(failure) if is_overtaken(&failure) => omnictl.renew_provider_key(id),
            other => return other,
        },
    };
    match made {
        Err(failure) if failure.code == Code::NotFound => match omnictl.create_provider_account(id) {
            Err(failure) if is_overtaken(&failure) => omnictl.renew_provider_key(id),
            other => other,
        },
        other => other,
    }
}

/// Waits until Omni hears from the provider, or, if Omni cannot be queried, until it has started and stays up.
///
/// # Errors
/// Fails with [`Code::Timeout`], or with the cause from the provider's log.
pub fn verify(cx: &Cx, omnictl: Option<&Omnictl<'_>>, id: &str, before: Option<&Value>) -> anyhow::Result<()> {
    match omnictl {
        Some(omnictl) => cx.ui.step("registration", format!("Wait until provider `{id}` registers with Omni"), || {
            wait_for_registration(cx, omnictl, id, before)
        }),
        None => cx.ui.step("registration", format!("Wait until provider `{id}` keeps running"), || wait_for_start(cx)),
    }
}

/// Returns true if the provider is connected to Omni, or if Omni cannot be queried.
///
/// # Errors
/// Returns an error if omnictl fails.
pub fn is_connected(cx: &Cx, id: &str) -> anyhow::Result<bool> {
    match Omnictl::find(cx) {
        Ok(omnictl) => Ok(registration(cx, &omnictl, id)?.is_some_and(|health| health.is_healthy())),
        Err(_) => Ok(true),
    }
}

/// Time limit for the first heartbeat of a recreated container; it takes seconds, as its image has already been pulled.
const REGISTRATION: Duration = Duration::from_secs(120);

/// Writes `docker/config.yaml` from its example, with this login to Proxmox.
///
/// # Errors
/// Returns an error if the example is missing, or has no place for the login.
pub fn create_config<'a>(cx: &Cx, proxmox: &Proxmox, token: &Token) -> Result<Change<'a>, Failure> {
    let example = cx.read(&cx.paths.config_example(), "restore it from the repository")?;
    let (example, url) = (String::from_utf8_lossy(&example), config::with_api_path(&proxmox.url));
    let filled = config::fill(&example, &url, &token.id, &token.secret, proxmox.insecure)?;
    let file = (cx.paths.config(), cx.paths.show(&cx.paths.config()));
    let effect = format!("the provider reaches Proxmox as {}", token.id);
    Ok(project_files::write("create", file, (Secret::plain(filled), files::PRIVATE), effect, "remove the file"))
}

/// The compose file of a further provider.
const SERVICE: &str = include_str!("../../data/provider-service.yaml");

/// Returns the changes to the files that make docker/compose.yaml start this further provider. The list of all providers comes
/// last: the other files have no effect until it names them.
///
/// # Errors
/// Returns an error if one of them cannot be read.
pub fn create_service(cx: &Cx, id: &str) -> Result<Vec<Change<'static>>, Failure> {
    let list = cx.paths.providers().join("compose.yaml");
    let mut ids = further_providers(&cx.paths, &cx.settings.env_file);
    if !ids.iter().any(|known| known == id) {
        ids.push(id.to_owned());
    }
    let entry = |id: &String| format!("  - path: {id}/compose.yaml\n");
    let includes = ids.iter().map(entry).collect::<String>();
    let includes = format!("# Written by `cargo xtask provider-setup`: the further providers.\ninclude:\n{includes}");
    let mut changes = Vec::new();
    for (path, text, effect) in [
        (
            cx.paths.provider_service(),
            SERVICE.replace("PROVIDER_ID", id),
            "the provider's service, like the first provider's",
        ),
        (list, includes, "the stack includes it"),
    ] {
        let old = files::read_optional_text(&path)?;
        if old.as_deref() != Some(text.as_str()) {
            let verb = if old.is_some() { "update" } else { "create" };
            let (shown, contents) = (cx.paths.show(&path), (Secret::plain(text), files::SHARED));
            changes.push(project_files::write(verb, (path, shown), contents, effect, "remove it"));
        }
    }
    if cx.settings.env_file.get(PROVIDERS_FILE).is_none() {
        let value = Secret::plain("providers/compose.yaml");
        changes.push(set_env_key(cx, PROVIDERS_FILE, value, "docker/compose.yaml includes that list", "empty it"));
    }
    Ok(changes)
}

/// From the start of a container to its first heartbeat: up to 30 s with Omni v1.4.9 and provider 0d9fd58.
pub const FIRST_HEARTBEAT: Duration = Duration::from_secs(45);

/// Waits for the heartbeat of a provider that has just started; `None` if the operator's timeout expires first.
pub fn first_heartbeat(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    id: &str,
    left: Duration,
) -> anyhow::Result<Option<ProviderHealth>> {
    let limit = cx.wait_limit(left).min(left);
    let look = || {
        Ok(match registration(cx, omnictl, id)? {
            Some(health) if health.initialized && !health.connected => Poll::Waiting("the first heartbeat".to_owned()),
            other => Poll::Done(other),
        })
    };
    match wait::until("the first heartbeat", limit, |_| {}, look) {
        Err(error) if Failure::of(&error).code == Code::Timeout && limit < left => Ok(None),
        Err(error) if Failure::of(&error).code == Code::Timeout => Ok(registration(cx, omnictl, id)?),
        other => other,
    }
}
