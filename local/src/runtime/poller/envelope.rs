//! The two documents an event source mapping writes: the event a function gets, and the record of
//! a batch that was given up. Shapes as AWS writes them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use weir::clock::EpochMicros;
use weir::record::SequenceNumber;

use super::decide::Condition;
use super::dynamodb::is_dynamodb_stream;

/// What a synchronous invocation may carry: 6 MB, base64 and envelope included (Lambda quota).
pub const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;
const EVENT_OPEN: &[u8] = br#"{"Records":["#;
const EVENT_CLOSE: &[u8] = b"]}";
/// Room for records in an event.
pub const MAX_RECORD_BYTES: usize = MAX_EVENT_BYTES - EVENT_OPEN.len() - EVENT_CLOSE.len() - WINDOW_BYTES;
/// Bytes kept free for a tumbling window's fields.
const WINDOW_BYTES: usize = 512;

/// The names that stand in every event and envelope.
#[derive(Debug, Clone)]
pub struct Names {
    /// ARN of the stream.
    pub stream_arn: String,
    /// ARN of the function.
    pub function_arn: String,
    /// ARN of the role the mapping reads with.
    pub role_arn: String,
    /// Region of the stream.
    pub region: String,
}

impl Names {
    /// Names for a stream and a function of the same account and region.
    pub fn new(stream_arn: &str, function: &str) -> Self {
        let mut parts = stream_arn.split(':').skip(3);
        let region = parts.next().filter(|r| !r.is_empty()).unwrap_or("us-east-1");
        let account = parts.next().filter(|a| !a.is_empty()).unwrap_or("000000000000");
        Self {
            stream_arn: stream_arn.to_owned(),
            function_arn: format!("arn:aws:lambda:{region}:{account}:function:{function}"),
            role_arn: format!("arn:aws:iam::{account}:role/{function}"),
            region: region.to_owned(),
        }
    }
}

/// A stream record as the event carries it.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// Position in the shard.
    pub sequence: SequenceNumber,
    /// The same as text.
    pub sequence_text: Box<str>,
    /// Position of the record before it in the shard, if one was read.
    pub previous: Option<SequenceNumber>,
    /// When the stream took it.
    pub arrived_at: EpochMicros,
    /// One element of the event's `Records`.
    pub json: Bytes,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KinesisPart<'a> {
    kinesis_schema_version: &'a str,
    partition_key: &'a str,
    sequence_number: &'a str,
    data: &'a str,
    approximate_arrival_timestamp: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordPart<'a> {
    kinesis: KinesisPart<'a>,
    event_source: &'a str,
    event_version: &'a str,
    #[serde(rename = "eventID")]
    event_id: &'a str,
    event_name: &'a str,
    invoke_identity_arn: &'a str,
    aws_region: &'a str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

/// The element of `Records` for one stream record; `data` is base64.
pub fn record_json(
    names: &Names,
    shard: &str,
    sequence: &str,
    partition_key: &str,
    data: &str,
    arrived_at: EpochMicros,
) -> Bytes {
    let part = RecordPart {
        kinesis: KinesisPart {
            kinesis_schema_version: "1.0",
            partition_key,
            sequence_number: sequence,
            data,
            approximate_arrival_timestamp: arrived_at.millis() as f64 / 1_000.0,
        },
        event_source: "aws:kinesis",
        event_version: "1.0",
        event_id: &format!("{shard}:{sequence}"),
        event_name: "aws:kinesis:record",
        invoke_identity_arn: &names.role_arn,
        aws_region: &names.region,
        event_source_arn: &names.stream_arn,
    };
    // Strings and finite numbers always serialise.
    Bytes::from(serde_json::to_vec(&part).unwrap_or_default())
}

/// The event for a batch, with the fields of its tumbling window, if any.
pub fn event_json(records: &[EventRecord], window_fields: &str) -> Bytes {
    let size = records.iter().map(|r| r.json.len() + 1).sum::<usize>() + window_fields.len();
    let mut event = Vec::with_capacity(size + EVENT_OPEN.len() + EVENT_CLOSE.len());
    event.extend_from_slice(EVENT_OPEN);
    for (n, record) in records.iter().enumerate() {
        if n > 0 {
            event.push(b',');
        }
        event.extend_from_slice(&record.json);
    }
    event.push(b']');
    event.extend_from_slice(window_fields.as_bytes());
    event.push(b'}');
    Bytes::from(event)
}

