//! CEL's static types and how they unify: a port of the rules in google/cel-go v0.27.0 checker/types.go.

use std::fmt;

/// A static type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Dyn,
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    /// The type of a type.
    Meta(Option<Box<Type>>),
    List(Box<Type>),
    Map(Box<(Type, Type)>),
    /// `optional_type(T)`.
    Optional(Box<Type>),
    /// A message of an environment, by its name.
    Message(&'static str),
    Param(u32),
}

impl Type {
    pub(super) fn list(element: Type) -> Type {
        Type::List(Box::new(element))
    }

    pub(super) fn map(key: Type, value: Type) -> Type {
        Type::Map(Box::new((key, value)))
    }

    /// The type that a name in an expression stands for.
    pub(super) fn named(name: &str) -> Option<Type> {
        Some(match name {
            "bool" => Type::Bool,
            "bytes" => Type::Bytes,
            "double" => Type::Double,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "string" => Type::String,
            "null_type" => Type::Null,
            "google.protobuf.Duration" => Type::Duration,
            "google.protobuf.Timestamp" => Type::Timestamp,
            // Their parameters are free, which nothing can tell from dyn.
            "list" => Type::list(Type::Dyn),
            "map" => Type::map(Type::Dyn, Type::Dyn),
            "type" => Type::Meta(None),
            _ => return None,
        })
    }

    /// A type as the tables of functions and environments write it, with the parameters A and B.
    pub(super) fn written(text: &str) -> Option<Type> {
        let (a, b) = (Type::Param(0), Type::Param(1));
        Some(match text {
            "A" => a,
            "B" => b,
            "ListA" => Type::list(a),
            "MapAB" => Type::map(a, b),
            "TypeA" => Type::Meta(Some(Box::new(a))),
            "OptA" => Type::Optional(Box::new(a)),
            "MapDouble" => Type::map(Type::Dyn, Type::Double),
            "dyn" => Type::Dyn,
            "duration" => Type::Duration,
            "timestamp" => Type::Timestamp,
            "strings" => Type::list(Type::String),
            "map" => Type::map(Type::Int, Type::Double),
            "optional" => Type::Optional(Box::new(Type::Uint)),
            name => Type::named(name)?,
        })
    }

    /// The type with something else in place of each of its variables.
    pub(super) fn replace(&self, with: &mut dyn FnMut(u32) -> Type) -> Type {
        match self {
            Type::Param(n) => with(*n),
            Type::List(t) => Type::list(t.replace(with)),
            Type::Optional(t) => Type::Optional(Box::new(t.replace(with))),
            Type::Map(kv) => Type::map(kv.0.replace(with), kv.1.replace(with)),
            Type::Meta(Some(t)) => Type::Meta(Some(Box::new(t.replace(with)))),
            other => other.clone(),
        }
    }

    fn is_dyn_or_error(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// The name that `type()` gives and that the output type is told by, where it differs from the checker's.
    pub(super) fn runtime_name(&self) -> String {
        match self {
            Type::Null => "null_type".to_owned(),
            Type::Duration => "google.protobuf.Duration".to_owned(),
            Type::Timestamp => "google.protobuf.Timestamp".to_owned(),
            Type::List(t) => format!("list({})", t.runtime_name()),
            Type::Map(kv) => format!("map({}, {})", kv.0.runtime_name(), kv.1.runtime_name()),
            Type::Meta(Some(t)) => format!("type({})", t.runtime_name()),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Meta(Some(t)) => write!(f, "type({t})"),
            Type::List(t) => write!(f, "list({t})"),
            Type::Map(kv) => write!(f, "map({}, {})", kv.0, kv.1),
            Type::Optional(t) => write!(f, "optional_type({t})"),
            Type::Message(name) => f.write_str(name),
            Type::Param(n) => write!(f, "_var{n}"),
            Type::Meta(None) => f.write_str("type"),
            Type::Error => f.write_str("!error!"),
            plain => f.write_str(&format!("{plain:?}").to_lowercase()),
        }
    }
}

/// What type variables stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Bindings(Vec<Option<Type>>);

impl Bindings {
    /// A variable that no other type has.
    pub(super) fn fresh(&mut self) -> u32 {
        self.0.push(None);
        (self.0.len() - 1) as u32
    }

    fn find(&self, t: &Type) -> Option<&Type> {
        match t {
            Type::Param(n) => self.0[*n as usize].as_ref(),
            _ => None,
        }
    }

    /// True if both can be the same type; what that takes is remembered.
    pub(super) fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.all_assignable(std::slice::from_ref(a), std::slice::from_ref(b))
    }

    /// [`Bindings::assignable`] for every pair, all or nothing.
    pub(super) fn all_assignable(&mut self, a: &[Type], b: &[Type]) -> bool {
        let before = self.0.clone();
        let fits = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.unify(a, b));
        if !fits {
            self.0 = before;
        }
        fits
    }

    fn unify(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Param(_) = b {
            let (valid, bound) = self.substitutable(a, b);
            if valid || bound {
                return valid;
            }
        }
        if let Type::Param(_) = a {
            return self.substitutable(b, a).0;
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => {
                matches!(other, Type::Null | Type::Duration | Type::Timestamp | Type::Message(_) | Type::Optional(_))
            }
            (Type::Meta(_), Type::Meta(_)) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.unify(a, b),
            (Type::Map(a), Type::Map(b)) => self.unify(&a.0, &b.0) && self.unify(&a.1, &b.1),
            (a, b) => a == b,
        }
    }

    fn substitutable(&mut self, t: &Type, var: &Type) -> (bool, bool) {
        if t == var {
            return (true, true);
        }
        if let Some(bound) = self.find(var).cloned() {
            if *t == bound {
                return (true, true);
            }
            if self.unify(t, &bound) {
                let general = if less_specific(t, &bound) { t.clone() } else { bound };
                if self.free_of(var, &general) {
                    self.bind(var, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.free_of(var, t) {
            self.bind(var, t.clone());
            return (true, false);
        }
        (false, false)
    }

    fn bind(&mut self, var: &Type, t: Type) {
        if let Type::Param(n) = var {
            self.0[*n as usize] = Some(t);
        }
    }

    /// True if the variable does not occur in the type.
    fn free_of(&self, var: &Type, within: &Type) -> bool {
        if var == within {
            return false;
        }
        match within {
            Type::Param(_) => self.find(within).is_none_or(|t| self.free_of(var, t)),
            Type::List(t) | Type::Optional(t) | Type::Meta(Some(t)) => self.free_of(var, t),
            Type::Map(kv) => self.free_of(var, &kv.0) && self.free_of(var, &kv.1),
            _ => true,
        }
    }

    /// The type with every bound variable replaced, and every free one by dyn if `to_dyn`.
    pub(super) fn substitute(&self, t: &Type, to_dyn: bool) -> Type {
        t.replace(&mut |n| match &self.0[n as usize] {
            Some(bound) => self.substitute(bound, to_dyn),
            None if to_dyn => Type::Dyn,
            None => Type::Param(n),
        })
    }
}

/// The first type is equal to the second or says less.
pub(super) fn less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => less_specific(a, b),
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        (Type::Meta(_), Type::Meta(_)) => true,
        (a, b) => a == b,
    }
}
