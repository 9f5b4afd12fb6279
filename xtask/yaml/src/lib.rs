//! Safe reading of YAML: every key and value keeps its line and column, and for any file the result is a tree or a finding
//! with a position, within 200 MB and 2 s. It is a crate of its own because it is compiled with optimization.
//!
//! [`load`] reads a file into a [`Stream`] of documents, whose [`Node`]s are what checks look at. A [`Finding`] is what a check
//! reports, here and in the crates above. [`emit`](emit()) and [`quote`](quote()) write YAML that reads back as the same values.
//!
//! 1. Refuse files that are too large, not UTF-8 or contain control characters, before any parser sees them.
//! 2. Read events from libyaml, the parser that Omni's own YAML library (go.yaml.in/yaml) was ported from.
//! 3. Build one tree per document within a budget, which stops alias bombs: an alias costs as much as the tree that it
//!    refers to.
//! 4. Stop at the first syntax error and keep the documents before it.
//!
//! Not serde: it loses the position of everything but its own errors, and the position of those too as soon as a
//! tagged enum or `flatten` is involved.

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

/// Files larger than this are refused unread: no machine takes a configuration of that size (its API reads gRPC messages of up
/// to 4 MiB). Omni's store compresses what it keeps, so its etcd sets no limit below that.
pub const MAX_BYTES: usize = 4 << 20;
/// Documents of one stream that are read.
pub const MAX_DOCUMENTS: usize = 1000;
/// Nesting that no class, template, Talos patch or Kubernetes manifest comes near to.
pub const MAX_DEPTH: usize = 100;
/// The budget of one stream: every node counts 80 bytes plus its text, an alias counts the tree that it refers to.
const BUDGET: usize = 24 << 20;
const NODE_COST: usize = 80;

/// A stream read to its end or to its first error.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// The documents that were read in full, in order. A file of comments alone has none.
    pub documents: Vec<Document>,
    /// What is wrong with the YAML itself: an error if the stream could not be read to its end.
    pub findings: Vec<Finding>,
}

impl Stream {
    /// True if the stream could not be read to its end; duplicate keys do not count, the tree has both, and neither does
    /// UTF-16.
    pub fn is_broken(&self) -> bool {
        self.findings.iter().any(|f| f.is_error() && !matches!(f.rule, "yaml-duplicate-key" | "yaml-utf16"))
    }
}

/// Reads a whole file. Never panics; see the module's limits.
pub fn load(file: &str, bytes: &[u8]) -> Stream {
    let start = Position::START.in_file(file);
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than the {MAX_BYTES} that are read", bytes.len());
        let fix = "split it, or name large manifests by URL in cluster.extraManifests";
        return broken(Finding::error("yaml-too-large", start, message, fix));
    }
    let mut findings = Vec::new();
    let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
        Some(rest) => {
            let fix = "save it as UTF-8 without BOM: YAML does not need it, and shells and diffs fail on it";
            let message = "the file starts with a byte order mark";
            findings.push(Finding::warning("yaml-bom", start.clone(), message, fix));
            rest
        }
        None => bytes,
    };
    let wide = match text::utf16(bytes) {
        Some(Ok(wide)) => {
            let message = "the file is UTF-16, which Omni's programs read and most others do not";
            findings.push(Finding::error("yaml-utf16", start, message, "save the file as UTF-8"));
            Some(wide)
        }
        Some(Err(good)) => {
            let place = TextPosition::whole_file().place_of_end(file, &good);
            let message = "the file starts as UTF-16, but this is not a valid UTF-16 character";
            return broken(Finding::error("yaml-encoding", place, message, "save the file as UTF-8"));
        }
        None => None,
    };
    let text = match wide.as_deref().map_or_else(|| std::str::from_utf8(bytes), Ok) {
        Ok(text) => text,
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let place = TextPosition::whole_file().place_of_end(file, &String::from_utf8_lossy(good));
            let message = format!("byte {:#04x} is not valid UTF-8", bytes[error.valid_up_to()]);
            return broken(Finding::error("yaml-encoding", place, message, "save the file as UTF-8"));
        }
    };
    let mut stream = load_text(file, text, TextPosition::whole_file());
    if let Some(at) = text::first_carriage_return(text) {
        let fix = "convert it to LF and pin that with `*.yaml text eol=lf` in .gitattributes";
        let message = "the file has Windows line endings (CRLF)";
        findings.push(Finding::warning("yaml-crlf", at.in_file(file), message, fix));
    }
    findings.append(&mut stream.findings);
    stream.findings = findings;
    stream
}

/// Which limit of size, depth or aliases a text breaks, for readers that have none of their own. The message quotes nothing of
/// the text, which may hold secrets.
pub fn limit(file: &str, text: &str) -> Option<Finding> {
    let findings = load(file, text.as_bytes()).findings;
    findings.into_iter().find(|f| matches!(f.rule, "yaml-too-large" | "yaml-too-deep" | "yaml-alias-bomb"))
}

/// Reads YAML inside a scalar of another YAML file (`providerdata: |`); positions are those of the outer file.
pub fn load_inner(file: &str, text: &str, origin: TextPosition) -> Stream {
    if text.len() > MAX_BYTES {
        let message = format!("the text has {} bytes, more than the {MAX_BYTES} that are read", text.len());
        return broken(Finding::error(
            "yaml-too-large",
            origin.place(file, Position::START),
            message,
            "make it shorter",
        ));
    }
    // The library skips a byte order mark.
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

fn broken(finding: Finding) -> Stream {
    Stream { findings: vec![finding], ..Stream::default() }
}
