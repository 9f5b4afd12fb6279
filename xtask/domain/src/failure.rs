//! Failures of tasks: what failed, where and why, and the command to run next.
//!
//! Tasks return `anyhow::Result`; a [`Failure`] inside the error determines the exit code. Any other error becomes
//! [`Code::Failed`] with its chain as the cause.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of a failure, as one word in `error.code` of the JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The command line is not valid.
    Usage,
    /// A value is missing and cannot be prompted for.
    MissingInput,
    /// A required program or file is missing.
    Prerequisite,
    /// No response: connection refused, unknown host or a TLS error.
    Unreachable,
    /// The service rejected the request: invalid credentials or missing privileges.
    Refused,
    /// The named object does not exist.
    NotFound,
    /// The input was parsed but is not valid.
    Invalid,
    /// A conflict with another task, or with a file that would be overwritten.
    Conflict,
    /// The deadline passed.
    Timeout,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// A check or an operation failed.
    Failed,
}

impl Code {
    /// Returns the exit status of a task that ends with this failure.
    pub fn exit(self) -> u8 {
        match self {
            Code::Usage | Code::MissingInput => 2,
            Code::Prerequisite => 4,
            Code::Unreachable | Code::Refused => 5,
            Code::Timeout => 124,
            Code::Interrupted => 130,
            Code::NotFound | Code::Invalid | Code::Conflict | Code::Failed => 1,
        }
    }
}

/// The cause of a failure, for decisions in code: one [`Code`] has many causes, and no decision may depend on the wording of a
/// message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Kind {
    /// A cause that no code needs to distinguish.
    #[default]
    Other,
    /// A TLS certificate was not accepted; retrying does not help.
    Certificate,
    /// Omni waits until a user accepts its licence.
    Licence,
    /// The versions of omnictl and Omni are not compatible.
    Version,
    /// The stack did not start because its Tailscale sidecar is not healthy.
    Sidecar,
    /// Another service responds at the endpoint, for example a portal or a proxy.
    Foreign,
    /// The proxy set in the environment does not reach the endpoint; retrying does not help.
    Proxy,
    /// The file exists, but the user may not read it.
    Permission,
    /// Omni does not accept the login: its key was deleted or belongs to another Omni.
    Login,
    /// Omni accepts the login, but its role is not sufficient.
    Role,
    /// Ctrl-C or SIGTERM, reported by the interrupted call or wait.
    Interrupted,
}

/// A required value that was not found, and how to provide it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingValue {
    /// Display name of the value.
    pub name: String,
    /// The flag that sets it, if any. Secrets have no flag because argv is public.
    pub flag: Option<String>,
    /// The variable that sets it, in the environment or in `docker/.env`.
    pub env: Option<String>,
    /// Whether the value is secret and must not be typed where others can read it.
    pub secret: bool,
}

impl MissingValue {
    /// Creates a value that is set by a flag.
    pub fn flag(name: impl Into<String>, flag: impl Into<String>) -> MissingValue {
        MissingValue { name: name.into(), flag: Some(flag.into()), env: None, secret: false }
    }

    /// Creates a value that is set only by a variable.
    pub fn env(name: &str, env: &str) -> MissingValue {
        MissingValue { name: name.to_owned(), flag: None, env: Some(env.to_owned()), secret: false }
    }

    /// Creates a secret that is set only by a variable.
    pub fn secret(name: &str, env: &str) -> MissingValue {
        MissingValue { secret: true, ..MissingValue::env(name, env) }
    }

    /// Returns the absent values; the bool is whether the value is absent.
    pub fn filter_absent(needed: impl IntoIterator<Item = (bool, MissingValue)>) -> Vec<MissingValue> {
        needed.into_iter().filter(|(absent, _)| *absent).map(|(_, missing)| missing).collect()
    }

    /// Checks that all required values are present.
    ///
    /// # Errors
    /// Returns [`Code::MissingInput`] with the names of all absent values.
    pub fn check(needed: impl IntoIterator<Item = (bool, MissingValue)>) -> Result<(), Failure> {
        let absent = MissingValue::filter_absent(needed);
        if absent.is_empty() { Ok(()) } else { Err(Failure::missing(absent)) }
    }
}

