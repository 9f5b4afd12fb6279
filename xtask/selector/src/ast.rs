//! The syntax tree after macros are expanded, each node with the place that cel-go reports for it.

use super::pattern::{Pattern, is_common};
use super::stdlib::{Function, find};
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
    pub known: Option<&'static Function>,
    pub member: bool,
    /// The receiver of a member call comes first.
    pub args: Vec<Expr>,
    /// A pattern that is a literal, compiled once.
    pub pattern: Option<Box<Result<Pattern, String>>>,
}

impl Call {
    /// The function of the standard library; a name may have a dot before it.
    pub(super) fn function(&self) -> Option<&'static Function> {
        self.known.or_else(|| self.function.strip_prefix('.').and_then(find))
    }
}

/// A comprehension, which is what the macros `all`, `exists`, `exists_one`, `map` and `filter` stand for. cel-go's has a condition
/// as well, which only ends `all` and `exists` early.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    pub range: Expr,
    pub var: Box<str>,
    pub init: Expr,
    pub step: Expr,
    pub result: Expr,
    /// For `all` and `exists`: the value that ends the search. Their step is `accumulator && predicate` (or `||`), and
    /// the evaluator takes the short way to the same answer.
    pub ends_at: Option<bool>,
}

impl Expr {
    /// The first part that the test accepts, the parts of a part before itself.
    fn find(&self, test: &dyn Fn(&Expr) -> bool) -> Option<&Expr> {
        let inner = match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) => None,
            Kind::Select(select) => select.operand.find(test),
            Kind::Call(call) => call.args.iter().find_map(|arg| arg.find(test)),
            Kind::List(items) | Kind::Message(_, items) => items.iter().find_map(|item| item.find(test)),
            Kind::Map(entries) => entries.iter().find_map(|(k, v)| k.find(test).or_else(|| v.find(test))),
            Kind::Fold(f) => [&f.range, &f.init, &f.step, &f.result].into_iter().find_map(|part| part.find(test)),
        };
        inner.or_else(|| test(self).then_some(self))
    }

    /// True if an identifier that the test accepts occurs. A variable of a comprehension that hides one of the storage's
    /// counts too; nobody writes that.
    pub(super) fn mentions(&self, test: &dyn Fn(&str) -> bool) -> bool {
        self.find(&|part| matches!(&part.kind, Kind::Ident(name) if test(name))).is_some()
    }

    /// The first pattern whose syntax is not known here.
    pub(super) fn foreign_pattern(&self) -> Option<&Expr> {
        self.find(&|part| match &part.kind {
            Kind::Call(call) => match (&call.pattern, call.args.get(1).map(|arg| &arg.kind)) {
                (Some(_), Some(Kind::Literal(Value::Str(pattern)))) => !is_common(pattern),
                _ => false,
            },
            _ => false,
        })
    }

    /// The first part that makes or reads a timestamp or a duration, or names one of their types.
    pub(super) fn time(&self) -> Option<&Expr> {
        self.find(&|part| match &part.kind {
            Kind::Call(call) => call
                .function()
                .is_some_and(|known| matches!(known.name, "duration" | "timestamp") || known.name.starts_with("get")),
            Kind::Select(outer) => match &outer.operand.kind {
                Kind::Select(inner) => {
                    let root =
                        matches!(&inner.operand.kind, Kind::Ident(root) if root.trim_start_matches('.') == "google");
                    root && &*inner.field == "protobuf" && matches!(&*outer.field, "Duration" | "Timestamp")
                }
                _ => false,
            },
            _ => false,
        })
    }
}

/// The accumulator's name: no identifier of a source can be spelt so.
pub(super) const ACCUMULATOR: &str = "@result";
