//! Faults: what comes in through the hooks comes out at the client.

use std::time::{Duration, Instant};

use lab::http::{Reply, Request};
use lab::proxmox::World;
use lab::proxmox::hooks::{Fate, Hooks, TaskFate, TaskInfo};
use lab::proxmox::world::DEFAULT_TOKEN_SECRET;
use serde_json::{Value, json};

use crate::support::{Lab, run};

struct Faults;

impl Hooks for Faults {
    fn request(&self, request: &Request, world: &mut World) -> Option<Fate> {
        match request.path.as_str() {
            "/api2/json/version" => Some(Fate::Answer(Reply::empty(502).with_reason("Bad Gateway"))),
            "/api2/json/nodes" => Some(Fate::Delay(Duration::from_secs(10))),
            "/api2/json/pools" => {
                world.version = "8.4.1".into();
                None
            }
            _ => None,
        }
    }

    fn task(&self, task: &TaskInfo, _: &mut World) -> Option<TaskFate> {
        let broken = || TaskFate::Fail { exitstatus: "got timeout".into(), log: vec!["waiting".into()] };
        match (task.kind.as_str(), task.id.as_str()) {
            ("qmcreate", "100") => Some(broken()),
            ("qmcreate", "101") => Some(TaskFate::Warn("deprecated machine version".into())),
            ("qmcreate", "103") => Some(TaskFate::Delay(Duration::from_secs(20))),
            _ => None,
        }
    }
}

#[test]
fn faults_reach_requests_and_tasks() {
    run(async {
        let lab = Lab::with(World::lab(DEFAULT_TOKEN_SECRET).unwrap(), 100.0, Faults).await;
        assert_eq!(lab.line("GET", "/version", Value::Null).await, "502 Bad Gateway");
        let started = Instant::now();
        lab.get("/nodes").await;
        assert!(started.elapsed() >= Duration::from_millis(100));
        lab.get("/pools").await;
        assert_eq!(lab.proxmox.with(|world| world.version.clone()), "8.4.1");

        let make = async |vmid: u32| lab.data("POST", "/nodes/pve1/qemu", json!({"vmid": vmid, "name": "a"})).await;
        let failed = make(100).await;
        assert_eq!(lab.finish(&failed).await, "got timeout");
        assert_eq!(lab.log(&failed).await, ["waiting", "TASK ERROR: got timeout"]);
        let warned = make(101).await;
        assert_eq!(lab.finish(&warned).await, "WARNINGS: 1");
        let started = Instant::now();
        let late = make(103).await;
        assert_eq!(lab.finish(&late).await, "OK");
        assert!(started.elapsed() >= Duration::from_millis(200));
        let there: Vec<u64> = lab
            .get("/cluster/resources?type=vm")
            .await
            .as_array()
            .unwrap()
            .iter()
            .map(|vm| vm["vmid"].as_u64().unwrap())
            .collect();
        assert_eq!(there, [101, 103]);
    });
}
