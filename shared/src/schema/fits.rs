//! Whether a text or a JSON value from a definition (`weir.min`, `weir.default`) is a value of a
//! Hive type. Data never comes here; decoding has its own, faster judge.

use jiff::fmt::strtime::BrokenDownTime;
use serde_json::Value;

use super::types::{HiveType, TimeFormat};
use crate::limits::TIME_MICROS;

/// Whether `value` is what a record could hold for a column of type `ty`; `null` always is.
pub(super) fn json_fits(value: &Value, ty: &HiveType, format: &TimeFormat) -> Result<(), String> {
    let wrong = || Err(format!("expected a JSON value of type {ty}, found {value}"));
    match (ty, value) {
        (_, Value::Null) => Ok(()),
        (HiveType::Boolean, Value::Bool(_)) => Ok(()),
        (HiveType::TinyInt | HiveType::SmallInt | HiveType::Int | HiveType::BigInt, Value::Number(n)) => {
            integer_fits(&n.to_string(), ty)
        }
        (HiveType::Float | HiveType::Double, Value::Number(_)) => Ok(()),
        (HiveType::Decimal { precision, scale }, Value::Number(n)) => {
            decimal_fits(&n.to_string(), *precision, *scale)
        }
        (HiveType::String, Value::String(_)) => Ok(()),
        (HiveType::Varchar(n) | HiveType::Char(n), Value::String(s)) => match s.chars().count() {
            length if length > *n as usize => Err(format!("{value} is longer than {ty} holds")),
            _ => Ok(()),
        },
        (HiveType::Timestamp | HiveType::Date, Value::Number(n)) => {
            let unit = match format {
                TimeFormat::EpochSeconds => 1e6,
                TimeFormat::EpochMillis => 1e3,
                TimeFormat::EpochMicros => 1.0,
                TimeFormat::Rfc3339 | TimeFormat::Strftime(_) => return wrong(),
            };
            let (first, last) = (*TIME_MICROS.start() as f64, *TIME_MICROS.end() as f64);
            match n.as_f64() {
                Some(n) if (first..last).contains(&(n * unit)) => Ok(()),
                _ => Err(format!("{value} is outside of the years 0001 to 9999")),
            }
        }
        (HiveType::Timestamp | HiveType::Date, Value::String(s)) => time_fits(s, ty, format),
        (HiveType::Binary, Value::String(s)) => match base64_simd::STANDARD.check(s.as_bytes()) {
            Ok(()) => Ok(()),
            Err(_) => Err(format!("{value} is not base64")),
        },
        (HiveType::Array(item), Value::Array(values)) => {
            values.iter().try_for_each(|value| json_fits(value, item, format))
        }
        (HiveType::Map(_, item), Value::Object(members)) => {
            members.values().try_for_each(|value| json_fits(value, item, format))
        }
        (HiveType::Struct(fields), Value::Object(members)) => {
            members.iter().try_for_each(|(key, value)| match fields.iter().find(|f| f.key == *key) {
                Some(field) => json_fits(value, &field.ty, format),
                None => Err(format!("{ty} has no field `{key}`")),
            })
        }
        _ => wrong(),
    }
}

/// Whether `text` is a whole number that `ty` holds.
pub(super) fn integer_fits(text: &str, ty: &HiveType) -> Result<(), String> {
    let (min, max) = match ty {
        HiveType::TinyInt => (i64::from(i8::MIN), i64::from(i8::MAX)),
        HiveType::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        HiveType::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    match text.parse::<i64>() {
        Ok(n) if (min..=max).contains(&n) => Ok(()),
        _ => Err(format!("`{text}` is not a number of type {ty} ({min} to {max})")),
    }
}

/// Whether `text` has no more digits than `decimal(precision,scale)` holds.
pub(super) fn decimal_fits(text: &str, precision: u8, scale: u8) -> Result<(), String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(format!("`{text}` is not a number as `-12.50`"));
    }
    let whole_digits = whole.trim_start_matches('0').len();
    let fraction_digits = fraction.trim_end_matches('0').len();
    if whole_digits > usize::from(precision - scale) || fraction_digits > usize::from(scale) {
        return Err(format!("`{text}` has more digits than decimal({precision},{scale}) holds"));
    }
    Ok(())
}

/// Whether `text` is a time in the column's format.
pub(super) fn time_fits(text: &str, ty: &HiveType, format: &TimeFormat) -> Result<(), String> {
    let wrong = |as_what: &str| Err(format!("`{text}` is not {as_what}"));
    match (format, ty) {
        (TimeFormat::Rfc3339, HiveType::Date) => match text.parse::<jiff::civil::Date>() {
            Ok(_) if text.len() == 10 => Ok(()),
            _ => wrong("a date as `2026-11-20`"),
        },
        (TimeFormat::Rfc3339, _) => match text.parse::<jiff::Timestamp>() {
            Ok(_) => Ok(()),
            Err(_) => wrong("a time as `2026-11-20T05:00:00Z`"),
        },
        (TimeFormat::Strftime(pattern), _) => pattern_reads(pattern, text, ty)
            .map_err(|problem| format!("`{text}` is not a time as `{pattern}`: {problem}")),
        _ => wrong("a number"),
    }
}

