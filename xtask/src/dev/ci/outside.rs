//! The checks that other programs make: how they are called, and how what they say becomes findings.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use xshell::cmd;

use super::table::Check;
use super::verdict::{Bench, Verdict};
use super::{program, repo};
use check::Finding;
use domain::failure::{Code, Failure};
use domain::spec::Location;
use runtime::proc::{self, CommandOutput, Job};
use runtime::settings::environment;

fn cargo_program() -> PathBuf {
    environment("CARGO").unwrap_or_else(|| "cargo".to_owned()).into()
}

impl Check {
    /// The program of one of its command lines, and the words after it.
    ///
    /// # Errors
    /// [`Code::Prerequisite`] without the program.
    pub(super) fn call<'a>(&self, bench: &'a Bench<'_>, line: &'a str) -> Result<(PathBuf, Vec<&'a str>), Failure> {
        let (program, words) = line.split_once(' ').unwrap_or((line, ""));
        let path = match program {
            "cargo" => cargo_program(),
            program => program::find(program, &bench.cx.paths)?,
        };
        let scripts = bench.files.iter().filter(|file| self.scripts && is_shell(bench, file)).map(String::as_str);
        Ok((path, words.split_whitespace().chain(scripts).collect()))
    }
}

/// Runs a program that says no by its exit status; missing, it is skipped.
pub(super) fn command(bench: &Bench<'_>, check: &'static Check, line: &str) -> Result<Verdict, Failure> {
    match check.call(bench, line) {
        Ok((path, words)) => judged(bench, &check.name, &ended(bench, &check.name, path, &words)?),
        Err(failure) => Ok(Verdict::Unavailable { why: failure.message, hint: failure.hint }),
    }
}

/// One of `.ci/NAME.sh`, which install what they need. Exit status 4 says that this machine has not what it takes, 5
/// that a registry could not be reached: skipped, with the last line of what the script said as the reason.
pub(super) fn script(bench: &Bench<'_>, name: &'static str) -> Result<Verdict, Failure> {
    let path = bench.cx.paths.root().join(format!(".ci/{name}.sh"));
    if !path.is_file() {
        return Ok(Verdict::Unavailable {
            why: format!("there is no .ci/{name}.sh"),
            hint: "it comes with that part of the project".into(),
        });
    }
    let words = [path.to_string_lossy().into_owned()];
    let ended = ended(bench, name, "bash".into(), &[&words[0]])?;
    let last = |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
    match ended.status.code() {
        Some(4 | 5) => {
            let said = last(&ended.stderr).or_else(|| last(&ended.stdout)).unwrap_or_default();
            let why = said.trim_start_matches("error: ").to_owned();
            Ok(Verdict::Unavailable { why, hint: format!("bash .ci/{name}.sh shows the rest") })
        }
        _ => match judged(bench, name, &ended)? {
            Verdict::Passed(_) => Ok(Verdict::Passed(closing(&ended.stdout))),
            verdict => Ok(verdict),
        },
    }
}

/// What a script that passed came to: its last line, and what it left out on this machine (`SKIP what: why`).
fn closing(output: &str) -> String {
    let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let skipped: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("SKIP ")).collect();
    if skipped.is_empty() { last.to_owned() } else { format!("{last}; skipped: {}", skipped.join("; ")) }
}

pub(super) fn ended(
    bench: &Bench<'_>,
    check: &str,
    program: PathBuf,
    words: &[impl AsRef<OsStr>],
) -> Result<CommandOutput, Failure> {
    let shell = proc::shell()?;
    shell.change_dir(bench.cx.paths.root());
    let limit = bench.cx.limit(Duration::from_secs(1800));
    let mut job = Job::new(format!("checking {check}"), cmd!(shell, "{program} {words...}")).deadline(limit);
    for (name, value) in installers() {
        job = job.env(&name, value);
    }
    let ended = bench.cx.proc.run(job)?;
    let log = bench.cx.paths.target().join(format!("ci/log/{check}.log"));
    runtime::files::write_atomically(
        &log,
        format!("{}{}", ended.stdout, ended.stderr).as_bytes(),
        runtime::files::SHARED,
    )?;
    Ok(ended)
}

/// What package managers need to know of the network they are in, which no operator's task passes on: registries and
/// certificate authorities. `.ci/*.sh` install what they run.
fn installers() -> impl Iterator<Item = (String, std::ffi::OsString)> {
    const NAMES: &str = "NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO GOPROXY GOSUMDB GOPRIVATE GOFLAGS \
         GOPATH GOCACHE GOMODCACHE GOTOOLCHAIN NPM_CONFIG_* npm_config_* PIP_*";
    let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    all.filter(|(name, _)| proc::is_listed(NAMES, name))
}

