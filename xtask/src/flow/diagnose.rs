//! Why machines do not come or go: Omni shows how far the provider is, and not what keeps it. The provider's own log does,
//! and where that says no more than `stopped`, the log of the task in Proxmox.
//!
//! Best effort, after something else has failed: what cannot be asked is left out.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use domain::failure::Failure;
use domain::status::cluster::{ClusterView, MachineSetView, MachineView, Party};
use runtime::cx::Cx;
use runtime::tool::compose::{Compose, PROVIDER};
use runtime::tool::proxmox::Proxmox;
use runtime::triage::Issues;

use crate::flow::proxmox;

/// As many lines as a provider with a dozen requests writes in an hour of retries.
const TAIL: u32 = 400;
/// The tasks that the provider begins (omni-infra-provider-proxmox 0d9fd58 internal/pkg/provider/provision.go).
const TASKS: &[&str] = &["download", "imgcopy", "qmcreate", "qmconfig", "qmstart", "qmstop", "qmdestroy", "imgdel"];
/// The provider never looks again at a task of these that failed (its issue 83): only a new request helps.
const DEAD_ENDS: &[&str] = &["qmcreate", "qmstart"];

/// An error line of the provider (zap's JSON).
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
struct ProviderError {
    #[serde(default)]
    level: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    step: String,
}

/// A task of the provider in Proxmox that did not end with `OK`.
struct FailedTask {
    kind: String,
    id: String,
    node: String,
    status: String,
    log: Vec<String>,
}

/// `failure` with what keeps the machines of the cluster, as far as it can be found out. `view` is what Omni showed last.
pub fn explain(cx: &Cx, mut failure: Failure, cluster: &str, view: Option<&ClusterView>) -> Failure {
    let Ok(issues) = Issues::of(cx) else { return failure };
    let log = Compose::find(cx).and_then(|compose| compose.log(PROVIDER, TAIL)).unwrap_or_default();
    let error = most_specific(&errors(&log, cluster), &issues);
    // An image that does not come is retried with a word that is not an error.
    let images = view.is_some_and(|view| view.machines().any(|machine| machine.waits_for.contains("uploadISO")));
    if let Some((line, raw)) = &error {
        let step = if line.step.is_empty() { String::new() } else { format!(" at {}", line.step) };
        failure.cause.push_str(&format!("\nthe provider cannot go on{step} with {}: {}", line.id, line.error));
        if line.error != "stopped" {
            return known(failure, &issues, raw);
        }
    } else if !images {
        return waits(failure, view);
    }
    let failed = proxmox::configured(cx).ok().and_then(|proxmox| last_failed(cx, &proxmox));
    let Some(failed) = failed else { return failure };
    let task = format!("{} {} on {}", failed.kind, failed.id, failed.node);
    failure.cause.push_str(&format!("\nthe task {} in Proxmox ended with `{}`", task.trim(), failed.status));
    for line in failed.log.iter().filter(|line| !line.trim_start().starts_with("TASK ")) {
        failure.cause.push_str(&format!("\n  {}", line.trim()));
    }
    let text = format!("{}\nTASK ERROR: {}", failed.log.join("\n"), failed.status);
    failure = known(failure, &issues, &text);
    // Without a step the request is being torn down: deleting it again helps nothing.
    let creating = error.as_ref().filter(|(line, _)| !line.step.is_empty());
    if let (true, Some((line, _))) = (DEAD_ENDS.contains(&failed.kind.as_str()), creating) {
        failure.hint.push_str(" The provider never looks at this task again: when the reason is fixed, delete the machine request, and Omni asks for a new machine.");
        failure.next.push(format!("omnictl delete machinerequest {}", line.id));
    }
    failure
}

/// The newest error of the provider about a machine of the cluster, as `REQUEST: error`, and the raw line; `None` where its log
/// has none or cannot be read.
pub fn complaint(cx: &Cx, cluster: &str) -> Option<(String, String)> {
    let log = Compose::find(cx).and_then(|compose| compose.log(PROVIDER, TAIL)).ok()?;
    let (line, raw) = most_specific(&errors(&log, cluster), &Issues::of(cx).ok()?)?;
    Some((format!("{}: {}", line.id, line.error), raw))
}

