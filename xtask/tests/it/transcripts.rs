//! The output of the tasks, word for word: `xtask/tests/transcripts/NAME.txt` contains commands and their results.
//!
//! A transcript is a script that includes its output. Lines of the script:
//!
//! - `$ cargo xtask TASK …` runs a task in the sandbox; `< QUESTION => ANSWER` after it runs it on a terminal and answers.
//! - `@ lab [FLAG …]` starts a fresh sandbox, with flags of `lab serve`; a transcript starts in a sandbox without any.
//! - `@ fault NAME` starts a sandbox with that fault, after the tasks that lead to it (`lab/data/faults.yaml`).
//! - `@ edit FILE: FROM -> TO`, `@ value FILE: KEY=VALUE` (a separate line) and `@ write FILE: TEXT` change files of the project,
//!   `@ set NAME=VALUE` (or `$OTHER`), `@ unset NAME` and `@ account NAME ROLE VARIABLE` (the key of a new service account)
//!   variables of the environment. `@ sh SCRIPT` runs in the project and must succeed; `$XTASK` is the runner and `$FIXTURES` the
//!   directory of fixtures.
//! - `@ run TASK …` runs a task that must succeed, without showing it. `@ program NAME: SCRIPT` puts a program in front of the
//!   lab's, which is `@REAL@` in its script.
//! - `~ TEXT` lines after a call: its output differs from run to run, is not recorded, and contains these texts in this order;
//!   `~! TEXT` must not be in the output. `@ until TASK … => TEXT` runs a task until it prints a text, `@ holds FILE: TEXT` and
//!   `@ lacks FILE: TEXT` check a file.
//! - `@ pin SERVICE TAG` sets the tag of an image in docker/compose.yaml, whatever it was.
//! - `@ docker WORD …`, `@ omnictl WORD …` and `@ proxmox METHOD PATH FIELD=VALUE …` change something outside the tasks, as an
//!   administrator; `{TEXT N name}` is the name (or `uuid`, `node`, `place` NODE/ID, `path` in Proxmox) of the Nth VM whose name
//!   contains the text, in any call.
//! - `@ node NAME off` or `on` switches a node of Proxmox, `second/NAME` one of the second Proxmox.
//! - `@ vms` shows how many VMs each Proxmox has, `@ show FILE` the contents of a file.
//! - `@ mask REGEX => TEXT` replaces what differs from run to run, only in this transcript.
//! - `@ store-key NAME FILE` writes a key of `fixtures/pgp`, `@ token NAME PRIVSEP` creates a token in Proxmox and passes it to
//!   the tasks, `@ heal FAULT` ends a fault.
//! - `@ take VARIABLE NAME` copies the value of NAME in docker/.env to a variable, `@ accepts VARIABLE` and `@ rejects VARIABLE`
//!   check whether Omni accepts the key in it; `{today}` is the date.
//! - `@ secret TEXT` is a text that no call may print from now on, `@ hunt TASK …` runs a task as it is, with `--json` and with
//!   `-v`, only to check that.
//! - `# …` is a comment.
//!
//! `{omni}`, `{provider}`, `{talos}`, `{kubernetes}` and `{tailscale}` are the versions that this kit pins, in scripts and in
//! output; in scripts, `{key NAME DAYS}` is a service-account key that is valid for that many more days, `{OMNI_DOMAIN}` or
//! another name in capitals a value in the lab's docker/.env, and `{PROJECT}` the project's directory.
//!
//! The rest is output: `> ` stdout, `! ` stderr, `[exit N]`, `[changed FILE …]`. Durations, ports, random names and paths
//! are replaced ([`normal`]). `UPDATE_EXPECT=1 cargo test -p xtask --test it -- transcripts::` rewrites the output.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use domain::spec::config::ProviderConfig;
use domain::spec::env::EnvFile;
use domain::spec::{machine_class, template};
use expect_test::expect_file;
use regex::{Captures, Regex};

use crate::access::as_root_with;
use crate::faults::table;
use crate::input::lasting_key;
use crate::keys::{account_of_today, asked_with, in_env};
use crate::sandbox::{CommandOutput, Files, Sandbox, lab_program, pins, wait_for, words};
use crate::terminal::TerminalSession;

