//! Label selectors of `-l` and of machine classes (omni v1.9.3 client/pkg/cosi/labels).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One term of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// The label.
    pub key: String,
    /// `=`, `!=`, `exists`, `!exists`, `in`, `notin`, `<`, `<=`, `>`, `>=`.
    pub op: String,
    /// The values to compare with.
    pub values: Vec<String>,
}

impl Term {
    /// The label has exactly this value.
    pub fn equal(key: &str, value: &str) -> Term {
        Term { key: key.to_owned(), op: "=".to_owned(), values: vec![value.to_owned()] }
    }

    /// Whether these labels satisfy the term.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.key);
        let first = self.values.first().map(String::as_str).unwrap_or_default();
        let number = |text: &str| text.split_whitespace().next().and_then(|head| head.parse::<f64>().ok());
        let compare = |test: fn(f64, f64) -> bool| match (found.and_then(|text| number(text)), number(first)) {
            (Some(left), Some(right)) => test(left, right),
            _ => false,
        };
        match self.op.as_str() {
            "=" => found.is_some_and(|value| value == first),
            "!=" => found.is_none_or(|value| value != first),
            "exists" => found.is_some(),
            "!exists" => found.is_none(),
            "in" => found.is_some_and(|value| self.values.contains(value)),
            "notin" => found.is_none_or(|value| !self.values.contains(value)),
            "<" => compare(|a, b| a < b),
            "<=" => compare(|a, b| a <= b),
            ">" => compare(|a, b| a > b),
            _ => compare(|a, b| a >= b),
        }
    }
}

/// Reads a selector: terms joined by commas, all of which must hold.
pub fn parse(selector: &str) -> Result<Vec<Term>, String> {
    let mut terms = Vec::new();
    let parts = split(selector);
    for (at, part) in parts.iter().enumerate() {
        let part = part.trim();
        if part.is_empty() {
            // The words of k8s.io/apimachinery pkg/labels/selector.go.
            let found = if at + 1 == parts.len() { "" } else { "," };
            return Err(match at {
                0 => format!("found '{found}', expected: !, identifier, or 'end of string'"),
                _ => format!("found '{found}', expected: identifier after ','"),
            });
        }
        terms.push(term(part)?);
    }
    Ok(terms)
}

/// Splits at commas that stand outside parentheses.
fn split(selector: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in selector.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&selector[start..]);
    parts
}

fn term(part: &str) -> Result<Term, String> {
    let make = |key: &str, op: &str, values: Vec<String>| {
        let key = key.trim();
        match key.is_empty() || key.contains(char::is_whitespace) {
            true => Err(format!("failed to parse selector term {part:?}")),
            false => Ok(Term { key: key.to_owned(), op: op.to_owned(), values }),
        }
    };
    for (token, op) in [("!=", "!="), ("==", "="), ("<=", "<="), (">=", ">="), ("=", "="), ("<", "<"), (">", ">")] {
        if let Some((key, value)) = part.split_once(token) {
            if key.is_empty() {
                return Err(format!("found '{token}', expected: !, identifier, or 'end of string'"));
            }
            return make(key, op, vec![value.trim().trim_matches('"').to_owned()]);
        }
    }
    if let Some(key) = part.strip_prefix('!') {
        return make(key, "!exists", Vec::new());
    }
    for (token, op) in [(" notin ", "notin"), (" in ", "in")] {
        if let Some((key, list)) = part.split_once(token) {
            let inner = list.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
            let inner = inner.ok_or_else(|| format!("failed to parse selector term {part:?}"))?;
            return make(key, op, inner.split(',').map(|value| value.trim().to_owned()).collect());
        }
    }
    make(part, "exists", Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_match_labels() {
        let labels: BTreeMap<String, String> =
            [("a", "1"), ("cores", "8"), ("mem", "16 GiB"), ("flag", "")].map(|(k, v)| (k.into(), v.into())).into();
        for (selector, holds) in [
            ("a=1", true),
            ("a==1,flag", true),
            ("a=2", false),
            ("!b", true),
            ("a in (1, 2),cores >= 4", true),
            ("mem > 16", false),
            ("b!=1", true),
            ("a notin (1)", false),
        ] {
            let terms = parse(selector).unwrap();
            assert_eq!(terms.iter().all(|term| term.matches(&labels)), holds, "{selector}");
        }
        assert!(parse("a=1,").is_err());
    }
}
