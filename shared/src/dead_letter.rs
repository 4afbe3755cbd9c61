//! A record that cannot become a row, with everything needed to see why and to replay it.

use crate::clock::EpochMicros;
use crate::record::RecordId;

/// Why a record is a dead letter. The text form is what stands in the quarantine table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Not JSON (RFC 8259), or not an object.
    MalformedJson,
    /// Bytes that are not UTF-8, or a lone surrogate.
    InvalidUtf8,
    /// Nothing in the record.
    Empty,
    /// Nested deeper than [`crate::limits::MAX_JSON_DEPTH`].
    TooDeep,
    /// A value of another JSON type than the column's.
    WrongType,
    /// A required field is absent or null.
    MissingRequired,
    /// A number outside the column's range or with more digits than it holds.
    OutOfRange,
    /// A constraint of the column (`weir.min`, `weir.enum`, …) does not hold.
    Constraint,
    /// A time or date that does not exist, is not in the column's format, or is of another year than 0001 to
    /// 9999.
    InvalidTime,
    /// The event time is outside `weir.max_age` or `weir.max_future`.
    EventTimeBounds,
    /// A field that the table does not know, with `weir.unknown_fields=reject`.
    UnknownField,
    /// A compressed record that cannot be inflated, or inflates past its bound.
    Compression,
    /// An aggregate or an envelope that is cut short or inconsistent.
    Envelope,
    /// No table takes this record (`weir.route`).
    NoRoute,
}

impl Reason {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::MalformedJson => "malformed_json",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::Empty => "empty",
            Reason::TooDeep => "too_deep",
            Reason::WrongType => "wrong_type",
            Reason::MissingRequired => "missing_required",
            Reason::OutOfRange => "out_of_range",
            Reason::Constraint => "constraint",
            Reason::InvalidTime => "invalid_time",
            Reason::EventTimeBounds => "event_time_bounds",
            Reason::UnknownField => "unknown_field",
            Reason::Compression => "compression",
            Reason::Envelope => "envelope",
            Reason::NoRoute => "no_route",
        }
    }
}

/// A rejected record. Its `Debug` form leaves out content: no payload ends in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Position.
    pub id: RecordId,
    /// Arrival time at the stream.
    pub arrived_at: EpochMicros,
    /// Class.
    pub reason: Reason,
    /// Path of the field, as `items[2].price`; empty for the whole record.
    pub path: String,
    /// What the column takes.
    pub expected: String,
    /// What was found, cut to a short text.
    pub found: String,
    /// The raw bytes as they stood in the stream record (unpacked as far as that went).
    pub raw: Vec<u8>,
}

impl std::fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.id)
            .field("reason", &self.reason)
            .field("path", &self.path)
            .field("raw_bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}