/// The JSON of a line of the log, behind what docker puts before it.
fn entry(raw: &str) -> Option<ProviderError> {
    serde_json::from_str(&raw[raw.find('{')?..]).ok()
}

/// The errors about machine requests of the cluster, the newest first, without those of a request that went well since.
fn errors(log: &str, cluster: &str) -> Vec<(ProviderError, String)> {
    let own = format!("{cluster}-");
    let mut found: Vec<(ProviderError, String)> = Vec::new();
    for raw in log.lines() {
        let Some(line) = entry(raw).filter(|line| line.id.starts_with(&own)) else { continue };
        if line.level == "error" && !line.error.is_empty() {
            // `reconcile failed` repeats what `machine provision failed` said before, without the step.
            let older = found.iter().position(|(old, _)| (&old.id, &old.error) == (&line.id, &line.error));
            let older = older.map(|at| found.remove(at)).filter(|_| line.step.is_empty());
            found.insert(0, older.unwrap_or_else(|| (line, raw.to_owned())));
        } else if went_well(raw) {
            found.retain(|(old, _)| old.id != line.id);
        }
    }
    found
}

/// Whether a request is through with this: a step that only waits is `requeued` (cosi-project/runtime `qruntime.go`).
fn went_well(raw: &str) -> bool {
    raw.contains("machine provision finished")
        || (raw.contains("\"reconcile succeeded\"") && !raw.contains("\"requeued\":true"))
}

/// The provider's log without the errors about requests that went well since: it tries again by itself.
pub fn unsettled(log: &str) -> String {
    let request = |raw: &str| entry(raw).map(|line| line.id).filter(|id| !id.is_empty());
    let mut settled = BTreeSet::new();
    let mut kept = Vec::new();
    for raw in log.lines().rev() {
        // Most lines are of no interest: they need not be understood.
        let well = went_well(raw);
        if well || (raw.contains("\"level\":\"error\"") && !settled.is_empty()) {
            match request(raw) {
                Some(id) if well => {
                    settled.insert(id);
                }
                Some(id) if settled.contains(&id) => continue,
                _ => {}
            }
        }
        kept.push(raw);
    }
    kept.reverse();
    kept.join("\n")
}

/// The error that tells most: the newest that is known, or that Proxmox's own log can explain, else the newest. What is
/// tried again after a failure may fail otherwise: the first half of it is done already.
fn most_specific(errors: &[(ProviderError, String)], issues: &Issues) -> Option<(ProviderError, String)> {
    let known = |(line, raw): &&(ProviderError, String)| line.error == "stopped" || !issues.find(raw).is_empty();
    errors.iter().find(known).or(errors.first()).cloned()
}

/// The newest task of the provider's own login that did not end well, with its log.
fn last_failed(cx: &Cx, proxmox: &Proxmox) -> Option<FailedTask> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let nodes = proxmox.get(cx, "listing the nodes of Proxmox", "/nodes").ok()?;
    let online = nodes.as_array().into_iter().flatten().filter(|node| node["status"] == "online");
    let mut newest: Option<(u64, Value)> = None;
    for node in online.map(|node| text(node, "node")) {
        let path = format!("/nodes/{node}/tasks?limit=50");
        let Ok(tasks) = proxmox.get(cx, "listing the tasks of a node", &path) else { continue };
        let bad = tasks.as_array().cloned().unwrap_or_default().into_iter().filter(|task| {
            let status = task["status"].as_str().unwrap_or("OK");
            status != "OK" && status != "RUNNING" && TASKS.contains(&task["type"].as_str().unwrap_or_default())
        });
        for task in bad {
            let began = task["starttime"].as_u64().unwrap_or(0);
            if newest.as_ref().is_none_or(|(at, _)| began > *at) {
                newest = Some((began, task));
            }
        }
    }
    let (_, task) = newest?;
    let (node, upid) = (text(&task, "node"), text(&task, "upid"));
    let path = format!("/nodes/{node}/tasks/{upid}/log?limit=500");
    let log = proxmox.get(cx, "reading the log of a task", &path).ok();
    let lines = log.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let lines: Vec<String> = lines.iter().map(|line| text(line, "t")).collect();
    let last = lines.len().saturating_sub(6);
    Some(FailedTask {
        kind: text(&task, "type"),
        id: text(&task, "id"),
        node,
        status: text(&task, "status"),
        log: lines[last..].to_vec(),
    })
}

