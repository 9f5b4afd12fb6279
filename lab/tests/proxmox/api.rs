//! A VM's life, its parameters, tasks and storages: what works and what each mistake is answered with.

use lab::proxmox::world::GIB;
use serde_json::{Value, json};

use crate::support::{Lab, cidata, run};

const QEMU: &str = "/nodes/pve1/qemu";

/// A machine as the provider asks for it, without an image.
fn machine(vmid: u32) -> Value {
    json!({
        "vmid": vmid, "name": format!("demo-{vmid}"), "cores": 4, "sockets": 1, "memory": 8192, "cpu": "x86-64-v2-AES",
        "scsi0": "local-lvm:40,ssd=1,discard=on", "scsihw": "virtio-scsi-single", "onboot": 1,
        "net0": "virtio,bridge=vmbr0,firewall=1", "agent": "enabled=true", "tags": "machine-request.demo",
        "smbios1": "uuid=51a84c75-dc34-4913-a463-995e4290e011",
    })
}

fn with(mut machine: Value, name: &str, value: Value) -> Value {
    machine[name] = value;
    machine
}

/// The errors of a call that must fail its parameters.
async fn errors(lab: &Lab, method: &str, path: &str, body: Value) -> Value {
    let reply = lab.call(method, path, body).await;
    assert_eq!(reply.status_line(), "400 Parameter verification failed.");
    reply.value().unwrap()["errors"].take()
}

#[test]
fn a_machine_is_made_changed_and_destroyed() {
    run(async {
        let lab = Lab::new(1000.0).await;
        assert_eq!(lab.get("/cluster/nextid").await, "100");
        assert_eq!(lab.task("POST", QEMU, machine(100)).await, "OK");
        let config = lab.get(&format!("{QEMU}/100/config")).await;
        assert_eq!((&config["cores"], &config["memory"], &config["onboot"]), (&json!(4), &json!("8192"), &json!(1)));
        assert_eq!(config["scsi0"], "local-lvm:vm-100-disk-0,discard=on,size=40G,ssd=1");
        assert_eq!(config["boot"], "order=scsi0;net0");
        let net = config["net0"].as_str().unwrap();
        assert!(net.starts_with("virtio=BC:24:11:") && net.ends_with(",bridge=vmbr0,firewall=1"), "{net}");
        assert_eq!(lab.get("/cluster/nextid").await, "101");
        let status = lab.get(&format!("{QEMU}/100/status/current")).await;
        assert_eq!(
            (&status["status"], &status["agent"], &status["ha"]),
            (&json!("stopped"), &json!(1), &json!({"managed": 0}))
        );

        assert_eq!(lab.upload("pve1", "local", "user-data-100.iso", &cidata(51_200)).await.status, 200);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let change = json!({"ide0": "local:iso/user-data-100.iso,media=cdrom", "boot": "order=scsi0;net0;ide0", "tags": "b;a;b"});
        assert_eq!(lab.task("POST", &format!("{QEMU}/100/config"), change).await, "OK");
        assert_eq!(lab.data("PUT", &format!("{QEMU}/100/config"), json!({"delete": "onboot"})).await, Value::Null);
        let config = lab.get(&format!("{QEMU}/100/config")).await;
        assert_eq!((&config["tags"], &config["onboot"]), (&json!("a;b"), &Value::Null));
        assert_eq!(config["ide0"], "local:iso/user-data-100.iso,media=cdrom,size=50K");

        let mut events = lab.proxmox.subscribe();
        assert_eq!(lab.task("POST", &format!("{QEMU}/100/status/start"), Value::Null).await, "OK");
        assert_eq!(events.recv().await.unwrap().cidata.map(|data| data.len()), Some(51_200));
        let again = lab.task("POST", &format!("{QEMU}/100/status/start"), Value::Null).await;
        assert_eq!(again, "VM 100 already running");
        let line = lab.line("DELETE", &format!("{QEMU}/100"), Value::Null).await;
        assert_eq!(line, "500 VM 100 is running - destroy failed");
        assert_eq!(lab.task("POST", &format!("{QEMU}/100/status/shutdown"), Value::Null).await, "OK");
        assert_eq!(lab.task("DELETE", &format!("{QEMU}/100"), Value::Null).await, "OK");
        let line = lab.line("GET", &format!("{QEMU}/100/config"), Value::Null).await;
        assert_eq!(line, "500 Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist");
        let disks = lab.get("/nodes/pve1/storage/local-lvm/content").await;
        assert_eq!(disks, json!([]));
    });
}

