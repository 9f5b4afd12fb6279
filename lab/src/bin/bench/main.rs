//! What the runner costs, measured: `cargo run --package lab --bin bench [-- SECTION…]`, with the sections of `SECTIONS`.
//!
//! Every figure is taken side by side in one run, A B A B …, and compared pair by pair, so that a machine that slows down
//! slows both. The empty binary that has just the seven named crates is made in a temporary directory from this
//! repository's own lock file. Nothing here is a test: it prints figures, and `docs/benchmarks.md` keeps them.

mod checks;
mod runners;
mod scale;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

const SECTIONS: [&str; 8] = ["cold", "start", "rehearse", "verify", "beside", "checks", "scale", "runners"];

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|word| !SECTIONS.contains(&word.as_str())) {
        bail!("there is no section `{unknown}`: {}", SECTIONS.join(", "));
    }
    let wants = |section: &str| wanted.is_empty() || wanted.iter().any(|word| word == section);
    let bench = Bench::new()?;
    // These two print tables of their own.
    if wanted.is_empty() || wanted.iter().any(|word| !["scale", "runners"].contains(&word.as_str())) {
        println!("| what | A | B | A/B or A | bound |\n| --- | --- | --- | --- | --- |");
    }
    if wants("cold") {
        bench.cold()?;
    }
    if wants("start") {
        bench.start()?;
    }
    if wants("rehearse") {
        bench.rehearse()?;
    }
    if wants("verify") {
        bench.verify()?;
    }
    if wants("beside") {
        bench.beside()?;
    }
    if wants("checks") {
        checks::run(&bench)?;
    }
    if wants("scale") {
        scale::run(&bench)?;
    }
    if wants("runners") {
        runners::run(&bench)?;
    }
    Ok(())
}

struct Bench {
    root: PathBuf,
    scratch: PathBuf,
    cargo: String,
    xtask: PathBuf,
    lab: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

impl Bench {
    /// Builds what is measured, and the empty binary beside it.
    fn new() -> Result<Bench> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("lab lies in the repository")?.to_owned();
        let scratch = std::env::temp_dir().join(format!("omni-scale-bench-{}", std::process::id()));
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let lab = std::env::current_exe()?.with_file_name("lab");
        let bench = Bench { xtask: root.join("target/debug/xtask"), root, scratch, cargo, lab };
        bench.make_card("", "")?;
        bench.make_card("-derive", ", features = [\"derive\"]")?;
        let root = &bench.root;
        let cards = ["", "-derive"].map(|kind| bench.card(kind));
        let built = [(root, "xtask"), (root, "lab"), (&cards[0], "card"), (&cards[1], "card")];
        for (dir, package) in built {
            done(Command::new(&bench.cargo).args(["build", "--quiet", "--package", package]).current_dir(dir))?;
        }
        Ok(bench)
    }

    /// Where the empty binary is whose features are those of the runner, or the one of this `kind`.
    fn card(&self, kind: &str) -> PathBuf {
        self.scratch.join(format!("card{kind}"))
    }

    /// An empty binary with the seven crates of the card, in the versions of this repository. The runner does without clap's
    /// derive, which most that are built on these crates have: so there is one of each kind.
    fn make_card(&self, kind: &str, clap: &str) -> Result<()> {
        let dir = self.card(kind);
        fs::create_dir_all(dir.join("src"))?;
        fs::write(dir.join("src/main.rs"), "fn main() {}\n")?;
        fs::copy(self.root.join("Cargo.lock"), dir.join("Cargo.lock"))?;
        let manifest = format!(
            "[package]\nname = \"card\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
             anyhow = \"1\"\nclap = {{ version = \"4\"{clap} }}\nrustix = \"1\"\nindicatif = \"0.18\"\n\
             serde_yaml = {{ package = \"yaml_serde\", version = \"0.10\" }}\nwhich = \"8\"\nxshell = \"0.2\"\n"
        );
        fs::write(dir.join("Cargo.toml"), manifest)?;
        // What the lock file of the runner lacks is there before anything is timed.
        done(&mut self.cargo(&dir, &["fetch", "--quiet"]))
    }

    fn cargo(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(args).current_dir(dir);
        command
    }

