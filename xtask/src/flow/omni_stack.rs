//! The Omni stack: the guard before containers are recreated, starting and stopping the stack, and the waits afterwards.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::cli::Lines;
use crate::flow::{provider, site};
use crate::prelude::*;
use check::certificate::{self, Certificate};
use check::diagnosis::State;
use check::{stack, values};
use domain::clock;
use domain::spec::env::EnvFile;
use domain::status::docker::{Container, ContainerDetails, INSPECT};
use domain::version;
use runtime::files;
use runtime::parallel::{NO_LIMIT, map_all};
use runtime::paths::path_to_paste;
use runtime::settings::further_providers;
use runtime::tool::compose::{Compose, OMNI, PROVIDER, SIDECAR};
use runtime::tool::docker::Docker;
use runtime::tool::omni;
use runtime::triage::{self, Issues};
use runtime::wait::Poll;

/// Refuses an operation that would lose data. The containers are about to be recreated or removed, and their contents are lost
/// unless they are on a mount (siderolabs/docs#708: a guide forgot the mount for months).
///
/// # Errors
/// Fails with [`Code::Conflict`] and the paths that are not on a mount, or if the containers belong to another checkout. Fails
/// with another code if docker cannot inspect the containers.
pub fn guard(cx: &Cx, containers: &[Container]) -> Result<String, Failure> {
    refuse_other_checkout(cx, containers)?;
    let guarded = |containers: &[Container]| -> Result<String, Failure> {
        let kept = guard_omni(cx, containers)?;
        guard_sidecar(cx, containers)?;
        Ok(kept)
    };
    let mut found = guarded(containers);
    // The compose of a run that was killed keeps running, and renames each container that it recreates.
    for _ in 0..10 {
        match &found {
            Err(failure) if failure.code == Code::NotFound => std::thread::sleep(Duration::from_secs(1)),
            _ => break,
        }
        found = guarded(&Compose::find(cx)?.containers()?);
    }
    found
}

/// Every checkout gives the stack the same name, so compose would treat the containers of another checkout as its own. A checkout
/// that was moved or removed does not count.
fn refuse_other_checkout(cx: &Cx, containers: &[Container]) -> Result<(), Failure> {
    let Ok(own) = cx.paths.compose().canonicalize() else { return Ok(()) };
    let dirs = containers.iter().filter_map(Container::working_dir);
    let mut files = dirs.filter_map(|dir| Path::new(dir).join("compose.yaml").canonicalize().ok());
    let Some(other) = files.find(|file| *file != own) else { return Ok(()) };
    let root = other.ancestors().nth(2).unwrap_or(&other);
    Err(Failure::new(Code::Conflict, "the stack on this host belongs to another checkout")
        .cause(format!("its containers were created from `{}`, and this is `{}`", other.display(), own.display()))
        .hint("work in that checkout, or stop its stack there first; its volumes stay")
        .next(format!("cargo xtask omni-status --project-dir {}", path_to_paste(root))))
}

/// Runs [`guard`] as a step of a task.
///
/// # Errors
/// See [`guard`].
pub fn check_mounts(cx: &Cx, containers: &[Container]) -> anyhow::Result<()> {
    cx.ui.step("data", "Check that Omni's data is on mounts", || Ok(StepResult::ok((), guard(cx, containers)?)))
}

/// The part of [`guard`] that checks Omni's container.
///
/// # Errors
/// See [`guard`].
pub fn guard_omni(cx: &Cx, containers: &[Container]) -> Result<String, Failure> {
    let Some(omni) = stack::service(containers, OMNI) else {
        return Ok("Omni has no container now".to_owned());
    };
    let inspected = inspect(cx, omni)?;
    let bad = stack::unmounted(&inspected);
    if bad.is_empty() {
        return Ok(format!("{} on mounts", stack::data_paths(&inspected).join(", ")));
    }
    Err(Failure::new(Code::Conflict, format!("recreating `{}` would lose Omni's data", omni.name))
        .cause(bad.join("\n"))
        .hint(format!(
            "copy the data out first: `docker cp {}:/_out - > omni-data.tar`; then put it on the volumes of docker/compose.yaml (docs/how-to/operations.md, Restore)",
            omni.name
        )))
}

