//! The syntax tree after macro expansion, with the positions that cel-go reports.

use super::pattern::{Pattern, is_common};
use super::stdlib::{Function, find};
use super::value::Value;

/// A node. `at` is the byte offset that cel-go's errors point to (the operator of a binary expression), `start..end` the source
/// that the node covers.
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
    /// True for `has(operand.field)`.
    pub test: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The name of the function; for operators the internal name in cel-go (`_==_`).
    pub function: Box<str>,
    /// The function, if it is in the standard library.
    pub known: Option<&'static Function>,
    pub member: bool,
    /// The arguments; a member call starts with its receiver.
    pub args: Vec<Expr>,
    /// A literal pattern, compiled once.
    pub pattern: Option<Box<Result<Pattern, String>>>,
}

impl Call {
    /// Returns the function in the standard library; the name may start with a dot.
    pub(super) fn function(&self) -> Option<&'static Function> {
        self.known.or_else(|| self.function.strip_prefix('.').and_then(find))
    }
}

/// A comprehension: the expansion of the macros `all`, `exists`, `exists_one`, `map` and `filter`. In cel-go it also has a
/// condition, which only ends `all` and `exists` early.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    pub range: Expr,
    pub var: Box<str>,
    pub init: Expr,
    pub step: Expr,
    pub result: Expr,
    /// For `all` and `exists`: the value that ends the iteration. Their step is `accumulator && predicate` (or `||`), which the
    /// evaluator short-circuits with the same result.
    pub ends_at: Option<bool>,
}

impl Expr {
    /// Returns the first node that matches the test; children come before their parent.
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

    /// Returns true if an identifier matches the test. A comprehension variable that shadows a variable of the storage counts
    /// too; that does not occur in practice.
    pub(super) fn mentions(&self, test: &dyn Fn(&str) -> bool) -> bool {
        self.find(&|part| matches!(&part.kind, Kind::Ident(name) if test(name))).is_some()
    }

    /// Returns the first pattern with syntax that is not supported here.
    pub(super) fn foreign_pattern(&self) -> Option<&Expr> {
        self.find(&|part| match &part.kind {
            Kind::Call(call) => match (&call.pattern, call.args.get(1).map(|arg| &arg.kind)) {
                (Some(_), Some(Kind::Literal(Value::Str(pattern)))) => !is_common(pattern),
                _ => false,
            },
            _ => false,
        })
    }

    /// Returns the first node that creates or reads a timestamp or duration, or names one of their types.
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

/// The name of the accumulator, which is not a valid identifier in source text.
pub(super) const ACCUMULATOR: &str = "@result";
