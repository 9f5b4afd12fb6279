//! Known failures of the field: data (`data/known-issues.yaml`), matched against what programs and logs say.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use model::failure::Failure;
use model::secret::redact;

/// One known failure.
#[derive(Debug, Clone)]
pub struct Issue {
    pub id: String,
    pub title: String,
    pub area: String,
    /// Where its signature shows: `provider-log`, `omnictl`, `curl`, `compose`, ….
    pub places: Vec<String>,
    /// Any of these in one line; `*` stands for any text between.
    pub signatures: Vec<String>,
    /// A line that the program really prints.
    pub sample: String,
    /// The same for signatures that `sample` does not show.
    pub more: Vec<String>,
    pub cause: String,
    pub fix: String,
    pub next: String,
    pub versions: String,
    pub reference: String,
}

model::read!(Issue {
    id,
    title,
    area,
    places as "where",
    signatures as "match",
    sample,
    more or Vec::new(),
    cause,
    fix,
    next,
    versions,
    reference,
});

/// All known issues.
///
/// # Errors
/// When the data is not understood; a test holds that it is.
pub fn issues() -> Result<Vec<Issue>, String> {
    serde_yaml::from_str(include_str!("../../data/known-issues.yaml")).map_err(|error| error.to_string())
}

/// The issues of which `line` bears a signature, whatever it is dressed in.
pub fn borne<'a>(issues: &'a [Issue], line: &str) -> impl Iterator<Item = &'a Issue> {
    let line = said(line);
    issues.iter().filter(move |issue| line.as_deref().is_some_and(|line| bears(issue, line)))
}

/// Whether what was said has one of the issue's signatures.
fn bears(issue: &Issue, said: &str) -> bool {
    issue.signatures.iter().any(|signature| contains(said, signature))
}

/// Omni's access log: what each call was answered, and with what it came. A refusal there is its caller's, and a healthy
/// Omni writes some at every start (grpc-ecosystem/go-grpc-middleware v1 `logging/zap/options.go`).
const ACCESS: [&str; 2] = ["\"msg\":\"finished unary call with code ", "\"msg\":\"finished streaming call with code "];

/// What a program said in a line, without the colours of a terminal and the escapes of a log that keeps lines in JSON
/// (Docker's json-file driver, `journalctl -o json`); `None` for a line that tells nothing of a fault.
fn said(line: &str) -> Option<Cow<'_, str>> {
    let plain = plain(line);
    (!ACCESS.iter().any(|access| plain.contains(access))).then_some(plain)
}

fn plain(line: &str) -> Cow<'_, str> {
    if !line.contains(['\\', '\u{1b}']) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['\\', '\u{1b}']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let escaped = rest.trim_start_matches('\\');
        let colour = escaped.strip_prefix("u001b[").or_else(|| rest.strip_prefix("\u{1b}["));
        if let Some(colour) = colour {
            // ECMA-48: parameters, then one letter.
            let end = colour.find(|c: char| !matches!(c, '0'..='9' | ';' | '?')).unwrap_or(colour.len());
            rest = colour[end..].strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(&colour[end..]);
            continue;
        }
        let letters = [("\"", '"'), ("u003c", '<'), ("u003e", '>'), ("u0026", '&')];
        let known = letters.iter().find_map(|(name, letter)| Some((escaped.strip_prefix(name)?, *letter)));
        match known {
            Some((after, letter)) if escaped.len() < rest.len() => {
                out.push(letter);
                rest = after;
            }
            _ => {
                let length = rest.chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..length]);
                rest = &rest[length..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Whether the parts of `signature` between its `*` stand in `line` in their order.
fn contains(line: &str, signature: &str) -> bool {
    let mut rest = line;
    signature.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The issues that `text` bears, each once with the first line that shows it, in the order of the lines.
pub fn find<'a>(issues: &'a [Issue], text: &str) -> Vec<(&'a Issue, String)> {
    let mut found: Vec<(&Issue, String)> = Vec::new();
    for line in text.lines() {
        for issue in borne(issues, line) {
            if !found.iter().any(|(known, _)| known.id == issue.id) {
                found.push((issue, line.trim().to_owned()));
            }
        }
    }
    found
}

/// Issues by four bytes that each of their signatures has: a log of a hundred thousand lines is walked once, and not once for
/// each of the signatures.
struct Index<'a> {
    issues: &'a [Issue],
    /// For each hash of four bytes, which issues have a signature with them.
    by_bytes: Vec<Vec<u16>>,
}

const BYTES: usize = 4;
const HASHES: usize = 1 << 12;

