//! Syntax errors in the wording of ANTLR's default error strategy: one token too many (`extraneous`), one missing, or neither
//! (`mismatched`).

use super::{Parser, Stop};
use crate::Problem;
use crate::lexer::{Tok, Token};

/// Tokens with the names and in the order of the grammar; `~` marks those that can start an operand only in some places.
const OPERAND: &str = "'[' ~']' '{' ~'}' '(' ~')' '.' ~',' '-' '!' ~'?' 'true' 'false' 'null' NUM_FLOAT NUM_INT NUM_UINT STRING \
     BYTES IDENTIFIER";

impl Parser<'_> {
    pub(super) fn problem(&mut self, at: u32, message: String) {
        self.problems.push(Problem { at: Some(at), message });
    }

    pub(super) fn syntax(&mut self, token: Token, message: String) -> Stop {
        self.problem(token.start, format!("Syntax error: {message}"));
        Stop
    }

    pub(super) fn too_deep(&mut self, message: String) -> Stop {
        self.problems.push(Problem { at: None, message });
        Stop
    }

    /// Reports an unexpected token; `extraneous` means that the rest is valid without it.
    pub(super) fn unexpected(&mut self, extraneous: bool, expecting: &str) -> Stop {
        let token = self.peek();
        let word = if extraneous { "extraneous" } else { "mismatched" };
        self.syntax(token, format!("{word} input '{}' expecting {expecting}", self.text(token)))
    }

    /// Reports a token that does not continue any alternative that starts at `first`.
    pub(super) fn not_viable(&mut self, first: Token, token: Token) -> Stop {
        let text = &self.source[first.start as usize..token.end as usize];
        self.syntax(token, format!("no viable alternative at input '{text}'"))
    }

    /// Reports a token where an operand must start; `also` lists the other tokens that are allowed there.
    pub(super) fn no_operand(&mut self, also: &[&str]) -> Stop {
        let next = self.ahead(1).tok;
        let deletable = starts_operand(next) || also.iter().any(|quoted| is_named(next, quoted));
        self.unexpected(deletable, &format!("{{{}}}", expected(also)))
    }

    /// Consumes the bracket that closes the innermost open one.
    pub(super) fn close(&mut self, op: &'static str) -> Result<Token, Stop> {
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

    /// Consumes a required token; `follows` is whether the current token could come after it.
    pub(super) fn expect(&mut self, op: &'static str, follows: bool) -> Result<Token, Stop> {
        if let Some(token) = self.take(op) {
            return Ok(token);
        }
        let token = self.peek();
        let deletable = self.ahead(1).tok == Tok::Op(op);
        Err(match follows && !deletable {
            true => self.syntax(token, format!("missing '{op}' at '{}'", self.text(token))),
            false => self.unexpected(deletable, &format!("'{op}'")),
        })
    }

    pub(super) fn end(&mut self) -> Result<(), Stop> {
        match self.peek().tok {
            Tok::Eof => Ok(()),
            _ => Err(self.unexpected(self.ahead(1).tok == Tok::Eof, "<EOF>")),
        }
    }

    /// Reports a dot that is not followed by a name.
    pub(super) fn no_field(&mut self, dot: Token, token: Token) -> Stop {
        let reserved = matches!(token.tok, Tok::True | Tok::False | Tok::Null) && dot.end == token.start;
        if reserved { self.unexpected(false, "IDENTIFIER") } else { self.not_viable(dot, token) }
    }
}

pub(super) fn starts_operand(tok: Tok) -> bool {
    starts_primary(tok) || matches!(tok, Tok::Op("-" | "!"))
}

pub(super) fn starts_primary(tok: Tok) -> bool {
    use Tok::*;
    matches!(tok, Op("[" | "{" | "(" | ".") | True | False | Null | Float | Int | Uint | Str | Bytes | Ident)
}

/// Whether the token can follow a complete operand.
pub(super) fn continues_operand(tok: Tok) -> bool {
    matches!(
        tok,
        Tok::Op(
            "." | "[" | "*" | "/" | "%" | "+" | "-" | "<" | "<=" | ">=" | ">" | "==" | "!=" | "in" | "&&" | "||" | "?"
        )
    )
}

pub(super) fn is_named(tok: Tok, quoted: &str) -> bool {
    matches!(tok, Tok::Op(op) if quoted.trim_matches('\'') == op)
}

/// Returns the names of the tokens that can start an operand and of those in `also`, in grammar order.
pub(super) fn expected(also: &[&str]) -> String {
    let names = OPERAND.split(' ').filter_map(|name| match name.strip_prefix('~') {
        Some(name) => also.contains(&name).then_some(name),
        None => Some(name),
    });
    names.collect::<Vec<_>>().join(", ")
}
