//! The only module that starts processes.
//!
//! xshell builds each command line (`cmd!` never uses a shell), duct starts it, and `pipes.rs` reads its output without
//! threads. Every call
//!
//! 1. has a purpose, with which error messages start;
//! 2. has a deadline and its own process group, which is terminated (SIGTERM, then SIGKILL) when the deadline passes or the
//!    operator interrupts;
//! 3. gets only the standard input that it is given, and only the environment in `INHERITED`: a variable in the operator's
//!    shell must not silently override `docker/.env` or pass one program's secret to another;
//! 4. has both streams captured up to a limit, redacted, and shown in errors;
//! 5. writes one line to the journal: time, purpose, command, exit status and duration.

mod pipes;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read as _, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};

use crate::files;
use crate::ui::MessageWriter;
use domain::failure::{Code, Failure, Kind};
use domain::secret::{Secret, hide, redact};
pub use domain::words::{quote, quote_os};
use pipes::{Call, Streams};

/// The default deadline of a call.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The time between SIGTERM and SIGKILL for a process group.
const GRACE: Duration = Duration::from_secs(5);
/// How often a wait checks for an interruption.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// The maximum number of lines of standard error in an error message.
const STDERR_LINES: usize = 20;
/// The output limit of all running programs together: enough for ten thousand machines in Omni, and suitable for a small host.
const OUTPUT_LIMIT: usize = 48 << 20;
/// The maximum number of programs that run in parallel: omnictl needs tens of megabytes.
const MAX_RUNNING: usize = 6;
/// The length at which a followed line is split.
pub const LINE: usize = 1 << 20;
/// How long a process that the program left behind may keep a pipe open after the program has exited.
const LINGER: Duration = Duration::from_secs(1);
/// The size at which the journal is rotated; the old one is kept as `.1`.
const JOURNAL_LIMIT: u64 = 1 << 20;

/// Starts a program that outlives the call and whose standard output is read: the lab. It gets its own process group, so that
/// Ctrl-C reaches it only through this process.
///
/// # Errors
/// [`Code::Prerequisite`] if it does not start.
pub fn background(cmd: xshell::Cmd<'_>, stdin: Stdio, stderr: impl Into<Stdio>) -> Result<Child, Failure> {
    let mut command = Command::from(cmd);
    let program = command.get_program().to_string_lossy().into_owned();
    let env = inherited_env(command.get_program());
    command.process_group(0).env_clear().envs(env).stdin(stdin).stdout(Stdio::piped()).stderr(stderr);
    command.spawn().map_err(|error| {
        Failure::new(Code::Prerequisite, format!("`{program}` did not start")).cause(error.to_string())
    })
}

