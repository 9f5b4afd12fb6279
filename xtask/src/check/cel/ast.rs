//! The syntax tree after macros are expanded, each node with the place that cel-go reports for it.

use super::value::Value;

/// One node. `at` is the byte that cel-go's errors point to (the operator of a binary expression), `start..end` the
/// source it covers.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub kind: Kind,
    pub at: u32,
    pub start: u32,
    pub end: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Literal(Value<'static>),
    Ident(Box<str>),
    Select(Box<Select>),
    Call(Box<Call>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Message(Box<str>, Vec<Expr>),
    Fold(Box<Fold>),
}

#[derive(Debug, Clone)]
pub(super) struct Select {
    pub operand: Expr,
    pub field: Box<str>,
    /// `has(operand.field)`.
    pub test: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The function's name; operators by cel-go's internal one (`_==_`).
    pub function: Box<str>,
    /// The function if the standard library has it.
    pub known: Option<&'static super::stdlib::Function>,
    pub member: bool,
    /// The receiver of a member call comes first.
    pub args: Vec<Expr>,
    /// A pattern that is a literal, compiled once.
    pub pattern: Option<Box<Result<super::regex::Regex, String>>>,
}

/// A comprehension, which is what the macros `all`, `exists`, `exists_one`, `map` and `filter` stand for.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    pub range: Expr,
    pub var: Box<str>,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

/// The accumulator's name: no identifier of a source can be spelt so.
pub(super) const ACCUMULATOR: &str = "@result";