/// Splits a change into its two sides, with their line breaks.
fn unescaped((from, to): (&str, &str)) -> (String, String) {
    (from.replace("\\n", "\n"), to.strip_prefix(' ').unwrap_or(to).replace("\\n", "\n"))
}

/// Defines a test for each transcript, and the list of their names.
macro_rules! transcripts {
    ($folder:literal: $($name:ident)*) => {
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                $crate::transcripts::matches(concat!($folder, stringify!($name)));
            }
        )*
    };
}

transcripts! { "":
    adopt help usage names errors files read_only machineclass proxmox upgrade calls fleet_page
    provider stack backup cluster_create cluster_sync cluster_status prompts json
    checks conversions selectors rotation access plans policies previous_set set_up doctor operation machines logins own_files upgrade_files
    file_names saved_plans outdated_plans omni_upgrade omni_upgrade_refused omni_minors cluster_upgrade
    cluster_upgrade_stopped explain_parts canaries env_defects omnictl_install several_providers two_sites explain_rights store_keys other_names operators races paths leftovers site completion
}

pub(crate) use transcripts;

/// Returns the file of a transcript.
fn path(name: &str) -> PathBuf {
    let name = name.replace('_', "-");
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(format!("{name}.txt"))
}

/// Returns the names of the transcripts in a folder, in the form of test names.
pub fn listed(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(path("x").with_file_name(folder)).expect("a folder").flatten().map(|entry| entry.path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.map(|path| path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")).collect()
}

#[test]
fn every_transcript_has_a_test() {
    assert_eq!(listed(""), NAMES.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
}

#[test]
fn every_task_has_a_help_transcript() {
    let text = fs::read_to_string(path("help")).expect("a transcript");
    for task in xtask::cli::command().get_subcommands().filter(|task| !task.is_hide_set()) {
        assert!(text.contains(&format!("$ cargo xtask {} --help\n", task.get_name())), "{}", task.get_name());
    }
}

/// Plays the script of a transcript and compares the result with its contents.
pub fn matches(name: &str) {
    let path = path(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut player = Player::new();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(['>', '!', '['])).collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let _ = writeln!(player.written, "{line}");
        if let Some(call) = line.strip_prefix("$ cargo xtask") {
            let answers: Vec<(&str, String)> = lines[at..]
                .iter()
                .map_while(|line| line.strip_prefix("< ")?.split_once(" =>"))
                .map(|(question, answer)| (question, player.filled(answer.trim_start())))
                .collect();
            let answers: Vec<(&str, &str)> =
                answers.iter().map(|(question, text)| (*question, text.as_str())).collect();
            let texts = lines[at + answers.len()..].iter().map_while(|line| line.strip_prefix('~'));
            let texts: Vec<String> = texts.map(|text| player.filled(&pinned(text))).collect();
            for line in &lines[at..at + answers.len() + texts.len()] {
                let _ = writeln!(player.written, "{line}");
                at += 1;
            }
            let call = player.filled(&pinned(call));
            player.call(&words(&call), &answers, &texts);
        } else if let Some(change) = line.strip_prefix("@ ") {
            let change = player.filled(&pinned(change));
            player.change(&change);
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{name}: {line:?} is not part of a script");
        }
    }
    expect_file![path].assert_eq(&player.written);
}

/// A script that is being played.
pub struct Player {
    lab: Option<Sandbox>,
    /// docker/.env when the sandbox started.
    env: EnvFile,
    /// The exit status that the fault's task must have.
    due: Option<i32>,
    masks: Vec<(Regex, String)>,
    secrets: Vec<String>,
    written: String,
}

impl Player {
    fn new() -> Player {
        let (masks, secrets) = (Vec::new(), Vec::new());
        Player { lab: None, env: EnvFile::default(), due: None, masks, secrets, written: String::new() }
    }

    /// A script that is played in this sandbox.
    pub fn of(lab: Sandbox) -> Player {
        let env = EnvFile::parse("docker/.env", &lab.read("docker/.env")).expect("the lab's own");
        Player { lab: Some(lab), env, ..Player::new() }
    }

    pub fn lab(&mut self) -> &mut Sandbox {
        if self.lab.is_none() {
            self.start("");
        }
        self.lab.as_mut().expect("it was started")
    }

    fn start(&mut self, flags: &str) {
        let Player { lab, env, .. } = Player::of(Sandbox::with(flags));
        (self.lab, self.env) = (lab, env);
    }

    /// Replaces the placeholders in `text` with keys, and with values of `docker/.env`.
    pub fn filled(&mut self, text: &str) -> String {
        if !text.contains('{') {
            return text.to_owned();
        }
        let made = |found: &Captures<'_>| lasting_key(&found[1], found[2].parse().expect("a number of days"));
        let text = KEYS.replace_all(text, made).into_owned();
        let text = NAMED.replace_all(&text, |found: &Captures<'_>| {
            let dump = self.lab().dump();
            let sites = ["proxmox", "second_proxmox"].into_iter();
            let vms = sites.flat_map(|site| dump[site]["vms"].as_array().into_iter().flatten());
            let mut of_set = vms.filter(|vm| vm["name"].as_str().is_some_and(|name| name.contains(&found[1])));
            let vm = of_set.nth(found[2].parse().expect("a number")).expect("so many VMs");
            match &found[3] {
                "place" => format!("{}/{}", vm["node"].as_str().expect("a node"), vm["vmid"]),
                "path" => format!("/nodes/{}/qemu/{}", vm["node"].as_str().expect("a node"), vm["vmid"]),
                key => vm[key].as_str().expect("a text").to_owned(),
            }
        });
        let text = text.into_owned();
        let text = text.replace("{PROJECT}", &self.lab().project().display().to_string());
        let text = text.replace("{today}", &account_of_today()["automation-".len()..]);
        let lab = self.lab.iter().flat_map(Sandbox::variables);
        let values = self.env.keys().map(|name| (name, self.env.get(name).unwrap_or_default()));
        lab.chain(values).fold(text, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    pub fn change(&mut self, change: &str) {
        let (verb, rest) = change.split_once(' ').unwrap_or((change, ""));
        let pair = |by: &str| rest.split_once(by).unwrap_or_else(|| panic!("{change}: no `{by}`"));
        match verb {
            "lab" => self.start(rest),
            "fault" => self.fault(rest),
            "edit" => {
                let (file, change) = pair(": ");
                let (from, to) = change.split_once(" ->").map(unescaped).expect("FROM -> TO");
                let text = self.lab().read(file);
                assert!(text.contains(&from), "{file} does not contain {from}:\n{text}");
                self.lab().write(file, &text.replacen(&from, &to, 1));
            }
            "pin" => {
                let (service, tag) = pair(" ");
                self.lab().pin(service, tag);
            }
            "value" => {
                let (file, line) = pair(": ");
                let key = &line[..=line.find(['=', ':']).expect("KEY=VALUE or KEY: VALUE")];
                let (head, name) = line.split_once('$').unwrap_or((line, ""));
                let (name, tail) = name.split_at(name.find('/').unwrap_or(name.len()));
                let line = format!("{head}{}{tail}", self.lab().env(name));
                let text = self.lab().read(file);
                let old = text.lines().map(str::trim_start).find(|old| old.starts_with(key));
                let old = old.unwrap_or_else(|| panic!("{file} has no {key}"));
                self.lab().write(file, &text.replacen(old, &line, 1));
            }
            "write" => {
                let (file, text) = pair(": ");
                self.lab().write(file, &(text.replace("\\n", "\n") + "\n"));
            }
            "program" => {
                let (name, script) = pair(": ");
                self.lab().wrap_program(name, &script.replace("\\n", "\n"));
            }
            "set" => {
                let (name, value) = pair("=");
                let value = value.strip_prefix('$').map_or(value, |other| self.lab().env(other)).to_owned();
                self.lab().set(name, Some(&value));
            }
            "account" => {
                let [name, role, variable] = words(rest).try_into().expect("NAME ROLE VARIABLE");
                let made =
                    self.lab().omnictl(&["serviceaccount", "create", &name, "--use-user-role=false", "--role", &role]);
                let key = made.stdout.split("OMNI_SERVICE_ACCOUNT_KEY=").nth(1).and_then(|rest| rest.lines().next());
                self.lab().set(&variable, key);
            }
            "unset" => self.lab().set(rest, None),
            "run" => drop(self.lab().run(rest).exits(0)),
            "until" => {
                let (line, text) = pair(" => ");
                wait_for(change, || {
                    let ran = self.lab().run(line);
                    format!("{}{}", ran.stdout, ran.stderr).contains(text)
                });
            }
            "holds" | "lacks" => {
                let (file, text) = pair(": ");
                assert_eq!(self.lab().read(file).contains(text), verb == "holds", "{change}");
            }
            "sh" => drop(self.lab().paste(rest).exits(0)),
            "store-key" => {
                let (name, to) = pair(" ");
                crate::store_keys::write(self.lab(), name, to);
            }
            "token" => {
                let (name, privsep) = pair(" ");
                crate::access::new_token(self.lab(), name, &format!("privsep={privsep}"));
            }
            "take" => {
                let (to, name) = pair(" ");
                let value = in_env(self.lab(), name);
                self.lab().set(to, Some(&value));
            }
            "accepts" | "rejects" => {
                let key = self.lab().env(rest).to_owned();
                let code = asked_with(self.lab(), &key, &["get", "sysversion"]).code;
                assert_eq!(code == 0, verb == "accepts", "{change}");
            }
            "secret" => self.secrets.push(rest.to_owned()),
            "hunt" => {
                for form in ["", "--json", "-v"] {
                    let output = self.lab().run(&format!("{rest} --timeout 2s {form}"));
                    self.keeps_secrets(&output);
                }
            }
            "docker" => crate::backup::docker(self.lab(), rest),
            "heal" => drop(self.lab().heal(rest).exits(0)),
            "omnictl" => drop(self.lab().omnictl(&rest.split(' ').collect::<Vec<_>>())),
            "proxmox" => {
                let words: Vec<&str> = rest.split(' ').collect();
                as_root_with(words[0], self.lab(), words[1], &words[2..]);
            }
            "vms" => {
                let dump = self.lab().dump();
                let count = |site: &str| dump[site]["vms"].as_array().map(|vms| format!("[{} VMs]", vms.len()));
                let counts: Vec<String> = ["proxmox", "second_proxmox"].into_iter().filter_map(count).collect();
                let _ = writeln!(self.written, "{}", counts.join(" "));
            }
            "node" => {
                let dir = self.lab().scratch().join("lab");
                let words: Vec<&str> = rest.split(' ').collect();
                let ran =
                    std::process::Command::new(lab_program()).arg("node").arg("--dir").arg(dir).args(words).status();
                assert!(ran.expect("the lab answers").success(), "{change}");
            }
            "show" => {
                let text = self.lab().read(rest);
                let text = self.normal(&text);
                text.lines()
                    .for_each(|line| self.written.push_str(&(format!("> {line}").trim_end().to_owned() + "\n")));
            }
            "mask" => {
                let (from, to) = rest.split_once(" =>").map(|(from, to)| (from, unescaped(("", to)).1)).expect("=>");
                self.masks.push((Regex::new(from).expect("a regex"), to));
            }
            _ => panic!("{change}: there is no such change"),
        }
    }

    /// Starts a sandbox in which the next task meets a fault.
    fn fault(&mut self, name: &str) {
        let fault =
            table().iter().find(|fault| fault.name == name).unwrap_or_else(|| panic!("there is no fault {name}"));
        self.start(&format!("--fault {name}"));
        for line in &fault.before {
            match line.starts_with("edit ") {
                true => self.change(line),
                false => self.change(&format!("run {line} --yes")),
            }
        }
        self.due = Some(fault.exit);
    }

    /// Runs a task and records its result: all of it or, if `texts` are expected, only how it ended.
    fn call(&mut self, words: &[String], answers: &[(&str, &str)], texts: &[String]) {
        let due = self.due.take();
        let lab = self.lab();
        let before = project_files(lab);
        let mut command = lab.command_in_project(words);
        let output = if answers.is_empty() {
            CommandOutput::of(&mut command)
        } else {
            let talk = TerminalSession::with(&mut command, answers);
            CommandOutput { code: talk.code, stdout: plain_terminal(&talk.shown), stderr: String::new() }
        };
        let after = project_files(lab);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name)).map(String::as_str);
        // The state contains what was observed of services, which differs like their output.
        let changed: Vec<&str> = changed.filter(|name| texts.is_empty() || *name != STATE).collect();
        for name in &changed {
            after.get(*name).into_iter().for_each(|(mode, bytes)| whole(name, *mode, bytes));
        }
        holds_no_secret(lab, &output);
        self.keeps_secrets(&output);
        assert!(!output.stdout.contains("not implemented"), "the lab is not like Proxmox: {output:#?}");
        if let Some(due) = due {
            assert_eq!(output.code, due, "the exit code in the lab's table\n{output:#?}");
            assert!(due == 0 || output.stderr.contains("hint: ") || output.stderr.contains("next: "), "{output:#?}");
        }
        advises_no_sample(&output.stderr);
        contains_in_order(texts, &output);
        let mut written = String::new();
        let stdout =
            if words.iter().any(|word| word == "--json") { pretty(&output.stdout) } else { output.stdout.clone() };
        for (mark, text) in [('>', stdout), ('!', output.stderr.clone())].into_iter().filter(|_| texts.is_empty()) {
            for line in self.normal(&text).lines() {
                let _ = writeln!(written, "{}", format!("{mark} {line}").trim_end());
            }
        }
        let _ = writeln!(written, "[exit {}]", output.code);
        if !changed.is_empty() {
            let _ = writeln!(written, "{}", self.normal(&format!("[changed {}]", changed.join(", "))));
        }
        self.written.push_str(&written);
    }

    #[track_caller]
    fn keeps_secrets(&self, output: &CommandOutput) {
        for secret in &self.secrets {
            assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "{secret}: {output:#?}");
        }
    }

    /// Returns `text` without what differs from run to run.
    fn normal(&self, text: &str) -> String {
        let lab = self.lab.as_ref().expect("it was started");
        let mut text = text
            .replace(&lab.project().display().to_string(), "PROJECT")
            .replace(&lab.scratch().display().to_string(), "SANDBOX");
        for (regex, to) in RUNS.iter().chain(&self.masks).chain(PINS.iter()) {
            text = regex.replace_all(&text, to).into_owned();
        }
        text
    }
}

