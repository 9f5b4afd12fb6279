//! How a fault is met: the lab with the fault in it, the tasks that lead there, the one that meets it, and what is held of
//! it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use domain::failure::Code;
use domain::spec::config::ProviderConfig;
use domain::spec::env::EnvFile;
use domain::spec::{machine_class, template};
use runtime::tool::lab::faults::{Fault, words};
use serde_json::Value;

use crate::sandbox::{Options, Sandbox, lab_program};

/// What is held of a task that meets a fault.
#[derive(Default)]
pub struct FaultCase {
    /// Each stands in the error's message or cause; of a task that bears the fault, anywhere in its document.
    says: &'static [&'static str],
    /// Each stands in the hint or in the next commands.
    hints: &'static [&'static str],
    /// The files that differ afterwards, and no other: each is whole.
    changes: &'static [&'static str],
    /// What must be so after it.
    then: Option<fn(&Sandbox)>,
}

pub fn says(says: &'static [&'static str]) -> FaultCase {
    FaultCase { says, ..FaultCase::default() }
}

impl FaultCase {
    pub fn hints(self, hints: &'static [&'static str]) -> FaultCase {
        FaultCase { hints, ..self }
    }

    pub fn changes(self, changes: &'static [&'static str]) -> FaultCase {
        FaultCase { changes, ..self }
    }

    pub fn then(self, then: fn(&Sandbox)) -> FaultCase {
        FaultCase { then: Some(then), ..self }
    }
}

/// `name "fault": case;` becomes a test of that name, and its fault is counted as tested.
macro_rules! fault_cases {
    ($($name:ident $fault:literal: $case:expr;)*) => {
        pub const TESTED: &[&str] = &[$($fault),*];
        $(
            #[test]
            fn $name() {
                $crate::faults::fault_case::meet($fault, &$case);
            }
        )*
    };
}

/// The table, as the lab tells it.
pub fn table() -> &'static [Fault] {
    static TABLE: OnceLock<Vec<Fault>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let output = Command::new(lab_program()).arg("faults").output().expect("the lab runs");
        serde_json::from_slice(&output.stdout).expect("a table")
    })
}

/// Plays one fault.
#[track_caller]
pub fn meet(name: &str, case: &FaultCase) {
    let fault = table().iter().find(|fault| fault.name == name).unwrap_or_else(|| panic!("{name} is not in the table"));
    let lab = Sandbox::with(&Options { faults: &[name], ..Options::default() });
    for line in &fault.before {
        match line.strip_prefix("edit ") {
            Some(change) => edit(&lab, change),
            None => drop(run(&lab, line).exits(0)),
        }
    }
    let before = files(&lab);
    let ran = run(&lab, &fault.task).exits(fault.exit);
    let document = ran.json();
    if fault.exit == 0 {
        hold(&document.to_string(), case.says, &document);
        hold(&document.to_string(), case.hints, &document);
    } else {
        hold_error(fault, case, &document);
    }
    let after = files(&lab);
    let names = before.keys().chain(after.keys());
    let mut changed: Vec<&str> =
        names.filter(|name| before.get(*name) != after.get(*name)).map(String::as_str).collect();
    changed.sort_unstable();
    changed.dedup();
    let mut wanted = case.changes.to_vec();
    wanted.sort_unstable();
    assert_eq!(changed, wanted, "left: what {name} changed\n{document:#}");
    after.iter().for_each(|(name, (mode, bytes))| whole(name, *mode, bytes));
    for secret in ["OMNI_SERVICE_ACCOUNT_KEY", "PROXMOX_VE_API_TOKEN", "OMNI_INFRA_PROVIDER_KEY"] {
        let value = lab.env(secret).rsplit('=').next().unwrap_or_default();
        assert!(value.len() < 16 || !format!("{ran:?}").contains(value), "{name} shows {secret}");
    }
    if let Some(then) = case.then {
        then(&lab);
    }
}

