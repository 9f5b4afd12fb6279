//! Regular expressions of Go, for `matches()`. The syntax of the regex crate is almost that of RE2: patterns in the common subset
//! have the same meaning in both, and other patterns are not evaluated here.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// The common subset: characters, character classes, groups, flags, alternatives and repetitions up to 999. The regex crate
/// checks that brackets match.
static COMMON: LazyLock<Regex> = LazyLock::new(|| {
    let escape = r"\\[dDsSwW]|\\[[:punct:]&&[^<>]]";
    let class = format!(r"\[\^?(?:[^\\\[\]&~-]|{escape}|-[^\\\[\]&~-])+-?\]");
    let repetition = r"(?:[*+?]\??|\{(?:0|[1-9][0-9]{0,2})(?:,(?:[1-9][0-9]{0,2})?)?\}\??)?";
    let open = r"\((?:\?[ims]*:|\?[ims]+\))?";
    regex(&format!(r"^(?:(?:[^\\\[\](){{}}|*+?^$]|{escape}|{class}|\)){repetition}|{open}|\\[AbBz]|[|^$])*$"))
});

/// Compiles a regular expression of this crate.
pub(super) fn regex(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Returns the reason if the pattern is not valid; Go rejects the same patterns with other messages.
    pub(super) fn new(pattern: &str) -> Result<Pattern, String> {
        let wrong = |why: &str| format!("invalid regular expression `{pattern}`: {why}");
        if !is_common(pattern) {
            return Err(wrong("this check does not know its syntax; the provider might"));
        }
        // `\d` and similar classes match only ASCII in Go.
        static ESCAPED: LazyLock<Regex> = LazyLock::new(|| regex(r"\\(.)"));
        let translated = ESCAPED.replace_all(pattern, |found: &Captures<'_>| match &found[1] {
            "d" => "[0-9]".to_owned(),
            "D" => "[^0-9]".to_owned(),
            "s" => r"[\t\n\f\r ]".to_owned(),
            "S" => r"[^\t\n\f\r ]".to_owned(),
            "w" => "[0-9A-Za-z_]".to_owned(),
            "W" => "[^0-9A-Za-z_]".to_owned(),
            "b" => r"(?-u:\b)".to_owned(),
            _ => found[0].to_owned(),
        });
        let last = |error: regex::Error| wrong(error.to_string().lines().last().unwrap_or_default());
        Regex::new(&translated).map(Pattern).map_err(last)
    }

    /// Returns true if the pattern matches anywhere in the text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// Whether a pattern is in the common subset of both syntaxes.
pub(super) fn is_common(pattern: &str) -> bool {
    COMMON.is_match(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap_or_else(|error| panic!("{error}")).is_match(text)
    }

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, matched) in [
            (r"^\d+$", "٣", false),
            (r"^\w+$", "größe", false),
            (r"e\b", "größe", true),
            (r"^[^\D]$", "7", true),
            (r"^[\w.-]+$", "local-lvm.1", true),
            (r"^a\.b$", "axb", false),
            ("^a{2,3}$", "aaa", true),
            ("(?i)LOCAL|(?:x)", "local", true),
            ("a$", "a\n", false),
            ("(?m)a$", "a\nb", true),
            (".", "\n", false),
            ("(?s).", "\n", true),
        ] {
            assert_eq!(matches(pattern, text), matched, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn uncommon_syntax_is_not_evaluated() {
        let undecided = r"\Qa.b\E \141 \x41 a{,2} [[a&&b] []a] \<a\> (?P<n>a) \pL a** a{2}{3} a{1001} \q \ (?z)a (?=a) (?x)a [[:alpha:]] \u0061 [\b] * [a--b]";
        for pattern in undecided.split(' ') {
            assert!(!is_common(pattern) && Pattern::new(pattern).is_err(), "{pattern}");
        }
        for pattern in ["(", ")", "[z-a]", r"[a-\d]"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn hostile_patterns_terminate() {
        assert!(Pattern::new(&"(".repeat(100_000)).is_err());
        assert!(Pattern::new(&"(a|".repeat(2_000)).is_err());
        assert!(!matches("(a*)*(a|aa)+$", &("a".repeat(2_000) + "!")));
    }
}
