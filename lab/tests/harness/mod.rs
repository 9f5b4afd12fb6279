//! Runs a separate lab for a test, calls it through its stand-ins, and stops it when the test ends.

#![allow(clippy::unwrap_used)] // a failure in the harness fails the test
#![allow(dead_code)] // not every test uses everything

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::Value;

/// The binary under test.
pub const LAB: &str = env!("CARGO_BIN_EXE_lab");

/// A temporary directory that is removed on drop.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("omni-scale-lab-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(std::fs::canonicalize(path).unwrap())
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running lab with a project directory.
pub struct Lab {
    pub ready: Value,
    pub dir: Dir,
    pub project: Dir,
    pub env: Vec<(String, String)>,
    child: Child,
    stdin: Option<ChildStdin>,
}

/// The result of a call of a stand-in.
#[derive(Debug)]
pub struct CallResult {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for CallResult {
    fn from(output: Output) -> CallResult {
        CallResult {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Lab {
    /// Starts a lab that ends with this test, even if the test is killed.
    pub fn start(args: &[&str]) -> Lab {
        let dir = Dir::new();
        let mut child = Command::new(LAB)
            .args(["serve", "--until-stdin-closes", "--dir"])
            .arg(dir.0.join("lab"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line:?}"));
        let env = std::fs::read_to_string(ready["env_file"].as_str().unwrap()).unwrap();
        let env = env.lines().map(|line| {
            let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
            let value = value.replace(":\"$PATH\"", &format!(":{}", std::env::var("PATH").unwrap()));
            (name.to_owned(), value.replace('\'', ""))
        });
        let (env, stdin) = (env.collect(), child.stdin.take());
        Lab { ready, env, dir, project: Dir::new(), child, stdin }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn env(&self, name: &str) -> &str {
        &self.env.iter().find(|(found, _)| found == name).unwrap().1
    }

    /// Builds a call of a stand-in in the project directory, with only the lab's environment variables.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let bin = self.ready["bin_dir"].as_str().unwrap();
        let mut command = Command::new(Path::new(bin).join(program));
        command.args(args).current_dir(&self.project.0).env_clear().envs(self.env.iter().cloned());
        command.env("HOME", &self.dir.0).stdin(Stdio::null());
        command
    }

    pub fn call(&self, program: &str, args: &[&str]) -> CallResult {
        self.command(program, args).output().unwrap().into()
    }

    pub fn omnictl(&self, line: &str) -> CallResult {
        self.call("omnictl", &line.split_whitespace().collect::<Vec<_>>())
    }

    pub fn compose(&self, line: &str) -> CallResult {
        let fixed = ["compose", "-f", "docker/compose.yaml", "--profile", "provider"];
        self.call("docker", &fixed.into_iter().chain(line.split_whitespace()).collect::<Vec<_>>())
    }

    /// Replays a recording and compares the result; `plain` replaces text that differs between runs.
    pub fn replay(&self, wanted: &Recording, env: &[(&str, &str)], plain: impl Fn(&str) -> String) {
        let args: Vec<&str> = wanted.argv[1..].iter().map(String::as_str).collect();
        let said = CallResult::from(self.command(&wanted.argv[0], &args).envs(env.iter().copied()).output().unwrap());
        let (got, due) = ((&said.out, &said.err), (&wanted.out, &wanted.err));
        let plain = |(out, err): (&String, &String)| (plain(out), plain(err));
        assert_eq!((said.code, plain(got)), (wanted.code, plain(due)), "{}: {}", wanted.name, wanted.argv.join(" "));
    }

    pub fn dump(&self) -> Value {
        let said: CallResult =
            Command::new(LAB).args(["dump", "--dir"]).arg(self.dir.0.join("lab")).output().unwrap().into();
        assert_eq!(said.code, 0, "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Creates the provider and writes a compose project for it. `url` is the Proxmox URL in the provider's configuration.
    pub fn set_up(&self, url: &str) {
        let said = self.omnictl("infraprovider create proxmox");
        assert_eq!(said.code, 0, "{said:?}");
        let key = said.out.lines().find_map(|line| line.strip_prefix("OMNI_SERVICE_ACCOUNT_KEY=")).unwrap();
        let secret = self.env("PROXMOX_VE_API_TOKEN").split_once('=').unwrap().1;
        let config = format!("proxmox:\n  url: {url}\n  tokenID: omni@pve!provider\n  tokenSecret: {secret}\n");
        self.project.write("docker/config.yaml", &config);
        let ca = self.ready["ca_file"].as_str().unwrap();
        let domain = self.ready["omni_domain"].as_str().unwrap();
        let env = format!("OMNI_DOMAIN={domain}\nOMNI_INFRA_PROVIDER_KEY={key}\nPROVIDER_CA_FILE={ca}\n");
        self.project.write("docker/.env", &env);
        self.project.write("docker/compose.yaml", COMPOSE);
    }

    /// Like [`Lab::set_up`] with the lab's own Proxmox, and then starts everything.
    pub fn up(&self) {
        self.set_up(&format!("{}/api2/json", self.ready["proxmox_url"].as_str().unwrap()));
        self.start_up();
    }

    /// Starts everything that was set up and waits for the provider.
    pub fn start_up(&self) {
        let said = self.compose("up -d");
        assert_eq!(said.code, 0, "{said:?}");
        self.wait("the provider is registered", || {
            self.dump()["omni"]["providers"][0]["connected"] == true
                && self.dump()["omni"]["providers"][0]["initialized"] == true
        });
    }

    pub fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < end, "{what}: {}", self.dump()["omni"]);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Applies a machine class and syncs a cluster that uses it.
    pub fn make_cluster(&self, class: &str, control_planes: u32, workers: u32) {
        self.project.write("class.yaml", class);
        self.project.write("cluster.yaml", &cluster(control_planes, workers));
        for call in ["apply -f class.yaml", "cluster template sync -f cluster.yaml"] {
            let said = self.omnictl(call);
            assert_eq!(said.code, 0, "{said:?}");
        }
    }

    /// Closes stdin, as happens when the parent dies, and waits for the lab to exit.
    pub fn close_stdin(&mut self) -> Option<i32> {
        drop(self.stdin.take());
        self.wait_for_exit()
    }

    pub fn wait_for_exit(&mut self) -> Option<i32> {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the lab does not end");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// The parts of the kit's compose file that the stand-in reads, with the provider of the recordings.
pub const COMPOSE: &str = include_str!("../fixtures/compose.yaml");

/// A machine class.
pub const CLASS: &str = include_str!("../fixtures/omnictl/input-machineclass.yaml");

/// A template of a cluster with the given numbers of control planes and workers.
pub fn cluster(control_planes: u32, workers: u32) -> String {
    format!(
        "kind: Cluster\nname: demo\nkubernetes: {{version: v1.35.0}}\ntalos: {{version: v1.12.1}}\n---\nkind: ControlPlane\n\
         machineClass: {{name: worker, size: {control_planes}}}\n---\nkind: Workers\nmachineClass: {{name: worker, size: {workers}}}\n"
    )
}

/// A recording: the command line, the exit code and the output.
pub struct Recording {
    pub name: String,
    pub argv: Vec<String>,
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The names of the recordings in `tests/fixtures/DIR`.
pub fn recordings(dir: &str) -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(dir);
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".txt").map(str::to_owned)).collect()
}

/// Reads a recording of `tests/fixtures/DIR`.
pub fn recording(dir: &str, name: &str) -> Recording {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(dir).join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let (head, rest) = text.split_once("--- stdout\n").unwrap();
    let (out, err) = rest.split_once("--- stderr\n").unwrap_or((rest.strip_suffix("--- stderr").unwrap_or(rest), ""));
    let mut head = head.lines();
    let argv = head.next().unwrap().strip_prefix("$ ").unwrap().split_whitespace().map(str::to_owned).collect();
    let code = head.next().unwrap().strip_prefix("exit: ").unwrap().parse().unwrap();
    Recording { name: name.to_owned(), argv, code, out: out.to_owned(), err: err.to_owned() }
}

/// Replaces times, UUIDs, fingerprints and request names with random suffixes by placeholders.
pub fn without_ids(text: &str) -> String {
    static PATTERNS: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        let pattern = |(pattern, name)| (Regex::new(&format!(r"\b(?:{pattern})\b")).unwrap(), name);
        [
            (r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d{9})?Z| \d\d:\d\d:\d\d \+0000 UTC)", "<time>"),
            ("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
            ("[0-9a-f]{64}", "<sha256>"),
            ("[0-9a-f]{40}", "<fingerprint>"),
            ("[0-9a-f]{12}", "<id>"),
            ("demo-control-planes-[a-z0-9]{6}", "<control plane>"),
            ("demo-workers-[a-z0-9]{6}", "<worker>"),
        ]
        .map(pattern)
        .into()
    });
    patterns.iter().fold(text.to_owned(), |text, (pattern, name)| pattern.replace_all(&text, *name).into_owned())
}
