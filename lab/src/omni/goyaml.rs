//! YAML as Go writes it (go.yaml.in/yaml/v4): field order of the type, literal blocks for text of several lines, quotes
//! only where the plain form would be read as something else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::kinds::{Field, FieldType, ResourceType};
use super::resource::{Resource, rfc3339};

/// A tree ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Yaml {
    /// Written as it stands: a scalar without a tag, as the runtime makes its metadata.
    Bare(String),
    /// A string, quoted where it must be.
    Str(String),
    /// A number, a boolean or null.
    Raw(String),
    Seq(Vec<Yaml>),
    /// A mapping in this order.
    Map(Vec<(String, Yaml)>),
}

/// The document of a resource with an indent of `indent` spaces, newline at the end.
pub fn resource(resource: &Resource, kind: Option<&ResourceType>, indent: usize) -> String {
    let spec = match kind.and_then(ResourceType::fields) {
        Some(fields) => message(fields, &resource.spec),
        None => value(&resource.spec),
    };
    write(&Yaml::Map(vec![("metadata".to_owned(), metadata(resource)), ("spec".to_owned(), spec)]), indent)
}

fn metadata(resource: &Resource) -> Yaml {
    let md = &resource.md;
    let bare = |text: &str| Yaml::Bare(text.to_owned());
    let mut out: Vec<(String, Yaml)> = [
        ("namespace", bare(&md.namespace)),
        ("type", bare(&md.typ)),
        ("id", bare(&md.id)),
        ("version", Yaml::Bare(resource.version_text())),
        ("owner", bare(&md.owner)),
        ("phase", bare(md.phase.name())),
        ("created", Yaml::Bare(rfc3339(md.created))),
        ("updated", Yaml::Bare(rfc3339(md.updated))),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let pairs = |from: &BTreeMap<String, String>| {
        Yaml::Map(from.iter().map(|(key, value)| (key.clone(), Yaml::Bare(value.clone()))).collect())
    };
    if !md.labels.is_empty() {
        out.push(("labels".to_owned(), pairs(&md.labels)));
    }
    if !md.annotations.is_empty() {
        out.push(("annotations".to_owned(), pairs(&md.annotations)));
    }
    if !md.finalizers.is_empty() {
        let held = md.finalizers.iter().map(|name| Yaml::Bare(name.clone())).collect();
        out.push(("finalizers".to_owned(), Yaml::Seq(held)));
    }
    Yaml::Map(out)
}

fn message(fields: &[Field], given: &Value) -> Yaml {
    let pairs = fields.iter().map(|field| {
        let found = given.get(&field.name).unwrap_or(&Value::Null);
        (field.name.clone(), typed(&field.node, found))
    });
    Yaml::Map(pairs.collect())
}

fn typed(node: &FieldType, given: &Value) -> Yaml {
    match (node, given) {
        (FieldType::Msg(fields), Value::Object(_)) => message(fields, given),
        (FieldType::List(of), Value::Array(items)) => Yaml::Seq(items.iter().map(|item| typed(of, item)).collect()),
        _ => value(given),
    }
}

/// A JSON value as YAML, keys sorted.
pub fn value(given: &Value) -> Yaml {
    match given {
        Value::Null => Yaml::Raw("null".to_owned()),
        Value::Bool(yes) => Yaml::Raw(yes.to_string()),
        Value::Number(number) => Yaml::Raw(number.to_string()),
        Value::String(text) => Yaml::Str(text.clone()),
        Value::Array(items) => Yaml::Seq(items.iter().map(value).collect()),
        Value::Object(map) => Yaml::Map(map.iter().map(|(key, inner)| (key.clone(), value(inner))).collect()),
    }
}

/// Writes a tree, newline at the end.
pub fn write(tree: &Yaml, indent: usize) -> String {
    let mut out = String::new();
    block(&mut out, tree, 0, indent);
    out
}

/// Writes a mapping or list as a block whose lines begin at column `column`.
fn block(out: &mut String, tree: &Yaml, column: usize, indent: usize) {
    match tree {
        Yaml::Map(pairs) if !pairs.is_empty() => {
            for (key, inner) in pairs {
                pad(out, column);
                pair(out, key, inner, column, indent);
            }
        }
        Yaml::Seq(items) if !items.is_empty() => {
            for item in items {
                pad(out, column);
                element(out, item, column, indent);
            }
        }
        other => {
            pad(out, column);
            scalar(out, other, column + indent);
            out.push('\n');
        }
    }
}

fn pair(out: &mut String, key: &str, inner: &Yaml, column: usize, indent: usize) {
    let _ = write!(out, "{}:", string(key));
    match inner {
        Yaml::Map(pairs) if !pairs.is_empty() => {
            out.push('\n');
            block(out, inner, column + indent, indent);
        }
        Yaml::Seq(items) if !items.is_empty() => {
            out.push('\n');
            block(out, inner, column + indent, indent);
        }
        Yaml::Bare(text) if text.is_empty() => out.push('\n'),
        other => {
            out.push(' ');
            scalar(out, other, column + indent);
            out.push('\n');
        }
    }
}

/// A list item: a mapping begins on the dash's own line.
fn element(out: &mut String, item: &Yaml, column: usize, indent: usize) {
    match item {
        Yaml::Map(pairs) if !pairs.is_empty() => {
            for (number, (key, inner)) in pairs.iter().enumerate() {
                if number == 0 {
                    out.push_str("- ");
                } else {
                    pad(out, column + 2);
                }
                pair(out, key, inner, column + 2, indent);
            }
        }
        Yaml::Seq(items) if !items.is_empty() => {
            for (number, inner) in items.iter().enumerate() {
                if number == 0 {
                    out.push_str("- ");
                } else {
                    pad(out, column + 2);
                }
                element(out, inner, column + 2, indent);
            }
        }
        other => {
            out.push_str("- ");
            scalar(out, other, column + indent);
            out.push('\n');
        }
    }
}

fn pad(out: &mut String, column: usize) {
    out.extend(std::iter::repeat_n(' ', column));
}

fn scalar(out: &mut String, tree: &Yaml, column: usize) {
    match tree {
        Yaml::Bare(text) | Yaml::Raw(text) => out.push_str(text),
        Yaml::Str(text) if text.contains('\n') => literal(out, text, column),
        Yaml::Str(text) => out.push_str(&string(text)),
        Yaml::Seq(_) => out.push_str("[]"),
        Yaml::Map(_) => out.push_str("{}"),
    }
}

fn literal(out: &mut String, text: &str, column: usize) {
    let body = text.strip_suffix('\n');
    out.push('|');
    match body {
        None => out.push('-'),
        Some(rest) if rest.ends_with('\n') || rest.is_empty() => out.push('+'),
        Some(_) => {}
    }
    for line in body.unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, column);
            out.push_str(line);
        }
    }
}

