//! Decodes YAML with positions into typed values, by the rules of Go's YAML library (go.yaml.in/yaml v4.0.0-rc.4,
//! constructor.go): any scalar decodes into a string, `yes` into a typed bool, `2.0` into an integer.

use crate::nearest::{nearest, suggestion};
use yaml::{Data, Finding, Node, Position, Value};

/// Maximum number of unknown keys to list for one mapping; a file with more is probably of another kind.
pub const MAX_REPORTED: usize = 50;

/// The rule IDs that a decoder reports, which differ between classes and templates.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub unknown_key: &'static str,
    pub wrong_type: &'static str,
    /// The levels of a file with their keys, for hints about a key at the wrong level.
    pub levels: &'static [(&'static str, &'static [&'static str])],
}

/// Decodes the nodes of one file and collects findings. Methods with a mapping and a key return `None` if the value is absent,
/// null or of the wrong type; they report the latter.
#[derive(Debug)]
pub struct Decoder<'a> {
    pub file: &'a str,
    pub rules: Rules,
    pub findings: Vec<Finding>,
}

impl<'a> Decoder<'a> {
    /// Creates a decoder for one file.
    pub fn new(file: &'a str, rules: Rules) -> Decoder<'a> {
        Decoder { file, rules, findings: Vec::new() }
    }

    /// Reports an error at a node.
    pub fn error(&mut self, rule: &'static str, node: &Node, message: String, fix: impl Into<String>) {
        self.error_at(rule, node.at, message, fix);
    }

    /// Reports an error at a position.
    pub fn error_at(&mut self, rule: &'static str, at: Position, message: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding::error(rule, at.in_file(self.file), message, fix));
    }

    fn report_mismatch(&mut self, node: &Node, key: &str, wanted: &str) {
        let shown = match node.text() {
            Some(text) if text.chars().count() <= 40 && !text.contains('\n') => format!("`{text}`"),
            _ => node.tag_name().to_owned(),
        };
        let message = format!("`{key}` must be {wanted}, but is {shown}");
        self.error(self.rules.wrong_type, node, message, format!("write {wanted}"));
    }

    /// Returns true if the node is a mapping; reports anything else except null.
    pub fn check_map(&mut self, node: &Node, key: &str) -> bool {
        if !node.is_map() && !node.is_null() {
            self.report_mismatch(node, key, "a mapping");
        }
        node.is_map()
    }

    /// Returns the mapping under a key.
    pub fn map<'n>(&mut self, map: &'n Node, key: &str) -> Option<&'n Node> {
        map.get(key).filter(|node| self.check_map(node, key))
    }

    /// Reports the unknown keys of a mapping, each with the nearest known key or the level where it belongs.
    pub fn check_known_keys(&mut self, node: &Node, known: &[&str], what: &str) {
        let unknown = node.entries().iter().filter(|e| !known.contains(&e.key.as_str()));
        for (n, entry) in unknown.enumerate() {
            if n == MAX_REPORTED {
                let message = format!("more than {MAX_REPORTED} unknown keys in {what}: the rest are not listed");
                self.error_at(self.rules.unknown_key, entry.at, message, "check that this is the right file");
                break;
            }
            let message = format!("unknown key `{}` in {what}", entry.key);
            let key = entry.key.as_str();
            let level = self.rules.levels.iter().find(|(_, keys)| keys.contains(&key));
            let fix = match level.filter(|_| nearest(key, known.iter().copied()).is_none()) {
                Some((level, _)) => format!("move it: `{key}` belongs in {level}"),
                None => suggestion(key, known),
            };
            self.error_at(self.rules.unknown_key, entry.at, message, fix);
        }
    }

    /// Returns the text of any scalar.
    pub fn string(&mut self, node: &Node, key: &str) -> Option<String> {
        match &node.data {
            Data::Scalar(_) => node.text().map(str::to_owned),
            _ => {
                self.report_mismatch(node, key, "a string");
                None
            }
        }
    }

    /// Returns the string under a key; empty if absent.
    pub fn text_at(&mut self, map: &Node, key: &str) -> String {
        self.text_with_position(map, key).0
    }

    /// Same as [`Decoder::text_at`], with its position; if absent, with the position of the mapping.
    pub fn text_with_position(&mut self, map: &Node, key: &str) -> (String, Position) {
        self.string_at(map, key).map_or((String::new(), map.at), |(text, node)| (text, node.at))
    }

    /// Returns the string under a key, with its node.
    pub fn string_at<'n>(&mut self, map: &'n Node, key: &str) -> Option<(String, &'n Node)> {
        let node = map.get(key)?;
        self.string(node, key).map(|s| (s, node))
    }

    /// Returns the bool under a key; the words of YAML 1.1 (`yes`, `on`, `n`) count, as they do for a typed bool in Go.
    pub fn boolean(&mut self, map: &Node, key: &str) -> Option<bool> {
        let node = map.get(key)?;
        match node.value() {
            Some(Value::Null) => None,
            Some(Value::Bool(b)) => Some(b),
            Some(Value::Str("y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON")) => Some(true),
            Some(Value::Str("n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF")) => Some(false),
            _ => {
                self.report_mismatch(node, key, "true or false");
                None
            }
        }
    }

    /// Returns the integer under a key, within bounds; a float without a fraction counts, as it does in Go.
    pub fn integer(&mut self, map: &Node, key: &str, least: i128, most: i128) -> Option<i128> {
        let node = map.get(key)?;
        let number = match node.value() {
            Some(Value::Null) => return None,
            Some(Value::Int(n)) => Some(n),
            Some(Value::Float(f)) if f.fract() == 0.0 && f.abs() < 1e18 => Some(f as i128),
            _ => None,
        };
        let fitting = number.filter(|n| (least..=most).contains(n));
        if fitting.is_none() {
            let wanted = match number {
                Some(_) => format!("a whole number from {least} to {most}"),
                None => "a whole number".to_owned(),
            };
            self.report_mismatch(node, key, &wanted);
        }
        fitting
    }

    /// Returns the list of strings under a key.
    pub fn strings(&mut self, map: &Node, key: &str) -> Option<Vec<String>> {
        let node = map.get(key)?;
        match &node.data {
            // Go's YAML library skips nulls in a list.
            Data::Seq(items) => {
                let items = items.iter().filter(|i| !i.is_null());
                Some(items.map(|i| self.string(i, key).unwrap_or_default()).collect())
            }
            _ if node.is_null() => None,
            _ => {
                self.report_mismatch(node, key, "a list");
                None
            }
        }
    }

    /// Returns the items of a list; none if the value is absent.
    pub fn list<'n>(&mut self, node: &'n Node, key: &str) -> &'n [Node] {
        if !matches!(node.data, Data::Seq(_)) && !node.is_null() {
            self.report_mismatch(node, key, "a list");
        }
        node.items()
    }

    /// Returns the mappings in the list under a key; reports other items.
    pub fn maps<'n>(&mut self, map: &'n Node, key: &str) -> Vec<&'n Node> {
        let Some(list) = map.get(key) else { return Vec::new() };
        self.list(list, key).iter().filter(|item| self.check_map(item, key)).collect()
    }

    /// Returns a mapping of strings, such as labels and annotations.
    pub fn string_map(&mut self, map: &Node, key: &str) -> Vec<(String, String)> {
        let entries = self.map(map, key).map_or(&[][..], Node::entries);
        entries.iter().map(|e| (e.key.clone(), self.string(&e.value, &e.key).unwrap_or_default())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// go.yaml.in/yaml v4.0.0-rc.4 constructor.go: `n` is a string everywhere, and false only for a typed bool.
    #[test]
    fn yaml_1_1_words_are_bools_only_in_boolean() {
        let rules = Rules { unknown_key: "", wrong_type: "wrong-type", levels: &[] };
        for (words, wanted) in [
            (["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"], Some(true)),
            (["n", "N", "no", "No", "NO", "off", "Off", "OFF"], Some(false)),
            (["nO", "yEs", "oN", "oFF", "'n '", "t", "f", "none"], None),
        ] {
            for word in words {
                let stream = yaml::load("f", format!("key: {word}").as_bytes());
                let map = &stream.documents[0].root;
                let mut decoder = Decoder::new("f", rules);
                assert!(matches!(map.get("key").and_then(Node::value), Some(Value::Str(_))), "{word}");
                assert_eq!(decoder.boolean(map, "key"), wanted, "{word}");
                assert_eq!(decoder.findings.is_empty(), wanted.is_some(), "{word}");
            }
        }
    }

    #[test]
    fn strings_skips_nulls_and_keeps_absence_apart() {
        let rules = Rules { unknown_key: "", wrong_type: "wrong-type", levels: &[] };
        for (text, wanted, mismatches) in [
            ("key: [a, ~, b]", Some("a b"), 0),
            ("key: []", Some(""), 0),
            ("key:", None, 0),
            ("other: []", None, 0),
            ("key: a", None, 1),
        ] {
            let stream = yaml::load("f", text.as_bytes());
            let mut decoder = Decoder::new("f", rules);
            let found = decoder.strings(&stream.documents[0].root, "key").map(|list| list.join(" "));
            assert_eq!((found.as_deref(), decoder.findings.len()), (wanted, mismatches), "{text}");
        }
    }
}
