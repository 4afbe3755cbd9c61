//! The JSON text of a Lambda event with records of a stream → a [`Batch`], in one pass.
//!
//! ```text
//! {"Records":[{"eventID":"shardId-…:<sequence>","eventSource":"aws:kinesis","eventSourceARN":"…",
//!              "kinesis":{"sequenceNumber":"…","approximateArrivalTimestamp":1545084650.987,"data":"<base64>",…}},…],
//!  "window":{…},"state":{…},"shardId":"…","isFinalInvokeForWindow":false,…}
//! ```
//!
//! Records of a DynamoDB stream have `"eventSource":"aws:dynamodb"` and a member `dynamodb`; their
//! event names its shard only where the mapping has a tumbling window. Else the numbers of several
//! shards meet in one chain, and since nobody promises that they differ, ten digits of `eventID`,
//! which does, go behind each.
//!
//! No tree is built: base64 is decoded straight to the end of the batch's buffer and unpacked there. An
//! event that is not what the service sends is an error, since nothing in it can be acknowledged; a bad
//! payload never is.

mod record;

use sha2::{Digest, Sha256};

use crate::clock::EpochMicros;
use crate::dead_letter::DeadLetter;
use crate::record::{Batch, SequenceNumber};
use crate::unpack::json::{Cursor, Malformed, RawStr};
use crate::unpack::{RecordHead, UnpackCounts, Unpacked, Unpacker};
use crate::{Error, Result};

use record::{Memo, RawRecord};

/// Stands for the shard where a DynamoDB event does not name it.
pub const ALL_SHARDS: &str = "all-shards";

/// Which service's stream records are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Kinesis Data Streams.
    Kinesis,
    /// DynamoDB Streams.
    DynamoDb,
}

/// Which shard of which stream an event is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOrigin {
    /// The service.
    pub source: Source,
    /// `arn:aws:kinesis:<region>:<account>:stream/<name>`, or
    /// `arn:aws:dynamodb:<region>:<account>:table/<name>/stream/<when the stream was made>`
    pub stream_arn: String,
    /// `shardId-000000000000`
    pub shard: String,
}

impl EventOrigin {
    /// The stream's name: what follows the last `/` of the ARN; of a DynamoDB stream its table's.
    pub fn stream_name(&self) -> &str {
        let name = match self.source {
            Source::Kinesis => self.stream_arn.rsplit('/').next(),
            Source::DynamoDb => self.stream_arn.split('/').nth(1),
        };
        name.unwrap_or(&self.stream_arn)
    }
}

/// The tumbling window of an event. The answer must hold the state, or the service takes it as a
/// failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The state to echo, as written; `{}` if there was none.
    pub state: String,
    /// Whether this is the window's last event, which holds no records.
    pub is_final: bool,
}

/// The records of one event. Reuse it: its buffers keep their memory.
#[derive(Debug, Default)]
pub struct ParsedEvent {
    /// The documents.
    pub batch: Batch,
    /// Records that cannot be opened.
    pub dead_letters: Vec<DeadLetter>,
    /// What was met.
    pub counts: UnpackCounts,
    /// Every record taken, in the event's order, also those without a document (a control message).
    pub sequences: Vec<SequenceNumber>,
    /// Earliest and latest arrival among them.
    pub arrived: Option<(EpochMicros, EpochMicros)>,
    /// Where the records are from; `None` if there are none.
    pub origin: Option<EventOrigin>,
    /// Set if the mapping has a tumbling window.
    pub window: Option<Window>,
    /// The first record that was not taken, as the batch's bound of inflated bytes was reached:
    /// the first one to report as failed, if none before it is.
    pub untaken_from: Option<SequenceNumber>,
    /// Digits of a number, where the stream writes leading zeros.
    padded_to: Option<usize>,
    escapes: Vec<u8>,
}

