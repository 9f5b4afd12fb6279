//! Every parser of the runner on damaged input: real files with bytes, words and lines changed at random.
//!
//! Bounded and deterministic by default. `FUZZ_COUNT=20000 FUZZ_SEED=7 cargo test -p xtask --test it fuzz` runs more, and a
//! failure is printed with the seed and the number that reproduce it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use check::machine_class::{self, ClassContext};
use check::template::{self, FileRead, TemplateContext};
use check::{certificate, convert, grant, labels, oidc, schema};
use domain::spec::config::ProviderConfig;
use domain::spec::env::EnvFile;
use domain::spec::key::KeyInfo;
use domain::spec::store_key;
use domain::status::{docker, omni, proxmox, sync};
use domain::version;
use runtime::state::State;
use runtime::triage;
use selector::{self, Storage};
use serde_json::Value;
use yaml::Finding;

use crate::sandbox::{Scratch, root};

/// Maximum time for a single input.
const LONGEST: Duration = Duration::from_secs(2);

/// Produces the same inputs for the same seed.
struct Random(fastrand::Rng);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0.usize(..below.max(1))
    }

    /// Returns the input with one to four changes.
    fn damage(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..1 + self.next(4) {
            let at = self.next(bytes.len() + 1);
            let to = (at + self.next(12)).min(bytes.len());
            match self.next(6) {
                0 => drop(bytes.splice(at..at, WORDS[self.next(WORDS.len())].bytes())),
                1 => drop(bytes.drain(at..to)),
                2 => bytes.truncate(at),
                3 => {
                    let piece = bytes[at..to].to_vec();
                    drop(bytes.splice(at..at, piece.repeat(1 + self.next(40))));
                }
                4 => {
                    let byte = self.next(256) as u8;
                    drop(bytes.splice(at..to, [byte]));
                }
                _ => {
                    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                    let (from, into) = (self.next(lines.len()), self.next(lines.len()));
                    if let Some(line) = lines.get(from).copied() {
                        lines.insert(into, line);
                    }
                    bytes = lines.concat();
                }
            }
            bytes.truncate(100_000);
        }
        bytes
    }
}

/// Words that have a meaning for one of the parsers.
static WORDS: LazyLock<Vec<String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../fixtures/fuzz-words.json")).expect("a list"));

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs a parser on damaged seeds, `FUZZ_COUNT` of them (or `count`).
fn fuzz(name: &str, count: u64, seeds: &[Vec<u8>], parser: impl Fn(&[u8])) {
    let (seed, count) = (setting("FUZZ_SEED", 1), setting("FUZZ_COUNT", count));
    println!("{name}: FUZZ_SEED={seed} FUZZ_COUNT={count}");
    assert!(!seeds.is_empty(), "{name} has nothing to start from");
    for number in 0..count {
        // Each number is independent, so that a single one can be reproduced.
        let mut random = Random(fastrand::Rng::with_seed(seed.wrapping_mul(0x1000_0000_01b3) ^ number));
        let input = {
            let of = random.next(seeds.len());
            random.damage(&seeds[of])
        };
        let begun = Instant::now();
        let ran = catch_unwind(AssertUnwindSafe(|| parser(&input)));
        let shown = || String::from_utf8_lossy(&input[..input.len().min(2000)]).into_owned();
        assert!(ran.is_ok(), "{name} panics at FUZZ_SEED={seed} number {number}: {:?}", shown());
        // A machine that is busy with other tests is not the parser's fault, so the best of three runs counts.
        let once = |_| {
            let begun = Instant::now();
            parser(&input);
            begun.elapsed()
        };
        if begun.elapsed() > LONGEST {
            let best = (0..3).map(once).min().unwrap_or_default();
            assert!(best <= LONGEST, "{name} takes {best:?} at FUZZ_SEED={seed} number {number}: {:?}", shown());
        }
    }
}

/// Returns the files in a folder of the corpora.
fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let dir = root().join("xtask/check/tests/corpus").join(folder);
    let mut files: Vec<_> =
        std::fs::read_dir(dir).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    let small = files.iter().filter_map(|path| std::fs::read(path).ok()).filter(|bytes| bytes.len() < 20_000);
    small.collect()
}

fn repository(files: &[&str]) -> Vec<Vec<u8>> {
    files
        .iter()
        .map(|file| std::fs::read(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}")))
        .collect()
}

/// Returns a list of `fixtures/fuzz-seeds.json`.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let all: BTreeMap<String, Vec<String>> =
        serde_json::from_str(include_str!("../fixtures/fuzz-seeds.json")).expect("lists");
    all[name].iter().map(|text| text.clone().into_bytes()).collect()
}

/// Checks that findings have a position in the file, a rule of the table and a message.
fn check_findings(findings: &[Finding]) {
    for finding in findings {
        assert!(finding.place.line > 0 && finding.place.column > 0 && !finding.message.is_empty(), "{finding:?}");
        assert!(check::rules::find(finding.rule).is_some(), "{finding:?}");
    }
}

#[test]
fn fuzz_yaml() {
    let mut seeds = corpus("templates");
    seeds.extend(corpus("classes"));
    fuzz("yaml", 300, &seeds, |bytes| {
        let stream = yaml::load("a.yaml", bytes);
        check_findings(&stream.findings);
        for document in &stream.documents {
            let _ = yaml::emit(&document.root, 0);
        }
    });
}

#[test]
fn fuzz_machine_classes() {
    let mut seeds = corpus("classes");
    seeds.extend(corpus("older"));
    fuzz("machine classes", 200, &seeds, |bytes| {
        check_findings(&machine_class::check("a.yaml", bytes, &ClassContext::default()).findings);
        let _ = convert::machine_class("a.yaml", bytes);
    });
}

