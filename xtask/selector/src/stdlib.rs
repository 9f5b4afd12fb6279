//! Every function and operator of CEL's standard library with its overloads, in cel-go's order
//! (google/cel-go v0.27.0 common/stdlib/standard.go).

use super::types::Type;

/// A type as overloads are written: with the type parameters A and B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

impl Sig {
    /// Which of the parameters A and B it mentions.
    pub(super) fn mentions(self) -> (bool, bool) {
        match self {
            Sig::A | Sig::ListA | Sig::TypeA => (true, false),
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
        }
    }
}

/// One overload: its arguments (the receiver first) and its result.
#[derive(Debug)]
pub(super) struct Overload {
    pub member: bool,
    /// Compares numbers of different types; see [`Overload::enabled`].
    pub mixed: bool,
    pub args: &'static [Sig],
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// A function of the library.
#[derive(Debug)]
pub(super) struct Function {
    pub name: &'static str,
    pub op: Op,
    pub overloads: &'static [Overload],
}

const fn free(args: &'static [Sig], result: Sig) -> Overload {
    Overload { member: false, mixed: false, args, result }
}

const fn member(args: &'static [Sig], result: Sig) -> Overload {
    Overload { member: true, mixed: false, args, result }
}

const fn mixed(args: &'static [Sig]) -> Overload {
    Overload { member: false, mixed: true, args, result: Sig::Bool }
}

const fn function(name: &'static str, op: Op, overloads: &'static [Overload]) -> Function {
    Function { name, op, overloads }
}

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}

use Sig::*;

const ORDERED: &[Overload] = &[
    free(&[Bool, Bool], Bool),
    free(&[Int, Int], Bool),
    mixed(&[Int, Double]),
    mixed(&[Int, Uint]),
    free(&[Uint, Uint], Bool),
    mixed(&[Uint, Double]),
    mixed(&[Uint, Int]),
    free(&[Double, Double], Bool),
    mixed(&[Double, Int]),
    mixed(&[Double, Uint]),
    free(&[Str, Str], Bool),
    free(&[Bytes, Bytes], Bool),
    free(&[Timestamp, Timestamp], Bool),
    free(&[Duration, Duration], Bool),
];
const NUMBERS: &[Overload] = &[free(&[Double, Double], Double), free(&[Int, Int], Int), free(&[Uint, Uint], Uint)];
const TEXT_TEST: &[Overload] = &[member(&[Str, Str], Bool)];
const DATE: &[Overload] = &[member(&[Timestamp], Int), member(&[Timestamp, Str], Int)];
const CLOCK: &[Overload] = &[member(&[Timestamp], Int), member(&[Timestamp, Str], Int), member(&[Duration], Int)];

