//! Label selectors as far as tasks and hints use them: `label` and `label=value`, joined by commas (omni v1.9.3
//! client/pkg/cosi/labels). Whatever else the real program takes is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One term of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub key: String,
    /// What it must be; `None` if it must only be there.
    pub value: Option<String>,
}

impl Term {
    /// The label has exactly this value.
    pub fn equal(key: &str, value: &str) -> Term {
        Term { key: key.to_owned(), value: Some(value.to_owned()) }
    }

    /// Whether these labels satisfy the term.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(&self.key).is_some_and(|found| self.value.as_ref().is_none_or(|wanted| wanted == found))
    }
}

/// Reads a selector: terms joined by commas, all of which must hold.
pub fn parse(selector: &str) -> Result<Vec<Term>, String> {
    let term = |part: &str| {
        let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value.to_owned())));
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let known = !key.is_empty() && plain(key) && value.as_deref().is_none_or(plain);
        let unknown = || format!("the lab does not simulate the selector term {part:?}");
        known.then(|| Term { key: key.to_owned(), value }).ok_or_else(unknown)
    };
    selector.split(',').map(|part| term(part.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_match_labels() {
        let labels: BTreeMap<String, String> = [("a", "1"), ("flag", "")].map(|(k, v)| (k.into(), v.into())).into();
        for (selector, holds) in [("a=1", true), ("a=1,flag", true), ("a=2", false), ("b", false)] {
            let terms = parse(selector).unwrap();
            assert_eq!(terms.iter().all(|term| term.matches(&labels)), holds, "{selector}");
        }
        assert!(["a=1,", "a in (1)", "!a"].iter().all(|selector| parse(selector).is_err()));
    }
}
