use super::*;
use domain::spec::template::{ClusterTemplate, MachineSet};

const HEAD: &str = "kind: Cluster\nname: prod\nkubernetes: {version: v1.36.2}\ntalos: {version: v1.13.5}\n";
const PLANES: &str = "controlPlane: {machineClass: cp, count: 3}\n";
const WORKERS: &str = "workers: {machineClass: worker, count: 2}\n";

/// What comes of a file, with the text of each change.
fn converted(text: &str) -> Result<(String, Vec<String>, ClusterTemplate), Vec<String>> {
    match cluster_template("old.yaml", text.as_bytes()) {
        Outcome::Converted { text, changes } => {
            let checked = template::check("new.yaml", text.as_bytes(), &template::TemplateContext::default());
            let errors: Vec<_> = checked.findings.iter().filter(|finding| finding.is_error()).collect();
            assert!(errors.is_empty(), "{errors:?}\n{text}");
            assert_eq!(cluster_template("new.yaml", text.as_bytes()), Outcome::Unchanged, "{text}");
            let words = changes.into_iter().map(|change| format!("{} ({})", change.what, change.why)).collect();
            Ok((text, words, checked.value.unwrap()))
        }
        Outcome::Refused(findings) => {
            Err(findings.into_iter().map(|f| format!("{}: {}", f.place, f.message)).collect())
        }
        Outcome::Unchanged => panic!("not seen as the older form:\n{text}"),
    }
}

/// `cp 3, worker 2`: the sets with their classes and sizes.
fn sets(template: &ClusterTemplate) -> String {
    let words = |set: &MachineSet| {
        let name = set.class.as_ref().map_or("-", |class| class.name.as_str());
        let count = set.machine_count().map_or("unlimited".to_owned(), |count| count.to_string());
        let label = set.name.as_ref().map_or(String::new(), |(name, _)| format!("{name}="));
        format!("{label}{name} {count}")
    };
    // The documents stand in the order of the file.
    let mut sets: Vec<&MachineSet> = template.sets.iter().collect();
    sets.sort_by_key(|set| set.name.is_some() || set.class.as_ref().is_some_and(|class| class.name == "worker"));
    sets.into_iter().map(words).collect::<Vec<_>>().join(", ")
}

#[test]
fn machine_sets_keep_their_classes_and_numbers() {
    let uuid = "430d882a-51a8-48b3-ab00-d4b5b0b5b0b5";
    for (body, wanted) in [
        (
            "controlPlane: {machineClass: cp, count: 3}\nworkers: {machineClass: worker, count: 2}\n".to_owned(),
            "cp 3, worker 2",
        ),
        (
            "workers: {count: 2, machineClass: worker}\ncontrolPlane: {count: 3, machineClass: cp}\n".into(),
            "cp 3, worker 2",
        ),
        (
            "controlPlane:\n  machineClass: cp\n  replicas: 3\nworkers:\n  machineClass: worker\n  replicas: 2\n"
                .into(),
            "cp 3, worker 2",
        ),
        ("controlPlane:\n  machineClass: cp\n  size: 3\n".into(), "cp 3"),
        (
            "controlPlane:\n  machineClass: {name: cp, size: 3}\nworkers:\n  machineClass: {name: worker, size: 2}\n"
                .into(),
            "cp 3, worker 2",
        ),
        ("controlPlane:\n  machineClass: {name: cp}\n  count: 3\n".into(), "cp 3"),
        ("controlPlane:\n  machineClass: {name: cp, size: 3}\n  count: 3\n".into(), "cp 3"),
        (
            "controlPlane: {machineClass: cp, count: \"3\"}\nworkers: {machineClass: worker, count: '2'}\n".into(),
            "cp 3, worker 2",
        ),
        ("controlPlane: {machineClass: \"cp\", count: 1}\n".into(), "cp 1"),
        ("controlplane: {machineClass: cp, count: 1}\n".into(), "cp 1"),
        (format!("{PLANES}workers:\n"), "cp 3"),
        (format!("{PLANES}workers: []\n"), "cp 3"),
        (format!("{PLANES}workers: {{}}\n"), "cp 3"),
        (format!("{PLANES}workers: {{machineClass: worker, count: 0}}\n"), "cp 3, worker 0"),
        (format!("{PLANES}workers: {{machineClass: worker, count: 0x10}}\n"), "cp 3, worker 16"),
        (format!("{PLANES}workers: {{machineClass: worker, count: unlimited}}\n"), "cp 3, worker unlimited"),
        (format!("{PLANES}workers: {{machineClass: worker, count: '∞'}}\n"), "cp 3, worker unlimited"),
        (format!("{PLANES}workers: [{{machineClass: worker, count: 2}}]\n"), "cp 3, worker 2"),
        (
            format!(
                "{PLANES}workers:\n- name: a\n  machineClass: worker\n  count: 2\n- name: b\n  machineClass: gpu\n  count: 1\n"
            ),
            "cp 3, a=worker 2, b=gpu 1",
        ),
        (format!("{PLANES}workers: {{name: general, machineClass: worker, count: 2}}\n"), "cp 3, general=worker 2"),
        (format!("controlPlane: {{machines: [{uuid}]}}\n"), "- 1"),
        (format!("{WORKERS}{PLANES}"), "cp 3, worker 2"),
    ] {
        for text in [format!("{HEAD}{body}"), format!("{body}{HEAD}"), format!("{HEAD}{body}").replace('\n', "\r\n")] {
            let (new, changes, template) = converted(&text).unwrap_or_else(|why| panic!("{why:?}\n{text}"));
            assert_eq!(sets(&template), wanted, "{text}\n{new}");
            assert!(changes.iter().any(|change| change.contains("a document of its own")), "{changes:?}");
            assert_eq!(template.name, "prod");
        }
    }
}

