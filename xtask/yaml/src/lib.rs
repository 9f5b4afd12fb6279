//! Safe YAML parsing: every key and value has its line and column, and the result for any file is a tree or a finding with a
//! position, within 200 MB and 2 s. It is a separate crate so that it can be compiled with optimization.
//!
//! [`load`] parses a file into a [`Stream`] of documents with [`Node`]s. A [`Finding`] is what checks report, here and in the
//! crates that depend on this one. [`emit`](emit()) and [`quote`](quote()) write YAML that reads back as the same values.
//!
//! 1. Reject files that are too large, are not UTF-8 or contain control characters, before any parser sees them.
//! 2. Read events from libyaml, which Omni's own YAML library (go.yaml.in/yaml) was ported from.
//! 3. Build one tree per document within a budget, which stops alias bombs: an alias costs as much as the tree that it refers to.
//! 4. Stop at the first syntax error and keep the documents before it.
//!
//! serde is not used: it loses all positions except those of its own errors, and even those once a tagged enum or `flatten` is
//! involved.

mod emit;
mod events;
mod finding;
mod position;
mod quote;
mod scalar;
mod text;
mod tree;

pub use emit::emit;
pub use finding::{Finding, Severity};
pub use position::{Location, Position};
pub use quote::quote;
pub use scalar::{Scalar, Style, Value};
pub use text::TextPosition;
pub use tree::{CopyOrigin, Data, Document, Entry, Node};

/// Larger files are rejected without reading them: no machine accepts a configuration of that size (its API reads gRPC messages
/// of up to 4 MiB). Omni compresses what it stores, so its etcd has no lower limit.
pub const MAX_BYTES: usize = 4 << 20;
/// Maximum number of documents in a stream.
pub const MAX_DOCUMENTS: usize = 1000;
/// Maximum nesting; real classes, templates, Talos patches and Kubernetes manifests have far less.
pub const MAX_DEPTH: usize = 100;
/// The budget of a stream: a node costs 80 bytes plus its text, an alias costs as much as the tree that it refers to.
const BUDGET: usize = 24 << 20;
const NODE_COST: usize = 80;

/// A stream, parsed up to its end or its first error.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// The complete documents, in order. A file with only comments has none.
    pub documents: Vec<Document>,
    /// Findings about the YAML itself: an error if the stream could not be read to its end.
    pub findings: Vec<Finding>,
}

impl Stream {
    /// Returns true if the stream could not be read to its end. Duplicate keys, which are all in the tree, and UTF-16 do not
    /// count.
    pub fn is_broken(&self) -> bool {
        self.findings.iter().any(|f| f.is_error() && !matches!(f.rule, "yaml-duplicate-key" | "yaml-utf16"))
    }
}

/// Parses a whole file. Never panics; see the limits in the crate documentation.
pub fn load(file: &str, bytes: &[u8]) -> Stream {
    let start = Position::START.in_file(file);
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than the {MAX_BYTES} that are read", bytes.len());
        let fix = "split it, or reference large manifests by URL in cluster.extraManifests";
        return broken_stream(Finding::error("yaml-too-large", start, message, fix));
    }
    let mut findings = Vec::new();
    let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
        Some(rest) => {
            let fix = "save it as UTF-8 without a BOM: YAML does not need it, and shells and diffs fail on it";
            let message = "the file starts with a byte order mark";
            findings.push(Finding::warning("yaml-bom", start.clone(), message, fix));
            rest
        }
        None => bytes,
    };
    let wide = match text::utf16(bytes) {
        Some(Ok(wide)) => {
            let message = "the file is UTF-16, which Omni's programs can read but most others cannot";
            findings.push(Finding::error("yaml-utf16", start, message, "save the file as UTF-8"));
            Some(wide)
        }
        Some(Err(good)) => {
            let place = TextPosition::whole_file().place_of_end(file, &good);
            let message = "the file starts as UTF-16, but this is not a valid UTF-16 character";
            return broken_stream(Finding::error("yaml-encoding", place, message, "save the file as UTF-8"));
        }
        None => None,
    };
    let text = match wide.as_deref().map_or_else(|| std::str::from_utf8(bytes), Ok) {
        Ok(text) => text,
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let place = TextPosition::whole_file().place_of_end(file, &String::from_utf8_lossy(good));
            let message = format!("byte {:#04x} is not valid UTF-8", bytes[error.valid_up_to()]);
            return broken_stream(Finding::error("yaml-encoding", place, message, "save the file as UTF-8"));
        }
    };
    let mut stream = load_text(file, text, TextPosition::whole_file());
    if let Some(at) = text::first_carriage_return(text) {
        let fix = "convert it to LF, and add `*.yaml text eol=lf` to .gitattributes";
        let message = "the file has Windows line endings (CRLF)";
        findings.push(Finding::warning("yaml-crlf", at.in_file(file), message, fix));
    }
    findings.append(&mut stream.findings);
    stream.findings = findings;
    stream
}

/// Returns a finding if a text exceeds a limit of size, depth or aliases, for parsers without such limits. The message quotes
/// nothing from the text, which may contain secrets.
pub fn limit(file: &str, text: &str) -> Option<Finding> {
    let findings = load(file, text.as_bytes()).findings;
    findings.into_iter().find(|f| matches!(f.rule, "yaml-too-large" | "yaml-too-deep" | "yaml-alias-bomb"))
}

/// Parses YAML inside a scalar of another YAML file (`providerdata: |`); positions are those of the outer file.
pub fn load_embedded(file: &str, text: &str, origin: TextPosition) -> Stream {
    if text.len() > MAX_BYTES {
        let message = format!("the text has {} bytes, more than the {MAX_BYTES} that are read", text.len());
        return broken_stream(Finding::error(
            "yaml-too-large",
            origin.place(file, Position::START),
            message,
            "make it shorter",
        ));
    }
    // Go's YAML library skips a byte order mark.
    load_text(file, text.strip_prefix('\u{feff}').unwrap_or(text), origin)
}

fn load_text(file: &str, text: &str, origin: TextPosition) -> Stream {
    let hidden = text::hide_controls(text);
    let mut builder = tree::Builder::new(file, hidden.as_deref().unwrap_or(text), origin, BUDGET);
    builder.hidden = hidden.is_some();
    let mut stream = Stream::default();
    loop {
        match builder.document() {
            Ok(Some(document)) if stream.documents.len() >= MAX_DOCUMENTS => {
                let message = format!("the stream has more than {MAX_DOCUMENTS} documents");
                let place = document.root.at.in_file(file);
                builder.findings.push(Finding::error("yaml-too-large", place, message, "split it"));
                break;
            }
            Ok(Some(document)) => stream.documents.push(document),
            Ok(None) => break,
            Err(finding) => {
                builder.findings.push(finding);
                break;
            }
        }
    }
    stream.findings = builder.findings;
    stream
}

fn broken_stream(finding: Finding) -> Stream {
    Stream { findings: vec![finding], ..Stream::default() }
}
