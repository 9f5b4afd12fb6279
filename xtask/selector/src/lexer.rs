//! Tokens of CEL, split exactly like cel-go's ANTLR lexer (google/cel-go v0.27.0 parser/gen/CEL.g4), including errors: text that
//! cannot start or finish a token is reported up to and including the offending character.

use std::sync::LazyLock;

use regex::Regex;

use super::pattern::regex;

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tok {
    /// An operator or bracket, by its text.
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

/// A token and its byte range.
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

// Longest first, as the lexer matches them.
const OPERATORS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*",
    "/", "%",
];

/// Returns all tokens of a source, including the end, and everything that is not a token.
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

/// Returns the length of the leading white space and comments.
fn skip(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    rest.len() - rest.trim_start_matches(['\t', ' ', '\r', '\n', '\u{c}']).len()
}

/// The kinds of tokens that are not operators, by their group in [`token`].
const KINDS: [(&str, Tok); 7] = [
    ("bytes", Tok::Bytes),
    ("string", Tok::Str),
    ("float", Tok::Float),
    ("uint", Tok::Uint),
    ("int", Tok::Int),
    ("identifier", Tok::Ident),
    ("escaped", Tok::EscIdent),
];

/// Returns the token at the start with its length, or the length of the invalid text.
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
    // The start of a literal, a quoted name or a two-character operator; the character after it is the offending one.
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
