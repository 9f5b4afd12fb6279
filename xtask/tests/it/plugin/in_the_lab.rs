//! Every command run against the lab, as its page instructs the assistant: the call on the page, the fields that it reads,
//! missing values, failures, the plan, and the run after a yes.
//!
//! Nothing here depends on the text of a page. Calls and fields are taken from its code spans, so the test fails if a page names
//! a field that is in no document, or if a task drops a field that a page reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;

use domain::failure::{Code, MissingValue as Asked};
use runtime::ui::Status;
use serde::Deserialize;
use serde_json::Value as Json;

use super::repository;
use super::text::{self, Page};
use crate::runbook::settled;
use crate::sandbox::{CommandOutput, Files, Sandbox, in_parallel};
use crate::transcripts::Player;

/// Something that is missing, and how the value that the task then requests is given.
#[derive(Deserialize)]
struct Missing {
    #[serde(default)]
    steps: Vec<String>,
    words: Vec<String>,
    given_as: String,
    #[serde(default)]
    secret: bool,
}

/// Something that fails, and the exit status.
#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    steps: Vec<String>,
    words: Vec<String>,
    code: i32,
}

/// How to test one command: an entry of `walks.yaml`, which explains each field.
#[derive(Deserialize)]
struct Walk {
    name: String,
    before: Vec<String>,
    words: Vec<String>,
    code: i32,
    missing: Vec<Missing>,
    faults: Vec<Fault>,
    #[serde(default)]
    settles: bool,
    #[serde(default)]
    ends: bool,
}

/// `walks.yaml`: the walks, and the lines of each named step.
#[derive(Deserialize)]
struct Walks {
    steps: BTreeMap<String, Vec<String>>,
    walks: Vec<Walk>,
}

static WALKS: LazyLock<Walks> =
    LazyLock::new(|| serde_yaml::from_str(include_str!("../../fixtures/plugin/walks.yaml")).expect("the walks"));

/// Runs the steps of a walk.
fn prepare(player: &mut Player, steps: &[String]) {
    for step in steps {
        match WALKS.steps.get(step) {
            Some(lines) => prepare(player, lines),
            None => player.change(step),
        }
    }
}

/// The parts of a command's page from which the assistant makes calls.
struct Command {
    page: Page,
    /// The arguments of the call in a checkout, without `cargo xtask`.
    look: Vec<String>,
    /// The arguments that replace `--dry-run` after a yes.
    yes: Vec<String>,
}

impl Command {
    fn read(name: &str) -> Command {
        let page = Page::read(&repository().join(format!("commands/{name}.md"))).expect("the command has a page");
        let words = |span: &str| -> Vec<String> { span.split_whitespace().map(str::to_owned).collect() };
        let spans = text::code_spans(&page.body);
        let look = spans.iter().find_map(|span| span.strip_prefix("cargo xtask ")).map(words);
        let yes = spans.iter().find(|span| span.starts_with("--yes ")).or(spans.iter().find(|span| **span == "--yes"));
        let yes = yes.map(|span| words(span)).unwrap_or_default();
        Command { look: look.expect("the page shows the call"), yes, page }
    }

    fn changes(&self) -> bool {
        self.page.front.get("disable-model-invocation").is_some()
    }

    /// Runs the call with the user's arguments appended, as the page instructs.
    fn call(&self, lab: &Sandbox, words: &[String]) -> (i32, Json) {
        documented(lab, &[&self.look, words].concat())
    }

    /// Like [`Command::call`], with the replacement for `--dry-run`.
    fn consented(&self, lab: &Sandbox, words: &[String]) -> (i32, Json) {
        let call = self.look.iter().filter(|word| *word != "--dry-run").chain(words).chain(&self.yes);
        documented(lab, &call.cloned().collect::<Vec<_>>())
    }

    /// Returns the spans that are a field or a word of the document.
    fn names(&self) -> BTreeSet<&str> {
        let name = |word: &str| word.split(['.', '_']).all(|part| part.bytes().all(|b| b.is_ascii_lowercase()));
        let spans = text::code_spans(&self.page.body).into_iter();
        spans.filter(|span| !span.is_empty() && name(span.split(": ").next().unwrap_or_default())).collect()
    }
}

fn documented(lab: &Sandbox, words: &[String]) -> (i32, Json) {
    let ran = lab.run_words(words);
    let document = ran.json();
    assert_eq!(document["schema_version"], 1, "{document:#}");
    assert_eq!(document["task"], words[0], "{document:#}");
    assert_eq!(document["ok"], ran.code == 0 || ran.code == 3, "{document:#}");
    assert!(!document["summary"].as_str().unwrap_or_default().is_empty(), "no summary: {document:#}");
    (ran.code, document)
}

/// Returns everything that a read-only call may not change: the simulated services, and the project without the state that such a
/// call saves, and without the journal and the lock.
fn kept(lab: &Sandbox, changes: bool) -> (Json, Files) {
    let files = lab.files().into_iter().filter(|(name, _)| changes || name != ".claude/omni-scale.local.md");
    (settled(lab.dump()), files.collect())
}