#[test]
fn wrong_parameters_are_answered_as_pve_answers_them() {
    run(async {
        let lab = Lab::new(1000.0).await;
        let unknown = "property is not defined in schema and the schema does not allow additional properties";
        for (name, value, said) in [
            ("sockets", json!(0), "value must have a minimum value of 1".to_owned()),
            (
                "machine",
                json!("i440fx"),
                "invalid format - format error\nmachine.type: value does not match the regex pattern\n".into(),
            ),
            ("scsi0", json!("local:40"), String::new()),
            ("colour", json!("red"), unknown.into()),
            ("name", json!("under_score"), "invalid format - value does not look like a valid DNS name\n".into()),
            ("cores", json!("two"), "type check ('integer') failed - got 'two'".into()),
            (
                "memory",
                json!(8),
                "invalid format - format error\nmemory.current: value must have a minimum value of 16\n".into(),
            ),
            ("vmid", json!(99), "value must have a minimum value of 100".into()),
            ("hugepages", json!("2MB"), "value '2MB' does not have a value in the enumeration 'any, 2, 1024'".into()),
        ] {
            if name == "scsi0" {
                continue; // below: it takes another privilege first
            }
            let errors = errors(&lab, "POST", QEMU, with(machine(100), name, value)).await;
            assert_eq!(errors, json!({name: said}));
        }
        lab.proxmox.with(|world| world.access.grant("/storage/local", "omni@pve", "PVEDatastoreAdmin"));
        let errors = errors(&lab, "POST", QEMU, with(machine(100), "scsi0", json!("local:40"))).await;
        assert_eq!(errors, json!({"storage": "storage 'local' does not support vm images"}));
        let line = lab.line("POST", QEMU, with(machine(100), "hugepages", json!("2"))).await;
        assert_eq!(line, "500 only root can set 'hugepages' config");
        assert!(lab.proxmox.dump()["vms"].as_array().unwrap().is_empty());
    });
}

#[test]
fn a_vmid_is_taken_at_once_and_by_one() {
    run(async {
        let lab = Lab::new(20.0).await;
        let first = lab.data("POST", QEMU, machine(100)).await;
        let line = lab.line("POST", "/nodes/pve2/qemu", machine(100)).await;
        assert_eq!(line, "500 unable to create VM 100 - VM 100 already exists on node 'pve1'");
        let line = lab.line("POST", &format!("{QEMU}/100/config"), json!({"tags": "x"})).await;
        assert_eq!(line, "500 VM is locked (create)");
        assert_eq!(lab.finish(&first).await, "OK");
    });
}

#[test]
fn what_fails_in_a_task_leaves_nothing_behind() {
    run(async {
        let lab = Lab::new(1000.0).await;
        let missing = with(machine(100), "cdrom", json!("local:iso/gone.iso"));
        let upid = lab.data("POST", QEMU, missing).await;
        let why = "unable to create VM 100 - volume 'local:iso/gone.iso' does not exist";
        assert_eq!(lab.finish(&upid).await, why);
        assert_eq!(lab.log(&upid).await.last().unwrap(), &format!("TASK ERROR: {why}"));

        lab.proxmox.with(|world| world.fill_storage("local-lvm", 0));
        let full = lab.task("POST", QEMU, with(machine(100), "scsi1", json!("vm_ssd:10"))).await;
        assert!(full.contains("Cannot create new thin volume"), "{full}");
        assert_eq!(lab.get("/cluster/nextid").await, "100");
        assert_eq!(lab.get("/nodes/pve1/storage/vm_ssd/content").await, json!([]));
    });
}

#[test]
fn images_are_downloaded_listed_and_removed() {
    run(async {
        let lab = Lab::new(100.0).await;
        let storage = "/nodes/pve1/storage/local";
        let ask = json!({"content": "iso", "filename": "t.iso", "url": "https://factory.talos.dev/image/a/1/nocloud-amd64.iso"});
        let line = lab.line("GET", &format!("{storage}/content/local:iso/t.iso"), Value::Null).await;
        assert_eq!(line, "500 volume_size_info on 'local:iso/t.iso' failed - no format");
        let used = async || {
            let found = lab.get("/nodes/pve1/storage").await;
            let local = found.as_array().unwrap().iter().find(|entry| entry["storage"] == "local").unwrap();
            local["used"].as_u64().unwrap()
        };
        let before = used().await;
        assert_eq!(lab.task("POST", &format!("{storage}/download-url"), ask.clone()).await, "OK");
        let info = lab.get(&format!("{storage}/content/local:iso/t.iso")).await;
        assert_eq!((&info["format"], &info["path"]), (&json!("iso"), &json!("/var/lib/vz/template/iso/t.iso")));
        assert_eq!(used().await - before, info["size"].as_u64().unwrap());
        let again = lab.task("POST", &format!("{storage}/download-url"), ask.clone()).await;
        assert_eq!(again, "refusing to override existing file '/var/lib/vz/template/iso/t.iso'");

        lab.proxmox.with(|world| world.fill_storage("local", GIB >> 10));
        let ask = with(ask, "filename", json!("u.iso"));
        let full = lab.data("POST", &format!("{storage}/download-url"), ask.clone()).await;
        assert_eq!(lab.finish(&full).await, "download failed: command 'wget' failed: exit code 3");
        assert!(lab.log(&full).await.iter().any(|line| line.contains("No space left on device")));
        let errors = errors(&lab, "POST", &format!("{storage}/download-url"), with(ask, "url", json!("ftp://x"))).await;
        assert_eq!(errors, json!({"url": "value does not match the regex pattern"}));
        assert_eq!(lab.task("DELETE", &format!("{storage}/content/local:iso/t.iso"), Value::Null).await, "OK");
        assert_eq!(lab.get(&format!("{storage}/content?content=iso")).await, json!([]));
    });
}