/// What differs from run to run, and its replacement.
static RUNS: LazyLock<Vec<(Regex, String)>> = LazyLock::new(|| {
    let lines = include_str!("../fixtures/masks.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(" => ").expect("REGEX => TEXT")).map(masked).collect()
});

fn masked((from, to): (&str, &str)) -> (Regex, String) {
    (Regex::new(from).expect("a regex"), to.to_owned())
}

/// A placeholder for one of the VMs whose names contain a text, and the value to use.
static NAMED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{(\S+) (\d+) (name|uuid|node|place|path)\}").expect("a regex"));

/// A placeholder for a key in a script.
pub static KEYS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{key (\S+) (-?\d+)\}").expect("a regex"));

/// The pinned versions, and their placeholders.
static PINS: LazyLock<Vec<(Regex, String)>> = LazyLock::new(|| {
    let regex = |version: &str| Regex::new(&format!(r"\b(v?){}\b", regex::escape(version))).expect("a regex");
    pins().map(|(name, version)| (regex(&version), format!("${{1}}{{{name}}}"))).into()
});

/// Replaces the placeholders in a line of a script with the pinned versions.
fn pinned(line: &str) -> String {
    pins().iter().fold(line.to_owned(), |line, (name, version)| line.replace(&format!("{{{name}}}"), version))
}

/// A date and time in the form that tasks write.
static DATE_TIME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\S*").expect("a regex"));

/// Formats a JSON document for readers.
fn pretty(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    serde_json::to_string_pretty(&value).expect("it was JSON")
}

/// Returns what remains on a terminal: spinners redraw their line.
fn plain_terminal(shown: &str) -> String {
    let text = console::strip_ansi_codes(shown).replace("\r\n", "\n");
    let lines = text.lines().map(|line| line.rsplit('\r').next().unwrap_or_default());
    lines.filter(|line| !line.trim_start().starts_with(SPINNER)).collect::<Vec<_>>().join("\n")
}

const SPINNER: [char; 10] = ['⠁', '⠂', '⠄', '⡀', '⢀', '⠠', '⠐', '⠈', '⠉', '⠙'];

/// The path of the project's state file.
const STATE: &str = ".claude/omni-scale.local.md";

/// Checks that the output of a call contains what its `~` lines require.
fn contains_in_order(texts: &[String], output: &CommandOutput) {
    let all = format!("{}\n{}", output.stdout, output.stderr);
    let mut rest = all.as_str();
    for text in texts {
        match text.strip_prefix('!') {
            Some(none) => assert!(!all.contains(none.trim_start()), "{none:?} is printed:\n{output:#?}"),
            None => {
                let found = rest.split_once(text.trim_start());
                rest = found.unwrap_or_else(|| panic!("{text:?} is not printed in its place:\n{output:#?}")).1;
            }
        }
    }
}

/// Returns the files that a task may write, without the dates in the state file.
fn project_files(lab: &Sandbox) -> Files {
    let mut files = lab.files();
    if let Some((_, state)) = files.get_mut(STATE) {
        *state = DATE_TIME.replace_all(&String::from_utf8_lossy(state), "DATE").into_owned().into_bytes();
    }
    files
}

/// Checks that no secret of the sandbox is printed.
fn holds_no_secret(lab: &Sandbox, output: &CommandOutput) {
    let files = ["docker/.env", "docker/config.yaml", "docker/.answers.omni-setup"]
        .map(|name| fs::read_to_string(lab.file(name)).unwrap_or_default());
    let of_files = files.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once(['=', ':']));
    for (name, value) in of_files.chain(lab.variables()) {
        let secret = ["KEY", "TOKEN", "SECRET", "tokenSecret"].iter().any(|word| name.contains(word));
        let value =
            value.rsplit('=').find(|part| !part.is_empty()).unwrap_or_default().trim().trim_matches(['"', '\'']);
        let path = value.starts_with('/');
        if secret && !path && value.len() >= 16 {
            assert!(!format!("{output:?}").contains(value), "{name} is printed: {output:#?}");
        }
    }
}

