//! What is done with a cluster after it was created: access, scaling, deletion.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{Options, Sandbox};

pub fn with_cluster(workers: u32) -> Sandbox {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    let create = format!("cluster-create demo --control-planes 1 --workers {workers} --yes --timeout 60s");
    lab.run(&create).exits(0);
    lab
}

pub fn vms(lab: &Sandbox) -> usize {
    lab.dump()["proxmox"]["vms"].as_array().expect("a list").len()
}

#[test]
fn kubeconfig_is_private_and_never_overwritten_unasked() {
    let lab = with_cluster(0);
    let document = lab.run("cluster-kubeconfig demo --json --ttl 1h").exits(0).json();
    assert_eq!(document["data"]["groups"][0], "system:masters");
    let file = lab.file("demo.kubeconfig");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(lab.read("demo.kubeconfig").contains("token: "));
    assert!(!document.to_string().contains("lab-service-account-token"));
    lab.run("cluster-kubeconfig demo").exits(1).says(&["`demo.kubeconfig` exists", "--force"]);
    lab.run("cluster-kubeconfig demo --force --user").exits(0).says(&["a login with a browser"]);
    assert!(!lab.read("demo.kubeconfig").contains("token: "));

    let own = lab.file("own");
    lab.write("own", "apiVersion: v1\nkind: Config\ncontexts: []\nclusters: []\nusers: [{name: mine, user: {}}]\n");
    let mut merging = lab;
    merging.set("KUBECONFIG", Some(own.to_str().unwrap()));
    merging.run("cluster-kubeconfig demo --merge --dry-run").exits(3).says(&["update own"]);
    merging.run("cluster-kubeconfig demo --merge").exits(2).says(&["--yes"]);
    merging.run("cluster-kubeconfig demo --merge --yes").exits(0);
    let merged = merging.read("own");
    assert!(merged.contains("name: mine") && merged.contains("token: "), "{merged}");

    merging.run("cluster-kubeconfig other").exits(1).says(&["Omni has no cluster `other`", "demo"]);
    merging.run("cluster-kubeconfig demo --ttl 9000h --force").exits(2).says(&["8760h"]);
    merging.run("cluster-talosconfig demo").exits(0).says(&["talosctl --talosconfig project/demo.talosconfig"]);
    let mode = fs::metadata(merging.file("demo.talosconfig")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn scaling_changes_one_number_and_destroys_only_with_consent() {
    let lab = with_cluster(1);
    let template = lab.read("clusters/demo.yaml").replace("size: 1\n", "size: 1 # one is enough\n");
    lab.write("clusters/demo.yaml", &template);
    lab.run("cluster-scale demo --workers 3 --dry-run").exits(3).says(&[
        "workers: 1 → 3",
        "2 new machines",
        "they fit",
    ]);
    assert_eq!(lab.read("clusters/demo.yaml"), template);
    lab.run("cluster-scale demo --workers 3 --yes --timeout 60s").exits(0).says(&["Running and ready"]);
    let (before, after) = template.rsplit_once("size: 1").unwrap();
    assert_eq!(lab.read("clusters/demo.yaml"), format!("{before}size: 3{after}"));
    assert_eq!(vms(&lab), 4);
    lab.run("cluster-scale demo --workers 3 --yes").exits(0).says(&["nothing to change"]);

    lab.run("cluster-scale demo --set workers=2 --yes").exits(2).says(&["--allow-destroy demo", "from 3 to 2"]);
    assert_eq!(vms(&lab), 4);
    assert!(lab.read("clusters/demo.yaml").contains("size: 3"), "a refusal changes nothing");
    lab.run("cluster-scale demo --set workers=2 --yes --allow-destroy demo --timeout 60s").exits(0);
    assert_eq!(vms(&lab), 3);
}

#[test]
fn scaling_refuses_what_has_no_number_in_the_template() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    let head = "kind: Cluster\nname: demo\nkubernetes: {version: v1.36.2}\ntalos: {version: v1.13.5}\n---\n\
                kind: ControlPlane\nmachineClass: {name: small, size: 1}\n---\n";
    let two = "kind: Workers\nname: a\nmachineClass: {name: small, size: &n 1}\n---\n\
               kind: Workers\nname: b\nmachineClass: {name: small, size: 1}\n";
    lab.write("clusters/demo.yaml", &format!("{head}{two}"));
    lab.run("cluster-scale demo --workers 2 --yes").exits(2).says(&[
        "2 worker sets",
        "control-planes, a, b",
        "--set NAME=N",
    ]);
    lab.run("cluster-scale demo --set bb=2 --yes").exits(2).says(&["did you mean --set b=2?"]);
    let refused = lab.run("cluster-scale demo --set a=2 --yes");
    refused.exits(1).says(&["cannot be edited in place", "clusters/demo.yaml:11:35", "a 1 → 2"]);
    lab.run("cluster-scale absent --workers 2 --yes").exits_with_one_of(&[1, 2]).says(&["absent"]);
    lab.run("cluster-scale demo --set a --yes").exits(2).says(&["NAME=N"]);
}

#[test]
fn deletion_shows_every_vm_and_leaves_none() {
    let lab = with_cluster(1);
    let plan = lab.run("cluster-delete demo --dry-run --json").exits(3).json();
    let destroys = plan["data"]["plan"][0]["destroys"].as_array().unwrap();
    assert_eq!(destroys.len(), 3, "{plan}");
    assert!(destroys[1].as_str().unwrap().starts_with("VM "), "{plan}");
    lab.run("cluster-delete demo --yes").exits(2).says(&["--allow-destroy demo", "with its disk of"]);
    assert_eq!(vms(&lab), 2);
    lab.run("cluster-delete demo --yes --allow-destroy demo --timeout 60s").exits(0).says(&[
        "Omni no longer has cluster `demo`",
        "Its VMs are gone from Proxmox: 2 VMs",
        "git rm project/clusters/demo.yaml",
    ]);
    assert_eq!(vms(&lab), 0);
    assert!(lab.file("clusters/demo.yaml").exists());
    let state = lab.read(".claude/omni-scale.local.md");
    assert!(!state.contains("clusters: [demo]"), "{state}");
    lab.write(".claude/omni-scale.local.md", &state.replace("clusters: []", "clusters: [demo]"));
    lab.run("cluster-delete demo --yes").exits(0).says(&["nothing is left to delete"]);
    lab.run("cluster-delete demo --yes --allow-destroy demo").exits(1).says(&["Omni has no cluster `demo`"]);
}

#[test]
fn deletion_forgets_the_template_when_asked_to() {
    let lab = with_cluster(0);
    let call = "cluster-delete demo --forget --yes --allow-destroy demo --timeout 60s";
    lab.run(call).exits(0).says(&["remove clusters/demo.yaml"]);
    assert!(!lab.file("clusters/demo.yaml").exists());
}

/// Recorded with Omni 1.4.9: machines that are dead keep their cluster from going, until Omni drops their links.
#[test]
fn deletion_does_not_wait_for_lost_machines_when_told_so() {
    let lab = Sandbox::with(&Options { faults: &["machine-all-dead"], clock: Some(400), ..Options::default() });
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes --timeout 60s").exits_with_one_of(&[0, 1]);
    lab.run("cluster-status demo").exits_with_one_of(&[0, 1]);
    let call = "cluster-delete demo --yes --allow-destroy demo";
    let waits = lab.run(&format!("{call} --timeout 8s")).exits(124);
    waits.says(&["Omni has lost", "cargo xtask cluster-delete demo --destroy-disconnected"]);
    lab.run(&format!("{call} --destroy-disconnected --timeout 60s")).exits(0);
    assert_eq!(vms(&lab), 0);
    let journal = fs::read_to_string(lab.journal()).unwrap();
    assert!(journal.contains("cluster delete demo --destroy-disconnected-machines"), "{journal}");
}

/// The patch of a file and the one that somebody made in Omni's web interface are not as omnictl would write them.
#[test]
fn exported_template_is_synced_without_a_change() {
    let lab = with_cluster(1);
    let made = lab.read("clusters/demo.yaml");
    let patched = made.replacen("---\n", "patches:\n  - file: demo-extra.yaml\n    labels: {team: infra}\n---\n", 1);
    lab.write("clusters/demo.yaml", &patched);
    lab.write("clusters/demo-extra.yaml", "# Why: the nodes swap\nmachine:\n  sysctls:\n    vm.swappiness: \"1\"\n");
    lab.run("cluster-sync demo --yes --timeout 60s").exits(0);
    let kept = lab.run("cluster-export demo").exits(0);
    kept.says(&["`clusters/demo.yaml` is kept", "it says what Omni has", "nothing to write"]);

    lab.write("ui.yaml", &ui_patch("500-ui", "name", "machine:\n  sysctls:\n    vm.max_map_count: \"262144\"\n"));
    lab.omnictl(&["apply", "-f", "ui.yaml"]);
    lab.run("cluster-sync demo --dry-run").exits(3).says(&["500-ui"]);
    lab.run("cluster-export demo").exits(1).says(&["exists and says something else", "cluster-export demo --force"]);
    lab.run("cluster-export --all").exits(0).says(&["it says something else than Omni has; --force replaces it"]);
    lab.run("cluster-export demo --force --dry-run").exits(3).says(&["update clusters/demo.yaml", "3 changes"]);
    assert_eq!(lab.read("clusters/demo.yaml"), patched, "a dry run");
    let document = lab.run("cluster-export demo --force --json").exits(0).json();
    assert_eq!(document["data"]["exported"][0]["files"].as_array().map(Vec::len), Some(3), "{document}");
    assert!(lab.read("clusters/demo/500-ui.yaml").contains("vm.max_map_count"));
    let file = lab.read("clusters/demo/200-cluster-demo-demo-extra.yaml");
    assert!(file.starts_with("# Why: the nodes swap\n"), "{file}");
    lab.run("cluster-check demo").exits(0);
    lab.run("cluster-sync demo --dry-run").exits(0).says(&["in sync"]);
    lab.run("cluster-export demo").exits(0).says(&["nothing to write"]);

    // A sync always names a patch, so one that has no name is never as its file says.
    lab.write("ui.yaml", &ui_patch("501-ui", "note", "machine:\n  sysctls:\n    vm.swappiness: \"2\"\n"));
    lab.omnictl(&["apply", "-f", "ui.yaml"]);
    let words = ["a sync of the file would update config patch 501-ui"];
    lab.run("cluster-export demo --force").exits(0).says(&words);

    lab.run("cluster-export nodemo").exits(1).says(&["Omni has no cluster `nodemo`", "demo"]);
    lab.run("cluster-export ../demo").exits(2).says(&["../demo"]);
    lab.run("cluster-export demo --all").exits(2);
}

/// A patch as Omni's web interface makes one.
pub fn ui_patch(id: &str, name: &str, data: &str) -> String {
    let data = data.replace('\n', "\n    ");
    format!(
        "metadata:\n  namespace: default\n  type: ConfigPatches.omni.sidero.dev\n  id: {id}\n  labels:\n    \
         omni.sidero.dev/cluster: demo\n  annotations:\n    {name}: from the UI\nspec:\n  data: |\n    {data}\n"
    )
}

/// Omni takes more names than the tasks give: what exists is operated under its own.
#[test]
fn clusters_and_providers_keep_names_that_the_tasks_would_not_give() {
    let lab = Sandbox::with(&Options { release: Some("1.9.3"), ..Options::default() });
    lab.omnictl(&["infraprovider", "create", "Proxmox"]);
    lab.run("provider-setup --provider-id Prox_Mox --yes").exits(2).says(&["cannot be the name of a provider"]);
    lab.run("provider-setup --provider-id Proxmox --yes").exits(0).says(&["the provider `Proxmox` registers"]);
    lab.class("small");
    lab.run("cluster-create first --control-planes 1 --workers 0 --no-wait --yes").exits(0);
    let template = lab.read("clusters/first.yaml").replace("name: first\n", "name: MyCluster\n");
    lab.write("clusters/MyCluster.yaml", &template);
    lab.run("cluster-sync MyCluster --yes --timeout 60s").exits(0);
    lab.run("cluster-status MyCluster").exits(0).says(&["Running and ready"]);
    lab.run("cluster-explain MyCluster").exits(0);
    lab.run("cluster-kubeconfig MyCluster --file kc --yes").exits(0);
    lab.run("cluster-scale MyCluster --set control-planes=3 --dry-run").exits(3);
    lab.run("cluster-export MyCluster").exits(0).says(&["it says what Omni has"]);
    lab.run("cluster-delete MyCluster --yes --allow-destroy MyCluster --timeout 60s").exits(0);
    for name in ["../MyCluster", "My Cluster", "$(id)"] {
        let words = ["cluster-status", name];
        lab.run_words(&words).exits(2).says(&["cannot be the name of a cluster"]);
    }
}

#[test]
fn exported_machine_class_is_applied_without_a_change() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    let made = lab.read("machine-classes/small.yaml");
    lab.run("machineclass-export small").exits(0).says(&["it says what Omni has"]);
    lab.write("machine-classes/small.yaml", &made.replace("cores: 2", "cores: 3"));
    lab.run("machineclass-export small").exits(1).says(&["exists and says something else", "--force"]);
    lab.run("machineclass-export --all").exits(0).says(&["--force replaces it"]);
    lab.run("machineclass-export small --force").exits(0).says(&["1 file written"]);
    assert!(lab.read("machine-classes/small.yaml").contains("cores: 2"));
    lab.run("machineclass-check small").exits(0);
    lab.run("machineclass-apply small --dry-run").exits(0).says(&["nothing to apply"]);
    lab.run("machineclass-export smal")
        .exits(1)
        .says(&["Omni has no machine class `smal`", "machineclass-export small"]);
}

