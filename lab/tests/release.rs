//! The provider's releases create the same cluster in different ways: on which nodes and in which pools machines are placed,
//! and whether high availability manages them.
#![allow(clippy::unwrap_used)] // a test that cannot continue should panic

mod harness;

use std::collections::BTreeMap;

use harness::{CLASS, COMPOSE, Lab, cluster};
use serde_json::Value;

/// Starts a lab with this release of the provider and a cluster of this class.
fn lab(release: &str, class: &str, control_planes: u32, workers: u32) -> Lab {
    let lab = Lab::start(&[]);
    lab.set_up(&format!("{}/api2/json", lab.ready["proxmox_url"].as_str().unwrap()));
    with_cluster(lab, release, class, control_planes, workers)
}

fn with_cluster(lab: Lab, release: &str, class: &str, control_planes: u32, workers: u32) -> Lab {
    lab.project.write("docker/compose.yaml", &COMPOSE.replace(":0d9fd58", &format!(":{release}")));
    lab.start_up();
    lab.make_cluster(class, control_planes, workers);
    lab
}

fn is_running(lab: &Lab) -> bool {
    lab.dump()["omni"]["clusters"][0]["ready"] == true
}

/// Counts the machines of each set on each node: `{"demo-workers pve1": 1, …}`.
fn spread(lab: &Lab) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for vm in lab.dump()["proxmox"]["vms"].as_array().unwrap() {
        let (set, _) = vm["name"].as_str().unwrap().rsplit_once('-').unwrap();
        *out.entry(format!("{set} {}", vm["node"].as_str().unwrap())).or_default() += 1;
    }
    out
}

/// Returns the data at a Proxmox API path, requested with the provider's token.
fn proxmox(lab: &Lab, path: &str) -> Value {
    let base = format!("{}/api2/json", lab.ready["proxmox_url"].as_str().unwrap());
    let ca = std::fs::read_to_string(lab.ready["ca_file"].as_str().unwrap()).unwrap();
    let data = |reply: lab::http::Reply| {
        assert_eq!(reply.status, 200, "{path}: {}", reply.status_line());
        serde_json::from_slice::<Value>(&reply.body).unwrap()["data"].clone()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = lab::http::Client::new(Some(&ca)).unwrap();
        let token = format!("PVEAPIToken={}", lab.env("PROXMOX_VE_API_TOKEN"));
        let headers = [("authorization", token.as_str())];
        data(client.request("GET", &format!("{base}{path}"), &headers, "").await.unwrap())
    })
}

fn names(list: &Value, key: &str) -> Vec<String> {
    let mut names: Vec<String> =
        list.as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn delete(lab: &Lab) {
    let said = lab.omnictl("cluster delete demo");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(lab.dump()["proxmox"]["vms"].as_array().unwrap().len(), 0);
}

#[test]
fn v0_2_spreads_each_set_and_keeps_a_pool_for_it() {
    let lab = lab("v0.2.0", CLASS, 3, 3);
    lab.wait("six machines run", || is_running(&lab));
    let found = spread(&lab);
    assert_eq!(found.len(), 6, "one of each set on each node: {found:?}");
    assert_eq!(names(&proxmox(&lab, "/pools"), "poolid"), ["demo-control-planes", "demo-workers"]);
    assert_eq!(proxmox(&lab, "/pools/demo-workers")["members"].as_array().unwrap().len(), 3);
    delete(&lab);
    assert_eq!(proxmox(&lab, "/pools"), serde_json::json!([]), "an empty pool of its own goes");
}

#[test]
fn failed_step_is_shown_since_v0_2() {
    let class = CLASS.replace("local-lvm", "nowhere");
    for (release, shown) in [("0d9fd58", false), ("v0.2.0", true)] {
        let lab = lab(release, &class, 1, 0);
        let status = || lab.omnictl("get machinerequeststatuses -n infra-provider -o json").out;
        lab.wait("the step fails", || {
            lab.compose("logs --no-log-prefix proxmox-provider").out.contains("failed to pick the disk")
        });
        if shown {
            // The status is written to Omni after the log.
            lab.wait("the status shows it", || status().contains("failed to pick the disk"));
        } else {
            assert!(!status().contains("failed to pick the disk"), "{release}: {}", status());
        }
    }
}

#[test]
fn v0_3_gets_schematics_from_omni_and_renames_images() {
    let image = |release: &str| {
        let lab = lab(release, CLASS, 1, 0);
        lab.wait("a machine runs", || is_running(&lab));
        let vm = lab.dump()["proxmox"]["vms"][0].clone();
        let (node, id) = (vm["node"].as_str().unwrap(), vm["vmid"].as_u64().unwrap());
        let config = proxmox(&lab, &format!("/nodes/{node}/qemu/{id}/config"));
        let log = lab.compose("logs --no-log-prefix proxmox-provider").out;
        let status = lab.omnictl("get infraproviderstatuses proxmox -o json").out;
        (config["ide2"].as_str().unwrap_or_else(|| panic!("{config:#}")).to_owned(), log, status)
    };
    let (old, old_log, status) = image("v0.2.0");
    assert!(old_log.contains("createSchematic"), "{old_log}");
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["spec"]["version"], "v0.2.0", "{status:#}");
    let (new, log, _) = image("v0.3.0");
    assert_ne!(old, new, "each image is downloaded once more");
    assert!(log.contains("uploadISO") && !log.contains("createSchematic"), "{log}");
    let lab = Lab::start(&["--omni-version", "1.4.9"]);
    lab.set_up(&format!("{}/api2/json", lab.ready["proxmox_url"].as_str().unwrap()));
    let lab = with_cluster(lab, "v0.3.0", CLASS, 1, 0);
    lab.wait("Omni is too old", || {
        lab.compose("logs --no-log-prefix proxmox-provider").out.contains("requires Omni 1.8 or newer")
    });
}

#[test]
fn omni_1_10_checks_provider_names_and_versions() {
    let lab = Lab::start(&["--omni-version", "1.10.6"]);
    lab.set_up(&format!("{}/api2/json", lab.ready["proxmox_url"].as_str().unwrap()));
    assert_eq!(lab.omnictl("--version").out, "omnictl version v1.10.6 (API Version: 2)\n");
    let said = lab.omnictl("infraprovider create Rack_1");
    let text = "invalid infra provider name: \"Rack_1\" is not a valid DNS-1123 label";
    assert!(said.code == 1 && said.err.contains(text), "{said:?}");
    let lab = with_cluster(lab, "v0.3.0", CLASS, 1, 0);
    for (key, said) in [
        (
            "systemExtensions: [siderolabs/iscsi-tools, iscsi-tools]",
            "extension \"iscsi-tools\" (entry 1) is listed more than once",
        ),
        ("systemExtensions: [gone]", "extension \"gone\" (entry 0) is not available for Talos version \"1.12.1\""),
        (
            "features: {disablePublicDiscoveryService: true}",
            "can only be configured for clusters created with Talos 1.14 or newer",
        ),
    ] {
        lab.project.write("refused.yaml", &cluster(1, 0).replacen("name: demo", &format!("name: demo\n{key}"), 1));
        let call = lab.omnictl("cluster template sync -f refused.yaml");
        assert!(call.code == 1 && call.err.contains(said), "{call:?}");
    }
    lab.wait("a machine runs", || is_running(&lab));
    let status = lab.omnictl("get infraproviderstatuses proxmox -o json").out;
    assert!(serde_json::from_str::<Value>(&status).unwrap()["spec"]["version"] == "v0.3.0", "{status}");
}