/// Terminates a program started by [`background`], including its children.
pub fn end_background(child: &mut Child) {
    let group = Pid::from_child(child);
    // The status has not been read yet, so the pid cannot have been reused.
    if matches!(child.try_wait(), Ok(None)) {
        let _ = kill_process_group(group, Signal::TERM);
        let end = Instant::now() + GRACE;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        if matches!(child.try_wait(), Ok(None)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    let _ = child.wait();
}

/// The variables that a child inherits; entries that end in `*` are prefixes.
const INHERITED: &str = "PATH HOME USER LOGNAME SHELL LANG LC_* TZ TERM COLUMNS NO_COLOR TMPDIR XDG_* SSL_CERT_FILE SSL_CERT_DIR \
     HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy DOCKER_* SSH_AUTH_SOCK \
     OMNICONFIG SIDEROV1_KEYS_DIR GNUPGHOME CARGO* RUSTUP* RUSTC* RUSTFLAGS CI";

/// The prefixes in [`INHERITED`] that include secrets (`CARGO_REGISTRY_TOKEN`, `DOCKER_AUTH_CONFIG`), each with the only
/// program that may inherit them, and the words that identify such a variable.
const FAMILIES: [(&str, &str); 2] = [("CARGO", "cargo"), ("DOCKER_", "docker")];
const SECRET_WORDS: [&str; 6] = ["TOKEN", "AUTH", "PASSWORD", "SECRET", "CREDENTIAL", "_KEY"];

/// The signals that stop a task, each with its description for operators.
const STOP_SIGNALS: [(i32, &str); 4] = [
    (SIGINT, "Ctrl-C"),
    (SIGTERM, "SIGTERM"),
    (SIGHUP, "the terminal was closed (SIGHUP)"),
    (SIGQUIT, "Ctrl-\\ (SIGQUIT)"),
];

static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Records the signals in `STOP_SIGNALS` from now on; every wait checks [`is_interrupted`].
///
/// A second signal exits immediately if it comes more than `SAME_SIGNAL` after the first, in case terminating the children takes
/// too long. An earlier one is ignored: `timeout` signals its child and then the whole process group.
pub fn watch_signals() {
    // With this handler, exceeding `ulimit -f` is a write error instead of a crash.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let seen = SIGNAL.get_or_init(|| Arc::new(AtomicUsize::new(0)));
    let again = EXIT.get_or_init(Arc::default);
    for (signal, _) in STOP_SIGNALS {
        // `nohup` ignores this signal so that the task outlives its terminal.
        if signal == SIGHUP && is_ignored(signal) {
            continue;
        }
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(again));
        let _ = signal_hook::flag::register_usize(signal, Arc::clone(seen), signal as usize);
    }
}

/// Returns true if this process was started with `signal` ignored; false if there is no `/proc`.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// Returns true if the operator has interrupted the task.
pub fn is_interrupted() -> bool {
    received_signal().is_some()
}

/// How long after the first signal another one may still belong to it.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Whether the next signal exits, and when the first one was noticed.
static EXIT: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static NOTICED: OnceLock<Instant> = OnceLock::new();

/// The description of the first stop signal, if there was one.
fn received_signal() -> Option<&'static str> {
    let signal = SIGNAL.get()?.load(Ordering::Relaxed);
    if signal != 0 && NOTICED.get_or_init(Instant::now).elapsed() > SAME_SIGNAL {
        EXIT.get()?.store(true, Ordering::Relaxed);
    }
    STOP_SIGNALS.iter().find(|(number, _)| usize::try_from(*number) == Ok(signal)).map(|(_, name)| *name)
}

/// Returns true if standard output is a pipe without a reader. A write would fail too, but an idle log writes nothing.
pub fn is_stdout_closed() -> bool {
    let stdout = std::io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().contains(PollFlags::ERR)
}

/// Waits up to `patience` until there is something to read, and returns whether there is; a signal ends the wait early.
pub fn is_readable(from: &impl std::os::fd::AsFd, patience: Duration) -> bool {
    let mut polled = [PollFd::new(from, PollFlags::IN)];
    let patience = Timespec::try_from(patience).unwrap_or_default();
    poll(&mut polled, Some(&patience)).is_ok_and(|ready| ready > 0)
}

/// Reads standard input, up to `limit` bytes. It reads only when there is data: a blocking read is restarted after a signal,
/// but Ctrl-C must end it immediately.
///
/// # Errors
/// [`Code::Interrupted`] if the operator interrupts; the inner result contains the error of the read.
pub fn read_stdin(limit: u64) -> Result<std::io::Result<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    let stdin = std::io::stdin();
    while (bytes.len() as u64) < limit {
        if is_interrupted() {
            return Err(interruption("reading standard input"));
        }
        if !is_readable(&stdin, Duration::from_millis(250)) {
            continue;
        }
        match stdin.lock().read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(bytes))
}

static FIRST_INTERRUPTION: OnceLock<Failure> = OnceLock::new();

/// The failure of a task that was interrupted while `doing`.
pub fn interruption(doing: &str) -> Failure {
    let failure = Failure::new(Code::Interrupted, format!("interrupted while {doing}"))
        .kind(Kind::Interrupted)
        .cause(received_signal().unwrap_or("Ctrl-C or SIGTERM"))
        .hint("no file is half written; run the same command again to continue");
    if is_interrupted() {
        let _ = FIRST_INTERRUPTION.set(failure.clone());
    }
    failure
}

