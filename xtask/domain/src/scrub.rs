//! Removes secrets from everything that leaves this host: known values, and text in the format of a secret
//! (`data/secret-kinds.yaml`), whether plain, escaped, base64-encoded or percent-encoded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use regex::{Regex, RegexSet};
use serde::Deserialize;
use serde_json::Value;

use crate::placeholder::is_placeholder;
use crate::secret;

/// The replacement for a secret: a plain word in YAML, JSON and `docker/.env`.
pub const REMOVED: &str = "REMOVED";
/// The kinds under which removed values are counted: values known to this host, and values found by their name.
const KNOWN: &str = "known-value";
const NAMED: &str = "named-value";
/// Minimum length of a secret in bytes.
const SHORTEST: usize = 12;
/// Maximum nesting of base64, for example the key in a kubeconfig that is itself in a Kubernetes secret.
const DEPTH: usize = 3;
/// Maximum length of a word in prose.
const WORD: usize = 15;
/// Maximum number of bytes of base64 that is wrapped over lines.
const FOLDED: usize = 32 << 10;

#[derive(Deserialize)]
struct Table {
    names: Vec<String>,
    coded: Vec<String>,
    public: Vec<String>,
    kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    id: String,
    #[serde(rename = "match")]
    form: String,
}

/// Removes secrets and counts them by kind.
pub struct Scrubber {
    table: Table,
    forms: Vec<Regex>,
    any: RegexSet,
    name: Regex,
    /// Every line with a named secret contains one of these words.
    marks: AhoCorasick,
    /// Known values in all their encodings, and whether each is a short word.
    known: Option<(AhoCorasick, Vec<bool>)>,
    run: Regex,
    percent: Regex,
    decoder: GeneralPurpose,
    counts: BTreeMap<String, u64>,
}

impl Scrubber {
    /// Creates a scrubber for the secrets that this process has read so far.
    ///
    /// # Errors
    /// Returns an error if the table of kinds is not valid; a test checks that it is.
    pub fn new() -> Result<Scrubber, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let table: Table =
            serde_yaml::from_str(include_str!("../../data/secret-kinds.yaml")).map_err(|error| text(&error))?;
        let regex = |form: &str| Regex::new(form).map_err(|error| text(&error));
        let forms = table.kinds.iter().map(|kind| regex(&kind.form)).collect::<Result<_, _>>()?;
        let any = RegexSet::new(table.kinds.iter().map(|kind| &kind.form)).map_err(|error| text(&error))?;
        let insensitive = |words: Vec<&String>| {
            AhoCorasick::builder().ascii_case_insensitive(true).build(words).map_err(|error| text(&error))
        };
        let marks = insensitive(table.names.iter().chain(&table.coded).collect())?;
        let lenient = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
        let lenient = lenient.with_decode_padding_mode(DecodePaddingMode::Indifferent);
        Ok(Scrubber {
            forms,
            any,
            marks,
            known: known(&secret::known()).map_err(|error| text(&error))?,
            name: regex(r#"([A-Za-z0-9_.-]+)\\*["']?\]?(?:[ \t]*(?::=|=>|[:=])[ \t]*|[ \t]+)"#)?,
            run: regex(r"[A-Za-z0-9+/_-]{12,}={0,2}")?,
            percent: regex(r#"[^\s"'<>]*%[0-9A-Fa-f]{2}[^\s"'<>]*"#)?,
            decoder: GeneralPurpose::new(&base64::alphabet::STANDARD, lenient),
            table,
            counts: BTreeMap::new(),
        })
    }

    /// Returns the number of secrets removed since the last call, by kind.
    pub fn take_counts(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.counts)
    }

    fn count(&mut self, kind: &str) {
        *self.counts.entry(kind.to_owned()).or_default() += 1;
    }

