//! Who is let in, and what each may do.

use std::time::Duration;

use lab::proxmox::world::{DEFAULT_ROOT_PASSWORD, DEFAULT_TOKEN_SECRET, PROVIDER_TOKEN};
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
