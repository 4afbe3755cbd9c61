//! Generated events as Lambda's Kinesis event, for functions that are started and fed directly.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Result;
use weir::clock::EpochMicros;
use weir::schema::TableSchema;

use crate::generate::{Carrier, Generator, Percentages, Plan, RunTag, Shares};

/// Arrival of every record: a fixed time, so that the same seed gives the same bytes.
const ARRIVED_S: i64 = 1_795_162_230;

/// A batch ready to be handed to a function.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The event's text.
    pub event: String,
    /// Records in it.
    pub records: u64,
    /// Bytes of the records' payloads.
    pub payload_bytes: u64,
}

/// Makes batches that continue one shard, so that none is a redelivery of another.
#[derive(Debug)]
pub struct Batches {
    plan: Plan,
    generator: Generator,
    records: u64,
    next: u64,
}

impl Batches {
    /// Batches of so many records for a table.
    ///
    /// # Errors
    /// A column that no event can be generated for.
    pub fn new(table: Arc<TableSchema>, records: u64, seed: u64) -> Result<Self> {
        let carrier = Carrier::choose(&table, None)?;
        let none = Percentages { late: 0.0, malformed: 0.0, violating: 0.0, duplicate: 0.0 };
        let plan = Plan {
            table,
            carrier,
            tag: RunTag(1),
            seed,
            shares: Shares::new(none)?,
            pad_to: 0,
            lines: None,
            of_changes: false,
            keys: Vec::new(),
        };
        let generator = Generator::lanes(&plan, 1)?.remove(0);
        Ok(Self { plan, generator, records, next: 0 })
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let mut out = String::from(r#"{"Records":["#);
        let (mut payload, mut payload_bytes) = (Vec::new(), 0);
        for i in 0..self.records {
            let number = self.next;
            self.next += 1;
            // A millisecond apart: the batch spans seconds, as one of a busy shard does.
            let intended = EpochMicros((ARRIVED_S * 1_000 + i as i64) * 1_000);
            payload.clear();
            self.generator.write(&self.plan, &self.plan.event(number, intended), &mut payload);
            payload_bytes += payload.len() as u64;
            if i > 0 {
                out.push(',');
            }
            // A real number has 56 digits: 18 of them stand for stream and shard.
            let sequence = 11_583_641_568_799_068_265u128 * 1_000_000 + u128::from(number);
            let record = StreamRecord {
                key: &format!("{:08x}", number * 2_654_435_761 % (1 << 32)),
                sequence: &format!("496546115410264685{sequence:038}"),
                payload: &payload,
                arrived_ms: ARRIVED_S * 1_000 + (i % 1000) as i64,
                shard: 0,
                stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/loadgen",
            };
            record.write(&mut out);
        }
        out.push_str("]}");
        Some(Batch { event: out, records: self.records, payload_bytes })
    }
}

/// A record of a Kinesis stream, as an event has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamRecord<'a> {
    pub(crate) key: &'a str,
    pub(crate) sequence: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) arrived_ms: i64,
    pub(crate) shard: u64,
    pub(crate) stream_arn: &'a str,
}

impl StreamRecord<'_> {
    /// Append it as the event source mapping writes it.
    pub(crate) fn write(&self, out: &mut String) {
        let Self { key, sequence, shard, stream_arn, .. } = self;
        let data = base64_simd::STANDARD.encode_to_string(self.payload);
        let (seconds, millis) = (self.arrived_ms.div_euclid(1_000), self.arrived_ms.rem_euclid(1_000));
        let region = stream_arn.split(':').nth(3).unwrap_or_default();
        let _ = write!(
            out,
            r#"{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"{key}","sequenceNumber":"{sequence}","data":"{data}","approximateArrivalTimestamp":{seconds}.{millis:03}}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-{shard:012}:{sequence}","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role","awsRegion":"{region}","eventSourceARN":"{stream_arn}"}}"#,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_events_whose_sequence_numbers_go_on() {
        let table = TableSchema::parse(include_str!("../../schemas/clickstream.json")).unwrap();
        let mut batches = Batches::new(Arc::new(table), 50, 7).unwrap();
        let mut last = String::new();
        for _ in 0..2 {
            let batch = batches.next().unwrap();
            let parsed: serde_json::Value = serde_json::from_str(&batch.event).unwrap();
            let records = parsed["Records"].as_array().unwrap();
            assert_eq!(records.len() as u64, batch.records);
            let mut bytes = 0;
            for record in records {
                let sequence = record["kinesis"]["sequenceNumber"].as_str().unwrap();
                assert!(sequence.len() == 56 && sequence > last.as_str(), "{sequence}");
                sequence.clone_into(&mut last);
                let data = record["kinesis"]["data"].as_str().unwrap();
                let data = base64_simd::STANDARD.decode_to_vec(data).unwrap();
                serde_json::from_slice::<serde_json::Value>(&data).unwrap();
                bytes += data.len() as u64;
            }
            assert_eq!(bytes, batch.payload_bytes);
        }
    }
}
