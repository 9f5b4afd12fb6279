//! `/nodes/{node}/tasks` (pve-manager 9.2 `API2/Tasks.pm`).

use serde_json::{Value, json};

use super::{Call, Method, Needs};
use crate::proxmox::params::{ANY, Kind, optional};
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::task::{Task, abandon, is_upid};

pub(super) const METHODS: &[Method] = &[
    Method::new("GET", "/nodes/{node}/tasks", Needs::Anyone, list).on_node().with(&[
        optional("start", Kind::Int(0, ANY)),
        optional("limit", Kind::Int(0, ANY)),
        optional("userfilter", Kind::Text(128)),
        optional("typefilter", Kind::Text(128)),
        optional("vmid", Kind::Int(100, 999_999_999)),
        optional("errors", Kind::Bool),
        optional("source", Kind::Enum(&["archive", "active", "all"])),
        optional("since", Kind::Int(0, ANY)),
        optional("until", Kind::Int(0, ANY)),
        optional("statusfilter", Kind::Text(128)),
    ]),
    Method::new("GET", "/nodes/{node}/tasks/{upid}", Needs::Anyone, index),
    Method::new("DELETE", "/nodes/{node}/tasks/{upid}", Needs::Anyone, stop).on_node(),
    Method::new("GET", "/nodes/{node}/tasks/{upid}/status", Needs::Anyone, status).on_node(),
    Method::new("GET", "/nodes/{node}/tasks/{upid}/log", Needs::Anyone, log)
        .on_node()
        .with(&[optional("start", Kind::Int(0, ANY)), optional("limit", Kind::Int(0, ANY))]),
];

/// The task in the path, if it is the caller's own or the caller has the privilege on the node.
fn task<'a>(call: &'a Call<'_>, privilege: &str) -> Outcome<&'a Task> {
    let upid = call.args.text("upid");
    if !is_upid(&upid) {
        return Err(Refusal::parameter("upid", "unable to parse worker upid"));
    }
    let node = call.node();
    let task = call.world.tasks.get(&upid).filter(|task| task.node == node);
    let task = task.ok_or_else(|| Refusal::parameter("upid", "no such task"))?;
    if !task.belongs_to(call.auth) {
        call.check(&format!("/nodes/{node}"), &[privilege])?;
    }
    Ok(task)
}

fn index(_: &mut Call<'_>) -> Outcome {
    Ok(json!([{"name": "log"}, {"name": "status"}]))
}

fn status(call: &mut Call<'_>) -> Outcome {
    Ok(task(call, "Sys.Audit")?.status_json())
}

fn log(call: &mut Call<'_>) -> Outcome {
    let task = task(call, "Sys.Audit")?;
    let from = call.args.int("start").unwrap_or(0).max(0) as usize;
    let most = call.args.int("limit").unwrap_or(50).max(0) as usize;
    let lines = task.log.iter().enumerate().skip(from).take(if most == 0 { usize::MAX } else { most });
    let mut lines: Vec<Value> = lines.map(|(number, line)| json!({"n": number + 1, "t": line})).collect();
    let total = task.log.len();
    if lines.is_empty() {
        lines.push(json!({"n": from + 1, "t": "no content"}));
    }
    call.total = Some(total);
    Ok(lines.into())
}

/// Stops a task that runs; one that has ended is left as it is.
fn stop(call: &mut Call<'_>) -> Outcome {
    let task = task(call, "Sys.Modify")?;
    let (upid, kind, id) = (task.upid.clone(), task.kind.clone(), task.id.clone());
    if task.end.is_none() {
        abandon(call.world, &kind, &id);
        call.world.tasks.end(&upid, "interrupted by signal", Vec::new(), call.now);
    }
    Ok(Value::Null)
}

fn list(call: &mut Call<'_>) -> Outcome {
    let node = call.node();
    let auditor = call.may(&format!("/nodes/{node}"), &["Sys.Audit"]);
    let args = &call.args;
    let source = args.get("source").unwrap_or_else(|| "archive".into());
    let status_of = |task: &Task| match &task.end {
        None => "unknown",
        Some((_, exit)) if exit == "OK" => "ok",
        Some((_, exit)) if exit.starts_with("WARNINGS: ") => "warning",
        Some(_) => "error",
    };
    let statuses = args.list("statusfilter");
    let vmid = args.get("vmid");
    let user = args.get("userfilter").map(|user| user.to_lowercase());
    let matches = |task: &&Task| {
        let running = task.end.is_none();
        let of_source = match source.as_str() {
            "active" => running,
            "all" => true,
            _ => !running,
        };
        let start = task.starttime as i64;
        of_source
            && task.node == node
            && (auditor || task.belongs_to(call.auth))
            && user.as_ref().is_none_or(|user| task.auth.to_lowercase().contains(user))
            && args.get("typefilter").is_none_or(|kind| task.kind == kind)
            && vmid.as_ref().is_none_or(|vmid| task.id == *vmid)
            && args.int("since").is_none_or(|since| start >= since)
            && args.int("until").is_none_or(|until| start <= until)
            && (!args.flag("errors") || status_of(task) != "ok")
            && (statuses.is_empty() || statuses.iter().any(|status| status.eq_ignore_ascii_case(status_of(task))))
    };
    let found: Vec<&Task> = call.world.tasks.newest().filter(matches).collect();
    let (from, most) = (args.int("start").unwrap_or(0) as usize, args.int("limit").unwrap_or(50) as usize);
    let total = found.len();
    let shown: Vec<Value> = found.into_iter().skip(from).take(most).map(Task::list_json).collect();
    call.total = Some(total);
    Ok(shown.into())
}