/// The first interrupted call or wait. Many tasks continue after a failed read, but an interruption leaves their result
/// incomplete.
pub fn first_interruption() -> Option<Failure> {
    FIRST_INTERRUPTION.get().cloned()
}

/// A shell to build command lines with: `cmd!(shell, "docker compose ps")`.
///
/// # Errors
/// Returns an error if the working directory does not exist any more.
pub fn shell() -> Result<xshell::Shell, Failure> {
    xshell::Shell::new().map_err(|error| Failure::new(Code::Failed, "no working directory").cause(error.to_string()))
}

/// Runs programs and writes the journal. Cheap to clone; parallel calls share it.
#[derive(Clone)]
pub struct Proc {
    journal: Option<Journal>,
    task: String,
    /// Shows every call, for `--verbose`.
    verbose: Option<MessageWriter>,
}

/// The journal file, and the project recorded in each line: all checkouts of a user share one journal.
#[derive(Debug, Clone)]
pub struct Journal {
    pub file: PathBuf,
    pub project: PathBuf,
}

/// The captured output of a program, by stream.
struct CapturedOutput {
    texts: [Vec<u8>; 2],
    printed: usize,
    limit: usize,
    /// The program exceeded a limit.
    over: bool,
}

/// The captured output of all running programs, in bytes.
static CAPTURED_BYTES: AtomicUsize = AtomicUsize::new(0);

impl CapturedOutput {
    fn new(limit: usize) -> CapturedOutput {
        CapturedOutput { texts: Default::default(), printed: 0, limit, over: false }
    }

    /// Appends `bytes`; returns false if that exceeds a limit.
    fn take(&mut self, from: usize, bytes: &[u8]) -> bool {
        self.printed += bytes.len();
        let all = CAPTURED_BYTES.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        self.over |= self.printed > self.limit || all > OUTPUT_LIMIT;
        if !self.over {
            self.texts[from].extend_from_slice(bytes);
        }
        !self.over
    }
}

impl Drop for CapturedOutput {
    fn drop(&mut self) {
        CAPTURED_BYTES.fetch_sub(self.printed, Ordering::Relaxed);
    }
}

/// A call of a program that has not started yet.
pub struct Job {
    purpose: String,
    /// Not a `PathBuf`: duct would turn the bare name `sh` into `./sh`.
    program: OsString,
    args: Vec<OsString>,
    dir: Option<PathBuf>,
    env: BTreeMap<OsString, OsString>,
    stdin: Option<Vec<u8>>,
    deadline: Duration,
    /// The output limit, and the caller's failure for exceeding it, if it has a better one.
    limit: usize,
    over: Option<Failure>,
    /// Runs to its end even after an interruption.
    ignore_interrupt: bool,
}

/// The result of a finished call, with any exit status.
#[derive(Debug, Clone)]
pub struct CommandOutput {
    pub status: ExitStatus,
    /// Unchanged output, which may contain secrets that the caller requested.
    pub stdout: String,
    /// With known secrets redacted.
    pub stderr: String,
    pub elapsed: Duration,
    /// The command line for copy and paste, with known secrets redacted.
    pub line: String,
    purpose: String,
}

impl Job {
    /// A call of `cmd` for `purpose` ("listing the containers of the stack").
    pub fn new(purpose: impl Into<String>, cmd: xshell::Cmd<'_>) -> Job {
        let built = Command::from(cmd);
        let args = built.get_args().map(OsStr::to_owned).collect();
        let dir = built.get_current_dir().map(Path::to_owned);
        let program = built.get_program().to_owned();
        let env = inherited_env(&program);
        Job {
            purpose: purpose.into(),
            program,
            args,
            dir,
            env,
            stdin: None,
            deadline: DEADLINE,
            limit: OUTPUT_LIMIT,
            over: None,
            ignore_interrupt: false,
        }
    }

