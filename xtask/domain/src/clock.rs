//! Conversion of dates and times, in UTC.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// Formats `time` as `2026-11-22T03:04:05Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Formats `seconds` since the Unix epoch as `2026-11-22T03:04:05Z`.
pub fn rfc3339_of(seconds: u64) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}

/// Returns `time` in seconds since the Unix epoch; 0 for earlier times.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Parses an RFC 3339 time, with or without dashes and colons, into seconds since the Unix epoch.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<Timestamp>().ok()?.as_second()).ok()
}

/// Formats `seconds` since the Unix epoch as a date, `2026-11-22`.
pub fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d").to_string()
}

/// Parses an HTTP date, `Sun, 22 Nov 2026 03:04:05 GMT` (RFC 9110, the only format still in use), into Unix seconds.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let time = DateTimeParser::new().parse_timestamp(text.strip_suffix(" GMT")?.to_owned() + " +0000").ok()?;
    u64::try_from(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn rfc3339_matches_the_calendar() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_795_316_645), "2026-11-22T03:04:05Z");
    }

    #[test]
    fn rfc3339_round_trips() {
        for seconds in [0, 951_782_399, 951_782_400, 1_795_316_645, 4_102_444_799] {
            let text = rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(super::parse_rfc3339(&text), Some(seconds));
            assert_eq!(super::parse_rfc3339(&text.replace(['-', ':'], "")), Some(seconds));
        }
        assert_eq!(super::parse_rfc3339("2026-13-01T00:00:00Z"), None);
        assert_eq!(date(1_795_316_645), "2026-11-22");
        assert_eq!(parse_http_date("Sun, 22 Nov 2026 03:04:05 GMT"), Some(1_795_316_645));
        for bad in ["", "Sun, 22 Nov 2026 03:04:05 CET", "Sunday", "Sun, 22 Foo 2026 03:04:05 GMT"] {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
    }
}
