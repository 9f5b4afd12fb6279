//! `rehearse`: the whole runbook against the lab, in a scratch copy.
//!
//! 1. The lab is built and started on loopback ports of its own; it ends when this process does, however that ends.
//! 2. The tasks themselves run, as separate processes, in the order in which a newcomer would type them.
//! 3. What now exists is shown: cluster, machine sets, machines, virtual machines with their node and storage.
//! 4. Everything is removed.
//!
//! With `--fault` something goes wrong: the tasks that lead there run, then the one that meets it, and what it said
//! stands beside what ends the fault in the field.

mod drill;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xshell::cmd;

use crate::cli::Rehearse;
use crate::outcome::Outcome;
use domain::failure::{Code, Failure};
use domain::secret;
use domain::spec::env::EnvFile;
use runtime::cx::Cx;
use runtime::files;
use runtime::proc::{self, Job};
use runtime::settings::environment;
use runtime::tool::lab::{self, Options, Ready};
use runtime::ui::{Done, Status, millis, table};

/// The name of the cluster that is rehearsed, and of its machine class.
const CLUSTER: &str = "rehearsal";
const CLASS: &str = "rehearsal-machine";
/// What its scratch directory is called.
const SCRATCH: &str = "rehearsal";
const CONTROL_PLANES: u32 = 3;
const WORKERS: u32 = 3;

/// The tasks, in the order of the README, as an operator would type them.
fn tasks() -> Vec<Vec<String>> {
    let lines = [
        "provider-setup".to_owned(),
        "provider-verify".to_owned(),
        format!("machineclass-create {CLASS} --cores 2 --memory 4096 --disk 20 --selector"),
        format!("machineclass-apply {CLASS}"),
        format!("cluster-create {CLUSTER} --control-planes {CONTROL_PLANES} --workers {WORKERS}"),
        format!("cluster-status {CLUSTER}"),
    ];
    let words = |line: &String| -> Vec<String> {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if line.ends_with("--selector") {
            words.push("name == \"local-lvm\"".to_owned());
        }
        words
    };
    lines.iter().map(words).collect()
}

/// A running lab with its scratch directory; both go when the value does.
struct Lab {
    dir: PathBuf,
    child: Child,
    ready: Ready,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The lab ends when its standard input does.
        drop(self.child.stdin.take());
        lab::reap(&mut self.child, Duration::from_secs(5));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// How one task went.
struct Ran {
    line: String,
    elapsed: Duration,
    code: Option<i32>,
    document: Value,
}

impl Ran {
    fn json(&self) -> Value {
        json!({ "task": self.line, "elapsed_ms": self.elapsed.as_millis() as u64, "document": self.document })
    }
}

pub fn run(args: &Rehearse, cx: &Cx) -> anyhow::Result<Outcome> {
    if cx.dry_run && args.fault.is_empty() {
        return Ok(planned(cx, &tasks()));
    }
    files::sweep_scratch(&cx.paths.target(), SCRATCH);
    let program = cx.ui.step("build", "the lab is built", || Ok(Done::ok(lab::built(cx)?, "")))?;
    if !args.fault.is_empty() {
        return drill::run(args, cx, &program);
    }
    let begun = Instant::now();
    let (lab, project) = start(args, cx, &program)?;
    let mut ran = Vec::new();
    for words in tasks() {
        ran.push(task(cx, &lab, &project, &words)?);
    }
    let elapsed = begun.elapsed();
    let state = lab::state_of(cx, &program, &lab.dir)?;
    let found = proved(&state)?;
    report(cx, &state, &ran);
    let summary = format!(
        "rehearsed in {}: cluster `{CLUSTER}` is Running on {found} virtual machines of the simulated Proxmox",
        millis(elapsed.as_millis() as u64)
    );
    let times: Vec<Value> = ran.iter().map(Ran::json).collect();
    let data = json!({ "tasks": times, "state": state, "elapsed_ms": elapsed.as_millis() as u64 });
    Ok(Outcome::done(summary)
        .with(data)
        .next("cargo xtask lab-up")
        .next("docs/how-to/deployment.md goes through the real thing"))
}

fn planned(cx: &Cx, tasks: &[Vec<String>]) -> Outcome {
    let mut plan = Vec::new();
    for words in tasks {
        let line = format!("cargo xtask {}", words.join(" "));
        cx.ui.note("rehearse", &line, Status::Planned, "against the lab, in a scratch copy");
        plan.push(json!({ "verb": "run", "object": line, "effect": "against the lab, in a scratch copy", "undo": "it is removed at the end" }));
    }
    Outcome::pending("the rehearsal would run these tasks; nothing changed").with(json!({ "plan": plan }))
}

/// Step 1.
fn start(args: &Rehearse, cx: &Cx, program: &Path) -> anyhow::Result<(Lab, PathBuf)> {
    let lab = cx.ui.step("lab", "the lab is up", || {
        let dir = cx.paths.scratch(SCRATCH);
        let options = Options { clock: args.clock, faults: args.fault.clone(), ..Options::default() };
        let started = lab::start(program, &dir, &options, true);
        let (ready, child) = started.inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
        let detail = format!("Proxmox {}, Omni {}, clock {}", ready.proxmox_url, ready.omni_endpoint, args.clock);
        Ok(Done::changed(Lab { dir, child, ready }, detail))
    })?;
    let project = lab.dir.join("project");
    lab::make_project(&cx.paths, &project, &lab.ready)?;
    Ok((lab, project))
}

/// Step 2, one task that must succeed.
fn task(cx: &Cx, lab: &Lab, project: &Path, words: &[String]) -> anyhow::Result<Ran> {
    let ran = play(cx, lab, project, words)?;
    if ran.code != Some(0) {
        return Err(stopped(&ran.line, ran.code, ran.document).into());
    }
    cx.ui.note(&words[0], ran.line.clone(), Status::Ok, millis(ran.elapsed.as_millis() as u64));
    Ok(ran)
}

/// One task, whatever it comes to: this very program, as a process of its own, with nothing but PATH, endpoints and files
/// different.
fn play(cx: &Cx, lab: &Lab, project: &Path, words: &[String]) -> anyhow::Result<Ran> {
    let shown: Vec<String> =
        words.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { word.clone() }).collect();
    let line = format!("cargo xtask {}", shown.join(" "));
    let begun = Instant::now();
    let program = std::env::current_exe()?;
    // In the project, so that what a task advises names no directory.
    let shell = proc::shell()?;
    shell.change_dir(project);
    let json = cx.ui.json().then_some("--json");
    let limit = cx.limit(Duration::from_secs(120));
    // A task that brings a limit of its own keeps it.
    let own = words.iter().any(|word| word == "--timeout");
    let timeout: &[String] = if own { &[] } else { &["--timeout".to_owned(), format!("{}s", limit.as_secs())] };
    let cmd = cmd!(shell, "{program} {words...} --yes --non-interactive {timeout...} --color never {json...}");
    let mut job = Job::new(format!("rehearsing {}", words[0]), cmd).deadline(limit + Duration::from_secs(30));
    let env_file = files::read_text_if_there(&lab.ready.env_file)?.unwrap_or_default();
    let env = EnvFile::parse("the lab's env file", &env_file)?;
    for key in env.keys() {
        let value = env.get(key).unwrap_or_default();
        if key.ends_with("KEY") || key.ends_with("TOKEN") {
            secret::hide(value);
        }
        // The lab's own file ends in `:$PATH`, for a shell.
        let value = value.replace("$PATH", &environment("PATH").unwrap_or_default());
        job = job.env(key, value);
    }
    // omnictl keeps files under HOME: not under the operator's.
    job = job.env("HOME", lab.dir.join("home")).env("XDG_STATE_HOME", lab.dir.join("home/.local/state"));
    fs::create_dir_all(lab.dir.join("home"))?;
    cx.ui.say(&format!("\n$ {line}"));
    let (ended, document) = if cx.ui.json() {
        let ended = cx.proc.run(job)?;
        let document = serde_json::from_str(&ended.stdout).unwrap_or(Value::Null);
        (ended, document)
    } else {
        (cx.proc.follow(job, |text| cx.ui.say(text))?, Value::Null)
    };
    if proc::interrupted() {
        return Err(proc::interruption(&format!("rehearsing {}", words[0])).into());
    }
    Ok(Ran { line, elapsed: begun.elapsed(), code: ended.status.code(), document })
}

