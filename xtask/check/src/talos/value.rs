//! Decodes scalars as the YAML library and Talos's own types do (go.yaml.in/yaml v4.0.0-rc.4 internal/libyaml; the types that
//! decode themselves in siderolabs/talos pkg/machinery; netip, humanize.ParseBytes, time.ParseDuration).

use std::net::{IpAddr, Ipv6Addr};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use selector::time::duration;
use yaml::{Node, Value};

/// Decodes like Go, which ignores bits after the last byte.
pub const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
/// What Talos shows instead of a key, and accepts back.
const REDACTED: &str = "******";

/// Returns true if a scalar other than null decodes into a type of the table.
pub fn decodes(node: &Node, kind: &str) -> bool {
    let (Some(value), Some(scalar)) = (node.value(), node.scalar()) else { return false };
    let text = scalar.text.as_str();
    match kind {
        // Go decodes any scalar into a string; only the machine compiles a selector.
        "string" | "arg" | "text" | "cel" => true,
        "bool" => match value {
            Value::Bool(_) => true,
            Value::Str(text) => {
                matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off") && is_cased(text)
            }
            _ => false,
        },
        "float32" | "float64" => matches!(value, Value::Int(_) | Value::Float(_)),
        "duration" => match value {
            Value::Int(number) => number == 0,
            Value::Str(text) => duration(text).is_some(),
            _ => false,
        },
        "addr" => text.is_empty() || address(text).is_some(),
        "prefix" => text.is_empty() || prefix(text),
        "addrport" => text.is_empty() || address_and_port(text),
        "bytesize" => text.is_empty() || byte_count(text.strip_prefix('-').unwrap_or(text)).is_some(),
        "disksize" => byte_count(text).is_some(),
        "diskmatch" => disk_match(text),
        "percentage" => text.is_empty() || percentage(text),
        "size" if text.contains('%') => percentage(text),
        "size" => text.is_empty() || byte_count(text.strip_prefix('-').unwrap_or(text)).is_some(),
        "base64" => base64(text),
        "base64key" => text == REDACTED || base64(text),
        "mac" => {
            let digits = text.replace(':', "");
            digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        "failovermac" => matches!(text, "" | "none" | "active" | "follow" | "0" | "1" | "2" | "00" | "01" | "02"),
        "machinetype" => matches!(text, "" | "init" | "controlplane" | "worker" | "join" | "unknown"),
        "portrange" => {
            let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
            integer(value, 0, u16::MAX.into())
                || text.split_once('-').is_some_and(|(low, high)| port(low) && port(high))
        }
        "url" | "endpoint" => url(text),
        _ => match range(kind) {
            Some((low, high)) => integer(value, low, high),
            // A mapping or a list is expected.
            None => false,
        },
    }
}

/// Returns true for a type whose values, or values written in their place, must not be shown.
pub fn may_be_secret(kind: &str) -> bool {
    kind.starts_with("base64") || kind.contains(['.', '[', '{']) || matches!(kind, "object" | "url" | "endpoint")
}

/// Returns true for `yes`, `Yes` and `YES`, not `yEs`.
fn is_cased(text: &str) -> bool {
    let tail = text.get(1..).unwrap_or_default();
    tail == tail.to_lowercase() || text == text.to_uppercase()
}

fn range(kind: &str) -> Option<(i128, i128)> {
    let (signed, bits) = match kind.strip_prefix('u') {
        Some(rest) => (false, rest.strip_prefix("int")?),
        None => (true, kind.strip_prefix("int")?),
    };
    let bits: u32 = if bits.is_empty() { 64 } else { bits.parse().ok()? };
    Some(if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) })
}

/// Returns true for a whole number in range, also when written as 1.0 or 1e3.
fn integer(value: Value<'_>, low: i128, high: i128) -> bool {
    let number = match value {
        Value::Int(number) => number,
        Value::Float(number) if number.fract() == 0.0 => number as i128,
        _ => return false,
    };
    (low..=high).contains(&number)
}