/// Reads `text` by `pattern` as far as `ty` needs: a date, or a date and a time (midnight when the
/// pattern has no time).
fn pattern_reads(pattern: &str, text: &str, ty: &HiveType) -> Result<(), String> {
    let time = BrokenDownTime::parse(pattern, text).map_err(|e| e.to_string())?;
    if *ty != HiveType::Date && time.timestamp().is_some() {
        return Ok(());
    }
    time.to_date().map_err(|e| e.to_string())?;
    if *ty != HiveType::Date {
        time.to_time().map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Whether a strftime pattern can read back what it writes, and what it reads is a whole time.
pub(super) fn check_pattern(pattern: &str, ty: &HiveType) -> Result<(), String> {
    if !pattern.contains('%') {
        return Err(format!(
            "`{pattern}` is none of rfc3339, epoch_s, epoch_ms, epoch_us and no strftime pattern as `%Y-%m-%d %H:%M:%S`"
        ));
    }
    let unclear = |directive: &str, why: &str| Err(format!("pattern `{pattern}`: {directive} {why}"));
    if pattern.contains("%Q") || pattern.contains("%:Q") {
        return unclear("%Q", "names a time zone whose rules change; take an offset, %z");
    }
    if (pattern.contains("%I") || pattern.contains("%l"))
        && !pattern.contains("%p")
        && !pattern.contains("%P")
    {
        return unclear("%I", "needs %p beside it to tell morning from evening");
    }
    let sample = jiff::civil::date(2026, 11, 20).at(5, 6, 7, 0).to_zoned(jiff::tz::TimeZone::UTC);
    let sample = sample.map_err(|e| e.to_string())?;
    BrokenDownTime::from(&sample)
        .to_string(pattern)
        .map_err(|e| e.to_string())
        .and_then(|text| pattern_reads(pattern, &text, ty))
        .map_err(|problem| format!("pattern `{pattern}` cannot be read: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_values_fit_their_types_or_not() {
        for (ty, fits, does_not) in [
            ("boolean", "true", "1"),
            ("tinyint", "-128", "128"),
            ("int", "2147483647", "2147483648"),
            ("bigint", "9223372036854775807", "1.0"),
            ("double", "1.5", "\"1.5\""),
            ("decimal(5,2)", "123.45", "123.456"),
            ("decimal(5,2)", "-0.5", "1000"),
            ("string", "\"a\"", "1"),
            ("varchar(2)", "\"éé\"", "\"abc\""),
            ("timestamp", "\"2026-11-20T05:00:00+01:00\"", "\"2026-11-20 05:00:00\""),
            ("date", "\"2026-02-28\"", "\"2026-02-30\""),
            ("binary", "\"aGk=\"", "\"?\""),
            ("array<int>", "[1,null]", "[\"1\"]"),
            ("map<string,int>", "{\"a\":1}", "{\"a\":\"1\"}"),
            ("struct<a:int>", "{\"a\":1}", "{\"b\":1}"),
        ] {
            let ty: HiveType = ty.parse().unwrap();
            let check =
                |text: &str| json_fits(&serde_json::from_str(text).unwrap(), &ty, &TimeFormat::Rfc3339);
            assert_eq!(check(fits), Ok(()), "{ty}");
            assert!(check(does_not).is_err(), "{ty} {does_not}");
            assert_eq!(check("null"), Ok(()), "{ty}");
        }
    }

    #[test]
    fn patterns_must_read_a_whole_time() {
        for (pattern, ty, good) in [
            ("%d/%b/%Y:%H:%M:%S %z", HiveType::Timestamp, true),
            ("%Y-%m-%d %H:%M:%S", HiveType::Timestamp, true),
            ("%Y-%m-%d", HiveType::Timestamp, true),
            ("%Y-%m", HiveType::Timestamp, false),
            ("%d/%m/%Y", HiveType::Date, true),
            ("%H:%M", HiveType::Date, false),
            ("%Q!", HiveType::Date, false),
            ("epoch", HiveType::Timestamp, false),
            ("%s", HiveType::Timestamp, true),
            ("%Y-%m-%d %I:%M:%S %p", HiveType::Timestamp, true),
            ("%Y-%m-%d %I:%M:%S", HiveType::Timestamp, false),
            ("%Y-%m-%dT%H:%M:%S%:z[%Q]", HiveType::Timestamp, false),
        ] {
            let found = check_pattern(pattern, &ty);
            assert_eq!(found.is_ok(), good, "{pattern}: {found:?}");
        }
    }
}