/// Collects every field of `value` by its path, all of its strings, and `key: true` for booleans.
fn gather(path: &str, value: &Json, found: &mut BTreeSet<String>) {
    match value {
        Json::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                // A field may be named by any suffix of its path.
                let starts = path.match_indices('.').map(|(at, _)| at + 1).chain([0]);
                found.extend(starts.map(|at| path[at..].to_owned()));
                if let Json::Bool(is) = value {
                    found.insert(format!("{key}: {is}"));
                }
                gather(&path, value, found);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| gather(path, item, found)),
        Json::String(text) => drop(found.insert(text.clone())),
        _ => {}
    }
}

/// Returns words that a document may contain in `error.code` and `status`, the fields of an entry of `error.missing` (every page
/// handles them, even if the task has no such value today), and the fields of the state that pages read.
fn vocabulary() -> BTreeSet<String> {
    let word = |value: Json| value.as_str().expect("a word").to_owned();
    let codes = [Code::MissingInput, Code::Timeout].map(|code| word(serde_json::json!(code)));
    let statuses = [Status::Failed, Status::Warning].map(|status| word(serde_json::json!(status)));
    let example = &repository().join(".claude/omni-scale.local.md.example");
    let state = Page::read(example).expect("the example has front matter").front;
    let fields = state.as_object().expect("a mapping").keys().cloned();
    let mut found: BTreeSet<String> = codes.into_iter().chain(statuses).chain(fields).collect();
    // `cd` is what the assistant must leave out, `pveum` the program for the lines of a hint.
    found.extend(["healthy", "cd", "pveum"].map(str::to_owned));
    // Any document may contain an error.
    let error = serde_json::json!({ "code": "", "message": "", "cause": "", "hint": "", "missing": [] });
    gather("", &serde_json::json!({ "error": error }), &mut found);
    for secret in [true, false] {
        let asked = Asked { name: String::new(), flag: None, env: None, secret };
        gather("error.missing", &serde_json::json!([asked]), &mut found);
    }
    found
}

/// Returns the worker of the cluster `demo`.
fn worker(lab: &Sandbox) -> String {
    let document = lab.run("cluster-status demo --output wide --json --all").exits(0).json();
    let machines = document["data"]["machines"].as_array().expect("a list");
    let mut names = machines.iter().filter_map(|machine| machine["name"].as_str());
    names.find(|name| name.starts_with("demo-workers-")).expect("a worker").to_owned()
}