    /// Stops the call with `failure` if it prints more than `bytes`.
    pub fn limit(mut self, bytes: usize, failure: Failure) -> Job {
        (self.limit, self.over) = (bytes, Some(failure));
        self
    }

    /// Stops the call after this time.
    pub fn deadline(mut self, deadline: Duration) -> Job {
        self.deadline = deadline;
        self
    }

    /// Keeps Ctrl-C from preventing or stopping the call. For calls that clean up.
    pub fn ignore_interrupt(mut self) -> Job {
        self.ignore_interrupt = true;
        self
    }

    /// Adds a variable to the child's environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Job {
        self.env.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// Passes the whole environment, for calls of this program itself, which reads its settings there.
    pub fn inherit_env(mut self) -> Job {
        self.env = std::env::vars_os().collect();
        self
    }

    /// Adds a secret variable: only the owner of a process can read its environment, but everyone can read its arguments.
    pub fn secret_env(self, name: &str, value: &Secret) -> Job {
        self.env(name, value.expose())
    }

    /// Passes `bytes` to the child on standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Job {
        self.stdin = Some(bytes.into());
        self
    }

    fn expression(&self) -> duct::Expression {
        let mut expression = duct::cmd(&self.program, &self.args).full_env(&self.env).unchecked();
        if let Some(dir) = &self.dir {
            expression = expression.dir(dir);
        }
        expression.before_spawn(|command| {
            command.process_group(0);
            Ok(())
        })
    }

    /// The command line as a user could type it, redacted.
    fn line(&self) -> String {
        let words = std::iter::once(self.program.as_os_str()).chain(self.args.iter().map(OsString::as_os_str));
        let words: Vec<String> = words.map(|word| quote(&word.to_string_lossy())).collect();
        redact(&words.join(" ")).into_owned()
    }
}

/// The number of running programs, and the condition that waits for one of them to end.
static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// One of the [`MAX_RUNNING`] slots for running programs.
struct RunSlot;

impl RunSlot {
    /// Waits for a free slot. An interruption ends the programs that occupy them.
    fn take() -> RunSlot {
        let running = RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |running: &mut usize| *running >= MAX_RUNNING;
        *RUNNING.1.wait_while(running, full).unwrap_or_else(PoisonError::into_inner) += 1;
        RunSlot
    }
}

impl Drop for RunSlot {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RUNNING.1.notify_one();
    }
}

impl Proc {
    /// A runner that writes the calls of `task` to `journal`, if given, and shows them through `verbose`.
    pub fn new(journal: Option<Journal>, task: &str, verbose: Option<MessageWriter>) -> Proc {
        Proc { journal, task: task.to_owned(), verbose }
    }

    /// Runs `job` to completion and returns its output, whatever the exit status.
    ///
    /// # Errors
    /// [`Code::Prerequisite`] if the program cannot be started, [`Code::Timeout`] if the deadline passes, [`Code::Interrupted`]
    /// if the operator interrupts, [`Code::Failed`] if the output is too large.
    pub fn run(&self, job: Job) -> Result<CommandOutput, Failure> {
        self.run_reading(job, &mut |_| {})
    }