/// The failure of a rehearsal whose task failed: what the task said is above, or inside.
fn stopped(line: &str, code: Option<i32>, document: Value) -> Failure {
    let code = code.map_or("was killed".to_owned(), |code| format!("exited with {code}"));
    let said = document["error"]["message"].as_str().unwrap_or("what it said stands above").to_owned();
    Failure::new(Code::Failed, format!("the rehearsal stopped: `{line}` {code}"))
        .cause(said)
        .with(json!({ "stopped_at": document }))
}

/// Checks in the far ends themselves that what the tasks reported is so; returns the number of virtual machines.
fn proved(state: &Value) -> anyhow::Result<usize> {
    let machines = (CONTROL_PLANES + WORKERS) as usize;
    let vms = state["proxmox"]["vms"].as_array().map_or(0, Vec::len);
    let running = state["omni"]["clusters"].as_array().into_iter().flatten().any(|cluster| {
        cluster["name"] == CLUSTER
            && cluster["ready"] == true
            && cluster["phase"].as_str().is_some_and(|phase| phase.eq_ignore_ascii_case("running"))
    });
    if vms == machines && running {
        return Ok(vms);
    }
    Err(Failure::new(Code::Failed, "the tasks succeeded, and the far ends do not show it")
        .cause(format!("{vms} virtual machines instead of {machines}; cluster running: {running}"))
        .into())
}

/// Step 3.
fn report(cx: &Cx, state: &Value, ran: &[Ran]) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut picture = String::new();
    for cluster in state["omni"]["clusters"].as_array().into_iter().flatten() {
        let ready = if cluster["ready"] == true { "ready" } else { "not ready" };
        picture.push_str(&format!("\n{}  {}, {ready}\n", text(&cluster["name"]), text(&cluster["phase"])));
        let sets = cluster["machine_sets"].as_array().cloned().unwrap_or_default();
        for (at, set) in sets.iter().enumerate() {
            let (branch, stem) = if at + 1 == sets.len() { ("└──", "    ") } else { ("├──", "│   ") };
            picture.push_str(&format!(
                "{branch} {}  {}, class {}\n",
                text(&set["id"]),
                text(&set["phase"]),
                text(&set["class"])
            ));
            let machines = set["machines"].as_array().cloned().unwrap_or_default();
            for (at, machine) in machines.iter().enumerate() {
                let twig = if at + 1 == machines.len() { "└──" } else { "├──" };
                picture.push_str(&format!(
                    "{stem}{twig} {}  {}  VM {} on {}, disk on {}\n",
                    text(&machine["request"]),
                    text(&machine["stage"]),
                    text(&machine["vmid"]),
                    text(&machine["node"]),
                    text(&machine["storage"]),
                ));
            }
        }
    }
    cx.ui.data(&picture);
    let rows: Vec<Vec<String>> =
        ran.iter().map(|ran| vec![ran.line.clone(), millis(ran.elapsed.as_millis() as u64)]).collect();
    cx.ui.data(&format!("\n{}", table(&["TASK", "TIME"], &rows)));
}
