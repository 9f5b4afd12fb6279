//! Checks by other programs: how to run them, and how to turn their output into findings.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use xshell::cmd;

use super::repo;
use super::table::{Check, CheckInput, Verdict};
use crate::dev::program;
use domain::failure::{Code, Failure};
use runtime::files;
use runtime::proc::{self, CommandOutput, Job};
use runtime::settings::environment;
use yaml::{Finding, Location};

/// Runs a program whose exit status is the verdict; if it is not installed, the check is skipped. A script of `.ci`, which
/// installs what it needs, exits with 4 if this machine lacks a requirement and with 5 if a registry could not be reached. Then
/// the check is also skipped, with the last line of the output as the reason.
pub(super) fn run_check(input: &CheckInput<'_>, check: &'static Check, line: &str) -> Result<Verdict, Failure> {
    let ended = match run_command(input, check, line) {
        Err(failure) if failure.code == Code::Prerequisite => {
            return Ok(Verdict::Unavailable { why: failure.message, hint: failure.hint });
        }
        ended => ended?,
    };
    let script = line.strip_prefix("bash ").filter(|_| matches!(ended.status.code(), Some(4 | 5)));
    Ok(match script {
        _ if ended.is_success() => Verdict::Passed(summarize_output(&ended.stdout)),
        Some(script) => {
            let reason = last_line(&ended.stderr).or(last_line(&ended.stdout)).unwrap_or_default();
            let why = reason.trim_start_matches("error: ").to_owned();
            Verdict::Unavailable { why, hint: format!("run `bash {script}` to see the rest") }
        }
        None => {
            let output = format!("{}{}", ended.stdout, ended.stderr);
            Verdict::Found { findings: parse_findings(&check.name, &output, input.cx.paths.root()), output }
        }
    })
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().rev().find(|line| !line.trim().is_empty())
}

/// Summarizes the output of a program that passed: the number of tests, or its last line and what a script skipped on this
/// machine (`SKIP what: why`).
fn summarize_output(output: &str) -> String {
    if output.contains("test result: ") {
        return count_tests(output);
    }
    let last = last_line(output).unwrap_or_default();
    let skipped: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("SKIP ")).collect();
    if skipped.is_empty() { last.to_owned() } else { format!("{last}; skipped: {}", skipped.join("; ")) }
}

/// Runs one of the command lines of a check to its end, and stores its output in `target/ci/log`.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] if the program or script is missing.
pub(super) fn run_command(input: &CheckInput<'_>, check: &Check, line: &str) -> Result<CommandOutput, Failure> {
    let (paths, (name, words)) = (&input.cx.paths, line.split_once(' ').unwrap_or((line, "")));
    let program = match name {
        "cargo" => environment("CARGO").unwrap_or_else(|| "cargo".to_owned()).into(),
        "xtask" => std::env::current_exe()
            .map_err(|error| Failure::new(Code::Failed, "this program has no path").cause(error.to_string()))?,
        "bash" if !paths.root().join(words).is_file() => {
            let failure = Failure::new(Code::Prerequisite, format!("{words} does not exist"));
            return Err(failure.hint("it comes with that part of the project"));
        }
        name => program::find(name, paths)?,
    };
    let scripts = input.files.iter().filter(|file| check.scripts && is_shell(input, file)).map(String::as_str);
    let words = words.split_whitespace().chain(scripts);
    let shell = proc::shell()?;
    shell.change_dir(paths.root());
    let limit = input.cx.wait_limit(Duration::from_secs(1800));
    // Many tests wait for a simulated service or a program, so running more of them at once than there are processors is faster.
    let threads = 3 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut job = Job::new(format!("checking {}", check.name), cmd!(shell, "{program} {words...}"))
        .deadline(limit)
        .env("RUST_TEST_THREADS", threads.to_string());
    for (name, value) in installer_variables() {
        job = job.env(&name, value);
    }
    let ended = input.cx.proc.run(job)?;
    let log = paths.target().join(format!("ci/log/{}.log", check.name));
    files::write_atomically(&log, format!("{}{}", ended.stdout, ended.stderr).as_bytes(), files::SHARED)?;
    Ok(ended)
}

/// Returns the variables that package managers need in this network, such as registries and CAs, which are not passed on in the
/// tasks of operators. `.ci/*.sh` install what they run.
fn installer_variables() -> impl Iterator<Item = (String, std::ffi::OsString)> {
    const NAMES: &str = "NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO GOPROXY GOSUMDB GOPRIVATE GOFLAGS \
         GOPATH GOCACHE GOMODCACHE GOTOOLCHAIN NPM_CONFIG_* npm_config_* PIP_*";
    let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    all.filter(|(name, _)| proc::is_listed(NAMES, name))
}

