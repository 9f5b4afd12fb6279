//! Evaluation: `&&` and `||` forgive an error on one side if the other decides, as cel-go does.

use super::{Expr, Kind, Storage};
use crate::pattern::Pattern;

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Type(&'static str),
}

/// The value of a checked expression, which is a boolean.
pub(super) fn boolean(expr: &Expr, storage: &Storage) -> Result<bool, String> {
    match (Eval { storage, scope: Vec::new() }).of(expr)? {
        Value::Bool(value) => Ok(value),
        other => Err(format!("expression output type is {}, expected bool", type_name(&other))),
    }
}

struct Eval<'a> {
    storage: &'a Storage,
    scope: Vec<(String, Value)>,
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null_type",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint",
        Value::Double(_) => "double",
        Value::Str(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Type(_) => "type",
    }
}

type Outcome = Result<Value, String>;

impl Eval<'_> {
    fn of(&mut self, expr: &Expr) -> Outcome {
        Ok(match &expr.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Int(value) => Value::Int(*value),
            Kind::Uint(value) => Value::Uint(*value),
            Kind::Double(value) => Value::Double(*value),
            Kind::Str(value) => Value::Str(value.clone()),
            Kind::Bytes(value) => Value::Bytes(value.clone()),
            Kind::Ident(name) => self.ident(name)?,
            Kind::List(items) => Value::List(items.iter().map(|item| self.of(item)).collect::<Result<_, _>>()?),
            Kind::Map(pairs) => {
                let mut out = Vec::new();
                for (key, value) in pairs {
                    out.push((self.of(key)?, self.of(value)?));
                }
                Value::Map(out)
            }
            Kind::Select(from, field) => index(&self.of(from)?, &Value::Str(field.clone()))?,
            Kind::Has(from, field) => Value::Bool(index(&self.of(from)?, &Value::Str(field.clone())).is_ok()),
            Kind::Call { name, target, args } => self.call(name, target.as_deref(), args)?,
            Kind::Macro { name, range, var, bodies } => self.comprehension(name, range, var, bodies)?,
        })
    }

    fn ident(&self, name: &str) -> Outcome {
        if let Some((_, value)) = self.scope.iter().rev().find(|(var, _)| var == name) {
            return Ok(value.clone());
        }
        Ok(match name {
            "name" => Value::Str(self.storage.name.clone()),
            "node" => Value::Str(self.storage.node.clone()),
            "storageType" => Value::Str(self.storage.storage_type.clone()),
            "availableSpace" => Value::Uint(self.storage.available_space),
            "bool" => Value::Type("bool"),
            "int" => Value::Type("int"),
            "uint" => Value::Type("uint"),
            "double" => Value::Type("double"),
            "string" => Value::Type("string"),
            "bytes" => Value::Type("bytes"),
            "list" => Value::Type("list"),
            "map" => Value::Type("map"),
            "null_type" => Value::Type("null_type"),
            "type" => Value::Type("type"),
            other => return Err(format!("no such attribute(s): {other}")),
        })
    }

    fn comprehension(&mut self, name: &str, range: &Expr, var: &str, bodies: &[Expr]) -> Outcome {
        let items: Vec<Value> = match self.of(range)? {
            Value::List(items) => items,
            Value::Map(pairs) => pairs.into_iter().map(|(key, _)| key).collect(),
            _ => return Err("no such overload".to_owned()),
        };
        let (mut kept, mut count, mut failed) = (Vec::new(), 0usize, None);
        let total = items.len();
        for item in items {
            self.scope.push((var.to_owned(), item.clone()));
            let first = self.of(&bodies[0]);
            let chosen = matches!(first, Ok(Value::Bool(true)));
            let mapped = match (name, bodies.len()) {
                ("map", 2) if chosen => Some(self.of(&bodies[1])),
                ("map", 1) => Some(first.clone()),
                _ => None,
            };
            self.scope.pop();
            if let Err(why) = first {
                failed = Some(why);
                continue;
            }
            count += usize::from(chosen);
            match mapped {
                Some(value) => kept.push(value?),
                None if name == "filter" && chosen => kept.push(item),
                None => {}
            }
        }
        let decided = match name {
            "all" => count + usize::from(failed.is_some()) < total,
            "exists" => count > 0,
            _ => false,
        };
        if let (Some(why), false) = (failed, decided) {
            return Err(why);
        }
        Ok(match name {
            "all" => Value::Bool(count == total),
            "exists" => Value::Bool(count > 0),
            "exists_one" => Value::Bool(count == 1),
            _ => Value::List(kept),
        })
    }

    fn call(&mut self, name: &str, target: Option<&Expr>, args: &[Expr]) -> Outcome {
        match (name, args) {
            ("_&&_" | "_||_", [a, b]) => {
                let decides = Value::Bool(name == "_||_");
                let (a, b) = (self.of(a), self.of(b));
                if a.as_ref() == Ok(&decides) || b.as_ref() == Ok(&decides) {
                    return Ok(decides);
                }
                a.and(b)
            }
            ("_?_:_", [test, yes, no]) => match self.of(test)? {
                Value::Bool(true) => self.of(yes),
                Value::Bool(false) => self.of(no),
                _ => Err("no such overload".to_owned()),
            },
            _ => {
                let mut values: Vec<Value> = Vec::new();
                for arg in target.into_iter().chain(args) {
                    values.push(self.of(arg)?);
                }
                apply(name, &values)
            }
        }
    }
}

