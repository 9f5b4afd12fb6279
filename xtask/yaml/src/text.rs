//! Positions: from bytes to lines and columns, and from text inside a scalar to the file around it.

use crate::{Location, Position};

/// The position of a text in its file, to convert positions inside the text to positions in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPosition {
    /// Position of the text's first character.
    pub start: Position,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The text is the file, or a literal block (`|`) in which every line is indented alike.
    Block,
    /// The text is a scalar on one line.
    Line,
    /// A folded or multi-line scalar: its lines are not those of the file, only the start is known.
    Folded,
}

/// The text of a file that starts with a mark of UTF-16, or what can be read of it before the first fault; `None` for any
/// other file.
pub(super) fn utf16(bytes: &[u8]) -> Option<Result<String, String>> {
    let little = bytes.starts_with(b"\xFF\xFE");
    if !little && !bytes.starts_with(b"\xFE\xFF") {
        return None;
    }
    let unit = |pair: &[u8]| match (little, pair) {
        (true, [a, b]) => u16::from_le_bytes([*a, *b]),
        (false, [a, b]) => u16::from_be_bytes([*a, *b]),
        // Half a character at the end counts as half a pair.
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

/// Stand-ins for the control characters that Go's library reads and libyaml refuses: U+007F and U+0080 to U+009F without
/// U+0085, as the 32 code points of Unicode that will never be characters. `None` if there is nothing to hide.
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

/// What [`hide_controls`] hid.
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
    /// The text is the whole file.
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

    /// A position inside the text as one of the file.
    pub fn at(self, inner: Position) -> Position {
        let column = self.start.column.saturating_add(inner.column - 1);
        match self.kind {
            Kind::Block => Position { line: self.start.line.saturating_add(inner.line - 1), column },
            Kind::Line if inner.line == 1 => Position { line: self.start.line, column },
            Kind::Line | Kind::Folded => self.start,
        }
    }

    /// [`TextPosition::at`] with the file's name.
    pub fn place(self, file: &str, inner: Position) -> Location {
        self.at(inner).in_file(file)
    }

    /// The place right behind `text`, which is what comes first in this text.
    pub(super) fn place_of_end(self, file: &str, text: &str) -> Location {
        self.place(file, end_of(text))
    }
}

/// The position right behind a text, counted as libyaml counts: CRLF is one line break.
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

/// The position of the first carriage return, if there is one.
pub(super) fn first_carriage_return(text: &str) -> Option<Position> {
    text.find('\r').map(|byte| end_of(&text[..byte]))
}

/// Byte offsets at which the lines of a text start.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Lines<'a> {
        let mut starts = vec![0];
        let mut rest = 0;
        // `find` with a char runs optimised library code; a loop over bytes would not.
        while let Some(n) = text[rest..].find('\n') {
            rest += n + 1;
            starts.push(rest);
        }
        Lines { text, starts }
    }

    /// The text of a line, counted from 1, without its line feed.
    pub(super) fn get(&self, line: u32) -> Option<&'a str> {
        let n = line.checked_sub(1)? as usize;
        let start = *self.starts.get(n)?;
        let end = self.starts.get(n + 1).map_or(self.text.len(), |e| e - 1);
        self.text.get(start..end)
    }
}

/// How far the lines of a literal block are indented: in the file compared with in the value. `header` is the line of
/// the `|`.
pub(super) fn block_indent(lines: &Lines<'_>, header: u32, value: &str) -> u32 {
    let Some(first) = value.lines().position(|l| !l.trim().is_empty()) else { return 0 };
    let inner = value.lines().nth(first).map_or(0, leading_spaces);
    let outer = lines.get(header.saturating_add(1).saturating_add(first as u32)).map_or(inner, leading_spaces);
    outer.saturating_sub(inner)
}

fn leading_spaces(line: &str) -> u32 {
    (line.len() - line.trim_start_matches(' ').len()) as u32
}
