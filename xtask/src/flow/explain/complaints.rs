//! What blocks machine requests: the provider's errors, and the Proxmox tasks behind them.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::{MAX_TASK_LOOKUPS, OutsideFacts, add_issue};
use crate::flow::{machine_replacement, provider_log, proxmox, timeline};
use check::explain::{Cause, DELETE, Facts, Link};
use domain::status::cluster::{Actor, MachineView};
use runtime::cx::Cx;
use runtime::tool::omnictl::Omnictl;
use runtime::triage::Issues;

/// The provider never looks again at a failed task of these types (its issue 83): only a new request helps.
const DEAD_ENDS: &[&str] = &["qmcreate", "qmstart"];

/// Returns what blocks each machine request, according to the provider's log, Omni, or the Proxmox task behind it.
pub(super) fn request_causes(
    cx: &Cx,
    omnictl: Option<&Omnictl<'_>>,
    facts: &Facts,
    around: &OutsideFacts,
) -> BTreeMap<String, Cause> {
    let (Some(view), Ok(issues)) = (&facts.view, Issues::of(cx)) else { return BTreeMap::new() };
    let logs = around.sites.iter().map(|site| site.log.as_str()).collect::<Vec<_>>().join("\n");
    let errors = provider_log::errors(&logs, &view.name);
    let (mut found, mut failed) = (BTreeMap::new(), None::<Cause>);
    let mut asked = 0;
    // Before 1.7, Omni owns the machine requests and no user can delete one; machine-replace handles that.
    let owned = OnceCell::new();
    let replace = |request: &str| {
        let ask = || omnictl.is_some_and(|omnictl| machine_replacement::omni_owns(omnictl, request).unwrap_or(false));
        if *owned.get_or_init(ask) {
            format!("cargo xtask machine-replace {request}")
        } else {
            format!("{DELETE}{request}")
        }
    };
    for machine in view.machines().filter(|machine| machine.party == Actor::Provider && !machine.request.is_empty()) {
        let own: Vec<_> = errors.iter().filter(|(line, _)| line.id == machine.request).cloned().collect();
        let said = provider_log::most_informative(&own, &issues);
        let (error, raw, step) = match &said {
            Some((line, raw)) => (line.error.as_str(), raw.as_str(), line.step.as_str()),
            None => (machine.error.as_str(), machine.error.as_str(), ""),
        };
        // The task for an image may have failed although no error is shown: the provider retries it with another message.
        let image = error.is_empty() && machine.step == "uploadISO";
        if error.ends_with("stopped") || image {
            asked += 1;
            let looked = || find_failed_task(cx, around, facts, &issues, (machine, asked == 1), &replace);
            // Machines beyond the limit are assumed to wait for the same cause, if one was found.
            let own = if asked <= MAX_TASK_LOOKUPS { looked() } else { None };
            let cause = own.or_else(|| failed.clone());
            if let Some(cause) = cause {
                failed.get_or_insert_with(|| cause.clone());
                found.insert(machine.request.clone(), cause);
                continue;
            }
        }
        if error.is_empty() {
            continue;
        }
        let at = if step.is_empty() { String::new() } else { format!(" at {step}") };
        let words = format!("the provider cannot continue{at} with {}: {error}", machine.request);
        let otherwise =
            ("fix the reported error; the provider retries by itself", "cargo xtask provider-status".to_owned());
        found.insert(
            machine.request.clone(),
            issue_cause(&issues, (Link::ProviderStep, "provider-error"), raw, words, otherwise),
        );
    }
    found
}

/// Returns a cause, with the known issue that `text` shows, if any.
fn issue_cause(
    issues: &Issues,
    (link, id): (Link, &str),
    text: &str,
    words: String,
    otherwise: (&str, String),
) -> Cause {
    let cause = Cause::new(link, id, words).lasting(false).fix(otherwise.0, otherwise.1);
    add_issue(cause, issues.find(text).first())
}

/// Finds the failed Proxmox task of this machine: that of its VM; without a VM, that of the image, whose ID the provider logs, or
/// the newest failed creation on the node in the provider's log, because it creates one machine at a time (omni v1.9.3
/// `client/pkg/infra/infra.go`). If the log no longer shows the node, all nodes are searched, but only for the `first` machine.
fn find_failed_task(
    cx: &Cx,
    around: &OutsideFacts,
    facts: &Facts,
    issues: &Issues,
    (machine, first): (&MachineView, bool),
    replace: &dyn Fn(&str) -> String,
) -> Option<Cause> {
    let (request, site) = (&machine.request, around.site(&machine.provider)?);
    let proxmox = site.proxmox.as_ref().ok()?;
    let (node, image) = provider_log::placement(&site.log, request);
    let vm = facts.vms.known().and_then(|vms| vms.get(request));
    let fetches = ["uploadISO", "createSchematic"].contains(&machine.step.as_str());
    let upid = match image.filter(|_| fetches) {
        Some(upid) => upid,
        None => {
            let nodes = match (vm, node) {
                (Some(vm), _) => vec![vm.node.clone()],
                (None, Some(node)) => vec![node],
                (None, None) if first => proxmox::online_nodes(cx, proxmox).ok()?,
                (None, None) => return None,
            };
            timeline::newest_failed(cx, proxmox, &nodes, vm, if fetches { "download" } else { "qmcreate" })?
        }
    };
    let node = upid.split(':').nth(1)?;
    let paths = ["status", "log?limit=500"].map(|part| format!("/nodes/{node}/tasks/{upid}/{part}"));
    let mut answers = proxmox.get_all(cx, "reading the log of a task", &paths).into_iter();
    let (status, log) = (answers.next()?.ok()?, answers.next()?.unwrap_or_default());
    let ended = status["exitstatus"].as_str().filter(|ended| *ended != "OK")?;
    let lines: Vec<&str> = log.as_array()?.iter().filter_map(|line| line["t"].as_str()).collect();
    let last: Vec<&str> = lines[lines.len().saturating_sub(6)..].iter().map(|line| line.trim()).collect();
    let task = status["type"].as_str().unwrap_or("task");
    let id = status["id"].as_str().and_then(|id| id.parse::<u64>().ok());
    let of = id.map_or(String::new(), |id| format!(" of VM {id}"));
    let words = format!("the task {task}{of} on {node} ended with `{ended}`, and {request} waits for it");
    let whole = format!("{}\nTASK ERROR: {ended}", last.join("\n"));
    let otherwise = ("fix the error in the task's log", "cargo xtask provider-status".to_owned());
    let mut cause = issue_cause(issues, (Link::ProxmoxTask, "proxmox-task"), &whole, words, otherwise);
    let said: Vec<&str> = last.into_iter().filter(|line| !line.starts_with("TASK ")).collect();
    cause.evidence = said.join(" | ");
    if let Some(id) = id {
        let id = id.to_string();
        cause.fix = cause.fix.replace("VMID", &id);
        cause.next.iter_mut().for_each(|next| *next = next.replace("VMID", &id));
    }
    if DEAD_ENDS.contains(&task) && !machine.leaving {
        let fix = cause.fix.trim_end_matches('.');
        cause.fix = format!(
            "{fix}. The provider never checks this task again: when the cause is fixed, replace the machine request"
        );
        // A VM that was not created reserves no ID (omni-infra-provider-proxmox 0d9fd58 `provision.go` deletes by ID alone).
        if task == "qmcreate" {
            cause.fix.push_str(". This also deletes the VM that has its ID by then: if several were not created and nothing runs in the cluster, delete the cluster instead");
        }
        cause.next.push(replace(request));
    }
    Some(cause)
}
