//! The simulated infrastructure provider. It registers with Omni, handles machine requests one at a time, and creates VMs
//! with the same calls, in the same order and with the same errors as the real one
//! (omni-infra-provider-proxmox over siderolabs/omni client pkg/infra). The tag of its image selects its release.

pub mod cidata;
pub mod log;
mod place;
mod pool;
pub mod pve;
pub mod release;
mod requests;
pub mod steps;

pub use requests::store_provisioned;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::go_errors::{self, Endpoint};
use crate::http::Client;
use crate::omni::access::{self, Verb};
use crate::omni::names::{INFRA, INFRA_PROVIDER_STATUS};
use crate::omni::status::Code;
use crate::omni::{Omni, api, keys};
use crate::tls::Ca;
use log::Log;
use place::Ledger;
use pve::Pve;
use release::ProviderRelease;

/// The JSON Schema that the provider registered before its first release (omni-infra-provider-proxmox 0d9fd58
/// cmd/omni-infra-provider-proxmox/data/schema.json).
pub const SCHEMA: &str = include_str!("provider/schema.json");

/// The interval between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How far a wrong clock is behind.
const BEHIND: Duration = Duration::from_secs(600);

/// The settings that the provider was started with.
#[derive(Clone, Default)]
pub struct Settings {
    pub release: ProviderRelease,
    /// `--omni-api-endpoint`
    pub endpoint: String,
    /// `OMNI_SERVICE_ACCOUNT_KEY`
    pub key: String,
    /// `--id`
    pub id: String,
    /// `--config-file`, as a path in the container.
    pub config_path: String,
    /// The contents of the config file, if it can be read.
    pub config: Option<String>,
    /// The certificates in SSL_CERT_FILE, if it is set and readable.
    pub ca: Option<String>,
    /// `--insecure-skip-verify`: Omni's certificate is not verified.
    pub insecure: bool,
    /// `--provider-name`
    pub name: String,
    /// `--provider-description`
    pub description: String,
}

/// The parts of the lab that the provider can reach.
#[derive(Clone)]
pub struct Environment {
    pub omni: Omni,
    /// The address of Omni's HTTPS front.
    pub omni_addr: SocketAddr,
    /// Whether a fault has stopped Omni's container.
    pub omni_down: Arc<AtomicBool>,
    /// Notified when Omni's container starts, which ends the fault that kept its front from listening.
    pub omni_starts: Arc<Notify>,
    pub clock: Clock,
    pub faults: Arc<Faults>,
}

/// A provider that has connected to Omni.
struct Provider {
    settings: Settings,
    env: Environment,
    pve: Pve,
    log: Log,
    join_token: String,
    ledger: Ledger,
}

/// Runs the provider until it fails, and returns its exit code. Dropping the future simulates SIGKILL.
pub async fn run(settings: Settings, env: Environment, log: Log) -> i32 {
    match start(settings, env, &log).await {
        Ok(provider) => provider.run_until_stopped().await,
        Err(why) => {
            log.raw(&format!("Error: {why}"));
            1
        }
    }
}

