//! Tokens of CEL, split where cel-go's ANTLR lexer splits them (google/cel-go v0.27.0 parser/gen/CEL.g4), errors and
//! all: what cannot start or finish a token is reported with the text up to and including the character that broke it.

use std::sync::LazyLock;

use regex::Regex;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tok {
    /// An operator or a bracket: its text.
    Op(&'static str),
    True,
    False,
    Null,
    Float,
    Int,
    Uint,
    Str,
    Bytes,
    Ident,
    EscIdent,
    Eof,
}

/// A token and the bytes it covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub tok: Tok,
    pub start: u32,
    pub end: u32,
}

/// A character sequence that is not a valid token.
#[derive(Debug)]
pub(super) struct InvalidToken {
    pub at: u32,
    pub text: String,
}

// Longest first, as the lexer takes them.
const OPERATORS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*",
    "/", "%",
];

/// All tokens of a source, the end included, and everything in between that is none.
pub(super) fn lex(source: &str) -> (Vec<Token>, Vec<InvalidToken>) {
    let (mut tokens, mut bad) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let step = match skip(rest) {
            0 => match token(rest) {
                Ok((tok, len)) => {
                    tokens.push(Token { tok, start: at as u32, end: (at + len) as u32 });
                    len
                }
                Err(len) => {
                    bad.push(InvalidToken { at: at as u32, text: rest[..len].to_owned() });
                    len
                }
            },
            blank => blank,
        };
        at += step;
    }
    let end = source.len() as u32;
    tokens.push(Token { tok: Tok::Eof, start: end, end });
    (tokens, bad)
}

/// Length of the white space and comments at the start.
fn skip(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    rest.len() - rest.trim_start_matches(['\t', ' ', '\r', '\n', '\u{c}']).len()
}

/// The token at the start with its length, or the length of what is refused.
fn token(rest: &str) -> Result<(Tok, usize), usize> {
    let bytes = rest.as_bytes();
    if let Some(string) = string(rest) {
        return string;
    }
    match bytes[0] {
        b'0'..=b'9' => return Ok(number(rest)),
        b'.' if bytes.get(1).is_some_and(u8::is_ascii_digit) => return Ok(number(rest)),
        b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
            let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            return Ok((word(&rest[..len]), len));
        }
        b'`' => return escaped(rest),
        _ => {}
    }
    match OPERATORS.iter().find(|op| rest.starts_with(**op)) {
        Some(op) => Ok((Tok::Op(op), op.len())),
        // `=`, `&` and `|` start an operator of two characters: the second one is what breaks it.
        None if matches!(bytes[0], b'=' | b'&' | b'|') => Err(1 + width(&rest[1..])),
        None => Err(width(rest)),
    }
}

fn width(rest: &str) -> usize {
    rest.chars().next().map_or(0, char::len_utf8)
}

fn word(text: &str) -> Tok {
    match text {
        "true" => Tok::True,
        "false" => Tok::False,
        "null" => Tok::Null,
        "in" => Tok::Op("in"),
        _ => Tok::Ident,
    }
}

fn escaped(rest: &str) -> Result<(Tok, usize), usize> {
    let body = &rest[1..];
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ');
    let len = body.find(|c| !ok(c)).unwrap_or(body.len());
    match body[len..].starts_with('`') && len > 0 {
        true => Ok((Tok::EscIdent, len + 2)),
        false => Err(1 + len + width(&body[len..])),
    }
}

fn number(rest: &str) -> (Tok, usize) {
    static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let float = r"[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+";
        Regex::new(&format!("^(?:(?<float>{float})|(?:0x[0-9a-fA-F]+|[0-9]+)(?<unsigned>[uU])?)")).ok()
    });
    let Some(found) = NUMBER.as_ref().and_then(|number| number.captures(rest)) else { return (Tok::Int, 1) };
    let tok = match (found.name("float"), found.name("unsigned")) {
        (Some(_), _) => Tok::Float,
        (_, Some(_)) => Tok::Uint,
        _ => Tok::Int,
    };
    (tok, found[0].len())
}

/// A string or bytes literal, if one starts here.
fn string(rest: &str) -> Option<Result<(Tok, usize), usize>> {
    let (mut prefix, mut tok, mut raw) = (0, Tok::Str, false);
    if rest.starts_with(['b', 'B']) {
        (prefix, tok) = (1, Tok::Bytes);
    }
    if rest[prefix..].starts_with(['r', 'R']) {
        (prefix, raw) = (prefix + 1, true);
    }
    let body = &rest[prefix..];
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let triple = body.starts_with(&String::from(quote).repeat(3));
    if triple && let Ok(len) = scan(&body[3..], quote, true, raw) {
        return Some(Ok((tok, prefix + 3 + len)));
    }
    // An open `"""` is still an empty string followed by another one.
    let scanned = match (scan(&body[1..], quote, false, raw), triple) {
        (Ok(len), _) => Ok((tok, prefix + 1 + len)),
        (Err(len), _) => Err(prefix + 1 + len),
    };
    // A prefix letter before a string that never ends is an identifier of its own.
    match scanned {
        Err(_) if prefix > 0 => Some(Ok((word(&rest[..prefix]), prefix))),
        other => Some(other),
    }
}

/// Length up to and including the closing quote, or up to and including the character that breaks the literal.
fn scan(body: &str, quote: char, triple: bool, raw: bool) -> Result<usize, usize> {
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote && triple => {
                let close = &body[at..];
                if close.chars().take(3).filter(|c| *c == quote).count() == 3 {
                    return Ok(at + 3);
                }
            }
            c if c == quote => return Ok(at + 1),
            '\n' | '\r' if !triple => return Err(at + 1),
            '\\' if !raw => {
                let len = escape(&body[at + 1..]).map_err(|bad| at + 1 + bad)?;
                for _ in body[at + 1..at + 1 + len].chars() {
                    chars.next();
                }
            }
            _ => {}
        }
    }
    Err(body.len())
}

/// Length of the escape sequence behind a backslash, or up to and including what breaks it.
fn escape(rest: &str) -> Result<usize, usize> {
    let Some(first) = rest.chars().next() else { return Err(0) };
    let (from, count, is_digit): (usize, usize, fn(char) -> bool) = match first {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' => return Ok(1),
        'x' | 'X' => (1, 2, |c| c.is_ascii_hexdigit()),
        'u' => (1, 4, |c| c.is_ascii_hexdigit()),
        'U' => (1, 8, |c| c.is_ascii_hexdigit()),
        '0'..='3' => (1, 2, |c| matches!(c, '0'..='7')),
        other => return Err(other.len_utf8()),
    };
    for (n, c) in rest[from..].chars().take(count).enumerate() {
        if !is_digit(c) {
            return Err(from + n + c.len_utf8());
        }
    }
    match rest.len() >= from + count {
        true => Ok(from + count),
        false => Err(rest.len()),
    }
}
