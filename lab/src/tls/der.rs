//! The few forms of DER (ITU-T X.690) that a certificate needs.
//!
//! Every function returns a complete element: tag, length, content. Elements nest by concatenation.

use std::time::{SystemTime, UNIX_EPOCH};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT: u8 = 0x80;
const CONSTRUCTED: u8 = 0x20;

/// Seconds of a day; certificates know no leap seconds.
const DAY: u64 = 86_400;

/// One element: a tag, the length of the content in its shortest form, the content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    }
    out.extend_from_slice(content);
    out
}

/// SEQUENCE of elements that are already encoded.
pub fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

/// SET with one member (all that a name needs, so the ordering rule of DER is met).
pub fn set_of_one(part: Vec<u8>) -> Vec<u8> {
    element(SET, &part)
}

/// A non-negative INTEGER from big-endian bytes: leading zeros removed, one added where the top bit is set.
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut content = bytes[zeros..].to_vec();
    if content.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.insert(0, 0);
    }
    element(INTEGER, &content)
}

/// BOOLEAN TRUE. FALSE is never written: where it is the default, DER leaves it out.
pub fn yes() -> Vec<u8> {
    vec![0x01, 0x01, 0xff]
}

/// OBJECT IDENTIFIER from its numbers. The first two must be a valid pair (0..=2, and below 40 for 0 and 1).
pub fn oid(numbers: &[u32]) -> Vec<u8> {
    let (head, tail) = numbers.split_at(2.min(numbers.len()));
    let first = head.first().copied().unwrap_or(0) * 40 + head.get(1).copied().unwrap_or(0);
    let mut content = Vec::new();
    for number in std::iter::once(&first).chain(tail) {
        let mut groups = vec![(number & 0x7f) as u8];
        let mut rest = number >> 7;
        while rest > 0 {
            groups.push(0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        content.extend(groups.iter().rev());
    }
    element(OID, &content)
}

/// UTF8String.
pub fn text(value: &str) -> Vec<u8> {
    element(UTF8_STRING, value.as_bytes())
}

/// OCTET STRING.
pub fn octets(content: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, content)
}

/// BIT STRING of whole bytes.
pub fn bits(content: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], content].concat())
}

/// BIT STRING of named bits: bit 0 is the highest of the first byte, trailing zero bits are left out as DER wants.
/// At least one bit must be named.
pub fn named_bits(set: &[u8]) -> Vec<u8> {
    let highest = set.iter().copied().max().unwrap_or(0);
    let mut content = vec![0u8; usize::from(highest / 8) + 1];
    for bit in set {
        content[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
    }
    element(BIT_STRING, &[&[7 - highest % 8], content.as_slice()].concat())
}

/// A context-specific element that wraps encoded content: `[number]`, constructed.
pub fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    element(CONTEXT | CONSTRUCTED | number, content)
}

/// A context-specific element in place of a primitive one: `[number] IMPLICIT`.
pub fn implicit(number: u8, content: &[u8]) -> Vec<u8> {
    element(CONTEXT | number, content)
}

/// A time in the form that RFC 5280 §4.1.2.5 wants: UTCTime through 2049, GeneralizedTime from 2050. Times before 1970
/// are written as 1970.
pub fn time(at: SystemTime) -> Vec<u8> {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / DAY);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let clock = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    if year < 2050 {
        element(UTC_TIME, format!("{:02}{clock}", year % 100).as_bytes())
    } else {
        element(GENERALIZED_TIME, format!("{year:04}{clock}").as_bytes())
    }
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`, for days not before it).
pub fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        assert_eq!(element(4, &[0; 0]), [4, 0]);
        assert_eq!(element(4, &[7; 127])[..2], [4, 0x7f]);
        assert_eq!(element(4, &[7; 128])[..3], [4, 0x81, 0x80]);
        assert_eq!(element(4, &[7; 256])[..4], [4, 0x82, 1, 0]);
    }

    #[test]
    fn integers_are_positive_and_minimal() {
        assert_eq!(unsigned(&[]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0x7f, 0xff]), [2, 2, 0x7f, 0xff]);
    }

    /// The example of X.690 §8.19.5, and one that every certificate here carries.
    #[test]
    fn object_identifiers() {
        assert_eq!(oid(&[2, 999, 3]), [6, 3, 0x88, 0x37, 3]);
        assert_eq!(oid(&[1, 2, 840, 10045, 2, 1]), [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]);
    }

    /// RFC 5280 §4.2.1.3: digitalSignature is bit 0, keyCertSign 5, cRLSign 6.
    #[test]
    fn named_bits_leave_out_trailing_zeros() {
        assert_eq!(named_bits(&[0]), [3, 2, 7, 0x80]);
        assert_eq!(named_bits(&[5, 6]), [3, 2, 1, 0x06]);
        assert_eq!(named_bits(&[8]), [3, 3, 7, 0, 0x80]);
    }

    #[test]
    fn times_change_their_form_in_2050() {
        assert_eq!(time(at(0))[2..], *b"700101000000Z");
        assert_eq!(time(at(951_782_400))[2..], *b"000229000000Z");
        assert_eq!(time(at(2_524_607_999)), [&[0x17, 13][..], b"491231235959Z"].concat());
        assert_eq!(time(at(2_524_608_000)), [&[0x18, 15][..], b"20500101000000Z"].concat());
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(47_540), (2100, 2, 28));
        assert_eq!(civil(47_541), (2100, 3, 1));
    }
}