/// How many records from the head of `sizes` go into one event: at least one, at most
/// `batch_size`, together within `record_bytes`.
pub fn fitting(sizes: impl IntoIterator<Item = usize>, batch_size: usize, record_bytes: usize) -> usize {
    let mut total = 0;
    let mut count = 0;
    for size in sizes.into_iter().take(batch_size) {
        total += size + 1;
        if count > 0 && total > record_bytes {
            break;
        }
        count += 1;
    }
    count
}

/// Whether the function was reached, and how it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastInvocation {
    /// There was no response to speak of (too old, too large).
    None,
    /// The function ran and raised an error.
    Unhandled,
    /// The function answered, and the answer failed the batch.
    Answered,
}

/// A batch that is given up.
#[derive(Debug, Clone, Copy)]
pub struct GivenUp<'a> {
    /// The names.
    pub names: &'a Names,
    /// Shard id.
    pub shard: &'a str,
    /// Its records, at least one.
    pub records: &'a [EventRecord],
    /// Why.
    pub condition: Condition,
    /// How the last invocation ended.
    pub last: LastInvocation,
    /// Invocations of this batch.
    pub invocations: u32,
    /// Id of the last one.
    pub request_id: &'a str,
    /// When it was given up.
    pub now: EpochMicros,
    /// Fields of its tumbling window beside the event's records, if any.
    pub window_fields: &'a str,
}

impl GivenUp<'_> {
    /// What SQS and SNS destinations get: metadata only.
    pub fn metadata(&self) -> Value {
        let mut envelope = json!({
            "requestContext": {
                "requestId": self.request_id,
                "functionArn": self.names.function_arn,
                "condition": self.condition.name(),
                "approximateInvokeCount": self.invocations.max(1),
            },
        });
        if self.condition == Condition::RetryAttemptsExhausted {
            envelope["responseContext"] = json!({
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": (self.last == LastInvocation::Unhandled).then_some("Unhandled"),
            });
        }
        envelope["version"] = json!("1.0");
        envelope["timestamp"] = json!(rfc3339_ms(self.now));
        let (Some(first), Some(last)) = (self.records.first(), self.records.last()) else { return envelope };
        let info = if is_dynamodb_stream(&self.names.stream_arn) {
            "DDBStreamBatchInfo"
        } else {
            "KinesisBatchInfo"
        };
        envelope[info] = json!({
            "shardId": self.shard,
            "startSequenceNumber": first.sequence_text,
            "endSequenceNumber": last.sequence_text,
            "approximateArrivalOfFirstRecord": rfc3339_ms(first.arrived_at),
            "approximateArrivalOfLastRecord": rfc3339_ms(last.arrived_at),
            "batchSize": self.records.len(),
            "streamArn": self.names.stream_arn,
        });
        envelope
    }

    /// What an S3 destination gets: the metadata and the whole invocation record.
    pub fn with_payload(&self) -> Bytes {
        let metadata = self.metadata().to_string();
        let event = event_json(self.records, self.window_fields);
        let mut object = Vec::with_capacity(metadata.len() + event.len() + 16);
        object.extend_from_slice(&metadata.as_bytes()[..metadata.len() - 1]);
        object.extend_from_slice(br#","payload":"#);
        object.extend_from_slice(&event);
        object.push(b'}');
        Bytes::from(object)
    }

    /// Where AWS puts the object, with the position in place of a random UUID, so that giving up
    /// the same batch again after a crash overwrites it.
    pub fn object_key(&self, mapping: &str) -> String {
        let at = timestamp(self.now).strftime("%Y/%m/%d/%Y-%m-%dT%H.%M.%S").to_string();
        let first = self.records.first().map_or("none", |r| &r.sequence_text);
        format!("aws/lambda/{mapping}/{}/{at}-{first}-{}", self.shard, self.records.len())
    }
}

