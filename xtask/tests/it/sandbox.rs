//! A separate project, a separate lab, and a clean environment, for each test that needs them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use runtime::paths::Paths;
use runtime::tool::lab::{self, Ready};
use serde_json::Value;

/// Returns a list of `tests/fixtures/tasks.yaml`.
#[track_caller]
pub fn list(name: &str) -> &'static [String] {
    static LISTS: LazyLock<BTreeMap<String, Vec<String>>> =
        LazyLock::new(|| serde_yaml::from_str(include_str!("../fixtures/tasks.yaml")).expect("the lists"));
    &LISTS[name]
}

/// Returns the lab's program. It is built once; the profile reuses what `cargo test` has already built.
pub fn lab_program() -> &'static Path {
    static LAB: OnceLock<PathBuf> = OnceLock::new();
    LAB.get_or_init(|| {
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let output = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--profile", "test", "--package", "lab", "--bin", "lab"])
            .arg("--message-format=json-render-diagnostics")
            .current_dir(root())
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "the lab does not build");
        let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
        let executable = text.lines().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let built = message["target"]["name"] == "lab";
            built.then(|| message["executable"].as_str().map(PathBuf::from))?
        });
        // A rehearsal rebuilds the lab at the same path, so the tests use a link to a program that is not replaced.
        let (own, new) = (tmp.join("lab"), tmp.join(format!("lab.{}", std::process::id())));
        fs::hard_link(executable.expect("cargo names the lab's program"), &new).expect("a second name");
        fs::rename(&new, &own).expect("its own place");
        // If it already had that path, both names still exist.
        let _ = fs::remove_file(&new);
        own
    })
}

/// The root of this repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// Returns the tracked files of this repository.
pub fn tracked() -> Vec<String> {
    let tracked = Command::new("git").arg("ls-files").current_dir(root()).output().expect("git is there");
    String::from_utf8_lossy(&tracked.stdout).lines().map(str::to_owned).collect()
}

/// The versions of every lab and its project with `OMNI_SCALE_SET=previous`: the ones that this kit pinned before.
const PREVIOUS: [(&str, &str); 2] = [("omni", "1.9.3"), ("provider", "0.2.0")];

/// Returns true if the labs use the versions that this kit pinned before.
pub fn previous_set() -> bool {
    let set = std::env::var("OMNI_SCALE_SET").ok();
    assert!(set.is_none() || set.as_deref() == Some("previous"), "OMNI_SCALE_SET={set:?}");
    set.is_some()
}

/// Returns the versions of the labs and their projects: those that this kit pins, or the previous ones.
pub fn pins() -> [(&'static str, String); 5] {
    let pins = &domain::releases::table().recommended;
    let all = [&pins.omni, &pins.provider, &pins.talos, &pins.kubernetes, &pins.tailscale];
    let names = ["omni", "provider", "talos", "kubernetes", "tailscale"];
    let before = |name| PREVIOUS.iter().find(|(other, _)| previous_set() && *other == name);
    let pin = |at: usize| before(names[at]).map_or_else(|| all[at].version.to_string(), |(_, old)| (*old).to_owned());
    std::array::from_fn(|at| (names[at], pin(at)))
}

/// Returns the pinned version of one program, without `v`.
pub fn pin(name: &str) -> String {
    pins().into_iter().find(|(pinned, _)| *pinned == name).expect("a pin").1
}

/// A separate directory that is removed when the value is dropped.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Scratch {
        // The path in the form that programs print.
        let place = fs::canonicalize(std::env::temp_dir()).expect("it is there");
        Scratch(tempfile::Builder::new().prefix("omni-scale-it-").tempdir_in(place).expect("a directory"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Writes an executable script.
pub fn program_at(place: &Path, text: &str) {
    fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
    fs::write(place, text).expect("written");
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Returns true if a process is running, and not a zombie.
pub fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X']))
}

#[track_caller]
pub fn wait_for(what: &str, mut it: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !it() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Calls `look` for each item, several in parallel: most of the time is spent waiting.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], workers: usize, look: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (queue, found) = (Mutex::new(items.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = { queue.lock().expect("unpoisoned").next() } {
                    let one = look(item);
                    found.lock().expect("unpoisoned").push(one);
                }
            });
        }
    });
    found.into_inner().expect("unpoisoned")
}

/// The output of a call of the runner, and its exit code, which a test must check.
#[must_use = "a test checks the exit code: `.exits(0)`"]
#[derive(Debug)]
pub struct CommandOutput {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    /// Runs `command` to its end.
    pub fn of(command: &mut Command) -> CommandOutput {
        CommandOutput::from(&command.output().expect("the runner starts"))
    }

