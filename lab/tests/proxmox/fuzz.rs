//! Malformed input: whatever is sent, the server answers or closes the connection, keeps running and keeps its world consistent.
//!
//! Limited and reproducible by default; `FUZZ_COUNT=2000 FUZZ_SEED=7 cargo test -p lab --test proxmox fuzz` runs more cases.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::random::{Random, cases, exchange};
use lab::clock::Clock;
use lab::http::Listen;
use lab::proxmox::world::{DEFAULT_TOKEN_SECRET, PROVIDER_TOKEN};
use lab::proxmox::{Proxmox, World};

/// Parts of requests: methods, paths, bodies and content types.
static PARTS: LazyLock<BTreeMap<String, Vec<String>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../fixtures/fuzz.json")).expect("the parts"));

/// Generates a case: an intact or damaged request.
fn case(random: &mut Random) -> Vec<u8> {
    let mut part = |kind: &str| &PARTS[kind][random.next(PARTS[kind].len())];
    let (method, path, body, content_type) = (part("methods"), part("paths"), part("bodies"), part("types"));
    let length = match random.next(6) {
        0 => body.len() / 2,
        1 => 0,
        _ => body.len(),
    };
    let auth = format!("PVEAPIToken={PROVIDER_TOKEN}={DEFAULT_TOKEN_SECRET}");
    let auth =
        random.pick(&[auth.as_str(), auth.as_str(), auth.as_str(), "PVEAPIToken=", "PVEAuthCookie=PVE:a:b::c", "x"]);
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {auth}\r\n\
         content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes();
    for _ in 0..random.next(4) {
        let at = random.next(request.len());
        match random.next(3) {
            0 => request[at] = random.next(256) as u8,
            1 => request.truncate(at.max(1)),
            _ => request.insert(at, random.next(256) as u8),
        }
    }
    request
}

#[test]
fn damaged_requests_neither_panic_nor_hang() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = World::lab(DEFAULT_TOKEN_SECRET);
    let options = Listen { addr: "127.0.0.1:0".parse().unwrap(), tls: None, latency: Duration::ZERO };
    let proxmox = runtime.block_on(Proxmox::start(world, options, Clock::new(1e5), Arc::default())).unwrap();
    let address = proxmox.url().trim_start_matches("http://").to_owned();
    let ((count, mut random), mut answered) = (cases("requests", 800), 0);
    for number in 0..count {
        let request = case(&mut random);
        let shown = String::from_utf8_lossy(&request).into_owned();
        let answer = exchange(&address, &request).unwrap_or_else(|| panic!("case {number} hangs: {shown}"));
        if !answer.is_empty() {
            assert!(answer.starts_with(b"HTTP/1."), "case {number}: {shown}");
            answered += 1;
        }
    }
    // A panic would poison the world, close connections without a response, or both.
    assert!(answered > count / 2, "{answered}");
    let sound = b"GET /api2/json/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(exchange(&address, sound).unwrap().starts_with(b"HTTP/1.1 401 No ticket"));
    assert_eq!(proxmox.dump()["nodes"].as_array().unwrap().len(), 3);
}
