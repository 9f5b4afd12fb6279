//! `lab serve`: starts the services of a lab, writes its directory, serves its control socket, and shuts it down.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::fault_effects;
use crate::faults::{self, Faults};
use crate::fill::{self, Size};
use crate::http::{self, Listen, Server};
use crate::omni::access;
use crate::omni::api::OmniCall;
use crate::omni::front::Front;
use crate::omni::kinds::OmniRelease;
use crate::omni::machine::Hardware;
use crate::omni::machines;
use crate::omni::names::CLUSTER_MACHINE;
use crate::omni::{Omni, api};
use crate::provider::{Environment, cidata};
use crate::proxmox::{Proxmox, World};
use crate::site;
use crate::tls::{Ca, Files, Leaf};
use crate::tools::docker::engine::Engine;
use crate::tools::node;
use crate::tools::protocol::{Client, LINK_FILE, Link, Refusal, Request, Start};

/// The longest line that the control socket accepts, in bytes.
const LINE_LIMIT: u64 = 16 << 20;

/// The options of `lab serve`.
#[derive(Args, Clone, Debug)]
pub struct LabOptions {
    /// Directory of the lab; created if it does not exist
    #[arg(long)]
    pub dir: PathBuf,
    /// Time scale: simulated seconds per second; 1 is real time
    #[arg(long, default_value = "200", value_parser = crate::clock::factor)]
    pub clock: f64,
    /// Simulate a fault: NAME every time, NAME:2 only the second time, NAME:2+ from the second time on, NAME:..2 the first two times
    #[arg(long = "fault", value_name = "NAME[:WHEN]")]
    pub faults: Vec<String>,
    /// Delay each response of the simulated services by this many milliseconds of real time
    #[arg(long, default_value_t = 0)]
    pub latency_ms: u64,
    /// Exit when stdin is closed
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// Version of Omni and omnictl to simulate: 1.10.6, 1.9.3 or 1.4.9
    #[arg(long = "omni-version", default_value = "1.10.6", value_parser = release)]
    pub release: OmniRelease,
    /// Saved inventory to take nodes, storages and bridges from
    #[arg(long, conflicts_with_all = ["nodes", "vms", "storages", "clusters"])]
    pub inventory: Option<PathBuf>,
    /// The size at the start.
    #[command(flatten)]
    pub size: Size,
    /// Processor time that each start of omnictl and docker takes, in milliseconds
    #[arg(long, default_value_t = 0)]
    pub tool_start_ms: u64,
    /// Add a second Proxmox with the same size, names and IDs, for another provider; its address is in $LAB_SECOND_PROXMOX
    #[arg(long)]
    pub second_proxmox: bool,
}

fn release(text: &str) -> Result<OmniRelease, String> {
    OmniRelease::parse(text).ok_or_else(|| "use 1.10.6, 1.9.3 or 1.4.9".to_owned())
}