/// A failure, with the information that users need to fix it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: Code,
    /// For decisions in code; never shown.
    pub kind: Kind,
    /// What failed, and where.
    pub message: String,
    /// Why it failed, if known.
    pub cause: String,
    /// How to fix it.
    pub hint: String,
    /// The missing values, for [`Code::MissingInput`].
    pub missing: Vec<MissingValue>,
    /// Commands to run next, most useful first.
    pub next: Vec<String>,
    /// What the task found before it failed, for `data` of the JSON document.
    pub data: serde_json::Value,
}

impl Failure {
    /// Creates a failure with `code`; `message` describes what failed and where.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        let (cause, hint) = (String::new(), String::new());
        let data = serde_json::Value::Null;
        let kind = Kind::Other;
        Failure { code, kind, message: message.into(), cause, hint, missing: Vec::new(), next: Vec::new(), data }
    }

    /// Sets the cause for decisions in code.
    pub fn kind(mut self, kind: Kind) -> Failure {
        self.kind = kind;
        self
    }

    /// Sets the cause: why it failed.
    pub fn cause(mut self, cause: impl Into<String>) -> Failure {
        self.cause = cause.into();
        self
    }

    /// Sets the hint: how to fix the problem.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = hint.into();
        self
    }

    /// Adds a command to run next.
    pub fn next(mut self, command: impl Into<String>) -> Failure {
        self.next.push(command.into());
        self
    }

    /// Sets the data that the task found before it failed.
    pub fn with(mut self, data: serde_json::Value) -> Failure {
        self.data = data;
        self
    }

    /// Creates the failure for missing values (exit code 2), which names the flag or variable of each.
    pub fn missing(values: Vec<MissingValue>) -> Failure {
        let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
        let mut hint = String::new();
        for value in &values {
            let ways = [value.flag.clone(), value.env.as_ref().map(|env| format!("{env} in docker/.env"))];
            let ways: Vec<String> = ways.into_iter().flatten().collect();
            if !ways.is_empty() {
                let sep = if hint.is_empty() { "give " } else { "; " };
                hint.push_str(&format!("{sep}{} as {}", value.name, ways.join(" or ")));
            }
        }
        let failure = Failure::new(Code::MissingInput, format!("missing: {}", names.join(", "))).cause(
            "cannot prompt: stdin is not a terminal, or prompts are switched off (--yes, --non-interactive, --json)",
        );
        Failure { missing: values, ..failure.hint(hint) }
    }

    /// Returns what failed and the first line of the cause, in one line.
    pub fn line(&self) -> String {
        match self.cause.lines().next() {
            Some(cause) => format!("{}: {cause}", self.message),
            None => self.message.clone(),
        }
    }

    /// Returns the failure inside `error`, or a new one with the chain of `error` as the cause.
    pub fn of(error: &anyhow::Error) -> Failure {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.clone();
        }
        let mut chain = error.chain().map(ToString::to_string);
        let message = chain.next().unwrap_or_default();
        Failure::new(Code::Failed, message).cause(chain.collect::<Vec<_>>().join(": "))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.cause.is_empty() { Ok(()) } else { write!(f, ": {}", self.cause) }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_documented_exit_statuses() {
        let codes = [
            (Code::Usage, 2),
            (Code::MissingInput, 2),
            (Code::Prerequisite, 4),
            (Code::Unreachable, 5),
            (Code::Refused, 5),
            (Code::NotFound, 1),
            (Code::Invalid, 1),
            (Code::Conflict, 1),
            (Code::Failed, 1),
            (Code::Timeout, 124),
            (Code::Interrupted, 130),
        ];
        for (code, exit) in codes {
            assert_eq!(code.exit(), exit, "{code:?}");
        }
    }

    #[test]
    fn failure_survives_context() {
        let error = anyhow::Error::new(Failure::new(Code::Refused, "no")).context("reading");
        assert_eq!(Failure::of(&error).code, Code::Refused);
    }

    #[test]
    fn plain_error_keeps_its_chain() {
        let error = anyhow::anyhow!("deep").context("shallow");
        let failure = Failure::of(&error);
        assert_eq!((failure.message.as_str(), failure.cause.as_str()), ("shallow", "deep"));
    }
}
