//! `proxmox-audit` and `proxmox-inventory` of a login that sees only a part. What they print is in the transcripts `proxmox`,
//! `access` and `plans`.

use serde_json::json;

use crate::audit_proxmox::{Project, Proxmox};
use crate::sandbox::{Sandbox, pin};

const VM: &[&str] = &[
    "VM.Allocate",
    "VM.Audit",
    "VM.PowerMgmt",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
];

/// A login with the least that the pinned provider needs for the kit's own clusters.
fn enough() -> Proxmox {
    let proxmox = Proxmox::start();
    proxmox.grant("/vms/100", VM);
    for node in ["pve1", "pve2", "pve3"] {
        proxmox.grant(&format!("/nodes/{node}"), &["Sys.Audit", "Sys.AccessNetwork"]);
    }
    proxmox.grant("/storage/local", &["Datastore.Audit", "Datastore.AllocateTemplate", "Datastore.Allocate"]);
    proxmox.grant("/storage/vm_ssd", &["Datastore.Audit", "Datastore.AllocateSpace"]);
    proxmox.grant("/sdn/zones/localnetwork/vmbr0", &["SDN.Use"]);
    for set in ["matrix-control-planes", "matrix-workers"] {
        proxmox.grant(&format!("/pool/{set}"), &["Pool.Allocate", "Pool.Audit"]);
    }
    proxmox
}

