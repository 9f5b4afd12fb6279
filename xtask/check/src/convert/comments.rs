//! Comments, which the tree of a YAML file does not contain: those above a document are kept, the others are reported as lost.

use super::Change;
use yaml::Position;

/// The comments of a file.
pub(super) struct Comments {
    /// Line, column and text of each comment that is not carried over yet, and whether it is alone on its line.
    found: Vec<(u32, u32, String, bool)>,
    /// Lines that contain something else.
    filled: Vec<u32>,
}

impl Comments {
    pub(super) fn of(bytes: &[u8]) -> Comments {
        let source = String::from_utf8_lossy(bytes);
        let mut comments = Comments { found: Vec::new(), filled: Vec::new() };
        // The indent of the line that opened a block of text; lines with a larger indent belong to the text.
        let mut block: Option<usize> = None;
        for (line, number) in source.lines().zip(1..) {
            let line = line.trim_start_matches('\u{feff}');
            let indent = line.len() - line.trim_start_matches(' ').len();
            if line.trim().is_empty() || block.is_some_and(|outer| indent > outer) {
                continue;
            }
            let at = comment_at(line);
            let content = line[..at.unwrap_or(line.len())].trim_end();
            if let Some(at) = at {
                let column = line[..at].chars().count() as u32 + 1;
                comments.found.push((number, column, line[at..].trim_end().to_owned(), content.is_empty()));
            }
            if !matches!(content, "" | "---") {
                comments.filled.push(number);
            }
            let header = content.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
            block = (header.ends_with(" |") || header.ends_with(" >")).then(|| outer_indent(header));
        }
        comments
    }

    /// Takes the comments directly above a document that starts on this line, to be written above the converted document.
    pub(super) fn take_above(&mut self, line: u32) -> String {
        let from = self.filled.iter().copied().filter(|filled| *filled < line).max().unwrap_or(0);
        let mut text = String::new();
        self.found.retain(|(at, _, comment, alone)| {
            let kept = *alone && (from..line).contains(at);
            if kept {
                text.push_str(&format!("{comment}\n"));
            }
            !kept
        });
        text
    }

    /// Returns a change for each comment that is left.
    pub(super) fn into_changes(self, file: &str) -> impl Iterator<Item = Change> {
        let why = "only comments above a document are kept; add this comment again where it belongs";
        self.found.into_iter().map(move |(line, column, text, _)| Change {
            place: Position { line, column }.in_file(file),
            what: format!("dropped: {text}"),
            why: why.to_owned(),
        })
    }
}

/// Returns the indent that a block of text opened by this line must exceed: of the key, or of the dash if the item is the text.
fn outer_indent(line: &str) -> usize {
    let mut indent = line.len() - line.trim_start_matches(' ').len();
    while let Some(item) = line[indent..].strip_prefix("- ").filter(|item| !matches!(item.trim(), "|" | ">")) {
        indent = line.len() - item.trim_start_matches(' ').len();
    }
    indent
}

/// Returns the byte at which a line's comment starts: a `#` at its beginning or after a space, outside quotes.
fn comment_at(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = ' ';
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(mark) if c == mark => quote = None,
            Some(_) => {}
            // A quote opens only where a value or a key starts.
            None if matches!(c, '"' | '\'') && matches!(before, ' ' | '\t' | '[' | '{' | ',' | ':') => quote = Some(c),
            None if c == '#' && matches!(before, ' ' | '\t') => return Some(at),
            None => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_distinguished_from_text() {
        let file = "\u{feff}# head\n\n# of it\n---\na: 1 # one\nb: '# no' # it''s two\nc: a#b\nd: |\n  # text\n\n  # text\ne: \"a \\\" # b\"\n# three\nf: >- # four\n  # text\ng:\n  # five\n  - x: |\n      # text\n    # six\n    y: 1\n";
        let mut comments = Comments::of(file.as_bytes());
        assert_eq!(comments.take_above(5), "# head\n# of it\n");
        let left: Vec<String> = comments.into_changes("f").map(|c| format!("{} {}", c.place, c.what)).collect();
        let wanted = [
            "f:5:6 dropped: # one",
            "f:6:11 dropped: # it''s two",
            "f:13:1 dropped: # three",
            "f:14:7 dropped: # four",
            "f:17:3 dropped: # five",
            "f:20:5 dropped: # six",
        ];
        assert_eq!(left, wanted);
    }
}
