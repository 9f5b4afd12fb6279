//! `machineclass-check`, `cluster-check` and `selector-test` as operators meet them: the real binary in a project that is
//! nothing but a compose file, without omnictl, without Proxmox, without a network.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::sandbox::{CommandOutput, Scratch};

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
        self.write(&format!("bin/{name}"), script);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(&format!("bin/{name}")), mode).expect("executable");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words).current_dir(self.0.path()).stdin(Stdio::null()).env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display())).env("HOME", self.path("home"));
        command
    }

    fn run(&self, words: &[&str]) -> CommandOutput {
        ran(self.command(words))
    }

    /// Every file with what it holds, without the lock and the journal.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(dir).expect("readable").flatten() {
                let path = entry.path();
                match path.is_dir() {
                    true if path.ends_with("target") => {}
                    true => walk(&path, found),
                    false => drop(found.insert(path.clone(), fs::read(&path).expect("readable"))),
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.0.path(), &mut found);
        found
    }
}

fn ran(mut command: Command) -> CommandOutput {
    let output = command.output().expect("the runner starts");
    CommandOutput::from(&output)
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

const LEGACY_CLASS: &str = "apiVersion: infrastructure.omni.siderolabs.io/v1alpha1\nkind: MachineClass\nmetadata:\n  name: old\nspec:\n  type: auto-provision\n  provider: proxmox\n  config:\n    cpu: 4\n    memory: 8192\n    diskSize: 40\n    storageSelector: 'storage.filter(s, s.type == \"rbd\" && s.storage == \"vm_ssd\")[0].storage'\n";
const LEGACY_TEMPLATE: &str = "kind: Cluster\nname: old\nkubernetes:\n  version: v1.36.2\ntalos:\n  version: v1.13.5\ncontrolPlane:\n  machineClass: cp\n  count: 3\nworkers:\n  machineClass: w\n  count: 2\n";

fn rules(file: &Value) -> Vec<&str> {
    let findings = file["findings"].as_array().expect("a list");
    findings.iter().map(|finding| finding["rule"].as_str().expect("a rule")).collect()
}

#[test]
fn sound_files_pass_without_any_program_or_network() {
    let project = Project::new();
    project.write("machine-classes/good.yaml", &class("good", DATA));
    project.write("clusters/prod.yaml", &template("prod", "good", ""));
    let before = project.files();
    let ran = project.run(&["machineclass-check", "--json"]).exits(0);
    let document = ran.json();
    assert_eq!(document["ok"], true);
    let file = &document["data"]["files"][0];
    assert_eq!(file["file"], "machine-classes/good.yaml");
    assert_eq!((file["server"].as_str(), rules(file)), (Some("accept"), vec![]), "{document:#}");
    assert_eq!(file["schema"], "built in (Omni was not asked)");
    let step = &document["steps"][0];
    assert_eq!((step["id"].as_str(), step["status"].as_str()), (Some("omni"), Some("warning")), "{step}");
    assert!(step["detail"].as_str().expect("text").contains("`omnictl` is not installed"), "{step}");

    let document = project.run(&["cluster-check", "prod", "--offline", "--json"]).exits(0).json();
    let file = &document["data"]["files"][0];
    assert_eq!((file["omnictl"].as_str(), rules(file)), (Some("accept"), vec![]), "{document:#}");
    assert_eq!(document["steps"][0]["status"], "skipped");
    assert_eq!(document["next"][0], "cargo xtask cluster-sync prod");
    assert_eq!(project.files(), before, "a check leaves nothing behind");
}

#[test]
fn errors_are_placed_explained_and_end_with_1() {
    let project = Project::new();
    project.write("machine-classes/good.yaml", &class("good", DATA));
    let data = DATA.replace("sockets: 1\n", "").replace("cores: 2", "cores: \"2\"").replace("== \"local-lvm\"", "= 1");
    project.write("machine-classes/bad.yaml", &class("bad", &data));
    let ran = project.run(&["machineclass-check", "--all", "--offline", "--json"]).exits(1);
    let document = ran.json();
    let files = document["data"]["files"].as_array().expect("a list");
    assert_eq!(
        files.iter().map(|file| file["file"].as_str().unwrap()).collect::<Vec<_>>(),
        ["machine-classes/bad.yaml", "machine-classes/good.yaml"]
    );
    let mut found = rules(&files[0]);
    found.sort_unstable();
    assert_eq!(found, ["providerdata-schema", "providerdata-selector", "providerdata-sockets"]);
    assert_eq!(files[0]["server"], "reject");
    assert_eq!((&document["error"]["code"], &document["data"]["errors"]), (&json!("invalid"), &json!(3)));
    for finding in files[0]["findings"].as_array().unwrap() {
        let mut keys: Vec<&str> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["column", "file", "fix", "line", "message", "rule", "severity"]);
        assert!(finding["line"].as_u64().unwrap() >= 9, "inside the providerdata: {finding}");
    }
    let ran = project.run(&["machineclass-check", "bad", "--offline"]).exits(1);
    assert!(ran.stdout.contains("machine-classes/bad.yaml:9:14: error[providerdata-schema]"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n  fix: "), "{}", ran.stdout);
    project.run(&["machineclass-check", "machine-classes/good.yaml", "--offline"]).exits(0);
    project.run(&["machineclass-check", "bda", "--offline"]).exits(1).says(&["did you mean `bad`?"]);
    project.run(&["machineclass-check", "bad", "--all"]).exits(2);
}

#[test]
fn a_template_is_checked_with_the_files_that_it_names() {
    let project = Project::new();
    project.write("machine-classes/good.yaml", &class("good", DATA));
    project.write("clusters/patches/good.yaml", "machine:\n  sysctls:\n    vm.max_map_count: \"262144\"\n");
    project.write("clusters/patches/bad.yaml", "machine:\n  token: x\n");
    project.write("secret.yaml", "machine: {}\n");
    let patches = |file: &str| format!("patches:\n  - file: {file}\n");
    let check = |file: &str| {
        project.write("clusters/prod.yaml", &template("prod", "good", &patches(file)));
        let document = project.run(&["cluster-check", "prod", "--offline", "--json"]).json();
        document["data"]["files"][0].clone()
    };
    let file = check("patches/good.yaml");
    assert_eq!((rules(&file), file["omnictl"].as_str()), (vec![], Some("unknown")), "Talos's schema decides");
    let file = check("patches/bad.yaml");
    assert_eq!(file["findings"][0]["file"], "clusters/patches/bad.yaml");
    assert_eq!(file["omnictl"], "reject");
    assert_eq!(rules(&check("patches/none.yaml")), ["template-file-missing"]);
    assert_eq!(rules(&check("../secret.yaml")), ["template-file-outside"]);
    std::os::unix::fs::symlink(project.path("secret.yaml"), project.path("clusters/link.yaml")).unwrap();
    let file = check("link.yaml");
    assert_eq!(rules(&file), ["template-file-outside"], "{file:#}");
    assert!(file["findings"][0]["message"].as_str().unwrap().contains("leads out"), "{file:#}");
}

#[test]
fn paths_count_by_where_they_lead() {
    let project = Project::new();
    project.write("machine-classes/good.yaml", &class("good", DATA));
    project.write("clusters/patches/time.yaml", "machine:\n  time:\n    servers:\n      - ntp.example.com\n");
    project.write("clusters/real/inner.yaml", "machine:\n  type: worker\n");
    project.write("secret.yaml", "machine: {}\n");
    let here = project.path("clusters").display().to_string();
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, project.path(name)).unwrap();
    link("real", "clusters/folder");
    link("real/../patches/time.yaml", "clusters/inside.yaml");
    link("../secret.yaml", "clusters/out.yaml");
    link(&format!("{here}/patches/time.yaml"), "clusters/absolute.yaml");
    link("loop.yaml", "clusters/loop.yaml");
    let check = |file: &str| {
        project.write("clusters/prod.yaml", &template("prod", "good", &format!("patches:\n  - file: {file}\n")));
        let document = project.run(&["cluster-check", "prod", "--offline", "--json"]).json();
        document["data"]["files"][0].clone()
    };
    for inside in [
        format!("{here}/patches/time.yaml"),
        format!("{here}/x/../patches/time.yaml"),
        "../clusters/patches/time.yaml".to_owned(),
        "nowhere/../patches/time.yaml".to_owned(),
        "inside.yaml".to_owned(),
    ] {
        assert_eq!(rules(&check(&inside)), Vec::<&str>::new(), "{inside}");
    }
    for outside in [
        project.path("secret.yaml").display().to_string(),
        "../secret.yaml".to_owned(),
        "../none.yaml".to_owned(),
        "folder/../../secret.yaml".to_owned(),
        "out.yaml".to_owned(),
        "absolute.yaml".to_owned(),
    ] {
        assert_eq!(rules(&check(&outside)), ["template-file-outside"], "{outside}");
    }
    assert_eq!(rules(&check("loop.yaml")), ["template-file-missing"]);
    let file = check("folder/inner.yaml");
    assert_eq!(
        (rules(&file), &file["findings"][0]["file"]),
        (vec!["template-patch-forbidden"], &json!("clusters/folder/inner.yaml"))
    );
}

#[test]
fn a_path_from_the_repository_root_is_explained() {
    let project = Project::new();
    project.write("patches/time.yaml", "machine:\n  time:\n    servers:\n      - ntp.example.com\n");
    project.write("patches/deep/a.yaml", "machine: {}\n");
    project.write("omni/prod/x.yaml", "");
    for (folder, file, written, allowed) in [
        ("omni", "patches/time.yaml", "`../patches/time.yaml`", "`--allowed-dir ..`"),
        ("omni/prod", "./patches/deep/a.yaml", "`../../patches/deep/a.yaml`", "`--allowed-dir ../..`"),
    ] {
        let name = format!("{folder}/cluster.yaml");
        project.write(&name, &template("prod", "good", &format!("patches:\n  - name: a\n    file: {file}\n")));
        let document = project.run(&["cluster-check", &name, "--offline", "--json"]).exits(1).json();
        let file = &document["data"]["files"][0];
        assert_eq!((rules(file), &file["omnictl"]), (vec!["template-file-missing"], &json!("reject")));
        let fix = file["findings"][0]["fix"].as_str().expect("a fix");
        assert!(fix.contains(written) && fix.contains(allowed) && fix.contains("from 1.8 on"), "{fix}");
    }
}

#[test]
fn findings_are_shown_once() {
    let project = Project::new();
    project.write("machine-classes/bad.yaml", &class("bad", &DATA.replace("sockets: 1\n", "")));
    project.write("clusters/bad.yaml", &template("bad", "good", "labels:\n  omni.sidero.dev/x: y\n"));
    for (line, word) in [
        (&["machineclass-check", "bad", "--offline"][..], "the provider sends 0"),
        (&["machineclass-apply", "bad", "--yes"], "the provider sends 0"),
        (&["cluster-check", "bad", "--offline"], "is reserved"),
        (&["cluster-sync", "bad", "--yes"], "is reserved"),
    ] {
        let ran = project.run(line).exits(1);
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(text.matches(word).count(), 1, "{line:?}: {text}");
        assert!(text.contains("--allow "), "{text}");
    }
    // Where nothing else shows them, the error does.
    let document = project.run(&["machineclass-check", "bad", "--offline", "--json"]).exits(1).json();
    assert!(document["error"]["cause"].as_str().unwrap().contains("the provider sends 0"), "{document:#}");
    let ran = project.run(&["machineclass-apply", "bad", "--yes", "-q"]).exits(1);
    assert!(ran.stderr.contains("the provider sends 0"), "{}", ran.stderr);
}

#[test]
fn checks_follow_the_versions_that_compose_pins() {
    let project = Project::new();
    let compose = |omni: &str, provider: &str| {
        let image = "ghcr.io/siderolabs/omni";
        let text = format!(
            "services:\n  omni:\n    image: {image}:{omni}\n  proxmox-provider:\n    image: {image}-infra-provider-proxmox:{provider}\n"
        );
        project.write("docker/compose.yaml", &text);
    };
    let check = |task: &str, name: &str| {
        let document = project.run(&[task, name, "--offline", "--json"]).json();
        document["data"]["files"][0].clone()
    };
    let newer = "bios: ovmf\nvga: std\ntags: [demo]\nplacement_strategy: spread\n";
    project.write("machine-classes/good.yaml", &class("good", &(DATA.to_owned() + newer)));
    project.write(
        "machine-classes/usb.yaml",
        &class("usb", &(DATA.to_owned() + newer + "usb_devices: [{mapping: key}]\nvmid_range: 1-2\n")),
    );
    compose("v1.9.3", "v0.2.0");
    let file = check("machineclass-check", "good");
    assert_eq!((rules(&file), &file["server"]), (vec![], &json!("accept")), "{file:#}");
    assert_eq!(file["schema"], "built in (v0.2.0, Omni was not asked)");
    let file = check("machineclass-check", "usb");
    assert_eq!(rules(&file), ["providerdata-newer-key", "providerdata-newer-key"]);
    assert!(
        file["findings"][0]["message"].as_str().unwrap().contains("v0.2.0 ignores `usb_devices` silently"),
        "{file:#}"
    );
    compose("v1.9.3", "v0.1.0");
    assert_eq!(rules(&check("machineclass-check", "good")).len(), 3, "bios, vga and placement_strategy");
    compose("v1.9.3", "0d9fd58");
    assert_eq!(rules(&check("machineclass-check", "good")).len(), 4);

    let features = "features:\n  enableNodeAuditSkip: true\n";
    project.write("clusters/prod.yaml", &template("prod", "good", features));
    let verdict = |omni: &str| {
        compose(omni, "v0.2.0");
        let file = check("cluster-check", "prod");
        (rules(&file).join(" "), file["omnictl"].as_str().expect("a verdict").to_owned())
    };
    assert_eq!(verdict("v1.9.3"), ("template-key-too-new".to_owned(), "reject".to_owned()));
    assert_eq!(verdict("v1.10.6"), (String::new(), "accept".to_owned()));
    assert_eq!(verdict("v1.13.0"), (String::new(), "accept".to_owned()), "beyond the facts nothing is claimed");
    assert_eq!(verdict("latest"), ("template-key-newer".to_owned(), "unknown".to_owned()));
}

#[test]
fn classes_of_other_providers_are_left_to_them() {
    let project = Project::new();
    let data = "cores: 2\nmemory: 4096\ndisk_size: 40\nstorage_pool: images\n";
    let text = class("kvm", data).replace("providerid: proxmox", "providerid: libvirt");
    project.write("machine-classes/kvm.yaml", &text);
    let document = project.run(&["machineclass-check", "kvm", "--offline", "--json"]).exits(0).json();
    let file = &document["data"]["files"][0];
    assert_eq!((rules(file), &file["server"]), (vec!["class-provider-schema"], &json!("unknown")), "{file:#}");
    // Keys of the resource itself are the same for every provider.
    project.write("machine-classes/kvm.yaml", &text.replace("providerdata:", "providerDate:"));
    let document = project.run(&["machineclass-check", "kvm", "--offline", "--json"]).exits(1).json();
    assert_eq!(rules(&document["data"]["files"][0]), ["class-provider-schema", "class-unknown-key"]);
    // A Proxmox provider may have another id here.
    project.write("docker/.env", "OMNI_PROVIDER_ID=pve-lab\n");
    let own = class("own", "cores: 2\n").replace("providerid: proxmox", "providerid: pve-lab");
    project.write("machine-classes/own.yaml", &own);
    let document = project.run(&["machineclass-check", "own", "--offline", "--json"]).exits(1).json();
    assert!(rules(&document["data"]["files"][0]).contains(&"providerdata-required"), "{document:#}");
}

#[test]
fn an_unknown_verdict_has_its_reason() {
    let project = Project::new();
    project.write("machine-classes/good.yaml", &class("good", DATA));
    let patch = "patches:\n  - name: a\n    inline:\n      machine:\n        sysctls: {a: b}\n";
    project.write("clusters/prod.yaml", &template("prod", "good", patch));
    project.write("clusters/second.yaml", &template("second", "good", patch));
    let ran = project.run(&["cluster-check", "--all", "--offline"]).exits(0);
    let reason = "OMNICTL is unknown: values in patches, and fields of documents with a `kind`, are not checked";
    assert_eq!(ran.stdout.matches(reason).count(), 1, "{}", ran.stdout);
    let document = project.run(&["cluster-check", "prod", "--offline", "--json"]).exits(0).json();
    let undecided = &document["data"]["files"][0]["undecided"];
    assert!(undecided[0].as_str().unwrap().contains("config.schema.json"), "{document:#}");
}

#[test]
fn the_schema_of_talos_decides_about_patches() {
    let project = Project::new();
    project.write("machine-classes/good.yaml", &class("good", DATA));
    let patch = "patches:\n  - name: p\n    inline:\n      machine:\n        sysctls: 5\n";
    project.write("clusters/prod.yaml", &template("prod", "good", patch));
    let line = ["cluster-check", "prod", "--offline", "--json"];
    assert_eq!(project.run(&line).exits(0).json()["data"]["files"][0]["omnictl"], "unknown");
    let schema = json!({ "type": "object", "properties": { "machine": {
        "type": "object", "properties": { "sysctls": { "type": "object" } }, "additionalProperties": false
    } } });
    project.write("talos.json", &schema.to_string());
    let with = [&line[..], &["--talos-schema", "talos.json"]].concat();
    let document = project.run(&with).exits(1).json();
    assert_eq!(document["data"]["files"][0]["omnictl"], "reject", "{document:#}");
    project.write("talos.json", "nonsense");
    project.run(&with).exits(1).says(&["`talos.json` is not a JSON Schema"]);
}

#[test]
fn a_rule_is_allowed_by_its_name_and_the_output_says_so() {
    let project = Project::new();
    project.write("machine-classes/bad.yaml", &class("bad", &DATA.replace("sockets: 1\n", "")));
    let line = ["machineclass-check", "bad", "--offline", "--json"];
    project.run(&line).exits(1);
    let allowed = [&line[..], &["--allow", "providerdata-sockets"]].concat();
    let document = project.run(&allowed).exits(0).json();
    assert_eq!(document["data"]["allowed"], json!(["providerdata-sockets"]));
    assert_eq!(rules(&document["data"]["files"][0]), ["providerdata-sockets"], "it is shown all the same");
    let steps = document["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["id"] == "allowed").expect("a step");
    assert_eq!(step["status"], "warning");
    assert!(step["detail"].as_str().unwrap().contains("machine-classes/bad.yaml:"), "{step}");
    project.run(&[&line[..], &["--allow", "class-type"]].concat()).exits(1);

    let wrong = [&line[..], &["--allow", "providerdata-socket"]].concat();
    let document = project.run(&wrong).exits(2).json();
    assert_eq!(document["error"]["code"], "usage");
    assert!(document["error"]["message"].as_str().unwrap().contains("providerdata-sockets"), "{document:#}");
    project.run(&["cluster-sync", "x", "--allow", "nonsense-of-mine"]).exits(2).says(&["docs/reference/checks.md"]);
}

#[test]
fn older_classes_are_converted_after_consent_and_each_change_is_explained() {
    let project = Project::new();
    project.write("machine-classes/old.yaml", LEGACY_CLASS);
    project.run(&["machineclass-check", "old", "--offline"]).exits(1).says(&["class-legacy-form", "--convert"]);
    let line = ["machineclass-check", "old", "--offline", "--json", "--convert"];
    let ran = project.run(&[&line[..], &["--dry-run"]].concat()).exits(3);
    let document = ran.json();
    assert_eq!(document["data"]["plan"][0]["object"], "machine-classes/old.yaml");
    assert_eq!(document["data"]["files"][0]["server"], "accept", "as it would be: {document:#}");
    let changes = document["data"]["converted"][0]["changes"].as_array().unwrap();
    assert!(changes.len() > 2 && changes.iter().all(|change| change["why"] != ""), "{changes:#?}");
    assert_eq!(project.read("machine-classes/old.yaml"), LEGACY_CLASS);
    project.run(&line).exits(2).says(&["--yes"]);
    assert_eq!(project.read("machine-classes/old.yaml"), LEGACY_CLASS, "without consent nothing changes");
    let document = project.run(&[&line[..], &["--yes"]].concat()).exits(0).json();
    assert_eq!(rules(&document["data"]["files"][0]), Vec::<&str>::new());
    let text = project.read("machine-classes/old.yaml");
    assert!(text.contains("MachineClasses.omni.sidero.dev") && text.contains("storageType == "), "{text}");
    let document = project.run(&[&line[..], &["--yes"]].concat()).exits(0).json();
    assert_eq!(document["data"]["converted"], json!([]), "twice changes nothing: {document:#}");
    assert_eq!(project.read("machine-classes/old.yaml"), text);
}

#[test]
fn nested_templates_are_converted_and_what_cannot_be_is_refused_with_the_reason() {
    let project = Project::new();
    project.write("clusters/old.yaml", LEGACY_TEMPLATE);
    let ran = project.run(&["cluster-check", "old", "--offline", "--convert", "--yes"]).exits(0);
    assert!(ran.stdout.contains("why: each machine set is a document of its own"), "{}", ran.stdout);
    assert!(project.read("clusters/old.yaml").contains("---\nkind: ControlPlane\n"));

    let odd = LEGACY_CLASS.replace("s.storage ==", "s.shared ==");
    project.write("machine-classes/odd.yaml", &odd);
    project.write("machine-classes/old.yaml", LEGACY_CLASS);
    let document =
        project.run(&["machineclass-check", "--all", "--offline", "--convert", "--yes", "--json"]).exits(1).json();
    assert_eq!(document["data"]["findings"][0]["rule"], "convert-refused");
    assert!(document["error"]["cause"].as_str().unwrap().contains("machine-classes/odd.yaml:"), "{document:#}");
    assert_eq!(project.read("machine-classes/odd.yaml"), odd);
    assert_eq!(project.read("machine-classes/old.yaml"), LEGACY_CLASS, "all or none");
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
    assert_eq!(project.read("calls").lines().count(), 1, "one call, however many files");
    fs::remove_file(project.path("calls")).unwrap();

    project.write("clusters/prod.yaml", &template("prod", "god", ""));
    let document = project.run(&["cluster-check", "--json"]).exits(1).json();
    let mut found = rules(&document["data"]["files"][0]);
    found.sort_unstable();
    assert_eq!(found, ["template-class-unknown", "template-kubernetes-version"], "{document:#}");
    assert_eq!(project.read("calls").lines().count(), 2);
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
    let questions = ["get machineclasses", "get talosversions", "get clusters", "cluster template sync --dry-run"];
    assert_eq!(calls.lines().count(), questions.len(), "what cluster-check asks, and the comparison: {calls}");
    for question in questions {
        assert!(calls.lines().any(|line| line.starts_with(question)), "{question}: {calls}");
    }
}

const STORAGES: &str = r#"[
    {"name": "local-lvm", "node": "pve1", "storageType": "lvmthin", "availableSpace": 500000000000},
    {"name": "local", "node": "pve1", "storageType": "dir", "availableSpace": 10000000000, "content": "iso,vztmpl"},
    {"name": "local-zfs", "node": "pve2", "storageType": "zfspool", "availableSpace": 0, "enabled": 0}
]"#;

/// The verdicts, as `node/storage verdict`.
fn verdicts(document: &Value) -> Vec<String> {
    let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_owned();
    let rows = document["data"]["results"].as_array().expect("a list");
    rows.iter().map(|row| format!("{}/{} {}", text(row, "node"), text(row, "storage"), text(row, "verdict"))).collect()
}

fn kinds(document: &Value) -> Vec<&str> {
    let warnings = document["data"]["warnings"].as_array().expect("a list");
    warnings.iter().map(|warning| warning["kind"].as_str().expect("text")).collect()
}

#[test]
fn a_selector_is_tried_on_each_storage() {
    let project = Project::new();
    project.write("s.json", STORAGES);
    let test = |selector: &str, more: &[&str]| {
        project.run(&[&["selector-test", selector, "--storages", "s.json", "--offline", "--json"], more].concat())
    };
    let document = test("name == \"local-lvm\"", &[]).exits(0).json();
    assert_eq!(verdicts(&document), ["pve1/local-lvm true", "pve1/local false", "pve2/local-zfs false"]);
    assert_eq!(kinds(&document), ["no-match"]);
    assert_eq!(document["data"]["results"][0]["error"], Value::Null);
    let document = test("name.startsWith(\"local\")", &[]).exits(0).json();
    assert_eq!(kinds(&document), ["several-match", "no-images", "disabled"]);
    let document = test("100u / availableSpace > 0u", &["--node", "pve2"]).exits(1).json();
    assert_eq!(verdicts(&document), ["pve2/local-zfs eval-error"]);
    assert_eq!(document["data"]["results"][0]["error"], "division by zero");
    let document = test("storageType == rbd", &[]).exits(1).json();
    assert_eq!(verdicts(&document)[0], "pve1/local-lvm compile-error");
    assert!(
        document["error"]["cause"].as_str().unwrap().starts_with("ERROR: <input>:1:16: undeclared"),
        "{document:#}"
    );
    let document = test("storage.filter(s, s.type == \"rbd\")[0].storage", &[]).exits(1).json();
    assert!(document["error"]["hint"].as_str().unwrap().ends_with("storageType == \"rbd\""), "{document:#}");
    test("true", &["--node", "pve3"]).exits(1).says(&["did you mean `pve"]);

    let ran = project.run(&["selector-test", "node == \"pve1\" && name == \"local\"", "--storages", "s.json"]).exits(0);
    assert!(ran.stdout.contains("NODE  STORAGE") && ran.stdout.contains("no: name == \"local\""), "{}", ran.stdout);
    assert!(ran.stdout.contains("no: node == \"pve1\"") && ran.stdout.contains("match\n"), "{}", ran.stdout);
}

#[test]
fn selector_test_fails_when_nothing_matches_on_any_node() {
    let project = Project::new();
    project.write(
        "zfs.json",
        r#"[{"name":"local","node":"pve1","storageType":"dir","availableSpace":90000000000},
            {"name":"local-zfs","node":"pve1","storageType":"zfspool","availableSpace":900000000000}]"#,
    );
    let test =
        |selector: &str| project.run(&["selector-test", selector, "--storages", "zfs.json", "--offline", "--json"]);
    // tteck/Proxmox#253: a guide says local-lvm, and the node was installed on ZFS.
    let document = test("name == \"local-lvm\"").exits(1).json();
    let error = &document["error"];
    assert_eq!(error["message"], "the selector matches no storage on any node");
    assert_eq!(error["cause"], "the storages are: local, local-zfs");
    assert_eq!(document["next"], json!(["cargo xtask selector-test 'name == \"STORAGE\"'"]));
    assert_eq!(verdicts(&document), ["pve1/local false", "pve1/local-zfs false"], "the results are there all the same");
    let document = test("name == \"local-zsf\"").exits(1).json();
    assert!(document["error"]["hint"].as_str().unwrap().starts_with("did you mean `local-zfs`?"), "{document:#}");
    test("storageType == \"zfspool\"").exits(0);
    // Of a class, the disk is named.
    project.write("machine-classes/z.yaml", &class("z", &DATA.replace("local-lvm", "fast")));
    let line = ["selector-test", "--class", "z", "--storages", "zfs.json", "--offline", "--json"];
    let document = project.run(&line).exits(1).json();
    assert_eq!(document["error"]["message"], "the selector of disk matches no storage on any node", "{document:#}");
    assert_eq!(document["next"], json!(["cargo xtask selector-test --class z"]));
}

