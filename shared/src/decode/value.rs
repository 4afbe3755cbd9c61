//! One JSON scalar into one leaf: converted exactly, checked, or refused with what was expected and
//! found. Both paths of decode end here, so they cannot disagree on values.

use std::ops::RangeInclusive;

use base64_simd::STANDARD;
use sha2::{Digest, Sha256};

use crate::columns::{Headed, LeafColumn, Values};
use crate::dead_letter::Reason;
use crate::limits::{TIME_DAYS, TIME_MICROS};
use crate::schema::{TimeFormat, Transform};

use super::plan::{Bound, LeafKind, Rules};
use super::time;
use crate::number::{self, POWERS, POWERS_F64, Short};

/// Why a value was refused; the path is added on the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) reason: Reason,
    pub(crate) path: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// Refusals are rare: keep the good path's result one word wide.
pub(crate) type Checked<T = ()> = Result<T, Box<Violation>>;

const MICROS_A_DAY: i128 = 86_400_000_000;
/// Longest text quoted in `found`.
const FOUND_CHARS: usize = 80;

impl Violation {
    pub(crate) fn new(reason: Reason, expected: impl Into<String>, found: &str) -> Box<Self> {
        let mut short: String = found.chars().take(FOUND_CHARS).collect();
        if short.len() < found.len() {
            short.push('…');
        }
        Box::new(Self { reason, path: String::new(), expected: expected.into(), found: short })
    }

    /// The same, below `parent` (`items`, `[2]`).
    pub(crate) fn under(mut self: Box<Self>, parent: &str) -> Box<Self> {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{parent}{dot}{}", self.path);
        self
    }
}

impl LeafKind {
    pub(crate) fn expected(&self) -> String {
        match self {
            LeafKind::Bool => "boolean".into(),
            LeafKind::Int32 { min, max } => format!("integer from {min} to {max}"),
            LeafKind::Int64 => "integer of 64 bits".into(),
            LeafKind::Float => "number (float)".into(),
            LeafKind::Double => "number (double)".into(),
            LeafKind::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            LeafKind::Text { max_chars: None } => "string".into(),
            LeafKind::Text { max_chars: Some(n) } => format!("string of at most {n} characters"),
            LeafKind::Json => "any value".into(),
            LeafKind::Timestamp(f) => format!("timestamp ({})", format_name(f)),
            LeafKind::Date(f) => format!("date ({})", format_name(f)),
            LeafKind::Binary => "binary (base64 string)".into(),
        }
    }

    pub(crate) fn wrong_type(&self, found: &str) -> Box<Violation> {
        Violation::new(Reason::WrongType, self.expected(), found)
    }
}

fn format_name(format: &TimeFormat) -> &str {
    match format {
        TimeFormat::Rfc3339 => "rfc3339, at most microseconds",
        TimeFormat::EpochSeconds => "epoch_s, at most microseconds",
        TimeFormat::EpochMillis => "epoch_ms, at most microseconds",
        TimeFormat::EpochMicros => "epoch_us",
        TimeFormat::Strftime(pattern) => pattern,
    }
}

/// A JSON number into a leaf.
pub(crate) fn push_number(
    kind: &LeafKind,
    rules: Option<&Rules>,
    text: &[u8],
    leaf: &mut LeafColumn,
    rep: u8,
) -> Checked {
    match number::short(text, 0) {
        Some(short) if short.end == text.len() && push_short(kind, rules, short, text, leaf, rep)? => Ok(()),
        _ => push_any_number(kind, rules, text, leaf, rep),
    }
}

