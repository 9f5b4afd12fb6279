//! How a task that succeeded ends: its summary, the data of its JSON document, and what comes next.

use serde_json::{Value, json};

/// What a task that succeeded comes to.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub summary: String,
    pub data: Value,
    pub next: Vec<String>,
    /// Changes are pending: exit 3.
    pub pending: bool,
}

impl Outcome {
    /// It is done.
    pub fn done(summary: impl Into<String>) -> Outcome {
        Outcome { summary: summary.into(), data: json!({}), next: Vec::new(), pending: false }
    }

    /// It would be done: a plan, or a difference that was found.
    pub fn pending(summary: impl Into<String>) -> Outcome {
        Outcome { pending: true, ..Outcome::done(summary) }
    }

    /// The data of the JSON document.
    pub fn with(mut self, data: Value) -> Outcome {
        self.data = data;
        self
    }

    /// The data of the JSON document beside what there is: the plan of a dry run stays.
    pub fn and(mut self, data: Value) -> Outcome {
        match (&mut self.data, data) {
            (Value::Object(there), Value::Object(more)) => there.extend(more),
            (_, Value::Null) => {}
            (there, more) => *there = more,
        }
        self
    }

    /// A command that leads on.
    pub fn next(mut self, command: impl Into<String>) -> Outcome {
        self.next.push(command.into());
        self
    }
}
