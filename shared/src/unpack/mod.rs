//! One stream record → the JSON documents in it, as ranges of a [`Batch`], or dead letters.
//!
//! ```text
//! payload ─► gzip, zstd ──────────► payload (bounded)
//!         ─► KPL aggregate ───────► one payload a user record
//!         ─► CloudWatch envelope ─► one document a log event; control messages are counted
//!         ─► change of an item ───► one document: its new image, and what the change was
//!         ─► else ────────────────► one document, or one a line
//! ```
//!
//! Containers nest; each is opened in place at the end of the batch's buffer. Whether a document is
//! JSON is not decided here but by [`crate::decode`]. Never fails and never loses: what cannot be
//! opened is a dead letter with its raw bytes.

pub(crate) mod change;
mod inflate;
pub(crate) mod json;
mod kpl;
mod lines;
mod logs;

use crate::clock::EpochMicros;
use crate::dead_letter::{DeadLetter, Reason};
use crate::limits;
use crate::record::{Batch, Document, RecordId, SequenceNumber};

pub use change::{CHANGE_FIELDS, NotTyped, write_document};
use inflate::{Inflated, Inflater};
use kpl::Aggregate;
use logs::{Envelope, Events};

/// Bounds of unpacking; the defaults stand in [`crate::limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Most bytes one stream record may inflate to, all its containers together.
    pub record_bytes: usize,
    /// Most bytes the records of one delivery may inflate to, together.
    pub batch_bytes: usize,
    /// Most documents of one stream record.
    pub record_documents: u32,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            record_bytes: limits::MAX_INFLATED_RECORD_BYTES,
            batch_bytes: limits::MAX_INFLATED_BATCH_BYTES,
            record_documents: limits::MAX_DOCUMENTS_PER_RECORD,
        }
    }
}

/// What was met while unpacking one delivery. Start each delivery with a new one: the bound of a
/// batch is held against `inflated_bytes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnpackCounts {
    /// Stream records taken.
    pub records: u64,
    /// Bytes of their payloads, before inflating.
    pub payload_bytes: u64,
    /// Bytes that came out of gzip and zstd, and what log events repeat of their envelopes beyond
    /// the bytes of these.
    pub inflated_bytes: u64,
    /// Payloads that were gzip or zstd.
    pub compressed: u64,
    /// KPL aggregates.
    pub aggregates: u64,
    /// Payloads with the aggregate's magic and another digest, kept as plain records.
    pub aggregate_mismatches: u64,
    /// CloudWatch Logs data messages.
    pub envelopes: u64,
    /// Changes of DynamoDB items.
    pub changes: u64,
    /// CloudWatch Logs control messages, which hold no event and are skipped.
    pub control_messages: u64,
}

/// Position and arrival of a stream record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// The stream's number.
    pub sequence: SequenceNumber,
    /// Arrival time at the stream.
    pub arrived_at: EpochMicros,
}

/// A record as the stream holds it.
#[derive(Debug, Clone, Copy)]
pub struct StreamRecord<'a> {
    /// Position and arrival.
    pub head: RecordHead,
    /// Payload, as the producer put it.
    pub payload: &'a [u8],
}

/// Whether a record was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Unpacked {
    /// Its documents and dead letters are in the batch.
    Taken,
    /// It does not fit what is left of the batch's bound and left no trace: deliver it again, with
    /// all after it. Never happens to the first record of a batch.
    BatchFull,
}

/// Opens records; keeps its buffers and decompressors from record to record.
#[derive(Debug, Default)]
pub struct Unpacker {
    limits: UnpackLimits,
    inflater: Inflater,
    /// Buffers for containers while their content is written to the batch; one for each depth.
    spare: Vec<Vec<u8>>,
}

