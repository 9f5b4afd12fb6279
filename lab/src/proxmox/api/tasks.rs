//! `/nodes/{node}/tasks` (pve-manager 9.2 `API2/Tasks.pm`).

use serde_json::{Value, json};

use super::{Call, Handler};
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::task::Task;

pub(super) const HANDLERS: &[Handler] = &[
    ("GET /nodes/{node}/tasks", list),
    ("GET /nodes/{node}/tasks/{upid}/status", status),
    ("GET /nodes/{node}/tasks/{upid}/log", log),
];

/// The task in the path, if it belongs to the caller or the caller may audit the node.
fn task<'a>(call: &'a Call<'_>) -> Outcome<&'a Task> {
    let upid = call.args.text("upid");
    let node = call.node();
    let task = call.world.tasks.get(&upid).filter(|task| task.node == node);
    let task = task.ok_or_else(|| Refusal::parameter("upid", "no such task"))?;
    if !task.belongs_to(call.auth) {
        call.check(&format!("/nodes/{node}"), &["Sys.Audit"])?;
    }
    Ok(task)
}

fn status(call: &mut Call<'_>) -> Outcome {
    Ok(task(call)?.status_json())
}

fn log(call: &mut Call<'_>) -> Outcome {
    let task = task(call)?;
    let from = call.args.int("start").unwrap_or(0).max(0) as usize;
    let most = call.args.int("limit").unwrap_or(50).max(0) as usize;
    let lines = task.log.iter().enumerate().skip(from).take(if most == 0 { usize::MAX } else { most });
    let mut lines: Vec<Value> = lines.map(|(number, line)| json!({"n": number + 1, "t": line})).collect();
    if lines.is_empty() {
        lines.push(json!({"n": from + 1, "t": "no content"}));
    }
    Ok(lines.into())
}

fn list(call: &mut Call<'_>) -> Outcome {
    let node = call.node();
    let auditor = call.may(&format!("/nodes/{node}"), &["Sys.Audit"]);
    let args = &call.args;
    let source = args.get("source").unwrap_or_else(|| "archive".into());
    let failed = |task: &Task| task.end.as_ref().is_some_and(|(_, exit)| exit != "OK");
    let vmid = args.get("vmid");
    let matches = |task: &&Task| {
        let of_source = match source.as_str() {
            "active" => task.end.is_none(),
            "all" => true,
            _ => task.end.is_some(),
        };
        of_source
            && task.node == node
            && (auditor || task.belongs_to(call.auth))
            && vmid.as_ref().is_none_or(|vmid| task.id == *vmid)
            && (!args.flag("errors") || failed(task))
    };
    let (from, most) = (args.int("start").unwrap_or(0) as usize, args.int("limit").unwrap_or(50) as usize);
    Ok(call.world.tasks.newest().filter(matches).skip(from).take(most).map(Task::list_json).collect())
}
