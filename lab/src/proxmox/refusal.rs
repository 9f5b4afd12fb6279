//! Error responses of Proxmox VE.
//!
//! The message for people and programs is in the status line; the body repeats it and names the invalid parameters
//! (pve-common `Exception.pm`, pve-http-server `Formatter/Standard.pm`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::http::{JSON, Reply};

/// An error raised by a Proxmox API handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status; 595 and above are specific to pveproxy.
    pub status: u16,
    /// The message in the status line.
    pub reason: String,
    /// Errors by parameter name; only with 400.
    pub errors: BTreeMap<String, String>,
    /// Whether the response has no body, as with errors from the proxy or authentication.
    pub bare: bool,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal::die(reason)
    }
}

/// The result of an API handler.
pub type Outcome<T = Value> = Result<T, Refusal>;

impl Refusal {
    /// An error with a JSON body.
    pub fn new(status: u16, reason: impl Into<String>) -> Refusal {
        Refusal { status, reason: reason.into(), errors: BTreeMap::new(), bare: false }
    }

    /// An error that consists of a status line only.
    pub fn bare(status: u16, reason: impl Into<String>) -> Refusal {
        Refusal { bare: true, ..Refusal::new(status, reason) }
    }

    /// The error that Perl's `die` results in: 500 and the message.
    pub fn die(reason: impl Into<String>) -> Refusal {
        Refusal::new(500, reason)
    }

    /// A 403 error; `what` is usually `path, privilege` and may be empty.
    pub fn denied(what: &str) -> Refusal {
        let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
        Refusal::new(403, format!("Permission check failed{what}"))
    }

    /// A 400 error for one parameter.
    pub fn parameter(name: &str, why: impl Into<String>) -> Refusal {
        Refusal::parameters(BTreeMap::from([(name.to_owned(), why.into())]))
    }

    /// A 400 error for several parameters.
    pub fn parameters(errors: BTreeMap<String, String>) -> Refusal {
        Refusal { errors, ..Refusal::new(400, "Parameter verification failed.") }
    }

    /// The HTTP response for the error.
    pub fn reply(&self) -> Reply {
        // PVE sends only the first line as the reason.
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
