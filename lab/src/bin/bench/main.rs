//! Benchmarks of the runner: `cargo run --package lab --bin bench [-- SECTION…]`, with the sections of `SECTIONS`.
//! These are not tests: they print figures, which are kept in `docs/benchmarks.md`.

mod checks;
mod clone;
mod scale;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Measures one thing and prints its rows.
type Section = fn(&Bench) -> Result<()>;

const SECTIONS: [(&str, Section); 8] = [
    ("lines", Bench::lines),
    ("clone", clone::run),
    ("start", Bench::start),
    ("rehearse", Bench::rehearse),
    ("verify", Bench::verify),
    ("beside", Bench::overhead),
    ("checks", checks::run),
    ("scale", scale::run),
];

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|word| !SECTIONS.iter().any(|(name, _)| name == word)) {
        bail!("there is no section `{unknown}`: {}", SECTIONS.map(|(name, _)| name).join(", "));
    }
    let bench = Bench::new()?;
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            println!("\n## {name}\n");
            section(&bench)?;
        }
    }
    Ok(())
}

struct Bench {
    root: PathBuf,
    scratch: PathBuf,
    cargo: String,
    xtask: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

impl Bench {
    /// Builds the programs to measure, in the profile of this program.
    fn new() -> Result<Bench> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("lab lies in the repository")?.to_owned();
        let scratch = std::env::temp_dir().join(format!("omni-scale-bench-{}", std::process::id()));
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut bench = Bench { xtask: root.join("target/debug/xtask"), root, scratch, cargo };
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        for package in ["xtask", "lab"] {
            run_checked(&mut bench.cargo(&["build", "--quiet", "--profile", profile, "--package", package]))?;
        }
        if !cfg!(debug_assertions) {
            // The same layout as in the archive of a release.
            let (built, beside) = (bench.root.join("target/release"), bench.scratch.join("release"));
            fs::create_dir_all(&beside)?;
            for (from, to) in [("xtask", "xtask"), ("lab", "omni-scale-lab")] {
                fs::copy(built.join(from), beside.join(to))?;
            }
            bench.xtask = beside.join("xtask");
        }
        Ok(bench)
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(args).current_dir(&self.root);
        command
    }

    /// Prints the lines of Rust in each crate, including tests, and the number of packages in the lock file.
    fn lines(&self) -> Result<()> {
        println!("| crate | lines |\n| --- | --- |");
        let mut all = 0;
        for dir in [
            "xtask/src",
            "xtask/tests",
            "xtask/runtime",
            "xtask/check",
            "xtask/domain",
            "xtask/selector",
            "xtask/yaml",
            "lab",
        ] {
            let lines = self.lines_of(dir)?;
            println!("| `{dir}` | {lines} |");
            all += lines;
        }
        let packages = fs::read_to_string(self.root.join("Cargo.lock"))?.matches("[[package]]").count();
        println!("| together | {all} |\n| packages in `Cargo.lock` | {packages} |");
        Ok(())
    }

    fn lines_of(&self, dir: &str) -> Result<usize> {
        let mut git = Command::new("git");
        let listed = git.args(["ls-files", &format!("{dir}/*.rs")]).current_dir(&self.root).output()?;
        let files = String::from_utf8(listed.stdout)?;
        files.lines().map(|file| Ok(fs::read_to_string(self.root.join(file))?.lines().count())).sum()
    }

