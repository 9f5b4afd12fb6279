//! Errors of a stand-in's call, with their output and exit codes.

use super::protocol::Refusal;
use super::{UNKNOWN_CALL, err, unknown_call};
use crate::omni::status::{Code, Status};

/// Why a call failed.
#[derive(Debug)]
pub enum ToolError {
    /// The program's own error message, with exit code 1.
    Message(String),
    /// An error returned by Omni.
    Status(Status),
    /// A program in a container exited with this code; its output has already been printed.
    Ended(i32),
    /// The call is not simulated.
    Unknown,
    /// The lab itself failed.
    Lab(anyhow::Error),
}

impl ToolError {
    /// An error returned by the container engine.
    pub fn of_daemon(text: impl std::fmt::Display) -> ToolError {
        ToolError::Message(format!("Error response from daemon: {text}"))
    }

    /// Prefixes the error's message, as fmt.Errorf wraps an error.
    pub fn wrap(self, before: &str) -> ToolError {
        match self {
            ToolError::Message(text) => ToolError::Message(format!("{before}: {text}")),
            ToolError::Status(status) => ToolError::Message(format!("{before}: {status}")),
            other => other,
        }
    }

    /// Whether Omni returned that the resource does not exist.
    pub fn not_found(&self) -> bool {
        matches!(self, ToolError::Status(status) if status.code == Code::NotFound)
    }
}

impl From<String> for ToolError {
    fn from(text: String) -> ToolError {
        ToolError::Message(text)
    }
}

impl From<anyhow::Error> for ToolError {
    fn from(why: anyhow::Error) -> ToolError {
        match why.downcast() {
            Ok(Refusal::Omni(status)) => ToolError::Status(status),
            Ok(Refusal::Engine(text)) => ToolError::of_daemon(text),
            Ok(other) => ToolError::Lab(other.into()),
            Err(why) => ToolError::Lab(why),
        }
    }
}

/// Prints the error of a call, if any, with `before` in front of the program's own messages. Returns the exit code.
pub fn exit_code(program: &str, argv: &[String], before: &str, outcome: Result<(), ToolError>) -> i32 {
    let (text, code) = match outcome {
        Ok(()) => return 0,
        Err(ToolError::Unknown) => return unknown_call(program, argv),
        Err(ToolError::Ended(code)) => return code,
        Err(ToolError::Message(text)) => (format!("{before}{text}"), 1),
        Err(ToolError::Status(status)) => (format!("{before}{status}"), 1),
        Err(ToolError::Lab(why)) => (format!("lab: {why:#}"), UNKNOWN_CALL),
    };
    err(&format!("{text}\n"));
    code
}
