//! Evaluation for one storage, with the errors of cel-go and its rules for them: `&&`, `||` and the quantifiers ignore an error
//! that does not affect the result (google/cel-go v0.27.0 interpreter).

use std::borrow::Cow;
use std::sync::Arc;

use super::Storage;
use super::ast::{ACCUMULATOR, Call, Expr, Fold, Kind};
use super::convert;
use super::pattern::Pattern;
use super::types::Type;
use super::value::Value;

/// cel-go has no limit; this one stops maliciously nested comprehensions before they take noticeably long.
const MAX_STEPS: u32 = 2_000_000;
const MAX_ITEMS: usize = 100_000;

/// A failed evaluation and the part of the source that failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub message: String,
    pub start: u32,
    pub end: u32,
    /// Whether the error cannot be ignored: cel-go's interpreter panicked, or the evaluation took too long.
    pub fatal: bool,
}

pub(super) type Evaluated<'a> = Result<Value<'a>, Box<Failure>>;

/// Go's panic message when a map key is bytes, which cannot be hashed; cel-go recovers from the panic for the whole evaluation.
const UNHASHABLE: &str = "internal error: runtime error: hash of unhashable type types.Bytes";

/// The state of an evaluation.
pub(super) struct Machine<'a> {
    storage: Storage<'a>,
    scopes: Vec<(&'a str, Evaluated<'a>)>,
    steps: u32,
}

