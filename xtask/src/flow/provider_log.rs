//! The provider's log, which shows why machines are not created or deleted: Omni overwrites the reported error with each retry.

use std::collections::BTreeSet;

use serde::Deserialize;

use runtime::triage::Issues;

/// Number of lines to read: what a provider with a dozen requests logs in an hour of retries.
pub const TAIL: u32 = 400;
/// An error line of the provider (zap's JSON).
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub struct ProviderError {
    #[serde(default)]
    level: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub step: String,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    node: String,
    #[serde(default)]
    task: String,
}

/// Returns the node that the provider chose for a request, and the task that downloads its image. Omni stores neither where a
/// client could read it.
pub fn placement(log: &str, request: &str) -> (Option<String>, Option<String>) {
    let mut found = (None, None);
    for line in log.lines().filter(|line| line.contains(request)).filter_map(parse).filter(|line| line.id == request) {
        if !line.node.is_empty() {
            found.0 = Some(line.node);
        }
        if !line.task.is_empty() {
            found.1 = Some(line.task);
        }
    }
    found
}

/// Parses the JSON of a log line, after the prefix that docker adds.
fn parse(raw: &str) -> Option<ProviderError> {
    serde_json::from_str(&raw[raw.find('{')?..]).ok()
}

/// Returns the errors about machine requests of the cluster, newest first, without those of requests that have succeeded since.
pub fn errors(log: &str, cluster: &str) -> Vec<(ProviderError, String)> {
    let own = format!("{cluster}-");
    let mut found: Vec<(ProviderError, String)> = Vec::new();
    let mut steps = BTreeSet::new();
    for raw in log.lines() {
        let Some(line) = parse(raw).filter(|line| line.id.starts_with(&own)) else { continue };
        if reaches_new_step(&mut steps, &line) {
            found.retain(|(old, _)| old.id != line.id);
        }
        if line.level == "error" && !line.error.is_empty() {
            // `reconcile failed` repeats the error of `machine provision failed`, without the step.
            let older = found.iter().position(|(old, _)| (&old.id, &old.error) == (&line.id, &line.error));
            let older = older.map(|at| found.remove(at)).filter(|_| line.step.is_empty());
            found.insert(0, older.unwrap_or_else(|| (line, raw.to_owned())));
        } else if completes_request(raw) {
            found.retain(|(old, _)| old.id != line.id);
        }
    }
    found
}

/// The message that starts a step of a request in the log.
const STEP: &str = "running provision step";

/// Returns true if this line starts a step that the request had not reached before, so the step that failed has succeeded since.
/// `steps` has the steps reached so far, with their requests: a retry starts at the step that failed, or at the first one.
fn reaches_new_step(steps: &mut BTreeSet<(String, String)>, line: &ProviderError) -> bool {
    line.msg == STEP && steps.insert((line.id.clone(), line.step.clone()))
}

/// Returns true if this line completes a request. A step that only waits is `requeued` (cosi-project/runtime `qruntime.go`).
fn completes_request(raw: &str) -> bool {
    raw.contains("machine provision finished")
        || (raw.contains("\"reconcile succeeded\"") && !raw.contains("\"requeued\":true"))
}

