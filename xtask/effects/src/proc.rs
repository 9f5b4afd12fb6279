//! The only place that starts a process.
//!
//! xshell builds each command line (`cmd!` never goes through a shell), duct runs it. Both hide what an operator needs:
//! neither keeps standard error in its error, neither knows a deadline that also ends grandchildren, and both can print
//! secrets. So here every call
//!
//! 1. says its purpose, which opens the error text;
//! 2. has a deadline, and a process group of its own that is ended as a whole (SIGTERM, then SIGKILL) when the deadline
//!    passes or the operator interrupts;
//! 3. gets nothing on standard input unless it is given, and only the environment of [`INHERITED`]: a variable in the
//!    operator's shell must neither override `docker/.env` unseen nor hand one program another one's secret;
//! 4. has both streams captured, wiped of secrets, and shown in the error;
//! 5. leaves one line in the journal: when, why, what, how it ended and how long it took.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use model::failure::{Code, Failure, Kind};
use model::secret::{Secret, hide, redact};

/// How long a call may take when nobody says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Between asking a process group to end and ending it.
const GRACE: Duration = Duration::from_secs(5);
/// How often a wait looks whether the operator interrupted.
const LOOK: Duration = Duration::from_millis(25);
/// What an error shows of a program's standard error.
const STDERR_LINES: usize = 20;
/// The journal starts anew past this size; the old one stays beside it as `.1`.
const JOURNAL_LIMIT: u64 = 1 << 20;

/// Starts a program that outlives the call, with its standard output to be read: the lab. In a group of its own, so that Ctrl-C reaches it only through us.
///
/// # Errors
/// [`Code::Prerequisite`] when it does not start.
pub fn background(cmd: xshell::Cmd<'_>, stdin: Stdio, stderr: impl Into<Stdio>) -> Result<Child, Failure> {
    let mut command = Command::from(cmd);
    let program = command.get_program().to_string_lossy().into_owned();
    let env = inherited(command.get_program());
    command.process_group(0).env_clear().envs(env).stdin(stdin).stdout(Stdio::piped()).stderr(stderr);
    command.spawn().map_err(|error| {
        Failure::new(Code::Prerequisite, format!("`{program}` did not start")).cause(error.to_string())
    })
}

/// Ends what [`background`] started, with whatever it has started in its turn.
pub fn end_background(child: &mut Child) {
    // Not asked for its status yet, so that its number is still its own.
    if matches!(child.try_wait(), Ok(None)) {
        signal_groups(&[child.id()], libc::SIGTERM);
        let end = Instant::now() + GRACE;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        if matches!(child.try_wait(), Ok(None)) {
            signal_groups(&[child.id()], libc::SIGKILL);
        }
    }
    let _ = child.wait();
}

/// Becomes `program`: same process, same environment and streams, called by the name `name`. Returns only when that fails.
#[allow(clippy::disallowed_methods)] // not a child: it takes our place, with whatever is ours
pub fn become_program(program: &Path, name: &Path, args: impl IntoIterator<Item = OsString>) -> Failure {
    let error = Command::new(program).arg0(name).args(args).exec();
    Failure::new(Code::Prerequisite, format!("`{}` did not start", program.display())).cause(error.to_string())
}

/// Shows on the terminal again what is typed, after a question for a secret was interrupted.
pub fn show_typing() {
    let Ok(shell) = shell() else { return };
    let mut command = Command::from(xshell::cmd!(shell, "stty echo"));
    let env = inherited(command.get_program());
    let _ = command.env_clear().envs(env).stdin(Stdio::inherit()).status();
}

/// What a child sees of this process's environment; entries that end in `*` are prefixes.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_*",
    "TZ",
    "TERM",
    "COLUMNS",
    "NO_COLOR",
    "TMPDIR",
    "XDG_*",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "DOCKER_*",
    "SSH_AUTH_SOCK",
    "OMNICONFIG",
    "SIDEROV1_KEYS_DIR",
    "GNUPGHOME",
    "CARGO*",
    "RUSTUP*",
    "RUSTC*",
    "RUSTFLAGS",
    "CI",
];

