//! Operands: names, calls, literals and all kinds of brackets.

use super::errors::starts_operand;
use super::{ParseResult, Parser, Stop, call};
use crate::ast::{Expr, Kind};
use crate::lexer::{Tok, Token};
use crate::literal;
use crate::macros::{Expanded, expand};
use crate::value::Value;

const RESERVED: &str = "as break const continue else false for function if import in let loop package namespace null return true var \
     void while";

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> ParseResult {
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
                Err(self.no_field(token, self.peek()))
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

    pub(super) fn operand(&mut self, also: &[&str]) -> ParseResult {
        match starts_operand(self.peek().tok) {
            true => self.expression(),
            false => Err(self.no_operand(also)),
        }
    }

    /// Parses a number, a string or bytes; the token starts at the sign, if there is one.
    pub(super) fn constant(&mut self, token: Token) -> Expr {
        self.at += 1;
        let value = literal::value(token.tok, self.text(token));
        let value = value.unwrap_or_else(|message| {
            self.problem(token.start, message.to_owned());
            Value::Null
        });
        literal_at(token, value)
    }

    /// Parses an identifier, a call or a message.
    pub(super) fn named(&mut self, first: Token, leading: bool) -> ParseResult {
        let ident = self.next();
        if self.message_follows() {
            return self.message(first);
        }
        let id = self.text(ident).to_owned();
        if RESERVED.split(' ').any(|word| word == id) {
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

    /// Returns true if `{` follows, or any number of `.name` and then `{`: only then is it a message.
    pub(super) fn message_follows(&self) -> bool {
        let mut n = 0;
        while self.ahead(n).tok == Tok::Op(".") && self.ahead(n + 1).tok == Tok::Ident {
            n += 2;
        }
        self.ahead(n).tok == Tok::Op("{")
    }

    pub(super) fn message(&mut self, first: Token) -> ParseResult {
        while !self.is("{") {
            self.at += 1;
        }
        let open = self.next();
        let spelt = &self.source[first.start as usize..open.start as usize];
        let name: String = spelt.chars().filter(|c| !c.is_whitespace()).collect();
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
                return Err(self.unexpected(deletable, "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}"));
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

    pub(super) fn arguments(&mut self) -> Result<(Vec<Expr>, Token, u32), Stop> {
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

    pub(super) fn finish_call(&mut self, name: &str, target: Option<Expr>, args: Vec<Expr>, at: u32, end: u32) -> Expr {
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

    pub(super) fn list(&mut self) -> ParseResult {
        self.elements(&["]", ","], Kind::List, |parser, first| {
            parser.operand(if first { &["']'", "','", "'?'"] } else { &[] })
        })
    }

    pub(super) fn map(&mut self) -> ParseResult {
        self.elements(&["}", ","], Kind::Map, |parser, first| {
            parser.open.push(&[":"]);
            let (key, a) = parser.operand(if first { &["'}'", "','", "'?'"] } else { &[] })?;
            parser.open.pop();
            parser.colon()?;
            let (value, b) = parser.operand(&[])?;
            Ok(((key, value), a.max(b)))
        })
    }

    /// Parses the elements of a list or a map; `ends` is the closing bracket and the comma.
    fn elements<T>(
        &mut self,
        ends: &'static [&'static str; 2],
        kind: fn(Vec<T>) -> Kind,
        element: impl Fn(&mut Self, bool) -> Result<(T, u32), Stop>,
    ) -> ParseResult {
        let open = self.next();
        self.open.push(ends);
        let (mut found, mut height) = (Vec::new(), 0);
        if !ends.iter().any(|end| self.is(end)) {
            loop {
                if let Some(mark) = self.take("?") {
                    self.problem(mark.start, "unsupported syntax '?'".to_owned());
                }
                let (one, h) = element(self, found.is_empty())?;
                height = height.max(h);
                found.push(one);
                if !(self.is(",") && (starts_operand(self.ahead(1).tok) || self.ahead(1).tok == Tok::Op("?"))) {
                    break;
                }
                self.at += 1;
            }
        }
        let close = self.last(ends[0])?;
        Ok((Expr { kind: kind(found), at: open.start, start: open.start, end: close.end }, height))
    }

    /// Parses the end of a list or a map: an optional comma and the bracket.
    pub(super) fn last(&mut self, bracket: &'static str) -> Result<Token, Stop> {
        if self.take(",").is_some() || self.is(bracket) {
            return self.close(bracket);
        }
        let deletable = [Tok::Op(bracket), Tok::Op(",")].contains(&self.ahead(1).tok);
        Err(self.unexpected(deletable, &format!("{{'{bracket}', ','}}")))
    }
}

fn literal_at(token: Token, value: Value<'static>) -> Expr {
    Expr { kind: Kind::Literal(value), at: token.start, start: token.start, end: token.end }
}
