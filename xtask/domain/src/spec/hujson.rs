//! HuJSON, JSON with `//` and `/* */` comments and trailing commas: what Tailscale's policy file is written in.

use std::borrow::Cow;

use crate::spec::Finding;
use crate::spec::Position;
use crate::spec::yaml::{self, Node};

/// The value in `text`, with the position of every part in `file`.
///
/// # Errors
/// The position where it is not valid JSON.
pub fn parse(file: &str, text: &str) -> Result<Node, Finding> {
    let plain = plain(text.strip_prefix('\u{feff}').unwrap_or(text));
    let bad = |at: Position, why: String| {
        let fix = "fix the JSON at this position; comments and a trailing comma are allowed";
        Finding::error("policy-syntax", at.in_file(file), why, fix)
    };
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&plain) {
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or_default().to_owned();
        return Err(bad(Position { line: error.line() as u32, column: error.column().max(1) as u32 }, why));
    }
    // JSON is a part of YAML, and the YAML reader keeps places, which serde does not.
    let mut stream = yaml::load(file, paired(&plain).as_bytes());
    match stream.documents.pop() {
        Some(document) if !stream.is_broken() => Ok(document.root),
        _ => Err(stream
            .findings
            .into_iter()
            .find(Finding::is_error)
            .unwrap_or_else(|| bad(Position::START, "there is nothing in it".to_owned()))),
    }
}

/// `plain` with pairs of UTF-16 in escapes written as YAML writes such a character, which knows no pairs.
fn paired(plain: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = plain;
    while let Some((at, length)) = rest.match_indices('\\').find_map(|(at, _)| Some((at, escape(&rest[at..])?))) {
        let unit = |at: usize| u16::from_str_radix(rest.get(at + 2..at + 6)?, 16).ok();
        let units = [unit(at), unit(at + 6)].map(Option::unwrap_or_default);
        match char::decode_utf16(units).next() {
            Some(Ok(found)) if length == 12 => {
                out.push_str(&rest[..at]);
                out.push_str(&format!("\\U{:08x}", u32::from(found)));
            }
            _ => out.push_str(&rest[..at + length]),
        }
        rest = &rest[at + length..];
    }
    if out.is_empty() { Cow::Borrowed(plain) } else { Cow::Owned(out + rest) }
}

/// The length of the escape at the start of `text`: that of a pair of UTF-16 as a whole.
fn escape(text: &str) -> Option<usize> {
    let high = |text: &str| {
        let unit = text.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(unit, 16).ok().filter(|unit| (0xd800..0xdc00).contains(unit))
    };
    match text.get(..12) {
        Some(pair) if high(text).is_some() && pair[6..].starts_with("\\u") => Some(12),
        _ => text.chars().take(2).map(char::len_utf8).sum::<usize>().into(),
    }
}

/// `text` with comments and trailing commas blanked, every other character where it was.
fn plain(text: &str) -> String {
    let mut out: Vec<char> = Vec::with_capacity(text.len());
    // Where in `out` the comma is that only blanks follow so far.
    let mut comma = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                comma = None;
                out.push(c);
                while let Some(inner) = chars.next() {
                    out.push(inner);
                    match inner {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '/' if chars.peek() == Some(&'/') => {
                out.push(' ');
                while let Some(inner) = chars.next_if(|inner| *inner != '\n') {
                    out.push(blank(inner));
                }
            }
            '/' if chars.peek() == Some(&'*') => {
                out.extend([' ', ' ']);
                chars.next();
                let mut star = false;
                for inner in chars.by_ref() {
                    out.push(blank(inner));
                    if star && inner == '/' {
                        break;
                    }
                    star = inner == '*';
                }
            }
            ',' => {
                comma = Some(out.len());
                out.push(c);
            }
            '}' | ']' => {
                if let Some(at) = comma.take() {
                    out[at] = ' ';
                }
                out.push(c);
            }
            // A tab inside a flow collection is white space to JSON, and to YAML only in some places.
            '\t' => out.push(' '),
            c => {
                if !c.is_whitespace() {
                    comma = None;
                }
                out.push(c);
            }
        }
    }
    out.into_iter().collect()
}

fn blank(c: char) -> char {
    if c == '\n' { c } else { ' ' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_blanked_in_place() {
        let text = "{ // a \"b\"\n\t\"x\": [1, 2, /* c,\n d */ ],\n \"url\": \"https://h//i,]\", }\n";
        let plain = plain(text);
        assert_eq!(plain.lines().count(), text.lines().count());
        let value: serde_json::Value = serde_json::from_str(&plain).unwrap();
        assert_eq!(value, serde_json::json!({"x": [1, 2], "url": "https://h//i,]"}));
        let root = parse("p", text).unwrap();
        assert_eq!(root.entry("url").unwrap().at, Position { line: 4, column: 2 });
        assert_eq!(root.get("x").unwrap().items().len(), 2);
    }

    #[test]
    fn escapes_of_json_are_read() {
        let text = r#"{"a": "\ud83d\ude00 \\ud83d \/ \"\u00fc\uD83D\uDE00", "b": 1}"#;
        let root = parse("p", text).unwrap();
        assert_eq!(root.get("a").and_then(Node::text), Some("\u{1f600} \\ud83d / \"\u{fc}\u{1f600}"));
        assert_eq!(root.entry("b").unwrap().at.line, 1);
    }

    #[test]
    fn what_is_no_json_has_a_place() {
        for (text, line) in [("{\n \"a\": \n}", 3), ("", 1), ("{\"a\":1}\n{", 2), ("{\"a\": [1,,2]}", 1)] {
            let finding = parse("p", text).unwrap_err();
            assert_eq!((finding.rule, finding.place.line), ("policy-syntax", line), "{text}: {finding}");
        }
    }

    #[test]
    fn whatever_comes_there_is_an_answer() {
        for text in ["/*", "//", "\"", "\"\\", "{\"a\":\"\\ud83d\\ude00\"}", "[\t1,\t]", "{\"a\":{}}", "null", "-"] {
            let _ = parse("p", text);
        }
    }
}
