//! Conversions between types, and type values.

use std::borrow::Cow;

use super::value::{Value, go_double};

/// Applies a conversion function such as `int(x)`.
///
/// # Errors
/// Returns cel-go's message.
pub(super) fn convert<'a>(name: &str, value: Value<'a>) -> Result<Value<'a>, String> {
    let result = match (name, &value) {
        ("int", Value::Int(_))
        | ("uint", Value::Uint(_))
        | ("double", Value::Double(_))
        | ("bool", Value::Bool(_))
        | ("string", Value::Str(_))
        | ("bytes", Value::Bytes(_)) => return Ok(value),
        (_, Value::Str(text)) => parse(name, text).ok_or(None),
        ("int", Value::Uint(n)) => i64::try_from(*n).map(Value::Int).map_err(|_| Some("integer overflow")),
        ("int", Value::Double(d)) => match *d > i64::MIN as f64 && *d < i64::MAX as f64 {
            true => Ok(Value::Int(*d as i64)),
            false => Err(Some("integer overflow")),
        },
        ("uint", Value::Int(n)) => u64::try_from(*n).map(Value::Uint).map_err(|_| Some("unsigned integer overflow")),
        ("uint", Value::Double(d)) => match *d >= 0.0 && *d < u64::MAX as f64 {
            true => Ok(Value::Uint(*d as u64)),
            false => Err(Some("unsigned integer overflow")),
        },
        ("double", Value::Int(n)) => Ok(Value::Double(*n as f64)),
        ("double", Value::Uint(n)) => Ok(Value::Double(*n as f64)),
        ("string", _) => return string(&value).map(|s| Value::Str(Cow::Owned(s))),
        _ => return Err(format!("no such overload: {name}({})", value.type_name())),
    };
    let from = value.type_name();
    result.map_err(|message| match message {
        Some(message) => message.to_owned(),
        None => format!("type conversion error from '{from}' to '{name}'"),
    })
}

fn parse(name: &str, text: &str) -> Option<Value<'static>> {
    match name {
        "int" => text.parse().ok().map(Value::Int),
        // Go accepts no sign here.
        "uint" => text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten().map(Value::Uint),
        "double" => parse_double(text).map(Value::Double),
        "bool" => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Value::Bool(false)),
            _ => None,
        },
        "bytes" => Some(Value::Bytes(text.as_bytes().into())),
        _ => None,
    }
}

fn string(value: &Value<'_>) -> Result<String, String> {
    match value {
        Value::Bool(b) => Ok(b.to_string()),
        Value::Int(n) => Ok(n.to_string()),
        Value::Uint(n) => Ok(n.to_string()),
        Value::Double(d) => Ok(go_double(*d, 6)),
        Value::Bytes(b) => std::str::from_utf8(b)
            .map(str::to_owned)
            .map_err(|_| "invalid UTF-8 in bytes, cannot convert to string".to_owned()),
        other => Err(format!("no such overload: string({})", other.type_name())),
    }
}

/// Go's strconv.ParseFloat without hexadecimal numbers: `_` is allowed between digits, and overflow is an error.
fn parse_double(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.split('_').collect();
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let fits = parts.windows(2).all(|pair| digit(pair[0].chars().next_back()) && digit(pair[1].chars().next()));
    let plain = fits.then(|| parts.concat())?;
    let value: f64 = plain.parse().ok()?;
    match plain.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str() {
        "nan" => (plain.len() == 3).then_some(value),
        "inf" | "infinity" => Some(value),
        _ => value.is_finite().then_some(value),
    }
}

/// Returns the Go type of a value, which one of cel-go's messages contains.
pub(super) fn go_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::Str(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Type(_) => "*types.Type",
        Value::List(_) | Value::Map(_) => "traits.Iterable",
    }
}