/// Every kind of change that somebody makes beside the tasks is found with what ends it, and nothing else is.
#[test]
fn drift_finds_what_was_changed_beside_the_tasks() {
    let lab = with_cluster(1);
    let kinds = |lab: &Sandbox| {
        let document = lab.run("drift --json").exits(0).json();
        assert_eq!(document["data"]["unknown"], serde_json::json!([]), "{document:#}");
        let found = document["data"]["drift"].as_array().expect("a list").clone();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        found.iter().map(|drift| (text(&drift["kind"]), text(&drift["object"]))).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&lab), []);
    lab.run("drift --exit-code").exits(0).says(&["no differences"]);

    lab.write("ui.yaml", &ui_patch("500-ui", "name", "machine:\n  sysctls:\n    vm.swappiness: \"1\"\n"));
    lab.omnictl(&["apply", "-f", "ui.yaml"]);
    let class = lab.read("machine-classes/small.yaml");
    lab.write("machine-classes/small.yaml", &class.replace("cores: 2", "cores: 3"));
    lab.write("machine-classes/mine.yaml", &class.replace("id: small", "id: mine"));
    lab.write("clusters/other.yaml", &lab.read("clusters/demo.yaml").replace("name: demo\n", "name: other\n"));
    let vms = lab.dump()["proxmox"]["vms"].as_array().expect("a list").clone();
    let place =
        |vm: &serde_json::Value| format!("/nodes/{}/qemu/{}", vm["node"].as_str().unwrap_or_default(), vm["vmid"]);
    crate::access::as_root(&lab, &format!("{}/config", place(&vms[0])), &["memory=8192", "tags=mine"]);
    let found = kinds(&lab);
    let expected = ["class-differs", "class-not-in-omni", "cluster-not-in-omni", "cluster-differs", "vm-changed"];
    assert_eq!(found.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), expected, "{found:?}");
    lab.run("drift --exit-code").exits(3).says(&[
        "cluster demo: a sync would destroy config patch 500-ui",
        "cargo xtask cluster-export demo --force",
        "git rm project/clusters/other.yaml",
        "git rm project/machine-classes/mine.yaml",
        "it has 8192 MiB of memory, the request asks for 4096",
        "--tags 'mine;machine-request.demo-",
    ]);

    for file in ["machine-classes/small.yaml", "machine-classes/mine.yaml", "clusters/other.yaml", "clusters/demo.yaml"]
    {
        fs::remove_file(lab.file(file)).unwrap();
    }
    let found = kinds(&lab);
    let expected = ["class-without-file", "cluster-without-file", "vm-changed"];
    assert_eq!(found.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), expected, "{found:?}");
    lab.run("cluster-export --all").exits(0);
    lab.run("machineclass-export --all").exits(0);
    assert_eq!(kinds(&lab).len(), 1);
}

