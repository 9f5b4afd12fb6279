//! Escapes control characters in text from outside. A container's log, a name in Omni or a reason from Proxmox may contain
//! escape sequences that set the title, fill the clipboard or forge lines, and characters that change the writing direction.

use std::borrow::Cow;
use std::fmt::Write;

use crate::called::with_program_name;
use domain::secret::redact;

/// Like [`plain`], but also redacts secrets, and puts the name of this program into commands.
pub fn shown(text: &str) -> String {
    plain(&redact(&with_program_name(text)))
}

/// `text` with its control characters escaped (`\x1b`), except line breaks and tabs.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' if matches!(rest.peek(), None | Some('\n')) => {}
            '\n' | '\t' => shown.push(c),
            c if c.is_control() => drop(write!(shown, "\\x{:02x}", u32::from(c))),
            c if changes_direction(c) => drop(write!(shown, "\\u{{{:x}}}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// A JSON document with the control characters escaped that JSON allows in strings: C1, DEL, and those of direction. The
/// strings keep their values. JSON itself escapes those of ASCII except DEL.
pub fn escaped(document: &str) -> Cow<'_, str> {
    if document.is_ascii() && !document.contains('\x7f') {
        return Cow::Borrowed(document);
    }
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        match c {
            c if c.is_control() || changes_direction(c) => drop(write!(shown, "\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The Unicode characters that change the direction of the text around them (Unicode Standard Annex 9, table 1).
fn changes_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_escapes_control_characters() {
        assert_eq!(plain("a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{7f}"), "a\\x1b]0;title\\x07b\\x9b2Jc\\x7f");
        assert_eq!(plain("abc\u{202e}cba\u{2069}"), "abc\\u{202e}cba\\u{2069}");
        assert_eq!(plain("one\r\n\ttwo\r"), "one\n\ttwo");
        assert_eq!(plain("ok\rFAILED \u{0}é日"), "ok\\x0dFAILED \\x00é日");
    }

    #[test]
    fn escaped_json_is_equivalent() {
        let document = serde_json::json!({ "a": "x\u{9b}2J\u{7f}\u{202e}y\u{1b}\u{e9}" });
        let text = document.to_string();
        let text = escaped(&text);
        assert!(!text.chars().any(|c| c.is_control() || changes_direction(c)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), document);
    }
}
