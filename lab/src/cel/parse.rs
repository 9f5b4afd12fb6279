//! From text to expressions.

use super::{Expr, Kind, report};

const EXPECTING: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, \
                         BYTES, IDENTIFIER}";
/// cel-go stops at 250 levels; a lab thread has less stack.
const DEPTH: usize = 48;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Ident(String),
    Int(String),
    Uint(String),
    Double(f64),
    Str(String),
    Bytes(Vec<u8>),
    Sign(&'static str),
    End,
}

struct Lexeme {
    token: Token,
    at: usize,
    text: String,
}

struct Lexer<'a> {
    source: &'a str,
    chars: Vec<char>,
    at: usize,
    errors: Vec<String>,
}

const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "(", ")", "[", "]", "{", "}", ",", ".", "?", ":", "+", "-", "*", "/",
    "%", "!",
];

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn unknown(&mut self, at: usize, length: usize) {
        let text: String = self.chars[at..(at + length).min(self.chars.len())].iter().collect();
        self.errors.push(report(self.source, at, &format!("Syntax error: token recognition error at: '{text}'")));
    }

    fn all(mut self) -> (Vec<Lexeme>, Vec<String>) {
        let mut out = Vec::new();
        loop {
            while self.peek(0).is_whitespace() || (self.peek(0) == '/' && self.peek(1) == '/') {
                if self.peek(0) == '/' {
                    while self.at < self.chars.len() && self.peek(0) != '\n' {
                        self.at += 1;
                    }
                } else {
                    self.at += 1;
                }
            }
            let start = self.at;
            if start >= self.chars.len() {
                out.push(Lexeme { token: Token::End, at: start, text: "<EOF>".to_owned() });
                return (out, self.errors);
            }
            if let Some(token) = self.token() {
                let text = self.chars[start..self.at].iter().collect();
                out.push(Lexeme { token, at: start, text });
            }
        }
    }

    fn token(&mut self) -> Option<Token> {
        let c = self.peek(0);
        let prefix = |lexer: &Self, n: usize| matches!(lexer.peek(n), '"' | '\'');
        let lower = c.to_ascii_lowercase();
        let second = self.peek(1).to_ascii_lowercase();
        if prefix(self, 0) {
            return self.string(false, false);
        }
        if (lower == 'r' || lower == 'b') && prefix(self, 1) {
            self.at += 1;
            return self.string(lower == 'r', lower == 'b');
        }
        if ((lower == 'r' && second == 'b') || (lower == 'b' && second == 'r')) && prefix(self, 2) {
            self.at += 2;
            return self.string(true, true);
        }
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_ascii_digit()) {
            return Some(self.number());
        }
        if c.is_ascii_alphabetic() || c == '_' {
            let start = self.at;
            while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == '_' {
                self.at += 1;
            }
            return Some(Token::Ident(self.chars[start..self.at].iter().collect()));
        }
        for sign in SIGNS {
            if sign.chars().enumerate().all(|(n, wanted)| self.peek(n) == wanted) {
                self.at += sign.len();
                return Some(Token::Sign(sign));
            }
        }
        // The first half of an operator takes the character after it along.
        let length = if matches!(c, '=' | '|' | '&') { 2 } else { 1 };
        self.unknown(self.at, length);
        self.at = (self.at + length).min(self.chars.len());
        None
    }

    fn number(&mut self) -> Token {
        let start = self.at;
        let mut text = String::new();
        let hex = self.peek(0) == '0' && self.peek(1).eq_ignore_ascii_case(&'x');
        if hex {
            self.at += 2;
            while self.peek(0).is_ascii_hexdigit() {
                self.at += 1;
            }
        } else {
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
            let mut float = false;
            if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
                float = true;
                self.at += 1;
                while self.peek(0).is_ascii_digit() {
                    self.at += 1;
                }
            }
            let sign = usize::from(matches!(self.peek(1), '+' | '-'));
            if self.peek(0).eq_ignore_ascii_case(&'e') && self.peek(1 + sign).is_ascii_digit() {
                float = true;
                self.at += 1 + sign;
                while self.peek(0).is_ascii_digit() {
                    self.at += 1;
                }
            }
            if float {
                text.extend(&self.chars[start..self.at]);
                return Token::Double(text.parse().unwrap_or(f64::INFINITY));
            }
        }
        text.extend(&self.chars[start..self.at]);
        if self.peek(0).eq_ignore_ascii_case(&'u') {
            self.at += 1;
            return Token::Uint(text);
        }
        Token::Int(text)
    }

    fn string(&mut self, raw: bool, bytes: bool) -> Option<Token> {
        let quote = self.peek(0);
        let long = self.peek(1) == quote && self.peek(2) == quote;
        let start = self.at;
        self.at += if long { 3 } else { 1 };
        let mut out = String::new();
        loop {
            let c = self.peek(0);
            let over = self.at >= self.chars.len() || (!long && c == '\n');
            if over {
                self.unknown(start, self.chars.len() - start);
                self.at = self.chars.len();
                return None;
            }
            if c == quote && (!long || (self.peek(1) == quote && self.peek(2) == quote)) {
                self.at += if long { 3 } else { 1 };
                return Some(if bytes { Token::Bytes(out.into_bytes()) } else { Token::Str(out) });
            }
            self.at += 1;
            if c != '\\' || raw {
                out.push(c);
                continue;
            }
            let escape = self.peek(0);
            self.at += 1;
            let digits = match escape {
                'x' | 'X' => 2,
                'u' => 4,
                'U' => 8,
                _ => 0,
            };
            out.push(match escape {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                'x' | 'X' | 'u' | 'U' => {
                    let text: String = (0..digits).map(|n| self.peek(n)).collect();
                    self.at = (self.at + digits).min(self.chars.len());
                    u32::from_str_radix(&text, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
                }
                other => other,
            });
        }
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Lexeme>,
    at: usize,
    depth: usize,
}

/// Reads an expression. The error holds every finding, as cel-go prints them.
pub(super) fn parse(source: &str) -> Result<Expr, String> {
    let lexer = Lexer { source, chars: source.chars().collect(), at: 0, errors: Vec::new() };
    let (tokens, mut errors) = lexer.all();
    let mut parser = Parser { source, tokens, at: 0, depth: 0 };
    let parsed = parser.expression().and_then(|expr| {
        let next = parser.next();
        if next.token == Token::End {
            return Ok(expr);
        }
        // One token too many is dropped and called extraneous; more of them are not.
        let single = parser.tokens.get(parser.at + 1).is_some_and(|after| after.token == Token::End);
        let kind = if single { "extraneous" } else { "mismatched" };
        Err(parser.error(next.at, &format!("Syntax error: {kind} input '{}' expecting <EOF>", next.text)))
    });
    match parsed {
        Ok(expr) if errors.is_empty() => Ok(expr),
        Ok(_) => Err(errors.join("\n")),
        Err(why) => {
            errors.push(why);
            Err(errors.join("\n"))
        }
    }
}

impl Parser<'_> {
    fn next(&self) -> &Lexeme {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn error(&self, at: usize, what: &str) -> String {
        report(self.source, at, what)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(&self.next().token, Token::Sign(found) if *found == sign)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn want(&mut self, sign: &str) -> Result<(), String> {
        if self.eat(sign) {
            return Ok(());
        }
        let next = self.next();
        Err(self.error(next.at, &format!("Syntax error: missing '{sign}' at '{}'", next.text)))
    }

    fn call(at: usize, name: &str, args: Vec<Expr>) -> Expr {
        Expr { at, kind: Kind::Call { name: name.to_owned(), target: None, args } }
    }

    fn expression(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error(0, "expression recursion limit exceeded: 250"));
        }
        let condition = self.binary(0)?;
        let at = self.next().at;
        let out = if self.eat("?") {
            let yes = self.binary(0)?;
            self.want(":")?;
            let no = self.expression()?;
            Parser::call(at, "_?_:_", vec![condition, yes, no])
        } else {
            condition
        };
        self.depth -= 1;
        Ok(out)
    }

    fn binary(&mut self, level: usize) -> Result<Expr, String> {
        const LEVELS: &[&[&str]] =
            &[&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">", "in"], &["+", "-"], &["*", "/", "%"]];
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            let at = self.next().at;
            let found = signs.iter().find(|sign| match (&self.next().token, **sign) {
                (Token::Ident(word), "in") => word == "in",
                (Token::Sign(text), sign) => *text == sign,
                _ => false,
            });
            let Some(sign) = found else { return Ok(left) };
            self.at += 1;
            let right = self.binary(level + 1)?;
            let name = if *sign == "in" { "@in".to_owned() } else { format!("_{sign}_") };
            left = Parser::call(at, &name, vec![left, right]);
        }
    }

    fn unary(&mut self) -> Result<Expr, String> {
        let at = self.next().at;
        for (sign, name) in [("!", "!_"), ("-", "-_")] {
            if !self.is(sign) {
                continue;
            }
            let mut count = 0;
            while self.eat(sign) {
                count += 1;
            }
            if sign == "-" && count == 1 && matches!(self.next().token, Token::Int(_) | Token::Double(_)) {
                return self.negative(at);
            }
            let inner = self.member()?;
            return Ok(if count % 2 == 0 { inner } else { Parser::call(at, name, vec![inner]) });
        }
        self.member()
    }

    fn negative(&mut self, at: usize) -> Result<Expr, String> {
        if let Token::Int(text) = &mut self.tokens[self.at].token {
            *text = format!("-{text}");
        } else if let Token::Double(number) = &mut self.tokens[self.at].token {
            *number = -*number;
        }
        let mut out = self.member()?;
        out.at = at;
        Ok(out)
    }

    fn member(&mut self) -> Result<Expr, String> {
        let mut out = self.primary()?;
        loop {
            let at = self.next().at;
            if self.eat(".") {
                let Token::Ident(name) = self.next().token.clone() else {
                    let next = self.next();
                    return Err(self.error(
                        next.at,
                        &format!("Syntax error: mismatched input '{}' expecting IDENTIFIER", next.text),
                    ));
                };
                self.at += 1;
                let open = self.next().at;
                if self.eat("(") {
                    let args = self.list(")")?;
                    out = self.method(out, name, open, args)?;
                } else {
                    out = Expr { at, kind: Kind::Select(Box::new(out), name) };
                }
            } else if self.eat("[") {
                let index = self.expression()?;
                self.want("]")?;
                out = Parser::call(at, "_[_]", vec![out, index]);
            } else {
                return Ok(out);
            }
        }
    }

    fn method(&self, target: Expr, name: String, at: usize, mut args: Vec<Expr>) -> Result<Expr, String> {
        let is_macro = match name.as_str() {
            "all" | "exists" | "exists_one" | "filter" => args.len() == 2,
            "map" => args.len() == 2 || args.len() == 3,
            _ => false,
        };
        if !is_macro {
            let target = Some(Box::new(target));
            return Ok(Expr { at, kind: Kind::Call { name, target, args } });
        }
        let first = args.remove(0);
        let Kind::Ident(var) = first.kind else {
            return Err(self.error(first.at, "argument must be a simple name"));
        };
        Ok(Expr { at, kind: Kind::Macro { name, range: Box::new(target), var, bodies: args } })
    }

    fn list(&mut self, close: &str) -> Result<Vec<Expr>, String> {
        let mut out = Vec::new();
        while !self.eat(close) {
            out.push(self.expression()?);
            if !self.eat(",") {
                self.want(close)?;
                break;
            }
        }
        Ok(out)
    }

    fn primary(&mut self) -> Result<Expr, String> {
        let (at, token, text) = (self.next().at, self.next().token.clone(), self.next().text.clone());
        let make = |kind| Ok(Expr { at, kind });
        self.at += 1;
        match token {
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.want(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                let items = self.list("]")?;
                make(Kind::List(items))
            }
            Token::Sign("{") => {
                let mut pairs = Vec::new();
                while !self.eat("}") {
                    let key = self.expression()?;
                    self.want(":")?;
                    pairs.push((key, self.expression()?));
                    if !self.eat(",") {
                        self.want("}")?;
                        break;
                    }
                }
                make(Kind::Map(pairs))
            }
            Token::Sign(".") => self.primary(),
            Token::Str(text) => make(Kind::Str(text)),
            Token::Bytes(bytes) => make(Kind::Bytes(bytes)),
            Token::Double(number) => make(Kind::Double(number)),
            Token::Int(text) => {
                let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
                let read = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
                    Some(hex) => i128::from_str_radix(hex, 16),
                    None => digits.parse::<i128>(),
                };
                let value = read.ok().and_then(|number| i64::try_from(number * sign).ok());
                value
                    .map(|value| Expr { at, kind: Kind::Int(value) })
                    .ok_or_else(|| self.error(at, "invalid int literal"))
            }
            Token::Uint(text) => {
                let read = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
                    Some(hex) => u64::from_str_radix(hex, 16),
                    None => text.parse(),
                };
                read.map(|value| Expr { at, kind: Kind::Uint(value) })
                    .map_err(|_| self.error(at, "invalid uint literal"))
            }
            Token::Ident(word) => self.word(at, word),
            Token::Sign(_) | Token::End => {
                self.at -= 1;
                Err(self.error(at, &format!("Syntax error: mismatched input '{text}' expecting {EXPECTING}")))
            }
        }
    }

    fn word(&mut self, at: usize, word: String) -> Result<Expr, String> {
        let kind = match word.as_str() {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "null" => Kind::Null,
            "in" => {
                let what = format!("Syntax error: mismatched input '{word}' expecting {EXPECTING}");
                return Err(self.error(at, &what));
            }
            _ => {
                let open = self.next().at;
                if !self.eat("(") {
                    return Ok(Expr { at, kind: Kind::Ident(word) });
                }
                let mut args = self.list(")")?;
                if word == "has" && args.len() == 1 {
                    let argument = args.remove(0);
                    return match argument.kind {
                        Kind::Select(from, field) => Ok(Expr { at: open, kind: Kind::Has(from, field) }),
                        _ => Err(self.error(argument.at, "invalid argument to has() macro")),
                    };
                }
                return Ok(Parser::call(open, &word, args));
            }
        };
        Ok(Expr { at, kind })
    }
}
