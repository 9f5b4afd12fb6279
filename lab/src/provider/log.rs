//! What a container writes: lines with their time, kept as Docker keeps them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, in nanoseconds since 1970.
    pub at: u64,
    /// What, without the newline.
    pub text: String,
}

/// The log of one container. Clones are handles to the same one.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
    grown: watch::Sender<usize>,
}

/// Lines kept; Docker's own driver keeps megabytes.
const KEPT: usize = 20_000;

impl Default for Log {
    fn default() -> Log {
        Log { lines: Arc::default(), grown: watch::channel(0).0 }
    }
}

/// Nanoseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Log {
    /// Adds a line as it is: what goes to stderr without a logger, such as `Error: …`.
    pub fn raw(&self, text: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(Line { at: now(), text: text.to_owned() });
        if lines.len() > KEPT {
            lines.drain(..KEPT / 10);
        }
        drop(lines);
        self.grown.send_modify(|count| *count += 1);
    }

    /// Adds a line of zap's production encoder: level, time, caller, message, then the fields in their order.
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

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of new lines.
    pub fn subscribe(&self) -> watch::Receiver<usize> {
        self.grown.subscribe()
    }
}
