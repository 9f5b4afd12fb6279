//! Runs a complete life cycle with the real binary, and tests the ways in which a lab ends.
#![allow(clippy::unwrap_used)] // a test that cannot continue should panic

mod harness;

use std::process::Command;

use harness::{CLASS, CallResult, LAB, Lab, cluster};
use serde_json::Value;

fn vms(lab: &Lab) -> Vec<Value> {
    lab.dump()["proxmox"]["vms"].as_array().unwrap().clone()
}

fn is_ready(lab: &Lab) -> bool {
    lab.dump()["omni"]["clusters"][0]["ready"] == true
}

fn start_with_cluster(args: &[&str], control_planes: u32, workers: u32) -> Lab {
    let lab = Lab::start(args);
    lab.up();
    lab.make_cluster(CLASS, control_planes, workers);
    lab
}

#[test]
fn cluster_is_created_scaled_and_deleted() {
    let lab = start_with_cluster(&[], 3, 3);
    lab.wait("six machines run", || is_ready(&lab));
    let found = vms(&lab);
    assert_eq!(found.len(), 6);
    assert!(found.iter().all(|vm| vm["status"] == "running" && vm["storage"] == "local-lvm" && vm["disk_gib"] == 40));
    let status = lab.omnictl("get clusterstatus demo");
    let row: Vec<&str> = status.out.lines().nth(1).unwrap().split_whitespace().skip(4).collect();
    assert_eq!(row, ["true", "3", "6", "6"], "{status:?}");

    lab.project.write("cluster.yaml", &cluster(3, 1));
    let said = lab.omnictl("cluster template sync -f cluster.yaml");
    assert_eq!(said.out, "* updating MachineSets.omni.sidero.dev(demo-workers)\n", "{said:?}");
    lab.wait("two workers leave", || vms(&lab).len() == 4 && is_ready(&lab));
    assert!(vms(&lab).iter().filter(|vm| vm["name"].as_str().unwrap().contains("workers")).count() == 1);

    let said = lab.omnictl("delete machineclass worker");
    assert!(said.err.contains("still in use by machine sets: demo-control-planes, demo-workers"), "{said:?}");
    let said = lab.omnictl("cluster delete demo");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.out, "* tearing down Clusters.omni.sidero.dev(demo)\n* destroyed Clusters.omni.sidero.dev(demo)\n");
    assert_eq!(vms(&lab).len(), 0);
    for typ in ["machines", "links", "machinerequests", "machinesets", "clusterstatuses", "clustermachines"] {
        assert_eq!(lab.omnictl(&format!("get {typ} -o json")).out, "", "{typ}");
    }
    let said = lab.omnictl("delete machineclass worker");
    assert_eq!((said.code, said.err.as_str()), (0, "destroyed MachineClasses.omni.sidero.dev worker\n"));
}

/// A machine whose request is deleted is replaced by a new one.
#[test]
fn deleted_request_is_replaced() {
    let lab = start_with_cluster(&[], 1, 1);
    lab.wait("two machines run", || is_ready(&lab));
    let found = lab.omnictl("get machinerequests -l omni.sidero.dev/machine-request-set=demo-workers -o json");
    let request = serde_json::from_str::<Value>(&found.out).unwrap()["metadata"]["id"].as_str().unwrap().to_owned();
    let said = lab.omnictl(&format!("delete machinerequest {request}"));
    assert_eq!(said.code, 0, "{said:?}");
    lab.wait("another machine runs", || {
        is_ready(&lab) && vms(&lab).len() == 2 && vms(&lab).iter().all(|vm| vm["name"] != request.as_str())
    });
}

fn check_nothing_is_left(lab: &Lab) {
    let dir = lab.dir.0.join("lab");
    for file in ["env", "lab.json", "ca.pem", "bin/.lab.json", "bin/omnictl", "bin/docker", "bin/pveum"] {
        assert!(!dir.join(file).exists(), "{file}");
    }
    let port = |url: &str| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    for url in ["proxmox_url", "omni_endpoint"] {
        let port = port(lab.ready[url].as_str().unwrap());
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{url} still answers");
    }
}

#[test]
fn lab_ends_on_stdin_end_signal_and_stop() {
    let mut lab = start_with_cluster(&[], 1, 0);
    assert_eq!(lab.close_stdin(), Some(0));
    check_nothing_is_left(&lab);
    for line in ["kill -TERM $PID", "kill -INT $PID", "$LAB stop --dir $DIR"] {
        let mut lab = Lab::start(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("PID", lab.pid().to_string()).env("LAB", LAB).env("DIR", lab.dir.0.join("lab"));
        assert_eq!(CallResult::from(shell.output().unwrap()).code, 0, "{line}");
        assert_eq!(lab.wait_for_exit(), Some(0), "{line}");
        check_nothing_is_left(&lab);
        assert!(!std::path::Path::new(&format!("/proc/{}", lab.pid())).exists(), "{line}");
        let again =
            CallResult::from(Command::new(LAB).args(["stop", "--dir"]).arg(lab.dir.0.join("lab")).output().unwrap());
        assert!(again.code == 1 && again.err.contains("no lab runs in"), "{again:?}");
    }
}

#[test]
fn files_are_private_and_ready_line_has_no_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::start(&[]);
    let dir = lab.dir.0.join("lab");
    let mode = |path: &str| std::fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    for file in ["env", "lab.json", "bin/.lab.json"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    let shown = lab.ready.to_string();
    for name in ["OMNI_SERVICE_ACCOUNT_KEY", "PROXMOX_VE_API_TOKEN"] {
        assert!(!shown.contains(lab.env(name)), "{name}");
    }
    let cmdline = std::fs::read_to_string(format!("/proc/{}/cmdline", lab.pid())).unwrap();
    assert!(!cmdline.contains(lab.env("OMNI_SERVICE_ACCOUNT_KEY")));
}

#[test]
fn wrong_arguments_are_refused() {
    for (args, code, wanted) in [
        (&["serve"][..], 2, "--dir <DIR>"),
        (&["serve", "--dir", "/tmp/x", "--fault", "nope"], 1, "there is no fault \"nope\""),
        (&["serve", "--dir", "/tmp/x", "--clock", "0"], 2, "time must pass"),
        (&["serve", "--dir", "/tmp/x", "--omni-version", "2"], 2, "use 1.10.6, 1.9.3 or 1.4.9"),
        (&["serve", "--dir", "/tmp/x", "--nodes", "0"], 1, "--nodes 0"),
        (&["nope"], 2, "unrecognized subcommand 'nope'"),
        (&["proxmox", "--port", "1"], 2, "unexpected argument '--port'"),
    ] {
        let said: CallResult = Command::new(LAB).args(args).output().unwrap().into();
        assert_eq!(said.code, code, "{args:?}");
        assert!(said.err.contains(wanted), "{args:?}: {said:?}");
    }
    let said: CallResult = Command::new(LAB).arg("faults").output().unwrap().into();
    let faults: Value = serde_json::from_str(&said.out).unwrap();
    assert!(faults.as_array().unwrap().len() >= 15);
}
