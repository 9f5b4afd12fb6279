//! CEL's static types and their unification: a port of the rules in google/cel-go v0.27.0 checker/types.go.

use std::fmt;

/// A static type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Dyn,
    Error,
    /// A type from [`NAMES`] with its parameters; `type` has none if the type it describes is unknown.
    Of(&'static str, Vec<Type>),
    /// A message type of an environment.
    Message(&'static str),
    Param(u32),
}

/// Type names as the checker prints them, with the names that `type()` returns and that output types have.
const NAMES: [(&str, &str); 13] = [
    ("bool", "bool"),
    ("bytes", "bytes"),
    ("double", "double"),
    ("int", "int"),
    ("uint", "uint"),
    ("string", "string"),
    ("null", "null_type"),
    ("duration", "google.protobuf.Duration"),
    ("timestamp", "google.protobuf.Timestamp"),
    ("list", "list"),
    ("map", "map"),
    ("type", "type"),
    ("optional_type", "optional_type"),
];

impl Type {
    pub(super) const BOOL: Type = Type::Of("bool", Vec::new());

    /// Returns the type that a name in an expression refers to.
    pub(super) fn named(name: &str) -> Option<Type> {
        let (shown, _) = NAMES.iter().find(|(shown, runtime)| *runtime == name && *shown != "optional_type")?;
        // The parameters are free, which is indistinguishable from dyn.
        let parameters = match *shown {
            "list" => 1,
            "map" => 2,
            _ => 0,
        };
        Some(Type::Of(shown, vec![Type::Dyn; parameters]))
    }

    /// Parses a type as written in the tables of functions and environments, with the parameters A and B.
    pub(super) fn parse_table_type(text: &str) -> Option<Type> {
        let (name, inner) = text.strip_suffix(')').map_or(Some((text, "")), |text| text.split_once('('))?;
        Some(match name {
            "A" => Type::Param(0),
            "B" => Type::Param(1),
            "dyn" => Type::Dyn,
            _ => {
                let parameters = inner.split(';').filter(|parameter| !parameter.is_empty()).map(Type::parse_table_type);
                let (shown, _) = NAMES.iter().find(|(shown, _)| *shown == name)?;
                Type::Of(shown, parameters.collect::<Option<_>>()?)
            }
        })
    }

    /// Replaces each type variable in the type by the result of `with`.
    pub(super) fn replace(&self, with: &mut dyn FnMut(u32) -> Type) -> Type {
        match self {
            Type::Param(n) => with(*n),
            Type::Of(name, parameters) => Type::Of(name, parameters.iter().map(|t| t.replace(with)).collect()),
            other => other.clone(),
        }
    }

    /// Returns the name that `type()` returns and that output types have.
    pub(super) fn runtime_name(&self) -> String {
        let Type::Of(name, parameters) = self else { return self.to_string() };
        let runtime = NAMES.iter().find(|(shown, _)| shown == name).map_or(*name, |(_, runtime)| runtime);
        with_parameters(runtime, parameters, Type::runtime_name)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Of(name, parameters) => f.write_str(&with_parameters(name, parameters, Type::to_string)),
            Type::Message(name) => f.write_str(name),
            Type::Param(n) => write!(f, "_var{n}"),
            Type::Dyn => f.write_str("dyn"),
            Type::Error => f.write_str("!error!"),
        }
    }
}

/// Formats a type with its parameters: `map(string, int)`.
fn with_parameters(name: &str, parameters: &[Type], shown: fn(&Type) -> String) -> String {
    match parameters {
        [] => name.to_owned(),
        all => format!("{name}({})", all.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}

/// The types that type variables are bound to.
#[derive(Debug, Clone, Default)]
pub(super) struct Bindings(Vec<Option<Type>>);

impl Bindings {
    /// Returns a new type variable.
    pub(super) fn fresh(&mut self) -> u32 {
        self.0.push(None);
        (self.0.len() - 1) as u32
    }

    /// Returns true if both can be the same type, and keeps the bindings that this requires.
    pub(super) fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.all_assignable(std::slice::from_ref(a), std::slice::from_ref(b))
    }

    /// Same as [`Bindings::assignable`] for all pairs; binds nothing if any pair does not fit.
    pub(super) fn all_assignable(&mut self, a: &[Type], b: &[Type]) -> bool {
        let before = self.0.clone();
        let fits = self.unify_all(a, b);
        if !fits {
            self.0 = before;
        }
        fits
    }

    fn unify_all(&mut self, a: &[Type], b: &[Type]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.unify(a, b))
    }

    fn unify(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Param(n) = b {
            let (valid, bound) = self.substitutable(a, *n);
            if valid || bound {
                return valid;
            }
        }
        if let Type::Param(n) = a {
            return self.substitutable(b, *n).0;
        }
        match (a, b) {
            (Type::Dyn | Type::Error, _) | (_, Type::Dyn | Type::Error) => true,
            (Type::Of("null", _), other) | (other, Type::Of("null", _)) => {
                matches!(other, Type::Of("null" | "duration" | "timestamp" | "optional_type", _) | Type::Message(_))
            }
            (Type::Of("type", _), Type::Of("type", _)) => true,
            (Type::Of(a, inner), Type::Of(b, other)) => a == b && self.unify_all(inner, other),
            (a, b) => a == b,
        }
    }

    /// Returns whether the variable can be the type, and whether it was bound before.
    fn substitutable(&mut self, t: &Type, var: u32) -> (bool, bool) {
        if *t == Type::Param(var) {
            return (true, true);
        }
        let Some(bound) = self.0[var as usize].clone() else { return (self.bind(var, t.clone()), false) };
        if *t != bound {
            if !self.unify(t, &bound) {
                return (false, true);
            }
            self.bind(var, if less_specific(t, &bound) { t.clone() } else { bound });
        }
        (true, true)
    }

    /// Binds a variable to a type, unless the variable occurs in it.
    fn bind(&mut self, var: u32, t: Type) -> bool {
        let free = self.free_of(var, &t);
        if free {
            self.0[var as usize] = Some(t);
        }
        free
    }

    fn free_of(&self, var: u32, within: &Type) -> bool {
        match within {
            Type::Param(n) => *n != var && self.0[*n as usize].as_ref().is_none_or(|t| self.free_of(var, t)),
            Type::Of(_, parameters) => parameters.iter().all(|t| self.free_of(var, t)),
            _ => true,
        }
    }

    /// Replaces every bound variable in the type, and every free one by dyn if `to_dyn`.
    pub(super) fn substitute(&self, t: &Type, to_dyn: bool) -> Type {
        t.replace(&mut |n| match &self.0[n as usize] {
            Some(bound) => self.substitute(bound, to_dyn),
            None if to_dyn => Type::Dyn,
            None => Type::Param(n),
        })
    }
}

/// Returns true if the first type is equal to the second or less specific.
pub(super) fn less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) | (Type::Of("type", _), Type::Of("type", _)) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::Of(a, inner), Type::Of(b, other)) => {
            a == b && inner.len() == other.len() && inner.iter().zip(other).all(|(a, b)| less_specific(a, b))
        }
        (a, b) => a == b,
    }
}
