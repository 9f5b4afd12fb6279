//! The provider's queue: one worker handles one request at a time, and decides when each is handled again
//! (siderolabs/omni client v1.5.0-beta.2 pkg/infra/controllers/provision.go).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Provider;
use super::release::ProviderRelease;
use super::steps::{MachineRequest, MachineState, Stop};
use crate::omni::names::*;
use crate::omni::requests::release;
use crate::omni::resource::{Key, Resource};
use crate::omni::state::State;

/// The retry interval of a failed step.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The stage of a failed machine request (omni client/api/omni/specs: MachineRequestStatusSpec.Stage).
const FAILED: u64 = 3;

/// A queued request.
#[derive(Clone, Debug)]
struct QueuedRequest {
    due: Duration,
    order: u64,
    tearing: bool,
}

/// The requests and their order.
#[derive(Debug, Default)]
struct Queue {
    items: BTreeMap<String, QueuedRequest>,
    /// Due time, order and ID: one entry per item.
    schedule: BTreeSet<(Duration, u64, String)>,
    order: u64,
}

impl Queue {
    /// Adds new requests, requeues those that are now torn down, and drops those that are gone.
    fn update(&mut self, requests: &[(String, bool)], now: Duration) {
        let known: BTreeSet<&str> = requests.iter().map(|(id, _)| id.as_str()).collect();
        let gone: Vec<String> = self.items.keys().filter(|id| !known.contains(id.as_str())).cloned().collect();
        for id in gone {
            self.take(&id);
        }
        for (id, tearing) in requests {
            if self.items.get(id).is_none_or(|item| item.tearing != *tearing) {
                self.put(id, QueuedRequest { due: now, order: 0, tearing: *tearing });
            }
        }
    }

    fn take(&mut self, id: &str) -> Option<QueuedRequest> {
        let item = self.items.remove(id)?;
        self.schedule.remove(&(item.due, item.order, id.to_owned()));
        Some(item)
    }

    /// Inserts an item behind all others with the same due time.
    fn put(&mut self, id: &str, item: QueuedRequest) {
        self.take(id);
        self.order += 1;
        let item = QueuedRequest { order: self.order, ..item };
        self.schedule.insert((item.due, item.order, id.to_owned()));
        self.items.insert(id.to_owned(), item);
    }

    fn next(&self) -> Option<(Duration, &str)> {
        self.schedule.first().map(|(due, _, id)| (*due, id.as_str())).filter(|(due, _)| *due < Duration::MAX)
    }
}

enum StepOutcome {
    Done,
    RetryAfter(Duration),
    Failed(String, Duration),
    /// Somebody else has to act first; retried after the next change.
    Blocked,
}

impl Provider {
    /// Handles requests until it is dropped.
    pub(super) async fn run_queue(&self) {
        let mut changes = self.env.omni.subscribe();
        let (mut queue, mut changed) = (Queue::default(), true);
        loop {
            let now = self.env.clock.elapsed();
            if changed || changes.has_changed().unwrap_or(true) {
                changed = false;
                changes.borrow_and_update();
                queue.update(&self.requests(), now);
            }
            let next = queue.next();
            let Some(id) = next.filter(|(due, _)| *due <= now).map(|(_, id)| id.to_owned()) else {
                let wait =
                    next.map_or(Duration::from_secs(3600), |(due, _)| self.env.clock.real(due.saturating_sub(now)));
                // Waits for whichever comes first. A closed channel means that Omni is gone, and the container with it.
                changed = tokio::time::timeout(wait, changes.changed()).await.is_ok();
                continue;
            };
            let begun = Instant::now();
            let outcome = self.reconcile(&id).await;
            let busy = begun.elapsed().as_secs_f64();
            let Some(mut item) = queue.take(&id) else { continue };
            let now = self.env.clock.elapsed();
            let caller = "qruntime/qruntime.go:310";
            match outcome {
                StepOutcome::Done => {
                    item.due = Duration::MAX;
                    self.log(&id, "info", caller, "reconcile succeeded", &[("busy", busy.into())]);
                }
                StepOutcome::RetryAfter(wait) => {
                    item.due = now + wait;
                    let fields =
                        [("busy", busy.into()), ("interval", json!(wait.as_secs())), ("requeued", true.into())];
                    self.log(&id, "info", caller, "reconcile succeeded", &fields);
                }
                StepOutcome::Blocked => (item.due, item.tearing) = (Duration::MAX, false),
                StepOutcome::Failed(why, wait) => {
                    item.due = now + wait;
                    // Only a failed step is requeued; a failed teardown backs off (cosi-project/runtime v1.16.2
                    // pkg/controller/runtime/internal/qruntime/qruntime.go:309).
                    let mut fields =
                        vec![("error", why.into()), ("interval", json!(wait.as_secs())), ("busy", busy.into())];
                    if !self.is_torn_down(&id) {
                        fields.push(("requeued", true.into()));
                    }
                    self.log(&id, "error", "qruntime/qruntime.go:321", "reconcile failed", &fields);
                }
            }
            queue.put(&id, item);
        }
    }