impl ParsedEvent {
    /// Forget the event, keep the memory.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.dead_letters.clear();
        self.counts = UnpackCounts::default();
        self.sequences.clear();
        self.arrived = None;
        self.origin = None;
        self.window = None;
        self.untaken_from = None;
        self.padded_to = None;
    }

    /// Read an event in place of the one before.
    pub fn parse(&mut self, unpacker: &mut Unpacker, text: &[u8]) -> Result<()> {
        self.clear();
        // No payload is longer than its base64, so the buffer does not move while it fills.
        self.batch.bytes.reserve(text.len() / 4 * 3 + crate::limits::DOCUMENT_PADDING_BYTES);
        let mut cursor = Cursor::new(text);
        let mut top = TopLevel::default();
        cursor.enter_object().map_err(not_json)?;
        let mut first = true;
        while let Some(key) = cursor.next_key(&mut first).map_err(not_json)? {
            self.read_member(&mut cursor, unpacker, key, &mut top)?;
        }
        cursor.end().map_err(not_json)?;
        if !top.has_records {
            return Err(Error::Event(format!("no Records but {}", top.keys())));
        }
        self.window = top.window();
        self.name_shard(top.shard)
    }

    /// A record's number as the stream writes it: what an answer has to name.
    pub fn identifier(&self, sequence: SequenceNumber) -> String {
        let of_all_shards = |o: &EventOrigin| o.source == Source::DynamoDb && o.shard == ALL_SHARDS;
        let all_shards = self.origin.as_ref().is_some_and(of_all_shards);
        let sequence = if all_shards { sequence.without_ten_digits() } else { sequence };
        format!("{sequence:0>width$}", width = self.padded_to.unwrap_or(0))
    }

    /// The shard of a DynamoDB event, which stands beside its records: then their numbers need no
    /// digits of theirs.
    fn name_shard(&mut self, shard: Option<RawStr<'_>>) -> Result<()> {
        let Some(origin) = self.origin.as_mut().filter(|origin| origin.source == Source::DynamoDb) else {
            return Ok(());
        };
        let Some(shard) = shard else { return Ok(()) };
        origin.shard = shard.to_text().ok_or_else(|| Error::Event("shardId is not text".to_owned()))?;
        let numbers = self.sequences.iter_mut().chain(&mut self.untaken_from);
        let numbers =
            numbers.chain(self.batch.documents.iter_mut().map(|document| &mut document.id.sequence));
        let numbers = numbers.chain(self.dead_letters.iter_mut().map(|letter| &mut letter.id.sequence));
        numbers.for_each(|number| *number = number.without_ten_digits());
        Ok(())
    }

    fn read_member<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        unpacker: &mut Unpacker,
        key: RawStr<'a>,
        top: &mut TopLevel<'a>,
    ) -> Result<()> {
        match key.raw {
            b"Records" => {
                if top.has_records {
                    return Err(Error::Event("Records twice".to_owned()));
                }
                top.has_records = true;
                self.read_records(cursor, unpacker)?;
            }
            b"state" => top.state = Some(cursor.raw_value().map_err(not_json)?),
            b"shardId" if cursor.peek() == Some(b'"') => {
                top.shard = Some(cursor.string().map_err(not_json)?);
            }
            b"window" => top.has_window = !is_null_or_skip(cursor).map_err(not_json)?,
            b"isFinalInvokeForWindow" if matches!(cursor.peek(), Some(b't' | b'f')) => {
                top.is_final = cursor.boolean().map_err(not_json)?;
            }
            raw => {
                if top.others.len() < 5 {
                    top.others.push(raw);
                }
                cursor.skip_value().map_err(not_json)?;
            }
        }
        Ok(())
    }

    fn read_records(&mut self, cursor: &mut Cursor<'_>, unpacker: &mut Unpacker) -> Result<()> {
        let mut origin = RawOrigin::default();
        let mut memo = Memo::default();
        let mut first = true;
        let mut index = 0;
        cursor.enter_array().map_err(not_json)?;
        while cursor.next_item(&mut first).map_err(not_json)? {
            let record = RawRecord::read(cursor, &mut memo).map_err(not_json)?;
            if self.untaken_from.is_none() {
                self.take(unpacker, &record, &mut origin).map_err(|problem| problem.of_record(index))?;
            }
            index += 1;
        }
        self.origin = origin.parse()?;
        Ok(())
    }

    fn take<'a>(
        &mut self,
        unpacker: &mut Unpacker,
        record: &RawRecord<'a>,
        origin: &mut RawOrigin<'a>,
    ) -> Result<(), Problem> {
        if origin.check(record)? == Source::DynamoDb {
            return self.take_change(unpacker, record);
        }
        let head = RecordHead { sequence: record.sequence()?, arrived_at: record.arrived_at()? };
        let start = self.batch.bytes.len();
        record.decode_data(&mut self.batch.bytes, &mut self.escapes)?;
        let place = (head, start);
        match unpacker.unpack_in_place(&mut self.batch, &mut self.dead_letters, &mut self.counts, place) {
            Unpacked::Taken => self.taken(head),
            Unpacked::BatchFull => self.untaken_from = Some(head.sequence),
        }
        Ok(())
    }

    fn take_change(&mut self, unpacker: &mut Unpacker, record: &RawRecord<'_>) -> Result<(), Problem> {
        let change = record.change()?;
        let sequence = change.sequence.with_ten_digits(ten_digits(record.event_id()?.raw));
        let sequence = sequence
            .ok_or_else(|| Problem("dynamodb.SequenceNumber: more digits than any has".to_owned()))?;
        self.padded_to = change.padded_to.or(self.padded_to);
        let head = RecordHead { sequence, arrived_at: change.arrived_at };
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(change.written);
        let place = (head, start);
        let (batch, dead, counts) = (&mut self.batch, &mut self.dead_letters, &mut self.counts);
        unpacker.take_change(batch, dead, counts, place, &change.record);
        self.taken(head);
        Ok(())
    }

    fn taken(&mut self, head: RecordHead) {
        self.sequences.push(head.sequence);
        let (min, max) = self.arrived.unwrap_or((head.arrived_at, head.arrived_at));
        self.arrived = Some((min.min(head.arrived_at), max.max(head.arrived_at)));
    }
}

