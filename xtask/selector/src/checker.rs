//! Static type checker, a port of google/cel-go v0.27.0 checker/checker.go: the names of an environment and the standard library,
//! no containers. Collects all errors, as cel-go does.

use super::Problem;
use super::ast::{Call, Expr, Fold, Kind, Select};
use super::environment::Environment;
use super::stdlib::{Function, Overload};
use super::types::{Bindings, Type, less_specific};

/// Why the type check failed.
pub(super) enum Refusal {
    Problems(Vec<Problem>),
    /// The expression uses protocol buffer messages, which this checker does not support.
    Unsupported(u32, String),
}

/// Returns the type of the expression.
pub(super) fn check<'e>(expr: &'e Expr, environment: &'e Environment) -> Result<Type, Refusal> {
    let mut checker = Checker {
        environment,
        types: Bindings::default(),
        scopes: Vec::new(),
        problems: Vec::new(),
        unsupported: None,
        folded: false,
    };
    let t = checker.check(expr);
    if let Some((at, name)) = checker.unsupported {
        return Err(Refusal::Unsupported(at, name));
    }
    match checker.problems.is_empty() {
        true => Ok(checker.types.substitute(&t, true)),
        false => {
            checker.problems.sort_by_key(|p| p.at);
            Err(Refusal::Problems(checker.problems))
        }
    }
}

/// The messages and enumerations that are built into cel-go (common/types/pb).
const MESSAGES: &str = "Any BoolValue BytesValue DoubleValue Duration Empty FloatValue Int32Value Int64Value ListValue NullValue \
     StringValue Struct Timestamp UInt32Value UInt64Value Value";

fn is_message(name: &str) -> bool {
    let name = name.strip_prefix('.').unwrap_or(name).strip_prefix("google.protobuf.");
    name.is_some_and(|name| MESSAGES.split(' ').any(|known| name.split('.').next() == Some(known)))
}

struct Checker<'e> {
    environment: &'e Environment,
    types: Bindings,
    scopes: Vec<(&'e str, Type)>,
    problems: Vec<Problem>,
    unsupported: Option<(u32, String)>,
    /// Whether a comprehension has been entered.
    folded: bool,
}

impl<'e> Checker<'e> {
    fn report(&mut self, expr: &Expr, message: String) {
        self.problems.push(Problem { at: Some(expr.at), message });
    }

