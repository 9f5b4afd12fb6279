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
    pub pattern: Option<Box<Result<super::pattern::Pattern, String>>>,
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
    /// For `all` and `exists`: the value that ends the search. Their step is `accumulator && predicate` (or `||`), and
    /// the evaluator takes the short way to the same answer.
    pub ends_at: Option<bool>,
}

impl Expr {
    /// True if an identifier that the test accepts occurs. A variable of a comprehension that hides one of the storage's
    /// counts too; nobody writes that.
    pub(super) fn mentions(&self, test: &dyn Fn(&str) -> bool) -> bool {
        let any = |parts: &[Expr]| parts.iter().any(|p| p.mentions(test));
        match &self.kind {
            Kind::Literal(_) => false,
            Kind::Ident(name) => test(name),
            Kind::Select(select) => select.operand.mentions(test),
            Kind::Call(call) => any(&call.args),
            Kind::List(items) | Kind::Message(_, items) => any(items),
            Kind::Map(entries) => entries.iter().any(|(k, v)| k.mentions(test) || v.mentions(test)),
            Kind::Fold(f) => f.range.mentions(test) || f.step.mentions(test),
        }
    }

    /// The first `…[null]` or `…[b"…"]`: cel-go fails to plan the evaluation over it, whatever the branch around it is.
    pub(super) fn bad_index(&self) -> Option<&Expr> {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) => None,
            Kind::Select(select) => select.operand.bad_index(),
            Kind::Call(call) => {
                let index = call.known.is_some_and(|known| known.op == super::stdlib::Op::Index);
                let bad = |key: &Expr| matches!(key.kind, Kind::Literal(Value::Null | Value::Bytes(_)));
                let inner = call.args.iter().find_map(Expr::bad_index);
                inner.or_else(|| call.args.get(1).filter(|key| index && bad(key)))
            }
            Kind::List(items) | Kind::Message(_, items) => items.iter().find_map(Expr::bad_index),
            Kind::Map(entries) => entries.iter().find_map(|(k, v)| k.bad_index().or_else(|| v.bad_index())),
            Kind::Fold(f) => {
                [&f.range, &f.init, &f.condition, &f.step, &f.result].into_iter().find_map(Expr::bad_index)
            }
        }
    }

    /// Turns lists of literals into literals, so that they are not made anew for each storage. Only after the type check,
    /// which looks into lists.
    pub(super) fn settle(&mut self) {
        match &mut self.kind {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select(select) => select.operand.settle(),
            Kind::Call(call) => call.args.iter_mut().for_each(Expr::settle),
            Kind::Message(_, values) => values.iter_mut().for_each(Expr::settle),
            Kind::Map(entries) => entries.iter_mut().for_each(|(k, v)| {
                k.settle();
                v.settle();
            }),
            Kind::Fold(fold) => {
                let parts = [&mut fold.range, &mut fold.init, &mut fold.condition, &mut fold.step, &mut fold.result];
                parts.into_iter().for_each(Expr::settle);
            }
            Kind::List(items) => {
                items.iter_mut().for_each(Expr::settle);
                let values = items.iter().map(|i| match &i.kind {
                    Kind::Literal(value) => Some(value.clone()),
                    _ => None,
                });
                if let Some(values) = values.collect::<Option<Vec<_>>>() {
                    self.kind = Kind::Literal(Value::List(std::sync::Arc::new(values)));
                }
            }
        }
    }
}

/// The accumulator's name: no identifier of a source can be spelt so.
pub(super) const ACCUMULATOR: &str = "@result";
