//! `support-bundle`: what it contains, what it leaves out, and the output of `cluster-explain --bundle`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use runtime::bundle::OpenedBundle;
use runtime::tool::lab::faults::Fault;
use serde_json::{Value, json};

use crate::explained::{settled_in, start_with};
use crate::faults::table;
use crate::planted::{found, lookalikes, secrets};
use crate::sandbox::{CommandOutput, Sandbox};

/// Appends a file to a program's output: docker's to logs, omnictl's to machine classes, curl's instead of an empty list.
const LOGS: &str = r#"@REAL@ "$@"; status=$?; case " $* " in *" logs "*) cat "@PLANTED@/log";; esac; exit $status"#;
const CLASSES: &str =
    r#"@REAL@ "$@"; status=$?; case "$*" in *machineclasses*) cat "@PLANTED@/class";; esac; exit $status"#;
const TASKS: &str = r#"out=$(PATH=${PATH#*:} curl "$@"; echo "x$?"); status=${out##*x}; out=${out%x*}
while :; do case $out in
*'"data":[]'*) printf '%s"data":' "${out%%\"data\":[]*}"; cat "@PLANTED@/tasks"; out=${out#*\"data\":[]};;
*) printf %s "$out"; exit $status;;
esac; done"#;

/// Returns the text of every file in a bundle, by its name.
fn opened(file: &Path, scratch: &Path) -> Vec<(String, String)> {
    let bundle = OpenedBundle::open(file, scratch).expect("a bundle");
    let dir = bundle.project().parent().expect("a directory").to_owned();
    let manifest = ("manifest.json".to_owned(), serde_json::to_string(&bundle.manifest).expect("JSON"));
    let names = runtime::files::list_files(&dir).expect("it is read").into_iter().map(|(name, _)| name);
    names
        .map(|name| (name.display().to_string(), fs::read_to_string(dir.join(&name)).expect("text")))
        .chain([manifest])
        .collect()
}

