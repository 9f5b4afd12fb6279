//! The part of Kubernetes' JSONPath that people use: `{.metadata.id}`, `{.spec.machines.total}`, `['key']`, indices, `[*]`
//! and text between braces (k8s.io/client-go util/jsonpath).

use serde_json::Value;

/// A parsed template: literal text and paths in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Fields(Vec<Field>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Name(String),
    Index(i64),
    All,
}

impl Path {
    /// Reads a template. The error is what stands after `error parsing jsonpath: `.
    pub fn parse(text: &str) -> Result<Path, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let Some(open) = rest.find('{') else {
                parts.push(Part::Text(rest.to_owned()));
                break;
            };
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let inner = &rest[open + 1..];
            let open = inner.starts_with('[') && !inner.contains(']');
            let why = if open { "unterminated array" } else { "unclosed action" };
            let close = inner.find('}').ok_or_else(|| why.to_owned())?;
            let action = inner[..close].trim();
            rest = &inner[close + 1..];
            if let Some(quoted) = action.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                parts.push(Part::Text(quoted.replace("\\n", "\n").replace("\\t", "\t")));
                continue;
            }
            parts.push(Part::Fields(fields(action)?));
        }
        Ok(Path { parts })
    }

    /// What each part finds, in order; literal text is found as it is. With `lenient` a missing key finds nothing.
    pub fn find(&self, root: &Value, lenient: bool) -> Result<Vec<Value>, String> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push(Value::String(text.clone())),
                Part::Fields(fields) => {
                    let mut found = vec![root.clone()];
                    for field in fields {
                        found = step(&found, field, lenient)?;
                    }
                    out.extend(found);
                }
            }
        }
        Ok(out)
    }
}

fn fields(action: &str) -> Result<Vec<Field>, String> {
    let mut out = Vec::new();
    let mut rest = action.trim_start_matches(['$', '@']);
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let close = inner.find(']').ok_or_else(|| "unterminated array".to_owned())?;
            let index = &inner[..close];
            rest = &inner[close + 1..];
            out.push(match index.trim_matches(['\'', '"']) {
                "*" => Field::All,
                name if name.len() < index.len() => Field::Name(name.to_owned()),
                number => Field::Index(number.parse().map_err(|_| format!("invalid array index {number}"))?),
            });
            continue;
        }
        let Some(inner) = rest.strip_prefix('.') else {
            let first = rest.chars().next().unwrap_or(' ');
            return Err(format!("unrecognized character in action: U+{:04X} {first:?}", u32::from(first)));
        };
        let mut name = String::new();
        let mut chars = inner.char_indices();
        let mut end = inner.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '.' | '[' => {
                    end = at;
                    break;
                }
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                c => name.push(c),
            }
        }
        rest = &inner[end..];
        match name.as_str() {
            "" => {}
            "*" => out.push(Field::All),
            _ => out.push(Field::Name(name)),
        }
    }
    Ok(out)
}

fn step(from: &[Value], field: &Field, lenient: bool) -> Result<Vec<Value>, String> {
    let mut out = Vec::new();
    for value in from {
        match (field, value) {
            (Field::Name(name), Value::Object(map)) => match map.get(name) {
                Some(found) => out.push(found.clone()),
                None if lenient => {}
                None => return Err(format!("{name} is not found")),
            },
            (Field::Name(_), Value::Null) if lenient => {}
            (Field::Name(name), _) if !lenient => return Err(format!("{name} is not found")),
            (Field::Name(_), _) => {}
            (Field::All, Value::Array(items)) => out.extend(items.iter().cloned()),
            (Field::All, Value::Object(map)) => out.extend(map.values().cloned()),
            (Field::All, _) => {}
            (Field::Index(at), Value::Array(items)) => {
                let length = items.len() as i64;
                let wanted = if *at < 0 { length + at } else { *at };
                match usize::try_from(wanted).ok().and_then(|at| items.get(at)) {
                    Some(found) => out.push(found.clone()),
                    None => return Err(format!("array index out of bounds: index {at}, length {length}")),
                }
            }
            (Field::Index(_), other) => return Err(format!("{other} is not array or slice")),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_what_they_name() {
        let root = json!({"metadata": {"id": "a", "labels": {"omni.sidero.dev/cluster": "demo"}}, "list": [1, 2]});
        for (path, wanted) in [
            ("{.metadata.id}", json!(["a"])),
            ("{.metadata.labels['omni.sidero.dev/cluster']}", json!(["demo"])),
            ("{.metadata.labels.omni\\.sidero\\.dev/cluster}", json!(["demo"])),
            ("{.list[*]}", json!([1, 2])),
            ("{.list[-1]}{\"\\n\"}{.metadata.id}", json!([2, "\n", "a"])),
            ("plain", json!(["plain"])),
        ] {
            let found = Path::parse(path).unwrap().find(&root, false).unwrap();
            assert_eq!(Value::Array(found), wanted, "{path}");
        }
        assert_eq!(Path::parse("{.nope}").unwrap().find(&root, false).unwrap_err(), "nope is not found");
        assert!(Path::parse("{.nope}").unwrap().find(&root, true).unwrap().is_empty());
        assert!(Path::parse("{.x").is_err());
    }
}