/// The families in [`INHERITED`] that have secrets among them (`CARGO_REGISTRY_TOKEN`, `DOCKER_AUTH_CONFIG`), each with the
/// program that these are for; words by which such a variable is known.
const FAMILIES: [(&str, &str); 2] = [("CARGO", "cargo"), ("DOCKER_", "docker")];
const SECRET_WORDS: [&str; 6] = ["TOKEN", "AUTH", "PASSWORD", "SECRET", "CREDENTIAL", "_KEY"];

static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Notes SIGINT and SIGTERM from now on; every wait looks at [`interrupted`].
///
/// A second Ctrl-C ends the program at once, for the case that ending the children takes too long.
pub fn watch_signals() {
    use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
    // A limit on the size of files (`ulimit -f`) is an error of the write then, and no sudden end.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let seen = SIGNAL.get_or_init(|| Arc::new(AtomicUsize::new(0)));
    let twice = Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Order matters: the second signal finds `twice` set by the first.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&twice));
        let _ = signal_hook::flag::register(signal, Arc::clone(&twice));
        let _ = signal_hook::flag::register_usize(signal, Arc::clone(seen), signal as usize);
    }
}

/// Whether the operator asked to stop.
pub fn interrupted() -> bool {
    SIGNAL.get().is_some_and(|seen| seen.load(Ordering::Relaxed) != 0)
}

/// Whether standard output is a pipe whose reader has gone. A write would tell it too, but a quiet log has none.
pub fn nobody_reads() -> bool {
    let mut stdout = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
    // SAFETY: poll gets one entry, which lives on our stack, and is told so; it waits for nothing.
    #[allow(unsafe_code)]
    let answered = unsafe { libc::poll(&raw mut stdout, 1, 0) };
    answered > 0 && stdout.revents & libc::POLLERR != 0
}

/// What was given up first because the operator asked to stop.
static CUT: OnceLock<Failure> = OnceLock::new();

/// The failure of a task that was asked to stop while `doing`.
pub fn interruption(doing: &str) -> Failure {
    let failure = Failure::new(Code::Interrupted, format!("interrupted while {doing}"))
        .kind(Kind::Cut)
        .cause("Ctrl-C or SIGTERM")
        .hint("nothing is half written; run the same command again to go on");
    if interrupted() {
        let _ = CUT.set(failure.clone());
    }
    failure
}

/// The first call or wait that was given up because the operator asked to stop. Whatever a task made of it, and many go on
/// when one look fails, it has not seen what it speaks of.
pub fn cut() -> Option<Failure> {
    CUT.get().cloned()
}

/// A shell to build command lines with: `cmd!(shell, "docker compose ps")`.
///
/// # Errors
/// When the working directory is gone.
pub fn shell() -> Result<xshell::Shell, Failure> {
    xshell::Shell::new().map_err(|error| Failure::new(Code::Failed, "no working directory").cause(error.to_string()))
}

/// Where calls are written down. Cheap to clone; shared by side-by-side calls.
#[derive(Debug, Clone)]
pub struct Proc {
    journal: Option<PathBuf>,
    task: String,
    verbose: bool,
}

/// One call of a program, not yet made.
pub struct Job {
    purpose: String,
    /// Not a path: duct would turn the bare name `sh` into `./sh`.
    program: OsString,
    args: Vec<OsString>,
    dir: Option<PathBuf>,
    env: BTreeMap<OsString, OsString>,
    stdin: Option<Vec<u8>>,
    deadline: Duration,
    /// Made and waited for even when the operator asked to stop.
    tidies: bool,
}

