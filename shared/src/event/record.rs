//! One element of `Records`: its members as written, then what they mean.

use base64_simd::STANDARD;

use crate::clock::EpochMicros;
use crate::record::SequenceNumber;
use crate::unpack::change::{ChangeRecord, DYNAMODB, Images};
use crate::unpack::json::{Cursor, Malformed, RawStr};

use super::{Problem, Source, lossy};

/// The `eventSource` of records of a Kinesis stream.
const KINESIS: &[u8] = b"aws:kinesis";

/// Members of a record, in whatever order they came; of a key that occurs twice the last one counts.
#[derive(Debug, Default)]
pub(super) struct RawRecord<'a> {
    event_id: Option<RawStr<'a>>,
    source: Option<RawStr<'a>>,
    arn: Option<RawStr<'a>>,
    kinesis: Option<RawKinesis<'a>>,
    name: Option<RawStr<'a>>,
    identity: Option<&'a [u8]>,
    dynamodb: Option<Images<'a>>,
    /// The whole element of `Records`.
    written: &'a [u8],
}

#[derive(Debug, Default)]
struct RawKinesis<'a> {
    sequence: Option<RawStr<'a>>,
    arrived_at: Option<&'a [u8]>,
    data: Option<RawStr<'a>>,
}

/// Members of the record before, by position. All records of an event but for their numbers and data
/// are written alike, and comparing is several times faster than reading. The same bytes mean the
/// same, so this changes no result.
#[derive(Debug, Default)]
pub(super) struct Memo<'a>(Vec<(&'a [u8], Field, RawStr<'a>)>);

/// Which member of a record a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Source,
    Arn,
    Name,
    Other,
}

impl<'a> RawRecord<'a> {
    /// Read the record at the cursor.
    pub(super) fn read(cursor: &mut Cursor<'a>, memo: &mut Memo<'a>) -> Result<Self, Malformed> {
        let mut record = Self::default();
        let mut first = true;
        let mut position = 0;
        let start = cursor.position();
        cursor.enter_object()?;
        loop {
            if let Some((written, field, text)) = memo.0.get(position)
                && cursor.repeats(&mut first, written)
            {
                record.set(*field, Some(*text));
                position += 1;
                continue;
            }
            let Some(key) = cursor.next_key(&mut first)? else {
                record.written = cursor.written_from(start);
                return Ok(record);
            };
            let field = match key.raw {
                b"kinesis" => {
                    record.kinesis = RawKinesis::read(cursor)?;
                    continue;
                }
                b"dynamodb" => {
                    record.dynamodb = Images::read(cursor)?;
                    continue;
                }
                b"userIdentity" => {
                    record.identity = Some(cursor.raw_value()?);
                    continue;
                }
                b"eventID" => {
                    record.event_id = text_or_skip(cursor)?;
                    continue;
                }
                b"eventSource" | b"EventSource" => Field::Source,
                b"eventSourceARN" => Field::Arn,
                b"eventName" => Field::Name,
                _ => Field::Other,
            };
            let text = text_or_skip(cursor)?;
            record.set(field, text);
            if let Some(text) = text {
                memo.0.truncate(position);
                memo.0.push((cursor.written_since(key), field, text));
                position += 1;
            }
        }
    }

    fn set(&mut self, field: Field, text: Option<RawStr<'a>>) {
        match field {
            Field::Source => self.source = text,
            Field::Arn => self.arn = text,
            Field::Name => self.name = text,
            Field::Other => {}
        }
    }

    /// Which service's stream it is of.
    pub(super) fn source(&self) -> Result<Source, Problem> {
        match self.source.map(|source| source.raw) {
            None | Some(KINESIS) => Ok(Source::Kinesis),
            Some(DYNAMODB) => Ok(Source::DynamoDb),
            Some(source) => Err(Problem(format!(
                "comes from {}; this function takes events of aws:kinesis and aws:dynamodb",
                lossy(source)
            ))),
        }
    }

