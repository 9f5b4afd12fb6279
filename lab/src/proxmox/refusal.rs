//! How Proxmox VE says no.
//!
//! The text that people and programs read is in the status line; the body repeats it, and names the parameters that
//! were wrong (pve-common `Exception.pm`, pve-http-server `Formatter/Standard.pm`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::http::{JSON, Reply};

/// An error as a Proxmox API handler raises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status; 595 and up are pveproxy's own.
    pub status: u16,
    /// The text of the status line.
    pub reason: String,
    /// What is wrong with which parameter; only with 400.
    pub errors: BTreeMap<String, String>,
    /// Whether there is no body at all, as when the proxy or the authentication refuses.
    pub bare: bool,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal::die(reason)
    }
}

/// What an API handler returns.
pub type Outcome<T = Value> = Result<T, Refusal>;

impl Refusal {
    /// An error with a JSON body.
    pub fn new(status: u16, reason: impl Into<String>) -> Refusal {
        Refusal { status, reason: reason.into(), errors: BTreeMap::new(), bare: false }
    }

    /// An error that is a status line and nothing else.
    pub fn bare(status: u16, reason: impl Into<String>) -> Refusal {
        Refusal { bare: true, ..Refusal::new(status, reason) }
    }

    /// What Perl's `die` becomes: 500 and the text.
    pub fn die(reason: impl Into<String>) -> Refusal {
        Refusal::new(500, reason)
    }

    /// 403; `what` is usually `path, privilege` and may be empty.
    pub fn denied(what: &str) -> Refusal {
        let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
        Refusal::new(403, format!("Permission check failed{what}"))
    }

    /// 400 for one parameter.
    pub fn parameter(name: &str, why: impl Into<String>) -> Refusal {
        Refusal::parameters(BTreeMap::from([(name.to_owned(), why.into())]))
    }

    /// 400 for several parameters.
    pub fn parameters(errors: BTreeMap<String, String>) -> Refusal {
        Refusal { errors, ..Refusal::new(400, "Parameter verification failed.") }
    }

    /// The refusal on the wire.
    pub fn reply(&self) -> Reply {
        // PVE sends the first line alone as the reason.
        let line = self.reason.lines().next().unwrap_or("");
        if self.bare {
            return Reply::empty(self.status).with_reason(line);
        }
        let mut body = Map::new();
        body.insert("data".into(), Value::Null);
        if !self.errors.is_empty() {
            body.insert("errors".into(), json!(self.errors));
        }
        body.insert("message".into(), format!("{}\n", self.reason).into());
        Reply::new(self.status, JSON, Value::Object(body).to_string()).with_reason(line)
    }
}
