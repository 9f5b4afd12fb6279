//! HTTP/1.1 as the simulated services need it: a small server and a small client over plain TCP or TLS.
//!
//! HTTP/1.1 only, on purpose: Proxmox VE puts its error text into the status line, and HTTP/2 has none
//! (pve-http-server 5 `AnyEvent.pm:293`, read by go-proxmox v0.3.2 `proxmox.go:294`).

mod client;
mod server;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::Value;

pub use client::{Client, ClientError};
pub use server::{Server, ServerOptions, serve};

/// The media type of every JSON answer, as pveproxy writes it.
pub const JSON: &str = "application/json;charset=UTF-8";

/// A request, read to its end.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, …, in upper case.
    pub method: String,
    /// The path as it was sent, still percent-encoded, without the query.
    pub path: String,
    /// The query as it was sent, without the question mark; empty if there is none.
    pub query: String,
    /// Header names in lower case with their values, in the order of arrival. Values that are not text are left out.
    pub headers: Vec<(String, String)>,
    /// The body; empty if there is none.
    pub body: Bytes,
}

impl Request {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// An answer: what a handler gives to the server, and what the client gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 100 to 999.
    pub status: u16,
    /// The text after the status code; `None` means the usual one of the status.
    pub reason: Option<String>,
    /// Header names in lower case with their values. Lengths and dates are the server's business.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Bytes,
}

impl Reply {
    /// An answer without a body.
    pub fn empty(status: u16) -> Reply {
        Reply { status, reason: None, headers: Vec::new(), body: Bytes::new() }
    }

    /// An answer with a body of the given media type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
        Reply { body: body.into(), ..Reply::empty(status) }.with_header("content-type", content_type)
    }

    /// An answer in JSON.
    pub fn json(status: u16, value: &Value) -> Reply {
        Reply::new(status, JSON, value.to_string())
    }

    /// The same with its own text in the status line. Characters that a status line cannot hold become spaces.
    pub fn with_reason(mut self, reason: &str) -> Reply {
        let clean = |c: char| if c == '\t' || (c >= ' ' && c != '\x7f') { c } else { ' ' };
        self.reason = Some(reason.chars().map(clean).collect());
        self
    }

    /// The same with one more header; `name` in lower case.
    pub fn with_header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The text after the status code, the usual one if it has none of its own.
    pub fn reason(&self) -> &str {
        let usual = || StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        self.reason.as_deref().or_else(usual).unwrap_or("")
    }

    /// The status line without the version: `403 Permission check failed (/, Sys.Audit)`.
    pub fn status_line(&self) -> String {
        format!("{} {}", self.status, self.reason())
    }

    /// The body as JSON.
    pub fn value(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
    }
}

/// What a handler does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Answers it.
    Reply(Reply),
    /// Drops the connection without an answer.
    Hangup,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Reply(reply)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Text with its percent-encoding undone. `None` if an escape is broken or the bytes are no UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit()?, digit()?);
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Name and value pairs of a query or an urlencoded form. Broken pairs are kept as they were sent.
pub fn form_decode(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_decode(&spaced).unwrap_or(spaced)
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// Runs `work` until it is done or `limit` (real time) has passed.
async fn within<F: Future>(limit: Duration, work: F) -> Option<F::Output> {
    tokio::time::timeout(limit, work).await.ok()
}