/// The part of [`guard`] that checks the sidecar: without its state it loses its name on the tailnet.
///
/// # Errors
/// See [`guard`].
pub fn guard_sidecar(cx: &Cx, containers: &[Container]) -> Result<String, Failure> {
    let Some(sidecar) = stack::service(containers, SIDECAR) else {
        return Ok("the sidecar has no container now".to_owned());
    };
    let bad = stack::off_mounts(&inspect(cx, sidecar)?, &[stack::TAILSCALE_STATE.to_owned()]);
    if bad.is_empty() {
        return Ok(format!("{} on a mount", stack::TAILSCALE_STATE));
    }
    Err(Failure::new(Code::Conflict, format!("recreating `{}` would lose its identity on the tailnet", sidecar.name))
        .cause(bad.join("\n"))
        .hint(format!(
            "copy it out first: `docker cp {}:{} - > ts-state.tar`; then put it on the volume ts-state of docker/compose.yaml. If it is lost, the node comes back as `omni-1`",
            sidecar.name,
            stack::TAILSCALE_STATE
        )))
}

/// Reads the mounts and arguments of a container.
///
/// # Errors
/// Returns an error if docker cannot inspect the container.
pub fn inspect(cx: &Cx, container: &Container) -> Result<ContainerDetails, Failure> {
    Docker::find(cx)?.inspect(&container.name, INSPECT).map_err(|failure| {
        let what = format!("cannot tell whether the data in `{}` would survive", container.name);
        Failure::new(failure.code, what)
            .cause(failure.to_string())
            .hint("nothing was changed: recreating the container would lose all data that is not on a mount")
    })
}

/// Resolves a file named in `docker/.env` against the directory that compose uses.
pub fn host_path(cx: &Cx, name: &str) -> std::path::PathBuf {
    let below = cx.paths.compose();
    let name = name.strip_prefix("./").unwrap_or(name);
    below.parent().map_or_else(|| Path::new(name).to_owned(), |dir| dir.join(name))
}

/// Refuses to continue without `docker/.env`.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] and the task that creates the file.
pub fn require_env(cx: &Cx) -> Result<(), Failure> {
    match cx.paths.env().is_file() {
        true => Ok(()),
        false => Err(Failure::new(Code::Prerequisite, "`docker/.env` does not exist")
            .cause("the stack has no domain, no identity provider and no tailnet key yet")
            .next("cargo xtask omni-setup")),
    }
}

/// Returns `Ok` if the provider starts with the stack, or the reason why it does not.
pub fn provider_ready(cx: &Cx) -> Result<(), &'static str> {
    // docker compose does not get the variables of this shell, so only the file counts.
    if cx.settings.env_file.get("OMNI_INFRA_PROVIDER_KEY").is_none() {
        return Err("docker/.env has no key for it yet (`cargo xtask provider-setup`)");
    }
    if !cx.paths.config().is_file() {
        return Err("docker/config.yaml does not exist yet (`cargo xtask provider-setup`)");
    }
    Ok(())
}

/// Refuses to start the stack if a value is missing, is a placeholder from the example, or does not have a valid form.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] and the names of the variables.
pub fn check_env(cx: &Cx) -> Result<(), Failure> {
    let example = files::read_optional_text(&cx.paths.env_example())?.unwrap_or_default();
    let example = EnvFile::parse(&cx.paths.show(&cx.paths.env_example()), &example)?;
    let found = values::check_startable(&cx.settings.env_file, &example);
    if found.state != State::Failed {
        return Ok(());
    }
    Err(Failure::new(Code::Prerequisite, format!("docker/.env cannot start the stack: {}", found.detail))
        .hint(found.fix.unwrap_or_else(|| "docker/.env.example explains each variable".to_owned()))
        .next("cargo xtask omni-setup"))
}

/// Returns the services that should run; with `provider`, also those of all providers.
pub fn services(cx: &Cx, provider: bool) -> Vec<String> {
    let mut services = vec![SIDECAR.to_owned(), OMNI.to_owned()];
    if provider {
        services.push(PROVIDER.to_owned());
        let further = further_providers(&cx.paths, &cx.settings.env_file);
        services.extend(further.iter().map(|id| format!("{PROVIDER}-{id}")));
    }
    services
}

