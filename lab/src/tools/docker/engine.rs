//! The container engine: the requests of `docker compose`, and the behavior of the kit's containers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::compose::{Mount, Service};
use crate::fault_effects;
use crate::provider::log::{Line, Log, now};
use crate::provider::{self, Environment};

/// Simulated time from a sidecar's start until it is healthy.
const HEALTHY_AFTER: Duration = Duration::from_secs(3);
/// Simulated time after which a dependency that is not healthy counts as unhealthy.
const UNHEALTHY_AFTER: Duration = Duration::from_secs(60);

/// The project and service that identify a container.
pub type ContainerKey = (String, String);

/// A request to the engine. Each variant describes its response, if it has one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum EngineRequest {
    /// Returns the containers of the named project.
    List(String),
    /// Returns all containers in the format that the tasks request.
    All,
    /// Creates a stopped container for a project and service; the compose file is needed for the labels.
    Create(String, Box<Service>, String),
    Start(ContainerKey),
    /// Fetches an image.
    Pull(String),
    /// Waits until a container is known to be healthy or unhealthy. Returns whether it is healthy.
    Healthy(ContainerKey),
    Stop(ContainerKey),
    Remove(ContainerKey),
    /// Creates a volume or network if it does not exist, or removes it. Returns whether that changed anything.
    Make(String),
    Unmake(String),
    /// Returns the container with this name and its project, if there is one.
    Find(String),
    /// Returns the names of all volumes.
    Volumes,
    /// Returns the directory with the contents of the volumes.
    Data,
    /// Runs a program with arguments in a running container. Returns `None` if the program is not simulated.
    Exec(ContainerKey, Vec<String>),
    /// Returns the lines of a log from this number on, and whether the log is complete. With `true`, first waits for a line or the
    /// end of the container.
    Logs(ContainerKey, usize, bool),
}

/// A response in JSON, or the text after `Error response from daemon: `.
type Answer = Result<String, String>;

fn answer(value: &impl Serialize) -> Answer {
    serde_json::to_string(value).map_err(|why| why.to_string())
}

/// A container as the engine reports it. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// 64 hex digits.
    pub id: String,
    /// The service that it was created from.
    pub service: Service,
    pub file: String,
    /// `created`, `running`, `exited`, `restarting`.
    pub state: String,
    /// Exit code of its last run.
    pub exit_code: i32,
    /// Empty, `starting`, `healthy`, `unhealthy`.
    pub health: String,
    /// Time of creation.
    pub created: u64,
    /// Time of the last start.
    pub started: u64,
    pub finished: u64,
    /// Whether it replaced another container.
    pub replaced: bool,
    /// Number of restarts by its restart policy.
    pub restarts: u32,
}

struct Container {
    shown: ContainerInfo,
    log: Log,
    running: Option<AbortHandle>,
}

#[derive(Default)]
struct EngineState {
    containers: BTreeMap<ContainerKey, Container>,
    resources: BTreeSet<String>,
    /// The auth key that the tailnet rejected.
    refused: Option<String>,
}

/// The engine of a lab. Clones are handles to the same engine.
#[derive(Clone)]
pub struct Engine {
    state: Arc<Mutex<EngineState>>,
    env: Environment,
    changed: watch::Sender<u64>,
    /// Contains a directory for each volume that files were copied to or from.
    data: PathBuf,
}

impl Engine {
    /// Creates an engine without containers.
    pub fn new(env: Environment, data: PathBuf) -> Engine {
        Engine { state: Arc::default(), env, changed: watch::channel(0).0, data }
    }

    fn lock(&self) -> MutexGuard<'_, EngineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is no Omni container yet.
    pub fn has_no_omni(&self) -> bool {
        !self.lock().containers.values().any(|container| is_omni(&container.shown.service))
    }

    fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Handles a request.
    pub async fn answer(&self, ask: EngineRequest) -> Answer {
        match ask {
            EngineRequest::All => {
                let state = self.lock();
                let line = |((project, _), found): (&ContainerKey, &Container)| {
                    let (shown, service) = (&found.shown, &found.shown.service);
                    format!("{}\t{}\t{}\t{project}", service.container, service.image, shown.state)
                };
                answer(&state.containers.iter().map(line).collect::<Vec<_>>())
            }
            EngineRequest::List(project) => {
                let state = self.lock();
                let own = state.containers.iter().filter(|((of, _), _)| *of == project);
                answer(&own.map(|(_, container)| &container.shown).collect::<Vec<_>>())
            }
            EngineRequest::Create(project, service, file) => self.create(project, *service, file),
            EngineRequest::Start(key) => self.start(&key),
            EngineRequest::Pull(image) => match fault_effects::pull_error(&self.env.faults, &image) {
                Some(why) => Err(why),
                None => answer(&()),
            },
            EngineRequest::Healthy(key) => answer(&self.wait_until_healthy(&key).await),
            EngineRequest::Stop(key) => answer(&self.stop(&key, 0)),
            EngineRequest::Remove(key) => {
                self.end_sidecar_died_fault(&key);
                self.stop(&key, 0);
                self.lock().containers.remove(&key);
                answer(&self.notify())
            }
            EngineRequest::Find(name) => {
                let state = self.lock();
                let found = state.containers.iter().find(|(_, container)| container.shown.service.container == name);
                answer(&found.map(|(key, container)| (&key.0, &container.shown)))
            }
            EngineRequest::Volumes => {
                let state = self.lock();
                answer(&state.resources.iter().filter_map(|name| name.strip_prefix("Volume ")).collect::<Vec<_>>())
            }
            EngineRequest::Data => answer(&self.data),
            EngineRequest::Exec(key, words) => {
                let found = self.lock().containers.get(&key).map(|container| container.shown.service.clone());
                answer(&found.and_then(|service| super::tailnet::run(&service, &words, &self.env.faults)))
            }
            EngineRequest::Make(name) => answer(&self.lock().resources.insert(name)),
            EngineRequest::Unmake(name) => answer(&self.lock().resources.remove(&name)),
            EngineRequest::Logs(key, from, wait) => self.logs(&key, from, wait).await,
        }
    }

    fn create(&self, project: String, service: Service, file: String) -> Answer {
        if let Some(why) = fault_effects::pull_error(&self.env.faults, &service.image) {
            return Err(why);
        }
        // docker 20.10.24, recorded. The lab's own Omni is exempt, because its address includes a port: a real Omni uses 443.
        let own = format!("{}:127.0.0.1", self.env.omni_addr.port());
        let refused = |(_, ip): &&(String, String)| *ip != own && ip.parse::<std::net::IpAddr>().is_err();
        if let Some((_, ip)) = service.extra_hosts.iter().find(refused) {
            return Err(format!("invalid IP address in add-host: {ip:?}"));
        }
        if !["", "no", "always", "unless-stopped", "on-failure"]
            .contains(&service.restart.split(':').next().unwrap_or_default())
        {
            return Err(format!("invalid restart policy '{}'", service.restart));
        }
        for Mount { source: host, strict, .. } in service.mounts(false) {
            let path = std::path::Path::new(host);
            if path.exists() {
                continue;
            }
            if *strict {
                return Err(format!("invalid mount config for type \"bind\": bind source path does not exist: {host}"));
            }
            // With the short form, the real engine creates a missing path as a directory.
            std::fs::create_dir_all(path)
                .map_err(|why| format!("error while creating mount source path '{host}': {why}"))?;
        }
        let id = crate::tls::random_hex(32).map_err(|why| why.to_string())?;
        let key = (project, service.name.clone());
        self.end_sidecar_died_fault(&key);
        self.stop(&key, 0);
        let mut state = self.lock();
        let replaced = state.containers.remove(&key).is_some();
        let shown = ContainerInfo {
            id,
            service,
            file,
            state: "created".to_owned(),
            created: now(),
            replaced,
            ..ContainerInfo::default()
        };
        state.containers.insert(key, Container { shown, log: Log::default(), running: None });
        drop(state);
        answer(&self.notify())
    }

