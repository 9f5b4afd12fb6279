//! Label selectors as far as tasks and hints use them: `label` and `label=value`, joined by commas (omni v1.9.3
//! client/pkg/cosi/labels). Other selectors of the real program are rejected.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A term of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub key: String,
    /// The required value; `None` if any value matches.
    pub value: Option<String>,
}

impl Term {
    /// Creates a term that requires exactly this value.
    pub fn equal(key: &str, value: &str) -> Term {
        Term { key: key.to_owned(), value: Some(value.to_owned()) }
    }

    /// Returns true if these labels satisfy the term.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(&self.key).is_some_and(|found| self.value.as_ref().is_none_or(|wanted| wanted == found))
    }
}

/// Parses a selector: terms joined by commas, all of which must match.
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