/// Returns true if all services that should run are running; with `provider`, also those of all providers.
pub fn all_running(cx: &Cx, provider: bool, containers: &[Container]) -> bool {
    services(cx, provider).iter().all(|name| stack::service(containers, name).is_some_and(Container::is_healthy))
}

/// Returns the result of a check of the containers: `part` makes its value, and the detail is how many are running.
pub fn running<T>(compose: &Compose<'_>, part: impl FnOnce(Vec<Container>) -> T) -> anyhow::Result<StepResult<T>> {
    let found = compose.containers()?;
    let (well, all) = (found.iter().filter(|container| container.is_healthy()).count(), found.len());
    let done: fn(T, String) -> StepResult<T> =
        if well == all && well > 0 { StepResult::ok } else { StepResult::warning };
    Ok(done(part(found), format!("{well} of {all} running")))
}

/// Returns the containers that are not running well, each with its status.
pub fn unhealthy(found: &[Container]) -> Vec<String> {
    let bad = found.iter().filter(|container| !container.is_healthy());
    bad.map(|container| format!("{}: {}", container.service, container.status)).collect()
}

/// Returns true if the containers must be recreated together: a container that outlives the sidecar has a dead network.
pub fn needs_recreate(containers: &[Container]) -> bool {
    let running = |container: &Container| container.state == "running";
    let sidecar = stack::service(containers, SIDECAR);
    let others = containers.iter().any(|container| container.service != SIDECAR && running(container));
    others && !sidecar.is_some_and(running)
}

/// The files from `configs:` in docker/compose.yaml that contain a value of `docker/.env`: service, path, name of the value.
const CONTENTS: [(&str, &str, &str); 2] =
    [(SIDECAR, "/run/ts-authkey", "TS_AUTHKEY"), (OMNI, "/etc/omni/oidc.yaml", "OIDC_CLIENT_SECRET")];

/// Returns the values of `docker/.env`, and the site settings, that have changed since a container was created. Compose does not
/// notice: its hash of a service leaves out the contents of configs (docker compose 5.5.1, tried), so `up` keeps the old value.
///
/// # Errors
/// Returns an error if docker cannot be queried.
pub fn changed_values(cx: &Cx, containers: &[Container]) -> Result<Vec<&'static str>, Failure> {
    let docker = Docker::find(cx)?;
    let mut found = Vec::new();
    for (service, path, key) in CONTENTS {
        let container = stack::service(containers, service);
        let (Some(container), Some(value)) = (container, cx.settings.env_file.get(key)) else { continue };
        if !docker.file_contains(&container.name, path, value)? {
            found.push(key);
        }
    }
    found.extend(site::has_changed(cx, containers)?.then_some("docker/site.yaml"));
    Ok(found)
}

/// Returns the services whose version differs from the one pinned in docker/compose.yaml: name, running and pinned version.
pub fn version_changes(cx: &Cx, containers: &[Container]) -> Vec<(String, String, String)> {
    let compose = files::read_optional_text(&cx.paths.compose()).ok().flatten().unwrap_or_default();
    let pinned = stack::images(&compose);
    let one = |container: &Container| {
        let (from, to) = (stack::tag(&container.image)?, stack::tag(pinned.get(&container.service)?)?);
        // An image that has lost its name is shown by its ID.
        let moved = from != to && !container.image.starts_with("sha256:");
        moved.then(|| (container.service.clone(), from.to_owned(), to.to_owned()))
    };
    containers.iter().filter_map(one).collect()
}

/// Returns the version changes that a start would make, to end a line of a plan: `; omni v1.9.3 → v1.10.4`. Recreating Omni's
/// container migrates its store, and only a backup leads back (siderolabs/docs `upgrading-omni.mdx`).
pub fn version_note(cx: &Cx, containers: &[Container]) -> String {
    version_changes(cx, containers).iter().map(|(service, from, to)| format!("; {service} {from} → {to}")).collect()
}

