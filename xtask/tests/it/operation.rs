//! What is done with a cluster after it was created: access, scaling, deletion.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{Options, Sandbox};

fn with_cluster(workers: u32) -> Sandbox {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    let create = format!("cluster-create demo --control-planes 1 --workers {workers} --yes --timeout 60s");
    lab.run(&create).exits(0);
    lab
}

fn vms(lab: &Sandbox) -> usize {
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