fn judged(bench: &Bench<'_>, check: &'static str, ended: &CommandOutput) -> Result<Verdict, Failure> {
    if ended.success() {
        return Ok(Verdict::Passed(String::new()));
    }
    let output = format!("{}{}", ended.stdout, ended.stderr);
    Ok(Verdict::Found { findings: located(check, &output, bench.cx.paths.root()), output })
}

/// The findings in a program's output: every line that opens with `file:line:`, as compilers and linters print them, and what
/// rustfmt, shfmt and diff print, which only name the place.
pub fn located(check: &'static str, output: &str, root: &Path) -> Vec<Finding> {
    static PLACE: LazyLock<Regex> = LazyLock::new(|| {
        let place = r"^(?:Diff in )?([^\s:-][^\s:]*):(\d+)(?::(\d+))?[: ]*(.*)$|^diff (\S+?)(?:\.orig)?(?: .*)?$";
        Regex::new(place).unwrap_or_else(|error| panic!("{error}"))
    });
    let root = format!("{}/", root.display());
    let finding = |line: &str| {
        let found = PLACE.captures(line)?;
        let text = |group: usize| found.get(group).map_or("", |text| text.as_str());
        let number = |group: usize| text(group).parse().unwrap_or(1);
        let file = if text(1).is_empty() { text(5) } else { text(1) };
        let message = if text(4).is_empty() { "it is formatted otherwise" } else { text(4) };
        let file = file.strip_prefix(&root).unwrap_or(file).to_owned();
        Some(Finding::error(check, Location { file, line: number(2), column: number(3) }, message, ""))
    };
    output.lines().filter_map(finding).collect()
}

/// Tests that take most of the time of a whole `cargo test`: the group `slow` runs them, and `test` leaves them out. What the
/// scripts of two groups name is [`SCRIPTED`].
const SLOW: &str = "faults:: traps:: secrets:: external_programs:: at_once:: input:: omni_stack_in_lab:: in_the_lab::";

/// The tests of `.ci/kill.sh` and `.ci/fuzz.sh`.
const SCRIPTED: &[&str] = &["killed::", "interrupted::", "fuzz"];

pub(super) fn tests(bench: &Bench<'_>) -> Result<Verdict, Failure> {
    let skipped = SLOW.split(' ').chain(SCRIPTED.iter().copied()).flat_map(|name| ["--skip", name]);
    cargo_test(bench, "test", &skipped.collect::<Vec<_>>())
}

/// The group `slow`.
pub(super) fn slow_tests(bench: &Bench<'_>) -> Result<Verdict, Failure> {
    cargo_test(bench, "slow", &SLOW.split(' ').collect::<Vec<_>>())
}

/// Many tests wait for a simulated service or for a program: more of them at once than there are processors end earlier.
fn cargo_test(bench: &Bench<'_>, check: &'static str, chosen: &[&str]) -> Result<Verdict, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = (3 * cores).to_string();
    let words = [&["test", "--workspace", "--no-fail-fast", "--", "--test-threads", &threads], chosen].concat();
    let ended = ended(bench, check, cargo_program(), &words)?;
    match judged(bench, check, &ended)? {
        Verdict::Passed(_) => Ok(Verdict::Passed(counted(&ended.stdout))),
        verdict => Ok(verdict),
    }
}

/// "412 passed, 0 failed": the sum of cargo's closing lines.
pub fn counted(output: &str) -> String {
    let sum = |word: &str| -> u64 {
        let lines = output.lines().filter(|line| line.starts_with("test result: "));
        let counts = lines.filter_map(|line| {
            line.split([';', '.']).find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
        });
        counts.sum()
    };
    format!("{} passed, {} failed", sum("passed"), sum("failed"))
}

pub(super) fn rehearsal(bench: &Bench<'_>) -> Result<Verdict, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Code::Failed, "this program has no path").cause(error.to_string()))?;
    let root = bench.cx.paths.root().to_string_lossy().into_owned();
    let ended = ended(bench, "rehearsal", program, &["rehearse", "--json", "--project-dir", &root])?;
    let document: Value = serde_json::from_str(&ended.stdout).unwrap_or(Value::Null);
    let said = document["summary"].as_str().unwrap_or_default().to_owned();
    if ended.success() {
        return Ok(Verdict::Passed(said));
    }
    let cause = document["error"]["cause"].as_str().unwrap_or_default();
    Ok(Verdict::Found { findings: Vec::new(), output: format!("{said}\n{cause}\n{}", ended.stderr) })
}