fn index(from: &Value, by: &Value) -> Outcome {
    match (from, by) {
        (Value::List(items), Value::Int(at)) => {
            let found = usize::try_from(*at).ok().and_then(|at| items.get(at));
            found.cloned().ok_or_else(|| format!("index out of bounds: {at}"))
        }
        (Value::Map(pairs), key) => {
            let found = pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value.clone());
            found.ok_or_else(|| match key {
                Value::Str(text) => format!("no such key: {text}"),
                other => format!("no such key: {other:?}"),
            })
        }
        _ => Err("no such overload".to_owned()),
    }
}

fn apply(name: &str, values: &[Value]) -> Outcome {
    use Value::{Bool, Bytes, Double, Int, List, Map, Str, Uint};
    let int = |value: Option<i64>| value.map(Int).ok_or_else(|| "integer overflow".to_owned());
    let uint = |value: Option<u64>| value.map(Uint).ok_or_else(|| "unsigned integer overflow".to_owned());
    let zero = || match name {
        "_%_" => Err("modulus by zero".to_owned()),
        _ => Err("division by zero".to_owned()),
    };
    match (name, values) {
        ("_==_", [a, b]) => Ok(Bool(a == b)),
        ("_!=_", [a, b]) => Ok(Bool(a != b)),
        ("!_", [Bool(a)]) => Ok(Bool(!a)),
        ("-_", [Int(a)]) => int(a.checked_neg()),
        ("-_", [Double(a)]) => Ok(Double(-a)),
        ("_/_" | "_%_", [Int(_), Int(0)] | [Uint(_), Uint(0)]) => zero(),
        ("_+_", [Int(a), Int(b)]) => int(a.checked_add(*b)),
        ("_-_", [Int(a), Int(b)]) => int(a.checked_sub(*b)),
        ("_*_", [Int(a), Int(b)]) => int(a.checked_mul(*b)),
        ("_/_", [Int(a), Int(b)]) => int(a.checked_div(*b)),
        ("_%_", [Int(a), Int(b)]) => int(a.checked_rem(*b)),
        ("_+_", [Uint(a), Uint(b)]) => uint(a.checked_add(*b)),
        ("_-_", [Uint(a), Uint(b)]) => uint(a.checked_sub(*b)),
        ("_*_", [Uint(a), Uint(b)]) => uint(a.checked_mul(*b)),
        ("_/_", [Uint(a), Uint(b)]) => uint(a.checked_div(*b)),
        ("_%_", [Uint(a), Uint(b)]) => uint(a.checked_rem(*b)),
        ("_+_", [Double(a), Double(b)]) => Ok(Double(a + b)),
        ("_-_", [Double(a), Double(b)]) => Ok(Double(a - b)),
        ("_*_", [Double(a), Double(b)]) => Ok(Double(a * b)),
        ("_/_", [Double(a), Double(b)]) => Ok(Double(a / b)),
        ("_+_", [Str(a), Str(b)]) => Ok(Str(format!("{a}{b}"))),
        ("_+_", [List(a), List(b)]) => Ok(List([a.as_slice(), b].concat())),
        ("_+_", [Bytes(a), Bytes(b)]) => Ok(Bytes([a.as_slice(), b].concat())),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => compare(name, a, b),
        ("@in", [a, List(items)]) => Ok(Bool(items.contains(a))),
        ("@in", [a, Map(pairs)]) => Ok(Bool(pairs.iter().any(|(key, _)| key == a))),
        ("_[_]", [from, by]) => index(from, by),
        ("size", [Str(a)]) => int(i64::try_from(a.chars().count()).ok()),
        ("size", [Bytes(a)]) => int(i64::try_from(a.len()).ok()),
        ("size", [List(a)]) => int(i64::try_from(a.len()).ok()),
        ("size", [Map(a)]) => int(i64::try_from(a.len()).ok()),
        ("contains", [Str(a), Str(b)]) => Ok(Bool(a.contains(b.as_str()))),
        ("startsWith", [Str(a), Str(b)]) => Ok(Bool(a.starts_with(b.as_str()))),
        ("endsWith", [Str(a), Str(b)]) => Ok(Bool(a.ends_with(b.as_str()))),
        ("matches", [Str(a), Str(b)]) => {
            let pattern = Pattern::new(b).map_err(|why| format!("error parsing regexp: {why}"))?;
            Ok(Bool(pattern.is_match(a)))
        }
        ("type", [a]) => Ok(Value::Type(type_name(a))),
        ("dyn", [a]) => Ok(a.clone()),
        (name, [a]) => convert(name, a),
        _ => Err("no such overload".to_owned()),
    }
}

