//! `cluster-explain --heal`: takes the step for the first cause, then examines the cluster again to choose the next one, until
//! nothing is broken, a step needs a human, or a step has changed nothing.
//!
//! A step is typed ([`Step`]), never parsed from a hint. A task is run as this very program, so that its own checks apply: its
//! dry run returns what it would change and destroy, which is confirmed here, and it refuses what would cost etcd its quorum.

use std::time::{Duration, Instant};

use xshell::cmd;

use crate::cli::ClusterExplain;
use crate::flow::explain::{self, subject::Subject};
use crate::flow::{cluster, cluster_tree, proxmox};
use crate::prelude::*;
use check::explain::{Cause, Explanation, Step};
use domain::saved_plan::PlannedChange;
use domain::status::proxmox::host;
use runtime::parallel::run_with_ticks;
use runtime::proc::{self, Job};
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Login;
use runtime::wait;

/// Time limit for the longest step: an upgrade or a replacement waits for machines.
const STEP_LIMIT: Duration = Duration::from_secs(3600);
/// How long the cluster may take to settle after a step.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);
/// How long a cause may persist after its step.
const PERSIST_LIMIT: Duration = Duration::from_secs(30);
/// The pause between two polls, and how many polls in a row must find the same new cause.
const PAUSE: Duration = Duration::from_secs(2);
const EQUAL_POLLS: usize = 3;

/// The result of healing.
pub struct Healing {
    pub subject: Subject,
    /// The result of the last poll.
    pub found: Explanation,
    /// For the JSON output: each step, and the one that needs a human.
    pub healed: Vec<Value>,
    /// The outcome of a dry run, which stops before its first step.
    pub planned: Option<Outcome>,
    /// Why it stopped, if something is still broken.
    pub stopped: String,
    /// Whether a cluster that was being destroyed is gone.
    pub gone: bool,
}

impl Healing {
    fn leave_to_human(&mut self, cause: &Cause, why: &str) {
        self.healed.push(json!({ "cause": cause.id, "result": "needs a human", "why": why, "fix": cause.fix }));
        self.stopped = format!("the next step needs a human: {why}");
    }
}

