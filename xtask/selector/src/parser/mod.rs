//! Parses source text into a tree, with the messages of cel-go's ANTLR parser (google/cel-go v0.27.0 parser/parser.go). Stops at
//! the first syntax error: cel-go sorts errors by position, and those after error recovery are rarely useful.

mod errors;
mod primary;

use errors::{expected, starts_operand, starts_primary};

use super::ast::{Call, Expr, Kind, Select};
use super::lexer::{Tok, Token, lex};
use super::value::Value;
use super::{Problem, stdlib};

/// cel-go's limits for the nesting of rules and for the height of the tree.
const MAX_DEPTH: u32 = 250;
const MAX_CODE_POINTS: usize = 100_000;

/// Returns the tree, or all errors in source order.
pub(super) fn parse(source: &str) -> Result<Expr, Vec<Problem>> {
    let points = source.chars().count();
    if points > MAX_CODE_POINTS {
        let message = format!("expression code point size exceeds limit: size: {points}, limit {MAX_CODE_POINTS}");
        return Err(vec![Problem { at: None, message }]);
    }
    let (tokens, bad) = lex(source);
    let mut parser = Parser { source, tokens, at: 0, problems: Vec::new(), depth: [0; 3], open: Vec::new() };
    for bad in bad {
        parser.problem(bad.at, format!("Syntax error: token recognition error at: '{}'", bad.text));
    }
    let tree = parser.expression().and_then(|(tree, height)| {
        if height > MAX_DEPTH {
            return Err(parser.too_deep("max recursion depth exceeded".to_owned()));
        }
        parser.end()?;
        Ok(tree)
    });
    parser.problems.sort_by_key(|p| p.at);
    match tree {
        Ok(tree) if parser.problems.is_empty() => Ok(tree),
        _ => Err(parser.problems),
    }
}

/// Indicates that a syntax error was recorded.
struct Stop;

/// A node and the height of its tree, as cel-go's visitor counts it.
type ParseResult = Result<(Expr, u32), Stop>;

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    at: usize,
    problems: Vec<Problem>,
    /// Current nesting of the rules expr, relation and calc.
    depth: [u32; 3],
    /// For each open bracket, the tokens that may follow an operand in it.
    open: Vec<&'static [&'static str]>,
}