/// Refuses to start a different version of Omni than ran before: a start must not hide an upgrade or a downgrade.
///
/// # Errors
/// Fails with [`Code::Conflict`] and both versions.
pub fn refuse_version_change(cx: &Cx, containers: &[Container]) -> Result<(), Failure> {
    refuse_other_checkout(cx, containers)?;
    let state = cx.reload_state()?;
    let pinned = pinned_version(cx);
    let ran = match stack::service(containers, OMNI) {
        Some(_) => version_changes(cx, containers).into_iter().find(|(service, ..)| service == OMNI),
        // The version before `stack-down` removed the container.
        None => state.get(STATE_VERSION).zip(pinned).map(|(from, to)| (OMNI.to_owned(), from, to)),
    };
    let Some((_, from, to)) = ran.filter(|(_, from, to)| !version::is_same_version(from, to)) else { return Ok(()) };
    let down = version::parse(&from).ok().zip(version::parse(&to).ok()).is_some_and(|(from, to)| to < from);
    let failure = Failure::new(Code::Conflict, format!("docker/compose.yaml has Omni {to}, but {from} ran until now"));
    Err(match down {
        true => failure.cause("an older Omni rejects the newer store; going back needs a backup").hint(format!(
            "set the tag of `omni` in docker/compose.yaml to {from}, or restore the backup of the older version"
        )),
        false => failure
            .cause("a newer Omni migrates its store, which only a backup can undo, so a plain start refuses to do it")
            .hint(format!("upgrade Omni explicitly, or set its tag in docker/compose.yaml to {from}"))
            .next("cargo xtask omni-upgrade"),
    })
}

/// State key: the version of Omni that ran before its container was removed.
pub const STATE_VERSION: &str = "omni_version";

/// Time limit for Omni to become healthy; it takes seconds after its containers have started.
const HEALTH_LIMIT: Duration = Duration::from_secs(120);
/// How long a provider must run before it counts as running.
const MIN_UPTIME: Duration = Duration::from_secs(1);

/// Starts the stack; with `recreate`, recreates every container.
pub fn start<'a>(provider: bool, recreate: bool, effect: String) -> Change<'a> {
    Change::new("start", "the stack", effect, "cargo xtask stack-down", move |cx| {
        let compose = Compose::find(cx)?;
        // Checked here because the preceding changes have only now written all files.
        compose.check()?;
        guard(cx, &compose.containers()?)?;
        compose.up(provider, recreate).map_err(|failure| explain_sidecar(cx, failure))?;
        site::record_start(cx)?;
        Ok("its containers are started".to_owned())
    })
}

/// Recreates the container of one provider; Omni and the other providers keep running.
pub fn restart_provider<'a>(service: String) -> Change<'a> {
    let effect = "its container is recreated; the others keep running";
    Change::new("restart", service.clone(), effect, "nothing to undo", move |cx| {
        let compose = Compose::find(cx)?;
        guard(cx, &compose.containers()?)?;
        compose.recreate_one(&service).map_err(|failure| explain_sidecar(cx, failure))?;
        Ok("container recreated".to_owned())
    })
}

/// Recreates all containers of the stack.
pub fn restart<'a>(effect: String) -> Change<'a> {
    Change::new("restart", "the stack", effect, "nothing to undo", |cx| {
        let compose = Compose::find(cx)?;
        guard(cx, &compose.containers()?)?;
        compose.recreate().map_err(|failure| explain_sidecar(cx, failure))?;
        site::record_start(cx)?;
        Ok("containers recreated, volumes kept".to_owned())
    })
}

/// Stops the stack and removes its `containers`; its volumes are kept.
pub fn stop<'a>(containers: &str) -> Change<'a> {
    let effect = "Omni is unavailable until it is started again; running clusters are not affected; volumes kept";
    Change::new("stop", containers, effect, "cargo xtask stack-up", |cx| {
        let compose = Compose::find(cx)?;
        guard(cx, &compose.containers()?)?;
        compose.down()?;
        Ok("containers removed, volumes kept".to_owned())
    })
    .with_verification(|cx| {
        let left = Compose::find(cx)?.containers()?;
        let left: Vec<String> =
            left.iter().map(|container| format!("{}: {}", container.name, container.status)).collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Code::Failed, "containers of the stack still exist").cause(left.join("\n")).into())
    })
}

/// Explains a failed start of the stack that the sidecar caused: it has exited, or its log has the cause.
fn explain_sidecar(cx: &Cx, failure: Failure) -> Failure {
    if failure.kind != Kind::Sidecar {
        return failure;
    }
    let containers = Compose::find(cx).and_then(|compose| compose.containers()).unwrap_or_default();
    sidecar_failure(&containers).unwrap_or_else(|| explain(cx, SIDECAR, failure))
}

