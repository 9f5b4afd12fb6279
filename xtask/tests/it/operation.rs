//! What is done with a cluster after it was created, as far as chance decides what is printed; the transcript `operation` has
//! the rest.

use std::fs;

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

/// A patch as Omni's web interface makes one.
pub fn ui_patch(id: &str, name: &str, data: &str) -> String {
    let data = data.replace('\n', "\n    ");
    format!(
        "metadata:\n  namespace: default\n  type: ConfigPatches.omni.sidero.dev\n  id: {id}\n  labels:\n    \
         omni.sidero.dev/cluster: demo\n  annotations:\n    {name}: from the UI\nspec:\n  data: |\n    {data}\n"
    )
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

#[test]
fn wide_status_prints_every_machine() {
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
    let place = format!("/nodes/{}/qemu/{}/status/stop", vms[0]["node"].as_str().unwrap(), vms[0]["vmid"]);
    crate::access::as_root_with("POST", &lab, &place, &[]);
    let broken = lab.run("cluster-status demo --exit-code --json").exits(1).json();
    assert_eq!(broken["data"]["cluster"]["name"], "demo", "{broken:#}");
    assert_eq!(lab.run("cluster-status --not-ready -o name").exits(0).stdout, "demo\n");
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
fn watch_prints_the_clusters_and_ends_with_the_time() {
    let lab = with_cluster(1);
    let words = ["demo-workers  Running, ready", "watched as long as --timeout says"];
    let once = lab.run("cluster-status demo --watch --timeout 5s").exits(0).says(&words);
    assert_eq!(once.stdout.matches("demo-workers  ").count(), 1, "nothing has changed:\n{}", once.stdout);
    lab.run("cluster-status --watch --timeout 1s").exits(0).says(&["CLUSTER", "demo"]);
    lab.run("cluster-status nodemo --watch").exits(1).says(&["Omni has no cluster `nodemo`"]);
    lab.run("cluster-status --watch --json").exits(2);
}
