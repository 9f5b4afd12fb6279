//! Whose files are acted on: what is marked as an example, and files of any place without a project around them. The transcript
//! `own-files` has the rest.

use crate::sandbox::{CommandOutput, Scratch, root};

/// The runner in a directory that is no project.
fn outside(dir: &std::path::Path, words: &[&str]) -> CommandOutput {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(words).current_dir(dir).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", dir);
    let output = command.stdin(std::process::Stdio::null()).output().expect("the runner starts");
    CommandOutput::from(&output)
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