#[test]
fn cluster_settings_stay_with_the_cluster() {
    let body = format!("{PLANES}{WORKERS}");
    let head = |from: &str, to: &str| HEAD.replace(from, to) + &body;
    for (text, wanted) in [
        (head("{version: v1.36.2}", "v1.36.2"), "kubernetes:\n  version: v1.36.2\n"),
        (head("{version: v1.36.2}", "1.36.2"), "kubernetes:\n  version: v1.36.2\n"),
        (head("kubernetes: {version: v1.36.2}", "kubernetesVersion: 1.36.2"), "kubernetes:\n  version: v1.36.2\n"),
        (head("{version: v1.13.5}", "{version: 1.13.5}"), "talos:\n  version: v1.13.5\n"),
        (head("talos: {version: v1.13.5}", "talosVersion: \"1.13.5\""), "talos:\n  version: v1.13.5\n"),
        (head("kind: Cluster\n", ""), "kind: Cluster\nname: prod\n"),
        (head("name: prod", "name: \"prod\""), "name: prod\n"),
        (head("name: prod", "labels: {env: prod}\nname: prod"), "labels:\n  env: prod\n"),
        (head("name: prod", "name: prod\nannotations: {a: b}"), "annotations:\n  a: b\n"),
        (
            head("name: prod", "name: prod\nfeatures: {enableWorkloadProxy: true}"),
            "features:\n  enableWorkloadProxy: true\n",
        ),
        (
            head("name: prod", "name: prod\nsystemExtensions: [siderolabs/iscsi-tools]"),
            "systemExtensions:\n  - siderolabs/iscsi-tools\n",
        ),
        (
            head("name: prod", "name: prod\npatches:\n  - name: a\n    inline: {machine: {sysctls: {x: \"1\"}}}"),
            "patches:\n  - name: a\n    inline:\n      machine:\n        sysctls:\n          x: '1'\n",
        ),
        (head("name: prod", "name: prod\npatches:\n  - file: patches/a.yaml"), "patches:\n  - file: patches/a.yaml\n"),
        (head("name: prod", "name: prod\npatches: []"), "patches: []\n"),
        (
            format!("{HEAD}controlPlane:\n  machineClass: cp\n  count: 3\n  labels: {{a: b}}\n"),
            "kind: ControlPlane\nlabels:\n  a: b\n",
        ),
        (
            format!(
                "{HEAD}controlPlane:\n  machineClass: cp\n  count: 3\n  patches:\n    - name: t\n      inline: |\n        machine:\n          kubelet: {{}}\n"
            ),
            "    inline: |\n      machine:\n        kubelet: {}\n",
        ),
        (format!("# head\n{HEAD}{body}"), "# head\nkind: Cluster\n"),
        (format!("---\n{HEAD}{body}---\n"), "kind: Cluster\n"),
        (format!("\u{feff}{HEAD}{body}"), "kind: Cluster\n"),
    ] {
        let (new, changes, _) = converted(&text).unwrap_or_else(|why| panic!("{why:?}\n{text}"));
        assert!(new.contains(wanted), "{text}\n{new}");
        assert!(!changes.is_empty());
    }
    let (_, changes, _) = converted(&format!("{HEAD}# why\n{PLANES}# the end\n")).unwrap();
    for comment in ["left out: # why", "left out: # the end"] {
        assert!(changes.iter().any(|change| change.starts_with(comment)), "{changes:?}");
    }
}