#[test]
fn a_login_that_may_everything_passes() {
    let (status, document) = Project::new().json(Some(&enough()), &["proxmox-audit"]);
    assert_eq!(status, 0, "{document:#}");
    let data = &document["data"];
    assert_eq!(
        (&data["script"], &data["provider_version"], &data["proxmox_version"]),
        (&json!(""), &json!(format!("v{}", pin("provider"))), &json!("9.0.10"))
    );
    let rows = data["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["status"] != "missing"), "{rows:?}");
    let download = rows.iter().find(|row| row["privilege"] == "Sys.AccessNetwork").unwrap();
    assert_eq!(download["call"], "POST /nodes/pve1/storage/local/download-url");
    assert_eq!(download["alternatives"], json!(["Sys.Audit and Sys.Modify on /"]));
}

#[test]
fn what_is_missing_is_named_and_granted_by_the_script() {
    let (status, document) = Project::new().json(Some(&Proxmox::start()), &["proxmox-audit"]);
    assert_eq!(status, 1);
    assert_eq!(document["error"]["code"], "failed");
    let script = document["data"]["script"].as_str().unwrap();
    for line in [
        "pveum role add OmniNode --privs Sys.AccessNetwork,Sys.Audit",
        "pveum acl modify /nodes --users omni@pve --tokens 'omni@pve!provider' --roles OmniNode",
        "pveum acl modify /storage/vm_ssd --users omni@pve --tokens 'omni@pve!provider' --roles OmniDisk",
    ] {
        assert!(script.contains(line), "{line}\n{script}");
    }
    assert!(!script.contains("local-lvm"), "no class uses it\n{script}");
}

#[test]
fn no_access_is_taken_away_where_it_stands() {
    let entry = |kind: &str, who: &str, path: &str, role: &str| json!({"path": path, "type": kind, "ugid": who, "roleid": role});
    let proxmox = enough();
    proxmox.forget("/nodes/pve2");
    let audit = |proxmox: &Proxmox| {
        let (status, document) = Project::new().json(Some(proxmox), &["proxmox-audit"]);
        assert_eq!(status, 1);
        document["data"]["script"].as_str().unwrap().to_owned()
    };
    let delete = "pveum acl delete /nodes/pve2 --users omni@pve --tokens 'omni@pve!provider' --roles NoAccess\n";
    let grant = "pveum acl modify /nodes/pve2 --users omni@pve --tokens 'omni@pve!provider' --roles OmniNode\n";
    assert!(!audit(&proxmox).contains("NoAccess"), "nothing tells of it");
    // Shown by Proxmox: the entry must be made on that very path, and comes to nothing beside NoAccess.
    proxmox.answer("/access/acl", json!([entry("user", "omni@pve", "/nodes/pve2", "NoAccess")]));
    let script = audit(&proxmox);
    assert!(script.find(delete).unwrap() < script.find(grant).unwrap(), "{script}");
    assert!(!script.contains("modify /nodes "), "{script}");
    // A group's entry is beaten by the user's own.
    proxmox.answer("/access/acl", json!([entry("group", "ops", "/nodes/pve2", "NoAccess")]));
    let script = audit(&proxmox);
    assert!(script.contains(grant) && !script.contains("NoAccess"), "{script}");
    // Not shown, and known from what comes from above and does not arrive.
    proxmox.answer("/access/acl", json!([]));
    proxmox.grant("/nodes", &["Sys.Audit", "Sys.AccessNetwork"]);
    // Without Sys.Audit on it, a node is listed without its figures.
    let node = |name: &str| json!({"node": name, "status": "online", "maxmem": 64u64 << 30, "mem": 0, "maxcpu": 16});
    proxmox.answer("/nodes", json!([node("pve1"), {"node": "pve2", "status": "online"}, node("pve3")]));
    let script = audit(&proxmox);
    assert!(script.contains(delete) && script.contains(grant), "{script}");
}

#[test]
fn a_storage_that_the_login_may_not_see_is_known_from_the_selector() {
    let proxmox = enough();
    for node in ["pve1", "pve2", "pve3"] {
        proxmox.answer(&format!("/nodes/{node}/storage"), json!([]));
    }
    let (status, document) = Project::new().json(Some(&proxmox), &["proxmox-audit"]);
    // All is granted on the names that count; only, nothing is seen of them.
    assert_eq!(status, 0, "{document:#}");
    let rows = document["data"]["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["path"] == "/storage/vm_ssd" && row["privilege"] == "Datastore.AllocateSpace"));
    let warnings = document["data"]["warnings"].to_string();
    assert!(warnings.contains("no storage for ISO images is seen on pve1, pve2, pve3"), "{warnings}");
}

#[test]
fn the_release_decides_what_is_needed() {
    let proxmox = enough();
    for (release, pools) in [("0d9fd58", 0), ("v0.1.0", 4), ("v0.3.0", 4)] {
        let (status, document) = Project::new().json(Some(&proxmox), &["proxmox-audit", "--provider-version", release]);
        assert_eq!(status, 0);
        let rows = document["data"]["rows"].as_array().unwrap();
        assert_eq!(
            rows.iter().filter(|row| row["path"].as_str().unwrap().starts_with("/pool/")).count(),
            pools,
            "{release}"
        );
    }
    let (status, _, stderr) = Project::new().run(None, &["proxmox-audit", "--provider-version", "v9"]);
    assert_eq!(status, 2);
    assert!(stderr.contains("0d9fd58"), "{stderr}");
}

#[test]
fn what_the_login_may_see_of_itself_is_warned_of() {
    let proxmox = enough();
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 10 * 86_400 + 60;
    proxmox.answer("/access/users/omni@pve", json!({"tokens": {"provider": {"privsep": 0, "expire": soon}}}));
    proxmox.grant("/", &["Permissions.Modify", "Sys.Audit"]);
    let (status, document) = Project::new().json(Some(&proxmox), &["proxmox-audit"]);
    assert_eq!(status, 0);
    let warnings = document["data"]["warnings"].to_string();
    assert!(warnings.contains("the token expires in 10 days"), "{warnings}");
    assert!(warnings.contains("administrator"), "{warnings}");
}

#[test]
fn what_cannot_be_seen_is_unknown_with_its_reason() {
    let proxmox = Proxmox::start();
    proxmox.answer("/nodes", json!([{"node": "pve1", "status": "online"}, {"node": "pve2", "status": "offline"}]));
    proxmox.refuse("/nodes/pve1/storage", "403 Permission check failed (/storage, Datastore.Audit)");
    let (status, document) = Project::new().json(Some(&proxmox), &["proxmox-inventory"]);
    assert_eq!(status, 0, "{document:#}");
    let nodes = &document["data"]["nodes"];
    let why = |value: &serde_json::Value| value["unknown"].as_str().unwrap_or_default().to_owned();
    assert_eq!(why(&nodes[0]["figures"]), "the login lacks Sys.Audit on /nodes/pve1");
    assert!(why(&nodes[0]["storages"]).contains("Datastore.Audit"), "{nodes:#}");
    assert_eq!(nodes[0]["vms"]["known"], json!([]));
    assert_eq!(why(&nodes[1]["storages"]), "the node is offline");
    let asked = proxmox.asked.lock().unwrap();
    assert!(asked.iter().all(|path| !path.starts_with("/nodes/pve2")), "an offline node is not asked: {asked:?}");
}

/// A call that the lab does not implement makes it less like Proxmox than it is: a task would take it for a refusal.
#[test]
fn lab_implements_what_the_tasks_ask_of_proxmox() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes").exits(0);
    for line in
        ["proxmox-audit", "proxmox-inventory", "provider-verify", "doctor", "cluster-status demo", "cluster-plan"]
    {
        let ran = lab.run(&format!("{line} --json"));
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("not implemented"), "{line}: {ran:#?}");
    }
}