#[test]
fn bundle_holds_none_of_five_hundred_planted_secrets() {
    let mut lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    let (planted, harmless) = (secrets(500, 4711), lookalikes(12));
    let kinds: BTreeSet<&str> = planted.iter().map(|planted| planted.kind.as_str()).collect();
    assert!(kinds.len() >= 20 && harmless.len() >= 50, "{kinds:?}");
    let part = |at: usize| -> Vec<&str> {
        planted[at * 60..at * 60 + 60].iter().map(|planted| planted.text.as_str()).collect()
    };
    let notes = |texts: &[&str]| -> Value {
        texts
            .iter()
            .enumerate()
            .map(|(at, text)| (format!("note-{at}"), json!(text)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let comments =
        |texts: &[&str]| -> String { texts.iter().map(|text| format!("# {}\n", text.replace('\n', "\\n"))).collect() };
    let dir = lab.scratch().join("planted");
    fs::create_dir_all(&dir).expect("a directory");
    let log = planted[480..].iter().map(|planted| planted.text.clone()).chain(part(0).into_iter().map(str::to_owned));
    let known = "plain-words-of-the-environment";
    let log: Vec<String> = log.chain(harmless.iter().cloned()).chain([format!("it repeats {known} here")]).collect();
    fs::write(dir.join("log"), log.join("\n") + "\n").expect("written");
    let class = json!({ "metadata": { "id": "planted", "annotations": notes(&part(1)) }, "spec": { "autoprovision": { "providerdata": part(2).join("\n") } } });
    fs::write(dir.join("class"), class.to_string()).expect("written");
    let task = json!([{ "upid": "UPID:pve1:1:1:1:qmcreate:1:x:", "starttime": 1, "type": "qmcreate", "notes": notes(&part(3)) }]);
    fs::write(dir.join("tasks"), task.to_string()).expect("written");
    for (name, script) in [("docker", LOGS), ("omnictl", CLASSES), ("curl", TASKS)] {
        lab.wrap_program(name, &script.replace("@PLANTED@", &dir.display().to_string()));
    }
    for (name, at) in [("docker/.env", 4), ("docker/config.yaml", 5)] {
        lab.write(name, &format!("{}\n{}", lab.read(name), comments(&part(at))));
    }
    lab.write("clusters/patches/planted.yaml", &part(6).join("\n"));
    let entry = |text: &&str| json!({ "project": lab.project(), "command": text }).to_string() + "\n";
    let journal =
        fs::read_to_string(lab.journal()).expect("a journal") + &part(7).iter().map(entry).collect::<String>();
    fs::write(lab.journal(), journal).expect("written");
    lab.set("PLANTED_TOKEN", Some(known));

    let file = lab.scratch().join("bundle.tar.gz");
    let line = format!("support-bundle --out {} --json --all", file.display());
    let before = lab.files();
    assert_eq!(lab.run(&format!("{line} --dry-run")).code, 3);
    lab.run(&line).exits_with_one_of(&[2]);
    assert!(lab.files() == before && !file.exists(), "nothing is written without consent");
    let document = lab.run(&format!("{line} --yes")).exits(0).json();
    assert_eq!(runtime::files::mode(&file), Some(0o600));
    lab.run(&format!("{line} --yes")).exits(1).says(&["already exists and is not overwritten"]);

    let files = opened(&file, &lab.scratch().join("opened"));
    for (name, text) in &files {
        assert!(found(text, &planted).is_empty(), "{name}: {:#?}\n{text}", found(text, &planted));
        assert!(!text.contains(known) && !text.contains(lab.env("OMNI_SERVICE_ACCOUNT_KEY")), "{name}");
    }
    let removed: u64 = document["data"]["removed"].as_object().expect("kinds").values().filter_map(Value::as_u64).sum();
    assert!(removed >= 500, "{document}");
    let of =
        |name: &str| &files.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("{name} is missing")).1;
    for text in &harmless {
        assert!(of("logs/omni.log").contains(text), "{text}");
    }
    for (name, text) in
        [("omni/machineclasses.json", "note-7"), ("proxmox/answers.json", "note-7"), ("journal.jsonl", "REMOVED")]
    {
        assert!(of(name).contains(text), "{name}: what was planted did not arrive");
    }
}

/// The installation of each fault, and its bundle on another machine: without programs, without a project.
#[test]
fn bundle_is_explained_as_the_installation_was() {
    let names = ["machine-vm-stopped", "proxmox-unauthorized", "omni-unreachable"];
    let faults: Vec<&Fault> = table().iter().filter(|fault| names.contains(&fault.name.as_str())).collect();
    assert_eq!(faults.len(), names.len());
    std::thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || check_same_explanation(fault));
        }
    });
}

fn check_same_explanation(fault: &Fault) {
    let lab = start_with(fault);
    let (document, ..) = settled_in(&lab, fault);
    let file = lab.scratch().join("bundle.tar.gz");
    lab.run(&format!("support-bundle --yes --timeout 120s --out {}", file.display())).exits(0);
    let live = lab.run("fleet-page --json").exits(0).json();
    let offline = |words: &[&str]| {
        let mut command = lab.command(&[words, &["--json", "--bundle", &file.display().to_string()]].concat());
        command.env("PATH", "").env("HOME", lab.scratch()).current_dir(lab.scratch());
        CommandOutput::of(&mut command)
    };
    let page = offline(&["fleet-page"]).exits(0).json();
    let seen = page["data"]["counts"]["machines"].as_u64() > Some(0) || fault.name != "machine-vm-stopped";
    assert!(seen && lab.scratch().join("fleet.html").exists(), "{}: {page:#}", fault.name);
    // Only what a bundle cannot contain is missing.
    let missing = |page: &Value| {
        let parts = page["data"]["missing"].as_array().cloned().unwrap_or_default().into_iter();
        let parts = parts.filter_map(|part| Some(part["part"].as_str()?.to_owned()));
        parts.filter(|part| !part.contains("drift")).collect::<Vec<_>>()
    };
    assert_eq!(missing(&page), missing(&live), "{}: {page:#}", fault.name);
    let offline = offline(&["cluster-explain"]).json();
    let ids = |document: &Value| {
        let causes = document["data"]["causes"].as_array().cloned().unwrap_or_default();
        causes.iter().map(|cause| cause["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&offline), ids(&document), "{}: {offline:#}", fault.name);
    assert_eq!(offline["ok"], document["ok"], "{}", fault.name);
}