/// Takes one step after another.
///
/// # Errors
/// As [`explain::examine`]. Without consent or if interrupted, returns an error with what was done so far.
pub fn run(args: &ClusterExplain, cx: &Cx) -> anyhow::Result<Healing> {
    let (subject, found) = explain::examine(args, cx)?;
    let leaves = !found.leaving.is_empty();
    let (healed, stopped) = (Vec::new(), String::new());
    let mut all = Healing { subject, found, healed, planned: None, stopped, gone: false };
    let name = Some(all.subject.cluster.clone()).filter(|name| !name.is_empty());
    let same = ClusterExplain { name, timeline: args.timeline, ..ClusterExplain::default() };
    let mut taken: Vec<Cause> = Vec::new();
    while let Some(cause) = all.found.causes.first().cloned() {
        all.gone = leaves && cause.id == "not-synced";
        if all.gone {
            break;
        }
        if taken.iter().any(|before| before.is_same_cause(&cause)) {
            let last = all.healed.last().map(|step| step["result"].as_str().unwrap_or_default()).unwrap_or_default();
            match last.strip_prefix("failed: ") {
                Some(why) => all.leave_to_human(&cause, &format!("the recommended step failed: {why}")),
                None => all.stopped = "stopped: its step changed nothing".to_owned(),
            }
            break;
        }
        let change = match change(cx, &cause, &all.subject.cluster) {
            Ok(change) => change,
            Err(why) => {
                all.leave_to_human(&cause, &why);
                break;
            }
        };
        cx.ui.say(&cx.ui.advice(&format!("\ncause: {}\n  fix: {}", cause.cause, cause.fix)));
        let mut step = json!(change.shown);
        step["cause"] = json!(cause.id);
        match Plan::from_iter([change]).run(cx, "Take this step") {
            Ok(Some(planned)) => {
                all.planned = Some(planned);
                break;
            }
            Ok(None) => step["result"] = "done".into(),
            Err(error) => {
                let failure = Failure::of(&error);
                if matches!(failure.code, Code::Interrupted | Code::MissingInput) {
                    return Err(failure.with(json!({ "healed": all.healed })).into());
                }
                step["result"] = format!("failed: {}", failure.message).into();
            }
        }
        let now = match step["result"] == "done" {
            true => cx.ui.with_spinner("waiting for the step to take effect", || wait_until_settled(cx, &same, &cause)),
            false => explain::examine(&same, cx),
        };
        all.healed.push(step);
        taken.push(cause);
        match now {
            Ok(now) => (all.subject, all.found) = now,
            // A destroyed cluster is not found any more, not even in a template.
            Err(error) if leaves && Failure::of(&error).code == Code::NotFound => {
                all.gone = true;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Returns the step as a change, or why it needs a human.
fn change<'a>(cx: &Cx, cause: &Cause, cluster: &str) -> Result<Change<'a>, String> {
    match cause.step.clone() {
        None => Err(cause.human.unwrap_or_default().to_owned()),
        Some(Step::Task(words)) => task(cx, words, cluster.to_owned()),
        Some(Step::Unlink { uuid, cluster }) => {
            let effect = "Omni removes its machine, and the provider deletes its VM".to_owned();
            let lost = "any VM that now has the ID of its VM: the provider deletes by ID".to_owned();
            let change = Change::new("delete", format!("link {uuid}"), effect, "this cannot be undone", move |cx| {
                let _lock = cx.lock()?;
                Omnictl::find(cx)?.delete("links", &uuid)?;
                Ok("deleted from Omni".to_owned())
            });
            Ok(change.with_destroyed(&cluster, vec![lost]))
        }
        Some(Step::Start { site, node, id }) => {
            let of = site.as_ref().map_or_else(|| Ok(cx.clone()), |site| cx.for_provider(site));
            let proxmox = of.and_then(|of| proxmox::login_quietly(&of)).map_err(|failure| failure.message)?;
            if !matches!(proxmox.login, Login::Token(_)) {
                return Err("only an API token may start a VM from here".to_owned());
            }
            let effect = "it boots, and its machine connects to Omni again".to_owned();
            let object = format!("VM {id} on {}", host(site.as_deref(), &node));
            Ok(Change::new("start", object, effect, "stop it in Proxmox", move |cx| {
                let _lock = cx.lock()?;
                proxmox.start_vm(cx, &node, id)?;
                Ok("it runs".to_owned())
            }))
        }
    }
}

/// Returns what a task would change according to its own dry run, as one change.
fn task<'a>(cx: &Cx, words: Vec<String>, cluster: String) -> Result<Change<'a>, String> {
    let line = format!("cargo xtask {}", words.join(" "));
    let (code, document) = run_this_program(cx, &words, &["--dry-run"]).map_err(|failure| failure.message)?;
    let data = &document["data"];
    let changes: Vec<PlannedChange> = serde_json::from_value(data["plan"].clone()).unwrap_or_default();
    let owners: Vec<String> = serde_json::from_value(data["allow_destroy"].clone()).unwrap_or_default();
    match code {
        Some(3) if owners.len() < 2 => {}
        Some(3) => return Err(format!("`{line}` destroys machines of several clusters")),
        Some(0) => return Err(format!("`{line}` finds nothing to change")),
        _ => return Err(format!("`{line}` refuses: {}", describe_error(&document))),
    }
    let join = |part: fn(&PlannedChange) -> &String| changes.iter().map(part).cloned().collect::<Vec<_>>().join("; ");
    let (effect, undo) = (join(|change| &change.effect), join(|change| &change.undo));
    let destroys: Vec<String> = changes.iter().flat_map(|change| change.destroys.clone()).collect();
    let owner = owners.first().cloned().unwrap_or_default();
    let change = Change::new("run", line, effect, undo, move |cx| {
        let consent: Vec<&str> = owners.iter().flat_map(|name| ["--allow-destroy", name]).collect();
        match run_showing_machines(cx, &cluster, || run_this_program(cx, &words, &consent))? {
            (Some(0), document) => Ok(document["summary"].as_str().unwrap_or_default().to_owned()),
            (_, document) => Err(Failure::new(Code::Failed, describe_error(&document)).into()),
        }
    });
    Ok(change.with_destroyed(&owner, destroys))
}

/// Runs `work`, and shows the cluster's machines on a terminal meanwhile, as in every other wait.
fn run_showing_machines<T: Send>(cx: &Cx, cluster: &str, work: impl FnOnce() -> T + Send) -> T {
    let omnictl = Omnictl::find(cx).ok().filter(|_| cx.ui.is_live() && !cluster.is_empty());
    run_with_ticks(PAUSE, work, || {
        let view = omnictl.as_ref().and_then(|omnictl| cluster::observe(omnictl, cluster).ok()?);
        view.iter().for_each(|view| cluster_tree::show(cx, view));
    })
}

/// A task's error, and its first suggested command.
fn describe_error(document: &Value) -> String {
    let error = &document["error"];
    let words = [&error["message"], &error["cause"], &error["hint"], &document["next"][0]];
    let words: Vec<&str> = words.into_iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).collect();
    words.join("; ")
}

/// Runs this program again on the same project, and returns its exit code and JSON output.
fn run_this_program(cx: &Cx, words: &[String], more: &[&str]) -> Result<(Option<i32>, Value), Failure> {
    let failed = |why: String| Failure::new(Code::Failed, format!("`{}` cannot be run", words.join(" "))).cause(why);
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let shell = proc::shell()?;
    let (root, http) = (cx.paths.root(), cx.insecure_http.then_some("--insecure-http"));
    let timeout = cx.timeout.map(|timeout| format!("--timeout={}s", timeout.as_secs().max(1)));
    let cmd = cmd!(shell, "{program} {words...} --project-dir {root} --json --yes {http...} {timeout...} {more...}");
    let ended = cx.proc.run(Job::new(format!("running {}", words[0]), cmd).inherit_env().deadline(STEP_LIMIT))?;
    let document = serde_json::from_str(&ended.stdout).map_err(|error| failed(format!("{error}: {}", ended.stderr)))?;
    Ok((ended.status.code(), document))
}

/// Waits until the cluster has settled: nothing is broken and nothing waited for, or a cause persists.
fn wait_until_settled(cx: &Cx, args: &ClusterExplain, healed: &Cause) -> anyhow::Result<(Subject, Explanation)> {
    let begun = Instant::now();
    let limit = cx.wait_limit(SETTLE_LIMIT);
    let (mut last, mut seen, mut shown) = (None::<Cause>, 0, String::new());
    loop {
        let (subject, found) = explain::examine(args, cx)?;
        let first = found.causes.first();
        let again = first.zip(last.as_ref()).is_some_and(|(now, before)| now.is_same_cause(before));
        seen = if again { seen + 1 } else { 1 };
        let waits = found.links.iter().find(|link| link.resolves_itself());
        let rests = match first {
            None => waits.is_none(),
            Some(first) if first.is_same_cause(healed) => begun.elapsed() >= PERSIST_LIMIT,
            Some(first) => first.lasting && seen >= EQUAL_POLLS,
        };
        if rests || begun.elapsed() + PAUSE > limit {
            return Ok((subject, found));
        }
        let words = first.map_or(waits.map_or("", |link| &link.evidence), |first| &first.cause);
        if shown != words {
            cx.ui.show_waiting(words);
            words.clone_into(&mut shown);
        }
        last = first.cloned();
        wait::sleep(PAUSE, "waiting for the step to take effect")?;
    }
}