impl<'a> Machine<'a> {
    pub(super) fn new(storage: Storage<'a>) -> Machine<'a> {
        Machine { storage, scopes: Vec::new(), steps: 0 }
    }

    pub(super) fn eval(&mut self, expr: &'a Expr) -> Evaluated<'a> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return fatal(expr, format!("evaluation stopped after {MAX_STEPS} steps"));
        }
        match &expr.kind {
            Kind::Literal(value) => Ok(borrow(value)),
            Kind::Ident(name) => self.variable(expr, name),
            Kind::Call(call) => self.call(expr, call),
            Kind::Select(select) => {
                let operand = self.eval(&select.operand)?;
                let key = Value::Str(Cow::Borrowed(&select.field));
                match (select.test, index(&operand, &key)) {
                    (false, Ok(value)) => Ok(value),
                    (true, Ok(_)) => Ok(Value::Bool(true)),
                    (true, Err(message)) if message.starts_with("no such key") => Ok(Value::Bool(false)),
                    (_, Err(message)) => fail(expr, message),
                }
            }
            Kind::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|i| self.eval(i)).collect();
                Ok(Value::List(Arc::new(items?)))
            }
            Kind::Map(entries) => {
                let mut map: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let (key, value) = (self.eval(key)?, self.eval(value)?);
                    if matches!(key, Value::Bytes(_)) {
                        return fatal(expr, UNHASHABLE);
                    }
                    match map.iter_mut().find(|(k, _)| k.type_name() == key.type_name() && k.equals(&key)) {
                        Some(entry) => entry.1 = value,
                        None => map.push((key, value)),
                    }
                }
                Ok(Value::Map(Arc::new(map)))
            }
            Kind::Message(name, _) => fail(expr, format!("unknown type: {name}")),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn variable(&mut self, expr: &'a Expr, name: &'a str) -> Evaluated<'a> {
        if let Some((_, value)) = self.scopes.iter().rev().find(|(n, _)| *n == name) {
            return value.clone();
        }
        match name.strip_prefix('.').unwrap_or(name) {
            "name" => Ok(Value::Str(Cow::Borrowed(self.storage.name))),
            "node" => Ok(Value::Str(Cow::Borrowed(self.storage.node))),
            "storageType" => Ok(Value::Str(Cow::Borrowed(self.storage.storage_type))),
            "availableSpace" => Ok(Value::Uint(self.storage.available_space)),
            other if Type::named(other).is_some() => Ok(Value::Type(Cow::Borrowed(other))),
            other => fail(expr, format!("no such attribute(s): {other}")),
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Evaluated<'a> {
        let items: Vec<Value<'a>> = match self.eval(&fold.range)? {
            Value::List(items) => items.to_vec(),
            Value::Map(entries) => entries.iter().map(|(k, _)| k.clone()).collect(),
            other => {
                let message = format!("got '{}', expected iterable type", convert::go_type(&other));
                return fail(&fold.range, message);
            }
        };
        if let (Some(end), Kind::Call(step)) = (fold.ends_at, &fold.step.kind) {
            return self.quantify(fold, &step.args[1], end, items);
        }
        let init = self.eval(&fold.init);
        self.scopes.push((ACCUMULATOR, init));
        let slot = self.scopes.len() - 1;
        for item in items {
            self.scopes.push((&fold.var, Ok(item)));
            let step = self.eval(&fold.step);
            self.scopes.pop();
            self.scopes[slot].1 = step;
            if matches!(&self.scopes[slot].1, Err(e) if e.fatal) {
                break;
            }
        }
        let result = self.eval(&fold.result);
        self.scopes.truncate(slot);
        result
    }

    /// Evaluates `all` and `exists` like a chain of `&&` or `||` over the items.
    fn quantify(&mut self, fold: &'a Fold, predicate: &'a Expr, end: bool, items: Vec<Value<'a>>) -> Evaluated<'a> {
        let results = items.into_iter().map(|item| {
            self.scopes.push((&fold.var, Ok(item)));
            let result = self.eval(predicate);
            self.scopes.pop();
            (predicate, result)
        });
        absorbing(results, end)
    }

    fn call(&mut self, expr: &'a Expr, call: &'a Call) -> Evaluated<'a> {
        let Some(function) = call.function() else { return fail(expr, format!("no such overload: {}", call.function)) };
        let args = &call.args;
        match function.name {
            "_&&_" | "_||_" => absorbing(args.iter().map(|arg| (arg, self.eval(arg))), function.name == "_||_"),
            "_?_:_" => match self.eval(&args[0])? {
                Value::Bool(true) => self.eval(&args[1]),
                Value::Bool(false) => self.eval(&args[2]),
                _ => fail(expr, "no such overload"),
            },
            _ => {
                let first = self.eval(&args[0])?;
                let result = match args.len() {
                    1 => unary(function.name, first),
                    _ => {
                        let second = self.eval(&args[1])?;
                        binary(function.name, &first, &second, call.pattern.as_deref())
                    }
                };
                result.or_else(|message| match message == UNHASHABLE {
                    true => fatal(expr, message),
                    false => fail(expr, message),
                })
            }
        }
    }
}

/// `&&` and `all` end at false, `||` and `exists` at true; an error counts only if no operand ends them.
fn absorbing<'a>(results: impl Iterator<Item = (&'a Expr, Evaluated<'a>)>, end: bool) -> Evaluated<'a> {
    let mut failure = None;
    for (part, result) in results {
        match result {
            Ok(Value::Bool(b)) if b == end => return Ok(Value::Bool(end)),
            Ok(Value::Bool(_)) => {}
            Ok(_) => drop(failure.get_or_insert_with(|| fail(part, "no such overload"))),
            Err(e) if e.fatal => return Err(e),
            Err(e) => drop(failure.get_or_insert(Err(e))),
        }
    }
    failure.unwrap_or(Ok(Value::Bool(!end)))
}

fn fail<'a>(expr: &Expr, message: impl Into<String>) -> Evaluated<'a> {
    Err(Box::new(Failure { message: message.into(), start: expr.start, end: expr.end, fatal: false }))
}

fn fatal<'a>(expr: &Expr, message: impl Into<String>) -> Evaluated<'a> {
    Err(Box::new(Failure { message: message.into(), start: expr.start, end: expr.end, fatal: true }))
}