    fn undeclared(&mut self, expr: &Expr, name: &str) -> Type {
        self.report(expr, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn check(&mut self, expr: &'e Expr) -> Type {
        match &expr.kind {
            Kind::Literal(value) => Type::named(value.type_name()).unwrap_or(Type::Dyn),
            Kind::Ident(name) => match self.resolve(name) {
                Some(t) => t,
                None => self.undeclared(expr, name),
            },
            Kind::Select(select) => self.select(expr, select),
            Kind::Call(call) => self.call(expr, call),
            Kind::List(items) => Type::Of("list", vec![self.join(items.iter())]),
            Kind::Map(entries) => {
                // cel-go checks key and value of each entry before the next entry.
                let (mut key, mut value) = (None, None);
                for (k, v) in entries {
                    key = Some(self.join_one(key, k));
                    value = Some(self.join_one(value, v));
                }
                Type::Of("map", vec![self.or_fresh(key), self.or_fresh(value)])
            }
            Kind::Message(name, _) if is_message(name) || self.environment.has_message(name) => {
                self.unsupported.get_or_insert((expr.at, name.to_string()));
                Type::Dyn
            }
            // cel-go does not check the fields of an unknown message.
            Kind::Message(name, _) => self.undeclared(expr, name),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn resolve(&mut self, name: &str) -> Option<Type> {
        let plain = name.strip_prefix('.').unwrap_or(name);
        if plain.len() == name.len()
            && let Some((_, t)) = self.scopes.iter().rev().find(|(n, _)| *n == name)
        {
            return Some(t.clone());
        }
        if let Some(t) = self.environment.variable(plain) {
            return Some(t.clone());
        }
        Type::named(plain).map(|t| Type::Of("type", vec![t]))
    }

    /// Returns `a.b.c` as one name, if it consists only of names.
    fn qualified(expr: &Expr) -> Option<String> {
        match &expr.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select(s) if !s.test => Some(format!("{}.{}", Self::qualified(&s.operand)?, s.field)),
            _ => None,
        }
    }

    fn select(&mut self, expr: &'e Expr, select: &'e Select) -> Type {
        if !select.test
            && let Some(name) = Self::qualified(expr)
            && name.trim_start_matches('.').starts_with("google.protobuf.")
        {
            if let Some(t) = self.resolve(&name) {
                return t;
            }
            if is_message(&name) {
                self.unsupported.get_or_insert((expr.at, name));
                return Type::Dyn;
            }
        }
        let operand = self.check(&select.operand);
        let result = match self.types.substitute(&operand, false) {
            Type::Of("map", mut parameters) => parameters.swap_remove(1),
            var @ Type::Param(_) => {
                self.types.assignable(&Type::Dyn, &var);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            Type::Message(message) => match self.environment.field(message, &select.field) {
                Some(t) => t.clone(),
                None => {
                    self.report(expr, format!("undefined field '{}'", select.field));
                    Type::Error
                }
            },
            other => {
                self.report(expr, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if select.test { Type::BOOL } else { self.types.substitute(&result, false) }
    }

    fn call(&mut self, expr: &'e Expr, call: &'e Call) -> Type {
        // The receiver is checked after the arguments.
        let skip = usize::from(call.member);
        let mut types: Vec<Type> = call.args[skip..].iter().map(|a| self.check(a)).collect();
        if call.member {
            let target = self.check(&call.args[0]);
            types.insert(0, target);
        }
        let plain = call.function.strip_prefix('.').unwrap_or(&call.function);
        match call.function().or_else(|| self.environment.function(plain)) {
            Some(function) if matches!(function.name, "_&&_" | "_||_") => self.logic(call, &types),
            Some(function) => self.overload(expr, function, call.member, types),
            None => self.undeclared(expr, &call.function),
        }
    }

    fn logic(&mut self, call: &'e Call, types: &[Type]) -> Type {
        // cel-go balances a chain into a tree, in which an invalid operand counts as a bool from one level above it.
        let direct = match types.len() {
            2 => 0,
            3 => 2,
            _ => usize::MAX,
        };
        let mut result = Type::BOOL;
        for (n, (arg, t)) in call.args.iter().zip(types).enumerate() {
            if !self.types.assignable(t, &Type::BOOL) {
                self.report(arg, format!("expected type 'bool' but found '{t}'"));
                if n >= direct {
                    result = Type::Error;
                }
            }
        }
        result
    }

    fn overload(&mut self, expr: &Expr, function: &Function, member: bool, args: Vec<Type>) -> Type {
        let mut result: Option<Type> = None;
        let enabled = |o: &&Overload| o.member == member && (!o.mixed || self.folded);
        for overload in function.overloads.iter().filter(enabled) {
            // Create fresh variables even for overloads of another length, so that messages number them as cel-go does.
            let mut fresh = [None; 2];
            let types = &mut self.types;
            let mut own = |n: u32| Type::Param(*fresh[n as usize].get_or_insert_with(|| types.fresh()));
            let wanted: Vec<Type> = overload.args.iter().map(|arg| arg.replace(&mut own)).collect();
            let returned = overload.result.replace(&mut own);
            if self.types.all_assignable(&args, &wanted) {
                let t = self.types.substitute(&returned, false);
                result = Some(match result {
                    None => t,
                    Some(before) if before == Type::Dyn || before == t => before,
                    Some(_) => Type::Dyn,
                });
            }
        }
        result.unwrap_or_else(|| {
            let shown: Vec<String> = args.iter().map(|t| self.types.substitute(t, true).to_string()).collect();
            let signature = match member {
                true => format!("{}.({})", shown[0], shown[1..].join(", ")),
                false => format!("({})", shown.join(", ")),
            };
            self.report(expr, format!("found no matching overload for '{}' applied to '{signature}'", function.name));
            Type::Error
        })
    }

    fn join(&mut self, items: impl Iterator<Item = &'e Expr>) -> Type {
        let mut joined = None;
        for item in items {
            joined = Some(self.join_one(joined, item));
        }
        self.or_fresh(joined)
    }

    /// Returns the common type of the previous elements and one more: mixed literals are lists and maps of dyn.
    fn join_one(&mut self, before: Option<Type>, item: &'e Expr) -> Type {
        let t = self.check(item);
        match before {
            None => t,
            Some(before) if self.types.assignable(&before, &t) => match less_specific(&before, &t) {
                true => before,
                false => t,
            },
            Some(_) => Type::Dyn,
        }
    }

    fn or_fresh(&mut self, t: Option<Type>) -> Type {
        t.unwrap_or_else(|| Type::Param(self.types.fresh()))
    }

    fn fold(&mut self, fold: &'e Fold) -> Type {
        let range = self.check(&fold.range);
        let accumulator = self.check(&fold.init);
        let var = match self.types.substitute(&range, false) {
            Type::Of("list" | "map", mut parameters) => parameters.swap_remove(0),
            t @ (Type::Dyn | Type::Error | Type::Param(_)) => {
                self.types.assignable(&Type::Dyn, &t);
                Type::Dyn
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(&fold.range, message);
                Type::Error
            }
        };
        self.folded = true;
        self.scopes.push((super::ast::ACCUMULATOR, accumulator.clone()));
        self.scopes.push((&fold.var, var));
        let step = self.check(&fold.step);
        if !self.types.assignable(&accumulator, &step) {
            self.report(&fold.step, format!("expected type '{accumulator}' but found '{step}'"));
        }
        self.scopes.pop();
        let result = self.check(&fold.result);
        self.scopes.pop();
        self.types.substitute(&result, false)
    }
}