/// Returns a failure if the sidecar has exited: any errors of the other containers are then a consequence.
pub fn sidecar_failure(containers: &[Container]) -> Option<Failure> {
    let ended = |container: &&Container| {
        container.service == SIDECAR && matches!(container.state.as_str(), "exited" | "dead" | "restarting")
    };
    let sidecar = containers.iter().find(ended)?;
    Some(
        Failure::new(Code::Failed, "the containers lost the network that they share")
            .cause(format!("{SIDECAR}: {}", sidecar.status))
            .hint("all containers of the stack must be recreated together")
            .next("cargo xtask stack-up --recreate"),
    )
}

/// Waits in one step until the containers run, and in a second one until Omni responds at `place`.
///
/// # Errors
/// See `wait_until_healthy`.
pub fn verify(cx: &Cx, provider: bool, place: Option<&OmniAddress>) -> anyhow::Result<()> {
    verify_as(cx, (&services(cx, provider), place), ["Wait until the containers run", "Wait until Omni answers"])
}

/// Like [`verify`], for the given services and with the given titles.
///
/// # Errors
/// See `wait_until_healthy`.
pub fn verify_as(
    cx: &Cx,
    (services, place): (&[String], Option<&OmniAddress>),
    titles: [&str; 2],
) -> anyhow::Result<()> {
    let compose = Compose::find(cx)?;
    let all_run = cx.ui.step("containers", titles[0], || wait_until_healthy(cx, &compose, services))?;
    if let Some(place) = place {
        cx.ui.step("omni", titles[1], || wait_for_omni(cx, &compose, place))?;
    }
    match all_run {
        true => Ok(()),
        false => cx.ui.step("provider", "Check that the provider runs now that Omni answers", || {
            provider::wait_until_up(cx, HEALTH_LIMIT)
        }),
    }
}

/// Waits until the containers of `services` run and are healthy, and no provider has exited right after its start. Returns false
/// if the provider is not running yet: it exits, and docker restarts it, until Omni responds.
///
/// # Errors
/// Fails with [`Code::Timeout`], or with [`Code::Failed`] and the cause from its log if a container has exited.
fn wait_until_healthy(cx: &Cx, compose: &Compose<'_>, services: &[String]) -> anyhow::Result<StepResult<bool>> {
    cx.wait("the containers of the stack", HEALTH_LIMIT, || {
        let found = compose.containers()?;
        for service in services {
            let Some(container) = stack::service(&found, service) else {
                return Err(Failure::new(Code::Failed, format!("`{service}` has no container"))
                    .cause("docker compose started the other containers without it")
                    .into());
            };
            if provider::restarts_until_omni_responds(cx, container)? {
                let run = services.len() - 1;
                let detail = format!("{run} run; the provider is restarted until Omni answers");
                return Ok(Poll::Done(StepResult::ok(false, detail)));
            }
            if matches!(container.state.as_str(), "exited" | "dead" | "restarting") {
                let failure =
                    Failure::new(Code::Failed, format!("`{service}` keeps exiting")).cause(container.status.clone());
                return Err(explain(cx, service, failure).into());
            }
            if !container.is_healthy() {
                return Ok(Poll::Waiting(format!("waiting for {service}: {}", container.status)));
            }
            // Only its exit shows that a provider cannot work, and it exits within milliseconds of each start.
            if Compose::is_provider(service) && container.uptime().is_some_and(|up| up < MIN_UPTIME) {
                return Ok(Poll::Waiting(format!("waiting for {service} to keep running")));
            }
        }
        Ok(Poll::Done(StepResult::ok(true, format!("{} run", services.len()))))
    })
}