    /// Parses the single JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON document: {error}\n{self:#?}"))
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> CheckedOutput {
        assert_eq!(self.code, code, "{self:#?}");
        CheckedOutput(self)
    }

    #[track_caller]
    pub fn exits_with_one_of(self, codes: &[i32]) -> CheckedOutput {
        assert!(codes.contains(&self.code), "{codes:?}: {self:#?}");
        CheckedOutput(self)
    }

    /// Like [`CheckedOutput::says`], if the exit code does not matter.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> CheckedOutput {
        CheckedOutput(self).says(words)
    }
}

impl From<&Output> for CommandOutput {
    fn from(output: &Output) -> CommandOutput {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        CommandOutput { code: output.status.code().unwrap_or(-1), stdout, stderr }
    }
}

/// The output of a call that had the expected exit code.
#[derive(Debug)]
pub struct CheckedOutput(CommandOutput);

impl CheckedOutput {
    /// Checks that the two streams together contain each of `words`.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> CheckedOutput {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(all.contains(word), "{word:?} is not printed:\n{self:#?}");
        }
        self
    }
}

impl Deref for CheckedOutput {
    type Target = CommandOutput;

    fn deref(&self) -> &CommandOutput {
        &self.0
    }
}

/// A program in a directory that is not a project, with no environment but PATH and HOME.
pub fn outside(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", dir).stdin(Stdio::null());
    command
}

/// A call of the runner, its peak memory, its CPU time, and its duration.
pub struct MeasuredRun {
    pub ran: CommandOutput,
    pub peak_kib: u64,
    pub worked: Duration,
    pub took: Duration,
}

/// Runs `command` to its end, with its output in files in `dir`, and measures it in `/proc`.
pub fn measured(command: &mut Command, dir: &Path) -> MeasuredRun {
    let (out, err) = (dir.join("out"), dir.join("err"));
    let into = |path: &Path| fs::File::create(path).expect("a scratch file");
    let begun = Instant::now();
    let mut child = command.stdout(into(&out)).stderr(into(&err)).spawn().expect("the runner starts");
    let (mut peak_kib, mut worked) = (0, Duration::ZERO);
    let status = loop {
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
        let status = read("status");
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak_kib = peak_kib.max(high.unwrap_or(0));
        // The fields after the name in parentheses: user and system time are the 12th and 13th, in hundredths of a second.
        let stat = read("stat");
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        worked = worked.max(Duration::from_millis(ticks * 10));
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(90) {
            let _ = child.kill();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("written")).into_owned();
    let ran = CommandOutput { code: status.code().unwrap_or(-1), stdout: text(&out), stderr: text(&err) };
    MeasuredRun { ran, peak_kib, worked, took: begun.elapsed() }
}

/// Files by their names in the project, with mode and contents.
pub type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// Reads the lab's environment file.
fn environment(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).expect("the lab writes its environment");
    let file = domain::spec::env::EnvFile::parse("env", &text).expect("it is understood");
    let value = |key: &str| file.get(key).unwrap_or_default().replace("$PATH", "/usr/local/bin:/usr/bin:/bin");
    file.keys().map(|key| (key.to_owned(), value(key))).collect()
}

/// A project with its own lab.
pub struct Sandbox {
    scratch: Scratch,
    env: BTreeMap<String, String>,
    child: Child,
}

impl Sandbox {
    /// Creates a project and a lab with the default time scale.
    pub fn new() -> Sandbox {
        Sandbox::with("")
    }

    /// Like [`Sandbox::new`], with additional flags of `lab serve`.
    pub fn with(flags: &str) -> Sandbox {
        let scratch = Scratch::new();
        let dir = scratch.path().join("lab");
        let mut command = Command::new(lab_program());
        command.arg("serve").arg("--dir").arg(&dir).arg("--until-stdin-closes").args(flags.split_whitespace());
        // A test of particular versions uses these with any set.
        let previous = previous_set() && !flags.contains("--omni-version");
        if previous {
            command.args(["--omni-version", &pin("omni")]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the lab starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("the lab says it is ready");
        let ready: Ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let project = scratch.path().join("project");
        let paths = Paths::find(Some(root()), root()).expect("the repository is a project");
        lab::make_project(&paths, &project, &ready).expect("a project");
        let mut env = environment(&ready.env_file);
        env.insert("HOME".into(), scratch.path().join("home").display().to_string());
        fs::create_dir_all(scratch.path().join("home")).expect("a home");
        let lab = Sandbox { scratch, env, child };
        if previous {
            lab.pin("omni", &format!("v{}", pin("omni")));
            lab.pin("omni-infra-provider-proxmox", &format!("v{}", pin("provider")));
        }
        lab
    }

    pub fn project(&self) -> PathBuf {
        self.scratch.path().join("project")
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.project().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }

    /// Sets the tag of a siderolabs image in the compose file, or the whole image.
    pub fn pin(&self, name: &str, tag: &str) {
        let compose = self.read("docker/compose.yaml");
        let head = format!("image: ghcr.io/siderolabs/{name}:");
        let (before, after) = compose.split_once(&head).expect("the image");
        let image = if tag.contains('/') { format!("image: {tag}") } else { format!("{head}{tag}") };
        let end = after.find('\n').expect("a line");
        self.write("docker/compose.yaml", &format!("{before}{image}{}", &after[end..]));
    }

    /// The directory where the runner keeps its state for a user, for all projects.
    pub fn state_dir(&self) -> PathBuf {
        self.scratch.path().join("home/.local/state/omni-scale")
    }

    /// The file where the runner records the programs that it called.
    pub fn journal(&self) -> PathBuf {
        self.state_dir().join("journal.jsonl")
    }

    /// Returns the scratch directories that still exist.
    pub fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state_dir().join("tmp")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "lock").collect()
    }

