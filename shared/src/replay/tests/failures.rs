//! The documents of on-failure destinations.

use bytes::Bytes;

use crate::event::Source;
use crate::replay::failures::{event_of, read};

const INFO: &str = r#""KinesisBatchInfo":{"shardId":"shardId-000000000003","startSequenceNumber":"7","endSequenceNumber":"9","approximateArrivalOfFirstRecord":"2026-11-20T00:00:00.000Z","approximateArrivalOfLastRecord":"2026-11-20T00:00:00.000Z","batchSize":2,"streamArn":"arn:aws:kinesis:eu-west-1:1:stream/clicks"}"#;
const CONTEXT: &str = r#""requestContext":{"requestId":"r","functionArn":"f","condition":"RetryAttemptsExhausted","approximateInvokeCount":2},"version":"1.0","timestamp":"2026-11-20T00:00:01.000Z""#;

#[test]
fn the_documents_that_mappings_write_are_read() {
    let records = r#"{"Records":[{"a":1},{"b": [2]}]}"#;
    let message = format!("{{{CONTEXT},{INFO}}}");
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let cases = [
        (format!("{{{CONTEXT},{INFO},\"payload\":{records}}}"), 1, true),
        (format!("{{{CONTEXT},{INFO},\"payload\":{}}}", quoted(records)), 1, true),
        (message.clone(), 1, false),
        (format!("{{{CONTEXT},{INFO},\"payload\":null}}"), 1, false),
        (format!("{{\"Type\":\"Notification\",\"Message\":{}}}", quoted(&message)), 1, false),
        (format!("{{\"Messages\":[{{\"Body\":{0}}},{{\"Body\":{0}}}]}}", quoted(&message)), 2, false),
        (format!("{message}\n{message}\n{message}"), 3, false),
    ];
    for (text, count, whole) in cases {
        let batches = read("k", &Bytes::from(text.clone())).unwrap();
        assert_eq!(batches.len(), count, "{text}");
        for batch in &batches {
            assert_eq!((batch.stream(), batch.shard.as_str()), ("clicks", "shardId-000000000003"));
            assert_eq!((batch.first, batch.last, batch.records), (7.into(), 9.into(), 2));
            assert_eq!(batch.condition, "RetryAttemptsExhausted");
            assert!(batch.names_shard);
            let event = batch.payload.as_deref().map(|records| event_of(records, None));
            let expected = whole.then(|| br#"{"Records":[{"a":1},{"b": [2]}]}"#.to_vec());
            assert_eq!(event, expected, "{text}");
        }
    }
}

/// As the service documents it for a DynamoDB stream, with what an S3 destination has beside it.
#[test]
fn batches_of_dynamodb_streams_are_read_and_their_shard_counts_where_the_event_names_it() {
    let info = r#""DDBStreamBatchInfo":{"shardId":"shardId-00000001573689847184-864758bb","startSequenceNumber":"800000000003126276362","endSequenceNumber":"800000000003126276999","approximateArrivalOfFirstRecord":"2019-11-14T00:13:19Z","approximateArrivalOfLastRecord":"2019-11-14T00:13:19Z","batchSize":2,"streamArn":"arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388"}"#;
    let records = r#"{"Records":[{"a":1},{"b":2}]}"#;
    let windowed =
        r#"{"Records":[{"a":1},{"b":2}],"window":{},"shardId":"shardId-00000001573689847184-864758bb"}"#;
    let payload = |event: &str| format!("{{{CONTEXT},{info},\"payload\":{event}}}");
    let cases = [
        (format!("{{{CONTEXT},{info}}}"), false, None),
        (payload(records), false, Some(records.to_owned())),
        (payload(windowed), true, Some(windowed.replace(r#""window":{},"#, ""))),
    ];
    for (text, named, expected) in cases {
        let batches = read("k", &Bytes::from(text.clone())).unwrap();
        let [batch] = &batches[..] else { panic!("{text}") };
        assert_eq!((batch.source, batch.stream(), batch.records), (Source::DynamoDb, "mytable", 2));
        assert_eq!(batch.shard, "shardId-00000001573689847184-864758bb");
        assert_eq!((batch.first.to_string().as_str(), batch.names_shard), ("800000000003126276362", named));
        assert!(batch.last > batch.first);
        let shard = named.then_some(batch.shard.as_str());
        let event = batch.payload.as_deref().map(|records| event_of(records, shard));
        assert_eq!(event.map(|event| String::from_utf8(event).unwrap()), expected, "{text}");
    }
}

#[test]
fn other_documents_are_refused_with_what_they_lack() {
    let deep = (0..6).fold(format!("{{{CONTEXT},{INFO}}}"), |text, _| {
        format!("{{\"Message\":{}}}", serde_json::to_string(&text).unwrap())
    });
    let cases = [
        ("".to_owned(), "nothing"),
        ("{}".to_owned(), "KinesisBatchInfo"),
        ("[1]".to_owned(), "expected"),
        ("{\"a\"".to_owned(), "EOF"),
        (format!("{{{CONTEXT},{}}}", INFO.replace("\"7\"", "\"x\"")), "sequence number"),
        (format!("{{{CONTEXT},{INFO},\"payload\":\"no\"}}"), "payload"),
        (deep, "envelopes"),
    ];
    for (text, lacks) in cases {
        let error = read("k", &Bytes::from(text.clone())).unwrap_err();
        assert!(error.to_string().contains(lacks) && !error.retryable(), "{text}: {error}");
    }
}
