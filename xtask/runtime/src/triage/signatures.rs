//! The signatures of all known issues. Compiling two hundred regular expressions takes 25 ms, longer than most tasks; searching
//! for the words that every match must contain takes 3 ms. So a signature is compiled only when a line contains its words.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use regex::Regex;
use regex_syntax::hir::{Hir, HirKind};

/// One signature of an issue.
#[derive(Debug)]
struct Signature {
    /// The index of the issue in the list.
    issue: usize,
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Signature {
    fn compiled(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }
}

/// The signatures of all issues.
#[derive(Debug)]
pub struct Signatures {
    list: Vec<Signature>,
    words: AhoCorasick,
    /// The index of the signature that each word belongs to.
    owners: Vec<usize>,
    /// Signatures without a required word, which are tried on every line.
    always: Vec<usize>,
}

impl Signatures {
    /// Creates the set from pairs of an issue's index and a signature, in the order of the indices.
    ///
    /// # Errors
    /// Returns an error if a signature is not a valid regular expression.
    pub fn new<'a>(texts: impl Iterator<Item = (usize, &'a String)>) -> Result<Signatures, String> {
        let (mut list, mut words, mut owners, mut always) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (issue, text) in texts {
            let parsed = regex_syntax::parse(text).map_err(|error| error.to_string())?;
            match required_words(&parsed) {
                Some(needed) => {
                    owners.extend(needed.iter().map(|_| list.len()));
                    words.extend(needed);
                }
                None => always.push(list.len()),
            }
            list.push(Signature { issue, text: text.clone(), compiled: OnceLock::new() });
        }
        let words = AhoCorasick::new(words).map_err(|error| error.to_string())?;
        Ok(Signatures { list, words, owners, always })
    }

    /// The issues whose signatures match the line.
    pub fn matches(&self, line: &str) -> BTreeSet<usize> {
        let with_words = self.words.find_overlapping_iter(line).map(|found| self.owners[found.pattern().as_usize()]);
        let candidates: BTreeSet<usize> = with_words.chain(self.always.iter().copied()).collect();
        let candidates = candidates.into_iter().map(|at| &self.list[at]);
        let matching = candidates.filter(|one| one.compiled().is_some_and(|pattern| pattern.is_match(line)));
        matching.map(|one| one.issue).collect()
    }

    /// The signatures of one issue.
    pub fn of(&self, issue: usize) -> impl Iterator<Item = &Regex> {
        self.list.iter().filter(move |one| one.issue == issue).filter_map(Signature::compiled)
    }
}

/// A set of words of which every match contains at least one; `None` if there is no such set. Of several sets, returns the one
/// with the longest words, which is the rarest.
fn required_words(pattern: &Hir) -> Option<Vec<Vec<u8>>> {
    match pattern.kind() {
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Capture(group) => required_words(&group.sub),
        HirKind::Repetition(repeated) if repeated.min > 0 => required_words(&repeated.sub),
        HirKind::Concat(parts) => {
            parts.iter().filter_map(required_words).max_by_key(|words| words.iter().map(Vec::len).min())
        }
        HirKind::Alternation(ways) => {
            ways.iter().map(required_words).collect::<Option<Vec<_>>>().map(|words| words.concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::RegexSet;

    fn words(pattern: &str) -> Option<Vec<String>> {
        let found = required_words(&regex_syntax::parse(pattern).unwrap())?;
        Some(found.into_iter().map(|word| String::from_utf8(word).unwrap()).collect())
    }

    #[test]
    fn words_are_those_without_which_nothing_matches() {
        let some = |list: &[&str]| Some(list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(r"task (?<upid>UPID:\S+) failed$"), some(&[" failed"]));
        assert_eq!(words("(no route|connection refused) to"), some(&["no route", "connection refused"]));
        assert_eq!(words(r"(x\d+ )?(maybe )*certain"), some(&["certain"]));
        assert_eq!(words(r"(?:again ){2,}"), some(&["again "]));
        assert_eq!(words(r"\d+|word"), None, "a number matches without the word");
        assert_eq!(words("(?i)denied"), None, "any letter may be in capitals");
    }

    /// Searching by words first finds the same as matching all expressions at once.
    #[test]
    fn signatures_match_as_a_set_of_all_of_them() {
        let texts: Vec<String> = [
            r"(?i)access DENIED",
            r"node (?<node>\S+) is (down|gone)",
            r"^\d+: error$",
            r"(\bfoo|bar\b) ?\w*",
            r"é+ué",
            r"a|",
            r"no such (vm|node|storage)( '[^']*')?",
        ]
        .map(str::to_owned)
        .into();
        let ours = Signatures::new(texts.iter().enumerate()).unwrap();
        let all = RegexSet::new(&texts).unwrap();
        let lines = "|Access denied|node pve7 is gone, node pve8 is up|node pve7 is|12: error|12: errors|\
             xfoo rebar|foo|éué|no such vm|no such storage 'zebra'|nothing of it";
        for line in lines.split('|') {
            assert_eq!(ours.matches(line), all.matches(line).iter().collect(), "{line:?}");
        }
        assert!(Signatures::new([(0, &"(".to_owned())].into_iter()).is_err());
    }
}
