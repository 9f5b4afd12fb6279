//! The standard macros, expanded as cel-go does (google/cel-go v0.27.0 parser/macro.go).

use super::ast::{ACCUMULATOR, Expr, Fold, Kind, Select};
use super::parser::call;
use super::value::Value;

/// What became of a call.
pub(super) enum Expanded {
    Macro(Expr),
    /// A macro with arguments that it does not take.
    Refused {
        at: u32,
        message: &'static str,
    },
    /// No macro: receiver and arguments as they were.
    No(Option<Expr>, Vec<Expr>),
}

/// Expands a call if it is one of a macro. `place` is the opening bracket, the start and the end of the call.
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

/// Makes nodes that are all at the place of the macro's call.
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
        let (init, condition, step, result) = match name {
            "all" => (
                self.value(Value::Bool(true)),
                self.call("@not_strictly_false", vec![self.accumulator()]),
                self.call("_&&_", vec![self.accumulator(), predicate]),
                accumulated,
            ),
            "exists" => (
                self.value(Value::Bool(false)),
                self.call("@not_strictly_false", vec![self.call("!_", vec![self.accumulator()])]),
                self.call("_||_", vec![self.accumulator(), predicate]),
                accumulated,
            ),
            _ => {
                let one = || self.value(Value::Int(1));
                let more = self.call("_+_", vec![self.accumulator(), one()]);
                (
                    self.value(Value::Int(0)),
                    self.value(Value::Bool(true)),
                    self.call("_?_:_", vec![predicate, more, self.accumulator()]),
                    self.call("_==_", vec![accumulated, one()]),
                )
            }
        };
        let ends_at = match name {
            "all" => Some(false),
            "exists" => Some(true),
            _ => None,
        };
        self.node(Kind::Fold(Box::new(Fold { range, var, init, condition, step, result, ends_at })))
    }

    fn collection(&self, name: &str, range: Expr, var: Box<str>, mut args: Vec<Expr>) -> Expr {
        let filter = if name == "filter" || args.len() == 3 { Some(args.remove(1)) } else { None };
        // What is collected: the element itself for `filter`, the last argument for `map`.
        let item = args.remove(usize::from(name == "map"));
        let mut step = self.call("_+_", vec![self.accumulator(), self.node(Kind::List(vec![item]))]);
        if let Some(filter) = filter {
            step = self.call("_?_:_", vec![filter, step, self.accumulator()]);
        }
        let (init, condition) = (self.node(Kind::List(Vec::new())), self.value(Value::Bool(true)));
        let result = self.accumulator();
        self.node(Kind::Fold(Box::new(Fold { range, var, init, condition, step, result, ends_at: None })))
    }
}
