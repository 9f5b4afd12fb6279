//! A rehearsal: a lab with its own project, where tasks run as separate processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use xshell::cmd;

use crate::cli::Rehearse;
use crate::prelude::*;
use domain::secret;
use domain::spec::env::EnvFile;
use runtime::files;
use runtime::paths::Paths;
use runtime::proc::{self, Job};
use runtime::settings::environment;
use runtime::tool::lab::{self, Options, Ready};
use runtime::ui::millis;

/// The name of the scratch directory.
pub const SCRATCH: &str = "rehearsal";

/// A running lab with its scratch directory; dropping the value ends both.
pub struct Lab {
    pub dir: PathBuf,
    child: Child,
    pub ready: Ready,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The lab exits when its standard input is closed.
        drop(self.child.stdin.take());
        lab::wait_or_terminate(&mut self.child, Duration::from_secs(5));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The result of one task.
pub struct TaskRun {
    pub line: String,
    pub elapsed: Duration,
    pub code: Option<i32>,
    pub document: Value,
}

impl TaskRun {
    pub fn json(&self) -> Value {
        json!({ "task": self.line, "elapsed_ms": self.elapsed.as_millis() as u64, "document": self.document })
    }
}

pub fn plan_of_tasks(cx: &Cx, tasks: &[Vec<String>]) -> Outcome {
    let mut plan = Vec::new();
    for words in tasks {
        let line = format!("cargo xtask {}", words.join(" "));
        cx.ui.note("rehearse", &line, Status::Planned, "against the lab, in a scratch copy");
        plan.push(json!({ "verb": "run", "object": line, "effect": "against the lab, in a scratch copy", "undo": "it is removed at the end" }));
    }
    Outcome::pending("the rehearsal would run these tasks; nothing changed").with(json!({ "plan": plan }))
}

/// Starts the lab and creates its project.
///
/// # Errors
/// Returns an error if either fails, and then leaves nothing behind.
pub fn start(args: &Rehearse, cx: &Cx, program: &Path) -> anyhow::Result<(Lab, PathBuf)> {
    let options = Options { clock: args.clock, faults: args.fault.clone(), ..Options::default() };
    start_with(cx, program, options, |_| Ok((cx.paths.clone(), Vec::new())))
}

/// Where the lab of this process is: without a project, in this user's scratch directory.
fn scratch_dir(cx: &Cx) -> PathBuf {
    match cx.paths.is_project() {
        true => cx.paths.scratch(SCRATCH),
        false => cx.paths.scratch_root().join(format!("{SCRATCH}-{}", std::process::id())),
    }
}

/// Like [`start`], but `prepare` fills the lab's directory first. It returns the project to copy, and more arguments for the lab.
///
/// # Errors
/// See [`start`].
pub fn start_with(
    cx: &Cx,
    program: &Path,
    mut options: Options,
    prepare: impl FnOnce(&Path) -> anyhow::Result<(Paths, Vec<String>)>,
) -> anyhow::Result<(Lab, PathBuf)> {
    let mut kit = cx.paths.clone();
    let lab = cx.ui.step("lab", "the lab is up", || {
        let dir = scratch_dir(cx);
        let started = prepare(&dir).and_then(|(paths, words)| {
            (kit, options.size) = (paths, words);
            lab::start(program, &dir, &options, true)
        });
        let (ready, child) = started.inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
        let detail = format!("Proxmox {}, Omni {}, clock {}", ready.proxmox_url, ready.omni_endpoint, options.clock);
        Ok(StepResult::changed(Lab { dir, child, ready }, detail))
    })?;
    let project = lab.dir.join("project");
    lab::make_project(&kit, &project, &lab.ready)?;
    Ok((lab, project))
}

/// Runs one task, which must succeed.
pub fn run_passing_task(cx: &Cx, lab: &Lab, project: &Path, words: &[String]) -> anyhow::Result<TaskRun> {
    let ran = run_task(cx, lab, project, words)?;
    if ran.code != Some(0) {
        return Err(task_failure(&ran.line, ran.code, ran.document).into());
    }
    cx.ui.note(&words[0], ran.line.clone(), Status::Ok, millis(ran.elapsed.as_millis() as u64));
    Ok(ran)
}

/// Runs one task, and returns its result even if it fails. It runs this same program as a separate process; only PATH, endpoints
/// and files differ.
pub fn run_task(cx: &Cx, lab: &Lab, project: &Path, words: &[String]) -> anyhow::Result<TaskRun> {
    let json = cx.ui.json();
    if !json {
        cx.ui.say(&format!("\n$ cargo xtask {}", quote_words(words)));
    }
    run_task_as(cx, lab, project, words, json)
}

fn quote_words(words: &[String]) -> String {
    let quoted = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Like [`run_task`], either with JSON output, which is captured, or with text output, which is shown as it arrives.
pub fn run_task_as(cx: &Cx, lab: &Lab, project: &Path, words: &[String], as_json: bool) -> anyhow::Result<TaskRun> {
    let line = format!("cargo xtask {}", quote_words(words));
    let begun = Instant::now();
    let program = std::env::current_exe()?;
    // Run in the project, so that commands in the output need no directory.
    let shell = proc::shell()?;
    shell.change_dir(project);
    let json = as_json.then_some("--json");
    let limit = cx.wait_limit(Duration::from_secs(120));
    // A task with its own `--timeout` keeps it.
    let own = words.iter().any(|word| word == "--timeout");
    let timeout: &[String] = if own { &[] } else { &["--timeout".to_owned(), format!("{}s", limit.as_secs())] };
    let cmd = cmd!(shell, "{program} {words...} --yes --non-interactive {timeout...} --color never {json...}");
    let mut job = Job::new(format!("rehearsing {}", words[0]), cmd).deadline(limit + Duration::from_secs(30));
    let env_file = files::read_optional_text(&lab.ready.env_file)?.unwrap_or_default();
    let env = EnvFile::parse("the lab's env file", &env_file)?;
    for key in env.keys() {
        let value = env.get(key).unwrap_or_default();
        if key.ends_with("KEY") || key.ends_with("TOKEN") {
            secret::hide(value);
        }
        // The PATH in the lab's file ends in `:$PATH`, for a shell.
        let value = value.replace("$PATH", &environment("PATH").unwrap_or_default());
        job = job.env(key, value);
    }
    // omnictl keeps files under HOME, which must not be the operator's.
    job = job.env("HOME", lab.dir.join("home")).env("XDG_STATE_HOME", lab.dir.join("home/.local/state"));
    fs::create_dir_all(lab.dir.join("home"))?;
    let (ended, document) = if as_json {
        let ended = cx.proc.run(job)?;
        let document = serde_json::from_str(&ended.stdout).unwrap_or(Value::Null);
        (ended, document)
    } else {
        (cx.proc.follow(job, |text| cx.ui.say(text))?, Value::Null)
    };
    if proc::is_interrupted() {
        return Err(proc::interruption(&format!("rehearsing {}", words[0])).into());
    }
    Ok(TaskRun { line, elapsed: begun.elapsed(), code: ended.status.code(), document })
}

/// The failure of a rehearsal whose task failed. That task's own output is above, or in the data.
fn task_failure(line: &str, code: Option<i32>, document: Value) -> Failure {
    let code = code.map_or("was killed".to_owned(), |code| format!("exited with {code}"));
    let message = document["error"]["message"].as_str().unwrap_or("its output is above").to_owned();
    Failure::new(Code::Failed, format!("the rehearsal stopped: `{line}` {code}"))
        .cause(message)
        .with(json!({ "stopped_at": document }))
}
