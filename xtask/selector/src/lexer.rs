//! Tokens of CEL, split where cel-go's ANTLR lexer splits them (google/cel-go v0.27.0 parser/gen/CEL.g4), errors and
//! all: what cannot start or finish a token is reported with the text up to and including the character that broke it.

use std::sync::LazyLock;

use regex::Regex;

use super::pattern::regex;

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

/// Each kind of token that is not an operator, by its group in [`token`].
const KINDS: [(&str, Tok); 7] = [
    ("bytes", Tok::Bytes),
    ("string", Tok::Str),
    ("float", Tok::Float),
    ("uint", Tok::Uint),
    ("int", Tok::Int),
    ("identifier", Tok::Ident),
    ("escaped", Tok::EscIdent),
];

/// The token at the start with its length, or the length of what is refused.
fn token(rest: &str) -> Result<(Tok, usize), usize> {
    const ESCAPE: &str = r#"\\(?:[abfnrtv"'\\?`]|[xX][[:xdigit:]]{2}|u[[:xdigit:]]{4}|U[[:xdigit:]]{8}|[0-3][0-7]{2})"#;
    static WHOLE: LazyLock<Regex> = LazyLock::new(|| {
        let quoted = |q: char| format!(r"{q}{q}{q}(?s:(?:[^\\]|{ESCAPE})*?){q}{q}{q}|{q}(?:[^{q}\\\r\n]|{ESCAPE})*{q}");
        let raw = |q: char| format!(r"[rR](?:{q}{q}{q}(?s:.*?){q}{q}{q}|{q}[^{q}\r\n]*{q})");
        let string = [raw('"'), raw('\''), quoted('"'), quoted('\'')].join("|");
        let float = r"[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+";
        let int = "0x[[:xdigit:]]+|[0-9]+";
        let words = "(?<identifier>[A-Za-z_][A-Za-z0-9_]*)|(?<escaped>`[A-Za-z0-9_./ -]+`)";
        regex(&format!(
            "^(?:(?<bytes>[bB](?:{string}))|(?<string>{string})|(?<float>{float})|(?<uint>(?:{int})[uU])|(?<int>{int})|{words})"
        ))
    });
    // What starts a literal, a quoted name or an operator of two characters: the next character is what breaks it.
    static BEGUN: LazyLock<Regex> = LazyLock::new(|| {
        let part = r"(?:\\(?:[xX][[:xdigit:]]?|u[[:xdigit:]]{0,3}|U[[:xdigit:]]{0,7}|[0-3][0-7]?)?)?";
        let quoted = |q: char| format!(r"{q}(?:[^{q}\\\r\n]|{ESCAPE})*{part}");
        regex(&format!("^(?:{}|{}|`[A-Za-z0-9_./ -]*|[=&|])", quoted('"'), quoted('\'')))
    });
    if let Some(found) = WHOLE.captures(rest) {
        let kind = KINDS.iter().find(|(group, _)| found.name(group).is_some()).map_or(Tok::Ident, |(_, tok)| *tok);
        return Ok((if kind == Tok::Ident { word(&found[0]) } else { kind }, found[0].len()));
    }
    if let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) {
        return Ok((Tok::Op(op), op.len()));
    }
    let begun = BEGUN.find(rest).map_or(0, |begun| begun.end());
    Err(begun + rest[begun..].chars().next().map_or(0, char::len_utf8))
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
