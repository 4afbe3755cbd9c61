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
//! Nothing is remembered of what was replayed: the records keep their shard and sequence numbers, so
//! the attempt trims what is committed already.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::record::SequenceNumber;

/// Envelopes inside each other that are opened.
const MAX_DEPTH: usize = 4;

/// A batch that was given up.
#[derive(Debug, Clone)]
pub struct FailedBatch {
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
}

impl FailedBatch {
    /// The stream's name: what follows the last `/` of the ARN.
    pub fn stream(&self) -> &str {
        self.stream_arn.rsplit('/').next().unwrap_or(&self.stream_arn)
    }
}

/// The text of the event that holds these records.
pub fn event_of(records: &[Box<RawValue>]) -> Vec<u8> {
    let size = records.iter().map(|r| r.get().len() + 1).sum::<usize>();
    let mut event = Vec::with_capacity(size + 16);
    event.extend_from_slice(br#"{"Records":["#);
    for (n, record) in records.iter().enumerate() {
        if n > 0 {
            event.push(b',');
        }
        event.extend_from_slice(record.get().as_bytes());
    }
    event.extend_from_slice(b"]}");
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
    batch: Option<BatchInfo>,
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
    let Some(info) = envelope.batch else {
        return Err("no KinesisBatchInfo, as an event source mapping of a Kinesis stream writes it".into());
    };
    let number = |text: &str| text.parse().map_err(|e| format!("sequence number {text:?}: {e}"));
    let payload = envelope.payload.map(RawValue::get).filter(|payload| *payload != "null");
    batches.push(FailedBatch {
        first: number(&info.start_sequence_number)?,
        last: number(&info.end_sequence_number)?,
        stream_arn: info.stream_arn,
        shard: info.shard_id,
        records: info.batch_size,
        condition: envelope.request.map(|r| r.condition).unwrap_or_default(),
        first_arrived: info.approximate_arrival_of_first_record,
        at: envelope.timestamp,
        payload: payload.map(records).transpose()?,
    });
    Ok(())
}

/// The records of a payload: the event, or a text that is the event.
fn records(payload: &str) -> Result<Vec<Box<RawValue>>, String> {
    let in_payload = |e: serde_json::Error| format!("payload: {e}");
    let event: Event = if payload.starts_with('"') {
        let text: String = serde_json::from_str(payload).map_err(in_payload)?;
        serde_json::from_str(&text).map_err(in_payload)?
    } else {
        serde_json::from_str(payload).map_err(in_payload)?
    };
    Ok(event.records)
}