/// How a call ended, whatever its exit status.
#[derive(Debug, Clone)]
pub struct Ended {
    pub status: ExitStatus,
    /// As the program wrote it: may hold secrets that the caller asked for.
    pub stdout: String,
    /// Wiped of known secrets.
    pub stderr: String,
    pub elapsed: Duration,
    /// The copy-pasteable command line, wiped of known secrets.
    pub line: String,
    purpose: String,
}

impl Job {
    /// The call that `cmd` describes, made in order to `purpose` ("listing the containers of the stack").
    pub fn new(purpose: impl Into<String>, cmd: xshell::Cmd<'_>) -> Job {
        let built = Command::from(cmd);
        let args = built.get_args().map(OsStr::to_owned).collect();
        let dir = built.get_current_dir().map(Path::to_owned);
        let program = built.get_program().to_owned();
        let env = inherited(&program);
        Job { purpose: purpose.into(), program, args, dir, env, stdin: None, deadline: DEADLINE, tidies: false }
    }

    /// Ends the call after this long.
    pub fn deadline(mut self, deadline: Duration) -> Job {
        self.deadline = deadline;
        self
    }

    /// Takes away what another call has left: Ctrl-C neither prevents nor ends it.
    pub fn tidies(mut self) -> Job {
        self.tidies = true;
        self
    }

    /// Adds a variable to the child's environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Job {
        self.env.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// Adds a secret variable: the environment of a process is readable by its owner only, its arguments by everyone.
    pub fn secret_env(self, name: &str, value: &Secret) -> Job {
        self.env(name, value.expose())
    }

    /// Gives the child this on standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Job {
        self.stdin = Some(bytes.into());
        self
    }

    #[allow(clippy::disallowed_methods)] // the one caller
    fn expression(&self) -> duct::Expression {
        let mut expression = duct::cmd(&self.program, &self.args).full_env(&self.env).unchecked();
        if let Some(dir) = &self.dir {
            expression = expression.dir(dir);
        }
        expression = match &self.stdin {
            Some(bytes) => expression.stdin_bytes(bytes.clone()),
            None => expression.stdin_null(),
        };
        expression.before_spawn(|command| {
            command.process_group(0);
            Ok(())
        })
    }

    /// The line as a person could type it.
    fn line(&self) -> String {
        let words = std::iter::once(self.program.as_os_str()).chain(self.args.iter().map(OsString::as_os_str));
        let words: Vec<String> = words.map(|word| quote(&word.to_string_lossy())).collect();
        redact(&words.join(" ")).into_owned()
    }
}

impl Proc {
    /// A runner whose calls are journalled for `task` under `journal`, if that is given.
    pub fn new(journal: Option<PathBuf>, task: &str, verbose: bool) -> Proc {
        Proc { journal, task: task.to_owned(), verbose }
    }

    /// Runs `job` to its end, whatever its exit status.
    ///
    /// # Errors
    /// [`Code::Prerequisite`] when the program cannot be started, [`Code::Timeout`] when the deadline passed,
    /// [`Code::Interrupted`] when the operator asked to stop.
    pub fn run(&self, job: Job) -> Result<Ended, Failure> {
        if interrupted() && !job.tidies {
            return Err(interruption(&job.purpose));
        }
        let line = job.line();
        let begun = Instant::now();
        let started = job.expression().stdout_capture().stderr_capture().start();
        let handle = started.map_err(|error| cannot_start(&job, &line, &error))?;
        let output = loop {
            match handle.wait_timeout(LOOK) {
                Ok(Some(output)) => break output.clone(),
                Ok(None) if interrupted() && !job.tidies => {
                    end_group(&handle);
                    self.note(&job, &line, "interrupted", begun.elapsed());
                    return Err(interruption(&job.purpose));
                }
                Ok(None) if begun.elapsed() >= job.deadline => {
                    end_group(&handle);
                    self.note(&job, &line, "deadline", begun.elapsed());
                    return Err(too_slow(&job, &line));
                }
                Ok(None) => {}
                Err(error) => return Err(cannot_start(&job, &line, &error)),
            }
        };
        let ended = Ended {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: redact(&String::from_utf8_lossy(&output.stderr)).into_owned(),
            elapsed: begun.elapsed(),
            line,
            purpose: job.purpose.clone(),
        };
        self.note(&job, &ended.line, &how(ended.status), ended.elapsed);
        Ok(ended)
    }

