//! A planted fault for every check, found by it: `planted.yaml`, and what takes more than a row.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use super::Kit;
use crate::sandbox::root;

/// A package that rustfmt and clippy take, with `text` as its library.
fn package(text: &str) -> Kit {
    let kit = Kit::new();
    kit.brings_rust();
    kit.write("Cargo.toml", "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n");
    kit.write("src/lib.rs", text);
    kit
}

/// A row of `planted.yaml`, which explains the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Planted {
    check: String,
    plays: Option<FakeProgram>,
    needs: Option<String>,
    #[serde(default)]
    copies: Vec<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    finds: String,
    #[serde(default)]
    says: String,
    fix: String,
    #[serde(default)]
    fixed: BTreeMap<String, String>,
    #[serde(default)]
    becomes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct FakeProgram {
    program: String,
    says: String,
    exit: i32,
}

#[test]
fn each_planted_fault_is_found_by_its_check_with_file_and_fix() {
    let faults: Vec<Planted> = serde_yaml::from_str(include_str!("planted.yaml")).unwrap();
    for Planted { check, plays, needs, copies, files, finds, says, fix, fixed, becomes } in &faults {
        let kit = if needs.as_deref() == Some("rust") { package("") } else { Kit::new() };
        if needs.as_deref().is_some_and(|program| program != "rust" && !kit.brings(program)) {
            continue;
        }
        if let Some(FakeProgram { program, says, exit }) = plays {
            kit.plays(program, &says.replace("@ROOT@", &kit.path().display().to_string()), *exit);
        }
        kit.copies(&copies.iter().map(String::as_str).collect::<Vec<_>>());
        let write = |files: &BTreeMap<String, String>| files.iter().for_each(|(file, text)| kit.write(file, text));
        write(files);
        kit.finds(check, finds, fix);
        let message = kit.check(check).1["findings"][0]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with(says), "{check}: {message}");
        write(fixed);
        if needs.is_some() {
            let fix = fixed.is_empty().then_some("--fix");
            let words: Vec<&str> = ["ci", "--only", check.as_str()].into_iter().chain(fix).collect();
            let (code, stdout, stderr) = kit.xtask(&words);
            assert_eq!(code, 0, "{check}: {stdout}{stderr}");
            kit.passes(check);
        }
        for (file, text) in becomes {
            assert_eq!(&fs::read_to_string(kit.path().join(file)).unwrap(), text, "{file}");
        }
    }
}

#[test]
fn cargo_finds_a_failing_test() {
    let kit = package("#[test]\nfn b() {\n    assert_eq!(1 + 1, 3);\n}\n");
    let (code, stdout, _) = kit.xtask(&["ci", "--only", "test"]);
    assert!(code == 1 && stdout.contains("src/lib.rs:3:5") && stdout.contains("fix: cargo test"), "{stdout}");
}

#[test]
fn a_slow_test_is_run_by_its_group_alone() {
    let kit = package("mod faults {\n    #[test]\n    fn b() {\n        assert_eq!(1 + 1, 3);\n    }\n}\n");
    assert_eq!(kit.check("test").1["detail"], "0 passed, 0 failed");
    let (code, stdout, _) = kit.xtask(&["ci", "--only", "slow"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("src/lib.rs:4:9") && stdout.contains("fix: cargo test"), "{stdout}");
}

/// The database of advisories is on the network; here it is a git repository of our own in the form of RustSec's.
#[test]
fn cargo_deny_finds_a_dependency_with_a_known_weakness() {
    let kit = Kit::new();
    if !kit.brings("cargo-deny") {
        return;
    }
    kit.copies(&["Cargo.toml", "Cargo.lock", "xtask/tests/it/main.rs"]);
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        kit.copies(&[&format!("{member}/Cargo.toml")]);
        kit.write(&format!("{member}/src/lib.rs"), "");
        kit.write(&format!("{member}/src/main.rs"), "");
    }
    let advisory = "```toml\n[advisory]\nid = \"RUSTSEC-2026-9999\"\npackage = \"anyhow\"\ndate = \"2026-01-01\"\n\n\
                    [versions]\npatched = []\n```\n\n# Made up\n\nFor a test.\n";
    kit.write("db/crates/anyhow/RUSTSEC-2026-9999.md", advisory);
    kit.git(&["init", "--quiet", "--initial-branch", "main", "db"]);
    kit.git(&["-C", "db", "add", "."]);
    kit.git(&["-C", "db", "commit", "--quiet", "--message", "advisories"]);
    // cargo-deny wants an address with a domain; git, which fetches it, goes to the kit instead.
    let (at, address) = (kit.path().display(), "https://advisories.example.com/");
    kit.write(".gitconfig", &format!("[url \"file://{at}/\"]\n\tinsteadOf = {address}\n"));
    let database = |name: &str| {
        let lines = format!("[advisories]\ndb-path = \"{at}/dbs\"\ndb-urls = [\"{address}{name}\"]\n");
        kit.write("deny.toml", &lines);
    };
    database("db");
    kit.finds("advisories", "Cargo.lock:1", "cargo update -p NAME");
    let said = kit.check("advisories").1["findings"][0]["message"].as_str().unwrap().to_owned();
    assert!(said.starts_with("anyhow 1.") && said.contains("RUSTSEC-2026-9999"), "{said}");
    // One that cannot be fetched is a check that could not be made, and says so.
    database("no-such-database");
    let (code, row) = kit.check("advisories");
    assert_eq!((code, row["status"].as_str()), (0, Some("skipped")), "{row:#}");
    assert!(row["detail"].as_str().unwrap().contains("RustSec/advisory-db"), "{row:#}");
}

#[test]
fn a_stale_page_is_found_and_rendered_anew() {
    let kit = Kit::new();
    kit.copies(&crate::docs::pages().iter().map(String::as_str).collect::<Vec<_>>());
    kit.copies(&[
        "docker/compose.yaml",
        "docs/recordings/rehearse.txt",
        "docs/recordings/fleet.json",
        "lab/data/faults.yaml",
    ]);
    kit.passes("docs");
    let page = fs::read_to_string(kit.path().join("docs/reference/tasks.md")).unwrap();
    kit.write("docs/reference/tasks.md", &page.replacen("# Tasks", "# Chores", 1));
    kit.finds("docs", "docs/reference/tasks.md:1", "cargo xtask docs");
    let (code, _, stderr) = kit.xtask(&["ci", "--only", "docs", "--fix"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(fs::read_to_string(kit.path().join("docs/reference/tasks.md")).unwrap(), page);
}
