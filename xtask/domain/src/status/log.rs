//! Container logs for people: time, level, message and fields instead of JSON.
//!
//! Omni and the provider log JSON with zap's keys (`level`, `msg`, `ts`, `caller`; uber-go/zap `NewProductionConfig`), other
//! containers log plain text. `docker compose logs --timestamps` puts the time before each line.

use serde_json::{Map, Value};

/// Keys that are part of the line's own columns, or of no use to an operator.
const OMITTED: [&str; 6] = ["level", "msg", "ts", "caller", "stacktrace", "logger"];

/// Every line of `log` as [`readable_line`] prints it.
pub fn readable(log: &str) -> String {
    let mut text = String::with_capacity(log.len());
    for line in log.lines() {
        text.push_str(&readable_line(line));
        text.push('\n');
    }
    text
}

/// `2026-11-28 20:59:31  error  machine provision failed  error="…"` for a line of JSON; any other line keeps its text.
pub fn readable_line(line: &str) -> String {
    let (time, rest) = match line.split_once(' ') {
        Some((stamp, rest)) => match time_of(stamp) {
            Some(time) => (format!("{time}  "), rest),
            None => (String::new(), line),
        },
        None => (String::new(), line),
    };
    let text = rest.trim_start().starts_with('{').then(|| entry(rest)).flatten();
    format!("{time}{}", text.unwrap_or_else(|| rest.to_owned()))
}

/// The columns of a JSON log entry; `None` if it is not one.
fn entry(json: &str) -> Option<String> {
    let fields: Map<String, Value> = serde_json::from_str(json).ok()?;
    let (level, message) = (fields.get("level")?.as_str()?, fields.get("msg")?.as_str()?);
    let mut text = format!("{level:<5}  {message}");
    for (key, value) in fields.iter().filter(|(key, _)| !OMITTED.contains(&key.as_str())) {
        let value = match value {
            Value::String(word) if !word.is_empty() && !word.contains([' ', '"', '=']) => word.clone(),
            other => other.to_string(),
        };
        text.push_str(&format!("  {key}={value}"));
    }
    Some(text)
}

/// `2026-11-28 20:59:31` of `2026-11-28T20:59:31.123456789Z`.
fn time_of(stamp: &str) -> Option<String> {
    let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
    let time = time.get(..8)?;
    let digits = |text: &str, separator: u8| {
        text.bytes()
            .enumerate()
            .all(|(at, byte)| if [2, 5].contains(&at) { byte == separator } else { byte.is_ascii_digit() })
    };
    let valid = date.len() == 10 && digits(date.get(2..)?, b'-') && digits(time, b':');
    valid.then(|| format!("{date} {time}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_become_time_level_and_message() {
        for (line, shown) in [
            (
                r#"2026-11-28T20:59:31.123456789Z {"level":"error","ts":1764363571.1,"caller":"a.go:1","msg":"machine provision failed","machine":"demo-1","error":"failed to create: no space"}"#,
                r#"2026-11-28 20:59:31  error  machine provision failed  error="failed to create: no space"  machine=demo-1"#,
            ),
            (r#"{"level":"info","msg":"starting","count":3,"ok":true}"#, "info   starting  count=3  ok=true"),
            (r#"{"level":"warn","msg":"x","empty":"","nested":{"a":1}}"#, r#"warn   x  empty=""  nested={"a":1}"#),
        ] {
            assert_eq!(readable_line(line), shown);
        }
    }

    #[test]
    fn other_lines_keep_their_text() {
        for (line, shown) in [
            ("2026-11-28T20:59:31Z boot: 2026/11/28 Running", "2026-11-28 20:59:31  boot: 2026/11/28 Running"),
            ("plain text", "plain text"),
            ("", ""),
            ("2026-11-28T20:59:31Z {\"msg\":\"no level\"}", "2026-11-28 20:59:31  {\"msg\":\"no level\"}"),
            ("{broken", "{broken"),
            ("2026-11-28Tüüüü:31Z x", "2026-11-28Tüüüü:31Z x"),
        ] {
            assert_eq!(readable_line(line), shown);
        }
        assert_eq!(readable("a\nb"), "a\nb\n");
    }
}