/// Finds the findings in a program's output: every line that starts with `file:line:`, as compilers and linters print them; the
/// output of rustfmt, shfmt and diff, which has only places; the places below an error of cargo-deny; and lychee's report.
pub fn parse_findings(check: &'static str, output: &str, root: &Path) -> Vec<Finding> {
    static PLACE: LazyLock<Regex> = LazyLock::new(|| {
        let place =
            r#"^(?:Diff in |\s*┌─ )?([^\s:-][^\s:]*):(\d+)(?::(\d+))?[: ]*(.*)$|^diff (\S+?)(?:\.orig)?(?: .*)?$"#;
        let link = r#"<testcase name="Failed (?:file://)?([^"]*)" time="[^"]*" file="([^"]*)" line="(\d+)""#;
        Regex::new(&format!("{place}|{link}")).unwrap_or_else(|error| panic!("{error}"))
    });
    let root = format!("{}/", root.display());
    let mut findings = Vec::new();
    let mut before = "";
    for line in output.lines() {
        let heading = std::mem::replace(&mut before, line);
        let below = line.contains("┌─ ");
        let Some(found) = PLACE.captures(line).filter(|_| !below || heading.starts_with("error")) else { continue };
        let text = |groups: &[usize]| {
            let text = groups.iter().filter_map(|group| found.get(*group)).map(|found| found.as_str());
            text.map(|text| text.trim_start_matches(&root).trim_start_matches("./")).find(|text| !text.is_empty())
        };
        let number = |groups: &[usize]| text(groups).and_then(|text| text.parse().ok()).unwrap_or(1);
        let message = text(&[4]).or(text(&[6])).or(below.then_some(heading)).unwrap_or("the formatting differs");
        let file = text(&[1, 5, 7]).unwrap_or_default().to_owned();
        let place = Location { file, line: number(&[2, 8]), column: number(&[3]) };
        findings.push(Finding::error(check, place, message, ""));
    }
    findings
}

/// Adds up the summary lines of cargo: "412 passed, 0 failed".
pub fn count_tests(output: &str) -> String {
    let sum = |word: &str| -> u64 {
        let lines = output.lines().filter(|line| line.starts_with("test result: "));
        let counts = lines.filter_map(|line| {
            line.split([';', '.']).find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
        });
        counts.sum()
    };
    format!("{} passed, {} failed", sum("passed"), sum("failed"))
}

/// Returns true if a file is a shell script, by its extension or its first line.
fn is_shell(input: &CheckInput<'_>, file: &str) -> bool {
    match Path::new(file).extension() {
        Some(extension) => extension == "sh",
        None => repo::read_text(input.cx, file).ok().flatten().is_some_and(|text| is_script(&text)),
    }
}

fn is_script(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.starts_with("#!") && first.split(['/', ' ']).any(|word| word == "sh" || word == "bash")
}

#[cfg(test)]
mod tests {
    use super::super::table::CHECKS;
    use super::*;

    #[test]
    fn tests_left_out_of_the_test_check_run_in_scripts() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci");
        let scripts = ["kill.sh", "fuzz.sh"].map(|name| std::fs::read_to_string(root.join(name)).unwrap()).concat();
        let run = |name: &str| CHECKS.iter().find(|check| check.name == name).unwrap().run.as_deref().unwrap();
        let slow = run("slow").split_once(" -- ").unwrap().1;
        let scripted = run("test").split(" --skip ").skip(1).filter(|name| !slow.contains(*name));
        let called =
            |name: &str| scripts.lines().any(|line| line.contains("cargo test") && line.contains(&format!(" {name} ")));
        assert_eq!(scripted.filter(|name| called(name)).collect::<Vec<_>>(), ["killed::", "interrupted::", "fuzz"]);
        let it = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
        for name in slow.split(' ') {
            let is_there = |dir: &str| it.join(format!("{dir}{}.rs", name.trim_end_matches("::"))).exists();
            assert!(run("test").contains(name) && (is_there("") || is_there("plugin/")), "no tests are in {name}");
        }
    }

    #[test]
    fn passed_tests_are_counted_over_all_programs() {
        let output = "running 2 tests\ntest result: ok. 412 passed; 0 failed; 1 ignored; 0 measured\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 0.08s\n";
        assert_eq!(count_tests(output), "415 passed, 2 failed");
    }

    #[test]
    fn summarize_output_shows_what_a_script_skipped() {
        assert_eq!(summarize_output("a\n2 passed, 0 failed\n\n"), "2 passed, 0 failed");
        let some = "SKIP the tasks: socat is not installed\nSKIP systemd: not root\n2 passed, 0 failed, 2 skipped\n";
        assert_eq!(
            summarize_output(some),
            "2 passed, 0 failed, 2 skipped; skipped: the tasks: socat is not installed; systemd: not root"
        );
    }
}
