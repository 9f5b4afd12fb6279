//! Errors as gRPC transmits them and omnictl prints them.

use serde::{Deserialize, Serialize};

/// A gRPC status code, with the name that Go prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Code {
    /// The request is not valid.
    InvalidArgument,
    /// The resource does not exist.
    NotFound,
    /// The resource already exists.
    AlreadyExists,
    /// The caller's role does not allow it.
    PermissionDenied,
    /// The caller is unknown.
    Unauthenticated,
    /// The state of the system does not allow it at present.
    FailedPrecondition,
    /// The server cannot be reached.
    Unavailable,
    Internal,
    /// The server does not implement the call.
    Unimplemented,
    /// The server returned no specific code.
    Unknown,
}

/// An error from the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub code: Code,
    pub message: String,
}

impl Status {
    /// Creates a status.
    pub fn new(code: Code, message: impl Into<String>) -> Status {
        Status { code, message: message.into() }
    }

    /// Creates the error of a failed validation, in the format of hashicorp/go-multierror (omni
    /// internal/backend/runtime/omni/validated).
    pub fn invalid(errors: &[String]) -> Status {
        Status::new(Code::InvalidArgument, format!("failed to validate: {}", multierror(errors)))
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rpc error: code = {:?} desc = {}", self.code, self.message)
    }
}

impl std::error::Error for Status {}

/// Formats errors like hashicorp/go-multierror: a head line and a list, then an empty line.
pub fn multierror(errors: &[String]) -> String {
    let head =
        if errors.len() == 1 { "1 error occurred:".to_owned() } else { format!("{} errors occurred:", errors.len()) };
    let list: Vec<String> = errors.iter().map(|error| format!("* {error}")).collect();
    format!("{head}\n\t{}\n\n", list.join("\n\t"))
}
