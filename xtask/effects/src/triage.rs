//! Known failures of the field: data (`data/known-issues.yaml`), matched against what programs and logs say.

use serde::ser::{Serialize, SerializeMap, Serializer};

use model::failure::Failure;

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

/// Whether `line` bears one of the issue's signatures.
pub fn bears(issue: &Issue, line: &str) -> bool {
    issue.signatures.iter().any(|signature| contains(line, signature))
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
        for issue in issues {
            if bears(issue, line) && !found.iter().any(|(known, _)| known.id == issue.id) {
                found.push((issue, line.trim().to_owned()));
            }
        }
    }
    found
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
    // A log may be millions of empty or very short lines.
    let shortest = issues.iter().flat_map(|issue| &issue.signatures).map(|text| text.replace('*', "").len()).min();
    let long_enough = |line: &str| shortest.is_some_and(|shortest| line.len() >= shortest);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| long_enough(line)) {
        for issue in issues.iter().filter(|issue| bears(issue, line)) {
            match found.iter_mut().find(|hit| hit.issue.id == issue.id) {
                Some(hit) => hit.count += 1,
                None => {
                    let text: String = line.trim().chars().take(SHOWN).collect();
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

    #[test]
    fn each_signature_fits_its_own_sample_and_no_other() {
        let issues = issues().unwrap();
        assert!(issues.len() >= 60, "{} known issues", issues.len());
        for issue in &issues {
            let lines: Vec<&String> = [&issue.sample].into_iter().chain(&issue.more).collect();
            for signature in &issue.signatures {
                let shown = lines.iter().any(|line| contains(line, signature));
                assert!(shown, "{}: no sample shows the signature {signature:?}", issue.id);
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

    #[test]
    fn stars_stand_for_any_text() {
        assert!(contains("a b c d", "b*d"));
        assert!(!contains("d b", "b*d"));
    }
}
