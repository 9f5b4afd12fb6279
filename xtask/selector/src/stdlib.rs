//! Every function and operator of CEL's standard library with its overloads: `stdlib.txt`, typed.

use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};

use super::types::Type;

/// A type as overloads are written: with the type parameters A and B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Sig {
    Bool,
    Int,
    Uint,
    Double,
    Str,
    Bytes,
    Duration,
    Timestamp,
    Dyn,
    A,
    B,
    ListA,
    MapAB,
    TypeA,
    OptA,
    MapDouble,
}

impl Sig {
    /// Which of the parameters A and B it mentions.
    pub(super) fn mentions(self) -> (bool, bool) {
        match self {
            Sig::A | Sig::ListA | Sig::TypeA | Sig::OptA => (true, false),
            Sig::B => (false, true),
            Sig::MapAB => (true, true),
            _ => (false, false),
        }
    }

    /// The type with fresh variables in place of A and B.
    pub(super) fn instantiate(self, a: u32, b: u32) -> Type {
        match self {
            Sig::Bool => Type::Bool,
            Sig::Int => Type::Int,
            Sig::Uint => Type::Uint,
            Sig::Double => Type::Double,
            Sig::Str => Type::String,
            Sig::Bytes => Type::Bytes,
            Sig::Duration => Type::Duration,
            Sig::Timestamp => Type::Timestamp,
            Sig::Dyn => Type::Dyn,
            Sig::A => Type::Param(a),
            Sig::B => Type::Param(b),
            Sig::ListA => Type::list(Type::Param(a)),
            Sig::MapAB => Type::map(Type::Param(a), Type::Param(b)),
            Sig::TypeA => Type::Meta(Some(Box::new(Type::Param(a)))),
            Sig::OptA => Type::Optional(Box::new(Type::Param(a))),
            Sig::MapDouble => Type::map(Type::Dyn, Type::Double),
        }
    }
}

/// One overload: its arguments (the receiver first) and its result.
#[derive(Debug)]
pub(super) struct Overload {
    pub member: bool,
    /// Compares numbers of different types; see [`Overload::enabled`].
    pub mixed: bool,
    pub args: Vec<Sig>,
    pub result: Sig,
}

impl Overload {
    /// cel-go switches the comparisons across numeric types off for the environment, and forgets that as soon as it has
    /// opened the scope of a comprehension (checker/env.go enterScope): `availableSpace > 1` is refused,
    /// `[1].all(x, true) && availableSpace > 1` is not.
    pub(super) fn enabled(&self, after_comprehension: bool) -> bool {
        !self.mixed || after_comprehension
    }
}

/// What the evaluator does; one per name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Op {
    Conditional,
    And,
    Or,
    Not,
    NotStrictlyFalse,
    Equals,
    NotEquals,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
    Less,
    LessEquals,
    Greater,
    GreaterEquals,
    Index,
    In,
    Size,
    Type,
    ToBool,
    ToBytes,
    ToDouble,
    ToDuration,
    ToDyn,
    ToInt,
    ToString,
    ToTimestamp,
    ToUint,
    Contains,
    EndsWith,
    StartsWith,
    Matches,
    /// `getHours()` and its relatives.
    Time,
    /// A function of Talos, which nothing here evaluates.
    Foreign,
}

/// A function of the library.
#[derive(Debug)]
pub(super) struct Function {
    pub name: &'static str,
    pub op: Op,
    pub overloads: Vec<Overload>,
}

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| {
        let lines = include_str!("stdlib.txt").lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| function(line).unwrap_or_else(|| panic!("stdlib.txt: {line}"))).collect()
    });
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// A line of the table.
pub(super) fn function(line: &'static str) -> Option<Function> {
    let mut words = line.split(' ');
    let (name, op) = (words.next()?, named(words.next()?)?);
    Some(Function { name, op, overloads: words.map(overload).collect::<Option<_>>()? })
}

fn overload(text: &str) -> Option<Overload> {
    let (args, result) = text.trim_start_matches(['.', '~']).split_once(':')?;
    let args = args.split(',').map(named).collect::<Option<_>>()?;
    Some(Overload { member: text.starts_with('.'), mixed: text.starts_with('~'), args, result: named(result)? })
}

/// The variant of that name.
fn named<'t, T: Deserialize<'t>>(text: &'t str) -> Option<T> {
    T::deserialize(StrDeserializer::<Error>::new(text)).ok()
}
