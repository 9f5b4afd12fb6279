//! Scalars and their types, by the rules of the YAML library that Omni and its provider use (go.yaml.in/yaml v4.0.0-rc.4,
//! resolve.go): `yes` and `on` are strings, `0x10` and `1_000` are numbers.

use std::sync::LazyLock;

use regex::Regex;

use super::text::TextPosition;

/// How a scalar is written. Only plain scalars can be anything but strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
    Literal,
    Folded,
}

/// A scalar: its text, its style and the position of the text (after the quote, below the `|`).
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    pub text: String,
    pub style: Style,
    pub body: TextPosition,
}

/// The value of a scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    /// Any integer that fits Go's int64 or uint64.
    Int(i128),
    Float(f64),
    /// A plain date or time, which the library resolves as well.
    Timestamp(&'a str),
    Str(&'a str),
}

impl Value<'_> {
    /// Returns the short YAML tag that messages of the library use.
    pub fn tag(&self) -> &'static str {
        match self {
            Value::Null => "!!null",
            Value::Bool(_) => "!!bool",
            Value::Int(_) => "!!int",
            Value::Float(_) => "!!float",
            Value::Timestamp(_) => "!!timestamp",
            Value::Str(_) => "!!str",
        }
    }
}

/// Resolves a scalar, with its explicit tag if any.
pub(super) fn resolve<'a>(text: &'a str, style: Style, tag: Option<&str>) -> Value<'a> {
    match tag {
        Some("!!str" | "!!binary") => Value::Str(text),
        None | Some("!") if style != Style::Plain => Value::Str(text),
        Some(own) if own.len() > 1 && !own.starts_with("!!") => Value::Str(text),
        Some("!!float") => match plain(text) {
            Value::Int(n) => Value::Float(n as f64),
            other => other,
        },
        _ => plain(text),
    }
}

fn plain(text: &str) -> Value<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        "-0" | "-0.0" => return Value::Float(-0.0),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => go_float(text).map_or(Value::Str(text), Value::Float),
        b'0'..=b'9' | b'+' | b'-' => {
            if is_timestamp(text) {
                return Value::Timestamp(text);
            }
            let bare = text.replace('_', "");
            if let Some(n) = go_int(&bare) {
                return Value::Int(n);
            }
            if is_yaml_float(&bare)
                && let Some(f) = go_float(&bare)
            {
                return Value::Float(f);
            }
            Value::Str(text)
        }
        _ => Value::Str(text),
    }
}

/// Parses like Go's strconv.ParseInt(s, 0, 64), then ParseUint: a leading `0` is octal, `0x`, `0o` and `0b` as in Go.
pub(super) fn go_int(s: &str) -> Option<i128> {
    let (negative, digits) = match s.as_bytes().first()? {
        b'-' => (true, &s[1..]),
        b'+' => (false, &s[1..]),
        _ => (false, s),
    };
    let signed = digits.len() != s.len();
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match lower.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let n = i128::from_str_radix(digits, radix).ok()?;
    let n = if negative { -n } else { n };
    // ParseUint accepts no sign.
    let max = if signed { i64::MAX as i128 } else { u64::MAX as i128 };
    (n >= i64::MIN as i128 && n <= max).then_some(n)
}

fn go_float(s: &str) -> Option<f64> {
    if !s.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    // Go rejects numbers that overflow, for which Rust returns infinity.
    s.parse::<f64>().ok().filter(|f| f.is_finite())
}

type Form = LazyLock<Option<Regex>>;

fn is_yaml_float(text: &str) -> bool {
    static FORM: Form =
        LazyLock::new(|| Regex::new(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$").ok());
    FORM.as_ref().is_some_and(|form| form.is_match(text))
}

/// Whether resolve.go accepts it as a date or time: `2006-1-2`, optionally with `T15:4:5.9Z07:00`, `t…` or ` 15:4:5.9`.
fn is_timestamp(text: &str) -> bool {
    const DATE: &str = "[0-9]{4}-(?:0?[0-9]|1[0-2])-(?:[0-2]?[0-9]|3[01])";
    const TIME: &str = r"(?:[01]?[0-9]|2[0-3]):[0-5]?[0-9]:[0-5]?[0-9](?:\..*)?";
    static FORM: Form = LazyLock::new(|| Regex::new(&format!("^{DATE}(?:[Tt]{TIME}(?:Z|[-+][^-+]*)| {TIME})?$")).ok());
    text.as_bytes().get(4) == Some(&b'-') && FORM.as_ref().is_some_and(|form| form.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Value<'_> {
        resolve(text, Style::Plain, None)
    }

    #[test]
    fn plain_scalars_resolve_like_go() {
        for (tag, texts) in [
            ("!!str", "yes on 12:30:45 2024-13-01 1e999 v1.2 1.2.3 -"),
            ("!!int", "017 0o17 1_000 0x1F +5 18446744073709551615"),
            ("!!timestamp", "2024-01-01"),
            ("!!float", "1.5 1. .5 1e3 18446744073709551616"),
            ("!!null", " ~"),
        ] {
            texts.split(' ').for_each(|text| assert_eq!(of(text).tag(), tag, "{text}"));
        }
        let tagged = |text, tag| resolve(text, Style::Plain, Some(tag)).tag();
        assert_eq!([tagged("4", "!"), tagged("4", "!own"), tagged("", "!own")], ["!!int", "!!str", "!!str"]);
        assert_eq!(of("017"), Value::Int(15));
        assert_eq!(of("-8"), Value::Int(-8));
    }
}
