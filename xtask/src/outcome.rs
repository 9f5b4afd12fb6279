//! The outcome of a successful task: its summary, the data of its JSON document, and the next commands.

use serde_json::{Value, json};

/// The outcome of a successful task.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub summary: String,
    pub data: Value,
    pub next: Vec<String>,
    /// Changes are pending: exit code 3.
    pub pending: bool,
}

impl Outcome {
    /// The task is done.
    pub fn done(summary: impl Into<String>) -> Outcome {
        Outcome { summary: summary.into(), data: json!({}), next: Vec::new(), pending: false }
    }

    /// The task has only found pending changes: a plan, or a difference.
    pub fn pending(summary: impl Into<String>) -> Outcome {
        Outcome { pending: true, ..Outcome::done(summary) }
    }

    /// Sets the data of the JSON document.
    pub fn with(mut self, data: Value) -> Outcome {
        self.data = data;
        self
    }

    /// Adds to the data of the JSON document, and keeps what is there, such as the plan of a dry run.
    pub fn and(mut self, data: Value) -> Outcome {
        match (&mut self.data, data) {
            (Value::Object(there), Value::Object(more)) => there.extend(more),
            (_, Value::Null) => {}
            (there, more) => *there = more,
        }
        self
    }

    /// Adds a next command.
    pub fn next(mut self, command: impl Into<String>) -> Outcome {
        self.next.push(command.into());
        self
    }
}