#[test]
fn fuzz_templates_and_patches() {
    let mut seeds = corpus("templates");
    seeds.extend(corpus("older"));
    let patches = corpus("templates/files");
    fuzz("templates", 200, &seeds, |bytes| {
        let read = |name: &str| FileRead::Bytes(patches[name.len() % patches.len()].clone());
        let context = TemplateContext { read: Some(&read), ..TemplateContext::default() };
        check_findings(&template::check("a.yaml", bytes, &context).findings);
        let _ = convert::cluster_template("a.yaml", bytes);
    });
    let template =
        b"kind: Cluster\nname: a\nkubernetes: {version: v1.36.2}\ntalos: {version: v1.13.5}\npatches: [{file: p}]\n";
    fuzz("patches", 200, &patches, |bytes| {
        let read = |_: &str| FileRead::Bytes(bytes.to_vec());
        let context = TemplateContext { read: Some(&read), ..TemplateContext::default() };
        check_findings(&template::check("a.yaml", template, &context).findings);
    });
}

#[test]
fn fuzz_selectors() {
    let truth = include_str!("../../selector/tests/truth.tsv");
    let seeds: Vec<Vec<u8>> =
        truth.lines().filter_map(|line| Some(line.split('\t').next()?.as_bytes().to_vec())).collect();
    let storage = Storage { name: "größe.1", node: "pve1", storage_type: "rbd", available_space: u64::MAX };
    fuzz("selectors", 2000, &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match selector::compile(&text) {
            Ok(program) => {
                let _ = program.matches(&storage);
                let _ = program.explain_mismatch(&storage);
            }
            Err(error) => assert!(error.at.line > 0 && !error.line.is_empty(), "{error:?}"),
        }
        let _ = (convert::selector(&text), selector::regex_matches(&text, "local-lvm"), selector::words(&text));
    });
}

#[test]
fn fuzz_json_schemas() {
    let documents = corpus("classes");
    fuzz("JSON schemas", 300, &seeds("schemas"), |bytes| {
        let Ok(schema) = serde_json::from_slice::<Value>(bytes) else { return };
        let stream = yaml::load("a.yaml", &documents[bytes.len() % documents.len()]);
        for document in &stream.documents {
            let _ = schema::validate(&schema, &document.root);
        }
    });
}

#[test]
fn fuzz_files_of_the_project() {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fuzz(".env", 400, &repository(&["docker/.env.example"]), |bytes| {
        if let Ok(mut env) = EnvFile::parse(".env", &text(bytes)) {
            env.set("OMNI_DOMAIN", "omni.example.com");
            assert_eq!(env.get("OMNI_DOMAIN"), Some("omni.example.com"));
        }
    });
    fuzz("config.yaml", 300, &repository(&["docker/config.yaml.example"]), |bytes| {
        let _ = ProviderConfig::parse("config.yaml", &text(bytes));
    });
    let compose = include_str!("../../../docker/compose.yaml");
    fuzz("site.yaml", 300, &repository(&["docker/site.yaml.example"]), |bytes| {
        let _ = check::site::check("site.yaml", &text(bytes), compose, &|_| false);
    });
    let scratch = Scratch::new();
    let path = scratch.path().join("state.md");
    fuzz("state", 200, &repository(&[".claude/omni-scale.local.md.example"]), |bytes| {
        std::fs::write(&path, bytes).expect("a scratch file");
        if let Ok(mut state) = State::load(&path, "state.md") {
            state.set("provider_status", "healthy");
            state.set_section("Next Steps", "- none");
            assert_eq!(state.get("provider_status").as_deref(), Some("healthy"));
            let _ = state.text();
        }
    });
    fuzz("policy", 300, &repository(&["tsidp/grant.json"]), |bytes| {
        if let Ok(root) = domain::spec::hujson::parse("policy.hujson", &text(bytes)) {
            let _ = grant::lint("policy.hujson", &root, Some("a@example.com"));
        }
    });
}

#[test]
fn fuzz_what_programs_print() {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fuzz("JSON of programs", 600, &seeds("programs"), |bytes| {
        let text = text(bytes);
        let _ = (omni::parse_resources(&text), docker::parse_compose_ps(&text), docker::parse_inspect(&text));
        let _ = proxmox::Inventory::parse(&text);
        let _ = (oidc::discovery(&text, "https://idp.example.ts.net"), oidc::keys(&text));
    });
    fuzz("lines of programs", 400, &seeds("lines"), |bytes| {
        let text = text(bytes);
        let _ = (sync::sync_actions(&text), omni::parse_omnictl_version(&text), docker::parse_compose_version(&text));
        let _ = (labels::parse(&text), version::parse(&text), version::numbers(&text));
    });
    let issues = triage::Issues::read().expect("the known issues");
    let samples: Vec<Vec<u8>> =
        issues.list().iter().map(|issue| format!("{}\n{}", issue.sample, issue.fix).into_bytes()).collect();
    fuzz("logs", 20, &samples, |bytes| drop(issues.find(&text(bytes))));
}

#[test]
fn fuzz_keys_and_certificates() {
    fuzz("certificates and keys", 600, &seeds("keys"), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (certificate::read_pem(&text).is_ok(), certificate::Certificate::parse(bytes).is_ok());
        let _ = (
            store_key::check(&text, 1_800_000_000).is_ok(),
            KeyInfo::parse(&text).map(|key| key.is_expired(SystemTime::now())),
        );
    });
}
