//! Why a task stopped: what failed, where, why, and the next command.
//!
//! Tasks return `anyhow::Result`; a [`Failure`] travels inside and decides the exit code. Any other error is a
//! [`Code::Failed`] with its chain as the cause.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds of failure, one word each in `error.code` of the JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The command line makes no sense.
    Usage,
    /// A value is missing and cannot be prompted for.
    MissingInput,
    /// A program or a file that must be there first is not.
    Prerequisite,
    /// No answer: refused connection, unknown host, broken TLS.
    Unreachable,
    /// An answer, and it was no: bad credentials, missing privilege.
    Refused,
    /// The named thing does not exist.
    NotFound,
    /// The input was understood and is wrong.
    Invalid,
    /// A conflict: another task, or a file that would be overwritten.
    Conflict,
    /// The deadline passed.
    Timeout,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// A check or an operation failed.
    Failed,
}

impl Code {
    /// The exit status of a task that ends with this failure.
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

/// The cause of a failure where code must distinguish it: one [`Code`] has many causes, and no decision may depend on the
/// wording of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Kind {
    /// No code distinguishes it.
    #[default]
    Other,
    /// A TLS certificate was not accepted: waiting does not help.
    Certificate,
    /// Omni waits until a person accepts its licence.
    Licence,
    /// The versions of omnictl and Omni do not work together.
    Version,
    /// The stack did not start because its Tailscale sidecar is not healthy.
    Sidecar,
    /// Something else answers at the address, such as a portal or a proxy.
    Foreign,
    /// The proxy that the environment names does not lead there: waiting does not help.
    Proxy,
    /// The file exists, and this user may not read it.
    Permission,
    /// Omni does not accept the login: its key is not there any more, or of another Omni.
    Login,
    /// Omni accepts the login, whose role is too small.
    Role,
    /// Ctrl-C or SIGTERM, reported by the interrupted call or wait.
    Interrupted,
}

/// A value that a task needs and could not find: how to give it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingValue {
    /// What it is, as a person would say it.
    pub name: String,
    /// The flag that takes it, if one does. Secrets have none: argv is public.
    pub flag: Option<String>,
    /// The variable that holds it, in the environment or in `docker/.env`.
    pub env: Option<String>,
    /// Whether it must never be typed where others can read it.
    pub secret: bool,
}

impl MissingValue {
    /// A value that a flag takes.
    pub fn flag(name: impl Into<String>, flag: impl Into<String>) -> MissingValue {
        MissingValue { name: name.into(), flag: Some(flag.into()), env: None, secret: false }
    }

    /// A value that only a variable holds.
    pub fn env(name: &str, env: &str) -> MissingValue {
        MissingValue { name: name.to_owned(), flag: None, env: Some(env.to_owned()), secret: false }
    }

    /// The same for a secret.
    pub fn secret(name: &str, env: &str) -> MissingValue {
        MissingValue { secret: true, ..MissingValue::env(name, env) }
    }

    /// Those that are absent, of the values that are needed.
    pub fn absent(needed: impl IntoIterator<Item = (bool, MissingValue)>) -> Vec<MissingValue> {
        needed.into_iter().filter(|(absent, _)| *absent).map(|(_, missing)| missing).collect()
    }

    /// Refuses to continue without required values.
    ///
    /// # Errors
    /// [`Code::MissingInput`] that names every absent one.
    pub fn check(needed: impl IntoIterator<Item = (bool, MissingValue)>) -> Result<(), Failure> {
        let absent = MissingValue::absent(needed);
        if absent.is_empty() { Ok(()) } else { Err(Failure::missing(absent)) }
    }
}

/// A failure with everything that its reader needs to continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: Code,
    /// For decisions in code; never shown.
    pub kind: Kind,
    /// What failed, and where.
    pub message: String,
    /// Why, as far as it is known.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
    /// Values to give, for [`Code::MissingInput`].
    pub missing: Vec<MissingValue>,
    /// Commands that lead on, most likely first.
    pub next: Vec<String>,
    /// What the task found out before it failed, for `data` of the JSON document.
    pub data: serde_json::Value,
}

impl Failure {
    /// A failure with `code`; `message` names what failed and where.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        let (cause, hint) = (String::new(), String::new());
        let data = serde_json::Value::Null;
        let kind = Kind::Other;
        Failure { code, kind, message: message.into(), cause, hint, missing: Vec::new(), next: Vec::new(), data }
    }

    /// Marks its cause for decisions in code.
    pub fn kind(mut self, kind: Kind) -> Failure {
        self.kind = kind;
        self
    }

    /// Why it failed.
    pub fn cause(mut self, cause: impl Into<String>) -> Failure {
        self.cause = cause.into();
        self
    }

    /// Sets the hint: how to fix it.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = hint.into();
        self
    }

    /// A command that leads on.
    pub fn next(mut self, command: impl Into<String>) -> Failure {
        self.next.push(command.into());
        self
    }

    /// What was found out before it failed.
    pub fn with(mut self, data: serde_json::Value) -> Failure {
        self.data = data;
        self
    }

    /// A missing value: exit 2, and the flag or variable that takes it.
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

    /// In one line: what failed, and the first line of why.
    pub fn line(&self) -> String {
        match self.cause.lines().next() {
            Some(cause) => format!("{}: {cause}", self.message),
            None => self.message.clone(),
        }
    }

    /// The failure inside `error`, or one with its chain as the cause.
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
    fn exit_codes_are_those_of_the_design() {
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
    fn a_failure_survives_context() {
        let error = anyhow::Error::new(Failure::new(Code::Refused, "no")).context("reading");
        assert_eq!(Failure::of(&error).code, Code::Refused);
    }

    #[test]
    fn a_plain_error_keeps_its_chain() {
        let error = anyhow::anyhow!("deep").context("shallow");
        let failure = Failure::of(&error);
        assert_eq!((failure.message.as_str(), failure.cause.as_str()), ("shallow", "deep"));
    }
}
