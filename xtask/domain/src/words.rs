//! Plurals, and quoting of words for a shell.

use std::borrow::Cow;
use std::ffi::OsStr;

use std::fmt::Display;

/// Returns `1 machine`, `2 machines`, `0 machines`. For nouns with a plural in `s`, or `ies` for a final `y` after a consonant.
pub fn count<N: Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if number == N::from(1) => format!("1 {noun}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ if noun.ends_with("ss") => format!("{number} {noun}es"),
        _ => format!("{number} {noun}s"),
    }
}

/// Quotes `word` for a shell. Unlike shlex, it leaves `omni,docker` and `--tail=20` unquoted.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        // Quoting fails only for a NUL, which an argument cannot contain.
        false => shlex::try_quote(word).unwrap_or(Cow::Borrowed("''")).into_owned(),
    }
}

/// Same as [`quote`] for words that are not UTF-8, such as paths in another encoding: `$'…'`, which bash, zsh and ksh support.
pub fn quote_os(word: &OsStr) -> String {
    match word.to_str() {
        Some(word) => quote(word),
        None => format!("$'{}'", word.as_encoded_bytes().escape_ascii()),
    }
}

/// Splits a line into words like a shell; empty if a shell would reject the line.
pub fn split(line: &str) -> Vec<String> {
    shlex::split(line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_that_is_not_text_is_escaped() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(quote_os(OsStr::from_bytes(b"/srv/caf\xe9's")), "$'/srv/caf\\xe9\\'s'");
        assert_eq!(quote_os(OsStr::new("/srv/a b")), "'/srv/a b'");
    }

    #[test]
    fn quote_reads_back_in_a_shell() {
        assert_eq!(quote("--file=x/y.yaml"), "--file=x/y.yaml");
        assert_eq!(quote("omni,docker"), "omni,docker");
        for word in ["", "a b'c", "$HOME", "a\"b", "name == \"local-lvm\"", "it's \"both\"", "größe", "a\nb", "!x"] {
            assert_eq!(split(&quote(word)), [word], "{word}");
        }
    }

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
