//! The standard macros, expanded like in cel-go (google/cel-go v0.27.0 parser/macro.go).

use super::ast::{ACCUMULATOR, Expr, Fold, Kind, Select};
use super::parser::call;
use super::value::Value;

/// The result of expanding a call.
pub(super) enum Expanded {
    Macro(Expr),
    /// A macro with invalid arguments.
    Refused {
        at: u32,
        message: &'static str,
    },
    /// Not a macro: receiver and arguments, unchanged.
    No(Option<Expr>, Vec<Expr>),
}

/// Expands a call if it is a macro. `place` is the opening bracket, the start and the end of the call.
pub(super) fn expand(name: &str, target: Option<Expr>, mut args: Vec<Expr>, place: (u32, u32, u32)) -> Expanded {
    let build = Builder { at: place.0, start: place.1, end: place.2 };
    match (name, target, args.len()) {
        ("has", None, 1) => match args.remove(0) {
            Expr { kind: Kind::Select(select), .. } => {
                let select = Select { test: true, ..*select };
                Expanded::Macro(build.node(Kind::Select(Box::new(select))))
            }
            other => Expanded::Refused { at: other.at, message: "invalid argument to has() macro" },
        },
        ("all" | "exists" | "exists_one", Some(range), 2) => match variable(&args[0], "argument must be a simple name")
        {
            Ok(var) => Expanded::Macro(build.quantifier(name, range, var, args.remove(1))),
            Err(message) => Expanded::Refused { at: args[0].at, message },
        },
        ("map", Some(range), 2 | 3) | ("filter", Some(range), 2) => {
            match variable(&args[0], "argument is not an identifier") {
                Ok(var) => Expanded::Macro(build.collection(name, range, var, args)),
                Err(message) => Expanded::Refused { at: args[0].at, message },
            }
        }
        (_, target, _) => Expanded::No(target, args),
    }
}

fn variable(arg: &Expr, otherwise: &'static str) -> Result<Box<str>, &'static str> {
    match &arg.kind {
        Kind::Ident(name) if matches!(&**name, ACCUMULATOR | "__result__") => {
            Err("iteration variable overwrites accumulator variable")
        }
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err(otherwise),
    }
}

/// Builds nodes that all have the position of the macro call.
struct Builder {
    at: u32,
    start: u32,
    end: u32,
}

impl Builder {
    fn node(&self, kind: Kind) -> Expr {
        Expr { kind, at: self.at, start: self.start, end: self.end }
    }

    fn value(&self, value: Value<'static>) -> Expr {
        self.node(Kind::Literal(value))
    }

    fn accumulator(&self) -> Expr {
        self.node(Kind::Ident(ACCUMULATOR.into()))
    }

    fn call(&self, name: &str, args: Vec<Expr>) -> Expr {
        call(name, self.at, self.start, self.end, args)
    }

    fn quantifier(&self, name: &str, range: Expr, var: Box<str>, predicate: Expr) -> Expr {
        let accumulated = self.accumulator();
        let ends_at = (name != "exists_one").then_some(name == "exists");
        let (init, step, result) = match ends_at {
            Some(end) => {
                let function = if end { "_||_" } else { "_&&_" };
                let step = self.call(function, vec![self.accumulator(), predicate]);
                (self.value(Value::Bool(!end)), step, accumulated)
            }
            None => {
                let one = || self.value(Value::Int(1));
                let more = self.call("_+_", vec![self.accumulator(), one()]);
                let step = self.call("_?_:_", vec![predicate, more, self.accumulator()]);
                (self.value(Value::Int(0)), step, self.call("_==_", vec![accumulated, one()]))
            }
        };
        self.node(Kind::Fold(Box::new(Fold { range, var, init, step, result, ends_at })))
    }

    fn collection(&self, name: &str, range: Expr, var: Box<str>, mut args: Vec<Expr>) -> Expr {
        let filter = if name == "filter" || args.len() == 3 { Some(args.remove(1)) } else { None };
        // The collected item: the element itself for `filter`, the last argument for `map`.
        let item = args.remove(usize::from(name == "map"));
        let mut step = self.call("_+_", vec![self.accumulator(), self.node(Kind::List(vec![item]))]);
        if let Some(filter) = filter {
            step = self.call("_?_:_", vec![filter, step, self.accumulator()]);
        }
        let (init, result) = (self.node(Kind::List(Vec::new())), self.accumulator());
        self.node(Kind::Fold(Box::new(Fold { range, var, init, step, result, ends_at: None })))
    }
}
