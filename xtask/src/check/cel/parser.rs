//! From source to tree, with the messages of cel-go's ANTLR parser (google/cel-go v0.27.0 parser/parser.go). Parsing ends
//! at the first syntax error: cel-go sorts its errors by place, and what it finds after recovering says little.

use super::ast::{Call, Expr, Kind, Select};
use super::lexer::{Tok, Token, lex};
use super::macros::{Expanded, expand};
use super::value::Value;
use super::{Problem, literal, stdlib};

/// Both limits of cel-go: how deep rules may nest, and how deep the tree may be.
const MAX_DEPTH: u32 = 250;
const MAX_CODE_POINTS: usize = 100_000;
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];
const OPERAND: &[(&str, bool)] = &[
    ("'['", true),
    ("']'", false),
    ("'{'", true),
    ("'}'", false),
    ("'('", true),
    ("')'", false),
    ("'.'", true),
    ("','", false),
    ("'-'", true),
    ("'!'", true),
    ("'?'", false),
    ("'true'", true),
    ("'false'", true),
    ("'null'", true),
    ("NUM_FLOAT", true),
    ("NUM_INT", true),
    ("NUM_UINT", true),
    ("STRING", true),
    ("BYTES", true),
    ("IDENTIFIER", true),
];

/// The tree, or everything that is wrong, in the order of the source.
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

/// A syntax error was recorded.
struct Stop;

/// A node with the height of its tree as cel-go's visitor counts it.
type Parsed = Result<(Expr, u32), Stop>;

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    at: usize,
    problems: Vec<Problem>,
    /// Open rules: expr, relation, calc.
    depth: [u32; 3],
    /// For each open bracket, what may stand behind an operand in it.
    open: Vec<&'static [&'static str]>,
}