/// Waits until Omni responds; fails if its container exits meanwhile.
fn wait_for_omni(cx: &Cx, compose: &Compose<'_>, place: &OmniAddress) -> anyhow::Result<StepResult<()>> {
    cx.wait("Omni", HEALTH_LIMIT, || {
        match place.healthy(cx) {
            Ok(()) => Ok(Poll::Done(StepResult::ok((), place.words()))),
            Err(failure) if matches!(failure.code, Code::Interrupted | Code::Prerequisite | Code::Invalid) => {
                Err(failure.into())
            }
            // Waiting does not fix a certificate or a proxy.
            Err(failure) if matches!(failure.kind, Kind::Certificate | Kind::Proxy) => Err(failure.into()),
            Err(failure) => {
                let found = compose.containers()?;
                let omni = stack::service(&found, OMNI);
                if omni.is_none_or(|container| container.state != "running") {
                    let status = omni.map_or("it has no container".to_owned(), |container| container.status.clone());
                    let ended = Failure::new(Code::Failed, "`omni` keeps exiting").cause(status);
                    return Err(explain(cx, OMNI, ended).into());
                }
                Ok(Poll::Waiting(format!("waiting for Omni: {}", failure.message)))
            }
        }
    })
}

/// How Omni is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OmniAddress {
    pub endpoint: String,
    /// The address to connect to: the one that machines use, whatever this host's DNS resolves.
    pub connect: Option<String>,
    pub ca_file: Option<String>,
}

impl OmniAddress {
    /// Reads the address from the settings: the LAN address if Omni has a host name, otherwise the endpoint itself.
    pub fn of(cx: &Cx) -> Option<OmniAddress> {
        let endpoint = cx.settings.omni_endpoint(None)?.value;
        let (host, _) = host_and_port(endpoint.strip_prefix("https://").unwrap_or(&endpoint));
        let lan = cx.settings.env_file.get("OMNI_LAN_ADDRESS").filter(|_| host.parse::<IpAddr>().is_err());
        // Only the stack of this project is at the LAN address; OMNI_ENDPOINT may be a different Omni.
        let own = cx.settings.env_file.get("OMNI_DOMAIN").is_some_and(|domain| host_and_port(domain).0 == host);
        let connect = lan.filter(|_| own).map(str::to_owned);
        Some(OmniAddress { endpoint, connect, ca_file: cx.settings.ca_file(None).map(|found| found.value) })
    }

    /// Checks that Omni is healthy at this address.
    ///
    /// # Errors
    /// See [`omni::check_health_at`].
    pub fn healthy(&self, cx: &Cx) -> Result<(), Failure> {
        omni::check_health_at(cx, &self.endpoint, self.ca_file.as_deref(), self.connect.as_deref())
    }

    pub fn words(&self) -> String {
        match &self.connect {
            Some(address) => format!("{} at {address}", self.endpoint),
            None => self.endpoint.clone(),
        }
    }

    /// Returns the host name, and the `host:port` to connect to, for a TLS check.
    pub fn tls(&self) -> (String, String) {
        let (host, port) = host_and_port(self.endpoint.strip_prefix("https://").unwrap_or(&self.endpoint));
        let to = self.connect.as_deref().unwrap_or(&host);
        let to = if to.contains(':') { format!("[{to}]:{port}") } else { format!("{to}:{port}") };
        (host, to)
    }
}

/// Splits `host[:port][/…]` into host and port; the default port is 443.
pub fn host_and_port(text: &str) -> (String, u16) {
    let text = text.split('/').next().unwrap_or_default();
    if let Some((host, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host.to_owned(), port.trim_start_matches(':').parse().unwrap_or(443));
    }
    match text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.to_owned(), port),
        None => (text.to_owned(), 443),
    }
}

/// Prints the log lines.render these services as they arrive, each service on its own thread, and explains each known issue once.
///
/// # Errors
/// See [`Compose::follow`].
pub fn follow(
    cx: &Cx,
    compose: &Compose<'_>,
    (services, tail): (&[String], u32),
    lines: &Lines,
    issues: &Issues,
) -> Result<(), Failure> {
    let seen: Mutex<Vec<String>> = Mutex::default();
    let one = |service: &String| {
        compose.follow(service, tail, |line| {
            let shown = lines.render(line);
            let shown = shown.trim_end();
            cx.ui.print_data(&if services.len() > 1 { format!("{service} | {shown}") } else { shown.to_owned() });
            for hit in issues.find(line) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if !seen.contains(&hit.issue.id) {
                    seen.push(hit.issue.id.clone());
                    cx.ui.print_data(&cx.ui.advice(&format!("\n{}\n", hit.shown())));
                }
            }
        })
    };
    map_all(services, NO_LIMIT, one).into_iter().collect()
}

