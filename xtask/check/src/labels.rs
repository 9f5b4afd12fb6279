//! Parses selectors over machine labels, as in a class's `matchlabels` (siderolabs/omni v1.9.3 client/pkg/cosi/labels).

use std::sync::LazyLock;

use regex::Regex;

/// A term up to its comma or the end: `KEY`, `!KEY`, `KEY = VALUE`, `KEY in (VALUE, VALUE)`. A value after an operator may
/// contain spaces or be empty.
static TERM: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let word = r"[^=!(),<>\s]+";
    let compared = r"\s*(?:[=!<>]=|[=<>])[^=!(),<>]*";
    let listed = format!(r"\s+(?:not)?in\s*\(\s*(?:(?:{word})?\s*,\s*)*(?:{word})?\s*\)");
    Regex::new(&format!(r"^\s*(?:!\s*(?<absent>{word})|(?<key>{word})(?:{compared}|{listed})?)\s*(?<more>,|$)")).ok()
});

/// Returns the label keys in a selector.
///
/// # Errors
/// Returns an error with the term that Omni cannot parse.
pub fn parse(selector: &str) -> Result<Vec<String>, String> {
    let (mut keys, mut rest) = (Vec::new(), selector.trim());
    while !rest.is_empty() || !keys.is_empty() {
        let found = TERM.as_ref().and_then(|term| term.captures(rest));
        let found = found.ok_or_else(|| format!("unable to parse term: '{rest}'"))?;
        keys.extend(found.name("absent").or(found.name("key")).map(|key| key.as_str().to_owned()));
        if found["more"].is_empty() {
            break;
        }
        rest = &rest[found[0].len()..];
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn label_selectors_are_parsed_like_omni() {
        let goods = "a|!a|a = b|a==b|a != b, c|omni.sidero.dev/platform=nocloud, omni.sidero.dev/cores >= 4|\
             a in (x, y)|a notin ()|a =||a = b c";
        for good in goods.split('|') {
            assert!(parse(good).is_ok(), "{good}: {:?}", parse(good));
        }
        for bad in ["a b", "a ==b,", "=", "a in x", "a in (x", "!", "!a = b", "a, =", "(a)"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("a, !b, c >= 4"), Ok(vec!["a".into(), "b".into(), "c".into()]));
    }
}