    /// Sets a variable to another value, or removes it.
    pub fn set(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => drop(self.env.insert(key.to_owned(), value.to_owned())),
            None => drop(self.env.remove(key)),
        }
    }

    /// Returns the variables that the lab sets, with their values.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn env(&self, key: &str) -> &str {
        self.env.get(key).map_or("", String::as_str)
    }

    /// A program with only the lab's environment, called in the project.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.env).current_dir(self.project()).stdin(Stdio::null());
        command
    }

    /// The runner, called from another directory.
    pub fn command(&self, words: impl IntoIterator<Item: AsRef<OsStr>>) -> Command {
        self.command_in(&self.project(), words)
    }

    /// Like [`Sandbox::command`], for another project.
    pub fn command_in(&self, project: &Path, words: impl IntoIterator<Item: AsRef<OsStr>>) -> Command {
        let mut command = self.command_in_project(words);
        command.arg("--project-dir").arg(project).current_dir(self.scratch.path());
        command
    }

    /// The runner as an operator calls it.
    pub fn command_in_project(&self, words: impl IntoIterator<Item: AsRef<OsStr>>) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_xtask"));
        // As set by cargo when it runs the runner, so that the lab's sources are found wherever this was built.
        command.args(words).env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// Runs a task with a limit on the size of its files, and those of its programs, in blocks of 512 bytes.
    pub fn run_limited(&self, blocks: u64, line: &str) -> CommandOutput {
        let mut command = self.program("sh");
        command.args(["-c", "ulimit -f $0; exec \"$@\"", &blocks.to_string(), env!("CARGO_BIN_EXE_xtask")]);
        CommandOutput::of(command.args(line.split(' ')).arg("--project-dir").arg(self.project()))
    }

    /// Starts a task without output; its arguments are split as in a shell.
    pub fn start(&self, line: &str) -> Child {
        let mut command = self.command(words(line));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the runner starts")
    }

    /// Runs a task; its arguments are split as in a shell.
    pub fn run(&self, line: &str) -> CommandOutput {
        self.run_words(words(line))
    }

    pub fn run_words(&self, words: impl IntoIterator<Item: AsRef<OsStr>>) -> CommandOutput {
        let mut output = CommandOutput::of(&mut self.command(words));
        // The option that the sandbox adds to each call also appears in advice; another test checks that.
        let own = format!(" --project-dir {}", self.project().display());
        output.stdout = output.stdout.replace(&own, "");
        output.stderr = output.stderr.replace(&own, "");
        output
    }

    /// Ends a fault, and updates the keys that were created for that.
    pub fn heal(&mut self, fault: &str) -> CommandOutput {
        let dir = self.scratch().join("lab");
        let healed = CommandOutput::of(Command::new(lab_program()).args(["heal", fault, "--dir"]).arg(&dir));
        let key = |name: &str| name.ends_with("_KEY");
        self.env.retain(|name, _| !key(name));
        self.env.extend(environment(&dir.join("env")).into_iter().filter(|(name, _)| key(name)));
        healed
    }

    /// Runs a printed command or script, as an operator who agrees to it.
    pub fn paste(&self, script: &str) -> CommandOutput {
        if let Some(line) = script.strip_prefix("cargo xtask ").filter(|script| !script.contains('\n')) {
            const DESTROYING: [&str; 4] = ["cluster-create", "cluster-sync", "cluster-delete", "machine-replace"];
            let destroying = DESTROYING.iter().any(|task| line.starts_with(task));
            let consent = if destroying { " --allow-destroy rehearsal" } else { "" };
            return self.run(&format!("{line} --yes --json --timeout 60s{consent}"));
        }
        let mut command = self.program("timeout");
        command.args(["60", "sh", "-ec", script]).env("FIXTURES", root().join("xtask/tests/fixtures"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.env("PATH"))).env("XTASK", env!("CARGO_BIN_EXE_xtask"));
        CommandOutput::of(&mut command)
    }

    /// Runs the lab's omnictl, as an operator does in addition to the tasks.
    pub fn omnictl(&self, words: &[&str]) -> CheckedOutput {
        CommandOutput::of(self.program(self.scratch.path().join("lab/bin/omnictl")).args(words)).exits(0)
    }

    /// Returns the state of the simulated services.
    pub fn dump(&self) -> Value {
        let dir = self.scratch.path().join("lab");
        let output = Command::new(lab_program()).arg("dump").arg("--dir").arg(dir).output().expect("the lab answers");
        serde_json::from_slice(&output.stdout).expect("the lab dumps JSON")
    }

    /// Returns every file of the project with its mode and contents.
    pub fn tree(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let read = |(name, _)| {
            let path = self.project().join::<PathBuf>(name);
            let mode = fs::metadata(&path).map_or(0, |meta| meta.permissions().mode());
            (path.clone(), (mode, fs::read(&path).unwrap_or_default()))
        };
        runtime::files::list_files(&self.project()).expect("readable").into_iter().map(read).collect()
    }

    /// Returns every file of the project except those in `target`.
    pub fn files(&self) -> Files {
        let project = self.project();
        let name = |path: PathBuf| path.strip_prefix(&project).expect("inside").display().to_string();
        let all = self.tree().into_iter().map(|(path, file)| (name(path), file));
        all.filter(|(name, _)| !name.starts_with("target/")).collect()
    }

    /// Puts a program in front of the lab's; `@REAL@` in its script is the path of the lab's program.
    pub fn wrap_program(&mut self, name: &str, script: &str) -> PathBuf {
        let dir = self.scratch().join("stand-in");
        let path = self.env("PATH").to_owned();
        if !path.starts_with(&dir.display().to_string()) {
            self.set("PATH", Some(&format!("{}:{path}", dir.display())));
        }
        let real = self.scratch().join("lab/bin").join(name);
        let place = dir.join(name);
        program_at(&place, &format!("#!/bin/sh\n{}\n", script.replace("@REAL@", &real.display().to_string())));
        place
    }

    /// Puts a script in front of each of these programs that this machine has, in `dir/bin`; `@DIR@`, `@NAME@`, `@PROJECT@` and
    /// `@REAL@` are the directory, the program's name, the project and the program itself.
    pub fn wrap_programs(&mut self, dir: &Path, names: &str, script: &str) {
        let path = self.env("PATH").to_owned();
        for name in names.split(' ') {
            let mut found = path.split(':').map(|dir| Path::new(dir).join(name)).filter(|program| program.is_file());
            let Some(real) = found.next() else { continue };
            let text = script.replace("@DIR@", &dir.display().to_string()).replace("@NAME@", name);
            let text = text.replace("@PROJECT@", &self.project().display().to_string());
            program_at(&dir.join("bin").join(name), &text.replace("@REAL@", &real.display().to_string()));
        }
        self.set("PATH", Some(&format!("{}:{path}", dir.join("bin").display())));
    }

    /// Runs the runbook up to a configured provider.
    pub fn provider(&self) {
        self.run("provider-setup --yes").exits(0);
    }

    /// Runs the runbook up to a machine class in Omni.
    pub fn class(&self, name: &str) {
        self.run(&class_line(name)).exits(0);
        self.run(&format!("machineclass-apply {name} --yes")).exits(0);
    }
}

/// The command for a small machine class on local storage.
pub fn class_line(name: &str) -> String {
    format!("machineclass-create {name} --yes --cores 2 --memory 4096 --disk 20 --selector 'name == \"local-lvm\"'")
}

/// Splits a line into arguments.
#[track_caller]
pub fn words(line: &str) -> Vec<String> {
    shlex::split(line).unwrap_or_else(|| panic!("a quote is open: {line}"))
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a web server on loopback: `answer` gets the head of each request, and writes the response. Returns its address.
pub fn web_server(answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                let count = stream.read(&mut head).unwrap_or(0);
                let _ = answer(&String::from_utf8_lossy(&head[..count]), &mut stream);
            });
        }
    });
    url
}

/// Sends a signal to a process, or to a group as `-ID`.
pub fn kill(signal: &str, pid: impl std::fmt::Display) {
    let status = Command::new("kill").args([&format!("-{signal}"), "--", &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "nobody to send {signal}");
}
