//! Quoting of scalars so that they read back as the same string.

use super::scalar::{Style, Value, resolve};

/// Formats the text as a YAML scalar on one line: plain if that is safe for every YAML parser, otherwise quoted.
pub fn quote(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    // Single quotes have no escapes, so selectors full of double quotes stay readable.
    if !text.contains(|c: char| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.push_str(&format!("\\U{:08X}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn is_plain(text: &str) -> bool {
    let first = text.chars().next();
    // YAML 1.1 parsers (Ansible, PyYAML) read these as bools.
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "<<" | "="
    );
    let safe_first = first.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '/' | '.'));
    let safe = text.chars().all(|c| !c.is_control() && !matches!(c, '{' | '}' | '[' | ']' | ',' | '\u{feff}'));
    !word
        && safe_first
        && safe
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([' ', ':'])
        && matches!(resolve(text, Style::Plain, None), Value::Str(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    #[test]
    fn quoted_text_parses_back() {
        let texts = concat!(
            "worker|yes|1.20|null|| a|a |a: b|a #b|it's|\"q\"|a\nb|\u{7}|- a|[x]|name == \"local-lvm\"|2024-01-01|",
            "0x10|~|é|\u{feff}x|a\u{85}b|*a|&a|!a|%a|@a|`a",
        );
        for text in texts.split('|') {
            let yaml = format!("k: {}\n", quote(text));
            let stream = load("t", yaml.as_bytes());
            assert!(stream.findings.is_empty(), "{yaml:?} {:?}", stream.findings);
            let node = stream.documents[0].root.get("k").expect("a value");
            assert_eq!(node.value(), Some(Value::Str(text)), "{yaml}");
        }
    }
}
