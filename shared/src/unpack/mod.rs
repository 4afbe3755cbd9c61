//! One stream record → the JSON documents in it: inflated, disaggregated, taken out of their
//! envelope, split at line ends. Never looks at what a document means.
//!
//! ```text
//! record ─► gzip | zstd ─► KPL aggregate ─► CloudWatch Logs envelope ─► lines ─► documents
//! ```
//!
//! What cannot be unpacked is a dead letter with the bytes as they stood in the stream; its
//! neighbours are not touched. All documents of a stream record share its sequence number and are
//! numbered through.

mod envelope;
mod inflate;
mod kpl;
mod lines;
#[cfg(test)]
mod tests;

use crate::clock::EpochMicros;
use crate::dead_letter::{DeadLetter, Reason};
use crate::limits::{MAX_INFLATED_BATCH_BYTES, MAX_INFLATED_RECORD_BYTES};
use crate::record::{Batch, Document, RecordId, SequenceNumber};

/// Layers of packing inside each other (a gzip record of aggregates of gzip envelopes is three).
const MAX_LAYERS: u32 = 6;

/// A record as the stream delivered it.
#[derive(Debug, Clone, Copy)]
pub struct StreamRecord<'a> {
    /// Its number.
    pub sequence: SequenceNumber,
    /// The stream's approximate arrival time.
    pub arrived_at: EpochMicros,
    /// Its bytes, without base64.
    pub payload: &'a [u8],
}

/// What was met while unpacking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnpackCounts {
    /// Stream records.
    pub records: u64,
    /// Documents found in them.
    pub documents: u64,
    /// Records or parts that were compressed.
    pub compressed: u64,
    /// KPL aggregates.
    pub aggregates: u64,
    /// CloudWatch Logs envelopes.
    pub envelopes: u64,
    /// CloudWatch Logs control messages: skipped.
    pub control_messages: u64,
}

/// Why a part could not be unpacked.
struct Broken {
    reason: Reason,
    expected: &'static str,
    found: String,
}

/// Unpacks records into a batch; keeps its buffers.
#[derive(Debug, Default)]
pub struct Unpacker {
    inflated_bytes: usize,
}

struct Sink<'a> {
    record: StreamRecord<'a>,
    batch: &'a mut Batch,
    counts: &'a mut UnpackCounts,
    next: u32,
    inflated_bytes: &'a mut usize,
}

impl Unpacker {
    /// Begin a batch: the bound on inflated bytes counts anew.
    pub fn begin_batch(&mut self) {
        self.inflated_bytes = 0;
    }

    /// Append the documents of one record to `batch`.
    pub fn unpack(
        &mut self,
        record: StreamRecord<'_>,
        batch: &mut Batch,
        dead: &mut Vec<DeadLetter>,
        counts: &mut UnpackCounts,
    ) {
        counts.records += 1;
        let (documents, bytes) = (batch.documents.len(), batch.bytes.len());
        let inflated_bytes = &mut self.inflated_bytes;
        let mut sink = Sink { record, batch, counts, next: 0, inflated_bytes };
        let verdict = sink.take(record.payload, MAX_LAYERS);
        let skipped = verdict.as_ref().is_ok_and(|&skipped| skipped);
        let empty = || Broken { reason: Reason::Empty, expected: "a JSON document", found: "nothing".into() };
        let broken = match verdict {
            Err(broken) => broken,
            Ok(_) if batch.documents.len() == documents && !skipped => empty(),
            Ok(_) => {
                counts.documents += (batch.documents.len() - documents) as u64;
                return;
            }
        };
        // All or nothing: a record is a dead letter as a whole, so that a replay is exact.
        batch.documents.truncate(documents);
        batch.bytes.truncate(bytes);
        dead.push(DeadLetter {
            id: RecordId { sequence: record.sequence, subsequence: 0 },
            arrived_at: record.arrived_at,
            reason: broken.reason,
            path: String::new(),
            expected: broken.expected.into(),
            found: broken.found,
            raw: record.payload.to_vec(),
        });
    }
}

impl Sink<'_> {
    /// Unpack one layer. `Ok(true)`: a control message was skipped.
    fn take(&mut self, bytes: &[u8], layers: u32) -> Result<bool, Broken> {
        if layers == 0 {
            let found = format!("more than {MAX_LAYERS} layers");
            return Err(Broken { reason: Reason::Envelope, expected: "a few layers of packing", found });
        }
        if let Some(codec) = inflate::Codec::of(bytes) {
            self.counts.compressed += 1;
            let room = MAX_INFLATED_BATCH_BYTES.saturating_sub(*self.inflated_bytes);
            let inflated = inflate::inflate(codec, bytes, MAX_INFLATED_RECORD_BYTES.min(room))?;
            *self.inflated_bytes += inflated.len();
            return self.take(&inflated, layers - 1);
        }
        if let Some(parts) = kpl::disaggregate(bytes) {
            self.counts.aggregates += 1;
            let mut skipped = parts.is_empty();
            for part in parts {
                skipped |= self.take(part, layers - 1)?;
            }
            return Ok(skipped);
        }
        if envelope::may_be(bytes)
            && let Some(envelope) = envelope::open(bytes)?
        {
            self.counts.envelopes += 1;
            let Some(messages) = envelope else {
                self.counts.control_messages += 1;
                return Ok(true);
            };
            let skipped = messages.is_empty();
            messages.iter().for_each(|m| self.document(m.as_bytes()));
            return Ok(skipped);
        }
        lines::split(bytes, &mut |line| self.document(line));
        Ok(false)
    }

    fn document(&mut self, bytes: &[u8]) {
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(bytes);
        self.batch.documents.push(Document {
            id: RecordId { sequence: self.record.sequence, subsequence: self.next },
            arrived_at: self.record.arrived_at,
            start,
            end: self.batch.bytes.len(),
        });
        self.next += 1;
    }
}