#[test]
fn without_storages_a_selector_is_compiled() {
    let project = Project::new();
    let document = project.run(&["selector-test", "name == \"x\"", "--offline", "--json"]).exits(0).json();
    assert_eq!(verdicts(&document), ["/ false"]);
    assert_eq!(document["data"]["warnings"], json!([]));
    let document = project.run(&["selector-test", "name = \"x\"", "--offline", "--json"]).exits(1).json();
    assert_eq!(verdicts(&document), ["/ compile-error"]);
    let document = project.run(&["selector-test", "true", "--json"]).exits(0).json();
    assert_eq!(document["steps"][0]["id"], "proxmox", "nothing says how to ask Proxmox: {document:#}");
    project.write("docker/config.yaml/x", "");
    project.run(&["selector-test", "true"]).exits(1).says(&["docker/config.yaml"]);
    project.run(&["selector-test"]).exits(2);
    project.run(&["selector-test", "true", "--class", "x"]).exits(2);
    for (text, word) in [
        ("{}", "is not a list"),
        ("[{\"name\": \"a\", \"node\": \"b\", \"storageType\": \"c\"}]", "`availableSpace` is missing"),
        ("[{\"name\": 1, \"node\": \"b\", \"storageType\": \"c\", \"availableSpace\": 1}]", "`name` is 1"),
        (
            "[{\"name\": \"a\", \"node\": \"b\", \"storageType\": \"c\", \"availableSpace\": -1}]",
            "`availableSpace` is -1",
        ),
        ("[1]", "entry 1 is a number, not an object"),
        ("[{\"name\": \"a\", \"node\": \"b\",\n\"name\": \"c\"}]", "`name` stands twice at line 2"),
    ] {
        project.write("s.json", text);
        project.run(&["selector-test", "true", "--storages", "s.json"]).exits(1).says(&[word]);
    }
}

#[test]
fn the_selectors_of_a_class_are_tried_with_its_sizes_and_node() {
    let project = Project::new();
    project.write("s.json", STORAGES);
    let data = DATA.replace("disk_size: 20", "disk_size: 900")
        + "node: pve1\nadditional_disks:\n  - disk_size: 5\n    storage_selector: storageType == \"dir\"\n";
    project.write("machine-classes/big.yaml", &class("big", &data));
    let line = ["selector-test", "--class", "big", "--storages", "s.json", "--offline", "--json"];
    let document = project.run(&line).exits(0).json();
    assert_eq!(
        verdicts(&document),
        ["pve1/local-lvm true", "pve1/local false", "pve1/local-lvm false", "pve1/local true"]
    );
    assert_eq!(kinds(&document), ["too-small", "no-images"], "only its node counts: {document:#}");
    assert_eq!(document["data"]["results"][2]["disk"], "additional_disks[0]");
    project.write("machine-classes/old.yaml", LEGACY_CLASS);
    project.run(&["selector-test", "--class", "old", "--offline"]).exits(1).says(&["--convert"]);
}