impl<'a> Index<'a> {
    fn new(issues: &'a [Issue]) -> Index<'a> {
        let mut by_bytes = vec![Vec::new(); HASHES];
        for (number, issue) in (0_u16..).zip(issues) {
            for signature in &issue.signatures {
                let part = signature.split('*').max_by_key(|part| part.len()).unwrap_or_default();
                // A shorter one would be found nowhere; a test holds that there is none.
                if let Some(bytes) = part.as_bytes().last_chunk() {
                    by_bytes[hash(*bytes)].push(number);
                }
            }
        }
        Index { issues, by_bytes }
    }

    /// The issues of which `line` bears a signature, in their order.
    fn borne(&self, line: &str) -> Vec<&'a Issue> {
        let mut near: Vec<u16> = Vec::new();
        let bytes = line.as_bytes();
        let mut at = 0;
        while let Some(four) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            near.extend(&self.by_bytes[hash(*four)]);
            at += 1;
        }
        near.sort_unstable();
        near.dedup();
        let near = near.into_iter().map(|number| &self.issues[usize::from(number)]);
        near.filter(|issue| bears(issue, line)).collect()
    }
}

fn hash(bytes: [u8; BYTES]) -> usize {
    // Knuth's multiplicative hash, its upper twelve bits.
    (u32::from_le_bytes(bytes).wrapping_mul(2_654_435_761) >> 20) as usize
}

/// A known issue in a log, at the line that shows it first.
#[derive(Debug, Clone)]
pub struct Hit<'a> {
    pub issue: &'a Issue,
    /// The number of the line, from 1.
    pub line: usize,
    pub text: String,
    /// How many lines bear it.
    pub count: usize,
}

/// The issue's own fields, without the samples of its other signatures, and where it was seen.
impl Serialize for Hit<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Issue { id, title, area, sample, cause, fix, next, versions, reference, .. } = self.issue;
        let mut map = serializer.serialize_map(None)?;
        let fields = [("id", id), ("title", title), ("area", area), ("sample", sample), ("cause", cause), ("fix", fix)];
        let more = [("next", next), ("versions", versions), ("reference", reference), ("text", &self.text)];
        for (key, value) in fields.into_iter().chain(more) {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("where", &self.issue.places)?;
        map.serialize_entry("match", &self.issue.signatures)?;
        map.serialize_entry("line", &self.line)?;
        map.serialize_entry("count", &self.count)?;
        map.end()
    }
}

/// What an answer shows of a line: a whole machine configuration may stand on one.
const SHOWN: usize = 400;

/// The issues that `text` bears, each once, in the order of the lines.
pub fn hits<'a>(issues: &'a [Issue], text: &str) -> Vec<Hit<'a>> {
    let mut found: Vec<Hit<'a>> = Vec::new();
    let index = Index::new(issues);
    for (number, line) in text.lines().enumerate() {
        let Some(plain) = said(line) else { continue };
        for issue in index.borne(&plain) {
            match found.iter_mut().find(|hit| hit.issue.id == issue.id) {
                Some(hit) => hit.count += 1,
                None => {
                    // Wiped first: a secret that is cut in two is not known any more.
                    let text: String = redact(plain.trim()).chars().take(SHOWN).collect();
                    found.push(Hit { issue, line: number + 1, text, count: 1 });
                }
            }
        }
    }
    found
}

/// A known issue as people read it.
pub fn shown(issue: &Issue) -> String {
    format!(
        "known issue {}: {}\n  cause: {}\n    fix: {}\n   next: {}\n    ref: {}",
        issue.id,
        issue.title,
        issue.cause.trim(),
        issue.fix.trim(),
        issue.next,
        issue.reference
    )
}