    /// Measures `cargo xtask --help` when warm, and the runner's own start.
    fn start(&self) -> Result<()> {
        let (mut whole, mut own) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            whole.push(run_timed(&mut self.cargo(&["xtask", "--help"]))?);
            own.push(run_timed(Command::new(&self.xtask).arg("--help"))?);
        }
        header();
        row("`cargo xtask --help`", &whole, "100 ms");
        row("start of the runner itself (`xtask --help`)", &own, "10 ms");
        Ok(())
    }

    /// Measures the rehearsal with everything built.
    fn rehearse(&self) -> Result<()> {
        let (mut whole, mut inner) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let begun = Instant::now();
            let output = self.cargo(&["xtask", "rehearse", "--json"]).stderr(Stdio::null()).output()?;
            whole.push(begun.elapsed());
            let document: Value = serde_json::from_slice(&output.stdout)?;
            inner.push(Duration::from_millis(
                document["data"]["elapsed_ms"].as_u64().context("rehearse says how long")?,
            ));
        }
        header();
        row("`rehearse`, from the start of the lab to Running with six machines", &inner, "3 s");
        row("`cargo xtask rehearse`, all of it", &whole, "3 s");
        Ok(())
    }

    /// Measures `provider-verify` with every simulated service slowed by a second.
    fn verify(&self) -> Result<()> {
        let lab = BenchLab::start(self, "--latency-ms 1000")?;
        run_checked(&mut lab.task(&["provider-setup", "--yes"]))?;
        let times: Result<Vec<_>> = (0..5).map(|_| run_timed(&mut lab.task(&["provider-verify"]))).collect();
        header();
        row("`provider-verify` with every simulated service slowed by 1 s", &times?, "1.5 s");
        Ok(())
    }

    /// Measures how much longer a task takes than the programs that it calls.
    fn overhead(&self) -> Result<()> {
        let lab = BenchLab::start(self, "")?;
        run_checked(&mut lab.task(&["provider-setup", "--yes"]))?;
        let by_name = ["compose", "-p", "omni-scale", "--env-file", "/dev/null"];
        let ps = [&by_name[..], &["ps", "--all", "--format", "json"]].concat();
        let logs = [&by_name[..], &["logs", "--no-log-prefix", "--tail=20", "proxmox-provider"]].concat();
        let (mut status, mut docker, mut clusters, mut omnictl) = (vec![], vec![], vec![], vec![]);
        for _ in 0..20 {
            status.push(run_timed(&mut lab.task(&["provider-status"]))?);
            docker.push(run_timed(&mut lab.tool("docker", &ps))? + run_timed(&mut lab.tool("docker", &logs))?);
            clusters.push(run_timed(&mut lab.task(&["cluster-status"]))?);
            omnictl.push(run_timed(&mut lab.tool("omnictl", &["get", "clusters", "-o", "json"]))?);
        }
        header();
        for (name, ours, bare) in [
            ("`xtask provider-status` beyond bare `docker compose ps` and `logs`", &status, &docker),
            ("`xtask cluster-status` beyond bare `omnictl get`", &clusters, &omnictl),
        ] {
            let beyond: Vec<Duration> = ours.iter().zip(bare).map(|(ours, bare)| ours.saturating_sub(*bare)).collect();
            row(name, &beyond, "20 ms");
        }
        Ok(())
    }
}

/// A lab started by `lab-up`, with its project.
struct BenchLab<'b> {
    bench: &'b Bench,
    pid: u64,
    project: PathBuf,
    env: Vec<(String, String)>,
}

impl<'b> BenchLab<'b> {
    fn start(bench: &'b Bench, options: &str) -> Result<BenchLab<'b>> {
        fs::create_dir_all(&bench.scratch)?;
        let mut up = Command::new(&bench.xtask);
        up.args(["lab-up", "--yes", "--json"]).args(options.split_whitespace()).current_dir(&bench.root);
        let output = up.output()?;
        let up: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let up = &up["data"];
        let failed = || format!("lab-up {options}: {}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(up["env_file"].as_str().with_context(failed)?)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let env = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let env = env.map(|(key, value)| (key.to_owned(), value.trim_matches(['\'', '"']).replace("$PATH", &path)));
        let project = up["project_dir"].as_str().context("a project")?.into();
        Ok(BenchLab { bench, pid: up["pid"].as_u64().context("a pid")?, project, env: env.collect() })
    }

    fn task(&self, words: &[&str]) -> Command {
        let mut command = self.tool(&self.bench.xtask, words);
        command.arg("--project-dir").arg(&self.project).current_dir(&self.bench.scratch);
        command
    }

    fn tool(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).envs(self.env.clone()).env("HOME", &self.bench.scratch).env_remove("XDG_STATE_HOME");
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for BenchLab<'_> {
    fn drop(&mut self) {
        let _ = Command::new(&self.bench.xtask).args(["lab-down", "--yes"]).current_dir(&self.bench.root).output();
    }
}

/// Measures how long a command takes; it must succeed.
fn run_timed(command: &mut Command) -> Result<Duration> {
    let begun = Instant::now();
    run_checked(command)?;
    Ok(begun.elapsed())
}

fn run_checked(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

fn ms(time: Duration) -> String {
    if time >= Duration::from_secs(2) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}

fn header() {
    println!("| what | median | bound |\n| --- | --- | --- |");
}

fn row(what: &str, times: &[Duration], bound: &str) {
    println!("| {what} | {} | {bound} |", ms(median(times)));
}