fn borrow<'a>(value: &'a Value<'static>) -> Value<'a> {
    match value {
        Value::Str(text) => Value::Str(Cow::Borrowed(text)),
        other => other.clone(),
    }
}

type Applied<'a> = Result<Value<'a>, String>;

fn unary<'a>(function: &str, value: Value<'a>) -> Applied<'a> {
    match (function, &value) {
        ("!_", Value::Bool(b)) => Ok(Value::Bool(!b)),
        ("-_", Value::Int(n)) => n.checked_neg().map(Value::Int).ok_or_else(|| "integer overflow".to_owned()),
        ("-_", Value::Double(d)) => Ok(Value::Double(-d)),
        ("-_", _) => Err(no_overload(function, &value, matches!(value, Value::Bool(_)))),
        ("!_", _) => Err("no such overload".to_owned()),
        ("size", _) => size(&value).ok_or_else(|| no_overload(function, &value, false)),
        ("type", _) => Ok(Value::Type(Cow::Borrowed(value.type_name()))),
        ("dyn", _) => Ok(value),
        _ => convert::convert(function, value),
    }
}

/// cel-go names the function unless the type of the value implements the operator or accepts any call.
fn no_overload(function: &str, value: &Value<'_>, implemented: bool) -> String {
    match implemented || matches!(value, Value::Str(_)) {
        true => "no such overload".to_owned(),
        false => format!("no such overload: {function}"),
    }
}