fn timestamp(at: EpochMicros) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(at.0).unwrap_or_default()
}

fn rfc3339_ms(at: EpochMicros) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kinesis:us-east-1:111111111111:stream/clicks";

    fn record(names: &Names, sequence: u64) -> EventRecord {
        let text = sequence.to_string();
        let arrived_at = EpochMicros::from_millis(1_657_720_081_000);
        EventRecord {
            sequence: SequenceNumber::from(sequence),
            previous: None,
            arrived_at,
            json: record_json(names, "shardId-000000000000", &text, "key \"1\"", "aGVsbG8=", arrived_at),
            sequence_text: text.into(),
        }
    }

    fn given_up<'a>(names: &'a Names, records: &'a [EventRecord], condition: Condition) -> GivenUp<'a> {
        GivenUp {
            window_fields: "",
            names,
            shard: "shardId-000000000000",
            records,
            condition,
            last: LastInvocation::Unhandled,
            invocations: 2,
            request_id: "r-1",
            now: EpochMicros::from_millis(1_657_720_081_000),
        }
    }

    #[test]
    fn an_event_has_the_fields_that_aws_sends() {
        let names = Names::new(ARN, "ingest");
        let event: Value =
            serde_json::from_slice(&event_json(&[record(&names, 7), record(&names, 8)], "")).unwrap();
        assert_eq!(event["Records"].as_array().unwrap().len(), 2);
        assert_eq!(
            event["Records"][0],
            json!({
                "kinesis": {
                    "kinesisSchemaVersion": "1.0", "partitionKey": "key \"1\"", "sequenceNumber": "7",
                    "data": "aGVsbG8=", "approximateArrivalTimestamp": 1_657_720_081.0
                },
                "eventSource": "aws:kinesis", "eventVersion": "1.0",
                "eventID": "shardId-000000000000:7", "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::111111111111:role/ingest",
                "awsRegion": "us-east-1", "eventSourceARN": ARN,
            })
        );
    }

    /// The keys of a JSON document, nested, without values.
    fn shape(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut keys: Vec<_> = fields.iter().map(|(k, v)| (k.clone(), shape(v))).collect();
                keys.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Object(keys.into_iter().collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(shape).collect()),
            _ => Value::Null,
        }
    }

    #[test]
    fn envelopes_have_the_recorded_shape() {
        // The recorded documents of AWS, their identifiers already masked.
        let s3 = json!({
            "KinesisBatchInfo": {"approximateArrivalOfFirstRecord": "", "approximateArrivalOfLastRecord": "",
                "batchSize": 1, "endSequenceNumber": "", "shardId": "", "startSequenceNumber": "", "streamArn": ""},
            "payload": {"Records": [{"kinesis": {"kinesisSchemaVersion": "", "partitionKey": "",
                "sequenceNumber": "", "data": "", "approximateArrivalTimestamp": ""}, "eventSource": "",
                "eventVersion": "", "eventID": "", "eventName": "", "invokeIdentityArn": "", "awsRegion": "",
                "eventSourceARN": ""}]},
            "requestContext": {"approximateInvokeCount": 2, "condition": "", "functionArn": "", "requestId": ""},
            "responseContext": {"executedVersion": "", "functionError": "", "statusCode": 200},
            "timestamp": "", "version": "1.0"
        });
        let names = Names::new(ARN, "ingest");
        let records = [record(&names, 7)];
        let object = given_up(&names, &records, Condition::RetryAttemptsExhausted).with_payload();
        let object: Value = serde_json::from_slice(&object).unwrap();
        assert_eq!(shape(&object), shape(&s3));
        assert_eq!(object["requestContext"]["approximateInvokeCount"], 2);
        assert_eq!(object["responseContext"]["functionError"], "Unhandled");
        assert_eq!(object["timestamp"], "2022-07-13T13:48:01.000Z");
        assert_eq!(object["KinesisBatchInfo"]["approximateArrivalOfFirstRecord"], "2022-07-13T13:48:01.000Z");

        let mut sqs = s3;
        sqs.as_object_mut().unwrap().shift_remove("payload");
        let message = given_up(&names, &records, Condition::RetryAttemptsExhausted).metadata();
        assert_eq!(shape(&message), shape(&sqs));
        // test_kinesis_maximum_record_age_exceeded: no response to speak of
        sqs.as_object_mut().unwrap().shift_remove("responseContext");
        let message = given_up(&names, &records, Condition::RecordAgeExceeded).metadata();
        assert_eq!(shape(&message), shape(&sqs));
    }

    /// What is put into the destination of a DynamoDB mapping is read back as the records of its shard.
    #[test]
    fn a_given_up_batch_of_changes_is_read_back_with_its_shard_where_the_event_named_it() {
        let arn = "arn:aws:dynamodb:us-east-1:1:table/orders/stream/2026-11-20T00:00:00.000";
        let names = Names::new(arn, "ingest");
        let change = |number: u64| EventRecord {
            json: Bytes::from(format!(
                r#"{{"eventID":"{number}","eventName":"REMOVE","eventSource":"aws:dynamodb","dynamodb":{{"Keys":{{"k":{{"S":"a"}}}},"SequenceNumber":"{number}","ApproximateCreationDateTime":1}},"eventSourceARN":"{arn}"}}"#
            )),
            ..record(&names, number)
        };
        let records = [change(100), change(200)];
        let fields = r#","window":{},"state":{},"shardId":"shardId-1-a""#;
        for (window_fields, named) in [("", false), (fields, true)] {
            let given_up = given_up(&names, &records, Condition::RecordAgeExceeded);
            let given_up = GivenUp { shard: "shardId-1-a", window_fields, ..given_up };
            let batches = weir::replay::failures::read("k", &given_up.with_payload()).unwrap();
            let [batch] = &batches[..] else { panic!("{batches:?}") };
            assert_eq!((batch.stream(), batch.shard.as_str(), batch.records), ("orders", "shardId-1-a", 2));
            assert_eq!((batch.names_shard, batch.first, batch.last), (named, 100.into(), 200.into()));
            let shard = named.then_some("shardId-1-a");
            let text = weir::replay::failures::event_of(batch.payload.as_deref().unwrap(), shard);
            let mut event = weir::event::ParsedEvent::default();
            event.parse(&mut weir::unpack::Unpacker::default(), &text).unwrap();
            assert_eq!(event.origin.unwrap().shard, shard.unwrap_or(weir::event::ALL_SHARDS));
            assert_eq!(event.sequences.len(), 2);
            let message = Bytes::from(given_up.metadata().to_string());
            assert!(weir::replay::failures::read("k", &message).unwrap()[0].payload.is_none());
        }
    }

    #[test]
    fn an_answer_that_fails_the_batch_is_no_function_error() {
        let names = Names::new(ARN, "ingest");
        let records = [record(&names, 7)];
        let mut given_up = given_up(&names, &records, Condition::RetryAttemptsExhausted);
        given_up.last = LastInvocation::Answered;
        assert_eq!(given_up.metadata()["responseContext"]["functionError"], Value::Null);
        let key = given_up.object_key("map");
        assert_eq!(key, "aws/lambda/map/shardId-000000000000/2022/07/13/2022-07-13T13.48.01-7-1");
    }

    #[test]
    fn a_batch_ends_at_its_size_or_at_the_payload_limit() {
        let half = MAX_RECORD_BYTES / 2;
        let cases: [(&[usize], usize, usize); 6] = [
            (&[], 10, 0),
            (&[5, 5, 5], 2, 2),
            (&[half, half - 2, 1], 10, 2),
            (&[half, half, 1], 10, 1),
            (&[MAX_RECORD_BYTES + 9, 1], 10, 1),
            (&[1, 1, 1], 10, 3),
        ];
        for (sizes, batch, expected) in cases {
            assert_eq!(fitting(sizes.iter().copied(), batch, MAX_RECORD_BYTES), expected, "{sizes:?}");
        }
    }
}
