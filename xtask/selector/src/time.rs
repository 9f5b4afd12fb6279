//! Durations and timestamps, as Go's time package reads and writes them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::stdlib::TimePart;

/// Timestamps run from year 1 to year 9999.
pub(super) const MIN_SECONDS: i64 = -62_135_596_800;
pub(super) const MAX_SECONDS: i64 = 253_402_300_799;

/// Go's time.ParseDuration, in nanoseconds: `1h30m`, `1.5h`, `-2s`, `0` (Go 1.26 time/format.go).
pub fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    // One more is what the least negative number is.
    const MOST: u64 = 1 << 63;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (fraction, tail) = match tail.strip_prefix('.') {
            Some(tail) => tail.split_at(tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len())),
            None => ("", tail),
        };
        if digits.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let scale: u64 = match &tail[..unit] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole = if digits.is_empty() { 0 } else { digits.parse::<u64>().ok()? };
        let part = whole.checked_mul(scale)?.checked_add(nanos(fraction, scale)).filter(|part| *part <= MOST)?;
        // Go looks at each part and at the sum, not at what the sum lost.
        total = Some(total.wrapping_add(part)).filter(|total| *total <= MOST)?;
        rest = &tail[unit..];
    }
    match (negative, total) {
        (true, MOST) => Some(i64::MIN),
        (true, total) => i64::try_from(total).ok().map(i64::wrapping_neg),
        (false, total) => i64::try_from(total).ok(),
    }
}

/// What the digits after the point are in nanoseconds, in Go's own floating point: what no longer fits 63 bits is dropped.
fn nanos(fraction: &str, scale: u64) -> u64 {
    let (mut number, mut tens) = (0_u64, 1.0);
    for digit in fraction.bytes().map(|digit| u64::from(digit - b'0')) {
        match number.checked_mul(10).and_then(|number| number.checked_add(digit)) {
            Some(next) if number <= (1 << 63) / 10 && next <= 1 << 63 => number = next,
            _ => break,
        }
        tens *= 10.0;
    }
    (number as f64 * (scale as f64 / tens)) as u64
}

/// RFC 3339 as Go's time.Parse reads it, which is laxer than the standard: an hour may have one digit, a comma may start
/// the fraction, and an offset may be up to 24:60 (Go 1.26 time/format.go). Seconds since 1970 and nanoseconds.
pub(super) fn timestamp(text: &str) -> Option<(i64, u32)> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    let month = digits(literal(&mut rest, '-')?, 2)?;
    let day = digits(literal(&mut rest, '-')?, 2)?;
    literal(&mut rest, 'T')?;
    let hour = digits(&mut rest, 2).or_else(|| digits(&mut rest, 1))?;
    let minute = digits(literal(&mut rest, ':')?, 2)?;
    let second = digits(literal(&mut rest, ':')?, 2)?;
    let nanos = fraction(&mut rest)?;
    let offset = if rest == "Z" { 0 } else { offset(rest)? };
    let [month, day, hour, minute, second] = [month, day, hour, minute, second].map(|number| number as i8);
    if second > 59 {
        return None;
    }
    let civil = DateTime::new(year as i16, month, day, hour, minute, second, 0).ok()?;
    let seconds = TimeZone::UTC.to_timestamp(civil).ok()?.as_second();
    Some((seconds - offset, nanos))
}

/// The number that so many digits at the start make; nothing is taken if there are fewer.
fn digits(rest: &mut &str, count: usize) -> Option<i64> {
    let number = rest.get(..count).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
    *rest = &rest[count..];
    number.parse().ok()
}

fn literal<'r, 't>(rest: &'r mut &'t str, wanted: char) -> Option<&'r mut &'t str> {
    *rest = rest.strip_prefix(wanted)?;
    Some(rest)
}

/// A fraction of a second, if there is one.
fn fraction(rest: &mut &str) -> Option<u32> {
    let Some(behind) = rest.strip_prefix(['.', ',']).filter(|f| f.starts_with(|c: char| c.is_ascii_digit())) else {
        return Some(0);
    };
    let len = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let digits = &behind[..len.min(9)];
    *rest = &behind[len..];
    Some(digits.parse::<u32>().ok()? * 10u32.pow(9 - digits.len() as u32))
}

/// `+02:00` in seconds.
fn offset(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let hours = digits(&mut rest, 2)?;
    let minutes = digits(literal(&mut rest, ':')?, 2)?;
    (rest.is_empty() && hours <= 24 && minutes <= 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// RFC 3339 in UTC with as many digits of the second as there are.
pub(super) fn show(seconds: i64, nanos: u32) -> String {
    let time = civil(seconds);
    let fraction = if nanos == 0 { String::new() } else { format!(".{nanos:09}").trim_end_matches('0').to_owned() };
    format!("{}{fraction}Z", time.strftime("%Y-%m-%dT%H:%M:%S"))
}

/// Date and time of day in UTC; the bounds of CEL's timestamps lie within those of the calendar.
fn civil(seconds: i64) -> DateTime {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    TimeZone::UTC.to_datetime(time)
}

/// A duration in seconds, as CEL's string() writes it.
pub(super) fn show_duration(nanos: i64) -> String {
    format!("{}s", nanos as f64 / 1e9)
}

/// What a method of a timestamp gives; the seconds are those of the time zone asked for.
pub(super) fn part(part: TimePart, seconds: i64, nanos: u32) -> i64 {
    let time = civil(seconds);
    match part {
        TimePart::FullYear => time.year().into(),
        TimePart::Month => i64::from(time.month()) - 1,
        TimePart::DayOfYear => i64::from(time.day_of_year()) - 1,
        TimePart::DayOfMonth => i64::from(time.day()) - 1,
        TimePart::Date => time.day().into(),
        TimePart::DayOfWeek => time.weekday().to_sunday_zero_offset().into(),
        TimePart::Hours => time.hour().into(),
        TimePart::Minutes => time.minute().into(),
        TimePart::Seconds => time.second().into(),
        TimePart::Milliseconds => i64::from(nanos / 1_000_000),
    }
}

/// What a method of a duration gives: the whole of it in that unit.
pub(super) fn duration_part(part: TimePart, nanos: i64) -> Option<i64> {
    match part {
        TimePart::Hours => Some(nanos / 3_600_000_000_000),
        TimePart::Minutes => Some(nanos / 60_000_000_000),
        TimePart::Seconds => Some(nanos / 1_000_000_000),
        TimePart::Milliseconds => Some(nanos / 1_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_what_go_reads() {
        // As Go 1.26's time.ParseDuration answered; 300,000 made up ones agreed when this was written.
        for (text, nanos) in [
            ("1h30m", 5_400_000_000_000),
            ("-1.5s", -1_500_000_000),
            ("+0", 0),
            ("1.h", 3_600_000_000_000),
            (".29s", 290_000_000),
            ("0.000013h", 46_800_000),
            ("000000000000000000000000000000000001h", 3_600_000_000_000),
            ("2562047h47m16.854775807s", i64::MAX),
            ("-2562047h47m16.854775808s", i64::MIN),
            ("9223372036854775808ns9223372036854775808ns", 0),
        ] {
            assert_eq!(duration(text), Some(nanos), "{text}");
        }
        for text in ["", "-", "--1s", ".s", "1", "1d", "1.2.3s", "9223372036854775808ns", "2562048h", "1h 30m"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
