//! Conversion of byte offsets to lines and columns, and of positions inside a scalar to positions in the file.

use crate::{Location, Position};

/// The position of a text in its file, for converting positions inside the text to positions in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPosition {
    /// Position of the first character of the text.
    pub start: Position,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The text is the whole file, or a literal block (`|`) whose lines all have the same indentation.
    Block,
    /// The text is a scalar on a single line.
    Line,
    /// A folded or multi-line scalar: its lines differ from those of the file, so only the start is known.
    Folded,
}

/// Decodes a file that starts with a UTF-16 byte order mark, or returns the text before the first error; `None` for any other
/// file.
pub(super) fn utf16(bytes: &[u8]) -> Option<Result<String, String>> {
    let little = bytes.starts_with(b"\xFF\xFE");
    if !little && !bytes.starts_with(b"\xFE\xFF") {
        return None;
    }
    let unit = |pair: &[u8]| match (little, pair) {
        (true, [a, b]) => u16::from_le_bytes([*a, *b]),
        (false, [a, b]) => u16::from_be_bytes([*a, *b]),
        // Half a character at the end counts as an unpaired surrogate.
        _ => 0xD800,
    };
    let mut text = String::with_capacity(bytes.len());
    for c in char::decode_utf16(bytes[2..].chunks(2).map(unit)) {
        match c {
            Ok(c) => text.push(c),
            Err(_) => return Some(Err(text)),
        }
    }
    Some(Ok(text))
}

/// Replaces the control characters that Go's library reads and libyaml rejects (U+007F, and U+0080 to U+009F without U+0085) with
/// the 32 Unicode noncharacters from U+FDD0 on. `None` if there is nothing to replace.
pub(super) fn hide_controls(text: &str) -> Option<String> {
    let hide = |c: char| match c {
        '\u{7f}' => '\u{fdd0}',
        '\u{80}'..='\u{84}' => shift(c, 0xFDD1 - 0x80),
        '\u{86}'..='\u{9f}' => shift(c, 0xFDD0 - 0x80),
        c => c,
    };
    // U+0080 to U+009F start with the byte 0xC2.
    let may = [0x7F, 0xC2].iter().any(|byte| text.as_bytes().contains(byte));
    (may && text.chars().any(|c| hide(c) != c)).then(|| text.chars().map(hide).collect())
}

/// Reverts [`hide_controls`].
pub(super) fn show_controls(text: &str) -> String {
    let show = |c: char| match c {
        '\u{fdd0}' => '\u{7f}',
        '\u{fdd1}'..='\u{fdd5}' => shift(c, 0x80 - 0xFDD1),
        '\u{fdd6}'..='\u{fdef}' => shift(c, 0x80 - 0xFDD0),
        c => c,
    };
    text.chars().map(show).collect()
}

fn shift(c: char, by: i32) -> char {
    char::from_u32((c as u32).wrapping_add_signed(by)).unwrap_or(c)
}

impl TextPosition {
    /// The position of a text that is the whole file.
    pub const fn whole_file() -> TextPosition {
        TextPosition { start: Position::START, kind: Kind::Block }
    }

    /// A single position, for a text that is missing.
    pub const fn point(at: Position) -> TextPosition {
        TextPosition { start: at, kind: Kind::Folded }
    }

    pub(super) const fn block(start: Position) -> TextPosition {
        TextPosition { start, kind: Kind::Block }
    }

    pub(super) const fn line(start: Position) -> TextPosition {
        TextPosition { start, kind: Kind::Line }
    }

    /// Converts a position inside the text to a position in the file.
    pub fn at(self, inner: Position) -> Position {
        let column = self.start.column.saturating_add(inner.column - 1);
        match self.kind {
            Kind::Block => Position { line: self.start.line.saturating_add(inner.line - 1), column },
            Kind::Line if inner.line == 1 => Position { line: self.start.line, column },
            Kind::Line | Kind::Folded => self.start,
        }
    }

    /// Same as [`TextPosition::at`], with the file name.
    pub fn place(self, file: &str, inner: Position) -> Location {
        self.at(inner).in_file(file)
    }

    /// Returns the position after `text`, which is the beginning of this text.
    pub(super) fn place_of_end(self, file: &str, text: &str) -> Location {
        self.place(file, end_of(text))
    }
}

/// Returns the position after a text, counted as libyaml does: CRLF is one line break.
pub(super) fn end_of(text: &str) -> Position {
    let (mut line, mut column, mut last) = (1u32, 1u32, ' ');
    for c in text.chars() {
        match c {
            '\n' if last == '\r' => {}
            '\n' | '\r' => {
                line = line.saturating_add(1);
                column = 1;
            }
            _ => column = column.saturating_add(1),
        }
        last = c;
    }
    Position { line, column }
}

/// Returns the position of the first carriage return, if any.
pub(super) fn first_carriage_return(text: &str) -> Option<Position> {
    text.find('\r').map(|byte| end_of(&text[..byte]))
}

/// Byte offsets of the line starts of a text.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Lines<'a> {
        let mut starts = vec![0];
        let mut rest = 0;
        // `find` with a char uses optimized library code, which a loop over bytes would not.
        while let Some(n) = text[rest..].find('\n') {
            rest += n + 1;
            starts.push(rest);
        }
        Lines { text, starts }
    }

    /// Returns the text of a line, counted from 1, without its line feed.
    pub(super) fn get(&self, line: u32) -> Option<&'a str> {
        let n = line.checked_sub(1)? as usize;
        let start = *self.starts.get(n)?;
        let end = self.starts.get(n + 1).map_or(self.text.len(), |e| e - 1);
        self.text.get(start..end)
    }
}

/// Returns how much further the lines of a literal block are indented in the file than in the value. `header` is the line of the
/// `|`.
pub(super) fn block_indent(lines: &Lines<'_>, header: u32, value: &str) -> u32 {
    let Some(first) = value.lines().position(|l| !l.trim().is_empty()) else { return 0 };
    let inner = value.lines().nth(first).map_or(0, leading_spaces);
    let outer = lines.get(header.saturating_add(1).saturating_add(first as u32)).map_or(inner, leading_spaces);
    outer.saturating_sub(inner)
}

fn leading_spaces(line: &str) -> u32 {
    (line.len() - line.trim_start_matches(' ').len()) as u32
}