    /// Ends the fault of a sidecar that has died, because recreating it is the fix.
    fn end_sidecar_died_fault(&self, key: &ContainerKey) {
        let died = |container: &Container| container.shown.restarts > 0 || container.shown.exit_code == 137;
        if self.lock().containers.get(key).is_some_and(died) {
            self.env.faults.end("docker-sidecar-died");
        }
    }

    /// The error for a container whose network belongs to a container that is not running.
    fn no_network(&self, key: &ContainerKey, verb: &str) -> Option<String> {
        let state = self.lock();
        let own = state.containers.get(key)?;
        let of = own.shown.service.network_of.clone()?;
        let other = state.containers.get(&(key.0.clone(), of))?;
        (other.shown.state != "running").then(|| {
            let (id, other) = (&own.shown.id, &other.shown.id);
            format!("Cannot {verb} container {id}: cannot join network of a non running container: {other}")
        })
    }

    fn start(&self, key: &ContainerKey) -> Answer {
        if let Some(text) = self.no_network(key, "start") {
            return Err(text);
        }
        let mut state = self.lock();
        let container = state.containers.get_mut(key).ok_or("No such container")?;
        if container.shown.state == "running" {
            return answer(&());
        }
        if let Some(why) = fault_effects::start_error(&self.env.faults, &container.shown.service) {
            return Err(why);
        }
        if container.shown.state == "exited" {
            fault_effects::end_stopped_faults(&self.env.faults, &container.shown.service.image);
        }
        self.begin(container);
        let engine = self.clone();
        let task =
            tokio::spawn(engine.run_with_restarts(key.clone(), container.shown.service.clone(), container.log.clone()));
        container.running = Some(task.abort_handle());
        drop(state);
        answer(&self.notify())
    }

    /// Marks a container as running. Whether Omni keeps running is decided immediately, because the provider connects immediately,
    /// and an Omni that exits at each start must never be seen running, even on a slow host.
    fn begin(&self, container: &mut Container) {
        let shown = &mut container.shown;
        "running".clone_into(&mut shown.state);
        shown.started = now();
        shown.exit_code = 0;
        shown.health = if shown.service.healthcheck { "starting".to_owned() } else { String::new() };
        if !is_omni(&shown.service) {
            return;
        }
        self.env.faults.end("omni-unreachable");
        self.env.omni_starts.notify_one();
        super::containers::log_omni_start(&container.log);
        let begun = self.env.omni.with(|state| state.start_image(&shown.service.image));
        let ended = self.env.faults.last_words().or(begun.err()).map(str::to_owned);
        let keys = super::containers::public_keys(&shown.service);
        let ended = super::containers::refused_settings(&shown.service).or(keys.as_ref().err().cloned()).or(ended);
        if ended.is_none() && keys.is_ok_and(|keys| keys.iter().any(|key| key == super::store::NEXT_KEY)) {
            let _ = std::fs::write(self.data.join(super::store::ADDED), "");
        }
        self.env.omni_down.store(ended.is_some(), Ordering::Relaxed);
        if let Some(words) = ended {
            container.log.raw(&words);
            end(shown, 1);
            "restarting".clone_into(&mut shown.state);
        }
    }

    /// Stops a container immediately.
    fn stop(&self, key: &ContainerKey, exit_code: i32) {
        let mut state = self.lock();
        let Some(container) = state.containers.get_mut(key) else { return };
        if let Some(task) = container.running.take() {
            task.abort();
        }
        if container.shown.state == "running" || container.shown.state == "restarting" {
            end(&mut container.shown, exit_code);
            if is_omni(&container.shown.service) {
                self.env.omni_down.store(true, Ordering::Relaxed);
            }
        }
        drop(state);
        self.notify();
    }

    fn update(&self, key: &ContainerKey, change: impl FnOnce(&mut ContainerInfo)) {
        if let Some(container) = self.lock().containers.get_mut(key) {
            change(&mut container.shown);
        }
        self.notify();
    }

