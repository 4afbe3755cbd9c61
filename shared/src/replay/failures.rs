//! What an event source mapping wrote of a batch that it gave up on → events for the ordinary attempt
//! of the records' own shard, or, from queues and topics, the positions to ask the stream for.
//!
//! | found | where |
//! |---|---|
//! | the invocation record with `payload` | an S3 destination; `payload` is the event, or its text |
//! | the same without `payload` | an SQS message's body |
//! | `{"Type": "Notification", "Message": "…"}` | an SNS notification around it |
//! | `{"Messages": [{"Body": "…"}]}` | what `aws sqs receive-message` prints |
//!
//! The record says of which batch it is in `KinesisBatchInfo`, or in `DDBStreamBatchInfo` where the
//! stream is one of DynamoDB.
//!
//! Nothing is remembered of what was replayed: the records keep their shard and sequence numbers, so
//! the attempt trims what is committed already.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::event::Source;
use crate::record::SequenceNumber;

/// Envelopes inside each other that are opened.
const MAX_DEPTH: usize = 4;

/// A batch that was given up.
#[derive(Debug, Clone)]
pub struct FailedBatch {
    /// Which service's stream it is of.
    pub source: Source,
    /// ARN of the stream.
    pub stream_arn: String,
    /// Shard id.
    pub shard: String,
    /// First record.
    pub first: SequenceNumber,
    /// Last record.
    pub last: SequenceNumber,
    /// Records.
    pub records: u64,
    /// Why, as the mapping names it (`RetryAttemptsExhausted`).
    pub condition: String,
    /// Arrival of the first record, RFC 3339.
    pub first_arrived: String,
    /// When it was given up, RFC 3339.
    pub at: String,
    /// The elements of the event's `Records`; none where only positions are known.
    pub payload: Option<Vec<Box<RawValue>>>,
    /// Whether the event named its shard: of a DynamoDB stream it does only in a tumbling window, and
    /// else the records are in the chain of all shards.
    pub names_shard: bool,
}

impl FailedBatch {
    /// The stream's name: what follows the last `/` of the ARN; of a DynamoDB stream its table's.
    pub fn stream(&self) -> &str {
        let name = match self.source {
            Source::Kinesis => self.stream_arn.rsplit('/').next(),
            Source::DynamoDb => self.stream_arn.split('/').nth(1),
        };
        name.unwrap_or(&self.stream_arn)
    }
}

/// The text of the event that holds these records, and names their shard if it is given.
pub fn event_of(records: &[Box<RawValue>], shard: Option<&str>) -> Vec<u8> {
    let size = records.iter().map(|r| r.get().len() + 1).sum::<usize>();
    let mut event = Vec::with_capacity(size + 16);
    event.extend_from_slice(br#"{"Records":["#);
    for (n, record) in records.iter().enumerate() {
        if n > 0 {
            event.push(b',');
        }
        event.extend_from_slice(record.get().as_bytes());
    }
    event.push(b']');
    if let Some(shard) = shard {
        event.extend_from_slice(format!(r#","shardId":{}"#, serde_json::Value::from(shard)).as_bytes());
    }
    event.push(b'}');
    event
}

/// The batches of one object of a destination; `key` is for the error's text.
///
/// # Errors
/// It is none of the documents above.
pub fn read(key: &str, bytes: &Bytes) -> Result<Vec<FailedBatch>> {
    let broken = |problem: String| Error::Format { object: key.to_owned(), problem, retryable: false };
    let mut batches = Vec::new();
    for document in serde_json::Deserializer::from_slice(bytes).into_iter::<Box<RawValue>>() {
        let document = document.map_err(|e| broken(e.to_string()))?;
        open(document.get(), 0, &mut batches).map_err(broken)?;
    }
    match batches.is_empty() {
        true => Err(broken("nothing in it that an event source mapping writes".into())),
        false => Ok(batches),
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "KinesisBatchInfo")]
    kinesis: Option<BatchInfo>,
    #[serde(rename = "DDBStreamBatchInfo")]
    dynamodb: Option<BatchInfo>,
    #[serde(rename = "requestContext", default)]
    request: Option<RequestContext>,
    #[serde(default)]
    timestamp: String,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(rename = "Message")]
    message: Option<String>,
    #[serde(rename = "Messages")]
    messages: Option<Vec<Message>>,
}

#[derive(Deserialize)]
struct RequestContext {
    #[serde(default)]
    condition: String,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "Body")]
    body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo {
    shard_id: String,
    start_sequence_number: String,
    end_sequence_number: String,
    #[serde(default)]
    approximate_arrival_of_first_record: String,
    batch_size: u64,
    stream_arn: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Records")]
    records: Vec<Box<RawValue>>,
    #[serde(rename = "shardId")]
    shard: Option<String>,
}

fn open(text: &str, depth: usize, batches: &mut Vec<FailedBatch>) -> Result<(), String> {
    if depth >= MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} envelopes inside each other"));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if let Some(message) = envelope.message {
        return open(&message, depth + 1, batches);
    }
    if let Some(messages) = envelope.messages {
        return messages.iter().try_for_each(|message| open(&message.body, depth + 1, batches));
    }
    let (source, info) = match (envelope.kinesis, envelope.dynamodb) {
        (Some(info), _) => (Source::Kinesis, info),
        (None, Some(info)) => (Source::DynamoDb, info),
        (None, None) => {
            return Err("neither KinesisBatchInfo nor DDBStreamBatchInfo, one of which an event source \
                        mapping of a stream writes"
                .into());
        }
    };
    let number = |text: &str| text.parse().map_err(|e| format!("sequence number {text:?}: {e}"));
    let payload = envelope.payload.map(RawValue::get).filter(|payload| *payload != "null");
    let payload = payload.map(event).transpose()?;
    let named = payload.as_ref().is_some_and(|event| event.shard.is_some());
    batches.push(FailedBatch {
        source,
        names_shard: source == Source::Kinesis || named,
        first: number(&info.start_sequence_number)?,
        last: number(&info.end_sequence_number)?,
        stream_arn: info.stream_arn,
        shard: info.shard_id,
        records: info.batch_size,
        condition: envelope.request.map(|r| r.condition).unwrap_or_default(),
        first_arrived: info.approximate_arrival_of_first_record,
        at: envelope.timestamp,
        payload: payload.map(|event| event.records),
    });
    Ok(())
}

/// What a payload is: the event, or a text that is the event.
fn event(payload: &str) -> Result<Event, String> {
    let in_payload = |e: serde_json::Error| format!("payload: {e}");
    if payload.starts_with('"') {
        let text: String = serde_json::from_str(payload).map_err(in_payload)?;
        return serde_json::from_str(&text).map_err(in_payload);
    }
    serde_json::from_str(payload).map_err(in_payload)
}
