//! In-place edits of a template: one value changes, and all other bytes of the file, including comments, stay the same.

use yaml::Position;

/// Replaces the value `old` at `at` by `new` in `text`. `None` if the file does not contain `old` literally at that position:
/// after an anchor or a tag, with escapes, or over several lines.
pub fn replace(text: &str, at: Position, old: &str, new: &str) -> Option<String> {
    let line = text.split_inclusive('\n').nth(at.line.checked_sub(1)? as usize)?;
    let line_start = line.as_ptr() as usize - text.as_ptr() as usize;
    let column = line.char_indices().nth(at.column.checked_sub(1)? as usize)?.0;
    let rest = &line[column..];
    let quote = rest.get(..1).filter(|first| ["\"", "'"].contains(first)).unwrap_or_default();
    let written = format!("{quote}{old}{quote}");
    let after = rest.strip_prefix(&written)?;
    let ends =
        after.is_empty() || after.starts_with(|next: char| next.is_whitespace() || matches!(next, ',' | '}' | ']'));
    if !ends {
        return None;
    }
    let start = line_start + column;
    Some(format!("{}{quote}{new}{quote}{}", &text[..start], &text[start + written.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, line: u32, column: u32, old: &str) -> Option<String> {
        replace(text, Position { line, column }, old, "5")
    }

    #[test]
    fn replace_changes_only_the_value() {
        for (text, line, column, expected) in [
            ("a: 1\nsize: 3 # three\n", 2, 7, "a: 1\nsize: 5 # three\n"),
            ("größe: 3", 1, 8, "größe: 5"),
            ("{name: a, size: 3}\r\nb: 3\r\n", 1, 17, "{name: a, size: 5}\r\nb: 3\r\n"),
            ("size: \"3\"\n", 1, 7, "size: \"5\"\n"),
            ("size: '3'", 1, 7, "size: '5'"),
        ] {
            assert_eq!(edited(text, line, column, "3").as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn replace_refuses_other_spellings() {
        for (text, line, column) in [
            ("size: &n 3\n", 1, 7),
            ("size: 30\n", 1, 7),
            ("size: 0x3\n", 1, 7),
            ("size: !!int 3\n", 1, 7),
            ("size: 3\n", 2, 1),
            ("size: 3\n", 1, 70),
            ("size: \"3\n", 1, 7),
        ] {
            assert_eq!(edited(text, line, column, "3"), None, "{text}");
        }
    }
}