    /// Replaces the ranges in `found`, which must be sorted, with [`REMOVED`] and counts them by kind.
    fn remove<'t>(&mut self, text: Cow<'t, str>, found: Vec<(String, Range<usize>)>) -> Cow<'t, str> {
        if found.is_empty() {
            return text;
        }
        let (mut out, mut from) = (String::with_capacity(text.len()), 0);
        for (kind, part) in found {
            self.count(&kind);
            out.push_str(&text[from..part.start]);
            out.push_str(REMOVED);
            from = part.end;
        }
        Cow::Owned(out + &text[from..])
    }

    /// Returns `text` without its secrets.
    pub fn text(&mut self, text: &str) -> String {
        let text = self.remove_known(text);
        if text.len() < SHORTEST {
            return text.into_owned();
        }
        let text = self.remove_forms(text);
        let text = self.remove_named(text);
        let text = self.remove_percent_encoded(text);
        self.remove_base64(text).into_owned()
    }

    /// Removes the secrets from a document; `name` is the key of `value`.
    pub fn json(&mut self, name: &str, value: &mut Value) {
        match value {
            Value::String(text) if self.is_secret(name, text, Place::Quoted) => {
                self.count(NAMED);
                *text = REMOVED.to_owned();
            }
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(name, item)),
            Value::Object(map) => {
                let old = std::mem::take(map);
                for (key, mut value) in old {
                    self.json(&key, &mut value);
                    map.insert(if key.len() < SHORTEST { key } else { self.text(&key) }, value);
                }
            }
            _ => {}
        }
    }

    fn remove_known<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let Some((values, short)) = &self.known else { return Cow::Borrowed(text) };
        let whole = |from: usize, to: usize| {
            let edges = [text[..from].chars().next_back(), text[to..].chars().next()];
            !edges.into_iter().flatten().any(char::is_alphanumeric)
        };
        let hits =
            values.find_iter(text).filter(|hit| !short[hit.pattern().as_usize()] || whole(hit.start(), hit.end()));
        let found = hits.map(|hit| (KNOWN.to_owned(), hit.range())).collect();
        self.remove(Cow::Borrowed(text), found)
    }

    fn remove_forms<'t>(&mut self, mut text: Cow<'t, str>) -> Cow<'t, str> {
        for at in self.any.matches(&text) {
            let hits = self.forms[at].captures_iter(&text).filter_map(|found| found.name("s").or_else(|| found.get(0)));
            let hits = hits.filter(|hit| hit.as_str() != REMOVED && !is_placeholder(hit.as_str()));
            let found = hits.map(|hit| (self.table.kinds[at].id.clone(), hit.range())).collect();
            text = self.remove(text, found);
        }
        text
    }

    fn remove_named<'t>(&mut self, text: Cow<'t, str>) -> Cow<'t, str> {
        if !self.marks.is_match(&*text) {
            return text;
        }
        let (mut out, mut block) = (String::with_capacity(text.len()), None);
        let mut lines = text.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            let indent = indent_of(line);
            match block {
                Some(above) if line.trim().is_empty() || indent > above => continue,
                _ => block = None,
            }
            if !self.marks.is_match(line) {
                out.push_str(line);
                continue;
            }
            let below = lines.peek().is_some_and(|next| {
                let item = next.trim_start();
                indent_of(next) > indent && (item.starts_with("- ") || !item.contains(':'))
            });
            let (line, opened) = self.remove_named_from_line(line, below);
            out.push_str(&line);
            block = opened.then_some(indent);
        }
        Cow::Owned(out)
    }

    /// Returns a line without its named secrets, and whether the last value continues on the lines below.
    fn remove_named_from_line(&mut self, line: &str, below: bool) -> (String, bool) {
        let (mut secrets, mut at) = (Vec::new(), 0);
        while let Some(found) = self.name.captures_at(line, at) {
            let (Some(whole), Some(name)) = (found.get(0), found.get(1)) else { break };
            at = whole.end();
            let place = place_of(line, name.start(), whole.as_str());
            let rest = line[at..].trim_end_matches(['\n', '\r']);
            let block = rest.starts_with(['|', '>']) || rest.trim().is_empty() && below;
            if block && self.ends_secret(name.as_str(), &self.table.names) {
                self.count(NAMED);
                let line = self.remove(Cow::Borrowed(&line[..at]), secrets);
                return (format!("{} {REMOVED}\n", line.trim_end()), true);
            }
            let (start, end) = value_in(rest, place);
            // Without a separator, name and value must be the whole line.
            let alone = whole.as_str().contains([':', '=']) || name.start() == indent_of(line) && end == rest.len();
            if alone && self.is_secret(name.as_str(), &rest[start..end], place) {
                secrets.push((NAMED.to_owned(), at + start..at + end));
                at += end;
            }
        }
        (self.remove(Cow::Borrowed(line), secrets).into_owned(), false)
    }

    fn ends_secret(&self, name: &str, endings: &[String]) -> bool {
        let name = name.to_ascii_lowercase();
        let ends = |ending: &String| name.ends_with(ending.as_str());
        endings.iter().any(ends) && !self.table.public.iter().any(|part| name.contains(part.as_str()))
    }

    /// Whether `value` is a secret when it has this name.
    fn is_secret(&self, name: &str, value: &str, place: Place) -> bool {
        let plain = ["", REMOVED, "***", "true", "false", "null", "none", "~", "yes", "no", "{", "[", "{}", "[]"];
        if plain.contains(&value.to_ascii_lowercase().as_str()) || value == REMOVED || is_placeholder(value) {
            return false;
        }
        if self.ends_secret(name, &self.table.names) {
            // Not secrets: the words of `invalid token: signature is invalid`, and a number of tokens.
            return match place {
                Place::Prose => value.len() > WORD || !value.bytes().all(|byte| byte.is_ascii_alphabetic()),
                Place::Json => !value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with(['{', '[']),
                _ => true,
            };
        }
        let coded = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
        value.len() >= 20
            && value.chars().all(coded)
            && !value.starts_with(['/', '.'])
            && !["age1", "ssh-"].iter().any(|start| value.starts_with(start))
            && !is_uuid(value)
            && self.ends_secret(name, &self.table.coded)
    }

    /// Returns the first kind of secret in decoded text.
    fn find_secret_kind(&self, text: &str, depth: usize) -> Option<String> {
        if let Some(at) = self.any.matches(text).iter().next() {
            return Some(self.table.kinds[at].id.clone());
        }
        let named = || {
            let mut places = self.name.captures_iter(text).filter_map(|found| Some((found.get(0)?, found.get(1)?)));
            places.any(|(whole, name)| {
                let place = place_of(text, name.start(), whole.as_str());
                let rest = text[whole.end()..].split('\n').next().unwrap_or_default();
                let (start, end) = value_in(rest, place);
                self.is_secret(name.as_str(), &rest[start..end], place)
            })
        };
        if self.marks.is_match(text) && named() {
            return Some(NAMED.to_owned());
        }
        self.run.find_iter(text).find_map(|run| self.find_in_base64(run.as_str(), depth + 1))
    }

    fn has_known(&self, bytes: &[u8]) -> bool {
        let long = |short: &[bool], hit: aho_corasick::Match| !short[hit.pattern().as_usize()];
        self.known.as_ref().is_some_and(|(values, short)| values.find_iter(bytes).any(|hit| long(short, hit)))
    }

    /// Returns the kind of secret in a run of base64, even if up to three of its first letters do not belong to it.
    fn find_in_base64(&self, run: &str, depth: usize) -> Option<String> {
        if depth > DEPTH {
            return None;
        }
        let standard = run.bytes().filter_map(|byte| match byte {
            b'-' => Some(b'+'),
            b'_' => Some(b'/'),
            _ => Some(byte).filter(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte)),
        });
        let run: Vec<u8> = standard.collect();
        (0..4.min(run.len())).find_map(|skip| {
            let run = &run[skip..];
            let run = if run.len() % 4 == 1 { &run[..run.len() - 1] } else { run };
            let bytes = self.decoder.decode(run).ok()?;
            if self.has_known(&bytes) {
                return Some(KNOWN.to_owned());
            }
            let text = String::from_utf8_lossy(&bytes);
            let texts = text.split(|c: char| c == '\u{fffd}' || c.is_control() && !c.is_whitespace());
            let texts: Vec<&str> = texts.filter(|text| text.len() >= SHORTEST).collect();
            if texts.is_empty() { None } else { self.find_secret_kind(&texts.join("\n"), depth) }
        })
    }

    fn remove_base64<'t>(&mut self, text: Cow<'t, str>) -> Cow<'t, str> {
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(run) = self.run.find_at(&text, at) {
            let end = run.end() + continuation_length(&text[run.end()..]);
            at = run.end();
            let alone = || self.find_in_base64(run.as_str(), 1).map(|kind| (kind, run.end()));
            let all = || self.find_in_base64(&text[run.start()..end].replace("\\n", "\n"), 1).map(|kind| (kind, end));
            if let Some((kind, end)) = if end > run.end() { all().or_else(alone) } else { alone() } {
                found.push((kind, run.start()..end));
                at = end;
            }
        }
        self.remove(text, found)
    }

    fn remove_percent_encoded<'t>(&mut self, text: Cow<'t, str>) -> Cow<'t, str> {
        let kind = |run: &str| {
            let decoded = secret::decode_percent(run);
            let known = self.has_known(decoded.as_bytes()).then(|| KNOWN.to_owned());
            known.or_else(|| self.find_secret_kind(&decoded, 1))
        };
        let runs = self.percent.find_iter(&text);
        let found = runs.filter_map(|run| Some((kind(run.as_str())?, run.range()))).collect();
        self.remove(text, found)
    }
}

