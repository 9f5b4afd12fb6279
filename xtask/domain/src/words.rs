//! Words that depend on numbers.

use std::fmt::Display;

/// `1 machine`, `2 machines`, `0 machines`. For nouns whose plural takes an `s`, or `ies` for a final `y` after a consonant.
pub fn count<N: Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if number == N::from(1) => format!("1 {noun}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ if noun.ends_with("ss") => format!("{number} {noun}es"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn count_agrees_with_its_number() {
        for (number, noun, text) in [
            (0, "machine", "0 machines"),
            (1, "machine", "1 machine"),
            (2, "machine set", "2 machine sets"),
            (1, "machine class", "1 machine class"),
            (2, "machine class", "2 machine classes"),
            (3, "key", "3 keys"),
            (3, "entry", "3 entries"),
        ] {
            assert_eq!(count(number, noun), text);
        }
    }
}