/// Checks that advice contains the object of the actual case, never that of an example.
fn advises_no_sample(stderr: &str) {
    let advice = stderr
        .lines()
        .filter(|line| line.trim_start().starts_with("hint: ") || line.trim_start().starts_with("next: "));
    advice.for_each(crate::advice::names_no_sample);
}

/// Checks that a file is complete: it can be parsed, and a secret is readable only by its owner.
pub fn whole(name: &str, mode: u32, bytes: &[u8]) {
    let text = || std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let private = || assert_eq!(mode & 0o777, 0o600, "{name}");
    assert!(!name.ends_with(".tmp") && !name.contains(".tmp."), "{name} was left behind");
    match name {
        "docker/.env" | "docker/.answers.omni-setup" => {
            private();
            EnvFile::parse(name, text()).unwrap_or_else(|error| panic!("{error}"));
        }
        "docker/config.yaml" => {
            private();
            ProviderConfig::parse(name, text()).unwrap_or_else(|error| panic!("{error}"));
        }
        STATE => {
            assert!(text().starts_with("---\n") && text()[4..].contains("\n---\n"), "{name}: {}", text());
        }
        name if name.ends_with(".kubeconfig") || name.ends_with(".talosconfig") => private(),
        name if name.starts_with("machine-classes/") => {
            let parsed = machine_class::parse(name, bytes);
            assert!(parsed.value.is_some_and(|classes| !classes.is_empty()), "{name}: {:?}", parsed.findings);
        }
        // Patches are in subfolders.
        name if name.starts_with("clusters/") && name.matches('/').count() == 1 => {
            let parsed = template::parse(name, bytes);
            assert!(parsed.value.is_some_and(|cluster| !cluster.sets.is_empty()), "{name}: {:?}", parsed.findings);
        }
        _ => {}
    }
}