/// What is wrong with a record of the event.
#[derive(Debug)]
struct Problem(String);

impl Problem {
    fn of_record(self, index: usize) -> Error {
        Error::Event(format!("Records[{index}]: {}", self.0))
    }
}

/// Ten digits that stand for an `eventID`.
fn ten_digits(event_id: &[u8]) -> u64 {
    let hash = Sha256::digest(event_id);
    hash.iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte)) % 10u64.pow(10)
}

fn not_json(problem: Malformed) -> Error {
    Error::Event(problem.to_string())
}

fn is_null_or_skip(cursor: &mut Cursor<'_>) -> Result<bool, Malformed> {
    let null = cursor.null()?;
    if !null {
        cursor.skip_value()?;
    }
    Ok(null)
}

/// Members of the event beside its records.
#[derive(Default)]
struct TopLevel<'a> {
    has_records: bool,
    has_window: bool,
    is_final: bool,
    state: Option<&'a [u8]>,
    shard: Option<RawStr<'a>>,
    others: Vec<&'a [u8]>,
}

impl TopLevel<'_> {
    fn keys(&self) -> String {
        if self.others.is_empty() {
            return "nothing else either; this function takes events of a stream's event source mapping"
                .into();
        }
        let keys: Vec<_> = self.others.iter().map(|k| String::from_utf8_lossy(k)).collect();
        format!("{}; this function takes events of a stream's event source mapping", keys.join(", "))
    }

    fn window(&self) -> Option<Window> {
        if !self.has_window && self.state.is_none() {
            return None;
        }
        let state = self.state.and_then(|s| std::str::from_utf8(s).ok()).filter(|s| *s != "null");
        Some(Window { state: state.unwrap_or("{}").to_owned(), is_final: self.is_final })
    }
}

/// The origin as the first record writes it; all others must agree.
#[derive(Default)]
struct RawOrigin<'a> {
    source: Option<Source>,
    arn: Option<RawStr<'a>>,
    shard: &'a [u8],
}

impl<'a> RawOrigin<'a> {
    fn check(&mut self, record: &RawRecord<'a>) -> Result<Source, Problem> {
        let source = record.source()?;
        let (arn, shard) = match source {
            Source::Kinesis => record.origin()?,
            Source::DynamoDb => (record.arn()?, ALL_SHARDS.as_bytes()),
        };
        match self.arn {
            None => {
                (self.source, self.arn) = (Some(source), Some(arn));
                self.shard = shard;
                Ok(source)
            }
            Some(first) if first.raw == arn.raw && self.shard == shard && self.source == Some(source) => {
                Ok(source)
            }
            Some(first) => Err(Problem(format!(
                "from {} of {}, but the first record is from {} of {}; an event holds one shard",
                lossy(shard),
                lossy(arn.raw),
                lossy(self.shard),
                lossy(first.raw),
            ))),
        }
    }

    fn parse(&self) -> Result<Option<EventOrigin>> {
        let (Some(source), Some(arn)) = (self.source, self.arn) else { return Ok(None) };
        let stream_arn =
            arn.to_text().ok_or_else(|| Error::Event("eventSourceARN is not text".to_owned()))?;
        let shard =
            std::str::from_utf8(self.shard).map_err(|_| Error::Event("eventID is not text".to_owned()))?;
        Ok(Some(EventOrigin { source, stream_arn, shard: shard.to_owned() }))
    }
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod changes_tests;
#[cfg(test)]
mod tests;
