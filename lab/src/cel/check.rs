//! The type check: what cel-go refuses before it evaluates anything.

use std::fmt;

use super::{Expr, Kind, report};

#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::enum_variant_names)] // CEL calls the type of types `type`
enum Type {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Str,
    Bytes,
    Dyn,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    /// A type itself; `None` is the type of types.
    Type(Option<Box<Type>>),
    /// An error was reported already: nothing more is said about it.
    Unknown,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::Str => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Dyn => f.write_str("dyn"),
            Type::List(of) => write!(f, "list({of})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Type(None) => f.write_str("type"),
            Type::Type(Some(of)) => write!(f, "type({of})"),
            Type::Unknown => f.write_str("!error!"),
        }
    }
}

/// Checks that an expression has the type bool.
pub(super) fn boolean(expr: &Expr, source: &str) -> Result<(), String> {
    let mut checker = Checker { source, errors: Vec::new(), scope: Vec::new() };
    let found = checker.of(expr);
    match (checker.errors.is_empty(), found) {
        (false, _) => {
            checker.errors.sort();
            Err(checker.errors.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n"))
        }
        (true, Type::Bool) => Ok(()),
        (true, other) => Err(format!("expression output type is {other}, expected bool")),
    }
}

struct Checker<'a> {
    source: &'a str,
    errors: Vec<(usize, String)>,
    scope: Vec<(String, Type)>,
}

/// Whether two types may stand for each other.
fn same(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Unknown, _) | (_, Type::Dyn | Type::Unknown) => true,
        (Type::List(a), Type::List(b)) => same(a, b),
        (Type::Map(a, b), Type::Map(c, d)) => same(a, c) && same(b, d),
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}

fn join(types: Vec<Type>) -> Type {
    let mut types = types.into_iter();
    let Some(first) = types.next() else { return Type::Dyn };
    if types.all(|other| same(&first, &other)) { first } else { Type::Dyn }
}

impl Checker<'_> {
    fn fail(&mut self, at: usize, what: &str) -> Type {
        self.errors.push((at, report(self.source, at, what)));
        Type::Unknown
    }

    fn of(&mut self, expr: &Expr) -> Type {
        match &expr.kind {
            Kind::Null => Type::Null,
            Kind::Bool(_) => Type::Bool,
            Kind::Int(_) => Type::Int,
            Kind::Uint(_) => Type::Uint,
            Kind::Double(_) => Type::Double,
            Kind::Str(_) => Type::Str,
            Kind::Bytes(_) => Type::Bytes,
            Kind::Ident(name) => self.ident(expr.at, name),
            Kind::List(items) => {
                let types = items.iter().map(|item| self.of(item)).collect();
                Type::List(Box::new(join(types)))
            }
            Kind::Map(pairs) => {
                let (mut keys, mut values) = (Vec::new(), Vec::new());
                for (key, value) in pairs {
                    keys.push(self.of(key));
                    values.push(self.of(value));
                }
                Type::Map(Box::new(join(keys)), Box::new(join(values)))
            }
            Kind::Select(from, field) | Kind::Has(from, field) => {
                let _ = field;
                let found = match self.of(from) {
                    Type::Map(_, value) => *value,
                    Type::Dyn => Type::Dyn,
                    Type::Unknown => Type::Unknown,
                    other => self.fail(expr.at, &format!("type '{other}' does not support field selection")),
                };
                if matches!(expr.kind, Kind::Has(..)) && found != Type::Unknown { Type::Bool } else { found }
            }
            Kind::Call { name, target, args } => {
                let target = target.as_ref().map(|target| self.of(target));
                let args: Vec<Type> = args.iter().map(|arg| self.of(arg)).collect();
                self.call(expr.at, name, target, args)
            }
            Kind::Macro { name, range, var, bodies } => self.comprehension(name, range, var, bodies),
        }
    }

    fn ident(&mut self, at: usize, name: &str) -> Type {
        if let Some((_, found)) = self.scope.iter().rev().find(|(var, _)| var == name) {
            return found.clone();
        }
        let of = |inner| Type::Type(Some(Box::new(inner)));
        match name {
            "name" | "node" | "storageType" => Type::Str,
            "availableSpace" => Type::Uint,
            "bool" => of(Type::Bool),
            "int" => of(Type::Int),
            "uint" => of(Type::Uint),
            "double" => of(Type::Double),
            "string" => of(Type::Str),
            "bytes" => of(Type::Bytes),
            "list" => of(Type::List(Box::new(Type::Dyn))),
            "map" => of(Type::Map(Box::new(Type::Dyn), Box::new(Type::Dyn))),
            "null_type" => of(Type::Null),
            "type" => of(Type::Type(None)),
            _ => self.fail(at, &format!("undeclared reference to '{name}' (in container '')")),
        }
    }

    fn comprehension(&mut self, name: &str, range: &Expr, var: &str, bodies: &[Expr]) -> Type {
        let item = match self.of(range) {
            Type::List(of) => *of,
            Type::Map(key, _) => *key,
            Type::Dyn => Type::Dyn,
            Type::Unknown => Type::Unknown,
            other => self.fail(
                range.at,
                &format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                ),
            ),
        };
        self.scope.push((var.to_owned(), item.clone()));
        let types: Vec<Type> = bodies.iter().map(|body| self.of(body)).collect();
        self.scope.pop();
        let tests = if name == "map" { types.len() - 1 } else { types.len() };
        for (body, found) in bodies.iter().zip(&types).take(tests) {
            if !same(found, &Type::Bool) {
                self.fail(body.at, &format!("expected type 'bool' but found '{found}'"));
            }
        }
        match name {
            "map" => Type::List(Box::new(types.last().cloned().unwrap_or(Type::Dyn))),
            "filter" => Type::List(Box::new(item)),
            _ => Type::Bool,
        }
    }

    fn call(&mut self, at: usize, name: &str, target: Option<Type>, args: Vec<Type>) -> Type {
        let known = known(name, target.is_some());
        if !known {
            return self.fail(at, &format!("undeclared reference to '{name}' (in container '')"));
        }
        if target == Some(Type::Unknown) || args.contains(&Type::Unknown) {
            return Type::Unknown;
        }
        if let Some(found) = result(name, target.as_ref(), &args) {
            return found;
        }
        let list = args.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
        let applied = target.map_or(format!("({list})"), |target| format!("{target}.({list})"));
        self.fail(at, &format!("found no matching overload for '{name}' applied to '{applied}'"))
    }
}