/// A string of one line, plain if that is read back as the same string.
fn string(text: &str) -> String {
    let resolves = matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "~"
            | "null"
            | "true"
            | "false"
            | "yes"
            | "no"
            | "on"
            | "off"
            | "y"
            | "n"
            | ".nan"
            | ".inf"
            | "-.inf"
            | "<<"
    );
    let number = text.parse::<f64>().is_ok() || is_radix_number(text) || is_date(text);
    if resolves || number {
        return format!("\"{text}\"");
    }
    if text.chars().any(char::is_control) {
        return format!("{text:?}");
    }
    let first = text.chars().next().unwrap_or(' ');
    let second = text.chars().nth(1);
    let opens =
        ",[]{}#&*!|>'\"%@`".contains(first) || ("-?:".contains(first) && second.is_none_or(char::is_whitespace));
    let spaces = text.starts_with(' ') || text.ends_with(' ');
    let inner = text.contains(": ") || text.ends_with(':') || text.contains(" #");
    if opens || spaces || inner || text.starts_with("---") || text.starts_with("...") {
        return format!("'{}'", text.replace('\'', "''"));
    }
    text.to_owned()
}

fn is_radix_number(text: &str) -> bool {
    let digits = |rest: &str, radix| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix) || c == '_');
    let body = text.trim_start_matches(['+', '-']);
    match body.get(..2) {
        Some("0x") => digits(&body[2..], 16),
        Some("0o") => digits(&body[2..], 8),
        Some("0b") => digits(&body[2..], 2),
        _ => body.starts_with(|c: char| c.is_ascii_digit()) && body.contains('_') && digits(body, 10),
    }
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes[..10]
            .iter()
            .enumerate()
            .all(|(at, b)| if at == 4 || at == 7 { *b == b'-' } else { b.is_ascii_digit() })
        && (bytes.len() == 10 || bytes[10] == b'T' || bytes[10] == b't' || bytes[10] == b' ')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds::{self, OmniRelease};
    use super::*;

    #[test]
    fn a_class_is_written_as_omnictl_writes_it() {
        let kind = kinds::by_type(OmniRelease::V1_4_9, "MachineClasses.omni.sidero.dev").unwrap();
        let spec =
            kind.complete(&json!({"autoprovision": {"providerid": "proxmox", "providerdata": "cores: 4\nx: 1\n"}}));
        let mut class = Resource::new(&kind.typ, "default", "worker", spec, 0);
        class.md.finalizers = vec!["A".to_owned()];
        let text = resource(&class, Some(kind), 4);
        assert!(text.contains("    owner:\n    phase: running\n"), "{text}");
        assert!(
            text.contains("    finalizers:\n        - A\nspec:\n    matchlabels: []\n    autoprovision:\n"),
            "{text}"
        );
        assert!(
            text.ends_with("        providerdata: |\n            cores: 4\n            x: 1\n        grpctunnel: 0\n")
        );
    }

    #[test]
    fn quotes_stand_only_where_they_must() {
        for (text, wanted) in [
            ("", "\"\""),
            ("1.34.1", "1.34.1"),
            ("1.34", "\"1.34\""),
            ("true", "\"true\""),
            ("a: b", "'a: b'"),
            ("it's", "it's"),
            ("'x", "'''x'"),
            ("name == \"local-lvm\"", "name == \"local-lvm\""),
            ("2026-01-01", "\"2026-01-01\""),
            ("-", "'-'"),
            ("-x", "-x"),
        ] {
            assert_eq!(string(text), wanted, "{text:?}");
        }
    }
}
