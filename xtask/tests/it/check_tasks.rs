//! `machineclass-check` and `cluster-check`: how often they ask Omni. What they print is in the transcripts `checks`, `paths`,
//! `conversions` and `selectors`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::sandbox::{CommandOutput, Scratch, program_at};

/// A bare project.
struct Project(Scratch);

impl Project {
    fn new() -> Project {
        let project = Project(Scratch::new());
        project.write("docker/compose.yaml", "services: {}\n");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("there")
    }

    /// An executable in a directory that is put before the others on PATH.
    fn program(&self, name: &str, script: &str) {
        program_at(&self.path(&format!("bin/{name}")), script);
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words).current_dir(self.0.path()).stdin(Stdio::null()).env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display())).env("HOME", self.path("home"));
        command
    }

    fn run(&self, words: &[&str]) -> CommandOutput {
        CommandOutput::of(&mut self.command(words))
    }
}

/// A sound machine class, with `data` for its providerdata.
fn class(id: &str, data: &str) -> String {
    let data: String = data.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: {id}\nspec:\n  autoprovision:\n    providerid: proxmox\n    providerdata: |\n{data}"
    )
}

const DATA: &str = "cores: 2\nsockets: 1\nmemory: 4096\ndisk_size: 20\nstorage_selector: name == \"local-lvm\"\nnetwork_bridge: vmbr0\n";

fn template(name: &str, class: &str, more: &str) -> String {
    format!(
        "kind: Cluster\nname: {name}\nkubernetes:\n  version: v1.36.2\ntalos:\n  version: v1.13.5\n{more}---\nkind: ControlPlane\nmachineClass:\n  name: {class}\n  size: 3\n"
    )
}

fn rules(file: &Value) -> Vec<&str> {
    let findings = file["findings"].as_array().expect("a list");
    findings.iter().map(|finding| finding["rule"].as_str().expect("a rule")).collect()
}

/// An omnictl that answers from files, counts its calls, and knows nothing else.
fn omnictl(project: &Project) {
    let root = project.0.path().display();
    project.program(
        "omnictl",
        &format!("#!/bin/sh\necho \"$*\" >> {root}/calls\ncase \"$1 $2\" in\n\"get \"*) cat {root}/omni/\"$2\".json ;;\n*) echo unknown >&2; exit 64 ;;\nesac\n"),
    );
    project.write("home/.talos/omni/config", "contexts:\n  default:\n    url: https://omni.example.com\n");
}

#[test]
fn omni_is_asked_once_where_it_can_be() {
    let project = Project::new();
    omnictl(&project);
    let schema = json!({ "type": "object", "properties": {
        "cores": { "type": "integer", "maximum": 1 }, "sockets": {}, "memory": {}, "disk_size": {},
        "storage_selector": {}, "network_bridge": {}
    } });
    let status = json!({ "metadata": { "id": "proxmox" }, "spec": { "schema": schema.to_string() } });
    project.write("omni/infraproviderstatuses.json", &status.to_string());
    project.write("omni/machineclasses.json", r#"{"metadata":{"id":"good"},"spec":{"autoprovision":{}}}"#);
    let talos = r#"{"metadata":{"id":"1.13.5"},"spec":{"compatiblekubernetesversions":["1.35.1"]}}"#;
    project.write("omni/talosversions.json", talos);
    project.write("machine-classes/good.yaml", &class("good", DATA));
    project
        .write("machine-classes/other.yaml", &class("other", DATA).replace("providerid: proxmox", "providerid: pxmox"));
    let document = project.run(&["machineclass-check", "--json"]).exits(1).json();
    let files = &document["data"]["files"];
    assert_eq!((&files[0]["schema"], rules(&files[0])), (&json!("proxmox, from Omni"), vec!["providerdata-schema"]));
    assert_eq!(rules(&files[1]), ["class-provider-unknown"], "{document:#}");
    assert_eq!(project.read("calls").lines().count(), 2, "two calls, however many files");
    fs::remove_file(project.path("calls")).unwrap();

    project.write("clusters/prod.yaml", &template("prod", "god", ""));
    let document = project.run(&["cluster-check", "--json"]).exits(1).json();
    let mut found = rules(&document["data"]["files"][0]);
    found.sort_unstable();
    assert_eq!(found, ["template-class-unknown", "template-kubernetes-version"], "{document:#}");
    assert_eq!(project.read("calls").lines().count(), 3);
    fs::remove_file(project.path("calls")).unwrap();
    project.run(&["cluster-check", "--offline"]).exits(0);
    assert!(!project.path("calls").exists(), "--offline starts nothing");

    fs::remove_file(project.path("omni/infraproviderstatuses.json")).unwrap();
    let document = project.run(&["machineclass-check", "good", "--json"]).exits(0).json();
    assert_eq!(document["steps"][0]["status"], "warning", "Omni does not answer: {document:#}");
    assert_eq!(document["data"]["files"][0]["schema"], "built in (Omni was not asked)");
}

#[test]
fn the_tasks_that_act_refuse_first_and_start_nothing() {
    let project = Project::new();
    omnictl(&project);
    project.write("machine-classes/bad.yaml", &class("bad", &DATA.replace("sockets: 1\n", "")));
    project.write("clusters/bad.yaml", &template("other", "good", "labels:\n  omni.sidero.dev/x: y\n"));
    let ran = project.run(&["machineclass-apply", "bad", "--yes", "--json"]).exits(1);
    assert_eq!(ran.json()["data"]["findings"][0]["rule"], "providerdata-sockets");
    let ran = project.run(&["cluster-sync", "bad", "--yes", "--json"]).exits(1);
    let rules: Vec<Value> =
        ran.json()["data"]["findings"].as_array().unwrap().iter().map(|each| each["rule"].clone()).collect();
    assert!(rules.contains(&json!("template-reserved-label")), "{rules:?}");
    assert!(!project.path("calls").exists(), "nobody was asked");

    let words =
        ["machineclass-create", "new", "--cores", "2", "--memory", "4096", "--disk", "20", "--yes", "--selector"];
    let ran = project.run(&[&words[..], &["nmae == \"x\""]].concat()).exits(1);
    assert!(ran.stderr.contains("providerdata-selector") && !project.path("machine-classes/new.yaml").exists());
    let allowed = ["nmae == \"x\"", "--allow", "providerdata-selector", "--json"];
    let document = project.run(&[&words[..], &allowed].concat()).exits(0).json();
    assert_eq!(document["data"]["allowed"], json!(["providerdata-selector"]));
    assert!(document["steps"].as_array().unwrap().iter().any(|step| step["id"] == "allowed"), "{document:#}");
    assert!(project.path("machine-classes/new.yaml").exists());

    fs::remove_file(project.path("calls")).ok();
    project.write("omni/clusters.json", "");
    project.run(&["cluster-sync", "bad", "--yes", "--allow", "template-reserved-label"]).exits(1);
    let calls = project.read("calls");
    let questions = [
        "get machineclasses",
        "get talosversions",
        "get sysversions",
        "get clusters",
        "cluster template sync --dry-run",
    ];
    assert_eq!(calls.lines().count(), questions.len(), "what cluster-check asks, and the comparison: {calls}");
    for question in questions {
        assert!(calls.lines().any(|line| line.starts_with(question)), "{question}: {calls}");
    }
}