    /// The runner's first build with the registry warm, beside the empty binaries'.
    fn cold(&self) -> Result<()> {
        let builds = [(self.root.clone(), "xtask"), (self.card("-derive"), "card"), (self.card(""), "card")];
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..3 {
            for ((dir, package), times) in builds.iter().zip(&mut times) {
                let target = self.scratch.join("target");
                let words = ["build", "--quiet", "--package", package];
                times.push(timed(self.cargo(dir, &words).env("CARGO_TARGET_DIR", &target))?);
                fs::remove_dir_all(target)?;
            }
        }
        let [ours, derive, plain] = times;
        row("cold build of xtask / of the empty binary, clap with its derive", &ours, &derive, "1.6");
        row("cold build of xtask / of the empty binary, clap without it", &ours, &plain, "");
        Ok(())
    }

    /// `cargo xtask --help`, warm, beside `cargo run -q` of the empty binary; and the runner's own start.
    fn start(&self) -> Result<()> {
        let (mut ours, mut derive, mut plain, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..40 {
            ours.push(timed(&mut self.cargo(&self.root, &["xtask", "--help"]))?);
            derive.push(timed(&mut self.cargo(&self.card("-derive"), &["run", "-q"]))?);
            plain.push(timed(&mut self.cargo(&self.card(""), &["run", "-q"]))?);
            own.push(timed(Command::new(&self.xtask).arg("--help"))?);
        }
        row("`cargo xtask --help` / `cargo run -q` of the empty binary, clap with its derive", &ours, &derive, "1.3");
        row("`cargo xtask --help` / `cargo run -q` of the empty binary, clap without it", &ours, &plain, "");
        single("start of the runner itself (`xtask --help`)", &own, "10 ms");
        Ok(())
    }

    /// The rehearsal with everything built.
    fn rehearse(&self) -> Result<()> {
        let (mut whole, mut inner) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let begun = Instant::now();
            let output = self.cargo(&self.root, &["xtask", "rehearse", "--json"]).stderr(Stdio::null()).output()?;
            whole.push(begun.elapsed());
            let document: Value = serde_json::from_slice(&output.stdout)?;
            inner.push(Duration::from_millis(
                document["data"]["elapsed_ms"].as_u64().context("rehearse says how long")?,
            ));
        }
        single("`rehearse`, from the start of the lab to Running with six machines", &inner, "3 s");
        single("`cargo xtask rehearse`, all of it", &whole, "3 s");
        Ok(())
    }

    /// `provider-verify` with every far end slowed by a second.
    fn verify(&self) -> Result<()> {
        let lab = Lab::start(self, "slow", &["--latency-ms".to_owned(), "1000".to_owned()])?;
        done(&mut lab.task(&["provider-setup", "--yes"]))?;
        let times: Result<Vec<_>> = (0..5).map(|_| timed(&mut lab.task(&["provider-verify"]))).collect();
        single("`provider-verify` with every far end slowed by 1 s", &times?, "1.5 s");
        Ok(())
    }

    /// A task beside the program that it drives, beyond what cargo itself takes.
    fn beside(&self) -> Result<()> {
        let lab = Lab::start(self, "quick", &[])?;
        done(&mut lab.task(&["provider-setup", "--yes"]))?;
        let compose = lab.project.join("docker/compose.yaml").display().to_string();
        let ps = ["compose", "-f", &compose, "--profile", "provider", "ps", "--all", "--format", "json"];
        let logs = ["compose", "-f", &compose, "--profile", "provider", "logs", "--tail=20", "proxmox-provider"];
        let (mut status, mut docker, mut clusters, mut omnictl, mut empty) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..20 {
            status.push(timed(&mut lab.cargo_task(self, &["provider-status"]))?);
            docker.push(timed(&mut lab.tool("docker", &ps))? + timed(&mut lab.tool("docker", &logs))?);
            clusters.push(timed(&mut lab.cargo_task(self, &["cluster-status"]))?);
            omnictl.push(timed(&mut lab.tool("omnictl", &["get", "clusters", "-o", "json"]))?);
            empty.push(timed(&mut self.cargo(&self.card(""), &["run", "-q"]))?);
        }
        for (name, ours, bare) in [
            ("`cargo xtask provider-status` / bare `docker compose ps` and `logs`", &status, &docker),
            ("`cargo xtask cluster-status` / bare `omnictl get`", &clusters, &omnictl),
        ] {
            row(name, ours, bare, "");
            let beyond = median(ours).saturating_sub(median(bare)).saturating_sub(median(&empty));
            println!(
                "| … beyond the program and an empty `cargo run -q` | {} | | {} | 20 ms |",
                ms(median(&empty)),
                ms(beyond)
            );
        }
        Ok(())
    }
}