impl Unpacker {
    /// With its bounds.
    pub fn new(limits: UnpackLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Append the documents of a record to the batch. The buffer keeps at least
    /// [`limits::DOCUMENT_PADDING_BYTES`] of written (zero) capacity past its last byte, because
    /// the decoder loads whole SIMD blocks.
    pub fn unpack(
        &mut self,
        batch: &mut Batch,
        dead: &mut Vec<DeadLetter>,
        counts: &mut UnpackCounts,
        record: StreamRecord<'_>,
    ) -> Unpacked {
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(record.payload);
        self.unpack_in_place(batch, dead, counts, (record.head, start))
    }

    /// The same for a payload that stands in the batch's buffer already, from `start` to its end.
    pub fn unpack_in_place(
        &mut self,
        batch: &mut Batch,
        dead: &mut Vec<DeadLetter>,
        counts: &mut UnpackCounts,
        (head, start): (RecordHead, usize),
    ) -> Unpacked {
        let before = (batch.documents.len(), dead.len(), *counts);
        let payload_bytes = (batch.bytes.len() - start) as u64;
        let mut out = Output::new(batch, dead, counts, head, self.limits);
        let outcome = self.open(&mut out, Place { start, depth: 0, inflated: false });
        if let Err(stop) = outcome {
            out.batch.documents.truncate(before.0);
            out.dead.truncate(before.1);
            if let Stop::BatchFull = stop {
                *counts = before.2;
                batch.bytes.truncate(start);
                return Unpacked::BatchFull;
            }
            let expected = match stop {
                Stop::TooManyBytes => format!("log events of at most {} bytes", self.limits.record_bytes),
                _ => format!("at most {} documents in a record", self.limits.record_documents),
            };
            // Containers are given back from the inside out, so the last buffer is the payload.
            let raw = match self.spare.last() {
                Some(raw) if out.opened => raw.clone(),
                _ => out.batch.bytes[start..].to_vec(),
            };
            out.batch.bytes.truncate(start);
            out.reject_whole(raw, expected);
        }
        if out.opened {
            self.spare.retain(|buffer| buffer.capacity() <= SPARE_BYTES);
        }
        counts.records += 1;
        counts.payload_bytes += payload_bytes;
        pad(&mut batch.bytes);
        Unpacked::Taken
    }

    /// The payload at the end of the batch's buffer, whatever it is.
    #[inline]
    fn open(&mut self, out: &mut Output<'_>, place: Place) -> Result<(), Stop> {
        match &out.batch.bytes[place.start..] {
            [b'{', ..] => self.open_text(out, place),
            [] => out.reject(Reason::Empty, "a JSON document", "nothing", Vec::new()),
            [0x1F, 0x8B, ..] | [0x28, 0xB5, 0x2F, 0xFD, ..] => self.open_compressed(out, place),
            bytes if bytes.starts_with(&kpl::MAGIC) => self.open_aggregate(out, place),
            _ => self.open_text(out, place),
        }
    }

    #[inline]
    fn open_text(&mut self, out: &mut Output<'_>, place: Place) -> Result<(), Stop> {
        if logs::may_be_envelope(&out.batch.bytes[place.start..], place.inflated) {
            return self.open_envelope(out, place);
        }
        if let Some(change) = change::read(&out.batch.bytes[place.start..]) {
            let mut document = self.spare.pop().unwrap_or_default();
            document.clear();
            let written = change.write_document(&mut document);
            let result = out.push_change(place.start, |out| {
                out.extend_from_slice(&document);
                written
            });
            self.give_back(document);
            return result;
        }
        lines::split(out, place.start)
    }

    fn open_compressed(&mut self, out: &mut Output<'_>, place: Place) -> Result<(), Stop> {
        let raw = self.set_aside(out, place.start);
        let result = if place.depth >= limits::MAX_UNPACK_DEPTH {
            out.reject_depth(&raw)
        } else {
            self.inflate(out, &raw, place)
        };
        self.give_back(raw);
        result
    }

    fn inflate(&mut self, out: &mut Output<'_>, raw: &[u8], place: Place) -> Result<(), Stop> {
        let batch_left = out.batch_left();
        let bound = out.record_left.min(batch_left);
        let found = match self.inflater.inflate(raw, &mut out.batch.bytes, bound) {
            Inflated::Whole => {
                let size = out.batch.bytes.len() - place.start;
                out.record_left -= size;
                out.counts.inflated_bytes += size as u64;
                out.counts.compressed += 1;
                return self.open(out, Place { depth: place.depth + 1, inflated: true, ..place });
            }
            Inflated::TooLarge if batch_left < out.record_left && out.counts.records > 0 => {
                return Err(Stop::BatchFull);
            }
            Inflated::TooLarge => format!("more than {bound} bytes"),
            Inflated::Broken(problem) => problem,
        };
        out.batch.bytes.truncate(place.start);
        let expected = format!("a compressed record of at most {} bytes", out.limits.record_bytes);
        out.reject(Reason::Compression, &expected, &found, raw.to_vec())
    }

    fn open_aggregate(&mut self, out: &mut Output<'_>, place: Place) -> Result<(), Stop> {
        let found = kpl::read(&out.batch.bytes[place.start..]);
        if found == Aggregate::Plain {
            out.counts.aggregate_mismatches += 1;
            // Binary, so newlines in it mean nothing.
            return out.push(place.start, out.batch.bytes.len());
        }
        let raw = self.set_aside(out, place.start);
        let result = match found {
            _ if place.depth >= limits::MAX_UNPACK_DEPTH => out.reject_depth(&raw),
            Aggregate::Records(records) if !records.is_empty() => {
                out.counts.aggregates += 1;
                records.into_iter().try_for_each(|data| {
                    let start = out.batch.bytes.len();
                    out.batch.bytes.extend_from_slice(&raw[data]);
                    self.open(out, Place { start, depth: place.depth + 1, ..place })
                })
            }
            Aggregate::Broken(problem) => {
                out.reject(Reason::Envelope, "a KPL aggregate", problem, raw.clone())
            }
            Aggregate::Records(_) | Aggregate::Plain => {
                out.reject(Reason::Empty, "user records", "an aggregate without any", raw.clone())
            }
        };
        self.give_back(raw);
        result
    }

    fn open_envelope(&mut self, out: &mut Output<'_>, place: Place) -> Result<(), Stop> {
        let raw = self.set_aside(out, place.start);
        let result = match logs::read(&raw) {
            Envelope::Data(events) if events.list.is_empty() => {
                out.reject(Reason::Empty, "log events", "an envelope without any", raw.clone())
            }
            Envelope::Data(events) => {
                out.counts.envelopes += 1;
                out.write_events(&events, place.start, raw.len())
            }
            Envelope::Control => {
                out.counts.control_messages += 1;
                Ok(())
            }
            Envelope::Broken(problem) => {
                out.reject(Reason::Envelope, "a CloudWatch Logs message", &problem.to_string(), raw.clone())
            }
            Envelope::Other => {
                out.batch.bytes.extend_from_slice(&raw);
                lines::split(out, place.start)
            }
        };
        self.give_back(raw);
        result
    }

    /// Move the end of the batch's buffer, from `start`, to a buffer of its own.
    fn set_aside(&mut self, out: &mut Output<'_>, start: usize) -> Vec<u8> {
        let mut raw = self.spare.pop().unwrap_or_default();
        raw.clear();
        out.opened = true;
        raw.extend_from_slice(&out.batch.bytes[start..]);
        out.batch.bytes.truncate(start);
        raw
    }

    fn give_back(&mut self, raw: Vec<u8>) {
        self.spare.push(raw);
    }
}

/// Why a record is not opened to its end.
enum Stop {
    /// The batch's bound of inflated bytes.
    BatchFull,
    /// The record's bound of documents.
    TooManyDocuments,
    /// The record's bound of inflated bytes, by what log events repeat of their envelope.
    TooManyBytes,
}

/// Buffers above this size are not kept for the next record.
const SPARE_BYTES: usize = 4 << 20;

/// A payload from `start` to the end of the batch's buffer.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    /// Containers around it.
    depth: usize,
    /// Whether one of them was compressed.
    inflated: bool,
}