async fn start(settings: Settings, env: Environment, log: &Log) -> Result<Provider, String> {
    if settings.endpoint.is_empty() {
        return Err("omni-api-endpoint flag is not set".to_owned());
    }
    let unreadable = || format!("failed to read Proxmox config file {:?}", settings.config_path);
    let config = settings.config.as_deref().ok_or_else(unreadable)?;
    let config: serde_yaml::Value = serde_yaml::from_str(config).map_err(|_| unreadable())?;
    if config.is_null() {
        return Err(unreadable());
    }
    let proxmox = config.get("proxmox").cloned().unwrap_or_default();
    let text = |key: &str| match proxmox.get(key) {
        Some(serde_yaml::Value::String(text)) => text.clone(),
        Some(serde_yaml::Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let insecure = proxmox.get("insecureSkipVerify").and_then(serde_yaml::Value::as_bool).unwrap_or(false);
    if insecure {
        log.zap("info", "omni-infra-provider-proxmox/main.go:91", "using insecure connection to Proxmox", &[]);
    }
    if !text("username").is_empty() && !text("password").is_empty() {
        return Err("the lab does not simulate a login with a password: use an API token".to_owned());
    }
    let client = client(settings.ca.as_deref(), insecure)?;
    let pve = Pve {
        client,
        base: text("url"),
        token: format!("{}={}", text("tokenID"), text("tokenSecret")),
        clock: env.clock.clone(),
        faults: Arc::clone(&env.faults),
    };
    log.zap("info", "omni-infra-provider-proxmox/main.go:117", "starting infra provider", &[]);
    dial(&settings, &env).await?;
    register(&settings, &env)?;
    let join_token = crate::tls::random_hex(24).map_err(|why| why.to_string())?;
    Ok(Provider { settings, env, pve, log: log.clone(), join_token, ledger: Ledger::default() })
}

/// Creates a client that trusts what the container trusts: SSL_CERT_FILE, or the public authorities, which exclude the lab's.
fn client(ca: Option<&str>, insecure: bool) -> Result<Client, String> {
    let no_authority = Ca::new().map_err(|why| why.to_string())?.pem();
    let roots =
        if insecure { None } else { Some(ca.filter(|pem| pem.contains("CERTIFICATE")).unwrap_or(&no_authority)) };
    Client::new(roots).map_err(|why| format!("{why:#}"))
}

/// Connects to Omni at the given endpoint, whatever listens there.
async fn dial(settings: &Settings, env: &Environment) -> Result<(), String> {
    if !settings.key.is_empty() {
        let decoded = keys::read(&settings.key);
        decoded.map_err(|why| format!("failed to decode service account key from options: {why}"))?;
    }
    let endpoint = Endpoint::parse(&settings.endpoint)?;
    if env.faults.hit("network-omni-name") {
        return Err(go_errors::grpc_error(&endpoint, "lookup"));
    }
    if env.faults.hit("provider-before-omni") {
        return Err(go_errors::grpc_error(&endpoint, "Connection refused"));
    }
    let scheme = if endpoint.secure { "https" } else { "http" };
    let url = format!("{scheme}://{}:{}/healthz", endpoint.host, endpoint.port);
    let reply = client(settings.ca.as_deref(), settings.insecure)?.request("GET", &url, &[], "").await;
    let reply = reply.map_err(|why| go_errors::grpc_error(&endpoint, &why))?;
    let kind = reply.header("content-type").unwrap_or_default();
    if kind.starts_with("text/html") || endpoint.port != env.omni_addr.port() {
        return Err(go_errors::not_grpc(reply.status, reply.reason(), kind));
    }
    if env.faults.hit("provider-omni-version") {
        // The client's COSI version is newer than the server's.
        return Err("rpc error: code = Unimplemented desc = unknown service cosi.resource.State".to_owned());
    }
    Ok(())
}

fn register(settings: &Settings, env: &Environment) -> Result<(), String> {
    if env.faults.hit("provider-never-registers") {
        return Ok(());
    }
    let key = (!settings.key.is_empty()).then_some(settings.key.as_str());
    let id = settings.id.as_str();
    env.omni.with(|state| {
        let caller = access::authenticate(state, key).map_err(|status| status.to_string())?;
        access::check(state, &caller, Verb::Create, INFRA_PROVIDER_STATUS, INFRA)
            .map_err(|status| status.to_string())?;
        let spec = json!({"schema": settings.release.schema(), "name": settings.name, "description": settings.description, "icon": "…",
            "version": settings.release.version()});
        let mut resource = state.make(INFRA_PROVIDER_STATUS, INFRA, id, spec);
        let call = match state.store.get(INFRA_PROVIDER_STATUS, INFRA, id) {
            Some(old) => {
                resource.md = old.md.clone();
                api::OmniCall::Update(resource)
            }
            None => api::OmniCall::Create(resource),
        };
        api::call(state, &caller, call).map(|_| ()).map_err(|status| status.to_string())
    })
}

impl Provider {
    /// Logs a line about a machine request.
    fn log(&self, id: &str, level: &str, caller: &str, text: &str, fields: &[(&str, Value)]) {
        let controller = format!("{}.ProvisionController", self.settings.id);
        let mut all: Vec<(&str, Value)> = vec![
            ("controller", controller.into()),
            ("namespace", INFRA.into()),
            ("type", "MachineRequests.omni.sidero.dev".into()),
            ("id", id.into()),
            ("job", "reconcile".into()),
        ];
        all.extend(fields.iter().cloned());
        if level == "error" {
            all.push(("stacktrace", STACK.into()));
        }
        self.log.zap(level, caller, text, &all);
    }

    /// Sends a heartbeat. Omni rejects it if the provider's key was destroyed in the meantime (omni v1.4.9, run).
    fn send_heartbeat(&self, behind: Duration) {
        let refused = self.env.omni.with(|state| match access::authenticate(state, Some(&self.settings.key)) {
            Err(status) if status.code == Code::Unauthenticated => Some(status),
            _ => {
                crate::omni::providers::heartbeat(state, &self.settings.id, behind);
                None
            }
        });
        if let Some(status) = refused {
            let fields = [
                ("controller", format!("{}.ProviderHealthStatusController", self.settings.id)),
                ("error", format!("error querying current object state: {status}")),
                ("stacktrace", STACK.to_owned()),
            ];
            let fields = fields.map(|(name, value)| (name, Value::from(value)));
            self.log.zap("error", "rruntime/run.go:56", "controller failed", &fields);
        }
    }

    async fn run_until_stopped(&self) -> i32 {
        let faults = &self.env.faults;
        let silent = faults.has("provider-never-registers");
        let heart = async {
            loop {
                if !silent {
                    self.send_heartbeat(if faults.hit("time-clock-skew") { BEHIND } else { Duration::ZERO });
                }
                self.env.clock.sleep(HEARTBEAT).await;
            }
        };
        let work = async {
            while silent && faults.has("provider-never-registers") {
                self.env.clock.sleep(HEARTBEAT).await;
            }
            if silent {
                // The registration was lost: the provider exits, and is started again.
                return;
            }
            // Boxed, because the future is large and is moved into the select below.
            Box::pin(self.run_queue()).await
        };
        let crash = async {
            if !faults.hit("provider-crashes") {
                std::future::pending::<()>().await;
            }
            self.env.clock.sleep(Duration::from_secs(10)).await;
        };
        let stopped = async {
            let mut changes = self.env.omni.subscribe();
            while !self
                .env
                .omni
                .with(|state| crate::fault_effects::is_provider_stopped(faults, state, &self.settings.id))
            {
                changes.borrow_and_update();
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = heart => 0,
            () = work => 0,
            () = stopped => 0,
            () = crash => {
                self.log.raw(CUT_OFF);
                1
            }
        }
    }
}

/// The last log line of a provider that loses its connection to Omni.
pub const CUT_OFF: &str =
    "Error: controller runtime watch error: rpc error: code = Unavailable desc = error reading from server: EOF";

/// The `stacktrace` of error lines.
const STACK: &str = "github.com/cosi-project/runtime/pkg/controller/runtime/internal/qruntime.(*Adapter).runOnce\n\t\
                     qruntime/qruntime.go:321";
