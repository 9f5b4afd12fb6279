//! A simulated Proxmox for a test, and a client with its token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lab::clock::Clock;
use lab::http::{Client, JSON, Listen, Reply};
use lab::provider::{cidata, pve::multipart};
use lab::proxmox::world::{DEFAULT_ROOT_PASSWORD, DEFAULT_TOKEN_SECRET, PROVIDER_TOKEN};
use lab::proxmox::{Proxmox, World};
use lab::tls::{Ca, Leaf};
use serde_json::{Value, json};

/// Runs a future to completion.
pub fn run<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// A simulated Proxmox and a client.
pub struct Lab {
    pub proxmox: Proxmox,
    pub clock: Clock,
    client: Client,
    headers: Vec<(String, String)>,
}

impl Lab {
    /// Starts [`World::lab`] with a clock factor and without faults.
    pub async fn new(factor: f64) -> Lab {
        let world = World::lab(DEFAULT_TOKEN_SECRET);
        let ca = Ca::new().unwrap();
        let tls = Some(ca.server_config_showing(|| Leaf::Good).unwrap().0);
        let options = Listen { addr: "127.0.0.1:0".parse().unwrap(), tls, latency: Duration::ZERO };
        let clock = Clock::new(factor);
        let proxmox = Proxmox::start(world, options, clock.clone(), Arc::default()).await.unwrap();
        let client = Client::new(Some(&ca.pem())).unwrap();
        let token = format!("PVEAPIToken={PROVIDER_TOKEN}={DEFAULT_TOKEN_SECRET}");
        Lab { proxmox, clock, client, headers: vec![("authorization".into(), token)] }
    }

    /// Sets the headers of all following requests.
    pub fn set_headers(&mut self, headers: &[(&str, &str)]) {
        self.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    /// Logs in as root@pam with its password, and sends its ticket and CSRF token with all following requests.
    pub async fn become_root(&mut self) {
        let login = json!({"username": "root@pam", "password": DEFAULT_ROOT_PASSWORD});
        let ticket = self.data("POST", "/access/ticket", login).await;
        let cookie = format!("PVEAuthCookie={}", ticket["ticket"].as_str().unwrap());
        self.set_headers(&[
            ("cookie", &cookie),
            ("csrfpreventiontoken", ticket["CSRFPreventionToken"].as_str().unwrap()),
        ]);
    }

    /// Sends a request; `path` is below `/api2/json`.
    pub async fn send(&self, method: &str, path: &str, content_type: &str, body: Vec<u8>) -> Reply {
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if !content_type.is_empty() {
            headers.push(("content-type", content_type));
        }
        let url = format!("{}/api2/json{path}", self.proxmox.url());
        self.client.request(method, &url, &headers, body).await.unwrap()
    }

    /// Sends a request with a JSON body, or without a body for null.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        match body {
            Value::Null => self.send(method, path, "", Vec::new()).await,
            body => self.send(method, path, JSON, body.to_string().into_bytes()).await,
        }
    }

    /// Sends a request that must succeed and returns its data.
    pub async fn data(&self, method: &str, path: &str, body: Value) -> Value {
        let reply = self.call(method, path, body).await;
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.status_line());
        reply.value().unwrap()["data"].take()
    }

    /// Sends a GET request that must succeed and returns its data.
    pub async fn get(&self, path: &str) -> Value {
        self.data("GET", path, Value::Null).await
    }

    /// Waits for a task and returns how it ended.
    pub async fn finish(&self, upid: &Value) -> String {
        let upid = upid.as_str().unwrap();
        let node = upid.split(':').nth(1).unwrap();
        let started = Instant::now();
        loop {
            let status = self.get(&format!("/nodes/{node}/tasks/{upid}/status")).await;
            if status["status"] == "stopped" {
                return status["exitstatus"].as_str().unwrap().to_owned();
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{upid} does not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Returns the lines of a task's log.
    pub async fn log(&self, upid: &Value) -> Vec<String> {
        let upid = upid.as_str().unwrap();
        let node = upid.split(':').nth(1).unwrap();
        let lines = self.get(&format!("/nodes/{node}/tasks/{upid}/log?limit=0")).await;
        lines.as_array().unwrap().iter().map(|line| line["t"].as_str().unwrap().to_owned()).collect()
    }

    /// Uploads a machine's cloud-init image as go-proxmox v0.3.2 does.
    pub async fn upload(&self, name: &str) -> Reply {
        let (content_type, body) = multipart("b0undary", name, &cidata::image("", "", ""));
        self.send("POST", "/nodes/pve1/storage/local/upload", &content_type, body).await
    }
}
