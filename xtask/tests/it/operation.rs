//! What is done with a cluster after it was created, as far as chance decides what is printed; the transcripts
//! `operation` and `other-names` have the rest.

use crate::sandbox::Sandbox;

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
