//! The advice of failures: every command in a fix, a hint or a next step exists, and so do its options.

use std::fs;
use std::sync::LazyLock;

use regex::Regex;
use serde_yaml::Value;

use crate::guides::{check, simple};
use crate::sandbox::root;
use crate::tidy::{code, sources};

/// Programs whose commands are checked here.
const PROGRAMS: [&str; 6] = ["cargo xtask ", "omnictl ", "docker ", "sudo docker ", "pveum ", "sudo tsidp/"];

/// Spans that mention a program without calling it.
const OTHERS: [&str; 3] = ["cargo xtask ", "cargo xtask … --help", "omnictl --version"];

/// Fills in the placeholders of a text: `{name}` of a format, `…` for a value of one's own.
fn filled(command: &str) -> String {
    let mut out = String::new();
    let mut rest = command;
    while let Some((before, after)) = rest.split_once('{') {
        // Docker's `{{.Name}}` and JSON are written `{{{{` in a format; neither is a placeholder.
        let Some((_, after)) = after.split_once('}').filter(|(hole, _)| !hole.contains(['{', ' '])) else { break };
        out.push_str(before);
        out.push('1');
        rest = after;
    }
    out + rest
}

/// Returns the commands in a text of the program: each code span, and the text itself if it starts like a command. A task may be
/// mentioned without its arguments, but as a next step it must be complete.
fn advised(text: &str) -> Vec<String> {
    let named = |span: &str| span.starts_with("cargo xtask ") && span.matches(' ').count() == 2;
    let spans = text.split('`').skip(1).step_by(2).map(|span| match named(span) {
        true => format!("{span} --help"),
        false => span.to_owned(),
    });
    let whole = text.starts_with("cargo xtask ").then(|| text.to_owned());
    let known =
        |text: &String| PROGRAMS.iter().any(|program| text.starts_with(program)) && !OTHERS.contains(&text.as_str());
    let filled = |text: String| filled(text.split(" > ").next().unwrap_or_default());
    // A task name in a placeholder is checked where that name is defined.
    spans.chain(whole).filter(known).map(filled).filter(|text| !text.starts_with("cargo xtask 1")).collect()
}

/// Returns the string literals of a source file with their lines; a literal over several lines has the line of its start.
fn literals(source: &str) -> Vec<(usize, String)> {
    static LITERAL: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"(?m)^\s*//.*$|'"'|"((?s:[^"\\]|\\.)*)""#).expect("a regex"));
    static GOES_ON: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\\\n\s*|\\").expect("a regex"));
    let found = LITERAL.captures_iter(source).filter_map(|found| found.get(1));
    let line = |at: usize| source[..at].matches('\n').count() + 1;
    found.map(|text| (line(text.start()), GOES_ON.replace_all(text.as_str(), "").into_owned())).collect()
}

/// Returns what is wrong with the commands in a text.
fn invalid_commands(text: &str, seen: &mut usize) -> Vec<String> {
    let mut wrong = Vec::new();
    for command in advised(text) {
        for words in simple(&command) {
            *seen += 1;
            wrong.extend(check(&words).err().map(|why| format!("{why}: {command}")));
        }
    }
    wrong
}

/// The names used in examples: in the samples of the known issues, in the documents and in the tests.
const SAMPLES: &str = "example.com|example.org|example.net|alice|bob@|12345678-90ab|vmbr1|vnet20|demo-| demo|matrix|\
     name == \"ceph\"";

/// Checks that advice contains the objects of the actual case, or placeholders in capitals.
#[track_caller]
pub fn names_no_sample(text: &str) {
    for sample in SAMPLES.split('|') {
        // After `such as`, an example is clearly marked as one.
        assert!(!text.contains(sample) || text.contains("such as"), "{sample:?} of an example is in: {text}");
    }
}

#[test]
fn advised_commands_exist_and_name_no_sample() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for dir in ["xtask/src", "xtask/runtime/src", "xtask/check/src", "xtask/domain/src", "xtask/yaml/src"] {
        for path in sources(dir).into_iter().filter(|path| !path.ends_with("tests.rs")) {
            for (line, text) in literals(&code(&path)) {
                advised(&text).iter().for_each(|command| names_no_sample(command));
                let place = format!("{}:{line}", path.strip_prefix(root()).unwrap_or(&path).display());
                wrong.extend(invalid_commands(&text, &mut seen).iter().map(|why| format!("{place}: {why}")));
            }
        }
    }
    assert!(seen > 150, "{seen} commands: is the code read?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_of_known_issues_and_faults_exist() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (file, keys) in [
        ("xtask/data/known-issues.yaml", &["next", "fix", "cause"][..]),
        ("lab/data/faults.yaml", &["heals", "says"]),
        ("xtask/data/program-errors.yaml", &["hint", "next"]),
    ] {
        let text = fs::read_to_string(root().join(file)).expect(file);
        let entries: Value = serde_yaml::from_str(&text).expect(file);
        // The errors of programs are one list for each program.
        let lists: Vec<&Value> = entries.as_mapping().map_or(vec![&entries], |map| map.values().collect());
        let entries = lists.into_iter().filter_map(Value::as_sequence).flatten();
        for (entry, key) in entries.flat_map(|entry| keys.iter().map(move |key| (entry, key))) {
            let name = ["id", "name", "message"].iter().find_map(|name| entry.get(name)?.as_str());
            let value = entry.get(key).map(|value| value.get(0).unwrap_or(value));
            let text = value.and_then(Value::as_str).unwrap_or_default();
            let whole = text.starts_with("cargo xtask ") || *key != "next";
            let text = if whole { text.to_owned() } else { format!("`{text}`") };
            let place = format!("{file}: {} {key}", name.unwrap_or_default());
            wrong.extend(invalid_commands(&text, &mut seen).iter().map(|why| format!("{place}: {why}")));
        }
    }
    assert!(seen > 100, "{seen} commands: are the files read?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn invalid_command_is_found_in_a_text() {
    for (text, wanted) in [
        ("cargo xtask stack-up --rebuild", "unexpected argument"),
        ("run `cargo xtask stackup`, then look", "unrecognized subcommand"),
        ("`cargo xtask machineclass-check {file} --fixx`", "unexpected argument"),
        ("`omnictl get machines --cluster {name}` shows it", "has no --cluster"),
    ] {
        assert!(invalid_commands(text, &mut 0).first().is_some_and(|why| why.contains(wanted)), "{text}");
    }
    let source =
        "// \"cargo xtask a\"\nlet a = \"cargo xtask b \\\n    --c\"; let d = '\"'; f(\"cargo xtask e \\\"g\\\"\");\n";
    let found: Vec<String> = literals(source).into_iter().map(|(_, text)| text).collect();
    assert_eq!(found, ["cargo xtask b --c", "cargo xtask e \"g\""]);
}