/// What cannot be asked is not reported as if it were the same.
#[test]
fn drift_says_what_it_could_not_compare() {
    let mut lab = with_cluster(0);
    lab.write("clusters/broken.yaml", "kind: Cluster\nname: [\n");
    lab.set("DOCKER_HOST", Some("unix:///nowhere/docker.sock"));
    fs::remove_file(lab.file("docker/config.yaml")).unwrap();
    let document = lab.run("drift --json").exits(0).json();
    let unknown: Vec<&str> =
        document["data"]["unknown"].as_array().unwrap().iter().filter_map(|each| each["what"].as_str()).collect();
    assert_eq!(unknown, ["template `clusters/broken.yaml`", "machines in Proxmox", "containers"], "{document:#}");
    assert!(document["summary"].as_str().unwrap().contains("3 parts could not be compared"), "{document:#}");
}

#[test]
fn status_prints_machines_names_and_yaml_and_waits() {
    let lab = with_cluster(1);
    let wide = lab.run("cluster-status -o wide").exits(0);
    let lines: Vec<Vec<&str>> = wide.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["CLUSTER", "MACHINE", "STAGE", "READY", "NODE", "VM", "ADDRESS", "TALOS", "AGE"]);
    let vms = lab.dump()["proxmox"]["vms"].as_array().expect("a list").clone();
    assert_eq!(lines.len(), 1 + vms.len(), "{wide:#?}");
    for line in &lines[1..] {
        let vm = vms.iter().find(|vm| vm["name"] == line[1]).expect("a VM of this name");
        assert_eq!(line[..4], ["demo", line[1], "Running", "yes"]);
        assert_eq!((line[4], line[5]), (vm["node"].as_str().unwrap(), vm["vmid"].to_string().as_str()));
        assert!(line[6].starts_with("192.0.2.") && line[7].starts_with("1."), "{line:?}");
    }
    assert_eq!(lab.run("cluster-status -o name").exits(0).stdout, "demo\n");
    assert_eq!(lab.run("cluster-status --not-ready -o name --exit-code").exits(0).stdout, "");
    let yaml: serde_json::Value =
        serde_yaml::from_str(&lab.run("cluster-status demo -o yaml").exits(0).stdout).unwrap();
    assert_eq!(yaml["cluster"]["name"], "demo");
    lab.run("cluster-status demo --wait running --exit-code").exits(0);

    let stop = |action: &str| {
        let place = format!("/nodes/{}/qemu/{}/status/{action}", vms[0]["node"].as_str().unwrap(), vms[0]["vmid"]);
        crate::access::as_root_with("POST", &lab, &place, &[]);
    };
    stop("stop");
    let broken = lab.run("cluster-status demo --exit-code --json").exits(1).json();
    assert_eq!(broken["data"]["cluster"]["name"], "demo", "{broken:#}");
    assert_eq!(lab.run("cluster-status --not-ready -o name").exits(0).stdout, "demo\n");

    lab.run("cluster-status nodemo --wait running").exits(1).says(&["Omni has no cluster `nodemo`"]);
    lab.run("cluster-status --wait gone").exits(2).says(&["<NAME>"]);
    lab.run("cluster-status demo --wait gone --timeout 1s").exits(124).says(&["nobody has asked for its deletion"]);
    lab.run("cluster-status nodemo --wait gone").exits(0).says(&["Omni has no cluster `nodemo`"]);
}