fn run(lab: &Sandbox, line: &str) -> crate::sandbox::CommandOutput {
    let mut typed = words(line);
    typed.extend(["--yes".to_owned(), "--json".to_owned()]);
    lab.run_words(&typed.iter().map(String::as_str).collect::<Vec<_>>())
}

fn edit(lab: &Sandbox, change: &str) {
    let (file, change) = change.split_once(": ").expect("a file");
    let (from, to) = change.split_once(" -> ").expect("what becomes of what");
    let text = lab.read(file);
    assert!(text.contains(from), "{file} does not say {from}:\n{text}");
    lab.write(file, &text.replacen(from, to, 1));
}

/// The error of the document: its code goes with the exit status, it has a cause and says what to do.
fn hold_error(fault: &Fault, case: &FaultCase, document: &Value) {
    let error = &document["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    let code: Code = [
        Code::Usage,
        Code::MissingInput,
        Code::Prerequisite,
        Code::Unreachable,
        Code::Refused,
        Code::NotFound,
        Code::Invalid,
        Code::Conflict,
        Code::Timeout,
        Code::Interrupted,
        Code::Failed,
    ]
    .into_iter()
    .find(|code| serde_json::json!(code) == error["code"])
    .unwrap_or_else(|| panic!("{document:#}"));
    assert_eq!(i32::from(code.exit()), fault.exit, "{document:#}");
    assert_eq!(document["ok"], false);
    let next: Vec<&str> = document["next"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert!(!text("hint").is_empty() || !next.is_empty(), "{}: it does not say what to do\n{document:#}", fault.name);
    hold(&format!("{}\n{}", text("message"), text("cause")), case.says, document);
    hold(&format!("{}\n{}", text("hint"), next.join("\n")), case.hints, document);
    crate::advice::names_no_sample(&format!("{}\n{}", text("hint"), next.join("\n")));
    assert!(!case.says.is_empty() && !case.hints.is_empty(), "{}: cause and hint are held", fault.name);
}

#[track_caller]
fn hold(text: &str, wanted: &[&str], document: &Value) {
    for words in wanted {
        // A race of the far end has two outcomes: `one|other`.
        assert!(words.split('|').any(|words| text.contains(words)), "{words:?} is not in:\n{text}\n\n{document:#}");
    }
}

/// The files that a task may write, by their names in the project.
fn files(lab: &Sandbox) -> BTreeMap<String, (u32, Vec<u8>)> {
    let root = lab.project();
    let name = |path: &Path| path.strip_prefix(&root).expect("in the project").display().to_string();
    let all = lab.tree().into_iter().map(|(path, file)| (name(&path), file));
    all.filter(|(name, _)| !name.starts_with("target/")).collect()
}

/// What a file holds is complete: it parses, and a secret is for its owner alone.
pub fn whole(name: &str, mode: u32, bytes: &[u8]) {
    let text = || std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let private = || assert_eq!(mode & 0o777, 0o600, "{name}");
    assert!(!name.ends_with(".tmp") && !name.contains(".tmp."), "{name} was left behind");
    match name {
        "docker/.env" => {
            private();
            EnvFile::parse(name, text()).unwrap_or_else(|error| panic!("{error}"));
        }
        "docker/config.yaml" => {
            private();
            ProviderConfig::parse(name, text()).unwrap_or_else(|error| panic!("{error}"));
        }
        ".claude/omni-scale.local.md" => {
            assert!(text().starts_with("---\n") && text()[4..].contains("\n---\n"), "{name}: {}", text());
        }
        name if name.starts_with("machine-classes/") => {
            let parsed = machine_class::parse(name, bytes);
            assert!(parsed.value.is_some_and(|classes| !classes.is_empty()), "{name}: {:?}", parsed.findings);
        }
        name if name.starts_with("clusters/") => {
            let parsed = template::parse(name, bytes);
            assert!(parsed.value.is_some_and(|cluster| !cluster.sets.is_empty()), "{name}: {:?}", parsed.findings);
        }
        _ => {}
    }
}