impl Parser<'_> {
    fn peek(&self) -> Token {
        self.ahead(0)
    }

    fn ahead(&self, n: usize) -> Token {
        self.tokens[(self.at + n).min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        self.at += 1;
        self.tokens[(self.at - 1).min(self.tokens.len() - 1)]
    }

    fn is(&self, op: &'static str) -> bool {
        self.peek().tok == Tok::Op(op)
    }

    fn take(&mut self, op: &'static str) -> Option<Token> {
        self.is(op).then(|| self.next())
    }

    fn text(&self, token: Token) -> &str {
        match token.tok {
            Tok::Eof => "<EOF>",
            _ => &self.source[token.start as usize..token.end as usize],
        }
    }

    fn enter(&mut self, rule: usize) -> Result<(), Stop> {
        self.depth[rule] += 1;
        match self.depth[rule] > MAX_DEPTH {
            true => Err(self.too_deep(format!("expression recursion limit exceeded: {MAX_DEPTH}"))),
            false => Ok(()),
        }
    }

    fn expression(&mut self) -> ParseResult {
        self.enter(0)?;
        let (condition, height) = self.logical_or()?;
        let result = match self.take("?") {
            None => (condition, height),
            Some(op) => {
                self.open.push(&[":"]);
                let (then, a) = self.logical_or()?;
                self.open.pop();
                self.colon()?;
                let (otherwise, b) = self.expression()?;
                let (start, end) = (condition.start, otherwise.end);
                (call("_?_:_", op.start, start, end, vec![condition, then, otherwise]), 1 + height.max(a).max(b))
            }
        };
        self.depth[0] -= 1;
        Ok(result)
    }

    fn colon(&mut self) -> Result<Token, Stop> {
        let follows = starts_operand(self.peek().tok);
        self.expect(":", follows)
    }

    fn logical_or(&mut self) -> ParseResult {
        self.logic("||", "_||_", Self::logical_and)
    }

    fn logical_and(&mut self) -> ParseResult {
        self.logic("&&", "_&&_", Self::relation)
    }

    fn logic(&mut self, op: &'static str, function: &str, term: fn(&mut Self) -> ParseResult) -> ParseResult {
        let (first, mut height) = term(self)?;
        if !self.is(op) {
            return Ok((first, height));
        }
        let start = first.start;
        let (mut terms, mut operators) = (vec![first], Vec::new());
        while let Some(operator) = self.take(op) {
            let (next, h) = term(self)?;
            height = height.max(h);
            terms.push(next);
            operators.push(operator.start);
        }
        // cel-go balances a chain into a tree whose root is the operator in the middle.
        let at = operators[operators.len() / 2];
        let end = terms[terms.len() - 1].end;
        Ok((call(function, at, start, end, terms), height))
    }

    fn relation(&mut self) -> ParseResult {
        self.enter(1)?;
        let (mut left, mut height) = self.additive(1)?;
        while let Tok::Op(op @ ("<" | "<=" | ">=" | ">" | "==" | "!=" | "in")) = self.peek().tok {
            let at = self.next().start;
            self.enter(1)?;
            let (right, h) = self.additive(1)?;
            self.depth[1] -= 1;
            height = 1 + height.max(h);
            left = infix(op, at, left, right);
        }
        self.depth[1] -= 1;
        Ok((left, height))
    }

    fn additive(&mut self, least: u32) -> ParseResult {
        self.enter(2)?;
        let (mut left, mut height) = self.unary()?;
        while let Tok::Op(op @ ("*" | "/" | "%" | "+" | "-")) = self.peek().tok {
            let power = if matches!(op, "+" | "-") { 1 } else { 2 };
            if power < least {
                break;
            }
            let at = self.next().start;
            let (right, h) = self.additive(power + 1)?;
            height = 1 + height.max(h);
            left = infix(op, at, left, right);
        }
        self.depth[2] -= 1;
        Ok((left, height))
    }

    fn unary(&mut self) -> ParseResult {
        let first = self.peek();
        let op = match first.tok {
            Tok::Op(op @ ("!" | "-")) => op,
            _ => return self.member(),
        };
        let (mut count, mut last) = (0, first);
        while self.is(op) && !(op == "-" && self.is_signed_number() && count == 0) {
            last = self.next();
            count += 1;
        }
        if count == 0 {
            return self.member();
        }
        let operand = starts_primary(self.peek().tok) || (op == "!" && self.is_signed_number());
        if !operand {
            // After `!`, a minus is taken as the sign of a number until the next token is not a number.
            let sign = self.peek();
            if op == "!" && self.is("-") {
                return Err(self.not_viable(sign, self.ahead(1)));
            }
            let token = self.peek();
            return Err(match op {
                "!" => self.unexpected(true, &format!("{{{}}}", expected(&[]))),
                _ => self.not_viable(last, token),
            });
        }
        let (operand, height) = self.member()?;
        if count % 2 == 0 {
            return Ok((operand, height));
        }
        let end = operand.end;
        let function = if op == "!" { "!_" } else { "-_" };
        Ok((call(function, first.start, first.start, end, vec![operand]), height))
    }

    /// Whether a minus belongs to the number after it.
    fn is_signed_number(&self) -> bool {
        self.is("-") && matches!(self.ahead(1).tok, Tok::Int | Tok::Float)
    }

    fn member(&mut self) -> ParseResult {
        let (mut operand, mut height) = self.primary()?;
        loop {
            let token = self.peek();
            match token.tok {
                Tok::Op(".") => (operand, height) = self.dot(operand, height)?,
                Tok::Op("[") => {
                    self.at += 1;
                    self.open.push(&["]"]);
                    let optional = self.take("?").is_some();
                    if optional {
                        self.problem(token.start, "unsupported syntax '[?'".to_owned());
                    }
                    let (index, h) = self.operand(if optional { &[] } else { &["'?'"] })?;
                    let close = self.close("]")?;
                    height = 1 + height.max(h);
                    let start = operand.start;
                    operand = call("_[_]", token.start, start, close.end, vec![operand, index]);
                }
                _ => return Ok((operand, height)),
            }
        }
    }

    fn dot(&mut self, operand: Expr, height: u32) -> ParseResult {
        let dot = self.next();
        let optional = self.take("?");
        if optional.is_some() {
            self.problem(dot.start, "unsupported syntax '.?'".to_owned());
        }
        let name = self.peek();
        if !matches!(name.tok, Tok::Ident | Tok::EscIdent) {
            return Err(self.no_field(dot, name));
        }
        self.at += 1;
        if optional.is_none() && name.tok == Tok::Ident && self.is("(") {
            let open = self.peek();
            let (args, close, h) = self.arguments()?;
            let function = self.text(name).to_owned();
            return Ok((self.finish_call(&function, Some(operand), args, open.start, close.end), 1 + height.max(h)));
        }
        if name.tok == Tok::EscIdent {
            self.problem(name.start, "unsupported syntax: '`'".to_owned());
        }
        let field = self.text(name).into();
        let (start, end) = (operand.start, name.end);
        let kind = Kind::Select(Box::new(Select { operand, field, test: false }));
        Ok((Expr { kind, at: dot.start, start, end }, 1 + height))
    }
}

/// Builds a call of a binary operator.
fn infix(op: &str, at: u32, left: Expr, right: Expr) -> Expr {
    let function = if op == "in" { "@in".to_owned() } else { format!("_{op}_") };
    let (start, end) = (left.start, right.end);
    call(&function, at, start, end, vec![left, right])
}

/// Builds a call of a function that is not a member call.
pub(super) fn call(name: &str, at: u32, start: u32, end: u32, args: Vec<Expr>) -> Expr {
    let known = stdlib::find(name);
    let pattern = match (known.map(|k| k.name), args.as_slice()) {
        (Some("matches"), [_, Expr { kind: Kind::Literal(Value::Str(pattern)), .. }]) => {
            Some(Box::new(super::pattern::Pattern::new(pattern)))
        }
        _ => None,
    };
    let call = Call { function: name.into(), known, member: false, args, pattern };
    Expr { kind: Kind::Call(Box::new(call)), at, start, end }
}
