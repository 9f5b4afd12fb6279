//! Interprets the JSON Schema keywords that the schemas of the provider and of Talos use, over positioned YAML.
//!
//! An unknown keyword is reported once, because it may affect the result. The messages match those of Omni's own validator
//! (siderolabs/omni v1.9.3 internal/pkg/jsonschema/jsonschema.go).

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::LazyLock;

use serde_json::Value as Json;

use selector::regex_matches;
use yaml::{Data, Node, Position, Value};

/// A value that does not match a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub kind: MismatchKind,
    pub at: Position,
    /// The dotted path of the value, starting with a dot.
    pub path: String,
    pub message: String,
    /// The unknown key and the known keys, for "did you mean".
    pub known: Option<(String, Vec<String>)>,
}

/// The kind of mismatch; programs that decode without a schema notice some kinds and not others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MismatchKind {
    /// A scalar instead of a mapping or list, or the other way round.
    Shape,
    /// A scalar of the wrong type, and whether it is a string.
    Type {
        is_string: bool,
    },
    Required,
    /// A key that the schema forbids.
    UnknownKey,
    /// A value outside its limits.
    Value,
    /// A keyword that is not interpreted; concerns the schema, not the value.
    Keyword,
    /// The schema refers to itself in a cycle, so the result is unknown.
    Endless,
}

/// Keywords of a schema that are interpreted here, and those that do not affect validity; neither do those that begin with `x-`.
static UNDERSTOOD: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "type properties required additionalProperties patternProperties items enum const minimum maximum exclusiveMinimum \
     exclusiveMaximum multipleOf minLength maxLength pattern minItems maxItems $ref oneOf anyOf allOf \
     $schema $id $defs $comment definitions title description default examples deprecated readOnly writeOnly \
     markdownDescription format"
        .split(' ')
        .collect()
});
const MAX_DEPTH: usize = 64;
/// How many parts of a schema are checked against one document. A schema whose parts refer to each other can branch
/// indefinitely.
const MAX_STEPS: u32 = 100_000;

/// A size keyword, whether a size satisfies it, and the message and unit for a size that does not.
type Limit = (&'static str, fn(f64, f64) -> bool, &'static str, &'static str);
const NUMBER: [Limit; 5] = [
    ("minimum", |n, l| n >= l, "must be at least", ""),
    ("maximum", |n, l| n <= l, "must be at most", ""),
    ("exclusiveMinimum", |n, l| n > l, "must be greater than", ""),
    ("exclusiveMaximum", |n, l| n < l, "must be less than", ""),
    ("multipleOf", |n, l| l == 0.0 || (n / l).fract() == 0.0, "must be a multiple of", ""),
];
const LENGTH: [Limit; 2] = [
    ("minLength", |n, l| n >= l, "must have at least", " characters"),
    ("maxLength", |n, l| n <= l, "must have at most", " characters"),
];
const ITEMS: [Limit; 2] = [
    ("minItems", |n, l| n >= l, "must have at least", " items"),
    ("maxItems", |n, l| n <= l, "must have at most", " items"),
];

/// Returns everything in a document that does not match the schema.
pub fn validate(schema: &Json, node: &Node) -> Vec<Mismatch> {
    let steps = Cell::new(0);
    let mut validator = Validator { root: schema, steps: &steps, found: Vec::new(), unknown: Vec::new() };
    validator.node(schema, node, "", 0);
    if steps.get() > MAX_STEPS {
        let message = "the schema refers to itself endlessly, or nests too deeply".to_owned();
        validator.found.clear();
        validator.report(MismatchKind::Endless, node.at, "", message);
    }
    validator.found
}

struct Validator<'s> {
    root: &'s Json,
    /// Shared by all branches of one validation.
    steps: &'s Cell<u32>,
    found: Vec<Mismatch>,
    unknown: Vec<&'s str>,
}

impl<'s> Validator<'s> {
    fn report(&mut self, kind: MismatchKind, at: Position, path: &str, message: String) {
        let path = if path.is_empty() { "." } else { path };
        let message = format!("config value {path:?}: {message}");
        self.found.push(Mismatch { kind, at, path: path.to_owned(), message, known: None });
    }