    /// The change, its position and arrival as the stream wrote them, and its text.
    pub(super) fn change(&self) -> Result<Change<'a>, Problem> {
        let images = self.dynamodb.ok_or_else(|| missing("dynamodb"))?;
        let digits = images.sequence.ok_or_else(|| missing("dynamodb.SequenceNumber"))?;
        let sequence = SequenceNumber::parse(digits.raw).map_err(|problem| {
            Problem(format!("dynamodb.SequenceNumber {}: {problem}", lossy(digits.raw)))
        })?;
        let name = "dynamodb.ApproximateCreationDateTime";
        let arrived_at = micros(name, images.created)?;
        let record = ChangeRecord { name: self.name, identity: self.identity, images };
        let padded_to = (digits.raw.len() > 1 && digits.raw[0] == b'0').then_some(digits.raw.len());
        Ok(Change { sequence, padded_to, arrived_at, record, written: self.written })
    }

    /// ARN of the stream.
    pub(super) fn arn(&self) -> Result<RawStr<'a>, Problem> {
        self.arn.ok_or_else(|| missing("eventSourceARN"))
    }

    /// What tells a change from all others.
    pub(super) fn event_id(&self) -> Result<RawStr<'a>, Problem> {
        self.event_id.ok_or_else(|| missing("eventID"))
    }

    /// ARN of the stream and id of the shard.
    pub(super) fn origin(&self) -> Result<(RawStr<'a>, &'a [u8]), Problem> {
        let (arn, id) = (self.arn()?, self.event_id()?);
        match memchr::memchr(b':', id.raw) {
            Some(at) if at > 0 && !id.escaped => Ok((arn, &id.raw[..at])),
            _ => Err(Problem(format!("eventID {} is not <shard>:<sequence number>", lossy(id.raw)))),
        }
    }

    fn kinesis(&self) -> Result<&RawKinesis<'a>, Problem> {
        self.kinesis.as_ref().ok_or_else(|| missing("kinesis"))
    }

    /// The record's position.
    pub(super) fn sequence(&self) -> Result<SequenceNumber, Problem> {
        let digits = self.kinesis()?.sequence.ok_or_else(|| missing("kinesis.sequenceNumber"))?;
        SequenceNumber::parse(digits.raw)
            .map_err(|problem| Problem(format!("kinesis.sequenceNumber {}: {problem}", lossy(digits.raw))))
    }

    /// When the stream took it.
    pub(super) fn arrived_at(&self) -> Result<EpochMicros, Problem> {
        micros("kinesis.approximateArrivalTimestamp", self.kinesis()?.arrived_at)
    }

    /// Append the payload.
    pub(super) fn decode_data(&self, out: &mut Vec<u8>, escapes: &mut Vec<u8>) -> Result<(), Problem> {
        let data = self.kinesis()?.data.ok_or_else(|| missing("kinesis.data"))?;
        let mut base64 = data.raw;
        if data.escaped {
            // Some encoders write `\/`.
            escapes.clear();
            data.unescape_into(escapes).ok_or_else(|| Problem("kinesis.data is not base64".to_owned()))?;
            base64 = escapes;
        }
        STANDARD.decode_append(base64, out).map_err(|_| Problem("kinesis.data is not base64".to_owned()))
    }
}

/// A change of a DynamoDB stream.
pub(super) struct Change<'a> {
    pub(super) sequence: SequenceNumber,
    /// Digits its number is written with, if that is with leading zeros.
    pub(super) padded_to: Option<usize>,
    pub(super) arrived_at: EpochMicros,
    pub(super) record: ChangeRecord<'a>,
    pub(super) written: &'a [u8],
}

fn micros(name: &str, seconds: Option<&[u8]>) -> Result<EpochMicros, Problem> {
    let number = seconds.ok_or_else(|| missing(name))?;
    let micros = seconds_to_micros(number);
    micros.map(EpochMicros).ok_or_else(|| Problem(format!("{name} {} is out of range", lossy(number))))
}