/// A running lab with a project.
struct Lab {
    child: Child,
    dir: PathBuf,
    project: PathBuf,
    env: Vec<(String, String)>,
    xtask: PathBuf,
}

impl Lab {
    fn start(bench: &Bench, name: &str, options: &[String]) -> Result<Lab> {
        let dir = bench.scratch.join(format!("lab-{name}"));
        let mut command = Command::new(&bench.lab);
        command.arg("serve").arg("--dir").arg(&dir).arg("--until-stdin-closes").args(options);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)?;
        let project = dir.join("project");
        fs::create_dir_all(project.join("docker"))?;
        fs::create_dir_all(project.join("target"))?;
        for file in ["docker/compose.yaml", "docker/config.yaml.example"] {
            fs::copy(bench.root.join(file), project.join(file))?;
        }
        // What a lab of some size has in it, an operator has files of.
        for folder in ["clusters", "machine-classes"] {
            fs::create_dir_all(project.join(folder))?;
            for file in fs::read_dir(dir.join(folder)).into_iter().flatten().flatten() {
                fs::copy(file.path(), project.join(folder).join(file.file_name()))?;
            }
        }
        let example = fs::read_to_string(bench.root.join("docker/.env.example"))?;
        let filled = example.lines().map(|line| match line.split_once('=') {
            Some(("OMNI_TLS_CERT" | "OMNI_TLS_KEY", _)) => line.replace('=', "=./config.yaml.example #"),
            Some(("OMNI_DOMAIN", _)) => format!("OMNI_DOMAIN={}", ready["omni_domain"].as_str().unwrap_or_default()),
            _ => line.to_owned(),
        });
        fs::write(project.join("docker/omni.asc"), "")?;
        fs::write(project.join("docker/.env"), filled.collect::<Vec<_>>().join("\n") + "\n")?;
        let text = fs::read_to_string(ready["env_file"].as_str().context("an env file")?)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let env = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let env = env.map(|(key, value)| (key.to_owned(), value.trim_matches(['\'', '"']).replace("$PATH", &path)));
        Ok(Lab { child, env: env.collect(), xtask: bench.xtask.clone(), dir, project })
    }

    fn with_env(&self, mut command: Command) -> Command {
        command.envs(self.env.clone()).env("HOME", &self.dir).env_remove("XDG_STATE_HOME").stdin(Stdio::null());
        command
    }

    fn task(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.xtask);
        command.args(words).arg("--project-dir").arg(&self.project);
        self.with_env(command)
    }

    /// The same through cargo, as people type it. Cargo keeps its own home.
    fn cargo_task(&self, bench: &Bench, words: &[&str]) -> Command {
        let mut command = bench.cargo(&bench.root, &["xtask"]);
        command.args(words).arg("--project-dir").arg(&self.project);
        let mut command = self.with_env(command);
        if let Some(home) = std::env::var_os("HOME") {
            command.env("HOME", home);
        }
        command
    }

    fn tool(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.join("bin").join(name));
        command.args(args);
        self.with_env(command)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// How long a command takes; it must succeed.
fn timed(command: &mut Command) -> Result<Duration> {
    let begun = Instant::now();
    done(command)?;
    Ok(begun.elapsed())
}

fn done(command: &mut Command) -> Result<()> {
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

/// A pair with the median of its ratios, pair by pair.
fn row(what: &str, a: &[Duration], b: &[Duration], bound: &str) {
    let mut ratios: Vec<f64> = a.iter().zip(b).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    println!("| {what} | {} | {} | {:.2} | {bound} |", ms(median(a)), ms(median(b)), ratios[ratios.len() / 2]);
}

fn single(what: &str, times: &[Duration], bound: &str) {
    println!("| {what} | {} | | {} | {bound} |", ms(median(times)), ms(median(times)));
}
