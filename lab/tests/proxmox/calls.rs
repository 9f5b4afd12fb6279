//! Makes the calls in `tests/fixtures/proxmox.txt` and checks their responses.
//!
//! `== NAME` starts a fresh Proxmox. `METHOD PATH [BODY]` is a call of the provider with a JSON body; `machine` before the JSON
//! means that it overrides members of the provider's request for a machine. The next line is the expected response: a status line;
//! `200` and data, where objects and non-empty lists may contain more than expected; `errors` and a 400's errors by parameter;
//! `ends` and the exit status of the new task; or `begins`, which does not wait for it. `…` stands for any text, and a string
//! in the data that starts with `~` is a pattern. `@` is an action other than a call; see [`Scenario::run_action`].

use std::time::Duration;

use lab::proxmox::world::DEFAULT_ROOT_PASSWORD;
use regex::Regex;
use serde_json::{Value, json};

use crate::support::{Lab, run};

/// A running scenario.
struct Scenario {
    lab: Lab,
    events: tokio::sync::mpsc::UnboundedReceiver<lab::proxmox::PowerEvent>,
    /// UPID of the task that was started last.
    upid: Value,
}

/// Parses the body of a call.
fn body(text: &str) -> Value {
    let (mut body, more) = match text.strip_prefix("machine") {
        None => return if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap() },
        Some(more) => {
            let machine = json!({
                "vmid": 100, "name": "demo-100", "cores": 4, "sockets": 1, "memory": 8192, "cpu": "x86-64-v2-AES",
                "scsi0": "local-lvm:40,ssd=1,discard=on", "scsihw": "virtio-scsi-single", "onboot": 1,
                "net0": "virtio,bridge=vmbr0,firewall=1", "agent": "enabled=true", "tags": "machine-request.demo",
                "smbios1": "uuid=51a84c75-dc34-4913-a463-995e4290e011",
            });
            (machine, more)
        }
    };
    if let Value::Object(changes) = self::body(more.trim()) {
        changes.into_iter().for_each(|(name, value)| body[name] = value);
    }
    body
}

/// Whether a text matches the expected one, in which `…` stands for any text.
fn matches(text: &str, wanted: &str) -> bool {
    let pattern = wanted.split('…').map(regex::escape).collect::<Vec<_>>().join(".*");
    Regex::new(&format!("(?s)^{pattern}$")).unwrap().is_match(text)
}

/// Whether the data contains everything that is expected.
fn contains(data: &Value, wanted: &Value) -> bool {
    match (data, wanted) {
        (_, Value::Object(wanted)) => wanted.iter().all(|(name, value)| contains(&data[name], value)),
        (Value::Array(data), Value::Array(wanted)) => {
            (wanted.is_empty() == data.is_empty())
                && wanted.iter().all(|one| data.iter().any(|data| contains(data, one)))
        }
        (Value::String(data), Value::String(wanted)) if wanted.starts_with('~') => {
            Regex::new(&format!("^{}$", &wanted[1..])).unwrap().is_match(data)
        }
        _ => data == wanted,
    }
}

impl Scenario {
    async fn new(factor: f64) -> Scenario {
        let lab = Lab::new(factor).await;
        Scenario { events: lab.proxmox.subscribe(), lab, upid: Value::Null }
    }

    async fn call(&mut self, line: &str, wanted: &str) {
        let (method, rest) = line.split_once(' ').unwrap();
        let (path, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut reply = self.lab.call(method, path, body(text)).await;
        let (kind, text) = wanted.split_once(' ').unwrap_or((wanted, ""));
        let json = || serde_json::from_str::<Value>(text).unwrap();
        let place = format!("{line}: {} {}", reply.status_line(), String::from_utf8_lossy(&reply.body));
        match kind {
            "200" => assert!(reply.status == 200 && contains(&reply.value().unwrap()["data"], &json()), "{place}"),
            "errors" => {
                assert_eq!(reply.status_line(), "400 Parameter verification failed.", "{place}");
                assert_eq!(reply.value().unwrap()["errors"], json(), "{place}");
            }
            "ends" | "begins" => {
                assert_eq!(reply.status, 200, "{place}");
                self.upid = serde_json::from_slice::<Value>(&std::mem::take(&mut reply.body)).unwrap()["data"].take();
                if kind == "ends" {
                    self.run_action(wanted).await;
                }
            }
            _ => assert!(matches(&reply.status_line(), wanted), "{place}"),
        }
    }

    /// Runs an action that is not a call of the provider.
    async fn run_action(&mut self, line: &str) {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        let lab = &mut self.lab;
        match (what, &words[..]) {
            ("clock", [factor]) => *self = Scenario::new(factor.parse().unwrap()).await,
            ("grant", [path, who, role]) => lab.proxmox.with(|world| world.access.grant(path, who, role)),
            ("revoke", [privilege]) => assert!(lab.proxmox.with(|world| world.revoke_privilege(privilege)), "{line}"),
            ("fill", [storage, left]) => {
                lab.proxmox.with(|world| world.fill_storage(storage, left.parse().unwrap()));
            }
            ("offline" | "online", [node]) => {
                assert!(lab.proxmox.with(|world| world.set_node_online(node, what == "online")), "{line}");
            }
            ("version", [version]) => lab.proxmox.with(|world| world.version = (*version).to_owned()),
            ("auth", _) => lab.set_headers(&[("authorization", rest)]),
            ("root", _) => lab.become_root().await,
            // As root, but without the CSRF token that each change requires.
            ("cookie", _) => {
                let login = json!({"username": "root@pam", "password": DEFAULT_ROOT_PASSWORD});
                let ticket = lab.data("POST", "/access/ticket", login).await;
                lab.set_headers(&[("cookie", &format!("PVEAuthCookie={}", ticket["ticket"].as_str().unwrap()))]);
            }
            ("skip", [seconds]) => lab.clock.skip(Duration::from_secs(seconds.parse().unwrap())),
            ("upload", [name]) => {
                let reply = lab.upload(name).await;
                let upid = reply.value().unwrap()["data"].take();
                assert_eq!(lab.finish(&upid).await, "OK");
            }
            ("booted", [length]) => {
                let data = self.events.recv().await.unwrap().cidata.unwrap_or_default();
                assert_eq!(data.len().to_string(), *length);
            }
            ("ends", _) => {
                let end = lab.finish(&self.upid).await;
                assert!(matches(&end, rest), "{end:?} instead of {rest:?}");
            }
            ("log", _) => {
                let log = lab.log(&self.upid).await;
                assert!(log.iter().any(|line| matches(line, rest)), "{rest:?} is not in {log:?}");
            }
            _ => panic!("{line}: there is no such line"),
        }
    }
}

#[test]
fn calls_get_the_responses_of_pve() {
    run(async {
        let mut scenario = Scenario::new(1000.0).await;
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/proxmox.txt")).unwrap();
        let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
        while let Some(line) = lines.next() {
            match (line.strip_prefix("== "), line.strip_prefix("@ ")) {
                (Some(name), _) => {
                    println!("{name}");
                    scenario = Scenario::new(1000.0).await;
                }
                (_, Some(line)) => scenario.run_action(line).await,
                _ => scenario.call(line, lines.next().unwrap().trim()).await,
            }
        }
    });
}
