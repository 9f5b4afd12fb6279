//! The provider's client for Proxmox, with the errors and behavior of go-proxmox v0.3.2 (proxmox.go:96-342, tasks.go).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::go_errors::{self, Endpoint};
use crate::http::{Client, Reply};

/// The error for 401 and 403.
pub const NOT_AUTHORIZED: &str = "not authorized to access endpoint";

/// A connection to a Proxmox API.
pub struct Pve {
    pub(super) client: Client,
    pub(super) base: String,
    /// `user@realm!name=secret`
    pub(super) token: String,
    pub(super) clock: Clock,
    pub(super) faults: Arc<Faults>,
}

/// The status of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// `running` or `stopped`.
    pub status: String,
    /// Whether it stopped with `OK`.
    pub successful: bool,
}

impl Pve {
    async fn send(&self, method: &str, path: &str, content: Option<&str>, body: Vec<u8>) -> Result<Reply, String> {
        let url = format!("{}{path}", self.base);
        let title: String = method.chars().take(1).chain(method.to_ascii_lowercase().chars().skip(1)).collect();
        let named = |text: &str| format!("{title} {url:?}: {text}");
        let endpoint = Endpoint::parse(&self.base).map_err(|_| named("unsupported protocol scheme \"\""))?;
        if self.faults.hit("network-proxmox-name") {
            // Docker's own resolver, which uses the container's nameservers.
            return Err(named(&format!("dial tcp: lookup {} on 127.0.0.11:53: no such host", endpoint.host)));
        }
        let authorization = format!("PVEAPIToken={}", self.token);
        let mut headers = vec![("accept", "application/json"), ("authorization", &authorization)];
        headers.extend(content.map(|content| ("content-type", content)));
        let reply = self.client.request(method, &url, &headers, body).await;
        reply.map_err(|why| named(&go_errors::dial_error(&endpoint.host, endpoint.port, &why)))
    }

    /// Makes a call and returns the `data` of the response.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let content = body.is_some().then_some("application/json");
        let reply = self.send(method, path, content, bytes).await?;
        if matches!(reply.status, 401 | 403) { Err(NOT_AUTHORIZED.to_owned()) } else { handle(&reply) }
    }

    /// Makes a GET call without parameters.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        self.call("GET", path, None).await
    }

    /// Makes a call that starts a task, and returns its UPID.
    pub async fn begin(&self, method: &str, path: &str, body: Option<&Value>) -> Result<String, String> {
        Ok(self.call(method, path, body).await?.as_str().unwrap_or_default().to_owned())
    }

    /// Uploads a file as `iso` content of a storage. Does not check for 401 and 403, like the library.
    pub async fn upload(&self, node: &str, storage: &str, file: &str, bytes: &[u8]) -> Result<Value, String> {
        let (content, body) = multipart(BOUNDARY, file, bytes);
        let reply = self.send("POST", &format!("/nodes/{node}/storage/{storage}/upload"), Some(&content), body).await?;
        handle(&reply)
    }

    /// Fetches a node, as every other call of the library does first. 401 and 403 are tolerated.
    pub async fn node(&self, node: &str) -> Result<(), String> {
        match self.get(&format!("/nodes/{node}/status")).await {
            Ok(_) => Ok(()),
            Err(why) if why == NOT_AUTHORIZED => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Returns the status of a task.
    pub async fn task(&self, upid: &str) -> Result<Task, String> {
        let node = upid.split(':').nth(1).unwrap_or_default();
        let data = self.get(&format!("/nodes/{node}/tasks/{upid}/status")).await?;
        let status = data["status"].as_str().unwrap_or_default().to_owned();
        let successful = status == "stopped" && data["exitstatus"] == "OK";
        Ok(Task { status, successful })
    }

    /// Waits for a task as the library does within a call: polls twice at once, then every second.
    pub async fn wait(&self, upid: &str, most: Duration) -> Result<(), String> {
        self.task(upid).await?;
        // Counts pauses instead of elapsed time, so that the lab's own overhead does not exceed a limit that shrinks with the
        // clock.
        let mut paused = Duration::ZERO;
        while paused <= most {
            if self.task(upid).await?.status != "running" {
                return Ok(());
            }
            self.clock.sleep(Duration::from_secs(1)).await;
            paused += Duration::from_secs(1);
        }
        Err("the operation has timed out".to_owned())
    }

    /// Returns the first enabled storage of a node with `iso` content, in the order of the response.
    pub async fn iso_storage(&self, node: &str) -> Result<String, String> {
        let list = self.get(&format!("/nodes/{node}/storage")).await?;
        let mut entries = list.as_array().into_iter().flatten();
        let found = entries.find(|entry| {
            entry["enabled"].as_i64() != Some(0)
                && entry["content"].as_str().is_some_and(|content| content.contains("iso"))
        });
        let found = found.and_then(|entry| entry["storage"].as_str());
        found.map(str::to_owned).ok_or_else(|| "unable to find the item you are looking for".to_owned())
    }
}

/// The boundary between the parts of go-proxmox's uploads.
const BOUNDARY: &str = "6d5a1c9e4b7f2a8d0c3e5b1f9a7d4c2e8b6f0a1d3c5e7b9f2a4d6c8e0b1f";

/// Returns the content type and body of an upload.
pub fn multipart(boundary: &str, file: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"filename\"; filename=\"{file}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let body = [head.as_bytes(), bytes, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// Interprets a response: go-proxmox uses the status line for 500 and 501, and the body for everything else.
fn handle(reply: &Reply) -> Result<Value, String> {
    match reply.status {
        500 | 501 => return Err(reply.status_line()),
        400 => {
            let body: Value = serde_json::from_slice(&reply.body).map_err(|_| json_error(&reply.body))?;
            let said = match body.get("errors") {
                Some(errors) => errors.to_string(),
                None => String::from_utf8_lossy(&reply.body).into_owned(),
            };
            return Err(format!("bad request: {} - {said}", reply.status_line()));
        }
        _ => {}
    }
    let body: Value = serde_json::from_slice(&reply.body).map_err(|_| json_error(&reply.body))?;
    Ok(body.get("data").cloned().unwrap_or(body))
}

fn json_error(body: &[u8]) -> String {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => "unexpected end of JSON input".to_owned(),
        Some(byte) => format!("invalid character '{}' looking for beginning of value", char::from(*byte)),
    }
}