fn size<'a>(value: &Value<'_>) -> Option<Value<'a>> {
    let n = match value {
        Value::Str(s) => s.chars().count(),
        Value::Bytes(b) => b.len(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(Value::Int(n as i64))
}

fn binary<'a>(function: &str, a: &Value<'a>, b: &Value<'a>, pattern: Option<&Result<Pattern, String>>) -> Applied<'a> {
    let order = |test: fn(std::cmp::Ordering) -> bool| match a {
        Value::List(_) | Value::Map(_) | Value::Null | Value::Type(_) => Err(format!("no such overload: {function}")),
        _ => a.order(b).map(|o| Value::Bool(test(o))).map_err(str::to_owned),
    };
    match function {
        "_==_" => Ok(Value::Bool(a.equals(b))),
        "_!=_" => Ok(Value::Bool(!a.equals(b))),
        "_<_" => order(|o| o.is_lt()),
        "_<=_" => order(|o| o.is_le()),
        "_>_" => order(|o| o.is_gt()),
        "_>=_" => order(|o| o.is_ge()),
        "@in" => contains(a, b),
        "_[_]" => index(a, b),
        "matches" => matches(a, b, pattern),
        "contains" | "startsWith" | "endsWith" => match (a, b) {
            (Value::Str(a), Value::Str(b)) => Ok(Value::Bool(match function {
                "contains" => a.contains(&**b),
                "startsWith" => a.starts_with(&**b),
                _ => a.ends_with(&**b),
            })),
            _ => Err("no such overload".to_owned()),
        },
        _ => arithmetic(function, a, b),
    }
}

fn contains<'a>(item: &Value<'a>, set: &Value<'a>) -> Applied<'a> {
    match set {
        Value::List(items) => Ok(Value::Bool(items.iter().any(|i| i.equals(item)))),
        // Go does not hash the key for the empty map of a literal.
        Value::Map(entries) if matches!(item, Value::Bytes(_)) && !entries.is_empty() => Err(UNHASHABLE.to_owned()),
        Value::Map(entries) => Ok(Value::Bool(entries.iter().any(|(k, _)| k.equals(item)))),
        _ => Err("no such overload".to_owned()),
    }
}

fn index<'a>(from: &Value<'a>, key: &Value<'a>) -> Applied<'a> {
    match (from, key) {
        (_, Value::List(_)) => Err("invalid qualifier type: *types.baseList".to_owned()),
        (_, Value::Map(_)) => Err("invalid qualifier type: *types.baseMap".to_owned()),
        (_, Value::Null | Value::Bytes(_) | Value::Type(_)) => {
            Err(format!("invalid qualifier type: {}", convert::go_type(key)))
        }
        (Value::List(items), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            let at = match key {
                Value::Int(n) => i128::from(*n),
                Value::Uint(n) => i128::from(*n),
                Value::Double(d) if d.fract() == 0.0 && d.abs() < 1e18 => *d as i128,
                _ => return Err(format!("unsupported index value {key} in list")),
            };
            let item = usize::try_from(at).ok().and_then(|n| items.get(n));
            item.cloned().ok_or_else(|| format!("index out of bounds: {at}"))
        }
        (Value::List(_), _) => Err(format!("unsupported index type '{}' in list", key.type_name())),
        (Value::Map(entries), _) => {
            let entry = entries.iter().find(|(k, _)| k.equals(key));
            entry.map(|(_, v)| v.clone()).ok_or_else(|| format!("no such key: {key}"))
        }
        _ => Err(format!("no such key: {key}")),
    }
}

fn matches<'a>(text: &Value<'_>, pattern: &Value<'_>, compiled: Option<&Result<Pattern, String>>) -> Applied<'a> {
    let Value::Str(text) = text else { return Err("no such overload: matches".to_owned()) };
    let Value::Str(pattern) = pattern else { return Err("no such overload".to_owned()) };
    let found = match compiled {
        Some(Ok(regex)) => regex.is_match(text),
        Some(Err(message)) => return Err(message.clone()),
        None => Pattern::new(pattern)?.is_match(text),
    };
    Ok(Value::Bool(found))
}

/// Applies an operator to two integers of the same type.
macro_rules! integers {
    ($op:expr, $a:expr, $b:expr, $overflow:literal) => {
        match $op {
            "_+_" => $a.checked_add(*$b),
            "_-_" => $a.checked_sub(*$b),
            "_*_" => $a.checked_mul(*$b),
            "_/_" if *$b == 0 => return Err("division by zero".to_owned()),
            "_/_" => $a.checked_div(*$b),
            _ if *$b == 0 => return Err("modulus by zero".to_owned()),
            _ => $a.checked_rem(*$b),
        }
        .ok_or_else(|| $overflow.to_owned())
    };
}

fn arithmetic<'a>(name: &str, a: &Value<'a>, b: &Value<'a>) -> Applied<'a> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => integers!(name, a, b, "integer overflow").map(Value::Int),
        (Value::Uint(a), Value::Uint(b)) => integers!(name, a, b, "unsigned integer overflow").map(Value::Uint),
        (Value::Double(a), Value::Double(b)) => match name {
            "_+_" => Ok(Value::Double(a + b)),
            "_-_" => Ok(Value::Double(a - b)),
            "_*_" => Ok(Value::Double(a * b)),
            "_/_" => Ok(Value::Double(a / b)),
            _ => Err(format!("no such overload: {name}")),
        },
        (Value::Str(a), Value::Str(b)) if name == "_+_" && a.len() + b.len() <= MAX_ITEMS * 10 => {
            Ok(Value::Str(Cow::Owned(format!("{a}{b}"))))
        }
        (Value::Bytes(a), Value::Bytes(b)) if name == "_+_" && a.len() + b.len() <= MAX_ITEMS * 10 => {
            Ok(Value::Bytes([&a[..], &b[..]].concat().into()))
        }
        (Value::List(a), Value::List(b)) if name == "_+_" && a.len() + b.len() <= MAX_ITEMS => {
            Ok(Value::List(Arc::new(a.iter().chain(b.iter()).cloned().collect())))
        }
        _ => {
            let implemented = match a {
                Value::Int(_) | Value::Uint(_) => true,
                Value::Double(_) => name != "_%_",
                Value::Bytes(_) | Value::List(_) => name == "_+_",
                _ => false,
            };
            Err(no_overload(name, a, implemented))
        }
    }
}