    /// Returns true if the request is being torn down.
    fn is_torn_down(&self, id: &str) -> bool {
        self.env.omni.with(|state| state.store.get(MACHINE_REQUEST, INFRA, id).is_some_and(Resource::tearing_down))
    }

    /// Returns the requests for this provider in order of creation, and whether each is being torn down.
    fn requests(&self) -> Vec<(String, bool)> {
        self.env.omni.with(|state| {
            let all = state.store.list(MACHINE_REQUEST, INFRA);
            let mut own: Vec<&Resource> =
                all.filter(|request| request.label(L_PROVIDER) == Some(&self.settings.id)).collect();
            own.sort_by_key(|request| request.md.sequence);
            own.into_iter().map(|request| (request.md.id.clone(), request.tearing_down())).collect()
        })
    }

    fn finalizer(&self) -> String {
        format!("{}.ProvisionController", self.settings.id)
    }

    async fn reconcile(&self, id: &str) -> StepOutcome {
        let found = self.env.omni.with(|state| state.store.get(MACHINE_REQUEST, INFRA, id).cloned());
        let Some(found) = found else { return StepOutcome::Done };
        if found.tearing_down() {
            return self.tear_down(id).await;
        }
        let (stage, started) = self.env.omni.with(|state| {
            state.store.add_finalizers(&found.key(), [self.finalizer().as_str()]);
            if let Some(status) = state.store.get(MACHINE_REQUEST_STATUS, INFRA, id) {
                return (status.spec["stage"].as_u64().unwrap_or(0), false);
            }
            let status = put_status(state, &found, &self.finalizer(), json!({"stage": 1}));
            let key = machine_key(&self.settings.id, id);
            if state.store.find(&key).is_none() {
                let empty =
                    Resource::new(&key.typ, &key.namespace, id, spec_of(&MachineState::default()), state.store.now());
                state.store.put(empty);
            }
            state.touch(&status);
            (1, true)
        });
        if started {
            let fields = [("request_id", id.into())];
            self.log(id, "info", "controllers/provision.go:403", "machine provision started", &fields);
        }
        if stage == 2 {
            return StepOutcome::Done;
        }
        self.provision(id, &found).await
    }

    async fn provision(&self, id: &str, found: &Resource) -> StepOutcome {
        let mut state = self.load(id);
        let steps = self.settings.release.steps();
        let request = match parse_request(found) {
            Ok(request) => request,
            Err(why) => return self.record_failure(id, steps[0], why),
        };
        let first = steps.iter().position(|step| *step == state.step).unwrap_or(0);
        for (number, step) in steps.iter().enumerate().skip(first) {
            self.log(id, "info", "controllers/provision.go:309", "running provision step", &[("step", (*step).into())]);
            let mut next_state = state.clone();
            let outcome = self.step(step, &request, &mut next_state).await;
            if let Err(Stop::Failed(why)) = outcome {
                return self.record_failure(id, step, why);
            }
            next_state.step = (*step).to_owned();
            state = next_state;
            let shown = format!("Running Step: {step:?} ({}/{})", number + 1, steps.len());
            self.store(id, &state, 1, &shown);
            if let Err(Stop::Later(wait)) = outcome {
                return StepOutcome::RetryAfter(wait);
            }
        }
        self.log(id, "info", "controllers/provision.go:360", "machine provision finished", &[]);
        self.store(id, &state, 2, "Provision Complete");
        StepOutcome::Done
    }

    fn record_failure(&self, id: &str, step: &str, why: String) -> StepOutcome {
        let fields = [("error", why.clone().into()), ("step", step.into())];
        self.log(id, "error", "controllers/provision.go:339", "machine provision failed", &fields);
        if self.settings.release >= ProviderRelease::V0_2 {
            // Earlier clients set the stage on a copy that was never written.
            self.update_status(id, |spec| {
                spec["stage"] = FAILED.into();
                spec["error"] = why.as_str().into();
            });
        }
        StepOutcome::Failed(why, RETRY_INTERVAL)
    }

    fn load(&self, id: &str) -> MachineState {
        let key = machine_key(&self.settings.id, id);
        let found = self.env.omni.with(|state| state.store.find(&key).map(|found| found.spec.clone()));
        found.and_then(|spec| serde_json::from_value(spec).ok()).unwrap_or_default()
    }

