//! Texts and numbers to microseconds and days since the epoch, exactly or not at all.

use crate::number::POWERS;
use crate::scan;
use crate::schema::TimeFormat;

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `days_from_civil`).
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// Year, month, day of days since 1970-01-01 (ibid., `civil_from_days`).
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

#[inline]
fn digits(b: &[u8]) -> Option<i64> {
    let mut v = 0;
    for &d in b {
        let d = d.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        v = v * 10 + i64::from(d);
    }
    Some(v)
}

#[inline]
fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `2026-11-20` → days.
#[inline]
pub(crate) fn date(b: &[u8]) -> Option<i64> {
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    existing_day(digits(&b[..4])?, digits(&b[5..7])?, digits(&b[8..])?)
}

#[inline]
fn existing_day(year: i64, month: i64, day: i64) -> Option<i64> {
    let exists = year >= 1 && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    exists.then(|| days_from_civil(year, month, day))
}

/// RFC 3339 with an offset and at most six digits of a second (more only if they are zeros).
/// A leap second (`:60`) does not exist in this time scale and is refused.
#[inline]
pub(crate) fn rfc3339(b: &[u8]) -> Option<i64> {
    /// Which of the first 16 bytes are digits: `2026-11-20T00:00`.
    const DIGITS: u32 = 0b1101_1011_0110_1111;
    let minutes = b.first_chunk::<16>()?;
    if b.len() < 20 || scan::digits(u128::from_le_bytes(*minutes)) != DIGITS {
        return None;
    }
    if b[4] != b'-' || b[7] != b'-' || !matches!(b[10], b'T' | b't' | b' ') || b[13] != b':' || b[16] != b':'
    {
        return None;
    }
    let two = |at: usize| i64::from(minutes[at] & 15) * 10 + i64::from(minutes[at + 1] & 15);
    let days = existing_day(two(0) * 100 + two(2), two(5), two(8))?;
    let (h, m, s) = (two(11), two(14), digits(&b[17..19])?);
    if h > 23 || m > 59 || s > 59 {
        return None;
    }
    let mut at = 19;
    let mut micros = 0;
    if b[at] == b'.' {
        at += 1;
        let start = at;
        while let Some(digit @ b'0'..=b'9') = b.get(at) {
            let digit = i64::from(digit - b'0');
            match at - start {
                0..6 => micros = micros * 10 + digit,
                // Finer than microseconds: only nothing.
                _ if digit != 0 => return None,
                _ => {}
            }
            at += 1;
        }
        if at == start {
            return None;
        }
        micros *= POWERS[6 - (at - start).min(6)] as i64;
    }
    let offset_minutes = match b.get(at)? {
        b'Z' | b'z' if b.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if b.len() == at + 6 && b[at + 3] == b':' => {
            let (oh, om) = (digits(&b[at + 1..at + 3])?, digits(&b[at + 4..])?);
            if oh > 23 || om > 59 {
                return None;
            }
            if *sign == b'-' { -(oh * 60 + om) } else { oh * 60 + om }
        }
        _ => return None,
    };
    Some(((days * 24 + h) * 60 + m - offset_minutes) * 60_000_000 + s * 1_000_000 + micros)
}

/// A text by the column's format → microseconds.
#[inline]
pub(crate) fn timestamp_text(text: &str, format: &TimeFormat) -> Option<i64> {
    match format {
        TimeFormat::Rfc3339 => rfc3339(text.as_bytes()),
        TimeFormat::Strftime(pattern) => {
            let parsed = jiff::fmt::strtime::parse(pattern, text).ok()?;
            // jiff takes a leap second for the one before it.
            if parsed.second() == Some(59)
                && text.contains("60")
                && says_another_second(&parsed, pattern, text)
            {
                return None;
            }
            let instant = match (parsed.timestamp(), parsed.offset()) {
                (Some(instant), _) => instant,
                (None, Some(_)) => parsed.to_timestamp().ok()?,
                (None, None) => jiff::tz::TimeZone::UTC.to_timestamp(parsed.to_datetime().ok()?).ok()?,
            };
            (instant.subsec_nanosecond() % 1_000 == 0).then(|| instant.as_microsecond())
        }
        _ => None,
    }
}

/// Whether `60` stands in the text where the time read from it has `59`.
#[cold]
fn says_another_second(parsed: &jiff::fmt::strtime::BrokenDownTime, pattern: &str, text: &str) -> bool {
    let Ok(read) = parsed.to_string(pattern) else { return false };
    let mut pairs = text.as_bytes().windows(2).zip(read.as_bytes().windows(2));
    text.len() == read.len() && pairs.any(|(written, read)| written == b"60" && read == b"59")
}

/// A text by the column's format → days.
pub(crate) fn date_text(text: &str, format: &TimeFormat) -> Option<i32> {
    let days = match format {
        TimeFormat::Strftime(pattern) => {
            let d = jiff::fmt::strtime::parse(pattern, text).ok()?.to_date().ok()?;
            days_from_civil(d.year().into(), d.month().into(), d.day().into())
        }
        _ => date(text.as_bytes())?,
    };
    i32::try_from(days).ok()
}
