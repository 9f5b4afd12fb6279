//! Where faults come in: the simulator asks before it answers a request and before it runs a task.

use std::time::Duration;

use super::World;
use crate::http::{Reply, Request};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered in instead of being handled.
    Answer(Reply),
    /// It is handled after so long, at the field's pace.
    Delay(Duration),
}

/// What becomes of a task when its time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskFate {
    /// It does nothing and ends with this error, after these lines of log.
    Fail {
        /// The text after `TASK ERROR:`.
        exitstatus: String,
        log: Vec<String>,
    },
    /// It takes so much longer, at the field's pace, and then does its work.
    Delay(Duration),
    /// It does its work and ends with `WARNINGS: 1` after this line.
    Warn(String),
}

/// What is known of a task that is about to do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    pub upid: String,
    /// The node that it runs on.
    pub node: String,
    /// `qmcreate`, `download`, …
    pub kind: String,
    /// What it is about: a VM id, a storage, a file, or nothing.
    pub id: String,
}

/// Faults for a simulated Proxmox. Those that are given the world are called with it
/// locked: they may change it, and must be quick.
pub trait Hooks: Send + Sync + 'static {
    /// Asked once for every request, before anything is looked at.
    fn request(&self, _request: &Request, _world: &mut World) -> Option<Fate> {
        None
    }

    /// How far the node's own clock is behind, as the dates of its answers show it.
    fn behind(&self) -> Duration {
        Duration::ZERO
    }

    /// Asked once for every task, when its time has come.
    fn task(&self, _task: &TaskInfo, _world: &mut World) -> Option<TaskFate> {
        None
    }
}

/// No faults.
pub struct NoFaults;

impl Hooks for NoFaults {}
