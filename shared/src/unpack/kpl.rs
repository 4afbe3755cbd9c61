//! Aggregates of the Kinesis Producer Library → the ranges of their user records.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `F3 89 9A C2` |
//! | n | protobuf `AggregatedRecord`: 1 partition keys, 2 explicit hash keys, 3 records (1 key index, 2 hash key index, 3 data, 4 tags) |
//! | 16 | MD5 of the protobuf |
//!
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>. Never filters
//! by hash range: a record that a reshard moved would be lost.

use std::ops::Range;

use md5::{Digest, Md5};

/// First bytes of an aggregate.
pub(crate) const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const DIGEST_BYTES: usize = 16;

/// What a payload that starts with the magic is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Aggregate {
    /// The trailer does not match: a plain record, as the KCL treats it.
    Plain,
    /// The trailer matches and the content is no aggregate.
    Broken(&'static str),
    /// Where the data of each user record stands in the payload, in order.
    Records(Vec<Range<usize>>),
}

/// Read a payload that starts with [`MAGIC`].
pub(crate) fn read(payload: &[u8]) -> Aggregate {
    let Some(end) = payload.len().checked_sub(DIGEST_BYTES).filter(|end| *end >= MAGIC.len()) else {
        return Aggregate::Plain;
    };
    let digest = Md5::digest(&payload[MAGIC.len()..end]);
    if digest[..] != payload[end..] {
        return Aggregate::Plain;
    }
    let mut fields = Fields { bytes: &payload[..end], at: MAGIC.len() };
    let mut records = Vec::new();
    while fields.at < end {
        match fields.next() {
            Some((3, Some(record))) => match data_of(payload, record) {
                Some(data) => records.push(data),
                None => return Aggregate::Broken("a user record without data"),
            },
            Some(_) => {}
            None => return Aggregate::Broken("bytes that are not protobuf"),
        }
    }
    Aggregate::Records(records)
}

/// The `data` field of a `Record` message; the last one counts, as in every protobuf reader.
fn data_of(payload: &[u8], record: Range<usize>) -> Option<Range<usize>> {
    let mut fields = Fields { bytes: &payload[..record.end], at: record.start };
    let mut data = None;
    while fields.at < record.end {
        if let (3, Some(range)) = fields.next()? {
            data = Some(range);
        }
    }
    data
}

/// A protobuf message, read field by field up to the end of `bytes`.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    /// Number of the next field and, if it is length-delimited, where its content stands.
    fn next(&mut self) -> Option<(u64, Option<Range<usize>>)> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => self.skip(8).map(|_| None)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Some(self.skip(length)?)
            }
            5 => self.skip(4).map(|_| None)?,
            _ => return None,
        };
        (tag >> 3 != 0).then_some((tag >> 3, content))
    }

    fn skip(&mut self, length: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let range = self.at..end;
        self.at = end;
        Some(range)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

/// An aggregate of `records`, as the KPL writes it.
#[cfg(test)]
pub(crate) fn aggregate(records: &[&[u8]]) -> Vec<u8> {
    fn field(number: u8, content: &[u8], out: &mut Vec<u8>) {
        out.push(number << 3 | 2);
        let mut n = content.len();
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out.extend_from_slice(content);
    }
    let mut message = Vec::new();
    field(1, b"key", &mut message);
    for data in records {
        let mut record = vec![1 << 3, 0];
        field(3, data, &mut record);
        field(3, &record, &mut message);
    }
    let digest = Md5::digest(&message);
    [&MAGIC[..], &message, &digest[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(payload: &[u8]) -> Vec<&[u8]> {
        match read(payload) {
            Aggregate::Records(ranges) => ranges.into_iter().map(|r| &payload[r]).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, &Md5::digest(message)[..]].concat()
    }

    #[test]
    fn reads_back_what_was_aggregated() {
        let long = vec![b'x'; 100_000];
        let records: [&[u8]; 4] = [b"{\"a\":1}", b"", &long, b"z"];
        assert_eq!(data(&aggregate(&records)), records);
        assert!(data(&aggregate(&[])).is_empty());
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_a_plain_record() {
        let whole = aggregate(&[b"{\"a\":1}", b"{\"a\":2}"]);
        for n in MAGIC.len()..whole.len() {
            assert_eq!(read(&whole[..n]), Aggregate::Plain, "cut at {n}");
        }
        for bit in MAGIC.len() * 8..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&flipped), Aggregate::Plain, "bit {bit}");
        }
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        // 9: fixed64, 10: fixed32, 11: varint, then a record with tags after its data.
        let mut m = vec![9 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8, 10 << 3 | 5, 1, 2, 3, 4, 11 << 3, 0x80, 1];
        m.extend([3 << 3 | 2, 8, 8, 0, 26, 1, b'd', 34, 1, b't']);
        assert_eq!(data(&sealed(&m)), [b"d"]);
    }

    #[test]
    fn a_broken_message_with_a_right_digest_is_told_apart() {
        let cases: [&[u8]; 6] = [
            &[0x1A],
            &[0x1A, 9, 1],
            &[0x1A, 2, 8, 0],
            &[0xFF; 11],
            &[3 << 3 | 3],
            &[0x1A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
        ];
        for message in cases {
            assert!(matches!(read(&sealed(message)), Aggregate::Broken(_)), "{message:?}");
        }
    }
}