/// A running lab.
struct Lab {
    options: LabOptions,
    env: Environment,
    /// How Omni's HTTPS front listens.
    listen: Listen,
    front: Arc<Front>,
    omni_ca: String,
    proxmox: Proxmox,
    second_proxmox: Option<Proxmox>,
    engine: Engine,
    link: Link,
    stop: Notify,
    /// The files with the valid certificate that Omni's operator has on disk.
    tls: Files,
    /// The contents of `DIR/env` without the keys.
    env_without_keys: OnceLock<String>,
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Runs a lab until it is stopped by a signal, a request, or the end of stdin.
pub async fn serve(options: LabOptions) -> Result<()> {
    options.size.check()?;
    let faults = Arc::new(Faults::parse(&options.faults)?);
    // First of all, so that an early signal is not lost.
    let signals = signals()?;
    prepare(&options.dir)?;
    let clock = Clock::new(options.clock);
    let latency = Duration::from_millis(options.latency_ms)
        + if faults.has("services-slow") { Duration::from_secs(1) } else { Duration::ZERO };
    let ca = Ca::new()?;
    let control = TcpListener::bind(loopback(0)).await.context("cannot listen on loopback")?;
    let link = Link { control: control.local_addr()?.to_string(), token: crate::tls::random_hex(32)? };
    let omni = Omni::start(clock.clone(), options.release);
    // If a fault makes Omni's container exit, Omni's endpoint is down too.
    let omni_down = Arc::new(AtomicBool::new(faults.stops_omni()));
    let (config, shown, good) = {
        let faults = Arc::clone(&faults);
        ca.server_config_showing(move || fault_effects::leaf(&faults))?
    };
    let front = Arc::new(Front::new(Arc::clone(&faults), Arc::clone(&omni_down), link.clone(), omni.clone()));
    let mut listen = Listen { addr: loopback(0), tls: Some(config), latency };
    let server = serve_front(&listen, &front).await?;
    listen.addr = server.addr();
    let secret = omni.with(|state| state.uuid());
    let mut world = match &options.inventory {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            site::world(&text, &secret).with_context(|| file.display().to_string())?
        }
        None => options.size.world(&secret),
    };
    fill::fill(&options.dir, options.size, &omni, &mut world)?;
    let second_proxmox = match options.second_proxmox {
        true => Some(start_proxmox(&ca, &faults, &clock, latency, options.size.world(&secret)).await?),
        false => None,
    };
    let proxmox = start_proxmox(&ca, &faults, &clock, latency, world).await?;
    let (omni_addr, omni_starts) = (listen.addr, Arc::new(Notify::new()));
    let env = Environment { omni, omni_addr, omni_down, omni_starts, clock, faults: Arc::clone(&faults) };
    let lab = Arc::new(Lab {
        engine: Engine::new(env.clone(), options.dir.join("volumes")),
        options: options.clone(),
        env,
        listen,
        front,
        omni_ca: ca.pem(),
        proxmox,
        second_proxmox,
        link,
        stop: Notify::new(),
        tls: good,
        env_without_keys: OnceLock::new(),
    });
    faults.names().for_each(|name| fault_effects::set_fault(name, true, &faults, &lab.env.omni, lab.sites()));
    let resolver = crate::dns::serve(loopback(0), Arc::clone(&faults)).await?;
    write_project_files(&options.dir, &shown)?;
    let written = write_files(&lab, &secret, resolver)?;
    let power = [false, true].map(|second| tokio::spawn(follow_power_events(Arc::clone(&lab), second)));
    let accepting = tokio::spawn(accept(control, Arc::clone(&lab)));
    // With this fault, nothing listens at Omni's address.
    let server = Some(server).filter(|_| !faults.has("omni-unreachable"));
    let opening = tokio::spawn(run_front(Arc::clone(&lab), server));
    crate::tools::out(&format!("{written}\n"));
    tokio::select! {
        () = signals => {}
        () = lab.stop.notified() => {}
        () = stdin_end(), if options.until_stdin_closes => {}
    }
    accepting.abort();
    power.iter().for_each(tokio::task::JoinHandle::abort);
    opening.abort();
    remove_runtime_files(&options.dir);
    Ok(())
}

/// Waits for the end of stdin. A separate thread reads it, so that the runtime is not blocked.
async fn stdin_end() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = sender.send(());
    });
    let _ = receiver.await;
}

/// Returns a future that completes on SIGINT or SIGTERM.
fn signals() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn prepare(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir.join("bin")).with_context(|| format!("cannot make {}", dir.display()))?;
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(dir, mode).with_context(|| format!("cannot close {} to others", dir.display()))?;
    // The files of a lab that was killed refer to services that no longer exist.
    remove_runtime_files(dir);
    let _ = std::fs::remove_dir_all(dir.join("volumes"));
    Ok(())
}

