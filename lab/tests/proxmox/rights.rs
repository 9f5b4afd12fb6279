//! Who is let in, and what each may do.

use std::time::Duration;

use lab::proxmox::world::{DEFAULT_ROOT_PASSWORD, DEFAULT_TOKEN_SECRET, PROVIDER_TOKEN, PROVIDER_USER};
use serde_json::{Value, json};

use crate::support::{Lab, run};

const QEMU: &str = "/nodes/pve1/qemu";

fn machine() -> Value {
    json!({
        "vmid": 100, "name": "demo", "cores": 2, "memory": 2048, "scsi0": "local-lvm:10", "onboot": 1,
        "net0": "virtio,bridge=vmbr0", "scsihw": "virtio-scsi-single", "tags": "a",
    })
}

#[test]
fn who_is_not_known_is_told_so() {
    run(async {
        let mut lab = Lab::new(1000.0).await;
        let version = async |lab: &Lab| lab.line("GET", "/version", Value::Null).await;
        assert_eq!(version(&lab).await, "200 OK");
        for (id, secret, said) in [
            (PROVIDER_TOKEN, "wrong", "401 invalid token value!"),
            ("omni@pve!other", DEFAULT_TOKEN_SECRET, "401 no such token 'other' for user 'omni@pve'"),
            ("nobody@pve!a", "b", "401 no such user ('nobody@pve')"),
            ("omni@pve", "b", "401 value 'omni@pve' does not look like a valid token ID"),
        ] {
            lab.set_token(id, secret);
            assert_eq!(version(&lab).await, said);
        }
        lab.set_headers(&[]);
        assert_eq!(version(&lab).await, "401 No ticket");
        lab.proxmox.with(|world| world.version = "9.2.11".into());
        lab.set_token(PROVIDER_TOKEN, "wrong");
        assert_eq!(version(&lab).await, "401 Authentication failed!");
    });
}

#[test]
fn tokens_and_users_grow_old() {
    run(async {
        let lab = Lab::new(1000.0).await;
        let soon = lab.clock.unix() + 60;
        lab.proxmox.with(|world| world.change_token(PROVIDER_TOKEN, |token| token.expire = soon));
        assert_eq!(lab.line("GET", "/version", Value::Null).await, "200 OK");
        lab.clock.skip(Duration::from_secs(3600));
        let line = lab.line("GET", "/version", Value::Null).await;
        assert_eq!(line, "401 token 'provider' access expired");
        lab.proxmox.with(|world| world.access.users.get_mut(PROVIDER_USER).unwrap().enabled = false);
        assert_eq!(lab.line("GET", "/version", Value::Null).await, "401 user 'omni@pve' is disabled");
    });
}

#[test]
fn a_ticket_needs_its_csrf_token_and_lasts_two_hours() {
    run(async {
        let mut lab = Lab::new(1000.0).await;
        let wrong = json!({"username": "root", "realm": "pam", "password": "wrong"});
        assert_eq!(lab.line("POST", "/access/ticket", wrong).await, "401 authentication failure");
        let right = json!({"username": "root", "realm": "pam", "password": DEFAULT_ROOT_PASSWORD});
        let login = lab.data("POST", "/access/ticket", right).await;
        assert_eq!((&login["username"], &login["clustername"]), (&json!("root@pam"), &json!("lab")));

        lab.become_root().await;
        assert_eq!(lab.data("POST", "/pools", json!({"poolid": "a"})).await, Value::Null);
        let cookie = format!("PVEAuthCookie={}", login["ticket"].as_str().unwrap());
        lab.set_headers(&[("cookie", &cookie)]);
        assert!(lab.get("/cluster/status").await.is_array());
        let line = lab.line("POST", "/pools", json!({"poolid": "b"})).await;
        assert_eq!(line, "401 Permission denied - invalid csrf token");
        lab.clock.skip(Duration::from_secs(2 * 3600 + 60));
        let line = lab.line("GET", "/version", Value::Null).await;
        assert_eq!(line, "401 permission denied - invalid PVE ticket");
    });
}