    fn node(&mut self, schema: &'s Json, node: &Node, path: &str, depth: usize) {
        let Some(rules) = schema.as_object() else {
            if schema == &Json::Bool(false) {
                self.report(MismatchKind::Value, node.at, path, "is not allowed".to_owned());
            }
            return;
        };
        self.steps.set(if depth > MAX_DEPTH { u32::MAX } else { self.steps.get().saturating_add(1) });
        if self.steps.get() > MAX_STEPS {
            return;
        }
        if let Some(target) = rules.get("$ref").and_then(Json::as_str) {
            match self.resolve(target) {
                Some(schema) => self.node(schema, node, path, depth + 1),
                None => self.keyword("$ref", node, path),
            }
        }
        for key in rules.keys() {
            if !UNDERSTOOD.contains(key.as_str()) && !key.starts_with("x-") {
                self.keyword(key, node, path);
            }
        }
        if let Some(expected) = rules.get("type")
            && !self.type_fits(expected, node, path)
        {
            return;
        }
        self.check_combinations(rules, node, path, depth);
        self.scalar(rules, node, path);
        match &node.data {
            Data::Map(_) => self.map(rules, node, path, depth),
            Data::Seq(items) => {
                if let Some(schema) = rules.get("items") {
                    items.iter().enumerate().for_each(|(n, i)| self.node(schema, i, &format!("{path}.{n}"), depth + 1));
                }
                self.limits(rules, &ITEMS, items.len() as f64, node.at, path);
            }
            Data::Scalar(_) => {}
        }
    }

    /// Resolves a reference within the same document: `#/$defs/name`.
    fn resolve(&self, target: &str) -> Option<&'s Json> {
        let pointer = target.strip_prefix('#')?;
        self.root.pointer(pointer)
    }

    fn keyword(&mut self, key: &'s str, node: &Node, path: &str) {
        if !self.unknown.contains(&key) {
            self.unknown.push(key);
            let message = format!("the schema uses `{key}`, which this check does not interpret");
            self.report(MismatchKind::Keyword, node.at, path, message);
        }
    }

    fn type_fits(&mut self, expected: &Json, node: &Node, path: &str) -> bool {
        let names: Vec<&str> = match expected {
            Json::String(name) => vec![name],
            Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
            _ => return true,
        };
        let found = type_of(node);
        let fits = |name: &&str| *name == found || (*name == "number" && found == "integer");
        if names.iter().any(fits) {
            return true;
        }
        let scalar = |name: &str| !matches!(name, "object" | "array");
        let kind = match scalar(found) && names.iter().any(|n| scalar(n)) {
            true => MismatchKind::Type { is_string: found == "string" },
            false => MismatchKind::Shape,
        };
        self.report(kind, node.at, path, format!("must be of type {}, but got {found}", names.join(" or ")));
        false
    }

    fn check_combinations(&mut self, rules: &'s serde_json::Map<String, Json>, node: &Node, path: &str, depth: usize) {
        for branch in rules.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.node(branch, node, path, depth + 1);
        }
        for key in ["anyOf", "oneOf"] {
            let Some(branches) = rules.get(key).and_then(Json::as_array) else { continue };
            let mut nearest: Option<Vec<Mismatch>> = None;
            let mut fitting = 0;
            for branch in branches {
                let mut inner = Validator { found: Vec::new(), unknown: Vec::new(), ..*self };
                inner.node(branch, node, path, depth + 1);
                let found: Vec<Mismatch> =
                    inner.found.into_iter().filter(|m| m.kind != MismatchKind::Keyword).collect();
                if found.is_empty() {
                    fitting += 1;
                } else if nearest.as_ref().is_none_or(|n| found.len() < n.len()) {
                    nearest = Some(found);
                }
            }
            if fitting == 0 {
                self.found.extend(nearest.unwrap_or_default());
            } else if fitting > 1 && key == "oneOf" {
                let message = format!("must match exactly one of the allowed forms, but matches {fitting}");
                self.report(MismatchKind::Value, node.at, path, message);
            }
        }
    }

    fn scalar(&mut self, rules: &'s serde_json::Map<String, Json>, node: &Node, path: &str) {
        let Some(value) = node.value() else { return };
        if let Some(allowed) = rules.get("enum").and_then(Json::as_array)
            && !allowed.iter().any(|a| is_equal(a, value))
        {
            let shown: Vec<String> = allowed.iter().map(show).collect();
            self.report(MismatchKind::Value, node.at, path, format!("must be one of {}", shown.join(", ")));
        }
        if let Some(expected) = rules.get("const")
            && !is_equal(expected, value)
        {
            self.report(MismatchKind::Value, node.at, path, format!("must be {}", show(expected)));
        }
        match value {
            Value::Int(number) => self.limits(rules, &NUMBER, number as f64, node.at, path),
            Value::Float(number) => self.limits(rules, &NUMBER, number, node.at, path),
            Value::Str(text) => {
                self.limits(rules, &LENGTH, text.chars().count() as f64, node.at, path);
                if let Some(pattern) = rules.get("pattern").and_then(Json::as_str)
                    && regex_matches(pattern, text) == Some(false)
                {
                    self.report(MismatchKind::Value, node.at, path, format!("must match `{pattern}`"));
                }
            }
            _ => {}
        }
    }

    fn limits(&mut self, rules: &serde_json::Map<String, Json>, limits: &[Limit], size: f64, at: Position, path: &str) {
        for (key, fits, words, unit) in limits {
            if let Some(limit) = rules.get(*key)
                && limit.as_f64().is_some_and(|limit| !fits(size, limit))
            {
                self.report(MismatchKind::Value, at, path, format!("{words} {limit}{unit}"));
            }
        }
    }

    fn map(&mut self, rules: &'s serde_json::Map<String, Json>, node: &Node, path: &str, depth: usize) {
        let properties = rules.get("properties").and_then(Json::as_object);
        let patterns = rules.get("patternProperties").and_then(Json::as_object);
        for entry in node.entries() {
            let below = format!("{path}.{}", entry.key);
            let mut known = false;
            if let Some(schema) = properties.and_then(|p| p.get(&entry.key)) {
                known = true;
                self.node(schema, &entry.value, &below, depth + 1);
            }
            for (pattern, schema) in patterns.into_iter().flatten() {
                // A pattern that does not compile is not a reason to refuse a key.
                if regex_matches(pattern, &entry.key) != Some(false) {
                    known = true;
                    self.node(schema, &entry.value, &below, depth + 1);
                }
            }
            match rules.get("additionalProperties") {
                Some(Json::Bool(false)) if !known => {
                    let names: Vec<String> = properties.into_iter().flat_map(|p| p.keys().cloned()).collect();
                    self.report(MismatchKind::UnknownKey, entry.at, &below, "is not known".to_owned());
                    if let Some(last) = self.found.last_mut() {
                        last.known = Some((entry.key.clone(), names));
                    }
                }
                Some(schema @ Json::Object(_)) if !known => self.node(schema, &entry.value, &below, depth + 1),
                _ => {}
            }
        }
        for key in rules.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
            if node.entry(key).is_none() {
                self.report(MismatchKind::Required, node.at, &format!("{path}.{key}"), "is required".to_owned());
            }
        }
    }
}