/// Adds to `failure` the known issue in the log of `service`, or the last line of that log.
pub fn explain(cx: &Cx, service: &str, mut failure: Failure) -> Failure {
    let log = Compose::find(cx).and_then(|compose| compose.log(service, 60));
    let (Ok(log), Ok(issues)) = (log, Issues::of(cx)) else { return failure };
    match issues.find(&log).last() {
        Some(hit) => triage::explain(failure, hit),
        None => {
            if let Some(line) = log.lines().rev().find(|line| !line.trim().is_empty()) {
                failure.cause.push_str(&format!("\nits log ends: {line}"));
            }
            failure.next(format!("cargo xtask stack-logs {service}"))
        }
    }
}

/// Returns the version of this project's stack, if that is the Omni at `endpoint`: from its container, or else the version pinned
/// for its start.
pub fn version_at(cx: &Cx, endpoint: &str) -> Option<String> {
    let host = |text: &str| host_and_port(text.strip_prefix("https://").unwrap_or(text));
    let domain = cx.settings.env_file.get("OMNI_DOMAIN")?;
    if host(domain) != host(endpoint) {
        return None;
    }
    let containers = Compose::find(cx).and_then(|compose| compose.containers()).ok()?;
    match stack::service(&containers, OMNI) {
        Some(container) => stack::tag(&container.image).filter(|tag| version::parse(tag).is_ok()).map(str::to_owned),
        None => pinned_version(cx),
    }
}

/// Returns the version of Omni in `docker/compose.yaml`.
pub fn pinned_version(cx: &Cx) -> Option<String> {
    let compose = files::read_optional_text(&cx.paths.compose()).ok().flatten()?;
    let images = stack::images(&compose);
    let tag = stack::tag(images.get(OMNI)?)?;
    version::parse(tag).is_ok().then(|| tag.to_owned())
}

/// The message that Omni logs when it finds no store for its account and creates an empty one.
pub const EMPTY_STORE: &str = "initializing new key store";

/// Returns when Omni last created an empty store, in seconds since 1970, as far back as its container's log reaches (omni v1.10.6
/// `internal/backend/runtime/keyprovider/storage.go`; with another account it creates a new store and is healthy all the same).
///
/// # Errors
/// See [`Compose::log`].
pub fn empty_store_time(cx: &Cx) -> Result<Option<u64>, Failure> {
    let log = Compose::find(cx)?.log(OMNI, 5000)?;
    let line = log.lines().rfind(|line| line.contains(EMPTY_STORE));
    Ok(line.map(|line| line.split(' ').next().and_then(clock::parse_rfc3339).unwrap_or_default()))
}

/// Returns the CAs that this machine trusts, and the one configured in `ca_file`; `None` if no CA file was found.
pub fn trusted_roots(ca_file: Option<&str>) -> Option<Vec<Certificate>> {
    // Debian and Alpine; Fedora; macOS and the BSDs.
    let system = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    let read = |path: &str| {
        let text = files::read_optional_text(Path::new(path)).ok().flatten()?;
        certificate::read_pem(&text).ok()
    };
    let own = ca_file.and_then(read);
    let system = system.iter().find_map(|path| read(path));
    if own.is_none() && system.is_none() {
        return None;
    }
    Some(own.into_iter().chain(system).flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_split() {
        let cases = [
            ("omni.example.com", "omni.example.com", 443),
            ("127.0.0.1:8099", "127.0.0.1", 8099),
            ("[fd00::1]:8443/x", "fd00::1", 8443),
            ("omni.example.com/eula", "omni.example.com", 443),
        ];
        for (text, host, port) in cases {
            assert_eq!(host_and_port(text), (host.to_owned(), port));
        }
    }

    #[test]
    fn stopped_sidecar_needs_recreate() {
        let container = |service: &str, state: &str| -> Container {
            serde_json::from_str(&format!(r#"{{"Service":"{service}","Name":"x","State":"{state}"}}"#)).unwrap()
        };
        assert!(needs_recreate(&[container(SIDECAR, "exited"), container(OMNI, "running")]));
        assert!(needs_recreate(&[container(OMNI, "running")]));
        assert!(!needs_recreate(&[container(SIDECAR, "running"), container(OMNI, "exited")]));
        assert!(!needs_recreate(&[]));
    }
}