#[test]
fn every_privilege_of_the_provider_is_needed() {
    run(async {
        let storage = "/nodes/pve1/storage/local";
        let download = json!({"content": "iso", "filename": "t.iso", "url": "https://factory.talos.dev/x.iso"});
        let config = format!("{QEMU}/100/config");
        let start = format!("{QEMU}/100/status/start");
        let current = format!("{QEMU}/100/status/current");
        let image = format!("{storage}/content/local:iso/t.iso");
        let cd = json!({"ide0": "local:iso/t.iso,media=cdrom"});
        let cases = [
            ("VM.Allocate", "POST", QEMU.to_owned(), machine(), ""),
            ("VM.Config.CPU", "POST", QEMU.to_owned(), machine(), "/vms/100, VM.Config.CPU"),
            ("VM.Config.Memory", "POST", QEMU.to_owned(), machine(), "/vms/100, VM.Config.Memory"),
            ("VM.Config.HWType", "POST", QEMU.to_owned(), machine(), "/vms/100, VM.Config.HWType"),
            ("VM.Config.Network", "POST", QEMU.to_owned(), machine(), "/vms/100, VM.Config.Network"),
            ("VM.Config.Options", "POST", QEMU.to_owned(), machine(), "/vms/100, VM.Config.Options"),
            ("SDN.Use", "POST", QEMU.to_owned(), machine(), "/sdn/zones/localnetwork/vmbr0, SDN.Use"),
            (
                "Datastore.AllocateSpace",
                "POST",
                QEMU.to_owned(),
                machine(),
                "/storage/local-lvm, Datastore.AllocateSpace",
            ),
            ("VM.Config.CDROM", "POST", config.clone(), cd, "/vms/100, VM.Config.CDROM"),
            ("VM.Config.Disk", "POST", config, json!({"boot": "order=scsi0"}), "/vms/100, VM.Config.Disk"),
            ("VM.PowerMgmt", "POST", start, Value::Null, "/vms/100, VM.PowerMgmt"),
            ("VM.Audit", "GET", current, Value::Null, "/vms/100, VM.Audit"),
            ("Sys.Audit", "GET", "/nodes/pve1/status".into(), Value::Null, "/nodes/pve1, Sys.Audit"),
            ("Sys.AccessNetwork", "POST", format!("{storage}/download-url"), download.clone(), ""),
            (
                "Datastore.AllocateTemplate",
                "POST",
                format!("{storage}/download-url"),
                download,
                "/storage/local, Datastore.AllocateTemplate",
            ),
            ("Datastore.Allocate", "DELETE", image, Value::Null, "/storage/local, Datastore.Allocate"),
            ("Pool.Allocate", "POST", "/pools".into(), json!({"poolid": "x"}), "/pool/x, Pool.Allocate"),
        ];
        for (privilege, method, path, body, missing) in cases {
            let lab = Lab::new(1000.0).await;
            if path.contains("/100") {
                assert_eq!(lab.task("POST", QEMU, machine()).await, "OK");
            }
            assert!(lab.proxmox.with(|world| world.revoke_privilege(privilege)), "{privilege}");
            let expected = match missing {
                "" => "403 Permission check failed".to_owned(),
                missing => format!("403 Permission check failed ({missing})"),
            };
            assert_eq!(lab.line(method, &path, body).await, expected, "{privilege}");
        }
    });
}

#[test]
fn what_may_not_be_seen_is_not_listed() {
    run(async {
        let lab = Lab::new(1000.0).await;
        assert_eq!(lab.task("POST", QEMU, machine()).await, "OK");
        lab.proxmox.with(|world| {
            world.access.grant("/vms/100", PROVIDER_USER, "NoAccess");
            world.revoke_path("/storage/vm_ssd", PROVIDER_USER);
            world.revoke_path("/nodes", PROVIDER_USER);
        });
        assert_eq!(lab.get(QEMU).await, json!([]));
        assert_eq!(lab.get("/cluster/resources?type=vm").await, json!([]));
        assert_eq!(lab.get("/nodes/pve1/storage").await.as_array().unwrap().len(), 2);
        assert_eq!(lab.get("/storage").await.as_array().unwrap().len(), 2);
        let node = lab.get("/nodes").await[0].take();
        assert_eq!((&node["status"], &node["maxmem"]), (&json!("online"), &Value::Null));
        let bridges = lab.get("/nodes/pve1/network").await;
        assert_eq!(
            bridges.as_array().unwrap().iter().map(|entry| &entry["iface"]).collect::<Vec<_>>(),
            ["vmbr0", "vmbr1"]
        );
    });
}