    /// Stores the state of a machine, and shows the progress in the request's status.
    fn store(&self, id: &str, machine: &MachineState, stage: u64, shown: &str) {
        let key = machine_key(&self.settings.id, id);
        self.env.omni.with(|state| state.store.modify(&key, |resource| resource.spec = spec_of(machine)));
        self.update_status(id, |spec| {
            spec["id"] = machine.uuid.clone().into();
            spec["stage"] = stage.into();
            spec["status"] = shown.into();
            if spec["error"].is_string() {
                spec["error"] = "".into();
            }
        });
    }

    /// Changes the status that Omni shows for a machine request.
    fn update_status(&self, id: &str, change: impl FnOnce(&mut Value)) {
        self.env.omni.with(|state| {
            let status = Key::new(MACHINE_REQUEST_STATUS, INFRA, id);
            state.store.modify(&status, |resource| change(&mut resource.spec));
            if let Some(status) = state.store.find(&status).cloned() {
                state.touch(&status);
            }
        });
    }

    async fn tear_down(&self, id: &str) -> StepOutcome {
        let held = self.env.omni.with(|state| {
            let request = state.store.get(MACHINE_REQUEST, INFRA, id);
            request.is_some_and(|request| request.md.finalizers.contains(&self.finalizer()))
        });
        if !held {
            return StepOutcome::Done;
        }
        // Omni keeps the request's status as long as the machine is in its cluster (machine_request_cleanup.go).
        let uuid = self.load(id).uuid;
        if self.env.omni.with(|state| state.store.by_id(CLUSTER_MACHINE, &uuid).is_some()) {
            return StepOutcome::Blocked;
        }
        self.env.omni.with(|state| release(state, id));
        let machine = self.load(id);
        if let Err(why) = self.deprovision(id, &machine).await {
            return StepOutcome::Failed(why, Duration::from_secs(1));
        }
        self.env.omni.with(|state| {
            state.store.remove(&machine_key(&self.settings.id, id));
            let key = Key::new(MACHINE_REQUEST, INFRA, id);
            state.store.remove_finalizers(&key, |name| name == self.finalizer());
            if let Some(request) = state.store.get(MACHINE_REQUEST, INFRA, id).cloned() {
                state.touch(&request);
            }
        });
        self.log(id, "info", "controllers/provision.go:533", "machine deprovisioned", &[("request_id", id.into())]);
        StepOutcome::Done
    }
}

/// Returns the key of the provider's state of a machine.
fn machine_key(provider: &str, id: &str) -> Key {
    Key::new(&format!("Machine.{provider}.infraprovider.sidero.dev"), &format!("infra-provider:{provider}"), id)
}

/// Stores in Omni what a provider leaves there for a machine that it provisioned long ago.
pub fn store_provisioned(state: &mut State, provider: &str, request: &Resource, machine: &MachineState) {
    let finalizer = format!("{provider}.ProvisionController");
    state.store.add_finalizers(&request.key(), [finalizer.as_str()]);
    put_status(state, request, &finalizer, json!({"id": machine.uuid, "stage": 2, "status": "Provision Complete"}));
    let own = machine_key(provider, &request.md.id);
    let last = MachineState { step: "startVM".to_owned(), ..machine.clone() };
    state.store.put(Resource::new(&own.typ, &own.namespace, &own.id, spec_of(&last), state.store.now()));
}

/// Stores the status of a request in Omni.
fn put_status(state: &mut State, request: &Resource, owner: &str, spec: Value) -> Resource {
    let mut status = state.make(MACHINE_REQUEST_STATUS, INFRA, &request.md.id, spec).with_owner(owner);
    status.md.labels = request.md.labels.clone();
    state.store.put(status.clone());
    state.store.add_finalizers(&status.key(), ["MachineRequestStatusCleanupController"]);
    status
}

fn parse_request(found: &Resource) -> Result<MachineRequest, String> {
    let list = |field: &str| -> Vec<String> {
        let items = found.spec[field].as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let text = found.text("providerdata");
    let data: serde_yaml::Value = serde_yaml::from_str(text).map_err(|why| format!("yaml: {why}"))?;
    let data = serde_json::to_value(data).map_err(|why| why.to_string())?;
    for key in ["cores", "sockets", "memory", "disk_size", "vlan"] {
        if let Some(Value::String(text)) = data.get(key) {
            return Err(format!("yaml: construct errors:\n  line 1: cannot construct !!str `{text}` into int"));
        }
    }
    Ok(MachineRequest {
        id: found.md.id.clone(),
        set: found.label(L_REQUEST_SET).unwrap_or_default().to_owned(),
        data,
        talos: found.text("talosversion").to_owned(),
        extensions: list("extensions"),
        kernel_args: list("kernelargs"),
    })
}

fn spec_of(state: &MachineState) -> Value {
    serde_json::to_value(state).unwrap_or_default()
}
