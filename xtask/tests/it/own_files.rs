//! Whose files are used: files marked as examples, and files anywhere without a project. The transcript `own-files` covers the
//! rest.

use domain::words::split as words;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sandbox::{self, CommandOutput, Scratch, root, tracked};

#[test]
fn shipped_files_are_marked_as_examples() {
    for dir in ["machine-classes", "clusters"] {
        for entry in std::fs::read_dir(root().join(dir)).expect("it is there").flatten() {
            let bytes = std::fs::read(entry.path()).expect("readable");
            assert!(xtask::flow::inputs::is_example(&bytes), "{}", entry.path().display());
        }
    }
    for (text, example) in [
        ("# omni-scale: example\nkind: Cluster\n", true),
        ("\n# schema\n#omni-scale: example, and more\nkind: Cluster\n", true),
        ("kind: Cluster\n# omni-scale: example\n", false),
        ("# like the omni-scale: example\nkind: Cluster\n", false),
        ("", false),
    ] {
        assert_eq!(xtask::flow::inputs::is_example(text.as_bytes()), example, "{text}");
    }
}

/// A row of `fixtures/outside.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    run: String,
    #[serde(default)]
    reads: String,
    codes: Vec<i32>,
    #[serde(default)]
    says: String,
}

#[test]
fn given_files_and_standard_input_are_checked_anywhere() {
    let dir = Scratch::new();
    let text = |file: &str| std::fs::read_to_string(root().join(file)).expect(file);
    let inventory = text("xtask/tests/fixtures/inventory/two-of-three-online.json");
    let storages =
        json!([{"name": "vm_ssd", "node": "a", "storageType": "rbd", "availableSpace": 900_000_000_000_u64}]);
    let mut saved: Value = serde_json::from_str(&inventory).expect("JSON");
    saved["storages"] = storages.clone();
    let files = [
        ("class.yaml", text("machine-classes/matrix-worker.yaml")),
        ("controlplane.yaml", text("machine-classes/matrix-controlplane.yaml")),
        ("cluster.yaml", text("clusters/matrix.yaml")),
        ("old.yaml", text("xtask/check/tests/corpus/older/class-readme.yaml")),
        ("s.json", storages.to_string()),
        ("saved.json", saved.to_string()),
        ("nodes.json", inventory),
        ("log", "nothing\n".to_owned()),
    ]
    .map(|(name, text)| (name, text.into_bytes()));
    // In Latin-1, as an editor on an old host would save it.
    let files: Vec<(&str, Vec<u8>)> = files.into_iter().chain([("latin-1", b"caf\xe9".to_vec())]).collect();
    files.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).expect("written"));
    std::fs::create_dir(dir.path().join("target")).expect("a directory of somebody else's");
    let before = tree_of(dir.path());
    let calls: Vec<Call> = serde_yaml::from_str(include_str!("../fixtures/outside.yaml")).expect("the calls");
    for Call { run, reads, codes, says } in calls {
        let mut command = sandbox::outside(env!("CARGO_BIN_EXE_xtask"), dir.path());
        let input = files.iter().find(|(name, _)| *name == reads).map_or(reads.as_bytes(), |(_, text)| text);
        std::fs::write(dir.path().with_extension("input"), input).expect("written");
        let input = std::fs::File::open(dir.path().with_extension("input")).expect("there");
        let ran = CommandOutput::of(command.args(words(&run)).stdin(input)).exits_with_one_of(&codes).says(&[&says]);
        assert!(codes != [2] || ran.stderr.contains("this is not an Omni-Scale project"), "{run}: {ran:#?}");
    }
    let _ = std::fs::remove_file(dir.path().with_extension("input"));
    assert_eq!(tree_of(dir.path()), before, "nothing is left behind");
}

/// Runs the program of a release, under its own name, in a directory that is not a project.
fn released(dir: &Scratch, words: &[&str]) -> CommandOutput {
    let own = dir.path().join("omni-scale");
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_xtask"), own);
    CommandOutput::of(sandbox::outside("./omni-scale", dir.path()).args(words))
}

#[test]
fn released_program_makes_a_project_and_names_itself_in_every_advice() {
    let dir = Scratch::new();
    let site = dir.path().join("site");
    released(&dir, &["init", "site", "--dry-run"]).exits(3).says(&["create site", "next: ./omni-scale init site"]);
    assert!(!site.exists());
    released(&dir, &["init", "site"]).exits(0).says(&["next: ./omni-scale omni-setup --project-dir site"]);
    assert_eq!(tree_of(&site), operators_files(), "it has every file that an operator uses");
    for (file, word) in [
        ("docker/compose.yaml", "omni-scale stack-up"),
        ("docker/omni-backup.service", "exec omni-scale omni-backup"),
        (".gitignore", "docker/.env"),
    ] {
        let text = std::fs::read_to_string(site.join(file)).expect(file);
        assert!(text.contains(word) && !text.contains("cargo xtask"), "{file}: {text}");
    }
    let mode = std::fs::metadata(site.join("tsidp/install.sh")).expect("a script").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o111, 0o111);
    // A run that was killed is completed by the next one.
    std::fs::remove_file(site.join("docker/compose.yaml")).expect("it is there");
    std::fs::write(site.join("docker/.compose.yaml.omni-scale-x.tmp"), "half").expect("written");
    std::fs::write(site.join("docker/site/..gitignore.omni-scale-x.tmp"), "half").expect("written");
    std::fs::create_dir(site.join(".git")).expect("a directory");
    released(&dir, &["init", "site"]).exits(0).says(&["1 file"]);
    released(&dir, &["init", "site", "--json"]).exits(0).says(&["is a project already"]);
    for (words, code) in [
        (&["doctor", "--project-dir", "site"][..], 1),
        (&["cluster-sync"], 2),
        (&["cluster-sync", "--json"], 2),
        (&["no-such-task"], 2),
        (&["keys", "--help"], 0),
        (&["--help"], 0),
        (&["machineclass-apply", "--all", "--yes", "--project-dir", "site"], 1),
        (&["machineclass-apply", "--all", "--yes", "--project-dir", "site", "--json"], 1),
        (&["rehearse", "--project-dir", "site", "--dry-run"], 3),
    ] {
        let ran = released(&dir, words).exits(code).says(&["./omni-scale "]);
        assert!(!format!("{ran:?}").contains("cargo xtask"), "{words:?}: {ran:#?}");
    }
    let here = Scratch::new();
    let ran = CommandOutput::of(sandbox::outside(env!("CARGO_BIN_EXE_xtask"), here.path()).args(["init", "."]));
    ran.exits(0).says(&["next: cargo xtask omni-setup --project-dir .\n"]);
    let version = format!("omni-scale {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(released(&dir, &["--version"]).exits(0).stdout, version);
}

/// Returns the tracked files of this repository that belong in a project.
fn operators_files() -> Vec<std::path::PathBuf> {
    let folders = ["docker/", "tsidp/", "clusters/", "machine-classes/", "schemas/", ".gitignore"];
    let wanted = |file: &String| {
        folders.iter().any(|folder| file.starts_with(folder)) && !file.contains("/tests/") && !file.ends_with(".md")
    };
    let mut files: Vec<_> = tracked().into_iter().filter(wanted).map(std::path::PathBuf::from).collect();
    files.sort();
    files
}

fn tree_of(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    runtime::files::list_files(dir).map_or(Vec::new(), |files| files.into_iter().map(|(file, _)| file).collect())
}