    /// Runs `job` and hands each line of both its streams to `each` as it comes, until it ends, the operator interrupts,
    /// or nobody reads our standard output any more (`| head`); the deadline does not apply.
    ///
    /// # Errors
    /// [`Code::Prerequisite`] when the program cannot be started, [`Code::Interrupted`]; otherwise how it ended.
    pub fn follow(&self, job: Job, mut each: impl FnMut(&str)) -> Result<Ended, Failure> {
        let line = job.line();
        let begun = Instant::now();
        let reader = job.expression().stderr_to_stdout().reader();
        let reader = Arc::new(reader.map_err(|error| cannot_start(&job, &line, &error))?);
        let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let guard = std::thread::spawn({
            let (reader, done) = (Arc::clone(&reader), Arc::clone(&done));
            move || {
                while !done.load(Ordering::Relaxed) {
                    if interrupted() || nobody_reads() {
                        signal_groups(&reader.pids(), libc::SIGTERM);
                        std::thread::sleep(Duration::from_millis(300));
                        signal_groups(&reader.pids(), libc::SIGKILL);
                        return;
                    }
                    std::thread::sleep(LOOK);
                }
            }
        });
        for text in BufReader::new(&*reader).split(b'\n').map_while(Result::ok) {
            each(redact(String::from_utf8_lossy(&text).trim_end_matches('\r')).as_ref());
        }
        let status = reader.try_wait().ok().flatten().map(|output| output.status).unwrap_or_default();
        done.store(true, Ordering::Relaxed);
        let _ = guard.join();
        if interrupted() {
            self.note(&job, &line, "interrupted", begun.elapsed());
            return Err(interruption(&job.purpose));
        }
        self.note(&job, &line, &how(status), begun.elapsed());
        let (stdout, stderr) = (String::new(), String::new());
        Ok(Ended { status, stdout, stderr, elapsed: begun.elapsed(), line, purpose: job.purpose })
    }

    /// One line of the journal. A journal that cannot be written must not stop a task: it is a witness, not a tool.
    fn note(&self, job: &Job, line: &str, ended: &str, elapsed: Duration) {
        if self.verbose {
            eprintln!("{}", redact(&format!("         $ {line}  ({ended}, {} ms)", elapsed.as_millis())));
        }
        let Some(path) = &self.journal else { return };
        if std::fs::metadata(path).is_ok_and(|meta| meta.len() > JOURNAL_LIMIT) {
            let _ = std::fs::rename(path, path.with_extension("jsonl.1"));
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let entry = json!({
            "at": at, "task": self.task, "purpose": redact(&job.purpose), "line": line, "ended": ended,
            "elapsed_ms": elapsed.as_millis() as u64,
        });
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        if let Ok(mut file) = opened {
            // One write: side-by-side calls may not cut into each other's lines.
            let _ = file.write_all(redact(&format!("{entry}\n")).as_bytes());
        }
    }
}

impl Ended {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Itself when the exit status is 0, else the failure that shows the command, its end and its last words.
    ///
    /// # Errors
    /// [`Code::Failed`]; adapters that understand the program's texts say better.
    pub fn checked(self) -> Result<Ended, Failure> {
        if self.success() { Ok(self) } else { Err(self.failure()) }
    }