impl Parser<'_> {
    fn peek(&self) -> Token {
        self.ahead(0)
    }

    fn ahead(&self, n: usize) -> Token {
        self.tokens[(self.at + n).min(self.tokens.len() - 1)]
    }

    fn is(&self, op: &'static str) -> bool {
        self.peek().tok == Tok::Op(op)
    }

    fn take(&mut self, op: &'static str) -> Option<Token> {
        let token = self.peek();
        (token.tok == Tok::Op(op)).then(|| {
            self.at += 1;
            token
        })
    }

    fn text(&self, token: Token) -> &str {
        match token.tok {
            Tok::Eof => "<EOF>",
            _ => &self.source[token.start as usize..token.end as usize],
        }
    }

    fn problem(&mut self, at: u32, message: String) {
        self.problems.push(Problem { at: Some(at), message });
    }

    fn syntax(&mut self, token: Token, message: String) -> Stop {
        self.problem(token.start, format!("Syntax error: {message}"));
        Stop
    }

    fn too_deep(&mut self, message: String) -> Stop {
        self.problems.push(Problem { at: None, message });
        Stop
    }

    fn enter(&mut self, rule: usize) -> Result<(), Stop> {
        self.depth[rule] += 1;
        match self.depth[rule] > MAX_DEPTH {
            true => Err(self.too_deep(format!("expression recursion limit exceeded: {MAX_DEPTH}"))),
            false => Ok(()),
        }
    }

    /// The error for a token where an operand must start; `also` is what else could stand there.
    fn no_operand(&mut self, also: &[&str]) -> Stop {
        let token = self.peek();
        let next = self.ahead(1);
        let deletable =
            token.tok != Tok::Eof && (starts_operand(next.tok) || also.iter().any(|a| is_named(next.tok, a)));
        let word = if deletable { "extraneous" } else { "mismatched" };
        let message = format!("{word} input '{}' expecting {{{}}}", self.text(token), expected(also));
        self.syntax(token, message)
    }

    /// Takes the bracket that closes the innermost open one.
    fn close(&mut self, op: &'static str) -> Result<Token, Stop> {
        self.open.pop();
        let outer = self.open.last().copied();
        let token = self.peek().tok;
        let follows = continues_operand(token)
            || match outer {
                Some(after) => matches!(token, Tok::Op(op) if after.contains(&op)),
                None => token == Tok::Eof,
            };
        self.expect(op, follows)
    }

    /// Takes a token that must be there; `follows` says whether the one there could stand behind it.
    fn expect(&mut self, op: &'static str, follows: bool) -> Result<Token, Stop> {
        if let Some(token) = self.take(op) {
            return Ok(token);
        }
        let token = self.peek();
        let text = self.text(token);
        let message = if token.tok != Tok::Eof && self.ahead(1).tok == Tok::Op(op) {
            format!("extraneous input '{text}' expecting '{op}'")
        } else if follows {
            format!("missing '{op}' at '{text}'")
        } else {
            format!("mismatched input '{text}' expecting '{op}'")
        };
        Err(self.syntax(token, message))
    }

    fn end(&mut self) -> Result<(), Stop> {
        let token = self.peek();
        if token.tok == Tok::Eof {
            return Ok(());
        }
        let word = if self.ahead(1).tok == Tok::Eof { "extraneous" } else { "mismatched" };
        let message = format!("{word} input '{}' expecting <EOF>", self.text(token));
        Err(self.syntax(token, message))
    }

    fn expression(&mut self) -> Parsed {
        self.enter(0)?;
        let (condition, height) = self.either()?;
        let result = match self.take("?") {
            None => (condition, height),
            Some(op) => {
                self.open.push(&[":"]);
                let (then, a) = self.either()?;
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

    fn either(&mut self) -> Parsed {
        self.logic("||", "_||_", Self::both)
    }

    fn both(&mut self) -> Parsed {
        self.logic("&&", "_&&_", Self::relation)
    }

    fn logic(&mut self, op: &'static str, function: &str, term: fn(&mut Self) -> Parsed) -> Parsed {
        let (first, mut height) = term(self)?;
        if !self.is(op) {
            return Ok((first, height));
        }
        let (start, at) = (first.start, self.peek().start);
        let mut terms = vec![first];
        while self.take(op).is_some() {
            let (next, h) = term(self)?;
            height = height.max(h);
            terms.push(next);
        }
        let end = terms[terms.len() - 1].end;
        Ok((call(function, at, start, end, terms), height))
    }

    fn relation(&mut self) -> Parsed {
        self.enter(1)?;
        let (mut left, mut height) = self.calc(1)?;
        while let Tok::Op(op @ ("<" | "<=" | ">=" | ">" | "==" | "!=" | "in")) = self.peek().tok {
            let at = self.peek().start;
            self.at += 1;
            self.enter(1)?;
            let (right, h) = self.calc(1)?;
            self.depth[1] -= 1;
            let function = match op {
                "<" => "_<_",
                "<=" => "_<=_",
                ">=" => "_>=_",
                ">" => "_>_",
                "==" => "_==_",
                "!=" => "_!=_",
                _ => "@in",
            };
            height = 1 + height.max(h);
            let (start, end) = (left.start, right.end);
            left = call(function, at, start, end, vec![left, right]);
        }
        self.depth[1] -= 1;
        Ok((left, height))
    }

    fn calc(&mut self, least: u32) -> Parsed {
        self.enter(2)?;
        let (mut left, mut height) = self.unary()?;
        loop {
            let (function, power) = match self.peek().tok {
                Tok::Op("*") => ("_*_", 2),
                Tok::Op("/") => ("_/_", 2),
                Tok::Op("%") => ("_%_", 2),
                Tok::Op("+") => ("_+_", 1),
                Tok::Op("-") => ("_-_", 1),
                _ => break,
            };
            if power < least {
                break;
            }
            let at = self.peek().start;
            self.at += 1;
            let (right, h) = self.calc(power + 1)?;
            height = 1 + height.max(h);
            let (start, end) = (left.start, right.end);
            left = call(function, at, start, end, vec![left, right]);
        }
        self.depth[2] -= 1;
        Ok((left, height))
    }

    fn unary(&mut self) -> Parsed {
        let first = self.peek();
        let op = match first.tok {
            Tok::Op(op @ ("!" | "-")) => op,
            _ => return self.member(),
        };
        let (mut count, mut last) = (0, first);
        while self.is(op) && !(op == "-" && self.is_signed_number() && count == 0) {
            last = self.peek();
            self.at += 1;
            count += 1;
        }
        if count == 0 {
            return self.member();
        }
        let operand = starts_primary(self.peek().tok) || (op == "!" && self.is_signed_number());
        if !operand {
            // Behind `!`, a minus is taken for the sign of a number until the token after it is none.
            let sign = self.peek();
            if op == "!" && self.is("-") {
                let next = self.ahead(1);
                let text = &self.source[sign.start as usize..next.end as usize];
                let message = format!("no viable alternative at input '{text}'");
                return Err(self.syntax(next, message));
            }
            let token = self.peek();
            let message = match op {
                "!" => format!("extraneous input '{}' expecting {{{}}}", self.text(token), expected(&[])),
                _ => format!(
                    "no viable alternative at input '{}'",
                    &self.source[last.start as usize..token.end as usize]
                ),
            };
            return Err(self.syntax(token, message));
        }
        let (operand, height) = self.member()?;
        if count % 2 == 0 {
            return Ok((operand, height));
        }
        let end = operand.end;
        let function = if op == "!" { "!_" } else { "-_" };
        Ok((call(function, first.start, first.start, end, vec![operand]), height))
    }

    /// A minus that belongs to the number behind it.
    fn is_signed_number(&self) -> bool {
        self.is("-") && matches!(self.ahead(1).tok, Tok::Int | Tok::Float)
    }

    fn member(&mut self) -> Parsed {
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

    fn dot(&mut self, operand: Expr, height: u32) -> Parsed {
        let dot = self.peek();
        self.at += 1;
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

    /// The error for a dot without a name behind it.
    fn no_field(&mut self, dot: Token, token: Token) -> Stop {
        let reserved = matches!(token.tok, Tok::True | Tok::False | Tok::Null) && dot.end == token.start;
        let message = match reserved {
            true => format!("mismatched input '{}' expecting IDENTIFIER", self.text(token)),
            false => {
                format!("no viable alternative at input '{}'", &self.source[dot.start as usize..token.end as usize])
            }
        };
        self.syntax(token, message)
    }

    fn primary(&mut self) -> Parsed {
        let token = self.peek();
        let leading = self.is(".");
        match token.tok {
            Tok::Ident => self.named(token, false),
            Tok::Op(".") if leading && self.ahead(1).tok == Tok::Ident => {
                self.at += 1;
                self.named(token, true)
            }
            Tok::Op(".") => {
                self.at += 1;
                let next = self.peek();
                Err(self.no_field(token, next))
            }
            Tok::Op("(") => {
                self.at += 1;
                self.open.push(&[")"]);
                let inner = self.operand(&[])?;
                self.close(")")?;
                Ok(inner)
            }
            Tok::Op("[") => self.list(),
            Tok::Op("{") => self.map(),
            Tok::True | Tok::False | Tok::Null => {
                self.at += 1;
                let value = match token.tok {
                    Tok::Null => Value::Null,
                    tok => Value::Bool(tok == Tok::True),
                };
                Ok((literal_at(token, value), 0))
            }
            Tok::Int | Tok::Float | Tok::Uint | Tok::Str | Tok::Bytes => Ok((self.constant(token), 0)),
            Tok::Op("-") if self.is_signed_number() => {
                self.at += 1;
                let number = self.peek();
                Ok((self.constant(Token { start: token.start, ..number }), 0))
            }
            _ => Err(self.no_operand(&[])),
        }
    }

    fn operand(&mut self, also: &[&str]) -> Parsed {
        match starts_operand(self.peek().tok) {
            true => self.expression(),
            false => Err(self.no_operand(also)),
        }
    }

    /// A number, a string or bytes; the token starts at its sign, if it has one.
    fn constant(&mut self, token: Token) -> Expr {
        self.at += 1;
        let value = literal::value(token.tok, self.text(token));
        let value = value.unwrap_or_else(|message| {
            self.problem(token.start, message.to_owned());
            Value::Null
        });
        literal_at(token, value)
    }

    /// An identifier, a call or a message.
    fn named(&mut self, first: Token, leading: bool) -> Parsed {
        let ident = self.peek();
        self.at += 1;
        if self.message_follows() {
            return self.message(first);
        }
        let id = self.text(ident).to_owned();
        if RESERVED.contains(&id.as_str()) {
            self.problem(first.start, format!("reserved identifier: {id}"));
        }
        let name = if leading { format!(".{id}") } else { id };
        if self.is("(") {
            let open = self.peek();
            let (args, close, height) = self.arguments()?;
            let mut call = self.finish_call(&name, None, args, open.start, close.end);
            call.start = first.start;
            return Ok((call, height));
        }
        let kind = Kind::Ident(name.into());
        Ok((Expr { kind, at: ident.start, start: first.start, end: ident.end }, 0))
    }

    /// True if `{` follows, or `.name` any number of times and then `{`: only then is this a message.
    fn message_follows(&self) -> bool {
        let mut n = 0;
        while self.ahead(n).tok == Tok::Op(".") && self.ahead(n + 1).tok == Tok::Ident {
            n += 2;
        }
        self.ahead(n).tok == Tok::Op("{")
    }

    fn message(&mut self, first: Token) -> Parsed {
        while !self.is("{") {
            self.at += 1;
        }
        let open = self.peek();
        let spelt = &self.source[first.start as usize..open.start as usize];
        let name: String = spelt.chars().filter(|c| !c.is_whitespace()).collect();
        self.at += 1;
        self.open.push(&["}", ","]);
        let (mut values, mut height) = (Vec::new(), 0);
        while !self.is("}") {
            let optional = self.take("?");
            let field = self.peek();
            if !matches!(field.tok, Tok::Ident | Tok::EscIdent) {
                if values.is_empty() && self.take(",").is_some() {
                    break;
                }
                let deletable = matches!(self.ahead(1).tok, Tok::Op("}" | "," | "?") | Tok::Ident | Tok::EscIdent);
                let word = if deletable { "extraneous" } else { "mismatched" };
                let text = self.text(field);
                let message = format!("{word} input '{text}' expecting {{'}}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}}");
                return Err(self.syntax(field, message));
            }
            if let Some(optional) = optional {
                self.problem(optional.start, "unsupported syntax '?'".to_owned());
            }
            self.at += 1;
            self.colon()?;
            let (value, h) = self.operand(&[])?;
            height = height.max(h);
            values.push(value);
            if self.take(",").is_none() {
                break;
            }
        }
        let close = self.close("}")?;
        let kind = Kind::Message(name.into(), values);
        Ok((Expr { kind, at: open.start, start: first.start, end: close.end }, height))
    }

    fn arguments(&mut self) -> Result<(Vec<Expr>, Token, u32), Stop> {
        self.at += 1;
        self.open.push(&[")", ","]);
        let (mut args, mut height) = (Vec::new(), 0);
        if !self.is(")") {
            let mut also: &[&str] = &["')'"];
            loop {
                let (arg, h) = self.operand(also)?;
                height = height.max(h);
                args.push(arg);
                if self.take(",").is_none() {
                    break;
                }
                also = &[];
            }
        }
        let close = self.close(")")?;
        Ok((args, close, height))
    }

    fn finish_call(&mut self, name: &str, target: Option<Expr>, args: Vec<Expr>, at: u32, end: u32) -> Expr {
        let start = target.as_ref().map_or(at, |t| t.start);
        match expand(name, target, args, (at, start, end)) {
            Expanded::Macro(expr) => expr,
            Expanded::Refused { at: bad, message } => {
                self.problem(bad, message.to_owned());
                Expr { kind: Kind::Literal(Value::Null), at, start, end }
            }
            Expanded::No(target, mut args) => {
                let member = target.is_some();
                args.splice(0..0, target);
                let mut expr = call(name, at, start, end, args);
                if let Kind::Call(call) = &mut expr.kind {
                    call.member = member;
                }
                expr
            }
        }
    }

    fn optional_marker(&mut self) {
        if let Some(mark) = self.take("?") {
            self.problem(mark.start, "unsupported syntax '?'".to_owned());
        }
    }

    fn list(&mut self) -> Parsed {
        let open = self.peek();
        self.at += 1;
        self.open.push(&["]", ","]);
        let (mut items, mut height) = (Vec::new(), 0);
        if !self.is("]") && !self.is(",") {
            loop {
                self.optional_marker();
                let (item, h) = self.operand(if items.is_empty() { &["']'", "','", "'?'"] } else { &[] })?;
                height = height.max(h);
                items.push(item);
                if !(self.is(",") && (starts_operand(self.ahead(1).tok) || self.ahead(1).tok == Tok::Op("?"))) {
                    break;
                }
                self.at += 1;
            }
        }
        let close = self.last("]")?;
        Ok((Expr { kind: Kind::List(items), at: open.start, start: open.start, end: close.end }, height))
    }

    fn map(&mut self) -> Parsed {
        let open = self.peek();
        self.at += 1;
        self.open.push(&["}", ","]);
        let (mut entries, mut height) = (Vec::new(), 0);
        if !self.is("}") && !self.is(",") {
            loop {
                self.optional_marker();
                self.open.push(&[":"]);
                let (key, a) = self.operand(if entries.is_empty() { &["'}'", "','", "'?'"] } else { &[] })?;
                self.open.pop();
                self.colon()?;
                let (value, b) = self.operand(&[])?;
                height = height.max(a).max(b);
                entries.push((key, value));
                if !(self.is(",") && (starts_operand(self.ahead(1).tok) || self.ahead(1).tok == Tok::Op("?"))) {
                    break;
                }
                self.at += 1;
            }
        }
        let close = self.last("}")?;
        Ok((Expr { kind: Kind::Map(entries), at: open.start, start: open.start, end: close.end }, height))
    }

    /// The end of a list or a map: an optional comma and the bracket.
    fn last(&mut self, bracket: &'static str) -> Result<Token, Stop> {
        if self.take(",").is_some() || self.is(bracket) {
            return self.close(bracket);
        }
        let token = self.peek();
        let next = self.ahead(1).tok;
        let deletable = token.tok != Tok::Eof && (next == Tok::Op(bracket) || next == Tok::Op(","));
        let word = if deletable { "extraneous" } else { "mismatched" };
        let message = format!("{word} input '{}' expecting {{'{bracket}', ','}}", self.text(token));
        Err(self.syntax(token, message))
    }
}

fn literal_at(token: Token, value: Value<'static>) -> Expr {
    Expr { kind: Kind::Literal(value), at: token.start, start: token.start, end: token.end }
}

/// A call of a function that is not a member of anything.
pub(super) fn call(name: &str, at: u32, start: u32, end: u32, args: Vec<Expr>) -> Expr {
    let known = stdlib::find(name);
    let pattern = match (known.map(|k| k.op), args.as_slice()) {
        (Some(stdlib::Op::Matches), [_, Expr { kind: Kind::Literal(Value::Str(pattern)), .. }]) => {
            Some(Box::new(super::regex::Regex::new(pattern)))
        }
        _ => None,
    };
    let call = Call { function: name.into(), known, member: false, args, pattern };
    Expr { kind: Kind::Call(Box::new(call)), at, start, end }
}

fn starts_operand(tok: Tok) -> bool {
    starts_primary(tok) || matches!(tok, Tok::Op("-" | "!"))
}

fn starts_primary(tok: Tok) -> bool {
    use Tok::*;
    matches!(tok, Op("[" | "{" | "(" | ".") | True | False | Null | Float | Int | Uint | Str | Bytes | Ident)
}

/// What carries on from a complete operand.
fn continues_operand(tok: Tok) -> bool {
    matches!(
        tok,
        Tok::Op(
            "." | "[" | "*" | "/" | "%" | "+" | "-" | "<" | "<=" | ">=" | ">" | "==" | "!=" | "in" | "&&" | "||" | "?"
        )
    )
}

fn is_named(tok: Tok, quoted: &str) -> bool {
    matches!(tok, Tok::Op(op) if quoted.trim_matches('\'') == op)
}

/// The names of the tokens that can start an operand, and those in `also`, in the grammar's order.
fn expected(also: &[&str]) -> String {
    let names: Vec<&str> =
        OPERAND.iter().filter(|(name, always)| *always || also.contains(name)).map(|(n, _)| *n).collect();
    names.join(", ")
}
