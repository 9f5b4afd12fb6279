//! A planted violation for every check, and the check finds it: `planted.yaml`, and those that need more than a row.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use super::Kit;
use crate::sandbox::root;

/// A package that rustfmt and clippy accept, with `text` as its library.
fn package(text: &str) -> Kit {
    let kit = Kit::new();
    kit.add_rust();
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
        if needs.as_deref().is_some_and(|program| program != "rust" && !kit.add_program(program)) {
            continue;
        }
        if let Some(FakeProgram { program, says, exit }) = plays {
            kit.fakes(program, &says.replace("@ROOT@", &kit.path().display().to_string()), *exit);
        }
        kit.copy_files(&copies.iter().map(String::as_str).collect::<Vec<_>>());
        let write = |files: &BTreeMap<String, String>| files.iter().for_each(|(file, text)| kit.write(file, text));
        write(files);
        let message = kit.finds(check, finds, fix);
        assert!(message.starts_with(says), "{check}: {message}");
        write(fixed);
        if needs.is_some() {
            let fix = if fixed.is_empty() { " --fix" } else { "" };
            kit.xtask(&format!("ci --only {check}{fix}")).exits(0);
            kit.check(check, "ok");
        }
        for (file, text) in becomes {
            assert_eq!(&fs::read_to_string(kit.path().join(file)).unwrap(), text, "{file}");
        }
    }
}

#[test]
fn cargo_finds_a_failing_test() {
    let kit = package("#[test]\nfn b() {\n    assert_eq!(1 + 1, 3);\n}\n");
    kit.xtask("ci --only test").exits(1).says(&["src/lib.rs:3:5", "fix: cargo test"]);
}

#[test]
fn slow_tests_run_only_in_their_group() {
    let kit = package("mod faults {\n    #[test]\n    fn b() {\n        assert_eq!(1 + 1, 3);\n    }\n}\n");
    assert_eq!(kit.check("test", "ok")["detail"], "0 passed, 0 failed");
    kit.xtask("ci --only slow").exits(1).says(&["src/lib.rs:4:9", "fix: cargo test"]);
}

/// The database of advisories is on the network; here it is replaced with a git repository in the form of RustSec's.
#[test]
fn cargo_deny_finds_a_vulnerable_dependency() {
    let kit = Kit::new();
    if !kit.add_program("cargo-deny") {
        return;
    }
    kit.copy_files(&["Cargo.toml", "Cargo.lock", "xtask/tests/it/main.rs", ".ci/advisories.sh"]);
    std::os::unix::fs::symlink("/usr/bin/dirname", kit.path().join("bin/dirname")).unwrap();
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        kit.copy_files(&[&format!("{member}/Cargo.toml")]);
        kit.write(&format!("{member}/src/lib.rs"), "");
        kit.write(&format!("{member}/src/main.rs"), "");
    }
    let advisory = "```toml\n[advisory]\nid = \"RUSTSEC-2026-9999\"\npackage = \"anyhow\"\ndate = \"2026-01-01\"\n\n\
                    [versions]\npatched = []\n```\n\n# Made up\n\nFor a test.\n";
    kit.write("db/crates/anyhow/RUSTSEC-2026-9999.md", advisory);
    kit.git(&["init", "--quiet", "--initial-branch", "main", "db"]);
    kit.git(&["-C", "db", "add", "."]);
    kit.git(&["-C", "db", "commit", "--quiet", "--message", "advisories"]);
    // cargo-deny requires an address with a domain; git, which fetches it, is redirected to the kit.
    let (at, address) = (kit.path().display(), "https://advisories.example.com/");
    kit.write(".gitconfig", &format!("[url \"file://{at}/\"]\n\tinsteadOf = {address}\n"));
    let database = |name: &str| {
        let lines = format!("[advisories]\ndb-path = \"{at}/dbs\"\ndb-urls = [\"{address}{name}\"]\n");
        kit.write("deny.toml", &lines);
    };
    database("db");
    let row = kit.check("advisories", "failed");
    assert_eq!(row["findings"][0]["file"], "Cargo.lock", "{row:#}");
    kit.xtask("ci --only advisories").exits(1).says(&["Made up", "cargo update -p NAME"]);
    // If the database cannot be fetched, the check is skipped and reports why.
    database("no-such-database");
    let row = kit.check("advisories", "skipped");
    assert!(row["detail"].as_str().unwrap().contains("RustSec/advisory-db"), "{row:#}");
}