/// `failure` with the known issue that `text` matches.
fn known(mut failure: Failure, issues: &Issues, text: &str) -> Failure {
    if let Some(hit) = issues.find(text).first() {
        failure.hint = hit.hint();
        failure.next.insert(0, hit.next());
    } else {
        "fix what it says there.".clone_into(&mut failure.hint);
    }
    failure
}

/// What to look at when there is no error: by how far the first machine is that is not ready.
fn waits(mut failure: Failure, view: Option<&ClusterView>) -> Failure {
    if let Some((hint, next)) = view.and_then(where_to_look) {
        failure.hint = hint;
        failure.next.insert(0, next);
    }
    failure
}

/// What to look at, and the command for it: by how far the first machine is that is not ready, else by what the cluster
/// lacks. `None` where it is the provider's turn.
pub fn where_to_look(view: &ClusterView) -> Option<(String, String)> {
    const NETWORK: &str = "cargo xtask doctor --area network";
    let console = "on its console in Proxmox see whether";
    let reach = "8090/tcp and 50180/udp of OMNI_LAN_ADDRESS can be reached from its network";
    if let Some(machine) = view.machines().find(|machine| !machine.ready && machine.party != Party::Provider) {
        let name = machine.name();
        return Some(match machine.connected {
            true => (
                format!(
                    "{name} talks to Omni and does not get through this stage: its own log says why; a bridge that drops large frames (MTU), a clock that is off or a slow disk look like this"
                ),
                format!("omnictl machine-logs {} --tail 50", machine.uuid),
            ),
            // Recorded with Omni 1.4.9: a cluster whose machines are dead is not deleted otherwise.
            false if view.tearing_down && machine.party == Party::Machine => (
                format!("Omni has lost {name} and waits for it to leave: start its VM, or remove it without waiting"),
                format!("cargo xtask cluster-delete {} --destroy-disconnected", view.name),
            ),
            false if machine.waits_for.contains("join Omni") => (
                format!(
                    "{name} runs and Omni has not heard of it: {console} Omni's name resolves there, and whether {reach}"
                ),
                NETWORK.to_owned(),
            ),
            false => (
                format!("Omni has lost {name}: {console} it has started and has its address, and whether {reach}"),
                NETWORK.to_owned(),
            ),
        });
    }
    if view.out_of_order() {
        let control_plane =
            view.machine_sets.iter().filter(|set| set.control_plane).flat_map(|set| &set.machines).next();
        let name = control_plane.map_or("a control plane", MachineView::name);
        return Some((
            format!(
                "Omni notices late that a machine is gone: look at {name}, {console} it has started and has its address, and whether {reach}"
            ),
            NETWORK.to_owned(),
        ));
    }
    let surplus = |set: &&MachineSetView| set.machines.len() as u64 > set.wanted;
    let set = view.machine_sets.iter().find(surplus).filter(|set| set.machines.iter().all(|machine| machine.ready))?;
    Some((
        format!("Omni has not begun to take a machine out of {}: its status checks say what it waits for", set.id),
        format!("omnictl cluster status {}", view.name),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: &str, id: &str, error: &str, step: &str) -> String {
        let fields = serde_json::json!({"level": level, "id": id, "error": error, "step": step, "msg": "m"});
        format!("2026-11-27T00:00:00Z {fields}\n")
    }

    #[test]
    fn advice_follows_how_far_a_machine_is() {
        let machine = |ready: bool, connected: bool, waits_for: &str| MachineView {
            request: "c-workers-z".to_owned(),
            uuid: "uuid-z".to_owned(),
            provider: "proxmox".to_owned(),
            stage: String::new(),
            ready,
            connected,
            leaving: false,
            party: Party::Machine,
            waits_for: waits_for.to_owned(),
            error: String::new(),
        };
        let view = |machines: Vec<MachineView>, wanted: u64| ClusterView {
            name: "zebra".to_owned(),
            phase: "Running".to_owned(),
            ready: true,
            running: false,
            kubernetes_api_ready: true,
            load_balancer_healthy: Some(true),
            control_plane_ready: true,
            healthy: 1,
            total: 1,
            tearing_down: false,
            upgrade: String::new(),
            machine_sets: vec![MachineSetView {
                id: "zebra-control-planes".to_owned(),
                control_plane: true,
                phase: "Running".to_owned(),
                ready: true,
                error: String::new(),
                class: String::new(),
                wanted,
                healthy: 1,
                tearing_down: false,
                machines,
            }],
        };
        let advice = |view: &ClusterView| where_to_look(view).unwrap_or_default();
        const NETWORK: &str = "cargo xtask doctor --area network";
        for (connected, waits_for, words, next) in [
            (true, "to be ready", "its own log says why", "omnictl machine-logs uuid-z --tail 50"),
            (false, "the machine to join Omni", "Omni has not heard of it", NETWORK),
            (false, "the machine to come back", "Omni has lost c-workers-z", NETWORK),
        ] {
            let (hint, command) = advice(&view(vec![machine(false, connected, waits_for)], 1));
            assert!(hint.contains(words) && command == next, "{hint} {command}");
        }
        let of_provider = MachineView { party: Party::Provider, ..machine(false, false, "") };
        assert_eq!(where_to_look(&view(vec![of_provider], 1)), None, "it is the provider's turn");
        let (hint, command) =
            advice(&ClusterView { kubernetes_api_ready: false, ..view(vec![machine(true, true, "")], 1) });
        assert!(hint.contains("Omni notices late") && hint.contains("c-workers-z") && command == NETWORK, "{hint}");
        let shrinking = view(vec![machine(true, true, ""), machine(true, true, "")], 1);
        let (hint, command) = advice(&ClusterView { phase: "ScalingDown".to_owned(), ..shrinking });
        assert!(hint.contains("out of zebra-control-planes"), "{hint}");
        assert_eq!(command, "omnictl cluster status zebra");
    }

    #[test]
    fn the_newest_error_of_the_own_cluster_counts() {
        let log = line("error", "other-workers-a", "no", "pickNode")
            + &line("error", "demo-workers-a", "stopped", "syncVM")
            + &line("error", "demo-workers-a", "stopped", "")
            + "Error: no JSON\n";
        let found = errors(&log, "demo");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0.id.as_str(), found[0].0.step.as_str()), ("demo-workers-a", "syncVM"));
        assert_eq!(errors(&log, "dem"), []);
    }

    #[test]
    fn error_of_a_request_that_went_well_since_is_settled() {
        let taken = line(
            "error",
            "demo-workers-a",
            "500 unable to create VM 100 - VM 100 already exists on node 'pve1'",
            "syncVM",
        );
        let line = |id: &str, msg: &str, requeued: bool| {
            let fields = serde_json::json!({"level": "info", "id": id, "msg": msg, "requeued": requeued});
            format!("2026-11-28T00:00:00Z {fields}\n")
        };
        let finished = line("demo-workers-a", "machine provision finished", false);
        assert!(!unsettled(&(taken.clone() + &finished)).contains("already exists"));
        assert!(
            !unsettled(&(taken.clone() + &line("demo-workers-a", "reconcile succeeded", false))).contains("already")
        );
        for open in [
            line("demo-workers-b", "machine provision finished", false),
            line("demo-workers-a", "reconcile succeeded", true),
        ] {
            assert!(unsettled(&(taken.clone() + &open)).contains("already exists"), "{open}");
        }
        assert!(unsettled(&(finished + &taken)).contains("already exists"), "it failed again");
    }

    #[test]
    fn a_known_error_tells_more_than_what_came_of_it() {
        let log = line("error", "demo-workers-a", "500 cluster not ready - no quorum?", "syncVM")
            + &line("error", "demo-workers-a", "500 something else", "syncVM");
        let found = errors(&log, "demo");
        assert_eq!(found[0].0.error, "500 something else");
        let issues = Issues::read().unwrap();
        assert_eq!(most_specific(&found, &issues).unwrap().0.error, "500 cluster not ready - no quorum?");
        assert_eq!(most_specific(&found[..1], &issues).unwrap().0.error, "500 something else");
        assert_eq!(most_specific(&[], &issues), None);
    }

    #[test]
    fn what_went_well_since_is_no_error_any_more() {
        let done = line("info", "demo-workers-a", "", "").replace("\"m\"", "\"machine provision finished\"");
        let log = line("error", "demo-workers-a", "stopped", "syncVM") + &done;
        assert_eq!(errors(&log, "demo"), []);
    }
}