#[test]
fn ambiguous_templates_are_refused() {
    let body = format!("{PLANES}{WORKERS}");
    let head = |from: &str, to: &str| HEAD.replace(from, to) + &body;
    let set = |text: &str| format!("{HEAD}controlPlane: {text}\n");
    for (text, why) in [
        (head("name: prod\n", ""), "no `name`"),
        (head("kubernetes: {version: v1.36.2}\n", ""), "no `kubernetes`"),
        (head("talos: {version: v1.13.5}\n", ""), "no `talos`"),
        (head("{version: v1.13.5}", "{}"), "`talos` has no version"),
        (head("{version: v1.13.5}", "latest"), "what comes of it is refused"),
        (head("{version: v1.13.5}", "{version: v1.13.5, schematic: x}"), "`talos.schematic` has no counterpart"),
        (head("kind: Cluster", "kind: ControlPlane"), "`kind` has no counterpart"),
        (head("kind: Cluster", "kind: ClusterTemplate"), "`kind` has no counterpart"),
        (head("name: prod", "name: my cluster"), "what comes of it is refused"),
        (head("name: prod", "name: prod\nnetwork: {cni: none}"), "`network` has no counterpart"),
        (head("name: prod", "name: prod\nlabels: {omni.sidero.dev/x: y}"), "what comes of it is refused"),
        (head("name: prod", "name: prod\npatches: {machine: {}}"), "what comes of it is refused"),
        (head("name: prod", "apiVersion: omni.sidero.dev/v1\nname: prod"), "apiVersion or spec"),
        (format!("apiVersion: x/v1\nkind: Cluster\nmetadata: {{name: a}}\nspec:\n  {PLANES}"), "apiVersion or spec"),
        (format!("{HEAD}{WORKERS}"), "not one `controlPlane`"),
        (format!("{HEAD}{PLANES}{}", PLANES.replace("controlPlane", "controlplane")), "not one `controlPlane`"),
        (format!("{HEAD}{PLANES}{PLANES}"), "already defined"),
        (format!("{HEAD}{body}---\nkind: Workers\nmachineClass: {{name: a, size: 1}}\n"), "next to other documents"),
        (set("{machineClass: cp}"), "how many machines"),
        (set("{count: 3}"), "where the machines come from"),
        (set("{}") + WORKERS, "where the machines come from"),
        (set("3"), "where the machines come from"),
        (set("{machineClass: cp, count: three}"), "`three` is not a number of machines"),
        (set("{machineClass: cp, count: -1}"), "`-1` is not a number of machines"),
        (set("{machineClass: cp, count: 2.5}"), "`2.5` is not a number of machines"),
        (set("{machineClass: cp, count: 3, replicas: 5}"), "two numbers"),
        (set("{machineClass: {name: cp, size: 3}, count: 5}"), "two numbers"),
        (set("{machineClass: {name: cp, size: 3, flavour: x}}"), "`flavour` has no counterpart"),
        (set("{machineClass: cp, count: 3, taints: [a]}"), "`taints` has no counterpart"),
        (set("{machineClass: cp, count: 3, name: planes}"), "`name` has no counterpart"),
        (
            set("{machineClass: cp, count: 1, machines: [430d882a-51a8-48b3-ab00-d4b5b0b5b0b5]}"),
            "`machines` names each",
        ),
        (set("{machines: [nonsense]}"), "what comes of it is refused"),
        (
            format!("{HEAD}{PLANES}workers: [{{machineClass: a, count: 1}}, {{machineClass: b, count: 1}}]\n"),
            "what comes of it is refused",
        ),
        (
            format!("{HEAD}{PLANES}workers: {{machineClass: a, count: 1, name: control-planes}}\n"),
            "what comes of it is refused",
        ),
        (format!("{HEAD}{PLANES}workers: worker\n"), "where the machines come from"),
        (
            format!("{HEAD}{PLANES}workers: {{machineClass: a, count: 1, kernelArgs: [x]}}\n"),
            "`kernelArgs` has no counterpart",
        ),
    ] {
        let refused = converted(&text).err().unwrap_or_else(|| panic!("converted:\n{text}"));
        assert!(refused.iter().any(|r| r.contains(why)), "{why}: {refused:?}");
    }
}