/// Whether a file is a shell script: by its name, or by its first line.
fn is_shell(bench: &Bench<'_>, file: &str) -> bool {
    match Path::new(file).extension() {
        Some(extension) => extension == "sh",
        None => repo::text(bench.cx, file).ok().flatten().is_some_and(|text| is_script(&text)),
    }
}

fn is_script(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.starts_with("#!") && first.split(['/', ' ']).any(|word| word == "sh" || word == "bash")
}

pub(super) fn deny(bench: &Bench<'_>, check: &'static str, what: &[&str]) -> Result<Verdict, Failure> {
    let path = match program::find("cargo-deny", &bench.cx.paths) {
        Ok(path) => path,
        Err(failure) => return Ok(Verdict::Unavailable { why: failure.message, hint: failure.hint }),
    };
    let words = [&["--format", "json", "--color", "never", "check"], what].concat();
    let ended = ended(bench, check, path, &words)?;
    Ok(denied(check, ended.success(), &ended.stderr))
}

/// What cargo-deny's JSON lines (0.18 to 0.20: one `diagnostic` or `log` a line on stderr) come to.
fn denied(check: &'static str, success: bool, output: &str) -> Verdict {
    if success {
        return Verdict::Passed(String::new());
    }
    let mut findings = Vec::new();
    for line in output.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let fields = &line["fields"];
        let message = fields["message"].as_str().unwrap_or_default();
        if message.contains("advisory database") && line["type"] == "log" {
            let hint = "it is fetched from github.com/RustSec/advisory-db: run this where that can be reached";
            // 0.20 goes on with git's whole command line, and what git said.
            let why = message.split(" with cli").next().unwrap_or(message);
            return Verdict::Unavailable { why: why.to_owned(), hint: hint.to_owned() };
        }
        if line["type"] == "log" && fields["level"] == "ERROR" {
            let place = Location { file: "deny.toml".into(), line: 1, column: 1 };
            findings.push(Finding::error(check, place, message, ""));
        }
        if line["type"] == "diagnostic" && fields["severity"] == "error" {
            let krate = &fields["graphs"][0]["Krate"];
            let name = [&krate["name"], &krate["version"]].map(|value| value.as_str().unwrap_or_default()).join(" ");
            let file = if name.trim().is_empty() { "deny.toml" } else { "Cargo.lock" };
            let code = fields["advisory"]["id"].as_str().or(fields["code"].as_str()).unwrap_or_default();
            let place = Location { file: file.into(), line: 1, column: 1 };
            findings.push(Finding::error(check, place, format!("{}: {message} ({code})", name.trim()), ""));
        }
    }
    Verdict::Found { findings, output: output.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_check_of_tests_leaves_out_a_script_runs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci");
        let scripts = ["kill.sh", "fuzz.sh"].map(|name| std::fs::read_to_string(root.join(name)).unwrap()).concat();
        let calls: Vec<&str> = scripts.lines().filter(|line| line.contains("cargo test")).collect();
        for name in SCRIPTED {
            assert!(calls.iter().any(|line| line.contains(&format!(" {name} "))), "{name}");
        }
        let it = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
        for name in SLOW.split(' ').map(|name| name.trim_end_matches("::")) {
            let is_there = |dir: &str| it.join(format!("{dir}{name}.rs")).exists();
            assert!(is_there("") || is_there("plugin/"), "no tests are in {name}");
        }
    }

    #[test]
    fn passed_tests_are_counted_over_all_programs() {
        let output = "running 2 tests\ntest result: ok. 412 passed; 0 failed; 1 ignored; 0 measured\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 0.08s\n";
        assert_eq!(counted(output), "415 passed, 2 failed");
    }

    #[test]
    fn what_a_script_leaves_out_is_said() {
        assert_eq!(closing("a\n2 passed, 0 failed\n\n"), "2 passed, 0 failed");
        let some = "SKIP the tasks: socat is not installed\nSKIP systemd: not root\n2 passed, 0 failed, 2 skipped\n";
        assert_eq!(
            closing(some),
            "2 passed, 0 failed, 2 skipped; skipped: the tasks: socat is not installed; systemd: not root"
        );
    }
}
