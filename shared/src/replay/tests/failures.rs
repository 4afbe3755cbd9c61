//! The documents of on-failure destinations.

use bytes::Bytes;

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
            let event = batch.payload.as_deref().map(event_of);
            let expected = whole.then(|| br#"{"Records":[{"a":1},{"b": [2]}]}"#.to_vec());
            assert_eq!(event, expected, "{text}");
        }
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
