//! A simulated Proxmox VE: an in-memory cluster behind the HTTP API of the real Proxmox VE.
//!
//! No response is scripted. Each request is authenticated, checked against the privilege model, validated and applied to a
//! [`World`]; work that takes time becomes a task with a UPID. Messages, status lines and rules follow the sources of Proxmox
//! VE 9 (pve-manager 9.2, qemu-server 9.2, pve-storage 9.1, pve-access-control 9.1, pve-common 9.2, pve-http-server 6.0).
//! Everything that omni-infra-provider-proxmox 0d9fd58 and go-proxmox v0.3.2 read is present.

pub mod access;
mod api;
mod front;
mod params;
mod property;
pub mod refusal;
pub mod standalone;
mod task;
mod upload;
mod vmschema;
pub mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock::Clock;
use crate::fault_effects::TaskEffect;
use crate::faults::Faults;
use crate::http::{self, Listen, Server};
use task::Job;

pub use world::{PowerEvent, World};

/// A running simulated Proxmox, which stops when this is dropped.
pub struct Proxmox {
    server: Server,
    shared: Arc<Shared>,
}

/// State shared by requests and tasks.
struct Shared {
    world: Mutex<World>,
    clock: Clock,
    faults: Arc<Faults>,
    subscribers: Mutex<Vec<UnboundedSender<PowerEvent>>>,
}

impl Proxmox {
    /// Starts serving a world. Fails if the address cannot be bound.
    pub async fn start(world: World, listen: Listen, clock: Clock, faults: Arc<Faults>) -> Result<Proxmox> {
        let shared = Arc::new(Shared { world: Mutex::new(world), clock, faults, subscribers: Mutex::default() });
        let serving = Arc::clone(&shared);
        let handler = move |request| {
            let serving = Arc::clone(&serving);
            async move {
                // If all nodes are off, nothing answers.
                let on = serving.with(|world| world.nodes.values().any(|node| node.online));
                if on { Some(front::handle(serving, request).await) } else { None }
            }
        };
        let server = http::serve(listen, handler).await?;
        Ok(Proxmox { server, shared })
    }

    /// `https://127.0.0.1:PORT`, without `/api2/json`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Reads or changes the world, then notifies the subscribers of power changes. `work` must not block, because it holds the
    /// lock that every request needs.
    pub fn with<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        self.shared.with(work)
    }

    /// Subscribes to all power changes from now on, in order and without loss.
    pub fn subscribe(&self) -> UnboundedReceiver<PowerEvent> {
        let (sender, receiver) = unbounded_channel();
        self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Runs an API call as root on a node. The verb `UNLOCK` unlocks a VM, for which the API has no method. `{node}` in the path
    /// stands for the node of the VM in the arguments.
    pub fn as_root(&self, verb: &str, path: String, args: Vec<(String, String)>) -> refusal::Outcome {
        front::as_root(&self.shared, verb, path, args)
    }

    /// The state as `lab dump` shows it.
    pub fn dump(&self) -> Value {
        self.with(|world| world.dump())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.lock();
        let result = work(&mut world);
        let events = world.take_events();
        if !events.is_empty() {
            // The lock is still held, so that events are sent in the order in which they happened.
            let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            subscribers.retain(|subscriber| events.iter().all(|event| subscriber.send(event.clone()).is_ok()));
        }
        result
    }

    /// Runs a task to completion.
    async fn run_job(self: Arc<Shared>, job: Job) {
        self.clock.sleep(job.takes).await;
        let fate = self.with(|world| self.faults.task(&world.tasks.get(&job.upid)?.kind));
        if let Some(TaskEffect::Delay(more)) = &fate {
            self.clock.sleep(*more).await;
        }
        let now = self.clock.unix();
        self.with(|world| {
            world.now = now;
            finish(world, job, fate, now);
        });
    }
}

/// Applies a task's effect, unless the task was stopped, and records its exit status.
fn finish(world: &mut World, job: Job, fate: Option<TaskEffect>, now: u64) {
    let Some(task) = world.tasks.get(&job.upid).filter(|task| task.end.is_none()) else { return };
    let (kind, id) = (task.kind.clone(), task.id.clone());
    let mut log = Vec::new();
    let status = match fate {
        Some(TaskEffect::Fail { exitstatus, log: lines }) => {
            log = lines;
            task::abandon(world, &kind, &id);
            exitstatus
        }
        fate => match (job.effect)(world, &mut log) {
            Err(why) => why,
            Ok(()) => match fate {
                Some(TaskEffect::Warn(line)) => {
                    log.push(format!("WARN: {line}"));
                    "WARNINGS: 1".to_owned()
                }
                _ => "OK".to_owned(),
            },
        },
    };
    world.tasks.end(&job.upid, &status, log, now);
}