    /// The failure that this end is.
    pub fn failure(&self) -> Failure {
        let words = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let words = redact(words.trim_end()).into_owned();
        let lines: Vec<&str> = words.lines().collect();
        let tail = lines[lines.len().saturating_sub(STDERR_LINES)..].join("\n");
        let said = if tail.is_empty() { "it said nothing".to_owned() } else { tail };
        Failure::new(Code::Failed, format!("{} failed: `{}` {}", self.purpose, self.line, how(self.status))).cause(said)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

/// The program that a variable is for, where it is one of a family's secrets.
fn secret_of(name: &str) -> Option<&'static str> {
    let family = FAMILIES.iter().find(|(family, _)| name.starts_with(family));
    let (_, program) = family.filter(|_| SECRET_WORDS.iter().any(|word| name.contains(word)))?;
    Some(program)
}

/// Has the secrets of cargo and docker in this process's environment wiped from all output.
pub fn hide_secrets() {
    for (name, value) in std::env::vars_os() {
        if secret_of(&name.to_string_lossy()).is_some() {
            hide(&value.to_string_lossy());
        }
    }
}

/// The part of this process's environment that a child sees which runs `program`.
fn inherited(program: &OsStr) -> BTreeMap<OsString, OsString> {
    let program = Path::new(program).file_name().unwrap_or_default();
    let wanted = |name: &OsStr| {
        let name = name.to_string_lossy();
        let listed = INHERITED.iter().any(|entry| match entry.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *entry,
        });
        secret_of(&name).map_or(listed, |whose| program == whose)
    };
    std::env::vars_os().filter(|(name, _)| wanted(name)).collect()
}

fn cannot_start(job: &Job, line: &str, error: &std::io::Error) -> Failure {
    Failure::new(Code::Prerequisite, format!("{} failed: `{line}` did not start", job.purpose))
        .cause(format!("{}: {error}", job.program.to_string_lossy()))
}

fn too_slow(job: &Job, line: &str) -> Failure {
    let seconds = job.deadline.as_secs_f64();
    Failure::new(Code::Timeout, format!("{} failed: no end after {seconds} s", job.purpose))
        .cause(format!("`{line}` did not answer in time and was ended"))
        .hint("see whether the far end is reachable and awake; --timeout gives waits more time")
}

/// "exited with 1", "was killed by signal 9".
fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Asks the group of a call to end, and ends it when it does not. A grandchild counts: docker's compose plugin is one, and
/// may take longer to end than the program that we called.
fn end_group(handle: &duct::Handle) {
    let leaders = handle.pids();
    signal_groups(&leaders, libc::SIGTERM);
    let end = Instant::now() + GRACE;
    let _ = handle.wait_timeout(GRACE);
    while leaders.iter().any(|pid| group_lives(*pid)) {
        if Instant::now() >= end {
            signal_groups(&leaders, libc::SIGKILL);
            let _ = handle.wait_timeout(GRACE);
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process of the group that `leader` led still runs. Linux tells those that have ended, and that nobody asked for
/// their status, apart: where the first process is no init, an orphan stays one of them for ever.
fn group_lives(leader: u32) -> bool {
    let Ok(group) = i32::try_from(leader) else { return false };
    // SAFETY: killpg with the signal 0 asks, and touches no memory of ours.
    #[allow(unsafe_code)]
    let there = unsafe { libc::killpg(group, 0) } == 0;
    let Some(processes) = std::fs::read_dir("/proc").ok().filter(|_| there && Path::new("/proc/self/stat").exists())
    else {
        return there;
    };
    // Behind the name in brackets: state, parent, group.
    processes.flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok()).any(|stat| {
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let (state, of) = (fields.next(), fields.nth(1));
        !matches!(state, Some("Z" | "X")) && of.and_then(|of| of.parse().ok()) == Some(group)
    })
}

/// Signals the process groups that `pids` lead.
fn signal_groups(pids: &[u32], signal: i32) {
    for &pid in pids {
        let Ok(group) = i32::try_from(pid) else { continue };
        // SAFETY: killpg takes two integers and touches no memory of ours. The group is our own child's: its pid is
        // not reused before the child is reaped, and `pids` lists children that are not.
        #[allow(unsafe_code)]
        unsafe {
            libc::killpg(group, signal);
        }
    }
}

/// `word` as a POSIX shell would take it back.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use xshell::cmd;

    fn proc() -> Proc {
        Proc::new(None, "test", false)
    }

    fn sh(script: &str) -> Job {
        let shell = shell().unwrap();
        Job::new("trying", cmd!(shell, "sh -c {script}"))
    }

    #[test]
    fn both_streams_and_the_status_are_kept() {
        let ended = proc().run(sh("echo out; echo err >&2; exit 7")).unwrap();
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
        let failure = ended.checked().unwrap_err();
        assert_eq!(failure.message, "trying failed: `sh -c 'echo out; echo err >&2; exit 7'` exited with 7");
        assert_eq!(failure.cause, "err");
    }

    #[test]
    fn a_deadline_ends_grandchildren_too() {
        let begun = Instant::now();
        let failure = proc().run(sh("sleep 30 & sleep 30").deadline(Duration::from_millis(100))).unwrap_err();
        assert_eq!(failure.code, Code::Timeout);
        assert!(begun.elapsed() < Duration::from_secs(4), "the pipe of the grandchild must not hold us");
    }

    #[test]
    fn a_grandchild_that_takes_its_time_is_waited_for() {
        let dir = TempDir::new();
        let (begun, ended) = (dir.path().join("begun"), dir.path().join("ended"));
        // It holds none of our pipes, and works on for a moment after it was asked to end.
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
    fn the_environment_is_a_list_of_names() {
        let ended = proc().run(sh("env").env("GIVEN", "1")).unwrap();
        assert!(ended.stdout.contains("GIVEN=1"));
        assert!(ended.stdout.lines().all(|line| !line.starts_with("OMNI_SERVICE_ACCOUNT_KEY")));
        let names: Vec<&str> = ended.stdout.lines().filter_map(|line| line.split('=').next()).collect();
        let known = |name: &str| {
            ["GIVEN", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name)
                || INHERITED.iter().any(|entry| name.starts_with(entry.trim_end_matches('*')))
        };
        assert!(names.iter().all(|name| known(name)), "{names:?}");
    }

    #[test]
    fn secrets_reach_the_child_and_nothing_else() {
        let dir = TempDir::new();
        let journal = dir.path().join("journal.jsonl");
        let secret = Secret::new("canary-proc-1");
        let job = sh("cat; echo \"$KEY\" >&2; exit 1").stdin(secret.expose()).secret_env("KEY", &secret);
        let ended = Proc::new(Some(journal.clone()), "test", false).run(job).unwrap();
        assert_eq!(ended.stdout, "canary-proc-1");
        assert_eq!(ended.stderr, "***\n");
        let failure = format!("{:?}", ended.failure());
        let noted = std::fs::read_to_string(&journal).unwrap();
        assert!(!failure.contains("canary") && !noted.contains("canary"), "{failure} {noted}");
        assert!(noted.contains("\"ended\":\"exited with 1\""), "{noted}");
    }

    #[test]
    fn a_missing_program_is_a_prerequisite() {
        let shell = shell().unwrap();
        let failure = proc().run(Job::new("trying", cmd!(shell, "no-such-program-here"))).unwrap_err();
        assert_eq!(failure.code, Code::Prerequisite);
        assert!(failure.cause.contains("no-such-program-here"), "{failure}");
    }

    #[test]
    fn lines_are_followed_as_they_come() {
        let mut lines = Vec::new();
        let ended =
            proc().follow(sh("echo a; echo b >&2; printf c; exit 3"), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["a", "b", "c"]);
        assert_eq!(ended.status.code(), Some(3));
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quote("a b'c"), r"'a b'\''c'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("--file=x/y.yaml"), "--file=x/y.yaml");
    }
}