/// Removes the files that only work while the lab runs.
fn remove_runtime_files(dir: &Path) {
    let own = ["env", "lab.json", "ca.pem", "tls.crt", "tls.key", "omni.asc"];
    for file in own.into_iter().chain(["bin/.lab.json"]) {
        let _ = std::fs::remove_file(dir.join(file));
    }
    for name in ["omnictl", "docker"].iter().chain(node::PROGRAMS) {
        let _ = std::fs::remove_file(dir.join("bin").join(name));
    }
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    crate::tools::write(path, text, 0o600).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the files that the operator of this Omni would have on disk: its certificate and key, and the key of its
/// store. The store key is the same in every lab, because it protects nothing.
fn write_project_files(dir: &Path, tls: &Files) -> Result<()> {
    write_secret(&dir.join("tls.crt"), &tls.chain)?;
    write_secret(&dir.join("tls.key"), &tls.key)?;
    let label = "PGP PRIVATE KEY BLOCK";
    let key = include_str!("omni/store-key.b64");
    write_secret(&dir.join("omni.asc"), &format!("-----BEGIN {label}-----\n\n{key}-----END {label}-----\n"))
}

async fn serve_front(listen: &Listen, front: &Arc<Front>) -> Result<Server> {
    let front = Arc::clone(front);
    http::serve(listen.clone(), move |request| std::future::ready(front.answer(&request))).await
}

/// Runs Omni's front until the future is dropped. If it is not running yet, starts it once no fault prevents that.
async fn run_front(lab: Arc<Lab>, mut server: Option<Server>) {
    while lab.env.faults.has("omni-unreachable") {
        lab.env.omni_starts.notified().await;
    }
    if server.is_none() {
        let opened = serve_front(&lab.listen, &lab.front).await;
        server = opened.inspect_err(|why| crate::tools::err(&format!("lab: {why:#}\n"))).ok();
    }
    std::future::pending::<()>().await;
    drop(server);
}

async fn start_proxmox(
    ca: &Ca,
    faults: &Arc<Faults>,
    clock: &Clock,
    latency: Duration,
    world: World,
) -> Result<Proxmox> {
    let own = Arc::clone(faults);
    let leaf = move || if own.has("proxmox-self-signed") { Leaf::SelfSigned } else { Leaf::Good };
    let options = Listen { addr: loopback(0), tls: Some(ca.server_config_showing(leaf)?.0), latency };
    Proxmox::start(world, options, clock.clone(), Arc::clone(faults)).await
}

fn link_tool(bin: &Path, name: &str, executable: &Path) -> Result<()> {
    let place = bin.join(name);
    std::os::unix::fs::symlink(executable, &place).with_context(|| format!("cannot make {}", place.display()))
}

/// Writes the lab's directory. Returns the line that reports that the lab is ready.
fn write_files(lab: &Lab, secret: &str, resolver: SocketAddr) -> Result<Value> {
    let dir = std::fs::canonicalize(&lab.options.dir)
        .with_context(|| format!("cannot find {}", lab.options.dir.display()))?;
    let bin = dir.join("bin");
    let executable = std::env::current_exe().context("cannot find this program")?;
    write_secret(&bin.join(LINK_FILE), &serde_json::to_string(&lab.link)?)?;
    for name in ["omnictl", "docker"].into_iter().chain(node::PROGRAMS.iter().copied()) {
        if name == "omnictl" && lab.env.faults.has("omnictl-missing") {
            continue;
        }
        link_tool(&bin, name, &executable)?;
    }
    let ca_file = dir.join("ca.pem");
    std::fs::write(&ca_file, &lab.omni_ca).with_context(|| format!("cannot write {}", ca_file.display()))?;
    // These faults are about name resolution, so the endpoint needs a host name.
    let named = ["dns-tailnet-address", "dns-two-addresses", "dns-no-name"].iter().any(|name| lab.env.faults.has(name));
    let domain = format!("{}:{}", if named { "localhost" } else { "127.0.0.1" }, lab.env.omni_addr.port());
    let (omni, mut proxmox) = (format!("https://{domain}"), lab.proxmox.url());
    if lab.env.faults.has("network-proxmox-name") {
        // A host name, so that there is a name that fails to resolve.
        proxmox = proxmox.replace("127.0.0.1", "localhost");
    }
    let second = lab.site(true).map(|site| format!("export LAB_SECOND_PROXMOX='{}'\n", site.url())).unwrap_or_default();
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    // In double quotes, so that readers need no more shell syntax than docker's env files have.
    let escaped =
        |path: &Path| path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    let env = format!(
        "export PATH=\"{}:$PATH\"\nexport OMNI_ENDPOINT='{omni}'\n\
         export PROXMOX_VE_ENDPOINT='{proxmox}'\nexport PROXMOX_VE_API_TOKEN='omni@pve!provider={secret}'\n\
         export SSL_CERT_FILE={}\nexport OMNI_SCALE_DNS='{resolver}'\n{second}",
        escaped(&bin),
        quoted(&ca_file)
    );
    let env_file = dir.join("env");
    write_secret(&env_file, &format!("{env}{}", fault_effects::env_keys(&lab.env.faults, &lab.env.omni)?))?;
    let _ = lab.env_without_keys.set(env);
    let handle = json!({"control": lab.link.control, "token": lab.link.token, "pid": std::process::id(), "proxmox_url": proxmox,
        "omni_endpoint": omni});
    write_secret(&dir.join("lab.json"), &handle.to_string())?;
    Ok(json!({
        "ready": true, "pid": std::process::id(), "env_file": env_file, "proxmox_url": proxmox, "omni_endpoint": omni,
        "omni_domain": domain, "ca_file": ca_file, "bin_dir": bin, "tls_cert": dir.join("tls.crt"),
        "tls_key": dir.join("tls.key"), "store_key": dir.join("omni.asc"),
    }))
}

/// Boots and stops machines as their VMs are powered on and off.
async fn follow_power_events(lab: Arc<Lab>, second: bool) {
    let Some(proxmox) = lab.site(second) else { return };
    let mut events = proxmox.subscribe();
    while let Some(event) = events.recv().await {
        let hardware = proxmox.with(|world| {
            let vm = world.vms.get(&event.vmid)?;
            let disk_gib = world.boot_disk_size(vm) / crate::proxmox::world::GIB;
            let (cores, memory_mib) = (vm.cpus(), vm.memory_mib());
            Some(Hardware { name: event.name.clone(), cores, memory_mib, disk_gib })
        });
        // Without an image that contains a join token, a machine boots but does not join Omni.
        let knows_omni = event.cidata.as_deref().and_then(cidata::token).is_some();
        let never_connects = event.running && lab.env.faults.hit("machine-never-joins");
        lab.env.omni.with(|state| {
            if !event.running {
                machines::power_off(state, &event.uuid);
                return;
            }
            machines::power_on(state, &event.uuid, hardware.unwrap_or_default());
            // An installed machine does not need the image to find Omni.
            let installed = state.store.by_id(CLUSTER_MACHINE, &event.uuid).is_some();
            state.machines.change(&event.uuid, |machine| {
                machine.never_connects = never_connects || !(knows_omni || installed);
                machine.stalls_at = fault_effects::stall_stage(&lab.env.faults);
            });
        });
    }
}

async fn accept(listener: TcpListener, lab: Arc<Lab>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let lab = Arc::clone(&lab);
                tokio::spawn(async move {
                    // A simulated program that is killed closes its connection midway.
                    let _ = serve_connection(stream, &lab).await;
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve_connection(stream: TcpStream, lab: &Lab) -> Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let token: String = match read_line(&mut reader).await? {
        Some(line) => serde_json::from_slice(&line).unwrap_or_default(),
        None => return Ok(()),
    };
    // Both tokens are random and of the same length; this does not guard against guesses over loopback.
    let known = token == lab.link.token;
    while let Some(line) = read_line(&mut reader).await? {
        let mut text = String::new();
        let answer = match (known, serde_json::from_slice::<Request>(&line)) {
            (false, _) => Err(Refusal::Lab("the token is of another lab".to_owned())),
            (true, Err(why)) => Err(Refusal::Lab(format!("this is not a question: {why}"))),
            (true, Ok(ask)) => lab.answer(ask, &mut text).await,
        };
        let line = match answer {
            Ok(value) => format!("{{\"Ok\":{value}}}\n"),
            Err(refused) => serde_json::to_string(&Err::<(), _>(refused))? + "\n",
        };
        writer.write_all((line + &text).as_bytes()).await?;
    }
    Ok(())
}

async fn read_line(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(LINE_LIMIT).read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => bail!("the line is cut off or too long"),
    }
}

impl Lab {
    /// Returns Omni's response. With `printed`, a list is written there as omnictl prints it, and its length is returned.
    fn call_omni(&self, key: Option<&str>, call: OmniCall, printed: Option<&mut String>) -> Result<String, Refusal> {
        self.env.omni.with(|state| {
            let caller = access::authenticate(state, key)?;
            if let Some(refused) = fault_effects::before_call(&self.env.faults, state, &call) {
                return Err(refused.into());
            }
            match (printed, &call) {
                (Some(text), OmniCall::List { typ, namespace, terms }) => {
                    let found = api::list(state, &caller, typ, namespace, terms)?;
                    *text = state.store.print(&found);
                    Ok(text.len().to_string())
                }
                _ => Ok(api::call(state, &caller, call)?),
            }
        })
    }

    /// Returns the first or the second Proxmox; `None` if this lab has no second one.
    fn site(&self, second: bool) -> Option<&Proxmox> {
        if second { self.second_proxmox.as_ref() } else { Some(&self.proxmox) }
    }

    fn sites(&self) -> impl Iterator<Item = &Proxmox> {
        std::iter::once(&self.proxmox).chain(&self.second_proxmox)
    }

    /// Handles a request and returns the response in JSON; `text` is sent after that line.
    async fn answer(&self, request: Request, text: &mut String) -> Result<String, Refusal> {
        let refused = |why: String| Err(Refusal::Lab(why));
        let answer = match request {
            Request::Start { program, argv } => {
                tokio::time::sleep(self.listen.latency).await;
                json!(self.start(&program, &argv))
            }
            Request::Omni { key, call } => return self.call_omni(key.as_deref(), *call, None),
            Request::Print { key, call } => return self.call_omni(key.as_deref(), *call, Some(text)),
            Request::Engine(ask) => return self.engine.answer(*ask).await.map_err(Refusal::Engine),
            Request::Change { after, within_ms } => {
                let mut revision = self.env.omni.subscribe();
                let within = Duration::from_millis(within_ms.min(600_000));
                let wait = async {
                    loop {
                        let now = *revision.borrow_and_update();
                        if now > after || revision.changed().await.is_err() {
                            return now;
                        }
                    }
                };
                json!(tokio::time::timeout(within, wait).await.unwrap_or(after))
            }
            Request::Dump => self.dump(),
            Request::Node { name, online } => {
                let of_second = name.strip_prefix("second/");
                let site = self.site(of_second.is_some());
                if !site.is_some_and(|site| site.with(|it| it.set_node_online(of_second.unwrap_or(&name), online))) {
                    return refused(format!("there is no node `{name}`"));
                }
                Value::Null
            }
            Request::OnNode { second, verb, path, args } => {
                match self.site(second).map(|site| site.as_root(&verb, path, args)) {
                    Some(Ok(_)) => Value::Null,
                    Some(Err(why)) => return refused(format!("{} {}", why.status, why.reason)),
                    None => return refused("this lab has one Proxmox".to_owned()),
                }
            }
            Request::Heal { name } => match self.heal(&name) {
                Ok(()) => Value::Null,
                Err(why) => return refused(format!("{why:#}")),
            },
            Request::Stop => {
                self.stop.notify_one();
                Value::Null
            }
        };
        Ok(answer.to_string())
    }

    /// Ends a fault and reverts its effect on the simulated services. Changes made by others in the meantime stay.
    fn heal(&self, name: &str) -> Result<()> {
        let keys = faults::table().iter().any(|fault| fault.name == name && fault.group == "keys");
        if !self.env.faults.was_given(name) {
            bail!("the fault `{name}` is not one of this lab");
        }
        self.env.faults.end(name);
        self.env.omni_starts.notify_one();
        fault_effects::set_fault(name, false, &self.env.faults, &self.env.omni, self.sites());
        if self.engine.has_no_omni() {
            self.env.omni_down.store(false, Ordering::Relaxed);
        }
        if name == "omnictl-missing" {
            link_tool(
                &self.options.dir.join("bin"),
                "omnictl",
                &std::env::current_exe().context("cannot find this program")?,
            )?;
        }
        if fault_effects::leaf(&self.env.faults) == Leaf::Good {
            write_project_files(&self.options.dir, &self.tls)?;
        }
        if keys {
            let keys = fault_effects::env_keys(&self.env.faults, &self.env.omni)?;
            write_secret(
                &self.options.dir.join("env"),
                &format!("{}{}", self.env_without_keys.get().map_or("", String::as_str), keys),
            )?;
        }
        Ok(())
    }

    fn start(&self, program: &str, argv: &[String]) -> Start {
        let omnictl = program == "omnictl";
        if omnictl {
            fault_effects::disturb_compared_cluster(&self.env.faults, &self.env.omni, &self.proxmox, argv);
        }
        let online =
            omnictl && !argv.iter().any(|arg| matches!(arg.as_str(), "--version" | "-v" | "validate" | "render"));
        Start {
            release: self.env.omni.with(|state| state.release),
            omni_port: self.listen.addr.port(),
            omni_ca: if self.env.faults.has("omni-unknown-ca") { String::new() } else { self.omni_ca.clone() },
            busy_ms: self.options.tool_start_ms,
            html: online && self.env.faults.has("omni-html"),
            omni_down: self.env.omni_down.load(Ordering::Relaxed),
            omni_tls: fault_effects::tls_cause(fault_effects::leaf(&self.env.faults)).map(str::to_owned),
            faults: if online || !omnictl {
                fault_effects::faults_of_tool(&self.env.faults, program)
            } else {
                Vec::new()
            },
        }
    }

    fn dump(&self) -> Value {
        let (proxmox, second) = (self.proxmox.dump(), self.site(true).map(Proxmox::dump));
        let sites = std::iter::once(&proxmox).chain(&second);
        let vms: Vec<Value> = sites.flat_map(|site| site["vms"].as_array().into_iter().flatten()).cloned().collect();
        let omni = self.env.omni.with(|state| crate::dump::omni(state, &vms));
        json!({
            "proxmox": proxmox,
            "second_proxmox": second,
            "omni": omni,
            "docker": self.engine.dump(),
            "bitten": self.env.faults.triggered(),
        })
    }
}

/// Sends a request to the running lab in `dir` and returns its response.
pub fn ask<T: DeserializeOwned>(dir: &Path, ask: &Request) -> Result<T> {
    let path = dir.join("lab.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("no lab runs in {}: {} is not there", dir.display(), path.display()))?;
    let link: Link = serde_json::from_str(&text).with_context(|| format!("{} is broken", path.display()))?;
    Client::open(&link)?.ask(ask)
}

/// Waits until the lab in `dir` has removed its files. Fails after five seconds.
pub fn wait_for_end(dir: &Path) -> Result<()> {
    for _ in 0..500 {
        if !dir.join("lab.json").exists() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("the lab in {} has not ended within 5 s", dir.display())
}