/// `failure` with what is known about it in the field, where its own hint says nothing.
pub fn enrich(mut failure: Failure) -> Failure {
    if !failure.hint.is_empty() {
        return failure;
    }
    let Ok(issues) = issues() else { return failure };
    let text = format!("{}\n{}", failure.message, failure.cause);
    if let Some((issue, _)) = find(&issues, &text).into_iter().next() {
        failure.hint = format!("known issue `{}`: {} {}", issue.id, issue.cause.trim(), issue.fix.trim());
        if failure.next.is_empty() {
            failure.next.push(issue.next.clone());
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bears(issue: &Issue, line: &str) -> bool {
        borne(std::slice::from_ref(issue), line).next().is_some()
    }

    #[test]
    fn each_signature_fits_its_own_sample_and_no_other() {
        let issues = issues().unwrap();
        assert!(issues.len() >= 60, "{} known issues", issues.len());
        for issue in &issues {
            let lines: Vec<&String> = [&issue.sample].into_iter().chain(&issue.more).collect();
            for signature in &issue.signatures {
                let shown = lines.iter().any(|line| contains(line, signature));
                assert!(shown, "{}: no sample shows the signature {signature:?}", issue.id);
                let alone = signature.replace('*', " x ");
                let hit = hits(&issues, &alone).iter().any(|hit| hit.issue.id == issue.id);
                assert!(hit, "{}: {signature:?} is in no log: has it a part of {BYTES} bytes?", issue.id);
            }
            for line in lines {
                assert!(bears(issue, line), "{}: its signatures do not fit its sample {line:?}", issue.id);
                let others: Vec<_> = issues.iter().filter(|other| other.id != issue.id && bears(other, line)).collect();
                assert!(others.is_empty(), "{}: its sample {line:?} also fits {}", issue.id, others[0].id);
            }
        }
    }

    #[test]
    fn a_hit_has_its_first_line_and_its_count() {
        let issues = issues().unwrap();
        let text = format!("nothing\n{0}\n{1}\r\n{0}\n", issues[0].sample, issues[1].sample);
        let found = hits(&issues, &text);
        let seen: Vec<_> = found.iter().map(|hit| (hit.issue.id.as_str(), hit.line, hit.count)).collect();
        assert_eq!(seen, [(issues[0].id.as_str(), 2, 2), (issues[1].id.as_str(), 3, 1)]);
        assert!(hits(&issues, "all is well\n").is_empty());
    }

    /// As logs are pasted: with prefixes, in colour, kept in JSON once or twice.
    #[test]
    fn each_sample_is_found_whatever_it_is_dressed_in() {
        let issues = issues().unwrap();
        let json = |line: &str| serde_json::to_string(line).unwrap().replace('<', "\\u003c").replace('>', "\\u003e");
        for issue in &issues {
            for line in [&issue.sample].into_iter().chain(&issue.more) {
                let coloured = line.replace(' ', "\u{1b}[0m \u{1b}[1;31m");
                let kept =
                    format!("{{\"log\":{},\"stream\":\"stderr\",\"time\":\"2026-11-22T02:12:11Z\"}}", json(line));
                let dresses = [
                    format!("\u{1b}[36momni-1              | \u{1b}[0m{line}\r"),
                    format!("Nov 22 02:12:11 omni dockerd[812]: {line}"),
                    format!("2026-11-22T02:12:11.009935980Z {line}"),
                    format!("> {line}"),
                    format!("\u{1b}[90m10:11AM\u{1b}[0m \u{1b}[31mERR\u{1b}[0m {coloured}\u{1b}[0m"),
                    format!("{{\"MESSAGE\":{}}}", json(&coloured)),
                    kept.clone(),
                    format!("{{\"line\":{}}}", json(&kept)),
                ];
                for dressed in dresses {
                    let found: Vec<&str> = hits(&issues, &dressed).iter().map(|hit| hit.issue.id.as_str()).collect();
                    assert_eq!(found, [issue.id.as_str()], "{dressed}");
                    assert!(bears(issue, &dressed) && find(&issues, &dressed).len() == 1, "{dressed}");
                }
            }
        }
    }

    /// As a healthy Omni 1.4.9 writes, recorded and cut: a cluster is asked for before it is made, a call comes without a signature.
    #[test]
    fn what_omni_answered_a_caller_is_no_fault_of_its_own() {
        let access = |call: &str, error: &str| {
            format!(
                "{{\"level\":\"info\",\"caller\":\"zap/options.go:212\",\"msg\":\"finished {call} call with code X\",\"error\":\"{error}\",\"grpc.code\":\"X\"}}"
            )
        };
        let issues = issues().unwrap();
        for (call, error) in [
            (
                "unary",
                "rpc error: code = NotFound desc = resource Clusters.omni.sidero.dev(default/demo@undefined) doesn't exist",
            ),
            (
                "unary",
                "rpc error: code = AlreadyExists desc = failed to create: resource InfraProviders.omni.sidero.dev(infra-provider/proxmox@undefined) already exists",
            ),
            ("streaming", "rpc error: code = Unauthenticated desc = invalid signature"),
        ] {
            let line = access(call, error);
            assert!(hits(&issues, &line).is_empty() && find(&issues, &line).is_empty(), "{line}");
            assert_eq!(hits(&issues, &format!("Error: {error}")).len(), 1, "omnictl says so: {error}");
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        assert!(contains("a b c d", "b*d"));
        assert!(!contains("d b", "b*d"));
    }
}