/// The context of a value, which determines where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After a name at the start of a line; extends to the end of the line.
    Line,
    /// After `=` within a line; a single word.
    Word,
    /// After `:` within a line, where the value may be a sentence.
    Prose,
    /// After a quoted name.
    Json,
    /// The whole string.
    Quoted,
}

fn place_of(line: &str, name: usize, whole: &str) -> Place {
    let start = line[..name].rfind('\n').map_or(0, |at| at + 1);
    let before = line[start..name].trim_start_matches([' ', '\t', '-', '#']);
    if whole.contains(['"', '\'']) {
        Place::Json
    } else if ["", "export "].contains(&before) {
        if whole.contains([':', '=']) { Place::Line } else { Place::Prose }
    } else if whole.contains('=') {
        Place::Word
    } else {
        Place::Prose
    }
}

/// Returns the start and end of the value in `rest`, without quotes.
fn value_in(rest: &str, place: Place) -> (usize, usize) {
    let slashes = rest.len() - rest.trim_start_matches('\\').len();
    if let Some(quote) = rest[slashes..].chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let (open, mut at) = (&rest[..=slashes], slashes + 1);
        while let Some(found) = rest[at..].find(open).map(|found| at + found) {
            let escaped = slashes == 0 && rest[..found].ends_with('\\') && quote == '"';
            let doubled = quote == '\'' && rest[found + 1..].starts_with('\'');
            if !escaped && !doubled {
                return (slashes + 1, found);
            }
            at = found + if doubled { 2 } else { 1 };
        }
        return (slashes + 1, rest.len());
    }
    let end = match place {
        Place::Line => rest.find(" #").unwrap_or(rest.len()),
        Place::Json if rest.starts_with('[') => rest.find(']').unwrap_or(rest.len()),
        Place::Json => rest.find([',', '}', ']']).unwrap_or(rest.len()),
        _ => rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len()),
    };
    // Skip the bracket of a list with one item, and trim punctuation.
    let start = if place == Place::Json && rest.starts_with(['[']) { 1 } else { 0 };
    let value = rest[start..end].trim_end();
    let value = if place == Place::Line { value } else { value.trim_end_matches([',', ';', ')', '}', ']', '\\']) };
    (start, start + value.len())
}

