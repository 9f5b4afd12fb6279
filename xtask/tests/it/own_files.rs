//! Whose files are acted on: what is marked as an example, and files of any place without a project around them. The transcript
//! `own-files` has the rest.

use crate::sandbox::{self, CommandOutput, Scratch, root};

/// The runner in a directory that is no project.
fn outside(dir: &std::path::Path, words: &[&str]) -> CommandOutput {
    CommandOutput::of(sandbox::outside(env!("CARGO_BIN_EXE_xtask"), dir).args(words))
}

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

#[test]
fn checks_of_given_files_need_no_project() {
    let dir = Scratch::new();
    let copy = |from: &str, to: &str| std::fs::copy(root().join(from), dir.path().join(to)).expect(from);
    copy("machine-classes/matrix-worker.yaml", "class.yaml");
    copy("clusters/matrix.yaml", "cluster.yaml");
    std::fs::create_dir(dir.path().join("target")).expect("a directory of somebody else's");
    let storages = r#"[{"name":"vm_ssd","node":"a","storageType":"rbd","availableSpace":900000000000}]"#;
    std::fs::write(dir.path().join("s.json"), storages).expect("written");
    std::fs::write(dir.path().join("log"), "nothing\n").expect("written");
    let before = std::fs::read_dir(dir.path()).expect("there").count();
    for (words, code) in [
        (&["machineclass-check", "--offline", "class.yaml"][..], 0),
        (&["machineclass-check", "./class.yaml", "--json"], 0),
        (&["cluster-check", "--offline", "./cluster.yaml", "--json"], 0),
        (&["selector-test", "name == \"vm_ssd\"", "--storages", "s.json"], 0),
        (&["selector-test", "--class", "./class.yaml", "--storages", "s.json"], 0),
        (&["selector-test", "name = 1", "--offline"], 1),
        (&["triage", "log"], 0),
        // These need to know where the project is.
        (&["machineclass-check", "class"], 2),
        (&["machineclass-check"], 2),
        (&["machineclass-check", "--convert", "./class.yaml"], 2),
        (&["selector-test", "--class", "class"], 2),
        (&["cluster-plan", "./cluster.yaml"], 2),
        (&["machineclass-check", "--project-dir", ".", "./class.yaml"], 2),
    ] {
        let ran = outside(dir.path(), words).exits(code);
        if code == 2 {
            ran.says(&["this is not an Omni-Scale project"]);
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), before, "nothing is left behind");
    assert_eq!(std::fs::read_dir(dir.path().join("target")).expect("there").count(), 0);
}

/// The program of a release, under its own name in a directory that is no project.
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
    let version = format!("omni-scale {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(released(&dir, &["--version"]).exits(0).stdout, version);
}

/// The tracked files of this repository that belong in a project.
fn operators_files() -> Vec<std::path::PathBuf> {
    let tracked = std::process::Command::new("git").arg("ls-files").current_dir(root()).output().expect("git is there");
    let tracked = String::from_utf8(tracked.stdout).expect("UTF-8");
    let folders = ["docker/", "tsidp/", "clusters/", "machine-classes/", "schemas/", ".gitignore"];
    let wanted = |file: &&str| {
        folders.iter().any(|folder| file.starts_with(folder)) && !file.contains("/tests/") && !file.ends_with(".md")
    };
    let mut files: Vec<_> = tracked.lines().filter(wanted).map(std::path::PathBuf::from).collect();
    files.sort();
    files
}

fn tree_of(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    runtime::files::tree(dir).map_or(Vec::new(), |files| files.into_iter().map(|(file, _)| file).collect())
}

#[test]
fn given_files_and_standard_input_are_checked_anywhere() {
    let dir = Scratch::new();
    let text = |file: &str| std::fs::read_to_string(root().join(file)).expect(file);
    let class = text("machine-classes/matrix-worker.yaml");
    let classes = ["machine-classes/matrix-worker.yaml", "machine-classes/matrix-controlplane.yaml"];
    let classes = classes.map(|file| root().join(file).display().to_string());
    let template = text("clusters/matrix.yaml");
    let inventory = text("xtask/tests/fixtures/inventory/two-of-three-online.json");
    let mut document: serde_json::Value = serde_json::from_str(&inventory).expect("JSON");
    document["storages"] = serde_json::json!([{"name": "vm_ssd", "node": "a", "storageType": "rbd", "availableSpace": 900_000_000_000_u64}]);
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("written");
        name.to_owned()
    };
    let (saved, of_nodes) = (file("saved.json", &document.to_string()), file("nodes.json", &inventory));
    let plan = ["cluster-plan", "-", "--inventory", &of_nodes, "--class", &classes[0], "--class", &classes[1]];
    for (words, input, codes, said) in [
        (&["machineclass-check", "--offline", "-"][..], class.as_str(), &[0][..], "1 file checked: 0 errors"),
        (&["machineclass-check", "--offline", "-"], "kind: [", &[1], "-:2:1: error[yaml-syntax]"),
        (&["machineclass-check", "--offline", "-"], "", &[1], "error"),
        (&["cluster-check", "--offline", "-"], template.as_str(), &[0], "next: cargo xtask cluster-sync FILE"),
        (&["selector-test", "--class", "-", "--inventory", &saved], class.as_str(), &[0], "vm_ssd"),
        (
            &["selector-test", "name == \"vm_ssd\"", "--inventory", "-"],
            &document.to_string(),
            &[0],
            "1 of 1 storage match",
        ),
        (&plan, template.as_str(), &[1, 3], "Place machines by the rule"),
        (&plan[..4], template.as_str(), &[1], "none that --class gives"),
    ] {
        let mut command = sandbox::outside(env!("CARGO_BIN_EXE_xtask"), dir.path());
        command
            .args(words)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("the runner starts");
        let mut stdin = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("it reads");
        drop(stdin);
        CommandOutput::from(&child.wait_with_output().expect("it ends")).exits_with_one_of(codes).says(&[said]);
    }
}