    /// Like [`Proc::run`], but `read` may remove what it has parsed from the standard output so far.
    pub fn run_reading(&self, job: Job, read: &mut dyn FnMut(&mut Vec<u8>)) -> Result<CommandOutput, Failure> {
        let _place = RunSlot::take();
        if is_interrupted() && !job.ignore_interrupt {
            return Err(interruption(&job.purpose));
        }
        let line = job.line();
        let begun = Instant::now();
        let started = Call::start(job.expression(), job.stdin.as_deref(), Streams::Apart);
        let mut call = started.map_err(|error| cannot_start(&job, &line, &error))?;
        let mut kept = CapturedOutput::new(job.limit);
        let mut keep = |from: usize, bytes: &[u8]| {
            let all = kept.take(from, bytes);
            read(&mut kept.texts[0]);
            all
        };
        let status = loop {
            let over = !call.pump(POLL_INTERVAL, &mut keep);
            let stop = if over {
                Some(("printed too much", output_too_large(&job, &line)))
            } else if call.has_exited() {
                break call.close(LINGER, GRACE, &mut keep);
            } else if is_interrupted() && !job.ignore_interrupt {
                Some(("interrupted", interruption(&job.purpose)))
            } else if begun.elapsed() >= job.deadline {
                Some(("deadline", timed_out(&job, &line)))
            } else {
                None
            };
            if let Some((how, failure)) = stop {
                call.terminate(GRACE);
                self.write_journal(&job, &line, how, begun.elapsed());
                return Err(failure);
            }
        };
        if kept.over {
            self.write_journal(&job, &line, "printed too much", begun.elapsed());
            return Err(output_too_large(&job, &line));
        }
        let status = status.map_err(|error| cannot_start(&job, &line, &error))?;
        let [stdout, stderr] = std::mem::take(&mut kept.texts).map(decode_output);
        let stderr = match redact(&stderr) {
            std::borrow::Cow::Owned(wiped) => wiped,
            std::borrow::Cow::Borrowed(_) => stderr,
        };
        let ended =
            CommandOutput { status, stdout, stderr, elapsed: begun.elapsed(), line, purpose: job.purpose.clone() };
        self.write_journal(&job, &ended.line, &describe_status(status), ended.elapsed);
        Ok(ended)
    }

    /// Runs `job` and passes each line of both streams to `each` as it arrives, until the program exits, the operator
    /// interrupts, or the reader of our standard output exits (`| head`); the deadline does not apply.
    ///
    /// # Errors
    /// [`Code::Prerequisite`] if the program cannot be started, [`Code::Interrupted`]; any exit status is a result.
    pub fn follow(&self, job: Job, mut each: impl FnMut(&str)) -> Result<CommandOutput, Failure> {
        let line = job.line();
        let begun = Instant::now();
        let started = Call::start(job.expression(), job.stdin.as_deref(), Streams::Together);
        let mut call = started.map_err(|error| cannot_start(&job, &line, &error))?;
        let mut rest: Vec<u8> = Vec::new();
        let mut keep = |_: usize, bytes: &[u8]| {
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                rest.extend_from_slice(part);
                if part.ends_with(b"\n") || rest.len() >= LINE {
                    emit_line(&rest, &mut each);
                    rest.clear();
                }
            }
            true
        };
        let status = loop {
            call.pump(POLL_INTERVAL, &mut keep);
            if call.has_exited() {
                break call.close(LINGER, GRACE, &mut keep);
            }
            if is_interrupted() || is_stdout_closed() {
                break call.terminate_with(GRACE, &mut keep);
            }
        };
        if !rest.is_empty() {
            emit_line(&rest, &mut each);
        }
        if is_interrupted() {
            self.write_journal(&job, &line, "interrupted", begun.elapsed());
            return Err(interruption(&job.purpose));
        }
        let status = status.map_err(|error| cannot_start(&job, &line, &error))?;
        self.write_journal(&job, &line, &describe_status(status), begun.elapsed());
        let (stdout, stderr) = (String::new(), String::new());
        Ok(CommandOutput { status, stdout, stderr, elapsed: begun.elapsed(), line, purpose: job.purpose })
    }

    /// Writes one line to the journal. A journal that cannot be written must not stop a task.
    fn write_journal(&self, job: &Job, line: &str, ended: &str, elapsed: Duration) {
        if let Some(verbose) = &self.verbose {
            verbose.say(&format!("         $ {line}  ({ended}, {} ms)", elapsed.as_millis()));
        }
        let Some(Journal { file, project }) = &self.journal else { return };
        let Some(dir) = file.parent().filter(|dir| files::create_private_dir(dir).is_ok()) else { return };
        if std::fs::metadata(file).is_ok_and(|meta| meta.len() > JOURNAL_LIMIT) {
            let _ = std::fs::rename(file, dir.join("journal.jsonl.1"));
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let entry = json!({
            "at": at, "project": project.to_string_lossy(), "task": self.task, "purpose": redact(&job.purpose),
            "line": line, "ended": ended, "elapsed_ms": elapsed.as_millis() as u64,
        });
        if let Ok(mut file) = files::open_file(file, OpenOptions::new().append(true).create(true).mode(files::PRIVATE))
        {
            // A single write, so that parallel calls do not interleave their lines.
            let _ = file.write_all(redact(&format!("{entry}\n")).as_bytes());
        }
    }
}