/// A JSON number of few digits, by the short way; `false`: that does not lead to `kind`.
#[inline(always)]
pub(crate) fn push_short(
    kind: &LeafKind,
    rules: Option<&Rules>,
    short: Short,
    text: &[u8],
    leaf: &mut LeafColumn,
    rep: u8,
) -> Checked<bool> {
    let Short { negative, unscaled, scale, .. } = short;
    match kind {
        &LeafKind::Int32 { min, max } if scale == 0 && unscaled >= min.into() && unscaled <= max.into() => {
            whole_bounds(rules, unscaled.into(), text)?;
            leaf.push_i32(unscaled as i32, rep);
        }
        LeafKind::Int64 if scale == 0 => {
            whole_bounds(rules, unscaled.into(), text)?;
            leaf.push_i64(unscaled, rep);
        }
        LeafKind::Double => {
            // Both are exact in a double, and so the quotient is the nearest one (Clinger, "How to Read
            // Floating Point Numbers Accurately").
            let v = unscaled as f64 / POWERS_F64[usize::from(scale & 7)];
            let v = if negative && unscaled == 0 { -0.0 } else { v };
            real_bounds(rules, v, text)?;
            leaf.push_f64(v, rep);
        }
        &LeafKind::Decimal { precision, scale: held } if scale <= held && precision <= 18 => {
            let v = i128::from(unscaled) * i128::from(POWERS[usize::from(held - scale)]);
            if v.unsigned_abs() >= POWERS[usize::from(precision)].into() {
                return Ok(false);
            }
            whole_bounds(rules, v, text)?;
            match &mut leaf.values {
                Values::Int32(_) => leaf.push_i32(v as i32, rep),
                Values::Int64(_) => leaf.push_i64(v as i64, rep),
                _ => return Ok(false),
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// A JSON number of any length into a leaf.
#[inline(never)]
pub(crate) fn push_any_number(
    kind: &LeafKind,
    rules: Option<&Rules>,
    text: &[u8],
    leaf: &mut LeafColumn,
    rep: u8,
) -> Checked {
    let refuse = |reason| Err(Violation::new(reason, kind.expected(), &String::from_utf8_lossy(text)));
    match kind {
        &LeafKind::Int32 { min, max } => {
            let Some(v) = number::integer(text) else { return refuse(not_whole(text)) };
            let in_range = i32::try_from(v).ok().filter(|v| (min..=max).contains(v));
            let Some(narrow) = in_range else { return refuse(Reason::OutOfRange) };
            whole_bounds(rules, v, text)?;
            leaf.push_i32(narrow, rep);
        }
        LeafKind::Int64 => {
            let Some(v) = number::integer(text) else { return refuse(not_whole(text)) };
            let Ok(narrow) = i64::try_from(v) else { return refuse(Reason::OutOfRange) };
            whole_bounds(rules, v, text)?;
            leaf.push_i64(narrow, rep);
        }
        LeafKind::Double | LeafKind::Float => {
            let parsed = fast_float2::parse::<f64, _>(text).ok().filter(|v| v.is_finite());
            let Some(v) = parsed else { return refuse(Reason::OutOfRange) };
            real_bounds(rules, v, text)?;
            if matches!(kind, LeafKind::Double) {
                if is_bent(text, v) {
                    return refuse(Reason::OutOfRange);
                }
                leaf.push_f64(v, rep);
            } else {
                // From the text, not from the double: rounding twice can end at the wrong neighbour.
                let narrow = fast_float2::parse::<f32, _>(text).ok().filter(|v| v.is_finite());
                let narrow = narrow.filter(|v| !is_bent(text, f64::from(*v)));
                let Some(narrow) = narrow else { return refuse(Reason::OutOfRange) };
                leaf.push_f32(narrow, rep);
            }
        }
        &LeafKind::Decimal { precision, scale } => {
            let Some(v) = number::scaled(text, scale) else { return refuse(Reason::OutOfRange) };
            if v.unsigned_abs() >= 10u128.pow(u32::from(precision)) {
                return refuse(Reason::OutOfRange);
            }
            whole_bounds(rules, v, text)?;
            match &mut leaf.values {
                Values::Int32(_) => leaf.push_i32(v as i32, rep),
                Values::Int64(_) => leaf.push_i64(v as i64, rep),
                _ => leaf.push_fixed(v, rep),
            }
        }
        LeafKind::Timestamp(format) => {
            let Some(unit) = epoch_scale(format) else { return Err(kind.wrong_type("number")) };
            let micros = number::scaled(text, unit).and_then(|v| i64::try_from(v).ok());
            let Some(v) = within(&TIME_MICROS, micros, kind, text)? else {
                return refuse(Reason::InvalidTime);
            };
            whole_bounds(rules, v.into(), text)?;
            leaf.push_i64(v, rep);
        }
        LeafKind::Date(format) => {
            let Some(unit) = epoch_scale(format) else { return Err(kind.wrong_type("number")) };
            let days = number::scaled(text, unit).map(|v| v.div_euclid(MICROS_A_DAY));
            let days = days.and_then(|v| i32::try_from(v).ok());
            let Some(v) = within(&TIME_DAYS, days, kind, text)? else {
                return refuse(Reason::InvalidTime);
            };
            whole_bounds(rules, v.into(), text)?;
            leaf.push_i32(v, rep);
        }
        LeafKind::Json => leaf.push_bytes(text, rep),
        LeafKind::Bool | LeafKind::Text { .. } | LeafKind::Binary => {
            return Err(kind.wrong_type("number"));
        }
    }
    Ok(())
}

/// The time, unless it lies outside of the years that a column takes.
#[inline]
fn within<T: PartialOrd>(
    years: &RangeInclusive<T>,
    time: Option<T>,
    kind: &LeafKind,
    text: &[u8],
) -> Checked<Option<T>> {
    match time {
        Some(time) if !years.contains(&time) => {
            let found = format!("{}, outside of the years 0001 to 9999", String::from_utf8_lossy(text));
            Err(Violation::new(Reason::InvalidTime, kind.expected(), &found))
        }
        time => Ok(time),
    }
}

/// Decimal places from a number of this format to microseconds; `None` if it is text.
fn epoch_scale(format: &TimeFormat) -> Option<u8> {
    match format {
        TimeFormat::EpochSeconds => Some(6),
        TimeFormat::EpochMillis => Some(3),
        TimeFormat::EpochMicros => Some(0),
        TimeFormat::Rfc3339 | TimeFormat::Strftime(_) => None,
    }
}

fn not_whole(text: &[u8]) -> Reason {
    let number::Digits { exponent, .. } = number::digits(text);
    if exponent < 0 { Reason::WrongType } else { Reason::OutOfRange }
}

/// A JSON string (unescaped) into a leaf. After a refusal the leaf may hold the value: whoever refuses a
/// row takes back all of it.
#[inline]
pub(crate) fn push_text(
    kind: &LeafKind,
    rules: Option<&Rules>,
    text: &str,
    leaf: &mut LeafColumn,
    rep: u8,
) -> Checked {
    push_headed(kind, rules, (text, Headed::from(text.as_bytes())), leaf, rep)
}

/// The same with a text whose first bytes are at hand.
#[inline(never)]
pub(crate) fn push_headed(
    kind: &LeafKind,
    rules: Option<&Rules>,
    (text, headed): (&str, Headed<'_>),
    leaf: &mut LeafColumn,
    rep: u8,
) -> Checked {
    match kind {
        LeafKind::Text { max_chars } => match rules {
            Some(rules) if !rules.transforms.is_empty() => {
                let text = transform(text, &rules.transforms);
                check_text(kind, Some(rules), *max_chars, &text)?;
                leaf.push_bytes(text.as_bytes(), rep);
            }
            // What a row before was allowed to hold is allowed still.
            _ => {
                if leaf.push_headed(headed.bytes(), headed.head(), rep) {
                    check_text(kind, rules, *max_chars, text)?;
                }
            }
        },
        LeafKind::Timestamp(format) => {
            if epoch_scale(format).is_some() {
                return Err(kind.wrong_type("string"));
            }
            let micros = time::timestamp_text(text, format);
            let Some(v) = within(&TIME_MICROS, micros, kind, text.as_bytes())? else {
                return Err(Violation::new(Reason::InvalidTime, kind.expected(), text));
            };
            whole_bounds(rules, v.into(), text.as_bytes())?;
            leaf.push_i64(v, rep);
        }
        LeafKind::Date(format) => {
            if epoch_scale(format).is_some() {
                return Err(kind.wrong_type("string"));
            }
            let days = time::date_text(text, format);
            let Some(v) = within(&TIME_DAYS, days, kind, text.as_bytes())? else {
                return Err(Violation::new(Reason::InvalidTime, kind.expected(), text));
            };
            whole_bounds(rules, v.into(), text.as_bytes())?;
            leaf.push_i32(v, rep);
        }
        LeafKind::Binary => {
            let Ok(bytes) = STANDARD.decode_to_vec(text.as_bytes()) else {
                return Err(Violation::new(Reason::WrongType, kind.expected(), text));
            };
            leaf.push_bytes(&bytes, rep);
        }
        _ => return Err(kind.wrong_type("string")),
    }
    Ok(())
}

/// `true` or `false` into a leaf.
#[inline]
pub(crate) fn push_bool(kind: &LeafKind, value: bool, leaf: &mut LeafColumn, rep: u8) -> Checked {
    match kind {
        LeafKind::Bool => leaf.push_bool(value.into(), rep),
        LeafKind::Json => leaf.push_bytes(if value { b"true" } else { b"false" }, rep),
        _ => return Err(kind.wrong_type("boolean")),
    }
    Ok(())
}

/// A map key (text in JSON, any scalar in the table) into its leaf.
pub(crate) fn push_key(kind: &LeafKind, text: &str, leaf: &mut LeafColumn, rep: u8) -> Checked {
    match kind {
        LeafKind::Bool if text == "true" || text == "false" => push_bool(kind, text == "true", leaf, rep),
        LeafKind::Bool => Err(Violation::new(Reason::WrongType, "map key that is a boolean", text)),
        LeafKind::Int32 { .. }
        | LeafKind::Int64
        | LeafKind::Float
        | LeafKind::Double
        | LeafKind::Decimal { .. } => match crate::scan::number_end(text.as_bytes(), 0) {
            Some(end) if end == text.len() => push_number(kind, None, text.as_bytes(), leaf, rep),
            _ => Err(Violation::new(Reason::WrongType, format!("map key, {}", kind.expected()), text)),
        },
        _ => push_text(kind, None, text, leaf, rep),
    }
}

fn check_text(kind: &LeafKind, rules: Option<&Rules>, max_chars: Option<u32>, text: &str) -> Checked {
    let limit = max_chars.map(|n| n as usize);
    if let Some(limit) = limit
        && text.len() > limit
        && text.chars().count() > limit
    {
        return Err(Violation::new(Reason::OutOfRange, kind.expected(), text));
    }
    let Some(rules) = rules else { return Ok(()) };
    let refuse = |expected: String| Err(Violation::new(Reason::Constraint, expected, text));
    if let Some(limit) = rules.max_length
        && text.len() > limit
        && text.chars().count() > limit
    {
        return refuse(format!("at most {limit} characters (weir.max_length)"));
    }
    if let Some(allowed) = &rules.allowed
        && !allowed.iter().any(|a| a == text)
    {
        return refuse(format!("one of {} (weir.enum)", allowed.join(", ")));
    }
    if let Some(pattern) = &rules.pattern
        && !pattern.is_match(text)
    {
        return refuse(format!("match of {} (weir.pattern)", pattern.as_str()));
    }
    Ok(())
}

fn transform(text: &str, transforms: &[Transform]) -> String {
    transforms.iter().fold(text.to_owned(), |text, transform| match transform {
        Transform::Trim => text.trim().to_owned(),
        Transform::Lower => text.to_lowercase(),
        Transform::Upper => text.to_uppercase(),
        Transform::Sha256 => {
            let hash = Sha256::digest(text.as_bytes());
            hash.iter()
                .flat_map(|b| [b >> 4, b & 15])
                .filter_map(|n| char::from_digit(n.into(), 16))
                .collect()
        }
    })
}

#[inline]
fn whole_bounds(rules: Option<&Rules>, v: i128, text: &[u8]) -> Checked {
    let Some(rules) = rules else { return Ok(()) };
    let below = matches!(rules.min, Some(Bound::Whole(min)) if v < min);
    let above = matches!(rules.max, Some(Bound::Whole(max)) if v > max);
    bounds_verdict(below, above, text)
}

/// Whether a whole number is written in digits alone, as identifiers and counts are, and the column
/// would hold another one. With a point or an exponent a number is a measure, and the nearest is right.
fn is_bent(text: &[u8], held: f64) -> bool {
    /// Any whole number of so few bytes is held exactly, by a `float` too.
    const ALWAYS_EXACT: usize = 7;
    text.len() > ALWAYS_EXACT
        && !text.iter().any(|b| matches!(b, b'.' | b'e' | b'E'))
        && number::integer(text) != Some(held as i128)
}

#[inline]
fn real_bounds(rules: Option<&Rules>, v: f64, text: &[u8]) -> Checked {
    let Some(rules) = rules else { return Ok(()) };
    let below = matches!(rules.min, Some(Bound::Real(min)) if v < min);
    let above = matches!(rules.max, Some(Bound::Real(max)) if v > max);
    bounds_verdict(below, above, text)
}

fn bounds_verdict(below: bool, above: bool, text: &[u8]) -> Checked {
    let expected = match (below, above) {
        (false, false) => return Ok(()),
        (true, _) => "a value not below weir.min",
        (_, true) => "a value not above weir.max",
    };
    Err(Violation::new(Reason::Constraint, expected, &String::from_utf8_lossy(text)))
}

/// The column's default (JSON text of a scalar) into its leaf.
pub(crate) fn push_default(
    kind: &LeafKind,
    rules: Option<&Rules>,
    json: &str,
    leaf: &mut LeafColumn,
    rep: u8,
) -> Checked {
    match json.as_bytes().first() {
        _ if matches!(kind, LeafKind::Json) => leaf.push_bytes(json.as_bytes(), rep),
        Some(b'"') => match serde_json::from_str::<String>(json) {
            Ok(text) => push_text(kind, rules, &text, leaf, rep)?,
            Err(_) => return Err(kind.wrong_type(json)),
        },
        Some(b't' | b'f') => push_bool(kind, json == "true", leaf, rep)?,
        _ => push_number(kind, rules, json.as_bytes(), leaf, rep)?,
    }
    Ok(())
}