/// Returns the provider's log without errors of requests that have succeeded since: the provider retries by itself.
pub fn unresolved(log: &str) -> String {
    let request = |raw: &str| parse(raw).map(|line| line.id).filter(|id| !id.is_empty());
    let (mut settled, mut steps) = (BTreeSet::new(), BTreeSet::new());
    let mut kept = Vec::new();
    // Most lines are irrelevant, and are not parsed.
    let lines = log.lines().map(|raw| {
        let step = raw.contains(STEP).then(|| parse(raw)).flatten();
        (raw, completes_request(raw) || step.is_some_and(|line| reaches_new_step(&mut steps, &line)))
    });
    for (raw, well) in lines.collect::<Vec<_>>().into_iter().rev() {
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

/// Returns true if the provider last exited because Omni did not respond or the connection broke. docker restarts it, which is
/// enough once Omni is back (omni v1.9.3 `client/pkg/infra/infra.go`; cosi-project/runtime).
pub fn omni_was_away(log: &str) -> bool {
    let last = log.lines().rev().find(|line| line.contains("Error: "));
    last.is_some_and(|line| {
        line.contains("code = Unavailable")
            && (line.contains("connect: connection refused") || line.contains("error reading from server"))
    })
}

/// Returns the most informative error: the newest known issue, or one that Proxmox's own log can explain, or else the newest.
/// A retry may fail differently from the first attempt, which has already done half of the work.
pub fn most_informative(errors: &[(ProviderError, String)], issues: &Issues) -> Option<(ProviderError, String)> {
    let known = |(line, raw): &&(ProviderError, String)| line.error == "stopped" || !issues.find(raw).is_empty();
    errors.iter().find(known).or(errors.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: &str, id: &str, error: &str, step: &str) -> String {
        let fields = serde_json::json!({"level": level, "id": id, "error": error, "step": step, "msg": "m"});
        format!("2026-11-27T00:00:00Z {fields}\n")
    }

    #[test]
    fn errors_returns_the_newest_of_the_cluster() {
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
    fn omni_was_away_ignores_unknown_hosts_and_rejected_keys() {
        let ended = |why: &str| format!("2026-11-29T00:00:00Z Error: {why}\n2026-11-29T00:00:01Z starting\n");
        let dialing =
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial tcp";
        let away = [
            format!("{dialing} 192.0.2.10:443: connect: connection refused\""),
            "controller runtime watch error: rpc error: code = Unavailable desc = error reading from server: EOF"
                .to_owned(),
        ];
        for why in &away {
            assert!(omni_was_away(&ended(why)), "{why}");
        }
        for why in [
            format!("{dialing}: lookup omni.example.com: no such host\""),
            "rpc error: code = Unauthenticated desc = invalid key".to_owned(),
        ] {
            assert!(!omni_was_away(&ended(&why)), "{why}");
            assert!(!omni_was_away(&(ended(&away[0]) + &ended(&why))), "{why}");
        }
    }

    #[test]
    fn unresolved_drops_errors_of_completed_requests() {
        let why = "500 unable to create VM 100 - VM 100 already exists on node 'pve1'";
        let taken = line("error", "demo-workers-a", why, "syncVM");
        let line = |id: &str, msg: &str, requeued: bool| {
            let fields = serde_json::json!({"level": "info", "id": id, "msg": msg, "requeued": requeued});
            format!("2026-11-28T00:00:00Z {fields}\n")
        };
        let finished = line("demo-workers-a", "machine provision finished", false);
        assert!(!unresolved(&(taken.clone() + &finished)).contains("already exists"));
        assert!(
            !unresolved(&(taken.clone() + &line("demo-workers-a", "reconcile succeeded", false))).contains("already")
        );
        for open in [
            line("demo-workers-b", "machine provision finished", false),
            line("demo-workers-a", "reconcile succeeded", true),
        ] {
            assert!(unresolved(&(taken.clone() + &open)).contains("already exists"), "{open}");
        }
        assert!(unresolved(&(finished + &taken)).contains("already exists"), "it failed again");
    }

    #[test]
    fn most_informative_prefers_a_known_issue() {
        let log = line("error", "demo-workers-a", "500 cluster not ready - no quorum?", "syncVM")
            + &line("error", "demo-workers-a", "500 something else", "syncVM");
        let found = errors(&log, "demo");
        assert_eq!(found[0].0.error, "500 something else");
        let issues = Issues::read().unwrap();
        assert_eq!(most_informative(&found, &issues).unwrap().0.error, "500 cluster not ready - no quorum?");
        assert_eq!(most_informative(&found[..1], &issues).unwrap().0.error, "500 something else");
        assert_eq!(most_informative(&[], &issues), None);
    }

    #[test]
    fn placement_returns_the_newest() {
        let line = |id: &str, key: &str, value: &str| {
            format!("proxmox-provider-1 | {}\n", serde_json::json!({"level": "info", "id": id, "msg": "m", key: value}))
        };
        let log = line("a-1", "node", "pve1")
            + &line("a-2", "node", "pve3")
            + &line("a-1", "task", "UPID:x")
            + &line("a-1", "node", "pve2");
        assert_eq!(placement(&log, "a-1"), (Some("pve2".to_owned()), Some("UPID:x".to_owned())));
        assert_eq!(placement(&log, "a"), (None, None));
    }

    #[test]
    fn errors_drops_steps_that_have_passed_since() {
        let line = |fields| format!("2026-11-30T19:36:18Z {fields}\n");
        let begins = |step: &str| {
            line(
                serde_json::json!({"level": "info", "id": "demo-workers-a", "msg": "running provision step", "step": step}),
            )
        };
        let fails = |step: &str| {
            line(
                serde_json::json!({"level": "error", "id": "demo-workers-a", "error": "not authorized to access endpoint",
                "msg": "machine provision failed", "step": step}),
            )
        };
        let failed = begins("pickNode") + &fails("pickNode");
        for retried in [
            failed.clone() + &begins("pickNode"),
            begins("pickNode") + &begins("syncVM") + &fails("syncVM") + &begins("pickNode"),
        ] {
            assert_eq!(errors(&retried, "demo").len(), 1, "{retried}");
            assert!(unresolved(&retried).contains("not authorized"), "{retried}");
        }
        let passed = failed + &begins("pickNode") + &begins("createSchematic");
        assert_eq!(errors(&passed, "demo"), []);
        assert!(!unresolved(&passed).contains("not authorized"), "{passed}");
        assert_eq!(errors(&(passed.clone() + &fails("createSchematic")), "demo").len(), 1, "it fails at the next one");
    }

    #[test]
    fn errors_drops_completed_requests() {
        let done = line("info", "demo-workers-a", "", "").replace("\"m\"", "\"machine provision finished\"");
        let log = line("error", "demo-workers-a", "stopped", "syncVM") + &done;
        assert_eq!(errors(&log, "demo"), []);
    }
}
