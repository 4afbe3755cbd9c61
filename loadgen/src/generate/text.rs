//! Numbers and times as bytes at the end of a reused buffer.

use weir::clock::EpochMicros;
use weir::schema::{TableSchema, TimeFormat};

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Write decimal digits.
#[inline]
pub(super) fn digits(mut value: u64, out: &mut Vec<u8>) {
    let mut text = [0u8; 20];
    let mut at = text.len();
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[value as usize * 2..value as usize * 2 + 2]);
    } else {
        at -= 1;
        text[at] = b'0' + value as u8;
    }
    out.extend_from_slice(&text[at..]);
}

/// Write exactly `width` digits.
#[inline]
pub(super) fn padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + width, b'0');
    for digit in out[at..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Write a fixed-point number: `value` in units of 10^-`scale`.
#[inline]
pub(super) fn fixed(value: u64, scale: usize, out: &mut Vec<u8>) {
    let unit = 10u64.pow(scale as u32);
    digits(value / unit, out);
    if scale > 0 {
        out.push(b'.');
        padded(value % unit, scale, out);
    }
}

/// Write `text` as the inside of a JSON string.
pub(super) fn escaped(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend([b'\\', c as u8]),
            '\0'..='\x1f' => out.extend(format!("\\u{:04x}", c as u32).bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Writes times as a column's records hold them. Seconds repeat thousands of times under load, so
/// the text of the newest second is kept.
#[derive(Debug, Clone)]
pub(super) struct TimeWriter {
    format: TimeFormat,
    second: i64,
    text: Vec<u8>,
    /// Whether the pattern shows nothing below a second.
    whole_seconds: bool,
}

impl TimeWriter {
    pub(super) fn new(format: &TimeFormat) -> Self {
        let whole_seconds = match format {
            TimeFormat::Strftime(pattern) => {
                !["%f", "%.", "%N", "%L"].iter().any(|part| pattern.contains(part))
            }
            _ => false,
        };
        Self { format: format.clone(), second: i64::MIN, text: Vec::new(), whole_seconds }
    }

    /// The time as a JSON value, quotes included where it is a text.
    #[inline]
    pub(super) fn write(&mut self, time: EpochMicros, out: &mut Vec<u8>) {
        let second = time.0.div_euclid(1_000_000);
        match &self.format {
            TimeFormat::Rfc3339 => {
                self.fill(second, "\"%Y-%m-%dT%H:%M:%S.");
                out.extend_from_slice(&self.text);
                padded((time.0.rem_euclid(1_000_000) / 1_000) as u64, 3, out);
                out.extend_from_slice(b"Z\"");
            }
            TimeFormat::EpochSeconds => digits(second as u64, out),
            TimeFormat::EpochMillis => digits(time.millis() as u64, out),
            TimeFormat::EpochMicros => digits(time.0 as u64, out),
            TimeFormat::Strftime(pattern) => {
                let pattern = pattern.clone();
                out.push(b'"');
                if self.whole_seconds {
                    self.fill(second, &pattern);
                    out.extend_from_slice(&self.text);
                } else {
                    out.extend(strftime(&pattern, time.0).bytes());
                }
                out.push(b'"');
            }
        }
    }

    fn fill(&mut self, second: i64, pattern: &str) {
        if self.second != second {
            self.second = second;
            self.text = strftime(pattern, second * 1_000_000).into_bytes();
        }
    }
}

/// A time in UTC by a pattern.
pub(crate) fn strftime(pattern: &str, micros: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    jiff::fmt::strtime::format(pattern, &time.to_zoned(jiff::tz::TimeZone::UTC)).unwrap_or_default()
}

/// How the records of a table hold the time in a field.
pub(super) fn format_of(table: &TableSchema, field: &str) -> TimeFormat {
    let column = table.columns.iter().find(|c| c.from == [field]);
    column.map_or(TimeFormat::Rfc3339, |c| c.time_format.clone())
}