#[test]
fn the_tree_of_permissions_is_what_is_enforced() {
    run(async {
        let lab = Lab::new(1000.0).await;
        let tree = lab.get("/access/permissions").await;
        assert_eq!(
            tree["/storage/local"],
            json!({
                "Datastore.Allocate": 1, "Datastore.AllocateTemplate": 1, "Datastore.Audit": 1,
            })
        );
        assert_eq!(tree["/"], Value::Null);
        assert_eq!(tree["/vms"].as_object().unwrap().len(), 10);
        let one = lab.get("/access/permissions?path=/vms/100").await;
        assert_eq!(one["/vms/100"]["VM.PowerMgmt"], 1);
        let line = lab.line("GET", "/access/permissions?userid=root@pam", Value::Null).await;
        assert_eq!(line, "403 Permission check failed (/access, Sys.Audit)");
    });
}

#[test]
fn an_administrator_sets_it_up_as_the_documentation_says() {
    run(async {
        let mut lab = Lab::new(1000.0).await;
        lab.become_root().await;
        let role = json!({"roleid": "KitVM", "privs": "VM.Audit,VM.PowerMgmt"});
        assert_eq!(lab.data("POST", "/access/roles", role.clone()).await, Value::Null);
        assert_eq!(
            lab.line("POST", "/access/roles", role).await,
            "500 create role failed: role 'KitVM' already exists"
        );
        let old = json!({"roleid": "Old", "privs": "VM.Monitor"});
        assert_eq!(
            lab.line("POST", "/access/roles", old).await,
            "500 create role failed: invalid privilege 'VM.Monitor'"
        );
        assert_eq!(lab.data("POST", "/access/users", json!({"userid": "kit@pve"})).await, Value::Null);
        let acl = json!({"path": "/vms", "users": "kit@pve", "roles": "KitVM"});
        assert_eq!(lab.data("PUT", "/access/acl", acl).await, Value::Null);
        let made = lab.data("POST", "/access/users/kit@pve/token/cut", Value::Null).await;
        assert_eq!((&made["full-tokenid"], &made["info"]["privsep"]), (&json!("kit@pve!cut"), &json!(1)));
        let secret = made["value"].as_str().unwrap().to_owned();
        let shown = lab.get("/access/users/kit@pve").await;
        assert!(shown["tokens"]["cut"].is_object() && !shown.to_string().contains(&secret));

        // With privilege separation the token has nothing until it is given its own.
        lab.set_token("kit@pve!cut", &secret);
        assert_eq!(lab.get("/access/permissions").await, json!({}));
        lab.become_root().await;
        let acl = json!({"path": "/vms", "tokens": "kit@pve!cut", "roles": "PVEVMAdmin"});
        assert_eq!(lab.data("PUT", "/access/acl", acl).await, Value::Null);
        lab.set_token("kit@pve!cut", &secret);
        assert_eq!(lab.get("/access/permissions").await, json!({"/vms": {"VM.Audit": 1, "VM.PowerMgmt": 1}}));

        lab.become_root().await;
        for (body, said) in [
            (json!({"path": "/vms/x", "users": "kit@pve", "roles": "KitVM"}), "400 Parameter verification failed."),
            (json!({"path": "/", "roles": "KitVM"}), "400 Parameter verification failed."),
            (
                json!({"path": "/", "users": "no@pve", "roles": "KitVM"}),
                "500 ACL update failed: user 'no@pve' does not exist",
            ),
            (
                json!({"path": "/", "users": "kit@pve", "roles": "No"}),
                "500 ACL update failed: role 'No' does not exist",
            ),
        ] {
            assert_eq!(lab.line("PUT", "/access/acl", body).await, said);
        }
        assert_eq!(lab.data("DELETE", "/access/users/kit@pve", Value::Null).await, Value::Null);
        let acl = lab.get("/access/acl").await.to_string();
        assert!(!acl.contains("kit@pve") && acl.contains("omni@pve"), "{acl}");
    });
}

#[test]
fn acl_grants_no_more_than_the_caller_has() {
    run(async {
        let lab = Lab::new(1000.0).await;
        let acl = |role: &str| json!({"path": "/vms/100", "users": "omni@pve", "roles": role});
        let reply = lab.call("PUT", "/access/acl", acl("Administrator")).await;
        let why = "Cannot add role 'Administrator' - requires 'Permissions.Modify' or superset of privileges.";
        assert_eq!(reply.value().unwrap()["errors"], json!({"role": why}));
        assert_eq!(lab.data("PUT", "/access/acl", acl("OmniVM")).await, Value::Null);
        let other = json!({"path": "/", "users": "omni@pve", "roles": "OmniVM"});
        assert_eq!(lab.line("PUT", "/access/acl", other).await, "403 Permission check failed (/, Permissions.Modify)");
        let login = json!({"username": "omni@pve", "password": ""});
        assert_eq!(lab.line("POST", "/access/ticket", login).await, "401 authentication failure");
    });
}
