//! Container logs for users and assistants: time, level, message and fields instead of JSON, and similar lines counted.
//!
//! Omni and the provider log JSON with the keys of zap (`level`, `msg`, `ts`, `caller`; uber-go/zap `NewProductionConfig`) and of
//! cosi-project/runtime; other containers log plain text. `docker compose logs --timestamps` adds the time before each line.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// Keys that have their own column or are of no use to an operator.
const OMITTED: [&str; 11] =
    ["level", "msg", "ts", "caller", "stacktrace", "logger", "controller", "namespace", "type", "job", "busy"];

/// Lines are truncated to this many characters.
const LONGEST: usize = 600;

/// Lines that differ only in their time and numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repeated {
    /// The newest of the lines, without its time.
    pub line: String,
    pub times: usize,
    pub first: String,
    pub last: String,
}

/// Groups and counts similar lines of `log`, newest first.
pub fn count_similar_lines(log: &str) -> Vec<Repeated> {
    let mut found: Vec<Repeated> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (time, text) in log.lines().rev().map(split_time).filter(|(_, text)| !text.trim().is_empty()) {
        let mut pattern: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
        while pattern.contains("00") {
            pattern = pattern.replace("00", "0");
        }
        let place = *places.entry(pattern).or_insert(found.len());
        match found.get_mut(place) {
            Some(known) => {
                known.times += 1;
                known.first = time;
            }
            None => {
                let line = text.chars().take(LONGEST).collect();
                found.push(Repeated { line, times: 1, first: time.clone(), last: time });
            }
        }
    }
    found
}

/// Formats every line of `log` with [`format_line`].
pub fn format_log(log: &str) -> String {
    log.lines().map(|line| format_line(line) + "\n").collect()
}

/// Formats a line of JSON as `2026-11-28 20:59:31  error  machine provision failed  error="…"`; other lines keep their text.
pub fn format_line(line: &str) -> String {
    match split_time(line) {
        (time, text) if time.is_empty() => text,
        (time, text) => format!("{time}  {text}"),
    }
}

/// Returns the time of a line, empty if there is none, and its text.
fn split_time(line: &str) -> (String, String) {
    let stamped = line.split_once(' ').and_then(|(stamp, rest)| Some((format_time(stamp)?, rest)));
    let (time, rest) = stamped.unwrap_or_else(|| (String::new(), line));
    let text = rest.trim_start().starts_with('{').then(|| entry(rest)).flatten();
    (time, text.unwrap_or_else(|| rest.to_owned()))
}

/// Formats a JSON log entry; `None` if it is not one.
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

/// Returns `2026-11-28 20:59:31` for `2026-11-28T20:59:31.123456789Z`.
fn format_time(stamp: &str) -> Option<String> {
    crate::clock::parse_rfc3339(stamp)?;
    let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
    Some(format!("{date} {}", time.get(..8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_line_converts_only_json() {
        let rows: Vec<[String; 2]> = serde_yaml::from_str(include_str!("../tests/corpus/log.yaml")).unwrap();
        for [line, shown] in rows {
            assert_eq!(format_line(&line), shown);
        }
        assert_eq!(format_log("a\nb"), "a\nb\n");
    }

    #[test]
    fn similar_lines_are_counted() {
        let line = |second: u32, attempt: u32| {
            format!(
                "2026-11-28T20:59:{second:02}.5Z {{\"level\":\"error\",\"ts\":{second}.5,\"msg\":\"failed\",\"attempt\":{attempt}}}\n"
            )
        };
        let log = line(1, 9) + "2026-11-28T20:59:02Z other\n" + &line(3, 10) + &line(14, 111);
        let found = count_similar_lines(&log);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].line.as_str(), found[0].times), ("error  failed  attempt=111", 3));
        assert_eq!((found[0].first.as_str(), found[0].last.as_str()), ("2026-11-28 20:59:01", "2026-11-28 20:59:14"));
        assert_eq!((found[1].line.as_str(), found[1].times), ("other", 1));
        assert_eq!(count_similar_lines("\n"), []);
    }
}
