//! A planted fault for every check that is another program's, found by that very program. The checks that are ours run
//! for real in `ci.rs` and `docs.rs` as well; there the programs are played, so that what each says is held to the word
//! also on a machine that has none of them.

use std::fs;

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

#[test]
fn rustfmt_finds_a_badly_formatted_file_and_mends_it() {
    let kit = package("//! P.\n\npub fn  a( ){}\n");
    kit.finds("fmt", "src/lib.rs:1", "cargo fmt --all");
    let (code, _, stderr) = kit.xtask(&["ci", "--only", "fmt", "--fix"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(fs::read_to_string(kit.path().join("src/lib.rs")).unwrap(), "//! P.\n\npub fn a() {}\n");
    kit.passes("fmt");
}

#[test]
fn clippy_finds_a_warning() {
    let kit = package("//! P.\n\npub fn a(x: &str) -> bool {\n    x.len() == 0\n}\n");
    kit.finds("clippy", "src/lib.rs:4", "cargo clippy --fix");
    kit.write("src/lib.rs", "//! P.\n\npub fn a(x: &str) -> bool {\n    x.is_empty()\n}\n");
    kit.passes("clippy");
}

#[test]
fn cargo_finds_a_failing_test() {
    let kit = package("#[test]\nfn b() {\n    assert_eq!(1 + 1, 3);\n}\n");
    let (code, stdout, _) = kit.xtask(&["ci", "--only", "test"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("src/lib.rs:3:5") && stdout.contains("fix: cargo test"), "{stdout}");
    kit.write("src/lib.rs", "#[test]\nfn b() {\n    assert_eq!(1 + 1, 2);\n}\n");
    assert_eq!(kit.check("test").1["detail"], "1 passed, 0 failed");
}

#[test]
fn a_slow_test_is_run_by_its_group_alone() {
    let kit = package("mod faults {\n    #[test]\n    fn b() {\n        assert_eq!(1 + 1, 3);\n    }\n}\n");
    assert_eq!(kit.check("test").1["detail"], "0 passed, 0 failed");
    let (code, stdout, _) = kit.xtask(&["ci", "--only", "slow"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("src/lib.rs:4:9") && stdout.contains("fix: cargo test"), "{stdout}");
}

#[test]
fn markdownlint_finds_a_badly_formatted_page_and_mends_it() {
    let kit = Kit::new();
    if !kit.brings("markdownlint-cli2") {
        return;
    }
    kit.copies(&[".markdownlint-cli2.yaml"]);
    kit.write("docs/a.md", "# A\n\n\n\n* one\n");
    kit.finds("markdown", "docs/a.md:3", "cargo xtask markdown-fix");
    let (code, stdout, stderr) = kit.xtask(&["markdown-fix"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    kit.passes("markdown");
}

#[test]
fn shellcheck_finds_an_unquoted_variable() {
    let kit = Kit::new();
    if !kit.brings("shellcheck") {
        return;
    }
    kit.write("docker/up.sh", "#!/bin/sh\nset -eu\nrm -- $1\n");
    kit.finds("shell", "docker/up.sh:3", "shellcheck.net");
    kit.write("docker/up.sh", "#!/bin/sh\nset -eu\nrm -- \"$1\"\n");
    kit.passes("shell");
}

#[test]
fn shfmt_finds_a_badly_formatted_script_and_mends_it() {
    let kit = Kit::new();
    if !kit.brings("shfmt") {
        return;
    }
    kit.copies(&[".editorconfig"]);
    kit.write("docker/up.sh", "#!/bin/sh\nif true; then\n      echo up\nfi\n");
    kit.finds("shell-format", "docker/up.sh:1", "--only shell-format --fix");
    let (code, _, stderr) = kit.xtask(&["ci", "--only", "shell-format", "--fix"]);
    assert_eq!(code, 0, "{stderr}");
    kit.passes("shell-format");
}

#[test]
fn actionlint_finds_an_unknown_runner() {
    let kit = Kit::new();
    if !kit.brings("actionlint") {
        return;
    }
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-99\n    steps:\n      - run: \"true\"\n";
    kit.write(".github/workflows/x.yml", workflow);
    kit.finds("workflows", ".github/workflows/x.yml:4", "fix the line");
    kit.write(".github/workflows/x.yml", &workflow.replace("ubuntu-99", "ubuntu-24.04"));
    kit.passes("workflows");
}

#[test]
fn cargo_deny_finds_an_unlicensed_dependency() {
    let kit = package("//! P.\n");
    if !kit.brings("cargo-deny") {
        return;
    }
    kit.copies(&["deny.toml"]);
    let manifest = |license: &str| {
        let head = "[package]\nname = \"dep\"\nversion = \"1.2.3\"\nedition = \"2024\"\n";
        kit.write("dep/Cargo.toml", &format!("{head}{license}"));
    };
    kit.write("dep/src/lib.rs", "//! D.\n");
    kit.write(
        "Cargo.toml",
        "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n\n[workspace]\n\n\
         [dependencies]\ndep = { version = \"1.2.3\", path = \"dep\" }\n",
    );
    manifest("");
    kit.finds("licences", "Cargo.lock:1", "take another dependency");
    assert!(kit.check("licences").1["findings"][0]["message"].as_str().unwrap().starts_with("dep 1.2.3: "));
    manifest("license = \"GPL-3.0-only\"\n");
    kit.finds("licences", "Cargo.lock:1", "deny.toml");
    manifest("license = \"MIT\"\n");
    kit.passes("licences");
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