/// Where the content of one stream record goes.
struct Output<'a> {
    batch: &'a mut Batch,
    dead: &'a mut Vec<DeadLetter>,
    counts: &'a mut UnpackCounts,
    head: RecordHead,
    /// Of the next document or dead letter.
    subsequence: u32,
    /// Whether the payload was a container, so that the batch's buffer no longer holds it.
    opened: bool,
    /// Bytes the record may still inflate to.
    record_left: usize,
    limits: UnpackLimits,
}

impl<'a> Output<'a> {
    fn new(
        batch: &'a mut Batch,
        dead: &'a mut Vec<DeadLetter>,
        counts: &'a mut UnpackCounts,
        head: RecordHead,
        limits: UnpackLimits,
    ) -> Self {
        let record_left = limits.record_bytes;
        Self { batch, dead, counts, head, subsequence: 0, opened: false, record_left, limits }
    }

    #[inline]
    fn next_id(&mut self) -> Result<RecordId, Stop> {
        if self.subsequence >= self.limits.record_documents {
            return Err(Stop::TooManyDocuments);
        }
        let id = RecordId { sequence: self.head.sequence, subsequence: self.subsequence };
        self.subsequence += 1;
        Ok(id)
    }

    /// A document at a range of the buffer.
    #[inline]
    fn push(&mut self, start: usize, end: usize) -> Result<(), Stop> {
        let id = self.next_id()?;
        self.batch.documents.push(Document {
            id,
            arrived_at: self.head.arrived_at,
            raw_start: start,
            start,
            end,
        });
        Ok(())
    }