/// Parses like netip.ParseAddr: an IPv6 address may have a zone.
pub fn address(text: &str) -> Option<IpAddr> {
    match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// Parses like netip.ParsePrefix.
pub fn prefix(text: &str) -> bool {
    let Some((address, bits)) = text.rsplit_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let plain = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    let most = if address.is_ipv4() { 32 } else { 128 };
    plain && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// Parses like netip.ParseAddrPort.
fn address_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    port && match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').and_then(address).is_some_and(|address| address.is_ipv6()),
        None => address(host).is_some_and(|address| address.is_ipv4()),
    }
}

/// Parses like humanize.ParseBytes.
pub fn byte_count(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.replace(',', "").parse().ok()?;
    let unit = unit.trim().to_lowercase();
    let letters = unit.strip_suffix('b').unwrap_or(&unit);
    let (letters, base) = match letters.strip_suffix('i') {
        Some(letters) if !letters.is_empty() => (letters, 1024_f64),
        _ => (letters, 1000.0),
    };
    let power = ["", "k", "m", "g", "t", "p", "e"].iter().position(|known| *known == letters)?;
    Some(number * base.powi(power as i32)).filter(|bytes| *bytes < u64::MAX as f64)
}

fn percentage(text: &str) -> bool {
    let number = text.strip_suffix('%').map(|text| text.strip_prefix('-').unwrap_or(text));
    number.is_some_and(|number| number.parse::<f64>().is_ok_and(|number| (0.0..=100.0).contains(&number)))
}

/// Returns true for an optional operator and a size.
fn disk_match(text: &str) -> bool {
    let text = text.trim();
    let size = [">=", "<=", "==", ">", "<"].iter().find_map(|operator| text.strip_prefix(operator)).unwrap_or(text);
    byte_count(size.trim()).is_some()
}

fn base64(text: &str) -> bool {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    BASE64.decode(text).is_ok()
}

/// Parses like url.Parse of Go 1.26, without its rules for zones.
fn url(text: &str) -> bool {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    if text == "*" || text.chars().any(|c| c.is_ascii_control()) || !is_escaped(fragment) {
        return text == "*";
    }
    let word = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(text.len());
    let (scheme, rest) = match text.split_at(word) {
        (word, rest) if rest.starts_with(':') && word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            (word, &rest[1..])
        }
        ("", rest) if rest.starts_with(':') => return false,
        _ => ("", text),
    };
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        // After a scheme without a slash anything is valid; without a scheme the first segment has no colon.
        let first = rest.split('/').next().unwrap_or_default();
        return !scheme.is_empty() || !first.contains(':') && is_escaped(rest);
    }
    let authority = rest.strip_prefix("//").filter(|rest| !scheme.is_empty() || !rest.starts_with('/'));
    let Some(authority) = authority else { return is_escaped(rest) };
    let (authority, path) = authority.find('/').map_or((authority, ""), |at| authority.split_at(at));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let known = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    user.chars().all(known) && is_escaped(user) && is_host(scheme, host) && is_escaped(path)
}

/// Returns true if every `%` is followed by two hexadecimal digits.
fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|part| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// Returns true for a host with an optional port.
fn is_host(scheme: &str, text: &str) -> bool {
    let port = |port: &str| {
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
    };
    if let Some(at) = text.rfind('[') {
        let inside = text.strip_prefix('[').and_then(|text| text.rsplit_once(']'));
        let v6 = |host: &str| address(&host.replace("%25", "%")).is_some_and(|address| address.is_ipv6());
        return at == 0 && inside.is_some_and(|(host, rest)| port(rest) && v6(host));
    }
    let colon = if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") {
        text.find(':')
    } else {
        text.rfind(':')
    };
    // An escape in a host represents a byte beyond ASCII, or `%`.
    let escapes = text.split('%').skip(1).all(|part| {
        part.starts_with("25") || part.starts_with(|c: char| matches!(c, '8' | '9' | 'a'..='f' | 'A'..='F'))
    });
    let known = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:[]<>\"%".contains(c);
    colon.is_none_or(|at| port(&text[at..])) && is_escaped(text) && escapes && text.chars().all(known)
}
