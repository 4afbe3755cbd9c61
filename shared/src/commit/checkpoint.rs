//! Summaries of a chain: a cache that can be rebuilt from the commits. A checkpoint says where the
//! records of every version lie, so that a cold start reads one object instead of the whole chain;
//! ranges of old versions move to segments, so that it stays small.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::encoding::{decode_numbers, encode_numbers};
use super::format::{number_text, unreadable};
use crate::error::{Error, Result};
use crate::record::SequenceNumber;

/// The format this program writes, and the newest it reads.
const FORMAT: u32 = 1;

/// First and last position that a version lists; none if it lists no record.
pub(crate) type Span = Option<(SequenceNumber, SequenceNumber)>;

/// Whether two spans share a position.
pub(crate) fn meet(a: Span, b: Span) -> bool {
    matches!((a, b), (Some((a_min, a_max)), Some((b_min, b_max))) if a_min <= b_max && b_min <= a_max)
}

/// A segment as checkpoints know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentRef {
    /// Its last version.
    pub(crate) version: u64,
    /// First position in it.
    #[serde(with = "number_text")]
    pub(crate) min: Option<SequenceNumber>,
    /// Last position in it.
    #[serde(with = "number_text")]
    pub(crate) max: Option<SequenceNumber>,
}

impl SegmentRef {
    pub(crate) fn span(&self) -> Span {
        self.min.zip(self.max)
    }
}

/// A checkpoint; a segment is one without drops and segments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// The last version that segments hold: spans begin with the next.
    pub(crate) base: u64,
    /// Of versions `base + 1`, `base + 2`, … up to the checkpoint's own.
    pub(crate) spans: Vec<Span>,
    /// In order of versions.
    pub(crate) segments: Vec<SegmentRef>,
    /// Keys that no later commit may list.
    pub(crate) drops: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    base: u64,
    head: u64,
    segments: Vec<SegmentRef>,
    drops: Vec<String>,
}

impl Checkpoint {
    /// The last version it knows of.
    pub(crate) fn head(&self) -> u64 {
        self.base + self.spans.len() as u64
    }

    pub(crate) fn encode(&self) -> Result<Bytes> {
        let broken = |problem: &dyn std::fmt::Display| {
            Error::Internal(format!("cannot encode a checkpoint: {problem}"))
        };
        let (segments, drops) = (self.segments.clone(), self.drops.clone());
        let header = Header { format: FORMAT, base: self.base, head: self.head(), segments, drops };
        let mut bytes = serde_json::to_vec(&header).map_err(|e| broken(&e))?;
        bytes.push(b'\n');
        // A version without records is written backwards: no real span is.
        let empty = (SequenceNumber::from(1), SequenceNumber::from(0));
        let ends: Vec<_> = self.spans.iter().flat_map(|s| <[_; 2]>::from(s.unwrap_or(empty))).collect();
        bytes.extend(encode_numbers(&ends).map_err(|e| broken(&e))?);
        Ok(bytes.into())
    }

    pub(crate) fn decode(key: &str, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let end = memchr::memchr(b'\n', bytes).ok_or_else(|| unreadable(key, "no line of JSON"))?;
        let versioned: Versioned = serde_json::from_slice(&bytes[..end]).map_err(|e| unreadable(key, e))?;
        if versioned.format != FORMAT {
            return Err(unreadable(key, format!("format {}, this program knows {FORMAT}", versioned.format)));
        }
        let header: Header = serde_json::from_slice(&bytes[..end]).map_err(|e| unreadable(key, e))?;
        let ends = decode_numbers(&bytes[end + 1..]).map_err(|e| unreadable(key, e))?;
        if header.head.checked_sub(header.base).and_then(|n| n.checked_mul(2)) != Some(ends.len() as u64) {
            return Err(unreadable(key, "not as many ranges as versions"));
        }
        let spans =
            ends.chunks_exact(2).map(|ends| (ends[0] <= ends[1]).then_some((ends[0], ends[1]))).collect();
        Ok(Self { base: header.base, spans, segments: header.segments, drops: header.drops })
    }

    /// Take the oldest `count` versions out as a segment.
    pub(crate) fn cut_segment(&self, count: usize) -> (Self, SegmentRef) {
        let spans: Vec<Span> = self.spans[..count].to_vec();
        let segment = Self { base: self.base, spans, ..Self::default() };
        let min = segment.spans.iter().flatten().map(|s| s.0).min();
        let max = segment.spans.iter().flatten().map(|s| s.1).max();
        let reference = SegmentRef { version: segment.head(), min, max };
        (segment, reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(a: u64, b: u64) -> Span {
        Some((a.into(), b.into()))
    }

    #[test]
    fn checkpoints_come_back_and_stay_small() {
        let spans: Vec<_> = (0..2048).map(|i| (i % 7 != 3).then(|| (i.into(), (i + 1).into()))).collect();
        let segments = vec![SegmentRef { version: 1024, min: Some(0.into()), max: Some(9.into()) }];
        let checkpoint = Checkpoint { base: 1024, spans, segments, drops: vec!["x/y".into()] };
        let bytes = checkpoint.encode().unwrap();
        assert!(bytes.len() < 20_000, "{}", bytes.len());
        assert_eq!(Checkpoint::decode("k", &bytes).unwrap(), checkpoint);
        let (segment, reference) = checkpoint.cut_segment(1024);
        assert_eq!((segment.head(), reference.version), (2048, 2048));
        assert_eq!(reference.span(), span(0, 1024));
        let newer = String::from_utf8_lossy(&bytes[..40]).replace("\"format\":1", "\"format\":9") + "}\n";
        assert!(Checkpoint::decode("k", newer.as_bytes()).unwrap_err().retryable());
    }

    #[test]
    fn spans_meet_where_they_share_a_position() {
        for (a, b, expected) in [
            (span(1, 3), span(3, 5), true),
            (span(1, 3), span(4, 5), false),
            (span(4, 5), span(1, 3), false),
            (span(1, 9), span(4, 5), true),
            (None, span(1, 2), false),
        ] {
            assert_eq!(meet(a, b), expected, "{a:?} {b:?}");
        }
    }
}