impl CommandOutput {
    pub fn is_success(&self) -> bool {
        self.status.success()
    }

    /// `self` if the exit status is 0, otherwise the failure with the command, its status and its last lines.
    ///
    /// # Errors
    /// [`Code::Failed`]; adapters that know the program's messages return a better one.
    pub fn require_success(self) -> Result<CommandOutput, Failure> {
        if self.is_success() { Ok(self) } else { Err(self.failure()) }
    }

    /// The failure for output that cannot be parsed because of `why`.
    pub fn not_understood(&self, why: impl Into<String>) -> Failure {
        Failure::new(Code::Failed, format!("`{}` was not understood", self.line)).cause(why)
    }

    /// The failure for this result, with the last lines of its output.
    pub fn failure(&self) -> Failure {
        let words = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let words = redact(words.trim_end()).into_owned();
        let lines: Vec<&str> = words.lines().collect();
        let tail = lines[lines.len().saturating_sub(STDERR_LINES)..].join("\n");
        let output = if tail.is_empty() { "no output".to_owned() } else { tail };
        Failure::new(Code::Failed, format!("{} failed: `{}` {}", self.purpose, self.line, describe_status(self.status)))
            .cause(output)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

/// The program that may inherit the variable, if the variable is a secret of one of the [`FAMILIES`].
fn program_of_secret(name: &str) -> Option<&'static str> {
    let family = FAMILIES.iter().find(|(family, _)| name.starts_with(family));
    let (_, program) = family.filter(|_| SECRET_WORDS.iter().any(|word| name.contains(word)))?;
    Some(program)
}

/// Redacts the secrets of cargo and docker in this process's environment from all output.
pub fn hide_secrets() {
    for (name, value) in std::env::vars_os() {
        if program_of_secret(&name.to_string_lossy()).is_some() {
            hide(&value.to_string_lossy());
        }
    }
}

/// Returns true if a variable is in a list of names; entries that end in `*` are prefixes.
pub fn is_listed(list: &str, name: &str) -> bool {
    list.split(' ').any(|entry| match entry.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == entry,
    })
}

/// The part of this process's environment that a child running `program` inherits.
fn inherited_env(program: &OsStr) -> BTreeMap<OsString, OsString> {
    let program = Path::new(program).file_name().unwrap_or_default();
    let is_inherited = |name: &OsStr| {
        let name = name.to_string_lossy();
        program_of_secret(&name).map_or(is_listed(INHERITED, &name), |whose| program == whose)
    };
    std::env::vars_os().filter(|(name, _)| is_inherited(name)).collect()
}

fn cannot_start(job: &Job, line: &str, error: &std::io::Error) -> Failure {
    Failure::new(Code::Prerequisite, format!("{} failed: `{line}` did not start", job.purpose))
        .cause(format!("{}: {error}", job.program.to_string_lossy()))
}

fn timed_out(job: &Job, line: &str) -> Failure {
    let seconds = job.deadline.as_secs_f64();
    Failure::new(Code::Timeout, format!("{} failed: timed out after {seconds} s", job.purpose))
        .cause(format!("`{line}` did not finish in time and was stopped"))
        .hint("check that the service is reachable; --timeout extends waits")
}

