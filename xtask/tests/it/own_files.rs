//! Whose files are acted on: shipped examples only by name, and files of any place without a project around them.

use serde_json::json;

use crate::sandbox::CommandOutput;
use crate::sandbox::{Sandbox, Scratch, root};

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
fn all_leaves_shipped_examples_out_and_a_name_takes_one() {
    let lab = Sandbox::new();
    lab.provider();
    for file in [
        "machine-classes/dev-small.yaml",
        "machine-classes/matrix-controlplane.yaml",
        "machine-classes/matrix-worker.yaml",
        "clusters/matrix.yaml",
    ] {
        lab.write(file, &std::fs::read_to_string(root().join(file)).expect("shipped"));
    }
    let document = lab.run("machineclass-apply --all --yes --json").exits(1).json();
    assert_eq!(document["error"]["code"], "not_found");
    assert_eq!(document["error"]["cause"], "the examples are: dev-small, matrix-controlplane, matrix-worker");
    let document = lab.run("cluster-sync --all --dry-run --json").exits(1).json();
    assert_eq!(document["error"]["cause"], "the examples are: matrix");
    lab.run("cluster-plan").exits(1).says(&["only the shipped examples"]);
    let document = lab.run("machineclass-check --offline --json").exits(0).json();
    assert_eq!(document["next"], json!(["cargo xtask machineclass-create"]), "nothing of one's own to apply yet");
    assert_eq!(lab.dump()["omni"]["resources"]["MachineClasses.omni.sidero.dev"].as_array().map_or(0, Vec::len), 0);
    // One's own among them.
    lab.class("mine");
    let document = lab.run("machineclass-apply --all --yes --json").exits(0).json();
    assert_eq!(document["data"]["machine_classes"], json!(["mine"]));
    let steps = document["steps"].as_array().unwrap();
    let left_out = steps.iter().find(|step| step["id"] == "examples").expect("they are reported");
    assert!(
        left_out["detail"].as_str().unwrap().starts_with("dev-small, matrix-controlplane, matrix-worker"),
        "{left_out}"
    );
    // The examples ask the login for nothing until they are used.
    let document = lab.run("proxmox-audit --json").exits(0).json();
    assert!(!document["data"]["rows"].to_string().contains("matrix-workers"), "{document:#}");
    let document = lab.run("machineclass-apply dev-small --yes --json").exits(0).json();
    assert_eq!(document["data"]["machine_classes"], json!(["dev-small"]));
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

#[test]
fn classes_directory_with_other_resources_only_is_reported() {
    let lab = Sandbox::new();
    lab.provider();
    for entry in std::fs::read_dir(lab.file("machine-classes")).into_iter().flatten().flatten() {
        std::fs::remove_file(entry.path()).expect("ours");
    }
    lab.write(
        "machine-classes/users.yaml",
        "metadata:\n  namespace: default\n  type: Users.omni.sidero.dev\n  id: x\nspec: {}\n",
    );
    let document = lab.run("machineclass-check --offline --json").exits(0).json();
    assert_eq!(document["next"], json!(["cargo xtask machineclass-create"]), "{document:#}");
    assert!(document["steps"].to_string().contains("there is no machine class in what was checked"), "{document:#}");
    let document = lab.run("machineclass-apply --all --yes --json").exits(1).json();
    assert!(document["error"]["cause"].as_str().unwrap().starts_with("they hold other resources"), "{document:#}");
}