/// Returns the length of the lines of `rest` that continue the base64 before it: lines that contain only base64.
fn continuation_length(rest: &str) -> usize {
    let mut length = 0;
    while length < FOLDED {
        let next = &rest[length..];
        let fold = ["\r\n", "\n", "\\n"].iter().find_map(|fold| next.strip_prefix(fold));
        let Some(line) = fold.map(|line| line.trim_start_matches([' ', '\t'])) else { return length };
        let more = line.find(|c: char| !(c.is_ascii_alphanumeric() || "+/_-=".contains(c))).unwrap_or(line.len());
        let ends = line[more..].is_empty() || line[more..].starts_with(['\n', '\r', '\\', '"', '\'']);
        if more == 0 || !ends {
            return length;
        }
        length = rest.len() - line.len() + more;
    }
    length
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

fn is_uuid(value: &str) -> bool {
    let lengths: Vec<usize> = value.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && value.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Builds the matcher for known values as programs write them: plain, in JSON (Go escapes `<`, `>` and `&` too), and in YAML.
fn known(values: &[String]) -> Result<Option<(AhoCorasick, Vec<bool>)>, aho_corasick::BuildError> {
    let mut forms = BTreeMap::new();
    for value in values {
        let json = Value::from(value.as_str()).to_string();
        let json = json[1..json.len() - 1].to_owned();
        let go = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        for form in [value.clone(), value.replace('\'', "''"), json.replace('\\', "\\\\"), json, go] {
            forms.insert(form, value.len() < secret::LONG);
        }
    }
    if forms.is_empty() {
        return Ok(None);
    }
    let (forms, short): (Vec<String>, Vec<bool>) = forms.into_iter().unzip();
    Ok(Some((AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(forms)?, short)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{found, lookalikes, secrets};

    #[test]
    fn five_hundred_secrets_of_every_kind_are_removed() {
        let planted = secrets(500, 20);
        let mut scrubber = Scrubber::new().unwrap();
        let log: Vec<String> = planted.iter().map(|planted| format!("seen {} there", planted.text)).collect();
        let file: Vec<&str> = planted.iter().map(|planted| planted.text.as_str()).collect();
        for text in [log.join("\n"), file.join("\n")] {
            assert_eq!(found(&text, &planted).len(), 500);
            let scrubbed = scrubber.text(&text);
            assert!(found(&scrubbed, &planted).is_empty(), "{:#?}\n{scrubbed}", found(&scrubbed, &planted));
            assert!(scrubber.take_counts().values().sum::<u64>() >= 500);
        }
        assert!(planted.iter().all(|planted| !planted.kind.is_empty()));
        for planted in &planted {
            let mut document = serde_json::json!({ "metadata": { "annotations": { "note": planted.text } } });
            scrubber.json("", &mut document);
            let scrubbed = document.to_string();
            assert!(found(&scrubbed, std::slice::from_ref(planted)).is_empty(), "{planted:?}\n{scrubbed}");
        }
    }

    #[test]
    fn lookalikes_of_secrets_stay() {
        let mut scrubber = Scrubber::new().unwrap();
        for text in lookalikes(7) {
            let line = format!("{text}\n");
            assert_eq!(scrubber.text(&line), line);
            let mut document = serde_json::json!({ "text": text });
            scrubber.json("", &mut document);
            assert_eq!(document["text"], text.as_str());
        }
        assert_eq!(scrubber.take_counts(), BTreeMap::new());
    }

    #[test]
    fn known_value_is_removed_in_every_encoding() {
        let value = "Kn0wn&va<lue>'\"x";
        secret::hide(value);
        let mut scrubber = Scrubber::new().unwrap();
        let coded = base64::engine::general_purpose::STANDARD.encode(format!("x{value}y\0\u{1}"));
        let wrapped: Vec<String> =
            coded.as_bytes().chunks(16).map(|part| String::from_utf8_lossy(part).into()).collect();
        let go = "Kn0wn\\u0026va\\u003clue\\u003e'\\\"x";
        let percent = "Kn0wn%26va%3Clue%3E%27%22x";
        for form in [value, &serde_json::json!(value).to_string(), go, percent, &coded, &wrapped.join("\n")] {
            let scrubbed = scrubber.text(&format!("a {form}\n; b"));
            assert!(scrubbed.contains("REMOVED") && scrubbed.len() < 16, "{form}: {scrubbed}");
        }
        assert_eq!(scrubber.take_counts(), BTreeMap::from([(KNOWN.to_owned(), 6)]));
    }

    #[test]
    fn secrets_of_files_are_removed_with_their_blocks() {
        let mut scrubber = Scrubber::new().unwrap();
        let rows: Vec<[String; 2]> = serde_yaml::from_str(include_str!("../tests/corpus/scrub.yaml")).unwrap();
        for [text, expected] in rows {
            assert_eq!(scrubber.text(&text), expected);
        }
    }
}