/// The failure for a program that exceeded its output limit: parsing truncated output would give wrong results.
fn output_too_large(job: &Job, line: &str) -> Failure {
    if let Some(failure) = &job.over {
        return failure.clone();
    }
    Failure::new(Code::Failed, format!("{} failed: the output is larger than {} MiB", job.purpose, job.limit >> 20))
        .cause(format!("`{line}` printed more than the limit and was stopped"))
        .hint("run the command by itself to see its output; the service may be faulty, or the address may be wrong")
}

/// The output as text; bytes that are not UTF-8 become U+FFFD.
fn decode_output(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn emit_line(line: &[u8], each: &mut impl FnMut(&str)) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    each(redact(String::from_utf8_lossy(line).trim_end_matches('\r')).as_ref());
}

/// "exited with 1", "was killed by signal 9".
fn describe_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::{NO_LIMIT, map_all};
    use tempfile::TempDir;
    use xshell::cmd;

    fn proc() -> Proc {
        Proc::new(None, "test", None)
    }

    fn sh(script: &str) -> Job {
        let shell = shell().unwrap();
        Job::new("trying", cmd!(shell, "sh -c {script}"))
    }

    #[test]
    fn run_captures_streams_and_status() {
        let ended = proc().run(sh("echo out; echo err >&2; exit 7")).unwrap();
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
        let failure = ended.require_success().unwrap_err();
        assert_eq!(failure.message, "trying failed: `sh -c 'echo out; echo err >&2; exit 7'` exited with 7");
        assert_eq!(failure.cause, "err");
    }

    #[test]
    fn programs_beyond_the_limit_wait_for_a_place() {
        let dir = TempDir::new().unwrap();
        let script = format!("cd {}; : > $$; ls | wc -l; sleep 0.3; rm $$", dir.path().display());
        let seen = map_all(0..3 * MAX_RUNNING, NO_LIMIT, |_| proc().run(sh(&script)).unwrap().stdout);
        let most = seen.iter().map(|count| count.trim().parse().unwrap()).max().unwrap();
        assert!((2..=MAX_RUNNING).contains(&most), "{most} at once");
    }

    #[test]
    fn deadline_stops_grandchildren() {
        let begun = Instant::now();
        let failure = proc().run(sh("sleep 30 & sleep 30").deadline(Duration::from_millis(100))).unwrap_err();
        assert_eq!(failure.code, Code::Timeout);
        assert!(begun.elapsed() < Duration::from_secs(4), "the pipe of the grandchild must not hold us");
    }

    /// Whether the process whose pid a script wrote to `file` keeps running. An exiting process closes its pipes slightly
    /// earlier.
    fn is_alive(file: &Path) -> bool {
        let pid = std::fs::read_to_string(file).unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let there = |stat: String| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X']);
        (0..100).all(|_| {
            std::thread::sleep(Duration::from_millis(10));
            Some(stat()).filter(|stat| !stat.is_empty()).is_some_and(there)
        })
    }

    #[test]
    fn deadline_stops_a_process_of_another_session() {
        let dir = TempDir::new().unwrap();
        let left = dir.path().join("pid");
        let script = format!("setsid sh -c 'echo $$ > {}; exec sleep 42' & sleep 42", left.display());
        let failure = proc().run(sh(&script).deadline(Duration::from_millis(500))).unwrap_err();
        assert_eq!(failure.code, Code::Timeout);
        assert!(!is_alive(&left));
    }

    #[test]
    fn program_gets_one_sigterm() {
        let dir = TempDir::new().unwrap();
        let asked = dir.path().join("asked");
        let script =
            format!("trap 'echo x >> {}; sleep 0.3; exit' TERM; while :; do sleep 0.05; done", asked.display());
        let failure = proc().run(sh(&script).deadline(Duration::from_millis(500))).unwrap_err();
        assert_eq!(failure.code, Code::Timeout);
        assert_eq!(std::fs::read_to_string(&asked).unwrap(), "x\n", "a second signal means haste to many programs");
    }

    #[test]
    fn input_larger_than_a_pipe_is_written_while_output_is_read() {
        let text = "0123456789abcdef".repeat(1 << 16);
        assert_eq!(proc().run(sh("cat").stdin(text.clone())).unwrap().stdout, text);
        let ended = proc().run(sh("exec <&-; echo done").stdin(text)).unwrap();
        assert_eq!(ended.stdout, "done\n", "a program need not read all of it");
    }

    #[test]
    fn follow_splits_an_endless_line() {
        let mut lengths = Vec::new();
        proc().follow(sh("head -c 3000000 /dev/zero | tr '\\0' x"), |line| lengths.push(line.len())).unwrap();
        assert_eq!(lengths.iter().sum::<usize>(), 3_000_000);
        assert!(lengths.iter().all(|length| *length <= LINE + (64 << 10)), "{lengths:?}");
    }

    #[test]
    fn deadline_waits_for_a_slow_grandchild() {
        let dir = TempDir::new().unwrap();
        let (begun, ended) = (dir.path().join("begun"), dir.path().join("ended"));
        // The grandchild has none of our pipes, and keeps running for a moment after SIGTERM.
        let script = format!(
            "(trap 'sleep 0.2; : > {1}; exit' TERM; : > {0}; while :; do sleep 0.01; done) >/dev/null 2>&1 & \
             while [ ! -e {0} ]; do sleep 0.01; done; sleep 30",
            begun.display(),
            ended.display()
        );
        let failure = proc().run(sh(&script).deadline(Duration::from_secs(1))).unwrap_err();
        assert_eq!(failure.code, Code::Timeout);
        assert!(ended.exists(), "it was neither waited for nor left alone");
    }

    #[test]
    fn child_gets_only_listed_variables() {
        let ended = proc().run(sh("env").env("GIVEN", "1")).unwrap();
        assert!(ended.stdout.contains("GIVEN=1"));
        assert!(ended.stdout.lines().all(|line| !line.starts_with("OMNI_SERVICE_ACCOUNT_KEY")));
        let names: Vec<&str> = ended.stdout.lines().filter_map(|line| line.split('=').next()).collect();
        let known = |name: &str| ["GIVEN", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name) || is_listed(INHERITED, name);
        assert!(names.iter().all(|name| known(name)), "{names:?}");
    }

    #[test]
    fn secrets_reach_only_the_child() {
        let dir = TempDir::new().unwrap();
        let journal = dir.path().join("journal.jsonl");
        let secret = Secret::new("canary-proc-1");
        let job = sh("cat; echo \"$KEY\" >&2; exit 1").stdin(secret.expose()).secret_env("KEY", &secret);
        let ended =
            Proc::new(Some(Journal { file: journal.clone(), project: "/p".into() }), "test", None).run(job).unwrap();
        assert_eq!(ended.stdout, "canary-proc-1");
        assert_eq!(ended.stderr, "***\n");
        let failure = format!("{:?}", ended.failure());
        let noted = std::fs::read_to_string(&journal).unwrap();
        assert!(!failure.contains("canary") && !noted.contains("canary"), "{failure} {noted}");
        assert!(noted.contains("\"ended\":\"exited with 1\""), "{noted}");
    }

    #[test]
    fn missing_program_is_a_prerequisite() {
        let shell = shell().unwrap();
        let failure = proc().run(Job::new("trying", cmd!(shell, "no-such-program-here"))).unwrap_err();
        assert_eq!(failure.code, Code::Prerequisite);
        assert!(failure.cause.contains("no-such-program-here"), "{failure}");
    }

    #[test]
    fn follow_passes_lines_immediately() {
        let mut lines = Vec::new();
        let ended =
            proc().follow(sh("echo a; echo b >&2; printf c; exit 3"), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["a", "b", "c"]);
        assert_eq!(ended.status.code(), Some(3));
    }
}