#[test]
fn nodes_that_are_gone_or_were_never_there() {
    run(async {
        let lab = Lab::new(1000.0).await;
        lab.proxmox.with(|world| world.set_node_online("pve3", false));
        let reply = lab.call("GET", "/nodes/pve3/status", Value::Null).await;
        assert_eq!((reply.status_line().as_str(), reply.body.len()), ("595 No route to host", 0));
        let line = lab.line("GET", "/nodes/pve9/status", Value::Null).await;
        assert!(line.starts_with("500 hostname lookup 'pve9' failed - failed to get address info"), "{line}");
        let nodes = lab.get("/nodes").await;
        let gone = nodes.as_array().unwrap().iter().find(|node| node["node"] == "pve3").unwrap();
        assert_eq!((&gone["status"], &gone["maxmem"]), (&json!("offline"), &Value::Null));
        assert!(lab.get("/nodes/pve1/status").await["memory"]["total"].is_u64());
    });
}

/// The refusals of PVE 9 for a rule about what is not there.
#[test]
fn ha_rules_name_managed_resources_and_nodes_that_exist() {
    run(async {
        let mut lab = Lab::new(1000.0).await;
        assert_eq!(lab.task("POST", QEMU, machine(100)).await, "OK");
        lab.become_root().await;
        let rule = |nodes: &str, resources: &str| json!({"rule": "r", "type": "node-affinity", "nodes": nodes, "resources": resources});
        for (nodes, resources, why) in [
            ("pve1", "vm:999", "create HA rules failed: cannot use unmanaged resource(s) vm:999."),
            ("pve1", "vm:100,vm:7000", "create HA rules failed: cannot use unmanaged resource(s) vm:100, vm:7000."),
        ] {
            let reply = lab.call("POST", "/cluster/ha/rules", rule(nodes, resources)).await;
            assert_eq!(reply.status_line(), format!("500 {why}"));
        }
        assert_eq!(lab.data("POST", "/cluster/ha/resources", json!({"sid": "vm:100"})).await, Value::Null);
        for nodes in ["pve1,nonode", "nonode:2"] {
            let reply = lab.call("POST", "/cluster/ha/rules", rule(nodes, "vm:100")).await;
            assert_eq!(reply.status_line(), "500 create HA rules failed: cannot use non-existant node(s) nonode.");
        }
        assert_eq!(lab.get("/cluster/ha/rules").await, json!([]), "nothing was kept");
        assert_eq!(lab.data("POST", "/cluster/ha/rules", rule("pve1:2,pve2", "vm:100")).await, Value::Null);
        let change = json!({"type": "node-affinity", "nodes": "nonode", "resources": "vm:100"});
        let reply = lab.call("PUT", "/cluster/ha/rules/r", change.clone()).await;
        assert_eq!(reply.status_line(), "500 update HA rules failed: cannot use non-existant node(s) nonode.");
        let reply = lab.call("PUT", "/cluster/ha/rules/x", change).await;
        assert_eq!(reply.status_line(), "500 update HA rules failed: HA rule 'x' does not exist");
    });
}

#[test]
fn machines_can_be_managed_by_ha_and_belong_to_a_pool() {
    run(async {
        let mut lab = Lab::new(1000.0).await;
        assert_eq!(lab.data("POST", "/pools", json!({"poolid": "demo", "comment": "by omni"})).await, Value::Null);
        let line = lab.line("POST", "/pools", json!({"poolid": "demo"})).await;
        assert_eq!(line, "500 create pool failed: pool 'demo' already exists");
        assert_eq!(lab.task("POST", QEMU, with(machine(100), "pool", json!("demo"))).await, "OK");
        assert_eq!(lab.get("/pools/demo").await["members"][0]["vmid"], 100);
        let line = lab.line("POST", QEMU, with(machine(101), "pool", json!("gone"))).await;
        assert_eq!(line, "403 Permission check failed (pool 'gone' does not exist)");
        let line = lab.line("DELETE", "/pools/demo", Value::Null).await;
        assert_eq!(line, "500 delete pool failed: pool 'demo' is not empty (contains VM 100)");

        lab.become_root().await;
        assert_eq!(lab.data("POST", "/cluster/ha/resources", json!({"sid": "vm:100"})).await, Value::Null);
        let line = lab.line("DELETE", &format!("{QEMU}/100"), Value::Null).await;
        assert_eq!(line, "500 unable to remove VM 100 - used in HA resources and purge parameter not set.");
        assert_eq!(lab.task("DELETE", &format!("{QEMU}/100?purge=1"), Value::Null).await, "OK");
        assert_eq!(lab.data("DELETE", "/pools/demo", Value::Null).await, Value::Null);
    });
}
