//! Tasks: work that takes time, identified by a UPID (pve-common `UPID.pm`, pve-manager `API2/Tasks.pm`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::World;
use super::access::split_token;

/// The effect that a task has when it completes. An error is the text after `TASK ERROR:`.
pub type Effect = Box<dyn FnOnce(&mut World, &mut Vec<String>) -> Result<(), String> + Send>;

/// Undoes what a call had prepared for a task that fails before its effect: the configuration of a VM that is not created.
pub fn abandon(world: &mut World, kind: &str, id: &str) {
    if let ("qmcreate", Ok(vmid)) = (kind, id.parse()) {
        world.remove_vm(vmid);
    }
}

/// A task that has yet to run.
pub struct Job {
    pub upid: String,
    /// Duration in simulated time.
    pub takes: Duration,
    /// The effect after that duration.
    pub effect: Effect,
}

/// All tasks by UPID, and the order in which they started.
#[derive(Debug, Default)]
pub struct Tasks {
    by_upid: BTreeMap<String, Task>,
    order: Vec<String>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// `UPID:node:PID:PSTART:STARTTIME:type:id:user:`.
    pub upid: String,
    /// The node that the task runs on.
    pub node: String,
    pub pid: u32,
    /// Start of the process in ticks since the node booted.
    pub pstart: u32,
    /// Unix time of the start.
    pub starttime: u64,
    /// The type: `qmcreate`, `download`, …
    pub kind: String,
    /// The object: a VM ID, a storage, a file, or empty.
    pub id: String,
    /// The user or full token ID that started it.
    pub auth: String,
    /// Unix time of the end, and `OK`, `WARNINGS: n` or the error; `None` while the task is running.
    pub end: Option<(u64, String)>,
    pub log: Vec<String>,
}

impl Tasks {
    /// Starts a task and returns its UPID.
    pub fn begin(&mut self, node: &str, kind: &str, id: &str, auth: &str, now: u64) -> String {
        let number = self.order.len() as u32;
        let pid = 0x1000 + number % 0x3f_0000;
        // A tick is a hundredth of a second; adding the number distinguishes tasks that start in the same second.
        let pstart = (now as u32).wrapping_mul(100).wrapping_add(number);
        let upid = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{now:08X}:{kind}:{id}:{auth}:");
        let task = Task {
            upid: upid.clone(),
            node: node.to_owned(),
            pid,
            pstart,
            starttime: now,
            kind: kind.to_owned(),
            id: id.to_owned(),
            auth: auth.to_owned(),
            end: None,
            log: Vec::new(),
        };
        self.by_upid.insert(upid.clone(), task);
        self.order.push(upid.clone());
        upid
    }

    /// Returns a task by UPID.
    pub fn get(&self, upid: &str) -> Option<&Task> {
        self.by_upid.get(upid)
    }

    /// Ends a task with `OK`, `WARNINGS: n` or an error, and appends the last line to its log.
    pub fn end(&mut self, upid: &str, status: &str, log: Vec<String>, now: u64) {
        let Some(task) = self.by_upid.get_mut(upid).filter(|task| task.end.is_none()) else { return };
        task.log.extend(log);
        let warnings = status.starts_with("WARNINGS: ");
        let last = if status == "OK" || warnings { format!("TASK {status}") } else { format!("TASK ERROR: {status}") };
        task.log.push(last);
        task.end = Some((now, status.to_owned()));
    }

    /// All tasks, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Task> {
        self.order.iter().rev().filter_map(|upid| self.by_upid.get(upid))
    }
}

impl Task {
    /// Whether the task belongs to the caller: the tasks of a token also belong to its user, but not the other way round.
    pub fn belongs_to(&self, auth: &str) -> bool {
        self.auth == auth || split_token(&self.auth).0 == auth
    }

    /// The fields that all representations of a task share.
    pub fn to_json(&self) -> Value {
        let (user, token) = split_token(&self.auth);
        let mut shown = json!({
            "upid": self.upid, "node": self.node, "pid": self.pid, "pstart": self.pstart,
            "starttime": self.starttime, "type": self.kind, "id": self.id, "user": user,
        });
        if let Some(token) = token {
            shown["tokenid"] = token.into();
        }
        shown
    }

    /// The response of `GET …/tasks/{upid}/status`.
    pub fn status_json(&self) -> Value {
        let mut shown = self.to_json();
        match &self.end {
            None => shown["status"] = "running".into(),
            Some((_, exit)) => {
                shown["status"] = "stopped".into();
                shown["exitstatus"] = exit.as_str().into();
            }
        }
        shown
    }

    /// An entry in the response of `GET …/tasks`.
    pub fn list_json(&self) -> Value {
        let mut shown = self.to_json();
        match &self.end {
            None => shown["status"] = "RUNNING".into(),
            Some((at, exit)) => {
                shown["endtime"] = (*at).into();
                shown["status"] = exit.as_str().into();
            }
        }
        shown
    }
}
