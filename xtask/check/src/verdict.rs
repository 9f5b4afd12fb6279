//! The verdict that the real program would return, as opposed to this check's own findings.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::rules::{self, Effect};
use yaml::Finding;

/// The verdict of the program that reads the file: omnictl's `cluster template validate` for a template, Omni's server for a
/// new machine class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Verdict {
    Accept,
    Reject,
    /// It depends on something that is not known here: a schema, a file, a server.
    Unknown,
}

impl Verdict {
    /// Returns the word used in text and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the verdict that follows from findings, by each rule's effect; `open` means that something is undecided.
    pub fn of(findings: &[Finding], open: bool) -> Verdict {
        let has = |effect| findings.iter().any(|f| rules::find(f.rule).is_some_and(|r| r.effect == effect));
        if has(Effect::Rejects) {
            Verdict::Reject
        } else if open || has(Effect::Depends) {
            Verdict::Unknown
        } else {
            Verdict::Accept
        }
    }
}

/// A file that was checked. As JSON `{file, omnictl|server, findings}`, with `schema` for a
/// machine class, and `undecided` if something is undecided.
#[derive(Debug, Clone)]
pub struct FileCheck<T> {
    pub file: String,
    /// The content of the file, as far as it could be read.
    pub value: Option<T>,
    pub verdict: Verdict,
    /// The program whose verdict it is: `omnictl` or `server`.
    pub program: &'static str,
    /// The provider schemas that were used, for machine classes: "proxmox: from Omni", "built in".
    pub schema: Option<String>,
    /// Why the verdict is unknown, in addition to the findings.
    pub undecided: Vec<String>,
    pub findings: Vec<Finding>,
}

impl<T> FileCheck<T> {
    /// Replaces the content with `part` of it.
    pub fn map<U>(self, part: impl FnOnce(T) -> Option<U>) -> FileCheck<U> {
        let FileCheck { file, value, verdict, program, schema, undecided, findings } = self;
        FileCheck { file, value: value.and_then(part), verdict, program, schema, undecided, findings }
    }
}

impl<T> Serialize for FileCheck<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Checked", 5)?;
        s.serialize_field("file", &self.file)?;
        s.serialize_field(self.program, self.verdict.as_str())?;
        if let Some(schema) = &self.schema {
            s.serialize_field("schema", schema)?;
        }
        if !self.undecided.is_empty() {
            s.serialize_field("undecided", &self.undecided)?;
        }
        s.serialize_field("findings", &self.findings)?;
        s.end()
    }
}