fn compare(name: &str, a: &Value, b: &Value) -> Outcome {
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.partial_cmp(b),
        (Value::Uint(a), Value::Uint(b)) => a.partial_cmp(b),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Str(a), Value::Str(b)) => a.partial_cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.partial_cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.partial_cmp(b),
        _ => return Err("no such overload".to_owned()),
    };
    Ok(Value::Bool(order.is_some_and(|order| match name {
        "_<_" => order.is_lt(),
        "_<=_" => order.is_le(),
        "_>_" => order.is_gt(),
        _ => order.is_ge(),
    })))
}

fn convert(name: &str, value: &Value) -> Outcome {
    use Value::{Bool, Bytes, Double, Int, Str, Uint};
    let refuse = || Err(format!("type conversion error from '{}' to '{name}'", type_name(value)));
    let range = |what: &str| Err(format!("{what} overflow"));
    match (name, value) {
        ("int", Int(_)) | ("uint", Uint(_)) | ("double", Double(_)) | ("string", Str(_)) | ("bool", Bool(_)) => {
            Ok(value.clone())
        }
        ("bytes", Bytes(_)) => Ok(value.clone()),
        ("int", Uint(a)) => i64::try_from(*a).map_or_else(|_| range("integer"), |a| Ok(Int(a))),
        ("int", Double(a)) if a.abs() < 9.2e18 => Ok(Int(*a as i64)),
        ("int", Double(_)) => range("integer"),
        ("int", Str(a)) => a.parse().map_or_else(|_| refuse(), |a| Ok(Int(a))),
        ("uint", Int(a)) => u64::try_from(*a).map_or_else(|_| range("unsigned integer"), |a| Ok(Uint(a))),
        ("uint", Double(a)) if *a >= 0.0 && *a < 1.8e19 => Ok(Uint(*a as u64)),
        ("uint", Double(_)) => range("unsigned integer"),
        ("uint", Str(a)) => a.parse().map_or_else(|_| refuse(), |a| Ok(Uint(a))),
        ("double", Int(a)) => Ok(Double(*a as f64)),
        ("double", Uint(a)) => Ok(Double(*a as f64)),
        ("double", Str(a)) => a.parse().map_or_else(|_| refuse(), |a| Ok(Double(a))),
        ("string", Int(a)) => Ok(Str(a.to_string())),
        ("string", Uint(a)) => Ok(Str(a.to_string())),
        ("string", Double(a)) => Ok(Str(a.to_string())),
        ("string", Bool(a)) => Ok(Str(a.to_string())),
        ("string", Bytes(a)) => String::from_utf8(a.clone()).map_or_else(|_| refuse(), |a| Ok(Str(a))),
        ("bool", Str(a)) => a.parse().map_or_else(|_| refuse(), |a| Ok(Bool(a))),
        ("bytes", Str(a)) => Ok(Bytes(a.clone().into_bytes())),
        _ => Err("no such overload".to_owned()),
    }
}
