//! Conventions of the project that the compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::sandbox::root;

/// Returns all Rust files in a directory.
pub fn sources(dir: &str) -> Vec<PathBuf> {
    let dir = root().join(dir);
    let files = runtime::files::list_files(&dir).expect("readable").into_iter().map(|(name, _)| dir.join(name));
    files.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

/// Returns the part of a file before its tests.
pub fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("UTF-8");
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

#[test]
fn control_flow_reads_kinds_not_wording() {
    let text = r"(?:\.(?:message|cause|hint|summary)|\b(?:failure|error)\.to_string\(\))";
    let tests = r"\.(?:contains|starts_with|ends_with|find|matches|split_once|strip_prefix|strip_suffix|eq)\(";
    let reads = Regex::new(&format!(r"{text}\s*(?:{tests}|[=!]=)")).expect("a valid expression");
    for wrong in ["failure.cause.contains(\"denied\")", "failure\n    .message\n    .starts_with(x)", "f.message == g"]
    {
        assert!(reads.is_match(wrong), "{wrong}");
    }
    let mut found = Vec::new();
    for dir in ["xtask/src", "xtask/runtime/src", "xtask/yaml/src", "xtask/domain/src", "xtask/check/src"] {
        for path in sources(dir).into_iter().filter(|path| !path.to_string_lossy().contains("test")) {
            let text = code(&path);
            for hit in reads.find_iter(&text) {
                let line = text[..hit.start()].lines().count();
                found.push(format!(
                    "{}:{line}: `{}`: decide by `Failure::code` or `Failure::kind`",
                    path.display(),
                    hit.as_str()
                ));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// In an installed plugin, the program is built in the plugin's cache, and an update removes files written there.
#[test]
fn no_task_takes_a_directory_from_where_the_program_was_built() {
    for path in sources("xtask/src") {
        assert!(!code(&path).contains("env!(\"CARGO_MANIFEST_DIR\")"), "{}", path.display());
    }
}

/// A crate that the runner and the lab build with different features is built twice before a rehearsal in a fresh clone.
#[test]
fn lab_builds_shared_crates_as_runner_does() {
    let packages = |of: &str| -> std::collections::BTreeMap<String, String> {
        let args = ["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}\t{f}"];
        let mut cargo = std::process::Command::new(env!("CARGO"));
        let output = cargo.args(args).args(["--package", of]).current_dir(root()).output().expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines = text.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('\t'));
        lines.map(|(package, features)| (package.to_owned(), features.to_owned())).collect()
    };
    let lab = packages("lab");
    // Takes seconds at most, and nothing that takes long depends on them.
    let small = ["once_cell", "thiserror", "time"];
    let twice: Vec<String> = packages("xtask")
        .into_iter()
        .filter(|(name, features)| lab.get(name).is_some_and(|of_lab| of_lab != features))
        .filter(|(name, _)| !small.iter().any(|small| name.starts_with(&format!("{small} "))))
        .map(|(name, features)| format!("{name}: runner {features}, lab {}", lab[&name]))
        .collect();
    assert!(twice.is_empty(), "in lab/Cargo.toml, ask for the same features:\n{}", twice.join("\n"));
}

/// Pins are in the files that docker, omnictl and people read; their values are decided in `xtask/data/releases.yaml`.
#[test]
fn pins_are_those_of_the_table_of_releases() {
    let pins = &domain::releases::table().recommended;
    let values = [
        ("{omni}", &pins.omni),
        ("{omnictl}", &pins.omnictl),
        ("{provider}", &pins.provider),
        ("{tailscale}", &pins.tailscale),
        ("{tsidp}", &pins.tsidp),
        ("{talos}", &pins.talos),
        ("{kubernetes}", &pins.kubernetes),
    ];
    for line in include_str!("../fixtures/pins.txt").lines().filter(|line| !line.starts_with('#')) {
        let (file, wanted) = line.split_once(": ").expect("FILE: TEXT");
        let wanted = values
            .iter()
            .fold(wanted.replace('$', "\n"), |text, (name, pin)| text.replace(name, &pin.version.to_string()));
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&wanted), "{file} does not hold {wanted:?}");
    }
}
