//! Literals: numbers, strings and bytes (google/cel-go v0.27.0 parser/unescape.go).

use std::borrow::Cow;
use std::sync::Arc;

use super::lexer::Tok;
use super::value::Value;

/// Returns the value of a literal token.
///
/// # Errors
/// Returns cel-go's message.
pub(super) fn value(tok: Tok, text: &str) -> Result<Value<'static>, &'static str> {
    match tok {
        Tok::Int => {
            let (negative, digits) = sign(text);
            let n = unsigned(digits).ok_or("invalid int literal")?;
            let n = if negative { -i128::from(n) } else { i128::from(n) };
            i64::try_from(n).map(Value::Int).map_err(|_| "invalid int literal")
        }
        Tok::Uint => unsigned(&text[..text.len() - 1]).map(Value::Uint).ok_or("invalid uint literal"),
        Tok::Float => {
            let (negative, digits) = sign(text);
            let f: f64 = digits.parse().map_err(|_| "invalid double literal")?;
            match f.is_finite() {
                true => Ok(Value::Double(if negative { -f } else { f })),
                false => Err("invalid double literal"),
            }
        }
        Tok::Bytes => unescape(&text[1..], true).map(|b| Value::Bytes(Arc::from(b))),
        _ => {
            let bytes = unescape(text, false)?;
            let text = String::from_utf8(bytes).map_err(|_| "invalid unicode code point")?;
            Ok(Value::Str(Cow::Owned(text)))
        }
    }
}

/// Splits off the sign; the token text of a signed number includes any white space after the sign.
fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start_matches(|c: char| !c.is_ascii_digit() && c != '.')),
        None => (false, text),
    }
}

fn unsigned(digits: &str) -> Option<u64> {
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

fn unescape(literal: &str, bytes: bool) -> Result<Vec<u8>, &'static str> {
    let text = literal.replace("\r\n", "\n").replace('\r', "\n");
    let (raw, text) = match text.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let quotes = if text.len() >= 6 && (text.starts_with("\"\"\"") || text.starts_with("'''")) { 3 } else { 1 };
    let text = &text[quotes..text.len() - quotes];
    if raw || !text.contains('\\') {
        return Ok(text.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = escape(&rest[at + 1..], bytes, &mut out)?;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Writes the meaning of the escape sequence at the start and returns the rest after it.
fn escape<'a>(rest: &'a str, bytes: bool, out: &mut Vec<u8>) -> Result<&'a str, &'static str> {
    const BAD: &str = "unable to unescape string";
    let c = rest.chars().next().ok_or(BAD)?;
    let simple = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '\'' | '"' | '`' | '?' => c as u8,
        _ => 0,
    };
    if simple != 0 {
        out.push(simple);
        return Ok(&rest[1..]);
    }
    let (from, count, radix) = match c {
        'x' | 'X' => (1, 2, 16),
        'u' if !bytes => (1, 4, 16),
        'U' if !bytes => (1, 8, 16),
        '0'..='3' => (0, 3, 8),
        _ => return Err(BAD),
    };
    let code = rest.get(from..from + count).and_then(|d| u32::from_str_radix(d, radix).ok()).ok_or(BAD)?;
    if bytes {
        out.push(code as u8);
    } else {
        let c = char::from_u32(code).ok_or("invalid unicode code point")?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(&rest[from + count..])
}
