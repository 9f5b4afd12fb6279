//! From nodes to typed values, with what Go's YAML library says of those that do not fit.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::yamltext::{YamlKind, YamlNode};
use crate::omni::kinds::{self, Field, OmniRelease};

/// The structs of the templates: their names in messages, and their fields with types.
static MODELS: LazyLock<HashMap<String, HashMap<String, String>>> = LazyLock::new(|| {
    let table = serde_yaml::from_str(include_str!("template-models.yaml"));
    table.unwrap_or_else(|why| panic!("template-models.yaml: {why}"))
});

/// Collects errors while decoding.
pub struct Decoder<'a> {
    release: OmniRelease,
    line: &'a dyn Fn(&YamlNode) -> usize,
    /// `line N: …`, in order.
    pub errors: Vec<String>,
}

impl<'a> Decoder<'a> {
    /// A decoder; `line` gives the line that a message names.
    pub fn new(release: OmniRelease, line: &'a dyn Fn(&YamlNode) -> usize) -> Decoder<'a> {
        Decoder { release, line, errors: Vec::new() }
    }

    /// All errors as one, or nothing.
    pub fn finish(self) -> Result<(), String> {
        if self.errors.is_empty() { Ok(()) } else { Err(head(self.release, &self.errors)) }
    }

    fn fail(&mut self, node: &YamlNode, text: String) {
        let line = (self.line)(node);
        self.errors.push(format!("line {line}: {text}"));
    }

    fn misfit(&mut self, node: &YamlNode, go_type: &str) -> Value {
        let verb = if self.release.old() { "unmarshal" } else { "construct" };
        self.fail(node, format!("cannot {verb} {} into {go_type}", node.described()));
        Value::Null
    }

    fn duplicates(&mut self, node: &YamlNode) {
        for (key, first) in node.duplicates() {
            let (name, first) = (key.text().unwrap_or_default(), (self.line)(first));
            self.fail(key, format!("mapping key {name:?} already defined at line {first}"));
        }
    }

    /// A model; unknown keys are errors.
    pub fn model(&mut self, node: &YamlNode, model: &str) -> Value {
        if node.is_null() {
            return Value::Null;
        }
        let YamlKind::Map(pairs) = &node.kind else { return self.misfit(node, model) };
        self.duplicates(node);
        let mut out = Map::new();
        for (key, value) in pairs {
            let name = key.text().unwrap_or_default();
            let same = |field: &str| field.trim_end_matches(['+', '^']) == name && self.release.has(field);
            let found = MODELS.get(model).and_then(|fields| fields.iter().find(|(field, _)| same(field)));
            match found {
                Some((_, typ)) => drop(out.insert(name.to_owned(), self.field(value, typ))),
                None => self.fail(key, format!("field {name} not found in type {model}")),
            }
        }
        Value::Object(out)
    }

    fn field(&mut self, node: &YamlNode, typ: &str) -> Value {
        if node.is_null() {
            return Value::Null;
        }
        match typ {
            "string" => node.text().map_or_else(|| self.misfit(node, "string"), Value::from),
            "bool" => self.boolean(node),
            "[]string" => self.strings(node, "[]string"),
            "map[string]string" => match &node.kind {
                YamlKind::Map(pairs) => {
                    self.duplicates(node);
                    let pairs = pairs.iter().map(|(key, value)| {
                        let value = value.text().map_or_else(|| self.misfit(value, "string"), Value::from);
                        (key.text().unwrap_or_default().to_owned(), value)
                    });
                    Value::Object(pairs.collect())
                }
                _ => self.misfit(node, "map[string]string"),
            },
            "inline" => self.inline(node),
            "count" => self.size(node),
            "other" => {
                self.fail(node, "the lab does not simulate this field".to_owned());
                Value::Null
            }
            _ => match (typ.strip_suffix("List"), &node.kind) {
                (Some(model), YamlKind::Seq(items)) => items.iter().map(|item| self.model(item, model)).collect(),
                (Some(_), _) => self.misfit(node, typ),
                (None, _) => self.model(node, typ),
            },
        }
    }

    fn boolean(&mut self, node: &YamlNode) -> Value {
        match (node.text(), node.tag()) {
            (Some(text), "!!bool") => text.eq_ignore_ascii_case("true").into(),
            _ => self.misfit(node, "bool"),
        }
    }

    fn integer(&mut self, node: &YamlNode, go_type: &str) -> Value {
        let number =
            node.text().filter(|_| matches!(node.tag(), "!!int" | "!!float")).and_then(|text| text.parse::<f64>().ok());
        let unsigned = go_type.starts_with("uint");
        match number {
            // yaml.v3, which 1.4.9 reads with, cuts what is behind the point.
            Some(number) if (number.fract() == 0.0 || self.release.old()) && (number >= 0.0 || !unsigned) => {
                (number as i64).into()
            }
            _ => self.misfit(node, go_type),
        }
    }

    fn strings(&mut self, node: &YamlNode, go_type: &str) -> Value {
        let YamlKind::Seq(items) = &node.kind else { return self.misfit(node, go_type) };
        items.iter().map(|item| item.text().map_or_else(|| self.misfit(item, "string"), Value::from)).collect()
    }

    fn inline(&mut self, node: &YamlNode) -> Value {
        match &node.kind {
            // Texts and lists came with 1.8.
            YamlKind::Scalar(..) | YamlKind::Seq(_) if self.release.old() && !node.is_null() => {
                self.misfit(node, "map[string]interface {}")
            }
            YamlKind::Scalar(text, _) if node.tag() == "!!str" => json!({"raw": text}),
            YamlKind::Scalar(..) => {
                let text = format!("expected string, but got {}", node.tag());
                self.fail(node, text);
                Value::Null
            }
            YamlKind::Map(_) => json!({"docs": [plain(node)]}),
            YamlKind::Seq(items) => {
                let misfits: Vec<&YamlNode> =
                    items.iter().filter(|item| !matches!(item.kind, YamlKind::Map(_))).collect();
                for item in misfits {
                    self.misfit(item, "map[string]interface {}");
                }
                json!({"docs": items.iter().map(plain).collect::<Vec<_>>()})
            }
        }
    }

    fn size(&mut self, node: &YamlNode) -> Value {
        let Some(text) = node.text() else { return self.misfit(node, "string") };
        match text {
            "unlimited" | "∞" | "infinity" | "Unlimited" => json!({"value": 0, "type": 1}),
            "Static" => json!({"value": 0, "type": 0}),
            other => match other.parse::<u32>() {
                Ok(value) if !other.starts_with('+') => json!({"value": value, "type": 0}),
                _ => {
                    let digits = !other.is_empty() && other.bytes().all(|b| b.is_ascii_digit());
                    let why = if digits { "value out of range".to_owned() } else { "invalid syntax".to_owned() };
                    let text = format!("invalid machine count {other}: strconv.ParseUint: parsing {other:?}: {why}");
                    self.fail(node, text);
                    Value::Null
                }
            },
        }
    }

    /// A spec by the fields of its type; keys that the type does not have are dropped.
    pub fn spec(&mut self, node: &YamlNode, fields: &[Field], go_type: &str) -> Value {
        let YamlKind::Map(pairs) = &node.kind else { return self.misfit(node, go_type) };
        self.duplicates(node);
        let mut out = Map::new();
        for (key, value) in pairs {
            let name = key.text().unwrap_or_default();
            if let Some(field) = fields.iter().find(|field| field.name == name) {
                out.insert(name.to_owned(), self.typed(value, &field.node, name));
            }
        }
        Value::Object(out)
    }

    fn typed(&mut self, node: &YamlNode, typ: &kinds::FieldType, name: &str) -> Value {
        if node.is_null() {
            return kinds::zero(typ);
        }
        match typ {
            kinds::FieldType::Str => node.text().map_or_else(|| self.misfit(node, "string"), Value::from),
            kinds::FieldType::Bool => self.boolean(node),
            kinds::FieldType::Int(go_type) => self.integer(node, go_type),
            kinds::FieldType::Bytes => match &node.kind {
                YamlKind::Seq(items) => items.iter().map(|item| self.integer(item, "uint8")).collect(),
                _ => self.misfit(node, "[]uint8"),
            },
            kinds::FieldType::List(of) => match (&node.kind, of.as_ref()) {
                (YamlKind::Seq(items), of) => items.iter().map(|item| self.typed(item, of, name)).collect(),
                (_, kinds::FieldType::Str) => self.misfit(node, "[]string"),
                _ => self.misfit(node, &format!("[]*{}", message_name(name))),
            },
            kinds::FieldType::Map(_) => match &node.kind {
                YamlKind::Map(_) => plain(node),
                _ => self.misfit(node, "map[string]string"),
            },
            kinds::FieldType::Msg(fields) => self.spec(node, fields, message_name(name)),
        }
    }
}

/// The Go type of a message field, for the fields that people get wrong.
fn message_name(field: &str) -> &'static str {
    match field {
        "autoprovision" => "specs.MachineClassSpec_Provision",
        "features" => "specs.ClusterSpec_Features",
        "backupconfiguration" => "specs.EtcdBackupConf",
        "machineallocation" | "machineclass" => "specs.MachineSetSpec_MachineAllocation",
        "metavalues" => "specs.MetaValue",
        _ => "specs.Message",
    }
}

/// The head line of Go's list of errors.
pub fn head(release: OmniRelease, errors: &[String]) -> String {
    let verb = if release.old() { "unmarshal" } else { "construct" };
    format!("yaml: {verb} errors:\n  {}", errors.join("\n  "))
}

/// A node as JSON, scalars typed as Go types them.
pub fn plain(node: &YamlNode) -> Value {
    match &node.kind {
        YamlKind::Seq(items) => items.iter().map(plain).collect(),
        YamlKind::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| (key.text().unwrap_or_default().to_owned(), plain(value)));
            Value::Object(pairs.collect())
        }
        YamlKind::Scalar(text, _) => match node.tag() {
            "!!null" => Value::Null,
            "!!bool" => text.eq_ignore_ascii_case("true").into(),
            "!!int" => text.parse::<i64>().map_or_else(|_| text.clone().into(), Value::from),
            "!!float" => text.parse::<f64>().map_or_else(|_| text.clone().into(), Value::from),
            _ => text.clone().into(),
        },
    }
}