    /// Runs a container, and restarts it according to its restart policy.
    async fn run_with_restarts(self, key: ContainerKey, service: Service, log: Log) {
        let again = matches!(service.restart.as_str(), "always" | "unless-stopped");
        let mut pause = Duration::from_millis(100);
        loop {
            let code = self.run_once(&key, &service, &log).await;
            let stopped = code == 0 && fault_effects::is_stopped_by_hand(&self.env.faults, &service.image);
            let again = again && !stopped;
            self.update(&key, |shown| {
                end(shown, code);
                if again {
                    "restarting".clone_into(&mut shown.state);
                }
            });
            if !again {
                return;
            }
            self.env.clock.sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(60));
            if let Some(container) = self.lock().containers.get_mut(&key) {
                container.shown.restarts += 1;
                self.begin(container);
            }
            self.notify();
        }
    }

    /// Runs a container once and returns its exit code.
    async fn run_once(&self, key: &ContainerKey, service: &Service, log: &Log) -> i32 {
        let on_it = |other: &Container| other.shown.service.network_of.as_ref() == Some(&key.1);
        let shared = self.lock().containers.values().any(on_it);
        if !shared && !service.image.contains("tailscale") {
            return self.process(key, service, log).await;
        }
        let death = async {
            if !self.env.faults.hit("docker-sidecar-died") {
                std::future::pending::<()>().await;
            }
            // After a restart by its policy it exits immediately, so it never becomes healthy again.
            if self.lock().containers.get(key).is_some_and(|container| container.shown.restarts == 0) {
                self.wait_until_healthy(key).await;
                // Containers that use its network must have started by then, even on a slow host.
                while self.lock().containers.values().any(|other| on_it(other) && other.shown.state == "created") {
                    self.env.clock.sleep(Duration::from_secs(1)).await;
                }
                self.env.clock.sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            code = self.process(key, service, log) => code,
            () = death => {
                // The sidecar ends first, so that the others are never seen down while it is still running.
                self.update(key, |shown| end(shown, 137));
                self.stop_providers_of(key);
                137
            }
        }
    }

    async fn process(&self, key: &ContainerKey, service: &Service, log: &Log) -> i32 {
        if service.image.contains("omni-infra-provider-proxmox") {
            return provider::run(super::containers::provider_settings(service), self.env.clone(), log.clone()).await;
        }
        if service.image.contains("tailscale") {
            return self.sidecar(key, service, log).await;
        }
        if is_omni(service) {
            if self.env.omni_down.load(Ordering::Relaxed) {
                return 1;
            }
            fault_effects::log_refused_login(&self.env.faults, log);
            std::future::pending::<()>().await;
        }
        if let [shell, flag, script] = &service.argv[..]
            && shell.ends_with("sh")
            && flag == "-c"
        {
            let healthy = || self.update(key, become_healthy);
            return super::containers::script(script, log, &self.env.clock, healthy).await;
        }
        std::future::pending().await
    }

    async fn sidecar(&self, key: &ContainerKey, service: &Service, log: &Log) -> i32 {
        let clock = &self.env.clock;
        log.raw("boot: 2026/11/22 02:12:04 Starting tailscaled");
        let auth = service.environment.get("TS_AUTHKEY").cloned();
        let before = self.lock().refused.clone();
        if before.is_some() && before != auth {
            self.env.faults.end("sidecar-key-expired");
        }
        let refused = self.env.faults.hit("sidecar-key-expired");
        if refused || self.env.faults.hit("docker-sidecar-unhealthy") {
            if refused {
                self.lock().refused = auth;
                log.raw("2026/11/22 02:12:05 control: RegisterReq: got response; nodeKeyExpired=false, machineAuthorized=false");
                log.raw("backend error: invalid key: API key does not exist");
            }
            log.raw("boot: 2026/11/22 02:12:05 failed to auth tailscale: tailscale up failed: exit status 1");
            clock.sleep(UNHEALTHY_AFTER).await;
            self.update(key, |shown| "unhealthy".clone_into(&mut shown.health));
            std::future::pending::<()>().await;
        }
        if service.healthcheck {
            clock.sleep(HEALTHY_AFTER).await;
            self.update(key, become_healthy);
        }
        log.raw("boot: 2026/11/22 02:12:07 Startup complete, waiting for shutdown signal");
        if ["tailnet-logged-out", "tailnet-no-magicdns"].iter().any(|name| self.env.faults.has(name)) {
            // It was healthy at first; otherwise the services that depend on it would not have started.
            clock.sleep(UNHEALTHY_AFTER).await;
            self.update(key, |shown| "unhealthy".clone_into(&mut shown.health));
        }
        std::future::pending().await
    }

    /// Stops the providers that use the network of a sidecar that has died.
    fn stop_providers_of(&self, key: &ContainerKey) {
        let victims: Vec<ContainerKey> = {
            let state = self.lock();
            let on_it = state.containers.iter().filter(|(other, container)| {
                let service = &container.shown.service;
                other.0 == key.0
                    && service.network_of.as_deref() == Some(&key.1)
                    && service.image.contains("omni-infra-provider-proxmox")
                    && container.shown.state == "running"
            });
            on_it.map(|(key, _)| key.clone()).collect()
        };
        for victim in victims {
            if let Some(container) = self.lock().containers.get(&victim) {
                container.log.raw(provider::CUT_OFF);
            }
            self.stop(&victim, 1);
        }
    }

    async fn wait_until_healthy(&self, key: &ContainerKey) -> bool {
        let mut changed = self.changed.subscribe();
        let timeout = self.env.clock.real(UNHEALTHY_AFTER * 2);
        let wait = async {
            loop {
                changed.borrow_and_update();
                let found = self.lock().containers.get(key).map(|container| container.shown.clone());
                match found {
                    None => return false,
                    Some(shown) => match (shown.health.as_str(), shown.state.as_str()) {
                        ("healthy", _) => return true,
                        ("unhealthy", _) | (_, "exited") => return false,
                        ("", "running") if !shown.service.healthcheck => return true,
                        _ => {}
                    },
                }
                if changed.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(timeout, wait).await == Ok(true)
    }

    async fn logs(&self, key: &ContainerKey, from: usize, wait: bool) -> Answer {
        let Some((log, mut grown)) =
            self.lock().containers.get(key).map(|container| (container.log.clone(), container.log.subscribe()))
        else {
            return answer(&(Vec::<Line>::new(), true));
        };
        let mut changed = self.changed.subscribe();
        loop {
            grown.borrow_and_update();
            changed.borrow_and_update();
            let lines = log.lines();
            let state = self.lock().containers.get(key).map(|container| container.shown.state.clone());
            let ended = !matches!(state.as_deref(), Some("running" | "restarting" | "created"));
            if lines.len() > from || ended || !wait {
                return answer(&(lines.get(from..).unwrap_or_default(), ended));
            }
            tokio::select! {
                _ = grown.changed() => {}
                _ = changed.changed() => {}
            }
        }
    }

    /// The containers as `lab dump` shows them.
    pub fn dump(&self) -> Value {
        let state = self.lock();
        let one = |container: &Container| {
            let shown = &container.shown;
            json!({"service": shown.service.name, "state": shown.state, "health": shown.health, "exit_code": shown.exit_code})
        };
        json!({"containers": state.containers.values().map(one).collect::<Vec<_>>()})
    }
}

/// Whether a service runs Omni. The name of the provider's image has the same prefix.
fn is_omni(service: &Service) -> bool {
    service.image.contains("siderolabs/omni") && !service.image.contains("omni-infra-provider")
}

fn become_healthy(shown: &mut ContainerInfo) {
    if shown.service.healthcheck {
        "healthy".clone_into(&mut shown.health);
    }
}

fn end(shown: &mut ContainerInfo, exit_code: i32) {
    "exited".clone_into(&mut shown.state);
    shown.exit_code = exit_code;
    shown.health.clear();
    shown.finished = now();
}