fn known(name: &str, method: bool) -> bool {
    let methods = ["size", "contains", "startsWith", "endsWith", "matches"];
    let functions = ["size", "matches", "int", "uint", "double", "string", "bool", "bytes", "type", "dyn"];
    let operator = name.contains('_') && name.contains(|c: char| "<>=!&|+-*/%[?".contains(c)) || name == "@in";
    if method { methods.contains(&name) } else { operator || functions.contains(&name) }
}

/// The type of a call, if an overload fits.
fn result(name: &str, target: Option<&Type>, args: &[Type]) -> Option<Type> {
    let is = |found: &Type, wanted: &Type| same(found, wanted);
    let any = |found: &Type, wanted: &[Type]| wanted.iter().any(|one| same(found, one));
    let numbers = [Type::Int, Type::Uint, Type::Double];
    match (name, target, args) {
        ("_&&_" | "_||_", None, [a, b]) => (is(a, &Type::Bool) && is(b, &Type::Bool)).then_some(Type::Bool),
        ("!_", None, [a]) => is(a, &Type::Bool).then_some(Type::Bool),
        ("-_", None, [a]) => any(a, &[Type::Int, Type::Double]).then(|| a.clone()),
        ("_?_:_", None, [test, a, b]) => (is(test, &Type::Bool) && same(a, b)).then(|| a.clone()),
        ("_==_" | "_!=_", None, [a, b]) => same(a, b).then_some(Type::Bool),
        ("_<_" | "_<=_" | "_>_" | "_>=_", None, [a, b]) => {
            let ordered = [Type::Bool, Type::Int, Type::Uint, Type::Double, Type::Str, Type::Bytes];
            (same(a, b) && any(a, &ordered)).then_some(Type::Bool)
        }
        ("_+_", None, [a, b]) => {
            let adds = any(a, &numbers) || any(a, &[Type::Str, Type::Bytes]) || matches!(a, Type::List(_));
            (same(a, b) && adds).then(|| a.clone())
        }
        ("_-_" | "_*_" | "_/_", None, [a, b]) => (same(a, b) && any(a, &numbers)).then(|| a.clone()),
        ("_%_", None, [a, b]) => (same(a, b) && any(a, &[Type::Int, Type::Uint])).then(|| a.clone()),
        ("@in", None, [a, Type::List(of)]) => same(a, of).then_some(Type::Bool),
        ("@in", None, [a, Type::Map(key, _)]) => same(a, key).then_some(Type::Bool),
        ("@in", None, [_, Type::Dyn]) => Some(Type::Bool),
        ("_[_]", None, [Type::List(of), index]) => is(index, &Type::Int).then(|| of.as_ref().clone()),
        ("_[_]", None, [Type::Map(key, value), index]) => same(key, index).then(|| value.as_ref().clone()),
        ("_[_]", None, [Type::Dyn, _]) => Some(Type::Dyn),
        ("size", None, [of]) | ("size", Some(of), []) => {
            let sized = any(of, &[Type::Str, Type::Bytes]) || matches!(of, Type::List(_) | Type::Map(..));
            sized.then_some(Type::Int)
        }
        ("contains" | "startsWith" | "endsWith" | "matches", Some(of), [a]) => {
            (is(of, &Type::Str) && is(a, &Type::Str)).then_some(Type::Bool)
        }
        ("matches", None, [a, b]) => (is(a, &Type::Str) && is(b, &Type::Str)).then_some(Type::Bool),
        ("int" | "uint" | "double", None, [a]) => {
            let out = if name == "int" {
                Type::Int
            } else if name == "uint" {
                Type::Uint
            } else {
                Type::Double
            };
            (any(a, &numbers) || is(a, &Type::Str)).then_some(out)
        }
        ("string", None, [a]) => {
            (any(a, &numbers) || any(a, &[Type::Str, Type::Bool, Type::Bytes])).then_some(Type::Str)
        }
        ("bool", None, [a]) => any(a, &[Type::Bool, Type::Str]).then_some(Type::Bool),
        ("bytes", None, [a]) => any(a, &[Type::Bytes, Type::Str]).then_some(Type::Bytes),
        ("type", None, [a]) => Some(Type::Type(Some(Box::new(a.clone())))),
        ("dyn", None, [_]) => Some(Type::Dyn),
        _ => None,
    }
}
