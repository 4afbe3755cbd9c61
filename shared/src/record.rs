//! Positions: which record of which shard of which stream.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::clock::EpochMicros;

/// A stream sequence number: an unsigned decimal of up to 77 digits. Kinesis numbers have 56
/// digits (186 bits), DynamoDB's up to 40; for a file it is the byte offset of the line.
/// Big-endian limbs, so that the derived order is the numeric one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SequenceNumber(pub [u64; 4]);

/// The text was not a sequence number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sequence number (decimal digits, at most 77)")]
pub struct NotASequenceNumber;

const CHUNK_DIGITS: usize = 19;
const CHUNK: u64 = 10u64.pow(19);
const TEN_DIGITS: u64 = 10u64.pow(10);

impl SequenceNumber {
    /// Parse decimal digits.
    pub fn parse(digits: &[u8]) -> Result<Self, NotASequenceNumber> {
        if digits.is_empty() || digits.len() > 77 {
            return Err(NotASequenceNumber);
        }
        let mut limbs = [0u64; 4];
        for chunk in digits.chunks(CHUNK_DIGITS) {
            let mut value = 0u64;
            for &b in chunk {
                if !b.is_ascii_digit() {
                    return Err(NotASequenceNumber);
                }
                value = value * 10 + u64::from(b - b'0');
            }
            let scale = 10u64.pow(chunk.len() as u32);
            let mut carry = u128::from(value);
            for limb in limbs.iter_mut().rev() {
                let t = u128::from(*limb) * u128::from(scale) + carry;
                *limb = t as u64;
                carry = t >> 64;
            }
            if carry != 0 {
                return Err(NotASequenceNumber);
            }
        }
        Ok(Self(limbs))
    }

    /// Write the decimal digits to the end of `out`.
    pub fn write_decimal(self, out: &mut Vec<u8>) {
        let mut limbs = self.0;
        let mut chunks = [0u64; 5];
        let mut used = 0;
        loop {
            let mut rest = 0u128;
            for limb in &mut limbs {
                let t = (rest << 64) | u128::from(*limb);
                *limb = (t / u128::from(CHUNK)) as u64;
                rest = t % u128::from(CHUNK);
            }
            chunks[used] = rest as u64;
            used += 1;
            if limbs == [0; 4] {
                break;
            }
        }
        let mut digits = [0u8; 5 * CHUNK_DIGITS];
        for (i, &chunk) in chunks[..used].iter().rev().enumerate() {
            let mut v = chunk;
            for d in digits[i * CHUNK_DIGITS..(i + 1) * CHUNK_DIGITS].iter_mut().rev() {
                *d = b'0' + (v % 10) as u8;
                v /= 10;
            }
        }
        let all = &digits[..used * CHUNK_DIGITS];
        let start = all.iter().position(|&d| d != b'0').unwrap_or(all.len() - 1);
        out.extend_from_slice(&all[start..]);
    }

    /// The number with ten more digits at its end, `None` if that is more than any number has.
    pub fn with_ten_digits(self, digits: u64) -> Option<Self> {
        let mut limbs = self.0;
        let mut carry = u128::from(digits % TEN_DIGITS);
        for limb in limbs.iter_mut().rev() {
            let t = u128::from(*limb) * u128::from(TEN_DIGITS) + carry;
            *limb = t as u64;
            carry = t >> 64;
        }
        (carry == 0).then_some(Self(limbs))
    }

    /// The number without its last ten digits.
    pub fn without_ten_digits(self) -> Self {
        let mut rest = 0u128;
        Self(self.0.map(|limb| {
            let t = (rest << 64) | u128::from(limb);
            rest = t % u128::from(TEN_DIGITS);
            (t / u128::from(TEN_DIGITS)) as u64
        }))
    }

    /// The low 64 bits if the number fits them (a byte offset does).
    pub fn as_u64(self) -> Option<u64> {
        (self.0[..3] == [0; 3]).then_some(self.0[3])
    }
}

impl From<u64> for SequenceNumber {
    fn from(v: u64) -> Self {
        Self([0, 0, 0, v])
    }
}

impl FromStr for SequenceNumber {
    type Err = NotASequenceNumber;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s.as_bytes())
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(80);
        self.write_decimal(&mut out);
        f.pad(std::str::from_utf8(&out).unwrap_or_default())
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A record within its shard. Sub-records of a KPL aggregate, log events of an envelope and lines
/// of one payload share the sequence number and are told apart by the sub-sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RecordId {
    /// The stream's number.
    pub sequence: SequenceNumber,
    /// 0-based position inside the stream record, counted over everything unpacked from it.
    pub subsequence: u32,
}

/// A shard of one incarnation of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// Stream name as users know it (or the file's URL).
    pub stream: Arc<str>,
    /// Key of the stream in object names: a name safe in keys, `-`, and 8 hex digits of
    /// hash(ARN + creation time), so that a stream made again under the same name is another one.
    pub stream_key: Arc<str>,
    /// Shard id (`shardId-000000000000`).
    pub shard: Arc<str>,
}

/// One JSON document unpacked from a stream record: where it stands in [`Batch::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document {
    /// Its identity.
    pub id: RecordId,
    /// The stream's approximate arrival time of the record.
    pub arrived_at: EpochMicros,
    /// First byte, in the batch's buffer, of what the document was made from: it ends where the
    /// document starts. Equal to `start` if the document stands as the producer wrote it.
    pub raw_start: usize,
    /// First byte in the batch's buffer.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// The documents of one delivery in one reused buffer.
#[derive(Debug, Default)]
pub struct Batch {
    /// All payload bytes; documents are ranges of it.
    pub bytes: Vec<u8>,
    /// In delivery order.
    pub documents: Vec<Document>,
}

impl Batch {
    /// The bytes of one document.
    pub fn payload(&self, d: &Document) -> &[u8] {
        &self.bytes[d.start..d.end]
    }
    /// What a dead letter keeps of one document: what it was made from, or itself.
    pub fn raw(&self, d: &Document) -> &[u8] {
        if d.raw_start < d.start { &self.bytes[d.raw_start..d.start] } else { self.payload(d) }
    }
    /// Forget everything, keep the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.documents.clear();
    }
}
