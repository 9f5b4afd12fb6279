//! Dates as people and files write them, without a calendar library: the state and the error texts need UTC only.

use std::time::{SystemTime, UNIX_EPOCH};

use cel::calendar;

/// `time` as `2026-11-22T03:04:05Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = calendar::date(days as i64);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest % 3_600 / 60, rest % 60)
}

/// Seconds since 1970 of a date and time of day (hours, minutes, seconds) in UTC; `None` when there is no such date.
pub fn unix(year: i64, month: i64, day: i64, [hour, minute, second]: [i64; 3]) -> Option<u64> {
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !in_range {
        return None;
    }
    u64::try_from(calendar::days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second).ok()
}

/// The date of `seconds` since 1970, as `2026-11-22`.
pub fn date(seconds: u64) -> String {
    let (year, month, day) = calendar::date((seconds / 86_400) as i64);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Seconds since 1970 of an HTTP date, `Sun, 22 Nov 2026 03:04:05 GMT` (RFC 9110, the one form that is still sent).
pub fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, text) = text.split_once(", ")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let [day, month, year, time, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let time: Vec<i64> = time.split(':').map_while(|part| part.parse().ok()).collect();
    unix(year.parse().ok()?, month, day.parse().ok()?, time.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_795_316_645), "2026-11-22T03:04:05Z");
    }

    #[test]
    fn dates_are_read_back() {
        for seconds in [0, 951_782_399, 951_782_400, 1_795_316_645, 4_102_444_799] {
            let text = rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
            let field = |at: usize, length: usize| text[at..at + length].parse::<i64>().unwrap();
            let time = [field(11, 2), field(14, 2), field(17, 2)];
            assert_eq!(unix(field(0, 4), field(5, 2), field(8, 2), time), Some(seconds));
        }
        assert_eq!(unix(2026, 13, 1, [0, 0, 0]), None);
        assert_eq!(date(1_795_316_645), "2026-11-22");
        assert_eq!(http_date("Sun, 22 Nov 2026 03:04:05 GMT"), Some(1_795_316_645));
        for bad in ["", "Sun, 22 Nov 2026 03:04:05 CET", "Sunday", "Sun, 22 Foo 2026 03:04:05 GMT"] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }
}