impl<'a> RawKinesis<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Option<Self>, Malformed> {
        if cursor.null()? {
            return Ok(None);
        }
        let mut kinesis = Self::default();
        let mut first = true;
        cursor.enter_object()?;
        while let Some(key) = cursor.next_key(&mut first)? {
            match key.raw {
                b"data" if cursor.peek() == Some(b'"') => kinesis.data = Some(cursor.unchecked_string()?),
                b"sequenceNumber" => kinesis.sequence = text_or_skip(cursor)?,
                b"approximateArrivalTimestamp" => kinesis.arrived_at = number_or_skip(cursor)?,
                _ => cursor.skip_value()?,
            }
        }
        Ok(Some(kinesis))
    }
}

fn missing(name: &str) -> Problem {
    Problem(format!("{name} is missing"))
}

fn text_or_skip<'a>(cursor: &mut Cursor<'a>) -> Result<Option<RawStr<'a>>, Malformed> {
    if cursor.peek() == Some(b'"') {
        return cursor.string().map(Some);
    }
    cursor.skip_value().map(|()| None)
}

fn number_or_skip<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    if matches!(cursor.peek(), Some(b'-' | b'0'..=b'9')) {
        return cursor.number().map(Some);
    }
    cursor.skip_value().map(|()| None)
}

/// Decimal seconds, a JSON number, to microseconds: exact in decimal, never by way of a binary float,
/// with digits below the microsecond rounded (writers that used one print `.98699999`). `None` beyond
/// the years 1 … 9999.
fn seconds_to_micros(number: &[u8]) -> Option<i64> {
    const LIMIT: i128 = 253_402_300_800_000_000;
    let (negative, digits) = match number.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, number),
    };
    let (digits, exponent) = match digits.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&digits[..at], std::str::from_utf8(&digits[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (mut mantissa, mut scale, mut in_fraction) = (0i128, exponent.checked_add(6)?, false);
    for &b in digits {
        match b {
            b'.' => in_fraction = true,
            // More digits than any time has: the rest is below its rounding.
            _ if mantissa > i128::MAX / 1_000_000_000_000 => {
                scale = scale.checked_add(i32::from(!in_fraction))?
            }
            _ => {
                mantissa = mantissa * 10 + i128::from(b - b'0');
                scale = scale.checked_sub(i32::from(in_fraction))?;
            }
        }
    }
    let micros = match u32::try_from(scale) {
        _ if mantissa == 0 => 0,
        Ok(up) => mantissa.checked_mul(10i128.checked_pow(up)?)?,
        Err(_) => match 10i128.checked_pow(scale.unsigned_abs()) {
            Some(down) => (mantissa + down / 2) / down,
            None => 0,
        },
    };
    (micros < LIMIT).then_some(if negative { -micros } else { micros } as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        let cases: &[(&str, Option<i64>)] = &[
            ("1545084650.987", Some(1_545_084_650_987_000)),
            ("1668092612.992", Some(1_668_092_612_992_000)),
            ("1.668092612992E9", Some(1_668_092_612_992_000)),
            ("1668092612992e-3", Some(1_668_092_612_992_000)),
            ("1668092612.123456", Some(1_668_092_612_123_456)),
            ("1545084650.9869999886", Some(1_545_084_650_987_000)),
            ("1480642020", Some(1_480_642_020_000_000)),
            ("0", Some(0)),
            ("0.000001", Some(1)),
            ("-1.5", Some(-1_500_000)),
            ("0e999999999", Some(0)),
            ("1e-999999999", Some(0)),
            ("1e12", None),
            ("1e999999999", None),
            ("1e99999999999999", None),
            ("1.00000000000000000000000000000000000000000000000000", Some(1_000_000)),
            ("10000000000000000000000000000000000000000000000000000", None),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds_to_micros(text.as_bytes()), *expected, "{text}");
        }
    }
}