static FUNCTIONS: &[Function] = &[
    function("_==_", Op::Equals, &[free(&[A, A], Bool)]),
    function("_!=_", Op::NotEquals, &[free(&[A, A], Bool)]),
    function("_&&_", Op::And, &[free(&[Bool, Bool], Bool)]),
    function("_||_", Op::Or, &[free(&[Bool, Bool], Bool)]),
    function("!_", Op::Not, &[free(&[Bool], Bool)]),
    function("@not_strictly_false", Op::NotStrictlyFalse, &[free(&[Bool], Bool)]),
    function("_?_:_", Op::Conditional, &[free(&[Bool, A, A], A)]),
    function("_<_", Op::Less, ORDERED),
    function("_<=_", Op::LessEquals, ORDERED),
    function("_>_", Op::Greater, ORDERED),
    function("_>=_", Op::GreaterEquals, ORDERED),
    function("@in", Op::In, &[free(&[A, ListA], Bool), free(&[A, MapAB], Bool)]),
    function("startsWith", Op::StartsWith, TEXT_TEST),
    function("endsWith", Op::EndsWith, TEXT_TEST),
    function("contains", Op::Contains, TEXT_TEST),
    function("matches", Op::Matches, &[free(&[Str, Str], Bool), member(&[Str, Str], Bool)]),
    function(
        "_+_",
        Op::Add,
        &[
            free(&[Bytes, Bytes], Bytes),
            free(&[Double, Double], Double),
            free(&[Duration, Duration], Duration),
            free(&[Duration, Timestamp], Timestamp),
            free(&[Timestamp, Duration], Timestamp),
            free(&[Int, Int], Int),
            free(&[ListA, ListA], ListA),
            free(&[Str, Str], Str),
            free(&[Uint, Uint], Uint),
        ],
    ),
    function(
        "_-_",
        Op::Subtract,
        &[
            free(&[Double, Double], Double),
            free(&[Duration, Duration], Duration),
            free(&[Int, Int], Int),
            free(&[Timestamp, Duration], Timestamp),
            free(&[Timestamp, Timestamp], Duration),
            free(&[Uint, Uint], Uint),
        ],
    ),
    function("_*_", Op::Multiply, NUMBERS),
    function("_/_", Op::Divide, NUMBERS),
    function("_%_", Op::Modulo, &[free(&[Int, Int], Int), free(&[Uint, Uint], Uint)]),
    function("-_", Op::Negate, &[free(&[Double], Double), free(&[Int], Int)]),
    function("_[_]", Op::Index, &[free(&[ListA, Int], A), free(&[MapAB, A], B)]),
    function(
        "size",
        Op::Size,
        &[
            free(&[Bytes], Int),
            member(&[Bytes], Int),
            free(&[ListA], Int),
            member(&[ListA], Int),
            free(&[MapAB], Int),
            member(&[MapAB], Int),
            free(&[Str], Int),
            member(&[Str], Int),
        ],
    ),
    function("type", Op::Type, &[free(&[A], TypeA)]),
    function("bool", Op::ToBool, &[free(&[Bool], Bool), free(&[Str], Bool)]),
    function("bytes", Op::ToBytes, &[free(&[Bytes], Bytes), free(&[Str], Bytes)]),
    function(
        "double",
        Op::ToDouble,
        &[free(&[Double], Double), free(&[Int], Double), free(&[Str], Double), free(&[Uint], Double)],
    ),
    function(
        "duration",
        Op::ToDuration,
        &[free(&[Duration], Duration), free(&[Int], Duration), free(&[Str], Duration)],
    ),
    function("dyn", Op::ToDyn, &[free(&[A], Dyn)]),
    function(
        "int",
        Op::ToInt,
        &[
            free(&[Int], Int),
            free(&[Double], Int),
            free(&[Duration], Int),
            free(&[Str], Int),
            free(&[Timestamp], Int),
            free(&[Uint], Int),
        ],
    ),
    function(
        "string",
        Op::ToString,
        &[
            free(&[Str], Str),
            free(&[Bool], Str),
            free(&[Bytes], Str),
            free(&[Double], Str),
            free(&[Duration], Str),
            free(&[Int], Str),
            free(&[Timestamp], Str),
            free(&[Uint], Str),
        ],
    ),
    function(
        "timestamp",
        Op::ToTimestamp,
        &[free(&[Timestamp], Timestamp), free(&[Int], Timestamp), free(&[Str], Timestamp)],
    ),
    function("uint", Op::ToUint, &[free(&[Uint], Uint), free(&[Double], Uint), free(&[Int], Uint), free(&[Str], Uint)]),
    function("getFullYear", Op::Time, DATE),
    function("getMonth", Op::Time, DATE),
    function("getDayOfYear", Op::Time, DATE),
    function("getDayOfMonth", Op::Time, DATE),
    function("getDate", Op::Time, DATE),
    function("getDayOfWeek", Op::Time, DATE),
    function("getHours", Op::Time, CLOCK),
    function("getMinutes", Op::Time, CLOCK),
    function("getSeconds", Op::Time, CLOCK),
    function("getMilliseconds", Op::Time, CLOCK),
];
