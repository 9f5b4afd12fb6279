//! Replays all requests recorded from the unmodified provider.

use std::collections::BTreeMap;
use std::path::Path;

use lab::http::Reply;
use lab::provider::{cidata, pve::multipart};
use serde::Deserialize;
use serde_json::Value;

use crate::support::{Lab, run};

/// A recorded exchange.
#[derive(Deserialize)]
struct Exchange {
    #[serde(skip)]
    place: String,
    method: String,
    path: String,
    ctype: Option<String>,
    body: String,
    status: String,
    reply: Value,
}

fn recorded(file: &str) -> Vec<Exchange> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/provider").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let exchange = |(number, line): (usize, &str)| {
        let exchange: Exchange = serde_json::from_str(line).unwrap();
        let path = exchange.path.replacen("/api2/json", "", 1);
        Exchange { place: format!("{file}:{}", number + 1), path, ..exchange }
    };
    text.lines().enumerate().map(exchange).collect()
}

/// The UPIDs of the replay by those of the recording.
type Upids = BTreeMap<String, String>;

/// The content type and body of an exchange; of uploads, only the length and name were recorded.
fn body_of(exchange: &Exchange) -> (String, Vec<u8>) {
    let declared = exchange.ctype.clone().unwrap_or_default();
    let Some(rest) = exchange.body.strip_prefix("<multipart ") else {
        return (declared, exchange.body.clone().into_bytes());
    };
    let (length, name) = rest.split_once(" bytes, filename ").unwrap();
    let boundary = declared.split("boundary=").nth(1).unwrap();
    let (content_type, body) = multipart(boundary, name.trim_end_matches('>'), &cidata::image("", "", ""));
    assert_eq!((&content_type, body.len().to_string().as_str()), (&declared, length), "{}", exchange.place);
    (content_type, body)
}

async fn replay(lab: &Lab, exchanges: Vec<Exchange>, upids: &mut Upids) {
    for exchange in exchanges {
        let mut path = exchange.path.clone();
        for (theirs, ours) in upids.iter() {
            path = path.replace(theirs, ours);
        }
        let (content_type, body) = body_of(&exchange);
        let mut reply = lab.send(&exchange.method, &path, &content_type, body.clone()).await;
        // If the recorded task had ended, ours may need a little longer.
        while exchange.reply["data"]["status"] == "stopped" && reply.value().unwrap()["data"]["status"] == "running" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            reply = lab.send(&exchange.method, &path, &content_type, body.clone()).await;
        }
        compare(&exchange, &reply);
        let begun = |value: &Value| value.as_str().filter(|text| text.starts_with("UPID:")).map(str::to_owned);
        if let Some(theirs) = begun(&exchange.reply["data"]) {
            let ours = begun(&reply.value().unwrap()["data"]).unwrap();
            // Compare all fields except process, ticks and time.
            let shape = |upid: &str| {
                let fields: Vec<&str> = upid.split(':').collect();
                [&fields[..2], &fields[5..]].concat().join(":")
            };
            assert_eq!(shape(&ours), shape(&theirs), "{}", exchange.place);
            upids.insert(theirs, ours);
        }
    }
}

fn compare(exchange: &Exchange, reply: &Reply) {
    let place = format!("{} {} {}", exchange.place, exchange.method, exchange.path);
    // The recording's messages for missing objects differ from PVE's after the dash.
    let comparable = |line: &str| line.split(" - ").next().unwrap().to_owned();
    assert_eq!(comparable(&reply.status_line()), comparable(&exchange.status), "{place}");
    let ours = reply.value().unwrap();
    if reply.status == 200 {
        check_contains("data", &exchange.reply["data"], &ours["data"], &place);
    }
}

/// Checks that all recorded values are present with the same JSON type.
fn check_contains(name: &str, theirs: &Value, ours: &Value, place: &str) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            // The recording's stand-in always returned `numa`. PVE returns it only if it is set, and the provider does
            // not read it.
            for (name, value) in theirs.iter().filter(|(name, _)| *name != "numa") {
                let mine = ours.get(name).unwrap_or_else(|| panic!("{place}: no '{name}' in {ours:?}"));
                check_contains(name, value, mine, place);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            for theirs in theirs {
                let same = |ours: &&Value| ["node", "storage", "vmid", "id"].iter().all(|key| ours[key] == theirs[key]);
                let mine = if theirs.is_object() { ours.iter().find(same) } else { ours.first() };
                let mine = mine.unwrap_or_else(|| panic!("{place}: nothing like {theirs} in {ours:?}"));
                check_contains(name, theirs, mine, place);
            }
        }
        (Value::Number(theirs), Value::Number(ours)) => {
            // An integer must stay an integer, because Go rejects 1.0 for an int. CPU usage is not an integer.
            assert!(!theirs.is_u64() || ours.is_u64() || name == "cpu", "{place}: {name} is {ours}, was {theirs}");
        }
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) | (Value::Null, Value::Null) => {}
        _ => panic!("{place}: {name} is {ours}, was {theirs}"),
    }
}

#[test]
fn recorded_provider_calls_get_matching_responses() {
    run(async {
        // Slow enough that three downloads of one image overlap, as in the recording.
        let lab = Lab::new(8.0).await;
        // In the recording's stand-in everybody could see the cluster, which the least privileges do not allow.
        lab.proxmox.with(|world| world.access.grant("/", "omni@pve", "OmniNode"));
        let mut events = lab.proxmox.subscribe();
        let mut upids = Upids::new();

        let exchanges = recorded("wire-provision.jsonl");
        assert_eq!(exchanges.len(), 106);
        replay(&lab, exchanges, &mut upids).await;
        let dump = lab.proxmox.dump();
        let vms = dump["vms"].as_array().unwrap();
        let names: Vec<&str> = vms.iter().map(|vm| vm["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["demo-control-planes-z72vfp", "demo-workers-2g8c59", "demo-workers-bdspms"]);
        assert!(vms.iter().all(|vm| vm["status"] == "running" && vm["storage"] == "local-lvm"), "{vms:?}");
        for vm in vms {
            let event = events.try_recv().unwrap();
            assert_eq!(
                (event.name.as_str(), event.uuid.as_str()),
                (vm["name"].as_str().unwrap(), vm["uuid"].as_str().unwrap())
            );
            assert!(event.running && event.cidata.is_some(), "{event:?}");
        }

        let exchanges = recorded("wire-deprovision.jsonl");
        assert_eq!(exchanges.len(), 42);
        replay(&lab, exchanges, &mut upids).await;
        assert_eq!(lab.proxmox.dump()["vms"], serde_json::json!([]));
        // The Talos image remains, as on a real Proxmox; the machines' own images are gone.
        let files = lab.get("/nodes/pve1/storage/local/content").await;
        assert_eq!(files.as_array().unwrap().len(), 1, "{files}");
        let off = std::iter::from_fn(|| events.try_recv().ok()).filter(|event| !event.running).count();
        assert_eq!(off, 3);
    });
}
