//! One file per task, named as the task: load, check, observe, plan, apply, prove, report.

pub mod checking;
pub mod cluster_check;
pub mod cluster_create;
pub mod cluster_plan;
pub mod cluster_status;
pub mod cluster_sync;
pub mod complete;
pub mod completions;
pub mod doctor;
pub mod hub;
pub mod impact;
pub mod known;
pub mod load;
pub mod machineclass_apply;
pub mod machineclass_check;
pub mod machineclass_create;
pub mod obstacle;
pub mod omni_setup;
pub mod omni_status;
pub mod omni_verify;
pub mod omnictl_install;
pub mod provider_setup;
pub mod provider_status;
pub mod provider_verify;
pub mod proxmox_audit;
pub mod proxmox_inventory;
pub mod selector_test;
pub mod stack_down;
pub mod stack_logs;
pub mod stack_up;
pub mod stage;
pub mod stuck;
pub mod triage;
pub mod tsidp_verify;
pub mod workshop;

use serde_json::{Value, json};

/// What a task that succeeded comes to.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub summary: String,
    pub data: Value,
    pub next: Vec<String>,
    /// Changes are pending: exit 3.
    pub pending: bool,
}

impl Outcome {
    /// It is done.
    pub fn done(summary: impl Into<String>) -> Outcome {
        Outcome { summary: summary.into(), data: json!({}), next: Vec::new(), pending: false }
    }

    /// It would be done: a plan, or a difference that was found.
    pub fn pending(summary: impl Into<String>) -> Outcome {
        Outcome { pending: true, ..Outcome::done(summary) }
    }

    /// The data of the JSON document.
    pub fn with(mut self, data: Value) -> Outcome {
        self.data = data;
        self
    }

    /// The data of the JSON document beside what there is: the plan of a dry run stays.
    pub fn and(mut self, data: Value) -> Outcome {
        match (&mut self.data, data) {
            (Value::Object(there), Value::Object(more)) => there.extend(more),
            (there, more) => *there = more,
        }
        self
    }

    /// A command that leads on.
    pub fn next(mut self, command: impl Into<String>) -> Outcome {
        self.next.push(command.into());
        self
    }
}