/// Tests one command, and compares its page with all of its documents.
fn walk(walk: &Walk) {
    let command = Command::read(&walk.name);
    let mut found = vocabulary();
    let gathered = |document: &Json, found: &mut BTreeSet<String>| gather("", document, found);

    let mut player = Player::of(Sandbox::new());
    prepare(&mut player, &walk.before);
    let lab = &*player.lab();
    // The names of machines are random.
    let named = |word: &String| if word == "WORKER" { worker(lab) } else { word.clone() };
    let words: Vec<String> = walk.words.iter().map(named).collect();
    let before = kept(lab, command.changes());
    let (code, document) = command.call(lab, &words);
    assert_eq!(code, walk.code, "{}: {document:#}", walk.name);
    assert!(kept(lab, command.changes()) == before, "{}: a look changed something", walk.name);
    gathered(&document, &mut found);
    if command.changes() {
        assert!(!document["next"].as_array().expect("a list").is_empty(), "{document:#}");
        let plan = document["data"]["plan"].as_array().expect("a dry run has a plan");
        assert!(!plan.is_empty(), "{document:#}");
        for step in plan {
            for field in ["verb", "object", "effect", "undo"] {
                assert!(step[field].is_string(), "{field} of the plan of {}: {step:#}", walk.name);
            }
        }
        // The page passes on every name in the plan.
        let destroyed = document["data"]["allow_destroy"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let mut words = words.clone();
        destroyed.for_each(|name| words.extend(["--allow-destroy", name].map(str::to_owned)));
        let (code, document) = command.consented(lab, &words);
        assert_eq!(code, 0, "{}: {document:#}", walk.name);
        assert!(kept(lab, true) != before, "{}: the plan was not carried out", walk.name);
        assert_eq!(document["next"].as_array().expect("a list").is_empty(), walk.ends, "{document:#}");
        gathered(&document, &mut found);
        if walk.settles {
            let (code, document) = command.call(lab, &walk.words);
            assert_eq!((code, document["data"]["plan"].as_array().map(Vec::len)), (0, Some(0)), "{document:#}");
        }
    }
    for missing in &walk.missing {
        gathered(&asked(walk, &command, missing), &mut found);
    }
    for fault in &walk.faults {
        gathered(&failed(walk, &command, fault), &mut found);
    }
    let unknown: Vec<&str> = command.names().into_iter().filter(|name| !found.contains(*name)).collect();
    assert!(unknown.is_empty(), "commands/{}.md names {unknown:?}, which no document of the task holds", walk.name);
}

/// A value is missing: checks exit status 2, how each value can be given, and that nothing changed.
fn asked(walk: &Walk, command: &Command, missing: &Missing) -> Json {
    let mut player = Player::of(Sandbox::new());
    prepare(&mut player, &[walk.before.as_slice(), &missing.steps].concat());
    let lab = &*player.lab();
    let before = kept(lab, command.changes());
    let (code, document) = command.call(lab, &missing.words);
    assert_eq!((code, &document["error"]["code"]), (2, &Json::from("missing_input")), "{}: {document:#}", walk.name);
    assert!(kept(lab, command.changes()) == before, "{}: a call that lacks a value changed something", walk.name);
    let list = document["error"]["missing"].as_array().expect("a list");
    for one in list {
        assert!(one["name"].as_str().is_some_and(|name| !name.is_empty()), "{one:#}");
        assert!(one["flag"].is_string() || one["env"].is_string(), "nobody can give it: {one:#}");
        // Secrets have no flag, because the list of processes is public.
        assert!(one["secret"] == false || one["flag"].is_null() && one["env"].is_string(), "{one:#}");
    }
    let wanted = |one: &&Json| one["flag"] == *missing.given_as || one["env"] == *missing.given_as;
    let one = list.iter().find(wanted).unwrap_or_else(|| panic!("{} is not asked for: {document:#}", missing.given_as));
    assert_eq!(one["secret"], missing.secret, "{one:#}");
    document
}

/// Something fails: checks the message, the cause, the next step, and that nothing changed.
fn failed(walk: &Walk, command: &Command, fault: &Fault) -> Json {
    let mut player = Player::of(Sandbox::new());
    prepare(&mut player, &fault.steps);
    let lab = &*player.lab();
    let before = kept(lab, command.changes());
    let (code, document) = command.call(lab, &fault.words);
    assert_eq!(code, fault.code, "{}: {document:#}", walk.name);
    assert!(kept(lab, command.changes()) == before, "{}: a failed look changed something", walk.name);
    let error = &document["error"];
    let led_on = !document["next"].as_array().expect("a list").is_empty();
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{}: no message: {error:#}", walk.name);
    assert!(led_on || error["hint"].as_str().is_some_and(|text| !text.is_empty()), "{}: no hint: {error:#}", walk.name);
    document
}

#[test]
fn every_command_is_walked() {
    let walked: Vec<String> = WALKS.walks.iter().map(|walk| format!("{}.md", walk.name)).collect();
    assert_eq!(text::entries(&repository().join("commands")), walked, "a walk for each page");
    in_parallel(&WALKS.walks, 6, walk);
}

/// The other call of each page, word for word in a shell, from one of the user's directories and for a project whose path has a
/// space: the plugin is somewhere else, and nothing is written there.
#[test]
fn an_installed_plugin_works_on_the_users_project() {
    let lab = Sandbox::new();
    let project = lab.scratch().join("my project");
    fs::rename(lab.project(), &project).expect("the project can be moved");
    let target = std::path::Path::new(env!("CARGO_BIN_EXE_xtask")).ancestors().nth(2).expect("target/debug/xtask");
    // The calls of all pages are from one template, which `commands.rs` compares, so three are enough: one that is read-only, one
    // that saves its result, and one that changes something.
    let some = ["provider-status", "cluster-plan", "machineclass-create"];
    for walk in WALKS.walks.iter().filter(|walk| some.contains(&walk.name.as_str())) {
        let page = Command::read(&walk.name).page;
        let spans = text::code_spans(&page.body);
        let call = spans.iter().find(|span| span.starts_with("cargo run ")).expect("the page shows the call");
        let call = call
            .replace("${CLAUDE_PLUGIN_ROOT}", &repository().display().to_string())
            .replace("${CLAUDE_PLUGIN_DATA}/target", &target.display().to_string())
            .replace("${CLAUDE_PROJECT_DIR}", &project.display().to_string());
        assert!(!call.contains("${"), "{call}");
        let mut shell = lab.program("/bin/sh");
        shell.args(["-c", &call]).current_dir(lab.scratch());
        for name in ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_INCREMENTAL"] {
            shell.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        let home = std::env::var("HOME").unwrap_or_default();
        let cargo = std::path::Path::new(env!("CARGO")).parent().expect("cargo lies in a directory");
        shell.env("PATH", format!("{}:{}", cargo.display(), lab.env("PATH")));
        if std::env::var_os("CARGO_HOME").is_none() {
            shell.env("CARGO_HOME", format!("{home}/.cargo"));
        }
        let document = CommandOutput::of(&mut shell).json();
        assert_eq!(document["task"], *walk.name, "{document:#}");
        assert_ne!(document["error"]["code"], "usage", "{document:#}");
        if walk.name == "provider-status" {
            // Saves its result in the user's project and nowhere else.
            assert!(project.join(".claude/omni-scale.local.md").is_file(), "{document:#}");
        }
    }
    fs::rename(&project, lab.project()).expect("the project can be moved back");
}
