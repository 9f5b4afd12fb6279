//! HuJSON, JSON with `//` and `/* */` comments and trailing commas: what Tailscale's policy file is written in.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use yaml::{Finding, Node, Position};

/// The value in `text`, with the position of every part in `file`.
///
/// # Errors
/// The position where it is not valid JSON.
pub fn parse(file: &str, text: &str) -> Result<Node, Finding> {
    let plain = blank_comments(text.strip_prefix('\u{feff}').unwrap_or(text));
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
    let mut stream = yaml::load(file, join_surrogates(&plain).as_bytes());
    match stream.documents.pop() {
        Some(document) if !stream.is_broken() => Ok(document.root),
        _ => Err(stream
            .findings
            .into_iter()
            .find(Finding::is_error)
            .unwrap_or_else(|| bad(Position::START, "it is empty".to_owned()))),
    }
}

/// `plain` with pairs of UTF-16 in escapes written as YAML writes such a character, which knows no pairs.
fn join_surrogates(plain: &str) -> Cow<'_, str> {
    static ESCAPE: Form =
        LazyLock::new(|| Regex::new(r"(?s)\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([0-9a-fA-F]{4})|.)").ok());
    replace_matches(&ESCAPE, plain, |found| {
        let unit = |at| u16::from_str_radix(found.get(at).map_or("", |digits| digits.as_str()), 16).unwrap_or_default();
        match char::decode_utf16([unit(1), unit(2)]).next() {
            Some(Ok(pair)) if found.get(1).is_some() => format!("\\U{:08x}", u32::from(pair)),
            _ => found[0].to_owned(),
        }
    })
}

/// `text` with comments and trailing commas blanked, every other character where it was.
fn blank_comments(text: &str) -> String {
    static COMMENT: Form = LazyLock::new(|| Regex::new(r#"(?s)"(?:\\.|[^"\\])*"?|//[^\n]*|/\*.*?(?:\*/|\z)"#).ok());
    // A tab inside a flow collection is white space to JSON, and to YAML only in some places.
    static SPACE: Form = LazyLock::new(|| Regex::new(r#"(?s)"(?:\\.|[^"\\])*"?|,\s*[\]}]|\t"#).ok());
    let blank = |c: char| if c == '\n' { c } else { ' ' };
    let text = replace_matches(&COMMENT, text, |found| match &found[0] {
        string if string.starts_with('"') => string.to_owned(),
        comment => comment.chars().map(blank).collect(),
    });
    let text = replace_matches(&SPACE, &text, |found| match &found[0] {
        string if string.starts_with('"') => string.to_owned(),
        space => space.replace([',', '\t'], " "),
    });
    text.into_owned()
}

type Form = LazyLock<Option<Regex>>;

fn replace_matches<'t>(form: &Form, text: &'t str, new: impl Fn(&Captures<'_>) -> String) -> Cow<'t, str> {
    form.as_ref().map_or(Cow::Borrowed(text), |form| form.replace_all(text, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_keeps_positions_around_comments() {
        let text = "{ // a \"b\"\n\t\"x\": [1, 2, /* c,\n d */ ],\n \"url\": \"https://h//i,]\", }\n";
        let plain = blank_comments(text);
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
    fn invalid_json_has_position() {
        for (text, line) in [("{\n \"a\": \n}", 3), ("", 1), ("{\"a\":1}\n{", 2), ("{\"a\": [1,,2]}", 1)] {
            let finding = parse("p", text).unwrap_err();
            assert_eq!((finding.rule, finding.place.line), ("policy-syntax", line), "{text}: {finding}");
        }
    }

    #[test]
    fn parse_never_panics() {
        for text in ["/*", "//", "\"", "\"\\", "{\"a\":\"\\ud83d\\ude00\"}", "[\t1,\t]", "{\"a\":{}}", "null", "-"] {
            let _ = parse("p", text);
        }
    }
}