    #[cold]
    fn reject(&mut self, reason: Reason, expected: &str, found: &str, raw: Vec<u8>) -> Result<(), Stop> {
        let letter = DeadLetter {
            id: self.next_id()?,
            arrived_at: self.head.arrived_at,
            reason,
            path: String::new(),
            expected: expected.to_owned(),
            found: found.to_owned(),
            raw,
        };
        self.dead.push(letter);
        Ok(())
    }

    fn reject_depth(&mut self, raw: &[u8]) -> Result<(), Stop> {
        let expected = format!("at most {} containers inside each other", limits::MAX_UNPACK_DEPTH);
        self.reject(Reason::Envelope, &expected, "one more", raw.to_vec())
    }

    /// The documents of log events. Each repeats the names of its group and stream, so that an
    /// envelope can grow with the square of its size: what is more than its own bytes counts as
    /// inflated.
    fn write_events(&mut self, events: &Events<'_>, start: usize, envelope_bytes: usize) -> Result<(), Stop> {
        let batch_left = self.batch_left();
        let mut more = 0;
        for event in &events.list {
            let document = self.batch.bytes.len();
            events.write_document(event, &mut self.batch.bytes);
            self.push(document, self.batch.bytes.len())?;
            more = (self.batch.bytes.len() - start).saturating_sub(envelope_bytes);
            if more > batch_left && batch_left < self.record_left && self.counts.records > 0 {
                return Err(Stop::BatchFull);
            }
            if more > self.record_left.min(batch_left) {
                return Err(Stop::TooManyBytes);
            }
        }
        self.record_left -= more;
        self.counts.inflated_bytes += more as u64;
        Ok(())
    }

    /// Bytes that the batch may still inflate to.
    fn batch_left(&self) -> usize {
        self.limits.batch_bytes.saturating_sub(self.counts.inflated_bytes as usize)
    }

    /// The whole record instead of too much in it.
    fn reject_whole(&mut self, raw: Vec<u8>, expected: String) {
        self.dead.push(DeadLetter {
            id: RecordId { sequence: self.head.sequence, subsequence: 0 },
            arrived_at: self.head.arrived_at,
            reason: Reason::Envelope,
            path: String::new(),
            expected,
            found: "more".to_owned(),
            raw,
        });
    }
}

/// Zeros past the end, within the capacity: what a SIMD load of the last document reads.
#[inline]
fn pad(bytes: &mut Vec<u8>) {
    bytes.reserve(limits::DOCUMENT_PADDING_BYTES);
    for byte in &mut bytes.spare_capacity_mut()[..limits::DOCUMENT_PADDING_BYTES] {
        byte.write(0);
    }
}

#[cfg(test)]
mod tests;