/// Returns the JSON Schema type of a value; a float without a fraction is an integer.
fn type_of(node: &Node) -> &'static str {
    match (&node.data, node.value()) {
        (Data::Map(_), _) => "object",
        (Data::Seq(_), _) => "array",
        (_, Some(Value::Bool(_))) => "boolean",
        (_, Some(Value::Int(_))) => "integer",
        (_, Some(Value::Float(f))) if f.fract() == 0.0 && f.is_finite() => "integer",
        // Omni turns `.nan` into null before validating.
        (_, Some(Value::Float(f))) if f.is_nan() => "null",
        (_, Some(Value::Float(_))) => "number",
        (_, Some(Value::Null)) => "null",
        // To Omni's validator, a timestamp has none of these types.
        (_, Some(Value::Timestamp(_))) => "timestamp",
        _ => "string",
    }
}

fn is_equal(json: &Json, value: Value<'_>) -> bool {
    match (json, value) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(a), Value::Bool(b)) => *a == b,
        (Json::String(a), Value::Str(b)) => a == b,
        (Json::Number(a), Value::Int(b)) => a.as_f64() == Some(b as f64),
        (Json::Number(a), Value::Float(b)) => a.as_f64() == Some(b),
        _ => false,
    }
}

fn show(json: &Json) -> String {
    match json {
        Json::String(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn found(schema: &Json, text: &str) -> Vec<(MismatchKind, String)> {
        let stream = yaml::load("a.yaml", text.as_bytes());
        let begun = Instant::now();
        let found = validate(schema, &stream.documents[0].root);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        found.into_iter().map(|mismatch| (mismatch.kind, mismatch.path)).collect()
    }

    #[test]
    fn cyclic_reference_terminates() {
        // Validation also gives up on a schema whose parts double at each of many levels.
        let doubled = (0..25).map(|at| {
            let next = json!({"$ref": format!("#/$defs/p{}", at + 1)});
            (format!("p{at}"), json!({"anyOf": [next, next]}))
        });
        let doubled: serde_json::Map<String, Json> = doubled.collect();
        for schema in [
            json!({"$ref": "#/$defs/p0", "$defs": doubled}),
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}], "oneOf": [{"$ref": "#"}, {"$ref": "#"}]}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}}),
        ] {
            assert_eq!(found(&schema, "a: 1"), [(MismatchKind::Endless, ".".to_owned())], "{schema}");
        }
        // A schema that recurses into the parts of a value ends where the value does.
        let tree = json!({"type": "object", "additionalProperties": {"$ref": "#"}});
        assert_eq!(found(&tree, "a: {b: {}, c: 1}"), [(MismatchKind::Shape, ".a.c".to_owned())]);
    }
}
