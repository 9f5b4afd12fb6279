//! The output of a container: lines with their time, stored as Docker stores them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

/// A line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Nanoseconds since 1970.
    pub at: u64,
    /// The text without the newline.
    pub text: String,
}

/// The log of a container. Clones are handles to the same log.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
    grown: watch::Sender<usize>,
}

/// Maximum number of lines kept; Docker's own driver keeps megabytes.
const KEPT: usize = 20_000;

impl Default for Log {
    fn default() -> Log {
        Log { lines: Arc::default(), grown: watch::channel(0).0 }
    }
}

/// Returns the current time in nanoseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Log {
    /// Adds a line unchanged, such as `Error: …`, which is written to stderr without a logger.
    pub fn raw(&self, text: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(Line { at: now(), text: text.to_owned() });
        if lines.len() > KEPT {
            lines.drain(..KEPT / 10);
        }
        drop(lines);
        self.grown.send_modify(|count| *count += 1);
    }

    /// Adds a line in the format of zap's production encoder: level, time, caller, message, then the fields in order.
    pub fn zap(&self, level: &str, caller: &str, message: &str, fields: &[(&str, Value)]) {
        let at = now();
        let seconds = at as f64 / 1e9;
        let mut text = format!(
            "{{\"level\":\"{level}\",\"ts\":{seconds},\"caller\":\"{caller}\",\"msg\":{}",
            Value::from(message)
        );
        for (name, value) in fields {
            text.push_str(&format!(",\"{name}\":{value}"));
        }
        text.push('}');
        self.raw(&text);
    }

    /// Returns all lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Subscribes to new lines.
    pub fn subscribe(&self) -> watch::Receiver<usize> {
        self.grown.subscribe()
    }
}
